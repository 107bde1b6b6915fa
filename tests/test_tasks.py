"""Tasks: tags of either scheme become IOB2, wrong labels are named with the nearest one, rows are joined."""

from __future__ import annotations

import numpy as np
import pytest

from ptune import demo, metrics
from ptune.batch import Example, RowOutput
from ptune.config import Data, Demo
from ptune.data import corpora
from ptune.errors import DataError
from ptune.leaves import leaf
from ptune.readers import Record
from ptune.tasks import Prediction
from ptune.tasks.classify import Classify
from ptune.tasks.tag import Tag

TYPES = ["PER", "ORG", "LOC", "MISC"]


@pytest.fixture
def tag():
    """A tagging task by its files' scheme."""
    return lambda scheme="iob1": Tag("conll03", 1, {}, TYPES, scheme=scheme)


@pytest.fixture
def cb():
    """CB, with both of its metrics."""
    return Classify(
        "cb",
        1,
        {},
        ["premise", "hypothesis"],
        ["entailment", "contradiction", "neutral"],
        metrics=["accuracy", "f1_macro"],
    )


def record(**values) -> Record:
    return Record("train.txt:7", values)


def tags(task: Tag, line: str) -> str:
    words = line.split()
    return " ".join(task.example(record(tokens=words, tags=words), 0).gold)


def error(task, **values) -> str:
    with pytest.raises(DataError) as caught:
        task.example(record(**values), 0)
    return str(caught.value)


# Tags


@pytest.mark.parametrize(
    ("iob1", "iob2"),
    [
        ("O O", "O O"),
        ("I-PER I-PER O", "B-PER I-PER O"),  # at the sentence's start
        ("O I-LOC", "O B-LOC"),  # after O
        ("I-PER B-PER I-PER", "B-PER B-PER I-PER"),  # touching entities of one type
        ("I-PER I-LOC I-LOC", "B-PER B-LOC I-LOC"),  # touching entities of two types
        ("I-PER B-LOC I-LOC", "B-PER B-LOC I-LOC"),
        ("B-PER I-PER B-PER", "B-PER I-PER B-PER"),
        ("I-PER O I-PER", "B-PER O B-PER"),
    ],
)
def test_iob1_becomes_iob2(tag, iob1, iob2):
    """B- at every start; what is IOB2 already stays."""
    assert tags(tag("iob1"), iob1) == iob2
    assert tags(tag("iob1"), iob2) == iob2
    assert tags(tag("iob2"), iob2) == iob2


@pytest.mark.parametrize("line", ["I-PER O", "O I-PER", "B-LOC I-PER", "B-PER O I-PER"])
def test_iob2_is_checked(tag, line):
    """A file said to be IOB2 that opens an entity with I- is more likely IOB1 than right."""
    words = line.split()
    at = next(i for i, word in enumerate(words, 1) if word == "I-PER")
    assert error(tag("iob2"), tokens=words, tags=words) == (
        f"train.txt:7: 'I-PER' (token {at}) opens an entity, which IOB2 marks with B-; "
        "if the file is IOB1, set task.scheme=iob1"
    )


def test_tag_errors(tag):
    """Each names the place, the token and what would be right."""
    task = tag()
    assert error(task, tokens=["a", "b"], tags=["O", "S-PER"]) == (
        "train.txt:7: 'S-PER' (token 2) is not a tag; use O, B-TYPE or I-TYPE; if the file is BIOES, set "
        "task.scheme=bioes"
    )
    for odd in ("", "o", "B-", "PER", "B-PER x", 3):
        assert (
            error(task, tokens=["a"], tags=[odd])
            == f"train.txt:7: '{odd}' (token 1) is not a tag; use O, B-TYPE or I-TYPE"
        )
    assert error(task, tokens=["a"], tags=["B-PERS"]) == (
        "train.txt:7: 'B-PERS' (token 1) is not a type of conll03; did you mean 'PER'?"
    )
    assert error(task, tokens=["a"], tags=["B-animal"]) == (
        "train.txt:7: 'B-animal' (token 1) is not a type of conll03; one of: PER, ORG, LOC, MISC"
    )
    assert error(task, tokens=["a", "b"], tags=["O"]) == "train.txt:7: 2 tokens but 1 tags"
    missing = "train.txt:7: no tokens; conll03 needs a list of words in 'tokens'"
    for values in ({}, {"tokens": []}, {"tokens": "a b"}, {"tokens": ["a", 1]}, {"tokens": [None]}):
        assert error(task, **values) == missing


