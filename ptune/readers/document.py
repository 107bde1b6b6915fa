"""Documents of one JSON value, which are read an element of a long array at a time."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ptune.errors import DataError, UnreadableError
from ptune.readers import LONGEST_LINE, POINTER, content, unpacked

SURROGATE = re.compile("[\ud800-\udfff]")
SPACE = re.compile(r"[ \t\n\r]*")
PIECE = 2**20  # characters that are read at a time
DECODER = json.JSONDecoder()


def elements(path: Path, key: str | None = None) -> Iterator[Any]:
    """Yield each element of the array that the document is, or that its object has under a key.

    Raises DataError for another document, and UnreadableError where it is no JSON.
    """
    try:
        with (
            unpacked(path) as file,
            io.TextIOWrapper(file, "utf-8-sig", newline="") as text,
        ):
            yield from Scanner(text).elements(key, str(path))
    except (ValueError, RecursionError, EOFError, gzip.BadGzipFile, zlib.error):
        load(path)  # which says what is wrong, and where
        raise


class Scanner:
    """Reads JSON values of a text one after the other; no more of the text is kept than the value that is read."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at = file, "", 0

    def elements(self, key: str | None, where: str) -> Iterator[Any]:
        """See the function."""
        has_array, names = False, []
        if key is None and self.next() == "[":
            has_array = True
            yield from self.array()
        elif key is not None and self.next() == "{":
            for name in self.keys():
                names.append(name)
                if name == key and self.next() == "[":
                    has_array = True
                    yield from self.array()
                elif name == key:
                    raise DataError(f"{where}.{key}: {json_type(self.value())} where a list is needed")
                else:
                    self.value()
        else:
            expected = "an array of objects" if key is None else f"an object with '{key}'"
            raise DataError(f"{where}: {json_type(self.value())} where {expected} is needed")
        if not has_array:
            raise DataError(f"{where}: no '{key}' among its keys: {', '.join(repr(name) for name in names[:9])}")
        if self.next():
            raise self.error("Extra data")

    def keys(self) -> Iterator[str]:
        """The keys of an object; the value of each is to be read before the next."""
        for _ in self.members("}"):
            if self.next() != '"':
                raise self.error("Expecting property name enclosed in double quotes")
            name = self.value()
            self.skip(":")
            yield name

    def array(self) -> Iterator[Any]:
        """The elements of an array."""
        for _ in self.members("]"):
            yield self.value()

    def members(self, end: str) -> Iterator[None]:
        """Stop before each member of an array or object that ends so."""
        self.at += 1
        if self.next() != end:
            yield
            while self.next() != end:
                self.skip(",")
                yield
        self.at += 1

    def value(self) -> Any:
        """The next value. Raises JSONDecodeError where there is none."""
        self.next()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError:
                if not self.more():
                    raise
            else:
                if end + 2 < len(self.text) or not self.more():  # a number might go on, as in 1e+2
                    self.at = end
                    return value

    def next(self) -> str:
        """The next character that is no space, which is not read over; at the end none."""
        while True:
            match = SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def skip(self, character: str) -> None:
        """Read over a character. Raises JSONDecodeError where there is another."""
        if self.next() != character:
            raise self.error(f"Expecting '{character}' delimiter")
        self.at += 1

    def more(self) -> bool:
        """Read on, and let go of what lies behind; whether there was more. Each time twice as far as is kept."""
        piece = self.file.read(max(PIECE, len(self.text) - self.at))
        if piece:
            self.text, self.at = self.text[self.at :] + piece, 0
        return bool(piece)

    def error(self, said: str) -> json.JSONDecodeError:
        """What is wrong at this place."""
        return json.JSONDecodeError(said, self.text, self.at)


def json_type(value: Any) -> str:
    """What a JSON value is, for messages."""
    return f"a JSON {type(value).__name__}"


def load(path: Path) -> Any:
    """The document in a file. Raises UnreadableError for one that is no json, and says what it is where that shows."""
    raw = content(path)
    if raw.startswith(POINTER.encode()):
        raise UnreadableError(f"{path}:1: a Git LFS pointer instead of the data; git lfs pull fetches it")
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = error.start - raw.rfind(b"\n", 0, error.start)
        raise UnreadableError(f"{path}:{line}: byte {byte} is not UTF-8; convert the file to UTF-8") from None
    if "\0" in decoded:
        line = decoded.count("\n", 0, decoded.index("\0")) + 1
        raise UnreadableError(f"{path}:{line}: a NUL character; the file is damaged or not text")
    try:
        return json.loads(decoded)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}: not JSON ({error.msg}, character {error.pos + 1} of {len(decoded)})"
        is_cut_off = error.msg.startswith("Unterminated string") or not decoded[error.pos :].strip()
        raise UnreadableError(
            place + ("; the file ends too early: is its download complete?" if is_cut_off else "")
        ) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, nesting without an end
        raise UnreadableError(f"{path}: not JSON ({error})") from None


def sound(value: str, where: str) -> None:
    """Raises DataError for a text with half a character in it, or of more characters than a text corpus has."""
    if SURROGATE.search(value):
        raise DataError(f"{where}: half a character (a lone surrogate); the file is damaged")
    if len(value) > LONGEST_LINE:
        raise DataError(
            f"{where}: {len(value)} characters, where at most {LONGEST_LINE} are read; is this a text corpus?"
        )
