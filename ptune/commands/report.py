"""`ptune report`: finished runs as tables, one row a run or one row a group of runs that differ in chance alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from ptune.config import Report
from ptune.errors import ConfigError, nearest
from ptune.progress import NARROW, UNLIMITED, Output, table
from ptune.reports import formats, tables
from ptune.reports.compare import Comparison, compare
from ptune.reports.expected import expected
from ptune.reports.resample import RESAMPLES
from ptune.reports.results import TUNED, Group, Run, below, best_trials, group_runs, pruned_folders, runs
from ptune.reports.superglue import Average, averages
from ptune.reports.tables import Sheet

TEXT = ("method", "task", "backbone", "settings", "against", "metric", "run")  # give way on a narrow terminal
SPARED = ("stored", "last std", "last", "bytes", "seconds", "FLOP", "trained")  # left out, in this order, for room
SORTS = ("folder", "method", "task", "score")
COLUMNS = tables.RUNS
BY = ("run", "group")
NONE = "none"  # of a comparison
T = TypeVar("T")


@dataclass(frozen=True)
class ReportInputs:
    """What a report tells: its settings, all runs, the groups that are shown (of each search the best trial), their
    differences to a baseline, SuperGLUE's averages, and folders of pruned runs that no search tells of; by: what has
    a row.
    """

    settings: Report
    by: str
    runs: list[Run]
    groups: list[Group]
    comparisons: list[Comparison]
    averages: list[Average]
    pruned: list[Path]

    @property
    def every(self) -> list[Group]:
        """All groups, every trial of the searches among them."""
        return [group for best in self.groups for group in best.family.groups]

    @property
    def sheets(self) -> list[Sheet]:
        """The tables, without those that would be empty."""
        if self.by == "run":
            return [tables.runs_table([run.row for run in self.runs], self.groups)]
        sheets = [
            tables.groups_table(self.groups, [], self.pruned),
            tables.comparisons_table(
                self.groups, self.comparisons, self.settings.margin, named=self.settings.compare is not None
            ),
            tables.budgets_table(self.groups),
        ]
        return [sheet.without([*sheet.empty, "space"]) for sheet in sheets if sheet.rows]


def main(cfg: DictConfig) -> None:
    """Print what the finished runs below a folder say."""
    from ptune.build import settings_of

    s = settings_of(cfg, Report)
    choices = [("format", s.format, [*FORMATS]), ("sort", s.sort, SORTS), *([("by", s.by, BY)] if s.by else [])]
    for key, value, allowed in choices:
        if value not in allowed:
            raise ConfigError([f"{key}: '{value}' is not a choice; {nearest(value, allowed)}"])
    if s.by == "run" and (unused := [key for key in ("compare", "margin") if getattr(s, key) not in (None, NONE)]):
        raise ConfigError([f"{key}: by=run compares nothing; use by=group or remove {key}" for key in unused])
    if s.margin is not None and s.margin <= 0:
        raise ConfigError([f"margin: {s.margin:g} is not above 0; give points, such as margin=1.0"])
    if s.out is not None and s.format != "html":
        raise ConfigError([f"out: only used with format=html; format={s.format} is printed"])
    inputs = gather(s)
    if s.figures is not None:
        draw_figures(inputs, Path(s.figures))
    FORMATS[s.format](inputs)


def gather(s: Report) -> ReportInputs:
    """What a report of these settings tells. Raises PtuneError without a run, ConfigError for a wrong `tuned`."""
    finished = sort_rows(runs(s.runs, s.packages), s.sort, lambda run: run.row)
    keys = {key for run in finished for key in run.settings}
    if wrong := [name for name in s.tuned if name not in TUNED and not any(below(key, [name]) for key in keys)]:
        groups = sorted({key.partition(".")[0] for key in keys})
        raise ConfigError(
            [
                f"tuned: no run has a setting '{name}'; {nearest(name, [*groups, *sorted(keys)], groups)}"
                for name in wrong
            ]
        )
    all_groups, pruned = group_runs(finished, s.tuned), pruned_folders(s.runs, finished)
    compares = s.compare not in (None, NONE) or s.margin is not None
    by = s.by or ("group" if compares or any(group.n > 1 for group in all_groups) else "run")
    best = sort_rows(best_trials(all_groups), s.sort, lambda group: {**group.runs[0].row, "score": group.mean})
    compared = [] if by == "run" or s.compare == NONE else compare(best, s.compare, s.margin)
    return ReportInputs(
        s, by, finished, best, compared, averages([run for group in best for run in group.runs]), pruned
    )


def sort_rows(found: Sequence[T], sort: str, row: Callable[[T], Mapping[str, Any]]) -> list[T]:
    """Runs or groups by folder, by name, or the best score first."""
    return sorted(found, key=lambda one: row(one)[sort] if sort != "score" else -row(one)[sort])


def terminal(inputs: ReportInputs) -> None:
    """Tables that fit the terminal."""
    for number, sheet in enumerate(inputs.sheets):
        if number:
            print(f"\n{sheet.title}")
        cells = [*sheet.rows]
        if "run" in sheet.columns:
            place, folder = sheet.columns.index("run"), inputs.settings.runs
            cells = [[*row[:place], str(Path(row[place]).relative_to(folder)), *row[place + 1 :]] for row in cells]
        draw(sheet.columns, cells, whole=("run",))
        for note in sheet.notes:
            print(note)
    for average in inputs.averages:
        print(average)
    print(f"runs below {inputs.settings.runs}")


def markdown(inputs: ReportInputs) -> None:
    """Markdown tables."""
    print("\n".join(formats.markdown(sheet) for sheet in inputs.sheets), end="")
    print("".join(f"\n{line}\n" for line in inputs.averages), end="")


def latex(inputs: ReportInputs) -> None:
    """LaTeX tables."""
    print("% \\usepackage{booktabs}")
    print("\n".join(formats.latex(sheet) for sheet in inputs.sheets), end="")
    print("".join(f"% {line}\n" for line in inputs.averages), end="")


def comma_separated(inputs: ReportInputs) -> None:
    """One CSV table: of runs, or of groups with their differences; SuperGLUE's averages are rows of it."""
    first = inputs.sheets[0] if inputs.by == "run" else tables.groups_table(inputs.groups, inputs.comparisons)
    rows = [[average.cells.get(column, "") for column in first.columns] for average in inputs.averages]
    print(formats.comma_separated(first._replace(rows=[*first.rows, *rows])), end="")


