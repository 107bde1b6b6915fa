"""Templates render examples: `parts` splits an example into typed pieces once, `rows` assembles model inputs a step.

Only texts are ever cut; literal words, masks and slots never are. A context is never cut either: it is read in windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from ptune.batch import IGNORED, NOWHERE, Draw, Example, Extent, Row, Windows
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.injection import Shape
    from ptune.tasks import Task

RECENT = 8  # texts whose ids are kept


class Part(NamedTuple):
    """A piece of a row. text: may be shortened; words: the words that are tagged, `starts` where each begins and
    `leads` how many of its tokens stand before its first sub-token; context: read in windows, `offsets` [n, 2] the
    characters that each token stands for. marks: tokens that heads read, by name."""

    kind: Literal["text", "literal", "mask", "slot", "words", "context"]
    ids: Sequence[int]
    segment: int = 0
    starts: Sequence[int] = ()
    leads: Sequence[int] = ()
    offsets: np.ndarray | None = None
    marks: Mapping[str, Sequence[int]] = MappingProxyType({})


@dataclass(frozen=True)
class Parts:
    """An example ready to be laid out; depends on nothing drawn, so it can be cached. An extent is of characters;
    output: token ids of the text to be generated; prompt: see Example."""

    example: int
    parts: Sequence[Part]
    target: float | Sequence[int] | Extent | None = None
    segments: int = field(default=1)
    candidate: int = 0
    grouped: bool = False
    output: Sequence[int] = ()
    prompt: int = 0
    choices: Sequence[Sequence[int]] = ()


class Template(ABC):
    """tokens: the backbone's tokenizer; overflow: what becomes of tagged sentences and contexts longer than a row;
    windows: how the task's long field is read, None where it has none."""

    runtime: ClassVar[tuple[str, ...]] = (
        "tokens",
        "fields",
        "segments",
        "patterns",
        "slots",
        "mask",
        "overflow",
        "windows",
        "masked",
        "family",
    )
    drawn: ClassVar[bool] = False  # whether `rows` depends on the draw
    marks: ClassVar[bool] = False  # whether rows have the positions that examples mark
    fills: ClassVar[bool] = False  # whether its masks can stand for texts of an example's own
    masked: str = "label"  # what its masks stand for, see ptune.tasks
    sets: int = 1  # of training examples that are shown beside a text in evaluation, a row each
    masks: int = 1  # how many there are for the longest of the labels' words
    verbalizer: str | None = None  # the verbalizer that goes with the pattern
    mask_lead: bool = True  # whether a space stands before the mask
    mask: bool = True  # whether heads read at the mask, if there is one
    written: Sequence[str] | None = None  # for a head that generates: what each label is called, if there are any
    longest: int = 0  # tokens of a text to be generated, the end token counted

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) for this backbone and task, before any weight is loaded."""
        yield from ()

    @classmethod
    def places(cls, given: Mapping[str, Any], shape: Shape, task: Task, family: str | None) -> int | None:
        """How many pseudo tokens there are places for with these settings, where the template says it.

        family: patterns whose names begin so are preferred.
        """
        return None

    @classmethod
    def row_length(cls, given: Mapping[str, Any], task: Task) -> int:
        """How many tokens a row has at most where data.max_length does not say it."""
        return int(task.max_length)

    def __init__(
        self,
        tokens: Tokens,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
    ) -> None:
        self.tokens, self.overflow, self.windows = tokens, overflow, windows
        # A causal model says at a token of its own, after the context, that there is no answer in it.
        self.closing = tokens.encode("\n")[-1:] if windows is not None and tokens.causal else []
        self._context: tuple[str, Part] | None = None
        self._encoded: dict[str, list[int]] = {}

    @abstractmethod
    def parts(self, index: int, example: Example, target: float | Sequence[int] | Extent | None) -> Parts:
        """Example number `index` as typed pieces; `target` as the task encodes it."""

    def generating(self, written: Sequence[str], longest: int) -> None:
        """From now on targets are texts to be generated: labels as they are `written`, at most `longest` tokens.

        A causal model begins them after its start token, as Prefix-Tuning's inputs do (Li and Liang 2021, arXiv
        2101.00190), but at the mask of a pattern.
        """
        self.written, self.longest = list(written), longest
        if self.tokens.causal and not self.fills:
            self.closing = [self.tokens.start_id]

    def parts_with_text(
        self, index: int, example: Example, target: float | Sequence[int] | Extent | str | None
    ) -> Parts:
        """As `parts`, with the target as a text where texts are generated; elsewhere a text is the word at the mask."""
        if self.written is None:
            return self.parts(index, example, self.word(target) if isinstance(target, str) else target)
        text = target if isinstance(target, str) or target is None else self.written[int(target)]  # type: ignore[arg-type]
        parts = self.parts(index, example, None)
        return parts if text is None else replace(parts, output=self.output(text))

    def output(self, text: str) -> tuple[int, ...]:
        """The tokens of a text to be generated, cut to the longest, and the end token where there is room for it.

        Behind what an encoder-decoder's texts begin with, as BART's `<s>`.
        """
        assert self.tokens.end_id is not None
        output_ids = (*self.tokens.encode(text, lead=self.tokens.causal), self.tokens.end_id)[: self.longest]
        return (*self.tokens.opening, *output_ids)

    def context(self, text: str, segment: int, lead: bool = False) -> Part:
        """The windowed field; questions that follow one another on the same text share its tokens."""
        if self._context is None or self._context[0] != text:
            ids, offsets = self.tokens.located(text, lead)
            self._context = text, Part("context", ids, segment, offsets=offsets)
        return self._context[1]

    def encode(self, text: str) -> list[int]:
        """Ids of a text; candidates that follow one another on the same text share them."""
        if text not in self._encoded:
            if len(self._encoded) >= RECENT:
                del self._encoded[next(iter(self._encoded))]
            self._encoded[text] = self.tokens.encode(text)
        return self._encoded[text]

    def words(self, words: Sequence[str], segment: int, mark: int | None) -> Part:
        """Words to be tagged, the one at `mark` between asterisks."""
        pieces, leads = self.tokens.words(words), [0] * len(words)
        if mark is not None:
            (asterisk,) = self.tokens.words(["*"])
            pieces[mark] = [*asterisk, *pieces[mark], *asterisk]
            leads[mark] = len(asterisk)
        starts = [0, *accumulate(len(ids) for ids in pieces[:-1])]
        return Part("words", [i for ids in pieces for i in ids], segment, starts, leads)

    def rows(self, parts: Parts, draw: Draw, max_len: int) -> list[Row]:
        """Model inputs of at most `max_len` tokens (slots not counted); several where words or a context overflow.

        `draw` is where templates that sample (demonstrations) take their randomness from.
        """
        frame = self.tokens.frames[parts.segments]
        fixed_length = sum(len(p.ids) for p in parts.parts if p.kind in ("literal", "mask")) + len(self.closing)
        budget = max(max_len - len(frame) - fixed_length, 1)
        if self.windows is not None:
            return self._spans(parts, self.windows, budget)
        words_index = next((i for i, part in enumerate(parts.parts) if part.kind == "words"), None)
        if words_index is not None:
            part = parts.parts[words_index]
            pieces = shorten(parts.parts, max(budget // 2, budget - len(part.ids)))  # the texts, in every window
            text_length = sum(len(piece.ids) for piece in pieces if piece.kind == "text")
            is_cut = text_length < sum(len(piece.ids) for piece in parts.parts if piece.kind == "text")
            return [
                self._assemble(
                    parts,
                    [window if i == words_index else p for i, p in enumerate(pieces)],
                    start,
                    first,
                    is_cut or is_shortened,
                )
                for window, start, first, is_shortened in self._windows(part, max(budget - text_length, 1))
            ]
        shortened = shorten(parts.parts, budget)
        is_cut = sum(len(part.ids) for part in shortened) < sum(len(part.ids) for part in parts.parts)
        return [self._assemble(parts, shortened, 0, 0, is_cut)]

    def _windows(self, part: Part, budget: int) -> Iterator[tuple[Part, int, int, bool]]:
        """(window, first word it reads, how many leading words are context only, whether words or the end of one are
        left out for good), each within `budget` tokens.

        A marked word that a window does not reach stands before it, or after it, as the word does in the sentence; of
        one longer than half a window the beginning.
        """
        ends = [*part.starts[1:], len(part.ids)]
        marked_index = next((i for i, lead in enumerate(part.leads) if lead), None)
        marked_ids: list[int] = []
        if marked_index is not None:
            marked_ids, lead = list(part.ids[part.starts[marked_index] : ends[marked_index]]), part.leads[marked_index]
            marked_ids = (
                marked_ids[: max(budget // 2 - lead, lead)] + marked_ids[-lead:]
                if len(marked_ids) > budget // 2
                else marked_ids
            )
        word, begin = 0, 0
        while True:
            first, last = widest_window(part.starts, ends, begin, word, budget)
            is_outside = marked_index is not None and not first <= marked_index < last
            if is_outside:
                first, last = widest_window(part.starts, ends, begin, word, max(budget - len(marked_ids), 1))
            window_ids = part.ids[part.starts[first] : ends[last - 1]]
            ids = list(window_ids[: budget - len(marked_ids) if is_outside else budget])
            is_shortened = len(ids) < len(window_ids) or (last < len(ends) and self.overflow == "truncate")
            starts = [part.starts[i] - part.starts[first] for i in range(first, last)]
            leads = list(part.leads[first:last])
            if marked_index is not None and is_outside and marked_index < first:
                ids, starts, leads = (
                    [*marked_ids, *ids],
                    [0, *(len(marked_ids) + start for start in starts)],
                    [0, *leads],
                )
            elif is_outside:
                ids = [*ids, *marked_ids]
            yield part._replace(ids=ids, starts=starts, leads=leads), word, len(starts) - (last - word), is_shortened
            if last == len(ends) or self.overflow == "truncate":
                return
            word = begin = last
            while begin > first + 1 and part.starts[word] - part.starts[begin - 1] <= budget // 4:
                begin -= 1

    def _spans(self, parts: Parts, windows: Windows, budget: int) -> list[Row]:
        """A row for each window of the context, beside the first `limit` tokens of every other text.

        Neighbors share `stride` tokens, or half of a window that has no more than those; a text that leaves no room
        for the context is cut further.
        """
        limit = min(windows.limit, budget - 1)
        pieces = [p._replace(ids=p.ids[:limit]) if p.kind == "text" else p for p in parts.parts]
        context_index = next(i for i, piece in enumerate(pieces) if piece.kind == "context")
        context = pieces[context_index]
        assert context.offsets is not None
        size = max(budget - sum(len(piece.ids) for piece in pieces if piece.kind == "text"), 1)
        step = size - (windows.stride if windows.stride < size else size // 2)
        window_starts = range(0, max(len(context.ids) - size, 0) + step, step)
        kept_starts = window_starts if self.overflow == "window" else window_starts[:1]
        is_cut = len(kept_starts) < len(window_starts) or any(
            len(a.ids) < len(b.ids) for a, b in zip(pieces, parts.parts, strict=True)
        )
        answer = tokens_of(context.offsets, parts.target) if isinstance(parts.target, Extent) else None
        rows = []
        for start in kept_starts:
            end = start + size
            pieces[context_index] = context._replace(ids=context.ids[start:end], offsets=context.offsets[start:end])
            row = self._assemble(parts, pieces, start, 0, is_cut)
            target = None if answer is None else window_extent(answer, start, end)
            rows.append(replace(row, target=target, offsets=pieces[context_index].offsets))
        return rows

    def _assemble(self, parts: Parts, pieces: Sequence[Part], start: int, context: int, cut: bool = False) -> Row:
        frame = self.tokens.frames[parts.segments]
        ids, types = list(frame.before), [frame.types[0]] * len(frame.before)
        positions: dict[str, Sequence[int]] = {"cls": [0]}
        masks: list[int] = []
        slots: list[int] = []
        segment = 0
        for piece in pieces:
            if piece.segment != segment:
                ids.extend(frame.between)
                types.extend(frame.parting(segment))
                segment = piece.segment
            base = len(ids)
            if piece.kind == "mask" and self.tokens.causal:
                break  # it is predicted from the last token
            if piece.kind == "mask":
                masks.extend(range(base, base + len(piece.ids)))
            elif piece.kind == "slot":
                slots.extend(range(base, base + len(piece.ids)))
            elif piece.kind == "words":
                places = zip(piece.starts[context:], piece.leads[context:], strict=True)
                positions["words"] = [base + offset + lead for offset, lead in places]
            elif piece.kind == "context":
                positions["context"] = range(base, base + len(piece.ids))
            for name, marked_places in piece.marks.items():
                positions[name] = [base + place for place in marked_places if place < len(piece.ids)]
            ids.extend(piece.ids)
            types.extend([frame.of(segment)] * len(piece.ids))
        else:
            ids.extend(frame.after)
            types.extend([frame.after_type] * len(frame.after))
        if masks:
            positions["mask"] = masks
        if self.tokens.causal:
            ids, types = ids or [self.tokens.start_id], types or [frame.types[0]]
            ids.extend(self.closing)
            types.extend([frame.of(segment)] * len(self.closing))
            positions["cls"] = positions["mask"] = [len(ids) - 1]
        if self.tokens.decodes:  # what the decoder is given goes by what is read of it: a mask, or anything else
            positions["cls"] = [len(ids) - 1]
            positions = {
                name: indices for name, indices in positions.items() if (name == "mask") == (self.mask and bool(masks))
            }
        if self.written is not None:  # what is generated stands behind all that is read
            positions = {}
        slots = [-1] * (parts.prompt * len(slots)) + slots  # each prompt has as many
        target = parts.target
        if "words" in positions and target is not None and not isinstance(target, int | float):
            target = tuple(target[start : start + len(positions["words"])])
        return Row(
            parts.example,
            ids,
            types,
            positions,
            slots,
            target,
            start,
            parts.candidate,
            cut=cut,
            grouped=parts.grouped,
            output=parts.output,
        )

    def word(self, word: str) -> int | None:
        """The token that a word is at the mask, None where it is several."""
        return self.tokens.single(word, self.mask_lead)


class DemonstrationTemplate(Template):
    """Templates whose rows show training examples beside a text."""

    @abstractmethod
    def learn(self, examples: Sequence[tuple[Example, float | Sequence[int] | Extent | str | None]]) -> None:
        """Take the training examples with their targets."""


def shorten(parts: Sequence[Part], budget: int) -> list[Part]:
    """Cut text parts from their ends, always the longest one first, until together they fit `budget` tokens.

    Of two texts cut to the same length, the longer one keeps the odd token, as in Hugging Face's `longest_first`.
    """
    lengths = {i: len(part.ids) for i, part in enumerate(parts) if part.kind == "text"}
    excess = sum(lengths.values()) - budget
    while excess > 0:
        sorted_lengths = sorted(lengths.values(), reverse=True)
        longest = [i for i, n in lengths.items() if n == sorted_lengths[0]]
        next_length = next((n for n in sorted_lengths if n < sorted_lengths[0]), 0)
        step = min(sorted_lengths[0] - next_length, -(-excess // len(longest)))
        for i in sorted(longest, key=lambda i: len(parts[i].ids)):
            cut = min(step, excess)
            lengths[i] -= cut
            excess -= cut
    return [part._replace(ids=part.ids[: lengths[i]]) if i in lengths else part for i, part in enumerate(parts)]


def widest_window(starts: Sequence[int], ends: Sequence[int], begin: int, word: int, budget: int) -> tuple[int, int]:
    """The first word of a window and the one after its last: from `begin`, or from `word` where that leaves it no room.

    `word` is in it, however long.
    """
    first = begin if ends[word] - starts[begin] <= budget else word
    last = first
    while last < len(ends) and ends[last] - starts[first] <= budget:
        last += 1
    return first, max(last, word + 1)


def tokens_of(offsets: np.ndarray, characters: Extent) -> Extent:
    """The first and last token of `offsets` [n, 2] that touch some characters; NOWHERE where none does."""
    first = int(np.searchsorted(offsets[:, 1], characters.first, side="right"))
    last = int(np.searchsorted(offsets[:, 0], characters.last, side="right")) - 1
    return Extent(first, last) if characters != NOWHERE and first <= last else NOWHERE


def window_extent(answer: Extent, first: int, end: int) -> Extent:
    """Where a window of the tokens from `first` to before `end` reads an answer: from 1, and 0 where it does not."""
    if not first <= answer.first <= answer.last < end:
        return Extent(0, 0)
    return Extent(answer.first - first + 1, answer.last - first + 1)


def lost_labels(
    rows: Sequence[Row], target: float | Sequence[int] | Extent | None, windows: Windows | None = None
) -> int:
    """How many gold labels of an example no row reads (overflow=truncate).

    An answer is lost, too, when no window holds it whole or when it is longer than the task's longest.
    """
    if target is None or isinstance(target, int | float):
        return 0
    if isinstance(target, Extent):
        assert windows is not None
        extents = [row.target for row in rows if isinstance(row.target, Extent) and row.target.first > 0]
        return int(target != NOWHERE and not any(t.last - t.first < windows.longest for t in extents))
    return sum(t != IGNORED for t in target) - sum(row.labels for row in rows)
