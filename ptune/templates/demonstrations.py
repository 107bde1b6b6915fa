"""A pattern beside training examples in the same pattern, with their label words in place of the mask.

LM-BFF's demonstrations (Gao et al. 2021, arXiv 2012.15723), and in-context learning (Brown et al. 2020, 2005.14165).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ptune.batch import Draw, Example, Extent, Row, Windows
from ptune.seeds import mix
from ptune.templates import DemonstrationTemplate, Part, Parts
from ptune.templates.pattern import Pattern
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.injection import Shape
    from ptune.tasks import Task


class Demonstrations(Pattern, DemonstrationTemplate):
    """shots: how many training examples are shown, of each label in order (per_label), or of all; null: every one.
    place: after the text or before it; samples: sets of them in evaluation, a row each, whose answers are averaged, the
    same ones in every evaluation of a run; training draws one anew each epoch, without the example itself.

    max_length: of a row, where data.max_length does not say it; null: twice the task's. first_sent_limit: tokens of
    the example's first text; other_sent_limit: of its others, and of those that are shown; null: any number. Where
    there is no room, the longest texts are cut (per_label), or fewer examples shown.

    filter_rate: the share of each label's examples that is drawn from, the most similar ones by the cosine of what
    ptune.sentences makes of their texts; encoder: the folder of a checkpoint that embeds them, null for the backbone's
    own, as it is before training.
    """

    runtime = (*Pattern.runtime, "labels", "verbalizers", "words", "sentences", "seed")
    drawn: ClassVar[bool] = True

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Template."""
        yield from super().problems(given, shape, task)
        if task.readout not in ("sequence", "scalar") or task.grouped or task.masked != "label":
            yield "", f"demonstrations are texts with one label each, but {task.name} asks for more; use pattern"
        elif not task.verbalizers:
            yield "", f"task {task.name} has no verbalizers, whose words demonstrations show; use pattern"
        if shape.causal and given["place"] == "after":
            yield "place", "a causal model reads nothing after the mask; use before"
        for key in ("samples", "max_length", "first_sent_limit", "other_sent_limit"):
            if given[key] is not None and given[key] < 1:
                yield key, f"{given[key]} is too small; at least 1"
        if given["shots"] is not None and given["shots"] < 0:
            yield "shots", f"{given['shots']} is too small; at least 0"
        if given["filter_rate"] is not None and not 0 < given["filter_rate"] <= 1:
            yield "filter_rate", f"{given['filter_rate']} must be above 0 and at most 1"
        if given["encoder"] is not None and given["filter_rate"] is None:
            yield "encoder", "is only used with filter_rate; set method.template.filter_rate=0.5 or remove encoder"
        elif given["encoder"] is not None and not given["encoder"].startswith(("/", "pkg://")):
            yield (
                "encoder",
                f"'{given['encoder']}' must be a full path, since eval and predict may run in another folder",
            )

    @classmethod
    def row_length(cls, given: Mapping[str, Any], task: Task) -> int:
        """See Template."""
        return int(given.get("max_length") or 2 * task.max_length)

    def __init__(
        self,
        tokens: Tokens,
        fields: Sequence[str],
        patterns: Mapping[str, Mapping[str, str]],
        labels: Sequence[str],
        verbalizers: Mapping[str, Mapping[str, Sequence[str]]],
        words: str | None = None,
        sentences: Callable[[str | None], Callable[[Sequence[str]], np.ndarray]] | None = None,
        name: str | None = None,
        slots: int = 0,
        mask: bool = False,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
        shots: int | None = 1,
        per_label: bool = True,
        place: Literal["after", "before"] = "after",
        samples: int = 16,
        max_length: int | None = None,
        first_sent_limit: int | None = None,
        other_sent_limit: int | None = None,
        filter_rate: float | None = None,
        encoder: str | None = None,
        family: str | None = None,
        seed: int = 0,
    ) -> None:
        """words: the verbalizer that the head reads, null for the pattern's own; sentences: gives, for `encoder`, what
        embeds texts as vectors [n, H] of length 1; seed: the run's, of what evaluation draws."""
        super().__init__(tokens, fields, patterns, name, slots, mask, overflow, windows, family=family)
        self.shots, self.per_label, self.place, self.samples = shots, per_label, place, samples
        self.other_sent_limit, self.seed = other_sent_limit, seed
        pattern_fields = [piece.text for piece in self.pieces if piece.kind == "field"]
        self.limits = [first_sent_limit if field == fields[0] else other_sent_limit for field in pattern_fields]
        self.labels, self.filter_rate = list(labels), filter_rate
        verbalizer = verbalizers[words or self.verbalizer or next(iter(verbalizers))]
        self.answers = [tokens.encode(verbalizer[label][0], self.mask_lead) for label in labels]
        self.pool: list[list[Part]] = []
        self.owners: list[int] = []
        if filter_rate is not None:
            assert sentences is not None
            self._embed = sentences(encoder)
            self._vectors = np.empty((0, 0))
            self._nearest: dict[str, list[int]] = {}
        self._places: dict[str, list[int]] = {}

    def generating(self, written: Sequence[str], longest: int) -> None:
        """See Template; examples are shown with their labels as these are written."""
        super().generating(written, longest)
        self.answers = [self.tokens.encode(label, self.mask_lead) for label in written]

    @property
    def wanted(self) -> int:
        """How many training examples a row shows if all have room."""
        limit = len(self.pool) if self.shots is None else self.shots
        if not self.per_label:
            return min(limit, len(self.pool))
        return sum(min(limit, self.owners.count(label)) for label in range(len(self.labels)))

    @property
    def sets(self) -> int:  # type: ignore[override]
        """See Template."""
        return self.samples if self.wanted else 1

    def learn(self, examples: Sequence[tuple[Example, float | Sequence[int] | Extent | str | None]]) -> None:
        """See DemonstrationTemplate.

        The label of a number is the nearer end of the scale, and the lower one in its middle.
        """
        for example, target in examples:
            assert isinstance(target, int | float)
            label = target if isinstance(target, int) else int(2 * target > sum(map(float, self.labels)))
            parts = self.parts(0, example, None)
            self._places.setdefault(told_by(parts.parts), []).append(len(self.pool))
            self.pool.append([fill_mask(piece, self.answers[label]) for piece in parts.parts if piece.kind != "slot"])
            self.owners.append(label)
        if self.filter_rate is not None:
            self._vectors = self._embed([self._said(pieces) for pieces in self.pool])

    def rows(self, parts: Parts, draw: Draw, max_len: int) -> list[Row]:
        """See Template; in evaluation `samples` rows that have one label together, which the first of them bears.

        What is drawn depends on the texts of the example, not on where it stands: it has the same answer everywhere.
        """
        example_key = told_by(parts.parts)
        own_indices = self._places.get(example_key, []) if draw.training else []
        candidates = self._among(parts, own_indices)
        rows = []
        for sample in range(1 if draw.training else self.sets):
            seed = draw.seed if draw.training else self.seed
            random_ = random.Random(mix(seed, draw.epoch, "demonstrations", example_key, sample))
            row = self._row(parts, self._chosen(candidates, random_), max_len)
            rows.append(replace(row, target=None, output=()) if sample else row)
        return rows

    def _among(self, parts: Parts, own: Sequence[int]) -> list[list[int]]:
        """For each label, the examples that may be shown beside this one, which stands at `own` itself, if anywhere."""
        ordered_indices = self._near(parts) if self.filter_rate is not None else range(len(self.pool))
        candidates: list[list[int]] = [[] for _ in self.labels]
        for index in ordered_indices:
            if index not in own:
                candidates[self.owners[index]].append(index)
        if self.filter_rate is None:
            return candidates
        return [sorted(indices[: math.ceil(len(indices) * self.filter_rate)]) for indices in candidates]

    def _near(self, parts: Parts) -> list[int]:
        """All that could be shown, the most similar first."""
        example_key = told_by(parts.parts)
        if example_key not in self._nearest:
            (vector,) = self._embed([self._said(parts.parts)])
            self._nearest[example_key] = np.argsort(-(self._vectors @ vector), kind="stable").tolist()
        return self._nearest[example_key]

    def _said(self, pieces: Sequence[Part]) -> str:
        """The texts of an example, without the pattern's words."""
        return " ".join(self.tokens.tokenizer.decode(piece.ids) for piece in pieces if piece.kind == "text")

    def _chosen(self, among: Sequence[Sequence[int]], random_: random.Random) -> list[int]:
        """Which examples are shown, in their order."""
        groups = among if self.per_label else [sorted(index for indices in among for index in indices)]
        limit = len(self.pool) if self.shots is None else self.shots
        return [index for indices in groups for index in random_.sample(indices, min(limit, len(indices)))]

    def _row(self, parts: Parts, chosen: Sequence[int], max_len: int) -> Row:
        """The example with those that are shown, parted as two segments are."""
        own_pieces = limit_texts(parts.parts, self.limits)
        groups = [limit_texts(self.pool[index], [self.other_sent_limit] * len(self.limits)) for index in chosen]
        parting_length = len(self.tokens.frames[2].between)
        if not self.per_label:
            groups = self._fitting(own_pieces, groups, parts.segments, max_len)
        dropped = len(chosen) - len(groups)
        if not groups:
            (row,) = super().rows(replace(parts, parts=own_pieces), Draw(0, 0), max_len)
            return replace(row, dropped=dropped)
        shown_groups = [own_pieces, *groups] if self.place == "after" else [*groups, own_pieces]
        pieces = [
            piece._replace(segment=piece.segment + number * parts.segments)
            for number, group in enumerate(shown_groups)
            for piece in group
        ]
        parting_tokens = (len(shown_groups) * parts.segments - 2) * parting_length  # beside the one of two segments
        joined_parts = replace(parts, parts=pieces, segments=2)
        (row,) = super().rows(joined_parts, Draw(0, 0), max_len - parting_tokens)
        was_cut = any(len(a.ids) < len(b.ids) for a, b in zip(own_pieces, parts.parts, strict=True))
        return replace(row, cut=row.cut or was_cut, dropped=dropped)

    def _fitting(
        self, own: Sequence[Part], groups: Sequence[list[Part]], segments: int, max_len: int
    ) -> list[list[Part]]:
        """Of those in their order as many as have room beside the whole example."""
        frame = self.tokens.frames[2]
        room = max_len - len(frame) + len(frame.between) - (segments - 1) * len(frame.between) - len(self.closing)
        room -= sum(len(piece.ids) for piece in own if piece.kind != "slot")
        fitting_groups = []
        for group in groups:
            room -= sum(len(piece.ids) for piece in group) + segments * len(frame.between)
            if room < 0:
                break
            fitting_groups.append(group)
        return fitting_groups


def told_by(pieces: Sequence[Part]) -> str:
    """What tells an example from others: a hash of its texts."""
    return f"{mix(*(tuple(piece.ids) for piece in pieces if piece.kind == 'text')):x}"


def fill_mask(piece: Part, word: Sequence[int]) -> Part:
    """A mask as the word in its place."""
    return piece._replace(kind="literal", ids=word) if piece.kind == "mask" else piece


def limit_texts(pieces: Sequence[Part], limits: Sequence[int | None]) -> list[Part]:
    """Pieces whose texts have at most so many tokens, each its own number of them."""
    remaining_limits = iter(limits)
    return [
        piece._replace(ids=piece.ids[: next(remaining_limits)]) if piece.kind == "text" else piece for piece in pieces
    ]
