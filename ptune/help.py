"""What `ptune COMMAND --help` shows of the settings: each with its value and its meaning."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

COLUMN = 30  # where meanings begin, behind settings that are not longer


def settings(cfg: DictConfig) -> str:
    """A line or more for each setting of a command, as Hydra's help takes them: a $ is doubled."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    lines = [
        line
        for key_and_value, meaning in described_settings(cfg)
        for line in setting_lines(key_and_value, meaning, width)
    ]
    return "\n".join(lines).replace("$", "$$")


def described_settings(node: DictConfig, indent: str = "") -> Iterator[tuple[str, str]]:
    """(key and value, meaning) of each setting of a node that says what it means, those in it after it."""
    kind = OmegaConf.get_type(node)
    values = OmegaConf.to_container(node, resolve=False)
    assert is_dataclass(kind)
    assert isinstance(values, dict)
    for field in fields(kind):
        if "help" not in field.metadata:
            continue
        inner = node._get_node(field.name)
        if isinstance(inner, DictConfig) and not inner._is_none() and is_dataclass(OmegaConf.get_type(inner)):
            yield f"{indent}{field.name}:", field.metadata["help"]
            yield from described_settings(inner, f"{indent}  ")
        else:
            yield f"{indent}{field.name}: {plain(values[field.name])}", field.metadata["help"]


def plain(value: Any) -> str:
    """A value in one line of yaml; of an option of a group its name."""
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


def setting_lines(shown: str, meaning: str, width: int) -> Iterator[str]:
    """A setting with its meaning as comment, on lines of its own where there is no room beside it."""
    room = max(width - COLUMN - 2, 20)
    first_line, *other_lines = textwrap.wrap(meaning, room, break_on_hyphens=False)
    if len(shown) + 2 > COLUMN:
        yield shown
        shown = ""
    yield f"{shown:<{COLUMN}}# {first_line}"
    yield from (f"{'':<{COLUMN}}# {line}" for line in other_lines)
