"""Being asked to end early, by a signal or by a limit of time, without losing what has been done.

SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and SIGINT raise Interrupted wherever they come, except inside `guarded`: what stands
there looks with `check` where it can stop, and saves. A second SIGINT always ends at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ptune import ranks
from ptune.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT)


class _Asked:
    """Why this process is to end, if it is."""

    reason: str | None = None
    deadline: float | None = None  # by time.monotonic
    guards: int = 0


_asked = _Asked()


@contextmanager
def listening(minutes: float | None = None) -> Iterator[None]:
    """Inside, signals and a limit of time are requests to end; without an effect in threads other than the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.reason, _asked.guards = None, 0
    _asked.deadline = None if minutes is None else time.monotonic() + 60 * minutes
    handled_signals = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous_handlers = {number: signal.signal(number, _note) for number in handled_signals}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        _asked.reason = _asked.deadline = None


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and _asked.reason is not None:
        raise KeyboardInterrupt
    _asked.reason = _asked.reason or signal.Signals(number).name
    if not _asked.guards:
        raise Interrupted(_asked.reason)


@contextmanager
def guarded() -> Iterator[None]:
    """Inside, a request to end waits for the next `check`."""
    _asked.guards += 1
    try:
        yield
    finally:
        _asked.guards -= 1


def check() -> None:
    """Raise Interrupted where this process has been asked to end; of several ranks all do, where one of them has.

    Every rank must come here.
    """
    for reason in ranks.gather(_reason()):
        if reason is not None:
            raise Interrupted(reason)


def asked() -> bool:
    """Whether this rank has been asked to end."""
    return _reason() is not None


def _reason() -> str | None:
    if _asked.reason is None and _asked.deadline is not None and time.monotonic() > _asked.deadline:
        _asked.reason = "time_limit"
    return _asked.reason
