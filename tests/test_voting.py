"""Which examples runs vote on: those that all of them know alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import call

from ptune.ensemble import among

WORDS = ["task=rte", "method=ptv2", "backbone=tiny_encoder", "data=demo", "prompt_length.value=2", "max_steps=1"]
SIZES = ["data.demo.train=20", "data.demo.dev=12", "data.demo.test=8", "data.max_length=60", "optim.lr=0.01"]
RUNS = {
    "plain": ["seed=1"],
    "one": ["seed=1", "protocol=held_out"],
    "two": ["seed=2", "protocol=held_out"],
    "same": ["seed=3", "protocol=held_out", "held_out_seed=1"],
    "half": ["seed=1", "protocol=held_out", "held_out_from=dev"],
    "other": ["seed=2", "protocol=held_out", "held_out_from=dev"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run of each, and one of them in another folder."""
    base = tmp_path_factory.mktemp("voting")
    for name, words in RUNS.items():
        assert call("train", *WORDS, *SIZES, *words, "tracker=none", "quiet=true", f"hydra.run.dir={base / name}") == 0
    shutil.copytree(base / "plain", base / "copy")
    return base


@pytest.mark.parametrize(
    ("names", "split", "said"),
    [
        ("one,two", "held_out", "split: {a} was selected on 1 of the 2 examples of 'held_out', but {b} was not"),
        ("one,plain", "held_out", "split: {a} was selected on 2 of the 2 examples of 'held_out', but {b} was not"),
        ("one,plain", "dev", "split: {b} was selected on 12 of the 12 examples of 'dev', but {a} was not"),
        ("half,other", "dev", "split: {b} was selected on 4 of the 6 examples of 'dev', but {a} was not"),
        ("one,same", "held_out", None),
        ("plain,copy", "dev", None),
        ("one,two", "dev", None),
    ],
)
def test_runs_vote_on_examples_that_they_know_alike(ptune, runs, names, split, said):
    """Numbers of one file alone are the same example; where a vote would be unfair, splits that are fair are told."""
    paths = [runs / name for name in names.split(",")]
    done = ptune("eval", f"run={','.join(map(str, paths))}", f"split={split}", "quiet=true")
    if said is None:
        assert done.code == 0, done.err
        return
    told, _, cure = done.err.rpartition("; ")
    assert (done.code, told) == (2, said.format(a=paths[0], b=paths[1]))
    assert cure == (
        "one of: dev" if names == "one,two" else "runs with the same held_out_seed hold out the same examples"
    )


def test_a_run_that_does_not_say_what_it_knows_votes_on_nothing(ptune, runs, tmp_path):
    copy = shutil.copytree(runs / "two", tmp_path / "copy")
    (copy / "splits.jsonl").unlink()
    done = ptune("eval", f"run={runs / 'one'},{copy}", "split=dev")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(
        f"{copy / 'splits.jsonl'}: missing; it lists what the run was trained on"
    )
    (copy / "splits.jsonl").write_text(json.dumps({"split": "held_out", "ids": 3}) + "\n")
    done = ptune("eval", f"run={runs / 'one'},{copy}", "split=held_out")
    assert (done.code, done.err.splitlines()[-1]) == (
        1,
        f"{copy / 'splits.jsonl'}: damaged (ids must be texts or pairs of numbers)",
    )


def test_ids_of_an_account():
    """Pairs stand for numbers in a row, however many."""
    assert among(["a", [3, 5], "07"], {"a", "b", "4", "7", "07"}) == {"a", "4", "07"}
    assert among([[0, 10**18]], {"a", "4", "04"}) == {"4"}
