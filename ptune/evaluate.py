"""THE evaluator, used by the loop, eval and predict."""

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
from ptune.data.rendered import Rendered, split_into_batches
from ptune.errors import DivergedError, NoMemoryError
from ptune.model import Model
from ptune.runs import halt
from ptune.tasks import Prediction, Task
from ptune.threads import parallel_map

log = logging.getLogger(__name__)
Batch = Sequence[tuple[int, int]]  # (number of a request, index of its example)
EVALUATION = Draw(0, 0)  # demonstrations drawn for evaluation are always the same
PADDING, PADDING_OF_GPU = 256, 4096  # padding tokens in a batch that cost about as much as another pass


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split in percent; predictions, in the order of the examples; seconds of inference."""

    split: str
    scores: dict[str, float]
    predictions: list[Prediction]
    examples: Sequence[Example]
    seconds: float

    def interval(self, task: Task, name: str | None = None) -> tuple[float, float] | None:
        """The 95% interval of a score, by default the task's headline metric; None if it has none."""
        return task.interval(self.examples, self.predictions, name)


class Request(NamedTuple):
    """Examples to predict with one member of a model."""

    member: int
    task: Task
    examples: Sequence[Example]
    rendered: Rendered


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode inside (no dropout); the model's mode is restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def predict(model: Model, request: Request, batch_size: int, tokens: int | None = None) -> list[Prediction]:
    """One prediction per example, in batches of at most batch_size rows and, if given, so many tokens."""
    return predict_together(model, [request], batch_size, tokens)[0]


def predict_together(
    model: Model, requests: Sequence[Request], batch_size: int, tokens: int | None = None
) -> list[list[Prediction]]:
    """As `predict` for several members at once, whose rows share batches; batches shrink where memory runs out.

    Raises DivergedError if an output is not a number, and NoMemoryError if a single example does not fit.
    """
    outputs: list[list[list[RowOutput]]] = [[[] for _ in request.examples] for request in requests]
    rows = [(number, i) for number, request in enumerate(requests) for i in range(len(request.examples))]
    rows.sort(key=lambda row: (-requests[row[0]].rendered.lengths[row[1]], row[1]))  # longest first, runs mixed
    padding = PADDING if model.device.type == "cpu" else PADDING_OF_GPU
    batches = split_into_batches(rows, lambda row: requests[row[0]].rendered.size(row[1]), batch_size, tokens, padding)

    def run_batch(batch: Batch) -> list[tuple[int, list[RowOutput]]]:
        numbers = sorted({number for number, _ in batch})
        indices = {number: [i for request_number, i in batch if request_number == number] for number in numbers}
        member_batches = [
            (requests[n].member, requests[n].rendered.batch(indices[n], EVALUATION, "eval")) for n in numbers
        ]
        return list(zip(numbers, model.answers(member_batches), strict=True))

    batch_limit = max(map(len, batches), default=1)  # examples per batch that memory has had room for

    def run_or_halve(batch: Batch) -> list[tuple[int, list[RowOutput]]]:
        nonlocal batch_limit
        if len(batch) > batch_limit:
            parts = [batch[start : start + batch_limit] for start in range(0, len(batch), batch_limit)]
            return [output for part in parts for output in run_or_halve(part)]
        try:
            return run_batch(batch)
        except (MemoryError, RuntimeError) as error:
            if not memory.ran_out(error):
                raise
            if model.backbone.shards is not None:  # the other ranks' pass is whole
                advice = "a lower eval_batch_size needs less"
                raise NoMemoryError(
                    f"out of memory on one of several ranks with {len(batch)} examples; {advice}"
                ) from error
            if len(batch) == 1:
                name = requests[batch[0][0]].examples[batch[0][1]].id
                advice = "a lower data.max_length or precision=bfloat16 needs less"
                raise NoMemoryError(f"out of memory with example {name} alone; {advice}") from error
        memory.spare()
        batch_limit = min(batch_limit, len(batch) // 2)
        log.warning("out of memory with %d examples; continuing with %d at a time", len(batch), batch_limit)
        return run_or_halve(batch)

    with evaluating(model), parallel_map(model.threads) as mapper:
        rank_outputs = []  # this rank's share
        for batch_outputs in mapper(run_or_halve, ranks.share(batches)):
            rank_outputs += batch_outputs
            if halt.asked():
                break
        model.finish_passes()
    halt.check()
    for number, example_outputs in chain.from_iterable(ranks.gather(rank_outputs)):
        for output in example_outputs:
            if np.isnan(output.scores).any():
                name = requests[number].examples[output.example].id
                raise DivergedError(f"the model's output for example {name} is not a number (NaN): it has diverged")
            outputs[number][output.example].append(output)
    return [
        [request.task.decode(example, rows) for example, rows in zip(request.examples, request_outputs, strict=True)]
        for request, request_outputs in zip(requests, outputs, strict=True)
    ]


def evaluate(model: Model, request: Request, split: str, batch_size: int, tokens: int | None = None) -> Evaluation:
    """Predict a labeled split and score it with the task's official metrics."""
    start = time.perf_counter()
    predictions = predict(model, request, batch_size, tokens)
    seconds = time.perf_counter() - start
    return Evaluation(split, request.task.score(request.examples, predictions), predictions, request.examples, seconds)


def evaluate_majority(task: Task, train: Sequence[Example], split: str, examples: Sequence[Example]) -> Evaluation:
    """The scores of always predicting the majority class of the training data, which any model must beat."""
    majority = task.majority(train)
    return evaluate_predictor(task, lambda batch: [majority(example) for example in batch], split, examples)


def evaluate_predictor(
    task: Task, predict: Callable[[Sequence[Example]], list[Prediction]], split: str, examples: Sequence[Example]
) -> Evaluation:
    """The scores of a predictor that is not a Model."""
    start = time.perf_counter()
    predictions = predict(examples)
    seconds = time.perf_counter() - start
    return Evaluation(split, task.score(examples, predictions), predictions, examples, seconds)


def prediction_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Predictions as JSON objects, see `prediction_row`."""
    return [prediction_row(*pair) for pair in zip(evaluation.examples, evaluation.predictions, strict=True)]


def prediction_row(example: Example, prediction: Prediction) -> dict[str, Any]:
    """A prediction as a JSON object: id, its group where it has one, the fields, gold, prediction and scores."""
    group = {} if example.group is None else {"group": example.group}
    row = {"id": example.id, **group, **example.fields, "gold": example.gold, "prediction": prediction.value}
    return row | ({"scores": {k: round(v, 6) for k, v in prediction.scores.items()}} if prediction.scores else {})
