"""One loop: several runs in one pass equal each run alone; steps, stops and resumes change no bit."""

from __future__ import annotations

import json
import math
import os
import types
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pytest
import torch
import yaml

from ptune import build, loop, optim, ranks, training
from ptune.backbones import Backbone
from ptune.config import Optim
from ptune.data.rendered import Rendered, Stream
from ptune.errors import DivergedError, NoMemoryError
from ptune.evaluate import Request, predict
from ptune.model import Model
from ptune.runs.folder import RunFolder, read_checkpoint
from ptune.runs.stages import with_changes
from ptune.sweeps.jobs import kind_of
from ptune.threads import CUBLAS, determinism

NO_DROPOUT = ("+backbone.dropout=0.0", "+backbone.attention_dropout=0.0")


@pytest.fixture
def train(settings, bert_folder):
    """train("method=...", ...): settings on the tiny BERT; nothing drops unless `dropout`."""

    def compose(*overrides, task="rte", dropout=False):
        line = (
            f"task={task}",
            "backbone=local",
            f"backbone.path={bert_folder}",
            "data.max_length=40",
            "batch_size=4",
            "optim.schedule=constant",
            "optim.lr=0.01",
            "optim.eps=0.001",  # Adam's own 1e-8 blows rounding up wherever a gradient is almost 0
            "prompt_length.value=3",
            "epochs=50",
            "eval_every=1000",
        )
        chosen = {override.partition("=")[0] for override in overrides}
        chosen |= {"optim.eps"} if "optim.name=adafactor" in overrides else set()  # which has none
        kept = [word for word in line if word.partition("=")[0] not in chosen]
        found = settings(*kept, *(() if dropout else NO_DROPOUT), *overrides)
        if not dropout and "dropout" in found.method["head"]:
            found.method["head"]["dropout"] = 0.0
        return found

    return compose


def parameters(wired, member=0):
    """Copies of everything a run has trained."""
    return {name: p.detach().clone() for name, p in wired.runs[member].trained.items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def differ(one, other):
    return any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def fitted(wired, evaluate=None):
    wired.fit(evaluate)
    return wired


def scripted(*scores):
    """An evaluation that gives these scores in turn."""
    waiting = list(scores)
    return lambda _: {"selected": waiting.pop(0)}


# Runs side by side


SIDE_BY_SIDE = [
    ("method=ptv2", "seed=1", "prompt_length.value=3", "max_steps=10"),
    (
        "method=ptv2",
        "seed=2",
        "prompt_length.value=7",
        "max_steps=10",
        "optim.lr=0.05",
        "optim.clip=0.1",
        "method.prompt.layers=2-3",
    ),
    (
        "method=prompt_tuning",
        "seed=3",
        "prompt_length.value=2",
        "max_steps=10",
        "batch_size=3",
        "optim.schedule=linear",
    ),
]


@pytest.fixture(params=["one pass", "a pass each"])
def passes(request, monkeypatch):
    """How runs are taken through the backbone: together, as on a GPU, or at once in two threads."""
    monkeypatch.setattr(Model, "runs_in_threads", request.param == "a pass each")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("task", "count"),
    [
        ("rte", 2),
        ("conll03", 3),
        pytest.param("rte", 3, marks=pytest.mark.slow),
        pytest.param("conll03", 2, marks=pytest.mark.slow),
    ],
)
def test_runs_side_by_side_equal_each_run_alone(train, wire, passes, task, count):
    chosen = [train(*line, task=task) for line in SIDE_BY_SIDE[:count]]
    together = fitted(wire(*deepcopy(chosen)))
    for member, settings in enumerate(chosen):
        alone = fitted(wire(settings))
        assert len(alone.losses()) == 10
        assert together.losses(member) == pytest.approx(alone.losses(), abs=1e-5)
        for name, tensor in parameters(alone).items():
            torch.testing.assert_close(together.runs[member].trained[name], tensor, atol=1e-4, rtol=1e-4)
    assert together.losses(0) != pytest.approx(together.losses(1), abs=1e-2)


def test_runs_of_different_templates_and_heads_share_a_pass(train, wire, passes):
    chosen = [
        train("method=ptuning", "method.tune=none", "max_steps=4", "prompt_length.value=4"),
        train("method=ptv2", "method/head=verbalizer", "method/template=pattern", "max_steps=4", "accumulate=2"),
        train("method=linear_probe", "max_steps=4"),
    ]
    chosen[0].backbone = chosen[1].backbone = chosen[2].backbone
    together = fitted(wire(*deepcopy(chosen)))
    for member, settings in enumerate(chosen):
        assert together.losses(member) == pytest.approx(fitted(wire(settings)).losses(), abs=1e-5)


def test_a_run_that_ends_early_leaves_the_others_alone(train, wire, passes):
    short = train("method=ptv2", "max_steps=3")
    long = train("method=ptv2", "max_steps=8", "seed=2", "eval_every=2")
    together = fitted(wire(short, long), lambda run: {"selected": float(run.step)})
    assert [run.step for run in together.runs] == [3, 8]
    assert together.losses(1) == pytest.approx(fitted(wire(long)).losses(), abs=1e-5)
    assert [event["step"] for event in together.runs[1].history] == [2, 4, 6, 8]


