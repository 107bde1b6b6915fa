"""W&B beside the run folder's own record: it never prompts, never ends a run, and is fed the same events."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from ptune import ranks
from ptune.config import Tracker as Settings
from ptune.runs.history import history, trim

log = logging.getLogger(__name__)
Rows = Sequence[Mapping[str, Any]]
Told = tuple[str, int]  # (a kind of event, or an evaluation's split, and its step)
STAGED: set[str] = set()  # folders that `stage_in` chose, not the user
ROWS = 200  # of a table, at most
PREFIXES = {"step": "train", "halved": "halved"}  # of figures, by the kind of event; of an evaluation: see `prefix_of`
TAG, PROJECT = 64, 128  # characters that W&B takes


class Tracker(Protocol):
    """What a run tells a tracker."""

    def log(self, event: Mapping[str, Any]) -> None:
        """One step or evaluation."""

    def tables(self, split: str, step: int, tables: Mapping[str, Rows]) -> None:
        """The tables of an evaluation."""

    def again(self, events: Iterable[tuple[Mapping[str, Any], Mapping[str, Rows]]]) -> None:
        """The events of a run that goes on, an evaluation with its tables; what was told of them is not repeated."""

    def finish(self, summary: Mapping[str, Any], tables: Mapping[str, Rows]) -> None:
        """The final figures and predictions."""


class NoTracker:
    """tracker=none."""

    def log(self, event: Mapping[str, Any]) -> None:
        """Nothing."""

    def tables(self, split: str, step: int, tables: Mapping[str, Rows]) -> None:
        """Nothing."""

    def again(self, events: Iterable[tuple[Mapping[str, Any], Mapping[str, Rows]]]) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any], tables: Mapping[str, Rows]) -> None:
        """Nothing."""


class Wandb:
    """tracker=wandb. The first failure of W&B is told once by `warn`, and the run goes on without it.

    samples: final predictions that are shown; told: what W&B knows from before the run was resumed; step: W&B's, which
    only goes up.
    """

    def __init__(
        self, run: Any, warn: Callable[[str], None], samples: int, told: Collection[Told] = (), step: int = 0
    ) -> None:
        self.run, self.warn, self.samples, self.told, self.step = run, warn, samples, set(told), step

    def log(self, event: Mapping[str, Any]) -> None:
        """Figures under "train/..." and "SPLIT/...", by step; those of evaluations on train under "eval_train/..."."""
        prefix = PREFIXES.get(event["event"]) or prefix_of(str(event.get("split", "eval")))
        figures = {f"{prefix}/{key}": value for key, value in flat(event).items() if isinstance(value, (int, float))}
        self._once(str(event["event"]), int(event["step"]), lambda: figures)

    def tables(self, split: str, step: int, tables: Mapping[str, Rows]) -> None:
        """Tables under "SPLIT/..." with their step; each evaluation's once, and at most ROWS rows of each."""
        prefix = prefix_of(split)
        self._once(
            prefix,
            step,
            lambda: {f"{prefix}/step": step, **{f"{prefix}/{name}": table(rows) for name, rows in tables.items()}},
        )

    def again(self, events: Iterable[tuple[Mapping[str, Any], Mapping[str, Rows]]]) -> None:
        """See Tracker: a process that was killed has not told W&B all that stands in its record."""
        for event, tables in events:
            if tables:
                self.tables(str(event["split"]), int(event["step"]), tables)
            self.log(event)

    def finish(self, summary: Mapping[str, Any], tables: Mapping[str, Rows]) -> None:
        """Summary figures and the tables."""

        def log_final(run: Any) -> None:
            run.summary.update(flat(summary))
            payload = {name: rows[: self.samples] if name == "predictions" else rows for name, rows in tables.items()}
            if payload:
                run.log({name: table(rows) for name, rows in payload.items()})

        run = self.run
        self._try(log_final)
        if run is not None:
            self.run = run
            self._try(lambda run: run.finish())
        self.run = None

    def _once(self, what: str, step: int, row: Callable[[], Mapping[str, Any]]) -> None:
        """Tell what was not told before; that of a step which W&B has left behind stands in a row of its own."""
        if (what, step) in self.told:
            return
        self.told.add((what, step))
        self.step = step if step >= self.step else self.step + 1
        self._try(lambda run: run.log(row(), step=self.step))

    def _try(self, action: Callable[[Any], None]) -> None:
        if self.run is None:
            return
        try:
            action(self.run)
        except Exception as error:  # whatever W&B raises, training is worth more
            self.run = None
            self.warn(f"W&B stopped ({error}); the run continues, and metrics.jsonl has everything")


def prefix_of(split: str) -> str:
    """Of an evaluation's figures: the split, unless those of steps are called so."""
    return f"eval_{split}" if split in PREFIXES.values() else split


