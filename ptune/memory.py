"""Memory that runs out: how that is told from other errors, and what is left of it."""

from __future__ import annotations

import torch


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def spare() -> None:
    """Give back what torch keeps of a GPU for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
