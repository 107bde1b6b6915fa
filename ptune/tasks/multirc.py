"""MultiRC: which answers to a question about a paragraph are right? One label an answer, scored by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptune import metrics as metric
from ptune.batch import Example
from ptune.errors import DataError
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Prediction, question_word
from ptune.tasks.classify import Classify

NAMES = {"0": 0, "1": 1, "False": 0, "True": 1}  # the file's and the Hub's


class MultiRC(Classify):
    """labels: that of a wrong answer, then that of a right one. An example is an answer, its group the question."""

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        labels: list[str],
        max_length: int = 512,
        patterns: dict[str, dict[str, str]] | None = None,
        verbalizers: dict[str, dict[str, list[str]]] | None = None,
        published: dict[str, Any] | None = None,
        formats: dict[str, list[str]] | None = None,
        format: str | None = None,
        may_be_empty: list[str] | None = None,
    ) -> None:
        super().__init__(
            name,
            version,
            source,
            fields,
            labels,
            max_length=max_length,
            patterns=patterns,
            verbalizers=verbalizers,
            published=published,
            formats=formats,
            format=format,
            may_be_empty=may_be_empty,
        )
        self.headline, self.score_names = "f1a", ["f1a", "em", "f1m"]

    @property
    def classes(self) -> list[str]:
        """See Task."""
        return []

    def example(self, record: Record, index: int) -> Example:
        """See Task; the id is PARAGRAPH-QUESTION-ANSWER, by the numbers of the file."""
        texts, idx = self.texts(record), record.values.get("idx")
        if idx is None:
            return Example(str(index), texts, self.gold(record), group=f"{texts[self.fields[0]]}\n{texts['question']}")
        if not isinstance(idx, Mapping) or {"paragraph", "question", "answer"} - set(idx):
            raise DataError(f"{record.where}: 'idx' must have a paragraph, a question and an answer")
        question = f"{idx['paragraph']}-{idx['question']}"
        return Example(f"{question}-{idx['answer']}", texts, self.gold(record), group=question)

    def gold(self, record: Record) -> str | None:
        """See Classify; 0 or 1 in the file, False or True on the Hub."""
        label = record.values.get("label")
        if label is None:
            return None
        if isinstance(label, bool) or str(label) not in NAMES:
            raise DataError(f"{record.where}: {label!r} is not a label of {self.name}; 1 for a right answer, else 0")
        return self.labels[NAMES[str(label)]]

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """F1 over all answers, the share of questions with every answer right, and F1 of the questions' means."""
        return metric.answer_sets(*self._both(examples, predictions))

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task; of questions."""
        counts = metric.answer_counts(*self._both(examples, predictions))
        if name == "em":
            return Sums(metric.shares(metric.exact(counts)), metric.share, share=True)
        if name == "f1m":
            return Sums(metric.answer_ratios(counts), metric.f1_of_ratios)
        return Sums(counts, metric.f1_of_counts)

    def document(self, example: Example) -> str | None:
        """The paragraph, about which there are several questions; nothing of answers that are told without it."""
        return example.fields.get(self.fields[0])

    def facets(self, example: Example) -> dict[str, str]:
        """See Task."""
        return {"question word": question_word(example.fields["question"])}

    def _both(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> tuple[list[bool], list[bool], list[str]]:
        right = self.labels[1]
        gold, predicted = (
            [e.gold == right for e in examples],
            [label == right for label in self.predicted_labels(examples, predictions)],
        )
        return gold, predicted, [str(e.group) for e in examples]
