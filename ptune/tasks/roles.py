"""Semantic roles: who does what to whom, one tag a word for each predicate, scored as srl-eval.pl does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from ptune import metrics as metric
from ptune.batch import Example
from ptune.errors import DataError
from ptune.readers import Record
from ptune.tasks import Prediction
from ptune.tasks.tag import Counts, Tag

MARKED = re.compile(r"\*(\S+)\*")


class Roles(Tag):
    """types: the roles. predicate: how the template shows which word is asked about.

    marked: an asterisk on either side of it, in the sentence, as T5 marks pronouns (Raffel et al. 2020); every
    vocabulary has one, and a word that occurs twice stays clear. appended: as a second segment, as Shi and Lin (2019,
    arXiv 1904.05255) do. literal: after the word [SEP], in the sentence's own segment, as the published P-Tuning v2
    code does; [SEP] is a special token where the tokenizer knows it, and else ordinary text.
    """

    counts = staticmethod(metric.role_counts)

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        types: list[str],
        predicate: Literal["marked", "appended", "literal"] = "marked",
        max_length: int = 256,
        published: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, version, source, types, "iob2", max_length, published)
        self.predicate = predicate
        self.fields = ["tokens", "predicate"] if predicate == "appended" else ["tokens"]
        self.score_names = ["f1", "precision", "recall", "f1_seqeval", "f1_seqeval_no_v"]

    @property
    def inputs(self) -> list[str]:
        """See Task; where the predicate is depends on no template."""
        return ["tokens", "predicate"]

    def example(self, record: Record, index: int) -> Example:
        """See Task; `predicate` in the record is the index of a word, counted from 0."""
        example = super().example(record, index)
        tokens, at = example.fields["tokens"], record.values.get("predicate")
        if type(at) is not int or not 0 <= at < len(tokens):
            raise DataError(
                f"{record.where}: 'predicate' is {at!r}; it must be the index of one of the {len(tokens)} words"
            )
        fields = {"tokens": tokens, "predicate": tokens[at], "index": at}
        tail = ("[SEP]", tokens[at]) if self.predicate == "literal" else ()
        return Example(example.id, fields, example.gold, mark=at if self.predicate == "marked" else None, tail=tail)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """f1, precision, recall: the official ones; seqeval's F1 counts V, and C- and R- as types of their own."""
        return metric.roles([e.gold for e in examples], [p.value for p in predictions])

    def document(self, example: Example) -> str | None:
        """The sentence, which has several predicates."""
        return " ".join(example.fields["tokens"])

    def counted(self, name: str) -> Counts:
        """See Tag."""
        if name == "f1_seqeval_no_v":
            return lambda gold, said: metric.span_counts(*map(metric.without_predicates, (gold, said)))
        return metric.span_counts if name == "f1_seqeval" else self.counts

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """See Task; the table of srl-eval.pl."""
        gold, predicted = [e.gold for e in examples], [p.value for p in predictions]
        return {"labels": metric.role_report(gold, predicted), "confusions": metric.span_confusions(gold, predicted)}

    def parse(self, text: str) -> dict[str, Any]:
        """Words separated by spaces, the predicate between asterisks: `the cat *sat* down`."""
        words = text.split()
        marked = [i for i, word in enumerate(words) if MARKED.fullmatch(word)]
        if len(marked) != 1:
            raise DataError(f"{len(marked)} words between asterisks; {self.name} needs one, as in: the cat *sat* down")
        words[marked[0]] = words[marked[0]][1:-1]
        return {"tokens": words, "predicate": marked[0]}
