"""The hierarchical bootstrap: seeds are drawn anew, then examples, which are the same for all seeds and methods.

A score of a resample is a sum over its examples (`ptune.sums`), so that thousands cost one matrix product a run. What
is drawn depends on the examples and on the seeds alone: two groups of runs on the same examples, and with the same
seeds, are resampled alike, and their difference is paired; a report is the same each time.

Of n seeds n - 1 are drawn: their mean then varies as that of n seeds does, without bias (Rao and Wu 1988, Journal of
the American Statistical Association 83). Of one seed the interval is that of the examples alone; of few it reaches no
further than these seeds do, which is too narrow where seeds differ more than examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptune.batch import Example
from ptune.errors import DataError
from ptune.leaves import check_leaf, leaf
from ptune.runs.folder import RunFolder
from ptune.seeds import mix
from ptune.sums import Sums
from ptune.tasks import Prediction, Task

if TYPE_CHECKING:
    from ptune.reports.results import Group, Run

RESAMPLES = 5000
OWN = ("id", "gold", "prediction", "scores", "group")  # of a prediction, beside the fields of its example
TOLERANCE = 1e-6  # between a score and what its predictions give


class Unit(NamedTuple):
    """What is resampled of a run: examples, or groups or documents of them, by their names; what each adds."""

    names: tuple[str, ...]
    kind: str  # examples | groups | documents
    sums: Sums


def units(run: Run) -> Unit | None:
    """What a run's predictions add to its score; None without them, where the score is no sum of theirs, or where they
    are all of one document.

    So it is as well where they give another score than the one that was reported. Raises PtuneError for a damaged file.
    """
    path = run.folder / "predictions.jsonl"
    if "task" not in run.config or not path.is_file():
        return None
    if any(
        check_leaf("task", run.config["task"], run.packages)
    ):  # of another package, or of another version of the code
        return None
    task: Task = leaf(run.config["task"], run.packages)
    rows = RunFolder(run.folder).read_jsonl(path.name)
    try:
        return added(run, task, rows)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # what the run wrote added up
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def added(run: Run, task: Task, rows: Sequence[dict[str, Any]]) -> Unit | None:
    """See `units`: of the rows of predictions.jsonl."""
    examples = [
        Example(row["id"], {k: v for k, v in row.items() if k not in OWN}, row["gold"], group=row.get("group"))
        for row in rows
    ]
    predictions = [Prediction(row["prediction"], row.get("scores")) for row in rows]
    sums = task.sums(examples, predictions, run.result["metric"])
    if sums is None or abs(sums.of(np.arange(len(sums.each))) - run.score) > TOLERANCE:
        return None
    names = list(dict.fromkeys(example.id if example.group is None else example.group for example in examples))
    if len(names) != len(sums.each):
        return None  # of groups that the predictions do not tell
    first = {example.id if example.group is None else example.group: example for example in examples}
    documents = [task.document(first[name]) for name in names]
    if None in documents or len({*documents}) == len(documents) > 1:
        return Unit(tuple(names), "examples" if examples[0].group is None else "groups", sums)
    of = [str(document) for document in documents]
    if len({*of}) == 1:
        return None  # one document says nothing of others
    return Unit(tuple(dict.fromkeys(of)), "documents", sums.over(of))


class Resampled(NamedTuple):
    """Scores [R] on resampled examples, and how many of what kind these are."""

    scores: np.ndarray
    n: int
    kind: str


@lru_cache(maxsize=4)
def counts(n: int, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each of n units is in each resample, [R, n]; they are as many as there are units."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, n), np.uint8)
    for row in drawn:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    return drawn


def resample_run(run: Run) -> Resampled | None:
    """The scores of a run on resampled examples; None where `units` gives none."""
    run_units = units(run)
    if run_units is None:
        return None
    n = len(run_units.names)
    return Resampled(run_units.sums.weighed(counts(n, mix("examples", run_units.names))), n, run_units.kind)


def resample_group(group: Group) -> np.ndarray | None:
    """The mean scores [R] of a group on resampled seeds and examples; None where one of its runs has none."""
    drawn_scores = []
    for runs in group.units.values():
        scores = [run.resampled.scores for run in runs if run.resampled is not None]
        if len(scores) < len(runs):
            return None
        drawn_scores.append(np.mean(scores, axis=0))
    if len(drawn_scores) == 1:
        return np.asarray(drawn_scores[0])
    picked = picks(tuple(group.units), group.unit)
    mean: np.ndarray = np.take_along_axis(np.stack(drawn_scores, 1), picked, 1).mean(1)
    return mean


def picks(names: tuple[int, ...], kind: str) -> np.ndarray:
    """Which of n seeds, or splits, are in each resample, [R, n - 1]: the same ones for the same names."""
    rng = np.random.default_rng(mix(kind, names))
    return rng.integers(0, len(names), (RESAMPLES, len(names) - 1))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% percentile interval."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
