"""`hydra/launcher=fused`: runs of a sweep that share a frozen backbone and a task train side by side in one process.

Each keeps its own prompt, head, data order, optimizer, schedule, early stop and folder; the backbone is held once. A
GPU takes them all through one pass; on a CPU, which the pass of one run fills, passes go on at once, one a thread. A
group has a process of its own; where that ends with an error, its runs are tried one at a time. What cannot be fused
runs alone, as with Hydra's basic launcher.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:  # Hydra imports every launcher each time it starts
    from ptune.config import Train

log = logging.getLogger(__name__)
SHARE = 0.6  # of the memory that is free, which a group may fill
KEPT = 14  # values of the hidden width that a frozen layer keeps of a token for the backward pass
TOGETHER = (
    "backbone",
    "task",
    "data",
    "compat",
    "precision",
    "device",
    "deterministic",
    "gradient_checkpointing",
    "cache_layers",
    "packages",
)
OF_A_RUN = ("max_length", "bucket")  # settings of data that a run may have of its own


class Job(NamedTuple):
    """One job of a sweep: its number, composed configuration, overrides and folder; its settings if they hold."""

    number: int
    config: DictConfig
    overrides: list[str]
    folder: Path
    settings: Train | None


class FusedLauncher(Launcher):
    """runs: the most in a group; memory: what a group may take beside the backbone, in GB. null: what is free."""

    def __init__(self, runs: int | None = None, memory: float | None = None) -> None:
        self.runs, self.memory = runs, memory

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """See Hydra."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, in groups where that can be; what they returned, in their order."""
        from ptune.progress import Progress

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        jobs = [self.job(initial_job_idx + i, list(overrides)) for i, overrides in enumerate(job_overrides)]
        quiet = any(job.settings is not None and job.settings.quiet for job in jobs)
        done: dict[int, JobReturn] = {}
        with Progress(quiet) as progress:
            groups, reasons = grouped(jobs, self.room)
            for line in told(groups, reasons):
                progress.say(line)
            waiting = list(groups)
            while waiting:
                group = waiting.pop(0)
                if error := self.together(group, quiet, done):
                    progress.warn(f"{numbers(group)} together: {error}; {retried(group)}")
                    waiting = [*halves(group), *waiting]
            for job in jobs:
                if job.number not in done:
                    done[job.number] = self.alone(job)
        return [done[job.number] for job in jobs]

    def job(self, number: int, overrides: list[str]) -> Job:
        """A job as Hydra composes it."""
        from ptune import build

        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            folder = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
            config.hydra.runtime.output_dir = str(folder)
        settings = None
        try:
            settings = build.settings(own(config))
        except Exception as error:  # whatever it is, the job itself says it
            log.info("job %d cannot be composed: %s", number, error)
        return Job(number, config, list(config.hydra.overrides.task), folder, settings)

    def room(self, settings: Train) -> int:
        """How many runs like this one a group may have."""
        from ptune import build

        most = self.runs or 2**10
        if build.apart(settings):  # their memory does not add up
            return most
        return max(1, min(most, int((self.memory * 1e9 if self.memory else free(settings)) / needed(settings))))

    def together(self, group: Sequence[Job], quiet: bool, done: dict[int, JobReturn]) -> str:
        """Run a group in a process of its own; returns why that did not work, else nothing."""
        for job in group:
            self.hydra_context.callbacks.on_job_start(config=job.config, task_function=self.task_function)
        specs = [(job.settings, job.folder, job.overrides) for job in group if job.settings is not None]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                ends = pool.submit(trained, specs, quiet).result()
            except Exception as error:
                return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        for job, end in zip(group, ends, strict=True):
            done[job.number] = self.returned(job, end)
        return ""

    def returned(self, job: Job, end: float | Exception) -> JobReturn:
        """What Hydra is to know of a job that has run."""
        failed = isinstance(end, Exception)
        found = JobReturn(overrides=job.overrides, cfg=own(job.config), working_dir=os.getcwd(), task_name="train")
        found.hydra_cfg = OmegaConf.masked_copy(job.config, "hydra")
        found.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
        found.return_value = end
        if failed and hasattr(self.task_function, "report"):
            self.task_function.report(end, job.number, job.overrides)
        self.hydra_context.callbacks.on_job_end(config=job.config, job_return=found)
        return found

    def alone(self, job: Job) -> JobReturn:
        """Run a job as Hydra's basic launcher does."""
        found = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=job.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return found


def own(config: DictConfig) -> DictConfig:
    """A job's configuration without Hydra's."""
    found = copy.deepcopy(config)
    with open_dict(found):
        del found["hydra"]
    return found


