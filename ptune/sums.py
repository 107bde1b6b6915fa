"""What each example adds to a score, so that the score of any resample of them is a sum and not another evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ptune.metrics import products, ranks

ROWS = 256  # resamples that are added up at once


@dataclass(frozen=True)
class Sums:
    """each: what each of U units adds, [U, K]; score: of sums [..., K] the scores [...] in percent.

    share: whether the score is the share of units that are right, the first of `each` one's two figures.
    """

    each: np.ndarray
    score: Callable[[np.ndarray], np.ndarray]
    share: bool = False

    def of(self, rows: np.ndarray) -> float:
        """The score of some units, by their numbers; a unit may be there several times."""
        return float(self.score(self.each[rows].sum(0)))

    def weighed(self, counts: np.ndarray) -> np.ndarray:
        """The scores [R] of R resamples, of which counts [R, U] say how often each unit is in them."""
        parts = (counts[i : i + ROWS].astype(np.float64) @ self.each for i in range(0, len(counts), ROWS))
        return self.score(np.concatenate(list(parts)))

    def over(self, documents: Sequence[str]) -> Sums:
        """The same with each unit's document as the unit, in the order of their first ones."""
        places = {name: place for place, name in enumerate(dict.fromkeys(documents))}
        document_sums = np.zeros((len(places), self.each.shape[1]))
        np.add.at(document_sums, [places[name] for name in documents], self.each)
        return replace(self, each=document_sums, share=False)


@dataclass(frozen=True)
class Ranked(Sums):
    """Of two numbers a unit, which are ranked anew in every resample: Spearman's correlation. Has no documents."""

    def of(self, rows: np.ndarray) -> float:
        """See Sums."""
        gold, predicted = (ranks(numbers) for numbers in self.each[rows].T)
        return float(self.score(products(gold, predicted).sum(0)))

    def weighed(self, counts: np.ndarray) -> np.ndarray:
        """See Sums."""
        units = np.arange(len(self.each))
        return np.array([self.of(np.repeat(units, row)) for row in counts])
