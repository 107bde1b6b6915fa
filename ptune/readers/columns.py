"""CoNLL column files: a token a line, a blank line between sentences, columns apart by one tab or by spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ptune.errors import DataError
from ptune.readers import Each, Record, lines, strict


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
        has_tabs, is_separated = "\t" in text, "\t" in text or " " in text.lstrip(" ")
        if is_separated and self.tabs is None:
            self.tabs, self.first = has_tabs, where.rpartition(":")[2]
        if is_separated and has_tabs != self.tabs:
            actual, expected = ("tabs", "spaces") if has_tabs else ("spaces", "tabs")
            raise DataError(
                f"{where}: {actual} between columns, where line {self.first} has {expected}; use one separator "
                "throughout the file"
            )
        return (
            [cell.strip(" ") for cell in text.split("\t")] if has_tabs else [cell for cell in text.split(" ") if cell]
        )

    def rows(self, block: Sequence[tuple[str, str]]) -> list[Row]:
        """The lines of a sentence."""
        return [Row(where, self(where, text)) for where, text in block]


def blocks(path: Path, opens: str | None = None, each_opened: bool = False) -> Iterator[list[tuple[str, str]]]:
    """The lines of each sentence of a file, apart by blank lines and by those that begin with `opens`.

    each_opened: whether such a line stands before each sentence; one without a token after it is then given alone.
    """
    block: list[tuple[str, str]] = []
    opening_lines: list[tuple[str, str]] = []  # a line that opens a sentence, until its first token
    for where, text in lines(path):
        is_opening = bool(opens) and text.startswith(str(opens))
        if text.strip(" \t") and not is_opening:
            block.append((where, text))
            opening_lines = []
            continue
        if block or (opening_lines and is_opening):
            yield block or opening_lines
            block = []
        if is_opening and each_opened:
            opening_lines = [(where, text)]
    if block or opening_lines:
        yield block or opening_lines


def read(
    path: Path,
    columns: Mapping[str, int],
    opens: str = "-DOCSTART-",
    numbered: int | None = None,
    prefix: Mapping[str, str] | None = None,
    each: Each = strict,
) -> Iterator[Record]:
    """Yield a record a sentence: for each name of `columns` the list of that column's values (counted from 0).

    opens: how a line begins that is no token but stands before a document, or before each sentence; numbered: the
    column that numbers the tokens of a sentence from 0, each of which then has such a line; prefix: for a name of
    `columns`, what each of its values begins with and is left out: {tokens: 'en:'} reads `en:Oslo` as `Oslo`. Raises
    DataError at a line with too few columns or another number of them than the file's first line, with nothing in a
    column that is read, with another separator, without its prefix, or with another number than its token's.
    """
    cells, table = Cells(), Table(columns, numbered)
    prefixes = prefix or {}
    for block in blocks(path, opens, each_opened=numbered is not None):
        with each("sentences"):
            if block[0][1].startswith(opens):
                raise DataError(f"{block[0][0]}: {block[0][1][:60]!r} without a token after it")
            rows = cells.rows(block)
            table.check(rows)
            values = {
                name: [without(prefixes.get(name, ""), row, column) for row in rows] for name, column in columns.items()
            }
            yield Record(rows[0].where, values, by_line=True)


def without(prefix: str, row: Row, column: int) -> str:
    """A cell without what it begins with. Raises DataError where it begins otherwise, or has nothing else."""
    cell = row.cells[column]
    if not cell.startswith(prefix):
        raise DataError(f"{row.where}: '{cell[:60]}' in column {column + 1}, whose values must begin with '{prefix}'")
    if cell == prefix:
        raise DataError(f"{row.where}: nothing after '{prefix}' in column {column + 1}")
    return cell.removeprefix(prefix)


class Table:
    """What the lines of one file have in common: as many columns as the first one, and the ones that are read."""

    def __init__(self, columns: Mapping[str, int], numbered: int | None) -> None:
        self.columns, self.numbered = columns, numbered
        self.needed = max(*columns.values(), numbered or 0) + 1
        self.width, self.first = 0, ""

    def check(self, rows: Sequence[Row]) -> None:
        """Raises DataError where a line of a sentence is otherwise."""
        for index, (where, cells) in enumerate(rows):
            if len(cells) < self.needed:
                hint = "" if self.width else "; task.source.columns says which are read, counted from 0"
                excerpt = " ".join(cells)[:60]
                raise DataError(
                    f"{where}: {len(cells)} columns where at least {self.needed} are needed: {excerpt!r}{hint}"
                )
            if not self.width:
                self.width, self.first = len(cells), where.rpartition(":")[2]
            if len(cells) != self.width:
                raise DataError(f"{where}: {len(cells)} columns where line {self.first} has {self.width}")
            for name, column in self.columns.items():
                if not cells[column]:
                    raise DataError(f"{where}: nothing in column {column + 1} ({name})")
            if self.numbered is not None and cells[self.numbered] != str(index):
                raise DataError(
                    f"{where}: token '{cells[self.numbered]}' where {index} is expected; is a line missing before it?"
                )
