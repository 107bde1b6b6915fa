"""Several ranks of one run: what they train, who writes, how they go on, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
import two_ranks
from command_line import Result
from several import start
from two_ranks import PTV2, same

from ptune import ranks


def one_process(ptune: Any, *words: str) -> None:
    done = ptune(*words)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=what, marks=pytest.mark.slow if "dropout" in what else ())
        for what, words in two_ranks.RUNS.items()
    ],
)
def test_two_ranks_are_one(words, ptune, tmp_path):
    """Over twenty steps in float32; with dropout too, which is drawn by micro-batch."""
    ended = start(tmp_path, *words, "hydra.run.dir=two")
    assert [rank.code for rank in ended] == [0, 0], ended
    assert ended[0].out.splitlines()[-1] == str(tmp_path / "two")
    assert ended[1] == Result(0, "", "")
    one_process(ptune, *words, "hydra.run.dir=one")
    same(tmp_path / "two", tmp_path / "one")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "said"}
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    assert json.loads((tmp_path / "two/env.json").read_text())["ranks"] == 2


def test_ranks_go_on_from_a_checkpoint(tmp_path):
    """As if nothing had been."""
    words = [*PTV2, "max_steps=4", "eval_every=2"]
    assert start(tmp_path, *words, "hydra.run.dir=whole")[0].code == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for gone in ("result.json", "tuned.safetensors", "predictions.jsonl"):
        (tmp_path / "cut" / gone).unlink()
    shutil.rmtree(tmp_path / "cut/checkpoints/00000004")
    ended = start(tmp_path, "train", "resume=cut")
    assert [rank.code for rank in ended] == [0, 0], ended
    assert "resuming from step 2 of 4" in ended[0].err
    same(tmp_path / "cut", tmp_path / "whole")
    assert (tmp_path / "cut/tuned.safetensors").read_bytes() == (tmp_path / "whole/tuned.safetensors").read_bytes()
    again = start(tmp_path, "train", "resume=cut")
    assert [rank.code for rank in again] == [0, 0]
    assert "cut is finished" in again[0].err


ASKED = """
import os, signal
from ptune.heads.linear import Linear

