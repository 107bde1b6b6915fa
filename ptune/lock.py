"""Locks on files: one process has it at a time, and the system takes it back with the process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems that know no locks say


def lock(path: Path) -> int | None:
    """A descriptor of the file, made where there is none, which holds its lock until it is closed.

    Reads anywhere, appends. None where another process has the lock; on a file system without locks everybody has it.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError as error:
        if error.errno not in WITHOUT:
            os.close(file)
            raise
    return file