def test_a_run_that_diverges_leaves_the_others_alone(train, wire, passes):
    chosen = [train(*line) for line in SIDE_BY_SIDE]
    together = wire(*deepcopy(chosen))
    stream, table = together.runs[0].stream, together.runs[0].trained["prompt.table"]

    def poisoned(step):
        if step == 4:
            with torch.no_grad():
                table.fill_(math.nan)
        return stream(step)

    together.runs[0].stream = poisoned
    together.fit()
    assert [run.step for run in together.runs] == [4, 10, 10]
    assert isinstance(together.runs[0].failure, DivergedError)
    assert [run.failure for run in together.runs[1:]] == [None, None]
    for member in (1, 2):
        alone = fitted(wire(chosen[member]))
        assert together.losses(member) == pytest.approx(alone.losses(), abs=1e-5)


def test_a_single_run_that_diverges_names_step_and_examples(train, wire, monkeypatch, caplog):
    wired = wire(train("method=ptv2", "max_steps=10", "batch_size=3"))
    run, stream = wired.runs[0], wired.runs[0].stream

    def poisoned(step):
        if step == 2:
            with torch.no_grad():
                run.trained["prompt.table"][0, 0] = math.inf
        return stream(step)

    run.stream = poisoned
    names = ", ".join(name for batch in stream(2) for name in batch.names)
    monkeypatch.setattr(loop, "FEW", 1)
    first, _, others = names.partition(", ")
    before = {}

    def note(step, original=poisoned):
        batches = original(step)
        before.update(parameters(wired))
        return batches

    run.stream = note
    with pytest.raises(DivergedError) as caught:
        wired.fit()
    assert str(caught.value) == (
        f"step 3: loss nan, gradient norm nan; the batch's examples: {first} and {others.count(',') + 1} more. "
        "A lower optim.lr or a warmup (optim.warmup=0.06) usually helps"
    )
    assert names.count("rte-") in (2, 3)
    assert caplog.messages == [f"step 3: loss nan, gradient norm nan; examples: {names}"]
    assert_same_bits(
        {n: t.nan_to_num() for n, t in before.items()},
        {n: t.nan_to_num() for n, t in parameters(wired).items()},
    )
    assert run.step == 2


WINDOWS = ("task.doc_stride=10", "task.max_question_length=14")  # answers are looked for in several rows
CURED = "A lower optim.lr or a warmup (optim.warmup=0.06) usually helps"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_selects_nothing(train, wire, score):
    """It would never be beaten, or never beat; what was saved before is kept as it was."""
    wired = wire(train("method=ptv2", "eval_every=2", "max_steps=8"))
    with pytest.raises(DivergedError) as caught:
        wired.fit(scripted(50.0, score))
    assert str(caught.value) == f"step 4: the selecting score is {score}. {CURED}"
    run = wired.runs[0]
    assert ([event["step"] for event in run.history], [*run.recorder.saved]) == ([2], [2])
    assert kind_of(caught.value) == "nan"


def test_a_parameter_that_is_not_finite_is_not_evaluated(train, wire):
    """Labels may come out all the same, where a model is read by its largest score."""
    wired = wire(train("method=ptv2", "eval_every=1", "max_steps=3"))
    run, step = wired.runs[0], wired.runs[0].stepper.step

    def poisoned(closure, at):
        rate = step(closure, at)
        with torch.no_grad():
            run.trained["prompt.table"][0, 0] = math.inf if at == 1 else 0.0
        return rate

    run.stepper.step = poisoned
    with pytest.raises(DivergedError) as caught:
        wired.fit(scripted(50.0))
    assert str(caught.value) == f"step 2: prompt.table is not finite. {CURED}"


def numberless(model, monkeypatch, member=0, example=2):
    """Let the output of a member for an example be no number."""
    answers = Model.answers

    def spoiled(self, work):
        found = answers(self, work)
        for (number, _), outputs in zip(work, found, strict=True):
            for place, output in enumerate(outputs):
                if (number, output.example) == (member, example):
                    outputs[place] = output._replace(scores=np.full_like(output.scores, math.nan))
        return found

    monkeypatch.setattr(Model, "answers", spoiled)


def test_each_run_takes_its_part_of_the_seconds(train, wire, monkeypatch):
    """Of a step in proportion to its examples there, and its own evaluations whole."""
    now = 0.0
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now)
    gradients = loop.gradients

    def slow(*args):
        nonlocal now
        now += 9.0
        return gradients(*args)

    def evaluate(run):
        nonlocal now
        now += 100.0
        return {"selected": 1.0}

    monkeypatch.setattr(loop, "gradients", slow)
    wired = wire(*(train(f"max_steps={steps}", f"batch_size={size}") for steps, size in ((1, 2), (3, 4))))
    wired.runs[1].eval_every = 2
    wired.fit(evaluate)
    first, second = wired.runs
    assert (first.seconds, second.seconds) == (3.0 + 100.0, 6.0 + 9.0 + 100.0 + 9.0 + 100.0)
    assert second.recorder.values("seconds") == [9.0] * 3, "no evaluation of another run"


