"""`backbone=local`: the family and sizes of any checkpoint folder, from its config.json and safetensors header."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import ptune.backbones
from ptune.backbones import Backbone, checkpoint_folder, read_config, weight_names
from ptune.errors import PtuneError, nearest

NO_FAMILIES = ("attention", "bilstm", "causal", "encoder_decoder", "local", "lower", "search")  # modules here


def settings(given: dict[str, Any]) -> dict[str, Any]:
    """The full settings of the folder `given["path"]`; what is given besides goes before what the files say."""
    path = str(given["path"])
    folder = checkpoint_folder(path)
    config = read_config(folder)
    family = family_of(str(config.get("model_type")), folder)
    keys = weight_names(folder)
    read = {
        "name": folder.resolve().name,
        **family.sizes_of(folder),
        "lm_head": family.has_lm_head(keys)
        or (given.get("weights") == "bin" and "MaskedLM" in str(config.get("architectures"))),
        "pooler": family.pooler_key is not None and any(key.endswith(family.pooler_key) for key in keys),
    }
    if given.get("name") == "local":
        given = {key: value for key, value in given.items() if key != "name"}
    shipped = path if path.startswith("pkg://") else str(folder.resolve())
    target = f"{family.__module__}.{family.__name__}"
    return {**read, **given, "path": shipped, "_target_": target}


def family_of(model_type: str, folder: Path) -> type[Backbone]:
    """The class for a config.json's model_type, by the module's name. Raises PtuneError for an unknown family."""
    module = model_type.replace("-", "_")
    known = [m.name for m in pkgutil.iter_modules(ptune.backbones.__path__) if m.name not in NO_FAMILIES]
    if module not in known:
        raise PtuneError(
            f"backbone.path: {folder} is of family '{model_type}', which ptune does not know; {nearest(module, known)}"
        )
    found = import_module(f"ptune.backbones.{module}")
    for value in vars(found).values():
        if isinstance(value, type) and issubclass(value, Backbone) and vars(value).get("model_type") == model_type:
            return value
    raise PtuneError(f"ptune.backbones.{module} has no class with model_type '{model_type}'")
