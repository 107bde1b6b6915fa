"""`hydra/launcher=submitit`: every job of a sweep is a job of SLURM, by the submitit library.

Jobs are submitted one by one, and their outcomes read from the sweep's folder, which must be on a file system that the
cluster shares. One that is preempted or runs out of time is queued again and goes on from its newest checkpoint. With
several tasks a job is one run of as many ranks (see ptune.ranks). A sweep that died finds the jobs again that SLURM
still has. executor=local does all of it on this machine.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_plugins.ptune.local import jobs_at_once
from hydra_plugins.ptune.sweep import Group, Sweep

from ptune import bounded, ranks
from ptune.errors import ConfigError, PtuneError
from ptune.sweeps.jobs import Job, Outcome, Spec, attempt, fingerprint, log_to

if TYPE_CHECKING:
    from ptune.sweeps.view import View

SECONDS_BETWEEN_LOOKS = 1.0  # at one job, on a file system that may be far away
PATIENCE = 15.0  # seconds until what an ended job has written is surely seen here
KILLED = 120.0  # seconds within which SLURM kills what it has sent SIGTERM (KillWait, 30 s where nothing else is set)
LATE = Outcome("interrupted", "interrupted", "out of time; raise hydra.launcher.timeout_min or hydra.launcher.requeue")
# How jobs end that SLURM says this of, and that have left no outcome; others were killed.
SUBMITTED = "jobs.jsonl"  # of a sweep's submitit folder: which jobs of SLURM its jobs are
STATES = {
    "OUT_OF_MEMORY": ("failed", "oom"),
    "TIMEOUT": ("interrupted", "interrupted"),
    "CANCELLED": ("interrupted", "interrupted"),
}


class SubmititLauncher(Sweep):
    """executor: slurm or local; n_jobs: how many are submitted at a time, null for all (local: for as many as there is
    room for); requeue: how often a job that runs out of time is queued again; slurm: settings of SLURM alone, and the
    others what a job is given, in submitit's names.
    """

    def __init__(
        self,
        executor: str = "slurm",
        n_jobs: int | None = None,
        requeue: int = 3,
        slurm: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        self.executor, self.n_jobs, self.requeue = executor, n_jobs, requeue
        self.slurm, self.given = slurm, given
        self.places = self.beside = 1

    @property
    def parameters(self) -> dict[str, Any]:
        """What a job is given, in submitit's names."""
        return {**self.given, **{f"slurm_{name}": value for name, value in (self.slurm or {}).items()}}

    def groups(self, jobs: Sequence[Job], view: View) -> list[list[Job]]:
        """Each job by itself."""
        local, self.view = self.executor == "local", view
        self.submitter = self.make_executor(Path(str(self.config.hydra.sweep.dir)).absolute() / "submitit")
        self.places = max(1, min(self.n_jobs or (jobs_at_once(jobs) if local else len(jobs)), len(jobs)))
        if local:  # where jobs and their tasks share the threads; SLURM gives each its own
            self.beside = self.places * int(self.parameters.get("tasks_per_node") or 1)
        return [[job] for job in jobs]

    def make_executor(self, folder: Path) -> Any:
        """What submits. Raises ConfigError for settings that submitit does not know, and where there is no SLURM."""
        try:
            import submitit
        except ModuleNotFoundError:
            text = "needs the submitit library: pip install 'ptune[submitit]'"
            raise ConfigError([f"hydra/launcher=submitit: {text}"]) from None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # jobs run what is written here
        self.folder = folder
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.executor, slurm_max_num_timeout=self.requeue)
            executor.update_parameters(**{name: value for name, value in self.parameters.items() if value is not None})
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError([f"hydra.launcher: {str(error).splitlines()[0]}"]) from None
        return executor

    def room(self, group: Group, running: Sequence[Group]) -> bool:
        """As many as are submitted at a time."""
        return len(running) < self.places

    def start(self, group: Group) -> Submitted:
        """Submit a job that SLURM does not have of an earlier sweep. Raises PtuneError where SLURM does not take it."""
        from submitit.core.utils import FailedSubmissionError, UncompletedJobError

        slurm = self.executor == "slurm"
        if slurm and (queued := self.queued(group)) is not None:
            self.view.warn(f"{group[0].folder.name}: still SLURM's job {queued.job_id}, which this sweep now follows")
            return Submitted(queued, len(group))
        try:
            submitted = self.submitter.submit(Attempt([job.spec for job in group], self.beside))
            if slurm:
                self.keep(group, submitted)
            return Submitted(submitted, len(group))
        except (FailedSubmissionError, UncompletedJobError, OSError) as error:
            lines = [line for line in str(error).splitlines() if line.strip(" -")] or [type(error).__name__]
            raise PtuneError(f"hydra.launcher: a job could not be submitted ({lines[-1]})") from None

    def keep(self, group: Group, made: Any) -> None:
        """Write down which of SLURM's jobs a group is."""
        record = {"identities": [job.identity for job in group], "job": made.job_id, "tasks": made.num_tasks}
        with (self.folder / SUBMITTED).open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(record)}\n")  # on a line of its own, should the one before have been cut off

    def queued(self, group: Group) -> Any:
        """The job of SLURM that a sweep before this one has submitted for a group, if it waits or runs."""
        from submitit import SlurmJob

        kept_record = None
        with suppress(FileNotFoundError):
            for line in (self.folder / SUBMITTED).read_text(encoding="utf-8").splitlines():
                with suppress(PtuneError):  # a line that was cut off
                    record = bounded.parse_json(line, SUBMITTED)
                    if isinstance(record, dict) and record.get("identities") == [job.identity for job in group]:
                        kept_record = record
        if kept_record is None:
            return None
        job: Any = SlurmJob(self.folder, str(kept_record["job"]), tasks=range(int(kept_record["tasks"])))
        state = job.watcher.get_state(job.job_id, mode="force").upper()
        return None if state == "UNKNOWN" or job.watcher.is_done(job.job_id, mode="cache") else job


