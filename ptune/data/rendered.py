"""Splits rendered as rows by a template, and training batches as pure functions of the step."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np
import torch

from ptune.batch import Batch, Draw, Example, Row, collate
from ptune.data.cache import Cache
from ptune.data.encoded import FIGURES, EncodedExample
from ptune.data.stored import Stored, name
from ptune.errors import DataError
from ptune.seeds import mix
from ptune.tasks import OwnTexts, Task
from ptune.templates import Parts, Template, lost_labels

T = TypeVar("T")


class Rendered:
    """A split rendered by a template: its parts are cached on disk, its rows are made when asked for.

    Rows are kept in memory, up to KEPT tokens, unless the template draws demonstrations or the examples have several
    candidates, whose rows repeat one long text.
    """

    KEPT = 2**18  # tokens, some 15 MB

    def __init__(
        self,
        examples: Sequence[Example],
        task: Task,
        template: Template,
        max_len: int,
        cache: Cache | None = None,
        split: str = "",
    ) -> None:
        self.template, self.max_len = template, max_len
        self.examples = examples
        self._rows: dict[int, list[Row]] = {}
        self._room = 0 if template.drawn or template.masked != "label" else self.KEPT

        def encode() -> Iterable[EncodedExample]:
            encoded = (self._encode(task, index, example) for index, example in enumerate(examples))
            return cache.progress.follow(f"{split}: encoding", encoded, len(examples)) if cache else encoded

        self.parts: Sequence[list[Parts]]
        if cache and (cached := cache.encoded(encode, examples, task, template, max_len)):
            self.parts, figures = cached, cached.figures
        else:
            encoded = list(encode())
            self.parts = [example.parts for example in encoded]
            figures = {name: np.array([getattr(example, name) for example in encoded]) for name in FIGURES}
        self.lengths: list[int] = figures["length"].tolist()  # of an example's longest row
        self.counts: list[int] = figures["rows"].tolist()  # rows of an example
        self.training_lengths: list[int] = figures["training_length"].tolist()  # as `lengths`, in training
        self.training_counts: list[int] = figures["training_rows"].tolist()  # as `counts`, in training
        self.dropped: list[int] = figures["dropped"].tolist()  # training examples that a row of it has no room for
        self.label_counts: list[int] = figures["labels"].tolist()  # labels of an example
        self.labels, self.lost, self.cut = (int(figures[name].sum()) for name in ("labels", "lost", "cut"))
        self.soft = not isinstance(examples, Stored) and bool(examples) and examples[0].soft is not None
        if self.soft:
            self.labels = len(self) if task.grouped else sum(self.training_counts)

    def _encode(self, task: Task, index: int, example: Example) -> EncodedExample:
        has_own_texts = self.template.masked != "label"
        candidates = [cast(OwnTexts, task).options(example)] if has_own_texts else task.candidates(example)
        parts = [
            replace(
                self.template.parts_with_text(index, candidate, target),
                candidate=number,
                grouped=task.grouped and not has_own_texts,
                prompt=candidate.prompt,
            )
            for number, (candidate, target) in enumerate(candidates)
        ]
        rows = self._make_rows(parts, Draw(0, 0))
        training_rows = (
            self._make_rows(parts, Draw(0, 0, training=True)) if has_own_texts or self.template.drawn else rows
        )
        return EncodedExample(
            parts,
            length=max(len(row.ids) + len(row.output) for row in ((*rows, *training_rows) if has_own_texts else rows)),
            rows=len(rows),
            labels=sum(row.labels for row in training_rows),
            lost=lost_labels(rows, parts[0].target, self.template.windows)
            if len(parts) == 1 and not has_own_texts
            else 0,
            cut=any(row.cut for row in rows),
            dropped=max(row.dropped for row in rows),
            training_length=max(len(row.ids) + len(row.output) for row in training_rows),
            training_rows=len(training_rows),
        )

    def _make_rows(self, parts: Sequence[Parts], draw: Draw) -> list[Row]:
        return [row for each in parts for row in self.template.rows(each, draw, self.max_len)]

    def __len__(self) -> int:
        return len(self.parts)

    def reading(self) -> dict[str, float]:
        """How much of the split the model reads: examples cut (number and percent), gold labels lost, windows per
        example or candidate (of texts that are too long for one row), and samples, the number of demonstration sets
        that an evaluation reads each with.
        """
        rendered_count = sum(len(parts) for parts in self.parts) * self.template.sets
        return {
            "cut": self.cut,
            "cut_percent": 100 * self.cut / len(self),
            "windows": sum(self.counts) / rendered_count if self.template.masked == "label" else 1.0,
            "samples": self.template.sets,
            "lost_labels": self.lost,
        }

    @property
    def training_indices(self) -> list[int]:
        """Indices of the examples to train on: all, or, where masks hide the text itself, those with hidden tokens.

        Raises DataError if there are none.
        """
        if self.template.masked == "label":
            return list(range(len(self)))
        indices = [index for index, labels in enumerate(self.label_counts) if labels]
        if not indices:
            raise DataError(f"none of the {len(self)} examples to train on says what belongs at its masks")
        return indices

    def size(self, index: int) -> tuple[int, int]:
        """The number of an example's rows in evaluation, and the tokens of the longest."""
        return self.counts[index], self.lengths[index]

    def training_size(self, index: int) -> tuple[int, int]:
        """The number of an example's rows in training, and the tokens of the longest that any epoch may draw."""
        return self.training_counts[index], max(self.lengths[index], self.training_lengths[index])

    def rows(self, index: int, draw: Draw) -> list[Row]:
        """The rows of an example and of its candidates."""
        if index in self._rows:
            return self._rows[index]
        rows = self._make_rows(parts := self.parts[index], draw)
        if self._room > 0 and len(parts) == 1:
            self._rows[index] = rows
            self._room -= sum(len(row.ids) for row in rows)
        return rows

    def batch(self, indices: Sequence[int], draw: Draw, source: str) -> Batch:
        """The rows of several examples as one batch."""
        rows = [row for index in indices for row in self.rows(index, draw)]
        batch = collate(
            rows, self.template.tokens.pad_id, names=[name(self.examples, i) for i in indices], source=source
        )
        if self.soft:
            labels = [label for row in rows if (label := self.examples[row.example].soft) is not None]
            probabilities = [torch.tensor(label.probabilities) for label in labels]
            batch.soft = torch.nn.utils.rnn.pad_sequence(probabilities, batch_first=True)
            batch.temperature = labels[0].temperature
        return batch


