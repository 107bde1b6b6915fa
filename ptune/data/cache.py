"""Large splits are kept in the cache folder under the checksum of all that they depend on, the code included.

A wrong hit would be a wrong figure: what is in doubt is in the key, and files that are not those of their manifest
are made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ptune.batch import Example
from ptune.data import encoded, stored
from ptune.data.arrow import PER_BATCH, NotPlain, manifest
from ptune.data.encoded import Encoded, EncodedExample
from ptune.data.stored import Read, Stored
from ptune.progress import Progress
from ptune.readers import Reading
from ptune.runs.folder import sha256
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.tasks import Task
    from ptune.templates import Template

log = logging.getLogger(__name__)
STARTED = time.time()
SMALLEST = PER_BATCH  # examples of a split that is worth a file
UNUSED = 30 * 24 * 3600.0  # seconds after which a split that nobody read is dropped
LIBRARIES = ("tokenizers", "transformers")
T = TypeVar("T")
THE_TEMPLATES_OWN = ("tokens", "_context", "_encoded")  # said by `tokenizer`, or remembered while it works


class Cache:
    """What was made of a corpus, below `folder`; whoever works on it shows how far it is. `on`: whether any is kept."""

    def __init__(self, folder: Callable[[], Path], progress: Progress, on: bool = True) -> None:
        self.folder, self.progress, self.on = folder, progress, on

    def encoded(
        self,
        split: Callable[[], Iterable[EncodedExample]],
        examples: Sequence[Example],
        task: Task,
        template: Template,
        max_len: int,
    ) -> Encoded | None:
        """The examples as `split` lays them out, which is done once; None where that is not kept."""
        if len(examples) < SMALLEST:
            return None
        return self._kept(
            "encoded",
            lambda: key(examples, task, template, max_len),
            lambda folder: encoded.write(folder, split()),
            Encoded,
        )

    def stored(self, split: Callable[[Reading], Iterable[Read]], told: Mapping[str, Any], task: Task) -> Stored | None:
        """The examples that `split` reads, which is done once for what is told of their source; None as above."""

        def write(folder: Path) -> None:
            reading = Reading(told["lenient"])
            stored.write(folder, split(reading), reading)

        return self._kept("examples", lambda: source_key(told, task), write, lambda folder: Stored(folder, task))

    def _kept(
        self, kind: str, name: Callable[[], str], write: Callable[[Path], None], opened: Callable[[Path], T]
    ) -> T | None:
        """What is in the folder of that kind and name, which is written where there is none.

        A folder that cannot be written to is said once, and is no failure.
        """
        if not self.on:
            return None
        try:
            of_its_own = name()
        except TypeError as error:
            log.info("not cached: %s", error)
            return None
        except OSError as error:  # of code that cannot be read
            self._without(error)
            return None
        final_folder = self.folder() / kind / of_its_own
        try:
            final_folder.parent.mkdir(parents=True, exist_ok=True)
            if manifest(final_folder):
                with suppress(OSError):  # of another user
                    os.utime(final_folder)
                return opened(final_folder)
            temporary_folder = Path(tempfile.mkdtemp(prefix=f".{final_folder.name}.", dir=final_folder.parent))
        except OSError as error:
            self._without(error)
            return None
        try:
            write(temporary_folder)
            content = opened(temporary_folder)  # mapped files stay, whatever becomes of the folder
            drop_unused(final_folder.parent)
            shutil.rmtree(final_folder, ignore_errors=True)
            with suppress(OSError):  # another process wrote the same bytes first
                os.replace(temporary_folder, final_folder)
            return content
        except OSError as error:
            self._without(error)
        except NotPlain as error:
            log.info("not cached: %s", error)
        finally:
            shutil.rmtree(temporary_folder, ignore_errors=True)
        return None

    def _without(self, error: OSError) -> None:
        self.on = False
        self.progress.warn(f"examples are not cached ({error}); data.cache=false turns this warning off")


def key(examples: Sequence[Example], task: Task, template: Template, max_len: int) -> str:
    """The checksum of all that parts, and the lengths of their rows, depend on.

    Raises TypeError where something of it has no value that could be written down.
    """
    digest = hashlib.sha256()
    inputs = {
        "format": encoded.FORMAT,
        "max_length": max_len,
        "task": [class_path(task), vars(task)],
        "template": template_settings(template),
        "tokenizer": tokenizer(template.tokens),
        "code": {package: code(package) for package in sorted(packages(task, template, template.tokens))},
        "libraries": {library: metadata.version(library) for library in LIBRARIES},
        "examples": len(examples),
    }
    digest.update(json.dumps(inputs, default=plain).encode())
    if isinstance(examples, Stored):
        digest.update(json.dumps(examples.said).encode())
        return digest.hexdigest()
    for e in examples:
        values = [e.id, e.fields, e.gold, e.mark, e.marks, e.group, e.tail, e.prompt, e.choices]
        digest.update(json.dumps(values, default=plain).encode() + b"\n")
    return digest.hexdigest()


def source_key(told: Mapping[str, Any], task: Task) -> str:
    """The checksum of all that the records of a source, and whether a task takes them, depend on.

    Raises TypeError where something of it has no value that could be written down.
    """
    task_inputs = {
        "format": stored.FORMAT,
        "task": [class_path(task), vars(task)],
        "code": {package: code(package) for package in sorted(packages(task))},
    }
    return hashlib.sha256(json.dumps({**told, **task_inputs}, default=plain).encode()).hexdigest()


def template_settings(template: Template) -> list[Any]:
    """A template as its settings, beside the tokenizer."""
    return [class_path(template), {k: v for k, v in vars(template).items() if k not in THE_TEMPLATES_OWN}]


def class_path(thing: Any) -> str:
    """The full name of a thing's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def plain(value: Any) -> Any:
    """What JSON has no form for, in one that it has. Raises TypeError where that would not say all of it."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"a {class_path(value)} has no value that could be part of a key")


def tokenizer(tokens: Tokens) -> list[Any]:
    """All that decides what a tokenizer makes of a text. Raises TypeError for one that cannot be written down."""
    hf_tokenizer = tokens.tokenizer
    if not hasattr(hf_tokenizer, "backend_tokenizer"):
        raise TypeError(f"the tokenizer is a {class_path(hf_tokenizer)}, which cannot be written down")
    frames = {segments: asdict(frame) for segments, frame in tokens.frames.items()}
    splits_special = getattr(hf_tokenizer, "split_special_tokens", None)
    ids = [tokens.pad_id, tokens.unk_id, tokens.mask_id, tokens.start_id, tokens.end_id, hf_tokenizer.all_special_ids]
    flags = [tokens.causal, tokens.decodes]
    return [
        class_path(tokens),
        class_path(hf_tokenizer),
        hf_tokenizer.backend_tokenizer.to_str(),
        splits_special,
        ids,
        flags,
        frames,
    ]


def packages(*things: Any) -> set[str]:
    """The packages whose code the classes of some things are made of."""
    modules = {kind.__module__.partition(".")[0] for thing in things for kind in type(thing).__mro__}
    return {"ptune", *modules} - sys.stdlib_module_names


def code(package: str) -> dict[str, str]:
    """The checksum of every module of a package.

    Raises TypeError for one without files, or with files that are newer than the code that runs may be.
    """
    paths = {str(path.relative_to(root)): path for root, path in sources(package)}
    if not paths:
        raise TypeError(f"package {package} has no files")
    for path in paths.values():
        if path.stat().st_mtime > STARTED:
            raise TypeError(f"{path} was changed after ptune started")
    return {name: sha256(path) for name, path in sorted(paths.items())}


def sources(package: str) -> Iterator[tuple[Path, Path]]:
    """The files of a package, each with the folder that it is named from."""
    module = sys.modules[package]
    for folder in map(Path, getattr(module, "__path__", ())):
        yield from ((folder, path) for path in folder.rglob("*.py"))
    if not hasattr(module, "__path__") and (file := getattr(module, "__file__", None)):
        yield Path(file).parent, Path(file)


def drop_unused(folder: Path) -> None:
    """Remove splits, and what processes left that were cut off, that were not read for a month."""
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > UNUSED:
                shutil.rmtree(path, ignore_errors=True)
