"""Several passes at once on a CPU: one thread each computes more than all threads on one small pass after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def at_once(count: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` for `count` things to compute: over as many threads as torch would compute each with, one for each."""
    threads = min(count, torch.get_num_threads())
    if threads < 2:
        yield map
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.map
