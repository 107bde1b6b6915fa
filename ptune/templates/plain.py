"""The example's fields as segments, the way the backbone's tokenizer joins a text or a text pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ptune.batch import Example, Extent, Windows
from ptune.templates import Part, Parts, Template
from ptune.tokens import Tokens


class Plain(Template):
    """slots: pseudo tokens right after the first special token; mask: a mask at the end, for heads that read one."""

    def __init__(
        self,
        tokens: Tokens,
        fields: Sequence[str],
        slots: int = 0,
        mask: bool = False,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
    ) -> None:
        super().__init__(tokens, overflow, windows)
        self.fields, self.slots, self.mask = list(fields), slots, mask

    def parts(self, index: int, example: Example, target: int | Sequence[int] | Extent | None) -> Parts:
        """See Template."""
        pieces: list[Part] = []
        if self.slots:
            pieces.append(Part("slot", [self.tokens.unk_id] * self.slots))
        for segment, name in enumerate(self.fields):
            value = example.fields[name]
            if self.windows is not None and name == self.windows.field:
                pieces.append(self.context(value, segment))
            elif isinstance(value, str):
                pieces.append(Part("text", self.tokens.encode(value.lstrip()), segment))
            else:
                pieces.append(self.words(value, segment, example.mark))
        if self.mask:
            assert self.tokens.mask_id is not None
            pieces.append(Part("mask", [self.tokens.mask_id], len(self.fields) - 1))
        return Parts(index, pieces, target, len(self.fields))
