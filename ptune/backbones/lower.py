"""Frozen layers below the lowest prompted one give a row the same states each time it comes: they are kept.

Nothing may be random there, so that dropout is off in these layers, in training too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ptune.batch import Batch

SHARE = 0.25  # of the memory that is free when training begins, which kept states may fill
Key = tuple[bytes, bytes, int, bool]


class Lower:
    """The states [n, H] of rows of n tokens after the lowest layers, kept until `room` bytes are full.

    A row is known by its tokens, their types and the first token's position. Threads may share it.
    """

    def __init__(self, below: Sequence[nn.Module], layers: Sequence[nn.Module], room: float) -> None:
        """below: what stands before the first layer, as embeddings."""
        self.still, self.depth = [*below, *layers], len(layers)
        self.room, self.bytes, self.kept = room, 0, dict[Key, Tensor]()
        self.now = threading.local()
        for number, layer in enumerate(layers):
            layer.forward = partial(self.through, number, number == len(layers) - 1, layer.forward)

    def quiet(self) -> None:
        """Switch dropout off below the prompt."""
        for module in self.still:
            module.eval()

    def through(self, number: int, last: bool, forward: Any, states: Tensor, *args: Any, **named: Any) -> Tensor:
        """A layer's forward pass, or what is kept of it."""
        kept_states: Tensor | None = getattr(self.now, "given", None)  # nothing outside of `rows`
        if kept_states is not None:
            return states if number else kept_states
        states = forward(states, *args, **named)
        if last:
            self.now.seen = states
        return states

    @contextmanager
    def rows(self, batch: Batch, offset: int | Tensor) -> Iterator[None]:
        """Inside, the layers give what is kept of the rows of `batch`, or compute it if a row is new."""
        keys = list(known(batch, offset))
        entries = [self.kept.get(key) for key in keys]
        hits = [states for states in entries if states is not None]
        self.now.given = self.now.seen = None
        if len(hits) == len(keys):
            kept_states = hits[0].new_zeros((*batch.mask.shape, hits[0].shape[-1]))
            kept_states[batch.mask] = torch.cat(hits)
            self.now.given = kept_states
        try:
            yield
            if self.now.seen is not None:
                self.keep(keys, batch.mask, self.now.seen.detach())
        finally:
            self.now.given = self.now.seen = None

    def keep(self, keys: Sequence[Key], mask: Tensor, states: Tensor) -> None:
        """Keep the states [B, N, H] of rows under `mask` [B, N] as long as there is room."""
        for key, token_mask, row in zip(keys, mask, states, strict=True):
            size = int(token_mask.sum()) * row.shape[-1] * row.element_size()
            if key not in self.kept and self.bytes + size <= self.room:
                self.kept[key] = row[token_mask].clone()
                self.bytes += size


def known(batch: Batch, offset: int | Tensor) -> Iterator[Key]:
    """What each row is known by; what inference computes is of no use to training."""
    is_inference = torch.is_inference_mode_enabled()
    offsets = offset.tolist() if isinstance(offset, Tensor) and offset.dim() else [int(offset)] * len(batch)
    ids, types, mask = batch.ids.cpu().numpy(), batch.types.cpu().numpy(), batch.mask.cpu().numpy()
    for i, start in enumerate(offsets):
        yield ids[i][mask[i]].tobytes(), types[i][mask[i]].tobytes(), start, is_inference
