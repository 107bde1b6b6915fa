"""What runs and their folders are called: what they were told, and what differs between them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptune import bounded
from ptune.errors import PtuneError
from ptune.runs import forms

MULTIRUN = "multirun.yaml"  # the configuration that Hydra leaves of a sweep
LONGEST = 80  # characters of a folder's name
UNNAMED = ("quiet", "resume")  # overrides that say nothing of a run
NAMED = ("method", "task", "backbone", "prompt_length", "prompt_length.value")  # what every run's name has


def folder_name(words: Sequence[str]) -> str:
    """Overrides as the name of a folder: readable, without a character that paths or command lines take for something
    else, of a bounded length, and different for different overrides."""
    named_words = [word for word in words if word.partition("=")[0].lstrip("+~") not in UNNAMED]
    text = "+".join(word.lstrip("+").replace("=", "-", 1).replace("/", ".") for word in named_words)
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", text)
    if name and (name != text or len(name) > LONGEST):
        name = f"{name[:LONGEST]}-{digest(named_words)}"
    return name or "default"


def digest(value: Any) -> str:
    """A short hash of plain data."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def sweep_of(run: Path) -> Path | None:
    """The folder of the sweep that a run is a job of: Hydra leaves its configuration there."""
    return run.absolute().parent if (run.absolute().parent / MULTIRUN).is_file() else None


def own_words(run: Path) -> list[str]:
    """The overrides of a run that its sweep does not give all of its runs, but those that every name begins with."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    sweep = sweep_of(run)
    if sweep is None:
        return []
    try:
        sweep_overrides = bounded.read_yaml(sweep / MULTIRUN)["hydra"]["overrides"]["task"]
        parsed = OverridesParser.create().parse_overrides(sweep_overrides)
    except (AttributeError, LookupError, TypeError) as error:
        raise PtuneError(f"{sweep / MULTIRUN}: not what Hydra writes for a sweep ({error})") from None
    shared_keys = {word.get_key_element() for word in parsed if not word.is_sweep_override()} | {*NAMED}
    return [word for word in overrides(run) if word.partition("=")[0] not in shared_keys]


def overrides(run: Path) -> list[str]:
    """What a run was told on its command line."""
    environment = bounded.read_json(run / "env.json")
    forms.check(forms.Environment, environment, run / "env.json")
    return list(environment.get("overrides", ()))


def differences(runs: list[list[str]]) -> list[str]:
    """For each run the overrides that not all of them share."""
    common = set.intersection(*map(set, runs)) if len(runs) > 1 else set()
    return [" ".join(word for word in words if word not in common) for words in runs]
