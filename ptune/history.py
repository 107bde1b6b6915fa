"""W&B's own file of a run, read as `wandb sync` reads it: what is in it was told, whatever became of the process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

BLOCK, HEAD, IDENT = 32768, 7, 7  # bytes: LevelDB's log blocks and record heads, and W&B's mark before the first block
FULL, LAST = 1, 4


def history(files: Iterable[Path]) -> dict[int, dict[str, Any]]:
    """The rows of several files of one run by their step; a row that is in two of them, joined.

    Of a table there is what W&B keeps of it, a mapping.
    """
    found: dict[int, dict[str, Any]] = {}
    for file in files:
        for record in records(file):
            if record.HasField("history"):
                row = found.setdefault(int(record.history.step.num), {})
                for item in record.history.item:
                    name, *inner = item.nested_key or [item.key]
                    value = json.loads(item.value_json)
                    if inner:
                        row.setdefault(name, {})[inner[0]] = value
                    else:
                        row[name] = value
    return found


def records(file: Path) -> Iterator[Any]:
    """The records of a .wandb file; a process that was killed leaves its last one cut off, which is none."""
    proto: Any = import_module("wandb.proto.wandb_internal_pb2")  # whose classes protobuf makes as it is imported
    data, held, at = file.read_bytes(), b"", IDENT
    while at + HEAD <= len(data):
        if (rest := BLOCK - at % BLOCK) < HEAD:
            at += rest
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if at + HEAD + size > len(data):
            return
        held += data[at + HEAD : at + HEAD + size]
        at += HEAD + size
        if kind in (FULL, LAST):
            record = proto.Record()
            record.ParseFromString(held)
            yield record
            held = b""
