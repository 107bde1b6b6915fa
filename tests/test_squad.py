"""SQuAD end to end: the files, windows with their characters, the head, decoding, the official scores, the commands."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F
from transformers import AutoTokenizer

from ptune import metrics
from ptune.batch import NOWHERE, Draw, Example, Extent, Hidden, RowOutput
from ptune.config import Data
from ptune.data.corpora import load
from ptune.data.rendered import Rendered
from ptune.errors import DataError
from ptune.heads.linear import Linear
from ptune.injection import Shape
from ptune.readers import Record, squad
from ptune.tasks import Prediction
from ptune.tasks.span import Span, best_pairs, candidates
from ptune.templates import lost_labels, tokens_of
from ptune.templates.pattern import Pattern
from ptune.templates.plain import Plain
from ptune.tokens import Tokens

ROOT = Path(__file__).parents[1]
NO_DRAW = Draw(0, 0)
FIELDS = ["question", "context"]
CONTEXT = (
    "  Anna Berg\u00a0works for Nordwind\tin Oslo.\r\nThe old mill (1853\u20131901) stands by the river: "
    "caf\u00e9, cafe\u0301, na\u00efve \u4e2d\u6587 \U0001f33b\u200d\U0001f33b and \u200bzero\u200b width; "
    "A dog   sleeps in front of the house of O'Neil-Smith, unbelievably far from 50\u00b0F and \ufb01ne words .\n"
)
ANSWERS = [
    "Anna Berg",
    "Oslo",
    "1853\u20131901",
    "cafe\u0301",
    "\u4e2d\u6587",
    "\U0001f33b",
    "zero",
    "O'Neil",
    "words .",
]


def task_yaml(name: str) -> dict:
    return yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8"))


def span(name: str = "squad", **more) -> Span:
    """The shipped task, with some settings changed."""
    node = {**task_yaml(name), **more}
    del node["_target_"]
    return Span(**node)


def answered(context: str, *texts: str, question: str = "Where does Anna work?", name: str = "q") -> Example:
    """A question with its answers where they first stand."""
    gold = {"text": list(texts), "answer_start": [context.index(text) for text in texts]}
    return Example(name, {"question": question, "context": context}, gold)


# The files


@pytest.fixture
def write(tmp_path):
    """Write a document, or bytes, to a file."""

    def to(content: object, name: str = "train-v1.1.json") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return to


def document(**changes) -> dict:
    """Two paragraphs with three questions."""
    qas = [
        {"id": "a", "question": "Who?", "answers": [{"text": "Anna", "answer_start": 0}]},
        {"id": "b", "question": "Where?", "answers": [{"text": "Oslo", "answer_start": 14}]},
    ]
    other = [{"id": "c", "question": "What?", "answers": [], "is_impossible": True}]
    paragraphs = [{"context": "Anna works in Oslo.", "qas": qas}, {"context": "The mill.", "qas": other}]
    return {"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}], **changes}


@pytest.mark.parametrize(
    ("name", "version", "count", "without"),
    [("dev-v1.1.json", "squad", 10570, 0), ("cs224n_dev-v2.0.json", "squad_v2", 6078, 3168)],
)
def test_real_files(shared, name, version, count, without):
    """As many questions as published; every answer stands where it is said to; paragraphs are not copied."""
    task = span(version)
    records = list(squad.read(shared / "data" / "squad" / name))
    assert len(records) == len({record.values["id"] for record in records}) == count
    examples = [task.example(record, i) for i, record in enumerate(records)]
    assert sum(not example.gold["text"] for example in examples) == without
    for example in examples:
        for text, start in zip(example.gold["text"], example.gold["answer_start"], strict=True):
            assert example.fields["context"][start : start + len(text)] == text
    texts = {id(example.fields["context"]) for example in examples}
    assert len(texts) == len({example.fields["context"] for example in examples})
    assert records[0].where.endswith(f"{name}: data[0].paragraphs[0].qas[0]")


def test_fixtures(shared):
    """The small file of 1.1 is read; that of 2.0 has an id twice, which scorers would take for one question."""
    folder = shared / "data" / "squad" / "fixtures"
    assert len(list(squad.read(folder / "allennlp_squad1.json"))) == 5
    with pytest.raises(DataError) as caught:
        list(squad.read(folder / "allennlp_squad2.json"))
    assert str(caught.value).endswith(
        "data[0].paragraphs[0].qas[1]: duplicate id 5733be284776f41900661182, first used at "
        "data[0].paragraphs[0].qas[0]"
    )


def test_records(write):
    """As on the Hub: answers by key, the title, and nothing where the file has no answers."""
    path = write(document())
    records = list(squad.read(path))
    assert records[1] == Record(
        f"{path}: data[0].paragraphs[0].qas[1]",
        {
            "id": "b",
            "title": "T",
            "context": "Anna works in Oslo.",
            "question": "Where?",
            "answers": {"text": ["Oslo"], "answer_start": [14]},
        },
    )
    assert records[0].values["context"] is records[1].values["context"]
    assert records[2].values["answers"] == {"text": [], "answer_start": []}
    hidden = document()
    del hidden["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    record = next(squad.read(write(hidden)))
    assert "answers" not in record.values
    assert span().example(record, 0).gold is None
    marked = b"\xef\xbb\xbf" + json.dumps(document(), indent=1, ensure_ascii=False).encode()
    assert [r.values for r in squad.read(write(marked))] == [r.values for r in records]


def changed(*path, to=None, drop=False) -> dict:
    """The document with one value changed or dropped."""
    found = node = document()
    for key in path[:-1]:
        node = node[key]
    if drop:
        del node[path[-1]]
    else:
        node[path[-1]] = to
    return found


QUESTION = ("data", 0, "paragraphs", 0, "qas", 1)
ERRORS = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 30288272\n",
        ":1: a Git LFS pointer instead of the data; git lfs pull fetches it",
    ),
    "empty": (
        b"",
        ":1: not JSON (Expecting value, character 1 of 0); the file ends too early: is its download complete?",
    ),
    "cut in a text": (
        b'{"version": "1.1",\n "data": [{"title": "Supe',
        ":2: not JSON (Unterminated string starting at, character 40 of 44); "
        "the file ends too early: is its download complete?",
    ),
    "cut after a text": (
        b'{"version": "1.1",\n "data": [',
        ":2: not JSON (Expecting value, character 30 of 29); the file ends too early: is its download complete?",
    ),
    "not json": (b"<html>", ":1: not JSON (Expecting value, character 1 of 6)"),
    "latin-1": (
        b'{"data":\n[{"title": "caf\xe9"}]}',
        ":2: byte 16 is not UTF-8; convert the file to UTF-8",
    ),
    "a list": ([], ": a JSON list where an object with 'data' is needed"),
    "other data": ({"rows": []}, ": no 'data' among its keys: 'rows'"),
    "no paragraphs": (
        changed("data", 0, "paragraphs", drop=True),
        ": data[0]: no 'paragraphs'; is this a file of SQuAD?",
    ),
    "no context": (
        changed("data", 0, "paragraphs", 1, "context", drop=True),
        ": data[0].paragraphs[1]: no 'context'; is this a file of SQuAD?",
    ),
    "no id": (changed(*QUESTION, "id", drop=True), ": data[0].paragraphs[0].qas[1]: no 'id'; is this a file of SQuAD?"),
    "a number for an id": (
        changed(*QUESTION, "id", to=7),
        ": data[0].paragraphs[0].qas[1].id: a int where a text is needed",
    ),
    "qas by name": (
        changed("data", 0, "paragraphs", 1, "qas", to={}),
        ": data[0].paragraphs[1].qas: a dict where a list is needed",
    ),
    "an answer without its place": (
        changed(*QUESTION, "answers", 0, "answer_start", drop=True),
        ": data[0].paragraphs[0].qas[1].answers[0]: no 'answer_start'; is this a file of SQuAD?",
    ),
    "a place in words": (
        changed(*QUESTION, "answers", 0, "answer_start", to="14"),
        ": data[0].paragraphs[0].qas[1].answers[0].answer_start: a str where a number is needed",
    ),
    "true for a place": (
        changed(*QUESTION, "answers", 0, "answer_start", to=True),
        ": data[0].paragraphs[0].qas[1].answers[0].answer_start: a bool where a number is needed",
    ),
    "an id twice": (
        changed("data", 0, "paragraphs", 1, "qas", 0, "id", to="b"),
        ": data[0].paragraphs[1].qas[0]: duplicate id b, first used at data[0].paragraphs[0].qas[1]",
    ),
    "half a character": (
        changed(*QUESTION, "question", to="\ud83d?"),
        ": data[0].paragraphs[0].qas[1].question: half a character (a lone surrogate); the file is damaged",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_broken_files(write, name):
    """One line each, with the place in the file."""
    content, expected = ERRORS[name]
    path = write(content)
    with pytest.raises(DataError) as caught:
        list(squad.read(path))
    assert str(caught.value) == f"{path}{expected}"


def test_damaged_anywhere(write):
    """Cut or changed at any byte, a file is read or refused by a DataError, never by anything else."""
    whole, rng = json.dumps(document()).encode(), random.Random(5)
    told = []
    for i in range(300):
        at = rng.randrange(len(whole))
        path = write(whole[:at] if i % 2 else whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
        try:
            examples = [span("squad_v2").example(record, 0) for record in squad.read(path)]
            assert examples
            assert i % 2 == 0
        except DataError as error:
            told.append(str(error).removeprefix(str(path)))
    assert len(told) > 200
    assert all(text.startswith((":", ": ")) and "\n" not in text for text in told)


# Examples


def wrong(task: Span, **values) -> str:
    given = {"id": "56be", "question": "Where?", "context": "Anna works in Oslo, not in Oslo.", **values}
    with pytest.raises(DataError) as caught:
        task.example(Record("dev.json: data[0].paragraphs[1].qas[2]", given), 0)
    start = "dev.json: data[0].paragraphs[1].qas[2]: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def at(text: str, start: int) -> dict:
    return {"text": [text], "answer_start": [start]}


def test_answers_have_to_stand_in_the_context():
    """The message says what stands there, and how far off the answer is."""
    task = span()
    assert wrong(task, answers=at("Oslo", 15)) == (
        "question 56be: the answer 'Oslo' is not at answer_start 15, where 'slo,' is; "
        "it is at 14 (answer_start is off by +1)"
    )
    assert wrong(task, answers=at("Oslo", 26)) == (
        "question 56be: the answer 'Oslo' is not at answer_start 26, where ' Osl' is; "
        "it is at 27 (answer_start is off by -1)"
    )
    assert wrong(task, answers=at("Bergen", 14)) == (
        "question 56be: the answer 'Bergen' is not at answer_start 14, where 'Oslo, ' is; it is nowhere in the context"
    )
    for start in (-4, 99):
        assert wrong(task, answers=at("Oslo", start)).startswith(
            f"question 56be: the answer 'Oslo' is not at answer_start {start}, where there is nothing (32 characters)"
        )


def test_answers_of_other_kinds():
    """Empty texts, numbers that are none, lists of two lengths; and no answer where every question has one."""
    task = span()
    shape = "question 56be: 'answers' must be two lists of the same length, 'text' and 'answer_start'"
    for odd in ([], "Oslo", {"text": ["Oslo"]}, {"text": ["Oslo"], "answer_start": []}, {"text": "Oslo"}):
        assert wrong(task, answers=odd) == shape
    for odd in ("", " ", None, 5):
        assert wrong(task, answers={"text": [odd], "answer_start": [0]}) == (
            f"question 56be: {odd!r} is not an answer; a question without one has an empty list"
        )
    for odd in ("14", 14.0, True, None):
        assert wrong(task, answers={"text": ["Oslo"], "answer_start": [odd]}) == (
            f"question 56be: answer_start {odd!r} is not a character offset"
        )
    nothing = {"text": [], "answer_start": []}
    assert wrong(task, answers=nothing) == (
        "question 56be: no answer, and squad has one for every question; task=squad_v2 takes questions without one"
    )
    values = {"question": "Where?", "context": "In Oslo."}
    assert span("squad_v2").example(Record("x:1", {**values, "answers": nothing}), 3) == Example("3", values, nothing)
    assert wrong(task, context=" \n") == "nothing in 'context'; squad needs a text there"
    assert wrong(task, question=None) == "no text in 'question'; squad needs question, context"


def test_target():
    """The first answer's characters; nowhere without one; nothing without gold."""
    task = span("squad_v2")
    assert task.target(answered("Anna works in Oslo.", "Oslo", "Anna")) == Extent(14, 17)
    assert task.target(answered("Anna works in Oslo.", " in Oslo.")) == Extent(11, 18)
    assert task.target(answered("Anna works in Oslo.")) == NOWHERE
    assert task.target(Example("0", {"question": "?", "context": "x"})) is None


