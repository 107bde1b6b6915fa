"""Memory that runs out: how that is told from other errors, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ptune.errors import NoMemoryError


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def spare() -> None:
    """Give back what torch keeps of a GPU for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def out_of_memory_guard(why: str, less: str) -> Iterator[None]:
    """Inside, memory is needed once, as it is; raises NoMemoryError with `less`, what takes less, where it runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise NoMemoryError(f"out of memory {why}; {less}") from error
