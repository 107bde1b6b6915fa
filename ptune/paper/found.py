"""What there is of a cell: its state, and our figure from its run folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ptune.paper.plan import BEGUN, FINISHED, Place, Work
from ptune.paper.table import Cell
from ptune.reports import results

NOT_RUN = "not run"  # why a cell is missing that nothing stands in the way of
OK, MISSING, FAILED, RUNNING, NOT_COMPARABLE = "ok", "missing", "failed", "running", "not comparable"


@dataclass(frozen=True)
class Ours:
    """Our figure, in percent, over so many seeds; std: with ddof=1, null of one; interval: 95%, null where unknown.

    epochs: that were trained, best: the one that counts, both as means over the seeds. trials: how many settings a
    search has tried, on these values of `space`; edge: settings whose best value is the least or the largest one.
    """

    n: int
    mean: float
    std: float | None
    interval: tuple[float, float] | None
    metric: str
    select_on: str
    report_on: str
    epochs: float
    best: float
    trials: int
    space: dict[str, list[Any]]
    edge: dict[str, str]
    runs: list[str]
    caveats: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A cell, what has become of it and why, and our figure where there is one; by: the cell whose runs it shares."""

    cell: Cell
    state: str
    why: str
    ours: Ours | None = None
    by: str | None = None

    @property
    def difference(self) -> float | None:
        """Ours less the published figure, where the two compare."""
        target = self.cell.target
        if self.state != OK or self.ours is None or target is None:
            return None
        return self.ours.mean - target.value

    @property
    def reasons(self) -> list[str]:
        """Why our figure does not compare with a published one, each once; nothing where there is none."""
        return [] if self.ours is None else list(dict.fromkeys([*self.cell.not_comparable, *self.ours.caveats]))


def cell_state(cell: Cell, works: Mapping[str, Work], failures: Mapping[str, str], going: bool, root: Path) -> Found:
    """What has become of a cell. failures: why runs have failed, by folder; going: whether somebody runs the table.

    A cell without a work was not asked for, and there is nothing of it.
    """
    if cell.missing is not None:
        return Found(cell, MISSING, cell.missing)
    if cell.key not in works:
        return Found(cell, MISSING, NOT_RUN)
    work = works[cell.key]
    by = None if work.cell.name == cell.name else work.cell.name
    if work.problem:
        return Found(cell, FAILED, work.problem, by=by)
    finished = [place for place in work.places(cell.stage) if place.state == FINISHED]
    ours = figure(cell, work, finished, root) if finished else None
    if work.has_figure(cell.stage):
        assert ours is not None
        if any(place.settings_changed for place in finished):
            ours.caveats.append("its settings have changed since; rerun=true runs it again")
        ok = Found(cell, OK, "", ours, by)
        return replace(ok, state=NOT_COMPARABLE, why="; ".join(ok.reasons)) if ok.reasons else ok
    failed = [reason for place in work.every if (reason := failures.get(str(place.folder.relative_to(root))))]
    if failed:
        return Found(cell, FAILED, failed[0], ours, by)
    if work.lacking:
        return Found(cell, MISSING, work.lacking, ours, by)
    return Found(cell, *waiting(work, going), ours, by)


def shared_reasons(cells: Sequence[Found]) -> str:
    """The reasons for which none of our figures compares with a published one; empty where they have none in common."""
    first, *others = [each.reasons for each in cells if each.ours] or [[]]
    return "; ".join(reason for reason in first if all(reason in other for other in others))


def waiting(work: Work, going: bool) -> tuple[str, str]:
    """The state of runs that have not ended, and how far they are."""
    finished = sum(place.state == FINISHED for place in work.every)
    has_begun = any(place.state == BEGUN for place in work.every)
    parts = [f"{finished} of {work.number} runs" if finished else "", "started" if has_begun and not going else ""]
    text = ", ".join(part for part in parts if part)
    return (RUNNING, text) if going and (has_begun or finished) else (MISSING, text or NOT_RUN)


def figure(cell: Cell, work: Work, places: Sequence[Place], root: Path) -> Ours:
    """Our figure of a cell, from the finished runs that it is of."""
    mine = [results.read(place.of(cell.stage)) for place in places]
    searched = searched_settings(work) if cell.each_seed else ()
    groups = results.group_runs(mine, free=searched)
    caveats = [str(run.result["caveat"]) for run in mine if "caveat" in run.result]
    if any(run.result["synthetic"] for run in mine):
        caveats.append("synthetic data")
    if len(groups) > 1:
        distinct = results.distinct_settings(groups)
        caveats.append(f"its runs differ in more than the seed: {', '.join(sorted(distinct[0])) or 'their data'}")
    group = groups[0]
    result = mine[0].result
    metric = cell.metric or str(result["metric"])
    spread = group.spread(of(metric, cell.beside))
    n_trials, space, edge = 1, {}, {}
    if work.search_trials:
        finished = [place for place in work.search_trials if place.state == FINISHED]
        search = results.group_runs(
            [results.read(place.of(cell.stage)) for place in finished], searched_settings(work)
        )[0]
        n_trials, space, edge = len(work.trials), dict(work.cell.search), search.edge
    return Ours(
        n=spread.n,
        mean=spread.mean,
        std=spread.std,
        interval=interval(group, metric, cell.beside),
        metric=metric,
        select_on=str(result["select_on"]),
        report_on=cell.beside or str(result["report_on"]),
        epochs=group.spread(lambda run: float(run.result["epochs"])).mean,
        best=group.spread(lambda run: float(run.result["best"]["epoch"])).mean,
        trials=n_trials,
        space=space,
        edge=edge,
        runs=[str(run.folder.relative_to(root)) for run in group.runs],
        caveats=caveats,
    )


def searched_settings(work: Work) -> list[str]:
    """The settings that a search tries, as run folders call them."""
    return [key.removesuffix(".value") for key in work.cell.search]


def of(metric: str, beside: str | None) -> Callable[[results.Run], float]:
    """Where a run's figure stands in its result."""

    def figure(run: results.Run) -> float:
        best = run.result["best"]
        return float((best["beside"][beside] if beside else best["report"])[metric])

    return figure


def interval(group: results.Group, metric: str, beside: str | None) -> tuple[float, float] | None:
    """The 95% interval of the selecting metric, a run's own or that of a mean; of other metrics none is known."""
    result = group.runs[0].result
    if metric != result["metric"]:
        return None
    if group.n > 1:
        return None if beside else group.interval
    best = result["best"]
    bounds = best["beside_intervals"][beside] if beside else best["interval"]
    return (float(bounds[0]), float(bounds[1])) if bounds else None
