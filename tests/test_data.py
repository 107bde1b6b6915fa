"""Corpora from files, their splits, and the stream of batches as a pure function of seed and step."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from ptune import demo
from ptune.batch import Draw, Example, Row
from ptune.config import Data, Demo
from ptune.data import corpora
from ptune.data.corpora import Corpus
from ptune.data.rendered import Rendered, Stream, split_into_batches
from ptune.data.sampling import sample
from ptune.data.splits import hold_out
from ptune.errors import ConfigError, DataError, PtuneError, UnavailableError
from ptune.leaves import leaf
from ptune.tasks import Prediction
from ptune.tasks.classify import Classify
from ptune.tasks.tag import Tag
from ptune.templates import Parts
from ptune.templates.plain import Plain
from ptune.tokens import Tokens

CONF = Path(__file__).resolve().parents[1] / "conf"
CUT = ["train", "dev", "unlabeled"]
FILES = {"train": ["train.jsonl"], "dev": ["val.jsonl", "dev.jsonl"], "test": ["test.jsonl"]}


@pytest.fixture
def rte():
    """RTE as its yaml has it."""
    source = {"reader": "jsonl", "folder": "RTE", "files": FILES}
    return Classify("rte", 1, source, ["premise", "hypothesis"], ["entailment", "not_entailment"])


@pytest.fixture
def conll03():
    """CoNLL-2003 as its yaml has it."""
    source = {
        "reader": "columns",
        "columns": {"tokens": 0, "tags": 3},
        "folder": "conll03",
        "files": {
            "train": ["train.txt", "eng.train"],
            "dev": ["valid.txt", "eng.testa"],
            "test": ["test.txt"],
        },
    }
    return Tag("conll03", 1, source, ["PER", "ORG", "LOC", "MISC"], scheme="iob1")


def write(path: Path, count: int, labeled: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"premise": f"p {i}", "hypothesis": "h", "idx": i} | ({"label": "entailment"} if labeled else {})
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def local(root: Path, **settings) -> Data:
    return Data(source="local", root=str(root), **settings)


# Files


@pytest.mark.parametrize("folder", ["", "RTE", "rte"])
def test_local_files(rte, tmp_path, folder):
    """Found in the root, in the corpus's folder and in the task's; with a checksum each."""
    write(tmp_path / folder / "train.jsonl", 6)
    write(tmp_path / folder / "dev.jsonl", 3)
    write(tmp_path / folder / "test.jsonl", 4, labeled=False)
    corpus = corpora.load(rte, local(tmp_path))
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {
        "train": 6,
        "dev": 3,
        "test": 4,
    }
    assert corpus.splits["train"][2] == Example("2", {"premise": "p 2", "hypothesis": "h"}, "entailment")
    assert [corpus.labeled(split) for split in ("train", "dev", "test", "held_out")] == [
        True,
        True,
        False,
        False,
    ]
    assert not corpus.synthetic
    assert corpus.origin["files"]["dev"]["path"] == str(tmp_path / folder / "dev.jsonl")
    assert len(corpus.origin["files"]["dev"]["sha256"]) == 64
    assert corpus.origin["examples"] == {"train": 6, "dev": 3, "test": 4}


def test_limits(rte, tmp_path):
    """data.max_SPLIT takes the first so many; more than there are is all."""
    for name in ("train", "val", "test"):
        write(tmp_path / f"{name}.jsonl", 6)
    corpus = corpora.load(rte, local(tmp_path, max_train=2, max_test=9))
    assert [example.id for example in corpus.splits["train"]] == ["0", "1"]
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {
        "train": 2,
        "dev": 6,
        "test": 6,
    }
    assert corpus.origin["examples"] == {"train": 2, "dev": 6, "test": 6}


def test_missing(rte, conll03, tmp_path):
    """The message says where it looked and for what."""
    with pytest.raises(UnavailableError) as caught:
        corpora.load(rte, local(tmp_path / "no"))
    assert str(caught.value) == (
        f"data.root: {tmp_path / 'no'} is not a folder; name the one that holds rte's original files"
    )
    with pytest.raises(UnavailableError) as caught:
        corpora.load(rte, local(tmp_path))
    assert str(caught.value) == (
        f"rte: no train and no dev data in {tmp_path}; looked for train.jsonl; val.jsonl or dev.jsonl"
    )
    write(tmp_path / "train.jsonl", 2)
    with pytest.raises(UnavailableError) as caught:
        corpora.load(rte, local(tmp_path))
    assert str(caught.value) == f"rte: no dev data in {tmp_path}; looked for val.jsonl or dev.jsonl"
    (tmp_path / "val.jsonl").write_text("\n")
    with pytest.raises(DataError) as caught:
        corpora.load(rte, local(tmp_path))
    assert str(caught.value) == f"{tmp_path / 'val.jsonl'}: no records; is this the dev file of rte?"
    (tmp_path / "train.txt").write_text("a b c I-PER\nb c d B-PERS\n")
    with pytest.raises(DataError) as caught:
        corpora.load(conll03, local(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'train.txt'}:2: 'B-PERS' (token 2) is not a type of conll03; did you mean 'PER'?"
    )


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("wnut17", {"train": 3394, "dev": 1009, "test": 1287}),
        ("rte", {"train": 2490, "dev": 277, "test": 3000}),
        ("cb", {"train": 250, "dev": 56, "test": 250}),
    ],
)
def test_real_corpora(shared, settings, task, counts):
    """The shipped yamls read the original releases whole, from the folder above them."""
    from ptune import build

    folder = shared / "data" / ("superglue" if task in ("rte", "cb") else "")
    found = settings(f"task={task}", "data=local", f"data.root={folder}", "method=majority")
    corpus = corpora.load(build.leaf(found.task), found.data)
    assert {split: len(examples) for split, examples in corpus.splits.items()} == counts
    assert [corpus.labeled(split) for split in counts] == [True, True, task == "wnut17"]


def test_demo_data(conll03, tmp_path, monkeypatch):
    """Written once below PTUNE_CACHE for each seed and difficulty, read by the same reader, and called synthetic."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    written = []
    write = demo.write

    def watched(task, folder, seed, sizes, **difficulty):
        written.append((seed, sizes, difficulty))
        write(task, folder, seed, sizes, **difficulty)

    monkeypatch.setattr(demo, "write", watched)
    small = Demo(train=12, dev=5, test=4)
    corpus = corpora.load(conll03, Data(source="demo", demo=small))
    assert corpus.synthetic
    assert corpus.origin["examples"] == {"train": 12, "dev": 5, "test": 4}
    root = Path(corpus.origin["root"])
    assert root.parent == tmp_path / "cache" / "demo"
    assert root.name.startswith("conll03-0-")
    assert [path.name for path in root.parent.iterdir()] == [root.name]
    assert corpora.load(conll03, Data(source="demo", demo=small)).splits == corpus.splits
    assert corpora.load(conll03, Data(source="demo", seed=1, demo=small)).splits != corpus.splits
    assert corpora.load(conll03, Data(source="demo", demo=replace(small, noise=1.0))).splits != corpus.splits
    easy = {"noise": 0.0, "distractors": 2, "length": 4}
    sizes = {"train": 12, "dev": 5, "test": 4}
    assert written == [(0, sizes, easy), (1, sizes, easy), (0, sizes, {**easy, "noise": 1.0})]


