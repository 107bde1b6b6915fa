"""The training examples that a template shows beside a text; a run folder keeps them: predict reads no corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ptune.batch import Example
from ptune.errors import PtuneError
from ptune.runs.folder import RunFolder
from ptune.tasks import Target, Task

FILE = "demonstrations.jsonl"
Labeled = tuple[Example, Target]


def labeled(task: Task, examples: Sequence[Example]) -> list[Labeled]:
    """What templates render of each example, with its target."""
    return [candidate for example in examples for candidate in task.candidates(example)]


def write(folder: RunFolder, shots: Sequence[Labeled]) -> None:
    """Keep them: the fields, what was predicted, and the target, a class or a number."""
    rows: list[dict[str, Any]] = [
        {"id": example.id, "fields": dict(example.fields), "gold": example.gold, "target": target}
        for example, target in shots
    ]
    folder.write_jsonl(FILE, rows)


def read(folder: RunFolder) -> list[Labeled]:
    """What `write` kept. Raises PtuneError where there is none."""
    try:
        return [(Example(row["id"], row["fields"], row["gold"]), row["target"]) for row in folder.read_jsonl(FILE)]
    except KeyError as error:
        raise PtuneError(f"{folder.file(FILE)}: damaged (a line has no {error})") from None
