"""LAMA: facts as a subject, a relation and an object of one word, which a model is to say (arXiv 1909.01066)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ptune import metrics as metric
from ptune.batch import Example, RowOutput
from ptune.errors import DataError, nearest
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, Prediction, Target, Task

SUBJECT, OBJECT = "[X]", "[Y]"
TOLD = ("template", "name", "type")  # of a relation


class Lama(Task):
    """Precision at 1 and 10 and mean reciprocal rank (of the first ten) over relations, as published: the mean of their
    means; p1_micro is that of all facts.

    What is rendered has `before` and `after`, the relation's template around the object, beside the subject, and the
    relation with its name and type. Each relation is a prompt of its own, as P-Tuning trains them.

    relations: relation -> {template, name, type}; null for those of the corpus, which a run keeps in its config.yaml.
    """

    readout = "word"
    also = ("uuid", "sub_uri", "obj_uri", "evidences", "template", "label", "type")
    label = "obj_label"

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        relations: dict[str, dict[str, str]] | None = None,
        max_length: int = 64,
        patterns: dict[str, dict[str, str]] | None = None,
        formats: dict[str, list[str]] | None = None,
        format: str | None = None,
    ) -> None:
        self.name, self.version, self.source = name, version, source
        self.relations = relations
        self.fields = ["subject", "relation", *TOLD, "before", "after"]
        self.labels: list[str] = []
        self.headline, self.score_names = "p1", ["p1", "p1_micro", "p10", "mrr"]
        self.max_length, self.patterns, self.verbalizers = max_length, patterns or {}, {}
        self.choose(formats, format)

    @property
    def inputs(self) -> list[str]:
        """See Task."""
        return ["predicate_id", "sub_label"]

    @property
    def prompts(self) -> int:
        """See Task."""
        return max(1, len(self.relations or ()))

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        yield from self.format_problems()
        for name, about in (self.relations or {}).items():
            if set(about) != set(TOLD) or about["template"].count(SUBJECT) != 1 or about["template"].count(OBJECT) != 1:
                yield f"relations.{name}", f"needs {', '.join(TOLD)}, the first with {SUBJECT} and {OBJECT} once each"

    def example(self, record: Record, index: int) -> Example:
        """See Task. Raises DataError for a relation without a template."""
        relation, subject = (self.text(record, name) for name in self.inputs)
        if not subject.strip():
            raise DataError(f"{record.where}: nothing in 'sub_label'; {self.name} needs a text there")
        values, relations = record.values, self.relations or {}
        if "template" in values:
            about = dict(zip(TOLD, (str(values.get(key, "")) for key in ("template", "label", "type")), strict=True))
            if any(about["template"].count(slot) != 1 for slot in (SUBJECT, OBJECT)):
                raise DataError(
                    f"{record.where}: the template {about['template']!r} needs {SUBJECT} and {OBJECT} once each"
                )
        elif relation in relations:
            about = relations[relation]
        else:
            raise DataError(f"{record.where}: '{relation}' is not a trained relation; {nearest(relation, relations)}")
        gold = values.get(self.label)
        if gold is not None and (not isinstance(gold, str) or not gold.strip()):
            raise DataError(f"{record.where}: {gold!r} in '{self.label}'; {self.name} needs a word there")
        name = str(values.get("uuid", index))
        return Example(name, {"subject": subject, "relation": relation, **about}, gold)

    def decide(self, splits: Mapping[str, Sequence[Example]]) -> dict[str, Any]:
        """See Task; the relations, in the order of their names."""
        if self.relations is None:
            by_relation = {e.fields["relation"]: e.fields for examples in splits.values() for e in examples}
            self.relations = {name: {key: by_relation[name][key] for key in TOLD} for name in sorted(by_relation)}
        return {"relations": self.relations}

    def target(self, example: Example) -> str | None:
        """The object."""
        return example.gold

    def candidates(self, example: Example) -> Iterator[tuple[Example, Target]]:
        """See Task; the example with its relation's template around the object. Raises DataError for a new relation."""
        fields, relations = example.fields, list(self.relations or ())
        if relations and fields["relation"] not in relations:
            near = nearest(fields["relation"], relations)
            raise DataError(f"fact {example.id}: '{fields['relation']}' is not a trained relation; {near}")
        before, after = (part.replace(SUBJECT, fields["subject"]).strip() for part in fields["template"].split(OBJECT))
        number = relations.index(fields["relation"]) if relations else 0
        yield replace(example, fields={**fields, "before": before, "after": after}, prompt=number), self.target(example)

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The best word, and the others with their log-probabilities; the gold one is spelled as the corpus has it."""
        (output,) = outputs
        words = list(output.words)
        if output.gold >= 0:
            words[output.gold] = example.gold
        return Prediction(words[0], dict(zip(words, output.scores.tolist(), strict=True)))

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """See Task."""
        relations = [example.fields["relation"] for example in examples]
        hits = self._hits(examples, predictions)
        return {
            name: 100.0 * float(values.mean()) if name == "p1_micro" else metric.mean_of_means(values, relations)
            for name, values in hits.items()
        }

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task."""
        values = self._hits(examples, predictions)[name]
        if name == "p1_micro":
            return Sums(metric.shares(values), metric.share, share=True)
        names, place = np.unique([example.fields["relation"] for example in examples], return_inverse=True)
        counts = metric.one_hot(place, len(names))
        return Sums(np.concatenate([counts * values[:, None], counts], 1), metric.mean_of_shares)

    def _hits(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
        """What each prediction is worth by each score, 0 to 1."""
        ranked = [list(p.scores) if p.scores else [p.value] for p in predictions]
        ranks = [words.index(e.gold) + 1 if e.gold in words else 0 for e, words in zip(examples, ranked, strict=True)]
        first = np.array([rank == 1 for rank in ranks], float)
        among = np.array([0 < rank <= 10 for rank in ranks], float)
        return {
            "p1": first,
            "p1_micro": first,
            "p10": among,
            "mrr": np.array([1 / rank if rank else 0.0 for rank in ranks]),
        }

    def facets(self, example: Example) -> dict[str, str]:
        """See Task."""
        relation, name, kind = (example.fields[key] for key in ("relation", "name", "type"))
        return {"relation": f"{relation} {name}".strip(), "relation type": kind or "unknown"}

    def majority(self, train: Iterable[Example]) -> Majority:
        """The object seen most in training with the relation; the first in the alphabet of equals."""
        counts: dict[str, Counter[str]] = {}
        for example in train:
            counts.setdefault(example.fields["relation"], Counter())[example.gold] += 1
        most_frequent = {name: min(of, key=lambda word: (-of[word], word)) for name, of in counts.items()}
        return Majority(most_frequent, key="relation")

    def tally(self, example: Example) -> list[str]:
        """The relation."""
        return [example.fields["relation"]]
