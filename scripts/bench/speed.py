"""Speed comparisons: sides that take turns at the same work, so that a busy machine is as busy for each.

Every side is a process that waits (sides.py). They are told to go one after the other, round after round; a
comparison is the ratio of two sides within a round, and what is reported its median with the quartiles.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts/bench")]
from cells import ENVIRONMENT  # noqa: E402

SHARED = Path(os.environ.get("PTUNE_TEST_SHARED", ROOT.parent / "shared"))
RESULTS = ROOT / "scripts/bench/results/speed"


class Turn:
    """A side's process."""

    def __init__(self, spec: Mapping[str, Any], threads: int) -> None:
        environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, str(ROOT / "scripts/bench/sides.py"), json.dumps(spec)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.held = self.listen()["held"]

    def listen(self) -> dict[str, Any]:
        """The next line. Raises RuntimeError with what the process said last where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate()
            raise RuntimeError(f"a side has ended: {said[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def go(self) -> dict[str, Any]:
        """Take a round; its seconds, examples and peak memory so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.listen()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


class Told(NamedTuple):
    """A figure: the median of its rounds with the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def told(values: Sequence[float]) -> Told:
    """The median of some values with their quartiles."""
    if len(values) < 2:
        return Told(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Told(middle, low, high)


def rounds(specs: Mapping[str, Mapping[str, Any]], count: int, threads: int) -> dict[str, list[dict[str, Any]]]:
    """`count` rounds of every side, in turns, after one that does not count; of each its measurements.

    A side that works for its runs one after the other says so with "serial": its examples/s are those of one run.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in specs}
    turns: dict[str, Turn] = {}
    try:
        for name, spec in specs.items():
            turns[name] = Turn(spec, threads)
            turns[name].go()
        for number in range(count):
            for name, turn in turns.items():
                measured = turn.go()
                found[name].append({**measured, "held": turn.held, "rate": measured["examples"] / measured["seconds"]})
            line = "  ".join(f"{name} {each[-1]['rate']:.0f}" for name, each in found.items())
            print(f"round {number + 1} of {count}, examples/s: {line}", flush=True)
    finally:
        for turn in turns.values():
            turn.close()
    return found


def ratios(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str = "rate") -> Told:
    """How many times theirs ours is, round by round."""
    return told([a[key] / b[key] for a, b in zip(ours, theirs, strict=True)])


def machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on."""
    import platform

    import torch
    import transformers

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    return {
        "cpu": model, "cores": os.cpu_count(), "threads": threads, "torch": torch.__version__,
        "transformers": transformers.__version__, "load": os.getloadavg()[0],
    }  # fmt: skip


def keep(name: str, measured: Mapping[str, Any]) -> None:
    """Write the figures of a bench."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(measured, indent=1) + "\n")
