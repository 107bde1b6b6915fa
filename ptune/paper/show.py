"""A reproduced table as text, Markdown, CSV and JSON.

Whatever the format, a figure that is not confirmed carries its mark, and stands in no place where a number of the
paper's would be looked for.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ptune.paper.found import Found, shared_reasons
from ptune.paper.table import CORROBORATED, READ, UNCONFIRMED, Published, Scale, Table, overrides

MARKS = {READ: "", CORROBORATED: "~", UNCONFIRMED: "?"}
QUOTED = "^"
LEGEND = {
    "no mark": "read in the source itself",
    "~": "corroborated: supported by a second text or figure",
    "?": "unconfirmed: recalled but found in no text; do not use or cite it as the paper's figure",
    "^": "apparently quoted there from other work",
}
COLUMNS = (
    "cell", "published", "ours", "n", "std (ddof=1)", "95% interval", "difference", "metric", "selected/reported on",
    "epochs (best)", "trials", "state",
)  # fmt: skip
FIELDS = (
    "row", "column", "cell",
    "published", "published_status", "published_quoted", "published_origin", "further_published",
    "ours", "n", "std_ddof1", "low", "high", "difference", "metric", "select_on", "report_on", "epochs", "best_epoch",
    "trials", "space", "edge", "state", "why", "shared_with", "runs",
)  # fmt: skip


def with_marks(figure: Published) -> str:
    """A published figure with the marks of its status."""
    spread = "" if figure.std is None else f" ± {figure.std:g}"
    return f"{figure.value:g}{spread}{MARKS[figure.status]}{QUOTED * figure.quoted}"


def published_figures(found: Found) -> str:
    """All published figures of a cell, each with its origin."""
    return ", ".join(f"{with_marks(figure)} ({figure.origin.partition(',')[0]})" for figure in found.cell.published)


def difference(found: Found) -> str:
    """Ours less theirs, marked as theirs is."""
    target = found.cell.target
    if found.difference is None or target is None:
        return ""
    return f"{found.difference:+.2f}{MARKS[target.status]}"


def state(found: Found) -> str:
    """What has become of a cell, and why."""
    return f"{found.state}: {found.why}" if found.why else found.state


def rows(cells: Sequence[Found]) -> list[list[str]]:
    """A line a cell, see COLUMNS."""
    lines = []
    for each in cells:
        ours = each.ours
        low_high = ours.interval if ours else None
        figures = (
            [
                f"{ours.mean:.2f}",
                str(ours.n),
                "" if ours.std is None else f"{ours.std:.2f}",
                f"[{low_high[0]:.1f}, {low_high[1]:.1f}]" if low_high else "",
                difference(each),
                ours.metric,
                f"{ours.select_on}/{ours.report_on}",
                f"{ours.epochs:.1f} ({ours.best:.1f})",
                str(ours.trials) + (" (on an edge)" if ours.edge else ""),
            ]
            if ours
            else [""] * 9
        )
        name = f"{each.cell.row} | {each.cell.column}"
        lines.append([name, published_figures(each), *figures, state(each)])
    return lines


def table_notes(table: Table, scale: str, cells: Sequence[Found]) -> list[str]:
    """What is to be known of a table: its origin, its scale, what its marks mean, and what cells share."""
    of_scale = table.scales.get(scale, Scale())  # type: ignore[call-overload]
    figures = [figure for each in cells for figure in each.cell.published]
    marks = {mark for figure in figures for mark in with_marks(figure) if mark in LEGEND}
    marks |= {"no mark"} if any(not MARKS[figure.status] for figure in figures) else set()
    origins = Counter(each.cell.target.origin for each in cells if each.cell.target)
    lines = [f"{table.title}; {table.citation}; scale={scale}"]
    lines += [note for note in (table.note, of_scale.note) if note]
    if len(origins) > 1:
        lines.append(f"sources of the published figures: {'; '.join(f'{each} ({n})' for each, n in origins.items())}")
    lines += [
        f"{mark}: {LEGEND[mark]}" if " " in mark else f"{mark} {LEGEND[mark]}" for mark in LEGEND if mark in marks
    ]
    if reasons := shared_reasons(cells):
        lines.append(f"none of our figures is comparable with the published ones: {reasons}")
    if sharing := sum(each.by is not None for each in cells):
        lines.append(f"{sharing} of {len(cells)} cells share another cell's runs")
    return lines


def markdown(table: Table, scale: str, cells: Sequence[Found], notes: Sequence[str]) -> str:
    """The table as published, ours over theirs in each cell, then all that is to be said of each cell."""
    first, *further = [*table_notes(table, scale, cells), *notes]
    columns = list(dict.fromkeys(each.cell.column for each in cells))
    lines = [f"# {first}", "", *(f"- {line}" for line in further), "", "Ours / published:", ""]
    lines += [table_line(["", *columns]), table_line(["---", *(["---:"] * len(columns))])]
    for row in dict.fromkeys(each.cell.row for each in cells):
        by_column = {each.cell.column: each for each in cells if each.cell.row == row}
        lines.append(
            table_line([row, *(brief(by_column[column]) if column in by_column else "" for column in columns)])
        )
    lines += ["", table_line(COLUMNS), table_line(["---"] * len(COLUMNS)), *(table_line(line) for line in rows(cells))]
    return "\n".join(lines) + "\n"


def brief(found: Found) -> str:
    """A cell in a word: ours, and theirs."""
    ours = "" if found.ours is None else f"{found.ours.mean:.1f}"
    if found.ours is not None and found.ours.std is not None:
        ours += f" ± {found.ours.std:.1f}"
    if not ours:
        ours = state(found) if found.cell.missing else found.state
    return f"{ours} / {with_marks(found.cell.target) if found.cell.target else '-'}"


def table_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', '·') for cell in cells)} |"


def comma_separated(cells: Sequence[Found]) -> str:
    """CSV with a header, see FIELDS; a published figure is text, with its mark."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for each in cells:
        target, ours = each.cell.target, each.ours
        line: dict[str, Any] = {
            "row": each.cell.row,
            "column": each.cell.column,
            "cell": each.cell.name,
            "further_published": ", ".join(f"{with_marks(f)} ({f.origin})" for f in each.cell.published[1:]),
            "difference": difference(each),
            "state": each.state,
            "why": each.why,
            "shared_with": each.by,
        }
        if target:
            line |= {
                "published": with_marks(target),
                "published_status": target.status,
                "published_quoted": target.quoted,
                "published_origin": target.origin,
            }
        if ours:
            low, high = ours.interval or (None, None)
            line |= {"ours": ours.mean, "n": ours.n, "std_ddof1": ours.std, "low": low, "high": high}
            line |= {name: getattr(ours, name) for name in ("metric", "select_on", "report_on", "epochs", "trials")}
            line |= {"best_epoch": ours.best, "runs": " ".join(ours.runs)}
            line |= {name: json.dumps(getattr(ours, name)) for name in ("space", "edge") if getattr(ours, name)}
        writer.writerow(line)
    return out.getvalue()