class Submitted:
    """Jobs that were submitted as one."""

    def __init__(self, job: Any, count: int) -> None:
        self.job, self.count = job, count
        self.started = time.monotonic()
        self.looked = self.gone = 0.0
        self.told_to_end = False

    def poll(self) -> list[Outcome] | None:
        """See `Running`; of several tasks, what the one says that has something to say."""
        now = time.monotonic()
        if now - self.looked < SECONDS_BETWEEN_LOOKS and not self.told_to_end:
            return None
        self.looked = now
        if not self.told_to_end and not self.job.done():
            return None
        if outcomes := next(filter(None, self.said()), None):
            return outcomes
        self.gone = self.gone or now
        if now - self.gone < PATIENCE and not self.told_to_end and self.lost.state != "interrupted":
            return None
        return [replace(self.lost, seconds=now - self.started, shared=self.count > 1)] * self.count

    def said(self) -> Iterator[list[Outcome]]:
        """What each task has left."""
        from submitit.core.utils import pickle_load

        for number in range(self.job.num_tasks):
            path = self.job.task(number).paths.result_pickle
            if path.is_file():
                status, outcome = pickle_load(path)
                yield outcome if status == "success" else [broken(str(outcome))] * self.count

    @property
    def lost(self) -> Outcome:
        """How jobs ended that left nothing."""
        word = str(self.job.state).upper()
        state, kind = next((end for name, end in STATES.items() if word.startswith(name)), ("failed", "killed"))
        log = self.job.task(0).paths.stderr
        message = f"submitit job {self.job.job_id} ended as {word} and reported no outcome; see {log}"
        return Outcome(state, kind, message, fingerprint(kind, word))

    def stop(self) -> None:
        """See `Running`."""
        self.job.cancel(check=False)

    def kill(self) -> None:
        """See `Running`."""
        self.stop()
        self.told_to_end = True


def broken(trace: str) -> Outcome:
    """What ended a task before it came to its job, as a module that is not there."""
    message = trace.strip().splitlines()[-1]
    return Outcome("failed", "code", message, fingerprint("code", message))


def preemption() -> signal.Signals:
    """What submitit has a job told with that it has to go."""
    from submitit.core.job_environment import JobEnvironment

    return signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]


class Attempt:
    """What a task of a job does, pickled when the job is submitted."""

    def __init__(self, specs: Sequence[Spec], beside: int) -> None:
        """beside: how many processes share the machine's threads, with this one."""
        self.specs, self.beside, self.cut = specs, beside, False

    def __call__(self) -> list[Outcome]:
        """How the jobs ended; nothing, where another rank says it."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment
        from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

        from ptune import threads

        # Each rank takes the GPU of its number; with one visible to each, NCCL could not pass memory between them.
        environment = TorchDistributedEnvironment()
        if environment.world_size > 1:
            environment.export(set_cuda_visible_devices=False, overwrite=True)
        if environment.rank == 0:
            log_to(self.specs)
        threads.divide(self.beside)
        try:
            outcomes = attempt(self.specs)
            message = outcomes[0].message
        except ranks.Ended as end:
            outcomes, message = [], str(end.__context__)
        if message.startswith(f"ended by {preemption().name}"):
            return self.again()
        if not outcomes:
            return []
        sigterm = message.startswith(f"ended by {signal.SIGTERM.name}")
        if sigterm and JobEnvironment().cluster == "slurm":  # which may have queued it again: an outcome would end it
            time.sleep(KILLED)
        if not self.cut:
            return outcomes
        if sigterm or message.startswith(SystemExit.__name__):  # submitit has queued it again
            sys.exit(LOCAL_REQUEUE_RETURN_CODE)
        return [LATE if outcome.state == "failed" else outcome for outcome in outcomes]

    def again(self) -> list[Outcome]:
        """Have a job queued again that was told to go and is saved: submitit hears now what the run has heard.

        SystemExit ends the first rank then; where submitit queues nothing again, that is how the jobs ended.
        """
        from submitit.core.utils import UncompletedJobError

        try:
            signal.raise_signal(preemption())
        except UncompletedJobError:
            return [LATE] * len(self.specs)
        return []

    def checkpoint(self) -> Any:
        """What submitit queues again when it is told that the job has to go: the same."""
        from submitit.helpers import DelayedSubmission

        resubmission = DelayedSubmission(Attempt(self.specs, self.beside))
        self.cut = True
        return resubmission
