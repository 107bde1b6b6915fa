"""A finished run, opened again from its folder alone: the stored configuration is read, never recomposed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptune import build
from ptune.checks import lookup
from ptune.config import Train
from ptune.errors import PtuneError
from ptune.leaves import leaf, target
from ptune.model import Model
from ptune.runs import shots
from ptune.runs.folder import RunFolder, sha256
from ptune.tasks import Task
from ptune.templates import DemonstrationTemplate

NOTHING = hashlib.sha256().hexdigest()  # of a checkpoint without weights, which building the model tells


@dataclass(frozen=True)
class Restored:
    """What a finished run was made of, ready to predict."""

    settings: Train
    task: Task
    model: Model
    folder: RunFolder
    member: int = 0  # of the model


def restore(path: str, device: str, precision: str | None = None, packages: Sequence[str] = ()) -> Restored:
    """Open the run in `path`.

    Raises PtuneError where it is unfinished, damaged, has no model, or has other weights than those it was scored with.
    """
    return restore_together([path], device, precision, packages)[0]


def restore_together(
    paths: Sequence[str], device: str, precision: str | None = None, packages: Sequence[str] = ()
) -> list[Restored]:
    """Open finished runs that share a frozen backbone as members of one model, see `restore`.

    precision: that they compute in, None for their own; packages: beside ptune, whose classes they may name.
    """
    run_folders = [RunFolder(Path(path)) for path in paths]
    settings = [stored(folder, device, packages) for folder in run_folders]
    for s in settings:
        s.precision = precision or s.precision
    if len(settings) > 1:
        for path, s in zip(paths, settings, strict=True):
            if s.method["tune"] != "none":
                raise PtuneError(f"{path}: tunes the backbone ({s.method['name']}); run it separately")
            if build.twice(s) != build.twice(settings[0]):
                raise PtuneError(f"{path}: method.prompt.double_embedding differs from {paths[0]}; run them separately")
            if (s.backbone, s.precision) != (settings[0].backbone, settings[0].precision):
                first = settings[0].backbone["name"]
                raise PtuneError(
                    f"{path}: its backbone {s.backbone['name']} or its settings differ from those of "
                    f"{paths[0]} ({first}); "
                    "runs that answer together must share one backbone"
                )
    for folder, s in zip(run_folders, settings, strict=True):
        check_backbone(folder, s)
    tasks: list[Task] = [leaf(s.task, s.packages) for s in settings]
    try:
        model = build.assemble(settings, tasks)
    except (MemoryError, RuntimeError, ValueError) as error:
        message = str(error).splitlines()[0] if str(error) else "out of memory"
        raise PtuneError(f"{paths[0]}: its model cannot be built ({message})") from error
    for member, folder in enumerate(run_folders):
        template = model.member(member).template
        if isinstance(template, DemonstrationTemplate):
            template.learn(shots.read(folder))
        try:
            model.load_stored(folder.read_tensors(), member)
        except (KeyError, RuntimeError) as error:
            raise PtuneError(
                f"{folder.file('tuned.safetensors')}: does not fit config.yaml ({str(error).splitlines()[0]})"
            ) from None
        check_tuned(folder)
    model.eval()
    members = zip(settings, tasks, run_folders, strict=True)
    return [Restored(s, task, model, folder, member) for member, (s, task, folder) in enumerate(members)]


def check_backbone(folder: RunFolder, s: Train) -> None:
    """Raises PtuneError where the backbone has other weights than that which the run was trained with."""
    run_sha = lookup(folder.read_json("result.json"), "weights.backbone.sha256")
    if not run_sha:
        return
    backbone = leaf(s.backbone, s.packages)
    sha = backbone.origin()["sha256"]
    if sha not in (None, NOTHING, run_sha):
        raise PtuneError(
            f"{folder.path}: was trained with weights of {backbone.name} whose sha256 begins with {str(run_sha)[:12]}, "
            f"and {backbone.folder} has {sha[:12]}; put that checkpoint back, or name its folder as backbone.path in "
            "the run's config.yaml"
        )


def check_tuned(folder: RunFolder) -> None:
    """Raises PtuneError where the run's own weights are others than those that its result tells of."""
    run_sha, path = lookup(folder.read_json("result.json"), "weights.tuned"), folder.file("tuned.safetensors")
    if run_sha and (sha := sha256(path)) != run_sha:
        raise PtuneError(
            f"{path}: not the weights of result.json (sha256 {sha[:12]}, there {str(run_sha)[:12]}); put back the file "
            "that the run wrote, or train it again"
        )


def stored(folder: RunFolder, device: str, packages: Sequence[str] = ()) -> Train:
    """The settings of a finished run, for inference."""
    settings = build.settings_from_file(folder.read_config(), packages)
    settings.device, settings.gradient_checkpointing, settings.cache_layers = device, False, False
    folder.read_json("result.json")
    prompt = settings.method["prompt"]  # the run has one of its own by now
    if "from_run" in prompt:
        prompt["from_run"] = None
    if prompt.get("init") == "activations":
        prompt |= {"init": "normal", "init_text": None}
    procedure: Any = target(settings.method["procedure"]["_target_"], settings.packages)
    if not procedure.keeps:
        raise PtuneError(f"{folder.path}: a {settings.method['name']} run has no model; its figures are in result.json")
    if not procedure.backbone:
        settings.backbone["path"] = str(folder.path)  # where the words of its own encoder are
    return settings


def folders(run: str) -> list[str]:
    """One run's folder, or several parted by commas, which may stand in their names too."""
    if Path(run).is_dir():
        return [run]
    paths = [""]
    for part in run.split(","):
        if paths[-1] and Path(paths[-1]).is_dir():
            paths.append(part)
        else:
            paths[-1] = f"{paths[-1]},{part}" if paths[-1] else part
    return paths
