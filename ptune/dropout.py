"""Dropout that a CPU can afford: one drawn 64-bit word decides four elements of bfloat16, or two of float32.

`torch.nn.functional.dropout` draws each element by itself, which takes a CPU longer than a small layer's matrix
products do. What is drawn here has the same distribution, p being rounded to a multiple of 2**-15 (bfloat16) or 2**-31.

Prompts and heads drop with it too: inside `seeded_generator` a thread has random numbers of its own, so that runs that
train side by side draw what they would alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Integers as wide as the elements: what they are called, and the bits that are drawn.
LANES = {torch.bfloat16: (torch.int16, 15), torch.float16: (torch.int16, 15), torch.float32: (torch.int32, 31)}
WORD = 8  # bytes of what is drawn at once
OF_THREAD = threading.local()


@contextmanager
def seeded_generator(seed: int) -> Iterator[None]:
    """Draw from random numbers of this thread's own; torch's are left alone."""
    OF_THREAD.generator = torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        OF_THREAD.generator = None


def dropout(values: Tensor, p: float) -> Tensor:
    """`values` with elements set to 0 with probability p, the others scaled to keep the mean (Hinton et al. 2012)."""
    if values.device.type != "cpu" or values.dtype not in LANES or not 0.0 < p < 1.0:
        return F.dropout(values, p)
    return values * keep_factors(values.shape, p, values.dtype)


def keep_factors(shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    """What dropout multiplies by: 0 with probability p, else 1 / (1 - p)."""
    lane, bits = LANES[dtype]
    size = torch.Size(shape).numel()
    words = torch.empty(-(-size * dtype.itemsize // WORD), dtype=torch.int64)
    words.random_(-(2**63), None, generator=getattr(OF_THREAD, "generator", None))
    threshold = round(p * 2**bits)
    scale = int(torch.tensor(1 / (1 - threshold / 2**bits), dtype=dtype).view(lane))
    random_bits = words.view(lane)[:size].bitwise_and_(2**bits - 1).sub_(threshold)  # negative: dropped
    return random_bits.bitwise_right_shift_(bits).bitwise_not_().bitwise_and_(scale).view(dtype).view(shape)


class Dropout(nn.Dropout):
    """torch's module, with `dropout`."""

    def forward(self, values: Tensor) -> Tensor:
        """See torch."""
        return dropout(values, self.p) if self.training and self.p else values


def install(model: nn.Module) -> None:
    """Put `Dropout` in the place of torch's in every part of a model."""
    for module in model.modules():
        for name, part in module.named_children():
            if type(part) is nn.Dropout:
                setattr(module, name, Dropout(part.p).train(part.training))
