"""JSON lines: one object a line, as SuperGLUE is distributed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ptune.errors import DataError
from ptune.readers import Record, lines


def read(path: Path) -> Iterator[Record]:
    """Yield a record an object; blank lines are skipped. Raises DataError where a line is not a JSON object."""
    for where, text in lines(path):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error})") from None
        if not isinstance(values, dict):
            raise DataError(f"{where}: a JSON {type(values).__name__} where an object is needed")
        yield Record(where, values)
