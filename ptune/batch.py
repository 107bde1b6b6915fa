"""Examples, the rows they render to, and batches of rows; read-out positions travel with the row.

A row is not an example: a long sentence is several windows, a choice is a row a candidate. Axis letters are those
of `ptune.injection`. Torch is imported where tensors are made: readers and tasks do without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IGNORED = -100


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
    draw tears apart; all examples of a task have one, or none has; soft: what to train on in place of the gold label.
    """

    id: str
    fields: Mapping[str, Any]
    gold: Any = None
    mark: int | None = None
    marks: Mapping[str, tuple[str, Extent]] = field(default_factory=dict)
    group: str | None = None
    tail: Sequence[str] = ()
    soft: SoftLabel | None = None


class Windows(NamedTuple):
    """How a field too long for a row is read: in windows, a row each, which share `stride` tokens.

    limit: how many tokens of every other text are kept; longest: tokens of the longest answer that can be given.
    """

    field: str
    stride: int
    limit: int
    longest: int


class Draw(NamedTuple):
    """Where randomness of rendering comes from: the same draw renders the same rows."""

    seed: int
    epoch: int


@dataclass(frozen=True)
class Row:
    """One model input. `read` names positions in `ids`; `slots` are those that a pseudo-token prompt fills.

    target: class index, or one index a position of read["words"], or an extent over read["cls"] (0) and
    read["context"] (from 1), or a number (float), or None; start: index of the first word (or token of the context) it
    covers; cut: whether text was left out; offsets: [K, 2], where the text of each position of read["context"] begins
    and ends.
    candidate: which of its example's candidates it shows; grouped: whether these compete for one label, in which case
    the target says whether this one is right (1) or not (0).
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

    @property
    def labels(self) -> int:
        """How many labels this row contributes to the loss; of rows that compete for one, the first has it."""
        if self.target is None or (self.grouped and self.candidate):
            return 0
        return 1 if isinstance(self.target, int | float | Extent) else sum(t != IGNORED for t in self.target)


@dataclass
class Batch:
    """Rows as tensors. ids, types, mask [B, N]; read: name -> [B, K] padded with -1; slots [B, S] padded with -1;
    example, start, candidate, weight [B]; target [B], or [B, K] padded with IGNORED, or [B, 2] for extents, or [B] of
    floats; soft [B, C], of candidates in each row all of them, or None; offsets: each row's, where rows read a
    context; grouped: whether the rows of an example, which stand side by side, compete for one label."""

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
    soft: Tensor | None = None
    temperature: float = 1.0
    source: str = "train"
    names: Sequence[str] = field(default_factory=list)
    offsets: Sequence[np.ndarray] = ()
    grouped: bool = False

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def labels(self) -> int:
        """How many labels the batch holds; a soft target counts as one, and so does an extent."""
        if self.soft is not None:
            return int((self.candidate == 0).sum()) if self.grouped else len(self)
        if self.grouped:
            return int(((self.target != IGNORED) & (self.candidate == 0)).sum())
        given = int((self.target != IGNORED).sum())
        return given // 2 if self.offsets else given

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        import torch

        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **moved, read={k: v.to(device) for k, v in self.read.items()})


class RowOutput(NamedTuple):
    """What a head says of one row: scores [C], or [K, C] for the K words that start at word `start`.

    With offsets [K, 2]: scores [1 + K, 2] of beginning and ending at no answer (0) and at the K of the context.
    """

    example: int
    scores: np.ndarray
    start: int = 0
    candidate: int = 0
    offsets: np.ndarray | None = None


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
    reads = sorted({name for row in rows for name in row.read})
    return Batch(
        ids=padded("ids", pad_id),
        types=padded("types", 0),
        mask=mask,
        read={name: _ragged([row.read.get(name, ()) for row in rows], shifts, -1) for name in reads},
        slots=_ragged([row.slots for row in rows], shifts, -1),
        example=torch.tensor([row.example for row in rows]),
        start=torch.tensor([row.start for row in rows]),
        candidate=torch.tensor([row.candidate for row in rows]),
        weight=torch.ones(len(rows)),
        target=_targets(rows),
        source=source,
        names=list(names),
        offsets=[row.offsets for row in rows if row.offsets is not None],
        grouped=any(row.grouped for row in rows),
    )


def _ragged(lists: Sequence[Sequence[int]], shifts: Sequence[int], fill: int) -> Tensor:
    import torch

    out = torch.full((len(lists), max((len(values) for values in lists), default=0)), fill, dtype=torch.long)
    for i, (values, shift) in enumerate(zip(lists, shifts, strict=True)):
        if len(values):
            out[i, : len(values)] = torch.as_tensor(values) + shift
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


def concatenate(batches: Sequence[Batch], pad_id: int) -> Batch:
    """The rows of several batches as one, padded to the widest; targets are dropped (each part keeps its own)."""
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

    slots = max(batch.slots.shape[1] for batch in batches)
    return Batch(
        ids=widen([b.ids for b in batches], pad_id, width),
        types=widen([b.types for b in batches], 0, width),
        mask=widen([b.mask for b in batches], 0, width),
        read={name: reads(name) for name in names},
        slots=widen([b.slots for b in batches], -1, slots),
        example=torch.cat([b.example for b in batches]),
        start=torch.cat([b.start for b in batches]),
        candidate=torch.cat([b.candidate for b in batches]),
        weight=torch.cat([b.weight for b in batches]),
        target=torch.full((sum(len(b) for b in batches),), IGNORED),
    )


@dataclass(frozen=True)
class Hidden:
    """What a backbone gives for a batch: states [B, N, H], in the coordinates of the rows (prompts taken out).

    words: (vectors [K, H], ids [W]) -> language-model logits [K, W] over those tokens.
    """

    states: Tensor
    words: Callable[[Tensor, Tensor], Tensor]

    def at(self, positions: Tensor) -> Tensor:
        """States [B, K, H] at `positions` [B, K]; entries of -1 give the first position's, to be ignored."""
        index = positions.clamp(min=0)[..., None].expand(-1, -1, self.states.shape[-1])
        return self.states.gather(1, index)
