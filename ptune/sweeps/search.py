"""A search: trials that Optuna draws from a space, each a job of the sweep in whose folder the search is kept.

study.journal  Optuna's record; the same command goes on from it
search.json    the space, every trial and the best one, for reports
best.yaml      the best one, with the command that trains it again
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from ptune.errors import ConfigError, PtuneError, nearest
from ptune.lock import lock
from ptune.runs.folder import RunFolder, write_atomically
from ptune.seeds import mix
from ptune.sweeps.space import Parameter, combinations, plain, words

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

JOURNAL, NAME = "study.journal", "search"
SAMPLERS = ("tpe", "random", "grid", "cmaes")
PRUNERS = ("median", "asha", "none")
TRIALS = 20  # unless n_trials says it, or the sampler is grid
REPEATS = 20  # proposals of what was tried before, until another way is taken
UNTRACKED = ("quiet", "tracker", "device", "observer")  # settings with which a search may go on otherwise
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "unfinished"}


@dataclass(frozen=True)
class Settings:
    """How to search, see conf/hydra/sweeper/optuna.yaml."""

    n_trials: int | None = None
    sampler: str = "tpe"
    seed: int = 1
    pruner: str = "median"
    startup: int = 5
    warmup: int = 1


@dataclass(frozen=True)
class Planned:
    """A trial that is to run: its number in the study, that of its job, and its point as overrides."""

    trial: int
    job: int
    words: list[str]


class Search:
    """The search of a sweep folder, which one process at a time goes on with."""

    def __init__(
        self, folder: Path, parameters: Sequence[Parameter], shared: Sequence[str], settings: Settings
    ) -> None:
        """shared: the overrides of all trials.

        Raises ConfigError where the folder holds another search, PtuneError where a process is at work on this one.
        """
        check(settings, parameters)
        library()
        self.folder, self.parameters, self.shared, self.settings = folder, parameters, [*shared], settings
        if (file := lock(folder / JOURNAL)) is None:
            raise PtuneError(
                f"{folder}: another search is running there; wait for it, or choose another folder with "
                "hydra.sweep.dir=DIR"
            )
        self.file = file
        try:
            mend(folder / JOURNAL)
            self.study, self.storage = study(folder / JOURNAL)
            self._begin()
        except BaseException:
            os.close(self.file)
            raise

    def _begin(self) -> None:
        """Write down what is searched, which must be what was searched before."""
        about = {
            "space": {one.key: one.as_record() for one in self.parameters},
            "shared": sorted(word for word in self.shared if first(word) not in UNTRACKED),
        }
        stored = self.study.user_attrs
        if changed := [key for key, value in about.items() if stored.get(key, value) != value]:
            command = " ".join(stored[changed[0]])
            raise ConfigError(
                [f"hydra.sweep.dir: {self.folder} holds another search ({command}); choose another folder"]
            )
        for key, value in {**about, "pruning": pruning(self.settings)}.items():
            if stored.get(key) != value:
                self.study.set_user_attr(key, value)

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.file)

    # Trials

    @property
    def trials(self) -> dict[int, FrozenTrial]:
        """The latest trial of each job."""
        trials = {t.user_attrs["job"]: t for t in self.study.get_trials(deepcopy=False) if "job" in t.user_attrs}
        return dict(sorted(trials.items()))

    @property
    def well(self) -> bool:
        """Whether a trial has come to its end, or to an observer's."""
        return any(trial.state.name in ("COMPLETE", "PRUNED") for trial in self.trials.values())

    @property
    def most(self) -> int | None:
        """How many jobs the search is to have; None for all there can be."""
        n_trials = self.settings.n_trials
        return TRIALS if n_trials is None and self.settings.sampler != "grid" else n_trials

    def left(self) -> list[list[Planned]]:
        """The trials that were cut off or have failed before, in groups of consecutive jobs, to run again."""
        planned = []
        for job, trial in self.trials.items():
            if trial.state.name == "FAIL":
                self.study.enqueue_trial(trial.params)
                planned.append(self._planned(self._ask(), job))
            elif trial.state.name == "RUNNING":
                planned.append(Planned(trial.number, job, words(self.parameters, trial.params)))
        consecutive = groupby(enumerate(planned), lambda item: item[1].job - item[0])
        return [[one for _, one in group] for _, group in consecutive]

    def ask(self, count: int) -> list[Planned]:
        """So many new trials, fewer where the search is at its end."""
        planned: list[Planned] = []
        for _ in range(count):
            jobs = len(self.trials)
            if (self.most is not None and jobs >= self.most) or (trial := self._propose()) is None:
                break
            planned.append(self._planned(trial, jobs))
        return planned

    def _planned(self, trial: Any, job: int) -> Planned:
        """Give a trial its job."""
        planned = Planned(trial.number, job, words(self.parameters, trial.params))
        trial.set_user_attr("words", planned.words)
        trial.set_user_attr("job", job)
        return planned

    def _propose(self) -> Any:
        """A trial at a point where none was before; None where there is no such point."""
        from optuna.trial import TrialState

        proposed = {tuple(trial.user_attrs["words"]) for trial in self.trials.values()}
        for _ in range(REPEATS if self.settings.sampler != "grid" else 0):
            trial = self._ask()
            if tuple(words(self.parameters, trial.params)) not in proposed:
                return trial
            self.study.tell(trial, state=TrialState.FAIL)  # no sampler learns from these
        points = combinations(self.parameters)
        for point in points or ():
            if tuple(words(self.parameters, point)) not in proposed:
                self.study.enqueue_trial(point)
                return self._ask()
        return None

    def _ask(self) -> Any:
        """A trial of the sampler, which draws by the number of trials before: so it does in a search that goes on."""
        count = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = sampler(self.settings.sampler, mix(self.settings.seed, count) % 2**32)
        return self.study.ask({one.key: one.distribution for one in self.parameters})

    def observer(self, planned: Planned) -> str:
        """The override that lets a job tell its trial of its evaluations."""
        path = str((self.folder / JOURNAL).absolute()).replace("\\", "\\\\").replace("'", "\\'")
        return f"++observer={{_target_:ptune.sweeps.search.Trial,study:'{path}',number:{planned.trial}}}"

    def tell(self, planned: Planned, folder: Path | None, score: float | None, error: str = "") -> str:
        """Record how a trial's job has ended: with a score, pruned as its folder says, or failed; the state."""
        from optuna.trial import TrialState

        pruned = folder is not None and RunFolder(folder).pruned
        state = TrialState.COMPLETE if score is not None else TrialState.PRUNED if pruned else TrialState.FAIL
        trial = self.study.get_trials(deepcopy=False)[planned.trial]._trial_id
        noted = {"folder": str(folder or ""), "error": error.splitlines()[0] if error else ""}
        for key, value in noted.items():
            if value:
                self.storage.set_trial_user_attr(trial, key, value)
        self.study.tell(planned.trial, score, state)
        return STATES[state.name]

    # The outcome

    def summary(self) -> dict[str, Any]:
        """What search.json holds."""
        trials = self.trials
        counts = Counter(STATES[trial.state.name] for trial in trials.values())
        complete = {job: trial for job, trial in trials.items() if trial.state.name == "COMPLETE"}
        value = max((float(trial.value or 0) for trial in complete.values()), default=None)
        equal = {job: trial for job, trial in complete.items() if trial.value == value}
        job = min(equal, default=None)
        best = None if job is None else {**self._told(job, trials[job]), "command": self.command(trials[job])}
        # with an equal inside the space it says nothing that one lies on the edge
        edges = {one.key: {one.edge(trial.params[one.key]) for trial in equal.values()} for one in self.parameters}
        return {
            "sampler": self.settings.sampler,
            "seed": self.settings.seed,
            "pruner": self.settings.pruner,
            "space": {one.key: one.as_record() for one in self.parameters},
            "overrides": self.shared,
            "n_trials": self.most,
            "counts": {state: counts[state] for state in STATES.values()},
            "best": best,
            "equal": [*equal],
            "edge": {key: next(iter(ends)) for key, ends in edges.items() if len(ends) == 1 and "" not in ends},
            "trials": [self._told(job, trial) for job, trial in trials.items()],
        }

    def command(self, trial: FrozenTrial) -> str:
        """The command that trains what a trial has trained."""
        overrides = [*self.shared, *trial.user_attrs["words"]]
        # a sweep's or an experiment's yaml may say that it is for several runs
        alone = ["hydra.mode=RUN"] if any(first(word) in ("sweep", "experiment") for word in overrides) else []
        return shlex.join(["ptune", "train", *overrides, *alone])

    def _told(self, job: int, trial: FrozenTrial) -> dict[str, Any]:
        """A trial as data."""
        record: dict[str, Any] = {
            "job": job,
            "state": STATES[trial.state.name],
            "selected": trial.value if trial.state.name == "COMPLETE" else None,
            "folder": relative(trial.user_attrs.get("folder"), self.folder),
            "overrides": trial.user_attrs["words"],
            "params": {key: plain(value) for key, _, value in (w.partition("=") for w in trial.user_attrs["words"])},
            "evaluations": [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
        }
        if error := trial.user_attrs.get("error"):
            record["error"] = error
        return record

    def write(self) -> dict[str, Any]:
        """Write search.json and best.yaml; returns the summary."""
        summary = self.summary()
        RunFolder(self.folder).write_json("search.json", summary)
        if summary["best"] is not None:
            best = {key: summary["best"][key] for key in ("command", "selected", "folder", "overrides", "params")}
            text = f"# The best trial of {self.folder.name}; search.json has the others.\n"
            data = text + yaml.safe_dump({**best, "edge": summary["edge"]}, sort_keys=False, width=1000)
            write_atomically(self.folder / "best.yaml", data.encode())
        return summary


def summary_lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """A summary as lines, each with its style."""
    counts, best = found["counts"], found["best"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "complete")
    yield f"search: {states}", None
    if best is None:
        yield "no trial is complete, so there is no best one", "bold yellow"
        return
    point = " ".join(best["overrides"])
    yield f"best: {best['selected']:.2f} with {point}, in {best['folder']}", "bold"
    if n_equal := len(found["equal"]) - 1:
        yield f"{n_equal} other{'s' * (n_equal > 1)} with the same score; the first counts", None
    for key, end in found["edge"].items():
        yield f"ON THE EDGE: {key} is the {end} of the space; better values may lie outside, so widen it", "bold yellow"
    yield f"again: {best['command']}", None


class Trial:
    """The observer of a trial's job: it tells the study of each evaluation, and ends the run where the pruner says so.

    study: the journal; number: of the trial; folder: the run's, in that of its search, beside whose journal no other
    file is written to. What is wrong with the journal is told once and ends no run.
    """

    runtime = ("warn", "folder")

    def __init__(self, study: str, number: int, warn: Callable[[str], None], folder: Path) -> None:
        self.path, self.number, self.warn, self.folder = Path(study), number, warn, folder
        self.lost = False
        self.open: tuple[Study, JournalStorage] | None = None

    def evaluated(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """See training_run.Observer."""
        if self.lost:
            return None
        try:
            return self._asked(len(history), float(history[-1]["selected"]))
        except Exception as error:  # whatever a shared file system does, training is worth more
            self.lost = True
            self.warn(
                f"{self.path}: {type(error).__name__}: {error}; the run continues without reporting to its search"
            )
            return None

    def _asked(self, evaluation: int, score: float) -> str | None:
        """Report the score of an evaluation, counted from 1; why to end here, if to end."""
        if self.open is None:
            path = self.path.resolve()
            if path.name != JOURNAL or path.parent not in self.folder.resolve().parents:
                raise PtuneError(f"not the {JOURNAL} of a sweep that {self.folder} is a run of")
            if not path.is_file():  # Optuna would make one
                raise FileNotFoundError("no such study")
            self.open = study(self.path)
        own_study, storage = self.open
        settings, trial = own_study.user_attrs["pruning"], own_study.get_trials(deepcopy=False)[self.number]
        if trial.state.is_finished():  # the run goes on by hand
            return None
        storage.set_trial_intermediate_value(trial._trial_id, evaluation, score)
        if not pruner(**settings).prune(own_study, storage.get_trial(trial._trial_id)):
            return None
        return f"behind other trials at evaluation {evaluation} (pruner {settings['name']})"


# Optuna's parts


def study(path: Path) -> tuple[Study, JournalStorage]:
    """The study of a journal, which is made where there is none, and the journal. Raises PtuneError without Optuna."""
    optuna = library()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(path.absolute())))  # whose lock is a link to this very path
    created = optuna.create_study(storage=storage, study_name=NAME, direction="maximize", load_if_exists=True)
    return created, storage


