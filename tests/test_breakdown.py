"""Where a score comes from: every table agrees with the official scorers, and with the score that it explains."""

from __future__ import annotations

import csv
import io
import json
import warnings
from pathlib import Path

import pytest
import yaml
from seqeval.metrics import classification_report

from ptune import metrics
from ptune.batch import Example
from ptune.breakdown import ERRORS, EXAMPLES, breakdown, figures, tables
from ptune.evaluate import Evaluation
from ptune.leaves import leaf
from ptune.tasks import Prediction, Task, between, question_word

ROOT = Path(__file__).parents[1]


def task_of(name: str) -> Task:
    task: Task = leaf(yaml.safe_load((ROOT / "conf" / "task" / f"{name}.yaml").read_text(encoding="utf-8")), [])
    return task


def broken_down(task: Task, examples: list[Example], said: list) -> dict:
    predictions = [p if isinstance(p, Prediction) else Prediction(p) for p in said]
    return breakdown(task, Evaluation("dev", task.score(examples, predictions), predictions, examples, 0.0))


def test_scales():
    """Every number is in one part, which says which ones are in it."""
    assert [between(n, (1, 2, 4)) for n in range(7)] == ["0", "1", "2", "3-4", "3-4", "5+", "5+"]
    assert [between(n, (8, 16)) for n in (0, 1, 8, 9, 16, 17)] == ["0", "1-8", "1-8", "9-16", "9-16", "17+"]
    assert [question_word(q) for q in ("In what year?", "Whose?", "Name it.", "HOW many")] == [
        "what",
        "whose",
        "other",
        "how",
    ]


def rte(golds: str) -> list[Example]:
    """An example a letter: e for entailment; every second one is long."""
    names = {"e": "entailment", "n": "not_entailment"}
    texts = ("a b c", " ".join(["word"] * 20))
    return [
        Example(str(i), {"premise": texts[i % 2], "hypothesis": "it is so"}, names[letter])
        for i, letter in enumerate(golds)
    ]


def test_classification():
    """By hand: labels, confusions, lengths, the surest error first."""
    task, examples = task_of("rte"), rte("eenn")
    e, n = task.labels
    said = [Prediction(e, {e: 0.9, n: 0.1}), Prediction(n, {e: 0.4, n: 0.6}), Prediction(n), Prediction(e, {e: 0.8})]
    found = broken_down(task, examples, said)
    assert found["labels"] == [
        {"label": e, "gold": 2, "precision": 50.0, "recall": 50.0, "f1": 50.0},
        {"label": n, "gold": 2, "precision": 50.0, "recall": 50.0, "f1": 50.0},
    ]
    assert [tuple(row.values()) for row in found["confusions"]] == [(e, e, 1), (e, n, 1), (n, e, 1), (n, n, 1)]
    assert found["by"] == {
        "words": [
            {"value": "1-8", "examples": 2, "accuracy": 100.0},
            {"value": "17-32", "examples": 2, "accuracy": 0.0},
        ]
    }
    assert [(row["id"], row["right"], row["prediction"]) for row in found["errors"]] == [("3", 0.0, e), ("1", 0.0, n)]
    assert [row["id"] for row in found["predictions"]] == ["0", "1", "2", "3"]
    assert figures(found) == {"label": {e: 50.0, n: 50.0}, "words": {"1-8": 100.0, "17-32": 0.0}}
    assert set(tables(found)) == {"labels", "confusions", "errors", "predictions", "by words"}


def test_lists_are_short():
    """Of many errors the first ones, of long texts the beginning."""
    task = task_of("rte")
    examples = [Example(str(i), {"premise": "x" * 5000, "hypothesis": "y"}, "entailment") for i in range(100)]
    found = broken_down(task, examples, ["not_entailment"] * 100)
    assert [row["id"] for row in found["errors"]] == [str(i) for i in range(ERRORS)]
    assert len(found["predictions"]) == EXAMPLES
    assert len(found["errors"][0]["premise"]) < 400
    assert len(json.dumps(found)) < 20_000


