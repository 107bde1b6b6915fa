"""Large splits, whose records stand on disk: the same examples, read once, and nothing of a source is lost."""

from __future__ import annotations

import io
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ptune import build, demo, progress
from ptune.config import Data, Demo
from ptune.data import cache, corpora
from ptune.data.cache import Cache
from ptune.data.corpora import Corpus, load
from ptune.data.splits import hold_out
from ptune.data.stored import Stored, account, name, runs, subset
from ptune.errors import DataError
from ptune.progress import Progress
from ptune.readers import Record
from ptune.tasks.classify import Classify
from ptune.tasks.tag import Tag

CONF = Path(__file__).resolve().parents[1] / "conf/task"
TASKS = sorted({path.stem for path in CONF.glob("*.yaml")} & set(demo.tasks()))


@pytest.fixture(autouse=True)
def three_are_many(monkeypatch):
    """Splits of three examples and more are stored."""
    monkeypatch.setattr(corpora, "LISTED", 3)


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory):
    """One folder for the corpora of the demo world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUNE_CACHE", str(tmp_path_factory.mktemp("world")))
        yield


@pytest.fixture
def kept(tmp_path) -> Cache:
    return Cache(lambda: tmp_path / "kept", Progress(stream=io.StringIO()))


METHOD = ("method=ptv2", "backbone=tiny_encoder")
METHODS = dict.fromkeys(("e2e", "webnlg"), ("method=prefix_generate", "backbone=tiny_causal"))


@pytest.fixture
def task(settings):
    """task("copa", ...): a task of that name."""
    return lambda *words: build.leaf(
        settings("prompt_length.value=2", *METHODS.get(words[0], METHOD), f"task={words[0]}", *words[1:]).task
    )


def small(name: str, **more: Any) -> Data:
    sizes = {split: 12 for split in ("train", "dev") if split in demo.splits(name)}
    return Data(source="demo", demo=Demo(**sizes), **more)


@pytest.mark.parametrize("kind", TASKS)
def test_the_same_examples(kind, task, kept):
    """Those of every split of every task; and the same of the source is known."""
    listed = load(task(kind), small(kind))
    for again in range(2):
        stored = load(task(kind), small(kind), kept)
        assert stored.origin == listed.origin, again
        assert list(stored.splits) == list(listed.splits)
        for split, examples in listed.splits.items():
            found = stored.splits[split]
            assert isinstance(found, Stored) == (len(examples) >= 3)
            assert [*found] == [*examples]
            assert [name(found, i) for i in range(len(found))] == [e.id for e in examples]


@pytest.fixture
def rows(tmp_path):
    """rows(n, ...): a folder with a corpus of n words, each a sentence."""

    def write(count: int, *more: str) -> Path:
        folder = tmp_path / "corpus"
        folder.mkdir(exist_ok=True)
        lines = [*(f"word{i}\tO" for i in range(count)), *more]
        for file in ("train.txt", "dev.txt"):
            (folder / file).write_text("\n\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


def words(**more: Any) -> Tag:
    source = {"reader": "columns", "columns": {"tokens": 0, "tags": 1}, **more}
    return Tag("words", 1, {"files": {"train": ["train.txt"], "dev": ["dev.txt"]}, **source}, ["PER"])


def read(folder: Path, kept: Cache | None, task: Any = None, **more: Any) -> Corpus:
    return load(task or words(), Data(source="local", root=str(folder), **more), kept)


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """The numbers of the records of which examples are made."""
    numbers: list[int] = []
    example = Tag.example

    def watched(self: Tag, record: Record, number: int) -> Any:
        numbers.append(number)
        return example(self, record, number)

    monkeypatch.setattr(Tag, "example", watched)
    return numbers


def test_the_second_time_little_is_read(rows, kept, seen):
    """As much as shows that the split is large; of the rest what is asked for."""
    folder = rows(50)
    read(folder, kept)
    seen.clear()
    train = read(folder, kept).splits["train"]
    assert seen == [0, 1, 2, 0, 1, 2]  # of train and dev
    seen.clear()
    assert train[41].fields["tokens"] == ["word41"]
    assert train[-1].fields["tokens"] == ["word49"]
    assert train[10:40:10][1:][0].fields["tokens"] == ["word20"]
    assert seen == [41, 49, 20]
    assert name(train, 7) == "7"
    assert len(train) == 50
    assert len(seen) == 3
    with pytest.raises(IndexError):
        train[50]


def test_small_ones_and_those_without_a_cache_are_lists(rows, tmp_path):
    folder, stream = rows(2), io.StringIO()
    here = Cache(lambda: tmp_path / "kept", Progress(stream=stream))
    assert isinstance(read(folder, here).splits["train"], list)
    off = Cache(lambda: tmp_path / "kept", Progress(stream=stream), on=False)
    assert isinstance(read(rows(9), off).splits["train"], list)
    assert isinstance(read(folder, None).splits["train"], list)
    assert not (tmp_path / "kept").exists()


def test_parts_of_a_split(rows, kept):
    """The same ones are taken as of a list."""
    folder = rows(50)
    for more in ({"max_train": 7}, {"max_train": 7, "draw": 3}, {"max_train": 99, "draw": 3}):
        listed, stored = (read(folder, each, **more) for each in (None, kept))
        assert isinstance(stored.splits["train"], Stored)
        for source, share in (("train", 0.3), ("dev", 0.5)):
            for corpus in (listed, stored):
                hold_out(corpus, source, share, seed=5)
            assert isinstance(stored.splits["held_out"], Stored)
            for split in ("held_out", "train", "dev"):
                assert [*stored.splits[split]] == [*listed.splits[split]], (more, source, split)
        assert stored.origin == listed.origin
    some = subset(subset(stored.splits["train"], [3, 1, 4]), [2, 0])
    assert [*some] == [stored.splits["train"][i] for i in (4, 3)]


def folders(kept: Cache) -> int:
    return len([*(kept.folder() / "examples").iterdir()])


CHANGES = {
    "a word": (lambda rows: rows(50, "last\tO"), {}, words),
    "the labels": (lambda rows: rows(50), {}, lambda: words(scheme="bilou")),
    "how it is read": (lambda rows: rows(50), {}, lambda: words(columns={"tokens": 0, "tags": 1, "more": 1})),
    "what is left out": (lambda rows: rows(50), {}, lambda: words(leave_out={"tokens": [["word9"]]})),
    "leniency": (lambda rows: rows(50), {"lenient": True}, words),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_examples_is_read_anew(change, rows, kept):
    """A split is found again under what it was made of alone."""
    read(rows(50), kept)
    read(rows(50), kept)
    assert folders(kept) == 2  # train and dev
    corpus, more, made = CHANGES[change]
    found = read(corpus(rows), kept, made(), **more)
    assert folders(kept) == 4
    assert [*found.splits["train"]] == [*read(corpus(rows), None, made(), **more).splits["train"]]


def test_another_place(rows, kept, tmp_path):
    """Messages name the file that is there."""
    folder = rows(50)
    read(folder, kept)
    moved = folder.rename(tmp_path / "moved")
    found = read(moved, kept).splits["train"]
    assert folders(kept) == 4
    assert [e.id for e in found] == [str(i) for i in range(50)]


def test_other_code(rows, kept, monkeypatch):
    read(rows(50), kept)
    monkeypatch.setattr(cache, "code", lambda package: {"new": package})
    read(rows(50), kept)
    assert folders(kept) == 4


@pytest.mark.parametrize("file", ["records.arrow", "manifest.json"])
def test_damaged_files_are_made_again(file, rows, kept):
    folder = rows(50)
    expected = [*read(folder, kept).splits["train"]]
    whole = {each: (each / file).read_bytes() for each in (kept.folder() / "examples").iterdir()}
    for each, content in whole.items():
        (each / file).write_bytes(content[: len(content) // 2])
    assert [*read(folder, kept).splits["train"]] == expected
    assert {each: (each / file).read_bytes() for each in (kept.folder() / "examples").iterdir()} == whole


def test_a_folder_that_cannot_be_written(rows, tmp_path):
    """One warning, and lists."""
    (tmp_path / "file").write_text("")
    stream = io.StringIO()
    found = read(rows(50), Cache(lambda: tmp_path / "file", Progress(stream=stream)))
    assert isinstance(found.splits["train"], list)
    assert [len(found.splits[split]) for split in ("train", "dev")] == [50, 50]
    assert stream.getvalue().count("warning: examples are not cached (") == 1


def test_what_is_skipped_is_known_the_second_time(rows, kept):
    """data.lenient: the number of broken records, and the first."""
    folder = rows(50, "word50\tB-NONE", "word51\tO", "word52\tB-NONE")
    expected = read(folder, None, lenient=True)
    assert expected.origin["skipped"]["train"]["problems"] == 2
    for _ in range(2):
        found = read(folder, kept, lenient=True)
        assert isinstance(found.splits["train"], Stored)
        assert found.origin == expected.origin
        assert [*found.splits["train"]] == [*expected.splits["train"]]
    assert found.splits["train"][50].id == "51"  # the numbers of skipped records are not given again


def test_broken_records_are_named(rows, kept):
    """Wherever they stand; nothing is left of the split."""
    folder = rows(50, "word50\tB-NONE")
    with pytest.raises(DataError, match=r"train.txt:101: .*NONE"):
        read(folder, kept)
    assert folders(kept) == 0


def test_records_that_are_not_what_json_makes_of_them(rows, kept, monkeypatch):
    """They stay in memory."""
    columns = corpora.import_module("ptune.readers.columns")
    reader = columns.read

    def with_numbers(path: Path, **given: Any) -> Any:
        return (each._replace(values={**each.values, 7: "a number"}) for each in reader(path, **given))

    with_numbers.__module__ = with_numbers.__qualname__ = "other"
    monkeypatch.setattr(columns, "read", with_numbers)
    found = read(rows(50), kept).splits["train"]
    assert isinstance(found, list)
    assert len(found) == 50
    assert folders(kept) == 0


def test_unused_splits_are_dropped(rows, kept):
    """After a month without being read."""
    read(rows(50), kept)
    for each in (kept.folder() / "examples").iterdir():
        os.utime(each, (0, 0))
    read(rows(51), kept)
    assert folders(kept) == 2


def test_progress_of_reading(rows, tmp_path, monkeypatch):
    """How many there are is not known before."""
    clock = itertools.count(0, 0.4)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    read(rows(99), Cache(lambda: tmp_path / "kept", Progress(stream=stream)))
    lines = stream.getvalue().splitlines()
    assert lines
    assert lines[0].startswith("train: reading  ")
    assert {line.partition(":")[0] for line in lines} == {"train", "dev"}


def test_runs_are_the_same(ptune, tmp_path, monkeypatch):
    """Metrics, predictions and trained weights, whether the examples stand on disk or not; and eval's."""
    common = "train method=ptv2 backbone=tiny_encoder task=squad data=demo data.demo.train=20 data.demo.dev=10"
    common += " epochs=2 batch_size=8 optim.lr=0.01 tracker=none seed=3 data.max_length=200 protocol=held_out"
    said = {}
    for run, listed in (("listed", 2**14), ("stored", 3)):
        monkeypatch.setattr(corpora, "LISTED", listed)
        monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / run / "cache"))
        assert ptune(*common.split(), f"hydra.run.dir={run}").code == 0
        assert ptune("eval", run).code == 0
        lines = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        result = json.loads((tmp_path / run / "result.json").read_text())
        said[run] = [
            [{k: v for k, v in line.items() if "second" not in k} for line in lines],
            (tmp_path / run / "predictions.jsonl").read_text(),
            (tmp_path / run / "tuned.safetensors").read_bytes(),
            {k: result[k] for k in ("score", "interval", "majority", "best", "cut", "windows")},
        ]
        assert (tmp_path / run / "cache" / "examples").exists() == (run == "stored")
    assert said["listed"] == said["stored"]


