"""Parsers of original corpus files, one module a format, each with `read(path, **options) -> Iterator[Record]`.

A format of several files has `beside(path) -> list[Path]` too: those that `read` opens besides `path`; one that reads
a folder of files has `inside(path) -> list[Path]`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ptune.errors import DataError

LONGEST_LINE = 1_000_000
POINTER = "version https://git-lfs.github.com/spec/"


class Record(NamedTuple):
    """One record as the file has it; `where` is file:line, or file and place in it, for error messages.

    by_line: whether each word has a line of its own, the first one at `where`.
    """

    where: str
    values: dict[str, Any]
    by_line: bool = False

    def at(self, index: int) -> str:
        """The place of a word, counted from 0."""
        if not self.by_line:
            return self.where
        name, _, line = self.where.rpartition(":")
        return f"{name}:{int(line) + index}"


def lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""Yield (file:line, text without its line end); splits at \n only, so that U+2028 in a token is data.

    A name that ends in .gz is unpacked. Raises DataError for bytes that are not UTF-8, for NUL, for lines over a
    million characters, for a Git LFS pointer and for a packed file that is cut short.
    """
    with path.open("rb") as packed, gzip.open(packed) as unpacked:
        if path.suffix != ".gz":
            yield from decoded(packed, str(path))
            return
        try:
            yield from decoded(unpacked, str(path))
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{path}: cannot be unpacked ({error}); is it cut short?") from None


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
        if number == 1 and text.startswith(POINTER):
            raise DataError(f"{where}: a Git LFS pointer instead of the data; git lfs pull fetches it")
        yield where, text.rstrip("\r\n")