def test_tag_example(tag):
    """Targets index the labels; without tags there is no gold and no target."""
    task = tag()
    assert task.labels == ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]
    example = task.example(record(tokens=["Ann", "Lee", "ran"], tags=["I-PER", "I-PER", "O"]), 3)
    assert (example.id, task.target(example)) == ("3", [1, 2, 0])
    bare = task.example(record(tokens=["Ann"]), 0)
    assert bare.gold is None
    assert task.target(bare) is None


def output(start: int, *best: int) -> RowOutput:
    return RowOutput(0, np.eye(9)[list(best)], start)


def test_tag_decode(tag):
    """Windows are put together at the word where each starts; words that no row reads are O."""
    task, example = tag(), Example("0", {"tokens": list("abcdef")})
    assert task.decode(example, [output(0, 1, 2), output(2, 0, 5), output(4, 6, 0)]).value == [
        "B-PER",
        "I-PER",
        "O",
        "B-LOC",
        "I-LOC",
        "O",
    ]
    assert task.decode(example, [output(4, 6, 0), output(2, 0, 5), output(0, 1, 2)]).value == [
        "B-PER",
        "I-PER",
        "O",
        "B-LOC",
        "I-LOC",
        "O",
    ]
    assert task.decode(example, [output(0, 1, 2)]).value == ["B-PER", "I-PER", "O", "O", "O", "O"]


def test_tag_score(tag):
    """By hand: two of three found entities are right, of four."""
    task = tag()
    gold = [["B-PER", "I-PER", "O"], ["B-LOC", "B-LOC"], ["B-ORG"]]
    found = [["B-PER", "I-PER", "O"], ["B-LOC", "I-LOC"], ["B-ORG"]]
    examples = [Example(str(i), {"tokens": tags}, tags) for i, tags in enumerate(gold)]
    scores = task.score(examples, [Prediction(tags) for tags in found])
    assert next(iter(scores)) == task.headline == "f1"
    assert set(scores) == set(task.score_names)
    assert scores == pytest.approx({"f1": 400 / 7, "precision": 200 / 3, "recall": 50.0, "f1_strict": 400 / 7})


def test_tag_majority_and_parse(tag):
    """O is said of every word; a line of text is words between spaces."""
    task = tag()
    majority = task.majority([Example("0", {"tokens": ["a", "b"]}, ["B-PER", "O"]), Example("1", {}, ["O", "O"])])
    assert majority(Example("2", {"tokens": ["x", "y", "z"]})).value == ["O", "O", "O"]
    assert task.parse("U.N.  official Ekeus") == {"tokens": ["U.N.", "official", "Ekeus"]}
    with pytest.raises(DataError, match=r"^an empty line; conll03 needs words separated by spaces$"):
        task.parse(" ")


# Classes


def test_classify_example(cb):
    """Fields, gold and the file's own id."""
    example = cb.example(record(premise="p", hypothesis="h", label="neutral", idx=12), 3)
    assert example == Example("12", {"premise": "p", "hypothesis": "h"}, "neutral")
    assert cb.target(example) == 2
    bare = cb.example(record(premise="p", hypothesis="h"), 3)
    assert (bare.id, bare.gold, cb.target(bare)) == ("3", None, None)


def test_classify_errors(cb):
    """Each names the place and what would be right."""
    for values in ({"premise": "p"}, {"premise": "p", "hypothesis": 3}, {"premise": "p", "hypothesis": None}):
        assert error(cb, **values) == "train.txt:7: no text in 'hypothesis'; cb needs premise, hypothesis"
    pair = {"premise": "p", "hypothesis": "h"}
    assert error(cb, **pair, label="entailmant") == (
        "train.txt:7: 'entailmant' is not a label of cb; did you mean 'entailment'?"
    )
    for odd in (True, 1, [], {}, "x"):
        assert error(cb, **pair, label=odd) == (
            f"train.txt:7: '{odd}' is not a label of cb; one of: entailment, contradiction, neutral"
        )


def test_classify_decode(cb):
    """The best label; several rows of an example are averaged; every label has its score."""
    example = Example("0", {"premise": "p", "hypothesis": "h"})
    one = cb.decode(example, [RowOutput(0, np.array([0.1, 2.0, 0.3]))])
    assert one.value == "contradiction"
    assert one.scores == pytest.approx({"entailment": 0.1, "contradiction": 2.0, "neutral": 0.3})
    two = cb.decode(example, [RowOutput(0, np.array([0.0, 1.0, 0.0])), RowOutput(0, np.array([0.0, 0.0, 3.0]))])
    assert two.value == "neutral"


