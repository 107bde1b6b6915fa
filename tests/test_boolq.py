"""BoolQ: the original files, with truth values for labels, and the demo's in the same format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import call

from ptune import demo
from ptune.config import Data
from ptune.data.corpora import load
from ptune.errors import DataError
from ptune.readers import Record, jsonl
from ptune.tasks.classify import Classify

ROOT = Path(__file__).parents[1]


@pytest.fixture
def boolq() -> Classify:
    """The shipped task."""
    node = yaml.safe_load((ROOT / "conf/task/boolq.yaml").read_text(encoding="utf-8"))
    del node["_target_"]
    return Classify(**node)


@pytest.mark.parametrize(
    ("name", "count", "true", "false"),
    [
        ("superglue/BoolQ/val.jsonl", 3270, 2033, 1237),
        ("superglue/BoolQ/test.jsonl", 3245, 0, 0),
        ("superglue/BoolQ/fixtures/allennlp_boolq.jsonl", 5, 1, 4),
        ("fewglue/BoolQ/train.jsonl", 32, 18, 14),
    ],
)
def test_real_files(shared, boolq, name, count, true, false):
    """As many questions as published; truth values become labels; test has none."""
    examples = [boolq.example(record, i) for i, record in enumerate(jsonl.read(shared / "data" / name))]
    assert len(examples) == count
    assert [sum(e.gold == label for e in examples) for label in ("true", "false", None)] == [
        true,
        false,
        count - true - false,
    ]
    assert [sum(boolq.target(e) == i for e in examples) for i in (0, 1)] == [false, true]
    assert all(e.fields["question"].strip() and e.fields["passage"].strip() for e in examples)


def test_majority_of_dev(shared, boolq):
    """The figure that every BoolQ paper begins with: 62.17% of dev are true."""
    path = shared / "data" / "superglue" / "BoolQ" / "val.jsonl"
    examples = [boolq.example(record, i) for i, record in enumerate(jsonl.read(path))]
    majority = boolq.majority(examples)
    scores = boolq.score(examples, [majority(e) for e in examples])
    assert {name: round(score, 2) for name, score in scores.items()} == {"accuracy": 62.17}


def test_labels(boolq):
    """JSON's truth values, the Hub's names of them, and our own; no numbers and no other words."""
    texts = {"question": "is it", "passage": "It is."}
    for label, gold in ((True, "true"), (False, "false"), ("True", "true"), ("False", "false"), ("true", "true")):
        assert boolq.example(Record("val.jsonl:3", {**texts, "label": label}), 0).gold == gold
    assert boolq.example(Record("val.jsonl:3", {**texts, "label": None}), 0).gold is None
    for odd in (1, 0, "yes", "TRUE", "", [True]):
        with pytest.raises(DataError) as caught:
            boolq.example(Record("val.jsonl:3", {**texts, "label": odd}), 0)
        assert str(caught.value).startswith(f"val.jsonl:3: '{odd}' is not a label of boolq; ")
    with pytest.raises(DataError, match=r"^val.jsonl:3: no text in 'passage'; boolq needs question, passage$"):
        boolq.example(Record("val.jsonl:3", {"question": "is it", "label": True}), 0)


def test_labels_in_capitals():
    """A task of one's own with the labels True and False keeps them."""
    task = Classify("mine", 1, {}, ["text"], ["False", "True"])
    assert task.example(Record("x:1", {"text": "a", "label": "True"}), 0).gold == "True"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The demo's BoolQ at its default sizes."""
    folder = tmp_path_factory.mktemp("boolq")
    demo.write("boolq", folder)
    return folder


def test_demo_files(written, boolq):
    """The original's format: fields, truth values, questions in lower case without their mark, no test labels."""
    corpus = load(boolq, Data(source="local", root=str(written)))
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {
        "train": 1000,
        "dev": 300,
        "test": 300,
    }
    assert [corpus.labeled(split) for split in ("train", "dev", "test")] == [True, True, False]
    rows = [json.loads(line) for line in (written / "BoolQ" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {tuple(sorted(row)) for row in rows} == {("idx", "label", "passage", "question")}
    assert {type(row["label"]) for row in rows} == {bool}
    assert 0.57 < sum(row["label"] for row in rows) / len(rows) < 0.67
    assert all(row["question"] == row["question"].lower() and not row["question"].endswith("?") for row in rows)
    assert all(" -- " in row["passage"] for row in rows)


def test_demo_questions_need_their_passage(written, boolq):
    """Development questions are not those of training, and no passage is in both."""
    corpus = load(boolq, Data(source="local", root=str(written)))
    train, dev = ({e.fields["passage"] for e in corpus.splits[split]} for split in ("train", "dev"))
    assert not train & dev
    asked = {e.fields["question"] for e in corpus.splits["train"]}
    assert sum(e.fields["question"] in asked for e in corpus.splits["dev"]) < 0.05 * 300


@pytest.mark.parametrize("method", ["ptv2", "zero_shot"])
def test_train(tmp_path, monkeypatch, method):
    """A run on the demo ends with its accuracy; without test labels it is that of dev."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    words = ("task=boolq", f"method={method}", "data=demo", "data.demo.train=16", "data.demo.dev=8",
             "data.demo.test=8", "backbone=tiny_encoder", "tracker=none", "max_steps=2", "batch_size=8",
             "prompt_length.value=3", "quiet=true", "hydra.run.dir=run")  # fmt: skip
    assert call("train", *words) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert (result["metric"], result["report_on"], len(rows)) == ("accuracy", "dev", 8)
    assert {row["prediction"] for row in rows} <= {"true", "false"}
    assert result["score"] == pytest.approx(100 * sum(row["gold"] == row["prediction"] for row in rows) / 8)
