"""The processes of one run: torchrun, accelerate and the tasks of a submitit job start several, its ranks.

Each goes through the same program with the same settings. Of a step's micro-batches, and of an evaluation's batches,
each takes its share; gradients, losses and outputs are put together, so that all know the same and decide the same. The
first one writes the run folder and speaks. A process by itself is the only rank, and everything here costs it nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ptune.errors import ConfigError, Interrupted

if TYPE_CHECKING:  # `ptune --help` imports no torch
    from torch import nn

P = ParamSpec("P")
T = TypeVar("T")
STARTED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun and its like tell a process


@dataclass(frozen=True)
class Place:
    """Which one of how many ranks this process is."""

    number: int = 0
    count: int = 1


place = Place()
speaks = False  # this rank has met an error before the others


class Ended(SystemExit):
    """Another rank has met an error, and tells it."""


def rank_from_environment() -> Place:
    """Which rank this process is to be, as it was started; the only one where nothing says so."""
    if not all(name in os.environ for name in STARTED):
        return Place()
    return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def count() -> int:
    """How many ranks the run has."""
    return place.count


def first() -> bool:
    """Whether this is the rank that writes and speaks."""
    return place.number == 0


def tells() -> bool:
    """Whether this is the rank that tells what has ended them all; what each meets by itself, the first one tells."""
    return speaks or rank_from_environment().number == 0


def aside(words: Sequence[str]) -> list[str]:
    """A command line as the other ranks go by it: to Hydra they have no folder and no log."""
    if rank_from_environment().number == 0:
        return list(words)
    logs = ("hydra/job_logging", "hydra/hydra_logging")
    return [*(word for word in words if not word.startswith(logs)), "hydra.run.dir=.", *(f"{log}=none" for log in logs)]


@contextmanager
def process_group() -> Iterator[None]:
    """Work with the other ranks inside, on gloo, and on NCCL for what is on a GPU.

    An error ends all of them. The one that meets it first tells it; in the others Ended is raised, as what they meet is
    most often that the first one has gone.
    """
    global place, speaks
    process_place = rank_from_environment()
    if process_place.count == 1:
        yield
        return
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store, number, size = next(rendezvous("env://"))
    distributed.init_process_group(store=store, rank=number, world_size=size)
    place = process_place
    if not first():
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        yield
        distributed.destroy_process_group()
    except BaseException as error:
        try:
            is_reported = store.add("failed", 1) > 1
        except RuntimeError:  # it was in the first rank's process
            is_reported = True
        if is_reported:
            code = 75 if isinstance(error, Interrupted) else 130 if isinstance(error, KeyboardInterrupt) else 1
            raise Ended(code) from None
        speaks = True
        raise
    finally:
        place = Place()


def gpu(of: int) -> int:
    """Which of so many GPUs of this machine is the rank's; where each rank is shown its own alone, that one.

    Raises ConfigError where there are fewer than ranks.
    """
    local, on_machine = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if of == 1 and "CUDA_VISIBLE_DEVICES" in os.environ:
        return 0
    if local >= of:
        raise ConfigError(
            [f"device: {on_machine} processes on a machine with {of} GPUs; use at most one per GPU, or device=cpu"]
        )
    return local


@contextmanager
def alone() -> Iterator[None]:
    """What goes on inside, on this rank, concerns no other."""
    global place
    previous, place = place, Place()
    try:
        yield
    finally:
        place = previous


def share(items: Sequence[T]) -> Sequence[T]:
    """This rank's part of a list that all ranks have."""
    return items[place.number :: place.count]


def gather(items: T) -> list[T]:
    """What every rank has, in their order; known to all of them."""
    if place.count == 1:
        return [items]
    from torch import distributed

    gathered: list[Any] = [None] * place.count
    distributed.all_gather_object(gathered, items)
    return gathered


def on_first_rank(compute: Callable[[], T]) -> T:
    """What the first rank computes, and no other; where that raises an error, all do."""
    if place.count == 1:
        return compute()
    import torch
    from torch import distributed

    box: list[Any] = [None, None]
    if first():
        with alone():
            try:
                box[0] = compute()
            except Exception as error:
                box[1] = error
    distributed.broadcast_object_list(box, device=torch.device("cpu"))
    if box[1] is not None:
        raise box[1]
    value: T = box[0]
    return value


def read(method: Callable[P, T]) -> Callable[P, T]:
    """A function whose result the first rank tells the others: what it reads may just have been written by it."""

    @wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return on_first_rank(lambda: method(*args, **kwargs))

    return wrapper


def on_first_rank_only(method: Callable[P, None]) -> Callable[P, None]:
    """A function that the first rank alone goes through."""

    @wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        if first():
            with alone():
                method(*args, **kwargs)

    return wrapper


def sum_over_ranks(values: Sequence[float]) -> list[float]:
    """The sum of each value over all ranks."""
    if place.count == 1:
        return list(values)
    import torch
    from torch import distributed

    totals = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(totals)
    return totals.tolist()


def largest(value: int) -> int:
    """The largest of the ranks' values."""
    if place.count == 1:
        return value
    import torch
    from torch import distributed

    maximum = torch.tensor(value)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return int(maximum)


def add_up(parameters: Sequence[nn.Parameter], losses: Mapping[int, float]) -> dict[int, float]:
    """Sum the gradients of all ranks in place, and each of the losses, which are returned."""
    # DistributedDataParallel would not do. It averages over equal parts, and what we minimize is a sum over unequal
    # ones, divided by a constant; its hooks see nothing of torch.autograd.grad; and beside a frozen backbone so few
    # tensors learn that there is no communication to hide behind the backward pass.
    if place.count == 1:
        return dict(losses)
    import torch
    from torch import distributed

    # Which parameters have a gradient anywhere: the others keep none, and the optimizer passes them over.
    sums = sum_over_ranks([*losses.values(), *(float(p.grad is not None) for p in parameters)])
    handles = []
    for parameter, owners in zip(parameters, sums[len(losses) :], strict=True):
        if owners:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            handles.append(distributed.all_reduce(parameter.grad, async_op=True))
    for handle in handles:
        handle.wait()
    return dict(zip(losses, sums, strict=False))
