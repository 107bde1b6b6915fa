"""Recurring span selection (Ram et al. 2021, arXiv 2101.00438): what a row says twice is hidden once and sought."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random
from typing import NamedTuple

RARE = 0.02  # the share of rows that a word stands in, at most, for its recurring to mean something
LONGEST = 10  # pieces of a span
COPIES = 4  # of a hidden span that are sought, at most
HIDDEN, DROPPED = 0.5, 0.33  # the share of rows with such spans that hide one, and of those that leave it out


class Hidden(NamedTuple):
    """The pieces from `begin` to `end` are hidden; what stood there is `length` long and also begins at `copies`."""

    begin: int
    end: int
    length: int
    copies: tuple[int, ...]

    def numbers(self) -> list[int]:
        """As many numbers for each row; -1 where there are fewer copies."""
        return [self.begin, self.end, self.length, *self.copies, *[-1] * (COPIES - len(self.copies))]


NOTHING = Hidden(0, 0, 0, ())


class Recurring:
    """Finds the spans of words that a row has twice, of which only what is around them tells one from another."""

    def __init__(self, pieces: Sequence[str], special: int, rows: Sequence[Sequence[int]]) -> None:
        """pieces: the vocabulary, `special` tokens first; rows: of ids, which say what words are rare."""
        self.special = special
        self.inside = [piece.startswith("##") for piece in pieces]
        often = Counter(word for row in rows for word in {row[begin:end] for begin, end in self.words(row)})
        self.common = {word for word, count in often.items() if count > RARE * len(rows)}

    def words(self, row: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Where each word begins and ends."""
        begin = 0
        for place in range(1, len(row) + 1):
            if place == len(row) or not self.inside[row[place]]:
                yield begin, place
                begin = place

    def pairs(self, row: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
        """(where it begins, where it begins again, its length) of each longest span of rare words."""
        edges = list(self.words(row))
        words = [row[begin:end] for begin, end in edges]
        rare = [word not in self.common and word[0] >= self.special for word in words]
        places = defaultdict(list)
        for i, word in enumerate(words):
            if rare[i]:
                places[word].append(i)
        for found in places.values():
            for i, j in combinations(found, 2):
                if i and words[i - 1] == words[j - 1] and rare[i - 1]:
                    continue  # part of a longer one
                count = 1
                while j + count < len(words) and words[i + count] == words[j + count] and rare[i + count]:
                    count += 1
                if i + count <= j:
                    yield edges[i][0], edges[j][0], edges[i + count - 1][1] - edges[i][0]

    def hide(self, row: tuple[int, ...], cut: int, random: Random) -> tuple[tuple[int, ...], int, Hidden]:
        """(the row, its cut, what is hidden); the copies are in the other segment where there are such.

        A third of the hidden spans are left out of the row, the others are for the caller to mask.
        """
        pairs = [pair for pair in self.pairs(row) if pair[2] <= LONGEST]
        if not pairs or random.random() >= HIDDEN:
            return row, cut, NOTHING
        first, second, length = random.choice([pair for pair in pairs if pair[0] < cut <= pair[1]] or pairs)
        begin = random.choice((first, second))
        span, end = row[begin : begin + length], begin + length
        copies = [i for i in range(len(row) - length + 1) if row[i : i + length] == span and i != begin]
        if random.random() < DROPPED:
            row = row[:begin] + row[end:]
            copies = [i - length * (i > begin) for i in copies]
            cut, end = cut - length * (cut > begin), begin
        return row, cut, Hidden(begin, end, length, tuple(copies[:COPIES]))
