"""The examples of a large split: their records stand in an Arrow file, and each is made when it is asked for.

records.arrow   the records in their order, each with its example's id, checksum and number in the source
manifest.json   the checksum of it, and what the reading of the source told of the rest
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import pyarrow as pa

from ptune.batch import Example
from ptune.data.arrow import Mapped, NotPlain, Sheet, manifest, seal
from ptune.readers import Reading, Record

if TYPE_CHECKING:
    from ptune.tasks import Task

FORMAT = 2  # to be raised with every change of the schema or of what it means
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "number": pa.int64(),
        "where": pa.string(),
        "by_line": pa.int8(),
        "values": pa.string(),
        "sha256": pa.string(),
    }
)


class Read(NamedTuple):
    """A record, its number in its source (counted from 0), and the example that a task makes of it."""

    number: int
    record: Record
    example: Example


def write(folder: Path, split: Iterable[Read], reading: Reading) -> None:
    """The split's files in a folder that is there. Raises NotPlain, and OSError where they cannot be written."""
    with Sheet(folder / "records.arrow", SCHEMA) as sheet:
        for number, record, example in split:
            values = json.dumps(record.values, ensure_ascii=False)
            if json.loads(values) != record.values:
                raise NotPlain(f"the record at {record.where} is not what JSON makes of it")
            by_line = int(record.by_line)
            sheet.add(
                id=example.id,
                number=number,
                where=record.where,
                by_line=by_line,
                values=values,
                sha256=checksum(example),
            )
    summary = {"counts": reading.counts, "problems": reading.problems, "left_out": reading.left_out}
    seal(folder, ["records"], rows=sheet.rows, reading=summary)


class Stored(Sequence[Example]):
    """The examples of a split that `write` wrote, or some of them, made anew each time by the task that made them."""

    def __init__(self, folder: Path, task: Task) -> None:
        """Of a folder that is whole."""
        entries: Any = manifest(folder)
        self.task, self.key = task, entries["files"]["records"]
        self.reading = Reading()
        self.reading.counts.update(entries["reading"]["counts"])
        self.reading.problems, self.reading.left_out = entries["reading"]["problems"], entries["reading"]["left_out"]
        self._records, self._chosen = Mapped(folder / "records.arrow"), np.arange(entries["rows"])

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Stored: ...
    def __getitem__(self, index: int | slice) -> Example | Stored:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        columns, place = self._records(int(self._chosen[index]))
        where, values = (columns[column][place].as_py() for column in ("where", "values"))
        record = Record(where, json.loads(values), bool(columns["by_line"][place]))
        example: Example = self.task.example(record, int(columns["number"][place]))
        return example

    def subset(self, indices: Sequence[int]) -> Stored:
        """Some of the examples, in the order of their indices."""
        selection = object.__new__(Stored)
        vars(selection).update(vars(self), _chosen=self._chosen[indices])
        return selection

    def id(self, index: int) -> str:
        """The id of an example, which need not be made for it."""
        columns, place = self._records(int(self._chosen[index]))
        example_id: str = columns["id"][place].as_py()
        return example_id

    def texts(self, name: str) -> list[str]:
        """`id` or `sha256` of every example, none of which is made for it."""
        all_texts = self._records.texts(name)
        return [all_texts[row] for row in self._chosen]

    @property
    def said(self) -> list[Any]:
        """What tells these examples from others of the same task, for a key."""
        return [self.key, hashlib.sha256(self._chosen.tobytes()).hexdigest()]


def subset(examples: Sequence[Example], indices: Sequence[int]) -> Sequence[Example]:
    """Some of the examples, in the order of their indices."""
    return examples.subset(indices) if isinstance(examples, Stored) else [examples[index] for index in indices]


def name(examples: Sequence[Example], index: int) -> str:
    """The id of an example."""
    return examples.id(index) if isinstance(examples, Stored) else examples[index].id


def checksum(example: Example) -> str:
    """The sha256 of an example's id, fields and gold as JSON: what the data say, not how a template shows it."""
    content = json.dumps([example.id, example.fields, example.gold], sort_keys=True, default=repr)
    return hashlib.sha256(content.encode()).hexdigest()


def account(examples: Sequence[Example]) -> dict[str, Any]:
    """Which examples these are: their number, one checksum, and every id, in their order.

    sha256: over the hexadecimal digits of each `checksum`; ids: texts, where a pair [first, last] stands for three or
    more numbers in a row.
    """
    if isinstance(examples, Stored):
        ids, checksums = examples.texts("id"), examples.texts("sha256")
    else:
        ids, checksums = [example.id for example in examples], [checksum(example) for example in examples]
    return {"examples": len(ids), "sha256": hashlib.sha256("".join(checksums).encode()).hexdigest(), "ids": runs(ids)}


def runs(ids: Sequence[str]) -> list[str | list[int]]:
    """Ids with numbers in a row as pairs, see `account`."""
    id_runs: list[str | list[int]] = []
    start = 0
    while start < len(ids):
        end = start + 1
        if plain(ids[start]):
            first = int(ids[start])
            while end < len(ids) and ids[end] == str(first + end - start):
                end += 1
        if end - start >= 3:
            id_runs.append([first, first + end - start - 1])
        else:
            id_runs += ids[start:end]
        start = end
    return id_runs


def plain(text: str) -> bool:
    """Whether a text is a number as it is written."""
    return text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")
