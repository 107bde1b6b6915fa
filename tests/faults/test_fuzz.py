"""No reader falls over a damaged file: 1,000 of each in every run of the tests, 10,000 behind the marker slow."""

from __future__ import annotations

import fuzz
import pytest


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", fuzz.readers())
def test_damaged_at_random(name, count, tmp_path):
    """Examples, or one line with the file and the place; of a slow reader, or one of many, a share of the count."""
    fuzz.fuzzed(name, count, tmp_path)
