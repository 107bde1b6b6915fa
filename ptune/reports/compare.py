"""Differences of groups to a baseline on the same task and backbone, corrected for how many there are.

The bootstrap of a difference is paired: both sides are resampled on the same examples, and on the same seeds where they
have the same ones. p is that of the percentile interval, two-sided; Holm's step-down correction (1979, Scandinavian
Journal of Statistics 6) keeps the chance of any false finding among all comparisons of a report below its level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptune.errors import ConfigError, nearest
from ptune.reports.resample import interval
from ptune.reports.results import Group, below

USUAL = "finetune"  # the baseline that nobody has to name
SAME = (
    "result.task",
    "result.backbone",
    "result.synthetic",
    "result.metric",
    "result.select_on",
    "result.report_on",
)
DATA = ("data", "layout", "held out from", "files", "protocol", "held_out_from", "held_out_share")
OF_A_METHOD = ("data.max_length", "data.overflow", "data.bucket", "data.cache", "data.root")


@dataclass(frozen=True)
class Comparison:
    """A group less a baseline, in points; p of "no difference" and, with a margin, of "worse by the margin or more".

    adjusted: p after Holm's correction. The interval and each p are None where a run has nothing to resample.
    """

    group: Group
    baseline: Group
    difference: float
    interval: tuple[float, float] | None = None
    p: float | None = None
    adjusted: float | None = None
    worse: float | None = None
    worse_adjusted: float | None = None


def compare(groups: Sequence[Group], baseline: str | None = None, margin: float | None = None) -> list[Comparison]:
    """Every group against the baseline of its task, backbone, its weights, and data, in their order.

    baseline: a method; None for fine-tuning where it is among them, else the first one. Of several groups of that
    method the one with the best selecting score. Raises ConfigError for a method that has no group.
    """
    methods = [group.runs[0].result["method"] for group in groups]
    if baseline is not None and baseline not in methods:
        raise ConfigError([f"compare: no run used method '{baseline}'; {nearest(baseline, dict.fromkeys(methods))}"])
    places: dict[str, list[Group]] = {}
    for group in groups:
        places.setdefault(repr(sorted(place(group).items())), []).append(group)
    pairs = []
    for together in places.values():
        for group in together:
            against = _baseline([each for each in together if _share_weights(group, each)], baseline)
            if against is not None and against is not group:
                pairs.append((group, against))
    resampled = [_resampled(*pair) for pair in pairs]
    p = holm([None if values is None else two_sided(values) for values in resampled])
    worse = holm([None if values is None or margin is None else share_at_most(values, -margin) for values in resampled])
    return [
        Comparison(
            group,
            against,
            group.mean - against.mean,
            None if values is None else interval(values),
            *differ,
            *inferior,
        )
        for (group, against), values, differ, inferior in zip(pairs, resampled, p, worse, strict=True)
    ]


def place(group: Group) -> dict[str, Any]:
    """What two groups have to share to be compared, by key."""
    return {
        key: value
        for key, value in group.settings.items()
        if key in SAME or (below(key, DATA) and key not in OF_A_METHOD)
    }


def two_sided(values: np.ndarray) -> float:
    """p of no difference, from resampled differences: twice the smaller tail beyond 0, never 0 itself."""
    return min(1.0, 2 * min(share_at_most(values, 0.0), share_at_most(-values, 0.0)))


def share_at_most(values: np.ndarray, bound: float) -> float:
    """The share of resampled differences that are no larger than a bound, the observed sample counted among them."""
    return (1 + int((values <= bound).sum())) / (1 + len(values))


def holm(ps: Sequence[float | None]) -> list[tuple[float | None, float | None]]:
    """Each p with its adjusted one; None, which is no comparison, stays None and does not count."""
    order = sorted((i for i, p in enumerate(ps) if p is not None), key=lambda i: ps[i] or 0.0)
    adjusted: dict[int, float] = {}
    largest = 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * (ps[i] or 0.0)))
        adjusted[i] = largest
    return [(p, adjusted.get(i)) for i, p in enumerate(ps)]


def _share_weights(one: Group, other: Group) -> bool:
    """Whether they have the same backbone, or one has none, as a majority class."""
    return len({one.settings["weights"], other.settings["weights"]} - {None}) < 2


def _baseline(groups: Sequence[Group], method: str | None) -> Group | None:
    candidates = [group for group in groups if group.runs[0].result["method"] == (method or USUAL)]
    if not candidates:
        return groups[0] if method is None else None
    return max(candidates, key=lambda group: group.selected.mean)


def _resampled(group: Group, baseline: Group) -> np.ndarray | None:
    if group.resampled is None or baseline.resampled is None:
        return None
    difference: np.ndarray = group.resampled - baseline.resampled
    return difference
