"""Which runs the cells of a table stand for, where they are, and what there is of them.

A cell's runs are in TABLE/SCALE/CELL/SEED; trials of a search in TABLE/SCALE/CELL/search/TRIAL. Cells whose overrides
are the same share the runs of the first of them, so that nothing is computed twice. A cell that reads a stage of them
chooses the trial by that stage; where it is another than the runs' own score chooses, further seeds of it are in
TABLE/SCALE/CELL/TRIAL/SEED. Where each seed searches for itself, its trials are in TABLE/SCALE/CELL/search/SEED/TRIAL.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException

from ptune import bounded, build
from ptune.commands import train
from ptune.config import Train
from ptune.errors import PtuneError, UnavailableError
from ptune.leaves import leaf
from ptune.paper.table import Cell, Words, overrides, seed_list, trials
from ptune.runs.folder import RunFolder, code_version
from ptune.where import hydra_flags

FINISHED, BEGUN, NOTHING = "finished", "begun", "nothing"
REPLACED = "replaced"  # where run folders go that are run again


@dataclass(eq=False)
class Place:
    """One run: its folder, and the overrides that it is made of."""

    folder: Path
    words: Words

    @cached_property
    def settings(self) -> Train:
        """What its overrides compose to. Raises PtuneError or HydraException where they do not."""
        return compose_settings(self.words)

    @property
    def state(self) -> str:
        """What there is of it."""
        if (self.folder / "result.json").is_file():
            return FINISHED
        return BEGUN if (self.folder / "config.yaml").is_file() else NOTHING

    @property
    def settings_changed(self) -> bool:
        """Whether what is there was made with other settings than are asked for now."""
        return self.state != NOTHING and environment(self.folder).get("identity") != build.identity(self.settings)

    def of(self, stage: str | None) -> Path:
        """The folder of one of its stages; null: its own."""
        return self.folder / "stages" / stage if stage else self.folder

    def put_aside(self, root: Path) -> None:
        """Make room for a run of its own from the start; what is there is kept below REPLACED."""
        if not self.folder.is_dir():
            return
        target = root / REPLACED / self.folder.relative_to(root)
        number = 1 + sum(1 for _ in target.parent.glob(f"{target.name}-*"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.folder, target.with_name(f"{target.name}-{number}"))


@dataclass(eq=False)
class Work:
    """The runs of one cell, or of several that share them: trials of a search if there is one, then one a seed.

    stages: of its runs, that cells read; null: a run's own figures. problem: what is wrong with its settings; lacking:
    what they need that is not there.
    """

    cell: Cell
    folder: Path
    settings: Train | None = None
    stages: list[str | None] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    problem: str | None = None
    lacking: str | None = None
    known: dict[str, Place] = field(default_factory=dict)  # by the name of the folder; each composes once

    @cached_property
    def search_trials(self) -> list[Place]:
        """The trials of the search, with the first seed or with each; none where there is a problem."""
        return [place for seed in self.searching for place in self.searched(seed)]

    @property
    def searching(self) -> list[int]:
        """The seeds that search."""
        return self.seeds if self.cell.each_seed else self.seeds[:1]

    def searched(self, seed: int) -> list[Place]:
        """The trials of the search with a seed."""
        folder = f"search/{seed}" if self.cell.each_seed else "search"
        return [self.place(f"{folder}/{trial_folder(trial)}", {**trial, "seed": seed}) for trial in self.trials]

    @property
    def obstacle(self) -> str | None:
        """Why it cannot run, if it cannot."""
        return self.problem or self.lacking

    @cached_property
    def trials(self) -> list[Words]:
        """What the search tries."""
        return trials(self.cell.search)

    def best(self, stage: str | None, seed: int) -> Place | None:
        """The trial with a seed that the selecting score of a stage chose, null: the run's own, once all have ended; of
        equals the first.
        """
        places = self.searched(seed)
        if any(place.state != FINISHED for place in places):
            return None
        return max(places, key=lambda place: selecting_score(place.of(stage)))

    def places(self, stage: str | None = None) -> list[Place]:
        """The runs that a cell's figure is of, as far as they are known: with a search when it has ended.

        stage: that the cell reads; its own selecting score chooses the trial, and what follows a trial other than the
        run's own choice has a folder of that trial.
        """
        if not self.trials:
            return [self.place(str(seed), {"seed": seed}) for seed in self.seeds]
        bests = [best for seed in self.searching if (best := self.best(stage, seed))]
        if self.cell.each_seed or not bests:
            return bests
        (best,) = bests
        chosen = self.trials[self.search_trials.index(best)]
        subfolder = "" if best is self.best(None, self.seeds[0]) else f"{trial_folder(chosen)}/"
        return [best, *(self.place(f"{subfolder}{seed}", {**chosen, "seed": seed}) for seed in self.seeds[1:])]

    @property
    def every(self) -> list[Place]:
        """The trials, and the runs that the figures of its cells are of."""
        return list(
            dict.fromkeys([*self.search_trials, *(place for stage in self.stages for place in self.places(stage))])
        )

    @property
    def number(self) -> int:
        """How many runs it takes in all; before a search has ended, at most."""
        if not self.trials or self.cell.each_seed or self.places():
            return len(self.every)
        return len(self.trials) + len(self.stages) * (len(self.seeds) - 1)

    def place(self, name: str, words: Words) -> Place:
        """A run of it."""
        return self.known.setdefault(name, Place(self.folder / name, {**self.cell.words, **words}))

    def take_seeds_that_ended(self) -> None:
        """Count further seeds in, as far as they have been run: somebody has asked for them before."""
        assert self.settings is not None
        self.seeds = seed_list(self.cell.seeds or [self.settings.seed], None)
        while self.has_ended(further := max(self.seeds) + 1):
            self.seeds.append(further)

    def has_ended(self, seed: int) -> bool:
        """Whether there is all of a seed."""
        if self.cell.each_seed and self.trials:
            return self.best(None, seed) is not None
        return (self.folder / str(seed) / "result.json").is_file()

    def has_figure(self, stage: str | None) -> bool:
        """Whether the figure of a cell is there, see `places`."""
        places = self.places(stage)
        return len(places) == len(self.seeds) > 0 and all(place.state == FINISHED for place in places)


def plan_cells(cells: Iterable[Cell], owners: Mapping[str, Cell], root: Path) -> dict[str, Work]:
    """What cells stand for, by their key; composes each once. owners: by key the cells whose folders have the runs."""
    works: dict[str, Work] = {}
    for cell in cells:
        if cell.missing is None:
            if cell.key not in works:
                works[cell.key] = work(owners[cell.key], root)
                works[cell.key].stages = []
            if cell.stage not in works[cell.key].stages:
                works[cell.key].stages.append(cell.stage)
    return works


def work(cell: Cell, root: Path) -> Work:
    """The runs of a cell, which need what their settings name."""
    planned = Work(cell, root / cell.name, stages=[cell.stage])
    first_trial = next(iter(trials(cell.search)), {})
    try:
        planned.seeds = seed_list(cell.seeds or [compose_settings({**cell.words, **first_trial}).seed], cell.number)
        planned.settings = (planned.search_trials or planned.places())[0].settings
    except (PtuneError, HydraException) as error:
        from ptune.explain import explain

        return Work(cell, planned.folder, stages=[cell.stage], problem=explain(error, "train").splitlines()[0])
    return planned


def compose_settings(words: Mapping[str, Any]) -> Train:
    """The settings of a run. Raises PtuneError or HydraException for overrides that do not fit together."""
    return build.settings(compose("train", [*hydra_flags("hydra.searchpath="), *overrides(words)]))


def selecting_score(folder: Path) -> float:
    """The score that a finished run's best evaluation was chosen by."""
    return float(RunFolder(folder).read_json("result.json")["selected"])


