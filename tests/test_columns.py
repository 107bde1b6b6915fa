"""Column files of every kind: one separator a file, documents, CoNLL-04 in both layouts; write, read, equal."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ptune.config import Data
from ptune.data import corpora
from ptune.data.schemes import from_iob2, spans
from ptune.errors import DataError
from ptune.leaves import leaf
from ptune.readers import array, columns, gold_conll, props

ROOT = Path(__file__).parents[1]
TAGGED = {"tokens": 0, "tags": 1}
CONLL04 = {"columns": {"tokens": 1, "tags": 2}, "opens": "#doc ", "numbered": 0}
steadily = settings(deadline=None, derandomize=True)


def conll04(**more):
    """The shipped task, with some settings changed."""
    return leaf({**yaml.safe_load((ROOT / "conf/task/conll04.yaml").read_text(encoding="utf-8")), **more})


@pytest.fixture
def file(tmp_path):
    """Write bytes or text to a file."""

    def write(content: str | bytes, name: str = "some.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refused(records) -> str:
    """What a reader says of a broken file."""
    with pytest.raises(DataError) as caught:
        list(records)
    return str(caught.value)


# A prefix


WIKIANN = "en:Anna\tB-PER\nen:sees\tO\nen:en:Oslo\tB-LOC\n\nen::\tO\n"


def test_a_prefix_is_left_out(file):
    """Once, and of the column that has it alone; what else begins so is the token's."""
    read = list(columns.read(file(WIKIANN), TAGGED, prefix={"tokens": "en:"}))
    assert [record.values for record in read] == [
        {"tokens": ["Anna", "sees", "en:Oslo"], "tags": ["B-PER", "O", "B-LOC"]},
        {"tokens": [":"], "tags": ["O"]},
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("de:Anna\tB-PER", "'de:Anna' in column 1, whose values must begin with 'en:'"),
        ("Anna\tB-PER", "'Anna' in column 1, whose values must begin with 'en:'"),
        ("en:\tB-PER", "nothing after 'en:' in column 1"),
    ],
)
def test_a_token_without_its_prefix(file, line, said):
    path = file(WIKIANN + line + "\n")
    assert refused(columns.read(path, TAGGED, prefix={"tokens": "en:"})) == f"{path}:6: {said}"


def test_wikiann(tmp_path):
    """The shipped yaml reads WikiANN's own files, as they are unpacked or in a folder of the language."""
    for folder in (tmp_path / "flat", tmp_path / "apart" / "en"):
        folder.mkdir(parents=True)
        for split in ("train", "dev", "test"):
            (folder / split).write_text(WIKIANN.replace("Anna", split), encoding="utf-8")
    for root in ("flat", "apart"):
        task = leaf(yaml.safe_load((ROOT / "conf/task/wikiann_en.yaml").read_text(encoding="utf-8")))
        found = corpora.load(task, Data(source="local", root=str(tmp_path / root)))
        assert {split: len(examples) for split, examples in found.splits.items()} == {"train": 2, "dev": 2, "test": 2}
        assert found.splits["dev"][0].fields == {"tokens": ["dev", "sees", "en:Oslo"]}
        assert found.splits["dev"][0].gold == ["B-PER", "O", "B-LOC"]


# Separators and columns


def test_the_first_line_with_a_separator_decides(file):
    """Between tabs a cell may have spaces; runs of spaces are one; a line of one cell has no separator."""
    read = {"tokens": 0, "tags": 1}
    path = file("New York\tB-LOC\nin\tO\n")
    assert next(columns.read(path, read)).values == {"tokens": ["New York", "in"], "tags": ["B-LOC", "O"]}
    path = file("  York   B-LOC  \nin O\n")
    assert next(columns.read(path, read)).values == {"tokens": ["York", "in"], "tags": ["B-LOC", "O"]}
    path = file("York\n\nin\n")
    assert [record.values for record in columns.read(path, {"tokens": 0})] == [{"tokens": ["York"]}, {"tokens": ["in"]}]
    path = file("York\n\nin\nNew\tYork\n")
    assert refused(columns.read(path, {"tokens": 0})) == f"{path}:4: 2 columns where line 1 has 1"


