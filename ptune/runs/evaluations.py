"""What evaluations leave of a run: predictions and breakdowns in its folder, tables for its tracker, points to report.

A point is one moment of training: the scores of the selecting and of the reported split, with their intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptune.breakdown import breakdown, figures, tables
from ptune.config import Train
from ptune.evaluate import Evaluation, Request, evaluate, evaluate_predictor, prediction_rows
from ptune.runs.accounting import COUNTED, reading
from ptune.runs.folder import RunFolder, breakdown_file

if TYPE_CHECKING:
    from ptune.data.corpora import Corpus
    from ptune.data.rendered import Rendered
    from ptune.model import Model
    from ptune.runs.track import Tracker
    from ptune.tasks import Task


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a run, or of a stage of one, written to its folder and tracker."""

    settings: Train
    task: Task
    corpus: Corpus
    report_on: str
    folder: RunFolder
    tracker: Tracker

    def of(self, model: Model, member: int, rendered: Mapping[str, Rendered], split: str) -> Evaluation:
        """Evaluate a member of the model on a split."""
        s = self.settings
        request = Request(member, self.task, self.corpus.splits[split], rendered[split])
        return evaluate(model, request, split, s.eval_batch_size, s.batch_tokens)

    def by(self, predict: Callable[[Sequence[Any]], list[Any]], split: str) -> Evaluation:
        """Evaluate a function from examples to predictions on a split."""
        return evaluate_predictor(self.task, predict, split, self.corpus.splits[split])

    def event(self, model: Model, member: int, rendered: Mapping[str, Rendered], step: int) -> dict[str, Any]:
        """Evaluate the selecting split after a step; returns the event for the history."""
        evaluation = self.of(model, member, rendered, self.settings.select_on)
        metric = str(self.settings.metric)
        return {
            "split": evaluation.split,
            "metric": metric,
            "selected": evaluation.scores[metric],
            "scores": evaluation.scores,
            "breakdown": figures(self._break_down(evaluation, step)),
            "seconds": evaluation.seconds,
        }

    def point(
        self, model: Model, member: int, rendered: Mapping[str, Rendered], event: Mapping[str, Any], keep: bool = False
    ) -> dict[str, Any]:
        """Evaluate the reported split at the step of an event; returns both splits' scores.

        keep: also write the predictions, and evaluate the splits that the task reports beside it.
        """
        companions: dict[str, dict[str, float]] = {}
        intervals: dict[str, Any] = {}
        step = event["step"]
        for split in self.corpus.companion_splits(self.report_on) if keep else ():
            evaluation = self.of(model, member, rendered, split)
            companions[split] = evaluation.scores
            intervals[split] = evaluation.interval(self.task, self.settings.metric)
            self._break_down(evaluation, step)
        report = self.of(model, member, rendered, self.report_on)
        self._break_down(report, step)
        if keep:
            self._keep(report)
        return {
            **({"beside": companions, "beside_intervals": intervals} if companions else {}),
            "step": step,
            "epoch": event["epoch"],
            "select": event["scores"],
            "report": report.scores,
            "interval": report.interval(self.task, self.settings.metric),
            "breakdowns": {s: breakdown_file(s, step) for s in (self.settings.select_on, self.report_on, *companions)},
        }

    def once(self, select: Evaluation, report: Evaluation, learned: int = 0) -> dict[str, Any]:
        """The figures of a run that is evaluated once, without training. learned: the number of its parameters."""
        for evaluation in (select, report):
            self._break_down(evaluation, 0)
        self._keep(report)
        point = {
            "step": 0,
            "epoch": 0.0,
            "select": select.scores,
            "report": report.scores,
            "interval": report.interval(self.task, self.settings.metric),
            "breakdowns": {evaluation.split: breakdown_file(evaluation.split, 0) for evaluation in (select, report)},
        }
        return {
            **unmoved(point, select.scores[str(self.settings.metric)]),
            **reading({}),
            "parameters": {**dict.fromkeys(COUNTED, 0), "trained": learned, "head": learned},
        }

    def _break_down(self, found: Evaluation, step: int) -> dict[str, Any]:
        """Write an evaluation's breakdown to the folder and the tracker; returns it."""
        breakdown_data = breakdown(self.task, found, self.settings.metric)
        self.folder.write_json(breakdown_file(found.split, step), {"step": step, **breakdown_data})
        self.tracker.tables(found.split, step, tables(breakdown_data))
        return breakdown_data

    def _keep(self, report: Evaluation) -> None:
        self.folder.write_jsonl("predictions.jsonl", prediction_rows(report))


def unmoved(point: Mapping[str, Any], selected: float) -> dict[str, Any]:
    """The figures of a run without steps, whose only evaluation is both the best and the last."""
    return {
        "best": point,
        "last": point,
        "steps": 0,
        "epochs": 0.0,
        "selected": selected,
        "seconds": {"training": 0.0},
    }