@pytest.mark.parametrize("task", ["rte", "stsb", "conll03", "squad"])
def test_an_output_that_is_not_a_number_is_no_prediction(train, wire, monkeypatch, task):
    wired = wire(train("method=ptv2", "max_steps=1", *(WINDOWS if task == "squad" else ()), task=task))
    numberless(wired.model, monkeypatch)
    rendered = wired.rendered[0]
    with pytest.raises(DivergedError) as caught:
        predict(wired.model, Request(0, wired.task, rendered.examples, rendered), 4)
    name = rendered.examples[2].id
    assert str(caught.value) == f"the model's output for example {name} is not a number (NaN): it has diverged"


@pytest.mark.parametrize("due", [False, True], ids=["after steps", "as it goes on"])
@pytest.mark.parametrize("what", ["score", "parameter", "output"])
def test_a_run_whose_evaluation_fails_leaves_the_others_alone(train, wire, passes, monkeypatch, what, due):
    chosen = [train(*line, "eval_every=5") for line in SIDE_BY_SIDE]
    together = wire(*deepcopy(chosen))
    if what == "output":
        numberless(together.model, monkeypatch)
    first = together.runs[0]
    if due:  # cut off in its evaluation
        first.step = 5
    stream = first.stream

    def poisoned(step):
        batches = stream(step)
        if what == "parameter" and step == 9:
            first.stepper.step = lambda closure, at: spoil() or 0.0
        return batches

    def spoil():
        first.trained["prompt.table"].data.fill_(math.inf)

    first.stream = poisoned
    if what == "parameter" and due:
        spoil()

    def evaluate(run):
        if what == "output":
            return together.evaluate(run)
        return {"selected": math.nan if what == "score" and run.member == 0 else 1.0}

    together.fit(evaluate)
    ended = 5 if due or what != "parameter" else 10
    assert [run.step for run in together.runs] == [ended, 10, 10]
    assert isinstance(first.failure, DivergedError)
    assert [run.failure for run in together.runs[1:]] == [None, None]
    assert [event["step"] for event in together.runs[1].history] == [5, 10]


def test_the_figures_of_a_run_that_diverged_on_the_reported_split_alone(monkeypatch):
    """Are the error; those of runs beside it stand."""
    error = DivergedError("the model's output for example 3 is not a number (NaN): it has diverged")

    def concluded(session, run, runs):
        if session == "diverged":
            raise error
        return {"steps": 3}

    monkeypatch.setattr(training, "final_figures", concluded)
    run = types.SimpleNamespace(failure=None, stopper=types.SimpleNamespace(pruned=None))
    assert [training.figures_or_failure(name, run, 2) for name in ("diverged", "well")] == [error, {"steps": 3}]


