"""Corpora from original files, the Hub or the demo world."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import import_module
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptune.batch import Example
from ptune.config import Data, Demo
from ptune.data.cache import Cache
from ptune.data.sampling import by_class, check_classes, check_order, sample
from ptune.data.stored import Read
from ptune.errors import ConfigError, DataError, UnavailableError
from ptune.hub import Files, ways_on
from ptune.readers import Reading, Record
from ptune.runs.folder import sha256
from ptune.seeds import mix

if TYPE_CHECKING:
    from ptune.tasks import Task

SPLITS = ("train", "dev", "test")
LISTED = 2**14  # examples of a split that are kept in memory
NOT_THE_READERS = (
    *("reader", "folder", "files", "differs", "leave_out", "hub", "metric", "license", "obtain", "statistics"),
    *("language", "layout", "layouts", "scheme", "submission", "demo"),
)


@dataclass
class Corpus:
    """Examples by split, and where they came from: for the run folder, with a checksum a file."""

    splits: dict[str, Sequence[Example]]
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether ptune invented the data itself."""
        return self.origin.get("source") == "demo"

    @property
    def warnings(self) -> list[str]:
        """What is to be said aloud: sizes that are not the corpus's own, and what data.lenient skipped."""
        sizes = [self.origin["warning"]] if "warning" in self.origin else []
        unanswerable = [
            f"{split}: {entry['examples']:,} of {entry['of']:,} examples are left out: the answer is not a "
            "single token of "
            f"the backbone, such as '{entry['first']}'"
            for split, entry in self.origin.get("unanswerable", {}).items()
        ]
        skipped = [
            f"{split}: {entry['problems']:,} broken records are skipped (data.lenient); the first: {entry['first']}"
            for split, entry in self.origin.get("skipped", {}).items()
        ]
        return [*sizes, *unanswerable, *skipped]

    def companion_splits(self, split: str) -> list[str]:
        """The labeled splits that stand beside one: MNLI's dev_mismatched beside dev, Brown's beside WSJ's test."""
        return [name for name in self.splits if name.startswith(f"{split}_") and self.labeled(name)]

    def labeled(self, split: str) -> bool:
        """Whether the split is there with gold labels."""
        split_examples: Sequence[Example] = self.splits.get(split, ())
        return bool(split_examples) and split_examples[0].gold is not None  # as with all of them, see `records`


@dataclass(frozen=True)
class Source:
    """One split: where it is, how its records are read, the checksums of its files, and what its yaml leaves out."""

    where: str
    read: partial[Iterator[Record]]
    files: Callable[[], dict[str, Any]]
    leave_out: Mapping[str, Sequence[Any]] | None = None  # field -> values

    def records(self, reading: Reading) -> Iterator[Record]:
        """The records without those that have one of the values to leave out, whose number is kept."""
        for record in self.read(each=reading):
            values = record.values
            if any(name in values and values[name] in excluded for name, excluded in (self.leave_out or {}).items()):
                reading.left_out += 1
            else:
                yield record

    def cache_key(self, lenient: bool) -> dict[str, Any]:
        """All that its records depend on but the code, for a key."""
        reader = [self.read.func.__module__, self.read.func.__qualname__]
        arguments = [str(self.read.args), self.read.keywords, self.leave_out]
        return {"reader": reader, "given": arguments, "files": self.files(), "lenient": lenient}


