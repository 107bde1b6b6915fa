"""The example's fields as segments, the way the backbone's tokenizer joins a text or a text pair."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ptune.batch import Example, Extent, Windows
from ptune.templates import Part, Parts, Template, tokens_of
from ptune.tokens import Tokens


class Plain(Template):
    """segments: what is joined, fields or texts with {fields} in them; None: the fields in their order.

    slots: pseudo tokens right after the first special token; mask: a mask at the end, for heads that read one.
    """

    marks = True

    def __init__(
        self,
        tokens: Tokens,
        fields: Sequence[str],
        segments: Sequence[str] | None = None,
        slots: int = 0,
        mask: bool = False,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
    ) -> None:
        super().__init__(tokens, overflow, windows)
        self.segments, self.slots, self.mask = list(segments or fields), slots, mask

    def parts(self, index: int, example: Example, target: float | Sequence[int] | Extent | None) -> Parts:
        """See Template."""
        pieces: list[Part] = []
        if self.slots:
            pieces.append(Part("slot", [self.tokens.unk_id] * self.slots))
        for segment, segment_text in enumerate(self.segments):
            value = (
                example.fields.get(segment_text) if "{" not in segment_text else fill_in(segment_text, example.fields)
            )
            if self.windows is not None and segment_text == self.windows.field:
                pieces.append(self.context(str(value), segment))
            elif not isinstance(value, str):
                pieces.append(self.words(value or (), segment, example.mark))
                if example.tail:
                    pieces.append(
                        Part("text", [i for word in example.tail for i in self.tokens.word_ids(word)], segment)
                    )
            elif example.marks:
                pieces.append(self._marked(segment_text, value, segment, example))
            else:
                pieces.append(Part("text", self.encode(value.lstrip()), segment))
        if self.mask:
            assert self.tokens.mask_id is not None
            pieces.append(Part("mask", [self.tokens.mask_id] * self.masks, len(self.segments) - 1))
        return Parts(index, pieces, target, len(self.segments))

    def _marked(self, given: str, value: str, segment: int, example: Example) -> Part:
        """A text whose marked characters are tokens that heads can read."""
        text = value.lstrip()
        ids, offsets = self.tokens.located(text)
        marks = {}
        for name, (field, characters) in example.marks.items():
            begin = place(given, field, example.fields)
            if begin is not None:
                shift = begin - (len(value) - len(text))
                first, last = tokens_of(offsets, Extent(characters.first + shift, characters.last + shift))
                marks[name] = range(first, last + 1) if first >= 0 else ()
        return Part("text", ids, segment, marks=marks)


def fill_in(segment: str, fields: Mapping[str, Any]) -> str:
    """A segment with its {fields} filled in."""
    return segment.format_map(fields)


def place(segment: str, field: str, fields: Mapping[str, Any]) -> int | None:
    """The character at which a field begins in its segment, None where it is not part of it."""
    if "{" not in segment:
        return 0 if segment == field else None
    position = 0
    for literal, name, _, _ in string.Formatter().parse(segment):
        position += len(literal)
        if name == field:
            return position
        position += len(str(fields[name])) if name is not None else 0
    return None
