"""The Arrow form of a split's parts: written once in batches, read from mapped files, a split of any size in no memory.

parts.arrow     distinct pieces: what stands in several examples (a context, the text beside candidates) is there once
shown.arrow     what is rendered, an example or one of its candidates: its pieces by number, and its target
examples.arrow  how many of those an example has, and what its rows measure
manifest.json   the checksum of each, written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints, overload

import numpy as np
import pyarrow as pa

from ptune.batch import Extent
from ptune.data.arrow import INTEGERS, Mapped, NotPlain, Sheet, integers, seal
from ptune.templates import Part, Parts

FORMAT = 5  # to be raised with every change of the schemas or of what they mean
REMEMBERED = 65536  # pieces among which one is looked for again
KINDS: tuple[Any, ...] = get_args(get_type_hints(Part)["kind"])
NONE, INDEX, NUMBER, EACH, EXTENT = range(5)  # forms of a target
SCHEMAS = {
    "parts": {
        "kind": pa.int8(),
        "segment": pa.int8(),
        "ids": INTEGERS,
        "starts": INTEGERS,
        "leads": INTEGERS,
        "located": pa.int8(),
        "offsets": INTEGERS,
        "marked": pa.int8(),
        "marks": pa.list_(pa.struct({"name": pa.string(), "places": INTEGERS})),
    },
    "shown": {
        "example": pa.int32(),
        "parts": INTEGERS,
        "form": pa.int8(),
        "number": pa.float64(),
        "target": INTEGERS,
        "segments": pa.int8(),
        "candidate": pa.int32(),
        "grouped": pa.int8(),
        "output": INTEGERS,
        "prompt": pa.int32(),
        "choices": INTEGERS,
        "widths": INTEGERS,
    },
    "examples": {
        "shown": pa.int32(),
        "length": pa.int32(),
        "rows": pa.int32(),
        "labels": pa.int32(),
        "lost": pa.int32(),
        "cut": pa.int8(),
        "dropped": pa.int32(),
        "training_length": pa.int32(),
        "training_rows": pa.int32(),
    },
}


class EncodedExample(NamedTuple):
    """An example's parts, one for each candidate, and what its rows measure: length of the longest, their number,
    their labels, how many gold labels no row reads, whether one is cut, and the most training examples that one has no
    room for; training_length, training_rows: of its rows in training, where others may be shown."""

    parts: list[Parts]
    length: int
    rows: int
    labels: int
    lost: int
    cut: bool
    dropped: int = 0
    training_length: int = 0
    training_rows: int = 0


FIGURES = EncodedExample._fields[1:]


def write(folder: Path, split: Iterable[EncodedExample]) -> None:
    """The split's files in a folder that is there. Raises OSError where they cannot be written, and NotPlain."""
    sheets = {name: Sheet(folder / f"{name}.arrow", pa.schema(columns)) for name, columns in SCHEMAS.items()}
    numbers: dict[bytes, int] = {}
    try:
        for example in split:
            for parts in example.parts:
                if type(parts) is not Parts or any(type(part) is not Part for part in parts.parts):
                    raise NotPlain(f"the parts of example {parts.example} are not of the classes Parts and Part alone")
                pieces = [piece_number(part, sheets["parts"], numbers) for part in parts.parts]
                sheets["shown"].add(
                    example=parts.example,
                    parts=pieces,
                    **target_columns(parts.target),
                    segments=parts.segments,
                    candidate=parts.candidate,
                    grouped=int(parts.grouped),
                    output=parts.output,
                    prompt=parts.prompt,
                    choices=[i for choice in parts.choices for i in choice],
                    widths=[len(choice) for choice in parts.choices],
                )
            figures = {name: int(getattr(example, name)) for name in FIGURES}
            sheets["examples"].add(shown=len(example.parts), **figures)
    finally:
        for sheet in sheets.values():
            sheet.close()
    seal(folder, SCHEMAS)