def trial_folder(trial: Words) -> str:
    """A trial as the name of its folder."""
    return ",".join(f"{key}={value}" for key, value in trial.items())


class Reach:
    """Whether data and weights are there, asked once for each corpus and checkpoint. ways: of what is not there."""

    def __init__(self) -> None:
        self.told: dict[str, str | None] = {}
        self.ways: dict[str, list[str]] = {}

    def lacking(self, s: Train) -> list[str]:
        """What a run needs that cannot be had: its data, its weights, or both; one line each."""
        return [line for line in (self.data(s), self.weights(s)) if line]

    def data(self, s: Train) -> str | None:
        """What is wrong with the task's data."""
        of_task = {name: s.task.get(name) for name in ("name", "source")}
        return self.describe_availability(json.dumps([of_task, asdict(s.data)], default=str), train.look_for_data, s)

    def weights(self, s: Train) -> str | None:
        """What is wrong with the backbone's checkpoint."""
        return self.describe_availability(json.dumps(s.backbone, default=str), train.look_for_weights, s)

    def describe_availability(self, key: str, look: Any, s: Train) -> str | None:
        """What a look says, in a line; nothing where all is there."""
        if key not in self.told:
            try:
                look(s)
                self.told[key] = None
            except PtuneError as error:
                first, *ways = str(error).splitlines()
                if isinstance(error, UnavailableError):
                    first, ways = error.fact, error.ways
                self.told[key], self.ways[first] = first, ways
        return self.told[key]


