"""Tables in text: a record a row, columns split by a delimiter (tsv as GLUE has them, csv with its quotes)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ptune.errors import DataError, UnreadableError, nearest
from ptune.readers import Each, Record, lines, strict


def read(
    path: Path,
    delimiter: str = "\t",
    names: Sequence[str] | None = None,
    quoted: bool = False,
    values: Mapping[str, Mapping[str, str]] | None = None,
    columns: Mapping[str, str] | None = None,
    broken: bool = False,
    each: Each = strict,
) -> Iterator[Record]:
    """Yield a record a row.

    names: of the columns, in order; null: the first row has them. quoted: whether fields stand in quotation marks,
    which may then hold the delimiter and line ends. columns: our name -> the file's of the columns to keep; null: all,
    under their own names. values: for one of our names, what its values stand for. broken: whether rows may have too
    few columns, as GLUE's QQP has them; the missing ones are None. Raises DataError where a row has another number of
    columns than the names, a column is not there, or a value stands for nothing.
    """
    header = list(names or [])
    kept = placed(columns, header, str(path)) if header else {}
    for where, cells in rows(path, delimiter, quoted, each):
        if not header:
            header = cells
            kept = placed(columns, header, where)
            continue
        with each("rows"):
            if len(cells) > len(header) or (len(cells) < len(header) and not broken):
                raise DataError(f"{where}: {len(cells)} columns where {len(header)} are needed ({', '.join(header)})")
            told = {n: meant(values, n, cells[at], where) if at < len(cells) else None for n, at in kept.items()}
            yield Record(where, told)


def placed(columns: Mapping[str, str] | None, header: Sequence[str], where: str) -> dict[str, int]:
    """Our names of the columns to keep, with their places. Raises DataError for one that is not there."""
    for theirs in (columns or {}).values():
        if theirs not in header:
            raise UnreadableError(f"{where}: no column '{theirs}'; {nearest(theirs, header)}")
    return {ours: header.index(theirs) for ours, theirs in (columns or {name: name for name in header}).items()}


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
        before = len(places)
        with each():
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{places[before]}: not a row of a table ({error})") from None
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
