"""Mistakes of the user, shown as one line each and without a traceback; bugs keep theirs."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from hydra.errors import CompactHydraException

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in a quota, or by a limit of the process
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)  # nothing may be written there


class PtuneError(CompactHydraException):
    """Something the user can put right: says what, where (config key or file:line) and what would be right."""


class ConfigError(PtuneError):
    """One or more wrong settings, found before any weight was loaded; one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class DataError(PtuneError):
    """A file that is not what its format promises; the message begins with file:line or the place in it."""


class UnreadableError(DataError):
    """A file of which nothing more can be read from there on, so that no reading is lenient about it."""


class UnavailableError(PtuneError):
    """A data set or checkpoint that is neither on this machine nor to be had from the Hub now."""


class DivergedError(PtuneError):
    """The loss or a gradient became NaN or infinite; names the step and the examples of the batch."""


class DiskError(PtuneError):
    """A file that could not be written for lack of room; names it."""


class Interrupted(KeyboardInterrupt):
    """Asked to end, by a signal or a limit of time; what has checkpoints can go on from them. Says how."""


class PrunedError(PtuneError):
    """An observer has ended the run before its end: nothing is wrong with it, and it has no result."""


def nearest(wrong: object, right: Iterable[object], shown: Iterable[object] | None = None) -> str:
    """The clause that ends an error line: the closest right value, or all of them, or those `shown`, if none is."""
    known = [str(value) for value in right]
    close = difflib.get_close_matches(str(wrong), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    known = known if shown is None else [str(value) for value in shown]
    return f"one of: {', '.join(known)}" if known else "there are none"
