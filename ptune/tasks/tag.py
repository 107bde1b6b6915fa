"""One tag a word: named entities and other spans, in IOB2 inside, scored by seqeval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.data import schemes
from ptune.errors import DataError, nearest
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, Prediction, Task

BLANK = " \t\r\n"  # any other character may be a token of its own
Counts = Callable[[Sequence[Sequence[str]], Sequence[Sequence[str]]], np.ndarray]


class Tag(Task):
    """types: the entity types; scheme: how the files are tagged; published: see Classify."""

    readout = "token"
    label = "tags"
    counts = staticmethod(metric.span_counts)  # correct, predicted and gold spans of each example

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        types: list[str],
        scheme: schemes.Scheme = "iob2",
        max_length: int = 256,
        published: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.version, self.source, self.scheme = name, version, source, scheme
        self.types, self.max_length = list(types), max_length
        self.fields = ["tokens"]
        self.labels = ["O"] + [f"{prefix}-{kind}" for kind in self.types for prefix in "BI"]
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.headline, self.score_names = "f1", ["f1", "precision", "recall", "f1_strict"]
        self.patterns: dict[str, dict[str, str]] = {}
        self.verbalizers: dict[str, dict[str, list[str]]] = {}

    def lay_out(self, name: str | None) -> None:
        """See Task; a layout may have a scheme of its own."""
        super().lay_out(name)
        self.scheme = self.source.get("scheme", self.scheme)

    def example(self, record: Record, index: int) -> Example:
        """See Task; tags of every scheme come out as IOB2."""
        tokens, tags = record.values.get("tokens"), record.values.get("tags")
        if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
            raise DataError(f"{record.where}: no tokens; {self.name} needs a list of words in 'tokens'")
        if (blank := next((i for i, token in enumerate(tokens) if not token.strip(BLANK)), None)) is not None:
            raise DataError(f"{record.at(blank)}: token {blank + 1} is {tokens[blank]!r}; a token must be a word")
        if tags is None:
            return Example(str(index), {"tokens": tokens})
        if not isinstance(tags, list):
            raise DataError(f"{record.where}: 'tags' is a {type(tags).__name__} where a list of tags is needed")
        if len(tags) != len(tokens):
            raise DataError(f"{record.where}: {len(tokens)} tokens but {len(tags)} tags")
        return Example(str(index), {"tokens": tokens}, self._iob2(tags, record))

    def _iob2(self, tags: Sequence[Any], record: Record) -> list[str]:
        """The tags of a record in IOB2, each of a known type. Raises DataError at the word's place."""
        try:
            out = schemes.to_iob2(tags, self.scheme)
        except schemes.SchemeError as error:
            raise DataError(f"{record.at(error.index)}: {error}") from None
        for position, tag in enumerate(tags):
            if tag != "O" and tag[2:] not in self.types:
                raise DataError(
                    f"{record.at(position)}: '{tag}' (token {position + 1}) is not a type of {self.name}; "
                    f"{nearest(tag[2:], self.types)}"
                )
        return out

    def target(self, example: Example) -> list[int] | None:
        """See Task."""
        return None if example.gold is None else [self.index[tag] for tag in example.gold]

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The best tag of each word; words that no row covers (overflow=truncate) are O."""
        tags = ["O"] * len(example.fields["tokens"])
        for output in outputs:
            for i, best in enumerate(output.scores.argmax(-1)):
                tags[output.start + i] = self.labels[int(best)]
        return Prediction(tags)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task."""
        return metric.spans([e.gold for e in examples], [p.value for p in predictions])

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task."""
        counts = self.counted(name)([e.gold for e in examples], [p.value for p in predictions])
        shares = {"precision": metric.precision_of_counts, "recall": metric.recall_of_counts}
        return Sums(counts, shares.get(name, metric.f1_of_counts))

    def counted(self, name: str) -> Counts:
        """What counts the spans of a score, see `counts`."""
        return metric.strict_counts if name == "f1_strict" else self.counts

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """See Task; confused are types of spans with the same ends, and spans that the other side has not with O."""
        gold, predicted = [e.gold for e in examples], [p.value for p in predictions]
        return {"labels": metric.span_report(gold, predicted), "confusions": metric.span_confusions(gold, predicted)}

    def right(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[float]:
        """F1 of an example; 1 where there is no span on either side."""
        return shares(self.counts([e.gold for e in examples], [p.value for p in predictions]))

    def majority(self, train: Iterable[Example]) -> Majority:
        """The most frequent tag, which is O in every corpus of the field."""
        counts = dict.fromkeys(self.labels, 0)
        for example in train:
            for tag in example.gold or ():
                counts[tag] += 1
        return Majority(max(self.labels, key=lambda tag: counts[tag]), words="tokens")

    def tally(self, example: Example) -> list[str]:
        """The type of each entity."""
        return [tag[2:] for tag in example.gold if tag[0] == "B"]

    def parse(self, text: str) -> dict[str, Any]:
        """Words separated by spaces."""
        tokens = text.split()
        if not tokens:
            raise DataError(f"an empty line; {self.name} needs words separated by spaces")
        return {"tokens": tokens}


def shares(counts: np.ndarray) -> list[float]:
    """F1 of each row of correct, predicted and gold entities [n, 3]; 1 where there are none."""
    correct, n_predicted, n_gold = counts.T
    return np.divide(
        2 * correct, n_predicted + n_gold, out=np.ones(len(counts)), where=n_predicted + n_gold > 0
    ).tolist()
