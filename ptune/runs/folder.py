"""A run folder: configuration, history, checkpoints and result, every file written atomically.

config.yaml        complete and resolved; eval, predict, resume and export read this and never recompose
tuned.safetensors  everything that was trained, prompts folded; never a frozen backbone
metrics.jsonl      the record of truth, one line a step or an evaluation
result.json        final figures, written last: its presence means "finished"
pruned.json        in its place, why and where an observer has ended the run; resume=DIR goes on from there
demonstrations.jsonl  the training examples that its template shows some of, where it does
predictions.jsonl  splits.jsonl  env.json  log.txt
breakdowns/        SPLIT_STEP.json: an evaluation by label and length, with its confusions, errors and examples
stages/NAME/       runs of their own that a procedure asked for, each a run folder, with stage.json: its own settings
checkpoints/STEP/  state to resume, the last two and the best; its manifest is written last
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from ptune import __version__, bounded, ranks
from ptune.errors import ConfigError, InUseError, PtuneError
from ptune.lock import lock
from ptune.words import override

PACKAGES = (
    "torch",
    "bitsandbytes",
    "peft",
    "transformers",
    "datasets",
    "tokenizers",
    "hydra-core",
    "omegaconf",
    "seqeval",
    "scikit-learn",
    "numpy",
)
KEPT = 2
FEW = 3  # runs that a message names
DEPTH = 6  # folders inside of one another, in which runs are looked for
UNFINISHED = re.compile(r"\.[\w-]+\.(json|jsonl|safetensors|yaml)\.\d+")  # .NAME.PROCESS, which becomes NAME
UNSAVED = re.compile(r"\.\d{8}\.\d+")  # the same of a checkpoint
RETIRED = re.compile(r"\.\d{8}")  # a checkpoint whose place another one takes
CHECKPOINT = ("parameters.safetensors", "optimizer.safetensors", "state.json")


def breakdown_file(split: str, step: int) -> str:
    """Where the breakdown of a split after a step is, in the run folder."""
    return f"breakdowns/{split}_{step:08d}.json"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno:
            error.filename = str(path)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make what a file holds last, or the renames inside a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The checksum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RunFolder:
    """One run's folder; created when first written to. Of several ranks the first writes, and tells what it reads."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def file(self, name: str) -> Path:
        """A file of the run."""
        return self.path / name

    @property
    def resuming(self) -> str:
        """The word of a shell's command line that lets the run go on."""
        return override("resume", str(self.path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out, and clear away what one that was killed had not finished writing.

        The system lets go of the lock with its process. Raises InUseError where another one has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.check()
        path = self.file(".lock")
        while (descriptor := lock(path)) is not None and not os.fstat(descriptor).st_nlink:
            os.close(descriptor)  # whoever had it has just left and deleted it
        if descriptor is None:
            owner = ""
            with suppress(FileNotFoundError):  # it may have left in the meantime
                owner = path.read_text(encoding="utf-8").strip()
            raise InUseError(f"{self.path} is in use by {owner or 'another process'}")
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
            self._clear()
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def check(self) -> None:
        """Raises PtuneError where something in the folder leads out of it, so that nothing else is read or written."""
        root = self.path.resolve()
        for folder, folders, files in os.walk(root):
            for path in (Path(folder, name) for name in (*folders, *files)):
                if path.is_symlink() and not path.resolve().is_relative_to(root) and not log_of_wandb(path):
                    raise PtuneError(f"{path}: a link that leads out of the run folder, to {os.readlink(path)}")

    def _clear(self) -> None:
        """Clear away what was not finished where a run writes, and by its names: the folder may hold other things."""
        checkpoints = self.file("checkpoints")
        for path in [path for path in checkpoints.glob(".*") if RETIRED.fullmatch(path.name)]:
            if path.with_name(path.name[1:]).is_dir():
                shutil.rmtree(path)
            else:
                os.replace(path, path.with_name(path.name[1:]))
        for path in [path for path in checkpoints.glob(".*") if UNSAVED.fullmatch(path.name)]:
            shutil.rmtree(path, ignore_errors=True)
        for folder in (self.path, self.file("breakdowns")):
            for path in [path for path in folder.glob(".*") if UNFINISHED.fullmatch(path.name) and path.is_file()]:
                path.unlink(missing_ok=True)
        for stage in [path for path in self.path.glob("stages/*/") if not path.is_symlink()]:
            RunFolder(stage)._clear()

    @property
    def finished(self) -> bool:
        """Whether the run's final figures are there."""
        return ranks.on_first_rank(self.file("result.json").is_file)

    @property
    def pruned(self) -> bool:
        """Whether an observer has ended the run, and nothing has taken it to its end since."""
        return ranks.on_first_rank(self.file("pruned.json").is_file) and not self.finished

    @ranks.on_first_rank_only
    def write_config(self, config: Mapping[str, Any]) -> None:
        """Store the complete configuration."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file("config.yaml"), yaml.safe_dump(dict(config), sort_keys=False).encode())

    @ranks.read
    def read_config(self) -> dict[str, Any]:
        """The stored configuration, as data.

        Raises ConfigError where the folder is no run, PtuneError where it is damaged, or leads out of itself.
        """
        self.check()
        try:
            config = bounded.read_yaml(self.file("config.yaml"))
        except (FileNotFoundError, NotADirectoryError):
            raise no_run(self.path) from None
        if not isinstance(config, dict):
            raise PtuneError(f"{self.file('config.yaml')}: not a configuration")
        return config

    @ranks.on_first_rank_only
    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Store a JSON file."""
        self.file(name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file(name), (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    @ranks.read
    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run. Raises PtuneError where it is missing, or no mapping."""
        try:
            content = bounded.read_json(self.file(name))
        except FileNotFoundError:
            raise PtuneError(
                f"{self.path} has no {name}: the run is not finished; to finish it: ptune train {self.resuming}"
            ) from None
        if not isinstance(content, dict):
            raise PtuneError(f"{self.file(name)}: not a mapping of names to values")
        return content

    @ranks.read
    def write_environment(self, now: Mapping[str, Any]) -> str:
        """Store env.json; a run that goes on keeps its own and adds where it went on. Returns the run's identity."""
        if self.file("env.json").is_file() and self.file("config.yaml").is_file():
            original = self.read_json("env.json")
            now = {**original, "resumed": [*original.get("resumed", []), {k: v for k, v in now.items() if k != "data"}]}
        self.write_json("env.json", now)
        return str(now["identity"])

    @ranks.on_first_rank_only
    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store a file of JSON lines."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(self.file(name), text.encode())

    @ranks.read
    def read_jsonl(self, name: str) -> list[dict[str, Any]]:
        """A file of JSON lines, each a mapping. Raises PtuneError where it is missing, or another file."""
        try:
            lines = bounded.text(self.file(name)).split("\n")
        except FileNotFoundError:
            raise PtuneError(f"{self.path} has no {name}; to create it: ptune train {self.resuming}") from None
        rows = []
        for number, line in enumerate(lines, 1):
            if line:
                rows.append(bounded.parse_json(line, f"{self.file(name)}:{number}"))
                if not isinstance(rows[-1], dict):
                    raise PtuneError(f"{self.file(name)}:{number}: not a mapping of names to values")
        return rows

    @ranks.on_first_rank_only
    def append_metrics(self, event: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl, in one write."""
        with self.file("metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def metrics(self) -> list[tuple[str, dict[str, Any]]]:
        """The lines of metrics.jsonl with their events, without one that is not whole."""
        path, entries = self.file("metrics.jsonl"), []
        for line in bounded.text(path).splitlines(keepends=True) if path.is_file() else ():
            with suppress(PtuneError):
                if isinstance(event := bounded.parse_json(line, str(path)), dict):
                    entries.append((line, event))
        return entries

    @ranks.read
    def check_metrics(self, checkpoint: Path) -> None:
        """Raises PtuneError where metrics.jsonl does not begin as it was when a checkpoint was written."""
        saved_metrics = read_state(checkpoint).get("metrics")
        if saved_metrics is None or saved_metrics == self._metrics_until(saved_metrics["bytes"]):
            return  # older checkpoints do not say it
        path, location = self.file("metrics.jsonl"), ""
        for number, line in enumerate(bounded.text(path).splitlines() if path.is_file() else (), 1):
            try:
                bounded.parse_json(line, str(path))
            except PtuneError:
                location = f":{number}"
                break
        raise PtuneError(
            f"{path}{location}: changed since checkpoint {checkpoint.name} was saved; restore it from a copy, or start "
            "the run again in another folder"
        )

    def _metrics_until(self, size: int | None = None) -> dict[str, Any]:
        """How long metrics.jsonl is, or its first `size` bytes, and their checksum."""
        path = self.file("metrics.jsonl")
        data = path.read_bytes()[:size] if path.is_file() else b""
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    @ranks.on_first_rank_only
    def cut_metrics(self, step: int, evaluated: bool, parts: int) -> None:
        """Drop the lines after `step`, which a resumed run writes again, and a last line that is not whole.

        Of those at `step` an evaluation's where the run is not `evaluated` there, and those of micro-batches given in
        more than so many parts.
        """

        def is_kept(event: Mapping[str, Any]) -> bool:
            event_step, kind = event.get("step", 0), event.get("event")
            is_repeated = (kind == "eval" and not evaluated) or (kind == "halved" and event.get("parts", 0) > parts)
            return bool(event_step < step or (event_step == step and not is_repeated))

        path = self.file("metrics.jsonl")
        if path.is_file():
            lines = [line for line, event in self.metrics() if is_kept(event)]
            write_atomically(path, "".join(lines).encode())

    @ranks.read
    def write_tensors(self, tensors: Mapping[str, Any], about: Mapping[str, str]) -> int:
        """Store tuned.safetensors; returns its size in bytes."""
        from safetensors.torch import save

        # one key: safetensors writes several in an order that changes from process to process
        header = {"ptune": json.dumps(dict(about), sort_keys=True)}
        write_atomically(self.file("tuned.safetensors"), save(contiguous(tensors), metadata=header))
        return self.file("tuned.safetensors").stat().st_size

    def read_tensors(self) -> dict[str, Any]:
        """What `write_tensors` stored. Raises PtuneError where it is missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.file("tuned.safetensors")
        if self.finished and not path.exists():
            raise PtuneError(f"{self.path} has no weights: they were deleted, or only the runs in its stages have any")
        try:
            return dict(load_file(path))
        except (FileNotFoundError, SafetensorError) as error:
            raise PtuneError(
                f"{path}: missing or damaged ({error}); to create it again: ptune train {self.resuming}"
            ) from None

    @ranks.on_first_rank_only
    def drop_tensors(self) -> None:
        """Delete the tensors and the checkpoints."""
        self.file("tuned.safetensors").unlink(missing_ok=True)
        shutil.rmtree(self.file("checkpoints"), ignore_errors=True)

    @ranks.on_first_rank_only
    def save_checkpoint(
        self,
        step: int,
        parameters: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        state: Mapping[str, Any],
        best_step: int | None,
    ) -> None:
        """Write checkpoints/STEP: into a temporary folder, the manifest last, then rename; drop what is not kept."""
        from safetensors.torch import save

        root, history = self.file("checkpoints"), self.file("metrics.jsonl")
        temporary, target = root / f".{step:08d}.{os.getpid()}", root / f"{step:08d}"
        temporary.mkdir(parents=True)
        full_state = {**state, "metrics": self._metrics_until()}
        parts = (save(contiguous(parameters)), save(contiguous(optimizer)), json.dumps(full_state).encode())
        contents = dict(zip(CHECKPOINT, parts, strict=True))
        manifest = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        try:
            if history.is_file():  # a checkpoint that outlives a loss of power has its history
                sync(history)
            sync(self.path)
            for name, data in contents.items():
                write_atomically(temporary / name, data)
            write_atomically(temporary / "manifest.json", json.dumps(manifest).encode())
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        retired = root / f".{step:08d}"
        if target.is_dir():  # of a run that ended before its evaluation
            os.replace(target, retired)
        os.replace(temporary, target)
        sync(root)
        shutil.rmtree(retired, ignore_errors=True)
        self._prune(best_step)

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        root = self.file("checkpoints")
        return sorted(path for path in root.iterdir() if path.name.isdecimal()) if root.is_dir() else []

    def _prune(self, best_step: int | None) -> None:
        """Drop all but the newest, and what was the best when each of them was written."""
        checkpoints, needed_steps = self.checkpoints(), {best_step}
        for path in checkpoints[-KEPT:-1]:
            with suppress(OSError, PtuneError):
                needed_steps.add(read_state(path).get("best_step"))
        for path in checkpoints[:-KEPT]:
            if int(path.name) not in needed_steps:
                shutil.rmtree(path)

    @ranks.read
    def newest_checkpoint(self, warn: Any) -> Path | None:
        """The newest checkpoint that is whole, and whose best one is; `warn(text)` is told of others.

        None when there is none at all. Raises PtuneError when there are some and none of them will do.
        """
        checkpoints = self.checkpoints()
        for path in reversed(checkpoints):
            if not intact(path):
                warn(f"{path} is damaged; using the one before it")
                continue
            best_step = read_state(path).get("best_step")
            if best_step is None or intact(path.with_name(f"{best_step:08d}")):
                return path
            warn(f"{path.with_name(f'{best_step:08d}')}, the best until {path.name}, is damaged; using one before it")
        if checkpoints:
            raise PtuneError(
                f"{self.file('checkpoints')}: every checkpoint is damaged; remove the folder to start again"
            )
        return None


def no_run(path: Path) -> ConfigError:
    """What is to be said of a path that is no run folder, with the runs below it."""
    if not path.exists():
        return ConfigError([f"there is no folder {path}"])
    if not path.is_dir():
        return ConfigError([f"{path} is a file; name the run folder"])
    runs = sorted(runs_below(path))
    more = f" and {len(runs) - FEW} more" if len(runs) > FEW else ""
    hint = f"; runs below it: {', '.join(map(str, runs[:FEW]))}{more}" if runs else ""
    return ConfigError([f"{path} is not a run folder: it has no config.yaml{hint}"])


def runs_below(path: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The run folders below a path, none of them inside of another."""
    for folder in (entry for entry in path.iterdir() if entry.is_dir() and depth) if path.is_dir() else ():
        if (folder / "config.yaml").is_file():
            yield folder
        else:
            yield from runs_below(folder, depth - 1)


def log_of_wandb(path: Path) -> bool:
    """Whether a file is one that W&B tells its own doings in, which may stand elsewhere, and nobody here reads."""
    return path.parent.name == "logs" and path.parents[2].name == "wandb"


def intact(path: Path) -> bool:
    """Whether a checkpoint's files are those of its manifest."""
    try:
        manifest = bounded.read_json(path / "manifest.json")
        return bool(manifest == {name: sha256(path / name) for name in CHECKPOINT})
    except (OSError, PtuneError):
        return False


def read_state(path: Path) -> dict[str, Any]:
    """The state of a checkpoint folder. Raises PtuneError for what no run has written."""
    state = bounded.read_json(path / "state.json")
    metrics = state.get("metrics") if isinstance(state, dict) else None
    has_valid_metrics = metrics is None or (isinstance(metrics, dict) and isinstance(metrics.get("bytes"), int))
    if not isinstance(state, dict) or not isinstance(state.get("best_step"), int | None) or not has_valid_metrics:
        raise PtuneError(f"{path / 'state.json'}: not the state of a run")
    return state


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Parameters, optimizer tensors and state of a checkpoint folder. Raises PtuneError for what no run has written."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = [load_file(path / name) for name in CHECKPOINT[:2]]
    except SafetensorError as error:
        raise PtuneError(f"{path}: not the checkpoint of a run ({error})") from None
    return tensors[0], tensors[1], read_state(path)


def contiguous(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors as safetensors wants them: on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def environment(overrides: list[str]) -> dict[str, Any]:
    """What a figure depends on beside the configuration."""
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "ptune": __version__,
        "code": code_version(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "threads": torch.get_num_threads(),
        "ranks": ranks.count(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "overrides": overrides,
        "interpreter": sys.implementation.name,
    }


def code_version() -> str | None:
    """The commit of the source tree that runs, "+changed" when it differs from it; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changed" if status.stdout.strip() else "")
