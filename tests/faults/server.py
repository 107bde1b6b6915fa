"""A process that has imported ptune, and forks a copy of itself for each command line that it is sent.

A line of JSON in is {"words": what ptune is told, "cwd": where, "log": file for its output, "fault": see `planted`}; a
line out is the copy's process, and later, when it has ended, {"process": its number, "status": as waitpid gives it}.
Copies die for real: by signals that others send, or that a planted fault sends at a place where no clock would hit.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def serve() -> None:
    """Fork as told until standard input ends; the words after the program's name are a command line to begin with.

    That one imports what the others need. One thread computes it: others would not be there after a fork.
    """
    from ptune import cli

    with tempfile.TemporaryDirectory() as base:
        os.chdir(base)
        cli.main(sys.argv[1:])
        os.chdir("/")
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write)
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
    waiting.register(read, selectors.EVENT_READ)
    pending = b""
    print("ready", flush=True)
    while True:
        for key, _ in waiting.select():
            if key.fd == read:
                os.read(read, 4096)
                reap()
            elif chunk := os.read(key.fd, 2**16):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    print(json.dumps({"process": forked(json.loads(line))}), flush=True)
            else:
                return


def reap() -> None:
    """Say which copies have ended."""
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process:
            return
        print(json.dumps({"process": process, "status": status}), flush=True)


def forked(case: dict[str, Any]) -> int:
    """Start a copy of this process on a command line; returns its number."""
    process = os.fork()
    if process:
        return process
    code, started = 70, time.monotonic()
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
        os.chdir(case["cwd"])
        out = os.open(case["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        plant(case.get("fault") or {})

        from ptune import cli

        code = 0
        cli.main(case["words"])
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(case["log"]).with_name("seconds.txt").write_text(f"{time.monotonic() - started - waited()}")
        os._exit(code)


def waited() -> float:
    """The seconds that this process has waited for a processor, which others had."""
    with suppress(OSError):
        return float(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


# Faults, by name; each takes the number of the call at which it happens, counted from 1


def plant(fault: dict[str, int]) -> None:
    """Let the faults happen in this process."""
    for name, number in fault.items():
        FAULTS[name](number)


def at(owner: Any, name: str, number: int, happen: Any, after: bool = False) -> None:
    """Let something happen before, or after, the numberth call of a function."""
    real, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            happen()
        found = real(*args, **kwargs)
        if calls == number and after:
            happen()
        return found

    setattr(owner, name, counted)


def die() -> None:
    """End as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def folder() -> Any:
    """The class of run folders."""
    from ptune.run import RunFolder

    return RunFolder


def in_save(number: int) -> None:
    """Die at a system call of the checkpoints' writing: each fsync and each rename is one, in their order."""
    calls = 0

    def counting(real: Any) -> Any:
        def call(*args: Any) -> Any:
            nonlocal calls
            if saving:
                calls += 1
                if calls == number:
                    die()
            return real(*args)

        return call

    saving = 0
    real_save = folder().save_checkpoint

    def save(*args: Any, **kwargs: Any) -> None:
        nonlocal saving
        saving += 1
        try:
            real_save(*args, **kwargs)
        finally:
            saving -= 1

    folder().save_checkpoint = save
    os.fsync, os.replace = counting(os.fsync), counting(os.replace)


def no_room(number: int) -> None:
    """From the numberth write of a whole file on there is no room for any: the system refuses every byte."""
    import ptune.run

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    real, calls = ptune.run.write_atomically, 0
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def full(path: Any, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls < number:
            return real(path, data)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
        try:
            return real(path, data)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    ptune.run.write_atomically = full


def no_memory(number: int) -> None:
    """The numberth forward pass of training finds no memory, and each one of more than two rows after it."""
    from ptune.model import Model

    real, calls = Model.losses, 0

    def losses(self: Any, work: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= number and max(len(batch.ids) for _, batch in work) > 2:
            raise MemoryError("planted")
        return real(self, work)

    Model.losses = losses  # type: ignore[method-assign]


def spoiled(spoil: Any) -> Any:
    """Let something happen to the losses of the numberth forward pass."""

    def plant_it(number: int) -> None:
        from contextlib import contextmanager

        from ptune.model import Model

        real, calls = Model.losses, 0

        @contextmanager
        def losses(self: Any, work: Any) -> Any:
            nonlocal calls
            calls += 1
            with real(self, work) as found:
                yield [(spoil(loss), count) for loss, count in found] if calls == number else found

        Model.losses = losses  # type: ignore[assignment,method-assign]

    return plant_it


def without_a_gradient(loss: Any) -> Any:
    """The loss as it is, with a gradient that is not a number."""
    import torch

    class Spoiled(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: Any) -> Any:
            return value.clone()

        @staticmethod
        def backward(_: Any, gradient: Any) -> Any:
            return gradient * float("nan")

    return Spoiled.apply(loss)


def in_evaluation(number: int) -> None:
    """Die in the numberth batch that is answered, which evaluation alone asks for."""
    from ptune.model import Model

    at(Model, "answers", number, die)


def in_step(number: int) -> None:
    """Die in the numberth forward pass of training: with micro-batches, in the middle of a step."""
    from ptune.model import Model

    at(Model, "losses", number, die)


def after_event(number: int) -> None:
    """Die when the numberth line of the run's history has been written."""
    at(folder(), "append_metrics", number, die, after=True)


def signaled(which: signal.Signals) -> Any:
    """Send the signal to itself when the numberth line of the history has been written."""
    return lambda number: at(folder(), "append_metrics", number, lambda: os.kill(os.getpid(), which), after=True)


def signaled_in_evaluation(which: signal.Signals) -> Any:
    """Send the signal to itself in the numberth batch that is answered."""

    def plant_it(number: int) -> None:
        from ptune.model import Model

        at(Model, "answers", number, lambda: os.kill(os.getpid(), which))

    return plant_it


def limit(number: int) -> None:
    """Die after so many seconds of a processor, or with more than four gigabytes."""
    resource.setrlimit(resource.RLIMIT_CPU, (number, number))
    resource.setrlimit(resource.RLIMIT_DATA, (2**32, 2**32))


FAULTS: dict[str, Any] = {
    "limit": limit,
    "in_save": in_save,
    "in_evaluation": in_evaluation,
    "in_step": in_step,
    "after_event": after_event,
    "no_room": no_room,
    "no_memory": no_memory,
    "nan": spoiled(lambda loss: loss * float("nan")),
    "inf": spoiled(lambda loss: loss * float("inf")),
    "nan_gradient": spoiled(without_a_gradient),
    **{which.name: signaled(which) for which in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)},
    **{
        f"{which.name}_in_evaluation": signaled_in_evaluation(which)
        for which in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    },
}

if __name__ == "__main__":
    serve()
