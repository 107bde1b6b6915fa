"""Examples, the rows they render to, and batches of rows; read-out positions travel with the row.

A row is not an example: a long sentence is several windows, a choice is a row a candidate. Axis letters are those
of `ptune.injection`. Torch is imported where tensors are made: readers and tasks do without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IGNORED = -100
EVERY = slice(None)  # all tokens of a vocabulary


class Extent(NamedTuple):
    """An answer's first and last character in its text, or first and last read position in a row; one label."""

    first: int
    last: int


NOWHERE = Extent(-1, -1)  # of a text that holds no answer


class SoftLabel(NamedTuple):
    """A soft label: probabilities of the classes, or of an example's candidates, as a teacher gives them at a
    temperature, which the student takes on.

    Distilling the knowledge in a neural network (Hinton et al. 2015, arXiv 1503.02531).
    """

    probabilities: Sequence[float]
    temperature: float = 1.0


@dataclass(frozen=True)
class Example:
    """One instance of a task: `fields` are what templates render, `gold` what the metric compares with.

    mark: the index of a word that templates mark in its place, or None; tail: words that stand after those that are
    tagged, in each of their windows; marks: by the name of a read-out position, a
    field and the characters of it that heads may read there; group: of examples that are scored together, which no
    draw tears apart; all examples of a task have one, or none has; soft: what to train on in place of the gold label;
    prompt: which of the task's prompts it is given; choices: texts of its own, one of which belongs at the masks of a
    pattern.
    """

    id: str
    fields: Mapping[str, Any]
    gold: Any = None
    mark: int | None = None
    marks: Mapping[str, tuple[str, Extent]] = field(default_factory=dict)
    group: str | None = None
    tail: Sequence[str] = ()
    soft: SoftLabel | None = None
    prompt: int = 0
    choices: Sequence[str] = ()


class Windows(NamedTuple):
    """How a field too long for a row is read: in windows, a row each, which share `stride` tokens.

    limit: how many tokens of every other text are kept; longest: tokens of the longest answer that can be given.
    """

    field: str
    stride: int
    limit: int
    longest: int


class Draw(NamedTuple):
    """Where randomness of rendering comes from: the same draw renders the same rows.

    training: whether the rows are to be learned from, in which case none may show its own label.
    """

    seed: int
    epoch: int
    training: bool = False


@dataclass(frozen=True)
class Row:
    """One model input. `read` names positions in `ids`; `slots` are those that a pseudo-token prompt fills, -1 for each
    pseudo token of another prompt than the row's.

    target: class index, or one index a position of read["words"], or an extent over read["cls"] (0) and
    read["context"] (from 1), or a number (float), or None; start: index of the first word (or token of the context) it
    covers; cut: whether text was left out; offsets: [K, 2], where the text of each position of read["context"] begins
    and ends.
    output: token ids of the text that is to follow, its end token included; `ids` hold the source alone, in training as
    in inference.
    dropped: how many training examples found no room beside it.
    candidate: which of its example's candidates it shows; grouped: whether these compete for one label, in which case
    the target says whether this one is right (1) or not (0).
    choices: token ids of texts that compete for the masks; the target says of each whether it is right (1) or not (0).
    """

    example: int
    ids: Sequence[int]
    types: Sequence[int]
    read: Mapping[str, Sequence[int]]
    slots: Sequence[int] = ()
    target: float | Sequence[int] | Extent | None = None
    start: int = 0
    candidate: int = 0
    cut: bool = False
    offsets: np.ndarray | None = None
    grouped: bool = False
    output: Sequence[int] = ()
    dropped: int = 0
    choices: Sequence[Sequence[int]] = ()

    @property
    def labels(self) -> int:
        """How many labels this row contributes to the loss: of a text to be generated its tokens; of rows that compete
        for one, the first has it."""
        if self.output:
            return len(self.output)
        if self.target is None or (self.grouped and self.candidate):
            return 0
        if self.choices and not isinstance(self.target, int | float):
            return int(1 in self.target)
        return 1 if isinstance(self.target, int | float | Extent) else sum(t != IGNORED for t in self.target)


