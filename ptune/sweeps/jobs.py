"""Jobs of a sweep: composed and checked before the first starts, run in processes of their own, and how each ended.

A job ends with an Outcome whatever ends it: an exception, a signal, the kernel for want of memory, an exit without a
word. Launchers differ in where `attempt` is called; the sweep itself is in ptune.launchers.sweep.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process, util
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from ptune import ranks
from ptune.errors import (
    FULL,
    ConfigError,
    DataError,
    DiskError,
    DivergedError,
    Interrupted,
    InUseError,
    NoMemoryError,
    PrunedError,
    PtuneError,
    UnavailableError,
)
from ptune.explain import check_complete, explain
from ptune.runs.naming import digest, folder_name
from ptune.where import without_observer

if TYPE_CHECKING:  # Hydra imports every launcher each time it starts
    from ptune.config import Train
    from ptune.runs.folder import RunFolder

log = logging.getLogger(__name__)
LONGEST_TEMPORARY = 70  # bytes of the temporary folder's: a socket's is 30 more there, and 107 are the most
# What jobs would each import, 5 s of a CPU. None of it touches a GPU, and the native threads it starts, of OpenBLAS and
# Arrow, are made to be forked.
PRELOADED = [
    "ptune.commands.train",
    "ptune.data.corpora",
    "ptune.metrics",
    "ptune.model",
    "ptune.data.rendered",
    "ptune.evaluate",
    "ptune.loop",
    "ptune.optim",
    "seqeval.metrics",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "wandb",
]
LOST = 255  # the exit code of processes whose server is gone, and which may go on
PATIENCE = 10.0  # seconds that a process has to go away once its jobs have ended
ORPHANED = 60.0  # seconds that a job of a sweep that is gone has to save and end
# Exceptions that say of themselves what they are; the first that fits counts.
TYPED: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("interrupted", (KeyboardInterrupt, InUseError)),  # the other process may come to its end
    ("nan", (DivergedError,)),
    ("oom", (NoMemoryError,)),
    ("disk", (DiskError,)),
    ("data", (DataError, UnavailableError)),
    ("config", (PtuneError, HydraException, OmegaConfBaseException, yaml.YAMLError)),
    ("oom", (MemoryError,)),
)
# Others say it in words: torch's allocators, and libraries that wrap the system's errors.
WORDED = (
    ("oom", re.compile(r"out of memory|can't allocate memory|Cannot allocate memory")),
    ("disk", re.compile(r"No space left on device|Disk quota exceeded")),
)
# Signals that a program's own mistake raises; others come from outside.
OWN = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP)


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its state (ok, pruned, failed or interrupted).

    kind: of a failure: config, data, oom, nan, killed, disk, code; message: in one line; fingerprint: the same for
    failures with the same cause, as far as can be told; score: the selecting one; shared: of a group as a whole, which
    says nothing of a single job.
    """

    state: str
    kind: str = ""
    message: str = ""
    fingerprint: str = ""
    seconds: float = 0.0
    score: float | None = None
    shared: bool = False


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its number, composed configuration, overrides and folder.

    settings: those that hold, or None with the error that says why none do; name: what differs from the other jobs.
    """

    number: int
    config: DictConfig
    overrides: list[str]
    folder: Path
    settings: Train | None
    error: Outcome | None = None
    name: str = ""

    @property
    def identity(self) -> str:
        """See build.identity; empty without settings."""
        from ptune import build

        return build.identity(self.settings) if self.settings is not None else ""

    @property
    def spec(self) -> Spec:
        """What running it takes."""
        assert self.settings is not None
        return Spec(self.settings, self.folder, self.overrides)


@dataclass(frozen=True)
class Spec:
    """What it takes to run a job, wherever that is; it can be pickled."""

    settings: Train
    folder: Path
    overrides: list[str]


# Composing


def compose_jobs(loader: Any, config: DictConfig, several: Sequence[Sequence[str]], first: int) -> list[Job]:
    """The jobs of a sweep as Hydra composes them from their overrides, each one checked, before any starts.

    loader: Hydra's config loader; config: the sweep's; first: the number of the first job. What they are called, and
    their folders where the configuration says nothing else, follows from the overrides alone.
    """
    common = shared_words(config.hydra.overrides.task)
    reached: dict[str, Exception | None] = {}
    jobs = []
    for number, overrides in enumerate(several, first):
        composed = loader.load_sweep_config(config, list(overrides))
        words = without_observer(str(word) for word in composed.hydra.overrides.task)
        own_words = [word for word in words if word not in common]
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
            composed.hydra.job.override_dirname = folder_name(own_words or words)
            folder = Path(str(config.hydra.sweep.dir), str(composed.hydra.sweep.subdir)).absolute()
            composed.hydra.runtime.output_dir = str(folder)
        settings, error = None, None
        try:
            settings = check_job(composed, reached)
        except Exception as wrong:
            error = failure(wrong)
        jobs.append(Job(number, composed, words, folder, settings, error, " ".join(own_words)))
    return jobs


def shared_words(overrides: Iterable[str]) -> set[str]:
    """What a sweep's command line gives all of its jobs, as typed and as Hydra writes it for each: True for true."""
    typed = [str(word) for word in overrides]
    parsed = OverridesParser.create().parse_overrides(typed)
    fixed = [word for word in parsed if not word.is_sweep_override()]
    return {*typed, *(f"{word.get_key_element()}={word.get_value_element_as_str()}" for word in fixed)}