@pytest.mark.parametrize("number", range(4))
def test_tagging_as_seqeval(shared, number):
    """Types as in seqeval's report; confusions have every entity of both sides once."""
    vector = json.loads((shared / "vectors" / f"ner_conlleval_{number}.json").read_text(encoding="utf-8"))
    task = task_of("conll03")
    examples = [Example(str(i), {"tokens": tags}, tags) for i, tags in enumerate(vector["gold"])]
    found = broken_down(task, examples, vector["pred"])
    assert {row["label"]: f"{row['f1']:.2f}" for row in found["labels"]} == vector["official"]["f1_by_type"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(vector["gold"], vector["pred"], output_dict=True)
    counts = metrics.span_counts(vector["gold"], vector["pred"]).sum(0)
    rows = found["confusions"]
    assert sum(row["count"] for row in rows if row["gold"] == row["predicted"]) == counts[0]
    assert sum(row["count"] for row in rows if row["predicted"] != "O") == counts[1]
    assert sum(row["count"] for row in rows if row["gold"] != "O") == counts[2] == report["micro avg"]["support"]
    assert sum(row["examples"] for row in found["by"]["words"]) == len(examples)
    worst = [row["right"] for row in found["errors"]]
    assert worst == sorted(worst)
    assert len(worst) == min(
        ERRORS, sum(right < 1 for right in task.right(examples, [*map(Prediction, vector["pred"])]))
    )


def test_tagging_by_hand():
    """A type for another, a span too long, and a sentence of no entities."""
    task = task_of("conll03")
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "O"]]
    said = [["B-ORG", "I-ORG", "O", "B-LOC"], ["O", "O"]]
    examples = [Example(str(i), {"tokens": tags}, tags) for i, tags in enumerate(gold)]
    found = broken_down(task, examples, said)
    assert found["confusions"] == [
        {"gold": "LOC", "predicted": "LOC", "count": 1},
        {"gold": "PER", "predicted": "ORG", "count": 1},
    ]
    assert [(row["id"], row["right"]) for row in found["errors"]] == [("0", 0.5)]
    longer = metrics.span_confusions([["B-PER", "O"]], [["B-PER", "I-PER"]])
    assert [tuple(row.values()) for row in longer] == [("O", "PER", 1), ("PER", "O", 1)]
    nothing = broken_down(task, examples[1:], said[1:])
    assert (nothing["labels"], nothing["confusions"], nothing["errors"]) == ([], [], [])


@pytest.mark.parametrize("number", range(2))
def test_answers(shared, number):
    """Parts by question word and by answer length make up the whole of SQuAD's figures."""
    vector = json.loads((shared / "vectors" / f"squad1_{number}.json").read_text(encoding="utf-8"))
    task = task_of("squad")
    words = ("what", "in which", "how", "is")
    said = [vector["pred"][name] for name in vector["gold"]]
    examples = [
        Example(
            name, {"question": f"{words[i % 4]} x?", "context": "c " * (1 + i)}, {"text": texts, "answer_start": []}
        )
        for i, (name, texts) in enumerate(vector["gold"].items())
    ]
    found = broken_down(task, examples, said)
    whole = task.score(examples, [Prediction(text) for text in said])
    assert list(found["by"]) == ["words", "question word", "answer words"]
    assert [row["value"] for row in found["by"]["question word"]] == ["how", "other", "what", "which"]
    assert {name: round(whole[name], 6) for name in whole} == {k: round(v, 6) for k, v in vector["official"].items()}
    for rows in found["by"].values():
        assert sum(row["examples"] for row in rows) == len(examples)
        for name in ("f1", "exact_match"):
            mean = sum(row["examples"] * row[name] for row in rows) / len(examples)
            assert mean == pytest.approx(whole[name])


def test_groups_stay_together():
    """The answers of a MultiRC question, or a pair of AX-g, are scored together, by the longest of them."""
    task = task_of("multirc")
    fields = {"paragraph": "p", "question": "Why is it?"}
    answers = ["a", " ".join("long") + " answer of words"]
    examples = [
        Example(f"0-{q}-{a}", {**fields, "answer": answers[a]}, task.labels[a], group=f"0-{q}")
        for q in range(2)
        for a in range(2)
    ]
    found = broken_down(task, examples, [task.labels[0]] * 4)
    assert [(row["value"], row["examples"], row["em"]) for row in found["by"]["words"]] == [("9-16", 4, 0.0)]
    assert [row["value"] for row in found["by"]["question word"]] == ["why"]
    axg = task_of("superglue_axg")
    pairs = [
        Example(str(i), {"premise": "p " * n, "hypothesis": "h"}, axg.labels[0], group="1")
        for i, n in enumerate((3, 30))
    ]
    [row] = broken_down(axg, pairs, axg.labels)["by"]["words"]
    assert (row["value"], row["parity"]) == ("17-32", 0.0)


def test_choices_and_numbers():
    """COPA by its question, ReCoRD by its entities and word F1, STS-B by the distance."""
    copa = task_of("copa")
    fields = {"premise": "p", "question": "cause", "choice1": "a", "choice2": "b"}
    examples = [Example("0", fields, 0), Example("1", {**fields, "question": "effect"}, 1)]
    found = broken_down(copa, examples, [0, 0])
    assert [(row["value"], row["accuracy"]) for row in found["by"]["question"]] == [("cause", 100.0), ("effect", 0.0)]
    assert [tuple(row.values()) for row in found["confusions"]] == [
        ("choice1", "choice1", 1),
        ("choice2", "choice1", 1),
    ]
    record = task_of("record")
    fields = {"passage": "Anna Berg met Bo", "query": "@placeholder left", "entities": ["Anna Berg", "Bo"]}
    found = broken_down(record, [Example("7", fields, ["Anna Berg"])] * 2, ["Bo", "Anna Berg"])
    assert [row["value"] for row in found["by"]["entities"]] == ["1-4"]
    assert [row["right"] for row in found["errors"]] == [0.0]
    stsb = task_of("stsb")
    texts = {"sentence1": "a", "sentence2": "b"}
    examples = [Example(str(i), texts, gold) for i, gold in enumerate((0.0, 5.0, 4.8))]
    found = broken_down(stsb, examples, [1.0, 5.5, 4.8])
    assert found["labels"] == [
        {"label": "0", "gold": 1, "mean": 1.0},
        {"label": "5", "gold": 2, "mean": pytest.approx(5.15)},
    ]
    assert [(row["id"], row["right"]) for row in found["errors"]] == [("0", 0.8), ("1", 0.9)]


