"""Padded rows as one long row of the tokens that are there: a pass then computes nothing on padding but attention."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Of a batch, the padding that is left: with less than the first, setting rows apart for attention costs more than is
# saved; where `varlen` computes attention, rows are not set apart.
PADDING, PADDING_OF_VARLEN = 0.25, 0.0


class Packing:
    """Where the T tokens under `mask` [B, N] stand.

    Layers are given [1, T, H]. Attention sets the rows apart, so that prefixes, masks and dropout are as without it, or
    leaves it to `varlen`.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.places = mask.flatten().nonzero()[:, 0]  # [T], in the rows laid end to end
        self.keys: dict[Any, tuple[Tensor, Tensor]] = {}  # what `varlen` has made of it, by prefix

    @cached_property
    def bounds(self) -> Tensor:
        """[B+1]: where each row of the tokens begins, and where the last ends."""
        return bounds_of(self.mask)

    def pack(self, rows: Tensor) -> Tensor:
        """[1, T, ...] of [B, N, ...]."""
        return _Taken.apply(rows.flatten(0, 1), self.places)[None]

    def unpack(self, tokens: Tensor) -> Tensor:
        """[B, N, ...] of [1, T, ...], with zeros for padding."""
        return _Placed.apply(tokens[0], self.places, self.mask.numel()).unflatten(0, self.mask.shape)

    def heads(self, tokens: Tensor) -> Tensor:
        """[B, A, N, D] of queries, keys or values [1, A, T, D]."""
        return self.unpack(tokens.transpose(1, 2)).transpose(1, 2)


class _Taken(torch.autograd.Function):
    """rows[places]; torch's own backward pass would add where each place comes once."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.count = len(rows)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return _placed(grad, places, ctx.count), None


class _Placed(torch.autograd.Function):
    """Rows of zeros but for those at `places`."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, places: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(places)
        return _placed(tokens, places, count)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return grad.index_select(0, places), None, None


def _placed(tokens: Tensor, places: Tensor, count: int) -> Tensor:
    return tokens.new_zeros(count, *tokens.shape[1:]).index_copy_(0, places, tokens)


_now = threading.local()


@contextmanager
def packed_masks(packing: Packing) -> Iterator[None]:
    """Masks that transformers' models make inside are of the rows."""
    _now.packing = packing
    try:
        yield
    finally:
        _now.packing = None


def geometry() -> dict[str, Any]:
    """What the mask of the pass under way is made for in place of one long row; nothing where none is packed."""
    packing: Packing | None = getattr(_now, "packing", None)
    if packing is None:
        return {}
    rows, width = packing.mask.shape
    return {"batch_size": rows, "q_length": width, "kv_length": width, "attention_mask": packing.mask}


def bounds_of(mask: Tensor) -> Tensor:
    """[B+1] of what is there under `mask` [B, N]: where each row begins, laid end to end, and where the last ends."""
    return F.pad(mask.sum(1).cumsum(0), (1, 0)).to(torch.int32)


def worth(mask: Tensor, apart: bool) -> Packing | None:
    """A packing of padded rows [B, N], None where there is little padding; apart: whether attention sets them apart."""
    padding = PADDING if apart else PADDING_OF_VARLEN
    token_count = torch.count_nonzero(mask)
    return Packing(mask) if token_count < (1 - padding) * mask.numel() else None
