"""What a budget of n trials buys: the expected best of n (Dodge et al. 2019, Show your work, arXiv 1909.03004).

Trials are taken to be draws from one distribution, that of the trials there are: the best of n has the distribution
function F^n. By the score that selects, never by the reported one, whose mean is that of the trials so selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from ptune.reports.results import Family


class Expected(NamedTuple):
    """Of n trials: the best selecting score, and the reported score of the trial that has it."""

    n: int
    selected: float
    reported: float


def expected(family: Family) -> list[Expected]:
    """Of 1, 2, 4, ... and all trials of a search."""
    pairs = [(group.selected.mean, group.mean) for group in family.groups]
    return [best_of(pairs, n) for n in budgets(len(pairs))]


def budgets(trials: int) -> list[int]:
    """Powers of two, and all."""
    return [*(2**i for i in range((trials - 1).bit_length())), trials] if trials > 1 else [1] * trials


def best_of(pairs: Sequence[tuple[float, float]], n: int) -> Expected:
    """Of trials with a selecting and a reported score each, drawn n times with replacement; equals share a place."""
    values = sorted({selected for selected, _ in pairs})
    score = reported = below = 0.0
    for value in values:
        up_to = sum(selected <= value for selected, _ in pairs) / len(pairs)
        weight = up_to**n - below**n
        score += weight * value
        reported += weight * fmean(of for selected, of in pairs if selected == value)
        below = up_to
    return Expected(n, score, reported)