@pytest.mark.parametrize("name", ["squad", "squad_v2"])
def test_hub_and_files_give_the_same(tmp_path, monkeypatch, name):
    """The corpus of the Hub's parquet files, in the Hub's schema, is that of the files as distributed."""
    version = {"squad": "1.1", "squad_v2": "2.0"}[name]
    content = document()
    if name == "squad":
        content["data"][0]["paragraphs"].pop()
    for split in ("train", "dev"):
        (tmp_path / f"{split}-v{version}.json").write_text(json.dumps(content), encoding="utf-8")
    rows = [record.values for record in squad.read(tmp_path / f"train-v{version}.json")]
    lists = {"text": datasets.List(datasets.Value("string")), "answer_start": datasets.List(datasets.Value("int32"))}
    texts = {key: datasets.Value("string") for key in ("id", "title", "context", "question")}
    parquet = datasets.Dataset.from_list(rows, features=datasets.Features({**texts, "answers": lists}))
    folder = tmp_path / "snapshot" / task_yaml(name)["source"]["hub"]["config"]
    for split in ("train", "validation"):
        parquet.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
    asked = []
    monkeypatch.setattr("ptune.hub.Files.fetch", lambda self: asked.append(self) or tmp_path / "snapshot")
    theirs = load(span(name), Data(source="hub"))
    ours = load(span(name), Data(source="local", root=str(tmp_path)))
    assert theirs.splits == ours.splits
    assert [example.id for example in ours.splits["dev"]] == ["a", "b", "c"][: len(rows)]
    (files,) = asked
    assert (files.repo, files.revision) == (f"rajpurkar/{name}", task_yaml(name)["source"]["hub"]["revision"])
    assert (files.patterns, files.kind) == ([f"{folder.name}/*.parquet"], "dataset")
    assert not ours.labeled("test")


