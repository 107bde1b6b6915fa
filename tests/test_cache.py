"""Encoded splits on disk: the same rows as without them, a key that misses nothing, and files that are not believed."""

from __future__ import annotations

import functools
import io
import itertools
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoTokenizer

from ptune import build, progress
from ptune.batch import Draw, Example, Extent, Row, Windows
from ptune.config import Data, Demo
from ptune.data import arrow, cache, encoded
from ptune.data.cache import Cache, key
from ptune.data.corpora import load
from ptune.data.encoded import Encoded
from ptune.data.rendered import Rendered, Stream
from ptune.errors import DataError
from ptune.progress import Progress
from ptune.tasks.tag import Tag
from ptune.templates import Part, Parts
from ptune.templates.pattern import Pattern
from ptune.templates.plain import Plain
from ptune.tokens import Tokens

NO_DRAW = Draw(0, 0)
FILES = [*(f"{name}.arrow" for name in encoded.SCHEMAS), "manifest.json"]


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    """Splits of every size are kept."""
    monkeypatch.setattr(cache, "SMALLEST", 1)


@pytest.fixture(scope="module")
def tokens(bert_folder) -> Tokens:
    return Tokens(AutoTokenizer.from_pretrained(str(bert_folder)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory, settings):
    """demo("copa", ...): a task of the demo world and forty of its examples."""
    folder = tmp_path_factory.mktemp("world")

    @functools.cache
    def read(name: str, *more: str) -> tuple[Any, list[Example]]:
        s = settings("method=ptv2", "prompt_length.value=2", "backbone=tiny_encoder", f"task={name}", *more)
        task = build.leaf(s.task)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PTUNE_CACHE", str(folder))
            examples = load(task, Data(source="demo", demo=Demo(train=40, dev=10))).splits["train"]
        return task, [replace(e, gold=None) if i % 7 == 3 else e for i, e in enumerate(examples)]

    return read


def plain(tokens: Tokens, task: Any, **more: Any) -> Plain:
    return Plain(tokens, task.fields, task.segments, windows=task.windows, **more)


def kept(folder: Path, on: bool = True, stream: io.StringIO | None = None) -> Cache:
    return Cache(lambda: folder, Progress(stream=stream or io.StringIO()), on)


def said(row: Row) -> dict[str, Any]:
    """A row as data, with the types of what a batch is made of."""
    return {
        **vars(row),
        "read": {name: list(places) for name, places in row.read.items()},
        "target": (type(row.target), row.target),
        "offsets": None if row.offsets is None else (row.offsets.dtype, row.offsets.tolist()),
    }


def pattern(tokens: Tokens, task: Any, **more: Any) -> Pattern:
    return Pattern(tokens, task.fields, task.patterns, windows=task.windows, **more)


CASES = {
    "tag, windows": ("conll03", plain, {}, 16),
    "tag, cut": ("conll03", plain, {"overflow": "truncate", "slots": 2}, 16),
    "roles, marked": ("conll05", plain, {}, 16),
    "roles, appended": ("conll05 task.predicate=appended", plain, {}, 16),
    "roles, literal": ("conll05 task.predicate=literal", plain, {}, 16),
    "choice": ("copa", plain, {}, 24),
    "many candidates": ("record", plain, {}, 48),
    "answers": ("squad task.doc_stride=8 task.max_question_length=12", plain, {}, 40),
    "answers, cut": ("squad task.doc_stride=8 task.max_question_length=12", plain, {"overflow": "truncate"}, 40),
    "answers or none": ("squad_v2 task.doc_stride=8 task.max_question_length=12", plain, {}, 40),
    "pattern": ("rte", pattern, {"mask": True}, 40),
    "pattern with slots": ("rte", pattern, {"mask": True, "slots": 5}, 40),
    "pair": ("rte", plain, {"mask": True}, 24),
    "numbers": ("stsb", plain, {}, 40),
    "numbers, pattern": ("stsb", pattern, {"mask": True}, 40),
    "pronouns": ("wsc", plain, {}, 64),
    "marked words": ("wic", plain, {}, 48),
    "marked words of a pair": ("wic task.format=pair", plain, {}, 48),
    "grouped examples": ("multirc", plain, {}, 64),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_the_same(case, demo, tokens, tmp_path):
    """From the template, from memory, written and read again: the same rows and figures, types included."""
    name, make, given, most = CASES[case]
    task, examples = demo(*name.split())
    template = make(tokens, task, **given)
    without = Rendered(examples, task, template, most)
    first, second = (Rendered(examples, task, template, most, kept(tmp_path)) for _ in range(2))
    assert isinstance(first.parts, Encoded)
    assert isinstance(second.parts, Encoded)
    for index, example in enumerate(examples):
        shown = enumerate(task.candidates(example))
        made = [
            said(row)
            for number, (one, target) in shown
            for row in template.rows(
                replace(template.parts(index, one, target), candidate=number, grouped=task.grouped), NO_DRAW, most
            )
        ]
        for rendered in (without, first, second):
            assert [said(row) for row in rendered.rows(index, NO_DRAW)] == made
    for name in ("lengths", "counts", "labels", "lost", "cut"):
        assert getattr(without, name) == getattr(first, name) == getattr(second, name)
        assert type(getattr(second, name)) is type(getattr(without, name))
    assert without.reading() == second.reading()
    for old, new in zip(Stream(without, 8, 2, 1, True)(3), Stream(second, 8, 2, 1, True)(3), strict=True):
        for field, value in vars(old).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(new, field)), field
                assert value.dtype == getattr(new, field).dtype


@pytest.mark.slow
def test_cases_show_what_they_name(demo, tokens):
    """Windows, cut rows, candidates, marks, slots, numbers and answers that are not there do come up."""

    def rows(case: str) -> list[Row]:
        name, make, given, most = CASES[case]
        task, examples = demo(*name.split())
        rendered = Rendered(examples, task, make(tokens, task, **given), most)
        return [row for index in range(len(rendered)) for row in rendered.rows(index, NO_DRAW)]

    assert any(row.start for row in rows("tag, windows"))
    assert any(row.start for row in rows("roles, marked"))
    assert any(row.start for row in rows("answers"))
    assert any(row.target == Extent(0, 0) for row in rows("answers or none"))
    assert max(row.candidate for row in rows("many candidates")) > 2
    assert all(len(row.slots) == 5 and row.read["mask"] for row in rows("pattern with slots"))
    assert any(isinstance(row.target, float) for row in rows("numbers"))
    assert all({*row.read} > {"cls"} for row in rows("marked words of a pair"))
    assert any(row.cut for row in rows("pair"))
    assert all(any(row.target is None for row in rows(case)) for case in CASES)


def test_parts_are_the_same(tmp_path):
    """Every form that a part and a target have."""
    parts = [
        Part("text", [5, 6], 1, marks={"pronoun": range(1, 2), "nothing": ()}),
        Part("text", [], 0),
        Part("words", [7, 8, 9], 0, [0, 2], [0, 1]),
        Part("context", [3, 4], 0, offsets=np.array([[0, 2], [3, 9]], dtype=np.int32)),
        Part("context", [], 0, offsets=np.zeros((0, 2), dtype=np.int32)),
        Part("mask", [1]),
        Part("slot", [2] * 3),
        Part("literal", [2] * 3),
    ]
    targets = [None, 3, 0, 2.5, float("nan"), 1.0, [1, -100], [], Extent(-1, -1), Extent(4, 4)]
    examples = [[Parts(i, parts[: i % 9], target, 2, i, bool(i % 2))] for i, target in enumerate(targets)]
    encoded.write(tmp_path, [encoded.EncodedExample(each, i, 1, 2, 3, False) for i, each in enumerate(examples)])
    found = Encoded(tmp_path)
    assert len(found) == len(targets)
    assert found.figures["length"].tolist() == [*range(len(targets))]
    for (made,), (given,) in zip(found, examples, strict=True):
        assert repr(made.target) == repr(given.target)
        assert vars(replace(made, parts=[], target=None)) == vars(replace(given, parts=[], target=None))
        for one, other in zip(made.parts, given.parts, strict=True):
            assert (one.kind, one.ids, one.segment) == (other.kind, other.ids, other.segment)
            assert (list(one.starts), list(one.leads)) == (list(other.starts), list(other.leads))
            assert (one.offsets is None) == (other.offsets is None)
            assert one.offsets is None or np.array_equal(one.offsets, other.offsets)
            assert {k: list(v) for k, v in one.marks.items()} == {k: list(v) for k, v in other.marks.items()}
    assert found[-1][0].target == Extent(4, 4)
    assert [each[0].example for each in found[2:4]] == [2, 3]
    with pytest.raises(IndexError):
        found[len(targets)]


def test_batches_of_every_size(tmp_path, monkeypatch):
    """Splits that fill batches, and do not."""
    monkeypatch.setattr(arrow, "PER_BATCH", 4)
    for count in (0, 1, 3, 4, 5, 8, 11):
        folder = tmp_path / str(count)
        folder.mkdir()
        examples = [[Parts(i, [Part("text", [i, j])], j, 1, j) for j in range(1 + i % 3)] for i in range(count)]
        encoded.write(folder, [encoded.EncodedExample(each, i, 1, 1, 0, i % 2 == 0) for i, each in enumerate(examples)])
        found = Encoded(folder)
        assert [[(p.candidate, p.parts[0].ids) for p in each] for each in found] == [
            [(p.candidate, p.parts[0].ids) for p in each] for each in examples
        ]
        assert found.figures["cut"].tolist() == [int(i % 2 == 0) for i in range(count)]


def test_what_is_shared_is_there_once(tmp_path, monkeypatch):
    """A context of many questions is written once, also when other texts come between; only so many are remembered."""
    context = Part("context", [*range(500)], offsets=np.arange(1000, dtype=np.int32).reshape(-1, 2))

    def size(name: str, count: int) -> int:
        (tmp_path / name).mkdir()
        laid = (
            encoded.EncodedExample([Parts(i, [Part("text", [i]), context._replace(segment=i % 2)])], 9, 1, 1, 0, False)
            for i in range(count)
        )
        encoded.write(tmp_path / name, laid)
        found = Encoded(tmp_path / name)
        assert all(found[i][0].parts[1].segment == i % 2 for i in range(count))
        return (tmp_path / name / "parts.arrow").stat().st_size

    assert size("many", 200) - size("few", 100) < 100 * 200
    monkeypatch.setattr(encoded, "REMEMBERED", 1)
    assert size("forgotten", 200) > 100 * 500 * 4


# The key


@pytest.fixture
def asked(tokens) -> dict[str, Any]:
    """What `key` is asked for: two tagged sentences."""
    task = Tag("x", 1, {}, ["PER"])
    examples = [
        Example("a", {"tokens": ["the", "mill"]}, ["O", "B-PER"], mark=1),
        Example("b", {"tokens": ["the", "dog"]}, ["O", "O"], marks={"m": ("tokens", Extent(0, 1))}, group="g"),
    ]
    return {"examples": examples, "task": task, "template": Plain(tokens, ["tokens"]), "max_len": 16}


def with_example(**changes: Any):
    return lambda asked, _: {**asked, "examples": [asked["examples"][0], replace(asked["examples"][1], **changes)]}


def with_setting(what: str, name: str, value: Any):
    def change(asked: dict[str, Any], _: Any) -> dict[str, Any]:
        setattr(asked[what], name, value)
        return asked

    return change


def with_template(make: Any):
    return lambda asked, _: {**asked, "template": make(asked["template"].tokens)}


def with_constant(module: Any, name: str, value: Any):
    def change(asked: dict[str, Any], patch: pytest.MonkeyPatch) -> dict[str, Any]:
        patch.setattr(module, name, value)
        return asked

    return change


def with_tokenizer(change: Any):
    def changed(asked: dict[str, Any], _: Any) -> dict[str, Any]:
        path = asked["template"].tokens.tokenizer.name_or_path
        tokenizer = AutoTokenizer.from_pretrained(path)
        change(tokenizer)
        return {**asked, "template": Plain(Tokens(tokenizer), ["tokens"])}

    return changed


class OtherTag(Tag):
    """Another class with the same settings."""


class OtherPlain(Plain):
    """Another class with the same settings."""


class OtherTokens(Tokens):
    """Another class with the same tokenizer."""


CHANGES = {
    "id": with_example(id="c"),
    "field": with_example(fields={"tokens": ["the", "cat"]}),
    "other field": with_example(fields={"tokens": ["the", "dog"], "more": 1}),
    "gold": with_example(gold=["O", "B-PER"]),
    "no gold": with_example(gold=None),
    "mark": with_example(mark=0),
    "marks": with_example(marks={"m": ("tokens", Extent(0, 2))}),
    "name of a mark": with_example(marks={"n": ("tokens", Extent(0, 1))}),
    "group": with_example(group="h"),
    "tail": with_example(tail=("a",)),
    "order": lambda asked, _: {**asked, "examples": asked["examples"][::-1]},
    "fewer": lambda asked, _: {**asked, "examples": asked["examples"][:1]},
    "max_length": lambda asked, _: {**asked, "max_len": 17},
    "task": with_setting("task", "name", "y"),
    "version": with_setting("task", "version", 2),
    "labels": lambda asked, _: {**asked, "task": Tag("x", 1, {}, ["PER", "LOC"])},
    "windows of the task": with_setting("task", "windows", Windows("tokens", 1, 2, 3)),
    "a number for a text": with_setting("task", "version", "1"),
    "class of the task": lambda asked, _: {**asked, "task": OtherTag("x", 1, {}, ["PER"])},
    "class of the template": with_template(lambda tokens: OtherPlain(tokens, ["tokens"])),
    "segments": with_template(lambda tokens: Plain(tokens, ["tokens", "more"])),
    "slots": with_template(lambda tokens: Plain(tokens, ["tokens"], slots=1)),
    "mask": with_template(lambda tokens: Plain(tokens, ["tokens"], mask=True)),
    "overflow": with_template(lambda tokens: Plain(tokens, ["tokens"], overflow="truncate")),
    "windows": with_template(lambda tokens: Plain(tokens, ["tokens"], windows=Windows("tokens", 1, 2, 3))),
    "pattern": with_template(lambda tokens: Pattern(tokens, ["tokens"], {"p": {"text": "{tokens}"}})),
    "other pattern": with_template(lambda tokens: Pattern(tokens, ["tokens"], {"p": {"text": "{tokens} {mask}"}})),
    "vocabulary": with_tokenizer(lambda tokenizer: tokenizer.add_tokens(["mill"])),
    "casing": with_tokenizer(lambda tokenizer: setattr(tokenizer.backend_tokenizer.normalizer, "lowercase", False)),
    "special tokens": with_tokenizer(lambda tokenizer: tokenizer.add_special_tokens({"pad_token": "[UNK]"})),
    "split special tokens": with_tokenizer(lambda tokenizer: setattr(tokenizer, "split_special_tokens", True)),
    "class of the tokens": lambda asked, _: {
        **asked,
        "template": Plain(OtherTokens(asked["template"].tokens.tokenizer), ["tokens"]),
    },
    "format": with_constant(encoded, "FORMAT", encoded.FORMAT + 1),
    "libraries": with_constant(cache.metadata, "version", lambda name: f"{name} 0"),
    "code": with_constant(cache, "sha256", lambda path: "0" if path.name == "plain.py" else "1"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_ingredient_is_in_the_key(what, asked, monkeypatch):
    if what == "code":
        monkeypatch.setattr(cache, "sha256", lambda path: "1")
    before = key(**asked)
    assert before == key(**asked)
    assert key(**CHANGES[what](asked, monkeypatch)) != before


def test_code_is_in_the_key(tmp_path, monkeypatch, asked):
    """Every module of the packages that the classes come from, which may not be newer than what runs."""
    package = tmp_path / "somebodys"
    (package / "below").mkdir(parents=True)
    modules = [package / "__init__.py", package / "leaf.py", package / "below" / "helper.py"]
    for path in modules:
        path.write_text("")
    modules[1].write_text("from ptune.templates.plain import Plain\nclass Theirs(Plain):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from somebodys.leaf import Theirs

    template = Theirs(asked["template"].tokens, ["tokens"])
    with pytest.raises(TypeError, match="was changed after ptune started"):
        key(**{**asked, "template": template})

    def aged() -> str:
        for path in package.rglob("*.py"):
            os.utime(path, (cache.STARTED - 9, cache.STARTED - 9))
        return key(**{**asked, "template": template})

    seen = {aged()}
    assert {aged()} == seen
    for path in modules:
        path.write_text(path.read_text() + "# changed\n")
        seen.add(aged())
    (package / "new.py").write_text("")
    seen.add(aged())
    assert len(seen) == 5
    assert {"templates/plain.py", "tokens.py", "batch.py", "tasks/tag.py", "data/encoded.py"} <= {*cache.code("ptune")}


def test_key_is_that_of_another_process(bert_folder, tmp_path):
    """No order of a set, no address, no path is in it."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in bert_folder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    program = """
import sys
from transformers import AutoTokenizer
from ptune.batch import Example
from ptune.data.cache import key
from ptune.tasks.tag import Tag
from ptune.templates.plain import Plain
from ptune.tokens import Tokens
def found(folder):
    task = Tag("x", 1, {"names": {"a", "b", "c", "d"}}, ["PER"])
    template = Plain(Tokens(AutoTokenizer.from_pretrained(folder)), ["tokens"])
    template.parts(0, Example("z", {"tokens": ["seen"]}), None)
    return key([Example("a", {"tokens": ["the", "mill"]}, ["O", "O"])], task, template, 16)
"""
    there = subprocess.run(
        [sys.executable, "-c", f"{program}\nprint(found(sys.argv[1]))", str(moved)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout.strip()
    here: dict[str, Any] = {}
    exec(program, here)
    assert len(there) == 64
    assert here["found"](str(bert_folder)) == there


def test_what_cannot_be_said_is_not_cached(asked, tmp_path):
    """A setting without a value that could be written down: rows are made, nothing is kept."""
    asked["template"].asks = object()
    with pytest.raises(TypeError, match=r"a builtins\.object has no value"):
        key(**asked)
    rendered = Rendered(*asked.values(), kept(tmp_path))
    assert [len(rendered.rows(i, NO_DRAW)) for i in range(2)] == [1, 1]
    assert [*tmp_path.iterdir()] == []


def test_parts_of_other_classes_are_not_cached(asked, tmp_path):
    """They may hold more than the files do; and what is no integer is not made one."""

    class More(Part):
        pass

    class Shows(Plain):
        def parts(self, *given):
            made = super().parts(*given)
            return replace(made, parts=[More(*part) for part in made.parts])

    rendered = Rendered(
        asked["examples"], asked["task"], Shows(asked["template"].tokens, ["tokens"]), 16, seen := kept(tmp_path)
    )
    assert {type(part) for parts in rendered.parts for part in parts[0].parts} == {More}
    assert seen.on
    assert [*(tmp_path / "encoded").iterdir()] == []
    with pytest.raises(TypeError):
        encoded.integers([1.5])
    with pytest.raises(TypeError):
        encoded.integers(np.array([1.5]))
    with pytest.raises(OverflowError):
        encoded.integers([2**31])


# Files


@pytest.fixture
def lay(asked, monkeypatch):
    """lay(cache): the split laid out; lay.made counts the examples that were encoded for it."""
    made = []
    parts = Plain.parts

    def watched(self, *given):
        made.append(given)
        return parts(self, *given)

    monkeypatch.setattr(Plain, "parts", watched)
    expected = [[said(row) for row in Rendered(*asked.values()).rows(i, NO_DRAW)] for i in range(2)]

    def laid(cache: Cache) -> int:
        made.clear()
        rendered = Rendered(*asked.values(), cache, "train")
        assert [[said(row) for row in rendered.rows(i, NO_DRAW)] for i in range(2)] == expected
        return len(made)

    return laid


def test_second_run_encodes_nothing(lay, tmp_path):
    assert [lay(kept(tmp_path)), lay(kept(tmp_path))] == [2, 0]
    (folder,) = (tmp_path / "encoded").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_off_and_small(lay, tmp_path, monkeypatch):
    assert [lay(kept(tmp_path, on=False)), lay(kept(tmp_path, on=False))] == [2, 2]
    monkeypatch.setattr(cache, "SMALLEST", 3)
    assert [lay(kept(tmp_path)), lay(kept(tmp_path))] == [2, 2]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["flipped", "truncated", "empty", "missing"])
def test_damaged_files_are_made_again(name, harm, lay, tmp_path):
    """Never believed; what is made in their place is whole."""
    assert lay(kept(tmp_path)) == 2
    (folder,) = (tmp_path / "encoded").iterdir()
    before = {file: (folder / file).read_bytes() for file in FILES}
    data = before[name]
    middle = len(data) // 2
    if harm == "missing":
        (folder / name).unlink()
    else:
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        (folder / name).write_bytes({"flipped": flipped, "truncated": data[:-9], "empty": b""}[harm])
    assert [lay(kept(tmp_path)), lay(kept(tmp_path))] == [2, 0]
    assert {file: (folder / file).read_bytes() for file in FILES} == before
    assert [*(tmp_path / "encoded").iterdir()] == [folder]


def test_a_folder_that_cannot_be_written(lay, tmp_path):
    """One warning, and rows as ever."""
    (tmp_path / "file").write_text("")
    stream = io.StringIO()
    at = kept(tmp_path / "file", stream=stream)
    assert [lay(at), lay(at)] == [2, 2]
    assert stream.getvalue().count("warning: ") == 1
    assert stream.getvalue().startswith("warning: examples are not cached (")
    assert "Not a directory" in stream.getvalue()


def test_a_full_disk(lay, tmp_path):
    """What could not be written to its end is not left behind."""
    stream = io.StringIO()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        assert lay(kept(tmp_path, stream=stream)) == 4  # what was begun is begun again
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert stream.getvalue().count("warning: examples are not cached (") == 1
    assert [*(tmp_path / "encoded").iterdir()] == []


def test_two_at_once(asked, lay, tmp_path, monkeypatch):
    """Another process that is done first wrote the same bytes; both read what they need."""
    write, seen = encoded.write, []

    def interrupted(folder: Path, split: Any) -> None:
        write(folder, split)
        if not seen:
            seen.append(folder)
            assert lay(kept(tmp_path)) == 2
            (final,) = (path for path in folder.parent.iterdir() if path != folder)
            assert all((final / file).read_bytes() == (folder / file).read_bytes() for file in FILES)

    monkeypatch.setattr(encoded, "write", interrupted)
    lay(kept(tmp_path))
    assert lay(kept(tmp_path)) == 0
    assert len([*(tmp_path / "encoded").iterdir()]) == 1


def test_errors_of_encoding_are_errors(asked, tmp_path, monkeypatch):
    """They are no reason to go on without a cache, and leave nothing."""

    def broken(*_: Any) -> Parts:
        raise DataError("train.txt:7: broken")

    monkeypatch.setattr(Plain, "parts", broken)
    with pytest.raises(DataError, match=r"train.txt:7: broken"):
        Rendered(*asked.values(), kept(tmp_path))
    assert [*(tmp_path / "encoded").iterdir()] == []


def test_unused_splits_are_dropped(lay, tmp_path):
    """After a month without being read; those that are read stay."""
    assert lay(kept(tmp_path)) == 2
    (used,) = (tmp_path / "encoded").iterdir()
    unused, left = tmp_path / "encoded" / ("0" * 64), tmp_path / "encoded" / ".1.cut_off"
    for folder in (used, unused, left):
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder, (0, 0))
    assert lay(kept(tmp_path)) == 0
    cache.drop_unused(tmp_path / "encoded")
    assert [*(tmp_path / "encoded").iterdir()] == [used]


def test_rows_are_kept_up_to_a_bound(tokens, monkeypatch):
    """Rows of the first examples asked for are the same objects the next time; those of the others are made again."""
    monkeypatch.setattr(Rendered, "KEPT", 20)
    examples = [Example(str(i), {"tokens": ["the"] * 8}, ["O"] * 8) for i in range(5)]
    rendered = Rendered(examples, Tag("x", 1, {}, ["PER"]), Plain(tokens, ["tokens"]), 16)
    kept = [rendered.rows(i, NO_DRAW) is rendered.rows(i, NO_DRAW) for i in (3, 1, 0, 2, 4)]
    assert kept == [True, True, False, False, False]


# Runs


@pytest.mark.slow
def test_runs_are_the_same(ptune, tmp_path, monkeypatch):
    """Losses and predictions of a run without the cache, of one that fills it and of one that reads it; and of eval."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    common = "train method=ptv2 backbone=tiny_encoder task=conll03 data=demo data.demo.train=60 data.demo.dev=30"
    common += " data.demo.test=20 epochs=2 batch_size=8 optim.lr=0.01 tracker=none seed=3"
    for name, more in (("without", "data.cache=false"), ("first", ""), ("second", "")):
        done = ptune(*common.split(), *more.split(), f"hydra.run.dir={name}", "data.max_length=24")
        assert done.code == 0, done.err

    def told(name: str, file: str) -> Any:
        lines = [json.loads(line) for line in (tmp_path / name / file).read_text().splitlines()]
        return [{k: v for k, v in line.items() if "second" not in k} for line in lines]

    for file in ("metrics.jsonl", "predictions.jsonl"):
        assert told("without", file) == told("first", file) == told("second", file)
    tuned = {(tmp_path / name / "tuned.safetensors").read_bytes() for name in ("without", "first", "second")}
    assert len(tuned) == 1
    identities = {json.loads((tmp_path / n / "env.json").read_text())["identity"] for n in ("without", "second")}
    assert len(identities) == 1
    assert len([*(tmp_path / "cache" / "encoded").iterdir()]) == 3
    assert ptune("eval", "first").code == 0
    assert len([*(tmp_path / "cache" / "encoded").iterdir()]) == 3


def test_a_table_in_a_file_is_as_wide_as_it_needs():
    """A terminal's 80 columns are not assumed: nothing of a long path or of a figure is cut off."""
    stream = io.StringIO()
    path = "outputs/" + "x" * 100
    Progress(stream=stream).table(["run", "dev f1", "95% interval"], [[path, "87.56", "[85.1, 90.0]"]])
    assert stream.getvalue().splitlines()[1].split() == [path, "87.56", "[85.1,", "90.0]"]


def test_the_counts_of_a_bar_have_room_first():
    """A step without its total says little; the bar and the figures give way."""
    stream = io.StringIO()
    shown = Progress(stream=stream)
    shown.console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    shown.live = True
    shown.begin("ptv2 P=20 conll03 (synthetic) tiny_encoder", 2345)
    shown.show({"event": "eval", "split": "dev", "metric": "f1", "selected": 55.5, "best": True})
    shown.show({"event": "step", "step": 1017, "loss": 0.123, "examples": 16})
    shown.end()
    last = [line for line in stream.getvalue().splitlines() if "conll03" in line][-1]
    assert "ptv2 P=20 conll03 (synthetic) tiny_encoder" in last
    assert "1017/2345" in last
    assert "loss 0.123" in last


def test_progress_of_encoding(monkeypatch):
    """Work of less than a second is not shown; longer work says how far it is, now and then, and ends."""
    clock = itertools.count(0, 0.4)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    shown = Progress(stream=stream)
    assert [*shown.follow("train: encoding", range(2), 2)] == [0, 1]
    assert stream.getvalue() == ""
    assert [*shown.follow("train: encoding", range(60), 60)] == [*range(60)]
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train: encoding  3/60  23 s left"
    assert len(lines) == 3
