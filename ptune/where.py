"""Where this job runs, according to Hydra: the only module that asks it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from ptune.errors import PtuneError, nearest


@dataclass(frozen=True)
class Where:
    """folder: the run's; overrides: the command line's."""

    folder: Path
    overrides: list[str] = field(default_factory=list)


def option(group: str, name: str) -> dict[str, Any]:
    """The settings of an option by itself, as data. Raises PtuneError where there is none."""
    try:
        config = compose(f"{group}/{name}", hydra_flags("hydra.searchpath="))
    except MissingConfigException:
        option_names = GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)
        raise PtuneError(f"no {group} '{name}'; {nearest(name, option_names)}") from None
    settings = OmegaConf.to_container(config[group], resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def without_observer(overrides: Iterable[str]) -> list[str]:
    """Overrides as a run keeps them: who observes it, as a search does its trials, is no setting of its own."""
    return [word for word in overrides if word.lstrip("+").partition("=")[0] != "observer"]


def choice(group: str) -> str:
    """The option of a group that the command line has chosen."""
    return str(HydraConfig.get().runtime.choices[group])


def hydra_flags(*keys: str) -> list[str]:
    """The words of the command line that are for Hydra and begin with one of these."""
    flags = list(HydraConfig.get().overrides.hydra) if HydraConfig.initialized() else []
    return [word for word in flags if word.startswith(keys)]


def current_job() -> Where:
    """The current job's place; the current folder outside of Hydra."""
    if not HydraConfig.initialized():
        return Where(Path.cwd())
    config = HydraConfig.get()
    return Where(Path(config.runtime.output_dir), without_observer(config.overrides.task))