def test_draw(conll03, tmp_path, monkeypatch):
    """data.draw chooses data.max_train examples by a seed, in the file's order, and says which; dev stays as it is."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path))
    small = Demo(train=40, dev=10, test=4)
    whole = corpora.load(conll03, Data(source="demo", demo=small)).splits
    seen = []
    for seed in (1, 2, 1):
        corpus = corpora.load(conll03, Data(source="demo", demo=small, draw=seed, max_train=8, max_dev=5))
        chosen = corpus.splits["train"]
        assert len(chosen) == 8
        assert [whole["train"].index(example) for example in chosen] == sorted(map(whole["train"].index, chosen))
        assert corpus.splits["dev"] == whole["dev"][:5]
        assert corpus.origin["draw"] == {"seed": seed, "ids": [example.id for example in chosen]}
        seen.append(chosen)
    assert seen[0] == seen[2] != seen[1]


@pytest.mark.parametrize("limits", [{}, {"max_dev": 4}])
def test_a_draw_of_nothing(limits, conll03, settings):
    """data.draw says which examples are taken, where not all are."""
    said = "data.draw: is only used with data.max_train=N or data.per_class=K; set one of them"
    with pytest.raises(ConfigError) as caught:
        corpora.load(conll03, Data(source="demo", draw=1, **limits))
    assert caught.value.problems == [said]
    with pytest.raises(ConfigError) as caught:
        settings("task=conll03", "data=demo", "method=majority", "data.draw=1")
    assert caught.value.problems == [said]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train=-1", "train -1 is too small; at least 1"),
        ("dev=0", "dev 0 is too small; at least 1"),
        ("length=0", "length 0 is too small; at least 1"),
        ("distractors=-1", "distractors -1 is too small; at least 0"),
        ("noise=2", "noise 2.0 is no share; from 0 to 1"),
        ("noise=-0.1", "noise -0.1 is no share; from 0 to 1"),
        ("noise=nan", "noise nan is no share; from 0 to 1"),
    ],
)
def test_demo_settings_out_of_bounds(word, said, ptune, tmp_path, monkeypatch):
    """One line, and no folder is left."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    done = ptune("data", "info", "task=multirc", "data=demo", f"data.demo.{word}")
    assert (done.code, done.err) == (2, f"data.demo: {said}")
    assert [*tmp_path.glob("cache/demo/*")] == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_demo_data_that_could_not_be_written(error, conll03, tmp_path, monkeypatch):
    """Nothing is left of it, and what went wrong is passed on."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path))

    def write(task, folder, *rest, **difficulty):
        (folder / "train.txt").write_text("Anna B-PER")
        raise error

    monkeypatch.setattr(demo, "write", write)
    with pytest.raises(type(error)):
        corpora.load(conll03, Data(source="demo"))
    assert [*tmp_path.glob("demo/*")] == []


def test_demo_without_the_task(conll03, tmp_path, monkeypatch):
    """The demo world says what it has."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path))
    conll03.name = "muc7"
    with pytest.raises(UnavailableError) as caught:
        corpora.load(conll03, Data(source="demo"))
    assert str(caught.value) == f"data=demo: the demo world has no muc7; it has {', '.join(demo.tasks())}"