# Windows


@pytest.fixture(scope="module", params=["bert_folder", "roberta_folder"])
def tokenizer(request):
    """The tokenizers of both families, byte-level and not."""
    return AutoTokenizer.from_pretrained(str(request.getfixturevalue(request.param)))


def plain(tokenizer, task: Span, **more) -> Plain:
    return Plain(Tokens(tokenizer), FIELDS, windows=task.windows, **more)


def rows_of(template, task: Span, example: Example, most: int):
    return template.rows(template.parts(0, example, task.target(example)), NO_DRAW, most)


@pytest.mark.parametrize("seed", range(12))
def test_windows_are_the_tokenizers(tokenizer, seed):
    """Ids, types, characters and stride are those of the tokenizer's own overflow of the second text."""
    rng = random.Random(seed)
    context = " ".join(rng.choice(CONTEXT.split(" ")) for _ in range(rng.randint(1, 90)))
    question = " ".join(rng.choice(["Where", "does", "Anna", "work?"]) for _ in range(rng.randint(1, 6)))
    stride = rng.choice([0, 1, 7, 12])
    task = span(doc_stride=stride)
    most = len(tokenizer(question)["input_ids"]) + 3 + stride + rng.randint(1, 40)
    rows = rows_of(plain(tokenizer, task), task, Example("q", {"question": question, "context": context}), most)
    theirs = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=most,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    assert [list(row.ids) for row in rows] == theirs["input_ids"]
    assert [list(row.types) for row in rows] == theirs["token_type_ids"]
    for number, row in enumerate(rows):
        places = [i for i, sequence in enumerate(theirs.sequence_ids(number)) if sequence == 1]
        assert list(row.read["context"]) == places
        assert row.read["cls"] == [0]
        for (begin, end), place in zip(row.offsets.tolist(), places, strict=True):
            if context[begin:end].strip():
                assert (begin, end) == theirs["offset_mapping"][number][place]
        assert row.target is None
        assert not row.cut


