"""W&B beside the run folder's own record: it never prompts, never ends a run, and is fed the same events."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from ptune.config import Tracker as Settings

log = logging.getLogger(__name__)
Rows = Sequence[Mapping[str, Any]]
STAGED: set[str] = set()  # folders that `stage_in` chose, not the user


class Tracker(Protocol):
    """What a run tells a tracker."""

    def log(self, event: Mapping[str, Any]) -> None:
        """One step or evaluation."""

    def finish(self, summary: Mapping[str, Any], tables: Mapping[str, Rows]) -> None:
        """The final figures, predictions, and the other tables of the evaluation."""


class NoTracker:
    """tracker=none."""

    def log(self, event: Mapping[str, Any]) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any], tables: Mapping[str, Rows]) -> None:
        """Nothing."""


class Wandb:
    """tracker=wandb. The first failure of W&B is told once by `warn`, and the run goes on without it."""

    def __init__(self, run: Any, warn: Callable[[str], None], samples: int) -> None:
        self.run, self.warn, self.samples = run, warn, samples

    def log(self, event: Mapping[str, Any]) -> None:
        """Figures under "train/..." and "SPLIT/...", by step."""
        prefix = "train" if event["event"] == "step" else str(event.get("split", "eval"))
        figures = {f"{prefix}/{key}": value for key, value in flat(event).items() if isinstance(value, (int, float))}
        self._try(lambda run: run.log(figures, step=int(event["step"])))

    def finish(self, summary: Mapping[str, Any], tables: Mapping[str, Rows]) -> None:
        """Summary figures and the tables."""

        def last(run: Any) -> None:
            import wandb

            run.summary.update(flat(summary))
            shown = {name: rows[: self.samples] if name == "predictions" else rows for name, rows in tables.items()}
            cells = {name: laid_out(rows) for name, rows in shown.items()}
            run.log({name: wandb.Table(columns=columns, data=data) for name, (columns, data) in cells.items()})

        run = self.run
        self._try(last)
        if run is not None:
            self.run = run
            self._try(lambda run: run.finish())
        self.run = None

    def _try(self, action: Callable[[Any], None]) -> None:
        if self.run is None:
            return
        try:
            action(self.run)
        except Exception as error:  # whatever W&B raises, training is worth more
            self.run = None
            self.warn(f"W&B stopped ({error}); the run goes on, metrics.jsonl has everything")


def laid_out(rows: Rows) -> tuple[list[str | int], list[list[Any]]]:
    """The columns of rows in the order of their first use, and the rows' cells; what is not all numbers is text."""
    columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
    data = [[row.get(str(column), "") for row in rows] for column in columns]
    data = [cells if all(isinstance(cell, int | float) for cell in cells) else [*map(str, cells)] for cells in data]
    return columns, [list(row) for row in zip(*data, strict=True)]


def tracker(
    settings: Settings,
    folder: Path,
    *,
    name: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    warn: Callable[[str], None],
) -> Tracker:
    """The tracker of one run; W&B that cannot start is a warning."""
    if settings.name == "none":
        return NoTracker()
    os.environ.setdefault("WANDB_SILENT", "true")
    stage_in(folder)
    try:
        import wandb

        mode: Literal["online", "offline"] = "online" if settings.mode == "online" else "offline"
        if mode == "online" and not has_key():
            warn("tracker.mode=online, but W&B has no key on this machine (wandb login); tracking offline")
            mode = "offline"
        run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            name=name,
            tags=[*tags, *settings.tags],
            dir=str(folder),
            config=dict(config),
            mode=mode,
            reinit="create_new",  # beside those of runs that train side by side
            settings=wandb.Settings(
                x_disable_meta=True, save_code=False, disable_git=True, console="off", silent=True, init_timeout=20
            ),
        )
        return Wandb(run, warn, settings.samples)
    except Exception as error:  # an account, a disk, a network: none of them may end a run
        warn(f"W&B could not start ({error}); the run goes on, metrics.jsonl has everything")
        return NoTracker()


def stage_in(folder: Path) -> None:
    """Let W&B stage tables in the run folder: its own choice is the home folder, which may be read-only."""
    given = os.environ.get("WANDB_DATA_DIR")
    if given is None or given in STAGED:
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
        STAGED.add(os.environ["WANDB_DATA_DIR"])


def has_key() -> bool:
    """Whether W&B could log in without asking."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return "wandb" in netrc.read_text(encoding="utf-8") or "coreweave" in netrc.read_text(encoding="utf-8")
    except OSError:
        return False


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested figures with dotted names, strings and numbers only."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out.update(flat(value, f"{prefix}{key}."))
        elif isinstance(value, (int, float, str, bool)):
            out[prefix + str(key)] = value
    return out
