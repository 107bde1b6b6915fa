"""W&B's own file of a run, read as `wandb sync` reads it: what is in it was told, whatever became of the process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

BLOCK, HEAD, IDENT = 32768, 7, 7  # bytes: LevelDB's log blocks and record heads, and W&B's mark before the first block
FULL, LAST = 1, 4
QUIET = 2.0  # seconds without a write, after which nobody writes


def history(files: Iterable[Path]) -> dict[int, dict[str, Any]]:
    """The rows of several files of one run by their step; a row that is in two of them, joined.

    Of a table there is what W&B keeps of it, a mapping.
    """
    rows: dict[int, dict[str, Any]] = {}
    for file in files:
        for record in records(file):
            if record.HasField("history"):
                row = rows.setdefault(int(record.history.step.num), {})
                for item in record.history.item:
                    name, *inner = item.nested_key or [item.key]
                    value = json.loads(item.value_json)
                    if inner:
                        row.setdefault(name, {})[inner[0]] = value
                    else:
                        row[name] = value
    return rows


def records(file: Path) -> Iterator[Any]:
    """The records of a .wandb file; a process that was killed leaves its last one cut off, which is none."""
    proto: Any = import_module("wandb.proto.wandb_internal_pb2")  # whose classes protobuf makes as it is imported
    buffer = b""
    for kind, part, _ in parts(file.read_bytes()):
        buffer += part
        if kind in (FULL, LAST):
            record = proto.Record()
            record.ParseFromString(buffer)
            yield record
            buffer = b""


def trim(file: Path) -> None:
    """Take the last record away where it was cut off: `wandb sync` stops at it, and sends nothing that came later.

    W&B's own process outlives one that was killed for a moment, and may be writing the rest of it.
    """
    while True:
        data = file.read_bytes()
        end = max((end for kind, _, end in parts(data) if kind in (FULL, LAST)), default=len(data))
        if end == len(data):
            return
        if abs(time.time() - file.stat().st_mtime) > QUIET:  # of a clock that is ahead, too
            os.truncate(file, end)
            return
        time.sleep(QUIET / 10)


def parts(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The whole parts of records: which part of its record each is, its bytes, and where it ends."""
    offset = IDENT
    while offset + HEAD <= len(data):
        if (remaining := BLOCK - offset % BLOCK) < HEAD:
            offset += remaining
            continue
        end = offset + HEAD + int.from_bytes(data[offset + 4 : offset + 6], "little")
        if end > len(data):
            return
        yield data[offset + 6], data[offset + HEAD : end], end
        offset = end
