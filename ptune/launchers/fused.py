"""`hydra/launcher=fused`: runs of a sweep that share a frozen backbone and a task train side by side in one process.

Each keeps its own prompt, head, data order, optimizer, schedule, early stop and folder; the backbone is held once. A
GPU takes them all through one pass; on a CPU, which the pass of one run fills, passes go on at once, one a thread, and
each run draws the dropout that it would alone. Where threads cannot share the backbone (ALBERT, BART, DeBERTa, OPT;
quantized, or with gradient_checkpointing), one pass takes them all on a CPU too; what a joint pass drops is drawn for
the group. A group has a process of its own; where that ends as a whole, its runs are tried again in halves, in the end
each alone. What cannot be fused runs as with hydra/launcher=local.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from hydra_plugins.ptune.local import jobs_at_once
from hydra_plugins.ptune.sweep import Group, Sweep, numbers

from ptune.sweeps.jobs import Job, Process

if TYPE_CHECKING:  # Hydra imports every launcher each time it starts
    from ptune.config import Train
    from ptune.sweeps.view import View

SHARE = 0.6  # of the memory that is free, which a group may fill
KEPT = 14  # values of the hidden width that a frozen layer keeps of a token for the backward pass
OF_WORDS = 8  # bytes of each word's logit for a token that is written, and of its logarithm
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
    "time_limit",
)
OF_A_RUN = ("max_length", "bucket")  # settings of data that a run may have of its own


class FusedLauncher(Sweep):
    """runs: the most in a group; memory: what a group may take beside the backbone, in GB, null: what is free;
    n_jobs: how many at a time of those that cannot be fused, see LocalLauncher.
    """

    def __init__(self, runs: int | None = None, memory: float | None = None, n_jobs: int | None = None) -> None:
        self.runs, self.memory, self.n_jobs, self.places = runs, memory, n_jobs, 1

    def groups(self, jobs: Sequence[Job], view: View) -> list[list[Job]]:
        """Groups of runs that share a pass, then those that cannot; says which and why."""
        groups, reasons = group_jobs(jobs, self.fit)
        for line in group_lines(groups, reasons):
            view.say(line)
        alone = [job for several in reasons.values() for job in several]
        self.places = max(1, min(self.n_jobs or jobs_at_once(alone), len(alone)))
        return [*groups, *([job] for job in sorted(alone, key=lambda job: job.number))]

    def room(self, group: Group, running: Sequence[Group]) -> bool:
        """A group has the machine to itself."""
        return not running or (len(running) < self.places and all(len(each) == 1 for each in (group, *running)))

    def start(self, group: Group) -> Process:
        """Start a process."""
        return Process(group, 1 if len(group) > 1 else self.places)

    def fit(self, settings: Train) -> int:
        """How many runs like this one a group may have."""
        from ptune import build
        from ptune.threads import all_threads

        most = self.runs or 2**10
        fitting = int((self.memory * 1e9 if self.memory else free(settings)) / bytes_needed(settings))
        if build.runs_in_threads(settings) and fitting >= all_threads():  # no more passes than threads go on at once
            return most
        return max(1, min(most, fitting))


# Which jobs train together


def group_jobs(jobs: Sequence[Job], fit: Callable[[Train], int]) -> tuple[list[list[Job]], dict[str, list[Job]]]:
    """(groups of two jobs and more, the other jobs by the reason); fit(settings): how many fit in one group."""
    reasons: dict[str, list[Job]] = {}
    kin: dict[str, list[Job]] = {}
    for job in jobs:
        s = job.spec.settings
        if reason := unfused_reason(s):
            reasons.setdefault(reason, []).append(job)
        else:
            kin.setdefault(shared_settings(s), []).append(job)
    groups = []
    for family in kin.values():
        most = min(fit(job.spec.settings) for job in family)
        count = -(-len(family) // most)
        size = -(-len(family) // count)
        for start in range(0, len(family), size):
            part = family[start : start + size]
            if len(part) > 1:
                groups.append(part)
            else:
                reasons.setdefault("nothing to share" if len(family) == 1 else "memory", []).extend(part)
    return groups, reasons


def unfused_reason(s: Train) -> str:
    """Why a job cannot share a pass with any other; nothing where it can."""
    from ptune.leaves import target

    if s.method["tune"] != "none":
        return f"tunes the backbone ({s.method['name']})"
    if not target(s.method["procedure"]["_target_"], s.packages).fuses:
        return f"not a single training run ({s.method['name']})"
    if s.backbone.get("embed_pads"):
        return "its layers read padding, of which joint passes have more"
    return ""


def shared_settings(s: Train) -> str:
    """What runs of a group have in common, as text."""
    from ptune import build
    from ptune.checks import below
    from ptune.leaves import leaf

    values = {name: value for name, value in asdict(s).items() if name in TOGETHER}
    values["data"] = {name: value for name, value in values["data"].items() if name not in OF_A_RUN}
    cached = below(s, leaf(s.backbone, s.packages).shape) if s.cache_layers else 0  # layers without dropout
    return json.dumps([values, build.twice(s), cached], sort_keys=True, default=str)


def bytes_needed(s: Train) -> float:
    """Bytes that a run's step keeps for its backward pass, every row being as long as rows may be, and a decoder's too.

    Not known before data are read: in how many windows a long text is read, and how many candidates an example has
    where that is its own matter, for which the task gives a mean.
    """
    from ptune.leaves import leaf, target

    task, reads = leaf(s.task, s.packages), getattr(target(s.method["head"]["_target_"], s.packages), "reads", None)
    examples, prompt = -(-s.batch_size // (s.accumulate or 1)), s.prompt_length.value or 0
    rows = examples * (1 if task.masked != "label" and reads == "mask" else task.rows)
    length = s.data.tokens + prompt
    tokens = rows * length if s.batch_tokens is None else min(rows * length, s.batch_tokens + rows * prompt)
    width, bytes_each = int(s.backbone["hidden"]), 2 if s.precision == "bfloat16" else 4
    layers = int(s.backbone["layers"]) + int(s.backbone.get("decoder_layers") or 0)
    layer = tokens * (KEPT * width + 2 * int(s.backbone["heads"]) * length) * bytes_each
    writes = reads == "text" or (reads == "mask" and task.masked == "text")
    words = rows * task.output_length * int(s.backbone["vocab"]) * OF_WORDS if writes else 0
    return float(layer * (1 if s.gradient_checkpointing else layers) + words)


def free(s: Train) -> float:
    """Bytes that a group may fill."""
    import psutil
    import torch

    from ptune import build

    device = build.device(s.device)
    if device.type == "cuda":
        return SHARE * torch.cuda.mem_get_info(device)[0]
    return SHARE * float(psutil.virtual_memory().available)


# What is said


def group_lines(groups: Sequence[Sequence[Job]], reasons: dict[str, list[Job]]) -> Iterator[str]:
    """A line for each group, and one for each reason to run alone."""
    for group in groups:
        s = group[0].spec.settings
        yield f"{numbers(group)}: {len(group)} runs side by side, {s.task['name']} with {s.backbone['name']}"
    for reason, jobs in reasons.items():
        yield f"{numbers(jobs)}: alone ({reason})"
