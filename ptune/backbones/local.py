"""`backbone=local`: the family and sizes of any checkpoint folder, from its config.json and safetensors header."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import ptune.backbones
from ptune.backbones import Backbone, checkpoint_folder, read_config, weight_names
from ptune.errors import PtuneError, nearest


def settings(given: dict[str, Any]) -> dict[str, Any]:
    """The full settings of the folder `given["path"]`; what is given besides goes before what the files say."""
    path = str(given["path"])
    folder = checkpoint_folder(path)
    config = read_config(folder)
    family = family_of(str(config.get("model_type")), folder)
    keys = weight_names(folder, given.get("weights") or "safetensors")
    file_settings = {
        "name": folder.resolve().name,
        **family.sizes_of(folder),
        "lm_head": family.has_lm_head(keys)
        or (given.get("weights") == "bin" and "MaskedLM" in str(config.get("architectures"))),
        "pooler": family.pooler_key is not None and any(key.endswith(family.pooler_key) for key in keys),
    }
    if given.get("name") == "local":
        given = {key: value for key, value in given.items() if key != "name"}
    full_path = path if path.startswith("pkg://") else str(folder.resolve())
    target = f"{family.__module__}.{family.__name__}"
    return {**file_settings, **given, "path": full_path, "_target_": target}


def family_of(model_type: str, folder: Path) -> type[Backbone]:
    """The class for a config.json's model_type. Raises PtuneError for an unknown family."""
    classes = families()
    if model_type not in classes:
        raise PtuneError(
            f"backbone.path: {folder} is of family '{model_type}', which ptune does not know; "
            f"{nearest(model_type, sorted(classes))}"
        )
    return classes[model_type]


def families() -> dict[str, type[Backbone]]:
    """Every family by its model_type: the classes in the modules of this package that say theirs."""
    modules = [import_module(f"ptune.backbones.{info.name}") for info in pkgutil.iter_modules(ptune.backbones.__path__)]
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {kind.model_type: kind for kind in classes if issubclass(kind, Backbone) and "model_type" in vars(kind)}
