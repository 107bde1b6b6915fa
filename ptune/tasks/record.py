"""ReCoRD: which entity of a passage fills the gap of a query? The candidates are the passage's entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.errors import DataError
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, Prediction, Target, between
from ptune.tasks.choice import Choice, candidate_log_probabilities

GAP = "@placeholder"
HIGHLIGHT = "@highlight\n"
ENTITIES = (4, 8, 16, 32)


class ReCoRD(Choice):
    """What is rendered: passage, query with an entity in its gap, choice (the entity); by patterns, at whose masks the
    entities compete, the query in two parts, before and after its gap.

    loss: softmax weighs the entities of a query against one another; binary asks of each alone whether it is right,
    as the published P-Tuning v2 code does. rank: what binary ones are ranked by, the margin of right over wrong or
    (published) the logit of right alone.
    """

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        formats: dict[str, list[str]],
        loss: Literal["softmax", "binary"] = "softmax",
        rank: Literal["margin", "logit"] = "margin",
        max_length: int = 512,
        published: dict[str, Any] | None = None,
        format: str | None = None,
        patterns: dict[str, dict[str, str]] | None = None,
    ) -> None:
        super().__init__(
            name,
            version,
            source,
            ["passage", "query"],
            [],
            formats,
            "answers",
            max_length=max_length,
            published=published,
            format=format,
            patterns=patterns,
        )
        self.grouped, self.rank = loss == "softmax", rank
        self.rows = 12  # the mean of FewGLUE's training examples, the most is 23
        self.beside = ["before", "after"]
        self.labels = ["choice"] if self.grouped else ["wrong", "right"]
        self.headline, self.score_names = "f1", ["f1", "em"]

    @property
    def inputs(self) -> list[str]:
        """See Task."""
        return ["passage", "query", "entity_spans"]

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        yield from self.format_problems()

    def example(self, record: Record, index: int) -> Example:
        """See Task; `entities` are the passage's, each once; gold is the list of right ones.

        Raises DataError where a query has no gap, and for an answer that is none of the entities.
        """
        passage, query = self.text(record, "passage"), self.text(record, "query")
        if GAP not in query:
            raise DataError(f"{record.where}: no {GAP} in the query {query[:60]!r}, where the entities are filled in")
        entities = sorted(set(self._entities(record, passage)))
        answers = record.values.get("answers") or None
        if not texts(answers or []):
            raise DataError(f"{record.where}: {answers!r} in 'answers'; {self.name} needs a list of texts there")
        if missing := sorted(set(answers or ()) - set(entities)):
            raise DataError(
                f"{record.where}: the answer {missing[0]!r} is not one of the passage's {len(entities)} entities; "
                "every answer must be one of the entities"
            )
        fields = {"passage": passage.replace(HIGHLIGHT, "- "), "query": query, "entities": entities}
        return Example(query_number(record.values.get("idx"), index), fields, sorted(set(answers)) if answers else None)

    def document(self, example: Example) -> str | None:
        """The passage, about which there are several queries; nothing of answers that are told without it."""
        return example.fields.get("passage")

    def _entities(self, record: Record, passage: str) -> list[str]:
        spans = record.values.get("entity_spans")
        if not isinstance(spans, Mapping) or not spans.get("text"):
            raise DataError(f"{record.where}: no entities; {self.name} chooses among those of the passage")
        if not texts(spans["text"]):
            raise DataError(f"{record.where}: {spans['text']!r} in 'entity_spans.text' is not a list of texts")
        for text in spans["text"]:
            if text not in passage:
                raise DataError(f"{record.where}: the entity {text!r} is not in the passage")
        return list(spans["text"])

    def candidates(self, example: Example) -> Iterator[tuple[Example, Target]]:
        """See Task."""
        for entity in example.fields["entities"]:
            filled = {**example.fields, "query": example.fields["query"].replace(GAP, entity), "choice": entity}
            yield replace(example, fields=filled), None if example.gold is None else int(entity in example.gold)

    def options(self, example: Example) -> tuple[Example, list[int] | None]:
        """See OwnTexts; the query is what stands before its gap and what stands after it."""
        before, _, after = example.fields["query"].partition(GAP)
        entities = example.fields["entities"]
        filled = replace(example, fields={**example.fields, "before": before, "after": after}, choices=entities)
        return filled, None if example.gold is None else [int(entity in example.gold) for entity in entities]

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The entity with the highest score, by its name the first of equals; scores: of each entity.

        Ranked by logits, as in the published code, it is the last of equals.
        """
        if self.grouped:
            scores = candidate_log_probabilities(outputs)
        else:
            logits = np.array([o.scores for o in sorted(outputs, key=lambda o: o.candidate)], dtype=np.float64)
            scores = logits[:, 1] if self.rank == "logit" else logits[:, 1] - logits[:, 0]
        entities = example.fields["entities"]
        best = len(scores) - 1 - int(scores[::-1].argmax()) if self.rank == "logit" else int(scores.argmax())
        return Prediction(entities[best], dict(zip(entities, scores.tolist(), strict=True)))

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """Word F1 and exact match with the closest answer, as ReCoRD's official script has them."""
        pairs = self._both(examples, predictions)
        return {"f1": metric.mean_percent([f1 for _, f1 in pairs]), "em": metric.mean_percent([em for em, _ in pairs])}

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task."""
        exact, f1 = np.array(self._both(examples, predictions)).T
        return Sums(metric.shares(exact if name == "em" else f1), metric.share, share=name == "em")

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """See Task; entities are no labels."""
        return {}

    def facets(self, example: Example) -> dict[str, str]:
        """See Task."""
        return {"entities": between(len(example.fields["entities"]), ENTITIES)}

    def right(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[float]:
        """Word F1."""
        return [f1 for _, f1 in self._both(examples, predictions)]

    @staticmethod
    def _both(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[tuple[float, float]]:
        return [metric.answer_scores(e.gold, p.value) for e, p in zip(examples, predictions, strict=True)]

    def majority(self, train: Iterable[Example]) -> Majority:
        """The answer seen most in training; the first in the alphabet of equals."""
        counts = Counter(answer for example in train for answer in example.gold)
        return Majority(min(counts, key=lambda answer: (-counts[answer], answer)))

    def tally(self, example: Example) -> list[str]:
        """How many entities there are to choose from."""
        return [f"of {len(example.fields['entities'])} entities"]

    def parse(self, text: str) -> dict[str, Any]:
        """Refused: entities need their places."""
        raise DataError(f"{self.name} cannot be given as plain text; give JSON lines as in its files")


def query_number(idx: Any, index: int) -> str:
    """A query's own number, which is unique in a file."""
    return str(idx["query"]) if isinstance(idx, Mapping) and "query" in idx else str(index)


def texts(given: Any) -> bool:
    """Whether something is a list of texts."""
    return isinstance(given, list) and all(isinstance(text, str) for text in given)