TINY = ("data=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "backbone=tiny_encoder")


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_a_rate_that_is_far_too_high(ptune, tmp_path, task):
    """One line, and no result that a table would show."""
    words = ("method=ptv2", "max_steps=1", "optim.lr=1e36", "tracker=none", "quiet=true", "hydra.run.dir=run")
    found = ptune("train", f"task={task}", *TINY, *words)
    assert found.code == 1
    assert len(found.err.splitlines()) == 1
    assert "not a number" in found.err or "not finite" in found.err
    assert not (tmp_path / "run" / "result.json").exists()
    assert not RunFolder(tmp_path / "run").checkpoints()


# Memory


@pytest.fixture
def room(monkeypatch):
    """room(k): a pass of more than k rows runs out of memory, of evaluations and of training; returns their rows."""
    answers, losses = Model.answers, Model.losses

    def limit(most, error=torch.OutOfMemoryError):
        tried = []

        def fits(work):
            tried.append(sum(len(batch) for _, batch in work))
            if tried[-1] > most:
                raise error("planted")

        monkeypatch.setattr(Model, "answers", lambda self, work: fits(work) or answers(self, work))
        monkeypatch.setattr(Model, "losses", lambda self, work: fits(work) or losses(self, work))
        return tried

    return limit


@pytest.mark.parametrize("task", ["rte", "conll03", "squad_v2"])
def test_an_evaluation_without_memory_takes_fewer_at_a_time(train, wire, room, task):
    """The predictions are the same; errors of another kind are not taken for it."""
    wired = wire(train("method=ptv2", "max_steps=1", *(WINDOWS if task == "squad_v2" else ()), task=task))
    rendered = wired.rendered[0]
    asked = Request(0, wired.task, rendered.examples, rendered)
    whole = predict(wired.model, asked, 8)
    most = max(rendered.counts)
    tried = room(most)
    wired.model.train()
    found = predict(wired.model, asked, 8)
    assert wired.model.training
    assert tried[0] > most
    assert sum(rows for rows in tried if rows <= most) == sum(rendered.counts)
    assert [each.value for each in found] == [each.value for each in whole]
    for one, other in zip(found, whole, strict=True):
        assert (one.scores or {}) == pytest.approx(other.scores or {}, abs=1e-4)
    room(most, RuntimeError)
    with pytest.raises(RuntimeError, match="planted"):
        predict(wired.model, asked, 8)


def test_runs_evaluated_together_without_memory(train, wire, room):
    """The rows of each find their way back."""
    from ptune.evaluate import predict_together

    wired = wire(*(train(*line) for line in SIDE_BY_SIDE[:2]))
    several = [Request(i, wired.task, rendered.examples, rendered) for i, rendered in enumerate(wired.rendered)]
    whole = predict_together(wired.model, several, 16)
    room(3)
    found = predict_together(wired.model, several, 16)
    assert [[each.value for each in of_one] for of_one in found] == [[each.value for each in of] for of in whole]


def test_batches_of_evaluation_end_where_lengths_do(monkeypatch, train, wire):
    """Rather another pass than much padding; what is said of each example is the same."""
    wired = wire(train("method=ptv2", "task=conll03"))
    asked, padded, answers = Request(0, wired.task, wired.rendered[0].examples, wired.rendered[0]), [], Model.answers

    def counted(model, work):
        padded[-1].append(sum(int((~batch.mask).sum()) for _, batch in work))
        return answers(model, work)

    monkeypatch.setattr(Model, "answers", counted)
    found = []
    for most in (10**9, 8):
        monkeypatch.setattr("ptune.evaluate.PADDING", most)
        padded.append([])
        found.append(predict(wired.model, asked, 64))
    whole, few = padded
    assert sum(whole) > 2 * sum(few)
    assert max(few) <= 8
    assert [each.value for each in found[0]] == [each.value for each in found[1]]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_an_example_that_does_not_fit_is_named(train, wire, room, error):
    wired = wire(train("method=ptv2", "max_steps=1"))
    rendered = wired.rendered[0]
    longest = max(range(8), key=lambda i: rendered.lengths[i])
    room(0, error)
    wired.model.train()
    with pytest.raises(NoMemoryError) as caught:
        predict(wired.model, Request(0, wired.task, rendered.examples, rendered), 4)
    assert str(caught.value) == (
        f"out of memory with example rte-{longest} alone; a lower data.max_length or precision=bfloat16 needs less"
    )
    assert kind_of(caught.value) == "oom"
    assert wired.model.training


def test_training_without_memory_takes_fewer_at_a_time(train, wire, room):
    """The steps are the same, to rounding; what was halved is told once."""
    settings = train("method=ptv2", "max_steps=3", "batch_size=8")
    whole = fitted(wire(settings))
    short = wire(settings)
    room(2)
    short.fit(scripted(1.0))
    assert short.losses() == pytest.approx(whole.losses(), abs=1e-5)
    halved = [event for event in short.runs[0].recorder.events if event["event"] == "halved"]
    assert [(event["step"], event["parts"]) for event in halved] == [(0, 2), (0, 4)]


def test_training_on_what_does_not_fit_says_what_takes_less(train, wire, room):
    wired = wire(train("method=ptv2", "max_steps=3", "batch_size=8"))
    room(0)
    with pytest.raises(NoMemoryError) as caught:
        wired.fit()
    assert str(caught.value) == (
        "out of memory with one example at a time; a lower data.max_length, gradient_checkpointing=true or "
        "precision=bfloat16 needs less"
    )
    assert kind_of(caught.value) == "oom"
    assert wired.runs[0].step == 0


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("torch.optim.AdamW.step", "out of memory for the optimizer's step; optim=adafactor or a lower"),
        (
            "ptune.model.Model.to",
            "out of memory for the backbone; precision=bfloat16 or a smaller backbone needs less",
        ),
    ],
)
def test_memory_that_runs_out_elsewhere(place, said, ptune, tmp_path, monkeypatch):
    """One line, not a traceback, and no second try of a step that was taken in part."""

    def short(*_, **__):
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(place, short)
    words = ["method=ptv2", "prompt_length.value=4", "data=demo", "task=rte", "backbone=tiny_encoder", "tracker=none"]
    sizes = ["data.demo.train=8", "data.demo.dev=4", "data.demo.test=4", "max_steps=2", "quiet=true"]
    done = ptune("train", *words, *sizes, "hydra.run.dir=run")
    assert done.code == 1
    assert done.err.startswith(said)
    assert "\n" not in done.err


def test_several_ranks_save_before_an_evaluation(train, wire, monkeypatch):
    """They cannot stop within it."""
    saves: list[tuple[int, int]] = []
    wired = wire(train("method=ptv2", "max_steps=4", "eval_every=2"))
    (run,) = wired.runs
    save = run.recorder.save
    monkeypatch.setattr(
        run.recorder, "save", lambda step, *rest: saves.append((step, len(run.history))) or save(step, *rest)
    )
    monkeypatch.setattr(loop.ranks, "count", lambda: 2)
    wired.fit(scripted(1.0, 2.0))
    assert saves == [(2, 0), (2, 1), (4, 1), (4, 2)]


