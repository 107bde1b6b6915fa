"""Metrics equal the field's official programs to the last digit they print; intervals cover and are repeatable."""

from __future__ import annotations

import json
import random
import re
import warnings

import numpy as np
import pytest
from seqeval.metrics import classification_report
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import f1_score as sklearn_f1

from ptune import metrics
from ptune.readers import Record
from ptune.tasks.tag import Tag

TYPES = ["PER", "ORG", "LOC", "MISC"]
conll03 = Tag("conll03", 1, {}, TYPES, scheme="iob1")


def iob2(sentences: list[list[str]]) -> list[list[str]]:
    """Tags as the reader of CoNLL-2003 gives them."""
    return [conll03.example(Record("x:1", {"tokens": tags, "tags": tags}), 0).gold for tags in sentences]


@pytest.fixture(params=range(4))
def vector(request, shared):
    """Noisy tags and what conlleval printed of them."""
    return json.loads((shared / "vectors" / f"ner_conlleval_{request.param}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("convert", [lambda tags: tags, iob2], ids=["as in the file", "gold as the reader gives it"])
def test_conlleval(vector, convert):
    """Our figures are conlleval's, on its IOB1 gold and on the same gold as IOB2."""
    printed = dict(re.findall(r"(\w+): +([\d.]+)", vector["official"]["line"]))
    found = metrics.spans(convert(vector["gold"]), vector["pred"])
    assert {name: f"{found[name]:.2f}" for name in ("precision", "recall", "f1")} == {
        "precision": printed["precision"],
        "recall": printed["recall"],
        "f1": printed["FB1"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(convert(vector["gold"]), vector["pred"], output_dict=True)
    by_type = {kind: f"{100 * report[kind]['f1-score']:.2f}" for kind in vector["official"]["f1_by_type"]}
    assert by_type == vector["official"]["f1_by_type"]


def tagged(rng: random.Random, sentences: int) -> list[list[str]]:
    """Random tags, legal or not."""
    tags = ["O", "O", "O"] + [f"{prefix}-{kind}" for prefix in "BI" for kind in TYPES[:2]]
    return [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(sentences)]


@pytest.mark.parametrize("seed", range(20))
def test_span_counts(seed):
    """The bootstrap's fast F1 is seqeval's."""
    rng = random.Random(seed)
    gold = tagged(rng, rng.randint(1, 30))
    noisy = tagged(rng, len(gold))
    predicted = [
        [g if rng.random() < 0.7 else p for g, p in zip(a, (b * 12)[: len(a)], strict=True)]
        for a, b in zip(gold, noisy, strict=True)
    ]
    counts = metrics.span_counts(gold, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = 100 * seqeval_f1(gold, predicted, zero_division=0)
    assert metrics.f1_of_counts(counts.sum(0)) == pytest.approx(expected, abs=1e-9)
    assert metrics.spans(gold, predicted)["f1"] == pytest.approx(expected, abs=1e-9)


def test_spans_without_entities():
    """Nothing to find and nothing found is 0, as conlleval prints, and no warning."""
    assert metrics.spans([["O", "O"]], [["O", "O"]]) == {
        "f1": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "f1_strict": 0.0,
    }
    assert metrics.f1_of_counts(metrics.span_counts([["O"]], [["O"]]).sum(0)) == 0.0


def test_strict_f1():
    """Strict mode wants entities to open with B-; the default takes what conlleval takes."""
    found = metrics.spans([["B-PER", "I-PER"]], [["I-PER", "I-PER"]])
    assert (found["f1"], found["f1_strict"]) == (100.0, 0.0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_macro_of_confusion(seed, classes):
    """Equals sklearn, classes that occur nowhere left out as sklearn leaves them out."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    gold, predicted = rng.integers(0, classes, n), rng.integers(0, classes, n)
    expected = 100 * sklearn_f1(gold, predicted, average="macro", zero_division=0)
    each = metrics.one_hot(gold * classes + predicted, classes**2)
    assert metrics.macro_of_confusion(each.sum(0)) == pytest.approx(expected, abs=1e-9)
    both = np.stack([each.sum(0), each[: n // 2].sum(0)])
    assert metrics.macro_of_confusion(both).tolist() == [metrics.macro_of_confusion(sums) for sums in both]
    names = np.array(["a", "b", "c", "d", "e"])
    assert metrics.f1_macro(names[gold].tolist(), names[predicted].tolist()) == pytest.approx(expected, abs=1e-9)
    assert metrics.accuracy(names[gold].tolist(), names[predicted].tolist()) == pytest.approx(
        100 * (gold == predicted).mean()
    )


def test_binomial():
    """Wilson's interval by its formula; inside 0 to 100 even at the ends."""
    n, z = 277, 1.959963984540054
    for correct in (0, 1, 150, 276, 277):
        share = correct / n
        center = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        low, high = metrics.binomial(correct, n)
        assert (low, high) == pytest.approx((100 * max(center - half, 0), 100 * min(center + half, 1)), abs=1e-9)
        assert 0 <= low <= 100 * share + 1e-9
        assert 100 * share - 1e-9 <= high <= 100


def test_bootstrap():
    """The same interval each time, around the figure, narrower with more examples, and as wide as theory says."""
    rng = np.random.default_rng(0)
    widths = {}
    for n in (100, 1600):
        right = (rng.random(n) < 0.7).astype(float)
        low, high = metrics.bootstrap(lambda rows, right=right: 100 * right[rows].mean(), n)
        assert (low, high) == metrics.bootstrap(lambda rows, right=right: 100 * right[rows].mean(), n)
        assert low < 100 * right.mean() < high
        widths[n] = high - low
        expected = 2 * 1.96 * 100 * np.sqrt(right.mean() * (1 - right.mean()) / n)
        assert widths[n] == pytest.approx(expected, rel=0.15)
    assert widths[1600] < widths[100] / 3


def test_bootstrap_covers():
    """In about 95 of 100 samples the interval holds the truth."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        right = (rng.random(200) < 0.6).astype(float)
        low, high = metrics.bootstrap(lambda rows, right=right: 100 * right[rows].mean(), 200)
        covered += low <= 60 <= high
    assert 88 <= covered <= 99
