"""Runs of masks: how texts of several tokens are scored, learned and written; COPA, ReCoRD and WSC."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from ptune import build, calibration
from ptune.batch import IGNORED, Batch, Draw, Example, Hidden, Row, collate
from ptune.data import encoded
from ptune.data.rendered import Rendered, Stream
from ptune.errors import ConfigError, DataError
from ptune.evaluate import Request, predict, predict_together
from ptune.heads.masks import decode_choices, hinge, one_by_one, trim_masks
from ptune.heads.verbalizer import Verbalizer
from ptune.injection import KV, Injection, Shape
from ptune.leaves import leaf
from ptune.tasks.wsc import agree
from ptune.templates import Part, Parts

DECODINGS = ("confident", "left_to_right", "parallel")
SHAPE = Shape(layers=1, heads=1, head_dim=1, hidden=2, embed=2, positions=16, vocab=3, lm_head=True, pooler=False)
LEARN, LOOK = Draw(7, 0, training=True), Draw(0, 0)
COPA = [
    Example(
        "0", {"premise": "The man fell.", "question": "cause", "choice1": "He slipped.", "choice2": "He ran home."}, 0
    ),
    Example(
        "1", {"premise": "It rained.", "question": "effect", "choice1": "The old street got wet.", "choice2": "No."}, 0
    ),
    Example("2", {"premise": "Anna won!", "question": "effect", "choice1": "She was glad", "choice2": "She lost"}, 1),
]
FACTS = {
    "passage": "Anna Berg works in Oslo. - Bo lives there.",
    "query": "The old mill belongs to @placeholder's friend.",
    "entities": ["Anna Berg", "Bo", "Oslo"],
}
RECORD = [Example("0", FACTS, ["Anna Berg", "Bo"]), Example("1", FACTS, ["Oslo"])]
WSC = [
    Example(str(i), {"text": t, "marked": t.replace(" he ", " *he* "), "pronoun": "he", "candidate": c}, label)
    for i, (t, c, label) in enumerate(
        [
            ("Mark thanked Pete since he had helped.", "Pete", "true"),
            ("Mark thanked Pete since he had helped.", "Mark", "false"),
            ("The old man saw Bo when he fell.", "The old man", "true"),
        ]
    )
]
CORPORA = {"copa": COPA, "record": RECORD, "wsc": WSC}


@pytest.fixture(scope="module")
def wired(settings):
    """Task, model and rendered examples for a run on hand-made ones."""

    def wire(task, *words, examples=None, backbone="tiny_encoder", method="pattern_finetune"):
        s = settings(f"method={method}", f"task={task}", f"backbone={backbone}", "device=cpu", *words)
        made = leaf(s.task)
        model = build.assemble([s], made).eval()
        examples = CORPORA[task] if examples is None else examples
        rendered = Rendered(examples, made, model.member(0).template, 96)
        return SimpleNamespace(settings=s, task=made, model=model, examples=examples, rendered=rendered)

    return wire


def scores_of(wired, indices) -> list[list[float]]:
    outputs = wired.model.outputs(0, wired.rendered.batch(indices, LOOK, "eval"))
    return [output.scores.tolist() for output in outputs]


# The scorer


def table(known: dict[tuple[int, ...], list[float]]) -> Hidden:
    """A language model over tokens 0, 1 and the mask, 2: a row's tokens -> the probability of token 1 inside of it."""

    def states(batch: Batch) -> Hidden:
        out = torch.zeros(*batch.ids.shape, 2)
        for i, (ids, mask) in enumerate(zip(batch.ids, batch.mask, strict=True)):
            for place, said in zip(range(1, int(mask.sum()) - 1), known[tuple(ids[mask].tolist())], strict=True):
                out[i, place] = torch.tensor([1 - said, said]).log()
        return Hidden(out, lambda vectors, ids: torch.nn.functional.pad(vectors, (0, 1), value=-torch.inf)[:, ids])

    def again(batch: Batch, rows: Tensor) -> Hidden:
        assert len(batch) == len(rows)
        return replace(states(batch), again=again)

    return replace(states(RUN), again=again)