def test_cache_folder(tmp_path, monkeypatch):
    """PTUNE_CACHE as it is, else ptune in the user's cache, else a temporary folder."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "mine"))
    assert corpora.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("PTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert corpora.cache_folder() == tmp_path / "user" / "ptune"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    assert corpora.cache_folder() == tmp_path / "temporary" / "ptune"


# Held-out splits


def corpus(train: int = 40, dev: int = 11) -> Corpus:
    return Corpus(
        {
            "train": [Example(f"t{i}", {}, "a") for i in range(train)],
            "dev": [Example(f"d{i}", {}, "a") for i in range(dev)],
        }
    )


def ids(examples) -> list[str]:
    return [example.id for example in examples]


@pytest.mark.parametrize(
    ("source", "share", "count"),
    [("train", 0.1, 4), ("train", 0.5, 20), ("train", 0.001, 1), ("dev", 0.1, 5)],
)
def test_held_out(source, share, count):
    """Disjoint, complete, in the file's order, drawn from the seed alone, and on record."""
    whole, made = corpus(), corpus()
    hold_out(made, source, share, seed=3)
    assert len(made.splits["held_out"]) == count
    chosen = set(ids(made.splits["held_out"]))
    assert not chosen & set(ids(made.splits[source]))
    assert chosen | set(ids(made.splits[source])) == set(ids(whole.splits[source]))
    order = ids(whole.splits[source])
    assert [order.index(i) for i in ids(made.splits["held_out"])] == sorted(order.index(i) for i in chosen)
    other = {"train": "dev", "dev": "train"}[source]
    assert made.splits[other] == whole.splits[other]
    assert made.origin["held_out"]["from"] == source
    assert made.origin["held_out"]["examples"] == count
    again, another = corpus(), corpus()
    hold_out(again, source, share, seed=3)
    hold_out(another, source, share, seed=4)
    assert again.splits == made.splits
    assert another.splits != made.splits or count == 1


@pytest.mark.parametrize(("train", "share"), [(1, 0.1), (4, 1.0)])
def test_held_out_of_too_little(train, share):
    """Both sides need an example."""
    with pytest.raises(PtuneError) as caught:
        hold_out(corpus(train=train), "train", share, seed=1)
    assert str(caught.value) == f"held_out_share: {share} of {train} examples leaves one side empty"


def grouped(sizes: list[int]) -> list[Example]:
    """Groups of so many examples each, the members of one apart from one another."""
    left, found = [*sizes], []
    while any(left):
        for i, count in enumerate(left):
            if count:
                found.append(Example(f"{i}-{count}", {}, "a", group=f"g{i}"))
                left[i] -= 1
    return found


def whole(examples, all_examples) -> bool:
    """Whether of each group all members are there."""
    names = {e.group for e in examples}
    return sorted(ids(examples)) == sorted(e.id for e in all_examples if e.group in names)


@pytest.mark.parametrize("source", ["train", "dev"])
@pytest.mark.parametrize("seed", range(5))
def test_groups_are_held_out_whole(source, seed):
    """Not more examples than of others, in the order of the file, and no group on both sides."""
    examples = grouped([3, 1, 4, 1, 5, 9, 2, 6] * 3)
    made = Corpus({"train": examples, "dev": examples})
    hold_out(made, source, 0.3, seed)
    held, rest = made.splits["held_out"], made.splits[source]
    most = len(examples) // 2 if source == "dev" else round(0.3 * len(examples))
    assert most - 9 < len(held) <= most
    assert not {e.group for e in held} & {e.group for e in rest}
    assert [e for e in examples if e in held] == held
    assert [e for e in examples if e not in held] == rest
    assert made.origin["held_out"] == {"from": source, "examples": len(held), "seed": seed}


