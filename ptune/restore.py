"""A finished run, opened again from its folder alone: the stored configuration is read, never recomposed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptune import build
from ptune.config import Train
from ptune.errors import PtuneError
from ptune.leaves import leaf, target
from ptune.model import Model
from ptune.run import RunFolder
from ptune.tasks import Task


@dataclass(frozen=True)
class Restored:
    """What a finished run was made of, ready to predict."""

    settings: Train
    task: Task
    model: Model
    folder: RunFolder


def restore(path: str, device: str) -> Restored:
    """Open the run in `path`. Raises PtuneError where it is unfinished, damaged, or has no model."""
    folder = RunFolder(Path(path))
    settings = build.stored(folder.read_config())
    settings.device, settings.gradient_checkpointing, settings.cache_layers = device, False, False
    folder.read_json("result.json")
    procedure: Any = target(settings.method["procedure"]["_target_"], settings.packages)
    if not procedure.backbone:
        raise PtuneError(f"{path}: a {settings.method['name']} run has no model; its figures are in result.json")
    task: Task = leaf(settings.task, settings.packages)
    model = build.assemble([settings], task)
    try:
        model.load_stored(folder.read_tensors())
    except (KeyError, RuntimeError) as error:
        raise PtuneError(
            f"{folder.file('tuned.safetensors')}: does not fit config.yaml ({str(error).splitlines()[0]})"
        ) from None
    model.eval()
    return Restored(settings, task, model, folder)
