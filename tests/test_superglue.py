"""SuperGLUE's other tasks: their files, checks, official figures, candidates as rows, and runs on the demo."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from transformers import AutoTokenizer

from ptune import metrics
from ptune.batch import Draw, Example, Extent, Hidden, Row, RowOutput, collate
from ptune.config import Data
from ptune.data.corpora import load
from ptune.data.rendered import Rendered, split_into_batches
from ptune.demo import superglue_axb
from ptune.errors import DataError
from ptune.heads.spans import Spans
from ptune.leaves import check_leaf, leaf
from ptune.readers import Record, multirc, record
from ptune.tasks import Prediction
from ptune.templates.plain import Plain
from ptune.tokens import Tokens

ROOT = Path(__file__).parents[1]
TASKS = {"multirc": "MultiRC", "wic": "WiC", "wsc": "WSC", "copa": "COPA", "record": "ReCoRD"}
NO_DRAW = Draw(0, 0)


def task_of(name: str, **more):
    """The shipped task, with some settings changed."""
    node = yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")) | more
    assert not [*check_leaf("task", node, ())]
    made = leaf(node)
    return made


def reader_of(task):
    return import_module(f"ptune.readers.{task.source['reader']}")


def examples_of(task, path: Path) -> list[Example]:
    return [task.example(row, i) for i, row in enumerate(reader_of(task).read(path))]


def error(called, *given) -> str:
    with pytest.raises(DataError) as caught:
        called(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Real files


@pytest.mark.parametrize(
    ("name", "split", "count", "gold"),
    [
        ("multirc", "train", 27243, 27243),
        ("multirc", "val", 4848, 4848),
        ("multirc", "test", 9693, 0),
        ("wic", "train", 5428, 5428),
        ("wic", "val", 638, 638),
        ("wic", "test", 1400, 0),
        ("wsc", "train", 554, 554),
        ("wsc", "val", 104, 104),
        ("wsc", "test", 146, 0),
        ("copa", "train", 400, 400),
        ("copa", "val", 100, 100),
        ("copa", "test", 500, 0),
    ],
)
def test_real_files(shared, name, split, count, gold):
    """As many examples as published, each with an id of its own; test has no labels."""
    found = examples_of(task_of(name), shared / "data" / "superglue" / TASKS[name] / f"{split}.jsonl")
    assert len(found) == len({e.id for e in found}) == count
    assert sum(e.gold is not None for e in found) == gold


def test_record_as_first_published(shared):
    """The sample of version 1.0, one json: both queries, the answers among the entities, highlights as list items."""
    found = examples_of(task_of("record"), shared / "data" / "superglue" / "ReCoRD" / "v1.0_sample.json")
    assert len(found) == 2
    first = found[0]
    assert first.gold == ["Morgan", "Tracy Morgan"]
    assert first.id.endswith("-132")
    assert set(first.gold) < set(first.fields["entities"])
    assert "@highlight" not in first.fields["passage"]
    assert "\n- Morgan, 46, will host" in first.fields["passage"]


@pytest.mark.parametrize("name", TASKS)
def test_fewglue(shared, name):
    """The 32 rows of the few-shot sets; MultiRC's are questions whose answers are more."""
    found = examples_of(task_of(name), shared / "data" / "fewglue" / TASKS[name] / "train.jsonl")
    assert len(found) == (154 if name == "multirc" else 32)
    assert all(e.gold is not None for e in found)


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("wic", {"accuracy": 50.00}),
        ("wsc", {"accuracy": 63.46}),
        ("copa", {"accuracy": 55.00}),
        ("multirc", {"f1a": 0.0, "em": 0.31, "f1m": 0.63}),
    ],
)
def test_majority_of_dev(shared, name, figures):
    """What every paper's table begins with."""
    task = task_of(name)
    found = examples_of(task, shared / "data" / "superglue" / TASKS[name] / "val.jsonl")
    majority = task.majority(found)
    scores = task.score(found, [majority(e) for e in found])
    assert {metric: round(score, 2) for metric, score in scores.items()} == figures


def test_the_known_errors_of_wsc(shared):
    """The pronoun of dev's row 42 is one word further; three candidates of test stand apart in their text."""
    task = task_of("wsc")
    folder = shared / "data" / "superglue" / "WSC"
    dev = examples_of(task, folder / "val.jsonl")
    assert "to use *it* , but" in dev[42].fields["marked"]
    assert examples_of(task, folder / "test.jsonl")[80].fields["candidate"] == "Kamenev and Zinoviev"
    strict = task_of("wsc", errata=None)
    assert error(examples_of, strict, folder / "val.jsonl") == (
        f"{folder / 'val.jsonl'}:43: span2_text 'it' is not at span2_index 30, which is 'use'; it is at 31 "
        "(span2_index is off by -1); words are counted from 0, between spaces"
    )


# What is rendered


def rendered_texts(task, example: Example) -> list[list[str]]:
    """The segments of each row, as texts."""
    rows = []
    for shown, _ in task.candidates(example):
        rows.append([shown.fields[s] if s in shown.fields else s.format_map(shown.fields) for s in task.segments])
    return rows


WIC = {"word": "bank", "sentence1": "The bank is high.", "sentence2": "A bank lends money.",
       "start1": 4, "end1": 8, "start2": 2, "end2": 6, "label": False}  # fmt: skip
