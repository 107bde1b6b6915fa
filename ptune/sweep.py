"""What a sweep must not do silently: nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ptune.cli import fail


class Guard(Callback):
    """A sweep without a job, as from experiment=glob(no-such-*), is a mistake; Hydra calls it done."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """End the program where the sweep's folder holds no more than Hydra's own record of it."""
        folder = Path(config.hydra.sweep.dir)
        if {path.name for path in folder.iterdir()} <= {"multirun.yaml"}:
            (folder / "multirun.yaml").unlink(missing_ok=True)
            folder.rmdir()
            fail(1, f"no jobs: nothing matches {' '.join(config.hydra.overrides.task)}")