ONE = "use one separator throughout the file"
BROKEN = {
    "tabs, then spaces": ("a\tO\n\nb O\n", f":3: spaces between columns, where line 1 has tabs; {ONE}"),
    "spaces, then tabs": ("\na O\nb\tO\n", f":3: tabs between columns, where line 2 has spaces; {ONE}"),
    "a column more": ("a O\nb O O\n", ":2: 3 columns where line 1 has 2"),
    "a column less": ("a x O\nb O\n", ":2: 2 columns where line 1 has 3"),
    "too few": ("a O\n\nb\n", ":3: 1 columns where at least 2 are needed: 'b'"),
    "no token": ("a\tO\n\tO\n", ":2: nothing in column 1 (tokens)"),
    "two tabs": ("a\tO\tx\nb\t\tx\n", ":2: nothing in column 2 (tags)"),
    "a pointer": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 12\n",
        ":1: a Git LFS pointer instead of the data; git lfs pull fetches it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken(file, name):
    """One line: file, line, what is there and what would be right."""
    content, expected = BROKEN[name]
    path = file(content)
    assert refused(columns.read(path, TAGGED)) == f"{path}{expected}"


@pytest.mark.parametrize("gaps", [("\t", " "), (" ", "\t")])
def test_props_and_words_have_one_separator_too(file, gaps):
    """In the file that changes it, at its line."""
    rows = [["Go", "VB", "*", "*", "01", "go", "(V*)"], ["now", "RB", "*", "*", "-", "-", "*"]]
    path = file("\n".join(gap.join(row) for gap, row in zip(gaps, rows, strict=True)))
    names = {"\t": "tabs", " ": "spaces"}
    said = f"{path}:2: {names[gaps[1]]} between columns, where line 1 has {names[gaps[0]]}; {ONE}"
    assert refused(props.read(path)) == said


def test_packed(file):
    """A name in .gz is unpacked; one that is cut short says so."""
    raw = gzip.compress(b"a O\n\nb O\n" * 50)
    assert len(list(columns.read(file(raw, "train.txt.gz"), TAGGED))) == 51
    path = file(raw[:-9], "cut.txt.gz")
    assert refused(columns.read(path, TAGGED)).startswith(f"{path}: cannot be unpacked (")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("#doc 1\n0\ta\tO\n2\tb\tO\n", ":3: token '2' where 1 is expected; is a line missing before it?"),
        ("#doc 1\n0\ta\tO\n0\tb\tO\n", ":3: token '0' where 1 is expected; is a line missing before it?"),
        ("#doc 1\n1\ta\tO\n", ":2: token '1' where 0 is expected; is a line missing before it?"),
    ],
)
def test_a_line_is_missing(file, content, said):
    """A token, a document's first line or its first token: where the numbers of the tokens show it."""
    path = file(content)
    assert refused(columns.read(path, **CONLL04)) == f"{path}{said}"


def test_the_place_of_a_token(file):
    """Its own line, in the file that has it."""
    path = file("#doc 1\n0\ta\tO\n1\tb\tB-Loc\n#doc 2\n0\tc\tO\n")
    first, second = columns.read(path, **CONLL04)
    assert [first.at(0), first.at(1), second.at(0)] == [f"{path}:{line}" for line in (2, 3, 5)]
    path = file("#doc 1\n0\ta\tO\n1\tb\tB-Lok\n")
    with pytest.raises(DataError) as caught:
        conll04().example(next(columns.read(path, **CONLL04)), 0)
    assert str(caught.value) == f"{path}:3: 'B-Lok' (token 2) is not a type of conll04; did you mean 'Loc'?"


# Write, read, equal

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t \ufeff")
WORDS = st.text(CHARACTERS, min_size=1, max_size=6).filter(lambda word: not word.startswith(("-DOCSTART-", "#")))
TAGS = st.sampled_from(["O", "B-A", "I-A", "B-C", "I-C"])
SENTENCES = st.lists(st.lists(st.tuples(WORDS, TAGS), min_size=1, max_size=6), min_size=1, max_size=5)


