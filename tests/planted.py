"""A procedure that fails as it is told to, for tests of sweeps: `method.procedure._target_=planted.Planted`.

`plant` says of seeds how they fail: {3: killed}. Where the working folder has a file called mended, none does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError, DivergedError
from ptune.procedures import Procedure, Stage

BEGUN = "begun"  # the file that a job which hangs writes its process's number into, beside its log


class Planted(Procedure):
    """The majority class, or a failure."""

    trains = backbone = keeps = False

    def __init__(self, plant: dict[int, str]) -> None:
        self.plant = {int(seed): how for seed, how in plant.items()}

    @classmethod
    def problems(cls, given: Any, shape: Any, task: Any) -> Iterator[tuple[str, str]]:
        """Of the seeds that have wrong settings."""
        if how(given) == "config":
            yield "seed", f"{given.seed} is planted"

    def stages(self, session: Any) -> Iterator[Stage]:
        """One stage."""
        fail(how(session.settings), session)
        yield Stage("evaluate", session.report_majority)


def how(settings: Any) -> str:
    """How the job is to fail."""
    plant = settings.method["procedure"]["plant"]
    return "" if Path("mended").exists() else {int(seed): kind for seed, kind in plant.items()}.get(settings.seed, "")


def fail(kind: str, session: Any) -> None:
    """Fail as jobs do."""
    if kind == "data":
        raise DataError("train.txt:7: 3 columns where there should be 4")
    elif kind == "oom":
        bytearray(1 << 60)
    elif kind == "oom in torch":
        import torch

        torch.empty(1 << 55)
    elif kind == "nan":
        raise DivergedError("step 3: the loss is nan")
    elif kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "disk":
        Path("/dev/full").write_text("x" * 100_000)
    elif kind == "code":
        {}["a key"]
    elif kind == "exit":
        os._exit(3)
    elif kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hang":
        (session.folder.path / BEGUN).write_text(str(os.getpid()))
        time.sleep(600)
