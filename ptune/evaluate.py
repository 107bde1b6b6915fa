"""THE evaluator: used by the loop, by eval and by predict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ptune import memory, ranks
from ptune.batch import Draw, Example, RowOutput
from ptune.data.rendered import Rendered, fitting
from ptune.errors import DivergedError, NoMemoryError
from ptune.model import Model
from ptune.runs import halt
from ptune.tasks import Prediction, Task
from ptune.threads import parallel_map

log = logging.getLogger(__name__)
Batch = Sequence[tuple[int, int]]  # of several that are asked the number, and of its examples
EVALUATION = Draw(0, 0)  # what is drawn for evaluation is the same each time
PADDING, PADDING_OF_GPU = 256, 4096  # tokens of it in a batch: about what starting another pass costs


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split in percent, with the predictions in the order of the examples, and seconds of inference."""

    split: str
    scores: dict[str, float]
    predictions: list[Prediction]
    examples: Sequence[Example]
    seconds: float

    def interval(self, task: Task, name: str | None = None) -> tuple[float, float] | None:
        """The 95% interval around a score, the headline without a name; None where it has none."""
        return task.interval(self.examples, self.predictions, name)


class Asked(NamedTuple):
    """What a member of a model is to predict."""

    member: int
    task: Task
    examples: Sequence[Example]
    rendered: Rendered


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Inside, nothing is dropped; the model is left as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def predict(model: Model, asked: Asked, batch_size: int, tokens: int | None = None) -> list[Prediction]:
    """A prediction for each example, from batches of so many rows and tokens; the model is left as it was."""
    return predict_together(model, [asked], batch_size, tokens)[0]


def predict_together(
    model: Model, several: Sequence[Asked], batch_size: int, tokens: int | None = None
) -> list[list[Prediction]]:
    """As `predict` for each of several members, whose rows share batches; of fewer where memory runs out.

    Raises DivergedError where an output is not a number, and NoMemoryError where one example does not fit.
    """
    outputs: list[list[list[RowOutput]]] = [[[] for _ in asked.examples] for asked in several]
    rows = [(number, i) for number, asked in enumerate(several) for i in range(len(asked.examples))]
    rows.sort(key=lambda row: (-several[row[0]].rendered.lengths[row[1]], row[1]))  # of several runs side by side
    padding = PADDING if model.device.type == "cpu" else PADDING_OF_GPU
    batches = fitting(rows, lambda row: several[row[0]].rendered.size(row[1]), batch_size, tokens, padding)

    def answered(batch: Batch) -> list[tuple[int, list[RowOutput]]]:
        numbers = sorted({number for number, _ in batch})
        chosen = {number: [i for one, i in batch if one == number] for number in numbers}
        work = [(several[n].member, several[n].rendered.batch(chosen[n], EVALUATION, "eval")) for n in numbers]
        return list(zip(numbers, model.answers(work), strict=True))

    room = max(map(len, batches), default=1)  # examples of a batch that memory has had room for

    def said(batch: Batch) -> list[tuple[int, list[RowOutput]]]:
        nonlocal room
        if len(batch) > room:
            parts = [batch[start : start + room] for start in range(0, len(batch), room)]
            return [one for part in parts for one in said(part)]
        try:
            return answered(batch)
        except (MemoryError, RuntimeError) as error:
            if not memory.ran_out(error):
                raise
            if len(batch) == 1:
                name = several[batch[0][0]].examples[batch[0][1]].id
                less = "a lower data.max_length or precision=bfloat16 needs less"
                raise NoMemoryError(f"out of memory with example {name} alone; {less}") from error
        memory.spare()
        room = min(room, len(batch) // 2)
        log.warning("out of memory with %d examples; continuing with %d at a time", len(batch), room)
        return said(batch)

    with evaluating(model), parallel_map(model.threads) as mapped:
        mine = []
        for found in mapped(said, ranks.share(batches)):
            halt.check_alone()
            mine += found
    for number, outputs_of_one in chain.from_iterable(ranks.gather(mine)):
        for output in outputs_of_one:
            if np.isnan(output.scores).any():
                name = several[number].examples[output.example].id
                raise DivergedError(f"the model's output for example {name} is not a number (NaN): it has diverged")
            outputs[number][output.example].append(output)
    return [
        [asked.task.decode(example, rows) for example, rows in zip(asked.examples, of_one, strict=True)]
        for asked, of_one in zip(several, outputs, strict=True)
    ]


def evaluate(model: Model, asked: Asked, split: str, batch_size: int, tokens: int | None = None) -> Evaluation:
    """Predict a labeled split and score it with the task's official metrics."""
    started = time.perf_counter()
    predictions = predict(model, asked, batch_size, tokens)
    seconds = time.perf_counter() - started
    return Evaluation(split, asked.task.score(asked.examples, predictions), predictions, asked.examples, seconds)


def constant(task: Task, train: Sequence[Example], split: str, examples: Sequence[Example]) -> Evaluation:
    """The score of the class seen most in training: what any model must beat."""
    majority = task.majority(train)
    return evaluate_predictor(task, lambda these: [majority(example) for example in these], split, examples)


def evaluate_predictor(
    task: Task, predict: Callable[[Sequence[Example]], list[Prediction]], split: str, examples: Sequence[Example]
) -> Evaluation:
    """The score of a predictor that is no model of ours."""
    started = time.perf_counter()
    predictions = predict(examples)
    seconds = time.perf_counter() - started
    return Evaluation(split, task.score(examples, predictions), predictions, examples, seconds)


def prediction_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Predictions as JSON objects, see `prediction_row`."""
    return [prediction_row(*both) for both in zip(evaluation.examples, evaluation.predictions, strict=True)]


def prediction_row(example: Example, prediction: Prediction) -> dict[str, Any]:
    """A prediction as a JSON object: id, its group where it has one, the fields, gold, prediction and scores."""
    group = {} if example.group is None else {"group": example.group}
    row = {"id": example.id, **group, **example.fields, "gold": example.gold, "prediction": prediction.value}
    return row | ({"scores": {k: round(v, 6) for k, v in prediction.scores.items()}} if prediction.scores else {})
