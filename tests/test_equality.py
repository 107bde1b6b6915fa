"""The losses of P-tuning v2 are those of PEFT's prefix tuning, on real data and a real checkpoint."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/bench/equality"


@pytest.fixture(scope="module")
def equality() -> Any:
    """The program scripts/bench/equality, imported: its name has no .py."""
    pytest.importorskip("peft", reason="needs PEFT: pip install 'ptune[peft]'")
    loader = SourceFileLoader("equality", str(SCRIPT))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no __pycache__ in scripts/
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


# PEFT 0.21 asks transformers 5.23 by a name that is to go.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.slow
@pytest.mark.parametrize("task", ["wnut17", "rte"])
def test_losses_equal_those_of_peft(equality, shared, task):
    """Twenty steps from the same start, in the same order, without dropout."""
    for needed in (equality.BACKBONE, equality.FOLDERS[task]):
        if not (shared / needed).is_dir():
            pytest.skip(f"no {shared / needed}")
    losses = equality.compare(task, shared, steps=20)
    assert len(losses) == 20
    assert losses[0][0] > losses[-1][0] or task == "rte"  # RTE's loss hardly moves in 20 steps
    assert max(abs(ours - theirs) for ours, theirs in losses) <= 1e-5
