"""Stages with runs of their own: what differs, what is run again and what is not, on which examples, and the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ptune import loop, training_run
from ptune.batch import SoftLabel
from ptune.commands import train
from ptune.data import corpora
from ptune.errors import ConfigError
from ptune.procedures import Procedure, Stage
from ptune.progress import Progress
from ptune.reports.results import runs
from ptune.runs import track
from ptune.runs.folder import RunFolder
from ptune.runs.stages import differences, with_changes
from ptune.session import Session
from ptune.where import Where

SMALL = [
    *("task=rte", "data=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "data.max_length=48"),
    *("backbone=tiny_encoder", "tracker=none", "quiet=true", "batch_size=8", "method=finetune"),
    *("packages=[test_stages]", "method.procedure._target_=test_stages.Seeds"),
]


class Stopped(BaseException):
    """What ends a training here as a power cut would."""


class Seeds(Procedure):
    """Two trainings with seeds of their own, then one with the mean of what they say as soft labels."""

    def stages(self, session: Any) -> Iterator[Stage]:
        """One stage, of several runs."""
        yield Stage("seeds", lambda: self.figures(session))

    def figures(self, session: Session) -> dict[str, Any]:
        """Those of the last training."""
        session.expected = 2
        said = []
        examples = session.corpus.splits["train"]
        for seed in (5, 6):
            child = session.child(f"seed{seed}", seed=seed, max_steps=4, optim={"lr": 1e-3}, eval_every=2)
            child.complete()
            said.append([prediction.scores for prediction in child.answer(examples)])
        soft = []
        for example, *scores in zip(examples, *said, strict=True):
            mean = [sum(each[label] for each in scores) / 2 for label in session.task.labels]
            probabilities = torch.tensor(mean).softmax(0).tolist()
            soft.append(replace(example, gold=None, soft=SoftLabel(probabilities, 2.0)))
        return session.train(soft, max_steps=2, optim={"lr": 1e-3})


@pytest.fixture
def go(settings) -> Callable[..., dict]:
    """go(folder): train the three, or go on."""

    def start(folder: Path, *more: str, progress: Progress | None = None) -> dict:
        stored = (folder / "config.yaml").is_file()
        s = train.stored_settings(folder, Where(folder), [__name__]) if stored else settings(*SMALL, *more)
        return train.run(s, RunFolder(folder), Where(folder), progress or Progress(True))

    return start


def figures(result: dict) -> dict:
    """A result without what the clock says."""
    return {k: v for k, v in result.items() if k not in ("seconds", "examples_per_second")}


def test_stages_are_runs_of_their_own(go, tmp_path, monkeypatch) -> None:
    loads: list[str] = []
    read = corpora.load
    monkeypatch.setattr(
        corpora, "load", lambda task, *rest, **more: loads.append(task.name) or read(task, *rest, **more)
    )
    result = go(tmp_path)
    assert loads == ["rte"]  # the corpus is read once, by all of them
    names = [stage["name"] for stage in result["stages"]]
    assert names == ["seed5", "seed6"]
    for stage, seed in zip(result["stages"], (5, 6), strict=True):
        folder = RunFolder(tmp_path / stage["folder"])
        own, config = folder.read_json("result.json"), folder.read_config()
        assert stage["differs"] == {
            "seed": seed,
            "max_steps": 4,
            "eval_every": 2,
            "optim.lr": 1e-3,
            "method.procedure": {"_target_": "ptune.procedures.single.Single"},
        }
        assert (config["seed"], config["max_steps"], config["held_out_seed"]) == (seed, 4, 1)  # what is held out stays
        assert (stage["score"], stage["selected"], stage["steps"]) == (own["score"], own["selected"], 4)
        assert folder.metrics()
        assert folder.file("tuned.safetensors").is_file()
    assert result["steps"] == 2
    assert [run.folder for run in runs(tmp_path)] == [tmp_path]


def test_a_finished_stage_is_not_run_again_and_a_cut_one_goes_on(go, tmp_path, monkeypatch) -> None:
    whole = go(tmp_path / "whole")
    save, folder, trained = training_run.Run.save, tmp_path / "cut", []

    def cut(run: Any) -> None:
        save(run)
        if (folder / "stages/seed5/result.json").is_file() and run.step == 2:
            raise Stopped

    monkeypatch.setattr(training_run.Run, "save", cut)
    with pytest.raises(Stopped):
        go(folder)
    monkeypatch.setattr(training_run.Run, "save", save)
    assert (folder / "stages/seed6/checkpoints/00000002").is_dir()
    fit = loop.fit

    def watched(runs: Any, *rest: Any) -> Any:
        trained.extend((run.seed, run.step) for run in runs)
        return fit(runs, *rest)

    monkeypatch.setattr(loop, "fit", watched)
    first = (folder / "stages/seed5/env.json").read_bytes()
    result = go(folder)
    assert trained == [(6, 2), (1, 0)]  # the second from its checkpoint, then the last; the first is done
    assert (folder / "stages/seed5/env.json").read_bytes() == first
    assert figures(result) == figures(whole)


def test_the_tracker_is_told_which_stage_it_is(go, tmp_path, monkeypatch) -> None:
    names, start = list[str](), track.tracker
    monkeypatch.setattr(
        track, "tracker", lambda *given, name, **more: names.append(name) or start(*given, name=name, **more)
    )
    go(tmp_path / "run")
    run = "finetune rte tiny_encoder"
    assert names == [run, f"{run} seed5", f"{run} seed6"]


def test_which_stage_of_how_many_is_shown(go, tmp_path, capsys) -> None:
    go(tmp_path, "quiet=false", progress=Progress())
    shown = capsys.readouterr().err
    assert "stage 1/2 seed5: dev accuracy" in shown or "stage 1/2 seed5: test accuracy" in shown
    assert "stage 2/2 seed6  finetune rte tiny_encoder" in shown


def test_weights_are_dropped_and_figures_stay(go, settings, tmp_path) -> None:
    go(tmp_path)
    session = Session(settings(*SMALL), RunFolder(tmp_path / "again"), [], Progress(True))
    child = session.child("one", max_steps=1, optim={"lr": 1e-3})
    result = child.complete()
    said = child.answer(session.corpus.splits["dev"])
    again = session.child("one", max_steps=1, optim={"lr": 1e-3})
    assert again.complete() == result
    assert again.answer(session.corpus.splits["dev"]) == said  # read from its folder
    again.drop_weights()
    assert not list(again.folder.path.rglob("*.safetensors"))
    assert session.child("one", max_steps=1, optim={"lr": 1e-3}).complete() == result


def test_a_stage_trains_on_its_own_examples(settings, tmp_path) -> None:
    session = Session(settings(*SMALL), RunFolder(tmp_path), [], Progress(True))
    flipped = {"entailment": "not_entailment", "not_entailment": "entailment"}
    few = [replace(e, id=f"new-{e.id}", gold=flipped[e.gold]) for e in session.corpus.splits["train"][:8]]
    child = session.child("flipped", few, epochs=40, optim={"lr": 1e-3}, eval_every=40)
    result = child.complete()
    assert session.stages["flipped"]["train"]["examples"] == 8
    assert result["steps"] == 40  # an epoch of 8 is one step
    assert [p.value for p in child.answer(few)] == [e.gold for e in few]
    with (child.folder.path / "splits.jsonl").open() as file:
        (told,) = [row for row in map(json.loads, file) if row["split"] == "train"]
    assert told["ids"][0] == few[0].id


def test_changes_that_do_not_fit(settings, tmp_path) -> None:
    session = Session(settings(*SMALL), RunFolder(tmp_path), [], Progress(True))
    with pytest.raises(ConfigError, match=r"stage x: method\.template.name: task rte has no pattern 'pet9'"):
        session.child("x", method={"template": {"_target_": "ptune.templates.pattern.Pattern", "name": "pet9"}})
    with pytest.raises(TypeError, match="no setting is called sede"):
        session.child("x", sede=3)


def test_changes_leave_the_given_settings_alone(settings) -> None:
    s = settings(*SMALL)
    leaf = {"_target_": "ptune.heads.verbalizer.Verbalizer"}
    other = with_changes(s, {"method": {"head": leaf, "template": {"extra": 1}}, "data": {"max_train": 3}})
    assert other.method["head"] == leaf
    assert other.method["template"] == {**s.method["template"], "extra": 1}
    assert (s.data.max_train, other.data.max_train) == (None, 3)
    assert "extra" not in s.method["template"]
    assert differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1}, "d": 4}) == {"a.c": None, "d": 4}
