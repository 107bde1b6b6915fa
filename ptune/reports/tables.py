"""The tables of a report: runs, groups of runs, their comparison with a baseline, and what a budget of trials buys."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from ptune.progress import interval_text
from ptune.reports.compare import USUAL, Comparison
from ptune.reports.expected import expected
from ptune.reports.resample import RESAMPLES
from ptune.reports.results import FOLLOWS, NAMES, Group, Row, Run, below, distinct_settings
from ptune.reports.superglue import Average

FIGURED = ("torch", "transformers", "tokenizers", "seqeval", "scikit-learn")  # packages that figures come from
SHOWN = 4  # settings that a cell names
FEW = 5  # seeds; of 3 that differ far more than examples do, an interval covers 75 in 100
Notes = list[str]

RUNS: dict[str, Callable[[Row], str]] = {
    **{column: NAMES[column] for column in ("method", "task", "backbone", "P")},
    "seed": lambda r: str(r["seed"]),
    "score": lambda r: f"{r['score']:.2f}",
    "95% interval": lambda r: interval_text(r.get("interval")),
    "last": lambda r: f"{r['last']['report'][r['metric']]:.2f}",
    "majority": lambda r: f"{r['majority']:.2f}",
    "metric": NAMES["metric"],
    "trained": lambda r: f"{r['parameters']['trained']:,}",
    "stored": lambda r: f"{r['parameters']['stored']:,}",
    "bytes": lambda r: f"{r['parameters']['bytes']:,}",
    "seconds": lambda r: "" if (spent := training_seconds(r)) is None else f"{spent:.1f}",
    "FLOP": lambda r: "" if (cost := training_flop(r)) is None else f"{cost:.1e}",
    "run": lambda r: r["folder"],
}


class Sheet(NamedTuple):
    """A table: its title, its cells by column, and what is to be said of it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: Notes

    def without(self, columns: Sequence[str]) -> Sheet:
        """The table without some columns."""
        places = [i for i, column in enumerate(self.columns) if column not in columns]
        return self._replace(
            columns=[self.columns[i] for i in places], rows=[[row[i] for i in places] for row in self.rows]
        )

    @property
    def empty(self) -> list[str]:
        """The columns that say nothing."""
        return [column for i, column in enumerate(self.columns) if not any(row[i] for row in self.rows)]


GROUPS: dict[str, Callable[[Group], str]] = {
    "score": lambda g: f"{g.mean:.2f}",
    "std": lambda g: number(g.std),
    "n": lambda g: str(g.n),
    "95% interval": lambda g: interval_text(g.interval),
    "last": lambda g: f"{g.last.mean:.2f}",
    "last std": lambda g: number(g.last.std),
    "majority": lambda g: f"{mean(g, 'majority'):.2f}",
    "metric": lambda g: g.of["metric"],
    "trials": lambda g: "" if g.trials == 1 else str(g.trials) + " (edge)" * bool(g.edge),
    "space": lambda g: tried_values(g),
    "trained": lambda g: f"{g.runs[0].result['parameters']['trained']:,}",
    "stored": lambda g: f"{g.runs[0].result['parameters']['stored']:,}",
    "bytes": lambda g: f"{g.runs[0].result['parameters']['bytes']:,}",
    "seconds": lambda g: "" if (spent := seconds(g)) is None else f"{spent:.1f}",
    "FLOP": lambda g: "" if (cost := flop(g)) is None else f"{cost:.1e}",
}


def runs_table(rows: Sequence[Row], groups: Sequence[Group]) -> Sheet:
    """A row a run, with a note of those that repeat another's settings and seed."""
    remarks = [
        f"{group_phrase(group)}: a seed that was run again: {', '.join(str(run.folder) for run in group.repeated)}"
        for group in groups
        if group.repeated
    ]
    cells = [[show(row) for show in RUNS.values()] for row in rows]
    return Sheet("runs", list(RUNS), cells, [*remarks, *note_on_fused(rows)])