@pytest.mark.parametrize(("name", "shared"), [("squad", "context"), ("record", "passage"), ("srl_ewt", "tokens")])
def test_documents_are_held_out_whole(settings, name, shared):
    """No text of what selects was trained on by way of another question, query or predicate."""
    from ptune import build

    found = settings(f"task={name}", "method=majority", "data=demo")
    task = build.leaf(found.task)
    examples = corpora.load(task, found.data).splits["train"]
    texts = [str(e.fields[shared]) for e in examples]
    assert len({*texts}) < len(texts)
    for document in (task.document, None):
        made = Corpus({"train": examples})
        hold_out(made, "train", 0.2, 1, document)
        held, rest = ({str(e.fields[shared]) for e in made.splits[split]} for split in ("held_out", "train"))
        assert bool(held & rest) == (document is None)
        assert len(made.splits["held_out"]) + len(made.splits["train"]) == len(examples)
        assert 0 < len(made.splits["held_out"]) <= round(0.2 * len(examples))


@pytest.mark.parametrize(
    ("name", "shared"),
    [("wsc", "text"), ("boolq", "passage"), ("qnli", "question"), ("wnli", "sentence1"),
     *((name, "premise") for name in ("rte", "glue_rte", "snli", "mnli"))],
)  # fmt: skip
def test_what_is_asked_about_one_text_stays_together(settings, name, shared):
    """In what selects or trains, and in the interval: two rows about a text say less than two texts."""
    from ptune import build

    found = settings(f"task={name}", "method=majority", "data=demo")
    task = build.leaf(found.task)
    once = corpora.load(task, found.data).splits["train"][:300]
    examples = [replace(e, id=f"{e.id} {i}") for e in once for i in (1, 2)]
    made = Corpus({"train": examples})
    hold_out(made, "train", 0.5, 1, task.document)
    held, rest = ({e.fields[shared] for e in made.splits[split]} for split in ("held_out", "train"))
    assert held
    assert rest
    assert not held & rest
    wrong = dict(zip(task.labels, [*task.labels[1:], task.labels[0]], strict=True))
    of_once = [Prediction(e.gold if i % 3 else wrong[e.gold]) for i, e in enumerate(once)]
    of_both = [prediction for prediction in of_once for _ in (1, 2)]
    low, high = task.interval(once, of_once)
    assert task.interval(examples, of_both) == pytest.approx((low, high), abs=1.0)


def test_what_names_no_document_stays_with_its_group():
    """Where the first has one; answers of one group stay together with it and without."""
    examples = [Example(f"{i}", {"text": f"t{i // 4}"} if i < 20 else {}, "a", group=f"g{i // 2}") for i in range(40)]
    made = Corpus({"train": examples})
    hold_out(made, "train", 0.5, 1, lambda example: example.fields.get("text"))
    held, rest = made.splits["held_out"], made.splits["train"]
    assert not {e.group for e in held} & {e.group for e in rest}
    assert not {e.fields.get("text") for e in held} & {e.fields.get("text") for e in rest} - {None}


def test_one_group_cannot_be_held_out():
    """Nothing would be left of it."""
    with pytest.raises(PtuneError) as caught:
        hold_out(Corpus({"dev": grouped([4])}), "dev", 0.1, seed=1)
    assert str(caught.value) == "held_out_share: 0.1 of 4 examples leaves one side empty"


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(("most", "least"), [(1, 1), (2, 1), (7, 3), (20, 12), (31, 31)])
def test_groups_are_drawn_whole(seed, most, least):
    """As many groups as there is room for, and one at least; without a seed the first ones."""
    examples = grouped([3, 1, 4, 1, 5, 9, 2, 6])
    found = sample(examples, most, seed)
    assert whole(found, examples)
    assert [e for e in examples if e in found] == found
    assert least <= len(found) <= most or len({e.group for e in found}) == 1
    if seed is None and most == 7:
        assert {e.group for e in found} == {"g0", "g1"}
    assert sample(examples, most, seed) == found


def test_draws_without_groups_are_those_of_recorded_runs():
    """A seed means the same examples for ever."""
    assert ids(sample(corpus(40).splits["train"], 6, 13)) == ["t20", "t21", "t24", "t26", "t28", "t35"]
    made = corpus(40)
    hold_out(made, "train", 0.1, seed=3)
    assert ids(made.splits["held_out"]) == ["t17", "t25", "t31", "t32"]


def test_no_question_of_multirc_is_torn_apart(shared, settings):
    """EM is of whole questions: those of the real files stand on one side each, and in no cut in part."""
    from ptune import build

    root = f"data.root={shared / 'data' / 'superglue'}"
    found = settings("task=multirc", "data=local", root, "method=majority", "data.max_dev=100", "data.max_train=50")
    task = build.leaf(found.task)
    complete = corpora.load(task, replace(found.data, max_dev=None)).splits["dev"]
    assert whole(corpora.load(task, found.data).splits["dev"], complete)
    made = Corpus({"dev": complete})
    hold_out(made, "dev", 0.5, seed=1)
    assert not {e.group for e in made.splits["dev"]} & {e.group for e in made.splits["held_out"]}
    assert len(made.splits["dev"]) + len(made.splits["held_out"]) == 4848


