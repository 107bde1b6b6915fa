"""Patterns whose tokens are hidden at random, to be told from the others: masked language modeling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from ptune.batch import Draw, Row, Windows
from ptune.seeds import mix
from ptune.templates import Parts
from ptune.templates.pattern import Pattern
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.injection import Shape
    from ptune.tasks import Task

HIDDEN, REPLACED = 0.8, 0.1  # of the chosen tokens: by the mask, by any token; the rest stays as it is


class Masked(Pattern):
    """A pattern as PET's auxiliary loss reads it (arXiv 2001.07676, section 3.2), its own mask where it is.

    share: of the tokens, special ones aside, that are chosen anew each epoch, one at least (Devlin et al. 2019, arXiv
    1810.04805, section 3.1); the targets of a row are what stood there, at read["hidden"].
    """

    drawn = True

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Template."""
        yield from super().problems(given, shape, task)
        if shape.causal or shape.sentinels:
            reason = (
                "a causal model has no masks" if shape.causal else "this one's masks stand for any number of tokens"
            )
            yield "", f"masked needs a model that fills a mask with a token; {reason}; leave method.procedure.alpha out"
        if not 0 < given["share"] < 1:
            yield "share", f"{given['share']} is not between 0 and 1"

    def __init__(
        self,
        tokens: Tokens,
        fields: Sequence[str],
        patterns: Mapping[str, Mapping[str, str]],
        name: str | None = None,
        share: float = 0.15,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
    ) -> None:
        super().__init__(tokens, fields, patterns, name, overflow=overflow, windows=windows)
        self.share = share
        self.special = set(tokens.special_ids)
        self.ordinary = sorted(set(tokens.tokenizer.get_vocab().values()) - self.special)

    def rows(self, parts: Parts, draw: Draw, max_len: int) -> list[Row]:
        """See Template."""
        return [self._hidden(row, draw) for row in super().rows(parts, draw, max_len)]

    def _hidden(self, row: Row, draw: Draw) -> Row:
        random = Random(mix(draw.seed, draw.epoch, "hidden", row.example, row.candidate))
        places = [place for place, token in enumerate(row.ids) if token not in self.special]
        chosen_places = [place for place in places if random.random() < self.share] or random.sample(
            places, min(1, len(places))
        )
        ids = list(row.ids)
        assert self.tokens.mask_id is not None
        for place in chosen_places:
            chance = random.random()
            if chance < HIDDEN:
                ids[place] = self.tokens.mask_id
            elif chance < HIDDEN + REPLACED:
                ids[place] = random.choice(self.ordinary)
        return replace(
            row, ids=ids, read={**row.read, "hidden": chosen_places}, target=[row.ids[place] for place in chosen_places]
        )