WSC = {
    "text": "Mark told Pete many lies. He, it seems, should have been more skeptical.",
    "target": {"span1_text": "pete", "span1_index": 2, "span2_text": "He", "span2_index": 5},
    "label": True,
}
COPA = {"premise": "The man fell.", "choice1": "He slipped.", "choice2": "He ran.", "question": "cause", "label": 0}


@pytest.mark.parametrize(("name", "text"), [("premise", "   "), ("choice1", ""), ("choice2", "\n"), ("question", "")])
def test_copa_needs_every_text(name, text):
    """An empty candidate could be chosen."""
    record = Record("x.jsonl:1", {**COPA, name: text})
    assert error(task_of("copa").example, record, 0) == f"x.jsonl:1: nothing in '{name}'; copa needs a text there"


def test_multirc_has_empty_answers_alone():
    """Four of the original's answers are empty; a paragraph or a question is not."""
    values = {"paragraph": "Anna left.", "question": "Who?", "answer": "", "label": 0}
    assert task_of("multirc").example(Record("x.jsonl:1", values), 0).fields["answer"] == ""
    for name in ("paragraph", "question"):
        assert error(task_of("multirc").example, Record("x.jsonl:1", {**values, name: " "}), 0) == (
            f"x.jsonl:1: nothing in '{name}'; multirc needs a text there; ++task.may_be_empty=[answer,{name}] allows it"
        )


def test_published_formats():
    """Both templates of WiC and WSC, COPA's connectives, and MultiRC's question with its answer."""
    where = "x.jsonl:1"
    wic = task_of("wic").example(Record(where, WIC), 0)
    assert rendered_texts(task_of("wic"), wic) == [
        ["The bank is high. A bank lends money. Does bank have the same meaning in both sentences?"]
    ]
    assert rendered_texts(task_of("wic", format="pair"), wic) == [
        ["bank: The bank is high.", "bank: A bank lends money."]
    ]
    wsc = task_of("wsc").example(Record(where, WSC), 0)
    assert rendered_texts(task_of("wsc"), wsc) == [
        ["Mark told Pete many lies. *He*, it seems, should have been more skeptical.", "pete"]
    ]
    assert rendered_texts(task_of("wsc", format="named"), wsc) == [[f"He: {WSC['text']}", "pete"]]
    copa = task_of("copa")
    for question, word in (("cause", "because"), ("effect", "so")):
        example = copa.example(Record(where, {**COPA, "question": question}), 0)
        assert rendered_texts(copa, example) == [[f"The man fell. {word}", c] for c in ("He slipped.", "He ran.")]
    assert copa.target(copa.example(Record(where, COPA), 0)) == [1, 0]
    assert copa.target(copa.example(Record(where, {**COPA, "label": "choice2"}), 0)) == [0, 1]
    line = {"idx": 3, "passage": {"text": "P.", "questions": [
        {"question": "Q?", "idx": 4, "answers": [{"text": "A.", "idx": 5, "label": 1}]}]}}  # fmt: skip
    (row,) = multirc.line_records(line, where)
    answer = task_of("multirc").example(row, 0)
    assert rendered_texts(task_of("multirc"), answer) == [["P.", "Q? A."]]
    assert (answer.id, answer.group, answer.gold) == ("3-4-5", "3-4", "1")


def passage(**changes) -> dict:
    """A line of ReCoRD."""
    text = "Anna met Bo in Oslo.\n@highlight\nBo Berg left Oslo"
    spots = [("Anna", 0), ("Bo", 9), ("Oslo", 15), ("Bo Berg", 32), ("Oslo", 45)]
    return {
        "idx": 0,
        "passage": {"text": text, "entities": [{"start": at, "end": at + len(name) - 1} for name, at in spots]},
        "qas": [{"query": "@placeholder left.", "idx": 7, "answers": [
            {"text": "Bo", "start": 9, "end": 10}, {"text": "Bo Berg", "start": 32, "end": 38}]}],
        **changes,
    }  # fmt: skip


def test_record_candidates():
    """Each entity once, filled into the query; several may be right."""
    task = task_of("record")
    (row,) = record.line_records(passage(), "x:1")
    example = task.example(row, 0)
    assert example.id == "7"
    assert example.fields["entities"] == ["Anna", "Bo", "Bo Berg", "Oslo"]
    assert [s[1] for s in rendered_texts(task, example)] == [f"{e} left." for e in example.fields["entities"]]
    assert [target for _, target in task.candidates(example)] == [0, 1, 1, 0]
    assert rendered_texts(task, example)[0][0] == "Anna met Bo in Oslo.\n- Bo Berg left Oslo"


# The Hub