def test_ranks_do_not_halve_each_for_itself(train, wire, monkeypatch):
    """The step of the others is whole."""
    wired = wire(train("method=ptv2", "max_steps=3"))

    def short(*_):
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(loop, "gradients", short)
    monkeypatch.setattr(ranks, "count", lambda: 2)
    with pytest.raises(NoMemoryError, match="one of several ranks; a higher accumulate=N needs less"):
        wired.fit()
    assert wired.runs[0].parts == 1


# Micro-batches


@pytest.mark.parametrize("method", ["ptv2", "prompt_tuning", "linear_probe"])
def test_micro_batches_at_once_are_those_one_after_the_other(train, wire, method):
    """To the last bit, with dropout; three of them, in one thread and in two."""
    found, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            line = (f"method={method}", "batch_size=6", "accumulate=3", "max_steps=4")
            wired = fitted(wire(train(*line, dropout=True)))
        finally:
            torch.set_num_threads(before)
        assert wired.model.runs_in_threads
        assert len(wired.runs[0].stream(0)) == 3
        found.append((wired.losses(), parameters(wired)))
    assert found[0][0] == found[1][0]
    assert_same_bits(found[0][1], found[1][1])


def test_each_micro_batch_draws_its_own_dropout(train, wire):
    """Two micro-batches of the same example lose differently."""
    wired = wire(train("method=ptv2", "batch_size=1", "max_steps=1", dropout=True))
    run, stream = wired.runs[0], wired.runs[0].stream
    run.stream = lambda step: [*stream(0), *stream(0)]
    seen = []
    losses = wired.model.losses

    @contextmanager
    def watched(work):
        with losses(work) as found:
            seen.extend(float(loss.detach()) for loss, _ in found)
            yield found

    wired.model.losses = watched
    wired.fit()
    assert len(seen) == 2
    assert seen[0] != seen[1]


def test_gradients_of_a_whole_backbone_are_not_summed_in_memory(train, wire):
    """A tuned one trains its micro-batches one after the other, a frozen one at once; both are evaluated at once."""
    frozen, tuned = wire(train("method=ptv2")).model, wire(train("method=finetune")).model
    assert (frozen.runs_in_threads, tuned.runs_in_threads) == (True, False)
    assert frozen.threads
    assert tuned.threads


