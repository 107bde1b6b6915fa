"""How spans are written as tags: IOB1, IOB2, BIOES and BILOU in files, IOB2 inside.

IOB1 is from Ramshaw and Marcus (1995), IOB2 from Tjong Kim Sang and Veenstra (1999), BILOU from Ratinov and Roth
(2009); BIOES is BILOU with E (end) for L (last) and S (single) for U (unit).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

Scheme = Literal["iob1", "iob2", "bioes", "bilou"]
LETTERS = {"iob1": "BI", "iob2": "BI", "bioes": "BIES", "bilou": "BILU"}  # of a first, inner, last and only word
TYPED = {"iob1": "O, B-TYPE or I-TYPE", "iob2": "O, B-TYPE or I-TYPE"} | {
    name: f"O, {', '.join(f'{letter}-TYPE' for letter in LETTERS[name][:-1])} or {LETTERS[name][-1]}-TYPE"
    for name in ("bioes", "bilou")
}


class SchemeError(ValueError):
    """A tag that its scheme does not allow there; index: of its word, counted from 0."""

    def __init__(self, index: int, tag: object, said: str) -> None:
        super().__init__(f"'{tag}' (token {index + 1}) {said}")
        self.index = index


def to_iob2(tags: Sequence[object], scheme: str) -> list[str]:
    """The tags of a sentence in IOB2: B- at every span's start, I- after it.

    IOB1 writes B- only between spans of one type that touch; a B- elsewhere starts one all the same, so that IOB2 is
    read too. Raises SchemeError where a tag is none of the scheme's or comes where the scheme has another.
    """
    for index, tag in enumerate(tags):
        if not (isinstance(tag, str) and re.fullmatch(rf"O|[{LETTERS[scheme]}]-\S+", tag)):
            raise SchemeError(index, tag, f"is not a tag; use {TYPED[scheme]}{_cure(tag, scheme)}")
    tag_names = [str(tag) for tag in tags]
    return _begun(tag_names, scheme) if scheme in ("iob1", "iob2") else _ended(tag_names, scheme)


def _cure(tag: object, scheme: str) -> str:
    """The setting that would read the tag."""
    other_scheme = next(
        (name for name, letters in LETTERS.items() if re.fullmatch(rf"[{letters}]-\S+", str(tag))), None
    )
    return (
        f"; if the file is {other_scheme.upper()}, set task.scheme={other_scheme}"
        if other_scheme and other_scheme != scheme
        else ""
    )


def _begun(tags: Sequence[str], scheme: str) -> list[str]:
    """IOB1 or IOB2 as IOB2."""
    iob2_tags: list[str] = []
    for index, tag in enumerate(tags):
        opens = tag[0] == "I" and (not iob2_tags or iob2_tags[-1][2:] != tag[2:])
        if opens and scheme == "iob2":
            raise SchemeError(
                index,
                tag,
                "opens an entity, which IOB2 marks with B-; if the file is IOB1, set task.scheme=iob1",
            )
        iob2_tags.append("B" + tag[1:] if opens else tag)
    return iob2_tags


def _ended(tags: Sequence[str], scheme: str) -> list[str]:
    """BIOES or BILOU as IOB2."""
    last, only = LETTERS[scheme][2], LETTERS[scheme][3]
    name, open_type, iob2_tags = scheme.upper(), "", list[str]()
    for index, tag in enumerate(tags):
        continues = tag[0] in ("I", last)
        if continues and not open_type:
            raise SchemeError(
                index,
                tag,
                f"opens an entity, which {name} marks with B- or {only}-; if the file is IOB1, set task.scheme=iob1",
            )
        if open_type and not (continues and tag[2:] == open_type):
            raise SchemeError(index, tag, f"follows no '{last}-{open_type}', which {_ends(name)}")
        iob2_tags.append(tag if tag == "O" else f"{'I' if continues else 'B'}-{tag[2:]}")
        open_type = tag[2:] if tag[0] in "BI" else ""
    if open_type:
        raise SchemeError(
            len(tags) - 1, tags[-1], f"ends the sentence without '{last}-{open_type}', which {_ends(name)}"
        )
    return iob2_tags


def _ends(name: str) -> str:
    """What follows the tag that is missing."""
    return f"{name} puts at the end of an entity of several words; if the file is IOB2, set task.scheme=iob2"


def spans(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(first word, the one after the last, type) of the spans of IOB tags; an I- that follows no other opens one."""
    start, kind = 0, ""
    for index, tag in enumerate([*tags, "O"]):
        if kind and (tag[0] != "I" or tag[2:] != kind):
            yield start, index, kind
            kind = ""
        if tag != "O" and not kind:
            start, kind = index, tag[2:]


def from_iob2(tags: Sequence[str], scheme: str) -> list[str]:
    """IOB tags of a sentence in another scheme; predicted ones too, where I- may open a span, as conlleval reads it."""
    scheme_tags = ["O"] * len(tags)
    previous_end, previous_kind = 0, ""
    for start, stop, kind in spans(tags):
        touches = start == previous_end and kind == previous_kind
        first, inner, last, only = {
            "iob1": ("B" if touches else "I", "I", "I", "B" if touches else "I"),
            "iob2": ("B", "I", "I", "B"),
            "bioes": ("B", "I", "E", "S"),
            "bilou": ("B", "I", "L", "U"),
        }[scheme]
        letters = [only] if stop - start == 1 else [first, *[inner] * (stop - start - 2), last]
        scheme_tags[start:stop] = [f"{letter}-{kind}" for letter in letters]
        previous_end, previous_kind = stop, kind
    return scheme_tags