RUN = collate([Row(0, [0, 2, 2, 0], [0] * 4, {"cls": [0], "mask": [1, 2]}, choices=[[1, 0], [1]], target=[1, 0])], 0)
KNOWN = {
    (0, 2, 2, 0): [0.2, 0.5],  # both masks: token 1 at either
    (0, 1, 2, 0): [0.2, 0.1],  # the first one is token 1
    (0, 2, 0, 0): [0.4, 0.5],  # the second one is token 0
    (0, 2, 0): [0.7],  # one mask
}


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        ("confident", 0.5 * 0.4),  # token 0 stands second: 0.5 is more than 0.2
        ("left_to_right", 0.2 * 0.9),
        ("parallel", 0.2 * 0.5),
    ],
)
def test_decodings_by_hand(decoding, expected):
    """Of a text of two tokens; that of one has one mask, in every decoding."""
    scores = decode_choices(table(KNOWN), RUN, RUN.choices, 3, decoding)
    assert scores[0].exp().tolist() == pytest.approx([expected, 0.7])


def test_hinge_by_hand():
    scores = torch.tensor([[-1.0, -1.5, -3.0], [-2.0, -1.0, -9.0]])
    target = torch.tensor([[1, 0, 0], [1, 0, IGNORED]])
    assert hinge(scores, target).tolist() == pytest.approx([0.5, 2.0])


def test_the_loss_of_choices_is_of_mean_log_probabilities():
    """One pass with the masks of the longest: log 0.2 and log 0.5 of the first choice, log 0.2 of the second."""
    head = Verbalizer(SHAPE, ["choice"], "choice", {}, lambda _: (), masked="choice")
    total, labels = head.loss(table(KNOWN), RUN)
    assert float(total) == pytest.approx(1 - (math.log(0.2) + math.log(0.5)) / 2 + math.log(0.2))
    assert labels == 1


def test_the_loss_of_labels_is_of_summed_log_probabilities():
    """The words of a label are alike in both: 'long' has two tokens, 'short' and 'brief' one each."""
    words = {"set": {"a": ["long"], "b": ["short", "brief"]}}
    ids = {"long": [1, 0], "short": [1], "brief": [0]}
    head = Verbalizer(SHAPE, ["a", "b"], "sequence", words, ids.get)
    batch = replace(RUN, choices=None, target=torch.tensor([0]))
    total, labels = head.loss(table(KNOWN), batch)
    long, others = math.log(0.2) + math.log(0.5), (math.log(0.2) + math.log(0.8)) / 2
    assert float(total) == pytest.approx(max(0.0, 1 - long + others))
    assert (labels, head.masks) == (1, 2)
    (said,) = head.outputs(table(KNOWN), batch)
    long, others = math.log(0.5 * 0.4), (math.log(0.7) + math.log(0.3)) / 2
    assert said.scores.tolist() == pytest.approx(torch.tensor([long, others]).log_softmax(0).tolist(), abs=1e-5)


def test_trimmed_rows_keep_what_stands_behind():
    row = Row(0, [5, 9, 9, 9, 6, 7], [0, 0, 0, 0, 1, 1], {"cls": [0], "mask": [1, 2, 3]}, slots=[5])
    for side in ("left", "right"):
        batch = trim_masks(collate([row, Row(1, [5, 9, 7], [0] * 3, {"cls": [0], "mask": [1]})], 0, side=side), 1)
        assert [batch.ids[i][batch.mask[i]].tolist() for i in (0, 1)] == [[5, 9, 6, 7], [5, 9, 7]]
        assert batch.types[0].tolist() == [0, 0, 1, 1]
        assert batch.read["mask"].tolist() == [[1], [1]]
        assert batch.slots.tolist() == [[3], [-1]]


