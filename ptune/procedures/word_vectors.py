"""Word vectors from a text file: a line a word, then its numbers; word2vec's begins with a line of two counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ptune.errors import DataError
from ptune.readers import lines

DIGITS = 10  # of a count


def vectors(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, np.ndarray]]:
    """Words in the file's order with their vectors [E], those that are `wanted`; of a word's lines the first.

    A word may have spaces in it, as some of GloVe's have. Raises DataError with file:line for a line that has not as
    many numbers as the first, or something else in their place.
    """
    width = 0
    words: set[str] = set()
    for number, (where, text) in enumerate(lines(path)):
        fields = text.rstrip().split(" ")
        if number == 0 and len(fields) == 2 and all(field.isdecimal() and len(field) < DIGITS for field in fields):
            width = int(fields[1])
            continue
        width = width or len(fields) - 1
        if width < 1 or len(fields) <= width:
            raise DataError(f"{where}: {len(fields) - 1} numbers after the word; {max(width, 1)} are needed")
        word = " ".join(fields[:-width])
        if word in words or not wanted(word):
            continue
        words.add(word)
        try:
            with np.errstate(over="ignore"):
                vector = np.array(fields[-width:], dtype=np.float32)
        except ValueError as error:
            raise DataError(f"{where}: {error}; a line is a word and then {width} numbers") from None
        if not np.isfinite(vector).all():
            raise DataError(f"{where}: a number that is not finite; a line is a word and then {width} numbers")
        yield word, vector