@dataclass
class Batch:
    """Rows as tensors. ids, types, mask [B, N]; read: name -> [B, K] padded with -1; slots [B, S] padded with -1;
    example, start, candidate, weight [B]; target [B], or [B, K] padded with IGNORED, or [B, 2] for extents, or [B] of
    floats; output [B, M], the texts to be generated, padded with IGNORED (M = 0: none); soft [B, C], of candidates in
    each row all of them, or None, at a temperature; offsets: each row's, where rows read a context; grouped: whether
    the rows of an example, which stand side by side, compete for one label; choices [B, C, M] or None: what competes
    for a row's masks, padded with IGNORED, as its target [B, C] is."""

    ids: Tensor
    types: Tensor
    mask: Tensor
    read: dict[str, Tensor]
    slots: Tensor
    example: Tensor
    start: Tensor
    candidate: Tensor
    weight: Tensor
    target: Tensor
    output: Tensor
    soft: Tensor | None = None
    temperature: float = 1.0
    source: str = "train"
    names: Sequence[str] = field(default_factory=list)
    offsets: Sequence[np.ndarray] = ()
    grouped: bool = False
    choices: Tensor | None = None

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def labels(self) -> int:
        """How many labels the batch holds; a soft target counts as one, and so do an extent and a token of a text."""
        if self.output.shape[1]:
            return int((self.output != IGNORED).sum())
        if self.choices is not None:
            return int((self.target == 1).sum(-1).clamp(max=1).sum())
        if self.soft is not None:
            return int((self.candidate == 0).sum()) if self.grouped else len(self)
        if self.grouped:
            return int(((self.target != IGNORED) & (self.candidate == 0)).sum())
        count = int((self.target != IGNORED).sum())
        return count // 2 if self.offsets else count

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        import torch

        tensors: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **tensors, read={k: v.to(device) for k, v in self.read.items()})

    def select_rows(self, rows: Tensor) -> Batch:
        """The rows of those numbers [K], in that order, some perhaps several times."""
        import torch

        tensors: dict[str, Any] = {k: v[rows] for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        offsets = [self.offsets[row] for row in rows.tolist()] if self.offsets else ()
        return replace(self, **tensors, read={k: v[rows] for k, v in self.read.items()}, offsets=offsets)


class RowOutput(NamedTuple):
    """What a head says of one row: scores [C], or [K, C] for the K words that start at word `start`.

    With offsets [K, 2]: scores [1 + K, 2] of beginning and ending at no answer (0) and at the K of the context.
    text: what was generated; scores of the labels that it may be are 1 or 0.
    With words: scores [K] of the K best words of the vocabulary, best first, and which of them is the gold one, -1 for
    none.
    """

    example: int
    scores: np.ndarray
    start: int = 0
    candidate: int = 0
    offsets: np.ndarray | None = None
    text: str | None = None
    words: Sequence[str] = ()
    gold: int = -1


def collate(
    rows: Sequence[Row],
    pad_id: int,
    *,
    side: str = "right",
    multiple: int = 1,
    names: Sequence[str] = (),
    source: str = "train",
) -> Batch:
    """Rows padded to their longest (rounded up to `multiple`) on `side` ("right" or "left")."""
    import torch

    width = -(-max(len(row.ids) for row in rows) // multiple) * multiple
    shifts = [0 if side == "right" else width - len(row.ids) for row in rows]

    def padded(name: str, fill: int) -> Tensor:
        out = torch.full((len(rows), width), fill, dtype=torch.long)
        for i, (row, shift) in enumerate(zip(rows, shifts, strict=True)):
            values = getattr(row, name)
            out[i, shift : shift + len(values)] = torch.as_tensor(values)
        return out

    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, (row, shift) in enumerate(zip(rows, shifts, strict=True)):
        mask[i, shift : shift + len(row.ids)] = True
    read_names = sorted({name for row in rows for name in row.read})
    return Batch(
        ids=padded("ids", pad_id),
        types=padded("types", 0),
        mask=mask,
        read={name: _ragged([row.read.get(name, ()) for row in rows], shifts, -1) for name in read_names},
        slots=_ragged([row.slots for row in rows], shifts, -1),
        example=torch.tensor([row.example for row in rows]),
        start=torch.tensor([row.start for row in rows]),
        candidate=torch.tensor([row.candidate for row in rows]),
        weight=torch.ones(len(rows)),
        target=_targets(rows),
        output=_ragged([row.output for row in rows], [0] * len(rows), IGNORED),
        source=source,
        names=list(names),
        offsets=[row.offsets for row in rows if row.offsets is not None],
        grouped=any(row.grouped for row in rows),
        choices=_choices(rows) if any(row.choices for row in rows) else None,
    )


def _ragged(lists: Sequence[Sequence[int]], shifts: Sequence[int], fill: int) -> Tensor:
    import torch

    out = torch.full((len(lists), max((len(values) for values in lists), default=0)), fill, dtype=torch.long)
    for i, (values, shift) in enumerate(zip(lists, shifts, strict=True)):
        if len(values):
            tensor = torch.as_tensor(values)
            out[i, : len(values)] = torch.where(tensor < 0, tensor, tensor + shift)
    return out


def _targets(rows: Sequence[Row]) -> Tensor:
    import torch

    if all(isinstance(row.target, int) or row.target is None for row in rows):
        return torch.tensor([IGNORED if row.target is None else row.target for row in rows])
    if any(isinstance(row.target, float) for row in rows):
        return torch.tensor([float(IGNORED) if row.target is None else row.target for row in rows])
    return _ragged(
        [() if isinstance(r.target, int | float) or r.target is None else r.target for r in rows],
        [0] * len(rows),
        IGNORED,
    )


def _choices(rows: Sequence[Row]) -> Tensor:
    import torch

    lengths = [len(choice) for row in rows for choice in row.choices]
    out = torch.full((len(rows), max(len(row.choices) for row in rows), max(lengths)), IGNORED)
    for i, row in enumerate(rows):
        for j, choice in enumerate(row.choices):
            out[i, j, : len(choice)] = torch.as_tensor(choice)
    return out


def concatenate(batches: Sequence[Batch], pad_id: int) -> Batch:
    """The rows of several batches as one, padded to the widest, texts to be generated too; targets are dropped (each
    part keeps its own)."""
    import torch

    if len(batches) == 1:
        return batches[0]
    width = max(batch.ids.shape[1] for batch in batches)
    names = sorted({name for batch in batches for name in batch.read})

    def widen(tensors: Sequence[Tensor], fill: int, to: int) -> Tensor:
        return torch.cat([torch.nn.functional.pad(t, (0, to - t.shape[1]), value=fill) for t in tensors])

    def reads(name: str) -> Tensor:
        tensors = [b.read.get(name, b.ids.new_full((len(b), 0), -1)) for b in batches]
        return widen(tensors, -1, max(t.shape[1] for t in tensors))

    slot_width = max(batch.slots.shape[1] for batch in batches)
    return Batch(
        ids=widen([b.ids for b in batches], pad_id, width),
        types=widen([b.types for b in batches], 0, width),
        mask=widen([b.mask for b in batches], 0, width),
        read={name: reads(name) for name in names},
        slots=widen([b.slots for b in batches], -1, slot_width),
        example=torch.cat([b.example for b in batches]),
        start=torch.cat([b.start for b in batches]),
        candidate=torch.cat([b.candidate for b in batches]),
        weight=torch.cat([b.weight for b in batches]),
        target=torch.full((sum(len(b) for b in batches),), IGNORED),
        output=widen([b.output for b in batches], IGNORED, max(b.output.shape[1] for b in batches)),
    )


@dataclass(frozen=True)
class Hidden:
    """What a backbone gives for a batch: states [B, N, H], in the coordinates of the rows (prompts taken out).

    words: (vectors [K, H], ids [W] or EVERY) -> language-model logits [K, W] over those tokens.
    output: [B, M, H], the states that predict each token of the batch's output when those before it are given; None
    where the batch has none.
    generate: generate(end=, limit=, beams=, ...), see ptune.backbones.search.Search -> token ids of each row's
    continuation under the same injection, without the end token; None for a backbone that generates nothing.
    again: again(batch, rows) -> what the backbone gives for the K rows of another batch, each under the injection of
    that row [K] of this one, as for these with more of their masks filled in.
    """

    states: Tensor
    words: Callable[[Tensor, Any], Tensor]
    output: Tensor | None = None
    generate: Callable[..., list[list[int]]] | None = None
    again: Callable[[Batch, Tensor], Hidden] | None = None

    def at(self, positions: Tensor) -> Tensor:
        """States [B, K, H] at `positions` [B, K]; entries of -1 give the first position's, to be ignored."""
        index = positions.clamp(min=0)[..., None].expand(-1, -1, self.states.shape[-1])
        return self.states.gather(1, index)

    def split(self, counts: Sequence[int], lengths: Sequence[int]) -> list[Hidden]:
        """Of so many rows each, with outputs of so many tokens; what they generate with the same settings is generated
        once for all of them."""
        if len(counts) == 1:
            return [self]
        outputs: Sequence[Tensor | None] = [None] * len(counts)
        if self.output is not None:
            parts = zip(self.output.split(list(counts)), lengths, strict=True)
            outputs = [part[:, :length] if length else None for part, length in parts]
        spans = pairwise(accumulate(counts, initial=0))
        generate = None if self.generate is None else lru_cache(self.generate)

        def generate_for(first: int, end: int) -> Callable[..., list[list[int]]] | None:
            return None if generate is None else lambda **settings: generate(**settings)[first:end]

        def again_from(first: int) -> Callable[[Batch, Tensor], Hidden] | None:
            rerun = self.again
            return None if rerun is None else lambda batch, rows: rerun(batch, rows + first)

        rows = zip(self.states.split(list(counts)), outputs, spans, strict=True)
        return [
            Hidden(states, self.words, output, generate_for(*span), again_from(span[0]))
            for states, output, span in rows
        ]