@pytest.mark.parametrize("source", ["train", "dev"])
def test_held_out_protocol(rte, tmp_path, settings, source):
    """protocol=held_out selects on the new split and still reports on the official one."""
    from ptune.data.splits import read_corpus

    write(tmp_path / "train.jsonl", 30)
    write(tmp_path / "val.jsonl", 10)
    found = settings(
        "task=rte",
        "data=local",
        f"data.root={tmp_path}",
        "method=majority",
        "protocol=held_out",
        f"held_out_from={source}",
    )
    made, report = read_corpus(found, rte)
    assert (found.select_on, report) == ("held_out", "dev")
    assert {split: len(examples) for split, examples in made.splits.items()} == (
        {"train": 27, "dev": 10, "held_out": 3} if source == "train" else {"train": 30, "dev": 5, "held_out": 5}
    )


# So many of each class


def labeled(path: Path, *labels: str) -> None:
    """A file with these labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"premise": f"p {i}", "hypothesis": "h", "idx": i, "label": label} for i, label in enumerate(labels)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def balanced(rte, tmp_path):
    """balanced(...): the corpus of seven and five training examples with these settings of data."""
    labeled(tmp_path / "train.jsonl", *["entailment", "not_entailment"] * 5, "entailment", "entailment")
    labeled(tmp_path / "val.jsonl", "entailment", "not_entailment")
    return lambda few_shot=False, **given: corpora.load(rte, local(tmp_path, **given), few_shot=few_shot)


def test_per_class(balanced):
    """The first of each class; with a seed some of each, always the same, of fewer those of more; dev is whole."""
    assert ids(balanced(per_class=2).splits["train"]) == ["0", "1", "2", "3"]
    seen = {}
    for seed in (13, 21, 42, 87, 100):
        found = balanced(per_class=2, draw=seed)
        assert sorted(e.gold for e in found.splits["train"]) == ["entailment"] * 2 + ["not_entailment"] * 2
        assert ids(found.splits["train"]) == sorted(ids(found.splits["train"]), key=int)
        assert set(ids(found.splits["train"])) <= set(ids(balanced(per_class=3, draw=seed).splits["train"]))
        assert balanced(per_class=2, draw=seed).splits == found.splits
        assert (len(found.splits["dev"]), "held_out" in found.splits) == (2, False)
        assert found.origin["draw"] == {"seed": seed, "ids": ids(found.splits["train"])}
        seen[seed] = tuple(ids(found.splits["train"]))
    assert len({*seen.values()}) > 2


def test_few_shot(balanced, settings, rte, tmp_path):
    """As many others of each class to select on, and the original dev to report on."""
    from ptune.data.splits import read_corpus

    found = balanced(few_shot=True, per_class=2, draw=13)
    train, held = found.splits["train"], found.splits["held_out"]
    assert ids(train) == ids(balanced(per_class=2, draw=13).splits["train"])
    assert [sum(e.gold == label for e in held) for label in rte.labels] == [2, 2]
    assert not {*ids(train)} & {*ids(held)}
    line = f"task=rte data=local data.root={tmp_path} method=majority protocol=few_shot data.per_class=2 data.draw=13"
    s = settings(*line.split())
    made, report = read_corpus(s, rte)
    assert (made.splits, s.select_on, report) == (found.splits, "held_out", "dev")


def shuffled_lines(lines: list, seed: int, count: int, label: Callable) -> tuple[list, list]:
    """What LM-BFF's script draws of a file's lines: those to train on, and those to select on."""
    np.random.seed(seed)
    lines = list(lines)
    np.random.shuffle(lines)
    found: dict = {}
    for line in lines:
        found.setdefault(label(line), []).append(line)
    return tuple(
        [line for of in found.values() for line in of[part]] for part in (slice(count), slice(count, 2 * count))
    )


@pytest.mark.parametrize("seed", [13, 21, 42, 87, 100])
def test_the_draw_of_lm_bff(balanced, tmp_path, seed):
    """The rows that its script writes of the same file, in its order."""
    lines = (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()
    train, dev = shuffled_lines(lines, seed, 2, lambda line: json.loads(line)["label"])
    found = balanced(few_shot=True, per_class=2, draw=seed, draw_order="numpy")
    assert ids(found.splits["train"]) == [str(json.loads(line)["idx"]) for line in train]
    assert ids(found.splits["held_out"]) == [str(json.loads(line)["idx"]) for line in dev]
    numbers = list(range(12))
    np.random.RandomState(seed).shuffle(numbers)
    whole = balanced(max_train=5, draw=seed, draw_order="numpy").splits["train"]
    assert ids(whole) == [str(n) for n in sorted(numbers[:5])]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"draw": 1, "draw_order": "random"},
            "data.draw_order: 'random' is not a choice; use numpy, or null for ptune's own",
        ),
        ({"draw": -1, "draw_order": "numpy"}, "data.draw: -1 is not a seed for numpy; use 0 to 4294967295"),
    ],
)
def test_an_order_that_cannot_be(balanced, given, said):
    """One line."""
    with pytest.raises(ConfigError) as caught:
        balanced(per_class=2, **given)
    assert caught.value.problems == [said]


def test_halves_of_a_scale_are_drawn_from(settings, tmp_path):
    """LM-BFF's of STS-B, parted at 2.5, which is in the upper one."""
    scores = [0.0, 2.4, 2.5, 2.6, 5.0, 1.0, 4.0, 2.5, 0.5]
    rows = [f"a {i}\tb\t{score}" for i, score in enumerate(scores)]
    for name in ("train", "dev"):
        text = "\n".join(["sentence1\tsentence2\tscore", *rows]) + "\n"
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    s = settings("experiment=few_shot_lmbff", "task=stsb", "method=finetune", "seed=13")
    found = corpora.load(
        leaf(s.task), local(tmp_path, draw=13, draw_order=s.data.draw_order, per_class=2), few_shot=True
    ).splits
    train, dev = shuffled_lines(list(enumerate(scores)), 13, 2, lambda line: line[1] >= 2.5)
    assert [e.fields["sentence1"] for e in found["train"]] == [f"a {number}" for number, _ in train]
    assert [e.fields["sentence1"] for e in found["held_out"]] == [f"a {number}" for number, _ in dev]