def test_windows_cover_the_context(tokenizer):
    """Every character that is not white space, or dropped by the tokenizer, is in a window; neighbors share tokens."""
    task = span(doc_stride=6)
    example = Example("q", {"question": "Who?", "context": CONTEXT * 3})
    template = plain(tokenizer, task)
    rows = rows_of(template, task, example, 40)
    assert len(rows) > 5
    assert all(len(row.ids) <= 40 for row in rows)
    for one, other in pairwise(rows):
        assert np.array_equal(one.offsets[-6:], other.offsets[:6])
        assert other.start == one.start + len(one.offsets) - 6
    covered = {i for row in rows for begin, end in row.offsets.tolist() for i in range(begin, end)}
    missing = {c for i, c in enumerate(CONTEXT * 3) if i not in covered and not c.isspace()}
    assert missing <= {"\u200b", "\u200d", "\u0301"}
    edges = [(CONTEXT * 3)[begin:end] for row in rows for begin, end in row.offsets.tolist()]
    assert all(piece == piece.strip() for piece in edges if piece.strip())


@pytest.mark.parametrize("answer", ANSWERS)
def test_targets_spell_the_answer(tokenizer, answer):
    """In every window that holds it whole, the target's characters are the answer's; the others ask for no answer."""
    task = span("squad_v2", doc_stride=12)
    example = answered(CONTEXT, answer)
    rows = rows_of(plain(tokenizer, task), task, example, 60)
    (whole,) = rows_of(plain(tokenizer, task), task, example, 1000)
    if tokenizer.cls_token == "[CLS]":  # which drops the last accent, and knows no word with a flower
        answer = {"cafe\u0301": "cafe", "\U0001f33b": "\U0001f33b\u200d\U0001f33b"}.get(answer, answer)
    holding = 0
    for row in rows:
        if row.start <= whole.target.first - 1 and whole.target.last <= row.start + len(row.offsets):
            text = CONTEXT[row.offsets[row.target.first - 1, 0] : row.offsets[row.target.last - 1, 1]]
            assert text == answer
            holding += 1
        else:
            assert row.target == Extent(0, 0)
        assert row.labels == 1
    assert holding
    assert lost_labels(rows, task.target(example), task.windows) == 0


def test_tokens_of():
    """The tokens that touch the characters; none where only dropped characters are asked for."""
    offsets = np.array([[0, 4], [5, 7], [7, 9], [12, 13]])
    assert tokens_of(offsets, Extent(0, 3)) == (0, 0)
    assert tokens_of(offsets, Extent(5, 8)) == (1, 2)
    assert tokens_of(offsets, Extent(6, 7)) == (1, 2)
    assert tokens_of(offsets, Extent(3, 12)) == (0, 3)
    assert tokens_of(offsets, Extent(9, 11)) == NOWHERE
    assert tokens_of(offsets, NOWHERE) == NOWHERE


