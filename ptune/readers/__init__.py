"""Parsers of original corpus files: a module a format, with `read(path, **options, each=strict) -> Iterator[Record]`.

`with each("sentences"):` surrounds the reading of each part of a file that can be read without the others. A format
of several files has `beside(path) -> list[Path]` too: those that `read` opens besides `path`; one that reads a folder
of files has `inside(path) -> list[Path]`. Where `read` takes `reads`, it is given the names of the values that the
task reads, its label last.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from ptune.errors import DataError, UnreadableError

LONGEST_LINE = 1_000_000
MOST_PACKED, LEAST_ROOM = 200, 2**26  # times its size that a packed text becomes at most, and bytes that any may
POINTER = "version https://git-lfs.github.com/spec/"
Each = Callable[..., AbstractContextManager[Any]]


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


def strict(unit: str = "") -> AbstractContextManager[None]:
    """What surrounds the reading of each part of a file where the first problem ends it."""
    return nullcontext()


class Reading:
    """One reading of a split: counts the parts by their unit and, if lenient, keeps problems and goes on after them.

    examples: how many were made of its records; left_out: how many records the task's yaml leaves out by their values;
    labeled: whether the examples have their gold, None before the first.
    """

    def __init__(self, lenient: bool = False) -> None:
        self.lenient = lenient
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.examples = self.left_out = 0
        self.labeled: bool | None = None

    def __call__(self, unit: str = "") -> Reading:
        """Count a part; one within a part that is counted has no unit."""
        if unit:
            self.counts[unit] += 1
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        is_suppressed = self.lenient and isinstance(error, DataError) and not isinstance(error, UnreadableError)
        if is_suppressed:
            self.problems.append(str(error))
        return is_suppressed


def lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""Yield (file:line, text without its line end); splits at \n only, so that U+2028 in a token is data.

    A name that ends in .gz is unpacked. Raises UnreadableError for bytes that are not UTF-8, for NUL, for lines over a
    million characters, for a Git LFS pointer and for a packed file that is cut short.
    """
    with unpacked(path) as file:
        if path.suffix != ".gz":
            yield from decoded(file, str(path))
            return
        try:
            yield from decoded(file, str(path))
        except (EOFError, OSError, zlib.error) as error:
            raise UnreadableError(f"{path}: cannot be unpacked ({error}); is it cut short?") from None


def content(path: Path) -> bytes:
    """All of a file, unpacked where its name ends in .gz. Raises UnreadableError for one that is cut short."""
    try:
        with unpacked(path) as file:
            return file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise UnreadableError(f"{path}: cannot be unpacked ({error}); is it cut short?") from None


def unpacked(path: Path) -> BinaryIO:
    """A file's bytes, unpacked where its name ends in .gz."""
    return io.BufferedReader(Packed(path)) if path.suffix == ".gz" else path.open("rb")


class Packed(io.RawIOBase):
    """What a packed file holds, which ends with an UnreadableError where it is more than any text becomes."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, gzip.open(path)  # noqa: SIM115
        self.left = max(MOST_PACKED * path.stat().st_size, LEAST_ROOM)

    def readable(self) -> bool:
        """See io."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See io."""
        count = self.file.readinto(buffer)
        self.left -= count
        if self.left < 0:
            raise UnreadableError(f"{self.path}: unpacked it is {MOST_PACKED} times its size; is this a text corpus?")
        return count

    def close(self) -> None:
        """See io."""
        self.file.close()
        super().close()


def decoded(file: BinaryIO, name: str) -> Iterator[tuple[str, str]]:
    """As `lines`, of an open binary file."""
    for number, raw in enumerate(iter(lambda: file.readline(2 * LONGEST_LINE), b""), 1):
        where = f"{name}:{number}"
        if len(raw) > LONGEST_LINE:
            suffix = " and more" if len(raw) == 2 * LONGEST_LINE else ""
            raise UnreadableError(f"{where}: a line of {len(raw)} bytes{suffix}; is this a text corpus?")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableError(f"{where}: byte {error.start + 1} is not UTF-8; convert the file to UTF-8") from None
        if "\0" in text:
            raise UnreadableError(f"{where}: a NUL character; the file is damaged or not text")
        if number == 1 and text.startswith(POINTER):
            raise UnreadableError(f"{where}: a Git LFS pointer instead of the data; git lfs pull fetches it")
        yield where, text.rstrip("\r\n")