def as_json(inputs: ReportInputs) -> None:
    """Everything, in full precision."""
    names = {id(group): number for number, group in enumerate(inputs.groups)}
    differing = tables.differing(inputs.groups)
    averages = [average._asdict() for average in inputs.averages]
    document: dict[str, Any] = {"runs": [run.row for run in inputs.runs], "superglue": averages}
    if inputs.by == "group":
        document |= {
            "std": "ddof=1",
            "resamples": RESAMPLES,
            "correction": "Holm",
            "pruned": [str(path) for path in inputs.pruned],
            "groups": [
                {"group": number, "differing": differs, **tables.as_data(group)}
                for number, (group, differs) in enumerate(zip(inputs.groups, differing, strict=True))
            ],
            "comparisons": [
                {**vars(each), "group": names[id(each.group)], "baseline": names[id(each.baseline)]}
                for each in inputs.comparisons
            ],
            "expected_best": [
                {"group": number, **each._asdict()}
                for number, group in enumerate(inputs.groups)
                if len(group.family.groups) > 1
                for each in expected(group.family)
            ],
        }
    print(json.dumps(document, indent=2, ensure_ascii=False))


def page(inputs: ReportInputs) -> None:
    """A page for browsers; its path is printed."""
    from ptune.reports import html

    folder = Path(inputs.settings.runs)
    path = Path(inputs.settings.out or folder / "report.html")
    averages = [tables.averages_table(inputs.averages)] if inputs.averages else []
    html.write(inputs.every, [*inputs.sheets[1:], *averages], folder, path)
    print(path)


def draw_figures(inputs: ReportInputs, folder: Path) -> None:
    """The figures as files, whose paths are printed."""
    from ptune.reports import charts, figures

    for path in figures.save(charts.drawings(inputs.every), folder):
        print(path)


FORMATS: dict[str, Callable[[ReportInputs], None]] = {
    "table": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
    "json": as_json,
    "html": page,
}


def draw(columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[str] = ()) -> None:
    """A table on the terminal; the settings that all rows share are said once, below it.

    Where the terminal is too narrow, names go on several lines, then columns are left out, which it says, and those
    that still have no room follow in tables below. whole: columns that stay on one line, to be copied, as long as
    leaving out others makes room for them.
    """
    console = Output(highlight=False, width=None if sys.stdout.isatty() else UNLIMITED)
    sheet, shared = formats.factor_out_shared(Sheet("", list(columns), [list(row) for row in rows], []))
    columns_left = {column: [row[index] for row in sheet.rows] for index, column in enumerate(sheet.columns)}
    left_out: list[str] = []
    least = {column: cells for column, cells in columns_left.items() if column not in SPARED}
    wraps = [column for column in TEXT if column not in whole]
    wraps = wraps if sum(_widths(least, wraps).values()) <= console.width else [*TEXT]
    for column in SPARED:
        if sum(_widths(columns_left, wraps).values()) <= console.width:
            break
        if columns_left.pop(column, None) is not None:
            left_out.append(column)
    for number, block in enumerate(formats.blocks(_widths(columns_left, wraps), console.width)):
        if number:
            print()
        console.print(table(block, zip(*(columns_left[column] for column in block), strict=True), wraps=wraps))
    if shared:
        print(f"\nall with {', '.join(shared)}")
    if left_out:
        print(f"terminal too narrow for columns {', '.join(left_out)}; format=csv shows them")


def _widths(columns: Mapping[str, Sequence[str]], wraps: Sequence[str]) -> dict[str, int]:
    """How many characters wide each column is, with the gap beside it, when those that wrap are on several lines."""
    wide = {column: max(map(len, (column, *cells))) for column, cells in columns.items()}
    return {column: 2 + (NARROW if column in wraps else width) for column, width in wide.items()}
