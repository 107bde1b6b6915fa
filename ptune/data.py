"""Corpora from original files, the Hub or the demo world; and the stream of batches, a pure function of the step."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ptune.batch import Batch, Draw, Example, Row, collate
from ptune.config import Data, Demo
from ptune.errors import ConfigError, DataError, PtuneError, UnavailableError
from ptune.hub import snapshot, ways_on
from ptune.loop import mix
from ptune.readers import Record
from ptune.run import sha256
from ptune.templates import Parts, Template, lost_labels

SPLITS = ("train", "dev", "test")
NOT_THE_READERS = (
    *("reader", "folder", "files", "differs", "leave_out", "hub", "obtain", "statistics"),
    *("layout", "layouts", "scheme", "submission"),
)


@dataclass
class Corpus:
    """Examples by split, and where they came from: for the run folder, with a checksum a file."""

    splits: dict[str, list[Example]]
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether ptune invented the data itself."""
        return self.origin.get("source") == "demo"

    def beside(self, split: str) -> list[str]:
        """The labeled splits that stand beside one: MNLI's dev_mismatched beside dev, Brown's beside WSJ's test."""
        return [name for name in self.splits if name.startswith(f"{split}_") and self.labeled(name)]

    def labeled(self, split: str) -> bool:
        """Whether the split is there with gold labels."""
        return bool(self.splits.get(split)) and all(example.gold is not None for example in self.splits[split])


def load(task: Any, settings: Data) -> Corpus:
    """Every split of the task that the source has, cut to data.max_SPLIT.

    Raises UnavailableError where the source has no training or development data, DataError for a broken file.
    """
    task.lay_out(settings.layout)
    origin: dict[str, Any] = {"source": settings.source, "task": task.name, "task_version": task.version}
    if "layout" in task.source:
        origin["layout"] = task.source["layout"]
    if settings.source == "hub":
        records = hub_records(task, origin)
    else:
        root = (
            Path(settings.root or ".").expanduser()
            if settings.source == "local"
            else demo_folder(task.name, settings.seed, settings.demo)
        )
        records = file_records(task, root, origin)
    splits = {}
    for split, rows in records.items():
        examples = [task.example(record, index) for index, record in enumerate(rows)]
        check_ids(examples, rows)
        most = getattr(settings, f"max_{split.partition('_')[0]}", settings.max_test)  # of a second dev set, too
        splits[split] = drawn(examples, most, settings.draw) if split == "train" else examples[:most]
    missing = [split for split in required(task) if not splits.get(split)]
    if missing:
        raise UnavailableError(
            f"{task.name}: no {' and no '.join(missing)} data in {origin.get('root', settings.source)}; "
            f"looked for {looked_for(task, missing)}{elsewhere(task)}"
        )
    if settings.draw is not None:
        origin["draw"] = {"seed": settings.draw, "ids": [example.id for example in splits["train"]]}
    origin["examples"] = {split: len(examples) for split, examples in splits.items()}
    if settings.source != "demo" and (warning := unlike_original(task, records)):
        origin["warning"] = warning
    return Corpus(splits, origin)


def unlike_original(task: Any, records: Mapping[str, Sequence[Record]]) -> str:
    """Which splits are not of the size that names the corpus (statistics.pinned), as a warning; else nothing."""
    said = task.source.get("statistics", {})
    counts = said.get("examples", {}) if said.get("pinned") else {}
    differ = [
        f"{len(records[split]):,} in {split} where the original has {count:,}"
        for split, count in counts.items()
        if split in records and len(records[split]) != count
    ]
    return f"NOT THE USUAL {task.name.upper()}: {'; '.join(differ)} ({said['from']})" if differ else ""


def required(task: Any) -> list[str]:
    """The splits that there must be: train and dev, or all that a diagnostic has."""
    return [split for split in ("train", "dev") if split in task.source["files"]] or list(task.source["files"])


def check_ids(examples: Sequence[Example], records: Sequence[Record]) -> None:
    """Raises DataError where two examples of a split have one id: predictions could not be told apart."""
    first: dict[str, int] = {}
    for index, example in enumerate(examples):
        if example.id in first:
            raise DataError(
                f"{records[index].where}: id {example.id} is that of {records[first[example.id]].where}, too; "
                "number the examples of a file from 0, or leave the numbers out"
            )
        first[example.id] = index


def drawn(examples: list[Example], most: int | None, seed: int | None) -> list[Example]:
    """The first `most` examples; with a seed a random choice of so many, in the order of the file."""
    if seed is None or most is None or most >= len(examples):
        return examples[:most]
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(mix(seed, "draw")))
    return [examples[index] for index in sorted(order[:most].tolist())]


def looked_for(task: Any, splits: Sequence[str]) -> str:
    """The file names of the splits, for messages."""
    return "; ".join(" or ".join(task.source["files"].get(split, ["(none)"])) for split in splits)


def elsewhere(task: Any) -> str:
    """That the corpus is passed on in other layouts too, for messages."""
    others = [name for name in task.source.get("layouts", ()) if name != task.source["layout"]]
    return f"; in its other layout: data.layout={' or '.join(others)}" if others else ""