def problems(settings: Settings) -> Iterator[str]:
    """What W&B would refuse."""
    for tag in settings.tags:
        if not 0 < len(tag) <= TAG:
            yield f"tracker.tags: '{tag}' has {len(tag)} characters; W&B takes 1 to {TAG}"
    if not 0 < len(settings.project) <= PROJECT or set(settings.project) & set("/\\#?%:"):
        yield (
            f"tracker.project: '{settings.project}' is not a valid name; use 1 to {PROJECT} characters without "
            "/ \\ # ? % :"
        )


def table(rows: Rows) -> Any:
    """The first ROWS of them as W&B's table."""
    import wandb

    columns, data = laid_out(rows[:ROWS])
    return wandb.Table(columns=columns, data=data)


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
    job: str = "train",
) -> Tracker:
    """The tracker of one run; W&B that cannot start is a warning. job: W&B's job type.

    A run that is resumed goes on in its W&B run and tells it nothing twice.
    """
    if settings.name == "none" or not ranks.first():
        return NoTracker()
    run_options: dict[str, Any] = {
        "name": name,
        "tags": [*(tag[:TAG] for tag in tags), *settings.tags],
        "config": dict(config),
        "job_type": job,
    }
    run_id = known_id(folder)
    return start(settings, folder, warn, run_id, run_options)


def tracker_again(settings: Settings, folder: Path, warn: Callable[[str], None]) -> Tracker | None:
    """The tracker of a finished run, for what is found out about it later; None where it has no W&B run."""
    run_id = None if settings.name == "none" else known_id(folder)
    return start(settings, folder, warn, run_id, {}, told_again=True) if run_id else None


def start(
    settings: Settings,
    folder: Path,
    warn: Callable[[str], None],
    known: str | None,
    given: Mapping[str, Any],
    told_again: bool = False,
) -> Tracker:
    """Start W&B, with the run of id `known` where there is one, which is told nothing twice but with `told_again`."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B's reports on itself, which it sends when offline too
    stage_in(folder)
    try:
        import wandb

        mode: Literal["online", "offline"] = "online" if settings.mode == "online" else "offline"
        if mode == "online" and not has_key():
            warn("tracker.mode=online, but W&B has no API key on this machine (run wandb login); tracking offline")
            mode = "offline"
        resume_options: dict[str, Any] = {"id": known, "resume": "allow"} if known else {}
        files = [] if told_again else sorted(folder.glob("wandb/*run-*/*.wandb"))
        for file in files:
            trim(file)
        rows = history(files)
        run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            dir=str(folder),
            mode=mode,
            reinit="create_new",  # beside those of runs that train side by side
            settings=wandb.Settings(
                x_disable_meta=True, save_code=False, disable_git=True, console="off", silent=True, init_timeout=20
            ),
            **given,
            **resume_options,
        )
        start_step = run.step if known else 0
        if mode == "online" and known:  # what stands in the file alone, the process was killed before it could send
            rows = {step: row for step, row in rows.items() if step < start_step}
        return Wandb(run, warn, settings.samples, logged_history(rows), max([start_step, *rows]))
    except Exception as error:  # an account, a disk, a network: none of them may end a run
        warn(f"W&B could not start ({error}); the run continues, and metrics.jsonl has everything")
        return NoTracker()


def known_id(folder: Path) -> str | None:
    """The id of a run's W&B run, from the name of W&B's folder in the run folder; None where there is none."""
    matches = (re.fullmatch(r"(?:offline-)?run-\d{8}_\d{6}-(.+)", path.name) for path in folder.glob("wandb/*run-*"))
    return next((match[1] for match in matches if match), None)


def logged_history(rows: Mapping[int, Mapping[str, Any]]) -> set[Told]:
    """What W&B was told, by its history: figures of an event, and tables of an evaluation, stand beside their step."""
    logged: set[Told] = set()
    kinds = {prefix: kind for kind, prefix in PREFIXES.items()}
    for row in rows.values():
        for key in [key for key in row if key.endswith("/step")]:
            split, step = key.removesuffix("/step"), int(row[key])
            values = [row[name] for name in row if name.startswith(f"{split}/") and name != key]
            if any(isinstance(value, Mapping) for value in values):
                logged.add((split, step))
            if any(not isinstance(value, Mapping) for value in values):
                logged.add((kinds.get(split, "eval"), step))
    return logged


def stage_in(folder: Path) -> None:
    """Let W&B stage tables in the run folder: its own choice is the home folder, which may be read-only."""
    data_dir = os.environ.get("WANDB_DATA_DIR")
    if data_dir is None or data_dir in STAGED:
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