def test_hub_and_files_give_the_same(tmp_path, monkeypatch):
    """The same corpora from the Hub's columns, whose labels are classes and whose WSC and ReCoRD are flat."""
    truth, choices = datasets.ClassLabel(names=["False", "True"]), datasets.ClassLabel(names=["choice1", "choice2"])
    entities = {"text": ["Anna", "Bo"], "start": [0, 9], "end": [4, 11]}
    theirs = {
        "wic": ({**WIC, "idx": 0, "label": 0}, truth),
        "wsc": ({"text": WSC["text"], **WSC["target"], "idx": 0, "label": 1}, truth),
        "copa": ({**COPA, "idx": 0}, choices),
        "multirc": ({"paragraph": "P.", "question": "Q?", "answer": "A.", "label": 1,
                     "idx": {"paragraph": 0, "question": 0, "answer": 0}}, truth),
        "record": ({"passage": "Anna met Bo.", "query": "@placeholder left.", "entity_spans": entities,
                    "entities": ["Bo", "Anna"], "answers": ["Bo"], "idx": {"passage": 0, "query": 0}}, None),
    }  # fmt: skip
    ours = {
        "wic": {**WIC, "idx": 0},
        "wsc": {**WSC, "idx": 0},
        "copa": {**COPA, "idx": 0},
        "multirc": {"idx": 0, "passage": {"text": "P.", "questions": [
            {"question": "Q?", "idx": 0, "answers": [{"text": "A.", "idx": 0, "label": 1}]}]}},
        "record": {"idx": 0, "passage": {"text": "Anna met Bo.", "entities": [
            {"start": 9, "end": 10}, {"start": 0, "end": 3}, {"start": 9, "end": 10}]},
            "qas": [{"query": "@placeholder left.", "idx": 0, "answers": [{"text": "Bo", "start": 9, "end": 10}]}]},
    }  # fmt: skip
    for name, (row, label) in theirs.items():
        task, folder = task_of(name), tmp_path / name
        table = datasets.Dataset.from_list([row])
        if label is not None:
            table = table.cast_column("label", label)
        (folder / "local").mkdir(parents=True)
        for theirs_split, split in (("train", "train"), ("validation", "val")):
            table.to_parquet(str(folder / "hub" / name / f"{theirs_split}-00000-of-00001.parquet"))
            (folder / "local" / f"{split}.jsonl").write_text(json.dumps(ours[name]) + "\n", encoding="utf-8")
        monkeypatch.setattr("ptune.hub.Files.fetch", lambda *_, folder=folder, **__: folder / "hub")
        hub, local = load(task, Data(source="hub")), load(task, Data(source="local", root=str(folder / "local")))
        assert hub.splits == local.splits, name
        assert hub.splits["dev"][0].gold is not None


# Errors


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"start1": 3}, "start1 and end1 are 3 and 8, which is ' bank' in 'The bank is h'; "
                        "the word 'bank' is at 4 to 8"),
        ({"end1": 9}, "start1 and end1 are 4 and 9, which is 'bank ' in 'The bank is hi'; "
                      "the word 'bank' is at 4 to 8"),
        ({"start2": 3}, "start2 and end2 are 3 and 6, which is 'ank' in 'A bank lend'; "
                        "the word 'bank' is at 2 to 6"),
        ({"end2": 5}, "start2 and end2 are 2 and 5, which is 'ban' in 'A bank len'; "
                      "the word 'bank' is at 2 to 6"),
        ({"end2": 60}, "start2 and end2 are 2 and 60, which is outside sentence2 (19 characters); "
                       "end2 is the character after the word's last"),
    ],
)  # fmt: skip
def test_wic_offsets(changes, text):
    """One too few or too many at either end."""
    task = task_of("wic")
    assert error(task.example, Record("val.jsonl:3", {**WIC, **changes}), 2) == f"val.jsonl:3: {text}"


def test_wic_fields():
    task = task_of("wic")
    for name in ("word", "sentence2"):
        values = {k: v for k, v in WIC.items() if k != name}
        assert error(task.example, Record("v:3", values), 2) == (
            f"v:3: no text in '{name}'; wic needs sentence1, sentence2, word, start1, end1, start2, end2"
        )
    assert error(task.example, Record("v:3", {**WIC, "start1": None}), 2) == (
        "v:3: 'start1' is None; it must be a character offset"
    )
    assert error(task.example, Record("v:3", {**WIC, "label": "maybe"}), 2).startswith(
        "v:3: 'maybe' is not a label of wic"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"span2_index": 6}, "span2_text 'He' is not at span2_index 6, which is 'it'; it is at 5 "
                             "(span2_index is off by +1)"),
        ({"span1_index": 1}, "span1_text 'pete' is not at span1_index 1, which is 'told'; it is at 2 "
                             "(span1_index is off by -1)"),
        ({"span1_index": 99}, "span1_text 'pete' is not at span1_index 99, which is outside the 13 words; it is at 2 "
                              "(span1_index is off by +97)"),
        ({"span1_text": "Paul"}, "span1_text 'Paul' is not at span1_index 2, which is 'Pete'; "
                                 "it is nowhere in the text"),
    ],
)  # fmt: skip
def test_wsc_indices(changes, text):
    """A span that is not at its index, with where it is."""
    values = {**WSC, "target": {**WSC["target"], **changes}}
    assert error(task_of("wsc").example, Record("val.jsonl:3", values), 2) == (
        f"val.jsonl:3: {text}; words are counted from 0, between spaces"
    )


def test_wsc_fields():
    task = task_of("wsc")
    assert error(task.example, Record("v:1", {"text": "A."}), 0).startswith(
        "v:1: span 1 is None at None; span1_text must"
    )
    assert error(task.example, Record("v:1", {**WSC, "target": []}), 0).startswith(
        "v:1: 'target' is not an object with"
    )
    assert error(task.example, Record("v:1", {"target": {}}), 0).startswith(
        "v:1: no text in 'text'; wsc needs text and"
    )


def test_copa_fields():
    task = task_of("copa")
    assert error(task.example, Record("v:2", {**COPA, "label": 2}), 0) == "v:2: 2 is not a label of copa; one of: 0, 1"
    assert error(task.example, Record("v:2", {**COPA, "label": True}), 0) == (
        "v:2: True is not a label of copa; one of: 0, 1"
    )
    assert error(task.example, Record("v:2", {**COPA, "question": "efect"}), 0) == (
        "v:2: 'efect' in 'question'; did you mean 'effect'?"
    )
    assert error(task.example, Record("v:2", {**COPA, "choice2": 3}), 0) == (
        "v:2: no text in 'choice2'; copa needs premise, question, choice1, choice2"
    )


