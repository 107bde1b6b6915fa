"""Cloze patterns (PET, LM-BFF, P-Tuning): fields, literal anchor words, a mask, and slots for pseudo tokens.

A pattern is text with `{field}`, `{field:bare}` (without final punctuation, as in PET's code; LM-BFF's drops the last
character, whatever it is), `{field:lower}` (its first letter), `{field:phrase}` (both), `{field:word}` (without
punctuation at either end), `{field:joined}` (a space is before it if it begins with one), `{mask}`, `{prompt}` (where
pseudo tokens go; `{prompt:3}` three of them) and `{sep}` (what follows is the second segment). Where masks stand for
texts of an example's own they have such forms too.

Of a row that is too long, fields are cut, always the longest. PET's code cuts the last field of the longer segment, and
never choices, words or MultiRC's questions.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ptune.batch import Draw, Example, Extent, Row, Windows
from ptune.errors import nearest
from ptune.seeds import mix
from ptune.templates import Part, Parts, Template
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.injection import Shape
    from ptune.tasks import Task

MARKS = ("mask", "prompt", "sep")
FORMS = ("", "bare", "lower", "phrase", "joined", "word")


class Piece(NamedTuple):
    """One element of a parsed pattern; `lead` says whether a space stands before it."""

    kind: Literal["field", "literal", "mask", "prompt"]
    text: str
    form: str
    segment: int
    lead: bool


def parse(pattern: str, fields: Sequence[str], windows: Windows | None = None) -> list[Piece]:
    """The pieces of a pattern. Raises ValueError for a name that is neither a field nor a mark.

    A windowed field has to stand in it once and as it is: answers are characters of it.
    """
    pieces: list[Piece] = []
    segment = 0
    for literal, name, form, _ in string.Formatter().parse(pattern):
        if literal.strip():
            pieces.append(Piece("literal", literal.strip(), "", segment, literal[0].isspace()))
        lead = bool(literal) and literal[-1].isspace()
        if name is None:
            continue
        is_counted = name == "prompt" and bool(form) and str(form).isdecimal()
        if name not in (*fields, *MARKS) or (form not in FORMS and not is_counted):
            marks = [f"{{{mark}}}" for mark in (*fields, *MARKS)]
            raise ValueError(
                f"'{{{name}{':' + form if form else ''}}}' is neither a field nor a mark; known: {', '.join(marks)}"
            )
        if name == "sep":
            segment += 1
            continue
        kind: Literal["field", "mask", "prompt"] = name if name in ("mask", "prompt") else "field"  # type: ignore[assignment]
        pieces.append(Piece(kind, name, form or "", segment, lead))
    if segment > 1:
        raise ValueError("a pattern has at most two segments, so at most one {sep}")
    if windows is not None:
        forms = [piece.form for piece in pieces if piece.kind == "field" and piece.text == windows.field]
        if forms != [""]:
            raise ValueError(f"answers are read from {{{windows.field}}}, which must be there once, without a form")
    return pieces


class Filled(NamedTuple):
    """What a row has in place of a pattern's mask: how many masks, what competes for them, the target, and what the
    model itself is to write."""

    masks: int
    choices: Sequence[Sequence[int]] = ()
    target: Sequence[int] | None = None
    output: Sequence[int] = ()


class Pattern(Template):
    """name: which of the task's patterns; slots are shared out over its {prompt} marks, or stand in front.

    As many as the marks say, one where a mark says no number, stand as they say; others are shared out evenly.

    choices: how many of an example's own choices are trained on, a right one among them; the others are drawn with the
    run's seed, once (PET: ReCoRD's entities). spare: as many masks at most are trained on beyond a text that is to be
    written, so that its length tells nothing; they are padding. Without training there is one (PET: WSC).
    """

    fills = True

    @classmethod
    def places(cls, given: Mapping[str, Any], shape: Shape, task: Task, family: str | None) -> int | None:
        """See Template. Raises ValueError for a pattern that is none."""
        patterns = task.patterns
        usable_patterns = usable(patterns, [*task.fields, *task.beside], shape.causal, shape.decoder_layers > 0)
        name = given.get("name") or (default_pattern(usable_patterns, 1, family) if usable_patterns else None)
        return sum(numbers(patterns[name]["text"])) or None if name in patterns else None

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Template."""
        name, fields = given.get("name"), [*task.fields, *task.beside]
        for key, least in (("choices", 2), ("spare", 0)):
            if given.get(key, least) < least:  # a template that is made of a pattern may have no such setting
                yield key, f"{given[key]} is too small; at least {least}"
        if not task.patterns:
            yield "name", f"task {task.name} has no patterns; use method/template=plain or add a pattern to its yaml"
        elif name is not None and name not in task.patterns:
            yield "name", f"task {task.name} has no pattern '{name}'; {nearest(name, task.patterns)}"
        else:
            for pattern_name in [name] if name else task.patterns:
                try:
                    parse(task.patterns[pattern_name]["text"], fields, task.windows)
                except ValueError as error:
                    yield "name", f"task.patterns.{pattern_name}: {error}"
                    return
            causal_names = [
                candidate for candidate in task.patterns if ends_with_mask(task.patterns[candidate]["text"], fields)
            ]
            if shape.causal and (name or next(iter(causal_names), None)) not in causal_names:
                hint = f"'{causal_names[0]}' does" if causal_names else "none of its patterns does"
                yield (
                    "name",
                    f"a causal model reads nothing after {{mask}}, so a pattern must end with it; {hint}",
                )

    def __init__(
        self,
        tokens: Tokens,
        fields: Sequence[str],
        patterns: Mapping[str, Mapping[str, str]],
        name: str | None = None,
        slots: int = 0,
        mask: bool = False,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
        masked: str = "label",
        choices: int = 10,
        spare: int = 3,
        family: str | None = None,
    ) -> None:
        super().__init__(tokens, overflow, windows)
        self.mask, self.masked, self.choices, self.spare = mask, masked, choices, spare
        self.name = name or default_pattern(usable(patterns, fields, tokens.causal, tokens.decodes), slots, family)
        self.verbalizer = patterns[self.name].get("verbalizer")
        self.pieces = parse(patterns[self.name]["text"], fields, windows)
        self.segments = 1 + max(piece.segment for piece in self.pieces)
        # Words at a mask begin as after a space, wherever it stands, as in PET's and LM-BFF's code for RoBERTa.
        self.mask_lead = not tokens.causal or any(piece.kind == "mask" and piece.lead for piece in self.pieces)
        mark_counts = numbers(patterns[self.name]["text"])
        marks = len(mark_counts)
        self.front = 0 if marks else slots
        even_shares = [slots // marks + (i < slots % marks) for i in range(marks)]
        self.shares = mark_counts if sum(mark_counts) == slots else even_shares

    def parts(self, index: int, example: Example, target: float | Sequence[int] | Extent | None) -> Parts:
        """See Template."""
        shares = iter(self.shares)
        row_parts = [Part("slot", [self.tokens.unk_id] * self.front)] if self.front else []
        choice_ids: Sequence[Sequence[int]] = ()
        for piece in self.pieces:
            if piece.kind == "prompt":
                row_parts.append(Part("slot", [self.tokens.unk_id] * next(shares), piece.segment))
            elif piece.kind == "mask":
                assert self.tokens.mask_id is not None
                row_parts.append(Part("mask", [self.tokens.mask_id] * self.masks, piece.segment))
                choice_ids = [self._own(text, piece) for text in example.choices]
            elif piece.kind == "literal":
                row_parts.append(Part("literal", self.tokens.encode(piece.text, piece.lead), piece.segment))
            elif self.windows is not None and piece.text == self.windows.field:
                row_parts.append(self.context(example.fields[piece.text], piece.segment, piece.lead))
            else:
                value = example.fields[piece.text]
                lead = piece.lead or (piece.form == "joined" and value[:1].isspace())
                row_parts.append(
                    Part("text", self.tokens.encode(apply_form(value.strip(), piece.form), lead), piece.segment)
                )
        return Parts(index, row_parts, target, self.segments, choices=choice_ids)

    def _own(self, text: str, mask: Piece) -> list[int]:
        """A text of the example's own as it stands in place of the masks."""
        return self.tokens.encode(apply_form(text.strip(), mask.form), mask.lead) or [self.tokens.unk_id]

    def rows(self, parts: Parts, draw: Draw, max_len: int) -> list[Row]:
        """See Template; where masks stand for an example's own texts, a row for each right one that is trained on."""
        if not parts.choices:
            return super().rows(parts, draw, max_len)
        fillings = self._text(parts, draw) if self.masked == "text" else self._choices(parts, draw)
        return [
            replace(row, choices=filling.choices, target=filling.target, output=filling.output)
            for filling in fillings
            for row in super(Pattern, self).rows(
                with_masks(parts, 1 if self.tokens.sentinel else filling.masks), draw, max_len
            )
        ]

    def _choices(self, parts: Parts, draw: Draw) -> Iterator[Filled]:
        """All choices of an example; in training each right one with some of the wrong ones."""
        targets = parts.target if isinstance(parts.target, Sequence) else ()
        right, wrong = ([i for i, target in enumerate(targets) if target == label] for label in (1, 0))
        if not (draw.training and right):
            yield Filled(max(map(len, parts.choices)), parts.choices, targets or None)
            return
        for right_index in right:
            random = Random(mix(draw.seed, "choices", parts.example, right_index))
            distractors = wrong if len(wrong) < self.choices else sorted(random.sample(wrong, self.choices - 1))
            choices = [parts.choices[i] for i in (right_index, *distractors)]
            yield Filled(max(map(len, choices)), choices, [1, *[0] * len(distractors)])

    def _text(self, parts: Parts, draw: Draw) -> Iterator[Filled]:
        """A text to be written, in training if it is right: as a model writes it that has no runs of masks, else with
        more masks than it needs, its tokens and padding."""
        (text,) = parts.choices
        is_right = draw.training and isinstance(parts.target, Sequence) and 1 in parts.target
        if (surrounding := self.tokens.around) is not None:
            yield Filled(1, output=(*surrounding[0], *text, *surrounding[1]) if is_right else ())
            return
        random = Random(mix(draw.seed, "spare", draw.epoch, parts.example))
        spare = random.randint(0, self.spare) if draw.training else 1
        yield Filled(len(text) + spare, target=[*text, *[self.tokens.pad_id] * spare] if is_right else None)


def ends_with_mask(pattern: str, fields: Sequence[str]) -> bool:
    """Whether nothing but literal words stands after the mask, and something before it; or there is no mask."""
    kinds = [piece.kind for piece in parse(pattern, fields)]
    return "mask" not in kinds or (kinds[0] != "mask" and set(kinds[kinds.index("mask") + 1 :]) <= {"literal"})


def usable(
    patterns: Mapping[str, Mapping[str, str]], fields: Sequence[str], causal: bool, decodes: bool
) -> dict[str, Mapping[str, str]]:
    """The patterns that a model can read, in the order of preference: a decoder goes on from a text's end."""
    if not (causal or decodes):
        return dict(patterns)
    mask_at_end = {name: pattern for name, pattern in patterns.items() if ends_with_mask(pattern["text"], fields)}
    return mask_at_end if causal else {**mask_at_end, **patterns}


def numbers(pattern: str) -> list[int]:
    """How many pseudo tokens each {prompt} mark asks for, one where it says nothing."""
    parts = string.Formatter().parse(pattern)
    return [int(form or 1) for _, name, form, _ in parts if name == "prompt"]


def default_pattern(patterns: Mapping[str, Mapping[str, str]], slots: int, family: str | None = None) -> str:
    """The first pattern, of a family whose names begin so if there is one; with slots to fill, the first that says
    where they go."""
    ordered_names = sorted(patterns, key=lambda name: family is not None and not name.startswith(family))
    marked_names = [name for name in ordered_names if numbers(patterns[name]["text"])]
    return marked_names[0] if slots and marked_names else ordered_names[0]


def with_masks(parts: Parts, run: int) -> Parts:
    """Parts with so many masks."""
    return replace(parts, parts=[p._replace(ids=[p.ids[0]] * run) if p.kind == "mask" else p for p in parts.parts])


def apply_form(text: str, form: str) -> str:
    """A field's text in one of FORMS, see the top of this file; `joined` is about the space before it."""
    if form == "word":
        return text.strip(string.punctuation + " ")
    if form in ("bare", "phrase"):
        text = text.rstrip(string.punctuation + " ")
    return text[:1].lower() + text[1:] if form in ("lower", "phrase") else text
