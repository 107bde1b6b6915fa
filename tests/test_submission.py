"""Leaderboards' files: their names, keys and labels, against the original files and the official scorers' vectors."""

from __future__ import annotations

import json
import math
from itertools import cycle
from pathlib import Path

import pytest
import yaml

from ptune import metrics
from ptune.batch import Example
from ptune.data.corpora import examples as examples_of
from ptune.data.corpora import file_sources
from ptune.exports.submission import FORMATS, squad
from ptune.leaves import leaf
from ptune.readers import Reading
from ptune.tasks import Prediction, Task

ROOT = Path(__file__).parents[1]
SUPERGLUE = {
    "boolq": "BoolQ.jsonl",
    "cb": "CB.jsonl",
    "copa": "COPA.jsonl",
    "multirc": "MultiRC.jsonl",
    "record": "ReCoRD.jsonl",
    "rte": "RTE.jsonl",
    "wic": "WiC.jsonl",
    "wsc": "WSC.jsonl",
    "superglue_axb": "AX-b.jsonl",
    "superglue_axg": "AX-g.jsonl",
}
GLUE = {
    "cola": "CoLA.tsv",
    "sst2": "SST-2.tsv",
    "mrpc": "MRPC.tsv",
    "stsb": "STS-B.tsv",
    "qqp": "QQP.tsv",
    "qnli": "QNLI.tsv",
    "glue_rte": "RTE.tsv",
    "wnli": "WNLI.tsv",
}
SAID = {  # what the boards want for two of our predictions
    "boolq": {"false": "false", "true": "true"},
    "cb": {"entailment": "entailment", "neutral": "neutral"},
    "copa": {0: 0, 1: 1},
    "rte": {"entailment": "entailment", "not_entailment": "not_entailment"},
    "wic": {"false": "false", "true": "true"},
    "wsc": {"false": "False", "true": "True"},
    "superglue_axb": {"entailment": "entailment", "not_entailment": "not_entailment"},
    "superglue_axg": {"entailment": "entailment", "not_entailment": "not_entailment"},
    "record": {"Anna Berg": "Anna Berg", "\u00c5rhus": "\u00c5rhus"},
    "cola": {"unacceptable": "0", "acceptable": "1"},
    "sst2": {"negative": "0", "positive": "1"},
    "mrpc": {"not_equivalent": "0", "equivalent": "1"},
    "qqp": {"not_duplicate": "0", "duplicate": "1"},
    "qnli": {"entailment": "entailment", "not_entailment": "not_entailment"},
    "glue_rte": {"entailment": "entailment", "not_entailment": "not_entailment"},
    "wnli": {"not_entailment": "0", "entailment": "1"},
    "stsb": {2.34567: "2.346", 5.2: "5.000", -0.1: "0.000"},
    "mnli": {"neutral": "neutral", "contradiction": "contradiction"},
}


def task_of(name: str) -> Task:
    task: Task = leaf(yaml.safe_load((ROOT / "conf" / "task" / f"{name}.yaml").read_text(encoding="utf-8")), [])
    return task


def written(task: Task, ids: list[str], said: list) -> dict[str, str]:
    """The files of a task's first split, by name."""
    told = task.source["submission"]
    examples = [Example(name, {}) for name in ids]
    found: dict[str, str] = FORMATS[told["format"]](
        task, next(iter(told["files"].values())), examples, [Prediction(value) for value in said]
    )
    return found


def test_names():
    """Those that the boards look for in the archive; every task of the benchmarks has one."""
    for name, file in {**SUPERGLUE, **GLUE}.items():
        assert task_of(name).source["submission"]["files"] == {"test": file}
    assert task_of("mnli").source["submission"]["files"] == {"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"}


