"""JSON lines: one object a line, as SuperGLUE is distributed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Record, lines


def read(path: Path) -> Iterator[Record]:
    """Yield a record an object; blank lines are skipped. Raises DataError where a line is not a JSON object."""
    for where, text in lines(path):
        if text.strip():
            yield Record(where, parse(text, where))


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
