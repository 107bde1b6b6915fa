"""Hydra's and OmegaConf's errors as one line each: the key, what is wrong, and the nearest right one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from ptune.config import SCHEMAS
from ptune.errors import ConfigError, PtuneError, nearest

FOLDERS = ("run", "backbone.path")  # settings without a default that name one


def explain(error: Exception, command: str) -> str:
    """What to show of an error that Hydra raised while it read a command line or composed a configuration."""
    if isinstance(error, PtuneError):
        return str(error)
    if isinstance(error, yaml.YAMLError):
        return unreadable(error)
    if isinstance(error, MissingConfigException):
        return no_option(error, command)
    if isinstance(error, OverrideParseException):
        reason = error.message.splitlines()[0]
        return f"{error.override}: cannot be read ({reason}); quote special characters: \"key='a value'\""
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    source = re.match(r"In '([^']+)': \w+ raised", str(error))
    place = f"{source[1]}.yaml: " if source and source[1] != command else ""
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return place + no_key(cause)
    if isinstance(cause, InterpolationKeyError) and (match := re.search(r"key '(\w+)\.name'", str(cause.msg))):
        return f"{match[1]}.name: must be given: name: NAME in the yaml of the {match[1]}"
    if isinstance(cause, OmegaConfBaseException):
        return f"{place}{cause.full_key or cause.key}: {conversion_message(str(cause.msg or cause).splitlines()[0])}"
    return no_group(str(error), command) or tidy(str(error))


def conversion_message(said: str) -> str:
    """OmegaConf's text of a value of another type, in our words; other texts as they are."""
    if match := re.fullmatch(r"Value (.*) of type '\w+' could not be converted to (Integer|Float)", said):
        return f"{match[1]} is not a {'whole number' if match[2] == 'Integer' else 'number'}"
    if match := re.fullmatch(r"Value (.*) is not a valid bool \(type \w+\)", said):
        return f"{match[1]} is not true or false"
    if re.fullmatch(r"field '.*' is not Optional", said):
        return "null is no value of it; leave it out for its default"
    return said


def unreadable(error: yaml.YAMLError) -> str:
    """Where a yaml file is malformed."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    return f"{mark.name}:{mark.line + 1}: {getattr(error, 'problem', None) or 'not valid yaml'}"


def no_option(error: MissingConfigException, command: str) -> str:
    """A group has no such option."""
    config_file = error.missing_cfg_file or ""
    group, _, name = config_file.removesuffix(".yaml").rpartition("/")
    option_names = sorted(error.options or [])
    source = re.match(r"In '([^']+)': ", str(error))
    is_typed = any(name in word for word in sys.argv)
    is_in_yaml = source and source[1] not in (command, "hydra/config")
    place = f"{source[1]}.yaml: " if source and is_in_yaml and not is_typed else ""
    origin = "" if is_typed or is_in_yaml else " (from a yaml)"
    if not option_names:
        return f"{place}{config_file}: no such file on the configuration search path"
    suggestion = nearest(name, option_names)
    option_list = f"\noptions of {group}: {', '.join(option_names)}" if suggestion.startswith("did") else ""
    return f"{place}{group}={name}{origin}: no such option; {suggestion}{option_list}"


def no_key(error: OmegaConfBaseException) -> str:
    """A node has no such key."""
    parent = error.parent_node
    key, full_key = str(error.key), str(error.full_key or error.key)
    if not isinstance(parent, DictConfig):
        return f"{full_key}: {str(error.msg).splitlines()[0]}"
    siblings = [str(name) for name in parent]
    known_paths = [*paths(parent._get_root())]
    similar_paths = [group for group in groups() if group.endswith(f"/{key}")]
    similar_paths = similar_paths or [path for path in known_paths if path.endswith(f".{key.replace('/', '.')}")]
    similar_paths = [path for path in known_paths if path == key.replace("/", ".")] or similar_paths
    if f"optim.{key}" in similar_paths:  # which counts, where a method has a default for it
        similar_paths = [f"optim.{key}"]
    if similar_paths:
        suggestions = " or ".join(f"'{path}'" for path in sorted(similar_paths)[:4])
        return f"{full_key}: no such key; did you mean {suggestions}?"
    if parent._get_parent() is None:
        siblings = sorted({*siblings, *groups()} - {"hydra"})
    if setting_names := leaf_settings(parent):
        if key in setting_names:
            return f"{full_key}: not in its yaml (+{full_key}=... adds it)"
        return f"{full_key}: no such key; {nearest(key, setting_names)}"
    is_open = OmegaConf.get_type(parent) is dict and parent._get_parent() is not None
    hint = f" (+{full_key}=... adds it)" if is_open else ""
    return f"{full_key}: no such key; {nearest(key, siblings)}{hint}"


def no_group(text: str, command: str) -> str:
    """That a command does not compose a group, in place of Hydra's text; nothing where that says something else."""
    match = re.match(r"(?:In '([^']+)': )?Could not override '([^']+)'\.", text)
    if not match:
        return ""
    place, key = f"{match[1]}.yaml: " if match[1] else "", match[2]
    if suggestion := re.search(r"Did you mean to override (?:one of )?(.+)\?", text):
        return f"{place}{key}: no such key; did you mean '{suggestion[1]}'?"
    command_keys = keys(command)
    if key.partition("/")[0] in command_keys:
        addition = re.search(r"use (\+.*)", text)
        return f"{place}{key}: not in this configuration{f'; {addition[1]} adds it' if addition else ''}"
    other_commands = ", ".join(f"ptune {name.replace('_', ' ')}" for name in takers(key))
    hint = f"{key} goes with {other_commands}" if other_commands else nearest(key, command_keys)
    return f"{place}{key}: no such key of ptune {command.replace('_', ' ')}; {hint}"