@pytest.mark.parametrize("name", [name for name in SUPERGLUE if name != "multirc"])
def test_superglue(name):
    """A line for each row, its idx a number, its label as the board writes it."""
    ours, theirs = list(SAID[name]), list(SAID[name].values())
    [(file, text)] = written(task_of(name), ["7", "10"], ours).items()
    assert file == SUPERGLUE[name]
    assert text == "".join(
        json.dumps({"idx": idx, "label": label}, ensure_ascii=False) + "\n"
        for idx, label in zip((7, 10), theirs, strict=True)
    )


def test_multirc():
    """Answers in their questions, questions in their passages, by the numbers of the file."""
    [(file, text)] = written(task_of("multirc"), ["3-0-0", "3-0-1", "3-2-5", "11-4-6"], ["0", "1", "1", "0"]).items()
    assert file == "MultiRC.jsonl"
    assert text == (
        '{"idx": 3, "passage": {"questions": [{"idx": 0, "answers": [{"idx": 0, "label": 0}, {"idx": 1, "label": 1}]}, '
        '{"idx": 2, "answers": [{"idx": 5, "label": 1}]}]}}\n'
        '{"idx": 11, "passage": {"questions": [{"idx": 4, "answers": [{"idx": 6, "label": 0}]}]}}\n'
    )


@pytest.mark.parametrize("name", [*GLUE, "mnli"])
def test_glue(name):
    """A header, then a row's number from 0 and its label as in the corpus's own files, or a number on its scale."""
    text = next(iter(written(task_of(name), ["a"] * len(SAID[name]), list(SAID[name])).values()))
    rows = [f"{index}\t{label}\n" for index, label in enumerate(SAID[name].values())]
    assert text == "index\tprediction\n" + "".join(rows)


@pytest.mark.parametrize("name", ["boolq", "cb", "copa", "multirc", "rte", "wic", "wsc"])
def test_rows_of_the_original_files(shared, name):
    """Every row of the unlabeled test files, in its order, under its own number."""
    task = task_of(name)
    task.source["files"] = {"test": task.source["files"]["test"]}
    source = file_sources(task, shared / "data" / "superglue", {})["test"]
    examples = list(examples_of(task, source, Reading()))
    assert all(example.gold is None for example in examples)
    values = cycle((0, 1) if name == "copa" else task.labels)
    text = written(task, [e.id for e in examples], [next(values) for _ in examples])[SUPERGLUE[name]]
    original = shared / "data" / "superglue" / task.source["folder"] / "test.jsonl"
    lines = [json.loads(line) for line in original.read_text(encoding="utf-8").splitlines()]
    ours = [json.loads(line) for line in text.splitlines()]
    assert [row["idx"] for row in ours] == [row["idx"] for row in lines]
    if name != "multirc":
        assert all(set(row) == {"idx", "label"} for row in ours)
        return

    def numbers(row: dict) -> list:
        questions = row["passage"]["questions"]
        return [(question["idx"], [answer["idx"] for answer in question["answers"]]) for question in questions]

    assert [numbers(row) for row in ours] == [numbers(row) for row in lines]
    assert {a["label"] for row in ours for q in row["passage"]["questions"] for a in q["answers"]} == {0, 1}


@pytest.mark.parametrize("number", range(2))
def test_multirc_vectors(shared, number):
    """What a scorer reads back from the file has the official figures."""
    vector = json.loads((shared / "vectors" / f"multirc_{number}.json").read_text(encoding="utf-8"))
    ids = [f"{q // 3}-{q}-{a}" for q, row in enumerate(vector["pred"]) for a in range(len(row))]
    text = written(task_of("multirc"), ids, [str(label) for row in vector["pred"] for label in row])["MultiRC.jsonl"]
    passages = [json.loads(line)["passage"]["questions"] for line in text.splitlines()]
    said = [[answer["label"] for answer in q["answers"]] for passage in passages for q in passage]
    assert said == vector["pred"]
    groups = [str(q) for q, row in enumerate(said) for _ in row]
    gold = [bool(label) for row in vector["gold"] for label in row]
    scores = metrics.answer_sets(gold, [bool(label) for row in said for label in row], groups)
    assert {name: scores[name] / 100 for name in vector["official"]} == pytest.approx(vector["official"])


