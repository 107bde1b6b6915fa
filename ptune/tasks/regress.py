"""A number on a scale for a text or a pair of texts, as STS-B asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.errors import DataError
from ptune.readers import Record
from ptune.sums import Ranked, Sums
from ptune.tasks import Majority, Prediction, Task


class Regress(Task):
    """fields: the texts, in order; label: the field of the number; scale: its two ends, which are the labels too.

    A linear head says the number; a verbalizer's words stand for the ends, and the number lies between them (LM-BFF,
    Gao et al. 2021, arXiv 2012.15723). Scores are Pearson's and Spearman's correlation, times 100. patterns and
    verbalizers as in Classify, with the ends as written in `scale` for labels; may_be_empty, demonstrations: as there.
    """

    readout = "scalar"

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        scale: list[int],
        label: str = "label",
        max_length: int = 256,
        patterns: dict[str, dict[str, str]] | None = None,
        verbalizers: dict[str, dict[str, list[str]]] | None = None,
        published: dict[str, Any] | None = None,
        may_be_empty: list[str] | None = None,
        demonstrations: dict[str, int] | None = None,
    ) -> None:
        self.name, self.version, self.source = name, version, source
        self.fields, self.scale, self.label = list(fields), list(scale), label
        self.labels = [str(end) for end in scale]
        self.may_be_empty, self.demonstrations = list(may_be_empty or []), demonstrations or {}
        self.headline, self.score_names = "pearson", ["pearson", "spearman"]
        self.max_length, self.patterns, self.verbalizers = max_length, patterns or {}, verbalizers or {}

    @property
    def classes(self) -> list[str]:
        """See Task: the ends of the scale."""
        return self.labels

    def class_of(self, example: Example) -> str | None:
        """See Task: the nearer end, the upper one in the middle (LM-BFF)."""
        return None if example.gold is None else self.labels[int(2 * example.gold >= sum(self.scale))]

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        if len(self.scale) != 2 or self.scale[0] >= self.scale[-1]:
            yield "scale", f"{self.scale} is not a scale; give its lower and upper end, such as [0, 5]"
        yield from self.empty_problems()
        yield from self.demonstrations_problems()

    def example(self, record: Record, index: int) -> Example:
        """See Task."""
        return Example(str(record.values.get("idx", index)), self.texts(record), self.gold(record))

    def gold(self, record: Record) -> float | None:
        """The number of a record; None without one (-1 on the Hub, where the scale has none). Raises DataError for one
        off the scale.
        """
        value, (low, high) = record.values.get(self.label), self.scale
        if value is None or (value == -1 and not low <= value <= high):
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not low <= number <= high:
            raise DataError(
                f"{record.where}: '{value}' in '{self.label}'; {self.name} needs a number from {low} to {high}"
            )
        return number

    def target(self, example: Example) -> float | None:
        """See Task."""
        return None if example.gold is None else float(example.gold)

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The number that the rows of the example say on average; it may lie off the scale."""
        return Prediction(round(fmean(float(output.scores[0]) for output in outputs), 6))

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task."""
        gold, predicted = [e.gold for e in examples], [p.value for p in predictions]
        return {"pearson": metric.pearson(gold, predicted), "spearman": metric.spearman(gold, predicted)}

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task; for Spearman's the examples are ranked anew each time."""
        pairs = np.array([[e.gold, p.value] for e, p in zip(examples, predictions, strict=True)], float)
        if name == "spearman":
            return Ranked(pairs, metric.correlation)
        return Sums(metric.products(*pairs.T), metric.correlation)

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """See Task; labels are the nearest whole numbers, with the mean of what is predicted for them."""
        predicted: dict[int, list[float]] = {}
        for example, prediction in zip(examples, predictions, strict=True):
            predicted.setdefault(round(example.gold), []).append(prediction.value)
        return {"labels": [{"label": str(n), "gold": len(v), "mean": fmean(v)} for n, v in sorted(predicted.items())]}

    def right(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[float]:
        """1 without the distance, as a share of the scale."""
        low, high = self.scale
        pairs = zip(examples, predictions, strict=True)
        return [max(0.0, 1 - abs(e.gold - p.value) / (high - low)) for e, p in pairs]

    def majority(self, train: Iterable[Example]) -> Majority:
        """The mean of training, a constant as the label seen most is: it correlates with nothing."""
        return Majority(round(fmean(example.gold for example in train), 6))

    def tally(self, example: Example) -> list[str]:
        """The whole number that is nearest."""
        return [str(round(example.gold))]