def test_no_answer_and_no_gold(tokenizer):
    """Windows without an answer ask for the first token; without gold for nothing."""
    task = span("squad_v2", doc_stride=4)
    rows = rows_of(plain(tokenizer, task), task, answered(CONTEXT), 40)
    assert {row.target for row in rows} == {Extent(0, 0)}
    assert sum(row.labels for row in rows) == len(rows)
    bare = rows_of(plain(tokenizer, task), task, Example("q", {"question": "?", "context": CONTEXT}), 40)
    assert {row.target for row in bare} == {None}
    assert sum(row.labels for row in bare) == 0


def test_lost_answers_are_counted(bert_folder):
    """Longer than the longest, than a window, than the stride lets through, or beyond the only window."""
    tokens = AutoTokenizer.from_pretrained(str(bert_folder))
    context = "the old mill stands by the river . " * 12
    words = "old mill stands by the river . the old mill stands"
    long, length = answered(context, words), len(tokens(words, add_special_tokens=False)["input_ids"])

    def rendered(task: Span, examples: list[Example], most: int, **more) -> Rendered:
        return Rendered(examples, task, plain(tokens, task, **more), most)

    none = answered(context)
    assert rendered(span("squad_v2"), [long, none], 384).lost == 0
    assert rendered(span("squad_v2", max_answer_length=length - 1), [long, none], 384).lost == 1
    assert rendered(span("squad_v2", max_answer_length=length), [long, none], 384).lost == 0
    assert rendered(span(doc_stride=2), [long], length + 7).lost == 1
    late = answered(context + "Anna sleeps", "Anna sleeps")
    whole = rendered(span(doc_stride=4), [late], 40)
    assert (whole.lost, whole.cut) == (0, 0)
    once = rendered(span(doc_stride=4), [late], 40, overflow="truncate")
    assert (once.lost, once.cut, len(once.rows(0, NO_DRAW))) == (1, 1, 1)


def test_long_questions_are_cut(tokenizer):
    """To the task's length, and the window beside it gets the rest; the cut is counted."""
    task = span(max_question_length=5, doc_stride=4)
    example = answered(CONTEXT, "Oslo", question="  where " * 30)
    rows = rows_of(plain(tokenizer, task), task, example, 50)
    assert all(row.cut and len(row.ids) <= 50 for row in rows)
    frame = len(Tokens(tokenizer).frames[2])
    assert len(rows[0].offsets) == 50 - frame - 5
    expected = tokenizer("where " + "  where " * 29, add_special_tokens=False)["input_ids"][:5]
    assert list(rows[0].ids)[1:6] == expected


