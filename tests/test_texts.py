"""Texts for texts: tables to sentences with a prefix, labels by their names with a soft prompt, votes and transfer."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import call
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ptune import build, metrics
from ptune.backbones.encoder_decoder import EncoderDecoder
from ptune.batch import IGNORED, Draw, Example, Hidden, Row, RowOutput, collate
from ptune.config import Data
from ptune.data import encoded
from ptune.data.encoded import Encoded, EncodedExample
from ptune.data.rendered import Rendered
from ptune.ensemble import common_data, vote
from ptune.errors import ConfigError, DataError
from ptune.heads.generate import Generate
from ptune.leaves import leaf
from ptune.prompts.soft import Soft
from ptune.readers import e2e, webnlg
from ptune.tasks import Prediction
from ptune.templates import Part, Parts
from ptune.templates.pattern import Pattern
from ptune.templates.plain import Plain
from ptune.templates.text import Text

ROOT = Path(__file__).parents[1]


def option(path):
    return leaf(yaml.safe_load((ROOT / "conf" / f"{path}.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def causal():
    """The tokens of a causal model."""
    return option("backbone/tiny_causal").tokens()


@pytest.fixture(scope="module")
def decoder():
    """The tokens of an encoder-decoder."""
    return option("backbone/tiny_encoder_decoder").tokens()


# Readers


def test_rows_of_the_same_attributes_are_joined_where_texts_are_compared(tmp_path):
    path = tmp_path / "devset.csv"
    path.write_text('mr,ref\n"name[A], food[B, C]",one\n"name[D]",two\n"name[A], food[B, C]",three\n', encoding="utf-8")
    apart, joined = list(e2e.read(path)), list(e2e.read(path, joined=True))
    assert [record.values["refs"] for record in apart] == [["one"], ["two"], ["three"]]
    assert [record.values["refs"] for record in joined] == [["one", "three"], ["two"]]
    assert joined[0].values["table"] == "name : A | food : B, C"
    assert joined[0].where == f"{path}:2"


def test_attributes_have_the_names_that_prefix_tuning_gives_them():
    mr = "name[Aromi], eatType[pub], priceRange[cheap], customer rating[low], familyFriendly[no], near[Oslo]"
    line = "name : Aromi | Type : pub | price : cheap | customer rating : low | family friendly : no | near : Oslo"
    assert e2e.linearized(mr, "x.csv:2") == line


@pytest.mark.parametrize("mr", ["name", "a[b[c]", "[b]", "a[]", "a[b] c[d", "a[b],c]", "x" * 300_000])
def test_what_is_no_list_of_attributes_is_refused_at_once(mr):
    began = time.process_time()
    with pytest.raises(DataError) as caught:
        e2e.linearized(mr, "x.csv:2")
    assert time.process_time() - began < 2
    assert str(caught.value) == f"x.csv:2: {mr[:80]!r} is not a list of attributes such as name[Aromi], eatType[pub]"


def test_triples_are_a_line_and_bad_texts_are_left_out(tmp_path):
    path = tmp_path / "train.json"
    triple = {"subject": "A_B", "property": "isIn", "object": "C_D"}
    texts = [{"comment": comment, "lex": f"{comment} text"} for comment in ("good", "toFix", "good")]
    entry = {"category": "City", "modifiedtripleset": [triple, triple], "lexicalisations": texts}
    path.write_text(json.dumps({"entries": [{"1": entry}]}), encoding="utf-8")
    assert [record.values["refs"] for record in webnlg.read(path)] == [["good text"], ["good text"]]
    (joined,) = webnlg.read(path, joined=True, spaces=True)
    assert joined.values == {
        "table": "A B : isIn : C D | A B : isIn : C D",
        "category": "City",
        "refs": ["good text", "good text"],
    }


def test_a_text_of_another_kind_is_refused():
    task = option("task/e2e")
    for refs in ("one", [], [" "], [3]):
        with pytest.raises(DataError, match="'refs' is not a list of non-empty texts"):
            task.gold(type("Record", (), {"values": {"refs": refs}, "where": "file:1"}))


# Scores


def test_bleu_is_that_of_sacrebleu_with_several_references():
    from sacrebleu.metrics.bleu import BLEU

    gold = [["The cat sat on the mat .", "A cat sat there ."], ["It rains in Oslo today ."]]
    said = ["The cat sat there .", "It rains in Bergen today ."]
    theirs = BLEU().corpus_score(said, [["The cat sat on the mat .", gold[1][0]], ["A cat sat there .", None]]).score
    assert metrics.bleu_of_counts(metrics.bleu_counts(gold, said).sum(0)) == pytest.approx(theirs)
    assert theirs < 100
    each = metrics.bleu_counts(gold, [refs[-1] for refs in gold])
    assert metrics.bleu_of_counts(each.sum(0)) == pytest.approx(100)
    assert metrics.bleu_of_counts(np.stack([each.sum(0), each[0]])).tolist() == pytest.approx([100, 100])


def test_rouge_takes_the_nearest_reference():
    assert metrics.rouge_l([["a b", "c d e"]], ["c d e"]) == [1.0]
    assert metrics.rouge_l([["a b"]], ["c d e"]) == [0.0]


def test_scores_intervals_and_facets_of_texts():
    task = option("task/webnlg")
    fields = [{"table": "a", "category": "City"}, {"table": "b", "category": "Artist"}]
    golds = (["It is in Norway today ."], ["He was born in Oslo ."])
    examples = [Example(str(i), f, gold) for i, (f, gold) in enumerate(zip(fields, golds, strict=True))]
    right = [Prediction(gold[0]) for gold in golds]
    assert task.score(examples, right) == {name: pytest.approx(100) for name in ("bleu", "chrf", "rouge_l")}
    assert task.interval(examples, right) == (pytest.approx(100), pytest.approx(100))
    assert task.interval(examples, right, "chrf") is None
    assert [task.facets(example)["seen"] for example in examples] == ["seen", "unseen"]
    assert task.score(examples, right[::-1])["bleu"] < 50


def test_what_is_no_label_counts_as_wrong():
    task = option("task/cb")
    examples = [Example(str(i), {}, gold) for i, gold in enumerate(["entailment", "neutral", "neutral"])]
    votes = ([1.0, 0, 0], [0, 0, 0], [0, 0, 1.0])
    outputs = [RowOutput(i, np.array(scores), text="banana") for i, scores in enumerate(votes)]
    found = [task.decode(example, [output]) for example, output in zip(examples, outputs, strict=True)]
    assert [prediction.value for prediction in found] == ["entailment", "banana", "neutral"]
    assert task.score(examples, found)["accuracy"] == pytest.approx(200 / 3)
    assert task.interval(examples, found, "f1_macro") is not None
    assert sum(row["count"] for row in task.report(examples, found)["confusions"]) == 3


# Templates and the head


def test_a_source_ends_with_the_start_token_and_the_text_with_the_end(causal):
    """And the source is the same with the text as without."""
    template = Plain(causal, ["table"])
    template.generating([], 9)
    example = Example("0", {"table": "name : Anna"})
    (taught,) = template.rows(template.parts_with_text(0, example, "Anna is a poet"), Draw(0, 0), 64)
    (asked,) = template.rows(template.parts_with_text(0, example, None), Draw(0, 0), 64)
    assert taught.ids == asked.ids == [*causal.encode("name : Anna"), causal.start_id]
    assert list(taught.output) == [*causal.encode(" Anna is a poet"), causal.end_id]
    assert (taught.labels, asked.labels) == (len(taught.output), 0)
    (cut,) = template.rows(template.parts_with_text(0, example, "Anna is a poet of the town"), Draw(0, 0), 64)
    assert list(cut.output) == causal.encode(" Anna is a poet of the town")[:9]


def test_a_pattern_is_gone_on_with_at_its_mask(causal):
    """Where the words of a verbalizer would stand; the plain template has the start token there."""
    patterns = {"a": {"text": "{x} Is it true? Answer: {mask}"}}
    example = Example("0", {"x": "Anna left ."})
    asked = causal.encode("Anna left .") + causal.encode("Is it true? Answer:", lead=True)
    rows = []
    for template in (Pattern(causal, ["x"], patterns), Plain(causal, ["x"])):
        template.generating(["yes", "not at all"], 16)
        (row,) = template.rows(template.parts_with_text(0, example, 1), Draw(0, 0), 64)
        assert list(row.output) == [*causal.encode(" not at all"), causal.end_id]
        rows.append(row)
    assert list(rows[0].ids) == asked
    assert list(rows[1].ids) == [*causal.encode("Anna left ."), causal.start_id]
    cloze = Pattern(causal, ["x"], patterns, mask=True)
    assert list(cloze.rows(cloze.parts(0, example, None), Draw(0, 0), 64)[0].ids) == asked


def test_a_label_is_written_by_its_name(decoder):
    template = Text(decoder, ["premise", "hypothesis"])
    template.generating(["yes", "not at all"], 16)
    example = Example("0", {"premise": "Anna left .", "hypothesis": "She did ."})
    (row,) = template.rows(template.parts_with_text(0, example, 1), Draw(0, 0), 64)
    assert decoder.decode(row.ids) == "premise: Anna left . hypothesis: She did ."
    assert decoder.decode(row.output) == "not at all"
    assert row.output[-1] == decoder.end_id
    told = Text(decoder, ["premise", "hypothesis"], task="cb")
    assert decoder.decode(told.rows(told.parts(0, example, 1), Draw(0, 0), 64)[0].ids).startswith("cb premise: Anna")


def test_parts_keep_their_text_on_disk(tmp_path):
    parts = Parts(0, [Part("text", [5, 6])], output=(7, 8))
    encoded.write(tmp_path, [EncodedExample([parts], 4, 1, 2, 0, False)])
    assert Encoded(tmp_path)[0][0].output == (7, 8)


def head_of(tokens, labels=(), **given):
    readout = "sequence" if labels else "text"
    return Generate(labels, readout, {"words": {"yes": ["true"], "no": ["false"]}}, tokens, longest=9, **given)


def test_the_loss_is_that_of_the_tokens_of_the_text(causal):
    torch.manual_seed(0)
    states, table = torch.randn(2, 3, 4), torch.randn(11, 4)
    rows = [Row(0, [1], [0], {}, output=(4, 10, 2)), Row(1, [1], [0], {}, output=(7, 2))]
    batch = collate(rows, 0)
    hidden = Hidden(torch.zeros(2, 1, 4), lambda vectors, ids: F.linear(vectors, table[ids]), states)
    total, labels = head_of(causal).loss(hidden, batch)
    logits = states @ table.T
    expected = F.cross_entropy(logits.flatten(0, 1), batch.output.flatten(), ignore_index=IGNORED, reduction="sum")
    torch.testing.assert_close(total, expected)
    assert labels == 5
    batch.weight = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(
        head_of(causal).loss(hidden, batch)[0], F.cross_entropy(logits[1, :2], batch.output[1, :2], reduction="sum")
    )


def test_a_written_label_is_a_vote_whatever_its_case(causal):
    head = head_of(causal, ["yes", "no"], verbalizer="words")
    assert head.written == ["true", "false"]
    assert [head.votes(text).tolist() for text in (" True", "false", "yes")] == [[1, 0], [0, 1], [0, 0]]
    assert head_of(causal, ["yes", "no"]).votes("yes").tolist() == [1, 0]


def test_what_is_searched_for(causal):
    """As Prefix-Tuning's tables: beams of 5, 5 tokens at least, no line breaks; of labels one token at least."""
    (line_break,) = causal.encode("\n")
    assert head_of(causal).search == {
        "end": causal.end_id,
        "beams": 5,
        "banned": (line_break,),
        "limit": 9,
        "least": 5,
        "penalty": 1.0,
    }
    assert head_of(causal, ["yes"]).search["least"] == 1
    assert head_of(causal, line_breaks=True).search["banned"] == ()


