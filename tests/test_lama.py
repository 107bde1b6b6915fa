"""LAMA's facts, from the files to precision at 1: reader, rendering, the head over all words, and the scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ptune import build, demo
from ptune.batch import Draw, Example, Hidden, RowOutput, collate
from ptune.config import Data
from ptune.data import corpora, splits
from ptune.data.rendered import Rendered
from ptune.errors import ConfigError, DataError
from ptune.leaves import leaf
from ptune.readers import Record, facts
from ptune.tasks import Prediction

ROOT = Path(__file__).parents[1]
COMMON = ("data=demo", "backbone=tiny_encoder", "tracker=none", "hydra.run.dir=run")
TOLD = {"P1": {"template": "[X] is in [Y] .", "name": "place", "type": "N-1"},
        "P2": {"template": "the home of [X] is [Y] .", "name": "home", "type": "1-1"}}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The demo world's facts."""
    path = tmp_path_factory.mktemp("lama")
    demo.write("lama", path, sizes={"train": 6, "dev": 4, "test": 5})
    return path


def task(**changes):
    node = yaml.safe_load((ROOT / "conf/task/lama.yaml").read_text(encoding="utf-8"))
    return leaf({**node, **changes})


def fact(relation, subject, gold=None, index=0):
    return Example(f"{relation}-{index}", {"subject": subject, "relation": relation, **TOLD[relation]}, gold)