class Stream:
    """Training batches of whole examples, reshuffled each epoch, with `bucket` of similar length.

    The batches of a step depend on (seed, step) alone, which makes resuming exact.
    """

    BLOCK = 32  # batches that are sorted by length together

    def __init__(
        self,
        rendered: Rendered,
        batch_size: int,
        accumulate: int,
        seed: int,
        bucket: bool,
        tokens: int | None = None,
        source: str = "train",
    ) -> None:
        """accumulate: micro-batches a step. tokens: the most a micro-batch may have; larger ones are divided.

        source: the name of the batches.
        """
        self.rendered, self.batch_size, self.accumulate, self.source = rendered, batch_size, accumulate, source
        self.seed, self.bucket, self.tokens = seed, bucket, tokens
        self.parts = 1
        self.indices = rendered.training_indices
        self.steps_per_epoch = -(-len(self.indices) // batch_size)
        self._order: tuple[int, list[list[int]]] = (-1, [])

    @property
    def expected_labels(self) -> float:
        """Labels a step has on average, over full batches (of all examples, if they are fewer than a batch)."""
        return self.rendered.labels / len(self.indices) * min(self.batch_size, len(self.indices))

    def epoch(self, epoch: int) -> list[list[int]]:
        """Example indices of every batch of an epoch."""
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, "order", epoch))
            order = [self.indices[i] for i in torch.randperm(len(self.indices), generator=generator).tolist()]
            if self.bucket:
                block = self.BLOCK * self.batch_size
                order = [
                    i
                    for start in range(0, len(order), block)
                    for i in sorted(order[start : start + block], key=lambda i: self.rendered.lengths[i])
                ]
            batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
            if self.bucket:
                batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
            self._order = (epoch, batches)
        return self._order[1]

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of a step (counted from 0)."""
        epoch, index = divmod(step, self.steps_per_epoch)
        indices = self.epoch(epoch)[index]
        size = -(-len(indices) // (self.accumulate * self.parts))
        draw = Draw(self.seed, epoch, training=True)
        parts = (indices[start : start + size] for start in range(0, len(indices), size))
        micro_batches = [
            batch_indices
            for part in parts
            for batch_indices in split_into_batches(part, self.rendered.training_size, sys.maxsize, self.tokens)
        ]
        return [self.rendered.batch(batch_indices, draw, self.source) for batch_indices in micro_batches]

    def divide(self, parts: int) -> bool:
        """Split each micro-batch into so many parts from now on; returns whether any had more than one example."""
        size = -(-self.batch_size // (self.accumulate * self.parts))
        self.parts = parts
        return size > 1


class ParallelStream:
    """Every step has the micro-batches of all streams, the first stream's first."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = streams

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of a step (counted from 0)."""
        return [batch for stream in self.streams for batch in stream(step)]

    def divide(self, parts: int) -> bool:
        """See Stream."""
        divided = [stream.divide(parts) for stream in self.streams]
        return any(divided)


class MixedStream:
    """Every step has the batches of one of several streams, drawn as a pure function of (seed, step).

    An epoch has as many steps as those of all streams together. A stream's share is proportional to its own steps to
    the power of 1/temperature: at temperature 1 each batch comes once an epoch, higher ones make shares more equal, and
    None makes them equal (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2).
    """

    def __init__(self, streams: Sequence[Stream], seed: int, temperature: float | None = 1.0) -> None:
        self.streams, self.seed = streams, seed
        sizes = [stream.steps_per_epoch for stream in streams]
        self.steps_per_epoch = sum(sizes)
        self.shares = shares(sizes, 0.0 if temperature is None else 1 / temperature)
        self._order: tuple[int, list[int]] = (-1, [])

    def order(self, epoch: int) -> list[int]:
        """The index of the stream of every step of an epoch."""
        if self._order[0] != epoch:
            streams = [number for number, share in enumerate(self.shares) for _ in range(share)]
            generator = torch.Generator().manual_seed(mix(self.seed, "sources", epoch))
            self._order = (epoch, [streams[i] for i in torch.randperm(len(streams), generator=generator).tolist()])
        return self._order[1]

    def taken(self, steps: int, stream: int) -> int:
        """How many of the first steps belong to a stream."""
        epoch, index = divmod(steps, self.steps_per_epoch)
        return epoch * self.shares[stream] + self.order(epoch)[:index].count(stream)

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of a step (counted from 0)."""
        epoch, index = divmod(step, self.steps_per_epoch)
        stream_index = self.order(epoch)[index]
        return self.streams[stream_index](self.taken(step, stream_index))

    def divide(self, parts: int) -> bool:
        """See Stream."""
        divided = [stream.divide(parts) for stream in self.streams]
        return any(divided)