@pytest.mark.parametrize(
    ("words", "threads", "runs", "count"),
    [
        ((), 1, 1, 1),
        ((), 2, 1, 2),
        ((), 8, 1, 2),
        (("batch_size=64",), 4, 1, 4),
        (("batch_size=64",), 4, 2, 2),
        ((), 2, 8, 1),
        (("batch_size=15",), 2, 1, 1),
        (("accumulate=1",), 2, 1, 1),
        (("accumulate=5",), 1, 8, 5),
        (("method=finetune",), 2, 1, 1),
        (("gradient_checkpointing=true",), 2, 1, 1),
        (("backbone=albert_xxlarge_v2",), 2, 1, 1),
    ],
)
def test_into_how_many_micro_batches(settings, monkeypatch, words, threads, runs, count):
    """Of 8 examples at least, one a thread that no other run takes, where they can be at once; or as many as asked."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    s = settings("method=ptv2", "task=rte", "backbone=bert_base_cased", "batch_size=16", "device=cpu", *words)
    assert build.micro_batches(s, runs) == count


def test_a_run_goes_on_with_the_micro_batches_that_it_began_with(ptune, tmp_path, monkeypatch):
    """Whatever the threads of the machine are then."""
    words = ["train", "experiment=demo", "data.demo.train=40", "data.demo.dev=8", "data.demo.test=8", "quiet=true"]
    words += ["tracker=none", "max_steps=4", "eval_every=2", f"hydra.run.dir={tmp_path}"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert ptune(*words).code == 0
    kept = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))["accumulate"]
    (tmp_path / "result.json").unlink()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert ptune(*words).code == 0
    assert yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))["accumulate"] == kept == 2


@pytest.mark.parametrize("wanted", [True, False])
def test_no_algorithm_depends_on_how_threads_meet(ptune, tmp_path, monkeypatch, wanted):
    """On a CPU too: where states are gathered, the sums of the backward pass differed from run to run.

    It is settled before any weight is on a device, since CUDA reads its setting when it first computes.
    """
    seen: list[tuple[bool, str | None]] = []
    load = Backbone.load

    def loading(self, *args, **kwargs):
        seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get(CUBLAS)))
        return load(self, *args, **kwargs)

    monkeypatch.setattr(Backbone, "load", loading)
    monkeypatch.setenv(CUBLAS, ":0:0")
    words = ["train", "experiment=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "quiet=true"]
    words += ["tracker=none", "max_steps=1", f"deterministic={wanted}", f"hydra.run.dir={tmp_path}"]
    before = torch.are_deterministic_algorithms_enabled()
    try:
        assert ptune(*words).code == 0
        assert torch.are_deterministic_algorithms_enabled() is wanted
        assert seen == [(wanted, ":4096:8" if wanted else ":0:0")]
        assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["deterministic"] is wanted
    finally:
        torch.use_deterministic_algorithms(before)


def test_a_setting_of_cuda_that_is_reproducible_is_kept(monkeypatch):
    monkeypatch.setenv(CUBLAS, ":16:8")
    before = torch.are_deterministic_algorithms_enabled()
    try:
        determinism(True)
        assert os.environ[CUBLAS] == ":16:8"
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(before)


# The step's loss


@pytest.mark.parametrize("normalize", ["constant", "batch"])
@pytest.mark.parametrize("task", ["rte", "conll03"])
def test_accumulation_changes_no_update(train, wire, task, normalize):
    found = []
    for parts in (1, 2, 4):
        line = (
            "method=ptv2",
            "batch_size=8",
            f"accumulate={parts}",
            "max_steps=4",
            f"loss.normalize={normalize}",
        )
        wired = wire(train(*line, task=task))
        assert len(wired.runs[0].stream(0)) == parts
        found.append((fitted(wired).losses(), parameters(wired)))
    for losses, tensors in found[1:]:
        assert losses == pytest.approx(found[0][0], abs=1e-5)
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, found[0][1][name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("normalize", ["constant", "batch"])
def test_bucketing_changes_an_epochs_objective_only_under_normalize_batch(train, wire, normalize):
    sums = []
    for bucket in ("true", "false"):
        line = (
            "method=ptv2",
            "batch_size=3",
            f"data.bucket={bucket}",
            "optim.lr=0.0",
            "epochs=1",
            f"loss.normalize={normalize}",
        )
        sums.append(sum(fitted(wire(train(*line, task="conll03"))).losses()))
    if normalize == "constant":
        assert sums[0] == pytest.approx(sums[1], abs=1e-5)
    else:
        assert sums[0] != pytest.approx(sums[1], abs=1e-3)


def test_the_loss_is_the_sum_over_labels_by_a_constant(train, wire):
    wired = fitted(wire(train("method=ptv2", "batch_size=8", "max_steps=1", "optim.lr=0.0", task="conll03")))
    run = wired.runs[0]
    (batch,) = run.stream(0)
    words = sum(len(example.gold) for example in wired.rendered[0].examples)
    assert run.sources["train"].normalizer == batch.labels == words
    wired.model.eval()
    with torch.no_grad(), wired.model.hidden([(0, batch)]) as ((head, hidden, _),):
        scores = head.logits(hidden, batch).log_softmax(-1)
    total = sum(
        -scores[row, place, tag] for row, tags in enumerate(batch.target) for place, tag in enumerate(tags) if tag >= 0
    )
    assert wired.losses()[0] == pytest.approx(float(total) / words, abs=1e-5)


@pytest.mark.parametrize("bucket", ["true", "false"])
def test_the_constant_of_fewer_examples_than_a_batch(train, wire, examples, bucket):
    """Is the labels of them all, which a step has: no step is smaller for what is not there."""
    few = examples["conll03"][:3]
    line = ("method=ptv2", "batch_size=32", "max_steps=1", f"data.bucket={bucket}")
    wired = wire(train(*line, task="conll03"), data=few)
    (batch,) = wired.runs[0].stream(0)
    assert wired.runs[0].sources["train"].normalizer == batch.labels == sum(len(example.gold) for example in few)


def test_the_constant_of_few_examples_beside_a_runs_own(train, examples):
    """As PET's unlabeled ones, whose hidden tokens are its labels."""
    s = train("method=pattern_finetune", "method.template.name=pet4", "data.max_length=48", "batch_size=16")
    masked = {"template": {"_target_": "ptune.templates.masked.Masked", "name": "pet4", "share": 0.15}}
    other = with_changes(s, {"method": {**masked, "head": {"_target_": "ptune.heads.mlm.Mlm"}}})
    task = build.leaf(s.task)
    model = build.assemble([s], task, [(other, task)])
    rendered = Rendered(examples["rte"][:3], task, model.member(1).template, 48)
    found = training.source(other, Stream(rendered, 16, 1, 1, False, source="unlabeled"), 1, 0.25)
    assert (found.member, found.weight) == (1, 0.25)
    assert found.normalizer == rendered.labels > 0


def test_clipping_bounds_the_gradient_of_each_run(train, wire):
    wired = wire(train("method=ptv2", "optim.clip=0.01", "max_steps=1"))
    run = wired.runs[0]
    seen = []
    step = run.stepper.step
    run.stepper.step = lambda closure, at: (
        seen.append(math.sqrt(sum(float(p.grad.square().sum()) for p in run.trained.values()))) or step(closure, at)
    )
    wired.fit()
    assert run.recorder.values("grad_norm")[0] > 0.1
    assert seen == [pytest.approx(0.01, rel=1e-3)]


# Evaluation and stopping


@pytest.mark.parametrize(("ties", "best_step"), [("first", 4), ("last", 6)])
def test_early_stopping_keeps_the_first_best_or_the_last(train, wire, ties, best_step):
    """Patience counts from the first of them either way."""
    wired = wire(train("method=ptv2", "eval_every=2", "patience=3", "max_steps=40", f"ties={ties}"))
    wired.fit(scripted(50.0, 60.0, 60.0, 59.0, 10.0, 99.0))
    run = wired.runs[0]
    assert run.step == 10
    assert (run.stopper.best, run.stopper.best_step) == (60.0, best_step)
    assert [event["best"] for event in run.history] == [True, True, ties == "last", False, False]
    assert [event["step"] for event in run.history] == [2, 4, 6, 8, 10]
    assert sorted(run.recorder.saved) == [2, 4, 6, 8, 10]