def load(task: Task, settings: Data, cache: Cache | None = None, few_shot: bool = False) -> Corpus:
    """Every split of the task that the source has, cut to data.max_SPLIT; large ones stand in the cache, if any.

    few_shot: `held_out` are data.per_class further examples of each class of train. Raises UnavailableError where the
    source has no training or development data, DataError for a broken file, or too few examples of a class, and
    ConfigError for data.per_class of a task without classes.
    """
    if problems := [*check_classes(settings, task), *check_order(settings)]:
        raise ConfigError(problems)
    splits: dict[str, Sequence[Example]] = {}
    counts, origin = dict[str, int](), dict[str, Any]()
    for split, source in sources(task, settings, origin).items():
        split_examples, reading = read(task, split, source, settings.lenient, cache)
        if not split_examples:
            raise DataError(reading.problems[0] if reading.problems else empty(task, split, source))
        origin["files"][split] = source.files()
        note(origin, split, reading)
        counts[split] = len(split_examples)
        limit = getattr(settings, f"max_{split.partition('_')[0]}", None)  # of a second dev set, too
        if split == "train" and settings.per_class is not None:
            splits |= by_class(task, split_examples, settings, few_shot)
        else:
            splits[split] = sample(
                split_examples, limit, settings.draw if split == "train" else None, settings.draw_order
            )
    if message := missing(task, splits, origin):
        raise UnavailableError(message)
    if settings.draw is not None and "train" in splits:
        origin["draw"] = {"seed": settings.draw, "ids": [example.id for example in splits["train"]]}
    origin["examples"] = {split: len(split_examples) for split, split_examples in splits.items()}
    if settings.source != "demo" and (warning := unlike_original(task, counts)):
        origin["warning"] = warning
    return Corpus(splits, origin)


def without_labels(
    task: Task, settings: Data, corpus: Corpus, cache: Cache | None = None, scored: Sequence[str] | None = None
) -> tuple[list[Example], str]:
    """Examples whose labels, if they have some, are dropped, and which ones they are: the corpus's file of them, else
    the training examples that its settings left out, else a test split without labels.

    None that says the same as one whose label the run knows. scored: of a run that uses no label of train, the splits
    that select and report; it has the whole of train in place of the latter two. Raises ConfigError where there is no
    such example.
    """
    candidates: Sequence[Example]
    if "unlabeled" in corpus.splits:
        path = Path(corpus.origin["files"]["unlabeled"]["path"])
        candidates, description = corpus.splits["unlabeled"], f"{path.parent.name}/{path.name}"
    elif settings.max_train is not None or settings.per_class is not None:
        source = sources(task, settings, {})["train"]
        candidates = read(task, "train", source, settings.lenient, cache)[0]
        description = "the rest of train" if scored is None else "train"
    elif scored is not None:
        candidates, description = corpus.splits.get("train", ()), "train"
    elif corpus.splits.get("test") and not corpus.labeled("test"):
        candidates, description = corpus.splits["test"], "test, which has no labels"
    else:
        candidates, description = (), ""
    labeled_splits = ("train", "held_out") if scored is None else ("held_out", *scored)
    known_contents = {content_of(e) for split in labeled_splits for e in corpus.splits.get(split, ())}
    unlabeled = [replace(e, gold=None) for e in candidates if content_of(e) not in known_contents]
    if not unlabeled:
        raise ConfigError(
            [
                f"data: {task.name} has no unlabeled examples here; data.max_train=32 uses the rest of "
                "train as unlabeled, "
                "and data.layout=fewglue has a file of them where the task has that layout"
            ]
        )
    return unlabeled, description


def content_of(example: Example) -> str:
    """What an example says, whatever its id and its label."""
    return json.dumps(example.fields, sort_keys=True, default=repr)


def look(task: Task, settings: Data) -> None:
    """See whether the task's data can be had, before anything that takes long: what is on the Hub is in its cache or
    the Hub answers, and original files are there and begin as they should.

    Raises UnavailableError or DataError as `load` would.
    """
    task.lay_out(settings.layout)
    if settings.source == "hub" and not on_hub(task).within_reach():
        raise out_of_reach(task)
    if settings.source == "local" and settings.root:
        origin: dict[str, Any] = {}
        split_sources = sources(task, settings, origin)
        for source in split_sources.values():
            next(source.records(Reading(settings.lenient)), None)
        if message := missing(task, split_sources, origin):
            raise UnavailableError(message)


def sources(task: Task, settings: Data, origin: dict[str, Any]) -> dict[str, Source]:
    """The splits that there are, in the layout that was chosen; what `origin` says of where they are is filled in.

    Raises UnavailableError where there is no folder or data set to look in.
    """
    task.lay_out(settings.layout)
    origin.update(source=settings.source, task=task.name, task_version=task.version, files={})
    if "layout" in task.source:
        origin["layout"] = task.source["layout"]
    if settings.source == "hub":
        return hub_sources(task, origin)
    if settings.source == "local":
        return file_sources(task, Path(settings.root or ".").expanduser(), origin)
    return file_sources(task, demo_folder(task.source.get("demo", task.name), settings.seed, settings.demo), origin)