def test_too_few_of_a_class(balanced):
    """Both numbers are told; nothing is made up."""
    with pytest.raises(DataError) as caught:
        balanced(per_class=6)
    assert str(caught.value) == (
        "rte: data.per_class=6 needs 6 examples of each class, but train has 5 of 'not_entailment'"
    )
    with pytest.raises(DataError) as caught:
        balanced(few_shot=True, per_class=3)
    assert str(caught.value) == (
        "rte: data.per_class=3 with protocol=few_shot needs 6 examples of each class, but train has 5 of "
        "'not_entailment'"
    )


@pytest.mark.parametrize("task", ["conll03", "squad", "copa", "multirc"])
def test_per_class_without_classes(settings, task):
    """One line that says what takes its place."""
    with pytest.raises(ConfigError) as caught:
        settings(f"task={task}", "data=demo", "method=majority", "data.per_class=16")
    assert caught.value.problems == [
        f"data.per_class: the examples of {task} have no single class; data.max_train=N data.draw=SEED draws "
        "any N at random"
    ]


def test_per_class_beside_other_settings(settings):
    """What contradicts it, and what needs it."""
    line = ["task=rte", "data=demo", "method=majority"]
    with pytest.raises(ConfigError) as caught:
        settings(*line, "data.per_class=16", "data.max_train=8")
    assert caught.value.problems == [
        "data.max_train: data.per_class already says how many to train on; leave one of them out"
    ]
    with pytest.raises(ConfigError) as caught:
        settings(*line, "protocol=few_shot")
    assert caught.value.problems == [
        "data.per_class: must be given with protocol=few_shot: data.per_class=K, the examples of each class to train on"
    ]


def test_splits_of_the_labeled_examples(settings, rte, tmp_path):
    """FewNLU's: held_out_seed draws other halves of the same training examples, whatever the run's seed."""
    from ptune.data.splits import read_corpus

    labeled(tmp_path / "train.jsonl", *["entailment", "not_entailment"] * 8)
    labeled(tmp_path / "val.jsonl", "entailment")
    halves = {}
    for number in (1, 2):
        for seed in (5, 6):
            line = f"task=rte data=local data.root={tmp_path} method=majority experiment=few_shot_fewnlu seed={seed}"
            s = settings(*line.split(), f"held_out_seed={number}")
            made, _ = read_corpus(s, rte)
            halves[number, seed] = ids(made.splits["train"]), ids(made.splits["held_out"])
            assert [len(half) for half in halves[number, seed]] == [8, 8]
    assert halves[1, 5] == halves[1, 6] != halves[2, 5] == halves[2, 6]


def test_the_five_seeds_of_lm_bff(settings):
    """The seed of the draw is that of training, 16 of each class stand on either side."""
    s = settings("experiment=few_shot_lmbff", "task=sst2", "method=finetune", "seed=42")
    assert (s.data.per_class, s.data.draw, s.protocol, s.seed) == (16, 42, "few_shot", 42)
    assert s.data.draw_order == "numpy"
    lines = (CONF / "experiment/few_shot_lmbff.yaml").read_text(encoding="utf-8")
    assert "seed: 13,21,42,87,100" in lines


