"""A linear layer on the state that stands for a row beside those of marked words (SuperGLUE's baseline of WiC)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ptune.batch import Batch, Hidden
from ptune.dropout import Dropout
from ptune.heads import Head, fresh_linear
from ptune.injection import Shape
from ptune.leaves import Chance

if TYPE_CHECKING:
    from ptune.tasks import Task


class Spans(Head):
    """The state of the first token (with a decoder the last) and, for each of the task's marks, the mean state of
    the marked tokens (Wang et al. 2019,
    arXiv 1905.00537, section 4); zeros where the marked words were cut off.
    """

    reads = "marks"

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Head."""
        if not task.marks:
            yield "", f"spans reads marked words, but {task.name} marks none; use linear"

    def __init__(self, shape: Shape, labels: Sequence[str], marks: Sequence[str], dropout: Chance = 0.1) -> None:
        super().__init__()
        self.marks, self.dropout = list(marks), Dropout(dropout)
        self.linear = fresh_linear(shape.hidden * (1 + len(marks)), len(labels))

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, C]."""
        states = [hidden.at(batch.read["cls"])[:, 0], *(self._mean(hidden, batch.read[name]) for name in self.marks)]
        return self.linear(self.dropout(torch.cat(states, -1)))

    @staticmethod
    def _mean(hidden: Hidden, positions: Tensor) -> Tensor:
        """Mean states [B, H] at the positions [B, K] that are not -1."""
        is_marked = (positions >= 0)[..., None]
        return (hidden.at(positions) * is_marked).sum(1) / is_marked.sum(1).clamp(min=1)
