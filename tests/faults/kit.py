"""Command lines in processes that die, and what is left of their runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ptune.runs.folder import RunFolder

TINY = (
    "task=rte",
    "data=demo",
    "data.demo.train=40",
    "data.demo.dev=16",
    "data.demo.test=16",
    "backbone=tiny_encoder",
    "method=ptv2",
    "prompt_length.value=4",
    "batch_size=8",
    "epochs=4",
    "tracker=none",
    "quiet=true",
)
SECRET = "a-value-of-the-environment-4711"
VOLATILE = ("seconds", "examples_per_second", "environment")  # what a clock says, and who commits in the meantime
# Of a run: when and how it was started, and what it was told.
PASSING = (
    "env.json",
    "log.txt",
    "train.log",
    "config.yaml",
    "hydra.yaml",
    "overrides.yaml",
    "multirun.yaml",
    "ledger.jsonl",
)


class Ended(NamedTuple):
    """How a process ended: its exit code, or minus the signal's number; and what it said."""

    code: int
    said: str


class Server:
    """The process of `server`, which starts the others."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment["PTUNE_HOSTILE"] = SECRET
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), "train", *TINY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._told("ready")

    def _told(self, expected: str = "") -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the server of forks has ended"
        return line if expected else json.loads(line)

    def start(self, words: tuple[str, ...], cwd: Path, log: Path, **fault: int) -> int:
        """Start a command line with a planted fault; returns its process, see `wait`."""
        assert self.process.stdin is not None
        case = {"words": list(words), "cwd": str(cwd), "log": str(log), "fault": fault}
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        return int(self._told()["process"])

    def wait(self, process: int) -> int:
        """The exit code of the one process that is running, or minus its signal."""
        told = self._told()
        assert told["process"] == process
        return os.waitstatus_to_exitcode(told["status"])

    def run(self, words: tuple[str, ...], cwd: Path, after: float | None = None, **fault: int) -> Ended:
        """A command line to its end, or killed after so many seconds."""
        log = cwd / "said.txt"
        for path in (log, cwd / "fired"):
            path.unlink(missing_ok=True)
        process = self.start(words, cwd, log, **fault)
        if after is not None:
            time.sleep(after)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return Ended(self.wait(process), log.read_text(encoding="utf-8"))

    def train(self, folder: Path, *words: str, after: float | None = None, **fault: int) -> Ended:
        """Train in a folder, from the start, or from where a run in it has come to."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (folder / "config.yaml").is_file():
            words = (f"resume={folder}", "quiet=true")
        else:
            words = (*TINY, *words, f"hydra.run.dir={folder}")
        return self.run(("train", *words), folder.parent, after, **fault)

    def close(self) -> None:
        """End the process."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


def left(folder: Path) -> dict[str, Any]:
    """What is left of a finished run but clocks: bytes of the weights, figures, history, predictions, what a search has
    found; of stages too, and of all runs of a sweep."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name in PASSING or "checkpoints" in path.parts:
            continue
        if path.name == "metrics.jsonl":
            found[name] = [timeless(event) for _, event in RunFolder(path.parent).metrics()]
        elif path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text(encoding="utf-8")))
        else:
            found[name] = path.read_bytes()
    return found


def timeless(value: Any) -> Any:
    """A result without what a clock says."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in VOLATILE}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def litter(folder: Path) -> list[str]:
    """Files that nobody will read: of writes that did not end."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))
