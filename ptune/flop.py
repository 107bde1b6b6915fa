"""What training costs in floating-point operations: an estimate from sizes and lengths, not a measurement.

As Kaplan et al. (2020, arXiv 2001.08361) count: a multiply-add is two operations; a weight costs a token 2 forward, 2
for the gradient of what came in, and 2 for its own gradient. Frozen weights have no gradient of their own, and layers
below every trained one have none at all: 6 a weight and token where the backbone is tuned, 4 with prompts at every
layer, 2 for a head alone. Attention to n keys costs 4 n times the width forward, and twice that backward.

Left out: embeddings, heads, norms, the optimizer, padding, and evaluations; and encoder-decoders, of which other
weights read than write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ptune.injection import Shape


class Read(NamedTuple):
    """Rows and tokens of an example on average."""

    rows: float
    tokens: float

    @classmethod
    def of(cls, counts: Sequence[int], lengths: Sequence[int]) -> Read:
        """Of examples with so many rows, the longest of them of so many tokens; all are taken to be as long."""
        tokens = sum(count * length for count, length in zip(counts, lengths, strict=True))
        return cls(sum(counts) / len(counts), tokens / len(counts))


class Cost(NamedTuple):
    """Operations an example: of a forward pass, and of a step of training."""

    forward: float
    step: float


def cost(shape: Shape, many: int, read: Read, place: str, length: int, below: int, tuned: int, cached: bool) -> Cost:
    """The operations of an example, by an encoder or a causal model.

    many: weights that a token is multiplied with, of which `tuned` learn; place, length: of the prompt, see Prompt;
    below: how many of the lowest layers know nothing of it; cached: whether what these give is kept and not computed
    again.
    """
    tokens = read.tokens + (read.rows * length if place == "front" else 0)
    keys = tokens / read.rows + (length if place == "layers" else 0)
    linear = 2.0 * many * tokens
    attention = 4.0 * shape.layers * shape.hidden * keys * tokens
    backward_share = 1.0 if tuned else (shape.layers - below) / shape.layers
    forward = (linear + attention) * (backward_share if cached else 1.0)
    backward = backward_share * (linear + 2 * attention) + 2.0 * min(tuned, many) * tokens
    return Cost(linear + attention, forward + backward)
