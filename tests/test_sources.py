"""Several sources in one run: each is read by its own head, all by one prompt, and none disturbs another."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from memory import Memory

from ptune import build, loop, optim, training_run
from ptune.batch import Example
from ptune.data.rendered import ParallelStream, Rendered, Stream
from ptune.model import Model
from ptune.progress import Progress
from ptune.runs.folder import RunFolder, read_checkpoint
from ptune.session import AuxiliaryData, Session


@pytest.fixture(params=["one pass", "a pass each"])
def passes(request, monkeypatch):
    """How micro-batches are taken through the backbone: one after the other, as on a GPU, or at once."""
    monkeypatch.setattr(Model, "runs_in_threads", request.param == "a pass each")


@pytest.fixture
def rte(settings, bert_folder):
    """A short ptv2 run on rte, and the same settings with a verbalizer."""
    line = ("task=rte", "backbone=local", f"backbone.path={bert_folder}", "data.max_length=40", "batch_size=4")
    line += ("+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "prompt_length.value=3", "max_steps=3")
    linear = settings(*line, "method.head.dropout=0.0")
    return linear, settings(*line, "method/head=verbalizer", "method/template=pattern")


def wired(own, other, examples, weights=(1.0, 1.0), with_own=True):
    """A model of a run with a further source, and the run."""
    task = build.leaf(own.task)
    model = build.assemble([own], task, [(other, task)])
    streams = [
        Stream(Rendered(examples["rte"], task, model.member(m).template, 40), 4, 2, own.seed, True, source=name)
        for m, name in enumerate(("train", "words"))
    ]
    trained = model.trained(0, {"words": 1})
    groups = {g: [p for n, p in trained.items() if n.startswith(g)] for g in ("prompt", "head", "backbone")}
    run = training_run.Run(
        member=0,
        stream=ParallelStream(streams if with_own else streams[1:]),
        stepper=optim.Stepper(optim.optimizer(own.optim, groups), optim.schedule(own.optim, 3, 1)),
        trained=trained,
        recorder=Memory(),
        steps=3,
        steps_per_epoch=3,
        eval_every=3,
        seed=own.seed,
        sources={"train": training_run.Source(0, 4.0, weights[0]), "words": training_run.Source(1, None, weights[1])},
    )
    return model, run


def gradients(model, run):
    totals, _ = loop.gradients(model, [run], map)
    return totals[id(run)], {n: p.grad.clone() for n, p in run.trained.items() if p.grad is not None}


def test_gradients_are_the_weighted_sum_over_the_sources(rte, examples, passes):
    own, other = rte
    model, run = wired(own, other, examples, weights=(0.25, 3.0))
    model.train()
    loss, found = gradients(model, run)
    expected: dict[str, torch.Tensor] = {}
    total = 0.0
    for member, weight in ((0, 0.25), (1, 3.0)):
        for p in run.trained.values():
            p.grad = None
        batches = [batch for batch in run.stream(0) if batch.source == ("train", "words")[member]]
        assert len(batches) == 2
        labels = sum(batch.labels for batch in batches)
        for batch in batches:
            with model.losses([(member, batch)]) as losses:
                part = weight * losses[0][0] / labels
                part.backward()
                total += float(part.detach())
        for name, p in run.trained.items():
            if p.grad is not None:
                expected[name] = expected.get(name, torch.zeros_like(p)) + p.grad
    assert loss == pytest.approx(total, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-7)


def test_a_source_moves_the_prompt_and_its_own_head_alone(rte, examples, passes):
    """The run's head, of which no batch comes, keeps its bits; so does one that a weight decay would move."""
    own, other = rte
    own = replace(own, optim=replace(own.optim, weight_decay=0.1))
    model, run = wired(own, other, examples, with_own=False)
    before = {name: p.detach().clone() for name, p in run.trained.items()}
    loop.fit([run], model, lambda run: {"selected": 0.0})
    changed = {name for name, p in run.trained.items() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if name.startswith("prompt.")}


def test_what_learns_is_named_once(rte, examples):
    own, _ = rte
    model, run = wired(own, deepcopy(own), examples)
    names = list(run.trained)
    assert [n for n in names if n.startswith("prompt.")] == ["prompt.table"]
    assert [n for n in names if n.startswith("head.")] == [
        *("head.linear.weight", "head.linear.bias"),
        *("head.words.linear.weight", "head.words.linear.bias"),
    ]
    assert model.member(0).prompt is model.member(1).prompt
    assert list(model.trained()) == ["prompt.table", "head.linear.weight", "head.linear.bias"]


def test_a_stepper_compares_the_weighted_loss(rte, examples):
    model, run = wired(*rte, examples, weights=(0.5, 2.0))
    model.eval()
    batches = run.stream(0)
    total, _ = gradients(model, run)
    assert float(loop.losses_of(run, model, batches)) == pytest.approx(total, rel=1e-5)


def test_a_session_takes_a_source_beside_its_own(settings, tmp_path):
    """Each step has its own batch and one of the other source, whose head learns with the prompt."""
    s = settings(
        *("method=ptv2", "task=rte", "backbone=tiny_encoder", "data=demo", "data.demo.train=16", "data.demo.dev=8"),
        *("data.demo.test=8", "prompt_length.value=2", "batch_size=4", "accumulate=1", "max_steps=3", "tracker=none"),
        "optim.schedule=constant",
    )
    found = []
    for weight in (1.0, 5.0):
        session = Session(deepcopy(s), RunFolder(tmp_path / str(weight)), [], Progress(True))
        other = replace(session.settings, batch_size=2)
        few = session.corpus.splits["train"][:6]
        session.auxiliary = [AuxiliaryData("other", other, session.task, few, weight)]
        session.weight = 0.5
        assert session.train()["steps"] == 3
        checkpoint, _, _ = read_checkpoint(session.folder.checkpoints()[-1])
        assert {"prompt.table", "head.linear.weight", "head.other.linear.weight"} <= checkpoint.keys()
        steps = [event for _, event in session.folder.metrics() if event["event"] == "step"]
        assert [event["examples"] for event in steps] == [6, 6, 6]
        assert {name.partition(".")[0] for name in session.folder.read_tensors()} == {"prompt", "head"}
        found.append((steps[0]["loss"], checkpoint["prompt.table"]))
    assert found[0][0] != found[1][0]
    assert not torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize(
    ("select", "report", "same"),
    [
        ("dev", "dev", True),
        ("dev", "test", True),  # of one file
        ("held_out", "test", True),  # a part of it
        ("train", "test", False),
        ("held_out", "rest", False),  # the other part
    ],
)
def test_reported_examples_that_select_are_found(select, report, same):
    """As with SST-5, MR and CR, whose dev is their test; by what is in the splits, not by their names."""
    made = [Example(str(i), {"text": f"text {i}"}, "a") for i in range(300)]
    others = [Example(str(i), {"text": f"other {i}"}, "a") for i in range(300)]
    splits = {"train": others, "dev": made, "test": [*made], "held_out": made[150:], "rest": made[:150]}
    corpus, chosen = SimpleNamespace(splits=splits), SimpleNamespace(select_on=select)
    session = SimpleNamespace(settings=chosen, corpus=corpus, report_on=report)
    assert Session.reported_selects.fget(session) is same
