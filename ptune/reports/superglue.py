"""SuperGLUE's average of finished runs (Wang et al. 2019, arXiv 1905.00537).

Of the eight tasks' scores, where a task of two metrics counts as their mean. Figures are those of dev, since test has
no labels.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

from ptune.reports.results import NAMES, Run

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
# settings of data that make no other set
OF_A_TASK = ("source", "root", "max_length", "cache", "bucket", "draw")


class Average(NamedTuple):
    """SuperGLUE's average of a group of runs: best and last evaluation, in percent; None, and why, without one."""

    of: dict[str, str]  # what the runs have in common, by column
    score: float | None
    last: float | None
    told: str  # how many seeds, or what there must be

    def __str__(self) -> str:
        runs = ", ".join(f"P {text}" if column == "P" else text for column, text in self.of.items() if text)
        score = "none" if self.score is None else f"{self.score:.2f} (last {self.last:.2f})"
        return f"SuperGLUE average of {runs}: {score}; {self.told}"

    @property
    def cells(self) -> dict[str, str]:
        """The average as a row of a table, by column."""
        figures = {name: value for name, value in (("score", self.score), ("last", self.last)) if value is not None}
        texts = {name: f"{value:.2f}" for name, value in figures.items()}
        return {**self.of, "task": "SuperGLUE average", **texts, "metric": f"{self.of['metric']}; {self.told}"}


def averages(runs: Sequence[Run]) -> list[Average]:
    """SuperGLUE's average of each group of runs that are alike in all but the task and the seed.

    Of a task with several seeds their mean counts. A group of fewer than eight tasks, or with two runs of a task and a
    seed, has none and says so; runs of a single task are no group.
    """
    groups: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        task = run.result["task"]
        if task in SUPERGLUE and {*SUPERGLUE[task]} <= {*run.result["best"]["report"]}:
            groups[json.dumps(alike(run), sort_keys=True)][task].append(run)
    return [average(tasks) for tasks in groups.values() if len(tasks) > 1]


def average(tasks: Mapping[str, Sequence[Run]]) -> Average:
    """The average of one group, its runs by task."""
    first = next(iter(tasks.values()))[0].result
    of = {column: NAMES[column](first) for column in ("method", "backbone", "P")}
    on_reported = any(run.result["selected_on_reported"] for runs in tasks.values() for run in runs)
    of["metric"] = ("synthetic " if first["synthetic"] else "") + first["report_on"]
    of["metric"] += " (selected on)" if on_reported else ""
    lacking = [task for task in SUPERGLUE if task not in tasks]
    twice = [
        f"{task} with seed {seed}"
        for task, runs in tasks.items()
        for seed, count in Counter(run.seed for run in runs).items()
        if count > 1
    ]
    if lacking or twice:
        problems = [f"no run of {', '.join(lacking)}"] if lacking else []
        return Average(of, None, None, "; ".join(problems + [f"several runs of {', '.join(twice)}"] * bool(twice)))
    best, last = (
        mean(mean(points(run, evaluation) for run in runs) for runs in tasks.values())
        for evaluation in ("best", "last")
    )
    seeds = sorted({len(runs) for runs in tasks.values()})
    counted = "1 seed" if seeds == [1] else f"{' to '.join(str(n) for n in {seeds[0]: 0, seeds[-1]: 0})} seeds"
    return Average(of, best, last, f"8 tasks, {counted} each")


def points(run: Run, evaluation: str) -> float:
    """A run's score for the average: its task's metric, or the mean of its two."""
    return mean(run.result[evaluation]["report"][metric] for metric in SUPERGLUE[run.result["task"]])


def alike(run: Run) -> list[Any]:
    """What runs of a group have in common: of the result, and of the configuration where it is beside that."""
    row, config = run.result, run.config
    key: list[Any] = [NAMES[column](row) for column in ("method", "backbone", "P")]
    held_out = (row.get("data", {}).get("held_out") or {}).get("from")
    key += [run.settings["weights"], config.get("protocol")]
    key += [row["synthetic"], row["select_on"], row["report_on"], held_out]
    method, data = config.get("method", {}), config.get("data", {})
    axes = {axis: part.get("_target_") for axis, part in method.items() if isinstance(part, dict)}
    settings = {name: value for name, value in data.items() if name not in OF_A_TASK}
    return [*key, axes, (method.get("prompt") or {}).get("layers"), settings, any(config.get("compat", {}).values())]
