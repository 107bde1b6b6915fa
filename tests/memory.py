"""A recorder of runs in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Memory:
    """A recorder that keeps everything, with copies of the tensors of each checkpoint."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.saved: dict[int, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {}

    def record(self, event: Mapping[str, Any]) -> None:
        """See training_run.Recorder."""
        self.events.append(dict(event))

    def save(
        self,
        step: int,
        tensors: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        state: Mapping[str, Any],
        best_step: int | None,
    ) -> None:
        """See training_run.Recorder."""
        copies = [{name: tensor.clone() for name, tensor in group.items()} for group in (tensors, optimizer)]
        self.saved[step] = (copies[0], copies[1], dict(state))

    def values(self, key: str) -> list[float]:
        """One figure of every step."""
        return [event[key] for event in self.events if event["event"] == "step"]
