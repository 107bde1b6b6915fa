"""What ends a sweep: its runs side by side; and no silence where it had no job at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from ptune import ranks, secrets
from ptune.cli import fail
from ptune.errors import PtuneError
from ptune.progress import Progress
from ptune.runs.folder import RunFolder
from ptune.runs.naming import MULTIRUN, differences, overrides

SEARCH = "search.json"
FEW = 3  # runs that are named, of those that failed alike
COLUMNS = ("score", "95% interval", "last", "task", "backbone", "metric", "trained", "stored", "bytes", "seconds")


class Summary(Callback):
    """The table of a sweep. A sweep without a job, as from experiment=glob(no-such-*), is a mistake; Hydra calls it
    done.
    """

    def __init__(self) -> None:
        self.ended = 0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse to start the same sweep in every one of several processes, and one whose settings hold a key."""
        if ranks.rank_from_environment().count > 1:
            fail(
                2,
                "ptune train: -m runs in one process; for jobs of several, use hydra/launcher=submitit "
                "(docs/cluster.md)",
            )
        unresolved: Any = OmegaConf.to_container(config, resolve=False)
        if problems := [*secrets.problems(unresolved)]:
            fail(2, "\n".join(problems))  # before the configuration is kept with the sweep

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Count it."""
        self.ended += 1

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show what differs between the runs, with their scores; end the program where there is no run."""
        folder = Path(config.hydra.sweep.dir)
        if not self.ended and not (folder / SEARCH).is_file():  # a search may have had its trials before
            if {path.name for path in folder.iterdir()} <= {MULTIRUN}:
                (folder / MULTIRUN).unlink(missing_ok=True)
                folder.rmdir()
            fail(2, f"no jobs: nothing matches {' '.join(config.hydra.overrides.task)}")
        try:
            if "quiet=true" not in map(str.lower, config.hydra.overrides.task):
                show(folder)
            track(folder)
        except PtuneError as error:  # of which Hydra would make a warning of its own
            Progress().warn(f"{error}; the sweep's table is left out")


def show(folder: Path) -> None:
    """Print the finished runs of a sweep, in the order of its jobs, where there are two or more; then what failed."""
    from ptune.commands import report
    from ptune.reports import results
    from ptune.reports.tables import note_on_fused
    from ptune.sweeps.ledger import last

    events = last(folder)
    order = {folder / name: number for number, name in enumerate(events)}
    paths = {*folder.glob("*/result.json"), *(path for run in order if (path := run / "result.json").is_file())}
    by_folder = {path.parent: results.read(path.parent).result for path in paths}
    runs = sorted(by_folder, key=lambda run: (order.get(run, len(order)), run.name))
    if len(runs) > 1:
        names = differences([overrides(run) for run in runs])
        rows = [
            [name, *(report.COLUMNS[column](by_folder[run]) for column in COLUMNS)]
            for name, run in zip(names, runs, strict=True)
        ]
        print()
        report.draw(["run", *COLUMNS], rows)
        for note in note_on_fused([by_folder[run] for run in runs]):
            print(note)
        print(f"full report: ptune report {folder}")
    failed = [event for event in events.values() if event["state"] in ("failed", "interrupted")]
    alike: dict[tuple[str, str], list[str]] = {}  # of what ended each it was told when it did
    for name, event in zip(differences([event["overrides"] for event in failed]), failed, strict=True):
        alike.setdefault((event["state"], event["kind"]), []).append(name)
    for (state, kind), names in alike.items():
        rest = f" and {len(names) - FEW} more" if len(names) > FEW else ""
        print(f"{state} ({kind})  {', '.join(names[:FEW])}{rest}")


def track(folder: Path) -> None:
    """Tell W&B of the sweep as a whole: a run of its own in the sweep's group, with a table of all runs.

    It is offline beside the runs, or online as they are; a sweep that goes on tells it again in the same W&B run.
    """
    from ptune.build import settings_from_file
    from ptune.reports import results
    from ptune.runs.track import tracker

    runs = [path.parent for path in sorted(folder.glob("*/env.json"))]
    finished = {run: results.read(run).result for run in runs if RunFolder(run).finished}
    if len(runs) < 2 or not finished:
        return
    config = RunFolder(next(iter(finished))).read_config()
    settings = settings_from_file(config, config.get("packages") or ()).tracker
    settings.group = settings.group or folder.name
    rows = [
        {"run": name, "state": "finished" if run in finished else "unfinished", **figures(finished.get(run, {}))}
        for run, name in zip(runs, differences([overrides(run) for run in runs]), strict=True)
    ]
    names = sorted({result["method"] for result in finished.values()})
    run = tracker(
        settings,
        folder,
        name=f"{folder.name} summary",
        tags=["summary", *names],
        config={"sweep": folder.name},
        warn=Progress().warn,
        job="summary",
    )
    run.tables("sweep", len(finished), {"runs": rows})
    counts: dict[str, float] = {"runs": len(runs), "finished": len(finished)}
    if len({(result["task"], result["metric"], result["report_on"]) for result in finished.values()}) == 1:
        counts["best"] = max(result["score"] for result in finished.values())
    run.finish({"sweep": counts}, {})


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the table of a sweep has of a run's result, nothing of one that has none."""
    if not result:
        return {}
    low, high = result["interval"] or ("", "")
    counts = {
        name: result[name] for name in ("method", "task", "backbone", "prompt_length", "seed", "synthetic", "metric")
    }
    scores = {name: result[name] for name in ("score", "selected", "majority")}
    cost = {"trained": result["parameters"]["trained"], "seconds": result["seconds"]["training"]}
    return {**counts, **scores, "interval_low": low, "interval_high": high, **cost}
