"""What stands between a stranger's yaml and Hydra, which runs what its own part of a configuration names.

What is called is a launcher or a sweeper that is installed, or one of the few classes listed here; variables of the
process, and packages whose classes leaves may name, come from the words that were typed, not from those that a yaml
has jobs or cells run with; names that become folders are names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins import file_config_source
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import OverrideParseException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from ptune import bounded
from ptune.bounded import UNNAMABLE, plain
from ptune.errors import ConfigError, PtuneError

CALLED = ("_target_", "()", "class", "factory")  # keys whose values Hydra, and logging, import and call
PARTS = ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")  # of Hydra's own, where it calls
CLASSES = (
    *("ptune.sweeps.summary.Summary", "hydra.experimental.callbacks.LogJobReturnCallback", "colorlog.ColoredFormatter"),
    *("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter"),
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
SINGLE = "hydra.mode=RUN"  # what Hydra adds to the words of a single run
FOLDERS = ("task.name", "method.name", "backbone.name")  # what is in the names of folders


class Loader(ConfigLoaderImpl):
    """Hydra's, which tells what is wrong with a configuration before anybody acts on it. typed: see `on`.

    Hydra composes a single run twice, to learn its mode and then with the mode among its words; here it does so once.
    """

    typed: Sequence[str] = ()

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._single: tuple[list[str], DictConfig] | None = None

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """See Hydra. Raises ConfigError."""
        if self._single is not None and overrides == self._single[0] and run_mode == RunMode.RUN:
            (_, config), self._single = self._single, None
            words = OverridesParser.create().parse_overrides(overrides)
            self.validate_sweep_overrides_legal(words, run_mode, from_shell)
            config.hydra.mode = run_mode
            config.hydra.overrides.hydra.append(SINGLE)
            return config
        asks_for_mode = not validate_sweep_overrides and not {"-m", "--multirun"} & {*self.typed}
        mode = RunMode.RUN if asks_for_mode else run_mode
        config = super().load_configuration(config_name, overrides, mode, from_shell, validate_sweep_overrides)
        if problems := [*wrong(config, self.typed)]:
            raise ConfigError(problems)
        if asks_for_mode and config.hydra.mode is None:
            self._single = [*overrides, SINGLE], config
        return config


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


@contextmanager
def on(typed: Sequence[str]) -> Iterator[None]:
    """Inside, both are in the place of Hydra's; typed: the words of the command line."""
    from hydra._internal import hydra as program
    from hydra._internal.sources_registry import SourcesRegistry

    loaders, sources, scheme = vars(program), SourcesRegistry.instance().types, FileConfigSource.scheme()
    hydra_source = file_config_source.FileConfigSource
    originals = loaders["ConfigLoaderImpl"], sources.get(scheme, hydra_source), Loader.typed
    loaders["ConfigLoaderImpl"], sources[scheme], Loader.typed = Loader, FileConfigSource, typed
    try:
        yield
    finally:
        loaders["ConfigLoaderImpl"], sources[scheme], Loader.typed = originals


def wrong(config: DictConfig, typed: Sequence[str]) -> Iterator[str]:
    """What a configuration asks for that it may not; typed: the words of the command line."""
    hydra = OmegaConf.to_container(config.hydra, resolve=False) if "hydra" in config else {}
    allowed_classes = {*CLASSES, *plugins()}
    for key, name, value in leaves(hydra, "hydra"):
        if name in CALLED and value not in allowed_classes:
            yield f"{key}: '{value}' is not a class that Hydra may load here; use an installed launcher or sweeper"
        if isinstance(value, str) and value.startswith(("ext://", "cfg://")) and value not in STREAMS:
            yield f"{key}: '{value}' is not allowed; one of: {', '.join(STREAMS)}"
    for part in PARTS if "hydra" in config else ():
        yield from references(config.hydra, part, f"hydra.{part}")
    typed_keys = {word.partition("=")[0].lstrip("+") for word in typed}
    for name in (config.hydra.job.env_set or ()) if "hydra" in config else ():
        if f"hydra.job.env_set.{name}" not in typed_keys:
            yield f"hydra.job.env_set: a yaml sets {name}; set environment variables where ptune is started instead"
    if unlisted := [
        package for package in value_at(config, "packages") or () if str(package) not in listed_packages(typed)
    ]:
        names = ",".join(map(str, unlisted))
        yield f"packages: a yaml lists {names}; if you trust them, add packages=[{names}] to the command line"
    for key in FOLDERS:
        if (name := value_at(config, key)) is not None and not plain(name):
            yield f"{key}: {name!r} {UNNAMABLE}"


def plugins() -> Iterator[str]:
    """The launchers and sweepers that are installed, as a `_target_` names them."""
    for kind in (Launcher, Sweeper):
        for plugin in Plugins.instance().discover(kind):
            yield f"{plugin.__module__}.{plugin.__qualname__}"


def references(node: Any, key: Any, place: str) -> Iterator[str]:
    """What stands in a part of a configuration by reference and is no plain value: nobody has looked at it there."""
    if OmegaConf.is_missing(node, key):
        return
    is_reference = OmegaConf.is_interpolation(node, key)
    try:
        value = node[key]
    except InterpolationToMissingValueError:
        return  # as that of the number of a job, which Hydra sets
    except OmegaConfBaseException:
        yield f"{place}: its reference cannot be resolved"
        return
    if is_reference and isinstance(value, Container | dict | list):
        yield f"{place}: refers to more than one value; write them out"
    elif isinstance(value, DictConfig):
        for name in value:
            yield from references(value, name, f"{place}.{name!s}")
    elif isinstance(value, ListConfig):
        for number in range(len(value)):
            yield from references(value, number, f"{place}.{number}")


def listed_packages(words: Iterable[str]) -> set[str]:
    """The packages that words of a command line list, those of ptune reproduce for its cells among them."""
    packages: set[str] = set()
    for word in words:
        key = word.partition("=")[0].lstrip("+")
        if key in ("packages", "overrides"):
            try:
                (parsed,) = OverridesParser.create().parse_overrides([word])
            except OverrideParseException:
                continue  # which Hydra says
            value = parsed.value()
            names = [str(item) for item in (value if isinstance(value, list) else [value])]
            packages |= {*names} if key == "packages" else listed_packages(names)
    return packages


def leaves(node: Any, key: str) -> Iterator[tuple[str, str, Any]]:
    """(dotted key, its last part, value) of everything in a plain tree that is no tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, f"{key}.{name}")
        else:
            yield f"{key}.{name}", str(name), value


def value_at(config: DictConfig, key: str) -> Any:
    """The value at a key; None where there is none, which others tell."""
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None
