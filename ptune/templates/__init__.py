"""Templates render examples: `parts` splits an example into typed pieces once, `rows` assembles model inputs a step.

Only parts marked shortenable are ever cut; literal words, masks and slots never are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

from ptune.batch import IGNORED, Draw, Example, Row
from ptune.injection import Shape
from ptune.tokens import Tokens


class Part(NamedTuple):
    """A piece of a row. text: may be shortened; words: the words that are tagged, `starts` their first sub-tokens."""

    kind: Literal["text", "literal", "mask", "slot", "words"]
    ids: Sequence[int]
    segment: int = 0
    starts: Sequence[int] = ()


@dataclass(frozen=True)
class Parts:
    """An example ready to be laid out; depends on nothing drawn, so it can be cached."""

    example: int
    parts: Sequence[Part]
    target: int | Sequence[int] | None = None
    segments: int = field(default=1)


class Template(ABC):
    """tokens: the backbone's tokenizer; overflow: what becomes of tagged sentences longer than a row."""

    runtime: ClassVar[tuple[str, ...]] = ("tokens", "fields", "patterns", "slots", "mask", "overflow")
    drawn: ClassVar[bool] = False  # whether `rows` depends on the draw
    verbalizer: str | None = None  # the verbalizer that goes with the pattern
    mask_lead: bool = True  # whether a space stands before the mask

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) for this backbone and task, before any weight is loaded."""
        yield from ()

    def __init__(self, tokens: Tokens, overflow: Literal["window", "truncate"] = "window") -> None:
        self.tokens, self.overflow = tokens, overflow

    @abstractmethod
    def parts(self, index: int, example: Example, target: int | Sequence[int] | None) -> Parts:
        """Example number `index` as typed pieces; `target` as the task encodes it."""

    def rows(self, parts: Parts, draw: Draw, max_len: int) -> list[Row]:
        """Model inputs of at most `max_len` tokens (slots not counted); more than one where words overflow.

        `draw` is where templates that sample (demonstrations) take their randomness from.
        """
        frame = self.tokens.frames[parts.segments]
        fixed = sum(len(p.ids) for p in parts.parts if p.kind in ("literal", "mask"))
        budget = max(max_len - len(frame) - fixed, 1)
        words = next((i for i, part in enumerate(parts.parts) if part.kind == "words"), None)
        if words is not None:
            windows = self._windows(parts.parts[words], budget)
            return [
                self._assemble(parts, [window if i == words else p for i, p in enumerate(parts.parts)], start, first)
                for window, start, first in windows
            ]
        short = shorten(parts.parts, budget)
        cut = sum(len(part.ids) for part in short) < sum(len(part.ids) for part in parts.parts)
        return [self._assemble(parts, short, 0, 0, cut)]

    def _windows(self, part: Part, budget: int) -> Iterator[tuple[Part, int, int]]:
        """(window, first word it reads, how many leading words are context only), each within `budget` tokens."""
        ends = [*part.starts[1:], len(part.ids)]
        word, begin = 0, 0
        while True:
            first = begin if ends[word] - part.starts[begin] <= budget else word
            last = first
            while last < len(ends) and ends[last] - part.starts[first] <= budget:
                last += 1
            last = max(last, word + 1)
            ids = part.ids[part.starts[first] : ends[last - 1]][:budget]
            starts = [part.starts[i] - part.starts[first] for i in range(first, last)]
            yield Part("words", ids, part.segment, starts), word, word - first
            if last == len(ends) or self.overflow == "truncate":
                return
            word = begin = last
            while begin > first + 1 and part.starts[word] - part.starts[begin - 1] <= budget // 4:
                begin -= 1

    def _assemble(self, parts: Parts, pieces: Sequence[Part], start: int, context: int, cut: bool = False) -> Row:
        frame = self.tokens.frames[parts.segments]
        ids, types = list(frame.before), [frame.types[0]] * len(frame.before)
        read: dict[str, list[int]] = {"cls": [0]}
        slots: list[int] = []
        segment = 0
        for piece in pieces:
            if piece.segment != segment:
                ids.extend(frame.between)
                types.extend(frame.between_types)
                segment = piece.segment
            here = len(ids)
            if piece.kind == "mask":
                read.setdefault("mask", []).extend(range(here, here + len(piece.ids)))
            elif piece.kind == "slot":
                slots.extend(range(here, here + len(piece.ids)))
            elif piece.kind == "words":
                read["words"] = [here + offset for offset in piece.starts[context:]]
            ids.extend(piece.ids)
            types.extend([frame.types[segment]] * len(piece.ids))
        ids.extend(frame.after)
        types.extend([frame.after_type] * len(frame.after))
        target = parts.target
        if "words" in read and target is not None and not isinstance(target, int):
            target = tuple(target[start : start + len(read["words"])])
        return Row(parts.example, ids, types, read, slots, target, start, cut=cut)


def shorten(parts: Sequence[Part], budget: int) -> list[Part]:
    """Cut text parts from their ends, always the longest one first, until together they fit `budget` tokens.

    Of two texts cut to the same length, the longer one keeps the odd token, as in Hugging Face's `longest_first`.
    """
    lengths = {i: len(part.ids) for i, part in enumerate(parts) if part.kind == "text"}
    excess = sum(lengths.values()) - budget
    while excess > 0:
        order = sorted(lengths.values(), reverse=True)
        longest = [i for i, n in lengths.items() if n == order[0]]
        below = next((n for n in order if n < order[0]), 0)
        step = min(order[0] - below, -(-excess // len(longest)))
        for i in sorted(longest, key=lambda i: len(parts[i].ids)):
            cut = min(step, excess)
            lengths[i] -= cut
            excess -= cut
    return [part._replace(ids=part.ids[: lengths[i]]) if i in lengths else part for i, part in enumerate(parts)]


def lost_labels(rows: Sequence[Row], target: int | Sequence[int] | None) -> int:
    """How many gold labels of an example no row reads (overflow=truncate)."""
    if target is None or isinstance(target, int):
        return 0
    return sum(t != IGNORED for t in target) - sum(row.labels for row in rows)
