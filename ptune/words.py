"""Texts as words of a command line: for Hydra, which reads a grammar of its own, and for a shell before it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

# What Hydra takes for a text as it is, and for no number or word of its own.
PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan)\Z)(?:[a-z_]|\.{0,2}/)[\w./%+@:-]*", re.ASCII | re.IGNORECASE)


def quote(text: str) -> str:
    """Any text as a value in Hydra's grammar of overrides."""
    doubled = re.sub(r"\\+(?='|\Z)", lambda found: 2 * found[0], text)  # elsewhere a backslash is one
    escaped = doubled.replace("'", "\\'")
    return f"'{escaped}'"


def override(key: str, text: str) -> str:
    """A word for a shell that gives a key any text."""
    return shlex.quote(f"{key}={text if PLAIN.fullmatch(text) else quote(text)}")


def hydra_value(given: Any) -> str:
    """A value in Hydra's grammar of overrides."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, list | tuple):
        return f"[{','.join(hydra_value(item) for item in given)}]"
    if isinstance(given, Mapping):
        return f"{{{','.join(f'{key}:{hydra_value(item)}' for key, item in given.items())}}}"
    text = str(given)
    is_plain = isinstance(given, int | float) or (text[:1].isalpha() and text.replace("_", "").isalnum())
    return text if is_plain else quote(text)
