"""A text for a text, of which there may be several good ones, as for a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.errors import DataError
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, Prediction, Task


class Generate(Task):
    """fields: what the text is written for; label: the field of the good texts, a list; output_length: tokens of a
    text at most. The first of an example's texts is learned from, and any of them may be met.

    Scores are BLEU and chrF by sacrebleu, and ROUGE-L by rouge-score, which are not those of published tables. facet:
    a further value of a record that scores are broken down by; unseen: its values that training has not.

    patterns as in Classify; may_be_empty as there.
    """

    readout = "text"
    caveat = "not comparable with published figures, which the e2e-metrics and mteval scorers give"

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        label: str = "refs",
        max_length: int = 256,
        output_length: int = 100,
        facet: str | None = None,
        unseen: list[str] | None = None,
        patterns: dict[str, dict[str, str]] | None = None,
        may_be_empty: list[str] | None = None,
    ) -> None:
        self.name, self.version, self.source = name, version, source
        self.fields, self.label, self.labels = list(fields), label, []
        self.max_length, self.output_length = max_length, output_length
        self.facet, self.unseen = facet, list(unseen or [])
        self.patterns, self.verbalizers = patterns or {}, {}
        self.may_be_empty = list(may_be_empty or [])
        self.headline, self.score_names = "bleu", ["bleu", "chrf", "rouge_l"]

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        yield from self.empty_problems()
        if self.output_length < 2:
            yield "output_length", f"{self.output_length} is too small; at least 2, a token and the end"
        if self.unseen and self.facet is None:
            yield "unseen", "is only used with facet; set task.facet or remove unseen"

    def example(self, record: Record, index: int) -> Example:
        """See Task."""
        values: dict[str, Any] = self.texts(record)
        if self.facet is not None and self.facet in record.values:
            values[self.facet] = record.values[self.facet]
        return Example(str(record.values.get("idx", index)), values, self.gold(record))

    def gold(self, record: Record) -> list[str] | None:
        """The texts of a record, None without any. Raises DataError for what is no list of texts."""
        texts = record.values.get(self.label)
        if texts is None:
            return None
        if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
            raise DataError(f"{record.where}: '{self.label}' is not a list of non-empty texts")
        return list(texts)

    def target(self, example: Example) -> str | None:
        """See Task."""
        return None if example.gold is None else str(example.gold[0])

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The text that most of the example's rows have, the first one of equals."""
        ((text, _),) = Counter(str(output.text) for output in outputs).most_common(1)
        return Prediction(text)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task."""
        gold, predicted = [e.gold for e in examples], [p.value for p in predictions]
        return {
            "bleu": float(metric.bleu_of_counts(metric.bleu_counts(gold, predicted).sum(0))),
            "chrf": metric.chrf(gold, predicted),
            "rouge_l": metric.mean_percent(metric.rouge_l(gold, predicted)),
        }

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task; none for chrF."""
        gold, predicted = [e.gold for e in examples], [p.value for p in predictions]
        if name == "bleu":
            return Sums(metric.bleu_counts(gold, predicted), metric.bleu_of_counts)
        if name == "rouge_l":
            return Sums(metric.shares(np.array(metric.rouge_l(gold, predicted))), metric.share)
        return None

    def facets(self, example: Example) -> dict[str, str]:
        """See Task; and whether training has it."""
        if self.facet is None:
            return {}
        value = str(example.fields.get(self.facet, ""))
        facet = {self.facet: value}
        return facet | ({"seen": "unseen" if value in self.unseen else "seen"} if self.unseen else {})

    def right(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Sequence[float]:
        """ROUGE-L of each."""
        return metric.rouge_l([e.gold for e in examples], [p.value for p in predictions])

    def majority(self, train: Iterable[Example]) -> Majority:
        """The text that stands most often in training, the first one of equals."""
        ((text, _),) = Counter(ref for example in train for ref in example.gold).most_common(1)
        return Majority(text)

    def tally(self, example: Example) -> list[str]:
        """How many texts there are."""
        return [f"{len(example.gold)} text{'s' * (len(example.gold) > 1)}"]
