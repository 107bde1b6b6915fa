"""What launchers share: jobs checked before the first starts, a ledger, what is finished left alone, failures told.

A launcher is a class on `Sweep` in a module of this folder, and a yaml in conf/hydra/launcher. It says how jobs are
started and how many at a time; one that takes several of them into one process also says which.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from ptune.errors import ConfigError, PtuneError
from ptune.runs import halt
from ptune.runs.folder import RunFolder
from ptune.sweeps.jobs import Job, Outcome, compose_jobs, failure, interrupt, without_hydra
from ptune.sweeps.ledger import Ledger, events

if TYPE_CHECKING:  # Hydra imports every launcher each time it starts
    from ptune.sweeps.view import View

SECONDS_BETWEEN_LOOKS = 0.1
GRACE = 30.0  # seconds that jobs have to end in once they are told to
ALIKE = 3  # jobs that fail in one way, with none of the sweep that does not: nothing to hope for
COUNTS = ("n_jobs", "runs", "nodes", "tasks_per_node", "cpus_per_task", "timeout_min")  # at least 1, or null
SIZES = ("requeue", "retries", "cpus", "gpus", "memory", "memory_gb", "gpus_per_node", "mem_gb")  # at least 0
WELL = ("ok", "pruned")  # states of jobs with which nothing is wrong
Group = Sequence[Job]


class Running(Protocol):
    """Jobs that were started together."""

    def poll(self) -> list[Outcome] | None:
        """How they ended, in their order; None while they go on."""

    def stop(self) -> None:
        """Ask them to end; `poll` says how they did."""

    def kill(self) -> None:
        """End them without asking."""


class Returned(JobReturn):
    """What Hydra is to know of a job. A failed one returns NaN, where Hydra's own would raise: a sweep goes on."""

    @property
    def return_value(self) -> Any:
        """The selecting score."""
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class Sweep(Launcher):
    """A list of jobs from start to end, whoever runs them."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """See Hydra."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.failures: list[Outcome] = []  # of jobs that were run
        self.well = False  # whether a job has come to its end, now or before
        self.check()

    def check(self) -> None:
        """Raises ConfigError for settings that are not of their kind."""
        from ptune.leaves import check_settings

        settings = OmegaConf.to_container(self.config.hydra.launcher, resolve=True)
        assert isinstance(settings, dict)
        options = {str(name): value for name, value in settings.items() if name != "_target_"}
        problems = [*check_settings("hydra.launcher", type(self), options)]
        if problems := problems or [*counts("hydra.launcher", options)]:
            raise ConfigError(problems)

    @abstractmethod
    def start(self, group: Group) -> Running:
        """Start jobs of a group, which are one unless `groups` says otherwise."""

    @abstractmethod
    def room(self, group: Group, running: Sequence[Group]) -> bool:
        """Whether a group can be started beside those that are running."""

    def groups(self, jobs: Sequence[Job], view: View) -> list[list[Job]]:
        """The jobs in the order to start them in, those together that share a process; says to `view` what is to say.

        A group that ends as a whole is tried again in halves, in the end each job alone.
        """
        return [[job] for job in jobs]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs that are not finished; what all of them returned, in their order.

        A failed job returns NaN, and so does one that an observer has ended. Raises PtuneError where the sweep has
        nothing to hope for, Interrupted and KeyboardInterrupt when it is told to end, after its jobs have.
        """
        from ptune.sweeps.view import View

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        jobs = compose_jobs(self.hydra_context.config_loader, self.config, job_overrides, initial_job_idx)
        if not jobs:
            return []
        with Ledger(folder) as ledger, View(folder, jobs) as view, told_to_end():
            course = Course(self, ledger, view)
            course.run(jobs)
        if self.well and hasattr(self.task_function, "well"):
            self.task_function.well = True
        return [self.hydra_return(job, course.done[job.number]) for job in jobs]

    def hydra_return(self, job: Job, outcome: Outcome) -> JobReturn:
        """What Hydra is to know of a job that has ended."""
        returned = Returned(job.overrides, without_hydra(job.config), working_dir=os.getcwd(), task_name="train")
        returned.hydra_cfg = OmegaConf.masked_copy(job.config, "hydra")
        returned.status = JobStatus.COMPLETED if outcome.state in WELL else JobStatus.FAILED
        returned.return_value = float("nan") if outcome.score is None else outcome.score
        self.hydra_context.callbacks.on_job_end(config=job.config, job_return=returned)
        return returned


class Course:
    """The course of one list of jobs. done: how each has ended, by its number."""

    def __init__(self, launcher: Sweep, ledger: Ledger, view: View) -> None:
        self.launcher, self.ledger, self.view = launcher, ledger, view
        self.done: dict[int, Outcome] = {}
        self.same: dict[str, list[Job]] = {}  # by their identity, jobs that wait for what becomes of another
        self.begun: set[int] = set()
        self.running: list[tuple[Group, Running]] = []
        self.full = False  # no more are taken until one has ended

    def run(self, jobs: Sequence[Job]) -> None:
        """Take all of them to their end."""
        waiting = self.launcher.groups(self.sorted_out(jobs), self.view)
        try:
            while (waiting and not self.hopeless) or self.running:
                while waiting and not self.hopeless and self.room(waiting[0]):
                    if not self.start(waiting[0]):
                        break
                    waiting.pop(0)
                for group, outcomes in self.ends():
                    self.full = False
                    if len(group) > 1 and any(outcome.shared and outcome.state == "failed" for outcome in outcomes):
                        self.view.warn(f"{numbers(group)} together: {outcomes[0].message}; {outcomes_of_group(group)}")
                        waiting[:0] = halves(group)
                        self.view.back(group)
                        continue
                    for job, outcome in zip(group, outcomes, strict=True):
                        self.end(job, outcome)
                self.view.update()
                time.sleep(SECONDS_BETWEEN_LOOKS if self.running else 0)
        except BaseException:
            self.interrupt()
            raise
        if waiting:
            reason, unstarted = self.launcher.failures[0], sum(map(len, waiting))
            raise PtuneError(
                f"stopping with {unstarted} job{'s' * (unstarted > 1)} not run: the first {ALIKE} failed the same way "
                f"({reason.kind}: {reason.message})"
            )

    def sorted_out(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are to run. The others have ended: finished before, refused, or the same as another."""
        run_folders = (
            (event["identity"], self.ledger.folder / event["folder"]) for event in events(self.ledger.folder)
        )
        finished = {identity: folder for identity, folder in run_folders if is_finished(folder)}
        folders: dict[Path, Job] = {}
        remaining = []
        for job in jobs:
            score = None
            try:
                wrong = job.error or folder_problem(job, folders.get(job.folder))
                if wrong is None and is_finished(job.folder):
                    score = selecting_score(job.folder)
            except PtuneError as damaged:
                wrong = failure(damaged)
            folders.setdefault(job.folder, job)
            if wrong is not None:
                self.note(job, wrong)
            elif score is not None:
                self.launcher.well = True
                self.done[job.number] = Outcome("ok", score=score)
                self.view.found(job, self.done[job.number])
            elif (twin := finished.get(job.identity)) is not None:
                self.launcher.well = True
                self.end(job, Outcome("ok", message=same(twin), score=selecting_score(twin)))
            elif job.identity in self.same:
                self.same[job.identity].append(job)
            else:
                self.same[job.identity] = []
                remaining.append(job)
        self.view.begin(len(remaining))
        return remaining

    @property
    def hopeless(self) -> bool:
        """Whether the first jobs that were run have failed, all in one way."""
        first = [outcome.fingerprint for outcome in self.launcher.failures[:ALIKE]]
        return not self.launcher.well and len(first) == ALIKE and len({*first}) == 1

    def room(self, group: Group) -> bool:
        """Whether a group can be started now."""
        return not self.full and self.launcher.room(group, [running for running, _ in self.running])

    def start(self, group: Group) -> bool:
        """Start jobs; says whether they were, or have failed, and need no further try.

        They wait for an end where they are not taken beside others, as where a cluster limits how many it takes.
        """
        self.begun |= {job.number for job in group}
        try:
            running = self.launcher.start(group)
        except PtuneError as error:
            if self.running:
                self.full = True
                return False
            self.view.waiting -= len(group)
            for job in group:
                self.end(job, failure(error))
            return True
        self.running.append((group, running))
        for job in group:
            self.record(job, Outcome("started"))
            self.launcher.hydra_context.callbacks.on_job_start(
                config=job.config, task_function=self.launcher.task_function
            )
        self.view.started(group)
        return True

    def ends(self) -> Iterator[tuple[Group, list[Outcome]]]:
        """The groups that have ended since the last look."""
        for group, running in list(self.running):
            if (outcomes := running.poll()) is not None:
                self.running.remove((group, running))
                yield group, outcomes

    def end(self, job: Job, outcome: Outcome) -> None:
        """Take note of how a job ended, and with it those that are the same."""
        if job.number in self.begun and outcome.state == "failed":
            self.launcher.failures.append(outcome)
        elif job.number in self.begun and outcome.state != "interrupted":
            self.launcher.well = True
        self.note(job, outcome)
        for twin in self.same.pop(job.identity, []):
            self.note(twin, replace(outcome, message=same(job.folder), seconds=0.0))

    def note(self, job: Job, outcome: Outcome) -> None:
        """Write down how a job ended, and say so."""
        self.done[job.number] = outcome
        self.record(job, outcome)
        self.view.ended(job, outcome)
        if outcome.state not in WELL and hasattr(self.launcher.task_function, "failed"):
            self.launcher.task_function.failed[job.number] = outcome.kind

    def record(self, job: Job, outcome: Outcome) -> None:
        """Write an event of the ledger."""
        self.ledger.add(
            {
                "job": job.number,
                "overrides": job.overrides,
                "folder": os.path.relpath(job.folder, self.ledger.folder),
                "identity": job.identity,
                "state": outcome.state,
                "kind": outcome.kind,
                "message": outcome.message,
                "fingerprint": outcome.fingerprint,
                "seconds": round(outcome.seconds, 3),
                "score": outcome.score,
            }
        )

    def interrupt(self) -> None:
        """End what is running, gently for a while; jobs that were cut off are told so in the ledger."""
        for _, running in self.running:
            running.stop()
        until = time.monotonic() + GRACE
        try:
            while self.running and time.monotonic() < until:
                self.take_leave()
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            for _, running in self.running:
                running.kill()
            while self.running:
                self.take_leave()

    def take_leave(self) -> None:
        """Note how jobs ended that were told to: those that have come to their end are well all the same."""
        for group, outcomes in self.ends():
            for job, outcome in zip(group, outcomes, strict=True):
                cut = outcome if outcome.state in WELL else Outcome("interrupted", "interrupted", "cut off")
                self.end(job, replace(cut, seconds=outcome.seconds))