def groups_table(groups: Sequence[Group], comparisons: Sequence[Comparison], pruned: Sequence[Path] = ()) -> Sheet:
    """A row a group, with its difference to the baseline; see the notes for what is a mean of what.

    pruned: folders of runs that are no trials of these groups, as far as anybody can tell.
    """
    names = [*("method", "task", "backbone", "P"), "settings", *GROUPS]
    differences = {id(each.group): each for each in comparisons}
    columns = [column for column in DIFFERENCE if column != "non-inferior" or any(c.worse for c in comparisons)]
    rows = []
    for group, settings in zip(groups, differing(groups), strict=True):
        cells = [group.of[column] for column in ("method", "task", "backbone", "P")]
        difference = differences.get(id(group))
        against = [DIFFERENCE[column](difference) if difference else "" for column in columns]
        rows.append([*cells, settings, *(show(group) for show in GROUPS.values()), *against])
    return Sheet("groups", [*names, *columns], rows, [*notes(groups), *note_on_pruned(pruned)])


DIFFERENCE: dict[str, Callable[[Comparison], str]] = {
    "against": lambda c: " ".join(
        filter(None, (c.baseline.of["method"], c.baseline.of["P"] and f"P {c.baseline.of['P']}"))
    ),
    "difference": lambda c: f"{c.difference:+.2f}",
    "95% of it": lambda c: "" if c.interval is None else f"[{c.interval[0]:+.1f}, {c.interval[1]:+.1f}]",
    "p": lambda c: chance(c.p),
    "p (Holm)": lambda c: chance(c.adjusted),
    "non-inferior": lambda c: "" if c.worse_adjusted is None else "yes" if c.worse_adjusted < 0.025 else "no",
}


def comparisons_table(
    groups: Sequence[Group], comparisons: Sequence[Comparison], margin: float | None, named: bool = True
) -> Sheet:
    """A row a difference, with what it is corrected for; named: whether the user has chosen the baseline."""
    difference_columns = [column for column in DIFFERENCE if column != "non-inferior" or margin is not None]
    settings = dict(zip(map(id, groups), differing(groups), strict=True))
    rows = [
        [
            *(each.group.of[column] for column in ("method", "task", "backbone", "P")),
            settings[id(each.group)],
            *(DIFFERENCE[column](each) for column in difference_columns),
            f"{each.group.n}, {each.baseline.n}",
            each.group.of["metric"],
        ]
        for each in comparisons
    ]
    tested = sum(each.p is not None for each in comparisons)
    counted = "the one comparison" if tested == 1 else f"all {tested} comparisons"
    remarks = [
        f"difference: paired, on the same {RESAMPLES} resamples of examples (and of seeds where both sides have the "
        f"same); p two-sided, p (Holm) corrected for {counted} of this report",
    ]
    if not named:
        remarks.insert(0, f"against: {USUAL}, or the first method where there is none; another: compare=METHOD")
    if margin is not None:
        remarks.append(f"non-inferior: worse by less than {margin:g}, p (Holm) below 0.025 one-sided")
    if any(1 in (each.group.n, each.baseline.n) for each in comparisons):
        remarks.append("a side with one seed is compared over examples only: another seed may differ")
    remarks += mixed_provenance(
        [run for each in comparisons for group in (each.group, each.baseline) for run in group.runs]
    )
    columns = [*("method", "task", "backbone", "P"), "settings", *difference_columns, "n", "metric"]
    return Sheet("differences", columns, rows, remarks)


def budgets_table(groups: Sequence[Group]) -> Sheet:
    """A row a number of trials, of each search that has several."""
    rows = [
        [
            *(group.of[column] for column in ("method", "task", "backbone", "P")),
            str(best.n),
            f"{best.selected:.2f}",
            f"{best.reported:.2f}",
            group.of["metric"],
        ]
        for group in groups
        if len(group.family.groups) > 1
        for best in expected(group.family)
    ]
    columns = ["method", "task", "backbone", "P", "trials", "selecting score", "reported score", "metric"]
    remarks = ["the expected best of that many trials (arXiv 1909.03004), chosen by the selecting score"]
    for group in groups:
        if group.family.left and len(group.family.groups) > 1:
            trials, pruned = len(group.family.groups), len(group.family.left)
            of = f"{group_phrase(group)}: of {trials} trials with a result, without {pruned}"
            remarks.append(f"{of} that have none and would lower it")
    return Sheet("expected best", columns, rows, remarks if rows else [])


