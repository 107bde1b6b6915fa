"""What ends a sweep: its runs side by side; and no silence where it had no job at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ptune.cli import fail

COLUMNS = ("score", "95% interval", "last", "metric", "trained", "stored", "bytes", "seconds")


class Summary(Callback):
    """The table of a sweep. A sweep without a job, as from experiment=glob(no-such-*), is a mistake; Hydra calls it
    done.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show what differs between the runs, with their scores; end the program where there is no run."""
        folder = Path(config.hydra.sweep.dir)
        if {path.name for path in folder.iterdir()} <= {"multirun.yaml"}:
            (folder / "multirun.yaml").unlink(missing_ok=True)
            folder.rmdir()
            fail(1, f"no jobs: nothing matches {' '.join(config.hydra.overrides.task)}")
        if "quiet=true" not in config.hydra.overrides.task:
            show(folder)


def show(folder: Path) -> None:
    """Print the finished runs of a sweep, in the order of its jobs, where there are two or more; then what failed."""
    from ptune import report
    from ptune.ledger import last

    ended = last(folder)
    order = {folder / name: number for number, name in enumerate(ended)}
    found = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/result.json")}
    runs = sorted(found, key=lambda run: (order.get(run, len(order)), run.name))
    if len(runs) > 1:
        names = differences([overrides(run) for run in runs])
        rows = [
            [name, *(report.COLUMNS[column](found[run]) for column in COLUMNS)]
            for name, run in zip(names, runs, strict=True)
        ]
        print()
        report.draw(["run", *COLUMNS], rows)
        print(f"all of it: ptune report {folder}")
    failed = [event for event in ended.values() if event["state"] in ("failed", "interrupted")]
    for name, event in zip(differences([event["overrides"] for event in failed]), failed, strict=True):
        print(f"{event['state']} ({event['kind']})  {name}  {event['message']}")


def overrides(run: Path) -> list[str]:
    """What a run was told on its command line."""
    told: list[str] = json.loads((run / "env.json").read_text(encoding="utf-8"))["overrides"]
    return told


def differences(runs: list[list[str]]) -> list[str]:
    """For each run the overrides that not all of them share."""
    common = set.intersection(*map(set, runs)) if len(runs) > 1 else set()
    return [" ".join(word for word in words if word not in common) for words in runs]
