"""Readers take the original files as they are, and answer every broken one with a line number."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import datasets
import pytest

from ptune.errors import DataError
from ptune.readers import columns, hub, jsonl

TAGGED = {"tokens": 0, "tags": 1}
CONLL = {"tokens": 0, "tags": 3}


@pytest.fixture
def file(tmp_path):
    """Write bytes or text to a file."""

    def write(content: str | bytes, name: str = "some.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def sentences(path: Path, named=TAGGED) -> list[dict]:
    return [record.values for record in columns.read(path, named)]


def error(read, path: Path, *options) -> str:
    with pytest.raises(DataError) as caught:
        list(read(path, *options))
    return str(caught.value)


# Real files


@pytest.mark.parametrize(
    ("name", "count", "tokens"),
    [
        ("wnut17train.conll", 3394, 62730),
        ("emerging.dev.conll", 1009, 15733),
        ("emerging.test.annotated", 1287, 23394),
    ],
)
def test_wnut17(shared, name, count, tokens):
    """Sentence counts as the shared task gives them; the tags are IOB2 and nothing else."""
    found = sentences(shared / "data" / "wnut17" / name)
    assert len(found) == count
    assert sum(len(sentence["tokens"]) for sentence in found) == tokens
    tags = {tag for sentence in found for tag in sentence["tags"]}
    kinds = ("person", "location", "corporation", "product", "creative-work", "group")
    assert tags <= {"O"} | {f"{b}-{kind}" for b in "BI" for kind in kinds}


def test_conll03_fixture(shared):
    """Two sentences; the fourth column is the entity's."""
    found = list(columns.read(shared / "data" / "conll03" / "sample.txt", CONLL))
    assert [record.where.rsplit(":", 1)[1] for record in found] == ["3", "13"]
    assert found[0].values == {
        "tokens": ["U.N.", "official", "Ekeus", "heads", "for", "Baghdad", "."],
        "tags": ["I-ORG", "O", "I-PER", "O", "O", "I-LOC", "O"],
    }
    assert [len(record.values["tokens"]) for record in found] == [7, 7]


@pytest.mark.parametrize(
    ("task", "split", "count"),
    [
        ("RTE", "train", 2490),
        ("RTE", "val", 277),
        ("RTE", "test", 3000),
        ("CB", "train", 250),
        ("CB", "val", 56),
        ("CB", "test", 250),
    ],
)
def test_superglue(shared, task, split, count):
    """Every line is an object with premise and hypothesis; only test has no labels; the last line may lack its end."""
    found = list(jsonl.read(shared / "data" / "superglue" / task / f"{split}.jsonl"))
    assert len(found) == count
    assert all({"premise", "hypothesis", "idx"} <= set(record.values) for record in found)
    assert {"label" in record.values for record in found} == {split != "test"}
    assert [record.values["idx"] for record in found] == list(range(count))


@pytest.mark.parametrize("task", ["RTE", "CB"])
def test_fewglue(shared, task):
    """32 rows a task."""
    assert len(list(jsonl.read(shared / "data" / "fewglue" / task / "train.jsonl"))) == 32


# What files may contain


