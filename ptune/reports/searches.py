"""Searches as reports read them: what search.json tells of trials, of which only complete ones have a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptune import bounded
from ptune.runs import forms
from ptune.sweeps.space import Parameter, number

NAME = "search.json"
STATES = ("complete", "pruned", "failed", "unfinished")
RATES = ("lr", "backbone_lr", "prompt_lr", "head_lr", "weight_decay")  # of a method, which optim has
WORDS = {"true": True, "false": False, "null": None}  # what a command line says for a value


@dataclass(frozen=True, eq=False)
class Trial:
    """A job of a search: its number, its state (complete, pruned, failed, unfinished), its folder, its point by key."""

    job: int
    state: str
    folder: Path
    point: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Search:
    """A search: its folder, what it searches by key, and its trials."""

    folder: Path
    space: Mapping[str, Parameter]
    trials: Sequence[Trial]

    def trial(self, folder: Path) -> Trial | None:
        """The trial whose run is in a folder."""
        return next((trial for trial in self.trials if trial.folder == folder), None)


def read(path: Path) -> Search:
    """The search of a search.json. Raises PtuneError for a file that is damaged."""
    summary = bounded.read_json(path)
    forms.check(forms.Search, summary, path)
    return Search(
        path.parent,
        {setting(key): parameter(key, told) for key, told in summary["space"].items()},
        [
            Trial(each["job"], each["state"], path.parent / each["folder"], trial_point(each["params"]))
            for each in summary["trials"]
        ],
    )


def above(folder: Path, root: Path, known: dict[Path, Search | None]) -> Search | None:
    """The search that tells of a run's folder, between it and a root; known: by folder, what was looked up before."""
    for parent in folder.parents:
        if not parent.is_relative_to(root):
            break
        if parent not in known:
            known[parent] = read(parent / NAME) if (parent / NAME).is_file() else None
        if (search := known[parent]) is not None and search.trial(folder) is not None:
            return search
    return None


def setting(key: str) -> str:
    """The setting of a run that a key of a command line is."""
    name = key.lstrip("+")
    return name.replace("method.", "optim.", 1) if name.removeprefix("method.") in RATES else name


def trial_point(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's values by their settings."""
    return {setting(key): WORDS.get(value, value) if isinstance(value, str) else value for key, value in params.items()}


def parameter(key: str, told: Mapping[str, Any]) -> Parameter:
    """What `Parameter.as_record` gave."""
    if "values" in told:
        return Parameter(key, tuple(map(str, told["values"])))
    numbers = {name: told[name] for name in ("low", "high", "step", "whole") if name in told}
    return Parameter(key, **numbers, log=bool(told.get("log")) and told["low"] > 0)


def edge(parameter: Parameter, value: Any) -> str:
    """See `Parameter.edge`, of a value as a run has it."""
    at = number(str(value))
    return "" if at is None or (parameter.log and at <= 0) else parameter.edge(str(value))
