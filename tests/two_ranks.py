"""Runs of two ranks and of one process, and what makes them the same; the tests and scripts/faults compare them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from several import start

SMALL = [
    "train",
    "data=demo",
    "task=conll03",
    "backbone=tiny_encoder",
    "data.demo.train=40",
    "data.demo.dev=8",
    "data.demo.test=8",
    "tracker=none",
    "epochs=20",
    "max_steps=20",
    "eval_every=10",
    "batch_size=8",
]
PTV2 = [*SMALL, "method=ptv2", "prompt_length.value=4", "optim.lr=0.01"]
FINETUNE = [*SMALL, "method=finetune", "optim.lr=0.0001"]
SURE = ["+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "method.head.dropout=0.0"]


def lines(folder: Path, event: str, *keys: str) -> list[list[Any]]:
    """Some figures of each step or evaluation."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[one[key] for key in keys] for one in found if one["event"] == event]


def same(ours: Path, theirs: Path) -> None:
    """Two runs are alike to 1e-5 at each step and at their end, and in all they predict."""
    for one, other in zip(
        *(lines(f, "step", "step", "loss", "grad_norm", "lr", "examples") for f in (ours, theirs)), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-5, rel=1e-5)
    tensors, expected = (load_file(folder / "tuned.safetensors") for folder in (ours, theirs))
    torch.testing.assert_close(tensors, expected, atol=1e-5, rtol=1e-5)
    results = [json.loads((folder / "result.json").read_text()) for folder in (ours, theirs)]
    for key in ("score", "interval", "steps", "selected", "parameters", "checksums"):
        assert results[0][key] == results[1][key], key
    assert (ours / "predictions.jsonl").read_text() == (theirs / "predictions.jsonl").read_text()


RUNS = {
    "frozen": [*PTV2, *SURE],
    "finetune": [*FINETUNE, *SURE],
    "frozen, dropout, uneven shares": [*PTV2, "accumulate=3", "batch_size=13"],
    "finetune, dropout": [*FINETUNE, "accumulate=2"],
}


def compare(folder: Path, words: Sequence[str]) -> None:
    """Train on two ranks, then in one process; raises AssertionError where they are not the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for count, name in enumerate(("one", "two"), 1):
        ended = start(folder, *words, f"hydra.run.dir={name}", ranks=count)
        assert [rank.code for rank in ended] == [0] * count, ended
    same(folder / "two", folder / "one")
