"""Training examples beside a text: which, in which order, drawn from what, and what evaluation makes of the draws."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from ptune import build
from ptune.batch import Draw, Example
from ptune.data.rendered import Rendered, Stream
from ptune.evaluate import EVALUATION, Request, predict
from ptune.leaves import leaf
from ptune.templates.demonstrations import Demonstrations
from ptune.templates.pattern import Pattern
from ptune.tokens import Tokens

TEXTS = ["the old mill", "a dog sleeps", "the river", "Anna works", "the house", "not far", "Oslo", "in front of it"]
SHOTS = [(Example(str(i), {"text": text}, "yn"[i % 2]), i % 2) for i, text in enumerate(TEXTS)]
PATTERNS = {"cloze": {"text": "{text} is it? {mask}.", "verbalizer": "set"}}
WORDS = {"set": {"y": ["Yes"], "n": ["No"]}, "other": {"y": ["true"], "n": ["false"]}}
FEW = ("data=demo", "data.demo.train=24", "data.demo.dev=12", "data.demo.test=8", "tracker=none", "quiet=true")


@pytest.fixture(scope="module")
def tokens(bert_folder) -> Tokens:
    """BERT's."""
    return Tokens(AutoTokenizer.from_pretrained(str(bert_folder)))


@pytest.fixture(scope="module")
def made(tokens):
    """made(...): the template that has learned the eight texts."""

    def make(pool=SHOTS, sentences=None, **given) -> Demonstrations:
        template = Demonstrations(tokens, ["text"], PATTERNS, ["y", "n"], WORDS, sentences=sentences, **given)
        template.learn(pool)
        return template

    return make


def rows(template: Demonstrations, text: str, draw: Draw, max_len: int = 128) -> list:
    """Those of a text."""
    return template.rows(template.parts(0, Example("0", {"text": text}), 0), draw, max_len)


def said(template: Demonstrations, row) -> str:
    """A row's tokens."""
    return " ".join(template.tokens.tokenizer.convert_ids_to_tokens(list(row.ids)))


def shown(template: Demonstrations, row) -> list[int]:
    """The numbers of the texts that a row shows beside its own, in their order."""
    parts = said(template, row).split("[SEP]")[:-1]
    bare = [part.replace("[CLS]", "").strip().rsplit(" is it", 1)[0] for part in parts if "[MASK]" not in part]
    known = [" ".join(template.tokens.tokenizer.tokenize(text)) for text in TEXTS]
    return [known.index(text) for text in bare]


def test_one_of_each_label_in_order_with_its_word(made) -> None:
    template = made()
    for row in rows(template, "is it far", EVALUATION):
        query, yes, no = said(template, row).split("[SEP]")[:-1]
        assert query.split() == ["[CLS]", "is", "it", "far", "is", "it", "?", "[MASK]", "."]
        assert yes.split()[-5:] == ["is", "it", "?", "yes", "."]
        assert no.split()[-5:] == ["is", "it", "?", "no", "."]
        first, second = shown(template, row)
        assert (first % 2, second % 2) == (0, 1)
        (mask,) = row.read["mask"]
        assert row.ids[mask] == template.tokens.mask_id
        length = list(row.ids).index(template.tokens.tokenizer.sep_token_id) + 1
        assert list(row.types) == [0] * length + [1] * (len(row.ids) - length)


def test_the_words_are_those_that_the_head_reads(made) -> None:
    template = made(words="other")
    _, yes, no = said(template, rows(template, "is it far", EVALUATION)[0]).split("[SEP]")[:-1]
    assert yes.split()[-2] == "true"
    assert no.split()[-2] == "false"


def test_training_never_shows_the_example_itself(made) -> None:
    template = made()
    for number, text in enumerate(TEXTS):
        beside = [shown(template, rows(template, text, Draw(1, epoch, training=True))[0]) for epoch in range(40)]
        assert all(number not in each for each in beside)
        assert {i for each in beside for i in each} == set(range(8)) - {number}
    drawn = [shown(template, row) for row in rows(template, TEXTS[0], EVALUATION)]
    assert any(0 in each for each in drawn), "evaluation draws from all"


