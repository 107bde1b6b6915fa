"""Mistakes of the user, shown as one line each and without a traceback; bugs keep theirs."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in a quota, or by a limit of the process
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)  # nothing may be written there
LONGEST = 1000  # characters of a message about a file
OPTIONS = ("", "One option", "Two options", "Three options")


class PtuneError(Exception):
    """Something the user can put right: says what, where (config key or file:line) and what would be right."""


class ConfigError(PtuneError):
    """One or more wrong settings, found before any weight was loaded; one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class DataError(PtuneError):
    """A file that is not what its format promises; each message begins with file:line or the place in it.

    A message is one line, whatever the file has in the place that is shown of it, see `one_line`.
    """

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(one_line(message) for message in messages))


class UnreadableError(DataError):
    """A file of which nothing more can be read from there on, so that no reading is lenient about it."""


class UnavailableError(PtuneError):
    """A data set or checkpoint that is neither on this machine nor to be had from the Hub now.

    fact: what is not there, in a line; ways: up to three ways to have it or to do without, a line each.
    """

    def __init__(self, fact: str, ways: Iterable[str] = ()) -> None:
        self.fact, self.ways = fact, list(ways)
        first_line = f"{fact} {OPTIONS[len(self.ways)]}:" if self.ways else fact
        super().__init__("\n".join([first_line, *(f"  {way}" for way in self.ways)]))


class DivergedError(PtuneError):
    """Training left the finite numbers: a loss, a gradient, a parameter, an output or a score; names the step, and the
    examples where it can.
    """


class NoMemoryError(PtuneError):
    """What does not fit into memory in however small a part; says what takes less."""


class DiskError(PtuneError):
    """A file that could not be written for lack of room; names it."""


class InUseError(PtuneError):
    """A run folder that another process has; names it."""


class Interrupted(KeyboardInterrupt):
    """Asked to end, by a signal or a limit of time; what has checkpoints can go on from them. Says how."""


class PrunedError(PtuneError):
    """An observer has ended the run before its end: nothing is wrong with it, and it has no result."""


def one_line(message: str) -> str:
    """A message as one line of at most 1,000 characters, with escapes for those that a terminal would obey."""
    if not message.isprintable():
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)
    return message if len(message) <= LONGEST else f"{message[: LONGEST - 300]} ... {message[-200:]}"


def nearest(wrong: object, right: Iterable[object], listed: Iterable[object] | None = None) -> str:
    """The clause that ends an error line: the closest right value, or all of them, or those `listed`, if none is."""
    options = [str(value) for value in right]
    matches = difflib.get_close_matches(str(wrong), options, n=1, cutoff=0.6)
    if matches:
        return f"did you mean '{matches[0]}'?"
    options = options if listed is None else [str(value) for value in listed]
    return f"one of: {', '.join(options)}" if options else "there are none"