def averages_table(averages: Sequence[Average]) -> Sheet:
    """A row a group of runs on SuperGLUE's tasks."""

    def figure(value: float | None) -> str:
        return "none" if value is None else f"{value:.2f}"

    rows = [[*each.of.values(), figure(each.score), figure(each.last), each.told] for each in averages]
    remarks = ["the mean of its eight tasks; a task with two metrics counts with their mean (arXiv 1905.00537)"]
    columns = [*averages[0].of, "score", "last", "of"] if averages else []
    return Sheet("SuperGLUE average", columns, rows, remarks)


def notes(groups: Sequence[Group]) -> Notes:
    """What the figures of groups are, and what there is to know of how they came about."""
    units = {group.unit for group in groups if group.n > 1}
    over = "splits" if units == {"split"} else "seeds or splits" if "split" in units else "seeds"
    with_interval = [group for group in groups if group.interval]
    resampled = sorted({(u.n, u.kind) for g in with_interval if g.n > 1 for r in g.runs if (u := r.resampled)})
    many = ", ".join(f"{n} {kind}" for n, kind in resampled)
    lines = [f"score, last: mean of n {over}, at the best and at the last evaluation; std: of these, with ddof=1"]
    if resampled:
        lines.append(f"95% interval: hierarchical bootstrap over {over} and examples ({many}), {RESAMPLES} resamples")
    if any(group.n == 1 for group in with_interval):
        lines.append("with n = 1 the 95% interval is the run's own, over examples only")
    if any(1 < group.n < FEW for group in with_interval):
        lines.append(f"with n below {FEW} it is too narrow where {over} differ more than examples do")
    if alone := [group_phrase(group) for group in groups if group.n == 1 and group.interval is None]:
        lines.append(f"no interval, as in the one run's own result: {'; '.join(alone)}")
    if lacking := [group_phrase(group) for group in groups if group.n > 1 and group.interval is None]:
        lines.append(f"no interval, without predictions that add up to the score: {'; '.join(lacking)}")
    for group in groups:
        if group.trials > 1:
            declared, counts = group.family.declared, group.family.counts
            edges = [
                f"{key} {setting_text(group.settings[key])} is the {end} "
                f"{'of its space' if key in declared else 'tried'}"
                for key, end in group.edge.items()
            ]
            states = ", ".join(f"{count} {state}" for state, count in counts.items())
            trials = f"best of {group.trials} trials by {group.runs[0].result['select_on']}"
            trials += f" ({states})" * (len(counts) > 1)
            lines.append("; ".join([f"{group_phrase(group)}: {trials}", tried_values(group), *edges]))
        if group.repeated:
            folders = ", ".join(str(run.folder) for run in group.repeated)
            lines.append(f"{group_phrase(group)}: each seed counts once; left out: {folders}")
        versions = {run.environment.get("code") for run in group.runs}
        if len(versions) > 1:
            lines.append(f"{group_phrase(group)}: runs from {len(versions)} versions of the code")
    if any(seconds(group) is None for group in groups):
        lines.append("no seconds or FLOP for runs made of stages: each stage has its own")
    lines += note_on_fused([run.result for group in groups for run in group.runs])
    if any(flop(group) for group in groups):
        lines.append("FLOP: an estimate of training, without evaluations (ptune.flop)")
    return lines


def note_on_pruned(pruned: Sequence[Path]) -> Notes:
    """That there are pruned runs without a search.json."""
    return [f"runs that were pruned and in no search.json: {len(pruned)}; they count as no trials"] if pruned else []


def note_on_fused(rows: Sequence[Row]) -> Notes:
    """That the seconds of some runs are of training side by side, which takes each of them longer."""
    trained = [row for row in rows if "fused" in row]  # a majority class is not
    numbers = sorted({row["fused"] for row in trained if training_seconds(row) is not None})
    if len(numbers) < 2:
        return []
    listed = f"{', '.join(map(str, numbers[:-1]))} or {numbers[-1]}"
    return [f"seconds do not compare: runs trained {listed} at a time in one process (hydra/launcher=fused)"]