def lines(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_multirc_errors(tmp_path):
    """Missing fields by their place in the line, unknown labels, and the same answer twice."""
    answer = {"text": "A.", "idx": 0, "label": 1}
    question = {"question": "Q?", "idx": 0, "answers": [answer]}

    def line(**changes):
        return {"idx": 0, "passage": {"text": "P.", "questions": [{**question, **changes}]}}

    path = lines(tmp_path, line(), {**line(answers=[answer, {"idx": 1}]), "idx": 1})
    assert error(list, multirc.read(path)) == f"{path}:2: passage.questions[0].answers[1]: no 'text'"
    path = lines(tmp_path, line(question=7))
    assert error(list, multirc.read(path)) == (
        f"{path}:1: passage.questions[0]: 'question' is a int where a text is needed"
    )
    path = lines(tmp_path, {"idx": 0})
    assert error(list, multirc.read(path)) == f"{path}:1: no 'passage'"
    path = lines(tmp_path, line(answers=[{**answer, "label": 2}]))
    assert error(examples_of, task_of("multirc"), path) == (
        f"{path}:1: passage.questions[0].answers[0]: 2 is not a label of multirc; 1 for a right answer, else 0"
    )
    path = lines(tmp_path, line(), line())
    (tmp_path / "val.jsonl").write_text(json.dumps(line()), encoding="utf-8")
    assert error(load, task_of("multirc"), Data(source="local", root=str(tmp_path))) == (
        f"{path}:2: passage.questions[0].answers[0]: duplicate id 0-0-0, first used at {path}:1: "
        "passage.questions[0].answers[0]; "
        "number the examples of a file from 0, or leave the numbers out"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"start": 8}, "qas[0].answers[0]: the answer 'Bo' is not at characters 8 to 10, which hold ' Bo'; "
                       "it is at 9 to 10 ('start' is off by -1); 'end' is a mention's last character"),
        ({"end": 11}, "qas[0].answers[0]: the answer 'Bo' is not at characters 9 to 11, which hold 'Bo '; "
                      "it is at 9 to 10 ('end' is off by +1); 'end' is a mention's last character"),
        ({"end": 400}, "qas[0].answers[0]: characters 9 to 400 are not in the passage, which has 49 characters; "
                       "'end' is a mention's last character"),
        ({"text": "Bob"}, "qas[0].answers[0]: the answer 'Bob' is not at characters 9 to 10, which hold 'Bo'; "
                          "it is nowhere in the passage; 'end' is a mention's last character"),
        ({"text": "met", "start": 5, "end": 7}, "qas[0]: the answer 'met' is not one of the passage's 4 entities; "
                                                "every answer must be one of the entities"),
    ],
)  # fmt: skip
def test_record_answers(tmp_path, changes, text):
    """Ends off by one, answers outside the passage, and answers that are no entities."""
    line = passage()
    line["qas"][0]["answers"] = [{**line["qas"][0]["answers"][0], **changes}]
    path = lines(tmp_path, line)
    assert error(examples_of, task_of("record"), path) == f"{path}:1: {text}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"entity_spans": {"text": "Bo met Al"}}, "'Bo met Al' in 'entity_spans.text' is not a list of texts"),
        ({"entity_spans": {"text": ["Bo", 3]}}, "['Bo', 3] in 'entity_spans.text' is not a list of texts"),
        ({"answers": "Bo"}, "'Bo' in 'answers'; record needs a list of texts there"),
        ({"answers": [{"text": "Bo"}]}, "[{'text': 'Bo'}] in 'answers'; record needs a list of texts there"),
    ],
)
def test_record_needs_lists_of_texts(changes, text):
    """A text would be taken for its letters."""
    row = {"passage": "Bo met Al .", "query": "@placeholder left .", "entity_spans": {"text": ["Bo", "Al"]}}
    task = task_of("record")
    assert task.example(Record("x:1", {**row, "answers": ["Bo"]}), 0).gold == ["Bo"]
    assert error(task.example, Record("x:1", {**row, **changes}), 0) == f"x:1: {text}"


def test_record_fields(tmp_path):
    line = passage()
    line["qas"][0]["query"] = "Who left?"
    path = lines(tmp_path, line)
    assert error(examples_of, task_of("record"), path) == (
        f"{path}:1: qas[0]: no @placeholder in the query 'Who left?', where the entities are filled in"
    )
    line = passage()
    line["passage"]["entities"] = []
    line["qas"][0]["answers"] = []
    path = lines(tmp_path, line)
    assert error(examples_of, task_of("record"), path) == (
        f"{path}:1: qas[0]: no entities; record chooses among those of the passage"
    )
    line = passage()
    line["passage"]["entities"][1]["end"] = 99
    path = lines(tmp_path, line)
    assert error(list, record.read(path)) == (
        f"{path}:1: passage.entities[1]: characters 9 to 99 are not in the passage, which has 49 characters; "
        "'end' is a mention's last character"
    )


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("wic", {"format": "pairs"}, ("format", "wic has no format 'pairs'; did you mean 'pair'?")),
        ("wic", {"formats": {"a": ["{wrd}"]}, "format": "a"},
         ("formats.a", "'wrd' is not a field of wic; did you mean 'word'?")),
        ("wsc", {"formats": {"a": ["text"] * 3}, "format": "a"},
         ("formats.a", "3 segments; a text or a pair of texts is 1 or 2")),
        ("copa", {"choices": ["choice1"]}, ("choices", "1 fields; at least two are needed")),
    ],
)  # fmt: skip
def test_settings(name, changes, problem):
    assert [*task_of(name, **changes).problems()] == [problem]
    assert [*task_of(name).problems()] == []