def test_ids_twice(kept, tmp_path):
    """In a split of any size."""
    source = {"reader": "jsonl", "files": {"train": ["a.jsonl"], "dev": ["a.jsonl"]}}
    texts = Classify("texts", 1, source, ["text"], ["no"])
    lines = [json.dumps({"idx": i % 40, "text": "a", "label": "no"}) for i in range(41)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"a.jsonl:41: duplicate id 0, first used at .*a.jsonl:1"):
        load(texts, Data(source="local", root=str(tmp_path)), kept)


def test_accounts_are_the_same(rows, kept):
    """Ids and checksums of a split, whether it stands on disk or not; of other words, tags or order they differ."""
    folder = rows(50)
    listed, stored_ = (read(folder, each).splits["train"] for each in (None, kept))
    assert isinstance(stored_, Stored)
    told = account(listed)
    assert told == account(stored_) == {**told, "examples": 50, "ids": [[0, 49]]}
    some = [7, 3, 4, 5, 30]
    assert account(subset(listed, some)) == account(subset(stored_, some))
    assert account(subset(listed, some))["ids"] == ["7", [3, 5], "30"]
    sums = [
        told["sha256"],
        account(subset(listed, some))["sha256"],
        account(listed[::-1])["sha256"],
        account([replace(listed[0], gold=["B-PER"]), *listed[1:]])["sha256"],
        account([replace(listed[0], fields={"tokens": ["other"]}), *listed[1:]])["sha256"],
        account([replace(listed[0], id="x"), *listed[1:]])["sha256"],
    ]
    assert len({*sums}) == len(sums)


def test_ids_in_short():
    """Numbers in a row as first and last; every other text as it is, zeros in front included."""
    ids = ["0", "1", "2", "5", "6", "07", "08", "09", "1-2", "a", "9", "10", "11", "11", "\u0663"]
    assert runs(ids) == [[0, 2], "5", "6", "07", "08", "09", "1-2", "a", [9, 11], "11", "\u0663"]
    assert runs([]) == []
