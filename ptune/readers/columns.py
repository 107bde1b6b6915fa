"""CoNLL column files: a token a line, a blank line between sentences, columns apart by one tab or by spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ptune.errors import DataError
from ptune.readers import Record, lines


class Row(NamedTuple):
    """A token's line: where it is, and its cells."""

    where: str
    cells: list[str]


class Cells:
    """Splits the lines of one file: at each tab where the first line with a separator has one, else at spaces."""

    def __init__(self) -> None:
        self.tabs: bool | None = None
        self.first = ""

    def __call__(self, where: str, text: str) -> list[str]:
        """The cells of a line. Raises DataError where it is separated otherwise than the first one."""
        text = text.rstrip(" \t")
        tabs, separated = "\t" in text, "\t" in text or " " in text.lstrip(" ")
        if separated and self.tabs is None:
            self.tabs, self.first = tabs, where.rpartition(":")[2]
        if separated and tabs != self.tabs:
            here, there = ("tabs", "spaces") if tabs else ("spaces", "tabs")
            raise DataError(
                f"{where}: {here} between columns, where line {self.first} has {there}; one separator in all of a file"
            )
        return [cell.strip(" ") for cell in text.split("\t")] if tabs else [cell for cell in text.split(" ") if cell]


def blocks(path: Path, opens: str | None = None) -> Iterator[list[Row]]:
    """The sentences of a file, apart by blank lines and by those that begin with `opens`."""
    cells, rows = Cells(), list[Row]()
    for where, text in lines(path):
        if text.strip(" \t") and not (opens and text.startswith(opens)):
            rows.append(Row(where, cells(where, text)))
        elif rows:
            yield rows
            rows = []
    if rows:
        yield rows


def read(
    path: Path, columns: Mapping[str, int], opens: str = "-DOCSTART-", numbered: int | None = None
) -> Iterator[Record]:
    """Yield a record a sentence: for each name of `columns` the list of that column's values (counted from 0).

    opens: how a line begins that is no token but stands before a document, or before each sentence; numbered: the
    column that numbers the tokens of a sentence from 0. Raises DataError at a line with too few columns or another
    number of them than the file's first line, with nothing in a column that is read, with another separator, or with
    another number than its token's.
    """
    needed, width, first = max(*columns.values(), numbered or 0) + 1, 0, ""
    for rows in blocks(path, opens):
        for index, (where, cells) in enumerate(rows):
            if len(cells) < needed:
                raise DataError(
                    f"{where}: {len(cells)} columns where at least {needed} are needed: {' '.join(cells)[:60]!r}"
                )
            if not width:
                width, first = len(cells), where.rpartition(":")[2]
            if len(cells) != width:
                raise DataError(f"{where}: {len(cells)} columns where line {first} has {width}")
            for name, column in columns.items():
                if not cells[column]:
                    raise DataError(f"{where}: nothing in column {column + 1}, that of the {name}")
            if numbered is not None and cells[numbered] != str(index):
                raise DataError(
                    f"{where}: token '{cells[numbered]}' where {index} is expected; is a line missing before it?"
                )
        yield Record(
            rows[0].where, {name: [row.cells[column] for row in rows] for name, column in columns.items()}, by_line=True
        )