def objects(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# Files


@pytest.mark.parametrize("layout", [None, "trex"])
def test_every_fact_is_read_with_its_relation(folder, layout):
    """Reader round trip: as many records as lines, each with what its line and its relation's line say."""
    made = task()
    corpus = corpora.load(made, Data(source="local", root=str(folder), layout=layout))
    assert list(corpus.splits) == (["train", "dev", "test"] if layout is None else ["test"])
    templates = {row["relation"]: row for row in objects(folder / "relations.jsonl")}
    for split, examples in corpus.splits.items():
        pattern = f"fact-retrieval/original/*/{split}.jsonl" if layout is None else "TREx/*.jsonl"
        rows = [row for path in sorted(folder.glob(pattern)) for row in objects(path)]
        assert [example.id for example in examples] == [row["uuid"] for row in rows]
        for example, row in zip(examples, rows, strict=True):
            told = templates[row["predicate_id"]]
            assert example.gold == row["obj_label"]
            assert example.fields == {
                "subject": row["sub_label"],
                "relation": told["relation"],
                "template": told["template"],
                "name": told["label"],
                "type": told["type"],
            }


def test_some_relations_alone(folder):
    records = list(facts.read(folder / "TREx", relations=["P36", "P19"]))
    assert {record.values["predicate_id"] for record in records} == {"P19", "P36"}
    with pytest.raises(DataError, match=r"relations.jsonl: no relation 'P91'; did you mean 'P19'\?"):
        list(facts.read(folder / "TREx", relations=["P91"]))


def test_the_file_names_the_relation_of_facts_that_do_not(tmp_path):
    lines(tmp_path / "relations.jsonl", [{"relation": "P1", "template": "[X] is in [Y] ."}])
    lines(tmp_path / "P1" / "train.jsonl", [{"sub_label": "Anna", "obj_label": "Oslo"}])
    lines(tmp_path / "TREx" / "P1.jsonl", [{"sub_label": "Anna", "obj_label": "Oslo"}])
    for path, split in ((tmp_path, "train"), (tmp_path / "TREx", None)):
        (record,) = facts.read(path, split)
        assert record.values["predicate_id"] == "P1"
        assert (record.values["template"], record.values["label"]) == ("[X] is in [Y] .", "")


@pytest.mark.parametrize("template", ["[X] is in Oslo .", "[Y] is [Y] of [X] .", "nothing"])
def test_a_template_without_its_places(tmp_path, template):
    lines(tmp_path / "relations.jsonl", [{"relation": "P1", "template": template}])
    with pytest.raises(DataError, match=rf"relations.jsonl:1: {re.escape(repr(template))} must contain \[X\]"):
        facts.describe_relations(tmp_path)


@pytest.mark.parametrize("template", ["[X] is in Oslo .", "[Y] is [Y] of [X] .", ""])
def test_a_fact_whose_template_has_not_its_places(template):
    """As a fact of the Hub, or one to predict, may bring its own."""
    values = {"predicate_id": "P1", "sub_label": "Anna", "obj_label": "Oslo", "template": template}
    with pytest.raises(DataError, match=rf"^x:1: the template {re.escape(repr(template))} needs \[X\] and \[Y\] once"):
        task().example(Record("x:1", values), 0)


# What is rendered


def rendered(backbone_tokens, made, examples, method, settings):
    template = leaf(
        settings.method["template"], tokens=backbone_tokens, fields=made.fields, segments=made.segments,
        patterns=made.patterns, mask=True, slots=int(settings.prompt_length.value or 0),
    )  # fmt: skip
    return template, Rendered(examples, made, template, 64)


@pytest.fixture
def shown(settings):
    """(method, backbone) -> tokenizer and the rows of two facts of two relations."""

    def render(method, backbone="tiny_encoder", *more):
        s = settings(f"method={method}", "task=lama", f"backbone={backbone}", "data=demo", *more)
        tokens = leaf(s.backbone).tokens()
        made = task(relations=TOLD)
        _, laid = rendered(tokens, made, [fact("P1", "the mill", "water"), fact("P2", "Anna", "mill")], method, s)
        return tokens, [laid.rows(i, Draw(0, 0))[0] for i in (0, 1)]

    return render


def test_manual_templates_are_the_relations_own(shown):
    tokens, rows = shown("zero_shot")
    texts = [tokens.tokenizer.decode(row.ids) for row in rows]
    assert texts == ["[CLS] the mill is in [MASK]. [SEP]", "[CLS] the home of anna is [MASK]. [SEP]"]
    tokens, rows = shown("zero_shot", "tiny_causal")
    ends = [tokens.tokenizer.decode(row.ids).strip() for row in rows]
    assert [text.endswith(end) for text, end in zip(ends, ("mill is in", "Anna is"), strict=True)] == [True, True]


def test_slots_stand_as_published(shown):
    """[CLS] P P P [MASK] P P P subject P P P [SEP], and P P P subject P P P -> the next token (arXiv 2103.10385)."""
    tokens, rows = shown("ptuning")
    subject = tokens.encode("the mill", lead=True)
    n = len(subject)
    assert list(rows[0].read["mask"]) == [4]
    assert list(rows[0].slots) == [1, 2, 3, 5, 6, 7, 8 + n, 9 + n, 10 + n]
    assert list(rows[0].ids[8 : 8 + n]) == subject
    assert len(rows[0].ids) == 12 + n
    tokens, rows = shown("ptuning", "tiny_causal")
    subject, first = tokens.encode("the mill", lead=True), len(tokens.frames[1].before)
    n = len(subject)
    assert [place - first for place in rows[0].slots] == [0, 1, 2, 3 + n, 4 + n, 5 + n]
    assert list(rows[0].read["mask"]) == [len(rows[0].ids) - 1] == [rows[0].slots[-1]]


def test_each_relation_has_pseudo_tokens_of_its_own(shown):
    _, (first, second) = shown("ptuning")
    assert list(second.slots[:9]) == [-1] * 9
    assert len(second.slots) == 18
    assert min(first.slots) > 0
    batch = collate([first, second], 0, side="left")
    assert (batch.slots[1, :9] == -1).all()  # whatever side is padded
    assert (batch.slots[0, 9:] == -1).all()


def test_only_the_own_relations_pseudo_tokens_learn(wire, settings):
    s = settings("method=ptuning", "task=lama", "method.prompt.encoder=none", "method.tune=none", *COMMON[:3])
    s.task["relations"], s.data.max_length = TOLD, 64
    wired = wire(s, data=[fact("P2", "the mill", "water"), fact("P2", "the dog", "house")])
    batch = wired.rendered[0].batch([0, 1], Draw(0, 0), "train")
    with wired.model.losses([(0, batch)]) as losses:
        losses[0][0].backward()
    grad = wired.model.member(0).prompt.table.grad
    assert grad.shape[0] == 18
    assert not grad[:9].any()
    assert grad[9:].abs().sum(1).gt(0).all()  # each slot


# The head


KNOWN = {"oslo": 1, "mill": 2, "dog": 3, "river": 5}


class Words:
    """Six tokens, of which four are words; a state is its row of logits."""

    @staticmethod
    def head(settings):
        s = settings("method=zero_shot", "task=lama", "backbone=tiny_encoder", "data=demo")
        shape = leaf(s.backbone).shape
        return leaf(s.method["head"], shape=type(shape)(**{**vars(shape), "vocab": 6}), vocabulary=lambda: KNOWN)

    @staticmethod
    def batch(targets):
        from ptune.batch import Row

        rows = [Row(i, [7, 8], [0, 0], {"mask": [1]}, target=t) for i, t in enumerate(targets)]
        return collate(rows, 0)

    @staticmethod
    def hidden(logits):
        states = torch.stack([torch.zeros_like(logits), logits], 1)
        return Hidden(states, lambda vectors, ids: vectors[:, ids])


def test_a_verbalizer_is_over_all_words_where_a_word_is_asked_for(settings):
    s = settings("method=zero_shot", "task=lama", "backbone=tiny_encoder", "data=demo")
    assert s.method["head"] == {"_target_": "ptune.heads.word.Word"}
    with pytest.raises(ConfigError) as caught:
        settings("method=zero_shot", "task=lama", "backbone=tiny_encoder", "data=demo", "method.head.calibrate=true")
    assert caught.value.problems == ["method.head.calibrate: not a setting of ptune.heads.word.Word; there are none"]
    s = settings("method=ptv2", "task=lama", "backbone=tiny_encoder", "data=demo")
    assert s.method["head"] == {"_target_": "ptune.heads.word.Word"}
    with pytest.raises(ConfigError) as caught:
        settings("method=ptv2", "method/head=word", "task=rte", "backbone=tiny_encoder", "data=demo")
    assert caught.value.problems == [
        "method/head: word answers with any word of the vocabulary, but rte asks for no word; use linear"
    ]


def test_the_loss_is_over_the_whole_vocabulary_and_the_answer_a_word(settings):
    head = Words.head(settings)
    logits = torch.tensor([[9.0, 1.0, 3.0, 0.0, 8.0, 2.0], [0.0, 5.0, 1.0, 2.0, 9.0, 3.0]])
    batch = Words.batch([2, None])
    loss, labels = head.loss(Words.hidden(logits), batch)
    assert (labels, float(loss)) == (1, pytest.approx(-float(logits[0].log_softmax(0)[2])))
    first, second = head.outputs(Words.hidden(logits), batch)
    assert (list(first.words), first.gold) == (["mill", "river", "oslo", "dog"], 0)  # tokens 0 and 4 are no words
    assert first.scores.tolist() == pytest.approx(logits[0].log_softmax(0)[[2, 5, 1, 3]].tolist())
    assert (list(second.words), second.gold) == (["oslo", "river", "dog", "mill"], -1)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama"])
def test_words_are_single_tokens_and_no_parts_of_words(request, family):
    from transformers import AutoTokenizer

    from ptune.tokens import Tokens

    tokens = Tokens(AutoTokenizer.from_pretrained(str(request.getfixturevalue(f"{family}_folder"))))
    words = tokens.vocabulary()
    assert len(words) > 10
    assert len(set(words.values())) == len(words)
    assert not set(words.values()) & tokens.special_ids
    assert not any(word.startswith("##") or "." in word for word in words)
    assert all(tokens.single(word) == i for word, i in words.items())
    assert tokens.single("Hippopotamus") is None


# Scores


def said(*words):
    return Prediction(words[0], {word: -float(i) for i, word in enumerate(words)})


def test_precision_by_hand():
    """P1 has two facts, one right at first, one at rank 2; P2 has one, not among the ten."""
    made = task(relations=TOLD)
    examples = [fact("P1", "a", "oslo"), fact("P1", "b", "mill", 1), fact("P2", "c", "dog")]
    predictions = [said("oslo", "mill"), said("oslo", "mill"), said("oslo", "mill")]
    scores = made.score(examples, predictions)
    assert list(scores) == made.score_names
    assert scores["p1"] == pytest.approx(100 * (1 / 2 + 0) / 2)  # over relations
    assert scores["p1_micro"] == pytest.approx(100 / 3)  # over facts
    assert scores["p10"] == pytest.approx(100 * (1 + 0) / 2)
    assert scores["mrr"] == pytest.approx(100 * ((1 + 1 / 2) / 2 + 0) / 2)
    assert made.right(examples, predictions) == [1.0, 0.0, 0.0]
    for name in made.score_names:
        low, high = made.interval(examples, predictions, name)
        assert low <= scores[name] <= high


def test_the_gold_word_is_spelled_as_the_corpus_has_it():
    made = task(relations=TOLD)
    output = RowOutput(0, np.array([-0.5, -1.0]), words=["mill", "oslo"], gold=1)
    assert made.decode(fact("P1", "a", "Oslo"), [output]) == Prediction("mill", {"mill": -0.5, "Oslo": -1.0})
    assert made.decode(fact("P1", "a"), [output._replace(gold=-1)]).value == "mill"


def test_the_majority_is_of_each_relation():
    made = task(relations=TOLD)
    train = [fact("P1", "a", "oslo"), fact("P1", "b", "oslo"), fact("P1", "c", "mill"), fact("P2", "d", "dog")]
    predictor = made.majority(train)
    assert [predictor(fact(name, "x")).value for name in ("P1", "P2")] == ["oslo", "dog"]


def test_scores_are_told_by_relation():
    assert task().facets(fact("P1", "a")) == {"relation": "P1 place", "relation type": "N-1"}


# Runs


def result(folder="run"):
    return json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_zero_shot_and_ptuning_run(ptune):
    """Objects of several tokens are left out, which is said; each relation is in the breakdown; predict knows them."""
    code, _, err = ptune("train", "method=zero_shot", "task=lama", *COMMON)
    assert code == 0
    assert re.search(r"test: \d+ of 541 examples are left\s+out: the answer is not a single\s+token", err)
    kept = result()["data"]
    assert kept["unanswerable"]["test"]["of"] == 541
    assert kept["examples"]["test"] == 541 - kept["unanswerable"]["test"]["examples"] == result_lines()
    assert result()["parameters"]["trained"] == 0
    more = ("max_steps=20", "method.tune=none", "optim.lr=0.01", "hydra.run.dir=tuned")
    assert ptune("train", "method=ptuning", "task=lama", *COMMON[:3], *more).code == 0
    found = result("tuned")
    config = yaml.safe_load(Path("tuned/config.yaml").read_text(encoding="utf-8"))
    relations = list(config["task"]["relations"])
    assert found["prompt_length"] == 9
    assert found["parameters"]["stored_prompt"] == 9 * len(relations) * config["backbone"].get("embed", 128)
    broken = json.loads(Path("tuned", found["best"]["breakdowns"]["test"]).read_text(encoding="utf-8"))
    assert {row["value"].split()[0] for row in broken["by"]["relation"]} <= set(relations)
    assert len(broken["by"]["relation"]) > 5
    line = Path("tuned/predictions.jsonl").read_text(encoding="utf-8").splitlines()[0]
    row = json.loads(line)
    Path("in.jsonl").write_text(json.dumps({"predicate_id": row["relation"], "sub_label": row["subject"]}) + "\n")
    again = json.loads(ptune("predict", "tuned", "input=in.jsonl").out)
    assert (again["prediction"].lower(), len(again["scores"])) == (row["prediction"].lower(), 10)
    assert again["scores"][again["prediction"]] == pytest.approx(row["scores"][row["prediction"]], abs=1e-3)
    Path("in.jsonl").write_text("P9\tAnna\n")
    assert "'P9' is not a trained relation" in ptune("predict", "tuned", "input=in.jsonl").err
    assert ptune("eval", "tuned", "task=lama", "data=demo", "data.layout=trex", "quiet=true").code == 0
    evaluated = json.loads(Path("tuned/eval_lama_test.json").read_text(encoding="utf-8"))
    assert evaluated["scores"] == pytest.approx(found["best"]["report"])


def result_lines(folder="run"):
    return len(Path(folder, "predictions.jsonl").read_text(encoding="utf-8").splitlines())


def test_zero_shot_needs_nothing_to_train_on(ptune):
    """LAMA's own files are a test set; other methods say so."""
    words = ("task=lama", "data.layout=trex", "select_on=test", *COMMON)
    assert ptune("train", "method=zero_shot", *words).code == 0
    assert result()["report_on"] == "test"
    assert "lama has no training data" in ptune("train", "method=ptuning", *words, "hydra.run.dir=other").err


def test_another_run_keeps_its_relations(settings):
    """What the corpus decides is a setting of the run: prompts are numbered by it."""
    made = task()
    splits = {"train": [fact("P2", "a", "x"), fact("P1", "b", "y")]}
    assert made.decide(splits) == {"relations": TOLD}
    assert made.prompts == 2
    assert [next(made.candidates(example))[0].prompt for example in splits["train"]] == [1, 0]
    again = task(relations=TOLD)
    assert again.decide({"train": splits["train"][:1]}) == {"relations": TOLD}
    with pytest.raises(DataError, match="'P3' is not a trained relation"):
        next(again.candidates(Example("x", {"subject": "a", "relation": "P3", **TOLD["P1"]})))


def test_no_answer_is_one_token(settings):
    s = settings("method=zero_shot", "task=lama", "backbone=tiny_encoder", "data=demo")
    corpus = corpora.Corpus({"test": [fact("P1", "a", "Hippopotamus")]}, {"examples": {"test": 1}})
    with pytest.raises(
        DataError, match="test: no answer is a single token of the backbone; the first one is 'Hippopotamus'"
    ):
        splits.answerable(corpus, leaf(s.backbone).tokens())


def test_build_makes_a_prompt_for_each_relation(settings):
    s = settings("method=ptuning", "task=lama", "backbone=tiny_encoder", "data=demo")
    s.task["relations"] = TOLD
    model = build.assemble([s], build.leaf(s.task))
    prompt = model.member(0).prompt
    with torch.no_grad():
        before = prompt.encoded()
        prompt.table[0] += 1.0
        after = prompt.encoded()
    assert not torch.equal(before[:9], after[:9])
    assert torch.equal(before[9:], after[9:])  # the encoder reads them one by one
