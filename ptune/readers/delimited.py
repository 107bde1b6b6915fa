"""Tables in text: a record a row, columns split by a delimiter (tsv as GLUE has them, csv with its quotes)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ptune.errors import DataError
from ptune.readers import Record, lines


def read(
    path: Path,
    delimiter: str = "\t",
    names: Sequence[str] | None = None,
    quoted: bool = False,
    values: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Record]:
    """Yield a record a row.

    names: of the columns, in order; null: the first row has them. quoted: whether fields stand in quotation marks,
    which may then hold the delimiter and line ends. values: for a column, what its values stand for. Raises
    DataError where a row has another number of columns than the names, or a value stands for nothing.
    """
    header = list(names or [])
    for where, cells in rows(path, delimiter, quoted):
        if not header:
            header = cells
            continue
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} columns where {len(header)} are needed ({', '.join(header)})")
        yield Record(where, {name: meant(values, name, cell, where) for name, cell in zip(header, cells, strict=True)})


def rows(path: Path, delimiter: str, quoted: bool) -> Iterator[tuple[str, list[str]]]:
    """(file:line at which a row begins, its cells)."""
    places: list[str] = []

    def texts() -> Iterator[str]:
        for where, text in lines(path):
            places.append(where)
            yield text + "\n"

    reader = csv.reader(
        texts(), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
    )
    csv.field_size_limit(1_000_000)
    while True:
        before = len(places)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{places[-1]}: not a row of a table ({error})") from None
        if cells:
            yield places[before], cells


def meant(values: Mapping[str, Mapping[str, str]] | None, name: str, cell: str, where: str) -> str:
    """What a cell stands for."""
    known = (values or {}).get(name)
    if known is None:
        return cell
    if cell not in known:
        raise DataError(f"{where}: '{cell}' in column '{name}'; one of: {', '.join(known)}")
    return known[cell]
