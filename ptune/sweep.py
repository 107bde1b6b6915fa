"""What ends a sweep: its runs side by side; and no silence where it had no job at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ptune import ranks
from ptune.cli import fail

COLUMNS = ("score", "95% interval", "last", "metric", "trained", "stored", "bytes", "seconds")


class Summary(Callback):
    """The table of a sweep. A sweep without a job, as from experiment=glob(no-such-*), is a mistake; Hydra calls it
    done.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse to start the same sweep in every one of several processes."""
        if ranks.started().count > 1:
            fail(2, "ptune train: -m is for one process; jobs of several: hydra/launcher=submitit, see docs/cluster.md")

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
    """Print the finished runs of a sweep, in the order of its jobs, where there are two or more."""
    from ptune import report

    found = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/result.json")}
    runs = sorted(found, key=lambda run: (len(run.name), run.name))
    if len(runs) < 2:
        return
    names = differences([overrides(run) for run in runs])
    rows = [
        [name, *(report.COLUMNS[column](found[run]) for column in COLUMNS)]
        for name, run in zip(names, runs, strict=True)
    ]
    print()
    report.draw(["run", *COLUMNS], rows)
    print(f"all of it: ptune report {folder}")


def overrides(run: Path) -> list[str]:
    """What a run was told on its command line."""
    told: list[str] = json.loads((run / "env.json").read_text(encoding="utf-8"))["overrides"]
    return told


def differences(runs: list[list[str]]) -> list[str]:
    """For each run the overrides that not all of them share."""
    common = set.intersection(*map(set, runs))
    return [" ".join(word for word in words if word not in common) for words in runs]
