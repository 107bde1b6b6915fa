"""What is done to runs, and what must be left of them; `scripts/faults` and the tests here do the same things."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kit import Server, left, litter

from ptune.errors import PtuneError
from ptune.runs.folder import CHECKPOINT, RunFolder

SAVES = 64  # system calls of the tiny run's checkpoints
EVENTS = 24  # lines of its history
STEPS = 20
ANSWERS = 5  # batches that its evaluations answer, at the least
FILES = range(4, 24)  # of those that it writes whole, by their number


class Wrong(AssertionError):
    """A run that did not end as it must have."""


def require(holds: bool, *about: object) -> None:
    """Raise Wrong unless something holds."""
    if not holds:
        raise Wrong(*about)


def kill_points(count: int) -> list[dict[str, Any]]:
    """Where a run is killed: system calls inside its checkpoints, then other places, then moments; evenly chosen."""
    every: list[dict[str, Any]] = [{"in_save": i + 1} for i in range(SAVES)]
    every += [{"after_event": i + 1} for i in range(EVENTS)]
    every += [{"in_step": i + 1} for i in range(STEPS)]
    every += [{"in_evaluation": i + 1} for i in range(ANSWERS)]
    every += [{"moment": i} for i in range(200 - len(every))]
    return spread(every, count)


def spread(points: Sequence[Any], count: int) -> list[Any]:
    """So many of the points, evenly chosen."""
    count = min(count, len(points))
    return [points[i * len(points) // count] for i in range(count)]


def killed(server: Server, folder: Path, fault: dict[str, Any], seconds: float) -> bool:
    """Train in a folder and be killed at a point, or at a moment of the seconds that a run takes; says whether."""
    if "moment" not in fault:
        ended = server.train(folder, **fault)
    else:
        moment = random.Random(int(fault["moment"])).random() * seconds
        ended = server.train(folder, after=moment)
    require(ended.code in (0, -signal.SIGKILL), fault, ended)
    return ended.code != 0


def kill(server: Server, base: Path, fault: dict[str, Any], whole: dict[str, Any], seconds: float) -> None:
    """A run that is killed, and gone on with, ends as if nothing had happened."""
    folder = base / "run"
    dead = killed(server, folder, fault, seconds)
    require(dead or "moment" in fault, fault, "was not reached")
    finish(server, folder, whole, fault)
    shutil.rmtree(base)


def finish(server: Server, folder: Path, whole: dict[str, Any], *about: object) -> None:
    """Go on to the end, which is the same, bit for bit."""
    ended = server.train(folder)
    require(ended.code == 0, *about, ended)
    require(left(folder) == whole, *about, "ended otherwise")
    require(not litter(folder), *about, litter(folder))


def kill_often(server: Server, base: Path, whole: dict[str, Any], times: int) -> None:
    """A run that is killed again and again, each time after one more evaluation or inside a save."""
    folder = base / "run"
    for number in range(times):
        ended = server.train(folder, **({"in_save": 9 + number} if number % 2 else {"after_event": 2 + number % 3}))
        require(ended.code in (0, -signal.SIGKILL), number, ended)
    finish(server, folder, whole, times, "kills")
    shutil.rmtree(base)


def signal_points(count: int) -> list[dict[str, int]]:
    """Where a run is asked to end: after lines of its history, and inside evaluations."""
    every = [{f"{name}_after_event": i + 1} for i in range(EVENTS) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2")]
    every += [{f"{name}_in_evaluation": 2} for name in ("SIGTERM", "SIGINT")]
    return spread(every, count)


def asked_to_end(server: Server, base: Path, fault: dict[str, int], whole: dict[str, Any]) -> float:
    """A run that is asked to end exits with 75 and loses no step; returns the seconds since its last event."""
    folder = base / "run"
    ended = server.train(folder, **fault)
    seconds = time.time() - (folder / "metrics.jsonl").stat().st_mtime
    if finished := (folder / "result.json").is_file():  # the request came with the last line
        require(ended.code in (0, 75), fault, ended)
    else:
        require(ended.code == 75, fault, ended)
        require(f"resume={folder}" in ended.said, fault, ended)
        steps = [event["step"] for _, event in RunFolder(folder).metrics() if event["event"] == "step"]
        saved = [int(path.name) for path in RunFolder(folder).checkpoints()]
        require(max(saved, default=0) == max(steps, default=0), fault, "lost", saved, steps)
    require(not litter(folder), fault, litter(folder))
    if not finished:
        finish(server, folder, whole, fault)
    shutil.rmtree(base)
    return seconds


def disk_full(server: Server, base: Path, number: int, whole: dict[str, Any]) -> None:
    """A run whose numberth file finds no room says so in one line, and goes on when there is room."""
    folder = base / "run"
    ended = server.train(folder, no_room=number)
    require(ended.code == 1, number, ended)
    require("File too large" in ended.said and "Traceback" not in ended.said, number, ended)
    require(len(ended.said.strip().splitlines()) == 1, number, ended)
    newest = RunFolder(folder).newest_checkpoint(lambda text: require(False, number, text))
    named = f"the last checkpoint is {newest}" if newest else "there was no checkpoint yet"
    require(named in ended.said, number, ended)
    finish(server, folder, whole, number)
    shutil.rmtree(base)


def numberless_points(count: int) -> list[dict[str, int]]:
    """Where a loss is not a number, infinite, or has a gradient that is not a number: at ten steps."""
    return spread([{name: step} for step in range(2, STEPS + 1, 2) for name in ("nan", "inf", "nan_gradient")], count)


def numberless(server: Server, base: Path, fault: dict[str, int]) -> None:
    """The step is not taken, its examples are named, and what was learned before it is kept as it was."""
    folder = base / "run"
    ended = server.train(folder, **fault)
    ((name, step),) = fault.items()
    require(ended.code == 1 and "Traceback" not in ended.said, fault, ended)
    found = re.match(r"step (\d+): loss (\S+), gradient norm (\S+); the batch's examples: (\S+)", ended.said)
    require(found is not None and found[1] == str(step), fault, ended)
    assert found is not None
    require((found[2] in ("nan", "inf")) == (name != "nan_gradient") and found[3] in ("nan", "inf"), fault, ended)
    taken = [event["step"] for _, event in RunFolder(folder).metrics() if event["event"] == "step"]
    require(taken == [*range(1, step)], fault, taken)
    require(all(int(path.name) < step for path in RunFolder(folder).checkpoints()), fault, "a checkpoint of it")
    shutil.rmtree(base)


# Damage, to a copy of a run's checkpoints


def damages(newest: Path, flips: int = 200, cuts: int = 50) -> Iterator[tuple[str, Path, bytes | None]]:
    """(what is done, to which file, its new bytes or None): cut short, one byte changed, deleted."""
    draw = random.Random(1)
    files = [newest / name for name in (*CHECKPOINT, "manifest.json")]
    for number in range(cuts):
        path = files[number % len(files)]
        data = path.read_bytes()
        yield f"cut {number}", path, data[: draw.randrange(len(data))]
    for number in range(flips):
        path = files[number % len(files)]
        data = bytearray(path.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        yield f"flipped {number}", path, bytes(data)
    for path in files:
        yield "deleted", path, None


def damaged(folder: RunFolder, path: Path, data: bytes | None) -> None:
    """Damage to the newest checkpoint is noticed, and the one before it taken; to all of them, refused."""
    before, newest = folder.checkpoints()[-2:]
    kept = path.read_bytes()
    said: list[str] = []
    try:
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        found = folder.newest_checkpoint(said.append)
        require(found == before, path, found)
        require(len(said) == 1 and str(newest) in said[0], path, said)
        others = [one for one in folder.checkpoints() if one != newest]
        for other in others:
            (other / "manifest.json").rename(other / "manifest.kept")
        try:
            folder.newest_checkpoint(said.append)
            raise Wrong(path, "nothing whole, and no error")
        except PtuneError as error:
            require("every checkpoint is damaged" in str(error), error)
        finally:
            for other in others:
                (other / "manifest.kept").rename(other / "manifest.json")
    finally:
        path.write_bytes(kept)


def timed(server: Server, base: Path) -> tuple[dict[str, Any], float]:
    """What is left of the tiny run when nothing happens to it, and the seconds that it takes."""
    started = time.monotonic()
    ended = server.train(base / "run")
    require(ended.code == 0, ended)
    return left(base / "run"), time.monotonic() - started