@pytest.mark.parametrize("number", range(2))
def test_record_vectors(shared, number):
    """The answers by their queries' numbers, as ReCoRD's own script takes them."""
    said = json.loads((shared / "vectors" / f"record_{number}.json").read_text(encoding="utf-8"))["pred"]
    rows = written(task_of("record"), list(said), list(said.values()))["ReCoRD.jsonl"].splitlines()
    assert {str(json.loads(row)["idx"]): json.loads(row)["label"] for row in rows} == said


@pytest.mark.parametrize(("name", "number"), [("squad", 0), ("squad", 1), ("squad_v2", 0), ("squad_v2", 1)])
def test_squad_vectors(shared, name, number):
    """{id: text}, and for 2.0 {id: probability of no answer}, as the official scripts read them."""
    file = f"squad{1 if name == 'squad' else 2}_{number}.json"
    vector = json.loads((shared / "vectors" / file).read_text(encoding="utf-8"))
    examples = [Example(idx, {}) for idx in vector["pred"]]

    def scores(idx: str) -> dict[str, float]:
        p = min(max(vector["na_prob"][idx], 1e-9), 1 - 1e-9) if name == "squad_v2" else 0.5
        return {"probability": 0.5} | ({"null_odds": math.log(p / (1 - p))} if name == "squad_v2" else {})

    said = [Prediction(text, scores(idx)) for idx, text in vector["pred"].items()]
    files = squad(task_of(name), "predictions.json", examples, said)
    assert json.loads(files["predictions.json"]) == vector["pred"]
    if name == "squad":
        assert list(files) == ["predictions.json"]
    else:
        assert json.loads(files["na_prob.json"]) == pytest.approx(vector["na_prob"], abs=1e-8)


# The command


SMALL = ("data=demo", "data.demo.train=16", "data.demo.dev=8", "data.demo.test=8", "backbone=tiny_encoder",
         "tracker=none", "max_steps=2", "batch_size=4", "prompt_length.value=3", "quiet=true")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The demo's files are written once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_submit_superglue(ptune, tmp_path):
    """All of the unlabeled test, whatever the run used of it; an rte run answers the diagnostics, too."""
    assert ptune("train", "task=rte", "method=ptv2", *SMALL, "data.max_test=3", "hydra.run.dir=run").code == 0
    done = ptune("predict", "run", "submission=true")
    assert done.code == 0
    assert "test: 8 predictions in" in done.out + done.err
    rows = lines(tmp_path / "run" / "submission" / "RTE.jsonl")
    assert [row["idx"] for row in rows] == list(range(8))
    assert {row["label"] for row in rows} <= {"entailment", "not_entailment"}
    for name, count, more in (("superglue_axb", 12, ("data=demo", "data.demo.test=12")), ("superglue_axg", 356, ())):
        words = ("submission=true", f"task={name}", *more, "output=mine", "quiet=true")
        assert ptune("predict", "run", *words).code == 0
        assert len(lines(tmp_path / "mine" / SUPERGLUE[name])) == count
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["AX-b.jsonl", "AX-g.jsonl"]


def test_submit_the_same_as_predict(ptune, tmp_path):
    """The nested file has the predictions that the plain command gives for the same input."""
    words = ("task=multirc", "method=linear_probe", *SMALL, "task.max_length=96", "hydra.run.dir=run")
    assert ptune("train", *words).code == 0
    assert ptune("predict", "run", "submission=true", "quiet=true").code == 0
    files = json.loads((tmp_path / "run" / "env.json").read_text(encoding="utf-8"))["data"]["files"]
    assert ptune("predict", "run", f"input={files['test']['path']}", "output=said.jsonl").code == 0
    said = {
        (row["idx"]["paragraph"], row["idx"]["question"], row["idx"]["answer"]): int(row["prediction"])
        for row in lines(tmp_path / "said.jsonl")
    }
    assert said == {
        (row["idx"], question["idx"], answer["idx"]): answer["label"]
        for row in lines(tmp_path / "run" / "submission" / "MultiRC.jsonl")
        for question in row["passage"]["questions"]
        for answer in question["answers"]
    }


