"""Files and names that may be a stranger's, read as data, where sizes, depths and aliases are as honest ones have them.

A mapping whose aliases stand for other aliases is a few lines that no machine can walk through; nesting without end
exhausts the stack of whoever reads it; a pipe is never read to its end. All of them end in one line here.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ptune.errors import PtuneError

LONGEST = 2**20  # characters of a YAML file
VALUES = 50_000  # of a YAML file, those of aliases counted each time
DEEPEST = 64  # values inside of one another
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast, where PyYAML has it


def text(path: Path) -> str:
    """A file's text. Raises PtuneError where it is none, FileNotFoundError where nothing is."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise PtuneError(f"{path}: not a file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PtuneError(f"{path}: damaged (byte {error.start + 1} is not UTF-8)") from None


def read_yaml(path: Path) -> Any:
    """The value of a YAML file. Raises PtuneError for one that is none, or beyond all bounds."""
    return parse_yaml(text(path), str(path))


def parse_yaml(told: str, where: str) -> Any:
    """The value of a YAML text, see `read_yaml`."""
    try:
        check(told)
        return yaml.load(told, Loader)
    except (yaml.YAMLError, ValueError, TypeError) as error:  # numbers of thousands of digits, keys that are lists
        raise PtuneError(f"{where}: not YAML ({str(error).splitlines()[0]})") from None


def check(told: str) -> None:
    """Raises YAMLError for a YAML text that is beyond all bounds; it is parsed, and no value of it is made."""
    if len(told) > LONGEST:
        raise yaml.YAMLError(f"{len(told):,} characters; the limit is {LONGEST:,}")
    sizes: dict[str, int] = {}  # of what has an anchor and is whole
    heights: dict[str, int] = {}  # of the same, how many values are inside of one another
    open_sizes, open_heights = [0], [0]  # of the values that are open
    anchors: list[str | None] = []
    for event in yaml.parse(told, Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"alias *{event.anchor} is undefined or refers to itself")
            open_sizes[-1] += sizes[event.anchor]
            open_heights[-1] = max(open_heights[-1], heights[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            open_sizes[-1] += 1
            if event.anchor:
                sizes[event.anchor], heights[event.anchor] = 1, 0
        elif isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
            open_sizes.append(1)
            open_heights.append(0)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, height, anchor = open_sizes.pop(), 1 + open_heights.pop(), anchors.pop()
            open_sizes[-1] += size
            open_heights[-1] = max(open_heights[-1], height)
            if anchor:
                sizes[anchor], heights[anchor] = size, height
        if len(anchors) + open_heights[-1] > DEEPEST:
            raise yaml.YAMLError(f"values are nested more than {DEEPEST} deep")
        if open_sizes[-1] > VALUES:
            raise yaml.YAMLError(f"more than {VALUES:,} values, counting those of aliases")


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises PtuneError for one that is none, or nested without end."""
    return parse_json(text(path), str(path))


def parse_json(told: str, where: str) -> Any:
    """The value of a JSON text, see `read_json`."""
    try:
        value = json.loads(told)
    except (ValueError, RecursionError) as error:
        raise PtuneError(f"{where}: damaged ({error})") from None
    if told.count("[") + told.count("{") > DEEPEST and too_deep(value):
        raise PtuneError(f"{where}: damaged (values are nested more than {DEEPEST} deep)")
    return value


def too_deep(value: Any) -> bool:
    """Whether values are inside of one another further than DEEPEST."""
    level = [value]
    for _ in range(DEEPEST):
        if not level:
            return False
        level = [inner for outer in level for inner in within(outer)]
    return bool(level)


def within(value: Any) -> Iterator[Any]:
    """The values inside of a value that may have some themselves."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in items if isinstance(item, dict | list))


UNNAMABLE = "cannot be used in a file name: it must not contain '/' or consist only of dots"


def plain(name: object) -> bool:
    """Whether a name can be that of a file or folder, and is not a way to one."""
    name_text = str(name)
    return bool(name_text.strip(". ")) and not set(name_text) & {"/", "\\", "\0", "\n"} and len(name_text) < 200
