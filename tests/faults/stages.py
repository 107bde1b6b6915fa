"""Runs that are more than one training, and sweeps of runs: killed and asked to end at every kind of place in them.

`scripts/faults` has its rows from here, the tests in test_staged.py do a few of each.
"""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import two_ranks
from cases import Wrong, finish, require, spread
from kit import TINY, Ended, Server, left, litter

from ptune.runs.folder import RunFolder
from ptune.sweeps import ledger

FEW = ("data=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "tracker=none", "quiet=true")
SMALL = (*FEW, "backbone=tiny_encoder", "data.max_length=48", "batch_size=8", "eval_every=2")
OF_PET = (
    *("task=rte", "data.layout=fewglue", "method.procedure.patterns=[pet1,pet4]", "method.procedure.unlabeled=12"),
    *("method.procedure.pattern_steps=3", "method.procedure.steps=3", "method.procedure.reps=1"),
)
OF_LMBFF = (
    "task=sst2",
    "method=lmbff_auto",
    "max_steps=2",
    "method.procedure.k_likely=4",
    "method.procedure.n_pairs=2",
)
PLAIN = tuple(word for word in TINY if not word.startswith("epochs="))
# Each kind of run that is more than one training, or one in pieces, by what is said of it.
RUNS: dict[str, tuple[str, ...]] = {
    "PET: patterns untrained and trained, classifiers": (
        *SMALL, *OF_PET, "method=pet", "method.procedure.sc_reps=2", "optim.lr=1e-3",
    ),
    "iPET: generations": (*SMALL, *OF_PET, "method=ipet", "method.procedure.generations=2", "optim.lr=1e-3"),
    "LM-BFF: label words searched and ranked": (*SMALL, *OF_LMBFF),
    "LM-BFF: templates written and ranked, their ensemble": (
        *SMALL, *OF_LMBFF, "method.procedure.templates=true", "method.procedure.words=false",
        "method.procedure.beam=3", "method.procedure.length=6", "method.procedure.n_templates=2",
        "method.procedure.ensemble=2",
    ),
    "AutoPrompt: label words, then the trigger": (
        *SMALL, "task=sst2", "method=autoprompt", "method.procedure.labels=search", "method.procedure.epochs=2",
        "method.procedure.iterations=4", "method.procedure.candidates=3", "method.procedure.accumulate=2",
    ),
    "MPT-2: the joint phase, then each task": (
        *SMALL, "task=conll04", "method=mpt2", "method.procedure.tasks=[conll03,conll04]", "prompt_length.value=3",
        "method.procedure.epochs=2", "epochs=1", "accumulate=2",
    ),
    "an encoder from scratch: its words, then training": (*SMALL, "task=sst2", "method=bilstm", "epochs=1"),
    "the middle of gradient accumulation": (*PLAIN, "epochs=2", "accumulate=4"),
    "the end of an epoch": (*PLAIN, "epochs=3", "eval_every=4", "save_minutes=0"),
}  # fmt: skip
PLACES = ("on_disk", "in_pass", "after_event")  # what lies between stages is on the disk alone


class Whole(NamedTuple):
    """What is left of a run when nothing happens to it, and how often it comes to each place."""

    left: dict[str, Any]
    reached: dict[str, int]


def whole(server: Server, base: Path, words: Sequence[str]) -> Whole:
    """A run, left alone."""
    ended = go(server, base / "run", words, count=1)
    require(ended.code == 0, ended)
    return Whole(left(base / "run"), json.loads((base / "counts.json").read_text(encoding="utf-8")))


def go(server: Server, folder: Path, words: Sequence[str], **fault: int) -> Ended:
    """Train in a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return server.run(("train", *words, f"hydra.run.dir={folder}"), folder.parent, **fault)


def points(reached: dict[str, int], count: int, happens: str = "", places: Sequence[str] = PLACES) -> list[Any]:
    """So many faults, as many at each place, evenly over the calls there."""
    known = [place for place in places if reached.get(place)]
    found = []
    for number, place in enumerate(known):
        share = min(reached[place], count // len(known) + (number < count % len(known)))
        found += [{f"{happens}{place}": (2 * i + 1) * reached[place] // (2 * share) + 1} for i in range(share)]
    return found


def killed(server: Server, base: Path, words: Sequence[str], fault: dict[str, int], alone: Whole) -> None:
    """A run that is killed, and gone on with, ends as if nothing had happened."""
    folder = base / "run"
    ended = go(server, folder, words, **fault)
    require(ended.code == -signal.SIGKILL, fault, "was not reached", ended)
    if (folder / "config.yaml").is_file():
        finish(server, folder, alone.left, fault)
    else:
        require(go(server, folder, words).code == 0, fault, "not from the start")
        require(left(folder) == alone.left, fault, "ended otherwise")


def told_to_end(server: Server, base: Path, words: Sequence[str], fault: dict[str, int], alone: Whole) -> None:
    """A run that is asked to end exits with 75 and names, in one line, the command that goes on to the same end."""
    folder = base / "run"
    ended = go(server, folder, words, **fault)
    if (folder / "result.json").is_file():  # the request came after the last thing that could be lost
        require(ended.code in (0, 75), fault, ended)
        require(left(folder) == alone.left, fault, "ended otherwise")
        return
    require(ended.code == 75, fault, ended)
    lines = ended.said.strip().splitlines()
    require(len(lines) == 1 and ("; to resume: ptune " in lines[0] or "; no run had begun" in lines[0]), fault, ended)
    named = shlex.split(lines[0].partition("; to resume: ptune ")[2])
    again = server.run((*named, "quiet=true"), base) if named else go(server, folder, words)
    require(again.code == 0, fault, again)
    require(left(folder) == alone.left, fault, "ended otherwise")
    require(not litter(folder), fault, litter(folder))


# Sweeps


JOBS = 3
SWEEP = (*SMALL, "task=rte", "method=ptv2", "prompt_length.value=4", "max_steps=6", "seed=1,2,3", "optim.lr=0.01")
LAUNCHERS = {
    "a fused group": ("hydra/launcher=fused",),
    "a sweep of processes": ("hydra/launcher=local", "hydra.launcher.n_jobs=2"),
}


def sweep(server: Server, base: Path, words: Sequence[str], **fault: int) -> Ended:
    """Sweep into a folder, or go on there."""
    base.mkdir(parents=True, exist_ok=True)
    return server.run(("train", "-m", *SWEEP, *words, f"hydra.sweep.dir={base / 'out'}"), base, **fault)


def left_of_sweep(folder: Path) -> dict[str, Any]:
    """What is left of a sweep's runs, but how many were side by side when they ended."""
    found = left(folder)
    for value in found.values():
        if isinstance(value, dict):
            value.pop("fused", None)
    return found


def whole_sweep(server: Server, base: Path, words: Sequence[str]) -> dict[str, Any]:
    """A sweep, left alone."""
    ended = sweep(server, base, words)
    require(ended.code == 0, ended)
    return left_of_sweep(base / "out")


def sweep_killed(
    server: Server, base: Path, words: Sequence[str], fault: dict[str, int], alone: dict[str, Any]
) -> None:
    """A sweep of which a process is killed, and started again at once, ends with every run once, as if alone."""
    ended = sweep(server, base, words, **fault)
    itself = any(name == "in_sweep" or name.startswith(("sweep", "alone")) for name in fault)
    require(ended.code == -signal.SIGKILL if itself else ended.code in (0, 1), fault, ended)
    require((base / "fired").exists(), fault, "was not reached", ended)
    before = {path: path.read_bytes() for path in (base / "out").glob("*/result.json")} if not itself else {}
    sweep_ends(server, base, words, alone, fault)
    require(all(path.read_bytes() == kept for path, kept in before.items()), fault, "a finished run was run again")


def sweep_told_to_end(
    server: Server, base: Path, words: Sequence[str], fault: dict[str, int], alone: dict[str, Any]
) -> None:
    """A sweep that is asked to end exits with 75, leaves no process behind, and says that the same command goes on."""
    ended = sweep(server, base, words, **fault)
    if len([*(base / "out").glob("*/result.json")]) == JOBS:
        require(ended.code in (0, 75), fault, ended)
    else:
        require(ended.code == 75, fault, ended)
        require("run the same command again to resume" in ended.said, fault, ended)
    for run in (base / "out").glob("*/"):
        with RunFolder(run).locked():  # raises PtuneError where a job goes on
            pass
    sweep_ends(server, base, words, alone, fault)


def sweep_ends(server: Server, base: Path, words: Sequence[str], alone: dict[str, Any], fault: dict[str, int]) -> None:
    """The same command brings a sweep to its end: nothing failed, nothing ended twice, and the same bits."""
    ended = sweep(server, base, words)
    require(ended.code == 0, fault, ended)
    require("retrying them in halves" not in ended.said and "failed" not in ended.said, fault, ended)
    require(left_of_sweep(base / "out") == alone, fault, "ended otherwise")
    well = [event["job"] for event in ledger.events(base / "out") if event["state"] == "ok"]
    require(len(well) == len({*well}) <= JOBS, fault, "ended twice", well)
    require("failed" not in {event["state"] for event in ledger.last(base / "out").values()}, fault, "failed")
    require(not litter(base / "out"), fault, litter(base / "out"))


def sweep_points(count: int, happens: str = "") -> list[dict[str, int]]:
    """Where processes of a sweep are killed, or its own is sent a signal."""
    if happens:
        every = [{f"{happens}in_sweep": i} for i in (1, 2, JOBS, JOBS + 1)]
        every += [{f"sweep_{happens}in_pass": i + 1} for i in range(8)]  # as many as each job has
        return spread(every, count)
    every = [{"in_sweep": i + 1} for i in range(2 * JOBS)]
    every += [{f"{who}in_pass": i + 1} for who in ("", "sweep_") for i in range(8)]
    every += [{f"{who}on_disk": 7 * i + 1} for who in ("", "sweep_") for i in range(10)]
    every += [{"forks_in_pass": 5}, {"forks_on_disk": 30}, {"alone_in_pass": 3}, {"alone_in_pass": 8}]
    return spread(every, count)


# The table


def rows(bench: Any) -> Iterator[str]:
    """Lines of docs/faults.md."""
    server, many = bench.server, max(4, min(24, bench.points))
    alone = {what: whole(server, bench.base / f"alone{i}", words) for i, (what, words) in enumerate(RUNS.items())}
    for what, words in RUNS.items():
        yield bench.row(
            f"`kill -9` during {what}",
            points(alone[what].reached, many),
            lambda base, fault, w=words, a=alone[what]: killed(server, base, w, fault, a),
            "after resuming, the same end",
        )
    each = [(what, fault) for what in RUNS for fault in points(alone[what].reached, 6, "SIGTERM_")]
    yield bench.row(
        "SIGTERM in each of these",
        each,
        lambda base, at: told_to_end(server, base, RUNS[at[0]], at[1], alone[at[0]]),
        "exit code 75, and one line with the command that resumes to the same end",
    )
    for what, words in LAUNCHERS.items():
        swept = whole_sweep(server, bench.base / f"sweep-{len(words)}", words)
        yield bench.row(
            f"`kill -9` of {what}: the sweep's process, a job's or the group's, the fork server",
            sweep_points(48),
            lambda base, fault, w=words, a=swept: sweep_killed(server, base, w, fault, a),
            "repeating the command at once completes each run once, with the same end",
        )
        yield bench.row(
            f"SIGTERM to {what}",
            sweep_points(12, "SIGTERM_"),
            lambda base, fault, w=words, a=swept: sweep_told_to_end(server, base, w, fault, a),
            "exit code 75, no process left; repeating the command gives the same end",
        )
    yield bench.row(
        "two processes (DDP) instead of one, over 20 steps: " + "; ".join(two_ranks.RUNS),
        [*two_ranks.RUNS.values()],
        ranks,
        "losses, gradients and weights within 1e-5, identical predictions",
    )


def ranks(base: Path, words: Sequence[str]) -> None:
    """Two ranks end as one process does. Raises Wrong."""
    try:
        two_ranks.compare(base, words)
    except AssertionError as error:
        raise Wrong(str(error)) from None
