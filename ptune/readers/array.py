"""One JSON array of objects, as CoNLL-04 and other relation corpora are passed on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Each, Record, strict
from ptune.readers.document import elements, sound


def read(path: Path, unique: str | None = None, each: Each = strict) -> Iterator[Record]:
    """Yield a record an object; its place is its index in the array.

    unique: a key whose values name the objects. Raises DataError for a file that is no such array, an object without
    that key, and one whose value another has.
    """
    first_indices: dict[str, int] = {}
    for index, values in enumerate(elements(path)):
        where = f"{path}: [{index}]"
        with each("objects"):
            if not isinstance(values, dict):
                raise DataError(f"{where}: a JSON {type(values).__name__} where an object is needed")
            sound(json.dumps(values, ensure_ascii=False), where)
            if unique:
                object_id = identity(values, unique, where)
                if object_id in first_indices:
                    raise DataError(
                        f"{where}: duplicate {unique} {object_id}, first used at [{first_indices[object_id]}]"
                    )
                first_indices[object_id] = index
            yield Record(where, values)


def identity(values: dict[str, Any], key: str, where: str) -> str:
    """The value of an object's key as text. Raises DataError where it has none."""
    if not isinstance(values.get(key), int | str):
        raise DataError(f"{where}: no '{key}'; each record needs its own, a number or a text")
    return str(values[key])
