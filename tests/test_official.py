"""ptune's figures are those of the official scorers, to the digits that these print."""

from __future__ import annotations

from pathlib import Path

import official
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", official.FILES)
def test_figures(shared, name):
    """Every figure of the program, of which there are at least two."""
    found = official.figures(shared / "vectors", name)
    assert len(found) >= 2
    assert {figure.name: figure.ours for figure in found} == {figure.name: figure.official for figure in found}


def test_every_file_of_predictions_is_scored(shared):
    assert sorted(official.FILES) == sorted(path.stem for path in (shared / "vectors").glob("*.json"))


def test_page(shared):
    """docs/official_scorers.md is what scripts/official_scorers writes."""
    page = (ROOT / "docs/official_scorers.md").read_text(encoding="utf-8")
    assert page == "\n".join(official.table(shared / "vectors")) + "\n"
