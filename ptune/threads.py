"""Several passes at once on a CPU: one thread each computes more than all threads on one small pass after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_whole: int | None = None


def divide(processes: int) -> None:
    """Take a share of torch's threads, where so many processes train beside one another, with this one."""
    global _whole
    _whole = torch.get_num_threads()
    torch.set_num_threads(max(1, _whole // processes))


def undivided() -> int:
    """Torch's threads as they would be alone: what figures depend on is chosen by this number."""
    return _whole or torch.get_num_threads()


@contextmanager
def at_once(allowed: bool) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` over a list of things to compute, at once where that is allowed: torch's threads are shared among them."""
    total = torch.get_num_threads()
    pools: dict[int, ThreadPoolExecutor] = {}
    with ExitStack() as stack:

        def mapped(compute: Callable[[Any], Any], things: list[Any]) -> Iterable[Any]:
            workers = min(len(things), total)
            if not allowed or workers < 2:
                return map(compute, things)
            if workers not in pools:
                pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(total // workers,))
                pools[workers] = stack.enter_context(pool)
            return pools[workers].map(compute, things)

        yield mapped