def test_the_only_example_of_a_label_has_none_of_it_beside_it(made) -> None:
    template = made(SHOTS[:3])
    assert shown(template, rows(template, TEXTS[1], Draw(0, 0, training=True))[0]) in ([0], [2])


def test_what_is_shown_changes_by_the_epoch_and_is_the_same_by_the_seed(made) -> None:
    def drawn(seed: int) -> list[list[int]]:
        template = made()
        return [shown(template, rows(template, TEXTS[0], Draw(seed, epoch, training=True))[0]) for epoch in range(12)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len({tuple(each) for each in drawn(1)}) > 4


def test_what_evaluation_shows_is_the_runs_own_and_the_same_each_time(made) -> None:
    def drawn(seed: int) -> list[list[int]]:
        template = made(seed=seed)
        return [shown(template, row) for row in rows(template, "is it far", EVALUATION)]

    assert drawn(1) == drawn(1) != drawn(2)
    templates = [made(seed=seed) for seed in (1, 2)]
    one, other = (shown(template, rows(template, TEXTS[0], Draw(3, 0, training=True))[0]) for template in templates)
    assert one == other, "what training draws has its seed from the stream"


def test_runs_that_share_a_backbone_show_each_their_own(settings) -> None:
    runs = [
        settings("method=in_context", "task=sst2", "backbone=tiny_encoder", f"seed={seed}", *FEW) for seed in (1, 2)
    ]
    model = build.assemble(runs, leaf(runs[0].task))
    assert [model.member(number).template.seed for number in (0, 1)] == [1, 2]


def test_a_stream_draws_anew_each_epoch_and_the_same_again(tokens, made, settings) -> None:
    task = leaf(settings("task=sst2").task)
    task.fields, task.labels = ["text"], ["y", "n"]
    template = made()
    rendered = Rendered([example for example, _ in SHOTS], task, template, 128)
    assert rendered.labels == len(SHOTS), "the rows of an example have one label"
    assert rendered.counts == [16] * 8
    (whole,) = Stream(rendered, 8, 1, seed=3, bucket=False, tokens=8 * max(rendered.lengths))(0)
    assert len(whole) == 8, "training shows a row of an example"
    first, again = (Stream(rendered, 8, 1, seed=3, bucket=False) for _ in range(2))
    batches = [first(step)[0] for step in (0, 1)]
    assert [len(batch) for batch in batches] == [8, 8]
    assert torch.equal(batches[1].ids, again(1)[0].ids)

    def by_example(batch) -> dict[int, list[int]]:
        return {
            int(e): ids[ids != template.tokens.pad_id].tolist() for e, ids in zip(batch.example, batch.ids, strict=True)
        }

    one, two = map(by_example, batches)
    assert sum(one[i] != two[i] for i in range(8)) > 4


def test_evaluation_is_the_mean_of_exactly_its_draws(settings, bert_folder) -> None:
    s = settings(
        *("method=lmbff", "task=rte", "method.template.samples=5", "data=local", "data.root=.", "data.max_length=150"),
        *("backbone=local", f"backbone.path={bert_folder}"),
    )
    task = leaf(s.task)
    model = build.assemble([s], task)
    template = model.member(0).template
    pairs = [("The old mill.", "The mill."), ("A dog sleeps.", "The dog."), ("Oslo", "Yes"), ("It is far.", "No")]
    examples = [Example(str(i), {"premise": p, "hypothesis": h}, task.labels[i % 2]) for i, (p, h) in enumerate(pairs)]
    template.learn([(example, task.target(example)) for example in examples[:3]])
    rendered = Rendered(examples, task, template, 150)
    assert {key: rendered.reading()[key] for key in ("windows", "samples")} == {"windows": 1.0, "samples": 5}
    found = predict(model, Request(0, task, examples, rendered), 4)
    model.eval()
    apart = []
    for index in range(4):
        outputs = [model.outputs(0, build_batch(rendered, row))[0].scores for row in rendered.rows(index, EVALUATION)]
        assert len(outputs) == 5
        mean = np.mean(outputs, axis=0)
        assert list(found[index].scores.values()) == pytest.approx(mean.tolist(), abs=1e-5)
        apart.append(np.ptp(outputs, axis=0).max())
    assert max(apart) > 1e-5  # five draws of two examples may all be the same for a text


def build_batch(rendered: Rendered, row):
    """One row."""
    from ptune.batch import collate

    return collate([row], rendered.template.tokens.pad_id)


def test_a_text_has_the_same_draws_wherever_it_stands(made) -> None:
    template = made()
    parts = [template.parts(index, Example("x", {"text": "is it far"}), None) for index in (0, 7)]
    ids = [[row.ids for row in template.rows(each, EVALUATION, 128)] for each in parts]
    assert ids[0] == ids[1]


def test_texts_are_cut_and_nothing_else(made) -> None:
    long = [(Example(str(i), {"text": f"{text} " * 30}), i % 2) for i, text in enumerate(TEXTS)]
    template = made(long, first_sent_limit=10, other_sent_limit=4)
    for most in (128, 40, 24):
        for row in rows(template, "the river " * 40, EVALUATION, most):
            query, *others = said(template, row).split("[SEP]")[:-1]
            assert row.cut
            assert len(row.ids) <= most
            assert query.split()[-5:] == ["is", "it", "?", "[MASK]", "."]
            assert len(query.split()) <= 1 + 10 + 5
            assert [other.split()[-2] for other in others] == ["yes", "no"]
            assert all(len(other.split()) <= 4 + 5 for other in others)


def test_only_the_first_text_of_the_query_has_the_first_limit(tokens) -> None:
    """As in LM-BFF's code, whose first limit is of sentence 0 and whose other one of all that follow in a row."""
    pattern = {"cloze": {"text": "{two} is it? {mask}, {one}", "verbalizer": "set"}}  # the field is the first one
    template = Demonstrations(
        tokens, ["one", "two"], pattern, ["y", "n"], WORDS, first_sent_limit=6, other_sent_limit=3, samples=1
    )
    long = "the river " * 10
    template.learn([(Example(str(i), {"one": long, "two": long}, "yn"[i]), i) for i in range(2)])
    parts = template.parts(0, Example("0", {"one": long, "two": long}), None)
    (row,) = template.rows(parts, EVALUATION, 200)
    lengths = [
        [len(text.split()) for text in segment.replace("[CLS]", "").split(" is it ? ")[:1]]
        + [len(segment.split(" , ")[1].split())]
        for segment in said(template, row).split("[SEP]")[:-1]
    ]
    assert lengths == [[3, 6], [3, 3], [3, 3]]


def test_a_filter_keeps_the_nearest_half_of_each_label(made) -> None:
    """By hand: texts are points on a circle, numbered in their order around it, the query next to 3 and 4."""
    angle = {text: 0.3 * i for i, text in enumerate(TEXTS)} | {"is it far": 0.3 * 3.4}

    def sentences(folder):
        assert folder == "/here"
        low = {text.lower(): value for text, value in angle.items()}
        return lambda texts: np.array([(math.cos(low[t]), math.sin(low[t])) for t in texts])

    template = made(sentences=sentences, filter_rate=0.5, encoder="/here")
    drawn = {i for row in rows(template, "is it far", EVALUATION) for i in shown(template, row)}
    assert drawn == {2, 4, 3, 5}
    drawn = {i for e in range(30) for i in shown(template, rows(template, TEXTS[3], Draw(0, e, training=True))[0])}
    assert drawn == {2, 4, 1, 5}, "without the example itself, of three two"


def test_the_filter_embeds_with_the_untrained_backbone(settings, bert_folder, tmp_path) -> None:
    from ptune.sentences import Sentences

    s = settings("task=rte", "data=demo", "backbone=local", f"backbone.path={bert_folder}", "method=finetune")
    embed = Sentences(s.backbone, [], torch.device("cpu"), None)
    vectors = embed(["The old mill.", "A dog sleeps in front of the house.", ""])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    model = build.assemble([s], leaf(s.task))
    frame = model.member(0).template.tokens.frames[1]
    ids = [*frame.before, *model.member(0).template.tokens.encode("The old mill."), *frame.after]
    with torch.no_grad():
        states = model.backbone.base.eval()(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0)
    assert vectors[0] == pytest.approx((states / states.norm()).numpy(), abs=1e-5)
    other = Sentences({}, [], torch.device("cpu"), str(bert_folder))(["The old mill."])
    assert other[0] == pytest.approx(vectors[0], abs=1e-5)


# In context


def test_random_examples_stand_before_the_text(made) -> None:
    template = made(shots=5, per_label=False, place="before", samples=3)
    orders = []
    for row in rows(template, "is it far", EVALUATION):
        assert "[MASK]" in said(template, row).split("[SEP]")[-2]
        orders.append(shown(template, row))
        assert len(set(orders[-1])) == 5
        assert row.dropped == 0
    assert len({tuple(order) for order in orders}) == 3


def test_as_many_examples_as_have_room(made) -> None:
    template = made(shots=None, per_label=False, place="before", samples=1)
    assert template.wanted == 8
    assert len(shown(template, rows(template, "is it far", EVALUATION)[0])) == 8
    for most in range(12, 90):
        (row,) = rows(template, "is it far", EVALUATION, most)
        assert len(row.ids) <= most
        assert row.dropped == 8 - len(shown(template, row))
        assert len(row.ids) + 12 > most or row.dropped == 0, "the longest one takes 11 tokens"


def test_no_demonstrations_are_the_pattern(tokens, made) -> None:
    template = made(shots=0, per_label=False)
    pattern = Pattern(tokens, ["text"], PATTERNS)
    (ours,) = rows(template, "is it far", EVALUATION)
    (theirs,) = pattern.rows(pattern.parts(0, Example("0", {"text": "is it far"}), 0), EVALUATION, 128)
    assert (ours.ids, ours.types, ours.read, ours.target) == (theirs.ids, theirs.types, theirs.read, theirs.target)


def test_seeds_show_other_examples_in_context(ptune, tmp_path) -> None:
    """predict shows those of the stored seed again."""
    scores = []
    for seed in (1, 2):
        folder = tmp_path / f"run{seed}"
        line = ["train", "method=in_context", "task=sst2", "backbone=tiny_encoder", f"hydra.run.dir={folder}", *FEW]
        done = ptune(*line, f"seed={seed}", "method.template.shots=2", "method.template.samples=1")
        assert done.code == 0, done.err
        lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        scores.append([json.loads(line)["scores"] for line in lines])
    assert scores[0] != scores[1]
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"sentence": json.loads(line)["sentence"]}) + "\n" for line in lines), "utf-8")
    assert ptune("predict", f"run={folder}", f"input={asked}", f"output={tmp_path / 'out'}").code == 0
    again = [json.loads(line)["scores"] for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines()]
    assert [list(told.values()) for told in again] == [pytest.approx(list(s.values()), abs=1e-4) for s in scores[1]]