def piece_number(part: Part, sheet: Sheet, numbers: dict[bytes, int]) -> int:
    """The number of a piece: that of the same one before it, or of a new row."""
    offsets = integers(() if part.offsets is None else part.offsets)
    ids, starts, leads = (integers(values) for values in (part.ids, part.starts, part.leads))
    marks = [{"name": name, "places": list(places)} for name, places in part.marks.items()]
    kind, located = KINDS.index(part.kind), int(part.offsets is not None)
    header = [kind, part.segment, located, *(len(column) for column in (ids, starts, leads, offsets)), marks]
    digest = hashlib.sha256(json.dumps(header).encode())
    for column in (ids, starts, leads, offsets):
        digest.update(column.tobytes())
    number = numbers.pop(digest.digest(), None)
    if number is None:
        number = sheet.add(
            kind=kind,
            segment=part.segment,
            ids=ids,
            starts=starts,
            leads=leads,
            located=located,
            offsets=offsets,
            marked=int(bool(marks)),
            marks=marks,
        )
        if len(numbers) >= REMEMBERED:
            del numbers[next(iter(numbers))]
    numbers[digest.digest()] = number  # the one that was asked for last stands last
    return number


def target_columns(target: float | Sequence[int] | Extent | None) -> dict[str, Any]:
    """A target as columns."""
    if target is None:
        return {"form": NONE, "number": 0.0, "target": ()}
    if isinstance(target, int):
        return {"form": INDEX, "number": 0.0, "target": (target,)}
    if isinstance(target, float):
        return {"form": NUMBER, "number": target, "target": ()}
    return {"form": EXTENT if isinstance(target, Extent) else EACH, "number": 0.0, "target": target}


class Encoded(Sequence[list[Parts]]):
    """The parts of each example of a split that `write` wrote, made anew each time from the mapped files."""

    def __init__(self, folder: Path) -> None:
        self._parts, self._shown, examples = (Mapped(folder / f"{name}.arrow") for name in SCHEMAS)
        self.figures: Mapping[str, np.ndarray] = {name: examples.column(name) for name in FIGURES}
        self._first = np.concatenate([[0], np.cumsum(examples.column("shown"), dtype=np.int64)])

    def __len__(self) -> int:
        return len(self._first) - 1

    @overload
    def __getitem__(self, index: int) -> list[Parts]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Parts]]: ...
    def __getitem__(self, index: int | slice) -> list[Parts] | list[list[Parts]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return [self._read(row) for row in range(self._first[position], self._first[position + 1])]

    def _read(self, row: int) -> Parts:
        columns, place = self._shown(row)
        form, values = int(columns["form"][place]), columns["target"].at(place).tolist()
        target: float | Sequence[int] | Extent | None = None
        if form == INDEX:
            target = values[0]
        elif form == NUMBER:
            target = float(columns["number"][place])
        elif form != NONE:
            target = Extent(*values) if form == EXTENT else values
        return Parts(
            int(columns["example"][place]),
            [self._part(number) for number in columns["parts"].at(place).tolist()],
            target,
            int(columns["segments"][place]),
            int(columns["candidate"][place]),
            bool(columns["grouped"][place]),
            tuple(columns["output"].at(place).tolist()),
            int(columns["prompt"][place]),
            split_ids(columns["choices"].at(place).tolist(), columns["widths"].at(place).tolist()),
        )

    def _part(self, number: int) -> Part:
        columns, place = self._parts(number)
        marks = columns["marks"][place].as_py() if columns["marked"][place] else ()
        return Part(
            KINDS[columns["kind"][place]],
            columns["ids"].at(place).tolist(),
            int(columns["segment"][place]),
            columns["starts"].at(place).tolist(),
            columns["leads"].at(place).tolist(),
            columns["offsets"].at(place).reshape(-1, 2) if columns["located"][place] else None,
            {mark["name"]: mark["places"] for mark in marks},
        )


def split_ids(ids: Sequence[int], widths: Sequence[int]) -> Sequence[Sequence[int]]:
    """Ids that stand one behind the other as texts of so many each."""
    ends = list(accumulate(widths))
    return [ids[end - width : end] for end, width in zip(ends, widths, strict=True)] if ends else ()