def test_classify_score(cb):
    """By hand: 3 of 4 right; F1 of the classes 1, 2/3 and 0."""
    gold, found = (
        ["entailment", "neutral", "entailment", "neutral"],
        ["entailment", "neutral", "entailment", "contradiction"],
    )
    examples = [Example(str(i), {}, label) for i, label in enumerate(gold)]
    predictions = [Prediction(label) for label in found]
    assert cb.score(examples, predictions) == pytest.approx({"accuracy": 75.0, "f1_macro": 100 * (1 + 0 + 2 / 3) / 3})
    low, high = cb.interval(examples, predictions)
    assert 0 < low < 75 < high < 100
    macro = Classify("cb", 1, {}, ["premise"], cb.labels, metrics=["f1_macro"])
    low, high = macro.interval(examples, predictions)
    assert low <= 500 / 9 <= high
    assert (low, high) == macro.interval(examples, predictions)


def test_classify_majority_and_parse(cb):
    """Ties go to the label that stands first; texts are split at tabs."""
    train = [Example("0", {}, "neutral"), Example("1", {}, "contradiction")]
    assert cb.majority(train)(train[0]).value == "contradiction"
    assert cb.parse("a b\tc") == {"premise": "a b", "hypothesis": "c"}
    with pytest.raises(
        DataError, match=r"^1 text where cb needs 2, separated by tabs: premise, hypothesis; other forms: "
    ):
        cb.parse("a b")


SCORED = {
    "cb": ["accuracy", "f1_macro"],
    "mrpc": ["f1", "accuracy"],
    "cola": ["mcc"],
    "stsb": ["pearson", "spearman"],
    "multirc": ["f1a", "em", "f1m"],
    "superglue_axg": ["parity", "accuracy"],
    "copa": ["accuracy"],
    "record": ["f1", "em"],
    "squad": ["f1", "exact_match"],
    "squad_v2": ["f1", "exact"],
    "wnut17": ["f1", "precision", "recall", "f1_strict"],
    "conll05": ["f1", "precision", "recall", "f1_seqeval", "f1_seqeval_no_v"],
}
WITHOUT = {"squad_v2": ["best_f1", "best_exact"]}


def said(task, examples):
    """Half of the predictions right, the others those of the example before."""
    found = []
    for i, example in enumerate(examples):
        gold = examples[i - i % (3 if task.name == "superglue_axg" else 2)].gold
        if task.readout == "span":
            gold = (gold["text"] or [""])[0]
        elif task.name == "record":
            gold = gold[0]
        elif task.readout == "token":
            gold = [*gold, *["I-" + task.types[0]] * len(example.gold)][: len(example.gold)]
        elif task.readout == "scalar":
            gold = gold + i % 3 / 7
        found.append(Prediction(gold, {"null_odds": float(i)} if task.name == "squad_v2" else None))
    return found


@pytest.mark.parametrize("name", SCORED)
def test_an_interval_is_of_the_score_that_it_stands_beside(name, settings, monkeypatch, tmp_path_factory):
    """On the examples themselves the share, or what is resampled, is the score to the last digits."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path_factory.getbasetemp() / "intervals"))
    words = ["method=majority", "data=demo"] if name != "superglue_axg" else ["method=majority"]
    task = leaf(settings(f"task={name}", *words).task)
    sizes = {split: 30 for split in ("train", "dev", "test") if split in demo.splits(name)}
    corpus = corpora.load(task, Data(source="demo", demo=Demo(**sizes)))
    examples = corpus.splits["dev" if "dev" in corpus.splits else "test"]
    predictions = said(task, examples)
    scores = task.score(examples, predictions)
    assert sorted([*SCORED[name], *WITHOUT.get(name, [])]) == sorted(task.score_names)
    monkeypatch.setattr(metrics, "binomial", lambda right, n: (100 * right / n, 0.0))
    monkeypatch.setattr(metrics, "bootstrap", lambda statistic, n: (statistic(np.arange(n)), float(n)))
    for score in SCORED[name]:
        assert 0 < scores[score] < 100
        assert task.interval(examples, predictions, score)[0] == pytest.approx(scores[score], abs=1e-9)
    assert task.interval(examples, predictions) == task.interval(examples, predictions, task.headline)
    assert [task.interval(examples, predictions, score) for score in WITHOUT.get(name, [])] in ([], [None, None])