@pytest.mark.parametrize("backbone", ["tiny_encoder", "tiny_causal"])
def test_in_context_with_none_is_zero_shot(ptune, tmp_path, backbone) -> None:
    results = []
    for name, more in (("zero_shot", []), ("in_context", ["method.template.shots=0"]), ("in_context", [])):
        folder = tmp_path / f"run{len(results)}"
        done = ptune(
            "train", f"method={name}", "task=sst2", f"backbone={backbone}", f"hydra.run.dir={folder}", *FEW, *more
        )
        assert done.code == 0, done.err
        lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        results.append([json.loads(line)["scores"] for line in lines])
    assert results[0] == results[1] != results[2]
    assert "examples have no room for all of 24 demonstrations; of those at least " in done.err


# Runs


def test_a_run_keeps_what_it_shows(ptune, tmp_path) -> None:
    """eval and predict say what training said, without the corpus's train."""
    folder = tmp_path / "run"
    done = ptune(
        *(
            "train",
            "method=lmbff",
            "task=sst2",
            "max_steps=2",
            "backbone=tiny_encoder",
            f"hydra.run.dir={folder}",
            *FEW,
        ),
        *("method.template.samples=2", "method.template.filter_rate=0.5", "batch_size=4"),
    )
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [json.loads(line) for line in (folder / "demonstrations.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 24
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"sentence": row["sentence"]}) + "\n" for row in rows[::-1]), encoding="utf-8")
    assert ptune("predict", f"run={folder}", f"input={asked}", f"output={tmp_path / 'out'}").code == 0
    again = [json.loads(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines()]
    for row, told in zip(rows[::-1], again, strict=True):
        assert list(told["scores"].values()) == pytest.approx(list(row["scores"].values()), abs=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=copa"], "method/template: demonstrations are texts with one label each, but copa asks for more"),
        (["backbone=tiny_causal"], "method.template.place: a causal model reads nothing after the mask; use before"),
        (["method.template.samples=0"], "method.template.samples: 0 is too small; at least 1"),
        (["method.template.filter_rate=1.5"], "method.template.filter_rate: 1.5 must be above 0 and at most 1"),
        (["method.template.encoder=/x"], "method.template.encoder: is only used with filter_rate; set"),
        (
            ["method.template.filter_rate=0.5", "method.template.encoder=x"],
            "method.template.encoder: 'x' must be a full path",
        ),
        (
            ["method.template.filter_rate=0.5", "method.template.encoder=/nowhere"],
            "method.template.encoder: /nowhere has no config.json; name the folder of a checkpoint",
        ),
    ],
)
def test_what_cannot_be_is_said(ptune, words, message) -> None:
    done = ptune("train", "method=lmbff", "task=sst2", "backbone=tiny_encoder", *FEW, *words)
    assert done.code == 2
    assert message in done.err