def test_a_stride_gives_way_to_progress(tokenizer):
    """However little room there is, windows go on by half their size, no row is too long, the last reaches the end."""
    task = span(doc_stride=500)
    for most, question in ((12, "a " * 40), (30, "a a a")):
        rows = rows_of(plain(tokenizer, task), task, answered(CONTEXT, "Oslo", question=question), most)
        size = len(rows[0].offsets)
        assert [row.start for row in rows] == [i * (size - size // 2) for i in range(len(rows))]
        assert all(len(row.ids) <= most for row in rows)
        assert rows[-1].offsets[-1, 1] >= len(CONTEXT.rstrip())


@pytest.mark.parametrize("slots", [0, 3, 7])
@pytest.mark.parametrize(
    "text", [None, "{context} {prompt} question: {question}", "{prompt}{question}{sep} answer: {context}"]
)
def test_patterns_read_the_same_context(tokenizer, text, slots):
    """Slots and literal words shift positions, never characters or targets; the words are in every window."""
    task = span(doc_stride=6)
    patterns = task.patterns if text is None else {"p": {"text": text}}
    template = Pattern(Tokens(tokenizer), FIELDS, patterns, slots=slots, windows=task.windows)
    example = answered(CONTEXT, "old mill")
    rows = rows_of(template, task, example, 70)
    assert len(rows) > 1
    lead = " " if text is None or "answer:" in text else ""
    coded = tokenizer(lead + CONTEXT, add_special_tokens=False)["input_ids"]
    for row in rows:
        assert len(row.slots) == slots
        assert [row.ids[i] for i in row.slots] == [Tokens(tokenizer).unk_id] * slots
        assert [row.ids[i] for i in row.read["context"]] == coded[row.start : row.start + len(row.offsets)]
        assert not set(row.slots) & set(row.read["context"])
        assert len(row.ids) <= 70 + slots
        if row.target.first:
            first, last = row.target.first - 1, row.target.last - 1
            assert CONTEXT[row.offsets[first, 0] : row.offsets[last, 1]] == "old mill"
    assert any(row.target.first for row in rows)
    literal = "question:" if text is None or "question:" in text else "answer:"
    assert all(literal in tokenizer.decode(row.ids).replace(" :", ":") for row in rows)


def test_contexts_are_tokenized_once(tokenizer):
    """Questions on one paragraph share its tokens."""
    task = span()
    template = plain(tokenizer, task)
    one, two, other = (
        template.parts(i, answered(context, "Oslo", question=str(i)), None).parts[1]
        for i, context in enumerate([CONTEXT, CONTEXT, CONTEXT + "!"])
    )
    assert one.ids is two.ids
    assert one.offsets is two.offsets
    assert len(other.ids) == len(one.ids) + 1


# The head


SHAPE = Shape(layers=1, heads=1, head_dim=8, hidden=8, embed=8, positions=64, vocab=9, lm_head=False, pooler=False)


@pytest.fixture
def batch(bert_folder):
    """Windows of several widths, of answerable and other questions."""
    tokens = AutoTokenizer.from_pretrained(str(bert_folder))
    task = span("squad_v2", doc_stride=6)
    rendered = Rendered(
        [answered(CONTEXT, "Oslo"), answered("A dog.", "dog"), answered("The mill stands.")],
        task,
        plain(tokens, task),
        40,
    )
    return rendered.batch(range(3), NO_DRAW, "train")


@pytest.fixture
def head():
    torch.manual_seed(3)
    return Linear(SHAPE, ["start", "end"], "span", dropout=0.0)


def test_span_loss(batch, head):
    """One label a row: the mean of both ends' cross-entropies over the first token and the row's own context."""
    states = torch.randn(len(batch), batch.ids.shape[1], 8)
    total, labels = head.loss(Hidden(states, None), batch)
    assert labels == batch.labels == len(batch) > 4
    expected = 0.0
    for i, (first, last) in enumerate(batch.target.tolist()):
        places = batch.read["context"][i]
        scores = head.linear(states[i, [0, *places[places >= 0].tolist()]])
        ends = F.cross_entropy(scores.T, torch.tensor([first, last]), reduction="sum")
        expected += ends / 2
    torch.testing.assert_close(total, expected)
    total.backward()
    assert head.linear.weight.grad.isfinite().all()
    weighed = deepcopy(batch)
    weighed.weight = torch.full((len(batch),), 0.5)
    torch.testing.assert_close(head.loss(Hidden(states, None), weighed)[0], total / 2)


def test_span_outputs(batch, head):
    """Logits, not probabilities, of the first token and the context's, with their characters."""
    states = torch.randn(len(batch), batch.ids.shape[1], 8)
    with torch.no_grad():
        outputs = head.outputs(Hidden(states, None), batch)
        logits = head.linear(states)
    for i, output in enumerate(outputs):
        places = [0, *[place for place in batch.read["context"][i].tolist() if place >= 0]]
        np.testing.assert_allclose(output.scores, logits[i, places], rtol=1e-6)
        assert len(output.offsets) == len(places) - 1
        assert (output.example, output.start) == (batch.example[i], batch.start[i])


def test_pooled_head_has_no_pooler_for_spans():
    """As for words: the states are read as they are."""
    assert Linear(SHAPE, ["start", "end"], "span", pooler="trained").pooler is None


def test_collate_keeps_labels_apart(batch):
    """Rows without gold have none; the other tasks' batches carry no characters."""
    assert batch.target.shape == (len(batch), 2)
    assert batch.to(torch.device("cpu")).labels == len(batch)
    assert len(batch.offsets) == len(batch)


@pytest.mark.parametrize("method", ["method/prompt=deep", "method/prompt=soft", "method/prompt=pseudo"])
@pytest.mark.parametrize("template", ["plain", "pattern"])
def test_a_batch_equals_its_rows(settings, wire, examples, bert_folder, method, template):
    """What is said of an example does not depend on what it shares a batch with; nor do gradients."""
    wired = wire(
        settings(
            "method=ptv2",
            "task=squad_v2",
            method,
            f"method/template={template}",
            "backbone=local",
            f"backbone.path={bert_folder}",
            "data=local",
            "data.root=.",
            "data.max_length=40",
            "task.doc_stride=8",
            "task.max_question_length=12",
            "prompt_length.value=3",
            "optim.lr=0.01",
            "tracker=none",
        ),
        data=examples["squad_v2"],
    )
    wired.model.eval()
    rendered, count = wired.rendered[0], len(examples["squad_v2"])

    def told(indices):
        batch = rendered.batch(indices, NO_DRAW, "train")
        wired.model.zero_grad(set_to_none=True)
        with wired.model.losses([(0, batch)]) as ((loss, labels),):
            loss.backward()
        grads = {name: p.grad.clone() for name, p in wired.runs[0].trained.items()}
        return wired.model.outputs(0, batch), float(loss.detach()), labels, grads

    outputs, loss, labels, grads = told(range(count))
    alone = [told([i]) for i in range(count)]
    assert labels == sum(one[2] for one in alone) == rendered.labels > count
    assert loss == pytest.approx(sum(one[1] for one in alone), rel=1e-5)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, sum(one[3][name] for one in alone), atol=1e-5, rtol=1e-4)
    singles = [output for one in alone for output in one[0]]
    for ours, theirs in zip(outputs, singles, strict=True):
        assert ours.start == theirs.start
        np.testing.assert_array_equal(ours.offsets, theirs.offsets)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)