def test_submit_glue_and_squad(ptune, tmp_path):
    """Both of MNLI's tests, and SQuAD 2.0's two files of dev, which the official script takes."""
    assert ptune("train", "task=mnli", "method=ptv2", *SMALL, "hydra.run.dir=mnli").code == 0
    assert ptune("predict", "mnli", "submission=true", "quiet=true").code == 0
    for file in ("MNLI-m.tsv", "MNLI-mm.tsv"):
        header, *rows = (tmp_path / "mnli" / "submission" / file).read_text(encoding="utf-8").splitlines()
        assert header == "index\tprediction"
        assert [row.split("\t")[0] for row in rows] == [str(i) for i in range(8)]
        assert {row.split("\t")[1] for row in rows} <= {"entailment", "neutral", "contradiction"}
    assert ptune("train", "task=squad_v2", "method=ptv2", *SMALL, "hydra.run.dir=squad").code == 0
    assert ptune("predict", "squad", "submission=true", "quiet=true").code == 0
    rows = lines(tmp_path / "squad" / "predictions.jsonl")
    folder = tmp_path / "squad" / "submission"
    said, nothing = (json.loads((folder / name).read_text()) for name in ("predictions.json", "na_prob.json"))
    assert {row["id"]: row["prediction"] for row in rows} == said
    assert {idx: p > 0.5 for idx, p in nothing.items()} == {row["id"]: row["scores"]["null_odds"] > 0 for row in rows}


def test_refusals(ptune, tmp_path):
    """What a submission has no use for, and what it lacks, in one line."""
    assert ptune("train", "task=trec", "method=linear_probe", *SMALL, "hydra.run.dir=trec").code == 0
    assert ptune("predict", "trec", "submission=true").err == (
        "submission: trec has no leaderboard whose format is known; leave it out"
    )
    assert ptune("predict", "trec", "submission=true", "input=x.txt", "scheme=iob1").code == 2
    (tmp_path / "x.txt").write_text("a\n")
    refused = ptune("predict", "trec", "submission=true", "input=x.txt")
    assert refused.err == "input: a submission reads the task's own files (data=...); leave it out"
    refused = ptune("predict", "trec", "task=rte", "input=x.txt")
    assert refused.err == "task: is only used with submission=true"
    assert ptune("train", "task=cb", "method=linear_probe", *SMALL, "hydra.run.dir=cb").code == 0
    assert ptune("predict", "cb", "submission=true", "data=local", "data.layout=fewglue_32dev").err == (
        "submission: the test examples of layout fewglue_32dev are not the leaderboard's; set data=local "
        "data.root=DIR, the folder with cb's own files"
    )
    files = json.loads((tmp_path / "cb" / "env.json").read_text(encoding="utf-8"))["data"]["files"]
    (tmp_path / "part").mkdir()
    for split, name in (("train", "train.jsonl"), ("dev", "val.jsonl")):
        (tmp_path / "part" / name).write_bytes(Path(files[split]["path"]).read_bytes())
    words = ("predict", "cb", "submission=true", "data=local", "data.root=part")
    assert ptune(*words).err == (
        "submission: no test of cb in part; the submission needs a prediction for each of its rows"
    )
    (tmp_path / "part" / "test.jsonl").write_bytes(Path(files["test"]["path"]).read_bytes())
    warned = ptune(*words)
    assert warned.code == 0
    assert "test has 8 examples here, and 250 in the original: the leaderboard would reject it" in " ".join(
        (warned.out + warned.err).split()
    )