def check_job(config: DictConfig, reached: dict[str, Exception | None]) -> Train:
    """The settings of a job, whose task and backbone can be had. Raises what is wrong with them.

    reached: what became of looking for a task and a backbone; other jobs of the sweep have the same ones.
    """
    from ptune import build
    from ptune.commands.train import look
    from ptune.config import Train

    cfg = without_hydra(config)
    check_complete(cfg)
    if cfg.get("resume"):
        raise ConfigError(["resume: a sweep resumes when the same command is run again; leave out resume"])
    previous = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(config)  # options that settings name are looked up where it says
        s = build.settings_of(cfg, Train)
        key = json.dumps([s.task, s.data.__dict__, s.backbone, s.method.get("procedure")], default=repr)
        if key not in reached:
            reached[key] = None
            try:
                look(s)
            except Exception as error:
                reached[key] = error
        if (wrong := reached[key]) is not None:
            raise wrong
        return build.settings(cfg)
    finally:
        HydraConfig.instance().cfg = previous


def without_hydra(config: DictConfig) -> DictConfig:
    """A job's configuration without Hydra's."""
    copied = copy.deepcopy(config)
    with open_dict(copied):
        del copied["hydra"]
    return copied


# How a job ended


def failure(error: BaseException) -> Outcome:
    """What an exception makes of a job."""
    if isinstance(error, PrunedError):
        return Outcome("pruned", message=str(error))
    kind = kind_of(error)
    is_typed = isinstance(
        error, PtuneError | HydraException | OmegaConfBaseException | yaml.YAMLError
    )  # a mistake, and where it is
    if is_typed:
        text, place = explain(error, "train"), ""  # type: ignore[arg-type]
    else:
        words = str(error).strip().splitlines()
        text, place = f"{type(error).__name__}: {words[0]}" if words else type(error).__name__, place_of(error)
    message = "; ".join(" ".join(line.split()) for line in text.splitlines()).replace(":; ", ": ")
    if kind == "interrupted":
        return Outcome("interrupted", kind, str(error) or "told to stop")
    if kind == "code" and place:
        message = f"{message} ({place})"
    return Outcome("failed", kind, message, fingerprint(kind, text, place))


def kind_of(error: BaseException) -> str:
    """The kind of a failure: what the error, or one that led to it, says of itself."""
    for one in led_to(error):
        for kind, types in TYPED:
            if isinstance(one, types):
                return kind
        if isinstance(one, OSError) and one.errno in FULL:
            return "disk"
        for kind, words in WORDED:
            if words.search(str(one)):
                return kind
    return "code"


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """An error, then those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def place_of(error: BaseException) -> str:
    """Where in the code an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def fingerprint(kind: str, message: str, place: str = "") -> str:
    """A hash that failures with one cause share: paths and numbers may differ."""
    plain = re.sub(r"\S*/\S*", "PATH", message)
    plain = re.sub(r"0x[0-9a-fA-F]+|\d+(\.\d+)?([eE][+-]?\d+)?", "#", plain)
    return digest([kind, plain, place])