def as_json(name: str, table: Table, scale: str, cells: Sequence[Found], notes: Sequence[str]) -> dict[str, Any]:
    """All of it as data; a figure that is not confirmed has no `value`, but an `unconfirmed_value`."""
    return {
        "table": name,
        "title": table.title,
        "citation": table.citation,
        "scale": scale,
        "told": table_notes(table, scale, cells),
        "notes": list(notes),
        "legend": LEGEND,
        "cells": [cell_as_json(each) for each in cells],
    }


def cell_as_json(found: Found) -> dict[str, Any]:
    """A cell as data."""
    target = found.cell.target
    sure = target is None or target.status != UNCONFIRMED
    return {
        "cell": found.cell.name,
        "row": found.cell.row,
        "column": found.cell.column,
        "overrides": overrides(found.cell.words),
        "published": [figure_as_json(figure) for figure in found.cell.published],
        "ours": None if found.ours is None else {k: v for k, v in asdict(found.ours).items() if k != "caveats"},
        ("difference" if sure else "difference_from_unconfirmed"): found.difference,
        "state": found.state,
        "why": found.why,
        "shares_runs_of": found.by,
    }


def figure_as_json(figure: Published) -> dict[str, Any]:
    """A published figure as data."""
    key = "unconfirmed_value" if figure.status == UNCONFIRMED else "value"
    published = {"text": with_marks(figure), key: figure.value, "status": figure.status}
    return {**published, "quoted": figure.quoted, "origin": figure.origin, "std": figure.std}
