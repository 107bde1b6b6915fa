"""What a person sees of a sweep while it goes on: a live view on a terminal, a line a job elsewhere."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ptune.progress import Progress
from ptune.sweeps.jobs import Job, Outcome

BESTS = 3  # tasks whose best score is shown
SHOWN = 12  # running jobs that are shown one by one
SECONDS_BETWEEN_UPDATES = 0.5
NO_FIGURE = "-"


class View:
    """Shows the jobs of a sweep: done, running, failed, the best of each task so far, the time left.

    Its messages are those of `Progress`, on standard error; quiet shows failures alone.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job], progress: Progress | None = None) -> None:
        self.folder, self.jobs, self.total = folder, jobs, len(jobs)
        self.progress = progress or Progress(any(job.settings is not None and job.settings.quiet for job in jobs))
        self.states: Counter[str] = Counter()
        self.best: dict[str, tuple[float, str, str]] = {}  # of each task: the score, what it is of, and whose it is
        self.seconds: dict[str, list[float]] = {}  # that jobs took, by method
        self.over: set[int] = set()  # jobs that have ended
        self.running: dict[int, tuple[Job, float]] = {}
        self.histories: dict[int, Latest] = {}  # by the job's number
        self.told: dict[str, Job] = {}  # by what was said of a failure: whose it was
        self.waiting = 0
        self.shown = 0.0
        self.live = Live(console=self.progress.console, auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()
        if isinstance(error, KeyboardInterrupt) and self.states["ok"] < self.total:
            done = f"{self.states['ok']} of {self.total} jobs are done"
            self.progress.say(f"{done}; run the same command again to resume")

    # What a sweep tells

    def warn(self, text: str) -> None:
        """One line that stands out."""
        self.progress.warn(text)

    def say(self, text: str) -> None:
        """One line."""
        self.progress.say(text)

    def found(self, job: Job, outcome: Outcome) -> None:
        """A job was finished before."""
        self._note(job, outcome)

    def begin(self, left: int) -> None:
        """So many jobs are to run."""
        self.waiting = left
        done, skipped = self.states["ok"], self.total - self.states["ok"] - left
        counts = [f"{done} done", *([f"{skipped} not to run"] if skipped else []), f"{left} to run"]
        self.say(f"{self.total} job{'s' * (self.total > 1)} in {short_path(self.folder)}: {', '.join(counts)}")
        if self.progress.live and left:
            self.live.start()

    def started(self, group: Sequence[Job]) -> None:
        """Jobs were started together."""
        now = time.monotonic()
        for job in group:
            self.waiting -= 1
            self.running[job.number] = job, now
            if not self.progress.live:
                self.say(f"{job_label(job)} started")
        self.update()

    def back(self, group: Sequence[Job]) -> None:
        """Jobs that were started wait again."""
        for job in group:
            self.waiting += 1
            self.running.pop(job.number, None)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job has ended."""
        if job.number in self.running:
            del self.running[job.number]
            if outcome.state == "ok":
                self.seconds.setdefault(method(job), []).append(outcome.seconds)
        self._note(job, outcome)
        if outcome.state == "pruned":
            self.say(f"{job_label(job)} {outcome.message}; {self.counted()}")
        elif outcome.state != "ok":
            label = outcome.state if outcome.state == outcome.kind else f"{outcome.state} ({outcome.kind})"
            first = self.told.setdefault(outcome.message, job)
            message = outcome.message if first is job else f"as {job_label(first)}"
            log = job.folder / "log.txt"
            link = (
                f"; log: {short_path(log)}" if outcome.kind not in ("config", "interrupted") and log.is_file() else ""
            )
            self.progress.console.print(f"{job_label(job)} {label}: {message}{link}", style="red", markup=False)
        elif not self.progress.live:
            figures = outcome.message or f"{figure(job)} {outcome.score:.2f}, {outcome.seconds:.0f} s"
            self.say(f"{job_label(job)} ok: {figures}; {self.counted()}")
        self.update()

    def _note(self, job: Job, outcome: Outcome) -> None:
        self.states[outcome.state] += 1
        self.over.add(job.number)
        if outcome.score is not None and job.settings is not None:
            task = str(job.settings.task["name"])
            if outcome.score > self.best.get(task, (-math.inf, "", ""))[0]:
                self.best[task] = outcome.score, figure(job), job.name or job_label(job)

    # What it looks like

    def update(self) -> None:
        """Draw the live view anew, unless that was a moment ago."""
        if self.live.is_started and (now := time.monotonic()) - self.shown > SECONDS_BETWEEN_UPDATES:
            self.shown = now
            self.live.update(self.drawn(), refresh=True)

    def counted(self) -> str:
        """How many jobs have ended, and how long the others will take."""
        counts = [f"{count} {state}" for state, count in self.states.items() if state != "ok"]
        seconds_left = self.left()
        return ", ".join(
            [
                f"{self.states['ok']} of {self.total} done",
                *counts,
                *([f"about {duration(seconds_left)} left"] if seconds_left else []),
            ]
        )

    def left(self) -> float | None:
        """Seconds left, if running jobs go on at the pace of their steps so far, and the others take as long as those
        of their method, or else of the slowest; None where a running job can be compared with nothing.
        """
        now = time.monotonic()
        means = {name: sum(seconds) / len(seconds) for name, seconds in self.seconds.items()}
        running = 0.0
        for job, since in self.running.values():
            spent, share = now - since, self.history(job).share
            expected = spent / share if share else means.get(method(job))
            if expected is None:
                return None
            running += max(0.0, expected - spent)
            means.setdefault(method(job), expected)
        if not means or not (self.running or self.waiting):
            return None
        waiting = [job for job in self.jobs if job.number not in self.over and job.number not in self.running]
        estimates = [means.get(method(job), max(means.values())) for job in waiting]
        to_come = self.waiting * sum(estimates) / len(estimates) if estimates else 0.0
        return (running + to_come) / max(1, len(self.running))

    def history(self, job: Job) -> Latest:
        """What there is of a job's course."""
        if job.number not in self.histories:
            epochs, most = (job.settings.epochs, job.settings.max_steps) if job.settings is not None else (0, None)
            self.histories[job.number] = Latest(job.folder / "metrics.jsonl", epochs, most)
        return self.histories[job.number]

    def drawn(self) -> Group:
        """The live view: how far the sweep is, the best of each task, and what is running."""
        finished = sum(self.states.values())
        head = Table.grid(padding=(0, 2, 0, 0))
        head.add_row(
            Text(short_path(self.folder), style="bold"),
            ProgressBar(self.total, finished, width=24),
            Text(f"{self.states['ok']} done", style="green"),
            Text(f"{len(self.running)} running"),
            Text(f"{self.states['failed']} failed", style="red" if self.states["failed"] else "dim"),
            Text(f"{self.waiting} waiting", style="dim"),
            Text("" if (seconds_left := self.left()) is None else f"about {duration(seconds_left)} left"),
        )
        lines: list[Any] = [head]
        for task, (score, of, name) in list(self.best.items())[:BESTS]:
            lines.append(
                Text(f"  best {task} {of} {score:.2f}  {name}", style="cyan", no_wrap=True, overflow="ellipsis")
            )
        grid = Table.grid(padding=(0, 2, 0, 0))
        for column in ("job", "name", "figures", "time"):
            grid.add_column(no_wrap=True, overflow="ellipsis", justify="right" if column == "time" else "left")
        now = time.monotonic()
        for job, since in list(self.running.values())[:SHOWN]:
            grid.add_row(f"  job {job.number}", job.name, str(self.history(job)), clock(now - since))
        if len(self.running) > SHOWN:
            grid.add_row("", f"and {len(self.running) - SHOWN} more", "", "")
        return Group(*lines, grid)


def job_label(job: Job) -> str:
    """A job in messages."""
    return f"job {job.number} ({job.name})" if job.name else f"job {job.number}"


def method(job: Job) -> str:
    """What a job trains."""
    return str(job.settings.method["name"]) if job.settings is not None else ""


def figure(job: Job) -> str:
    """What a job's score is of."""
    assert job.settings is not None
    return f"{job.settings.select_on} {job.settings.metric}"


def short_path(path: Path) -> str:
    """A path as short as it can be said here."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


class Latest:
    """The last step and the last score of a run's history, which is read on from where the last look ended.

    epochs, most: those of the run, and the steps that it takes at most, which say how many there will be.
    """

    def __init__(self, path: Path, epochs: int = 0, most: int | None = None) -> None:
        self.path, self.epochs, self.most = path, epochs, most
        self.read, self.step, self.steps, self.score = 0, 0, 0, ""

    def __str__(self) -> str:
        self.look()
        of = f"/{self.steps}" if self.steps >= self.step else ""
        return "  ".join(part for part in (f"step {self.step}{of}" * bool(self.step), self.score) if part) or NO_FIGURE

    @property
    def share(self) -> float:
        """How much of the steps is done; 0 where that cannot be told."""
        self.look()
        return self.step / self.steps if 0 < self.step <= self.steps else 0.0

    def look(self) -> None:
        """Read what is new."""
        with suppress(OSError), self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self.read:  # cut, as where a run goes on
                self.read, self.step, self.steps, self.score = 0, 0, 0, ""
            file.seek(self.read)
            lines = file.read().rpartition(b"\n")[:2]
            self.read += sum(map(len, lines))
            for line in lines[0].split(b"\n"):
                self._note(line)

    def _note(self, line: bytes) -> None:
        with suppress(ValueError):
            event: Mapping[str, Any] = json.loads(line)
            self.step = int(event["step"])
            if epoch := event.get("epoch"):
                self.steps = self.epochs * round(self.step / epoch)
                self.steps = min(self.steps, self.most or self.steps)
            if event["event"] == "eval":
                self.score = f"{event['split']} {event['metric']} {event['selected']:.1f}"


def duration(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """A length of time as a clock shows it."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