@contextmanager
def told_to_end() -> Iterator[None]:
    """Raise Interrupted where a signal asks this process to end; outside of the main thread nothing does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (number for number in halt.SIGNALS if number != signal.SIGINT)
    numbers = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def counts(key: str, given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with numbers among the settings below a key."""
    for names, least, words in ((COUNTS, 1, "at least 1, or null"), (SIZES, 0, "at least 0")):
        for name in names:
            if isinstance(value := given.get(name), int | float) and not value >= least:
                yield f"{key}.{name}: {value} is too small; {words}"


def folder_problem(job: Job, first: Job | None) -> Outcome | None:
    """What is wrong with a job's folder: another job has it, or it holds a run of other settings."""
    environment, wrong = job.folder / "env.json", ""
    env = RunFolder(job.folder).read_json(environment.name) if environment.is_file() else {}
    if first is not None and first.identity != job.identity:
        wrong = f"hydra.sweep.subdir: job {first.number} has the same folder {job.folder}"
    elif env.get("identity", job.identity) != job.identity:
        wrong = f"{job.folder} holds a run with other settings; remove it or choose another hydra.sweep.dir"
    return failure(PtuneError(wrong)) if wrong else None


def is_finished(folder: Path) -> bool:
    """Whether a run has its final figures."""
    return (folder / "result.json").is_file()


def selecting_score(folder: Path) -> float:
    """The selecting score of a finished run."""
    try:
        return float(RunFolder(folder).read_json("result.json")["selected"])
    except (LookupError, TypeError, ValueError):
        raise PtuneError(f"{folder / 'result.json'}: damaged (no selecting score)") from None


def same(folder: Path) -> str:
    """What is said of a job that another one answers for."""
    return f"the same configuration as {folder.name}; its result stands for both"


def halves(group: Group) -> list[list[Job]]:
    """The two halves of a group that ended as a whole."""
    middle = len(group) // 2
    return [list(group[:middle]), list(group[middle:])]


def outcomes_of_group(group: Group) -> str:
    """What becomes of the jobs of a group that ended as a whole."""
    return "retrying them in halves" if len(group) > 2 else "retrying them one by one"


def numbers(jobs: Sequence[Job]) -> str:
    """Which jobs, for messages."""
    listed = ", ".join(str(job.number) for job in jobs[:12]) + (", ..." if len(jobs) > 12 else "")
    return f"job{'s' * (len(jobs) > 1)} {listed}"