# Metrics


def test_multirc_by_hand():
    """Two questions: one right answer of two found, then all right: tp 2, fp 0, fn 1."""
    gold, said = [True, True, False, True], [True, False, False, True]
    scores = metrics.answer_sets(gold, said, ["a", "a", "a", "b"])
    assert scores["f1a"] == pytest.approx(80.0)
    assert scores["em"] == 50.0
    assert scores["f1m"] == pytest.approx(100 * 2 * 0.75 / 1.75)
    assert metrics.answer_sets([True, False], [False, False], ["a", "b"]) == {
        "f1a": 0.0,
        "em": 50.0,
        "f1m": pytest.approx(200 / 3),
    }


def test_record_by_hand():
    """The closest answer counts: 'the Oslo Fjord' has two of two words of one, and articles do not count."""
    task = task_of("record")
    examples = [Example("0", {}, ["Oslo", "Oslo Fjord"]), Example("1", {}, ["Anna Berg"])]
    scores = task.score(examples, [Prediction("the Oslo fjord"), Prediction("Berg")])
    assert scores == {"f1": pytest.approx(100 * (1 + 2 / 3) / 2), "em": 50.0}


def test_diagnostics_by_hand():
    """MCC of a table 3, 1, 1, 2; parity of pairs whatever is right."""
    e, n = "entailment", "not_entailment"
    gold, said = [e, e, e, n, n, n, e], [e, e, e, e, n, n, n]
    task = task_of("superglue_axb")
    examples = [Example(str(i), {}, label) for i, label in enumerate(gold)]
    expected = 100 * (3 * 2 - 1 * 1) / math.sqrt(4 * 4 * 3 * 3)
    assert task.score(examples, [Prediction(label) for label in said]) == {"mcc": pytest.approx(expected)}
    indices = [np.array([task.labels.index(label) for label in side]) for side in (gold, said)]
    assert metrics.correlation(metrics.products(*indices).sum(0)) == pytest.approx(expected)
    assert metrics.correlation(metrics.products(indices[0], np.ones(7)).sum(0)) == metrics.mcc(gold, [n] * 7) == 0.0
    same = metrics.products(*indices)[[4, 4, 5]]  # a resample whose sides are constant
    assert metrics.correlation(same.sum(0)) == 0.0
    low, high = task.interval(examples, [Prediction(label) for label in said])
    assert low <= expected <= high

    pairs = task_of("superglue_axg")
    texts = {"premise": "p", "hypothesis": "h"}
    for rows in ([{**texts, "label": e, "pair_id": i % 2} for i in range(4)], [{**texts, "label": e}] * 4):
        told = [pairs.example(Record("x:1", row), i) for i, row in enumerate(rows)]
        said = [e, e, n, e] if "pair_id" in rows[0] else [e, n, e, e]
        scores = pairs.score(told, [Prediction(label) for label in said])
        assert (scores, list(scores)) == ({"parity": 50.0, "accuracy": 75.0}, ["parity", "accuracy"])
        assert pairs.interval(told, [Prediction(label) for label in said]) == metrics.binomial(1, 2)
    assert error(pairs.score, told[:3], [Prediction(e)] * 3).startswith(
        "superglue_axg: pair row 1 has 1 examples, and parity compares two"
    )


# Candidates as rows


def grouped(targets: list[list[int | None]]):
    """A batch with a row a candidate."""
    rows = [
        Row(example, [1, 2], [0, 0], {"cls": [0]}, target=target, candidate=number, grouped=True)
        for example, row in enumerate(targets)
        for number, target in enumerate(row)
    ]
    return rows, collate(rows, 0)