def test_the_last_step_is_always_evaluated(train, wire):
    wired = wire(train("method=ptv2", "eval_every=3", "max_steps=5"))
    wired.fit()
    assert [event["step"] for event in wired.runs[0].history] == [3, 5]


DROPPING = ("method=ptv2", "method.prompt.dropout=0.3", "max_steps=6")


def test_how_often_is_evaluated_changes_no_bit(train, wire):
    found = [fitted(wire(train(*DROPPING, f"eval_every={every}", dropout=True))) for every in (1, 4, 1000)]
    assert [len(wired.evaluations) for wired in found] == [6, 2, 1]
    for wired in found[1:]:
        assert wired.losses() == found[0].losses()
        assert_same_bits(parameters(wired), parameters(found[0]))


def test_the_seed_decides_every_bit(train, wire):
    torch.manual_seed(5)
    first = fitted(wire(train(*DROPPING, dropout=True)))
    torch.manual_seed(6)
    again, other = (fitted(wire(train(*DROPPING, f"seed={seed}", dropout=True))) for seed in (1, 2))
    assert first.losses() == again.losses()
    assert_same_bits(parameters(first), parameters(again))
    assert first.losses() != other.losses()


def test_dropout_is_drawn_anew_each_step(train, wire):
    line = ("method=ptv2", "max_steps=5", "optim.lr=0.0", "batch_size=8")
    dropped, kept = (fitted(wire(train(*line, dropout=dropout))).losses() for dropout in (True, False))
    assert len({round(loss, 6) for loss in dropped}) == 5
    assert kept == pytest.approx([kept[0]] * 5, abs=1e-5)


# Resuming


@pytest.mark.parametrize("name", ["adamw", "adam", "adafactor"])
@pytest.mark.parametrize("method", ["ptv2", "prefix", "finetune", "ptuning"])
def test_resuming_continues_bit_for_bit(train, wire, tmp_path, method, name):
    settings = train(
        f"method={method}",
        "max_steps=8",
        "eval_every=2",
        "optim.schedule=linear",
        "optim.warmup=0.25",
        f"optim.name={name}",
        "patience=9",
        dropout=True,
    )
    whole = fitted(wire(settings))
    broken = wire(settings, recorder=Folder(tmp_path))
    stream = broken.runs[0].stream

    def interrupted(step):
        if step == 5:
            raise KeyboardInterrupt
        return stream(step)

    broken.runs[0].stream = interrupted
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    resumed = wire(settings)
    torch.manual_seed(99)
    with torch.no_grad():
        for parameter in resumed.runs[0].trained.values():
            parameter.normal_()
    newest = RunFolder(tmp_path).newest_checkpoint(pytest.fail)
    resumed.runs[0].restore(*read_checkpoint(newest))
    assert resumed.runs[0].step == 4
    resumed.fit()
    assert resumed.losses() == whole.losses()[4:]
    assert resumed.runs[0].recorder.values("lr") == whole.runs[0].recorder.values("lr")[4:]
    assert_same_bits(parameters(resumed), parameters(whole))
    ours, theirs = resumed.runs[0], whole.runs[0]
    assert ours.history == theirs.history
    assert ours.stopper == theirs.stopper


def test_a_checkpoint_of_before_micro_batches_were_halved(train, wire, tmp_path):
    settings = train("method=ptv2", "max_steps=1")
    fitted(wire(settings, recorder=Folder(tmp_path)))
    parameters, optimizer, state = read_checkpoint(RunFolder(tmp_path).checkpoints()[-1])
    del state["parts"]
    (run,) = wire(settings).runs
    run.restore(parameters, optimizer, state)
    assert (run.step, run.parts) == (1, 1)


def test_patience_goes_on_where_it_was(train, wire):
    settings = train("method=ptv2", "eval_every=1", "patience=2", "max_steps=9")
    first = wire(settings)
    with pytest.raises(IndexError):
        first.fit(scripted(5.0, 4.0))
    resumed = wire(settings)
    resumed.runs[0].restore(*first.runs[0].recorder.saved[2])
    resumed.fit(scripted(3.0))
    assert resumed.runs[0].step == 3
    assert (resumed.runs[0].stopper.best, resumed.runs[0].stopper.best_step) == (5.0, 1)


class Folder:
    """A recorder that writes checkpoints to a run folder, as `train` does."""

    def __init__(self, path):
        self.folder = RunFolder(path)

    def record(self, event):
        """See training_run.Recorder."""

    def save(self, step, tensors, optimizer, state, best_step):
        """See training_run.Recorder."""
        self.folder.save_checkpoint(step, tensors, optimizer, state, best_step)


