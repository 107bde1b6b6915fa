"""A ptune command line in this process, and how it ended."""

from __future__ import annotations

import logging
from typing import NamedTuple

from ptune import cli


class Result(NamedTuple):
    """How a command line ended: its exit code, and what it said."""

    code: int
    out: str
    err: str


def call(*words: str) -> int:
    """Run a command line; its exit code. What Hydra does to logging is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        cli.main(list(words))
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
    return 0