def test_a_row_in_context_is_as_long_as_published(settings) -> None:
    s = settings("method=in_context", "task=sst2", "backbone=roberta_base", "data=demo")
    assert s.data.max_length == 512


@pytest.mark.parametrize(
    ("task", "published"),
    [
        ("sst2", (128, None, None, 16)),
        ("cola", (128, None, None, 16)),
        ("sst5", (256, 110, 20, 16)),
        ("mr", (256, 110, 50, 16)),
        ("trec", (256, 110, None, 16)),
        ("mpqa", (256, 110, None, 16)),
        ("glue_rte", (256, 240, None, 16)),
        ("rte", (256, 240, None, 16)),
        ("mnli", (256, None, None, 4)),
        ("qqp", (128, None, None, 4)),
        ("qnli", (128, None, None, 16)),
        ("stsb", (128, None, None, 16)),
        ("boolq", (512, None, None, 16)),  # of which nothing is published: twice the task's
    ],
)
def test_lengths_are_those_of_the_published_script(settings, task, published) -> None:
    """run_experiment.sh of LM-BFF; max_length is doubled with demonstrations where it says so."""
    s = settings("method=lmbff", f"task={task}", "backbone=roberta_base", "data=demo")
    template = s.method["template"]
    keys = ("first_sent_limit", "other_sent_limit", "samples")
    assert (s.data.max_length, *(template[key] for key in keys)) == published


def test_what_a_task_says_of_demonstrations_has_known_names(ptune) -> None:
    done = ptune("train", "method=lmbff", "task=sst2", "backbone=tiny_encoder", "+task.demonstrations.shots=2", *FEW)
    assert done.code == 2
    assert "task.demonstrations.shots: not one of them; " in done.err


def test_the_published_protocol(settings) -> None:
    s = settings("experiment=lmbff", "task=sst2", "seed=13")
    assert (s.method["name"], s.protocol, s.data.per_class, s.data.draw) == ("lmbff", "few_shot", 16, 13)
    assert (s.max_steps, s.eval_every, s.batch_size, s.optim.lr, s.method["tune"]) == (1000, 100, 8, 1e-5, "all")
    assert s.method["template"]["samples"] == 16