def test_in_the_run_folder(ptune, tmp_path):
    """Every evaluation has one, the result names those of its figures, and eval writes the same again."""
    words = ("task=mnli", "method=ptv2", "data=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8",
             "backbone=tiny_encoder", "tracker=none", "epochs=2", "batch_size=8", "quiet=true",
             "task.max_length=24")  # fmt: skip
    assert ptune("train", *words, "hydra.run.dir=run").code == 0
    run = tmp_path / "run"
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    step = result["best"]["step"]
    assert set(result["best"]["breakdowns"]) == {"dev", "dev_mismatched"}
    for split, name in result["best"]["breakdowns"].items():
        found = json.loads((run / name).read_text(encoding="utf-8"))
        assert (found["split"], found["step"], found["metric"]) == (split, step, "accuracy")
        scores = result["best"]["report"] if split == "dev" else result["best"]["beside"][split]
        right = sum(row["count"] for row in found["confusions"] if row["gold"] == row["predicted"])
        assert 100 * right / found["examples"] == pytest.approx(scores["accuracy"])
        interval = result["best"]["interval"] if split == "dev" else result["best"]["beside_intervals"][split]
        assert interval == pytest.approx(metrics.binomial(right, found["examples"]))
    told = {row["split"]: row for row in map(json.loads, (run / "splits.jsonl").read_text().splitlines())}
    assert {split: row["sha256"] for split, row in told.items()} == result["checksums"]
    assert {split: row["examples"] for split, row in told.items()} == result["data"]["examples"]
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    evaluated = [event for event in events if event["event"] == "eval"]
    assert all((run / "breakdowns" / f"dev_{event['step']:08d}.json").is_file() for event in evaluated)
    assert all(set(event["breakdown"]) == {"label", "words"} for event in evaluated)
    for name in ("cut", "cut_percent", "windows", "samples", "lost_labels"):
        assert set(result[name]) == {"train", "dev", "dev_mismatched"}
    assert result["windows"]["dev"] == 1.0
    assert result["cut_percent"]["dev"] == 100 * result["cut"]["dev"] / 8
    assert ptune("eval", "run", "split=dev", "quiet=true").code == 0
    again = json.loads((run / "eval_dev.json").read_text(encoding="utf-8"))
    assert (again["cut"], again["windows"], again["lost_labels"]) == (result["cut"]["dev"], 1.0, 0)
    told = json.loads((run / again["breakdown"]).read_text(encoding="utf-8"))
    kept = json.loads((run / result["best"]["breakdowns"]["dev"]).read_text(encoding="utf-8"))
    assert {key: told[key] for key in ("labels", "confusions", "by")} == {
        key: kept[key] for key in ("labels", "confusions", "by")
    }


def test_the_interval_is_of_the_metric(ptune, tmp_path):
    """Not of the headline; and a score that has none shows none, on the terminal, in the result and in a report."""
    words = ("method=majority", "data=demo", "backbone=tiny_encoder", "tracker=none", "hydra.run.dir=run")
    done = ptune("train", "task=cb", "metric=f1_macro", *words)
    assert done.code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    (low, high), scores = result["interval"], result["best"]["report"]
    assert low < result["score"] == scores["f1_macro"] < high < scores["accuracy"]
    assert f"{result['score']:.2f}  [{low:.1f}, {high:.1f}]" in done.out
    again = ("method=majority", "data=demo", "data.demo.train=20", "data.demo.dev=12", "tracker=none")
    done = ptune("train", "task=squad_v2", "metric=best_f1", *again, "backbone=tiny_encoder", "hydra.run.dir=none/run")
    assert done.code == 0
    result = json.loads((tmp_path / "none" / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["interval"] is None
    assert "[" not in done.out.split(" best_f1")[1].splitlines()[0]
    (row,) = csv.DictReader(io.StringIO(ptune("report", "none", "format=csv").out))
    assert (row["score"], row["95% interval low"], row["95% interval high"]) == (f"{result['score']:.2f}", "", "")


def test_without_a_model(ptune, tmp_path):
    """The majority's errors and confusions, and nothing that was cut."""
    words = ("task=trec", "method=majority", "data=demo", "backbone=tiny_encoder", "tracker=none", "quiet=true")
    assert ptune("train", *words, "hydra.run.dir=run").code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["windows"] is result["cut"] is result["lost_labels"] is None
    found = json.loads((tmp_path / "run" / result["best"]["breakdowns"][result["report_on"]]).read_text())
    assert len({row["predicted"] for row in found["confusions"]}) == 1
    assert len(found["errors"]) == ERRORS