@pytest.mark.parametrize(
    "token", ["a\u2028b", "a\u2029b", "a\u00a0b", "\u00a0", "#", "#5", "a\u0085b", "a\x0cb", "a\x1cb"]
)
@pytest.mark.parametrize("gap", ["\t", " "])
def test_odd_tokens(file, token, gap):
    r"""Lines end at \n alone, columns at tabs and spaces alone, and nothing opens a comment."""
    path = file(f"x{gap}O\n{token}{gap}B-person\n\n{token}{gap}O\n")
    assert sentences(path) == [
        {"tokens": ["x", token], "tags": ["O", "B-person"]},
        {"tokens": [token], "tags": ["O"]},
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", ["", "end"])
def test_line_ends(file, end, bom, last):
    """CRLF, a byte order mark and a missing final line end change nothing."""
    text = end.join(["EU NNP B-NP I-ORG", "rejects VBZ B-VP O", "", "Peter NNP B-NP I-PER"]) + (end if last else "")
    assert sentences(file(bom + text.encode()), CONLL) == [
        {"tokens": ["EU", "rejects"], "tags": ["I-ORG", "O"]},
        {"tokens": ["Peter"], "tags": ["I-PER"]},
    ]
    rows = end.join(['{"a": "\u2028"}', "", '{"a": "#"}']) + (end if last else "")
    assert [record.values for record in jsonl.read(file(bom + rows.encode()))] == [
        {"a": "\u2028"},
        {"a": "#"},
    ]


def test_columns_details(file):
    """Document lines are no sentences, blank lines may repeat, spaces may pad; the place is the first line's."""
    path = file(
        "-DOCSTART- -X- -X- O\n\n\nU.N.  NNP I-NP I-ORG\nheads VBZ I-VP  O\n \t\n-DOCSTART- -X- O O\nEkeus a b c\n\n\n"
    )
    found = list(columns.read(path, CONLL))
    assert [record.where for record in found] == [f"{path}:4", f"{path}:8"]
    assert found[0].values == {"tokens": ["U.N.", "heads"], "tags": ["I-ORG", "O"]}


def test_empty_files(file):
    """No records, no error: `ptune.data.corpora` says which file is empty."""
    assert sentences(file("")) == sentences(file("\n\n")) == []
    assert list(jsonl.read(file(""))) == list(jsonl.read(file("\n  \n"))) == []


def test_hub_records():
    """Class indices become names, -1 becomes None, columns take our names."""
    features = datasets.Features(
        {
            "words": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
            "label": datasets.ClassLabel(names=["entailment", "not_entailment"]),
        }
    )
    table = datasets.Dataset.from_dict(
        {"words": [["Ann"], ["a", "b"]], "ner_tags": [[1], [0, 0]], "label": [1, -1]},
        features=features,
    )
    found = list(hub.read(table, "some/set train", {"tokens": "words", "tags": "ner_tags"}))
    assert [record.where for record in found] == ["some/set train row 0", "some/set train row 1"]
    assert found[0].values == {"tokens": ["Ann"], "tags": ["B-PER"], "label": "not_entailment"}
    assert found[1].values == {"tokens": ["a", "b"], "tags": ["O", "O"], "label": None}
    with pytest.raises(DataError) as caught:
        list(hub.read(table, "some/set train", {"tags": "ner_tag"}))
    assert str(caught.value) == "some/set train: no column 'ner_tag' for 'tags'; did you mean 'ner_tags'?"


# Errors


def test_columns_errors(file):
    """file:line first, then what is there and what is needed."""
    path = file("EU NNP B-NP I-ORG\nrejects VBZ B-VP\n")
    assert error(columns.read, path, CONLL) == f"{path}:2: 3 columns where at least 4 are needed: 'rejects VBZ B-VP'"
    path = file("a\tO\n" + "b" * 100 + "\n")
    assert error(columns.read, path, TAGGED) == f"{path}:2: 1 columns where at least 2 are needed: '{'b' * 60}'"


def test_jsonl_errors(file):
    """What is no object is named; what is no JSON is quoted from the parser."""
    path = file('{"a": 1}\n[1, 2]\n')
    assert error(jsonl.read, path) == f"{path}:2: a JSON list where an object is needed"
    path = file('{"a": 1}\n\n{"a": \n')
    assert error(jsonl.read, path) == f"{path}:3: not JSON (Expecting value: line 1 column 7 (char 6))"
    path = file("[" * 100_000)
    assert error(jsonl.read, path).startswith(f"{path}:1: not JSON (")
    path = file('{"idx": ' + "9" * 5000 + "}")
    assert error(jsonl.read, path).startswith(f"{path}:1: not JSON (Exceeds the limit (4300 digits)")
    path = file('{"a": 1}\n{"premise": "half a \\ud83d character"}')
    assert error(jsonl.read, path) == f"{path}:2: half a character (a lone surrogate); the file is damaged"


@pytest.mark.parametrize(("read", "options"), [(columns.read, [TAGGED]), (jsonl.read, [])])
def test_bytes_errors(file, read, options):
    """Bytes that are no text, whatever the format."""
    good = b'{"a b": 1}\n'
    path = file(good + b"caf\xe9 O\n")
    assert error(read, path, *options) == f"{path}:2: byte 4 is not UTF-8; convert the file to UTF-8"
    path = file(good + b"a\0 O\n")
    assert error(read, path, *options) == f"{path}:2: a NUL character; the file is damaged or not text"
    path = file(good + b"a" * 1_000_001 + b" O\n")
    assert error(read, path, *options) == f"{path}:2: a line of 1000004 bytes; is this a text corpus?"


# Mutations


def mutations(good: bytes, count: int):
    """Damaged copies of a file's bytes, the same ones in every run."""
    rng = random.Random(5)
    for number in range(count):
        rows = good.split(b"\n")
        line = rng.randrange(len(rows))
        kind = number % 8
        if kind == 0:
            yield good[: rng.randrange(len(good))]
        elif kind == 1:
            flipped = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            yield bytes(flipped)
        elif kind == 2:
            rows[line] = rows[line][: rng.randrange(len(rows[line]) + 1)]
            yield b"\n".join(rows)
        elif kind == 3:
            cells = re.split(rb"([ \t,])", rows[line])
            del cells[rng.randrange(len(cells))]
            rows[line] = b"".join(cells)
            yield b"\n".join(rows)
        elif kind == 4:
            place = rng.randrange(len(good))
            yield good[:place] + b"\0" * rng.randint(1, 3) + good[place:]
        elif kind == 5:
            rows[line] *= 1 + 1_100_000 // max(len(rows[line]), 1) if rng.random() < 0.2 else rng.randint(0, 3)
            yield b"\n".join(rows)
        elif kind == 6:
            place = rng.randrange(len(good))
            yield (
                good[:place] + rng.choice([b"\xff", b"\\ud800", b"[" * 5000, b"9" * 5000, b"\r", b"\t"]) + good[place:]
            )
        else:
            rng.shuffle(rows)
            yield b"".join(rows)


GOOD = {
    "columns": b"EU\tNNP\tB-NP\tI-ORG\nrejects\tVBZ\tB-VP\tO\n\nPeter\tNNP\tB-NP\tI-PER\nBlackburn\tNNP\tI-NP\tI-PER\n"
    * 3,
    "jsonl": b"".join(
        json.dumps(
            {
                "premise": f"A man number {i} eats.",
                "hypothesis": "Someone eats.",
                "label": "entailment",
                "idx": i,
            }
        ).encode()
        + b"\n"
        for i in range(6)
    ),
}


@pytest.mark.parametrize("name", ["columns", "jsonl"])
def test_mutations(file, name):
    """A damaged file is read as far as its format goes, or refused with file:line; nothing else ever happens."""
    read = {"columns": lambda path: columns.read(path, CONLL), "jsonl": jsonl.read}[name]
    refused = 0
    for number, damaged in enumerate(mutations(GOOD[name], 200)):
        path = file(damaged, f"{number}.txt")
        try:
            message, found = "", list(read(path))
        except DataError as caught:
            message, found = str(caught), []
            refused += 1
        assert not message or re.match(rf"{re.escape(str(path))}:\d+: ", message), damaged[:200]
        assert len(message) < 400
        for record in found:
            assert re.fullmatch(rf"{re.escape(str(path))}:\d+", record.where)
            json.dumps(record.values, ensure_ascii=False).encode()  # can be written again
            if name == "columns":
                assert len(record.values["tokens"]) == len(record.values["tags"]) > 0
    assert 40 < refused < 200
