"""`hydra/launcher=local`: every job of a sweep in a process of its own, several at a time on this machine.

A job that is killed, crashes, exits or runs out of memory costs itself alone. The processes share the machine's
threads; micro-batches are those of a run that has them all, sums can differ in their last bits, and so can scores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra_plugins.ptune.sweep import Group, Sweep

from ptune.sweeps.jobs import Job, Process

if TYPE_CHECKING:
    from ptune.sweeps.view import View

BYTES_OF_A_JOB = 4e9  # of the memory that is free, for each job that runs at once


class LocalLauncher(Sweep):
    """n_jobs: how many at a time; null: one a core that there is memory for, and one where there is a GPU."""

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs, self.places = n_jobs, 1

    def groups(self, jobs: Sequence[Job], view: View) -> list[list[Job]]:
        """Each job by itself."""
        self.places = max(1, min(self.n_jobs or jobs_at_once(jobs), len(jobs)))
        return [[job] for job in jobs]

    def room(self, group: Group, running: Sequence[Group]) -> bool:
        """As many as there are places."""
        return len(running) < self.places

    def start(self, group: Group) -> Process:
        """Start a process."""
        return Process(group, self.places)


def jobs_at_once(jobs: Sequence[Job]) -> int:
    """How many jobs this machine takes at once: one on a GPU, else one a core that there is memory for."""
    import psutil

    from ptune import build

    if any(job.settings is not None and build.device(job.settings.device).type == "cuda" for job in jobs):
        return 1
    return min(len(os.sched_getaffinity(0)), int(psutil.virtual_memory().available / BYTES_OF_A_JOB))
