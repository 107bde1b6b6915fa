"""Data sets of the Hugging Face Hub as the same records that the readers of original files give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from ptune.errors import DataError, UnreadableError, nearest
from ptune.readers import LONGEST_LINE, POINTER, Each, Record, strict


def files(paths: Sequence[Path], where: str, columns: Mapping[str, str], each: Each = strict) -> Iterator[Record]:
    """As `read`, of the parquet or jsonl files of a split. Raises UnreadableError for one that is none."""
    for path in paths:
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER.encode():
                raise UnreadableError(f"{path}:1: a Git LFS pointer instead of the data; git lfs pull fetches it")
        try:
            if path.suffix == ".parquet":
                pq.read_schema(path)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UnreadableError(f"{path}: not parquet ({reason}); is its download complete?") from None
    load = datasets.Dataset.from_parquet if paths[0].suffix == ".parquet" else datasets.Dataset.from_json
    try:
        dataset = load([str(path) for path in paths])
    except (datasets.exceptions.DatasetGenerationError, pa.ArrowException, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UnreadableError(f"{paths[0].parent}: cannot be read ({reason}); is its download complete?") from None
    yield from read(dataset, where, columns, each)


def read(dataset: datasets.Dataset, where: str, columns: Mapping[str, str], each: Each = strict) -> Iterator[Record]:
    """Yield a record a row, class indices turned into their names (-1, the Hub's "no label", into None).

    columns: our name -> the data set's; others keep their name, where it is not one of ours. Raises DataError for a
    column that is not there.
    """
    for name, column in columns.items():
        if column not in dataset.features:
            raise UnreadableError(f"{where}: no column '{column}' for '{name}'; {nearest(column, dataset.features)}")
    new_names = {column: name for name, column in columns.items()}
    names = {name: _class_names(feature) for name, feature in dataset.features.items()}
    for index, row in enumerate(whole(dataset, where)):
        with each("rows"):
            sound(row, f"{where} row {index}")
            values = {
                new_names.get(name, name): _named(value, names[name], f"{where} row {index}")
                for name, value in row.items()
                if name in new_names or name not in columns
            }
            yield Record(f"{where} row {index}", values)


def whole(dataset: datasets.Dataset, where: str) -> Iterator[dict[str, Any]]:
    """The rows of a data set. Raises UnreadableError for texts that are none."""
    try:
        yield from dataset
    except UnicodeDecodeError:
        raise UnreadableError(f"{where}: a text that is not UTF-8; the data set is damaged") from None


def sound(row: Mapping[str, Any], where: str) -> None:
    """Raises DataError for a NUL in a text, or more characters than a text corpus has in one."""
    for name, value in row.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "\0" in text:
                raise DataError(f"{where}: a NUL character in '{name}'; the data set is damaged or not text")
            if isinstance(text, str) and len(text) > LONGEST_LINE:
                raise DataError(
                    f"{where}: {len(text)} characters in '{name}', where at most {LONGEST_LINE} are read; is this "
                    "a text corpus?"
                )


def _class_names(feature: Any) -> list[str] | None:
    feature = getattr(feature, "feature", feature)
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def _named(value: Any, names: list[str] | None, where: str) -> Any:
    if names is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_named(item, names, where) for item in value]
    if value is not None and value >= len(names):
        raise DataError(f"{where}: label {value}, but the data set has only {len(names)} ({', '.join(names)})")
    return None if value is None or value < 0 else names[value]