@pytest.mark.parametrize("decoding", DECODINGS)
def test_one_mask_is_the_single_mask(wired, decoding):
    """Words of one token as a run of masks: the scores of the head that knows of one mask."""
    examples = [Example(str(i), {"premise": text, "hypothesis": "The dog sleeps."}) for i, text in enumerate("ab")]
    run = wired("rte", f"method.head.decoding={decoding}", examples=examples)
    head, batch = run.model.member(0).head, run.rendered.batch([0, 1], LOOK, "eval")
    with torch.inference_mode(), run.model.hidden([(0, batch)]) as ((_, hidden, moved),):
        texts = head.ids[:, None].expand(2, -1, -1)
        scores = decode_choices(hidden, moved, texts, head.vocab, decoding)
        torch.testing.assert_close(scores.log_softmax(1), head.logits(hidden, moved).log_softmax(1))
    assert head.masks == 1


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("method", ["pattern_finetune", "ptuning"])
@pytest.mark.parametrize("task", ["copa", "record"])
def test_batched_is_one_by_one(wired, task, method, decoding):
    more = ["prompt_length.value=3"] if method == "ptuning" else []
    run = wired(task, f"method.head.decoding={decoding}", *more, method=method)
    together = scores_of(run, range(len(run.examples)))
    for i, scores in enumerate(together):
        assert scores == pytest.approx(scores_of(run, [i])[0], abs=1e-4)
    assert len({len(scores) for scores in together}) == 1


def test_decodings_differ(wired):
    found = [scores_of(wired("copa", f"method.head.decoding={decoding}"), [1])[0][0] for decoding in DECODINGS]
    assert len({round(score, 3) for score in found}) == 3


@pytest.mark.parametrize("decoding", DECODINGS)
def test_texts_are_written_alike_in_batches(wired, decoding):
    run = wired("wsc", f"method.head.decoding={decoding}", method="zero_shot")
    whole = [output.text for output in run.model.outputs(0, run.rendered.batch(range(3), LOOK, "eval"))]
    assert whole == [run.model.outputs(0, run.rendered.batch([i], LOOK, "eval"))[0].text for i in range(3)]


def test_every_row_has_its_own_runs_prompt(settings):
    """Further passes too, of two runs that share them."""
    runs = [
        settings("method=ptv2", "method/template=pattern", "method/head=verbalizer", "task=copa", f"seed={seed}",
                 "backbone=tiny_encoder", "device=cpu", f"prompt_length.value={length}")
        for seed, length in ((1, 2), (2, 3))
    ]  # fmt: skip
    task = leaf(runs[0].task)
    model = build.assemble(runs, task).eval()
    asked = [Request(i, task, COPA, Rendered(COPA, task, model.member(i).template, 96)) for i in range(2)]
    together = predict_together(model, asked, 64)
    for one, found in zip(asked, together, strict=True):
        alone = predict(model, one, 64)
        for ours, theirs in zip(found, alone, strict=True):
            assert ours.scores == pytest.approx(theirs.scores, abs=1e-4)
    assert together[0][0].scores != pytest.approx(together[1][0].scores, abs=1e-4)


def test_an_injection_of_some_rows():
    kv = KV(torch.arange(3.0).view(3, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.tensor([1, 2, 3]))
    whole = Injection(front=torch.zeros(1, 2, 4), kv={"encoder": {0: kv}}, offset=torch.tensor([4, 5, 6]))
    some = whole.of(torch.tensor([2, 0, 2]))
    assert some.kv["encoder"][0].k.flatten().tolist() == [2, 0, 2]
    assert some.kv["encoder"][0].length.tolist() == [3, 1, 3]
    assert (some.front.shape, some.offset.tolist()) == ((1, 2, 4), [6, 4, 6])
    shared = Injection(front=torch.zeros(1, 2, 4), offset=2)
    assert shared.of(torch.tensor([1])) is shared


# Causal models


def test_causal_choices_follow_the_chain_rule(wired):
    """The log-probability of a choice behind the row's text, as the whole language model says it."""
    run = wired("copa", backbone="tiny_causal")
    template, batch = run.model.member(0).template, run.rendered.batch([0, 1, 2], LOOK, "eval")
    found = scores_of(run, [0, 1, 2])
    for i, scores in enumerate(found):
        given = batch.ids[i][batch.mask[i]].tolist()
        for choice, score in zip(template.parts(i, run.task.options(COPA[i])[0], None).choices, scores, strict=True):
            with torch.inference_mode():
                logits = run.model.backbone.model(torch.tensor([[*given, *choice]])).logits[0].log_softmax(-1)
            expected = sum(float(logits[len(given) - 1 + j, token]) for j, token in enumerate(choice))
            assert score == pytest.approx(expected, abs=1e-3)


def test_t5s_choices_are_written_behind_the_sentinel(wired):
    """The log-probability of a choice in the decoder, after the row's one sentinel, as the library's class says it."""
    run = wired("copa", backbone="tiny_encoder_decoder")
    template, batch = run.model.member(0).template, run.rendered.batch([0, 1, 2], LOOK, "eval")
    sentinel = template.tokens.mask_id
    assert ((batch.ids == sentinel).sum(1) == 1).all()
    start = run.model.backbone.start_id
    for i, scores in enumerate(scores_of(run, [0, 1, 2])):
        given = batch.ids[i][batch.mask[i]][None]
        for choice, score in zip(template.parts(i, run.task.options(COPA[i])[0], None).choices, scores, strict=True):
            before = torch.tensor([[start, sentinel, *choice[:-1]]])
            with torch.inference_mode():
                logits = run.model.backbone.model(input_ids=given, decoder_input_ids=before).logits[0].log_softmax(-1)
            expected = sum(float(logits[1 + j, token]) for j, token in enumerate(choice))
            assert score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("backbone", ["tiny_causal", "tiny_encoder_decoder"])
def test_choices_learn_through_their_own_passes(wired, backbone):
    run = wired("copa", backbone=backbone)
    with run.model.losses([(0, run.rendered.batch([0, 1], LEARN, "train"))]) as ((total, labels),):
        total.backward()
    assert labels == 2
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in run.model.backbone.parameters())


