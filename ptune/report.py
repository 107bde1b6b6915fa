"""`ptune report`: finished runs in one table, each with its majority class and its interval; SuperGLUE's average below.

The average is that of Wang et al. (2019, arXiv 1905.00537): of the eight tasks' scores, where a task of two metrics
counts as their mean. Its figures here are those of dev, since test has no labels.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig
from rich.console import Console

from ptune.config import Report
from ptune.errors import ConfigError, PtuneError, nearest
from ptune.progress import NARROW, bracketed, table

Row = Mapping[str, Any]
TUNING = ("finetune", "bitfit", "lora", "ia3")  # methods whose names say what they tune
COLUMNS: dict[str, Callable[[Row], str]] = {
    "method": lambda r: r["method"] + ("" if r["tune"] == "none" or r["method"] in TUNING else f" (tune {r['tune']})"),
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
SUPERGLUE = {
    "boolq": ("accuracy",),
    "cb": ("accuracy", "f1_macro"),
    "copa": ("accuracy",),
    "multirc": ("f1a", "em"),
    "record": ("f1", "em"),
    "rte": ("accuracy",),
    "wic": ("accuracy",),
    "wsc": ("accuracy",),
}
OF_A_TASK = (
    "source",
    "root",
    "layout",
    "max_length",
    "cache",
    "bucket",
    "draw",
)  # settings of data that make no other set
FORMATS = ("table", "markdown", "csv", "html")
SORTS = ("folder", "method", "task", "score")


def main(cfg: DictConfig) -> None:
    """Print every finished run below a folder, or draw them."""
    from ptune.build import settings_of

    s = settings_of(cfg, Report)
    for key, value, choices in (("format", s.format, FORMATS), ("sort", s.sort, SORTS)):
        if value not in choices:
            raise ConfigError([f"{key}: '{value}' is not a choice; {nearest(value, choices)}"])
    if s.out is not None and s.format != "html":
        raise ConfigError([f"out: format={s.format} is printed; out=FILE is for format=html"])
    if s.figures is not None:
        from ptune import charts, figures
        from ptune.results import grouped, runs

        for path in figures.save(charts.drawings(grouped(runs(s.runs))), Path(s.figures)):
            print(path)
    if s.format == "html":
        from ptune import html

        page = Path(s.out or Path(s.runs, "report.html"))
        html.write(Path(s.runs), page)
        print(page)
        return
    rows = results(Path(s.runs), s.sort)
    if s.format == "table":
        draw(list(COLUMNS), [[*cells(row)[:-1], str(Path(row["folder"]).relative_to(s.runs))] for row in rows])
        for average in averages(rows):
            print(average)
        print(f"runs below {s.runs}")
    else:
        print({"markdown": markdown, "csv": comma_separated}[s.format](rows), end="")


def results(folder: Path, sort: str) -> list[dict[str, Any]]:
    """Every result.json below a folder but those of other runs' stages. Raises PtuneError where there is none."""
    found = sorted(folder.rglob("result.json")) if folder.is_dir() else []
    paths = [path for path in found if "stages" not in path.relative_to(folder).parts]
    if not paths:
        raise PtuneError(f"runs: no finished run below {folder}; ptune train makes one")
    rows = [{**json.loads(path.read_text(encoding="utf-8")), "folder": str(path.parent)} for path in paths]
    return sorted(rows, key=lambda row: row[sort] if sort != "score" else -row["score"])


class Average(NamedTuple):
    """SuperGLUE's average of a group of runs: best and last evaluation, in percent; None, and why, without one."""

    of: dict[str, str]  # what the runs have in common, by column
    score: float | None
    last: float | None
    told: str  # how many seeds, or what there must be

    def __str__(self) -> str:
        runs = ", ".join(f"P {text}" if column == "P" else text for column, text in self.of.items() if text)
        said = "none" if self.score is None else f"{self.score:.2f} (last {self.last:.2f})"
        return f"SuperGLUE average of {runs}: {said}; {self.told}"


def averages(rows: Sequence[Row]) -> list[Average]:
    """SuperGLUE's average of each group of runs that are alike in all but the task and the seed.

    Of a task with several seeds their mean counts. A group of fewer than eight tasks, or with two runs of a task and a
    seed, has none and says so; runs of a single task are no group.
    """
    groups: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["task"] in SUPERGLUE and {*SUPERGLUE[row["task"]]} <= {*row["best"]["report"]}:
            groups[json.dumps(alike(row), sort_keys=True)][row["task"]].append(row)
    return [average(tasks) for tasks in groups.values() if len(tasks) > 1]


def average(tasks: Mapping[str, Sequence[Row]]) -> Average:
    """The average of one group, its runs by task."""
    first = next(iter(tasks.values()))[0]
    of = {column: COLUMNS[column](first) for column in ("method", "backbone", "P")}
    of["metric"] = ("synthetic " if first["synthetic"] else "") + first["report_on"]
    lacking = [task for task in SUPERGLUE if task not in tasks]
    twice = [
        f"{task} with seed {seed}"
        for task, runs in tasks.items()
        for seed, count in Counter(run["seed"] for run in runs).items()
        if count > 1
    ]
    if lacking or twice:
        said = [f"no run of {', '.join(lacking)}"] if lacking else []
        return Average(of, None, None, "; ".join(said + [f"several runs of {', '.join(twice)}"] * bool(twice)))
    best, last = (
        mean(mean(points(run, evaluation) for run in runs) for runs in tasks.values())
        for evaluation in ("best", "last")
    )
    seeds = sorted({len(runs) for runs in tasks.values()})
    counted = "1 seed" if seeds == [1] else f"{' to '.join(str(n) for n in {seeds[0]: 0, seeds[-1]: 0})} seeds"
    return Average(of, best, last, f"8 tasks, {counted} each")


def points(run: Row, evaluation: str) -> float:
    """A run's score for the average: its task's metric, or the mean of its two."""
    return mean(run[evaluation]["report"][metric] for metric in SUPERGLUE[run["task"]])


def alike(row: Row) -> list[Any]:
    """What runs of a group have in common: of the result, and of the configuration where it is beside that."""
    told = [COLUMNS[column](row) for column in ("method", "backbone", "P")]
    told += [row["synthetic"], row["select_on"], row["report_on"], row.get("data", {}).get("held_out", {}).get("from")]
    path = Path(row["folder"]) / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    method, data = config.get("method", {}), config.get("data", {})
    axes = {axis: part.get("_target_") for axis, part in method.items() if isinstance(part, dict)}
    settings = {name: value for name, value in data.items() if name not in OF_A_TASK}
    return [*told, axes, (method.get("prompt") or {}).get("layers"), settings, any(config.get("compat", {}).values())]


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
    below = "".join(f"\n{line}\n" for line in averages(rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + below


def comma_separated(rows: Sequence[Row]) -> str:
    """CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows(cells(row) for row in rows)
    for average in averages(rows):
        scores = {
            name: "" if value is None else f"{value:.2f}"
            for name, value in average._asdict().items()
            if name in ("score", "last")
        }
        told = {
            **average.of,
            "task": "SuperGLUE average",
            **scores,
            "metric": f"{average.of['metric']}; {average.told}",
        }
        writer.writerow([told.get(column, "") for column in COLUMNS])
    return out.getvalue()
