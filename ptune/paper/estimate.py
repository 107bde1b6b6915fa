"""What a run will cost, before it is run: arithmetic on its settings, rough and stated.

A token of text or prompt takes 2 x 12 x layers x hidden^2 FLOP forward, and 4 x layers x hidden x length for attention;
a training step takes three times that where the backbone learns, twice where a prompt in it does, once where neither
does. Every row is as long as rows may be, or as the corpus's statistics say (4/3 tokens a word); an example is one row;
a procedure of several trainings counts them all, and what its models answer beside their evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ptune.config import Train
from ptune.leaves import target

GPU_TFLOPS = 15.0  # sustained in float32, of the kind of card that the published scripts were run on
CPU_TFLOPS = 0.1  # of one core: the tiny encoder was measured at 0.1 to 0.2, counted as above
TOKENS_A_WORD = 4 / 3
ROWS = 10_000  # of a training set whose size its yaml does not say
KEPT = 3  # checkpoints: the last two and the best
ADAM = 3  # times what learns: itself and two moments
OF_FLOAT = 4  # bytes


class Cost(NamedTuple):
    """FLOP of the passes, and bytes on the disk when the run has ended."""

    flop: float
    disk: float

    def times(self, runs: int) -> Cost:
        """Of so many runs."""
        return Cost(self.flop * runs, self.disk * runs)


def cost(s: Train) -> Cost:
    """What one run takes, see the module's text."""
    layers = int(s.backbone.get("layers", 0)) + int(s.backbone.get("decoder_layers", 0))
    hidden, prompt = int(s.backbone.get("hidden", 0)), s.prompt_length.value or 0
    tasks = tasks_of(s)
    most = float(s.data.max_length or s.task.get("max_length") or 256)
    length = min(most, float(words(s, "tokens") or most) * TOKENS_A_WORD) + prompt
    row = length * (24 * layers * hidden**2 + 4 * layers * hidden * length)
    train = sum(size(s, task, "train", s.data.max_train) for task in tasks)
    steps = s.epochs * train / s.batch_size
    steps = min(steps, s.max_steps) if s.max_steps is not None else steps
    times = 3 if s.method["tune"] != "none" else 2 if prompt else 1
    evaluations = s.epochs if s.eval_every is None else steps / s.eval_every
    dev = sum(size(s, task, "dev", s.data.max_dev) for task in tasks)
    work = target(s.method["procedure"]["_target_"], s.packages).work(s, steps, size(s, s.task, "train", None))
    rows = work.steps * s.batch_size * times + min(evaluations, steps) * dev * max(1.0, work.steps / steps)
    rows += work.answers
    learned = trained(s, layers, hidden, prompt)
    return Cost(rows * row, OF_FLOAT * learned * (1 + KEPT * ADAM))


def trained(s: Train, layers: int, hidden: int, prompt: int) -> float:
    """About how many numbers learn: the backbone, the prompt of each layer or in front, a head."""
    head = hidden * 10
    if s.method["tune"] == "all":
        return 12 * layers * hidden**2 + int(s.backbone.get("vocab", 0)) * int(s.backbone.get("embed", hidden))
    deep = "layers" in s.method["prompt"]
    return head + prompt * hidden * (2 * layers if deep else 1)


def tasks_of(s: Train) -> list[Mapping[str, Any]]:
    """The run's task, or those of a procedure that trains on several, each of them twice."""
    several = s.method["procedure"].get("tasks")
    return [*several.values(), *several.values()] if isinstance(several, dict) else [s.task]


def size(s: Train, task: Mapping[str, Any], split: str, most: int | None) -> float:
    """Examples of a split, as the settings cut it."""
    examples = statistics(task).get("examples", {}).get(split)
    if s.data.source == "demo":
        examples = getattr(s.data.demo, split) or examples
    if s.data.per_class is not None:
        examples = s.data.per_class * len(task.get("labels") or (0, 1))
    return min(float(examples or ROWS), float(most or "inf"))


def words(s: Train, of: str) -> float | None:
    """The corpus's mean length in words, where its yaml says it."""
    mean = statistics(s.task).get(f"words of {of}", {}).get("train")
    return None if mean is None or s.compat.max_length else float(mean)


def statistics(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a task's yaml says of its corpus."""
    return (task.get("source") or {}).get("statistics") or {}
