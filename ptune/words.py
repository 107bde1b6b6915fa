"""Texts as words of a command line: for Hydra, which reads a grammar of its own, and for a shell before it."""

from __future__ import annotations

import re
import shlex

PLAIN = re.compile(r"[\w./%+@:-]+")  # what Hydra takes for a text as it is


def quote(text: str) -> str:
    """Any text as a value in Hydra's grammar of overrides."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def override(key: str, text: str) -> str:
    """A word for a shell that gives a key any text."""
    return shlex.quote(f"{key}={text if PLAIN.fullmatch(text) else quote(text)}")