FEWGLUE = {  # examples of train, dev and unlabeled: of MultiRC these are answers
    "boolq": (32, 3270, 3245),
    "cb": (32, 56, 250),
    "copa": (32, 100, 400),
    "multirc": (154, 4848, 27243),
    "rte": (32, 277, 2490),
    "wic": (32, 638, 5428),
    "wsc": (32, 104, 554),
}


@pytest.mark.parametrize("task", FEWGLUE)
def test_fewglue(shared, settings, task):
    """Its 32 training examples, SuperGLUE's dev beside its folder, and what has no labels."""
    from ptune import build

    root = f"data.root={shared / 'data' / 'fewglue'}"
    s = settings(f"task={task}", "data=local", root, "data.layout=fewglue", "method=majority")
    corpus = corpora.load(build.leaf(s.task), s.data)
    sizes = tuple(len(corpus.splits[split]) if split in corpus.splits else None for split in CUT)
    assert sizes == FEWGLUE[task]
    taken = task in ("cb", "rte")  # from the training set, for want of a file of their own
    assert [corpus.labeled(split) for split in CUT] == [True, True, taken]
    assert (corpus.warnings, corpus.origin["layout"]) == ([], "fewglue")


def test_fewglue_is_not_superglue(shared, settings):
    """Where all training examples stand, a loud warning."""
    from ptune import build

    root = f"data.root={shared / 'data' / 'superglue'}"
    s = settings("task=rte", "data=local", root, "data.layout=fewglue", "method=majority")
    (warning,) = corpora.load(build.leaf(s.task), s.data).warnings
    assert warning.startswith("NOT THE USUAL RTE: 2,490 in train where the original has 32")


@pytest.mark.parametrize("task", [*FEWGLUE, "record"])
def test_fewglue_of_the_demo(settings, task, tmp_path, monkeypatch):
    """In the same layout, drawn from the same world."""
    from ptune import build

    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path))
    line = "data=demo data.layout=fewglue data.demo.train=6 data.demo.dev=4 data.demo.test=8 method=majority"
    s = settings(f"task={task}", *line.split())
    corpus = corpora.load(build.leaf(s.task), s.data)
    assert corpus.synthetic
    assert list(corpus.splits) == CUT
    assert [corpus.labeled(split) for split in CUT] == [True, True, False]
    assert task == "multirc" or len(corpus.splits["train"]) == 6
    cut = corpora.load(build.leaf(s.task), replace(s.data, max_dev=2, max_test=2))
    assert len(cut.splits["dev"]) < len(corpus.splits["dev"])
    assert cut.splits["unlabeled"] == corpus.splits["unlabeled"]


# The stream


@pytest.fixture(scope="module")
def rendered(bert_folder):
    """Sixty-one tagged sentences of one to sixty words."""
    rng = random.Random(2)
    task = Tag("x", 1, {}, ["PER"])
    examples = []
    for i in range(61):
        words = ["the"] * rng.randint(1, 60)
        examples.append(Example(f"e{i}", {"tokens": words}, ["O"] * len(words)))
    template = Plain(Tokens(AutoTokenizer.from_pretrained(str(bert_folder))), ["tokens"])
    return Rendered(examples, task, template, 40)


def taken(stream: Stream, steps: range) -> list[list[list[int]]]:
    return [[batch.example.tolist() for batch in stream(step)] for step in steps]


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_stream_is_pure(rendered, bucket, accumulate):
    """A step's batches depend on the seed and its number, not on what was asked before."""
    first = Stream(rendered, 8, accumulate, seed=5, bucket=bucket)
    steps = range(3 * first.steps_per_epoch)
    expected = taken(first, steps)
    second = Stream(rendered, 8, accumulate, seed=5, bucket=bucket)
    for step in random.Random(0).sample([*steps], len(steps)):
        torch.manual_seed(step)
        assert taken(second, range(step, step + 1)) == expected[step : step + 1]
    assert taken(Stream(rendered, 8, accumulate, seed=6, bucket=bucket), steps) != expected
    batch, again = first(4)[0], second(4)[0]
    assert torch.equal(batch.ids, again.ids)
    assert torch.equal(batch.target, again.target)


@pytest.mark.parametrize("bucket", [True, False])
def test_stream_covers_each_epoch_once(rendered, bucket):
    """Whole examples, each in one batch an epoch, in another order the next time; only the last batch is short."""
    stream = Stream(rendered, 8, 1, seed=5, bucket=bucket)
    assert stream.steps_per_epoch == 8
    orders = []
    for epoch in range(3):
        batches = stream.epoch(epoch)
        assert sorted(len(batch) for batch in batches) == [5] + [8] * 7
        order = [i for batch in batches for i in batch]
        assert sorted(order) == list(range(61))
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]
    whole = [row for step in range(8) for batch in stream(step) for row in batch.example.tolist()]
    assert sorted(whole) == sorted(i for i in range(61) for _ in rendered.rows(i, Draw(0, 0)))


