"""One process at a time has a lock; a file system without locks stands in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from ptune.lock import lock

HOLD = """
import sys
from pathlib import Path
from ptune.lock import lock
print(lock(Path(sys.argv[1])), flush=True)
input()
"""


def test_another_process(tmp_path):
    """It has the lock until it ends, and be it by kill -9."""
    path = tmp_path / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline().strip() != b"None"
    assert lock(path) is None
    other.kill()
    other.communicate()
    file = lock(path)
    assert file is not None
    os.close(file)


def test_no_locks(tmp_path, monkeypatch):
    """Where there are none everybody goes on; any other error is told."""

    def fails(number: int):
        def flock(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return flock

    monkeypatch.setattr(fcntl, "flock", fails(errno.ENOLCK))
    file = lock(tmp_path / "lock")
    assert file is not None
    os.close(file)
    monkeypatch.setattr(fcntl, "flock", fails(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        lock(tmp_path / "lock")
