"""What stands between a stranger's yaml and Hydra, which runs what its own part of a configuration names.

Callbacks and logs may be of Hydra's, ptune's and Python's own classes; variables of the process, and packages whose
classes leaves may name, come from the command line alone; names that become folders are names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins import file_config_source
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptune import bounded
from ptune.bounded import plain
from ptune.errors import ConfigError, PtuneError

CALLED = ("_target_", "()", "class", "factory")  # keys whose values Hydra, and logging, import and call
OWN = ("hydra", "hydra_plugins", "ptune", "colorlog")
LOGS = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
FOLDERS = ("task.name", "method.name", "backbone.name")  # what is in the names of folders


class Loader(ConfigLoaderImpl):
    """Hydra's, which tells what is wrong with a configuration before anybody acts on it."""

    def load_configuration(self, config_name: str | None, overrides: list[str], *args: Any, **more: Any) -> DictConfig:
        """See Hydra. Raises ConfigError."""
        found = super().load_configuration(config_name, overrides, *args, **more)
        if problems := [*wrong(found, {word.partition("=")[0].lstrip("+") for word in overrides})]:
            raise ConfigError(problems)
        return found


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's folders of yamls, by its name for them, which reads none that is beyond all bounds."""

    def load_config(self, config_path: str) -> Any:
        """See Hydra. Raises PtuneError."""
        path = Path(os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path))))
        if path.exists():
            try:
                bounded.check(bounded.text(path))
            except yaml.MarkedYAMLError:
                pass  # which Hydra says, with the place
            except yaml.YAMLError as error:
                raise PtuneError(f"{path}: {error}") from None
        return super().load_config(config_path)


def install() -> None:
    """Put both in the place of Hydra's."""
    from hydra._internal import hydra as program
    from hydra._internal.sources_registry import SourcesRegistry

    vars(program)["ConfigLoaderImpl"] = Loader
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource


def wrong(config: DictConfig, given: Iterable[str]) -> Iterator[str]:
    """What a configuration asks for that it may not; given: the keys on the command line."""
    hydra = OmegaConf.to_container(config.hydra, resolve=False) if "hydra" in config else {}
    for key, name, value in leaves(hydra, "hydra"):
        if name in CALLED and not (isinstance(value, str) and (value in LOGS or value.partition(".")[0] in OWN)):
            yield f"{key}: '{value}' is none of Hydra's or ptune's own classes, and is not called"
        if isinstance(value, str) and value.startswith(("ext://", "cfg://")) and value not in STREAMS:
            yield f"{key}: '{value}' is not looked up; one of: {', '.join(STREAMS)}"
    for name in (config.hydra.job.env_set or ()) if "hydra" in config else ():
        if f"hydra.job.env_set.{name}" not in given:
            yield f"hydra.job.env_set: a yaml sets {name}; variables are set where ptune is started"
    if (listed := chosen(config, "packages")) and "packages" not in given:
        told = ",".join(map(str, listed))
        yield f"packages: a yaml lists {told}; packages=[{told}] on the command line allows it, where you trust them"
    for key in FOLDERS:
        if (name := chosen(config, key)) is not None and not plain(name):
            yield f"{key}: {name!r} is no name: it stands in those of folders, so without / and more than dots"


def leaves(node: Any, key: str) -> Iterator[tuple[str, str, Any]]:
    """(dotted key, its last part, value) of everything in a plain tree that is no tree."""
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in parts:
        if isinstance(value, dict | list):
            yield from leaves(value, f"{key}.{name}")
        else:
            yield f"{key}.{name}", str(name), value


def chosen(config: DictConfig, key: str) -> Any:
    """The value at a key; None where there is none, which others tell."""
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None
