"""`hydra/launcher=ray`: every job of a sweep is a task of Ray, on this machine or on a cluster.

Ray queues the jobs and places them by the cores, GPUs and memory that each is to have. Each has a process of its own.
The sweep's folder must be on a file system that the cluster shares.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra_plugins.ptune.sweep import Group, Sweep

from ptune.errors import ConfigError, PtuneError
from ptune.sweeps.jobs import Job, Outcome, Spec, attempt, failure, fingerprint, log_to

if TYPE_CHECKING:
    from ptune.sweeps.view import View


class RayLauncher(Sweep):
    """address: of a cluster, null for one on this machine while the sweep goes on; n_jobs: how many are handed to Ray
    at a time, null for all; cpus, gpus, memory_gb: of each job; retries: how often one whose process or machine has
    gone is started again, from its newest checkpoint.
    """

    def __init__(
        self,
        address: str | None = None,
        n_jobs: int | None = None,
        cpus: float = 1,
        gpus: float = 0,
        memory_gb: float | None = None,
        retries: int = 0,
    ) -> None:
        self.address, self.n_jobs, self.retries = address, n_jobs, retries
        self.cpus, self.gpus, self.memory_gb = cpus, gpus, memory_gb

    @property
    def resources(self) -> dict[str, Any]:
        """What a job is given, in Ray's names."""
        memory = None if self.memory_gb is None else int(self.memory_gb * 1e9)
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": memory}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See Sweep; a connection to Ray is given back."""
        self.connected = False
        try:
            return super().launch(job_overrides, initial_job_idx)
        finally:
            if self.connected:
                import ray

                ray.shutdown()

    def groups(self, jobs: Sequence[Job], view: View) -> list[list[Job]]:
        """Each job by itself. Raises PtuneError where Ray is not to be had."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError(["hydra/launcher=ray: needs the Ray library: pip install 'ptune[ray]'"]) from None
        if jobs and not ray.is_initialized():
            try:
                options: dict[str, Any] = {} if self.address else {"include_dashboard": False}
                ray.init(self.address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
            except (ConnectionError, ValueError) as error:
                cluster = f"hydra.launcher.address: {self.address}" if self.address else "hydra/launcher=ray"
                raise PtuneError(f"{cluster}: Ray does not start ({str(error).splitlines()[0]})") from None
            self.connected = True
        return [[job] for job in jobs]

    def room(self, group: Group, running: Sequence[Group]) -> bool:
        """As many as are handed over at a time."""
        return self.n_jobs is None or len(running) < self.n_jobs

    def start(self, group: Group) -> Task:
        """Hand a job over."""
        import ray

        # A process for each job: what one leaves behind is no other's.
        remote: Any = ray.remote
        work = remote(max_calls=1, max_retries=self.retries, **self.resources)(logged)
        return Task(work.remote([job.spec for job in group]), len(group))


class Task:
    """Jobs that Ray has."""

    def __init__(self, reference: Any, count: int) -> None:
        self.reference, self.count = reference, count

    def poll(self) -> list[Outcome] | None:
        """See `Running`."""
        import ray

        ready, _ = ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            outcomes: list[Outcome] = ray.get(self.reference)
            return outcomes
        except ray.exceptions.TaskCancelledError:
            end = Outcome("interrupted", "interrupted", "told to stop")
        except ray.exceptions.RayTaskError as error:  # before it came to its job, as a module that is not there
            end = failure(error.cause or error)
        except ray.exceptions.RayError as error:
            kind = "oom" if isinstance(error, ray.exceptions.OutOfMemoryError) else "killed"
            lines = str(error).strip().splitlines() or [type(error).__name__]
            end = Outcome("failed", kind, lines[0], fingerprint(kind, type(error).__name__), shared=self.count > 1)
        return [end] * self.count

    def stop(self) -> None:
        """See `Running`."""
        self._cancel(force=False)

    def kill(self) -> None:
        """See `Running`."""
        self._cancel(force=True)

    def _cancel(self, force: bool) -> None:
        import ray

        ray.cancel(self.reference, force=force)


def logged(specs: Sequence[Spec]) -> list[Outcome]:
    """What the process of jobs does."""
    log_to(specs)
    return attempt(specs)