@steadily
@given(SENTENCES, st.sampled_from([" ", "   ", "\t"]), st.sampled_from(["\n", "\r\n"]), st.integers(1, 3))
def test_columns_round_trip(sentences, gap, end, blank):
    """Whatever the words: lines end at newlines and cells at tabs and spaces alone."""
    text = (end * (blank + 1)).join(end.join(gap.join(row) for row in rows) for rows in sentences)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.txt"
        path.write_bytes(text.encode())
        found = [record.values for record in columns.read(path, TAGGED)]
    assert found == [{"tokens": [w for w, _ in rows], "tags": [t for _, t in rows]} for rows in sentences]


@steadily
@given(SENTENCES)
def test_gold_conll_round_trip(sentences):
    """Names as brackets, one of one word without its star as the originals have it."""
    lines = ["#begin document (nw/x); part 000"]
    for rows in sentences:
        tags = from_iob2([tag for _, tag in rows], "iob2")
        cells = [cell.replace("*)", ")") if cell[0] == "(" else cell for cell in props.brackets(tags)]
        lines += [
            f"nw/x 0 {i} {word} X * - - - - {cell} -"
            for i, ((word, _), cell) in enumerate(zip(rows, cells, strict=True))
        ]
        lines.append("")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gold_conll"
        path.write_text("\n".join([*lines, "#end document"]), encoding="utf-8", newline="\n")
        found = [record.values for record in gold_conll.read(path)]
    assert found == [
        {"tokens": [w for w, _ in rows], "tags": from_iob2([t for _, t in rows], "iob2")} for rows in sentences
    ]


# CoNLL-04


@pytest.mark.parametrize(("split", "documents"), [("train", 910), ("dev", 243), ("test", 288)])
def test_conll04_columns(shared, split, documents):
    """Documents as the corpus has them, every tag's entity kept; two in train begin with I-."""
    path = shared / "data" / "conll04" / f"{split}.txt"
    found = list(columns.read(path, **CONLL04))
    assert len(found) == documents
    examples = [conll04().example(record, i) for i, record in enumerate(found)]
    assert {tag for example in examples for tag in example.gold} == set(conll04().labels)
    opened = 0
    for record, example in zip(found, examples, strict=True):
        opened += sum(a != b for a, b in zip(record.values["tags"], example.gold, strict=True))
        assert list(spans(record.values["tags"])) == list(spans(example.gold))
    assert opened == (2 if split == "train" else 0)


def test_conll04_is_not_quite_iob2(shared):
    """Read as what it nearly is, the first that is not is named, at its line, with the cure."""
    path = shared / "data" / "conll04" / "train.txt"
    task = conll04(scheme="iob2")
    said = refused(task.example(record, i) for i, record in enumerate(columns.read(path, **CONLL04)))
    place, _, text = said.partition(": ")
    line = path.read_text(encoding="utf-8").split("\n")[int(place.rpartition(":")[2]) - 1]
    assert line.split("\t")[2] == text[1:6] == "I-Loc"
    assert text.endswith("opens an entity, which IOB2 marks with B-; if the file is IOB1, set task.scheme=iob1")


@pytest.mark.parametrize(("split", "documents"), [("train", 922), ("dev", 231), ("test", 288)])
def test_conll04_json(shared, split, documents):
    """BILOU becomes IOB2 and comes back."""
    path = shared / "data" / "conll04" / f"conll04_{split}.json"
    task = conll04()
    task.lay_out("json")
    found = list(array.read(path, unique="orig_id"))
    assert len(found) == documents
    for i, record in enumerate(found):
        gold = task.example(record, i).gold
        assert from_iob2(gold, "bilou") == record.values["tags"]
        assert set(gold) <= set(task.labels)