class Scores(torch.nn.Module):
    """A head whose scores are given."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.given = scores

    def loss(self, batch):
        from ptune.heads import grouped_loss

        return grouped_loss(self.given, batch)


def test_the_loss_weighs_the_candidates_of_an_example():
    """Cross-entropy over two candidates, the marginal of two right ones among three, nothing without gold."""
    rows, batch = grouped([[0, 1], [None, None, None], [1, 0, 1]])
    scores = torch.tensor([0.3, -0.2, 9.0, 9.0, 9.0, 1.0, 2.0, 0.5], requires_grad=True)
    first = torch.nn.functional.cross_entropy(scores[None, :2], torch.tensor([1]))
    last = -torch.log(scores[5:].softmax(0)[[0, 2]].sum())
    total = Scores(scores).loss(batch)
    torch.testing.assert_close(total, first + last)
    total.backward()
    assert (scores.grad[2:5] == 0).all()
    assert (scores.grad[[0, 1, 5, 6, 7]] != 0).all()
    assert batch.labels == sum(row.labels for row in rows) == 2
    batch.weight = torch.tensor([2.0, 2.0, 1, 1, 1, 0.5, 0.5, 0.5])
    torch.testing.assert_close(Scores(scores).loss(batch), 2 * first + last / 2)


def outputs(*scores: list[float]) -> list[RowOutput]:
    """Rows in any order."""
    return [RowOutput(0, np.array(row), candidate=i) for i, row in reversed(list(enumerate(scores)))]


def test_decode():
    """The best candidate, with log-probabilities; entities one by one, ranked by margin or by the logit of right."""
    found = task_of("copa").decode(Example("0", COPA), outputs([1.0], [3.0]))
    assert found.value == 1
    assert found.scores["choice2"] == pytest.approx(-math.log(1 + math.exp(-2)))
    example = Example("0", {"entities": ["Anna", "Bo"]})
    assert task_of("record").decode(example, outputs([2.0], [2.0])).value == "Anna"
    rows = outputs([5.0, 4.0], [0.0, 3.0])
    margin = task_of("record", loss="binary").decode(example, rows)
    assert (margin.value, margin.scores) == ("Bo", {"Anna": -1.0, "Bo": 3.0})
    assert task_of("record", loss="binary", rank="logit").decode(example, rows).value == "Anna"
    alike = outputs([1.0, 2.0], [1.0, 2.0])  # the published code sorts (logit, entity) and takes the last
    assert task_of("record", loss="binary").decode(example, alike).value == "Anna"
    assert task_of("record", loss="binary", rank="logit").decode(example, alike).value == "Bo"


@pytest.fixture(scope="module")
def tokens(bert_folder) -> Tokens:
    return Tokens(AutoTokenizer.from_pretrained(str(bert_folder)))


def test_rows_of_candidates(tokens):
    """A row a candidate, side by side; one label an example, or one a candidate where each is asked for alone."""
    (row,) = record.line_records(passage(), "x:1")
    for loss, labels in (("softmax", 3), ("binary", 12)):
        task = task_of("record", loss=loss)
        examples = [task.example(row, i) for i in range(3)]
        rendered = Rendered(examples, task, Plain(tokens, task.fields, task.segments), 64)
        assert (len(rendered), rendered.counts, rendered.labels) == (3, [4, 4, 4], labels)
        batch = rendered.batch([2, 0], NO_DRAW, "train")
        assert batch.example.tolist() == [2] * 4 + [0] * 4
        assert batch.candidate.tolist() == [0, 1, 2, 3] * 2
        assert batch.target.tolist() == [0, 1, 1, 0] * 2
        assert batch.grouped is (loss == "softmax")
        assert batch.labels == 2 * labels / 3
        text = tokens.tokenizer.decode(batch.ids[1][batch.mask[1]])
        assert "bo left." in text.lower()
        assert split_into_batches(range(3), rendered.size, 8, None) == [[0, 1], [2]]
        assert split_into_batches(range(3), rendered.size, 1, None) == [[0], [1], [2]]


# Marked words


@pytest.mark.parametrize("format", ["question", "pair"])
@pytest.mark.parametrize("folder", ["bert_folder", "roberta_folder"])
def test_marked_words(request, folder, format):
    """The positions are the tokens of the word, in one segment or in two; what is cut off has none."""
    tokens = Tokens(AutoTokenizer.from_pretrained(str(request.getfixturevalue(folder))))
    task = task_of("wic", format=format)
    values = {**WIC, "sentence1": "  The old mill, the river.", "start1": 10, "end1": 14,
              "sentence2": "A river or a mill?", "start2": 13, "end2": 17, "word": "mill"}  # fmt: skip
    template = Plain(tokens, task.fields, task.segments)
    (shown,) = task.candidates(task.example(Record("x:1", values), 0))
    (row,) = template.rows(template.parts(0, *shown), NO_DRAW, 96)
    for name in ("span1", "span2"):
        ids = [row.ids[i] for i in row.read[name]]
        assert tokens.tokenizer.decode(ids).strip().strip("?,").lower() == "mill"
    assert max(row.read["span1"]) < min(row.read["span2"])
    plain = tokens.tokenizer(*[s.format_map(values).lstrip() for s in task.segments])["input_ids"]
    assert list(row.ids) == plain
    (short,) = template.rows(template.parts(0, *shown), NO_DRAW, 8)
    assert short.cut
    assert not short.read["span2"]


def test_spans_head():
    """The states of [CLS] and the means over both words; a word that was cut off is zeros."""
    states = torch.arange(12.0).reshape(2, 3, 2)
    head = Spans.__new__(Spans)
    torch.nn.Module.__init__(head)
    head.marks, head.dropout = ["span1", "span2"], torch.nn.Identity()
    head.linear = torch.nn.Identity()
    rows = [
        Row(0, [1, 2, 3], [0] * 3, {"cls": [0], "span1": [1, 2], "span2": [2]}, target=0),
        Row(1, [1, 2, 3], [0] * 3, {"cls": [0], "span1": [1], "span2": []}, target=1),
    ]
    found = head.logits(Hidden(states, lambda *_: states), collate(rows, 0))
    assert found.tolist() == [[0, 1, 3, 4, 4, 5], [6, 7, 8, 9, 0, 0]]


# Runs


COMMON = ("data=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "backbone=tiny_encoder",
          "tracker=none", "max_steps=3", "batch_size=4", "prompt_length.value=3", "quiet=true")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The demo's files are written once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("method", ["ptv2", "linear_probe", "finetune"])
@pytest.mark.parametrize("name", TASKS)
def test_train_eval_predict(ptune, tmp_path, name, method):
    """A run ends with its figures; eval gives them again; predict takes the original file and says the same."""
    more = ("task.max_length=96",)
    assert ptune("train", f"task={name}", f"method={method}", *COMMON, *more, "hydra.run.dir=run").code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    task = task_of(name)
    assert (result["metric"], result["report_on"]) == (task.headline, "dev")
    assert list(result["best"]["report"]) == task.score_names
    losses = [json.loads(line).get("loss") for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(loss) for loss in losses if loss is not None)
    assert len({row["id"] for row in rows}) == len(rows) >= 8
    assert ptune("eval", "run", "quiet=true").code == 0
    again = json.loads((tmp_path / "run" / "eval_dev.json").read_text(encoding="utf-8"))
    assert again["scores"] == pytest.approx(result["best"]["report"])
    if method == "ptv2":
        source = json.loads((tmp_path / "run" / "env.json").read_text(encoding="utf-8"))["data"]["files"]["dev"]["path"]
        assert ptune("predict", "run", f"input={source}", "output=said.jsonl").code == 0
        said = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
        assert [row["prediction"] for row in said] == [row["prediction"] for row in rows]


@pytest.mark.parametrize("name", ["copa", "record", "wic", "multirc"])
def test_learns(ptune, tmp_path, name):
    """The loss of a fine-tuned choice, span or answer head falls."""
    head = ("method/head=spans",) if name == "wic" else ()
    words = ("method=finetune", *COMMON, *head, "task.max_length=96", "max_steps=40", "eval_every=40", "optim.lr=5e-4",
             "data.demo.train=4", "data.max_train=4", "epochs=50", "data.demo.distractors=0", "data.demo.length=2",
             "optim.schedule=constant")  # fmt: skip
    assert ptune("train", f"task={name}", *words, "hydra.run.dir=run").code == 0
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_diagnostics(ptune, tmp_path):
    """An rte run on both, in its folder; other labels, other fields, and training on them are refused."""
    assert ptune("train", "task=rte", "method=ptv2", *COMMON, "hydra.run.dir=run").code == 0
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    assert ptune("eval", "run", "task=superglue_axb", "data=demo", "data.demo.test=12").out.count("mcc") == 1
    assert ptune("eval", "run", "task=superglue_axg", "quiet=true").code == 0
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config
    axb = json.loads((tmp_path / "run" / "eval_superglue_axb_test.json").read_text(encoding="utf-8"))
    assert (axb["task"], axb["split"], axb["examples"], list(axb["scores"])) == ("superglue_axb", "test", 12, ["mcc"])
    axg = json.loads((tmp_path / "run" / "eval_superglue_axg_test.json").read_text(encoding="utf-8"))
    assert (axg["examples"], list(axg["scores"])) == (356, ["parity", "accuracy"])
    assert axg["majority"]["parity"] == 100.0
    rows = [
        json.loads(line)
        for line in (tmp_path / "run" / "predictions_superglue_axb_test.jsonl").read_text().splitlines()
    ]
    assert axb["scores"]["mcc"] == pytest.approx(
        metrics.mcc([r["gold"] for r in rows], [r["prediction"] for r in rows])
    )
    assert {row["prediction"] for row in rows} <= {"entailment", "not_entailment"}
    refused = ptune("eval", "run", "task=cb")
    assert (refused.code, refused.err) == (
        2,
        "task: the labels of cb (['entailment', 'contradiction', 'neutral']) and of the run's task rte "
        "(['entailment', 'not_entailment']) differ; name a task that asks the same question, or train a run on this "
        "one",
    )
    refused = ptune("eval", "run", "task=superglue_axb", "data=demo", "data.root=.")
    assert (refused.code, refused.err) == (
        2,
        "data.root: only used with data=local; leave it out, or add data=local for .",
    )
    refused = ptune("eval", "run=run,run")
    assert (refused.code, refused.err) == (2, "run: a run is named twice; each run has one vote")
    refused = ptune("eval", "run", "data=demo")
    assert refused.err == "data: a run's own task is evaluated on the run's own data; data is only used with task=..."
    refused = ptune("train", "task=superglue_axb", "data=demo", "backbone=tiny_encoder", "tracker=none")
    assert refused.err == (
        "task: superglue_axb has no training data; to evaluate a finished run on it: ptune eval RUN task=superglue_axb"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["data.max_train=8", "data.draw=3", "data.max_dev=4", "data.max_test=20"],
        ["data.per_class=4", "data.draw=3"],
        ["data.layout=fewglue"],
    ],
)
def test_a_diagnostic_is_taken_whole(words, ptune, tmp_path):
    """Whatever the run took of its own corpus, and in whatever layout."""
    assert ptune("train", "task=rte", "method=ptv2", *COMMON, *words, "hydra.run.dir=run").code == 0
    done = ptune("eval", "run", "task=superglue_axb", "quiet=true")
    assert done.code == 0, done.err
    axb = json.loads((tmp_path / "run" / "eval_superglue_axb_test.json").read_text(encoding="utf-8"))
    assert axb["examples"] == superglue_axb.SIZES["test"]


def test_a_diagnostic_has_nothing_to_draw_from():
    """The limits of training examples say nothing of it."""
    corpus = load(task_of("superglue_axb"), Data(source="demo", max_train=8, draw=3))
    assert corpus.origin["examples"] == {"test": superglue_axb.SIZES["test"]}
    assert "draw" not in corpus.origin


def test_heads_that_do_not_fit(ptune):
    """Marked words need a task that marks them and the plain template; a verbalizer needs one answer a text."""
    assert ptune("train", "task=rte", "method/head=spans", *COMMON).err == (
        "method/head: spans reads marked words, but rte marks none; use linear"
    )
    assert ptune("train", "task=wic", "method/template=pattern", "method/head=spans", *COMMON).err == (
        "method/head: this head reads marked words only in the plain template; use method/template=plain"
    )
    assert ptune("train", "task=copa", "method/head=verbalizer", *COMMON).err == (
        "method/template: patterns and a verbalizer of copa are only used together; use method/template=pattern"
    )


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("wic", "The *bank* is high.\tA *bank* lends.\tbank", {"span1": ("sentence1", Extent(4, 7)),
                                                                "span2": ("sentence2", Extent(2, 5))}),
        ("wsc", "Mark thanked Pete because *he*, too, had helped.\tPete",
         "Mark thanked Pete because *he*, too, had helped."),
        ("copa", "It fell.\teffect\tIt broke.\tIt flew.", "effect"),
    ],
)  # fmt: skip
def test_parse(name, text, expected):
    """Lines of text as `ptune predict` takes them."""
    task = task_of(name)
    example = task.example(Record("standard input:1", task.parse(text)), 0)
    found = {"wic": example.marks, "wsc": example.fields.get("marked"), "copa": example.fields.get("question")}[name]
    assert found == expected
    assert error(task.parse, "a bank").startswith(
        ("wic needs two", "wsc needs a text", "1 text where copa needs premise"[:7])
    )


def test_a_candidate_is_whole_words():
    """Not a part of an earlier word."""
    task = task_of("wsc")
    values = task.parse("The woman saw the man because *he* waved.\tman")
    assert (values["span1_index"], values["span2_index"]) == (4, 6)
    assert task.example(Record("standard input:1", values), 0).fields["candidate"] == "man"
    assert error(task.parse, "The woman saw *her* brother.\tman").startswith("wsc needs a text")


# compat=ptv2_official


def test_published_settings(settings):
    """128 tokens, the scripts' formats by family, a frozen COPA baseline, and ReCoRD's entities one by one."""

    def official(*words):
        return settings("compat=ptv2_official", "method=ptv2", *words)

    for name, metric in (
        ("multirc", "f1a"),
        ("wic", "accuracy"),
        ("wsc", "accuracy"),
        ("copa", "accuracy"),
        ("record", "f1"),
    ):
        s = official(f"task={name}")
        assert (s.data.max_length, s.metric, s.select_on, s.report_on, s.optim.schedule) == (
            128, metric, "dev", "dev", "linear",
        )  # fmt: skip
    assert official("task=wic", "backbone=bert_large_cased").task["format"] == "pair"
    assert official("task=wic", "backbone=roberta_large").task["format"] == "question"
    assert official("task=wsc", "backbone=roberta_large").task["format"] == "named"
    record = official("task=record")
    assert (record.task["loss"], record.task["rank"]) == ("binary", "logit")
    frozen = {
        name: settings("compat=ptv2_official", "method=finetune", f"task={name}").method["tune"] for name in TASKS
    }
    assert frozen == {**dict.fromkeys(TASKS, "all"), "copa": "none"}


@pytest.mark.parametrize(
    ("name", "family", "length", "lr", "batch", "epochs", "seed"),
    [
        ("boolq", "bert", 40, 5e-3, 32, 100, 11),
        ("boolq", "roberta", 8, 7e-3, 32, 100, 11),
        ("copa", "bert", 16, 1e-2, 16, 80, 44),
        ("copa", "roberta", 8, 9e-3, 16, 120, 11),
        ("wic", "bert", 20, 1e-4, 16, 80, 44),
        ("wic", "roberta", 8, 1e-2, 32, 50, 11),
        ("wsc", "bert", 20, 5e-3, 16, 80, 44),
        ("wsc", "roberta", 8, 1e-2, 16, 10, 44),
    ],
)
def test_published_scripts(settings, name, family, length, lr, batch, epochs, seed):
    s = settings(f"experiment=ptv2_{name}_{family}")
    backbone = {"bert": "bert_large_cased", "roberta": "roberta_large"}[family]
    assert (s.task["name"], s.backbone["name"], s.experiment) == (name, backbone, f"ptv2_{name}_{family}")
    assert (s.prompt_length.value, s.optim.lr, s.batch_size, s.epochs, s.seed) == (length, lr, batch, epochs, seed)
    assert s.method["prompt"]["reparam"] == ("mlp" if (name, family) == ("wic", "bert") else "none")
    assert s.data.max_length == 128


def test_one_paragraph_has_no_interval(settings) -> None:
    """It says nothing of others."""
    task = leaf(settings("task=multirc", "method=majority", "data=demo").task)
    for paragraphs, known in (("p", False), ("pq", True)):
        examples = [
            Example(f"{p}{i}", {"paragraph": p, "question": "q", "answer": "a"}, task.labels[1], group=f"{p}{i // 2}")
            for p in paragraphs
            for i in range(4)
        ]
        predictions = [Prediction(task.labels[i % 3 > 0]) for i in range(len(examples))]
        assert (task.interval(examples, predictions) is not None) is known


def test_the_interval_of_multirc_is_over_paragraphs(settings) -> None:
    """Whose questions are right or wrong together: as wide as if each paragraph were one example."""
    task = leaf(settings("task=multirc", "data=demo", "backbone=tiny_encoder").task)
    fields = [
        {"paragraph": f"paragraph {p}", "question": f"question {q}?", "answer": "yes"}
        for p in range(20)
        for q in range(12)
    ]
    examples = [Example(f"{i}", each, task.labels[1], group=f"{i}") for i, each in enumerate(fields)]
    said = [Prediction(task.labels[int(i // 12 < 10)]) for i in range(len(examples))]
    low, high = task.interval(examples, said, "em")
    assert 25 < low < 35
    assert 65 < high < 75
