"""The pretraining text as rows of token ids, and rows as batches of similar length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

import numpy as np
import torch
from torch import Tensor

WORD = re.compile(r"[^\W_]+")
INITIAL, WAVES = 0.04, 0.05  # the scales at which weights and position embeddings begin
LABEL_WORDS = (
    *("yes", "no", "maybe", "true", "false", "right", "wrong", "and", "or", "not", "good", "bad", "great"),
    *("terrible", "because", "so", "cause", "effect", "same", "different", "world", "sports", "business", "tech"),
)


class Rows:
    """Many rows of ids in one array, since a list of lists of 30 million numbers would fill the memory."""

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        cuts: Sequence[int] | None = None,
        facts: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """cuts: where in each row a second part begins (a segment, an answer); the row's length if nowhere.

        facts: what else an objective knows of the rows, as many numbers of each.
        """
        self.lengths = np.fromiter((len(row) for row in rows), np.int32, len(rows))
        self.starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        self.ids = np.fromiter((i for row in rows for i in row), np.uint16, int(self.starts[-1]))
        self.cuts = np.asarray(self.lengths if cuts is None else cuts, np.int32)
        self.facts = np.asarray([()] * len(rows) if facts is None else facts, np.int16)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """How many ids there are in all."""
        return int(self.starts[-1])

    def padded(self, indices: Sequence[int], fill: int) -> tuple[Tensor, Tensor]:
        """(ids [B, N] filled up on the right, cuts [B, 1])."""
        ids = np.full((len(indices), int(self.lengths[list(indices)].max())), fill, np.int64)
        for place, index in enumerate(indices):
            ids[place, : self.lengths[index]] = self.ids[self.starts[index] : self.starts[index + 1]]
        return torch.from_numpy(ids), torch.from_numpy(self.cuts[list(indices)].astype(np.int64))[:, None]

    def batches(self, tokens: int, random: Random) -> Iterator[list[int]]:
        """Indices of rows of similar length, at most `tokens` padded tokens a batch, in random order."""
        made: list[list[int]] = []
        for start in range(0, len(self), 4096):
            batch: list[int] = []
            pool = range(start, min(start + 4096, len(self)))
            for index in sorted(pool, key=lambda index: int(self.lengths[index])):
                if batch and (len(batch) + 1) * int(self.lengths[index]) > tokens:
                    made.append(batch)
                    batch = []
                batch.append(index)
            made.append(batch)
        random.shuffle(made)
        yield from made


def names(passages: Sequence[str], ordinary: set[str]) -> list[str]:
    """The words of the passages that are not ordinary ones, each once however often its world mentions it.

    So names fall into pieces that the names of other worlds have too.
    """
    words = {word for passage in passages for word in WORD.findall(passage)}
    return sorted(word for word in words if word.lower() not in ordinary)


def often(ordinary: set[str]) -> Iterator[str]:
    """Ordinary words and, more often, label words: often enough that a tokenizer keeps them whole."""
    for word in sorted(ordinary | set(LABEL_WORDS)):
        yield from [word] * (6000 if word in LABEL_WORDS else 3000)


def shifted(count: int, length: int, positions: int, generator: torch.Generator) -> Tensor:
    """Positions from 0, for half of the rows from a random one. [B, N]

    A prompt in front of the text shifts it; a model that has met shifted text does not mind.
    """
    offset = (torch.rand(count, 1, generator=generator) * (positions - length + 1)).long()
    moved = torch.rand(count, 1, generator=generator) < 0.5
    return torch.arange(length).repeat(count, 1) + offset * moved


def sinusoids(positions: int, hidden: int) -> Tensor:
    """Where learned position embeddings begin: waves (Vaswani et al. 2017) at the scale of small weights. [P, H]

    To look at a neighbor is then the same at every offset. From random embeddings a model this small, which meets
    shifted positions, learns how frequent words are and for millions of tokens nothing else.
    """
    waves = torch.arange(positions)[:, None] * 10000 ** (-torch.arange(0, hidden, 2) / hidden)
    return torch.cat([waves.sin(), waves.cos()], dim=1) * WAVES