def test_both_layouts_are_of_one_corpus(shared):
    """Most documents are the same to the word; what one trains on the other has in test."""
    found = {}
    for layout in ("columns", "json"):
        corpus = corpora.load(conll04(), Data(source="local", root=str(shared / "data"), layout=layout))
        found[layout] = Counter(
            tuple(example.fields["tokens"]) for examples in corpus.splits.values() for example in examples
        )
    same = (found["columns"] & found["json"]).total()
    assert found["columns"].total() == found["json"].total() == 1441
    assert same > 1000
    train, test = (
        {
            tuple(e.fields["tokens"])
            for e in corpora.load(conll04(), Data("local", str(shared / "data"), layout)).splits[split]
        }
        for layout, split in (("columns", "train"), ("json", "test"))
    )
    assert train & test, "so that neither layout's train may stand beside the other's test"


def test_demo_layouts_say_the_same(tmp_path, monkeypatch):
    """The demo writes both: the same words, the same entities."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path))
    found = [corpora.load(conll04(), Data(source="demo", layout=layout)).splits for layout in (None, "json")]
    assert found[0] == found[1]


ARRAYS = {
    "no array": ('{"tokens": []}', ": a JSON dict where an array of objects is needed"),
    "no object": ('[{"orig_id": 1}, 3]', ": [1]: a JSON int where an object is needed"),
    "no id": ('[{"tokens": []}]', ": [0]: no 'orig_id'; each record needs its own, a number or a text"),
    "one id twice": ('[{"orig_id": 1}, {"orig_id": 2}, {"orig_id": 1}]',
                     ": [2]: duplicate orig_id 1, first used at [0]"),
    "half a character": ('[{"orig_id": 1, "tokens": ["\\ud83d"]}]',
                         ": [0]: half a character (a lone surrogate); the file is damaged"),
    "cut": ('[{"orig_id": 1, "tokens": ["a"',
            ":1: not JSON (Expecting ',' delimiter, character 31 of 30); the file ends too early: is its download "
            "complete?"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\n",
                  ":1: a Git LFS pointer instead of the data; git lfs pull fetches it"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_broken_arrays(file, name):
    """The place is the object's index."""
    content, expected = ARRAYS[name]
    path = file(content, "some.json")
    assert refused(array.read(path, unique="orig_id")) == f"{path}{expected}"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tokens": ["a", "b"], "tags": ["B-Loc", "O"]},
         "'O' (token 2) follows no 'L-Loc', which BILOU puts at the end of an entity of several words; "
         "if the file is IOB2, set task.scheme=iob2"),
        ({"tokens": ["a", "b"], "tags": ["U-Loc"]}, "2 tokens but 1 tags"),
        ({"tokens": ["a"], "tags": "O"}, "'tags' is a str where a list of tags is needed"),
        ({"tokens": "a", "tags": ["O"]}, "no tokens; conll04 needs a list of words in 'tokens'"),
        ({"tokens": ["a"], "tags": [None]}, "'None' (token 1) is not a tag; use O, B-TYPE, I-TYPE, L-TYPE or U-TYPE"),
    ],
)  # fmt: skip
def test_broken_objects(file, values, said):
    """Of an array, as of a token a line: what is wrong, and where."""
    path = file(json.dumps([{"orig_id": 4, **values}]), "some.json")
    task = conll04()
    task.lay_out("json")
    assert refused(task.example(record, 0) for record in array.read(path)) == f"{path}: [0]: {said}"


def test_damaged_anywhere(file):
    """Cut or changed at any byte, columns are read or refused by a DataError with a line, and nothing else."""
    whole = b"".join(b"#doc %d\n0\tAnn\tB-Peop\t['N']\t[0]\n1\tleft\tO\t['N']\t[1]\n" % i for i in range(20))
    rng, told, task = random.Random(7), [], conll04()
    for i in range(400):
        at = rng.randrange(len(whole))
        path = file(whole[:at] if i % 2 else whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
        try:
            for record in columns.read(path, **CONLL04):
                assert len(task.example(record, 0).gold) == len(record.values["tokens"]) > 0
        except DataError as error:
            told.append(str(error).removeprefix(str(path)))
    assert 100 < len(told) < 400
    assert all(text[0] == ":" and text[1].isdigit() and "\n" not in text for text in told)