def file_records(task: Any, root: Path, origin: dict[str, Any]) -> dict[str, list[Record]]:
    """Records of each split's original file, below `root` or its folder of the task's name."""
    if not root.is_dir():
        raise UnavailableError(
            f"data.root: {root} is not a folder; name the one that holds {task.name}'s original files"
        )
    reader = import_module(f"ptune.readers.{task.source['reader']}")
    options = {name: value for name, value in task.source.items() if name not in NOT_THE_READERS}
    folders = [root, root / task.source.get("folder", task.name), root / task.name]
    origin.update(root=str(root), files={})
    records = {}
    for split, names in task.source["files"].items():
        path = next((path for name in names for folder in folders if readable(path := folder / name, reader)), None)
        if path is None:
            continue
        here = {**options, **task.source.get("differs", {}).get(split, {})}
        records[split] = counted(reader.read(path, **here), task.source.get("leave_out"), split, origin)
        origin["files"][split] = {"path": str(path), **checked(path, reader)}
        if more := reader.beside(path) if hasattr(reader, "beside") else []:
            origin["files"][split]["beside"] = {str(other): sha256(other) for other in more}
        if not records[split]:
            raise DataError(f"{path}: no records; is this the {split} file of {task.name}?")
    return records


def readable(path: Path, reader: Any) -> bool:
    """Whether there is such a file, or such a folder for a reader of folders."""
    return path.is_file() or (path.is_dir() and hasattr(reader, "inside"))


def checked(path: Path, reader: Any) -> dict[str, Any]:
    """The checksum of a file; of a folder that of its files' names and checksums, as sha256sum lists them."""
    if path.is_file():
        return {"sha256": sha256(path)}
    files = reader.inside(path)
    listed = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return {"files": len(files), "sha256": hashlib.sha256(listed.encode()).hexdigest()}


def counted(
    records: Iterable[Record], leave_out: Mapping[str, Sequence[Any]] | None, split: str, origin: dict[str, Any]
) -> list[Record]:
    """The records without those that have one of the values to leave out (field -> values), whose number is kept."""
    kept, left = [], 0
    for record in records:
        values = record.values
        if any(name in values and values[name] in out for name, out in (leave_out or {}).items()):
            left += 1
        else:
            kept.append(record)
    if left:
        origin.setdefault("left_out", {})[split] = left
    return kept


def hub_records(task: Any, origin: dict[str, Any]) -> dict[str, list[Record]]:
    """Records of each split from the Hub's parquet files at the task's revision."""
    if "hub" not in task.source:
        raise UnavailableError(
            f"data=hub: {task.name} is not on the Hub. Two ways on:\n"
            f"  local: data=local data.root=DIR, with {task.source['obtain']}\n"
            "  demo:  data=demo, a synthetic corpus in the same format"
        )
    hub = task.source["hub"]
    config = hub.get("config")
    folder = snapshot(hub["path"], hub["revision"], [f"{config}/*.parquet" if config else "*.parquet"], kind="dataset")
    if folder is None:
        names = looked_for(task, SPLITS[:2])
        raise ways_on(
            f"task {task.name} ({hub['path']})",
            f"data=local data.root=DIR, a folder with its original files ({names}), "
            "and backbone=local backbone.path=DIR",
        )
    import datasets

    from ptune.readers import hub as reader

    revision = folder.name
    if config and (folder / config).is_dir():
        folder = folder / config  # its repository may hold other configs, too

    origin.update(root=hub["path"], revision=revision, files={})
    records = {}
    for split, theirs in hub["splits"].items():
        pattern = re.compile(rf"(^|[/_-]){theirs}([/_.-]|$)")
        paths = sorted(p for p in folder.rglob("*.parquet") if pattern.search(str(p.relative_to(folder))))
        if paths:
            dataset = datasets.Dataset.from_parquet([str(path) for path in paths])
            told = reader.read(dataset, f"{hub['path']} {theirs}", hub.get("columns", {}))
            records[split] = counted(told, hub.get("leave_out"), split, origin)
            origin["files"][split] = {p.name: sha256(p) for p in paths}
    return records


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
    given = asdict(settings)
    asked = {split: rows for split in SPLITS if (rows := given.pop(split)) is not None}
    sizes = {split: rows for split, rows in asked.items() if split in demo.splits(task)}
    code = "".join(sha256(path) for path in sorted(Path(demo.__file__).parent.glob("*.py")))
    name = f"{task}-{seed}-{mix(code, json.dumps([sizes, given], sort_keys=True)):x}"
    folder = cache_folder() / "demo" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            demo.write(task, temporary, seed, sizes, **given)
        except ValueError as error:
            raise ConfigError([f"data.demo: {error}"]) from None
        try:
            os.replace(temporary, folder)
        except OSError:  # another process wrote the same bytes first
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def hold_out(corpus: Corpus, source: str, share: float, seed: int) -> None:
    """protocol=held_out: make the split `held_out` from a share of train, or from half of dev, by a seeded draw."""
    examples = corpus.splits[source]
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(mix(seed, "held_out"))).tolist()
    count = len(examples) // 2 if source == "dev" else max(1, round(share * len(examples)))
    chosen = set(order[:count])
    if not 0 < count < len(examples):
        raise PtuneError(f"held_out_share: {share} of {len(examples)} examples leaves nothing on one side")
    corpus.splits["held_out"] = [example for i, example in enumerate(examples) if i in chosen]
    corpus.splits[source] = [example for i, example in enumerate(examples) if i not in chosen]
    corpus.origin["held_out"] = {"from": source, "examples": count, "seed": seed}


