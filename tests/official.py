"""What the field's official scorers say of noisy predictions, and what ptune's tasks say of the same ones.

`scripts/official_scorers` prints the table, tests/test_official.py checks each of its figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ptune.batch import Example
from ptune.leaves import leaf
from ptune.readers import props
from ptune.tasks import Prediction, Task

ROOT = Path(__file__).parents[1]


class Figure(NamedTuple):
    """One figure as the official scorer gives it, and ours at the same precision."""

    name: str
    official: str
    ours: str


def task_of(name: str) -> Task:
    """The shipped task."""
    task: Task = leaf(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")), [])
    return task


def judged(task: Task, examples: list[Example], predictions: list[Prediction]) -> dict[str, float]:
    """The task's scores, the headline first and inside its interval."""
    scores = task.score(examples, predictions)
    low, high = task.interval(examples, predictions)
    assert low <= scores[task.headline] <= high
    assert next(iter(scores)) == task.headline
    return scores


def tagged(gold: Sequence[list[str]], said: Sequence[list[str]]) -> tuple[list[Example], list[Prediction]]:
    """Sentences with their tags."""
    return [Example(str(i), {"tokens": tags}, tags) for i, tags in enumerate(gold)], [Prediction(tags) for tags in said]


def conlleval(vector: dict[str, Any]) -> Iterator[Figure]:
    """conlleval prints percentages with two digits."""
    task, official = task_of("conll03"), vector["official"]
    examples, predictions = tagged(vector["gold"], vector["pred"])
    scores = judged(task, examples, predictions)
    printed = dict(re.findall(r"(\w+): +([\d.]+)", official["line"]))
    for name, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "FB1")):
        yield Figure(theirs, printed[theirs], f"{scores[name]:.2f}")
    by_type = {row["label"]: row["f1"] for row in task.report(examples, predictions)["labels"]}
    for name, value in official["f1_by_type"].items():
        yield Figure(f"FB1 of {name}", value, f"{by_type[name]:.2f}")


def role_columns(sentences: Sequence[Any]) -> list[list[str]]:
    """The tags of every predicate of a vector's sentences."""
    return [
        props.bio([cells[i] for cells in sentence], [props.Row(f"word {word}", []) for word in range(len(sentence))])
        for sentence in sentences
        for i in range(len(sentence[0]))
    ]


def srl_eval(vector: dict[str, Any]) -> Iterator[Figure]:
    """srl-eval.pl prints counts, and percentages with two digits."""
    task, official = task_of("srl_ewt"), vector["official"]
    examples, predictions = tagged(role_columns(vector["gold"]), role_columns(vector["pred"]))
    rows = task.report(examples, predictions)["labels"]
    for name, theirs in (("correct", "corr"), ("excess", "excess"), ("missed", "missed")):
        yield Figure(theirs, f"{official[theirs]:.0f}", str(sum(row[name] for row in rows)))
    scores = judged(task, examples, predictions)
    for name, theirs in (("precision", "p"), ("recall", "r"), ("f1", "f1")):
        yield Figure(theirs, f"{official[theirs]:.2f}", f"{scores[name]:.2f}")


def evaluate_squad(vector: dict[str, Any], name: str) -> Iterator[Figure]:
    """The SQuAD programs print every digit."""
    task, odds = task_of(name), vector.get("na_prob")
    examples = [
        Example(key, {"question": "?", "context": key}, {"text": texts, "answer_start": [0] * len(texts)})
        for key, texts in vector["gold"].items()
    ]
    predictions = [
        Prediction(vector["pred"][example.id], {"null_odds": odds[example.id]} if odds else None)
        for example in examples
    ]
    scores = judged(task, examples, predictions)
    for figure, value in vector["official"].items():
        if figure in scores:  # not the numbers of questions, nor the F1 of no answer, which is its exact match
            yield Figure(figure, repr(value), repr(scores[figure]))


def multirc(vector: dict[str, Any]) -> Iterator[Figure]:
    """The authors' script prints every digit of a share."""
    task, examples, predictions = task_of("multirc"), [], []
    for q, (gold, said) in enumerate(zip(vector["gold"], vector["pred"], strict=True)):
        examples += [Example(f"0-{q}-{a}", {}, str(label), group=f"0-{q}") for a, label in enumerate(gold)]
        predictions += [Prediction(str(label)) for label in said]
    scores = judged(task, examples, predictions)
    for name, value in vector["official"].items():
        yield Figure(name, f"{100 * value:.14g}", f"{scores[name]:.14g}")


def record(vector: dict[str, Any]) -> Iterator[Figure]:
    """The authors' script prints every digit of a share."""
    examples = [Example(name, {}, answers) for name, answers in vector["gold"].items()]
    scores = judged(task_of("record"), examples, [Prediction(vector["pred"][example.id]) for example in examples])
    for name, theirs in (("f1", "f1"), ("em", "exact_match")):
        yield Figure(theirs, repr(100 * vector["official"][theirs]), repr(scores[name]))


class Scorer(NamedTuple):
    """An official program, and the figures that it and ptune give of a file of predictions."""

    program: str
    figures: Callable[[dict[str, Any]], Iterator[Figure]]


SCORERS = {
    "ner_conlleval": Scorer("conlleval", conlleval),
    "srl_conll05": Scorer("srl-eval.pl", srl_eval),
    "squad1": Scorer("SQuAD 1.1's script", partial(evaluate_squad, name="squad")),
    "squad2": Scorer("SQuAD 2.0's script", partial(evaluate_squad, name="squad_v2")),
    "multirc": Scorer("MultiRC's script", multirc),
    "record": Scorer("ReCoRD's script", record),
}
FILES = [
    *(f"{name}_{i}" for name, count in (("ner_conlleval", 4), ("srl_conll05", 3)) for i in range(count)),
    *(f"{name}_{i}" for name in ("squad1", "squad2", "multirc", "record") for i in range(2)),
]


def figures(folder: Path, name: str) -> list[Figure]:
    """The figures of a file of predictions."""
    vector = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return list(SCORERS[name.rpartition("_")[0]].figures(vector))


HEAD = """# Official scorers compared with ptune

The official scoring programs and ptune's tasks were given the same noisy predictions. The table shows every figure to
the digits that the program prints. Written by `scripts/official_scorers`; checked by `tests/test_official.py` where
the predictions are available.

| predictions | program | figure | official | ptune | |
|---|---|---|---:|---:|---|"""


def table(folder: Path) -> Iterator[str]:
    """The lines of docs/official_scorers.md."""
    yield HEAD
    for name in FILES:
        for figure, official, ours in figures(folder, name):
            program = SCORERS[name.rpartition("_")[0]].program
            equal = "equal" if official == ours else "**NOT EQUAL**"
            yield f"| {name} | {program} | {figure} | {official} | {ours} | {equal} |"
