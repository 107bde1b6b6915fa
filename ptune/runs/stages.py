"""Stages with runs of their own: how their settings differ from those of the run that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

from ptune.bounded import UNNAMABLE, plain
from ptune.errors import ConfigError

if TYPE_CHECKING:
    from ptune.batch import Example
    from ptune.session import Session


FILE = "stage.json"  # in a stage's folder: what it had other than the run that it is of


class Child:
    """What a run that is another's stage knows of it. differing: its settings that are not the other's."""

    def __init__(
        self, name: str, of: Session, examples: Sequence[Example] | None, differing: Mapping[str, Any]
    ) -> None:
        if not plain(name):
            raise ConfigError([f"stage: {name!r} {UNNAMABLE}"])
        self.name, self.of, self.examples, self.differing = name, of, examples, differing
        self.folder = f"stages/{name}"

    @property
    def label(self) -> str:
        """Its name, and which one of how many it is."""
        number = list(self.of.stages).index(self.name) if self.name in self.of.stages else len(self.of.stages)
        return f"stage {number + 1}{f'/{self.of.expected}' if self.of.expected else ''} {self.name}"

    def conclude(self, result: Mapping[str, Any]) -> None:
        """Tell the other run what this one has ended with."""
        from ptune.data.stored import account
        from ptune.runs.folder import RunFolder

        folder = RunFolder(self.of.folder.file(self.folder))
        if not folder.file(FILE).is_file():  # the other's settings may have settled when it goes on
            folder.write_json(FILE, {"differs": dict(self.differing)})
        label, metric = self.label, result["metric"]
        train_data = {} if self.examples is None else {k: account(self.examples)[k] for k in ("examples", "sha256")}
        self.of.stages[self.name] = {
            "name": self.name,
            "folder": self.folder,
            **{key: result[key] for key in ("method", "metric", "score", "interval", "selected", "steps")},
            **folder.read_json(FILE),
            **({"train": train_data} if train_data else {}),
        }
        self.of.progress.say(f"{label}: {result['report_on']} {metric} {result['score']:.2f}")


def with_changes(given: Any, changes: Any) -> Any:
    """Settings with changes, see `Session.child`; the given ones are left as they are."""
    if is_dataclass(given) and isinstance(changes, Mapping):
        if unknown_names := set(changes) - set(vars(given)):
            raise TypeError(f"no setting is called {', '.join(sorted(unknown_names))}")
        values = {name: with_changes(value, changes.get(name, value)) for name, value in vars(given).items()}
        return replace(given, **values)  # type: ignore[type-var]
    if isinstance(given, Mapping) and isinstance(changes, Mapping) and "_target_" not in changes:
        return deepcopy({**given, **{name: with_changes(given.get(name), change) for name, change in changes.items()}})
    return deepcopy(changes)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Their values of the settings, by dotted names, that differ from ours; one that they have not is None.

    Of an option of another name, the name; a leaf of another class is told as a whole.
    """
    out: dict[str, Any] = {}
    for name in {**ours, **theirs}:
        our, their = ours.get(name), theirs.get(name)
        if isinstance(our, Mapping) and isinstance(their, Mapping) and our.get("name") != their.get("name"):
            out[prefix + name] = their.get("name")
        elif isinstance(our, Mapping) and isinstance(their, Mapping) and our.get("_target_") == their.get("_target_"):
            out |= differences(our, their, f"{prefix}{name}.")
        elif our != their:
            out[prefix + name] = their
    return out
