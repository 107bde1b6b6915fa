"""Tables in text: a record a row, columns split by a delimiter (tsv as GLUE has them, csv with its quotes)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from ptune.errors import DataError, UnreadableError, nearest
from ptune.readers import Each, Record, lines, strict

LONGEST_NAME = 40  # characters of a column's name that a message shows
MARKS = {"\t": "tabs", ",": "commas", ";": "semicolons"}  # that may separate columns


def read(
    path: Path,
    delimiter: str = "\t",
    names: Sequence[str] | None = None,
    quoted: bool = False,
    values: Mapping[str, Mapping[str, str]] | None = None,
    columns: Mapping[str, str] | None = None,
    broken: bool = False,
    reads: Sequence[str] = (),
    each: Each = strict,
) -> Iterator[Record]:
    """Yield a record a row.

    names: of the columns, in order; null: the first row has them. quoted: whether fields stand in quotation marks,
    which may then hold the delimiter and line ends. columns: our name -> the file's of the columns to keep; null: all,
    under their own names. values: for one of our names, what its values stand for. broken: whether rows may have too
    few columns, as GLUE's QQP has them; the missing ones are None. reads: our names of the columns that the task needs,
    its label last, which may be missing. Raises DataError where a row has another number of columns than the names, a
    column is not there, or a value stands for nothing.
    """
    header = list(names or [])
    column_indices = column_places(columns, header, str(path)) if header else {}
    if header and (missing_names := [name for name in reads[:-1] if name not in column_indices]):
        raise UnreadableError(
            f"{path}: no column '{missing_names[0]}' by task.source.names and columns ({', '.join(column_indices)})"
        )
    for where, cells in rows(path, delimiter, quoted, each):
        if not header:
            header = cells
            column_indices = column_places(columns, header, where)
            if missing_names := [name for name in reads[:-1] if name not in column_indices]:
                raise UnreadableError(f"{where}: {no_column(missing_names[0], header, reads, delimiter)}")
            continue
        with each("rows"):
            if len(cells) > len(header) or (len(cells) < len(header) and not broken):
                raise DataError(f"{where}: {len(cells)} columns where {len(header)} are needed ({', '.join(header)})")
            record_values = {
                name: cell_value(values, name, cells[index], where) if index < len(cells) else None
                for name, index in column_indices.items()
            }
            yield Record(where, record_values)


def column_places(columns: Mapping[str, str] | None, header: Sequence[str], where: str) -> dict[str, int]:
    """Our names of the columns to keep, with their places. Raises DataError for one that is not there."""
    for column in (columns or {}).values():
        if column not in header:
            raise UnreadableError(f"{where}: no column '{column}'; {nearest(column, header)}")
    return {name: header.index(column) for name, column in (columns or {name: name for name in header}).items()}


def no_column(name: str, header: Sequence[str], reads: Sequence[str], delimiter: str) -> str:
    """That the first row names no column as the task needs it, and what may be the matter."""
    header_text = ", ".join(cell if len(cell) <= LONGEST_NAME else f"{cell[:LONGEST_NAME]}..." for cell in header)
    marks = [mark for mark in MARKS if mark != delimiter and mark in header[0]] if len(header) == 1 else []
    if close_names := get_close_matches(name, header, n=1):
        hint = f"did you mean '{close_names[0]}'? Rename one of the two"
    elif marks:
        hint = f"if {MARKS[marks[0]]} separate its columns, add delimiter: {marks[0]!r} under source in the task's yaml"
    else:
        hint = f"if the file has none, add names: [{', '.join(reads)}] under source in the task's yaml, in its order"
    return f"the header has no '{name}' ({header_text}); {hint}"


def rows(path: Path, delimiter: str, quoted: bool, each: Each) -> Iterator[tuple[str, list[str]]]:
    """(file:line at which a row begins, its cells); empty lines are skipped."""
    if not quoted:
        yield from ((where, text.split(delimiter)) for where, text in lines(path) if text)
        return
    places: list[str] = []

    def texts() -> Iterator[str]:
        for where, text in lines(path):
            places.append(where)
            yield text + "\n"

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    csv.field_size_limit(1_000_000)
    while True:
        row_start = len(places)
        with each():
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{places[row_start]}: not a row of a table ({error})") from None
            if cells:
                yield places[row_start], cells


def cell_value(values: Mapping[str, Mapping[str, str]] | None, name: str, cell: str, where: str) -> str:
    """What a cell stands for."""
    meanings = (values or {}).get(name)
    if meanings is None:
        return cell
    if cell not in meanings:
        raise DataError(f"{where}: '{cell}' in column '{name}'; one of: {', '.join(meanings)}")
    return meanings[cell]
