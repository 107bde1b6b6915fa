"""Finished runs and what they say together: groups of runs alike in everything but the seed, and trials of a search.

Runs are never mixed that differ in more than chance: of another layout, of synthetic and of real data, of other files,
draws or sizes, of other weights of a backbone, selected or reported on other splits, with other epochs or another
`compat`. What differs between two groups can always be told, see `distinct_settings`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from ptune import bounded
from ptune.build import UNTRACKED
from ptune.config import Report
from ptune.errors import ConfigError, DataError, PtuneError
from ptune.reports import searches
from ptune.reports.searches import Search, Trial
from ptune.runs import forms
from ptune.sweeps.space import Parameter

if TYPE_CHECKING:
    import numpy as np

    from ptune.reports.resample import Resampled

Row = Mapping[str, Any]
TUNING = ("finetune", "bitfit", "lora", "ia3")  # methods whose names say what they tune
NAMES: dict[str, Callable[[Row], str]] = {  # of a result, what runs are called by
    "method": lambda r: r["method"] + ("" if r["tune"] == "none" or r["method"] in TUNING else f" (tune {r['tune']})"),
    "task": lambda r: r["task"] + layout(r) + (" (synthetic)" if r["synthetic"] else ""),
    "backbone": lambda r: r["backbone"],
    "P": lambda r: str(r["prompt_length"] or ""),
    "metric": lambda r: f"{r['report_on']} {r['metric']}" + (" (selected on)" if r["selected_on_reported"] else ""),
}
TOLD = ("method", "tune", "task", "backbone", "prompt_length", "synthetic", "metric", "select_on", "report_on")
CHANCE = ("seed", "held_out_seed", "data.draw")  # what may make the difference inside of a group
NO_DIFFERENCE = (
    *UNTRACKED,
    *CHANCE,
    "packages",
    "eval_batch_size",
    "batch_tokens",
    "accumulate",  # depends on the machine, and the objective does not depend on it
    "data.cache",
    "data.root",
    *(f"method.{key}" for key in searches.RATES),  # optim has what is used
    "task.source.license",
    "task.source.obtain",
    "task.source.statistics",
    "task.source.submission",
)
TUNED = tuple(Report().tuned)
ASIDE = ("stages", "replaced")  # folders whose runs are parts of others, or no longer count
FOLLOWS = {"prompt_length": ("method.prompt.length", "data.max_length")}  # settings that are made of another one


class Spread(NamedTuple):
    """Figures of several runs: how many, their mean, and their standard deviation with ddof=1 (None of one)."""

    n: int
    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one or more figures."""
        return cls(len(values), fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder, result.json, and config.yaml and env.json, which are empty where they are missing."""

    folder: Path
    result: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]
    packages: Sequence[str] = ()  # beside ptune, whose task may score its examples anew
    search: Search | None = None  # whose trial it is

    @property
    def trial(self) -> Trial | None:
        """The trial that it is of its search."""
        return self.search.trial(self.folder) if self.search else None

    @property
    def place(self) -> tuple[str, int]:
        """Where it stands in the order of runs: by folder, and by job in a search."""
        trial = self.trial
        return (str(self.folder), 0) if self.search is None or trial is None else (str(self.search.folder), trial.job)

    @property
    def row(self) -> dict[str, Any]:
        """The result with its folder."""
        return {**self.result, "folder": str(self.folder)}

    @property
    def seed(self) -> int:
        """The seed of training."""
        return int(self.result["seed"])

    @property
    def split(self) -> int | None:
        """The seed of what is held out, where it is one of its own; else it is the seed of training."""
        seed = self.config.get("held_out_seed")
        return None if seed is None or self.config.get("protocol", "standard") == "standard" else int(seed)

    @property
    def score(self) -> float:
        """The reported score of the best evaluation, in percent."""
        return float(self.result["score"])

    @property
    def last(self) -> float:
        """The reported score of the last evaluation."""
        return float(self.result["last"]["report"][self.result["metric"]])

    @property
    def selected(self) -> float:
        """The score that the best evaluation was chosen by; the reported one of results that do not say it."""
        return float(self.result.get("selected", self.result["score"]))

    @cached_property
    def resampled(self) -> Resampled | None:
        """Its score on resampled examples, see `resample`."""
        from ptune.reports import resample

        return resample.resample_run(self)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting that can make a difference, by its key: of result, configuration and files."""
        data = self.result.get("data", {})
        settings: dict[str, Any] = {f"result.{name}": self.result[name] for name in TOLD}
        settings["layout"], settings["held out from"] = data.get("layout"), (data.get("held_out") or {}).get("from")
        files = json.dumps(without_paths(data.get("files", {})), sort_keys=True)
        settings["files"] = hashlib.sha256(files.encode()).hexdigest()[:8]
        weights = self.result.get("weights", {}).get("backbone") or {}  # of a method without a backbone there are none
        version = weights if isinstance(weights, str) else weights.get("sha256") or weights.get("revision") or ""
        settings["weights"] = version[:12] or None
        averaged = ("accumulate",) if self.config.get("loss", {}).get("normalize") == "batch" else ()
        left_out = [key for key in NO_DIFFERENCE if key not in averaged]
        return {**settings, **{key: value for key, value in flat(self.config) if not below(key, left_out)}}


@dataclass(eq=False)
class Group:
    """Runs alike in everything but the seed and what derives from it, one a seed, or several a held-out split.

    of: what they are called by, see NAMES; settings: what they share; repeated: further runs of the same seeds, which
    count nowhere. family: the groups that differ from this one in tuned settings alone, itself among them.
    """

    runs: list[Run]
    repeated: list[Run] = field(default_factory=list)
    family: Family = field(init=False, repr=False)

    @property
    def of(self) -> dict[str, str]:
        """What the runs are called by."""
        return {column: name(self.runs[0].result) for column, name in NAMES.items()}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that they share, by key."""
        draw = "the seed" if follows(self.runs) else self.runs[0].config.get("data", {}).get("draw")
        return {**self.runs[0].settings, "data.draw": draw}

    @cached_property
    def units(self) -> dict[int, list[Run]]:
        """The runs by what differs by chance: by held-out split where there are several, else by seed.

        A unit counts once, by the mean of its runs: FewNLU's mean over splits (Zheng et al. 2022, arXiv 2109.12742).
        """
        splits = {run.split for run in self.runs}
        units: dict[int, list[Run]] = {}
        for run in self.runs:
            units.setdefault(run.seed if len(splits) == 1 or run.split is None else run.split, []).append(run)
        return units

    @property
    def unit(self) -> str:
        """What the units are."""
        return "split" if len({run.split for run in self.runs}) > 1 else "seed"

    def spread(self, figure: Callable[[Run], float]) -> Spread:
        """A figure's mean over the units and their standard deviation."""
        return Spread.of([fmean(map(figure, runs)) for runs in self.units.values()])

    @cached_property
    def best(self) -> Spread:
        """The reported score of the best evaluations."""
        return self.spread(lambda run: run.score)

    @cached_property
    def last(self) -> Spread:
        """The reported score of the last evaluations."""
        return self.spread(lambda run: run.last)

    @cached_property
    def selected(self) -> Spread:
        """The score that chose the best evaluations."""
        return self.spread(lambda run: run.selected)

    @property
    def n(self) -> int:
        """How many units."""
        return self.best.n

    @property
    def mean(self) -> float:
        """The mean reported score of the best evaluations."""
        return self.best.mean

    @property
    def std(self) -> float | None:
        """Its standard deviation with ddof=1; None of one unit."""
        return self.best.std

    @cached_property
    def resampled(self) -> np.ndarray | None:
        """The mean score on resampled seeds and examples, see `resample`; None where a run's cannot be."""
        from ptune.reports import resample

        return resample.resample_group(self)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the mean over seeds and examples; None where a run has no predictions to resample.

        Of one run it is the run's own, over examples.
        """
        from ptune.reports import resample

        if self.n == 1:
            bounds = self.runs[0].result.get("interval")
            return (float(bounds[0]), float(bounds[1])) if bounds else None
        return None if self.resampled is None else resample.interval(self.resampled)

    @property
    def trials(self) -> int:
        """How many settings were tried, this one among them, and those of trials without a result."""
        return len(self.family.groups) + len(self.family.left)

    @property
    def space(self) -> dict[str, list[Any]]:
        """The values that were tried, by setting."""
        return self.family.space

    @property
    def edge(self) -> dict[str, str]:
        """Settings of which the best trial, and all that equal it, have the smallest or the largest number, and which:
        of the space of its search, else of what was tried.
        """
        return self.family.edge


@dataclass(frozen=True, eq=False)
class Family:
    """Groups that differ in tuned settings alone: the trials of one search."""

    groups: list[Group]
    tuned: Sequence[str] = TUNED

    @cached_property
    def space(self) -> dict[str, list[Any]]:
        """See Group."""
        searched = (key for search in self.searches for key in search.space if key in self.groups[0].settings)
        keys = [key for key in sorted({*distinct_settings(self.groups)[0], *searched}) if below(key, self.tuned)]
        space: dict[str, list[Any]] = {}
        for key in keys:
            values = [group.settings.get(key) for group in self.groups]
            values += [trial.point[key] for trial in self.left if key in trial.point]
            distinct = {json.dumps(float(value) if is_number(value) else value): value for value in reversed(values)}
            space[key] = sorted(distinct.values(), key=sort_key)
        return space

    @cached_property
    def searches(self) -> list[Search]:
        """The searches that its runs are trials of."""
        return list({id(run.search): run.search for run in self._runs if run.search is not None}.values())

    @cached_property
    def left(self) -> list[Trial]:
        """The trials of its searches that it has no result of, as pruned ones.

        Of a search over settings that keep families apart, those at the values of one of its own trials.
        """
        swept = (*self.tuned, *followers(self.tuned), *NO_DIFFERENCE)
        trials = []
        for search in self.searches:
            keys = [key for key in search.space if not below(key, swept)]
            own_trials = [trial for run in self._runs if run.search is search and (trial := run.trial)]
            places = [[trial.point.get(key) for key in keys] for trial in own_trials]
            other_trials = [trial for trial in search.trials if not any(trial is one for one in own_trials)]
            trials += [trial for trial in other_trials if [trial.point.get(key) for key in keys] in places]
        return trials

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many trials there are of each state, without those of none."""
        states = Counter(trial.state for trial in self.left)
        states["complete"] += len(self.groups)
        return {state: states[state] for state in searches.STATES if states[state]}

    @property
    def _runs(self) -> list[Run]:
        return [run for group in self.groups for run in (*group.runs, *group.repeated)]

    @cached_property
    def best(self) -> Group:
        """The trial with the best selecting score, never the reported one; of equals the first by job or folder."""
        return self.equal[0]

    @cached_property
    def equal(self) -> list[Group]:
        """The best trial and those with the same selecting score, in their order.

        Trials are compared on the seeds that all of them have, where there are any: five seeds of one against one of
        another would be no fair choice.
        """
        common = set.intersection(*({*group.units} for group in self.groups))
        scores = [_selected(group, common) for group in self.groups]
        winners = [group for group, score in zip(self.groups, scores, strict=True) if score == max(scores)]
        return sorted(winners, key=lambda group: min(run.place for run in (*group.runs, *group.repeated)))

    @property
    def declared(self) -> Mapping[str, Parameter]:
        """The space of the one search that all its groups are trials of; empty without one."""
        searched = all(any(run.search for run in (*group.runs, *group.repeated)) for group in self.groups)
        return self.searches[0].space if searched and len(self.searches) == 1 else {}

    @cached_property
    def edge(self) -> dict[str, str]:
        """See Group."""
        edges: dict[str, str] = {}
        for key, values in self.space.items():
            parameter = self.declared.get(key) or Parameter(key, tuple(map(str, values)))
            ends = {searches.edge(parameter, group.settings.get(key)) for group in self.equal}
            if len(ends) == 1 and "" not in ends:  # with an equal inside it says nothing that one lies on the edge
                edges[key] = ends.pop()
        return edges


def runs(folder: Path | str, packages: Sequence[str] = ()) -> list[Run]:
    """The finished runs below a folder, but other runs' stages and what `ptune reproduce` has put aside.

    Raises PtuneError where there is none, ConfigError without that folder.
    """
    folder = Path(folder)
    results = sorted(folder.rglob("result.json"))
    if not folder.is_dir():
        missing = f"{folder} is a file; name the folder" if folder.exists() else f"there is no folder {folder}"
        raise ConfigError([missing])
    paths = [path for path in results if not {*ASIDE} & {*path.relative_to(folder).parts}]
    if not paths:
        raise PtuneError(f"runs: no finished run below {folder}; ptune train makes one")
    by_folder: dict[Path, Search | None] = {}
    return [read(path.parent, packages, searches.above(path.parent, folder, by_folder)) for path in paths]


def pruned_folders(folder: Path | str, runs: Iterable[Run]) -> list[Path]:
    """The folders of pruned runs below a folder that no search of these finished runs tells of."""
    reported = {trial.folder for run in runs if run.search for trial in run.search.trials}
    folders = sorted(path.parent for path in Path(folder).rglob("pruned.json"))
    return [
        path
        for path in folders
        if path not in reported
        and not (path / "result.json").exists()
        and not {*ASIDE} & {*path.relative_to(folder).parts}
    ]


def read(folder: Path, packages: Sequence[str] = (), search: Search | None = None) -> Run:
    """A finished run. Raises PtuneError for a file that is damaged."""
    return Run(
        folder,
        _loaded(folder / "result.json", bounded.read_json, forms.Result),
        _loaded(folder / "config.yaml", bounded.read_yaml, forms.Config),
        _loaded(folder / "env.json", bounded.read_json, forms.Environment),
        packages,
        search,
    )


def group_runs(runs: Iterable[Run], tuned: Sequence[str] = TUNED, free: Sequence[str] = ()) -> list[Group]:
    """The groups of runs alike in everything but the seed, in the order of their first runs.

    tuned: the settings, or what they begin with, that make two groups trials of one search. free: those that each run
    of a group may have a value of its own of.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(_key(without_swept(run.settings, free)), []).append(run)
    groups = [_group(some) for every in alike.values() for some in _by_draw(every)]
    families: dict[str, list[Group]] = {}
    for group in groups:
        families.setdefault(_key(without_swept(group.settings, tuned)), []).append(group)
    for members in families.values():
        family = Family(members, tuned)
        for group in members:
            group.family = family
    return groups


def without_swept(settings: Mapping[str, Any], tuned: Sequence[str]) -> dict[str, Any]:
    """Settings without the tuned ones, and without those that are made of them."""
    swept = (*tuned, *followers(tuned))
    return {key: value for key, value in settings.items() if not below(key.removeprefix("result."), swept)}


def followers(tuned: Sequence[str]) -> list[str]:
    """The settings that are made of tuned ones."""
    return [key for name, keys in FOLLOWS.items() if below(name, tuned) for key in keys]


def best_trials(groups: Iterable[Group]) -> list[Group]:
    """Of every search the best trial by the selecting score, in their order."""
    return list({id(group.family): group.family.best for group in groups}.values())


def distinct_settings(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Of each group the settings that not all of them share, by key; None for one that a group has not."""
    settings = [group.settings for group in groups]
    keys = sorted({key for each in settings for key in each if not key.startswith("result.")})
    differ = [key for key in keys if len({json.dumps(each.get(key)) for each in settings}) > 1]
    return [{key: each.get(key) for key in differ} for each in settings]


def layout(row: Row) -> str:
    """The layout of a corpus that has several: they are not of the same splits."""
    name = row.get("data", {}).get("layout")
    return f" {name}" if name else ""


def follows(runs: Sequence[Run]) -> bool:
    """Whether the draw of the training examples is that of each run's seed."""
    return all(run.config.get("data", {}).get("draw") == run.seed for run in runs)


def flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a configuration with their dotted keys; lists are values."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def below(key: str, names: Iterable[str]) -> bool:
    """Whether a key is one of these names or below one of them."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def without_paths(files: Any) -> Any:
    """What is known of files but where they are; those beside a split's by their names."""
    if isinstance(files, Mapping):
        facts = {name: value for name, value in files.items() if name not in ("path", "root")}
        return {Path(name).name: without_paths(value) for name, value in facts.items()}
    return [without_paths(value) for value in files] if isinstance(files, list) else files


def sort_key(value: Any) -> tuple[bool, float, str]:
    """Numbers in their order, then everything else by how it is written."""
    number = is_number(value)
    return not number, float(value) if number else 0.0, str(value)


def is_number(value: Any) -> bool:
    """Whether a setting's value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def _selected(group: Group, common: set[int]) -> float:
    units = [runs for name, runs in group.units.items() if name in common or not common]
    return fmean(fmean(run.selected for run in runs) for runs in units)


def _by_draw(alike: list[Run]) -> Iterator[list[Run]]:
    """Runs that are alike, apart by their draw of examples unless it follows the seed."""
    if follows(alike):
        yield alike
        return
    draws: dict[Any, list[Run]] = {}
    for run in alike:
        draws.setdefault(run.config.get("data", {}).get("draw"), []).append(run)
    yield from draws.values()


def _group(alike: Sequence[Run]) -> Group:
    """One run a seed and split, the one that ended last, of those at once the last by its folder."""
    by_seed: dict[tuple[int, int], Run] = {}
    repeated = []
    for run in sorted(alike, key=end_time):
        place = (-1 if run.split is None else run.split, run.seed)
        if place in by_seed:
            repeated.append(by_seed[place])
        by_seed[place] = run
    return Group([by_seed[place] for place in sorted(by_seed)], repeated)


def end_time(run: Run) -> float:
    """When a run has ended: when its result was written."""
    try:
        return (run.folder / "result.json").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _loaded(path: Path, load: Callable[[Path], Any], form: type) -> dict[str, Any]:
    try:
        result = load(path)
    except FileNotFoundError:
        return {}
    if not isinstance(result, dict):
        raise DataError(f"{path}: not a mapping of names to values")
    forms.check(form, result, path)
    return result
