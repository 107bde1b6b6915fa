"""The field's official metrics, in percent, and intervals around them.

Their libraries are imported where they are called: a mistake in the settings should not wait for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 1000


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of equal labels, in percent."""
    from sklearn.metrics import accuracy_score

    return 100.0 * float(accuracy_score(gold, predicted))


def f1_macro(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Unweighted mean of the F1 of each class, in percent: SuperGLUE's second metric of CB."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(gold, predicted, average="macro", zero_division=0))


def spans(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Entity-level precision, recall and F1 in percent, micro-averaged, by seqeval.

    `f1` is seqeval's default mode, which equals conlleval; `f1_strict` counts an entity only in valid IOB2.
    """
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    both = ([list(tags) for tags in gold], [list(tags) for tags in predicted])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where a ratio is undefined; zero_division says 0
        return {
            "f1": 100.0 * float(f1_score(*both, zero_division=0)),
            "precision": 100.0 * float(precision_score(*both, zero_division=0)),
            "recall": 100.0 * float(recall_score(*both, zero_division=0)),
            "f1_strict": 100.0 * float(f1_score(*both, mode="strict", scheme=IOB2, zero_division=0)),
        }


def span_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Correct, predicted and gold entities of each sentence, [n, 3]; their sums give seqeval's F1."""
    from seqeval.metrics.sequence_labeling import get_entities

    counts = np.zeros((len(gold), 3))
    for i, (ours, theirs) in enumerate(zip(gold, predicted, strict=True)):
        wanted, found = set(get_entities(list(ours))), set(get_entities(list(theirs)))
        counts[i] = len(wanted & found), len(found), len(wanted)
    return counts


def f1_of_counts(counts: np.ndarray) -> float:
    """F1 in percent of the summed rows of `span_counts`."""
    correct, found, wanted = counts.sum(0)
    return 100.0 * 2 * correct / (found + wanted) if found + wanted else 0.0


def binomial(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, in percent."""
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(method="wilson")
    return 100.0 * interval.low, 100.0 * interval.high


def bootstrap(statistic: Callable[[np.ndarray], float], n: int, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile interval of `statistic(indices)` over resampled examples."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, n, n)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def macro_of_confusion(gold: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """`f1_macro` from class indices, fast enough to resample."""
    table = np.bincount(gold * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    correct, wanted, found = table.diagonal(), table.sum(1), table.sum(0)
    seen = (wanted + found) > 0
    f1 = 2 * correct[seen] / (wanted + found)[seen]
    return 100.0 * float(f1.mean()) if seen.any() else 0.0
