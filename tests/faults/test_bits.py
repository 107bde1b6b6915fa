"""The same seed gives the same bits, however often a run is evaluated, saved or logged, and wherever its rows stand."""

from __future__ import annotations

import pytest
from bits import Bits, points

pytestmark = pytest.mark.xdist_group("faults")  # one server for all of them


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_the_same_bits(server, tmp_path, count):
    """Of the first line all that is quick; behind the marker slow every line, W&B and the cache on disk."""
    bits = Bits(server, tmp_path)
    for number, point in enumerate(points()[:count]):
        bits.same(tmp_path / f"{number}", point)
