"""Several passes at once on a CPU: one thread each computes more than all threads on one small pass after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

CUBLAS, REPRODUCIBLE = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
_whole: int | None = None


def divide(processes: int) -> None:
    """Take a share of torch's threads, where so many processes train beside one another, with this one."""
    global _whole
    _whole = torch.get_num_threads()
    torch.set_num_threads(max(1, _whole // processes))


def all_threads() -> int:
    """Torch's threads as they would be alone: what figures depend on is chosen by this number."""
    return _whole or torch.get_num_threads()


def determinism(wanted: bool) -> None:
    """Take no algorithm whose result depends on how threads meet, on a CPU and on a GPU; or any. Before a GPU computes,
    since CUDA's linear algebra reads its setting once."""
    if wanted and os.environ.get(CUBLAS) not in REPRODUCIBLE:
        os.environ[CUBLAS] = REPRODUCIBLE[0]
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = False  # which algorithm is fastest is not the same each time
    # Nothing reads what it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def parallel_map(allowed: bool) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` over a list of things to compute, at once where that is allowed: torch's threads are shared among them."""
    n_threads = torch.get_num_threads()
    pools: dict[int, ThreadPoolExecutor] = {}
    with ExitStack() as stack:

        def map_in_parallel(compute: Callable[[Any], Any], things: list[Any]) -> Iterable[Any]:
            workers = min(len(things), n_threads)
            if not allowed or workers < 2:
                return map(compute, things)
            if workers not in pools:
                pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(n_threads // workers,))
                stack.callback(pool.shutdown, cancel_futures=True)  # what has not begun when an error ends it
                pools[workers] = pool
            return pools[workers].map(compute, things)

        yield map_in_parallel
