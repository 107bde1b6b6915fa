"""Cloze patterns (PET, LM-BFF, P-Tuning): fields, literal anchor words, a mask, and slots for pseudo tokens.

A pattern is text with `{field}`, `{field:bare}` (without final punctuation), `{field:lower}`, `{mask}`, `{prompt}`
(where pseudo tokens go) and `{sep}` (what follows is the second segment).
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ptune.batch import Example, Extent, Windows
from ptune.errors import nearest
from ptune.templates import Part, Parts, Template
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.injection import Shape

MARKS = ("mask", "prompt", "sep")
FORMS = ("", "bare", "lower")


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
        if name not in (*fields, *MARKS) or form not in FORMS:
            known = [f"{{{mark}}}" for mark in (*fields, *MARKS)]
            raise ValueError(
                f"'{{{name}{':' + form if form else ''}}}' is neither a field nor a mark; known: {', '.join(known)}"
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
            raise ValueError(f"answers are looked for in {{{windows.field}}}, which has to stand once, and as it is")
    return pieces


class Pattern(Template):
    """name: which of the task's patterns; slots are shared out over its {prompt} marks, or stand in front."""

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """See Template."""
        name = given.get("name")
        if not task.patterns:
            yield "name", f"task {task.name} has no patterns; use method/template=plain or add a pattern to its yaml"
        elif name is not None and name not in task.patterns:
            yield "name", f"task {task.name} has no pattern '{name}'; {nearest(name, task.patterns)}"
        else:
            for chosen in [name] if name else task.patterns:
                try:
                    parse(task.patterns[chosen]["text"], task.fields, task.windows)
                except ValueError as error:
                    yield "name", f"task.patterns.{chosen}: {error}"
                    return
            ended = [each for each in task.patterns if ends_with_mask(task.patterns[each]["text"], task.fields)]
            if shape.causal and (name or next(iter(ended), None)) not in ended:
                others = f"'{ended[0]}' does" if ended else "none of its patterns does"
                yield (
                    "name",
                    f"a causal model reads nothing after {{mask}}, so that a pattern has to end with it; {others}",
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
    ) -> None:
        super().__init__(tokens, overflow, windows)
        fit = {n: p for n, p in patterns.items() if not tokens.causal or ends_with_mask(p["text"], fields)}
        self.name = name or preferred(fit, slots)
        self.verbalizer = patterns[self.name].get("verbalizer")
        self.pieces = parse(patterns[self.name]["text"], fields, windows)
        self.segments = 1 + max(piece.segment for piece in self.pieces)
        self.mask_lead = any(piece.kind == "mask" and piece.lead for piece in self.pieces)
        marks = sum(piece.kind == "prompt" for piece in self.pieces)
        self.front = 0 if marks else slots
        self.shares = [slots // marks + (i < slots % marks) for i in range(marks)] if marks else []

    def parts(self, index: int, example: Example, target: float | Sequence[int] | Extent | None) -> Parts:
        """See Template."""
        shares = iter(self.shares)
        out = [Part("slot", [self.tokens.unk_id] * self.front)] if self.front else []
        for piece in self.pieces:
            if piece.kind == "prompt":
                out.append(Part("slot", [self.tokens.unk_id] * next(shares), piece.segment))
            elif piece.kind == "mask":
                assert self.tokens.mask_id is not None
                out.append(Part("mask", [self.tokens.mask_id], piece.segment))
            elif piece.kind == "literal":
                out.append(Part("literal", self.tokens.encode(piece.text, piece.lead), piece.segment))
            elif self.windows is not None and piece.text == self.windows.field:
                out.append(self.context(example.fields[piece.text], piece.segment, piece.lead))
            else:
                text = formed(example.fields[piece.text].strip(), piece.form)
                out.append(Part("text", self.tokens.encode(text, piece.lead), piece.segment))
        return Parts(index, out, target, self.segments)


def ends_with_mask(pattern: str, fields: Sequence[str]) -> bool:
    """Whether nothing but literal words stands after the mask, and something before it; or there is no mask."""
    kinds = [piece.kind for piece in parse(pattern, fields)]
    return "mask" not in kinds or (kinds[0] != "mask" and set(kinds[kinds.index("mask") + 1 :]) <= {"literal"})


def preferred(patterns: Mapping[str, Mapping[str, str]], slots: int) -> str:
    """The first pattern; with slots to fill, the first that says where they go."""
    marked = [name for name, pattern in patterns.items() if "{prompt}" in pattern["text"]]
    return marked[0] if slots and marked else next(iter(patterns))


def formed(text: str, form: str) -> str:
    """A field's text as {field:form} says it: without final punctuation, with a small first letter, or as it is."""
    if form == "bare":
        return text.rstrip(string.punctuation + " ")
    return text[:1].lower() + text[1:] if form == "lower" else text
