"""CoNLL column files: a token a line, a blank line between sentences, columns split by tabs or else by spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ptune.errors import DataError
from ptune.readers import Record, lines


def read(path: Path, columns: Mapping[str, int]) -> Iterator[Record]:
    """Yield a record a sentence: for each name of `columns` the list of that column's values (counted from 0).

    `-DOCSTART-` lines are skipped. Raises DataError at a line with too few columns.
    """
    start = ""
    values: dict[str, list[str]] = {name: [] for name in columns}
    needed = max(columns.values()) + 1
    for where, text in lines(path):
        if not text.strip(" \t") or text.startswith("-DOCSTART-"):
            if start:
                yield Record(start, dict(values))
            start, values = "", {name: [] for name in columns}
            continue
        cells = text.split("\t") if "\t" in text else text.split(" ")
        cells = [cell for cell in cells if cell] if "\t" not in text else cells
        if len(cells) < needed:
            raise DataError(f"{where}: {len(cells)} columns where at least {needed} are needed: {text[:60]!r}")
        start = start or where
        for name, column in columns.items():
            values[name].append(cells[column].strip(" "))
    if start:
        yield Record(start, dict(values))
