"""One label for a text or a pair of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.errors import DataError, nearest
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, Prediction, Task


class Classify(Task):
    """fields: the texts, in order; label: the field of the label; metrics: the headline first; f1 is that of
    the second of two labels.

    formats: name -> the one or two segments that the plain template joins, fields or texts with {fields}; format:
    which of them, null for the first; without formats the fields are the segments.

    patterns: name -> {text, verbalizer}; verbalizers: name -> {label: words}; published: what the P-Tuning v2
    scripts do with the task, for `compat`; may_be_empty: the fields that records may have nothing in; document: the
    field whose text several examples have in common, see Task.document; demonstrations: what was published of the
    template of that name for the task, see DEMONSTRATIONS, for its yaml.
    """

    readout = "sequence"

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        labels: list[str],
        label: str = "label",
        metrics: list[Literal["accuracy", "f1", "f1_macro", "mcc"]] | None = None,
        max_length: int = 256,
        patterns: dict[str, dict[str, str]] | None = None,
        verbalizers: dict[str, dict[str, list[str]]] | None = None,
        published: dict[str, Any] | None = None,
        formats: dict[str, list[str]] | None = None,
        format: str | None = None,
        may_be_empty: list[str] | None = None,
        document: str | None = None,
        demonstrations: dict[str, int] | None = None,
    ) -> None:
        self.name, self.version, self.source = name, version, source
        self.fields, self.labels, self.label = list(fields), list(labels), label
        self.metrics = list(metrics or ["accuracy"])
        self.headline, self.score_names = self.metrics[0], list(self.metrics)
        self.max_length, self.patterns, self.verbalizers = max_length, patterns or {}, verbalizers or {}
        self.may_be_empty, self.shared = list(may_be_empty or []), document
        self.demonstrations = demonstrations or {}
        self.choose(formats, format)

    @property
    def classes(self) -> list[str]:
        """See Task."""
        return self.labels

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        yield from self.format_problems()
        yield from self.empty_problems()
        yield from self.demonstrations_problems()
        if self.shared not in (None, *self.fields):
            yield "document", f"'{self.shared}' is not a field of {self.name}; {nearest(self.shared, self.fields)}"
        for name in ("f1", "mcc"):
            if name in self.metrics and len(self.labels) != 2:
                yield "metrics", f"{name} is for two labels, but {self.name} has {len(self.labels)}"

    def example(self, record: Record, index: int) -> Example:
        """See Task."""
        return Example(str(record.values.get("idx", index)), self.texts(record), self.gold(record))

    def document(self, example: Example) -> str | None:
        """See Task."""
        text = example.fields.get(self.shared) if self.shared else None
        return None if text is None else str(text)

    def gold(self, record: Record) -> str | None:
        """The label of a record. Raises DataError for one that is none."""
        gold = record.values.get(self.label)
        if str(gold) in ("True", "False") and gold not in self.labels and str(gold).lower() in self.labels:
            gold = str(gold).lower()  # a truth value of JSON, or the Hub's name of one
        if gold is not None and gold not in self.labels:
            raise DataError(f"{record.where}: '{gold}' is not a label of {self.name}; {nearest(gold, self.labels)}")
        return gold

    def target(self, example: Example) -> int | None:
        """See Task."""
        return None if example.gold is None else self.labels.index(example.gold)

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The label with the highest score; rows of one example are averaged. Without any, what was written instead."""
        scores = np.mean([output.scores for output in outputs], axis=0)
        if outputs[0].text is not None and not scores.any():
            return Prediction(outputs[0].text)
        return Prediction(self.labels[int(scores.argmax())], dict(zip(self.labels, scores.tolist(), strict=True)))

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task."""
        gold, predicted = [e.gold for e in examples], self.predicted_labels(examples, predictions)
        return {
            name: metric.f1(gold, predicted, self.labels[1]) if name == "f1" else getattr(metric, name)(gold, predicted)
            for name in self.metrics
        }

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task."""
        gold = np.array([self.labels.index(e.gold) for e in examples])
        predicted = np.array([self.labels.index(label) for label in self.predicted_labels(examples, predictions)])
        if name == "accuracy":
            return Sums(metric.shares(gold == predicted), metric.share, share=True)
        if name == "f1":
            return Sums(np.stack([gold * predicted, predicted, gold], 1), metric.f1_of_counts)
        if name == "mcc":
            return Sums(metric.products(gold, predicted), metric.correlation)
        classes = len(self.labels)
        return Sums(metric.one_hot(gold * classes + predicted, classes**2), metric.macro_of_confusion)

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """See Task."""
        gold, predicted = [e.gold for e in examples], self.predicted_labels(examples, predictions)
        return {
            "labels": metric.label_report(gold, predicted, self.labels),
            "confusions": metric.confusion(gold, predicted, self.labels),
        }

    def predicted_labels(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[str]:
        """The labels that are predicted; for a written text that is none, a wrong one: that after the right one."""
        wrong = {label: self.labels[(i + 1) % len(self.labels)] for i, label in enumerate(self.labels)}
        pairs = zip(examples, predictions, strict=True)
        return [p.value if p.value in wrong else wrong[e.gold] for e, p in pairs]

    def majority(self, train: Iterable[Example]) -> Majority:
        """See Task; ties go to the label that comes first."""
        counts = Counter(example.gold for example in train)
        return Majority(max(self.labels, key=lambda label: counts[label]))
