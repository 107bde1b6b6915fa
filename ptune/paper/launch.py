"""A list of runs through Hydra's Launcher interface: whatever launcher the command line names runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode

from ptune.paper.plan import Place
from ptune.paper.table import overrides
from ptune.where import hydra_flags
from ptune.words import hydra_value

LAUNCHER = "hydra/launcher=fused"  # where the command line names no other


def launch(places: Sequence[Place], root: Path, quiet: bool) -> dict[Path, str]:
    """Run what is not finished, each in its folder below `root`; what ended those that failed, by folder."""
    from hydra._internal.callbacks import Callbacks

    from ptune.cli import Job

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    chosen = hydra_flags("hydra/launcher=", "hydra.launcher.")
    if not any(word.startswith("hydra/launcher=") for word in chosen):
        chosen = [LAUNCHER, *chosen]
    of_all = [
        *hydra_flags("hydra.searchpath="),
        *chosen,
        "hydra.mode=MULTIRUN",
        f"hydra.sweep.dir={hydra_value(str(root))}",
    ]
    config = hydra.compose_config("train", of_all, RunMode.MULTIRUN, from_shell=False, with_log_configuration=False)
    task = Job("train")
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks()),
        task_function=task,
        config=config,
    )
    folders = [place.folder.relative_to(root) for place in places]
    jobs = [
        [*overrides(place.words), *(["quiet=true"] if quiet else []), f"hydra.sweep.subdir={hydra_value(str(folder))}"]
        for place, folder in zip(places, folders, strict=True)
    ]
    ends = launcher.launch(jobs, initial_job_idx=0)
    return {
        place.folder: failure_line(end)
        for place, end in zip(places, ends, strict=True)
        if not (place.folder / "result.json").is_file()
    }


def failure_line(end: JobReturn) -> str:
    """What ended a run that has no result, in a line; launchers that keep a ledger say more there."""
    error = end._return_value
    if not isinstance(error, BaseException):
        return "failed" if end.status == JobStatus.FAILED else "ended without a result"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
