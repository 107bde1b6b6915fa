"""A process that has imported ptune, and forks a copy of itself for each command line that it is sent.

A line of JSON in is {"words": what ptune is told, "cwd": where, "log": file for its output, "fault": see `planted`}; a
line out is the copy's process, and later, when it has ended, {"process": its number, "status": as waitpid gives it}.
Copies die for real: by signals that others send, or that a planted fault sends at a place where no clock would hit.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import parent_process, util
from pathlib import Path
from typing import Any

FIRED = "fired"  # in the folder of a command line: its fault has happened, in one of its processes, and does not again
SLOW = 3.0  # seconds that a slow step goes on
COUNTS = "counts.json"  # there: how often each place was come to, where this was asked for


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
        global fired
        fired = os.path.abspath(FIRED)
        out = os.open(case["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        util.spawnv_passfds = copied  # type: ignore[assignment]
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
        if "count" in (case.get("fault") or {}):
            Path(COUNTS).write_text(json.dumps(reached))
        sys.stdout.flush()
        sys.stderr.flush()
        Path(case["log"]).with_name("seconds.txt").write_text(f"{time.monotonic() - started - waited()}")
        os._exit(code)


def waited() -> float:
    """The seconds that this process has waited for a processor, which others had."""
    with suppress(OSError):
        return float(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def copied(path: bytes, words: Sequence[Any], passed: Iterable[int]) -> int:
    """Start Python on a text, as multiprocessing does for its server of forks, in a copy that has all modules already.

    The copy has no more of this process than one that is started has: streams, the descriptors that it is passed, and
    the faults that are planted, which happen in the jobs of a sweep as well.
    """
    process = os.fork()
    if process:
        return process
    try:
        kept = {0, 1, 2, *passed}
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor not in kept:
                with suppress(OSError):
                    os.close(descriptor)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        exec(words[-1], {"__name__": "server"})
    finally:
        os._exit(0)


# Faults, by name; each takes the number of the call at which it happens, counted from 1

reached: Counter[str] = Counter()  # calls at each place
counting = threading.Lock()
fired = FIRED


def plant(fault: dict[str, int]) -> None:
    """Let the faults happen in this process; count: say at its end how often each place was come to."""
    for name, number in fault.items():
        FAULTS[name](number)


def passed(place: str, number: int, happen: Any) -> None:
    """A place is come to; the numberth time something happens, in the first process that has come so far."""
    with counting:
        reached[place] += 1
        now = reached[place] == number
    if now:
        with suppress(FileExistsError):
            os.close(os.open(fired, os.O_CREAT | os.O_EXCL))
            happen()


def at(owner: Any, name: str, place: str, number: int, happen: Any, after: bool = False) -> None:
    """Let something happen before, or after, the numberth call of a function."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if not after:
            passed(place, number, happen)
        found = real(*args, **kwargs)
        if after:
            passed(place, number, happen)
        return found

    setattr(owner, name, counted)


def sent(number: signal.Signals, whom: Callable[[], int] = os.getpid) -> Callable[[], None]:
    """What sends a signal to a process."""
    return lambda: os.kill(whom(), number)


def sweep() -> int:
    """The process of the sweep that this one is, or is a job of."""
    parent = parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


def forks() -> int:
    """The process that this job is a fork of."""
    return os.getpid() if parent_process() is None else os.getppid()


def leave_alone() -> None:
    """Kill the sweep, and be in a step that is not over when the same sweep, started again, has started the job."""
    os.kill(sweep(), signal.SIGKILL)
    ledger, until = Path("out/ledger.jsonl"), time.monotonic() + 60
    size = ledger.stat().st_size
    while ledger.stat().st_size == size and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(SLOW)


die = sent(signal.SIGKILL)


def folder() -> Any:
    """The class of run folders."""
    from ptune.runs.folder import RunFolder

    return RunFolder


