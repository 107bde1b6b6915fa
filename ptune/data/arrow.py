"""Arrow files that grow by rows and are read from mapped memory, and the manifest of a folder of them."""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ptune.runs.folder import sha256

PER_BATCH = 1024  # rows of a record batch
INTEGERS = pa.list_(pa.int32())


class NotPlain(TypeError):
    """What Arrow files would not hold all of, such as an object of a class of somebody's own."""


def seal(folder: Path, names: Iterable[str], **more: Any) -> None:
    """Write the manifest of a folder's Arrow files: the checksum of each, and whatever else is to be known."""
    entries = {"files": {name: sha256(folder / f"{name}.arrow") for name in names}, **more}
    (folder / "manifest.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def manifest(folder: Path) -> dict[str, Any] | None:
    """What the manifest of a folder says; None where there is none, or where the files are not those of it."""
    try:
        entries: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        is_intact = all(sha256(folder / f"{name}.arrow") == checksum for name, checksum in entries["files"].items())
        return entries if is_intact else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


class Sheet:
    """An Arrow file that grows by rows; whole batches are written and forgotten."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema, self.rows = schema, 0
        self.columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        self.file = pa.OSFile(str(path), "wb")
        self.writer = pa.ipc.new_file(self.file, schema)

    def add(self, **values: Any) -> int:
        """Add a row; returns its number."""
        for name, column in self.columns.items():
            column.append(values[name])
        self.rows += 1
        if self.rows % PER_BATCH == 0:
            self._flush()
        return self.rows - 1

    def __enter__(self) -> Sheet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left."""
        try:
            if self.rows % PER_BATCH:
                self._flush()
            self.writer.close()
        finally:
            self.file.close()

    def _flush(self) -> None:
        arrays = [
            lists(self.columns[field.name])
            if field.type == INTEGERS
            else pa.array(self.columns[field.name], field.type)
            for field in self.schema
        ]
        self.writer.write_batch(pa.record_batch(arrays, schema=self.schema))
        for column in self.columns.values():
            column.clear()


def lists(values: Sequence[Sequence[int] | np.ndarray]) -> pa.Array:
    """Lists of integers as one Arrow column."""
    ends = np.cumsum([0, *(len(items) for items in values)], dtype=np.int32)
    flat = np.concatenate([integers(items) for items in values])
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))


def integers(values: Sequence[int] | np.ndarray) -> np.ndarray:
    """As an array [n]. Raises TypeError or OverflowError for what is no integer of 32 bits."""
    if isinstance(values, np.ndarray):
        return values.astype(np.int32, casting="same_kind").reshape(-1)
    return np.frombuffer(array("i", values), dtype=np.int32)


class Mapped:
    """An Arrow file in mapped memory: columns of a batch by name, as arrays; what is read is read from the file."""

    def __init__(self, path: Path) -> None:
        self.reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._batches: dict[int, dict[str, Any]] = {}
        self._reading = threading.Lock()

    def __call__(self, row: int) -> tuple[dict[str, Any], int]:
        """The columns of a row's batch, and its place in them."""
        batch_index, place = divmod(row, PER_BATCH)
        if batch_index not in self._batches:
            with self._reading:  # Arrow's readers are of one thread
                batch = self.reader.get_batch(batch_index)
            self._batches[batch_index] = {name: as_view(batch.column(name)) for name in batch.schema.names}
        return self._batches[batch_index], place

    def column(self, name: str) -> np.ndarray:
        """A column of numbers, in memory."""
        batches = [self.reader.get_batch(i).column(name).to_numpy() for i in range(self.reader.num_record_batches)]
        return np.concatenate(batches) if batches else np.zeros(0, dtype=np.int32)

    def texts(self, name: str) -> list[str]:
        """A column of texts, in memory."""
        batches = (self.reader.get_batch(i).column(name) for i in range(self.reader.num_record_batches))
        return [text for batch in batches for text in batch.to_pylist()]


class Lists(NamedTuple):
    """A column of lists of integers."""

    ends: np.ndarray
    values: np.ndarray

    def at(self, place: int) -> np.ndarray:
        """One of the lists, a view."""
        view: np.ndarray = self.values[self.ends[place] : self.ends[place + 1]]
        return view


def as_view(column: pa.Array) -> Any:
    """A column without a copy: an array of numbers, or lists of them; else as Arrow has it."""
    if column.type == INTEGERS:
        return Lists(column.offsets.to_numpy(), column.values.to_numpy())
    return column if pa.types.is_nested(column.type) or pa.types.is_string(column.type) else column.to_numpy()
