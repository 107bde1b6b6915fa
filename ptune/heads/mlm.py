"""The language-model head at hidden tokens, over the whole vocabulary: masked language modeling."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ptune.batch import IGNORED, Batch, Hidden
from ptune.heads import Head
from ptune.injection import Shape


class Mlm(Head):
    """What stood where the template hid tokens; a loss alone, beside that of another head."""

    reads = "hidden"
    lm = True
    learns = False

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.vocab = shape.vocab

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, K, V], of which those at the padding of read["hidden"] say nothing."""
        states = hidden.at(batch.read["hidden"])
        return self._words(hidden, states.flatten(0, 1)).unflatten(0, states.shape[:2])

    def loss(self, hidden: Hidden, batch: Batch) -> tuple[Tensor, int]:
        """See Head."""
        is_labeled = batch.target != IGNORED
        logits = self._words(hidden, hidden.at(batch.read["hidden"])[is_labeled])
        return F.cross_entropy(logits.float(), batch.target[is_labeled], reduction="sum"), batch.labels

    def _words(self, hidden: Hidden, states: Tensor) -> Tensor:
        return hidden.words(states, torch.arange(self.vocab, device=states.device))