class Rendered:
    """A split laid out as rows by a template; rows of examples without candidates are made once if nothing is drawn."""

    def __init__(self, examples: Sequence[Example], task: Any, template: Template, max_len: int) -> None:
        self.template, self.max_len = template, max_len
        self.names = [example.id for example in examples]
        self.parts: list[list[Parts]] = []
        self.lengths: list[int] = []  # of an example's longest row
        self.counts: list[int] = []  # rows of an example
        self.labels = self.lost = self.cut = 0
        self._rows: list[list[Row] | None] = []
        for index, example in enumerate(examples):
            self.parts.append(
                [
                    replace(template.parts(index, shown, target), candidate=number, grouped=task.grouped)
                    for number, (shown, target) in enumerate(task.candidates(example))
                ]
            )
            rows = self.rows(index, Draw(0, 0))
            self.lengths.append(max(len(row.ids) for row in rows))
            self.counts.append(len(rows))
            self.labels += sum(row.labels for row in rows)
            self.cut += any(row.cut for row in rows)
            if len(self.parts[-1]) == 1:
                self.lost += lost_labels(rows, self.parts[-1][0].target, template.windows)
            keep = not template.drawn and len(self.parts[-1]) == 1  # rows of candidates repeat the same long text
            self._rows.append(rows if keep else None)

    def __len__(self) -> int:
        return len(self.parts)

    def reading(self) -> dict[str, float]:
        """How much is read: examples that are cut, also in percent, gold labels lost, and rows an example or candidate.

        Several rows are the windows of a text that is too long for one.
        """
        shown = sum(len(parts) for parts in self.parts)
        return {
            "cut": self.cut,
            "cut_percent": 100 * self.cut / len(self),
            "windows": sum(self.counts) / shown,
            "lost_labels": self.lost,
        }

    def rows(self, index: int, draw: Draw) -> list[Row]:
        """The rows of one example, those of its candidates side by side."""
        if index < len(self._rows) and (kept := self._rows[index]) is not None:
            return kept
        return [row for parts in self.parts[index] for row in self.template.rows(parts, draw, self.max_len)]

    def batch(self, indices: Sequence[int], draw: Draw, source: str) -> Batch:
        """The rows of several examples as one batch."""
        rows = [row for index in indices for row in self.rows(index, draw)]
        return collate(rows, self.template.tokens.pad_id, names=[self.names[i] for i in indices], source=source)


class Stream:
    """Training batches: whole examples, shuffled anew each epoch, of similar length when `bucket`; nothing is kept.

    The batches of a step depend on (seed, step) alone, which is what makes resuming exact.
    """

    BLOCK = 32  # batches that are sorted by length together

    def __init__(self, rendered: Rendered, batch_size: int, accumulate: int, seed: int, bucket: bool) -> None:
        self.rendered, self.batch_size, self.accumulate = rendered, batch_size, accumulate
        self.seed, self.bucket = seed, bucket
        self.steps_per_epoch = -(-len(rendered) // batch_size)
        self._order: tuple[int, list[list[int]]] = (-1, [])

    @property
    def expected_labels(self) -> float:
        """How many labels a step holds on average over full batches."""
        return self.rendered.labels / len(self.rendered) * self.batch_size

    def epoch(self, epoch: int) -> list[list[int]]:
        """Example indices of every batch of an epoch."""
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, "order", epoch))
            order = torch.randperm(len(self.rendered), generator=generator).tolist()
            if self.bucket:
                block = self.BLOCK * self.batch_size
                order = [
                    i
                    for start in range(0, len(order), block)
                    for i in sorted(order[start : start + block], key=lambda i: self.rendered.lengths[i])
                ]
            batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
            if self.bucket:
                batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
            self._order = (epoch, batches)
        return self._order[1]

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of a step (counted from 0)."""
        epoch, index = divmod(step, self.steps_per_epoch)
        indices = self.epoch(epoch)[index]
        size = -(-len(indices) // self.accumulate)
        draw = Draw(self.seed, epoch)
        return [
            self.rendered.batch(indices[start : start + size], draw, "train") for start in range(0, len(indices), size)
        ]


def stepwise(rendered: Rendered, rows: int) -> list[list[int]]:
    """Example indices in batches of at most `rows` rows (or one example), longest first, for evaluation."""
    batches: list[list[int]] = []
    count = rows
    for index in sorted(range(len(rendered)), key=lambda i: -rendered.lengths[i]):
        count += rendered.counts[index]
        if count > rows:
            batches.append([])
            count = rendered.counts[index]
        batches[-1].append(index)
    return batches
