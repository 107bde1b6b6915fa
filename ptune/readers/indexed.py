"""A predicate a line, `index words ||| tags`: how the published code of P-Tuning v2 is given CoNLL-2005 and 2012."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ptune.errors import DataError
from ptune.readers import Each, Record, lines, strict

BAR = "|||"


def read(path: Path, each: Each = strict) -> Iterator[Record]:
    """Yield a record a line: `tokens`, `predicate` (the index of its word, from 0), `tags` (BIO). [len(tokens)]

    Raises DataError for a line of another form, an index that is none of a word, and other numbers of words and tags.
    """
    for where, text in lines(path):
        if not text.strip(" \t"):
            continue
        with each("lines"):
            words_text, bar, tags_text = text.rpartition(BAR)
            index, *tokens = cells(words_text) or [""]
            tags = cells(tags_text)
            if not bar or not tokens:
                raise DataError(f"{where}: no 'index words {BAR} tags': {text[:60]!r}")
            if not (index.isascii() and index.isdigit() and len(index) < 8 and int(index) < len(tokens)):
                raise DataError(f"{where}: '{index}' is not an index of the {len(tokens)} words, counted from 0")
            if len(tags) != len(tokens):
                raise DataError(f"{where}: {len(tokens)} words but {len(tags)} tags")
            yield Record(where, {"tokens": tokens, "predicate": int(index), "tags": tags})


def cells(text: str) -> list[str]:
    """What is apart by spaces or tabs; any other character is a word's."""
    return [cell for cell in text.replace("\t", " ").split(" ") if cell]