REFUSED = {
    "generate needs a decoder": ["task=cb", "method/head=generate", "backbone=tiny_encoder"],
    "generate writes a text, or the label of one, but conll03": ["task=conll03", "method/head=generate"],
    "a linear head gives labels or numbers, but e2e asks for a text": ["task=e2e", "method=ptv2"],
    "text writes texts after their names, but conll03": ["task=conll03", "method/template=text"],
    "task cb has no verbalizer 'wrods'": ["task=cb", "method/head=generate", "method.head.verbalizer=wrods"],
    "method.head.beams: 0 is too small": ["task=e2e", "method=prefix_generate", "method.head.beams=0"],
    "+ 100 to be written is more than the 256 positions of tiny_causal; at most 60": [
        *("task=e2e", "method=prefix_generate", "prompt_length.value=140")
    ],
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_fit_is_refused(said, ptune):
    done = ptune("train", "data=demo", "backbone=tiny_causal", "tracker=none", *REFUSED[said])
    assert done.code == 2
    assert said in done.err


# Runs

SMALL = ["data=demo", "tracker=none", "quiet=true", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A prefix that was trained to tell tables, and prompts of three seeds that were trained to write labels."""
    base = tmp_path_factory.mktemp("texts")
    table = ["method=prefix_generate", "task=e2e", "backbone=tiny_causal", "optim.lr=0.01", "method.head.beams=2"]
    table += ["data.max_train=8", "batch_size=8", "epochs=8", "eval_every=8", "task.output_length=40"]
    assert call("train", *SMALL, *table, "prompt_length.value=4", f"hydra.run.dir={base / 'table'}") == 0
    labels = ["method=prompt_tuning_t2t", "task=cb", "backbone=tiny_encoder_decoder", "optim=adafactor", "max_steps=2"]
    for seed in (1, 2, 3):
        words = ["prompt_length.value=4", f"seed={seed}", f"hydra.run.dir={base / str(seed)}"]
        assert call("train", *SMALL, *labels, *words) == 0
    return base


def read(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_prefix_learns_to_tell_tables(runs):
    """The loss falls; the reparameterization is gone afterwards; the score says what it is not."""
    folder = runs / "table"
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert losses[-1] < 0.9 * losses[0]
    result = read(folder / "result.json")
    assert result["caveat"].startswith("not comparable with published figures")
    assert result["metric"] == "bleu"
    assert set(result["best"]["report"]) == {"bleu", "chrf", "rouge_l"}
    assert result["parameters"]["stored"] == 4 * 2 * 4 * 128 < result["parameters"]["trained"]
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == result["data"]["examples"]["test"] < 8  # several texts of the same attributes
    assert max(len(row["gold"]) for row in rows) > 1
    assert all(isinstance(row["prediction"], str) for row in rows)


@pytest.mark.slow
def test_a_finished_run_tells_a_table(runs, ptune, tmp_path):
    """As it did when it was evaluated."""
    row = json.loads((runs / "table" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()[0])
    (tmp_path / "tables.txt").write_text(row["table"] + "\n", encoding="utf-8")
    done = ptune("predict", str(runs / "table"), "input=tables.txt")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"table": row["table"], "prediction": row["prediction"]}


def test_a_vote_over_numbers_is_their_mean():
    """Which almost never agree."""
    said = [Prediction(value) for value in (0.1, 4.8, 5.0)]
    assert vote(said).value == pytest.approx(3.3)
    assert vote([Prediction("a"), Prediction("b"), Prediction("b")]).value == "b"


def test_scores_of_a_vote_are_means_where_all_have_them():
    """As the odds that there is no answer, which a threshold is looked for among; not of each one's own best words."""
    said = [Prediction("a", {"null_odds": odds}) for odds in (1.0, 2.0, 6.0)]
    assert vote(said) == Prediction("a", {"null_odds": 3.0})
    assert vote([Prediction("a", {"x": 1.0}), Prediction("a", {"y": 1.0})]).scores is None
    assert vote([Prediction("a"), Prediction("a")]).scores is None


def test_runs_that_vote_may_read_texts_of_other_lengths():
    """What is left beside prompts of other lengths."""
    assert common_data(Data(max_length=252, bucket=False)) == common_data(Data(max_length=236))
    assert common_data(Data(max_train=10)) != common_data(Data())


def test_prompts_vote_in_shared_passes(runs, ptune, monkeypatch):
    """An example's rows, one a prompt, are in one pass; what most of the runs say is what counts."""
    passes = []
    forward = EncoderDecoder.forward
    monkeypatch.setattr(
        EncoderDecoder, "forward", lambda s, batch, i: passes.append(len(batch)) or forward(s, batch, i)
    )
    monkeypatch.setattr("ptune.evaluate.PADDING", 10**6)
    folders = [runs / str(seed) for seed in (1, 2, 3)]
    done = ptune("eval", f"run={','.join(str(folder) for folder in folders)}", "quiet=true")
    assert done.code == 0, done.err
    found = read(runs / "1" / "ensemble_dev.json")
    assert passes == [3 * found["examples"]]
    scores = [read(folder / "result.json")["score"] for folder in folders]
    assert [run["scores"][found["metric"]] for run in found["runs"]] == scores
    assert found["mean"] == pytest.approx(sum(scores) / 3)
    lines = [(folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines() for folder in folders]
    votes = (runs / "1" / "predictions_ensemble_dev.jsonl").read_text(encoding="utf-8").splitlines()
    for *each, voted in zip(*lines, votes, strict=True):
        values = [json.loads(line)["prediction"] for line in each]
        assert json.loads(voted)["prediction"] == max(values, key=values.count)


def test_runs_of_other_tasks_do_not_vote(runs, ptune):
    done = ptune("eval", f"run={runs / '1'},{runs / 'table'}", "quiet=true")
    assert done.code == 1
    assert "one backbone" in done.err


def test_a_prompt_starts_from_a_finished_runs(runs, tmp_path, ptune):
    stored = build.settings_from_file(yaml.safe_load((runs / "1" / "config.yaml").read_text(encoding="utf-8")))
    backbone = leaf(stored.backbone)
    prompt = Soft(backbone.shape, None, 4, from_run=str(runs / "1"))
    from ptune.runs.folder import RunFolder

    torch.testing.assert_close(prompt.table.detach(), RunFolder(runs / "1").read_tensors()["prompt.embeddings"])
    with pytest.raises(ConfigError, match=r"has 4 virtual tokens of width 128, but this one 5 of 128"):
        Soft(backbone.shape, None, 5, from_run=str(runs / "1"))
    with pytest.raises(ConfigError, match="is not a finished run with a prompt in front of the text"):
        Soft(backbone.shape, None, 4, from_run=str(runs / "table"))
    others = ["method=prompt_tuning", "task=rte", "backbone=tiny_causal", "prompt_length.value=4"]
    refused = ptune("train", *SMALL, *others, f"method.prompt.from_run={runs / '1'}")
    said = f"the prompt of {runs / '1'} was trained with backbone tiny_encoder_decoder, but this run has tiny_causal"
    assert (refused.code, refused.err) == (2, f"method.prompt.from_run: {said}")
    words = ["method=prompt_tuning_t2t", "task=rte", "backbone=tiny_encoder_decoder", "optim=adafactor", "max_steps=1"]
    from_run = f"method.prompt.from_run={runs / '1'}"
    assert ptune("train", *SMALL, *words, "prompt_length.value=4", from_run, "hydra.run.dir=later").code == 0
    (runs / "1").rename(runs / "moved")
    try:
        assert ptune("eval", str(tmp_path / "later"), "quiet=true").code == 0  # which has a prompt of its own
    finally:
        (runs / "moved").rename(runs / "1")


def test_a_prompt_means_nothing_to_other_weights_of_one_name(bert_folder, tmp_path, ptune):
    words = ["method=prompt_tuning", "task=rte", "backbone=local", "prompt_length.value=4", "max_steps=1"]
    words.append("data.max_length=60")
    other = shutil.copytree(bert_folder, tmp_path / "other" / bert_folder.name)
    tensors = load_file(bert_folder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    assert ptune("train", *SMALL, *words, f"backbone.path={bert_folder}", "hydra.run.dir=first").code == 0
    words.append(f"method.prompt.from_run={tmp_path / 'first'}")
    assert ptune("train", *SMALL, *words, f"backbone.path={bert_folder}", "hydra.run.dir=same").code == 0
    refused = ptune("train", *SMALL, *words, f"backbone.path={other}")
    trained = read(tmp_path / "first/result.json")["weights"]["backbone"]["sha256"]
    assert refused.code == 2
    said = f"the prompt of {tmp_path / 'first'} was trained with other weights of "
    assert refused.err.startswith(f"method.prompt.from_run: {said}")
    assert refused.err.endswith(f"whose sha256 begins with {trained[:12]}")


def test_fine_tuning_tells_tables_too(tmp_path, ptune):
    words = ["method=finetune", "method/head=generate", "method.head.beams=1", "task=webnlg", "backbone=tiny_causal"]
    sizes = ["data.demo.train=4", "data.demo.dev=2", "data.demo.test=4", "task.output_length=30"]
    assert ptune("train", *SMALL[:3], *words, *sizes, "max_steps=1", "hydra.run.dir=run").code == 0
    by = read(tmp_path / "run" / read(tmp_path / "run" / "result.json")["best"]["breakdowns"]["test"])["by"]
    assert {row["value"] for row in by["seen"]} == {"seen", "unseen"}


# Beside other features


@pytest.mark.parametrize("backbone", ["tiny_encoder_decoder", "tiny_causal"])
def test_texts_of_different_lengths_are_learned_side_by_side(settings, backbone):
    s = settings("method=prompt_tuning_t2t", "task=rte", f"backbone={backbone}", "device=cpu", "prompt_length.value=2")
    task = leaf(s.task)
    model = build.assemble([s, s], task).eval()
    batches = []
    for i, label in enumerate(task.labels):
        example = Example("0", {"premise": "It rained.", "hypothesis": "It was wet."}, label)
        batches.append(Rendered([example], task, model.member(i).template, 64).batch([0], Draw(0, 0), "train"))
    assert batches[0].output.shape != batches[1].output.shape
    alone = []
    for i, batch in enumerate(batches):
        with model.losses([(i, batch)]) as ((loss, labels),):
            alone.append((float(loss.detach()), labels))
    with model.losses(list(enumerate(batches))) as together:
        for (loss, labels), (expected, count) in zip(together, alone, strict=True):
            assert labels == count
            assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_a_written_label_of_wsc_is_no_answer_at_masks(settings):
    s = settings("method=prompt_tuning_t2t", "task=wsc", "backbone=tiny_encoder_decoder", "prompt_length.value=2")
    task = leaf(s.task)
    head = Generate(task.labels, task.readout, {}, leaf(s.backbone).tokens(), 8)
    fields = {"text": "Al saw Bo.", "marked": "", "pronoun": "he", "candidate": "Bo"}
    for label in task.labels:
        said = RowOutput(0, head.votes(label), text=label)
        assert task.decode(Example("0", fields), [said]).value == label


def test_a_text_has_a_mask_for_each_token_of_a_label_word(settings):
    words = "+task.verbalizers.long={entailment: [extraordinarily], not_entailment: [no]}"
    s = settings(
        *("method=pattern_finetune", "method/template=text", "task=rte", "backbone=tiny_encoder", "device=cpu"),
        *(words, "method.head.name=long"),
    )
    task = leaf(s.task)
    model = build.assemble([s], task).eval()
    member = model.member(0)
    example = Example("0", {"premise": "It rained.", "hypothesis": "It was wet."}, "entailment")
    batch = Rendered([example], task, member.template, 64).batch([0], Draw(0, 0), "train")
    assert batch.read["mask"].shape[1] == member.head.masks > 1
    with model.losses([(0, batch)]) as ((loss, labels),):
        assert (labels, bool(loss.isfinite())) == (1, True)


def test_demonstrations_show_the_labels_as_they_are_written(settings):
    s = settings("method=in_context", "task=rte", "backbone=tiny_causal", "method/head=generate", "device=cpu")
    task = leaf(s.task)
    template = build.assemble([s], task).member(0).template
    examples = [Example(label, {"premise": "It rained.", "hypothesis": label}, label) for label in task.labels]
    template.learn([(example, task.target(example)) for example in examples])
    rendered = Rendered(examples, task, template, 200)
    rows = rendered.rows(0, Draw(0, 0))
    assert len(rows) > 1
    assert all("answer: not_entailment" in template.tokens.decode(row.ids) for row in rows)
    assert [bool(row.output) for row in rows] == [True] + [False] * (len(rows) - 1)
