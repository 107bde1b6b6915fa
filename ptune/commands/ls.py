"""`ptune ls`: what there is to choose from, each option with the line that its yaml begins with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig

from ptune import bounded
from ptune.cli import first_comment
from ptune.errors import ConfigError, nearest

if TYPE_CHECKING:
    from rich.console import Console

METHOD_COLUMNS = ("template", "prompt", "head", "tune", "procedure")
TASK_COLUMNS = ("kind", "train", "dev", "test", "metric", "license")
WIDE, NARROW = 120, 80  # columns from which a line stands beside its method, a license beside its task
OF_SWEEPS = ("hydra/launcher", "hydra/sweeper")
CONFIG = ObjectType.CONFIG
Table = list[tuple[str, ...]]


def main(cfg: DictConfig) -> None:
    """List every group, or the one that `group` names."""
    catalog = Catalog()
    groups = catalog.groups()
    if cfg.group is None:
        return show_all({group: catalog.lines(group) for group in groups})
    group = str(cfg.group).replace(".", "/").strip("/")
    nested = [name for name in groups if name.endswith(f"/{group}")]
    if group not in groups:
        if len(nested) != 1:
            raise ConfigError([f"group={cfg.group}: no such group; {nearest(group, groups)}"])
        group = nested[0]
    if group == "method":
        return show(("method", *METHOD_COLUMNS, ""), catalog.methods())
    if group == "task":
        show(("task", *TASK_COLUMNS), catalog.tasks(), wide=NARROW)
        print("\nptune ls describes each in a line; ptune data info task=NAME shows everything known about one")
        return
    show((group, ""), catalog.lines(group))


class Catalog:
    """The groups and options on Hydra's search path, those of --config-dir and hydra.searchpath included."""

    def __init__(self) -> None:
        hydra = HydraConfig.get()
        # Private: the public listing leaves hydra.searchpath out of groups, and copies its state each time.
        loader = cast(ConfigLoaderImpl, GlobalHydra.instance().config_loader())
        self.repository = loader._parse_overrides_and_create_caching_repo(
            hydra.job.config_name, list(hydra.overrides.hydra)
        )[1]
        self.sources: list[Traversable] = []
        for source in hydra.runtime.config_sources:
            if source.schema == "pkg":
                self.sources.append(resources.files(source.path.replace("/", ".")))
            elif source.schema == "file":
                self.sources.append(Path(source.path))

    def names(self, group: str, kind: ObjectType) -> list[str]:
        """The options of a group, or the groups in it."""
        return sorted(self.repository.get_group_options(group, kind))

    def groups(self) -> list[str]:
        """Every group that has options, nested ones after their own; of Hydra's the two that make a sweep."""
        return [group for group in (*self._groups(""), *OF_SWEEPS) if self.names(group, CONFIG)]

    def _groups(self, parent: str) -> Iterator[str]:
        for name in self.names(parent, ObjectType.GROUP):
            group = f"{parent}/{name}".lstrip("/")
            if not name.startswith("__") and group != "hydra":
                yield group
                yield from self._groups(group)

    def text(self, path: str) -> str:
        """The yaml of an option; the first on the search path, as Hydra takes it, or nothing."""
        for source in self.sources:
            file = source / f"{path}.yaml"
            if file.is_file():
                return file.read_text("utf-8")
        return ""

    def lines(self, group: str) -> Table:
        """Each option with its line; of Hydra's groups not those that are no yaml."""
        descriptions = {name: self.text(f"{group}/{name}") for name in self.names(group, CONFIG)}
        return [(name, first_comment(text)) for name, text in descriptions.items() if text or group not in OF_SWEEPS]

    def methods(self) -> Table:
        """The methods as points of the design space."""
        table: Table = []
        for name, line in self.lines("method"):
            parts = self.parts(f"method/{name}")
            table.append((name, *(str(parts.get(column, "-")) for column in METHOD_COLUMNS), line))
        return table

    def tasks(self) -> Table:
        """The tasks: kind, examples of each split as published, headline metric, and its license in short."""
        return [(name, *task_columns(self.node(f"task/{name}"))) for name in self.names("task", CONFIG)]

    def node(self, path: str) -> Any:
        """The value of an option's yaml. Raises PtuneError for one that is none, or beyond all bounds."""
        return bounded.parse_yaml(self.text(path), f"{path}.yaml")

    def parts(self, path: str) -> dict[str, Any]:
        """The choices and keys of an option, with those of the options that its defaults list begins with."""
        body = self.node(path) or {}
        merged: dict[str, Any] = {}
        for default in body.pop("defaults", ["_self_"]):
            if isinstance(default, dict):
                for key, choice in default.items():
                    merged[str(key).split()[-1].rpartition("/")[2]] = choice
            elif default != "_self_":
                folder = "" if default.startswith("/") else f"{path.rpartition('/')[0]}/"
                merged |= self.parts(folder + default.lstrip("/"))
        return merged | {key: value for key, value in body.items() if not isinstance(value, dict)}


def task_columns(node: Any) -> tuple[str, ...]:
    """A task's columns from its yaml; a dash for what that does not say."""
    node = node if isinstance(node, dict) else {}
    source = node.get("source") or {}
    sizes = (source.get("statistics") or {}).get("examples") or {}
    return (
        str(node.get("_target_", "-")).split(".")[-2:][0],
        *(f"{sizes[split]:,}" if split in sizes else "-" for split in ("train", "dev", "test")),
        source.get("metric") or next(iter(node.get("metrics") or ()), "-"),
        str(source.get("license", "-")).partition(";")[0],
    )


def show_all(groups: dict[str, Table]) -> None:
    """Print every group under its name."""
    if sys.stdout.isatty():
        from rich.padding import Padding

        console = terminal()
        for group, table in groups.items():
            console.print(group, style="bold")
            console.print(Padding(grid(table), (0, 0, 1, 2)))
        return
    width = max(len(row[0]) for table in groups.values() for row in table)
    for group, table in groups.items():
        print(group)
        for name, line in table:
            print(f"  {name:<{width}}  {line}".rstrip())


def show(header: tuple[str, ...], table: Table, wide: int = WIDE) -> None:
    """Print one table; on a terminal with fewer columns than `wide`, the last one in a table of its own."""
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(header, *table, strict=True)]
        for row in (header, *table):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    console = terminal()
    if len(header) == 2 or console.width >= wide:
        console.print(grid(table, header))
        return
    console.print(grid([row[:-1] for row in table], header[:-1]))
    console.print()
    console.print(grid([(row[0], row[-1]) for row in table]))


def terminal() -> Console:
    """The terminal, without any styling where NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")


def grid(table: Table, header: tuple[str, ...] = ()) -> Any:
    """The rows for a terminal: the last column gives way and wraps, names stay whole."""
    from rich.table import Table as Grid
    from rich.text import Text

    aligned = Grid(box=None, show_header=bool(header), pad_edge=False, padding=(0, 2, 0, 0))
    for index in range(len(table[0])):
        wraps = index == len(table[0]) - 1
        style = "cyan" if index == 0 else ""
        aligned.add_column(header[index] if header else "", no_wrap=not wraps, style=style)
    for row in table:
        aligned.add_row(*(Text(cell) for cell in row))
    return aligned
