"""WebNLG 2017 as json: sets of DBpedia's triples, and texts that say them (Gardent et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Each, Record, strict
from ptune.readers.document import elements, sound
from ptune.readers.jsonl import member

PARTS = ("subject", "property", "object")


def read(path: Path, joined: bool = False, spaces: bool = False, each: Each = strict) -> Iterator[Record]:
    """Yield a record a text: table, "subject : property : object | ..." as Prefix-Tuning writes it, category, refs.

    Texts whose comment is not "good" are left out, as there. joined: a record a set of triples, with all of its texts
    in refs. spaces: names with spaces for their underscores. Raises DataError, which names the place.
    """
    for number, element in enumerate(elements(path, "entries")):
        where = f"{path}: entries[{number}]"
        with each("sets"):
            if not isinstance(element, dict) or len(element) != 1:
                raise DataError(f'{where}: not an object with one entry, such as {{"1": ...}}')
            (entry,) = element.values()
            values = {"table": linearized(entry, where, spaces), "category": text(entry, "category", where)}
            if "lexicalisations" not in entry:
                yield Record(where, values)
                continue
            refs = list(texts(entry, where, each))
            for record_refs in [refs] if joined and refs else [[ref] for ref in refs]:
                yield Record(where, {**values, "refs": record_refs})


def texts(entry: Any, where: str, each: Each) -> Iterator[str]:
    """The good texts of an entry."""
    for number, lexicalization in enumerate(member(entry, "lexicalisations", list, where)):
        place = f"{where}.lexicalisations[{number}]"
        with each("texts"):
            lex = text(lexicalization, "lex", place)
            if not lex.strip():
                raise DataError(f"{place}: nothing in 'lex'; each needs a text")
            if lexicalization.get("comment", "good") == "good":
                yield lex


def linearized(entry: Any, where: str, spaces: bool) -> str:
    """The triples of an entry as a line of text. Raises DataError where there are none."""
    triples = member(entry, "modifiedtripleset", list, where)
    if not triples:
        raise DataError(f"{where}: no triples in 'modifiedtripleset'")
    lines = []
    for number, triple in enumerate(triples):
        parts = [text(triple, part, f"{where}.modifiedtripleset[{number}]") for part in PARTS]
        lines.append(" : ".join(part.replace("_", " ") if spaces else part for part in parts))
    return " | ".join(lines)


def text(node: Any, key: str, where: str) -> str:
    """A text of which every character is whole. Raises DataError."""
    value: str = member(node, key, str, where)
    sound(value, f"{where}: '{key}'")
    return value