@pytest.mark.slow
def test_training_learns_the_fixture(shared, tmp_path, settings, wire):
    """A few real questions with a real encoder: the loss falls to a part of what it was, and the answers are found."""
    path = shared / "data" / "squad" / "fixtures" / "allennlp_squad2.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for number, question in enumerate(content["data"][0]["paragraphs"][0]["qas"]):
        question["id"] = str(number)
    (tmp_path / "train.json").write_text(json.dumps(content), encoding="utf-8")
    task = span("squad_v2")
    examples = [task.example(record, i) for i, record in enumerate(squad.read(tmp_path / "train.json"))]
    wired = wire(
        settings(
            "method=finetune",
            "task=squad_v2",
            "backbone=local",
            f"backbone.path={shared / 'models' / 'minilm-l6'}",
            "data=local",
            "data.root=.",
            "data.max_length=160",
            "task.doc_stride=40",
            "task.max_question_length=60",
            "optim.lr=0.0005",
            "batch_size=2",
            "epochs=12",
            "tracker=none",
        ),
        data=examples,
    )

    def loss() -> float:
        wired.model.eval()
        batch = wired.rendered[0].batch(range(len(examples)), NO_DRAW, "train")
        with torch.no_grad(), wired.model.losses([(0, batch)]) as ((total, labels),):
            return float(total) / labels

    before = loss()
    wired.fit(lambda run: {"selected": 0.0})
    assert loss() < 0.4 * before
    assert wired.evaluate(wired.runs[0])["selected"] > 60


# Decoding


def random_windows(rng: np.random.Generator, context: str, count: int, size: int, step: int) -> list[RowOutput]:
    """Overlapping windows over a context of one-character tokens."""
    return [
        RowOutput(
            0,
            rng.normal(size=(1 + size, 2)).astype(np.float32),
            offsets=np.array([[first + i, first + i + 1] for i in range(size)], dtype=np.int32),
        )
        for first in range(0, step * count, step)
    ]


def by_hand(outputs: list[RowOutput], longest: int) -> dict[tuple[int, int], float]:
    """Every answer that may be given, with its best score, by three loops."""
    found: dict[tuple[int, int], float] = {}
    for output in outputs:
        for first in range(len(output.offsets)):
            for last in range(len(output.offsets)):
                if last < first or last - first + 1 > longest:
                    continue
                score = float(output.scores[1 + first, 0]) + float(output.scores[1 + last, 1])
                place = (int(output.offsets[first][0]), int(output.offsets[last][1]))
                found[place] = max(score, found.get(place, -1e9))
    return found


@pytest.mark.parametrize("seed", range(30))
def test_decode_is_the_best_of_all(seed):
    """Against every pair of every window: the answer, the n best in order, the probability, no answer."""
    rng = np.random.default_rng(seed)
    longest, most = int(rng.integers(1, 12)), int(rng.integers(1, 25))
    count, size = int(rng.integers(1, 5)), int(rng.integers(1, 15))
    step = int(rng.integers(1, size + 1))
    context = "".join(chr(97 + i % 26) for i in range(step * count + size))
    outputs = random_windows(rng, context, count, size, step)
    expected = sorted(by_hand(outputs, longest).items(), key=lambda item: -item[1])
    found = candidates(outputs, longest, most)
    assert [(c.begin, c.end) for c in found] == [place for place, _ in expected[:most]]
    assert [c.score for c in found] == pytest.approx([score for _, score in expected[:most]])
    example = Example("0", {"question": "?", "context": context})
    (begin, end), best = expected[0]
    task = span(max_answer_length=longest, n_best=most)
    plain = task.decode(example, outputs)
    assert plain.value == context[begin:end]
    weights = np.exp([score for _, score in expected[:most]])
    assert plain.scores == pytest.approx({"probability": weights[0] / weights.sum()})
    nothing = min(float(output.scores[0, 0]) + float(output.scores[0, 1]) for output in outputs)
    for threshold in (-50.0, 0.0, 50.0):
        task = span("squad_v2", max_answer_length=longest, n_best=most, null_threshold=threshold)
        prediction = task.decode(example, outputs)
        assert prediction.scores["null_odds"] == pytest.approx(nothing - best)
        assert prediction.value == ("" if nothing - best > threshold else context[begin:end])
        chosen = np.exp(nothing) if prediction.value == "" else weights[0]
        assert prediction.scores["probability"] == pytest.approx(chosen / (weights.sum() + np.exp(nothing)))
    assert task.decode(example, outputs[::-1]) == prediction