def read(
    task: Task, split: str, source: Source, lenient: bool, cache: Cache | None
) -> tuple[Sequence[Example], Reading]:
    """The examples of a split, and what their reading told; more of them than LISTED stand in the cache."""

    def read_records(reading: Reading) -> Iterator[Read]:
        reads = records(task, source, reading)
        return cache.progress.follow(f"{split}: reading", reads) if cache else reads

    limit, reading = LISTED if cache and cache.on else None, Reading(lenient)
    split_examples = [item.example for item in islice(read_records(reading), limit)]
    if not cache or limit is None or len(split_examples) < limit:
        return split_examples, reading
    if stored_examples := cache.stored(read_records, source.cache_key(lenient), task):
        return stored_examples, stored_examples.reading
    reading = Reading(lenient)
    return [item.example for item in read_records(reading)], reading


def examples(task: Task, source: Source, reading: Reading) -> Iterator[Example]:
    """The examples of a split, see `records`."""
    return (item.example for item in records(task, source, reading))


def records(task: Task, source: Source, reading: Reading) -> Iterator[Read]:
    """The records of a split with their examples.

    Raises DataError where one is none, has the id of another (their predictions could not be told apart), or has its
    gold where the split's first one has none, or the other way round.
    """
    places: dict[str, str] = {}
    for number, record in enumerate(source.records(reading)):
        with reading():
            example = task.example(record, number)
            if example.id in places:
                raise DataError(
                    f"{record.where}: duplicate id {example.id}, first used at {places[example.id]}; "
                    "number the examples of a file from 0, or leave the numbers out"
                )
            is_labeled = example.gold is not None
            if reading.labeled not in (None, is_labeled):
                place = next(iter(places.values()))
                message = (
                    f"has '{task.label}', but {place} does not"
                    if is_labeled
                    else f"has no '{task.label}', but {place} does"
                )
                raise DataError(f"{record.where}: {message}; a split is labeled throughout or not at all")
            places[example.id], reading.labeled = record.where, is_labeled
            reading.examples += 1
            yield Read(number, record, example)


def empty(task: Task, split: str, source: Source) -> str:
    """That a split holds nothing, for messages."""
    return f"{source.where}: no records; is this the {split} file of {task.name}?"


def without_gold(task: Task, split: str, source: Source) -> str:
    """That no record of a split has its gold, with the names of what they have in its place, for messages."""
    first_record = next(source.records(Reading(lenient=True)), None)
    names = [*first_record.values] if first_record else []
    message = f"no {'training' if split == 'train' else split} record of {task.name} has a '{task.label}'"
    other_names = [name for name in names if name not in (*task.inputs, *task.also)]
    if not other_names or task.label in names:
        return f"{message} in {source.where}"
    hint = f"rename {other_names[0] if len(other_names) == 1 else 'one of them'} to {task.label}"
    if "label" in signature(type(task)).parameters:
        hint += f", or add label: {other_names[0] if len(other_names) == 1 else 'NAME'} to the task's yaml"
    return f"{message}: {source.where} has {', '.join(names)}; {hint}"


def note(origin: dict[str, Any], split: str, reading: Reading) -> None:
    """Keep for the run folder how many parts a split's files have, and how many were left out or skipped."""
    if reading.counts:
        origin.setdefault("parts", {})[split] = dict(reading.counts)
    if reading.left_out:
        origin.setdefault("left_out", {})[split] = reading.left_out
    if reading.problems:
        origin.setdefault("skipped", {})[split] = {"problems": len(reading.problems), "first": reading.problems[0]}


def missing(task: Task, splits: Collection[str], origin: Mapping[str, Any]) -> str:
    """Which splits there must be and are not, and where they were looked for; else nothing."""
    missing_splits = [split for split in required(task) if split not in splits]
    if not missing_splits:
        return ""
    if origin["source"] == "hub":
        hub_names = " or ".join(task.source["hub"]["splits"].get(split, "(none)") for split in missing_splits)
        expected = f"{endings(task)} files with {hub_names} in their names"
    else:
        expected = looked_for(task, missing_splits) + elsewhere(task)
        if origin["source"] == "local" and origin["root"] == ".":
            expected += "; for another folder, set data.root=DIR"
    return f"{task.name}: no {' and no '.join(missing_splits)} data in {origin['root']}; looked for {expected}"


