"""The table that ends a sweep."""

from __future__ import annotations

from ptune.runs.naming import differences


def test_differences():
    """A run is called by what not all runs share, in the order it was said."""
    assert differences([["a=1", "b=2", "c=3"], ["a=1", "b=4", "c=3"]]) == ["b=2", "b=4"]
    assert differences([["a=1", "b=2"], ["b=3", "d=5"]]) == ["a=1 b=2", "b=3 d=5"]


def test_a_sweep_ends_in_a_table(ptune, tmp_path, monkeypatch):
    """One row a run, by what differs, in the order of the jobs, and how to see all of it."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    small = ["data.demo.train=20", "data.demo.dev=8", "data.demo.test=8"]
    words = ["-m", "experiment=demo_majority", "task=wnut17,conll03", "tracker=none", "hydra.sweep.dir=out", *small]
    done = ptune("train", *words)
    assert done.code == 0, done.err
    *_, header, first, second, _, shared, last = done.out.splitlines()
    assert header.split()[:2] == ["run", "score"]
    assert first.split()[:2] == ["task=wnut17", "0.00"]
    assert second.split()[:2] == ["task=conll03", "0.00"]
    assert shared.startswith("all with ")
    assert shared.endswith("metric test f1")
    assert "wnut17 (synthetic)" in first
    assert "conll03 (synthetic)" in second
    assert last == "full report: ptune report out"
    silent = ptune("train", *words, "quiet=True")
    assert (silent.code, silent.out) == (0, "")
    nested = ptune("train", *words[:-4], "hydra.sweep.dir=nested", "hydra.sweep.subdir=jobs/${hydra.job.num}", *small)
    assert nested.code == 0, nested.err
    *_, header, first, second, _, _, last = nested.out.splitlines()
    assert [line.split()[0] for line in (header, first, second)] == ["run", "task=wnut17", "task=conll03"]
    assert last == "full report: ptune report nested"
