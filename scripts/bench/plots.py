"""Plots of the benches, as svg files that come out the same again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OURS, OTHERS = "#4477aa", "#bbbbbb"


@contextmanager
def panels(path: Path, count: int, height: float) -> Iterator[Any]:
    """`count` axes side by side, written to `path` in the end."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "ptune", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, count, figsize=(9, height), sharey=True, squeeze=False)
    yield list(axes[0])
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