def library() -> Any:
    """Optuna, told to be quiet. Raises PtuneError where it is not installed."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise PtuneError("hydra/sweeper=optuna: Optuna is not installed; pip install 'ptune[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def sampler(name: str, seed: int) -> BaseSampler:
    """Optuna's sampler of a name; of a grid only its points are taken."""
    from optuna import samplers

    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return samplers.TPESampler(seed=seed) if name == "tpe" else samplers.RandomSampler(seed=seed)


def pruning(s: Settings) -> dict[str, Any]:
    """What observers need to know of the pruner."""
    return {"name": s.pruner, "startup": s.startup, "warmup": s.warmup}


def pruner(name: str, startup: int, warmup: int) -> BasePruner:
    """Optuna's pruner of a name: none of the first `startup` trials, nor in the first `warmup` evaluations.

    asha: successive halving (Li et al. 2020, arXiv 1810.05934), at `warmup` evaluations, 4 times as many, and so on.
    """
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup + 1)
    if name == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=max(1, warmup))
    return pruners.NopPruner()


def check(s: Settings, parameters: Sequence[Parameter]) -> None:
    """Raise ConfigError for settings that do not hold, or a sampler that cannot serve the space."""
    problems = []
    for key, value, choices in (("sampler", s.sampler, SAMPLERS), ("pruner", s.pruner, PRUNERS)):
        if value not in choices:
            problems.append(f"hydra.sweeper.{key}: '{value}' is not a choice; {nearest(value, choices)}")
    for key, least in (("n_trials", 1), ("startup", 0), ("warmup", 0)):
        if (number := getattr(s, key)) is not None and number < least:
            problems.append(f"hydra.sweeper.{key}: {number} is too small; at least {least}")
    endless = [one.key for one in parameters if one.each() is None]
    if s.sampler == "grid" and endless:
        text = f"a grid needs lists of values, but {endless[0]} is an interval; list values, or use sampler=tpe"
        problems.append(f"hydra.sweeper.sampler: {text}")
    chosen = [one.key for one in parameters if one.values]
    if s.sampler == "cmaes" and (chosen or len(parameters) < 2):
        text = f"{chosen[0]} is a choice" if chosen else "there is only one setting"
        problems.append(f"hydra.sweeper.sampler: cmaes searches two or more intervals, but {text}; use sampler=tpe")
    if problems:
        raise ConfigError(problems)


def mend(path: Path) -> None:
    """Cut off a journal's last line where it is not whole: Optuna would read nothing after it."""
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


def first(word: str) -> str:
    """The first part of an override's key."""
    return word.lstrip("+~").partition("=")[0].partition(".")[0]


def relative(folder: str | None, root: Path) -> str:
    """A run's folder as seen from the sweep's, if it is there; nothing where there is none."""
    if not folder:
        return ""
    with suppress(ValueError):
        return str(Path(folder).relative_to(root.absolute()))
    return folder
