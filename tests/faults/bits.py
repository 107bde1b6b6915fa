"""Command lines that must not change a bit of training: said again, evaluated or saved more often, logged, cached.

ptune has no loader workers: rows are encoded before training, in the process itself, and stand in memory or, where they
are many, on disk (`data.cache`), which is what stands here for their number. The number of threads of a CPU is none of
these: sums depend on it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
from cases import require
from kit import Server

from ptune.runs.folder import CHECKPOINT, RunFolder

SMALL = (
    *("data=demo", "data.demo.train=40", "data.demo.dev=8", "data.demo.test=8", "batch_size=8", "max_steps=6"),
    *("eval_every=1000", "tracker=none", "quiet=true", "device=cpu"),
)
TINY = "backbone=tiny_encoder"
PROMPT = "prompt_length.value=4"
LINES: dict[str, tuple[str, ...]] = {
    "ptv2, tags": ("task=conll03", "method=ptv2", TINY, PROMPT),
    "finetune, classes": ("task=rte", "method=finetune", TINY),
    "ptv2, spans": ("task=squad", "method=ptv2", TINY, PROMPT),
    "prefix_generate, texts": ("task=e2e", "method=prefix_generate", "backbone=tiny_causal", PROMPT),
    "lmbff, demonstrations": ("task=sst2", "method=lmbff", TINY, "method.template.samples=2"),
    "pet, stages": (
        *("task=rte", "method=pet", TINY, "data.layout=fewglue", "data.max_length=64"),
        *("method.procedure.pattern_steps=2", "method.procedure.reps=1", "method.procedure.patterns=[pet1]"),
        "method.procedure.unlabeled=20",
    ),
}
STAGED = "pet, stages"  # whose last stage learns from the best evaluations of those before
OTHERWISE: dict[str, tuple[str, ...]] = {
    "again": (),
    "evaluated after each step": ("eval_every=1",),
    "saved after each step": ("save_minutes=0",),
    "shown, and logged by W&B": ("quiet=false", "tracker=wandb", "tracker.mode=offline"),
}
MANY = ("data.demo.train=1100", "data.demo.dev=1100", "max_steps=4")  # what is kept on disk
CACHE: dict[str, tuple[str, ...]] = {
    "rows in memory": (*MANY, "data.cache=false"),
    "rows written to disk": MANY,
    "rows read from disk": MANY,
}


def points() -> list[tuple[str, str]]:
    """Each line, said otherwise."""
    both = [(line, how) for line in LINES for how in OTHERWISE if (line, how) != (STAGED, "evaluated after each step")]
    return both + [("ptv2, tags", how) for how in CACHE]


def trained(server: Server, base: Path, line: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """What was computed in each step of a run, and of its stages, and the weights and moments at its end."""
    folder = base / "run"
    base.mkdir(parents=True)
    ended = server.run(("train", *SMALL, *LINES[line], *more, f"hydra.run.dir={folder}"), base)
    require(ended.code == 0, line, more, ended)
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("metrics.jsonl")):
        steps = [event for _, event in RunFolder(path.parent).metrics() if event["event"] == "step"]
        found[str(path.relative_to(folder))] = [
            {key: one[key] for key in ("step", "loss", "grad_norm", "lr")} for one in steps
        ]
    last = RunFolder(folder).checkpoints()[-1]
    require(int(last.name) == found["metrics.jsonl"][-1]["step"], line, more, "no checkpoint of the last step")
    found |= {name: (last / name).read_bytes() for name in CHECKPOINT if name.endswith(".safetensors")}
    shutil.rmtree(base)
    return found


class Bits:
    """Lines with what is computed of them as they are."""

    def __init__(self, server: Server, base: Path) -> None:
        self.server, self.base = server, base
        self.plain: dict[tuple[str, ...], dict[str, Any]] = {}

    def same(self, base: Path, point: tuple[str, str]) -> None:
        """A line computes the same bits said otherwise."""
        line, how = point
        first = line, "rows in memory" if how in CACHE else ""
        if first not in self.plain:
            self.plain[first] = trained(self.server, self.base / "plain", line, CACHE.get(first[1], ()))
        found = trained(self.server, base / "otherwise", line, {**OTHERWISE, **CACHE}[how])
        wanted = self.plain[first]
        for name, value in wanted.items():
            require(found.get(name) == value, line, how, f"{name} is not the same")
        require(found.keys() == wanted.keys(), line, how, sorted(found.keys() ^ wanted.keys()))


def rows(bench: Any) -> Iterator[str]:
    """The lines of the table: of numbers that are none, then of those that are the same."""
    yield bench.row(
        "a loss that is NaN, a loss that is infinite, only a gradient that is NaN: each at ten steps",
        cases.numberless_points(30),
        lambda base, fault: cases.numberless(bench.server, base, fault),
        "the run ends before applying that step, and names the examples in the batch",
    )
    bits = Bits(bench.server, bench.base)
    yield bench.row(
        f"no fault: the same command {', '.join(OTHERWISE)}; {', '.join(CACHE)} (there are no loader workers). "
        f"Commands: {'; '.join(LINES)}",
        points(),
        bits.same,
        "the same bits in each step's loss and gradient, and in the final weights and optimizer moments",
    )
