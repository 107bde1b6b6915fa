"""The estimate of operations, by hand."""

from __future__ import annotations

import pytest

from ptune.flop import Read, cost
from ptune.injection import Shape

SHAPE = Shape(layers=4, heads=2, head_dim=4, hidden=8, embed=8, positions=10, vocab=90, lm_head=True, pooler=False)
MANY = 3100  # weights in the layers


@pytest.mark.parametrize(
    ("place", "length", "below", "tuned", "cached", "linear", "forward", "step"),
    [
        # 20 tokens an example in 2 rows; attention: 4 x 4 layers x width 8 x keys x tokens = 128 x keys x tokens
        ("none", 0, 4, 0, False, 2 * 3100 * 20, 128 * 10 * 20, "forward"),
        ("none", 0, 4, 3900, False, 2 * 3100 * 20, 128 * 10 * 20, "all"),
        ("layers", 5, 0, 0, False, 2 * 3100 * 20, 128 * 15 * 20, "through"),
        ("front", 5, 0, 0, False, 2 * 3100 * 30, 128 * 15 * 30, "through"),
        ("layers", 5, 3, 0, False, 2 * 3100 * 20, 128 * 15 * 20, "quarter"),
        ("layers", 5, 3, 0, True, 2 * 3100 * 20, 128 * 15 * 20, "cached"),
    ],
)
def test_cost(place, length, below, tuned, cached, linear, forward, step):
    """2 a weight and token forward, 2 through it backward as far down as something learns, 2 for its own gradient."""
    attention = forward
    found = cost(SHAPE, MANY, Read(2, 20), place, length, below, tuned, cached)
    both, back = linear + attention, linear + 2 * attention
    expected = {
        "forward": both,
        "all": both + back + linear,
        "through": both + back,
        "quarter": both + back / 4,
        "cached": both / 4 + back / 4,
    }
    assert (found.forward, found.step) == (both, pytest.approx(expected[step]))


def test_read():
    """Rows and tokens of an example on average."""
    assert Read.of([1, 3], [10, 20]) == (2.0, 35.0)