def test_answers_have_no_white_space_around_them():
    """Tokens of white space alone neither begin nor end an answer, however high they score; inside they are kept."""
    context = "  Anna \t Berg "
    ends = np.array([[9.0, 9.0], [5.0, 1.0], [9.0, 9.0], [1.0, 5.0], [9.0, 9.0]])
    places = np.array([[2, 2], [2, 6], [8, 8], [9, 13], [14, 14]], dtype=np.int32)
    output = RowOutput(0, np.concatenate([[[0.0, 0.0]], ends]).astype(np.float32), offsets=places)
    assert span().decode(Example("0", {"question": "?", "context": context}), [output]).value == "Anna \t Berg"
    blank = RowOutput(0, output.scores[:2], offsets=places[:1])
    assert span().decode(Example("0", {"question": "?", "context": context}), [blank]) == Prediction("")


def test_best_pairs():
    """No pair ends before it begins, none is too long, and infinities are never taken."""
    ends = np.array([[0.0, 9.0], [5.0, -np.inf], [1.0, 2.0]])
    assert sorted(best_pairs(ends, 3, 9), reverse=True) == [(9.0, 0, 0), (7.0, 1, 2), (3.0, 2, 2), (2.0, 0, 2)]
    assert sorted(best_pairs(ends, 2, 9), reverse=True) == [(9.0, 0, 0), (7.0, 1, 2), (3.0, 2, 2)]
    assert best_pairs(ends, 3, 1) == [(9.0, 0, 0)]
    assert best_pairs(ends[:0], 3, 5) == []


def test_decode_without_a_token():
    """A context of which the tokenizer keeps nothing has no answer."""
    output = RowOutput(0, np.zeros((1, 2), dtype=np.float32), offsets=np.zeros((0, 2), dtype=np.int32))
    for name in ("squad", "squad_v2"):
        assert span(name).decode(Example("0", {"question": "?", "context": "\u200b"}), [output]) == Prediction("")


# The official scores


def test_answer_scores():
    """By hand, and where the two versions differ: answers of nothing but articles and punctuation."""
    assert metrics.answer_scores(["the Cat!"], "a cat") == (1.0, 1.0)
    assert metrics.answer_scores(["black cat", "dog"], "the small black cat") == (0.0, 0.8)
    assert metrics.answer_scores(["black cat", "dog"], "Dog.") == (1.0, 1.0)
    assert metrics.answer_scores(["a cat"], "") == (0.0, 0.0)
    assert metrics.answer_scores(["the"], "a") == (1.0, 0.0)
    assert metrics.answer_scores(["the"], "a", nothing=True) == (1.0, 1.0)
    assert metrics.answer_scores(["the", "cat"], "", nothing=True) == (0.0, 0.0)
    assert metrics.answer_scores([], "", nothing=True) == (1.0, 1.0)
    assert metrics.answer_scores([], "cat", nothing=True) == (0.0, 0.0)
    assert metrics.answer_words("The U.S.A.'s  an\u2014apple\u3000A theme") == ["usas", "\u2014apple", "theme"]


def test_articles_are_words():
    """Article removal looks at word boundaries, as the official pattern does, dashes that are not ASCII included."""
    assert metrics.answer_words("an apple, another the\u2013a") == ["apple", "another", "\u2013"]


@pytest.mark.parametrize("seed", range(20))
def test_best_threshold(seed):
    """Against trying every threshold."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    answerable, said = rng.random(n) < 0.5, rng.random(n) < 0.6
    scores = np.where(answerable, rng.random(n) * said, ~said).astype(float)
    odds = rng.permutation(n) - n / 2

    def reached(threshold: float) -> float:
        return float(np.where(odds <= threshold, scores, ~answerable).mean()) * 100

    best, threshold = metrics.best_threshold(scores.tolist(), odds.tolist(), answerable.tolist(), said.tolist())
    assert best == pytest.approx(max(reached(t) for t in (-np.inf, *odds)))
    if best > reached(-np.inf) + 1e-9:
        assert reached(threshold) == pytest.approx(best)


def test_scores_of_a_part():
    """Questions of one kind alone have no figures of the other; the defaults are those of the official program."""
    task = span("squad_v2")
    only = [answered("In Oslo.", "Oslo")]
    assert task.score(only, [Prediction("Oslo")]) == {
        "f1": 100.0,
        "exact": 100.0,
        "HasAns_f1": 100.0,
        "HasAns_exact": 100.0,
        "best_f1": 100.0,
        "best_f1_thresh": 0.0,
        "best_exact": 100.0,
        "best_exact_thresh": 0.0,
    }
    assert "HasAns_f1" not in task.score([answered("In Oslo.")], [Prediction("")])


def test_majority():
    """No answer where there may be none; else the answer seen most."""
    context = "Anna works in Oslo."
    train = [answered(context, "Anna"), answered(context, "Oslo", "Anna"), answered(context, "Oslo")]
    assert span().majority(train)(train[0]) == Prediction("Oslo")
    assert span("squad_v2").majority(train)(train[0]) == Prediction("")


def test_parse():
    """Question and context, separated by a tab."""
    assert span().parse("Where?\tIn Oslo.") == {"question": "Where?", "context": "In Oslo."}
    with pytest.raises(
        DataError, match=r"^1 text where squad needs 2, separated by tabs: question, context; other forms: "
    ):
        span().parse("Where?")
