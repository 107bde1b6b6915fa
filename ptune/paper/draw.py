"""A table that was published as a figure, as charts: one a panel, a line for each entry of another axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ptune.paper.found import Found, shared_reasons
from ptune.paper.table import Table
from ptune.reports.figures import Chart, Point, Series


def charts(table: Table, cells: Sequence[Found]) -> list[Chart]:
    """The panels that have a figure of ours; none of a table that is no figure."""
    drawing = table.figure
    if drawing is None:
        return []
    axes = [*table.rows, *table.columns]
    reasons = shared_reasons(cells)
    drawings = []
    for panel, entry in table.axes[drawing.panels].items():
        series = []
        for style, (name, line) in enumerate(table.axes[drawing.lines].items()):
            mine = [each for each in cells if at(each, axes, {drawing.panels: panel, drawing.lines: name})]
            points = [point(each, place(each, table)) for each in mine if each.ours]
            if points:
                series.append(Series(line.label, points, style))
        metrics = {each.ours.metric for each in cells if each.ours and at(each, axes, {drawing.panels: panel})}
        if series:
            ticks = sorted({point.x for one in series for point in one.points})
            note = "; ".join(part for part in (table.citation, reasons) if part)
            drawings.append(
                Chart(
                    name=f"{drawing.x}-{panel}",
                    title=entry.label + (f" ({reasons})" if reasons else ""),
                    x=drawing.xlabel,
                    y=", ".join(sorted(metrics)),
                    series=series,
                    note=note,
                    kind="bars",
                    log=drawing.scale == "log",
                    ticks=ticks,
                )
            )
    return drawings


def at(found: Found, axes: Sequence[str], entries: Mapping[str, str]) -> bool:
    """Whether a cell is of these entries."""
    return all(found.cell.entries[axes.index(axis)] == entry for axis, entry in entries.items())


def place(found: Found, table: Table) -> float:
    """Where a cell stands along x: what its entry is labeled with."""
    assert table.figure is not None
    axis = table.figure.x
    entry = found.cell.entries[[*table.rows, *table.columns].index(axis)]
    return float(table.axes[axis][entry].label)


def point(found: Found, x: float) -> Point:
    """A cell as a mark, with its interval."""
    assert found.ours is not None
    low, high = found.ours.interval or (None, None)
    return Point(x, found.ours.mean, low, high, f"{found.cell.name}: {found.ours.mean:.2f}")