def mixed_provenance(runs: Sequence[Run]) -> list[str]:
    """What runs that are compared were made with, where that is not the same, or nobody can tell."""
    codes = {run.environment.get("code") or run.environment.get("ptune") for run in runs}
    remarks = [f"the runs are from {len(codes)} versions of the code"] if len(codes) > 1 else []
    if any(str(code).endswith("+changed") for code in codes):
        remarks.append("some runs used uncommitted changes to the code")
    packages = [run.environment.get("packages", {}) for run in runs]
    other = [name for name in FIGURED if len({each.get(name) for each in packages}) > 1]
    return remarks + [f"the runs used several versions of {', '.join(other)}"] * bool(other)


def differing(groups: Sequence[Group]) -> list[str]:
    """For each group the settings that tell it from those that are called the same, or that but for the prompt length;
    without what follows from that.
    """
    apart: dict[int, dict[str, Any]] = {id(group): {} for group in groups}
    for without, left_out in (((), ()), (("P",), ("prompt_length", *FOLLOWS["prompt_length"]))):
        alike: dict[str, list[Group]] = {}
        for group in groups:
            name = {column: text for column, text in group.of.items() if column not in without}
            alike.setdefault(json.dumps(name), []).append(group)
        for several in alike.values():
            for group, settings in zip(several, distinct_settings(several), strict=True):
                apart[id(group)] |= {key: value for key, value in settings.items() if not below(key, left_out)}
    said = []
    for group in groups:
        words = [
            f"{key.removesuffix('._target_')} {setting_text(value)}" for key, value in sorted(apart[id(group)].items())
        ]
        more = [f"and {len(words) - SHOWN} more"] * (len(words) > SHOWN)
        said.append(", ".join([*words[:SHOWN], *more]))
    return said


def tried_values(group: Group) -> str:
    """The values that were tried, by setting."""
    return "; ".join(f"{key} {', '.join(map(setting_text, values))}" for key, values in group.space.items())


def setting_text(value: Any) -> str:
    """A setting's value, of a class its name alone."""
    if isinstance(value, str) and value.startswith("ptune."):
        return value.rpartition(".")[2]
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def group_phrase(group: Group) -> str:
    """A group in a sentence."""
    return " ".join(
        filter(None, (*(group.of[c] for c in ("method", "task", "backbone")), group.of["P"] and f"P {group.of['P']}"))
    )


def flop(group: Group) -> float | None:
    """The mean estimate of training; None where a run has none."""
    found = [cost for run in group.runs if (cost := training_flop(run.result)) is not None]
    return fmean(found) if len(found) == len(group.runs) else None


def training_flop(row: Row) -> float | None:
    """The estimate of a run's training; None without one, and for a run made of stages, which have their own."""
    told = {} if row.get("stages") else row.get("flop") or {}
    return told.get("training")


def seconds(group: Group) -> float | None:
    """The mean time of training; None where a run has none."""
    found = [spent for run in group.runs if (spent := training_seconds(run.result)) is not None]
    return fmean(found) if len(found) == len(group.runs) else None


def training_seconds(row: Row) -> float | None:
    """The time of a run's training; None for a run made of stages, of which it would be the last one's alone."""
    return None if row.get("stages") else float(row["seconds"]["training"])


def mean(group: Group, *path: str) -> float:
    """The mean of a figure of the results."""

    def figure(found: Any) -> float:
        for name in path:
            found = found[name]
        return float(found)

    return fmean(figure(run.result) for run in group.runs)


def as_data(group: Group) -> dict[str, Any]:
    """A group's figures in full."""
    first = group.runs[0].result
    return {
        **group.of,
        "n": group.n,
        "unit": group.unit,
        "best": group.best._asdict(),
        "last": group.last._asdict(),
        "selected": group.selected._asdict(),
        "interval": group.interval,
        "majority": mean(group, "majority"),
        "trials": group.trials,
        "states": group.family.counts,
        "space": group.space,
        "edge": group.edge,
        "parameters": first["parameters"],
        "seconds": seconds(group),
        "flop": flop(group),
        "seeds": [run.seed for run in group.runs],
        "runs": [str(run.folder) for run in group.runs],
        "repeated": [str(run.folder) for run in group.repeated],
        "settings": group.settings,
    }


def number(value: float | None) -> str:
    """A figure in points; nothing where there is none."""
    return "" if value is None else f"{value:.2f}"


def chance(p: float | None) -> str:
    """A p value; nothing where there is none."""
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