def test_stream_accumulates(rendered):
    """Micro-batches split a step's examples, in order, and no other number of them changes what it holds."""
    one, three = Stream(rendered, 8, 1, 5, True), Stream(rendered, 8, 3, 5, True)
    for step in range(8):
        parts = three(step)
        assert len(parts) == 3
        assert [i for part in parts for i in part.example.tolist()] == one(step)[0].example.tolist()
        assert [name for part in parts for name in part.names] == one(step)[0].names
        assert sum(part.labels for part in parts) == one(step)[0].labels


@pytest.mark.parametrize("tokens", [40, 100, 160])
def test_a_budget_of_tokens(rendered, tokens):
    """Micro-batches and batches of evaluation keep to it, padded; what a step holds is the same, in the same order."""
    whole, divided = Stream(rendered, 8, 1, 5, True), Stream(rendered, 8, 1, 5, True, tokens)
    most = 0
    for step in range(8):
        parts = divided(step)
        most = max(most, len(parts))
        assert [i for part in parts for i in part.example.tolist()] == whole(step)[0].example.tolist()
        assert all(part.ids.numel() <= tokens or len(set(part.example.tolist())) == 1 for part in parts)
    assert most > 1
    for indices in (found := split_into_batches(range(61), rendered.size, 64, tokens)):
        batch = rendered.batch(indices, Draw(0, 0), "eval")
        assert batch.ids.numel() <= tokens or len(indices) == 1
    assert sorted(i for indices in found for i in indices) == list(range(61))
    assert len(found) > len(split_into_batches(range(61), rendered.size, 64, None))


def test_buckets_group_lengths(rendered):
    """Batches of similar length hold far less padding; the order of lengths is not the order of training."""

    def padding(bucket: bool) -> float:
        stream = Stream(rendered, 8, 1, 5, bucket)
        masks = [stream(step)[0].mask for step in range(stream.steps_per_epoch)]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding(True) < 0.6 * padding(False)
    widths = [Stream(rendered, 8, 1, 5, True)(step)[0].ids.shape[1] for step in range(8)]
    assert widths != sorted(widths)


def test_expected_labels(rendered):
    """The mean labels of a full batch: of words here."""
    stream = Stream(rendered, 8, 1, 5, True)
    words = sum(len(parts.target) for (parts,) in rendered.parts)
    assert stream.expected_labels == pytest.approx(8 * words / 61)


def test_rendered(rendered):
    """Lengths, labels, and what was cut."""
    assert rendered.lost == 0
    assert max(rendered.lengths) <= 40
    assert len(rendered) == 61
    assert rendered.batch([3], Draw(0, 0), "eval").names == ["e3"]
    assert any(len(rendered.rows(i, Draw(0, 0))) > 1 for i in range(61))


def test_fitting():
    """Batches take what fits, in order; what fits into none has one of its own."""
    sizes = {"a": (2, 5), "b": (2, 5), "c": (1, 9), "d": (7, 1), "e": (1, 1)}
    assert split_into_batches("abcde", sizes.get, 4, None) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert split_into_batches("abcde", sizes.get, 99, 20) == [["a", "b"], ["c"], ["d", "e"]]
    assert split_into_batches("abcde", sizes.get, 99, None) == [["a", "b", "c", "d", "e"]]
    assert split_into_batches("abcde", sizes.get, 99, padding=16) == [["a", "b", "c"], ["d", "e"]]
    assert split_into_batches("abcde", sizes.get, 99, padding=15) == [["a", "b"], ["c"], ["d", "e"]]


def test_draws_are_by_epoch():
    """Templates that draw are asked again each epoch, with the same draw for the same epoch."""
    asked = []

    class Drawn:
        drawn, windows, masked, sets, tokens = True, None, "label", 1, type("T", (), {"pad_id": 0})

        def parts_with_text(self, index, example, target):
            return Parts(index, [], target)

        def rows(self, parts, draw, max_len):
            asked.append(draw)
            return [Row(parts.example, [1, 2], [0, 0], {"cls": [0]}, target=0)]

    task = type("K", (), {"grouped": False, "candidates": lambda self, example: [(example, 0)]})()
    stream = Stream(Rendered([Example(str(i), {}) for i in range(4)], task, Drawn(), 8), 2, 1, 7, False)
    asked.clear()
    for step in (0, 1, 2, 0):
        stream(step)
    assert [(draw.seed, draw.epoch) for draw in asked] == [(7, 0)] * 4 + [(7, 1)] * 2 + [(7, 0)] * 2