def shares(sizes: Sequence[int], power: float) -> list[int]:
    """Divide the sum of the sizes in proportion to their powers, by largest remainders, into shares of at least 1."""
    weights = [size**power for size in sizes]
    exact = [sum(sizes) * weight / sum(weights) for weight in weights]
    rounded = [max(1, math.floor(share)) for share in exact]
    while (missing := sum(sizes) - sum(rounded)) != 0:
        sign = 1 if missing > 0 else -1
        adjustable = [i for i, share in enumerate(rounded) if sign > 0 or share > 1]
        rounded[max(adjustable, key=lambda i: sign * (exact[i] - rounded[i]))] += sign
    return rounded


def split_into_batches(
    items: Iterable[T],
    size: Callable[[T], tuple[int, int]],
    rows: int,
    tokens: int | None = None,
    padding: float = math.inf,
) -> list[list[T]]:
    """Divide items, in their order, into batches with at most so many rows, tokens, and tokens of padding.

    size: returns an item's number of rows and the tokens of the longest. An item that is too large alone is a batch.
    """
    batches: list[list[T]] = []
    count = longest = token_count = 0
    for item in items:
        item_rows, length = size(item)
        count, longest, token_count = count + item_rows, max(longest, length), token_count + item_rows * length
        total = count * longest  # tokens with padding
        if not batches or count > rows or (tokens is not None and total > tokens) or total - token_count > padding:
            batches.append([])
            count, longest, token_count = item_rows, length, item_rows * length
        batches[-1].append(item)
    return batches
