"""scripts/bench/fewglue: its commands fit together, and its table tells what there is and why something is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from programs import program

from ptune.errors import ConfigError


@pytest.fixture(scope="module")
def bench():
    """The program, imported: its name has no .py."""
    return program("scripts/bench/fewglue")


def options(bench: Any, out: Path, **given: Any) -> SimpleNamespace:
    """Command-line options."""
    every = {"tasks": list(bench.TASKS), "backbones": list(bench.BACKBONES), "workers": 1, "threads": 1, "root": out}
    return SimpleNamespace(out=out, **{**every, **given})


@pytest.mark.slow
def test_every_command_fits_together(bench, settings, tmp_path):
    cells = list(bench.Bench(options(bench, tmp_path, backbones=["tiny_encoder"])).missing())
    assert len(cells) == len(bench.METHODS) * len(bench.TASKS) - len(bench.LEFT_OUT)
    refused = {}
    for cell in cells:
        try:
            settings(*cell.overrides, "backbone=tiny_encoder", "data.root=.")
        except ConfigError as error:
            refused[cell.name] = error.problems
    assert list(refused) == ["ipet-record-tiny_encoder"]


def test_the_table_has_scores_and_reasons(bench, tmp_path):
    made = bench.Bench(options(bench, tmp_path, tasks=["copa", "record"], backbones=["tiny_encoder"]))
    scored = {"score": 61.0, "metric": "accuracy", "majority": 55.0, "interval": [51.2, 70.0]}
    kept = {("pet", "copa"): scored, ("ipet", "copa"): scored, ("pet", "record"): {"refused": "no dev data"}}
    for (method, task), found in kept.items():
        cell = bench.cell(method, task, "tiny_encoder")
        (tmp_path / f"{cell.name}.json").write_text(json.dumps({"overrides": list(cell.overrides), **found}))
    lines = list(made.table())
    assert lines[2] == "| tiny_encoder | copa | accuracy | 55.0 |  | n/a (1) | 61.0 [51, 70] | 61.0 [51, 70]* |"
    assert lines[3] == "| tiny_encoder | record |  |  | n/a (2) | n/a (1) | n/a (3) |  |"
    assert lines[-3:] == [f"1. {bench.OTHERS}", "2. its authors published no template for it", "3. no dev data"]
    assert bench.cell("pet", "copa", "tiny_encoder") not in list(made.missing())
