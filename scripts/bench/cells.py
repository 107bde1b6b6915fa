"""Cells of a comparison, each a training run of its own: what is there is not run again, so a program can be
stopped, started, and run twice at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar

C = TypeVar("C", bound="Named")

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000",
}  # fmt: skip


STEP = 3.0  # between two rates of a search that is widened
MOST = 4  # rates beyond the first ones


def search(first: Sequence[float], selected: Callable[[float], float | None]) -> tuple[list[float], float | None]:
    """(the rates to try, the best of them), widened by a step while the best stands at an edge, MOST times at most.

    selected: the score that a rate is judged by; the best is None until all are there.
    """
    rates = sorted(first)
    while True:
        scores = [score for rate in rates if (score := selected(rate)) is not None]
        if len(scores) < len(rates):
            return rates, None
        best = scores.index(max(scores))
        if len(rates) == len(first) + MOST:
            return rates, rates[best]
        if best == len(rates) - 1 and rates[-1] < 1.0:
            rates.append(rates[-1] * STEP)
        elif best == 0 and rates[0] > 1e-6:
            rates.insert(0, rates[0] / STEP)
        else:
            return rates, rates[best]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def write(path: Path, kept: dict[str, Any]) -> None:
    """A cell's file, whole or not at all."""
    path.with_suffix(".tmp").write_text(json.dumps(kept, indent=1) + "\n")
    path.with_suffix(".tmp").replace(path)


class Named(NamedTuple):
    """What a cell must have: a name, which is its file's."""

    name: str


class Cells(ABC, Generic[C]):
    """Runs what `missing` gives, `workers` at a time, each cell in a process of its own; subclasses say what."""

    def __init__(self, out: Path, workers: int, threads: int) -> None:
        self.out, self.workers, self.threads = out, workers, threads
        self.running: dict[C, IO[str]] = {}
        self.failed: set[C] = set()
        self.lock = threading.Lock()

    @abstractmethod
    def missing(self) -> Iterable[C]:
        """Cells that can run now, in order."""

    @abstractmethod
    def stored(self, cell: C) -> dict[str, Any] | None:
        """What is there of a cell."""

    @abstractmethod
    def command(self, cell: C) -> Sequence[str]:
        """The command that makes the cell's file."""

    @abstractmethod
    def told(self, found: dict[str, Any]) -> str:
        """A finished cell in a few words."""

    def take(self) -> C | None:
        """The next cell that no process has in hand; None where there is none for now."""
        with self.lock:
            for cell in self.missing():
                if cell in self.running or cell in self.failed:
                    continue
                claim = (self.out / f"{cell.name}.lock").open("w")
                with suppress(BlockingIOError):
                    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends
                    if self.stored(cell) is None:
                        self.running[cell] = claim
                        return cell
                claim.close()
        return None

    def work(self) -> None:
        """Run cells until none is left."""
        while set(self.missing()) - self.failed:
            cell = self.take()
            if cell is None:
                time.sleep(2)  # what is settled elsewhere opens more cells
                continue
            started = time.perf_counter()
            threads = {"OMP_NUM_THREADS": str(self.threads), **ENVIRONMENT}
            done = subprocess.run(self.command(cell), env={**os.environ, **threads}, capture_output=True, text=True)
            with self.lock:
                self.running.pop(cell).close()
                if done.returncode:
                    self.failed.add(cell)
                    print(done.stderr, file=sys.stderr)
            found = self.stored(cell)
            said = self.told(found) if found else "FAILED"
            print(f"{cell.name}: {said}; {time.perf_counter() - started:.0f} s", flush=True)

    def run(self) -> None:
        """Run everything that is missing."""
        self.out.mkdir(parents=True, exist_ok=True)
        workers = [threading.Thread(target=self.work) for _ in range(self.workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
