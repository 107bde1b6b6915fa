"""No shortcut solves a demo corpus: a part of a row, its words or its places tell the label hardly better than chance.

What is measured is a classifier of words and pairs of words, learned on 3,000 rows and tried on 1,500 of dev.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rendering import questions, rows, words
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

LARGE = Callable[[str], Path]


def train_and_dev(large: LARGE, task: str) -> list[list[dict[str, Any]]]:
    return [rows(next(large(task).rglob(f"{name}.jsonl"))) for name in ("train", "val")]


def learned(texts: Sequence[str], labels: Sequence[Any]) -> Callable[[Sequence[str]], np.ndarray]:
    """The scores of the second of two labels, or the labels themselves, by words and pairs of words."""
    counter = CountVectorizer(ngram_range=(1, 2), min_df=2, token_pattern=r"\S+", binary=True)
    fitted = LogisticRegression(C=0.3, max_iter=300).fit(counter.fit_transform(texts), labels)
    return lambda others: fitted.decision_function(counter.transform(others))


def above_majority(train: Sequence[tuple[str, Any]], dev: Sequence[tuple[str, Any]]) -> float:
    """By how much a classifier of the texts is better on dev than the label that dev has most."""
    names = sorted({label for _, label in train}, key=str)
    scores = learned(*zip(*train, strict=True))([text for text, _ in dev])
    found = scores.argmax(1) if scores.ndim == 2 else (scores > 0).astype(int)
    right = np.mean([names[index] == label for index, (_, label) in zip(found, dev, strict=True)])
    return float(right - max(Counter(label for _, label in dev).values()) / len(dev))


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ("rte", "hypothesis"),
        ("rte", "premise"),
        ("cb", "hypothesis"),
        ("boolq", "question"),
        ("boolq", "passage"),
        ("wic", "word"),
        ("wic", "sentence1"),
        ("wic", "sentence2"),
        ("wsc", "text"),
    ],
)
def test_half_a_row_does_not_tell_its_label(task: str, field: str, large: LARGE) -> None:
    train, dev = ([(row[field], row["label"]) for row in part] for part in train_and_dev(large, task))
    assert above_majority(train, dev) < 0.05


PAIRS = {  # by folder: the texts of a row and its label
    "mrpc": ("#1 String", "#2 String", "Quality"),
    "qqp": ("question1", "question2", "is_duplicate"),
    "qnli": ("question", "sentence", "label"),
    "mnli": ("sentence1", "sentence2", "gold_label"),
    "snli": ("sentence1", "sentence2", "gold_label"),
    "glue_rte": ("sentence1", "sentence2", "label"),
    "wnli": ("sentence1", "sentence2", "label"),
    "paws": ("sentence1", "sentence2", "label"),
}


def tables(large: LARGE, task: str) -> list[list[dict[str, str]]]:
    """The labeled rows of train and dev of a corpus in GLUE's tables, or in SNLI's json."""
    found = []
    for split in ("train", "dev"):
        path = min(path for path in large(task).rglob(f"*{split}*.*") if path.is_file())
        if path.suffix == ".jsonl":
            found.append([row for row in rows(path) if row["gold_label"] != "-"])
        else:
            header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
            found.append([dict(zip(header, cells, strict=True)) for cells in lines if len(cells) == len(header)])
    return found


@pytest.mark.parametrize("task", PAIRS)
def test_half_a_pair_does_not_tell_its_label(task: str, large: LARGE) -> None:
    *fields, label = PAIRS[task]
    parts = tables(large, task)
    for field in fields:
        train, dev = ([(row[field], row[label]) for row in part] for part in parts)
        assert above_majority(train, dev) < 0.05, field


@pytest.mark.parametrize("task", ["mrpc", "qqp", "qnli", "wnli", "paws"])
def test_overlap_of_pairs(task: str, large: LARGE) -> None:
    """No threshold on the share of words that the second text has of the first beats the larger label by far."""
    first, second, label = PAIRS[task]
    dev = tables(large, task)[1]
    gold = np.array([row[label] == dev[0][label] for row in dev])
    both = [(set(words(row[first])), set(words(row[second]))) for row in dev]
    found = np.array([len(one & two) / len(two) for one, two in both])
    right = [np.mean((found >= least) == gold) for least in set(found.tolist())]
    assert max(*right, *(1 - share for share in right)) < max(gold.mean(), 1 - gold.mean()) + 0.06


def test_the_classifier_finds_a_leak(large: LARGE) -> None:
    """Of the premises of CB it learns the frames, as it would of those of the original."""
    train, dev = ([(row["premise"], row["label"]) for row in part] for part in train_and_dev(large, "cb"))
    assert above_majority(train, dev) > 0.25


def test_squad_v2_questions_do_not_tell_whether_they_are_answered(large: LARGE) -> None:
    train, dev = (
        [(q["question"], q["is_impossible"]) for _, q in questions(large("squad_v2") / f"{split}-v2.0.json")]
        for split in ("train", "dev")
    )
    assert above_majority(train, dev) < 0.05


def test_multirc_answers_alone(large: LARGE) -> None:
    train, dev = (
        [(a["text"], a["label"]) for row in part for q in row["passage"]["questions"] for a in q["answers"]]
        for part in train_and_dev(large, "multirc")
    )
    assert above_majority(train, dev) < 0.05


# Choices


@pytest.mark.parametrize("asked", ["cause", "effect"])
def test_copa_choices_alone(asked: str, large: LARGE) -> None:
    """Neither the choices without their premise, nor their place, say which is right."""
    train, dev = ([row for row in part if row["question"] == asked] for part in train_and_dev(large, "copa"))
    score = learned(
        [row[f"choice{i}"] for row in train for i in (1, 2)], [row["label"] + 1 == i for row in train for i in (1, 2)]
    )
    first, second = (score([row[f"choice{i}"] for row in dev]) for i in (1, 2))
    label = np.array([row["label"] for row in dev])
    assert np.mean((second > first) == label) < 0.55
    assert abs(label.mean() - 0.5) < 0.05


def test_copa_names_and_words_in_common(large: LARGE) -> None:
    """Names of the premise are in both choices equally, other words nearly so."""
    dev = train_and_dev(large, "copa")[1]
    assert shared(dev, lambda text: set(re.findall(r"(?<!^)\b[A-Z]\w+", text))) < 0.53
    assert shared(dev, lambda text: set(words(text))) < 0.62


def shared(dev: Sequence[dict[str, Any]], parts: Callable[[str], set[str]]) -> float:
    """How often the choice is right that has more in common with the premise; a tie counts half."""
    right = 0.0
    for row in dev:
        first, second = (len(parts(row["premise"]) & parts(row[f"choice{i}"])) for i in (1, 2))
        right += 0.5 if first == second else float((second > first) == row["label"])
    return right / len(dev)


def test_wsc_place_of_the_candidate(large: LARGE) -> None:
    """Whether the candidate is the first or the second person, the label is even."""
    for part in train_and_dev(large, "wsc"):
        right = np.mean([(row["target"]["span1_index"] > 0) == row["label"] for row in part])
        assert 0.45 < right < 0.55


# Overlap and length


def test_rte_overlap_and_length(large: LARGE) -> None:
    """No threshold on the words that the hypothesis shares with the premise, or on a length, finds the label."""
    dev = train_and_dev(large, "rte")[1]
    label = np.array([row["label"] == "entailment" for row in dev])
    both = [(set(words(row["premise"])), set(words(row["hypothesis"]))) for row in dev]
    values = {
        "overlap": [len(one & two) / len(two) for one, two in both],
        "premise": [len(one) for one, _ in both],
        "hypothesis": [len(two) for _, two in both],
    }
    best = {
        name: max(
            max(right, 1 - right) for least in set(found) for right in [np.mean((np.array(found) >= least) == label)]
        )
        for name, found in values.items()
    }
    assert best["overlap"] < 0.66
    assert best["premise"] < 0.56
    assert best["hypothesis"] < 0.56


def test_boolq_names_in_the_passage(large: LARGE) -> None:
    """That the passage has every name of the question says little: what is wrong is mostly told of another."""
    train, dev = train_and_dev(large, "boolq")
    frequent = {
        word for word, count in Counter(w for row in train for w in words(row["question"])).items() if count > 30
    }
    right = np.mean(
        [(set(words(row["question"])) - frequent <= set(words(row["passage"]))) == row["label"] for row in dev]
    )
    assert right < np.mean([row["label"] for row in dev]) + 0.08


@pytest.mark.parametrize(("task", "version"), [("squad", "v1.1"), ("squad_v2", "v2.0")])
def test_answers_stand_everywhere(task: str, version: str, large: LARGE) -> None:
    """Every tenth of a passage has its share of answers."""
    found = questions(large(task) / f"train-{version}.json")
    places = [q["answers"][0]["answer_start"] / len(context) for context, q in found if q["answers"]]
    counts, _ = np.histogram(places, 10, (0, 1))
    assert counts.min() > 0.04 * len(places)
    assert counts.max() < 0.16 * len(places)


def test_record_first_and_frequent_entities(large: LARGE) -> None:
    """The first entity that the query does not name, or the most frequent one, fills the gap rarely."""
    first, frequent, count = 0, 0, 0
    for row in train_and_dev(large, "record")[1]:
        text = row["passage"]["text"]
        names = [text[mark["start"] : mark["end"] + 1] for mark in row["passage"]["entities"]]
        for query in row["qas"]:
            left = [name for name in names if name not in query["query"]]
            right = {answer["text"] for answer in query["answers"]}
            first += left[0] in right
            frequent += Counter(left).most_common(1)[0][0] in right
            count += 1
    assert first < 0.4 * count
    assert frequent < 0.4 * count


def test_multirc_places_of_right_answers(large: LARGE) -> None:
    """Each of the first four places is right about as often."""
    shares: dict[int, list[int]] = {}
    for row in train_and_dev(large, "multirc")[0]:
        for question in row["passage"]["questions"]:
            for place, answer in enumerate(question["answers"][:4]):
                shares.setdefault(place, []).append(answer["label"])
    means = [np.mean(labels) for labels in shares.values()]
    assert max(means) - min(means) < 0.07
