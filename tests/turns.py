"""Which of many like cases every run of the tests takes, and which are left to `scripts/test --all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def by_turns(cases: Iterable[Any], of: int, turn: int = 0) -> list[Any]:
    """The cases, all but every `of`-th marked as slow; turn: where to begin, so that not all tests take the same."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[] if kept else [pytest.mark.slow])
        for case, kept in ((case, number % of == turn % of) for number, case in enumerate(cases))
    ]