# Which jobs train together


def grouped(jobs: Sequence[Job], room: Any) -> tuple[list[list[Job]], dict[str, list[Job]]]:
    """(groups of two jobs and more, the other jobs by the reason); room(settings): how many fit in one group."""
    from ptune import build

    reasons: dict[str, list[Job]] = {}
    kin: dict[str, list[Job]] = {}
    identities: set[str] = set()
    for job in jobs:
        why = apart(job, identities)
        if why or job.settings is None:
            reasons.setdefault(why, []).append(job)
        else:
            identities.add(build.identity(job.settings))
            kin.setdefault(shared(job.settings), []).append(job)
    groups = []
    for family in kin.values():
        most = min(room(job.settings) for job in family)
        count = -(-len(family) // most)
        size = -(-len(family) // count)
        for start in range(0, len(family), size):
            part = family[start : start + size]
            if len(part) > 1:
                groups.append(part)
            else:
                reasons.setdefault("nothing to share" if len(family) == 1 else "memory", []).extend(part)
    return groups, reasons


def apart(job: Job, identities: set[str]) -> str:
    """Why a job cannot share a pass with any other; nothing where it can."""
    from ptune import build
    from ptune.leaves import target

    s = job.settings
    if s is None:
        return "settings to be mended"
    if (job.folder / "result.json").is_file():
        return "finished"
    if build.identity(s) in identities:
        return "the same as another"
    if s.resume:
        return "resumed"
    if s.method["tune"] != "none":
        return f"tunes the backbone ({s.method['name']})"
    if not target(s.method["procedure"]["_target_"], s.packages).fuses:
        return f"more or less than one training ({s.method['name']})"
    return ""


def shared(s: Train) -> str:
    """What runs of a group have in common, as text."""
    from ptune import build

    values = {name: value for name, value in asdict(s).items() if name in TOGETHER}
    values["data"] = {name: value for name, value in values["data"].items() if name not in OF_A_RUN}
    return json.dumps([values, build.twice(s)], sort_keys=True, default=str)


def needed(s: Train) -> float:
    """Bytes that a run's step keeps for its backward pass, at most: every row as long as rows may be."""
    rows, prompt = -(-s.batch_size // (s.accumulate or 1)), s.prompt_length.value or 0
    length = (s.data.max_length or 256) + prompt
    tokens = rows * length if s.batch_tokens is None else min(rows * length, s.batch_tokens + rows * prompt)
    width, bytes_each = int(s.backbone["hidden"]), 2 if s.precision == "bfloat16" else 4
    layer = tokens * (KEPT * width + 2 * int(s.backbone["heads"]) * length) * bytes_each
    return float(layer * (1 if s.gradient_checkpointing else int(s.backbone["layers"])))


def free(s: Train) -> float:
    """Bytes that a group may fill."""
    import psutil
    import torch

    from ptune import build

    device = build.device(s.device)
    if device.type == "cuda":
        return SHARE * torch.cuda.mem_get_info(device)[0]
    return SHARE * float(psutil.virtual_memory().available)


def halves(group: list[Job]) -> Iterator[list[Job]]:
    """The two halves of a group that did not work, those of them that are groups."""
    middle = len(group) // 2
    return (half for half in (group[:middle], group[middle:]) if len(half) > 1)


def retried(group: Sequence[Job]) -> str:
    """What becomes of the runs of a group that did not work."""
    return "they go on in halves" if len(group) > 3 else "they go on alone"


# What is said


def told(groups: Sequence[Sequence[Job]], reasons: dict[str, list[Job]]) -> Iterator[str]:
    """A line for each group, and one for each reason to run alone."""
    for group in groups:
        s = group[0].settings
        assert s is not None
        yield f"{numbers(group)}: {len(group)} runs side by side, {s.task['name']} with {s.backbone['name']}"
    for why, jobs in reasons.items():
        yield f"{numbers(jobs)}: alone ({why})"


def numbers(jobs: Sequence[Job]) -> str:
    """Which jobs, for messages."""
    said = ", ".join(str(job.number) for job in jobs[:12]) + (", ..." if len(jobs) > 12 else "")
    return f"job{'s' * (len(jobs) > 1)} {said}"


# In the group's process


def trained(specs: Sequence[tuple[Train, Path, list[str]]], quiet: bool) -> list[float | Exception]:
    """Train the runs of a group, with a log in each one's folder."""
    from ptune.train import together

    handlers = []
    for _, folder, _ in specs:
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(folder / "log.txt"))
        handlers[-1].setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=handlers)
    return together(specs, quiet)