def unlike_original(task: Task, counts: Mapping[str, int]) -> str:
    """Which splits are not of the size that names the corpus (statistics.pinned), as a warning; else nothing."""
    statistics = task.source.get("statistics", {})
    differences = others(task, counts) if statistics.get("pinned") else []
    return f"NOT THE USUAL {task.name.upper()}: {'; '.join(differences)} ({statistics['from']})" if differences else ""


def others(task: Task, counts: Mapping[str, int]) -> list[str]:
    """Which splits have another number of examples than is published."""
    published = task.source.get("statistics", {}).get("examples", {})
    return [
        f"{counts[split]:,} in {split} where the original has {count:,}"
        for split, count in published.items()
        if split in counts and counts[split] != count
    ]


def required(task: Task) -> list[str]:
    """The splits that there must be: train and dev, or all that a diagnostic has."""
    return [split for split in ("train", "dev") if split in task.source["files"]] or list(task.source["files"])


def looked_for(task: Task, splits: Sequence[str]) -> str:
    """The file names of the splits, for messages."""
    return "; ".join(" or ".join(task.source["files"].get(split, ["(none)"])) for split in splits)


def elsewhere(task: Task) -> str:
    """That the corpus is passed on in other layouts too, for messages; those beside one without a name are parts."""
    other_layouts = [name for name in task.source.get("layouts", ()) if task.source.get("layout", name) != name]
    return f"; for its other layout, set data.layout={' or '.join(other_layouts)}" if other_layouts else ""


def file_sources(task: Task, root: Path, origin: dict[str, Any]) -> dict[str, Source]:
    """Each split's original file, below `root` or its folder of the task's name."""
    if not root.is_dir():
        raise UnavailableError(
            f"data.root: {root} is not a folder; name the one that holds {task.name}'s original files"
        )
    reader = import_module(f"ptune.readers.{task.source['reader']}")
    options = {name: value for name, value in task.source.items() if name not in NOT_THE_READERS}
    if "reads" in signature(reader.read).parameters:
        options["reads"] = [*task.inputs, task.label]
    folders = [root, root / task.source.get("folder", task.name), root / task.name]
    origin["root"] = str(root)
    split_sources = {}
    for split, names in task.source["files"].items():
        path = next((path for name in names for folder in folders if readable(path := folder / name, reader)), None)
        if path is not None:
            arguments = {**options, **task.source.get("differs", {}).get(split, {})}
            read_split, files = partial(reader.read, path, **arguments), partial(listed, path, reader)
            split_sources[split] = Source(str(path), read_split, files, task.source.get("leave_out"))
    return split_sources


def readable(path: Path, reader: Any) -> bool:
    """Whether there is such a file, or such a folder for a reader of folders."""
    return path.is_file() or (path.is_dir() and hasattr(reader, "inside"))


def listed(path: Path, reader: Any) -> dict[str, Any]:
    """A split's file with its checksum, and the files that are read beside it; of a folder, as sha256sum lists it."""
    if path.is_file():
        entry: dict[str, Any] = {"path": str(path), "sha256": sha256(path)}
    else:
        files = reader.inside(path)
        listing = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        entry = {"path": str(path), "files": len(files), "sha256": hashlib.sha256(listing.encode()).hexdigest()}
    if companions := reader.companion_files(path) if hasattr(reader, "companion_files") else []:
        entry["beside"] = {str(companion): sha256(companion) for companion in companions}
    return entry


def on_hub(task: Task) -> Files:
    """Those of the task's data set. Raises UnavailableError where none is known."""
    if "hub" not in task.source:
        raise not_on_the_hub(task)
    hub = task.source["hub"]
    file_pattern = f"*.{endings(task)}"
    patterns = [f"{hub['config']}/{file_pattern}" if hub.get("config") else file_pattern]

    def is_complete(folder: Path) -> bool:
        return all(files_on_hub(task, folder).values())

    return Files(hub["path"], hub["revision"], patterns, is_complete, "dataset")


