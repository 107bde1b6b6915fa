"""JSON lines: one object a line, as SuperGLUE is distributed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Each, Record, lines, strict


def read(
    path: Path, columns: Mapping[str, str] | None = None, only: bool = False, each: Each = strict
) -> Iterator[Record]:
    """Yield a record an object; blank lines are skipped. Raises DataError where a line is not a JSON object.

    columns: our name -> the file's; others keep theirs, or, with `only`, are let go.
    """
    new_names = {column: name for name, column in (columns or {}).items()}
    for where, text in lines(path):
        if not text.strip():
            continue
        with each("lines"):
            values = parse(text, where)
            if only:
                values = {name: value for name, value in values.items() if name in new_names}
            yield Record(where, {new_names.get(name, name): value for name, value in values.items()})


def parse(text: str, where: str) -> dict[str, Any]:
    """The object of one line. Raises DataError, beginning with `where`, for anything else."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: numbers of thousands of digits, too
        raise DataError(f"{where}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{where}: a JSON {type(values).__name__} where an object is needed")
    if re.search(r"\\u[dD][89a-fA-F]", text) and re.search("[\ud800-\udfff]", json.dumps(values, ensure_ascii=False)):
        raise DataError(f"{where}: half a character (a lone surrogate); the file is damaged")
    return values


def member(node: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """node[key], which has to be there and of that kind. Raises DataError, which names the place in the record."""
    if not isinstance(node, dict):
        raise DataError(f"{where}: a {type(node).__name__} where an object with '{key}' is needed")
    if key not in node:
        raise DataError(f"{where}: no '{key}'")
    value = node[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kind_names = {"list": "a list", "str": "a text", "int": "a number", "dict": "an object"}
        kinds = " or ".join(kind_names[option.__name__] for option in (kind if isinstance(kind, tuple) else (kind,)))
        raise DataError(f"{where}: '{key}' is a {type(value).__name__} where {kinds} is needed")
    return value
