"""A linear layer on the first token's state, or on the first sub-token of each word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.batch import Batch, Hidden
from ptune.heads import Head, fresh_linear
from ptune.injection import Shape


class Linear(Head):
    """pooler: what stands before the layer when whole rows are classified (dense and tanh, BERT's pooler).

    none: nothing. pretrained: the checkpoint's, frozen. random_frozen: drawn at the start and frozen, what the
    published P-Tuning v2 code does to RoBERTa. trained: learned, from the checkpoint's where it has one.
    """

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """See Head."""
        if given.get("pooler") == "pretrained" and task.readout == "sequence" and not shape.pooler:
            yield (
                "pooler",
                "'pretrained' needs a checkpoint with a pooler, and this one has none; did you mean 'trained'?",
            )

    def __init__(
        self,
        shape: Shape,
        labels: Sequence[str],
        readout: Literal["sequence", "token"],
        pooler_weights: Mapping[str, Tensor] | None = None,
        pooler: Literal["none", "pretrained", "random_frozen", "trained"] = "none",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.reads = "cls" if readout == "sequence" else "words"
        self.dropout, self.pooler_kind = dropout, pooler
        self.pooler = None if pooler == "none" or readout == "token" else fresh_linear(shape.hidden, shape.hidden)
        if self.pooler is not None:
            if pooler_weights is not None and pooler in ("pretrained", "trained"):
                self.pooler.load_state_dict(dict(pooler_weights))
            self.pooler.requires_grad_(pooler == "trained")
        self.linear: nn.Linear = fresh_linear(shape.hidden, len(labels))

    def stored(self) -> dict[str, Tensor]:
        """See Head; the checkpoint's own frozen pooler is left out."""
        return {
            k: v for k, v in super().stored().items() if self.pooler_kind != "pretrained" or not k.startswith("pooler.")
        }

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, C] or [B, K, C]."""
        states = hidden.at(batch.read[self.reads])
        if self.reads == "cls":
            states = states[:, 0]
        if self.pooler is not None:
            states = torch.tanh(self.pooler(states))
        return self.linear(F.dropout(states, self.dropout, self.training))