def outcome_of_exit(code: int | None, kernel: bool, seconds: float) -> Outcome:
    """What the end of a process that said nothing makes of its job.

    code: its exit code, minus the signal that ended it; kernel: whether the kernel killed processes for want of memory
    meanwhile.
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in [*signal.Signals] else f"signal {-code}"
        if -code == signal.SIGKILL and kernel:
            kind, message = "oom", "killed by the kernel: the machine ran out of memory"
        elif -code in (signal.SIGTERM, signal.SIGINT):
            return Outcome("interrupted", "interrupted", f"ended by {name}", seconds=seconds)
        else:
            kind, message = ("code" if -code in OWN else "killed"), f"ended by {name}"
    else:
        kind, message = "code", f"the process exited by itself, with code {code}"
    return Outcome("failed", kind, message, fingerprint(kind, f"{message} {code}"), seconds)


def kernel_kills() -> int:
    """How many processes the kernel has killed so far for want of memory, here or in this control group."""
    count = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with suppress(OSError):
            count += sum(int(n) for n in re.findall(r"^oom_kill (\d+)$", Path(path).read_text(), re.MULTILINE))
    return count


# Running


def attempt(specs: Sequence[Spec]) -> list[Outcome]:
    """Take jobs to their end in this process, several of them side by side in one model; how each one ended.

    A job whose folder has a checkpoint goes on from there; one that is finished says what it ended with. Raises
    ranks.Ended where another rank knows how.
    """
    started = time.monotonic()
    try:
        with ranks.process_group():
            ends = selecting_scores(specs)
        shared = False
    except ranks.Ended:
        raise
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        ends, shared = [error] * len(specs), len(specs) > 1
    seconds = time.monotonic() - started
    wrong = [end for end in ends if isinstance(end, BaseException) and not isinstance(end, PrunedError)]
    for end in dict.fromkeys(wrong):
        traceback.print_exception(end)
    return [
        replace(failure(end), seconds=seconds, shared=shared)
        if isinstance(end, BaseException)
        else Outcome("ok", seconds=seconds, score=end)
        for end in ends
    ]


def selecting_scores(specs: Sequence[Spec]) -> list[float | BaseException]:
    """The selecting score of each job, or what ended it. Raises what ended all of them."""
    from ptune.commands.train import run, train_together
    from ptune.progress import Progress
    from ptune.runs.folder import RunFolder
    from ptune.where import Where

    quiet = specs[0].settings.quiet
    wait_for_orphans([RunFolder(spec.folder) for spec in specs if ranks.first()])
    if len(specs) > 1:
        return [*train_together([(spec.settings, spec.folder, spec.overrides) for spec in specs], quiet)]
    (spec,) = specs
    with Progress(quiet) as progress:
        result = run(spec.settings, RunFolder(spec.folder), Where(spec.folder, spec.overrides), progress)
    return [float(result["selected"])]


def wait_for_orphans(folders: Sequence[RunFolder]) -> None:
    """Wait a while for jobs of a sweep that was killed: they end by themselves, after a step that is at work yet.

    Where one does not, the job that follows says whose its folder is.
    """
    until = time.monotonic() + ORPHANED
    while time.monotonic() < until:
        try:
            with ExitStack() as stack:
                for folder in folders:
                    stack.enter_context(folder.locked())
            return
        except InUseError as used:
            log.info("%s; waiting", used)
            time.sleep(0.2)


def near_sockets() -> None:
    """Have multiprocessing put its sockets where their names are short enough, should the temporary folder's not be."""
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) > LONGEST_TEMPORARY:
        tempfile.tempdir = "/tmp"
        try:
            util.get_temp_dir()  # asked once; multiprocessing keeps the answer
        finally:
            tempfile.tempdir = usual


class Process:
    """Jobs in a process of their own: a fork of a server that has imported what they need, and done nothing else.

    What they print goes to the log.txt of the first one's folder. They end when this process does, however that is.
    """

    def __init__(self, jobs: Sequence[Job], beside: int = 1) -> None:
        """beside: how many processes share the machine's threads, with this one."""
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        near_sockets()
        self.count, self.started, self.kills = len(jobs), time.monotonic(), kernel_kills()
        self.receiver, sender = context.Pipe(duplex=False)
        specs = [job.spec for job in jobs]
        self.process = context.Process(target=_work, args=(sender, specs, dict(os.environ), beside))
        self.process.start()
        sender.close()

    def poll(self) -> list[Outcome] | None:
        """How the jobs ended; None while they go on."""
        if not connection.wait([self.receiver, self.process.sentinel], timeout=0):
            return None
        outcomes: list[Outcome] | None = None
        with suppress(EOFError):
            if self.receiver.poll(PATIENCE):
                outcomes = self.receiver.recv()
        self.receiver.close()
        self.process.join(PATIENCE)
        self.kill()  # what has ended is none the worse for it
        self.process.join()
        if outcomes is not None:
            return outcomes
        seconds = time.monotonic() - self.started
        end = outcome_of_exit(self.process.exitcode, kernel_kills() > self.kills, seconds)
        return [replace(end, shared=self.count > 1)] * self.count

    def stop(self) -> None:
        """Ask the jobs to end: they are interrupted, and go on from their checkpoints another time."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the jobs without asking."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.process.exitcode in (None, LOST) and self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


def _work(sender: Any, specs: Sequence[Spec], environ: dict[str, str], beside: int) -> None:
    """What the process of jobs does."""
    from ptune import threads

    os.environ.clear()  # the server's are those of when it started
    os.environ.update(environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep tells its jobs to end
    signal.signal(signal.SIGTERM, interrupt)
    Thread(target=_end_with_parent, daemon=True).start()
    log_to(specs)
    threads.divide(beside)
    sender.send(attempt(specs))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal that asks to end."""
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise Interrupted(f"ended by {signal.Signals(number).name}; run the same command again to resume")


def log_to(specs: Sequence[Spec]) -> None:
    """Log to each job's log.txt; what is printed goes to the first one's."""
    for spec in specs:
        spec.folder.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(spec.folder / "log.txt") for spec in specs]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s][%(name)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    with (specs[0].folder / "log.txt").open("a") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