def in_save(number: int, happen: Any = die) -> None:
    """At a system call of the checkpoints' writing: each fsync and each rename is one, in their order."""
    saving = 0
    real_save = folder().save_checkpoint

    def called(real: Any) -> Any:
        def call(*args: Any) -> Any:
            if saving:
                passed("in_save", number, happen)
            return real(*args)

        return call

    def save(*args: Any, **kwargs: Any) -> None:
        nonlocal saving
        saving += 1
        try:
            real_save(*args, **kwargs)
        finally:
            saving -= 1

    folder().save_checkpoint = save
    os.fsync, os.replace = called(os.fsync), called(os.replace)


def on_disk(number: int, happen: Any = die) -> None:
    """Before whatever lasts: each fsync, each rename, each folder that is removed."""
    for owner, name in ((os, "fsync"), (os, "replace"), (shutil, "rmtree")):
        at(owner, name, "on_disk", number, happen)


def no_room(number: int) -> None:
    """From the numberth write of a whole file on there is no room for any: the system refuses every byte."""
    import ptune.runs.folder

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    real, calls = ptune.runs.folder.write_atomically, 0
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

    ptune.runs.folder.write_atomically = full


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


def in_evaluation(number: int, happen: Any = die) -> None:
    """In the numberth batch that is answered, which evaluation alone asks for."""
    from ptune.model import Model

    at(Model, "answers", "in_evaluation", number, happen)


def in_step(number: int, happen: Any = die) -> None:
    """In the numberth forward pass of training: with micro-batches, in the middle of a step."""
    from ptune.model import Model

    at(Model, "losses", "in_step", number, happen)


def in_pass(number: int, happen: Any = die) -> None:
    """In the numberth pass through a model, whatever it is for; those of a T5 that writes templates too."""
    from ptune.model import Model
    from ptune.procedures.writer import Writer

    at(Model, "hidden", "in_pass", number, happen)
    at(Writer, "_next", "in_pass", number, happen)


def after_event(number: int, happen: Any = die) -> None:
    """When the numberth line of the run's history has been written."""
    at(folder(), "append_metrics", "after_event", number, happen, after=True)


def in_sweep(number: int, happen: Any = die) -> None:
    """In the process of a sweep, before the numberth event of its ledger is written."""
    from ptune.sweeps.ledger import Ledger

    at(Ledger, "add", "in_sweep", number, happen)


def limit(number: int) -> None:
    """Die after so many seconds of a processor, or with more than four gigabytes."""
    resource.setrlimit(resource.RLIMIT_CPU, (number, number))
    resource.setrlimit(resource.RLIMIT_DATA, (2**32, 2**32))


PLACES: dict[str, Any] = {
    each.__name__: each for each in (in_save, on_disk, in_evaluation, in_step, in_pass, after_event, in_sweep)
}
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


def count(number: int) -> None:
    """Nothing happens; see `plant`."""
    for place in PLACES.values():
        place(0)


def elsewhere(happen: Any) -> dict[str, Any]:
    """The faults by which something happens at each place."""
    return {name: functools.partial(place, happen=happen) for name, place in PLACES.items()}


# NAME_PLACE: a signal to the process itself; sweep_PLACE, sweep_NAME_PLACE: to the sweep that a job is of;
# alone_PLACE: kill the sweep in a slow step of the job; forks_PLACE: kill the server that a job is a fork of.
FAULTS: dict[str, Any] = {
    **PLACES,
    "no_room": no_room,
    "no_memory": no_memory,
    "limit": limit,
    "nan": spoiled(lambda loss: loss * float("nan")),
    "inf": spoiled(lambda loss: loss * float("inf")),
    "nan_gradient": spoiled(without_a_gradient),
    "count": count,
    **{f"{s.name}_{name}": fault for s in SIGNALS for name, fault in elsewhere(sent(s)).items()},
    **{f"sweep_{s.name}_{name}": fault for s in SIGNALS for name, fault in elsewhere(sent(s, sweep)).items()},
    **{f"sweep_{name}": fault for name, fault in elsewhere(sent(signal.SIGKILL, sweep)).items()},
    **{f"alone_{name}": fault for name, fault in elsewhere(leave_alone).items()},
    **{f"forks_{name}": fault for name, fault in elsewhere(sent(signal.SIGKILL, forks)).items()},
}

if __name__ == "__main__":
    serve()
