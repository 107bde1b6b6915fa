"""GLUE's and LM-BFF's tasks: their files with their quirks, the Hub's columns, numbers on a scale, two dev sets."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from scipy.stats import pearsonr, spearmanr

from ptune import metrics
from ptune.batch import IGNORED, Example, Hidden, Row, RowOutput, collate
from ptune.config import Data
from ptune.data.corpora import load
from ptune.errors import DataError
from ptune.heads.linear import Linear
from ptune.heads.verbalizer import Verbalizer
from ptune.injection import Shape
from ptune.leaves import check_leaf, leaf
from ptune.readers import Record, delimited
from ptune.tasks import Prediction

ROOT = Path(__file__).parents[1]


def task_of(name: str, **more):
    """The shipped task, with some settings changed."""
    node = yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")) | more
    assert not [*check_leaf("task", node, ())]
    return leaf(node)


def local(name: str, root: Path, files: dict[str, str]):
    """The corpus of a task from some files below a folder."""
    for place, text in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8", newline="")
    return load(task_of(name), Data(source="local", root=str(root)))


def golds(corpus) -> dict[str, list]:
    return {split: [e.gold for e in examples] for split, examples in corpus.splits.items()}


def tsv(*rows: str) -> str:
    """Lines whose cells stand apart by |."""
    return "".join(row.replace("|", "\t") + "\n" for row in rows)


PARSES = "sentence1_binary_parse|sentence2_binary_parse|sentence1_parse|sentence2_parse"
MNLI = f"index|promptID|pairID|genre|{PARSES}|sentence1|sentence2"
STSB = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"
# the files of each task as its owner distributes them: a row of train and dev, one of test
FILES = {
    "cola": {
        "CoLA/train.tsv": tsv("gj04|1||They drank the pub.", 'gj04|0|*|"So they.'),
        "CoLA/dev.tsv": tsv("gj04|1||He ran."),
        "CoLA/test.tsv": tsv("index|sentence", "0|Bill ran."),
    },
    "sst2": {
        "SST-2/train.tsv": tsv("sentence|label", "so dull |0", "fine |1"),
        "SST-2/dev.tsv": tsv("sentence|label", "good .|1"),
        "SST-2/test.tsv": tsv("index|sentence", "0|who knows ."),
    },
    "mrpc": {
        "MRPC/train.tsv": "\ufeff" + tsv("Quality|#1 ID|#2 ID|#1 String|#2 String", '1|7|8|A "b|B a', "0|7|9|A|C"),
        "MRPC/dev.tsv": "\ufeff" + tsv("Quality|#1 ID|#2 ID|#1 String|#2 String", "1|7|8|A|B"),
        "MRPC/test.tsv": "\ufeff" + tsv("index|#1 ID|#2 ID|#1 String|#2 String", "0|7|8|A|B"),
    },
    "qqp": {
        "QQP/train.tsv": tsv("id|qid1|qid2|question1|question2|is_duplicate", "0|1|2|A?|B?|0", "1|3|4|C?|D", "E?|1",
                             "2|5|6|F?|G?|1"),
        "QQP/dev.tsv": tsv("id|qid1|qid2|question1|question2|is_duplicate", "0|1|2|A?|B?|1"),
        "QQP/test.tsv": tsv("id|question1|question2", "0|A?|B?"),
    },
    "stsb": {
        "STS-B/train.tsv": tsv(f"{STSB}|score", "0|g|f|2012|1|none|none|A.|B.|5.000",
                               "1|g|f|2012|2|none|none|A.|C.|0.8"),
        "STS-B/dev.tsv": tsv(f"{STSB}|score", "0|g|f|2012|1|none|none|A.|B.|2.500"),
        "STS-B/test.tsv": tsv(STSB, "0|g|f|2012|1|none|none|A.|B."),
    },
    "mnli": {
        "MNLI/train.tsv": tsv(f"{MNLI}|label1|gold_label", "0|1|1e|fiction|x|x|x|x|P.|H.|entailment|entailment",
                              "1|1|1n|fiction|x|x|x|x|P.|G.|neutral|neutral"),
        "MNLI/dev_matched.tsv": tsv(f"{MNLI}|label1|label2|label3|label4|label5|gold_label",
                                    "0|1|1c|fiction|x|x|x|x|P.|H.|neutral|" + "contradiction|" * 4 + "contradiction"),
        "MNLI/dev_mismatched.tsv": tsv(f"{MNLI}|label1|label2|label3|label4|label5|gold_label",
                                       "0|1|1c|letters|x|x|x|x|P.|H.|" + "entailment|" * 5 + "entailment"),
        "MNLI/test_matched.tsv": tsv(MNLI, "0|1|1e|fiction|x|x|x|x|P.|H."),
        "MNLI/test_mismatched.tsv": tsv(MNLI, "0|1|1e|letters|x|x|x|x|P.|H."),
    },
    "qnli": {
        "QNLI/train.tsv": tsv("index|question|sentence|label", "0|Q?|S.|entailment", "1|Q?|T.|not_entailment"),
        "QNLI/dev.tsv": tsv("index|question|sentence|label", "0|Q?|S.|entailment"),
        "QNLI/test.tsv": tsv("index|question|sentence", "0|Q?|S."),
    },
    "glue_rte": {
        "RTE/train.tsv": tsv("index|sentence1|sentence2|label", "0|P.|H.|entailment", "1|P.|G.|not_entailment"),
        "RTE/dev.tsv": tsv("index|sentence1|sentence2|label", "0|P.|H.|entailment"),
        "RTE/test.tsv": tsv("index|sentence1|sentence2", "0|P.|H."),
    },
    "wnli": {
        "WNLI/train.tsv": tsv("index|sentence1|sentence2|label", "0|P.|H.|1", "1|P.|G.|0"),
        "WNLI/dev.tsv": tsv("index|sentence1|sentence2|label", "0|P.|H.|1"),
        "WNLI/test.tsv": tsv("index|sentence1|sentence2", "0|P.|H."),
    },
    "snli": {
        f"snli_1.0/snli_1.0_{split}.jsonl": "".join(
            json.dumps({"annotator_labels": [label], "captionID": "1", "gold_label": label, "pairID": "1",
                        "sentence1": "P.", "sentence1_parse": "(ROOT P)", "sentence2": f"{label}."}) + "\n"
            for label in labels
        )
        for split, labels in (
            ("train", ("entailment", "-", "neutral")), ("dev", ("neutral",)), ("test", ("-", "neutral"))
        )
    },
    "sst5": {"sst-5/train.csv": '0,"so, ""dull"""\n4,great\n', "sst-5/test.csv": "2,well\n"},
    "mr": {"mr/train.csv": "0,dull\n1,fine\n", "mr/test.csv": '1,"good, so"\n'},
    "cr": {"cr/train.csv": "0,broke\n1,works\n", "cr/test.csv": "1,cheap\n"},
    "mpqa": {"mpqa/train.csv": "0,blamed\n1,praised\n", "mpqa/test.csv": "1,full of hope\n"},
    "subj": {"subj/train.csv": "0,dull\n1,he leaves\n", "subj/test.csv": "1,she stays\n"},
    "trec": {"trec/train.csv": "0,How ?\n5,When ?\n", "trec/test.csv": "2,What is NATO ?\n"},
}  # fmt: skip
GOLD = {  # of train, and of dev
    "cola": (["acceptable", "unacceptable"], ["acceptable"]),
    "sst2": (["negative", "positive"], ["positive"]),
    "mrpc": (["equivalent", "not_equivalent"], ["equivalent"]),
    "qqp": (["not_duplicate", "duplicate"], ["duplicate"]),
    "stsb": ([5.0, 0.8], [2.5]),
    "mnli": (["entailment", "neutral"], ["contradiction"]),
    "qnli": (["entailment", "not_entailment"], ["entailment"]),
    "glue_rte": (["entailment", "not_entailment"], ["entailment"]),
    "wnli": (["entailment", "not_entailment"], ["entailment"]),
    "snli": (["entailment", "neutral"], ["neutral"]),
    "sst5": (["very negative", "very positive"], ["neutral"]),
    "mr": (["neg", "pos"], ["pos"]),
    "cr": (["negative", "positive"], ["positive"]),
    "mpqa": (["negative", "positive"], ["positive"]),
    "subj": (["subjective", "objective"], ["objective"]),
    "trec": (["DESC", "NUM"], ["ABBR"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_as_distributed(name, tmp_path):
    """Headers or none, other columns in test, quotes that are text, and labels by their names."""
    corpus = local(name, tmp_path, FILES[name])
    found = golds(corpus)
    assert (found["train"], found["dev"]) == GOLD[name]
    unlabeled = any("test" in place and place.endswith(".tsv") for place in FILES[name])
    assert corpus.labeled("test") is not unlabeled
    fields = task_of(name).fields
    assert all(list(e.fields) == fields and all(e.fields.values()) for e in corpus.splits["train"])
    assert [e.id for e in corpus.splits["train"]] == ["0", "1"]


def test_quotation_marks_are_text(tmp_path):
    assert local("cola", tmp_path, FILES["cola"]).splits["train"][1].fields == {"sentence": '"So they.'}
    first = local("mrpc", tmp_path, FILES["mrpc"]).splits["train"][0]
    assert first.fields == {"sentence1": 'A "b', "sentence2": "B a"}
    assert local("sst5", tmp_path, FILES["sst5"]).splits["train"][0].fields == {"sentence": 'so, "dull"'}


def test_rows_left_out_are_counted(tmp_path):
    """The halves of QQP's broken rows, and SNLI's pairs without a gold label, in train and test."""
    assert local("qqp", tmp_path, FILES["qqp"]).origin["left_out"] == {"train": 2}
    assert local("snli", tmp_path, FILES["snli"]).origin["left_out"] == {"train": 1, "test": 1}
    assert "left_out" not in local("mrpc", tmp_path, FILES["mrpc"]).origin


def test_mnli_has_two_dev_sets(tmp_path):
    """data.max_dev is for both; one stands beside the other."""
    more = FILES["mnli"]["MNLI/dev_mismatched.tsv"].splitlines(keepends=True)
    corpus = local("mnli", tmp_path, {**FILES["mnli"], "MNLI/dev_mismatched.tsv": "".join([*more, more[1]])})
    assert golds(corpus)["dev_mismatched"] == ["entailment", "entailment"]
    assert corpus.companion_splits("dev") == ["dev_mismatched"]
    assert corpus.companion_splits("test") == []
    cut = load(task_of("mnli"), Data(source="local", root=str(tmp_path), max_dev=1))
    assert golds(cut)["dev_mismatched"] == ["entailment"]


# The Hub


def class_label(name: str) -> datasets.ClassLabel:
    names = {"mr": ["neg", "pos"]}.get(name) or task_of(name).labels
    return datasets.ClassLabel(names=names)


HUB = {  # a row of each split with the Hub's columns; the label is the index in GOLD's dev
    "cola": {"sentence": "He ran."},
    "sst2": {"sentence": "good ."},
    "mrpc": {"sentence1": "A", "sentence2": "B"},
    "qqp": {"question1": "A?", "question2": "B?"},
    "stsb": {"sentence1": "A.", "sentence2": "B."},
    "mnli": {"premise": "P.", "hypothesis": "H."},
    "qnli": {"question": "Q?", "sentence": "S."},
    "glue_rte": {"sentence1": "P.", "sentence2": "H."},
    "wnli": {"sentence1": "P.", "sentence2": "H."},
    "snli": {"premise": "P.", "hypothesis": "neutral."},
    "sst5": {"text": "well", "label_text": "neutral"},
    "mr": {"text": "good, so"},
    "cr": {"text": "cheap", "label_text": "positive"},
    "subj": {"text": "she stays", "label_text": "objective"},
    "trec": {"text": "What is NATO ?", "fine_label": 0},
}


@pytest.mark.parametrize("name", HUB)
def test_hub_and_files_give_the_same(name, tmp_path, monkeypatch):
    """A row of dev; another configuration that lies in the same snapshot is not read."""
    task, gold = task_of(name), GOLD[name][1][0]
    hub = task.source["hub"]
    label = "coarse_label" if name == "trec" else "label"
    if name == "stsb":
        row, table = {**HUB[name], label: gold}, datasets.Dataset.from_list([{**HUB[name], label: gold}])
    elif "label_text" in HUB[name]:
        table = datasets.Dataset.from_list([{**HUB[name], label: task.labels.index(gold)}])
    else:
        row = {**HUB[name], label: task.labels.index(gold)}
        table = datasets.Dataset.from_list([row]).cast_column(label, class_label(name))
    config = hub.get("config") or "default"
    for theirs in set(hub["splits"].values()):
        if hub.get("format") == "jsonl":
            (tmp_path / "hub").mkdir(exist_ok=True)
            table.to_json(str(tmp_path / "hub" / f"{theirs}.jsonl"))
        else:
            table.to_parquet(str(tmp_path / "hub" / config / f"{theirs}-00000-of-00001.parquet"))
    if hub.get("config"):
        table.remove_columns(label).to_parquet(str(tmp_path / "hub" / "other" / "validation-00000-of-00001.parquet"))
    monkeypatch.setattr("ptune.hub.Files.fetch", lambda *_, **__: tmp_path / "hub")
    found = load(task, Data(source="hub"))
    assert found.splits["dev"] == local(name, tmp_path / "local", FILES[name]).splits["dev"]
    assert set(found.splits) == set(hub["splits"])


def test_unlabeled_rows_of_the_hub(tmp_path, monkeypatch):
    """-1 is no label: SNLI's are left out, STS-B's test has none."""
    snli = datasets.Dataset.from_list([{**HUB["snli"], "label": label} for label in (-1, 1)])
    for theirs in ("train", "validation", "test"):
        path = tmp_path / "snli" / "plain_text" / f"{theirs}-00000-of-00001.parquet"
        snli.cast_column("label", class_label("snli")).to_parquet(str(path))
        one = datasets.Dataset.from_list([{**HUB["stsb"], "label": -1.0 if theirs == "test" else 2.5}])
        one.to_parquet(str(tmp_path / "stsb" / "stsb" / f"{theirs}-00000-of-00001.parquet"))
    monkeypatch.setattr("ptune.hub.Files.fetch", lambda *_, **__: tmp_path / "snli")
    found = load(task_of("snli"), Data(source="hub"))
    assert found.origin["left_out"] == {"train": 1, "dev": 1, "test": 1}
    assert golds(found)["train"] == ["neutral"]
    monkeypatch.setattr("ptune.hub.Files.fetch", lambda *_, **__: tmp_path / "stsb")
    assert golds(load(task_of("stsb"), Data(source="hub"))) == {"train": [2.5], "dev": [2.5], "test": [None]}


# Bad rows


@pytest.mark.parametrize(
    ("name", "place", "text", "message"),
    [
        ("cola", "CoLA/train.tsv", tsv("gj04|1||He ran.", "gj04|1|He ran."),
         ":2: 3 columns where 4 are needed (origin, label, mark, sentence)"),
        ("cola", "CoLA/train.tsv", tsv("gj04|2||He ran."), ":1: '2' in column 'label'; one of: 0, 1"),
        ("cola", "CoLA/test.tsv", tsv("index|text", "0|He ran."), ":1: no column 'sentence'; one of: index, text"),
        ("mrpc", "MRPC/dev.tsv", tsv("quality|#1 ID|#2 ID|#1 String|#2 String", "1|7|8|A|B"),
         ":1: no column 'Quality'; did you mean 'quality'?"),
        ("qqp", "QQP/train.tsv", tsv("id|qid1|qid2|question1|question2|is_duplicate", "0|1|2|A?|B|C?|0"),
         ":2: 7 columns where 6 are needed (id, qid1, qid2, question1, question2, is_duplicate)"),
        ("qqp", "QQP/test.tsv", tsv("id|question1|question2", "0|A?"),
         ":2: 2 columns where 3 are needed (id, question1, question2)"),
        ("stsb", "STS-B/dev.tsv", tsv(f"{STSB}|score", "0|g|f|2012|1|none|none|A.|B.|5.2"),
         ":2: '5.2' in 'label'; stsb needs a number from 0 to 5"),
        ("stsb", "STS-B/dev.tsv", tsv(f"{STSB}|score", "0|g|f|2012|1|none|none|A.|B.|high"),
         ":2: 'high' in 'label'; stsb needs a number from 0 to 5"),
        ("qnli", "QNLI/dev.tsv", tsv("index|question|sentence|label", "0|Q?|S.|entails"),
         ":2: 'entails' is not a label of qnli; did you mean 'entailment'?"),
        ("sst5", "sst-5/train.csv", '0,"dull\n', ":1: not a row of a table (unexpected end of data)"),
        ("mr", "mr/train.csv", "dull,0\n", ":1: 'dull' in column 'label'; one of: 0, 1"),
        ("snli", "snli_1.0/snli_1.0_dev.jsonl", '{"gold_label": "neutral", "sentence1": "P."}\n',
         ":1: no text in 'hypothesis'; snli needs premise, hypothesis"),
    ],
)  # fmt: skip
def test_mistakes(name, place, text, message, tmp_path):
    """One line with the place and what would be right."""
    with pytest.raises(DataError) as caught:
        local(name, tmp_path, {**FILES[name], place: text})
    assert str(caught.value) == f"{tmp_path / place}{message}"


def test_a_bare_carriage_return_is_text(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\r\none\rtwo\t2\r\n", encoding="utf-8", newline="")
    assert [r.values for r in delimited.read(tmp_path / "x.tsv")] == [{"a": "one\rtwo", "b": "2"}]


# Metrics


def test_f1_is_of_the_second_label():
    """By hand: of 3 duplicates 2 are found, and 1 is no duplicate."""
    task = task_of("qqp")
    gold, found = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]
    examples = [Example(str(i), {}, task.labels[g]) for i, g in enumerate(gold)]
    predictions = [Prediction(task.labels[f]) for f in found]
    assert task.score(examples, predictions) == pytest.approx({"f1": 200 / 3, "accuracy": 60.0})
    low, high = task.interval(examples * 20, predictions * 20)
    assert 50 < low < 200 / 3 < high < 80
    problems = [*task_of("mnli", metrics=["f1"]).problems()]
    assert problems == [("metrics", "f1 is for two labels, but mnli has 3")]


def test_correlations():
    """Those of scipy, times 100; 0 where one side is constant; the fast one is the same."""
    rng = np.random.default_rng(0)
    gold = rng.uniform(0, 5, 200)
    found = gold + rng.normal(0, 2, 200)
    task = task_of("stsb")
    examples = [Example(str(i), {}, float(g)) for i, g in enumerate(gold)]
    predictions = [Prediction(float(f)) for f in found]
    scores = task.score(examples, predictions)
    assert scores == pytest.approx(
        {"pearson": 100 * pearsonr(gold, found)[0], "spearman": 100 * spearmanr(gold, found)[0]}
    )
    assert metrics.correlation(metrics.products(gold, found).sum(0)) == pytest.approx(scores["pearson"])
    low, high = task.interval(examples, predictions)
    assert low < scores["pearson"] < high
    majority = task.majority(examples)
    assert majority(examples[0]).value == pytest.approx(gold.mean(), abs=1e-6)
    assert task.score(examples, [majority(e) for e in examples]) == {"pearson": 0.0, "spearman": 0.0}
    assert metrics.pearson([1.0], [2.0]) == metrics.spearman([1.0], [2.0]) == 0.0


# Numbers on a scale


def test_regress():
    task = task_of("stsb")
    values = {"sentence1": "A.", "sentence2": "B.", "label": "3.200"}
    example = task.example(Record("x:1", values), 4)
    assert (example.id, example.gold, task.target(example), task.tally(example)) == ("4", 3.2, 3.2, ["3"])
    assert task.target(task.example(Record("x:1", {**values, "label": None}), 4)) is None
    assert task.decode(example, [RowOutput(0, np.array([1.0])), RowOutput(0, np.array([2.0]))]).value == 1.5
    assert task.labels == ["0", "5"]
    for scale in ([5, 0], [0], [1, 1]):
        assert [key for key, _ in task_of("stsb", scale=scale).problems()] == ["scale"]


@pytest.mark.parametrize(("scale", "gold"), [([0, 5], None), ([-1, 1], -1.0), ([-3, 3], -1.0)])
def test_minus_one_is_a_number_where_the_scale_has_it(scale, gold):
    """Elsewhere it says that there is none, as on the Hub."""
    task = task_of("stsb", scale=scale)
    for label in (-1, -1.0):
        assert task.gold(Record("x:1", {"label": label})) == gold
    with pytest.raises(DataError, match="'-9' in 'label'"):
        task.gold(Record("x:1", {"label": -9}))


def scalar_batch(*targets: float | None):
    """Rows of three tokens, the second of them a mask."""
    rows = [Row(i, [2, 4, 3], [0] * 3, {"cls": [0], "mask": [1]}, target=t) for i, t in enumerate(targets)]
    return collate(rows, 0)


SHAPE = Shape(layers=1, heads=1, head_dim=4, hidden=4, embed=4, positions=16, vocab=9, lm_head=True, pooler=False)


def test_linear_number():
    """One output; its loss is the squared error on the scale, of rows that have a number."""
    head = Linear(SHAPE, ["0", "5"], "scalar", dropout=0.0)
    batch = scalar_batch(4.0, None, 1.0)
    assert batch.target.tolist() == [4.0, float(IGNORED), 1.0]
    assert batch.labels == 2
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.fill_(2.0)
    states = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0))
    total, labels = head.loss(Hidden(states, None), batch)
    assert (float(total.detach()), labels) == (2.0**2 + 1.0**2, 2)
    with torch.inference_mode():
        found = head.outputs(Hidden(states, None), batch)
    assert [output.scores.tolist() for output in found] == [[2.0]] * 3
    assert head.linear.out_features == 1


def test_verbalizer_number():
    """Between its two words by their share of the mass; the loss is the cross-entropy with the share of the target."""
    head = Verbalizer(SHAPE, ["0", "5"], "scalar", {"yes_no": {"5": ["yes"], "0": ["no"]}}, {"no": [7], "yes": [8]}.get)
    logits = torch.tensor([[0.0, np.log(3.0)], [1.0, 1.0]])
    hidden = Hidden(torch.zeros(2, 3, 4), lambda _, ids: logits[:, [int(i) - 7 for i in ids]])
    batch = scalar_batch(5.0, 1.0)
    assert [float(o.scores[0]) for o in head.outputs(hidden, batch)] == pytest.approx([3.75, 2.5])
    total, labels = head.loss(hidden, batch)
    assert float(total) == pytest.approx(-np.log(0.75) - np.log(0.5))
    assert labels == 2


# Runs on the demo


SMALL = ("data=demo", "data.demo.train=64", "data.demo.dev=20", "data.demo.test=10", "backbone=tiny_encoder",
         "epochs=1", "tracker=none", "quiet=true")  # fmt: skip


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", ["ptv2", "finetune", "pattern_finetune", "zero_shot", "majority"])
def test_stsb_runs(ptune, method, tmp_path):
    """With a linear head, a pooled one, two words, no training, and the mean of training."""
    folder = tmp_path / "run"
    assert ptune("train", f"method={method}", "task=stsb", *SMALL, f"hydra.run.dir={folder}").code == 0
    found = result(folder)
    assert found["metric"] == "pearson"
    assert -100 <= found["score"] <= 100
    assert set(found["best"]["report"]) == {"pearson", "spearman"}
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(isinstance(row["prediction"], float) and 0 <= row["gold"] <= 5 for row in rows)
    if method in ("pattern_finetune", "zero_shot"):
        assert all(0 <= row["prediction"] <= 5 for row in rows)
    if method != "majority":
        assert len({row["prediction"] for row in rows}) > 10
        done = ptune("eval", f"run={folder}", "split=dev")
        assert done.code == 0
        again = json.loads((folder / "eval_dev.json").read_text(encoding="utf-8"))["scores"]
        assert again == pytest.approx(found["best"]["report"])


def test_mnli_is_reported_on_both_dev_sets(ptune, tmp_path):
    """Matched is the score, mismatched stands beside it; ptune eval says the same."""
    folder = tmp_path / "run"
    assert ptune("train", "method=ptv2", "task=mnli", *SMALL, f"hydra.run.dir={folder}").code == 0
    beside = result(folder)["best"]["beside"]
    assert set(beside) == {"dev_mismatched"}
    assert ptune("eval", f"run={folder}", "split=dev_mismatched").code == 0
    again = json.loads((folder / "eval_dev_mismatched.json").read_text(encoding="utf-8"))["scores"]
    assert again == beside["dev_mismatched"]


def test_left_out_rows_are_told(ptune, tmp_path, monkeypatch):
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    done = ptune("data", "info", "task=qqp", "data.demo.train=800", "data.demo.dev=20", "data.demo.test=10")
    assert done.code == 0
    assert "left out of train: 4 rows (task.source.leave_out)" in done.out
