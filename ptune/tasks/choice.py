"""One of several candidates: each is rendered as a row of its own, one head scores the rows, a softmax weighs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.errors import DataError, nearest
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, OwnTexts, Prediction, Target


class Choice(OwnTexts):
    """fields: the texts of a record; choices: the fields with the candidates, whose number, from 0, is the label.

    What is rendered has `choice`, the candidate, beside the fields. values: field -> what each of its values is
    rendered as; worded: the same for patterns, at whose masks the candidates compete. formats, format, patterns: see
    Classify. A record's label is a number, or the field's name, as on the Hub.
    """

    readout = "choice"
    masked = "choice"
    grouped = True

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        choices: list[str],
        formats: dict[str, list[str]],
        label: str = "label",
        values: dict[str, dict[str, str]] | None = None,
        max_length: int = 256,
        published: dict[str, Any] | None = None,
        format: str | None = None,
        patterns: dict[str, dict[str, str]] | None = None,
        worded: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.name, self.version, self.source = name, version, source
        self.given, self.choices, self.label, self.values = list(fields), list(choices), label, values or {}
        self.worded, self.beside = worded or {}, self.choices
        self.rows = len(self.choices)
        self.fields, self.labels = [*fields, "choice"], ["choice"]
        self.headline, self.score_names = "accuracy", ["accuracy"]
        self.max_length, self.patterns, self.verbalizers = max_length, patterns or {}, {}
        self.choose(formats, format)

    @property
    def inputs(self) -> list[str]:
        """See Task."""
        return [*self.given, *self.choices]

    @property
    def answers(self) -> Sequence[int]:
        """See Task; the numbers of the candidates, where they are so many in every example."""
        return range(len(self.choices))

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        yield from self.format_problems()
        if len(self.choices) < 2:
            yield "choices", f"{len(self.choices)} fields; at least two are needed"
        for name, known in self.worded.items():
            if missing := sorted(set(self.values.get(name, ())) - set(known)):
                yield f"worded.{name}", f"nothing for '{missing[0]}', which task.values has"

    def example(self, record: Record, index: int) -> Example:
        """See Task; gold is the number of the right candidate."""
        fields = {}
        for name in self.inputs:
            text = self.text(record, name)
            if not text.strip():
                raise DataError(f"{record.where}: nothing in '{name}'; {self.name} needs a text there")
            if name in self.values and text not in self.values[name]:
                raise DataError(f"{record.where}: '{text}' in '{name}'; {nearest(text, self.values[name])}")
            fields[name] = text
        return Example(str(record.values.get("idx", index)), fields, self._gold(record))

    def _gold(self, record: Record) -> int | None:
        label = record.values.get(self.label)
        if label is None:
            return None
        names = [*range(len(self.choices)), *self.choices]
        if isinstance(label, bool) or label not in names:
            raise DataError(
                f"{record.where}: {label!r} is not a label of {self.name}; "
                f"one of: {', '.join(str(number) for number in range(len(self.choices)))}"
            )
        return names.index(label) % len(self.choices)

    def candidates(self, example: Example) -> Iterator[tuple[Example, Target]]:
        """See Task; a candidate's target is 1 for the right one."""
        named = {name: known[example.fields[name]] for name, known in self.values.items()}
        for number, name in enumerate(self.choices):
            fields = {**example.fields, **named, "choice": example.fields[name]}
            yield replace(example, fields=fields), None if example.gold is None else int(number == example.gold)

    def options(self, example: Example) -> tuple[Example, list[int] | None]:
        """See OwnTexts."""
        words = {name: known[example.fields[name]] for name, known in self.worded.items()}
        choices = [example.fields[name] for name in self.choices]
        return replace(example, fields={**example.fields, **words}, choices=choices), self.target(example)

    def target(self, example: Example) -> list[int] | None:
        """1 for each right candidate, 0 for the others."""
        targets = [target for _, target in self.candidates(example)]
        return None if example.gold is None else [int(target == 1) for target in targets if isinstance(target, int)]

    def swap_candidates(self, example: Example) -> Example | None:
        """See Task."""
        if len(self.choices) != 2:
            return None
        one, two = self.choices
        fields = {**example.fields, one: example.fields[two], two: example.fields[one]}
        return replace(
            example, id=f"{example.id}m", fields=fields, gold=None if example.gold is None else 1 - example.gold
        )

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The number of the candidate with the highest score, the first of equals; scores are log-probabilities."""
        scores = candidate_log_probabilities(outputs)
        return Prediction(int(scores.argmax()), dict(zip(self.choices, scores.tolist(), strict=True)))

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task."""
        gold, predicted = [str(e.gold) for e in examples], [str(p.value) for p in predictions]
        return {"accuracy": metric.accuracy(gold, predicted)}

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task; accuracy is the one score."""
        right = np.array([e.gold == p.value for e, p in zip(examples, predictions, strict=True)])
        return Sums(metric.shares(right), metric.share, share=True)

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """See Task; labels are the places of the candidates."""
        gold, predicted = (
            [self.choices[n] for n in side] for side in ([e.gold for e in examples], [p.value for p in predictions])
        )
        return {
            "labels": metric.label_report(gold, predicted, self.choices),
            "confusions": metric.confusion(gold, predicted, self.choices),
        }

    def facets(self, example: Example) -> dict[str, str]:
        """See Task; by the fields that have few values."""
        return {name: example.fields[name] for name in self.values}

    def majority(self, train: Iterable[Example]) -> Majority:
        """The place that is right most often; the first of equals."""
        counts = Counter(example.gold for example in train)
        return Majority(max(range(len(self.choices)), key=lambda number: counts[number]))


def candidate_log_probabilities(outputs: Sequence[RowOutput]) -> np.ndarray:
    """Log-probabilities [n] of an example's candidates, from one score each: of a row, or of a choice at its masks."""
    ordered = sorted(outputs, key=lambda output: output.candidate)
    scores = np.concatenate([output.scores for output in ordered]).astype(float)
    scores -= scores.max()
    return scores - np.log(np.exp(scores).sum())
