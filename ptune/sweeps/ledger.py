"""SWEEP/ledger.jsonl: what became of the jobs of a sweep, an append-only line an event.

An event says when it was, the job's number, overrides, folder (within the sweep) and identity, and its state: started,
or how it ended (ok, failed, interrupted) with its kind, message, fingerprint, seconds and score. A run folder's
result.json alone says that a run is finished; the ledger says the rest.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ptune import bounded
from ptune.errors import PtuneError
from ptune.lock import lock

NAME = "ledger.jsonl"


class Ledger:
    """The ledger of a sweep folder, which one process at a time writes to."""

    def __init__(self, folder: Path) -> None:
        """Open it for writing. Raises PtuneError where another sweep is at work in the folder."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if (file := lock(folder / NAME)) is None:
            raise PtuneError(
                f"{folder}: another sweep is running there; wait for it, or choose another folder with "
                "hydra.sweep.dir=DIR"
            )
        self.file = file
        size = os.fstat(self.file).st_size
        if size and os.pread(self.file, 1, size - 1) != b"\n":  # a line that was cut off
            os.write(self.file, b"\n")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.file)

    def add(self, event: Mapping[str, Any]) -> None:
        """Write an event, in one write."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = (json.dumps({"time": now, **event}, ensure_ascii=False) + "\n").encode()
        if os.write(self.file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), NAME)


def events(folder: Path) -> list[dict[str, Any]]:
    """The events of a sweep, without lines that are not whole, or none of a ledger's; none where it has no ledger."""
    parsed: list[dict[str, Any]] = []
    with suppress(FileNotFoundError):
        for line in (folder / NAME).read_text(encoding="utf-8", errors="replace").split("\n"):
            with suppress(PtuneError):
                if is_event(event := bounded.parse_json(line, NAME)):
                    parsed.append(event)
    return parsed


def is_event(event: Any) -> bool:
    """Whether something is an event."""
    texts = ("folder", "identity", "state", "kind", "message")
    return (
        isinstance(event, dict)
        and isinstance(event.get("job"), int)
        and all(isinstance(event.get(key), str) for key in texts)
        and isinstance(event.get("overrides"), list)
        and all(isinstance(word, str) for word in event["overrides"])
    )


def last(folder: Path) -> dict[str, dict[str, Any]]:
    """The last event of each job, by its folder in the sweep, in the order of their numbers."""
    latest = {event["folder"]: event for event in events(folder)}
    return dict(sorted(latest.items(), key=lambda item: item[1]["job"]))
