"""Where a score comes from: by label, by length and by what else a task tells apart, with its errors and examples.

Parts of a split are scored by the task itself: there is no second metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptune.batch import Example
from ptune.evaluate import Evaluation, prediction_row
from ptune.tasks import Prediction, Task, between

ERRORS, EXAMPLES = 20, 10
BY_LENGTH, WORDS = "words", (8, 16, 32, 64, 128, 256, 512)
LETTERS, ITEMS = 300, 100  # that are shown of a text, and of a list


def breakdown(task: Task, evaluation: Evaluation, metric: str | None = None) -> dict[str, Any]:
    """Tables as lists of rows: those of `Task.report`; under `by` the scores by length, in words of the input, and by
    each of `Task.facets`; the worst errors, with how much of each is right (0 to 1); and the first predictions.
    metric: the score that is followed over training, the headline without one.
    """
    examples, predictions = evaluation.examples, evaluation.predictions
    return {
        "split": evaluation.split,
        "examples": len(examples),
        "metric": metric or task.headline,
        **task.report(examples, predictions),
        "by": {name: scores_by_value(task, evaluation, values) for name, values in told_apart(task, examples).items()},
        "errors": [
            {"right": round(correctness, 4), **shortened(examples[i], predictions[i])}
            for i, correctness in worst(task, examples, predictions)
        ],
        "predictions": [shortened(*pair) for pair in zip(examples[:EXAMPLES], predictions[:EXAMPLES], strict=True)],
    }


def told_apart(task: Task, examples: Sequence[Example]) -> dict[str, list[str]]:
    """What examples are told apart by, each with its value for every example; a group's length is its longest one's."""
    lengths = [task.length(example) for example in examples]
    longest: dict[str, int] = {}
    for example, length in zip(examples, lengths, strict=True):
        if example.group is not None:
            longest[example.group] = max(length, longest.get(example.group, 0))
    group_lengths = [n if e.group is None else longest[e.group] for e, n in zip(examples, lengths, strict=True)]
    facets = [task.facets(example) for example in examples]
    return {
        BY_LENGTH: [between(length, WORDS) for length in group_lengths],
        **{name: [facet[name] for facet in facets] for name in (facets[0] if facets else ())},
    }


def scores_by_value(task: Task, evaluation: Evaluation, values: Sequence[str]) -> list[dict[str, Any]]:
    """The scores of the examples of each value, with their number; numbers in their order, then words."""
    indices_by_value: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        indices_by_value.setdefault(value, []).append(i)
    rows = []
    for value, indices in sorted(indices_by_value.items(), key=lambda part: numbers_first(part[0])):
        examples = [evaluation.examples[i] for i in indices]
        scores = task.score(examples, [evaluation.predictions[i] for i in indices])
        task_scores = {name: score for name, score in scores.items() if name in task.score_names}
        rows.append({"value": value, "examples": len(indices), **task_scores})
    return rows


def numbers_first(value: str) -> tuple[float, str]:
    """Puts values that begin with a number in its order, before the others."""
    prefix = value.partition("-")[0].rstrip("+")
    return (int(prefix) if prefix.isdecimal() else float("inf")), value


def worst(task: Task, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[tuple[int, float]]:
    """The examples of which least is right, each with how much; of equals those that were predicted most surely."""
    correctness = task.right(examples, predictions)
    wrong_indices = [i for i, share in enumerate(correctness) if share < 1]
    order = sorted(wrong_indices, key=lambda i: (correctness[i], -sureness(predictions[i])))
    return [(i, float(correctness[i])) for i in order[:ERRORS]]


def sureness(prediction: Prediction) -> float:
    """The score of what is predicted; 0 where there is none."""
    scores = prediction.scores or {}
    label = prediction.value if isinstance(prediction.value, str) else ""
    return scores.get(label, scores.get("probability", 0.0))


def shortened(example: Example, prediction: Prediction) -> dict[str, Any]:
    """A prediction as in predictions.jsonl; of long texts and lists the beginning."""
    return {name: cut(value) for name, value in prediction_row(example, prediction).items()}


def cut(value: Any) -> Any:
    """The beginning of a text, or the first items of a list or a mapping."""
    if isinstance(value, str):
        return value if len(value) <= LETTERS else value[:LETTERS] + "..."
    if isinstance(value, Mapping):
        return {name: cut(item) for name, item in list(value.items())[:ITEMS]}
    return [cut(item) for item in value[:ITEMS]] if isinstance(value, list | tuple) else value


def figures(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of a breakdown that can be followed over training: F1 of each label, the metric of each part."""
    labels = {"label": {row["label"]: row["f1"] for row in found.get("labels", ()) if "f1" in row}}
    parts = {name: {row["value"]: row[found["metric"]] for row in rows} for name, rows in found["by"].items()}
    return {name: values for name, values in {**labels, **parts}.items() if values}


def tables(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The tables of a breakdown by name."""
    main_tables = {name: rows for name, rows in found.items() if isinstance(rows, list) and rows}
    return {**main_tables, **{f"by {name}": rows for name, rows in found["by"].items()}}