def takers(key: str) -> list[str]:
    """The commands that have a key, or the group that a nested one is in."""
    return [command for command in SCHEMAS if key.partition("/")[0] in keys(command)]


@cache
def keys(command: str) -> list[str]:
    """What a command's configuration has: its schema's settings, and the groups that its yaml composes."""
    kind = SCHEMAS.get(command)
    names = [field.name for field in fields(kind)] if kind else []
    config = yaml.safe_load(resources.files("ptune.conf").joinpath(f"{command}.yaml").read_text("utf-8"))
    for entry in config.get("defaults", ()):
        if isinstance(entry, dict):
            group = next(iter(entry)).removeprefix("optional ").removeprefix("override ")
            names.append(group.partition("/")[0])
    return [key for key in dict.fromkeys(names) if key != "hydra"]


def leaf_settings(node: DictConfig) -> list[str]:
    """What can be set of one of ptune's own leaves; nothing where a node is none."""
    class_path = node.get("_target_") if OmegaConf.get_type(node) is dict else None
    if not class_path:
        return []
    from ptune.leaves import signature_model, target

    try:
        return [*signature_model(target(str(class_path))).model_fields]
    except PtuneError:
        return []


def tidy(text: str) -> str:
    """Hydra's own text without what only its developers need."""
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'", text)
    if ambiguous:
        return f"{ambiguous[1]}: several values make a sweep, which needs -m; a list is written key=[a,b]"
    sweep = re.match(r"Sweep parameters '(.*)' requires --multirun", text)
    if sweep:
        return f"{sweep[1]}: a sweep needs -m"
    if "does not support sweep type" in text:
        return "interval(): a grid needs a list of values; list them, or search with hydra/sweeper=optuna"
    text = text.split("\nConfig search path:")[0].split("\nSee https://")[0]
    return re.sub(r"\n\s*(full_key|reference_type|object_type)[:=].*", "", text).strip()


def check_complete(cfg: DictConfig) -> None:
    """Refuse a configuration with settings that there are not, that must be given and are not, or point nowhere."""
    problems = [*unknown_keys(cfg)]
    for path, value in leaves(OmegaConf.to_container(cfg, resolve=False)):
        if value == "???":
            problems.append(f"{path}: must be given: {path}={'DIR' if path in FOLDERS else 'VALUE'}")
        elif isinstance(value, str) and "${" in value:
            try:
                OmegaConf.select(cfg, path)
            except InterpolationResolutionError as error:
                problems.append(f"{path}: {value}: {str(error.msg).splitlines()[0]}")
    if problems:
        raise ConfigError(problems)


def unknown_keys(cfg: DictConfig) -> Iterator[str]:
    """Keys that + added to a node whose keys are its schema's; where any are right (task, method) the leaves tell."""
    kind = OmegaConf.get_type(cfg)
    known_keys = [field.name for field in fields(kind)] if is_dataclass(kind) else [str(key) for key in cfg]
    for key in cfg:
        if key not in known_keys:
            place = ".".join(part for part in (cfg._get_full_key(None), str(key)) if part)
            yield f"{place}: no such setting; {nearest(key, known_keys)}"
        elif is_dataclass(OmegaConf.get_type(cfg, str(key))) and isinstance(node := cfg._get_node(key), DictConfig):
            yield from unknown_keys(node)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted path of a plain tree with its value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def paths(root: Container | None) -> Iterator[str]:
    """Every dotted path of a configuration, Hydra's own aside."""
    tree = OmegaConf.to_container(root, resolve=False) if root is not None else {}
    if isinstance(tree, dict):
        tree.pop("hydra", None)
    return (path for path, _ in leaves(tree))


def options() -> Iterator[tuple[str, str]]:
    """Every (group, option) that ptune ships."""
    yield from _options(resources.files("ptune.conf"), "")


def groups() -> list[str]:
    """Every group that ptune ships, nested ones with a slash."""
    return sorted({group for group, _ in options() if not group.startswith("hydra")})


def _options(folder: Traversable, group: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _options(entry, f"{group}/{entry.name}".lstrip("/"))
        elif group and entry.name.endswith(".yaml"):
            yield group, Path(entry.name).stem
