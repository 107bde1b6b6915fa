"""Pairs of examples that differ in one thing that should change nothing: AX-g's gender parity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example
from ptune.errors import DataError
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Prediction
from ptune.tasks.classify import Classify


class Parity(Classify):
    """The share of pairs with the same prediction twice (Rudinger et al. 2018), and accuracy.

    A record's `pair_id` names its pair; without it, as on the Hub, every two examples in a row are one.
    """

    also = ("idx", "pair_id")

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        labels: list[str],
        max_length: int = 256,
        may_be_empty: list[str] | None = None,
    ) -> None:
        super().__init__(name, version, source, fields, labels, max_length=max_length, may_be_empty=may_be_empty)
        self.headline, self.score_names = "parity", ["parity", "accuracy"]

    @property
    def classes(self) -> list[str]:
        """See Task."""
        return []

    def example(self, record: Record, index: int) -> Example:
        """See Task."""
        return replace(super().example(record, index), group=str(record.values.get("pair_id", f"row {index // 2}")))

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task. Raises DataError where a pair is not of two."""
        groups = [str(example.group) for example in examples]
        odd = next((group for group, count in Counter(groups).items() if count != 2), None)
        if odd is not None:
            raise DataError(
                f"{self.name}: pair {odd} has {groups.count(odd)} examples, and parity compares two: is the file whole?"
            )
        return {
            "parity": metric.parity([p.value for p in predictions], groups),
            "accuracy": metric.accuracy([e.gold for e in examples], [p.value for p in predictions]),
        }

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task; of pairs for accuracy too, whose two examples are much the same."""
        pairs: dict[str, list[tuple[str, bool]]] = {}
        for example, prediction in zip(examples, predictions, strict=True):
            pairs.setdefault(str(example.group), []).append((prediction.value, example.gold == prediction.value))
        if name == "accuracy":
            right = np.array([[sum(right for _, right in pair), len(pair)] for pair in pairs.values()], dtype=float)
            return Sums(right, metric.share)
        equal = np.array([len({value for value, _ in pair}) == 1 for pair in pairs.values()])
        return Sums(metric.shares(equal), metric.share, share=True)