def files_on_hub(task: Task, folder: Path) -> dict[str, list[Path]]:
    """The files of each split in the data set's folder, which may hold other configs' beside those of the task's."""
    hub, split_files = task.source["hub"], {}
    folder = folder / (hub.get("config") or "")
    for split, hub_name in hub["splits"].items():
        pattern = re.compile(rf"(^|[/_-]){hub_name}([/_.-]|$)")
        paths = folder.rglob(f"*.{endings(task)}")
        split_files[split] = sorted(path for path in paths if pattern.search(str(path.relative_to(folder))))
    return split_files


def endings(task: Task) -> str:
    """How the names of the data set's files end on the Hub."""
    return str(task.source["hub"].get("format") or "parquet")


def out_of_reach(task: Task) -> UnavailableError:
    """That the task's data set is neither cached nor to be fetched."""
    return ways_on(
        f"task {task.name} ({task.source['hub']['path']})",
        f"data=local data.root=DIR, a folder with its original files ({looked_for(task, SPLITS[:2])}), "
        "and backbone=local backbone.path=DIR",
    )


def hub_sources(task: Task, origin: dict[str, Any]) -> dict[str, Source]:
    """Each split's files on the Hub at the task's revision."""
    folder = on_hub(task).fetch()
    if folder is None:
        raise out_of_reach(task)
    from ptune.readers import hub as reader

    hub = task.source["hub"]
    origin.update(root=hub["path"], revision=folder.name)
    split_sources = {}
    for split, paths in files_on_hub(task, folder).items():
        if paths:
            where = f"{hub['path']} {hub['splits'][split]}"
            read_split = partial(reader.files, paths, where, hub.get("columns", {}))
            split_sources[split] = Source(where, read_split, partial(checksums, paths), hub.get("leave_out"))
    return split_sources


def not_on_the_hub(task: Task) -> UnavailableError:
    """That no data set of the Hub is known for the task, with what there is: its original files, perhaps a demo."""
    from ptune import demo

    expected_files = task.source.get("obtain", f"its original files ({looked_for(task, required(task))})")
    alternatives = [f"local: data=local data.root=DIR, with {expected_files}"]
    if task.name in demo.tasks():
        alternatives.append("demo:  data=demo, a synthetic corpus in the same format")
    return UnavailableError(f"data=hub: no data set of the Hub is known for {task.name}.", alternatives)


def checksums(paths: Iterable[Path]) -> dict[str, str]:
    """The checksum of each file by its name."""
    return {path.name: sha256(path) for path in paths}


def cache_folder() -> Path:
    """Where ptune keeps what it can make again: PTUNE_CACHE, else the user's cache folder, else a temporary one."""
    for candidate in (os.environ.get("PTUNE_CACHE"), os.environ.get("XDG_CACHE_HOME", "~/.cache")):
        if candidate:
            folder = Path(candidate).expanduser() / ("ptune" if candidate != os.environ.get("PTUNE_CACHE") else "")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK):
                    return folder
            except OSError:
                continue
    return Path(tempfile.gettempdir()) / "ptune"


def demo_folder(task: str, seed: int, settings: Demo) -> Path:
    """The demo corpus of a task, written on first use; the folder's name changes with settings and generator.

    Sizes of splits that a corpus has not are no mistake, since one command may run several tasks.
    """
    from ptune import demo

    if task not in demo.tasks():
        raise UnavailableError(f"data=demo: the demo world has no {task}; it has {', '.join(demo.tasks())}")
    demo_settings = asdict(settings)
    requested_sizes = {split: rows for split in SPLITS if (rows := demo_settings.pop(split)) is not None}
    sizes = {split: rows for split, rows in requested_sizes.items() if split in demo.splits(task)}
    code = "".join(sha256(path) for path in sorted(Path(demo.__file__).parent.glob("*.py")))
    name = f"{task}-{seed}-{mix(code, json.dumps([sizes, demo_settings], sort_keys=True)):x}"
    folder = cache_folder() / "demo" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary_folder = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            demo.write(task, temporary_folder, seed, sizes, **demo_settings)
            with suppress(OSError):  # another process wrote the same bytes first
                os.replace(temporary_folder, folder)
        except ValueError as error:
            raise ConfigError([f"data.demo: {error}"]) from None
        finally:
            shutil.rmtree(temporary_folder, ignore_errors=True)
    return folder
