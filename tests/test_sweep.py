"""The table that ends a sweep."""

from __future__ import annotations

import os
import subprocess
import sys

from ptune.sweep import differences


def test_differences():
    """A run is called by what not all runs share, in the order it was said."""
    assert differences([["a=1", "b=2", "c=3"], ["a=1", "b=4", "c=3"]]) == ["b=2", "b=4"]
    assert differences([["a=1", "b=2"], ["b=3", "d=5"]]) == ["a=1 b=2", "b=3 d=5"]


def test_a_sweep_ends_in_a_table(tmp_path):
    """One row a run, by what differs, and how to see all of it."""
    small = ["data.demo.train=20", "data.demo.dev=8", "data.demo.test=8"]
    words = ["-m", "experiment=demo_majority", "task=conll03,wnut17", "tracker=none", "hydra.sweep.dir=out", *small]
    done = subprocess.run(
        [sys.executable, "-m", "ptune", "train", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "PTUNE_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    *_, header, first, second, _, shared, last = done.stdout.splitlines()
    assert header.split()[:2] == ["run", "score"]
    assert first.split()[:2] == ["task=conll03", "0.00"]
    assert second.split()[:2] == ["task=wnut17", "0.00"]
    assert shared == "all with metric test f1"
    assert last == "all of it: ptune report out"