class Asked(Linear):
    seen = 0

    def outputs(self, hidden, batch):
        Asked.seen += 1
        with open(os.environ["RANK"] + ".seen", "a") as file:
            file.write("x")
        if Asked.seen == int(os.environ["AT"]) and os.environ["RANK"] in os.environ["ASKED"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().outputs(hidden, batch)
"""


@pytest.mark.parametrize("asked", ["1", pytest.param("01", marks=pytest.mark.slow)])
def test_asked_to_end_in_an_evaluation(asked, tmp_path):
    """A rank that is asked leaves the rest of its share; all end, and go on as if nothing had been."""
    (tmp_path / "asked.py").write_text(ASKED)
    words = [*PTV2, "max_steps=4", "eval_every=2", "eval_batch_size=1", "packages=[asked]"]
    words += ["method.head._target_=asked.Asked"]
    sys.path.insert(0, str(tmp_path))  # as it is passed on
    try:
        assert start(tmp_path, *words, "hydra.run.dir=whole", ASKED="", AT="0")[0].code == 0
        (tmp_path / "1.seen").unlink()
        ended = start(tmp_path, *words, "hydra.run.dir=cut", ASKED=asked, AT="2")  # of the four batches of its share
        assert [rank.code for rank in ended] == [75, 75], ended
        assert (ended[0].err + ended[1].err).count("ended by SIGTERM; to resume: ptune train resume=") == 1
        assert (tmp_path / "1.seen").read_text() == "xx"
        assert [path.name for path in (tmp_path / "cut/checkpoints").iterdir()] == ["00000002"]
        ended = start(tmp_path, "train", "resume=cut", "packages=[asked]", ASKED="", AT="0")
    finally:
        sys.path.remove(str(tmp_path))
    assert [rank.code for rank in ended] == [0, 0], ended
    same(tmp_path / "cut", tmp_path / "whole")


SHY = """
import os
from ptune.heads.linear import Linear

class Shy(Linear):
    def loss(self, hidden, batch):
        if os.environ["RANK"] in os.environ["SHY"]:
            raise RuntimeError("shy")
        return super().loss(hidden, batch)
"""


@pytest.mark.parametrize("shy", ["1", pytest.param("01", marks=pytest.mark.slow)])
def test_an_error_ends_all_with_one_message(shy, tmp_path):
    """Whether one rank meets it or each does."""
    (tmp_path / "shy.py").write_text(SHY)
    words = [*PTV2, "packages=[shy]", "method.head._target_=shy.Shy", "hydra.run.dir=out"]
    sys.path.insert(0, str(tmp_path))  # as it is passed on
    try:
        ended = start(tmp_path, *words, SHY=shy)
    finally:
        sys.path.remove(str(tmp_path))
    said = ended[0].err + ended[1].err
    assert all(rank.code for rank in ended), ended
    assert said.count("Traceback") == said.count("RuntimeError: shy") == 1
    assert not (tmp_path / "out/result.json").exists()


REFUSED = {
    "accumulate=1": "accumulate: 1 micro-batches a step cannot be divided among 2 processes; at least 2",
    "optim.lr=1e30 optim.clip=null": "A lower optim.lr",
    "metric=f2": "metric: conll03 has no metric 'f2'; one of: f1,",
    "method=nope": "method=nope: no such option",
    "--nope": "no flag '--nope'",
    "-m seed=1,2": "-m runs in one process",
}


@pytest.mark.parametrize("words", REFUSED)
def test_mistakes_are_told_once(words, tmp_path):
    """By whichever rank."""
    ended = start(tmp_path, *PTV2, *words.split())
    said = ended[0].err + ended[1].err
    assert all(rank.code for rank in ended), ended
    assert said.count(REFUSED[words]) == 1
    assert "Traceback" not in said


def test_other_commands_take_one_process(tmp_path):
    ended = start(tmp_path, "ls", "method")
    assert [rank.code for rank in ended] == [2, 2]
    assert ended[0].err == "ptune ls: runs in one process; torchrun is only for ptune train\n"
    assert ended[1].err == ""


@pytest.mark.slow
def test_procedures_of_several_runs(ptune, tmp_path):
    """Stages are runs of their own, and read what the ones before them have written."""
    words = ["train", "method=pet", "task=cb", "data=demo", "backbone=tiny_encoder", "tracker=none", "optim.lr=0.001"]
    words += ["data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "max_steps=2", "accumulate=2"]
    ended = start(tmp_path, *words, "hydra.run.dir=two")
    assert [rank.code for rank in ended] == [0, 0], ended
    one_process(ptune, *words, "hydra.run.dir=one")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("two", "one")]
    for key in ("score", "selected", "stages"):
        assert results[0][key] == results[1][key], key


def test_a_process_by_itself_is_all_ranks(monkeypatch):
    """Whatever the environment says in part."""
    monkeypatch.setenv("RANK", "3")
    assert ranks.rank_from_environment() == ranks.Place(0, 1)
    with ranks.process_group():
        assert ranks.count() == 1
        assert ranks.share([1, 2, 3]) == [1, 2, 3]
        assert ranks.gather("a") == ["a"]
        assert ranks.on_first_rank(lambda: 5) == 5
        assert ranks.sum_over_ranks([1.5, 2.0]) == [1.5, 2.0]
    assert ranks.tells()
    assert ranks.aside(["a=b"]) == ["a=b"]


@pytest.mark.slow
def test_started_by_torchrun(ptune, tmp_path):
    """As people start them."""
    starter = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29653"]
    command = [sys.executable, "-m", *starter, "-m", "ptune", *PTV2, "hydra.run.dir=two"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(tmp_path / "two")) == 1
    one_process(ptune, *PTV2, "accumulate=2", "hydra.run.dir=one")
    same(tmp_path / "two", tmp_path / "one")