def test_a_finished_or_stopped_run_is_not_trained_on(train, wire):
    wired = wire(train("method=ptv2", "max_steps=4", "eval_every=1", "patience=1"))
    wired.fit(scripted(2.0, 1.0))
    before = parameters(wired)
    wired.fit(scripted())
    assert wired.runs[0].step == 2
    assert_same_bits(parameters(wired), before)


# Optimizers and schedules


def factors(steps, per_epoch=2, **given):
    factor = optim.schedule(Optim(**given), steps, per_epoch)
    return [pytest.approx(factor(step)) for step in range(steps)]


def test_schedules():
    assert factors(4, schedule="linear") == [1, 3 / 4, 2 / 4, 1 / 4]
    assert factors(4, schedule="constant") == [1, 1, 1, 1]
    assert factors(6, schedule="exponential", gamma=0.5) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert factors(6, schedule="linear", warmup=2) == [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]
    assert factors(8, schedule="linear", warmup=0.25)[:4] == [1 / 3, 2 / 3, 1, 5 / 6]
    assert factors(4, schedule="constant", warmup=2) == [1 / 3, 2 / 3, 1, 1]
    assert factors(6, schedule="exponential", gamma=0.5, warmup=3) == [1 / 4, 2 / 4, 3 / 4, 0.5, 0.25, 0.25]
    assert optim.schedule(Optim(schedule="linear"), 4, 2)(9) == 0


def test_the_rate_of_a_step_is_the_schedules(train, wire):
    wired = fitted(wire(train("method=ptv2", "max_steps=4", "optim.schedule=linear", "optim.lr=0.4")))
    assert wired.runs[0].recorder.values("lr") == pytest.approx([0.4, 0.3, 0.2, 0.1])


def rates(wired):
    """Each trained parameter's rate and weight decay."""
    groups = wired.runs[0].stepper.optimizer.param_groups
    of = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(of) == sum(len(group["params"]) for group in groups) == len(wired.runs[0].trained)
    return {name: of[id(p)] for name, p in wired.runs[0].trained.items()}


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_rates_reach_backbone_prompt_and_head(train, wire, name):
    wired = wire(
        train(
            "method=ptv2",
            "method.tune=all",
            f"optim.name={name}",
            "optim.lr=0.5",
            "optim.backbone_lr=0.1",
            "optim.prompt_lr=0.2",
            "optim.head_lr=0.3",
            "optim.weight_decay=0.01",
            "max_steps=2",
        )
    )
    expected = {"backbone": 0.1, "prompt": 0.2, "head": 0.3}
    for parameter, (rate, decay) in rates(wired).items():
        assert rate == expected[parameter.partition(".")[0]]
        assert decay == (0.0 if wired.runs[0].trained[parameter].dim() == 1 else 0.01)


def test_a_part_with_a_rate_of_0_stays(train, wire):
    wired = wire(train("method=ptv2", "method.tune=all", "optim.backbone_lr=0.0", "max_steps=2"))
    before = parameters(wired)
    wired.fit()
    for name, tensor in parameters(wired).items():
        assert torch.equal(tensor, before[name]) is name.startswith("backbone.")


def test_unset_rates_are_the_methods_then_lr(settings, bert_folder, wire):
    line = [
        "method=ptuning",
        "backbone=local",
        f"backbone.path={bert_folder}",
        "data.max_length=40",
        "max_steps=1",
    ]
    found = {name.partition(".")[0]: rate for name, (rate, _) in rates(wire(settings(*line))).items()}
    assert found == {"prompt": 1e-4, "backbone": 1e-5}
    found = {n.partition(".")[0]: rate for n, (rate, _) in rates(wire(settings(*line, "optim.lr=0.1"))).items()}
    assert found == {"prompt": 0.1, "backbone": 1e-5}


def test_adamw_is_torchs(train, wire):
    wired = wire(
        train(
            "method=linear_probe",
            "max_steps=1",
            "optim.lr=0.1",
            "optim.clip=null",
            "optim.eps=1e-8",
            "batch_size=8",
        )
    )
    run = wired.runs[0]
    before = parameters(wired)
    with wired.model.losses([(0, run.stream(0)[0])]) as ((loss, labels),):
        gradient = torch.autograd.grad(loss / labels, list(run.trained.values()))
    wired.fit()
    for (name, after), grad in zip(parameters(wired).items(), gradient, strict=True):
        torch.testing.assert_close(after, before[name] - 0.1 * grad / (grad.abs() + 1e-8), atol=1e-5, rtol=1e-4)


def test_seeds_are_mixed_the_same_in_every_process():
    assert loop.mix(1, "prompt") == 8087042580133791187
    assert loop.mix(1, "prompt") != loop.mix(1, "head")


def test_adam_has_decay_in_every_gradient():
    """L2, of vectors too; AdamW takes a share of matrices alone away, times the rate."""
    moved = {}
    for name in ("adam", "adamw"):
        matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
        matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
        optim.optimizer(Optim(name=name, lr=0.1, weight_decay=0.5), {"prompt": [matrix, vector]}).step()
        moved[name] = [round(1 - each.flatten()[0].item(), 4) for each in (matrix, vector)]
    assert moved == {"adam": [0.1, 0.1], "adamw": [0.05, 0.0]}
