"""Parsers of original corpus files, one module a format, each with `read(path, **options) -> Iterator[Record]`.

A format of several files has `beside(path) -> list[Path]` too: those that `read` opens besides `path`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ptune.errors import DataError

LONGEST_LINE = 1_000_000


class Record(NamedTuple):
    """One record as the file has it; `where` is file:line, or file and place in it, for error messages."""

    where: str
    values: dict[str, Any]


def lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""Yield (file:line, text without its line end); splits at \n only, so that U+2028 in a token is data.

    Raises DataError for bytes that are not UTF-8, for NUL, and for lines over a million characters.
    """
    with path.open("rb") as file:
        yield from decoded(file, str(path))


def decoded(file: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    """As `lines`, of an open binary file."""
    for number, raw in enumerate(file, 1):
        where = f"{name}:{number}"
        if len(raw) > LONGEST_LINE:
            raise DataError(f"{where}: a line of {len(raw)} bytes; is this a text corpus?")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: byte {error.start + 1} is not UTF-8; convert the file to UTF-8") from None
        if "\0" in text:
            raise DataError(f"{where}: a NUL character; the file is damaged or not text")
        yield where, text.rstrip("\r\n")
