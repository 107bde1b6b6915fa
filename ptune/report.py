"""`ptune report`: finished runs in one table, each with its majority class and its interval."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from ptune.config import Report
from ptune.errors import ConfigError, PtuneError, nearest
from ptune.progress import NARROW, bracketed, table

Row = Mapping[str, Any]
COLUMNS: dict[str, Callable[[Row], str]] = {
    "method": lambda r: (
        r["method"] + ("" if r["tune"] == "none" or r["method"] in ("finetune", "bitfit") else f" (tune {r['tune']})")
    ),
    "task": lambda r: r["task"] + layout(r) + (" (synthetic)" if r["synthetic"] else ""),
    "backbone": lambda r: r["backbone"],
    "P": lambda r: str(r["prompt_length"] or ""),
    "seed": lambda r: str(r["seed"]),
    "score": lambda r: f"{r['score']:.2f}",
    "95% interval": lambda r: bracketed(r["interval"]),
    "last": lambda r: f"{r['last']['report'][r['metric']]:.2f}",
    "majority": lambda r: f"{r['majority']:.2f}",
    "metric": lambda r: (
        f"{r['report_on']} {r['metric']}" + (" (selected on)" if r["selected_on_reported"] and r["steps"] else "")
    ),
    "trained": lambda r: f"{r['parameters']['trained']:,}",
    "stored": lambda r: f"{r['parameters']['stored']:,}",
    "bytes": lambda r: f"{r['parameters']['bytes']:,}",
    "seconds": lambda r: f"{r['seconds']['training']:.1f}",
    "run": lambda r: r["folder"],
}
TEXT = ("method", "task", "backbone", "metric", "run")  # give way on a narrow terminal
SPARED = ("stored", "last", "bytes", "seconds")  # left out, in this order, where the rest would not fit
SETTINGS = ("task", "backbone", "P", "seed", "majority", "metric")  # said once where all runs agree
FORMATS = ("table", "markdown", "csv")
SORTS = ("folder", "method", "task", "score")


def main(cfg: DictConfig) -> None:
    """Print every finished run below a folder."""
    from ptune.build import settings_of

    s = settings_of(cfg, Report)
    for key, value, choices in (("format", s.format, FORMATS), ("sort", s.sort, SORTS)):
        if value not in choices:
            raise ConfigError([f"{key}: '{value}' is not a choice; {nearest(value, choices)}"])
    rows = results(Path(s.runs), s.sort)
    if s.format == "table":
        draw(list(COLUMNS), [[*cells(row)[:-1], str(Path(row["folder"]).relative_to(s.runs))] for row in rows])
        print(f"runs below {s.runs}")
    else:
        print({"markdown": markdown, "csv": comma_separated}[s.format](rows), end="")


def results(folder: Path, sort: str) -> list[dict[str, Any]]:
    """Every result.json below a folder. Raises PtuneError where there is none."""
    paths = sorted(folder.rglob("result.json")) if folder.is_dir() else []
    if not paths:
        raise PtuneError(f"runs: no finished run below {folder}; ptune train makes one")
    rows = [{**json.loads(path.read_text(encoding="utf-8")), "folder": str(path.parent)} for path in paths]
    return sorted(rows, key=lambda row: row[sort] if sort != "score" else -row["score"])


def layout(row: Row) -> str:
    """The layout of a corpus that has several: they are not of the same splits."""
    name = row.get("data", {}).get("layout")
    return f" {name}" if name else ""


def cells(row: Row) -> list[str]:
    """A run as the table's cells."""
    return [show(row) for show in COLUMNS.values()]


def draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on the terminal; the settings that all rows share are said once, below it.

    Where the terminal is too narrow, names go on several lines, then columns are left out, which it says.
    """
    # a file or a pipe has no width: give the table all it needs
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 400)
    values = {column: [row[index] for row in rows] for index, column in enumerate(columns)}
    same = [column for column in SETTINGS if column in values and len(rows) > 1 and len({*values[column]}) == 1]
    told = [f"{column} {values[column][0]}" for column in same if values[column][0]]
    kept = {column: cells for column, cells in values.items() if column not in same}
    left_out: list[str] = []
    while len(left_out) < len(SPARED) and _narrowest(kept) > console.width:
        left_out.append(SPARED[len(left_out)])
        kept.pop(left_out[-1], None)
    console.print(table(list(kept), zip(*kept.values(), strict=True), wraps=TEXT))
    if told:
        print(f"\nall with {', '.join(told)}")
    if left_out:
        print(f"too narrow for {', '.join(left_out)}; format=csv has them")


def _narrowest(columns: Mapping[str, Sequence[str]]) -> int:
    """How many characters wide a table of these columns is when its names are on several lines."""
    widths = {column: max(map(len, (column, *cells))) for column, cells in columns.items()}
    return sum(2 + (min(width, NARROW) if column in TEXT else width) for column, width in widths.items())


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [list(COLUMNS), ["---"] + ["---:"] * (len(COLUMNS) - 1), *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comma_separated(rows: Sequence[Row]) -> str:
    """CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows(cells(row) for row in rows)
    return out.getvalue()