# Labels of several tokens


LONG = (
    "task.verbalizers.yes_no.entailment=['Yes indeed it does','Yes']",
    "task.verbalizers.yes_no.not_entailment=['No']",
)


@pytest.mark.parametrize("backbone", ["tiny_encoder", "tiny_causal", "tiny_encoder_decoder"])
@pytest.mark.parametrize("aggregate", ["mean", "logsumexp"])
def test_labels_of_several_tokens(wired, monkeypatch, backbone, aggregate):
    """A label's score comes of its words', each scored alone; calibrated, an empty text has every label alike."""
    examples = [Example(str(i), {"premise": text, "hypothesis": "The dog sleeps."}) for i, text in enumerate("ab")]
    words = (f"method.head.aggregate={aggregate}", "method.head.calibrate=true", "method.head.name=yes_no", *LONG)
    run = wired("rte", *words, examples=examples, backbone=backbone, method="zero_shot")
    head, template = run.model.member(0).head, run.model.member(0).template
    assert head.masks > 1
    batch = run.rendered.batch([0, 1], LOOK, "eval")
    assert batch.read["mask"].shape[1] == (1 if head.chained else head.masks)
    with torch.inference_mode(), run.model.hidden([(0, batch)]) as ((_, hidden, moved),):
        texts = [word.expand(2, 1, -1)[:, :, : int((word != IGNORED).sum())] for word in head.words]
        if head.chained:
            alone = [one_by_one(hidden, moved, text, head.vocab, head.sentinels).sum(2) for text in texts]
        else:
            alone = [decode_choices(hidden, moved, text, head.vocab, "confident") for text in texts]
        yes = torch.stack(alone[:2]).mean(0) if aggregate == "mean" else torch.logaddexp(*alone[:2])
        torch.testing.assert_close(head.logits(hidden, moved), torch.cat([yes, alone[2]], 1), atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(calibration, "CONTENT_FREE", ("N/A",))
    calibration.calibrate(run.model, 0, run.task, 96)
    rendered = Rendered([Example("0", dict.fromkeys(run.task.fields, "N/A"))], run.task, template, 96)
    said = run.model.outputs(0, rendered.batch([0], LOOK, "eval"))[0].scores
    assert said.tolist() == pytest.approx([math.log(0.5)] * 2, abs=1e-4)


# What is trained on


def test_record_learns_from_each_answer_beside_some_entities(wired):
    many = Example("9", {**FACTS, "entities": [f"Anna {'x' * i}" for i in range(1, 15)]}, ["Anna x", "Anna xx"])
    run = wired("record", examples=[many, *RECORD])
    rows = run.rendered.rows(0, LEARN)
    assert [list(row.target) for row in rows] == [[1, *[0] * 9]] * 2
    assert [row.labels for row in rows] == [1, 1]
    own = run.model.member(0).template.parts(0, run.task.options(many)[0], None).choices
    for row, answer, other in zip(rows, own[:2], own[1::-1], strict=True):
        assert row.choices[0] == answer
        assert other not in row.choices
        assert len(row.read["mask"]) == max(map(len, row.choices))
    again, next_epoch, another = (
        run.rendered.rows(0, draw) for draw in (LEARN, LEARN._replace(epoch=3), Draw(8, 0, True))
    )
    assert rows == again == next_epoch
    assert [row.choices for row in rows] != [row.choices for row in another]
    (row,) = run.rendered.rows(0, LOOK)
    assert (list(row.choices), row.labels) == (list(own), 1)
    assert run.rendered.label_counts == [2, 2, 1]


def test_wsc_learns_to_write_right_candidates_and_to_stop(wired):
    """The tokens of the candidate and none to three of padding, anew each epoch; without training one mask more."""
    run = wired("wsc")
    text = run.model.member(0).template.parts(0, run.task.options(WSC[2])[0], None).choices[0]
    pad = run.model.member(0).template.tokens.pad_id
    seen = set()
    for epoch in range(24):
        (row,) = run.rendered.rows(2, LEARN._replace(epoch=epoch))
        spare = len(row.read["mask"]) - len(text)
        assert list(row.target) == [*text, *[pad] * spare]
        seen.add(spare)
    assert seen == {0, 1, 2, 3}
    (row,) = run.rendered.rows(2, LOOK)
    assert (len(row.read["mask"]), row.target) == (len(text) + 1, None)
    assert run.rendered.training_indices == [0, 2]
    stream = Stream(run.rendered, 1, 1, 0, bucket=False)
    assert stream.steps_per_epoch == 2
    assert sorted(i for (batch,) in map(stream, (0, 1)) for i in batch.example.tolist()) == [0, 2]
    with run.model.losses([(0, run.rendered.batch([0, 2], LEARN, "train"))]) as ((total, labels),):
        said, target = [], []
        for i in (0, 2):
            batch = run.rendered.batch([i], LEARN, "train")
            said.append(
                run.model.backbone.model(batch.ids, token_type_ids=batch.types).logits[0, batch.read["mask"][0]]
            )
            target.append(batch.target[0])
        expected = torch.nn.functional.cross_entropy(torch.cat(said), torch.cat(target), reduction="sum")
        assert total.item() == pytest.approx(expected.item(), rel=1e-4)
    assert labels == sum(map(len, target))


@pytest.mark.parametrize("backbone", ["tiny_causal", "tiny_encoder_decoder"])
def test_wsc_is_written_without_masks(wired, backbone):
    """Behind the row, or in T5's decoder between two sentinels: learned token by token, then generated and compared."""
    run = wired("wsc", backbone=backbone)
    template, head, model = run.model.member(0).template, run.model.member(0).head, run.model.backbone.model
    ids = [template.parts(i, run.task.options(WSC[i])[0], None).choices[0] for i in (0, 2)]
    before, after = template.tokens.around
    assert [list(run.rendered.rows(i, LEARN)[0].output) for i in (0, 2)] == [[*before, *each, *after] for each in ids]
    assert all(not run.rendered.rows(i, draw)[0].output for i, draw in ((1, LEARN), (0, LOOK), (2, LOOK)))
    assert run.rendered.training_indices == [0, 2]
    expected = 0.0
    with run.model.losses([(0, run.rendered.batch([0, 2], LEARN, "train"))]) as ((total, labels),):
        for i in (0, 2):
            row = run.rendered.rows(i, LEARN)[0]
            given, output = torch.tensor([row.ids]), torch.tensor([row.output])
            if before:
                start = torch.tensor([[run.model.backbone.start_id]])
                logits = model(input_ids=given, decoder_input_ids=torch.cat([start, output[:, :-1]], 1)).logits[0]
            else:
                logits = model(torch.cat([given, output[:, :-1]], 1)).logits[0, given.shape[1] - 1 :]
            expected += torch.nn.functional.cross_entropy(logits, output[0], reduction="sum").item()
    assert total.item() == pytest.approx(expected, rel=1e-3)
    assert labels == sum(map(len, ids)) + 2 * len([*before, *after])
    batch = run.rendered.batch([0, 1, 2], LOOK, "eval")
    with torch.inference_mode(), run.model.hidden([(0, batch)]) as ((_, hidden, moved),):
        written = hidden.generate(end=after[0], limit=len(before) + run.task.output_length)
        assert [o.text for o in head.outputs(hidden, moved)] == [template.tokens.decode(each) for each in written]


def test_bart_reads_no_texts_of_an_examples_own(settings, bart_folder):
    with pytest.raises(ConfigError) as caught:
        settings("method=pattern_finetune", "task=copa", "data=demo", "backbone=local", f"backbone.path={bart_folder}")
    assert caught.value.problems == [
        "method/head: this encoder-decoder cannot score the texts at the masks of copa; use linear and "
        "method/template=plain"
    ]


def test_wsc_without_right_candidates(wired):
    with pytest.raises(DataError) as caught:
        wired("wsc", examples=WSC[1:2]).rendered.training_indices  # noqa: B018
    assert str(caught.value) == "none of the 1 examples to train on says what belongs at its masks"


@pytest.mark.parametrize(
    ("said", "meant", "expected"),
    [
        ("the city council", "The city councilmen", False),
        ("Councilmen", "The city councilmen", True),
        ("the city councilmen, they", "city councilmen", True),
        ("Pete's", "Pete", True),
        ("Mark", "Pete", False),
        ("", "Pete", False),
        (".", "Pete", False),
    ],
)
def test_wsc_compares_sets_of_words(said, meant, expected):
    assert agree(said, meant) is expected


def test_parts_with_choices_come_back_from_their_file(tmp_path: Path):
    one = Parts(0, [Part("mask", [4])], [1, 0], choices=[[1, 2], [3]])
    two = Parts(1, [Part("text", [5])], 1)
    encoded.write(
        tmp_path, [encoded.EncodedExample([one], 1, 1, 1, 0, False), encoded.EncodedExample([two], 1, 1, 1, 0, False)]
    )
    (ours,), (theirs,) = encoded.Encoded(tmp_path)
    assert ([list(choice) for choice in ours.choices], list(ours.target)) == ([[1, 2], [3]], [1, 0])
    assert (list(theirs.choices), theirs.target) == ([], 1)


# Whole runs


SMALL = ("data.demo.train=24", "data.demo.dev=8", "data.demo.test=8", "max_steps=3", "batch_size=8", "epochs=1")
QUIET = ("tracker=none", "quiet=true", "hydra.run.dir=run")


@pytest.mark.parametrize("task", ["copa", "wsc", "record"])
def test_trains_on_the_demo(ptune, task):
    done = ptune(
        "train", "method=pattern_finetune", f"task={task}", "data=demo", "backbone=tiny_encoder", *SMALL, *QUIET
    )
    assert done.code == 0, done.err
    assert ptune("eval", "run").code == 0


@pytest.mark.parametrize(("task", "folder"), [("copa", "COPA"), ("wsc", "WSC")])
def test_trains_on_the_original_files(ptune, shared, task, folder):
    root = shared / "data" / "superglue" / folder
    done = ptune(
        *("train", "method=pattern_finetune", f"task={task}", "data=local", f"data.root={root}", "data.max_train=8"),
        *("data.max_dev=4", "backbone=tiny_encoder", "max_steps=1", "batch_size=8", *QUIET),
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["task=record", "backbone=tiny_causal"],
            "method.template.name: a causal model reads nothing after {mask}, so a pattern must end with it; "
            "none of its patterns does",
        ),
        (
            ["task=record", "task.loss=binary"],
            "method/head: the choices of record are compared with one another here; use task.loss=softmax",
        ),
        (
            ["task=copa", "method/template=plain"],
            "method/template: patterns and a verbalizer of copa are only used together; use method/template=pattern",
        ),
        (
            ["task=wsc", "method/head=linear"],
            "method/template: patterns and a verbalizer of wsc are only used together; use method/template=plain",
        ),
        (
            ["task=copa", "method=zero_shot", "method.head.calibrate=true"],
            "method.head.calibrate: the texts at the masks of copa are each example's own; leave it out",
        ),
        (["task=record", "method.template.choices=1"], "method.template.choices: 1 is too small; at least 2"),
    ],
)
def test_what_does_not_fit(ptune, words, expected):
    given = ["method=pattern_finetune", "backbone=tiny_encoder", *words]
    last = {word.partition("=")[0]: word for word in given}
    assert ptune("train", *last.values(), "data=demo", *QUIET).err == expected