# What has changed since


def environment(folder: Path) -> dict[str, Any]:
    """A run's env.json; nothing where there is none."""
    path = folder / "env.json"
    return dict(bounded.read_json(path)) if path.is_file() else {}


def code(env: Mapping[str, Any]) -> str:
    """What of the code a run was made with, as far as its folder says: the commit, or the version; and libraries."""
    libraries = env.get("packages", {})
    versions = [f"{name} {libraries[name]}" for name in ("torch", "transformers") if name in libraries]
    commit, _, changed = str(env.get("code") or env.get("ptune")).partition("+")
    return ", ".join([f"ptune {commit[:12]}{f'+{changed}' if changed else ''}", *versions])


def current_provenance() -> str:
    """What a run would be made with now."""
    from importlib import metadata

    from ptune import __version__

    packages = {name: metadata.version(name) for name in ("torch", "transformers")}
    return code({"code": code_version(), "ptune": __version__, "packages": packages})


def other_code(works: Iterable[Work]) -> Iterator[str]:
    """A line for each version of the code, other than the one here, that finished runs are of."""
    now = current_provenance()
    cells_by_code: dict[str, list[str]] = {}
    for item in works:
        for place in item.every:
            if place.state == FINISHED and (was := code(environment(place.folder))) != now:
                cells_by_code.setdefault(was, []).append(item.cell.name)
    for was, cells in cells_by_code.items():
        yield f"{first_names(cells)}: run with {was}; here is {now}. rerun=true runs them again"


def other_data(works: Iterable[Work]) -> Iterator[str]:
    """A line for each corpus whose files are there, and no longer those that finished runs have read."""
    now: dict[str, dict[str, Any] | None] = {}
    cells_by_data: dict[str, list[str]] = {}
    for item in works:
        for place in item.every:
            if place.state != FINISHED or item.settings is None or item.settings.data.source == "hub":
                continue  # what is on the Hub has a revision, which is a setting
            s = item.settings
            key = json.dumps([s.task["name"], asdict(s.data)])
            if key not in now:
                now[key] = checksums(s)
            was = files_without_paths(environment(place.folder).get("data", {}).get("files", {}))
            if now[key] not in (None, was):
                cells_by_data.setdefault(s.task["name"], []).append(item.cell.name)
    for task, cells in cells_by_data.items():
        yield f"{first_names(cells)}: the files of {task} have changed since; rerun=true runs them again"


def checksums(s: Train) -> dict[str, Any] | None:
    """The checksums of a corpus's files by split; None where they are not there."""
    from ptune.data.corpora import missing, sources

    task, origin = leaf(s.task, s.packages), dict[str, Any]()
    try:
        splits = sources(task, s.data, origin)
    except PtuneError:
        return None
    if missing(task, splits, origin):
        return None
    return files_without_paths({split: source.files() for split, source in splits.items()})


def files_without_paths(files: Any) -> Any:
    """What is known of files but where they are."""
    from ptune.reports.results import without_paths

    return without_paths(files)


def first_names(cells: Sequence[str]) -> str:
    """Names of cells, the first few."""
    names = list(dict.fromkeys(cells))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
