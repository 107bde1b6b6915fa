"""Every reader on every class of bad input: small files of each form, how they are broken, and what is to be said.

`scripts/bad_input` prints the table, tests/test_bad_input.py checks each of its cells.
"""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from ptune.config import Data
from ptune.data import corpora
from ptune.data.corpora import Corpus
from ptune.errors import DataError, UnavailableError
from ptune.hub import Files
from ptune.leaves import leaf

ROOT = Path(__file__).parents[1]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 30288272\n"
MARK = "Oslo"  # stands once in each file, in its second record

COLUMNS, SEPARATOR, CRLF, BOM, NUL, BYTES = "column count", "separator", "CRLF", "BOM", "NUL", "bad UTF-8"
BRACKETS, INSIDE, LABELS, EMPTY, LONG = "brackets", "I- without B-", "unknown label", "empty sentence", "long token"
JSON, IDS, OUTSIDE, OFFSET = "truncated json", "duplicate id", "answer outside", "offset off by one"
UNLABELED, FIELD = "missing gold", "empty field"
MISSING, LFS, GZIP = "missing file", "LFS pointer", "gzip cut short"
CLASSES = {
    COLUMNS: "wrong column count, or a missing key",
    SEPARATOR: "a separator that changes inside the file",
    CRLF: "CRLF line ends",
    BOM: "a byte order mark",
    NUL: "a NUL character",
    BYTES: "bytes that are not UTF-8",
    BRACKETS: "unclosed or crossed brackets",
    INSIDE: "I- without B-",
    LABELS: "an unknown label",
    UNLABELED: "one record without its gold data",
    EMPTY: "an empty sentence",
    FIELD: "one empty text or token",
    LONG: "a token of a million characters",
    JSON: "truncated json",
    IDS: "a duplicate id",
    OUTSIDE: "an answer outside the context",
    OFFSET: "an offset off by one",
    MISSING: "a missing file or split",
    LFS: "a Git LFS pointer instead of the data",
    GZIP: "a truncated gzip file",
}


class Refused(NamedTuple):
    """Old text for new in the good file: refused at `place` (after the file's name), with a message that has `said`.

    problems: how many records it breaks.
    """

    old: str
    new: str
    place: str
    said: str
    problems: int = 1


class Same(NamedTuple):
    """Old text for new: read as if nothing had changed."""

    old: str
    new: str
    why: str


class Kept(NamedTuple):
    """Old text for new: read, every example of it."""

    old: str
    new: str
    why: str


Cell = Refused | Same | Kept | str  # str: why the class does not apply


@dataclass
class Form:
    """A form of files: the task that reads it, the names and the text of train and dev, and its cells."""

    name: str
    task: str
    train: str
    dev: str
    text: str
    cells: dict[str, Cell | list[Cell]]
    layout: str | None = None
    beside: tuple[str, str, str] | None = None  # of train and dev, and its text: words of props
    hub: bool = False  # parquet with the rows that the text has as JSON lines; places are whole
    document: bool = False  # one JSON document, which has no lines of its own
    places: dict[str, str] = field(default_factory=dict)  # class -> place, where it is not the line of the mark

    def begins(self, cell: Refused, folder: Path, packed: bool) -> str:
        """How the message of a cell begins."""
        path = str(folder / (self.train + (".gz" if packed else "")))
        return cell.place.format(path=path) if self.hub else path + cell.place

    def line(self, text: str) -> str:
        """The place of a text in the good file."""
        return f":{self.text[: self.text.index(text)].count(chr(10)) + 1}"


def lines_of(rows: list[dict[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


NONE = {
    "columns": {
        BRACKETS: "has tags, no brackets",
        JSON: "not JSON",
        OUTSIDE: "no answers",
        OFFSET: "no offsets",
    },
    "json": {
        SEPARATOR: "separators are part of JSON; see truncated json",
        BRACKETS: "JSON has its own; see truncated json",
    },
    "text": {INSIDE: "has no tags"},
}
GOLD = "".join(
    f"#begin document (nw/a/{doc}); part 000\n"
    + "".join(
        f"nw/a/{doc} 0 {i} {word} X * {lemma} {frame} - - {name} {roles} -\n"
        for i, (word, lemma, frame, name, roles) in enumerate(rows)
    )
    + "\n#end document\n"
    for doc, rows in enumerate(
        [
            [("Anna", "-", "-", "(PERSON)", "(ARG0*)"), ("left", "leave", "01", "*", "(V*)")],
            [("He", "-", "-", "*", "(ARG0*)"), ("saw", "see", "01", "*", "(V*)"),
             ("Oslo", "-", "-", "(GPE*", "(ARG1*"), ("City", "-", "-", "*)", "*)")],
            [("Stop", "stop", "01", "*", "(V*)")],
        ]
    )
)  # fmt: skip
WIC = [
    {"word": "bank", "sentence1": "The bank is high.", "sentence2": "A bank lends.", "start1": 4, "end1": 8,
     "start2": 2, "end2": 6, "label": False, "idx": 0},
    {"word": "ran", "sentence1": "She ran home.", "sentence2": "Oslo ran it.", "start1": 4, "end1": 7,
     "start2": 5, "end2": 8, "label": False, "idx": 1},
    {"word": "cup", "sentence1": "A cup.", "sentence2": "The cup.", "start1": 2, "end1": 5,
     "start2": 4, "end2": 7, "label": True, "idx": 2},
]  # fmt: skip
MULTIRC = [
    {"idx": i, "passage": {"text": text, "questions": [
        {"idx": i, "question": "Who?", "answers": [
            {"idx": 2 * i, "text": "Anna.", "label": 1}, {"idx": 2 * i + 1, "text": f"Bob {i}.", "label": 0}]}]}}
    for i, text in enumerate(["Anna left.", "Anna saw Oslo.", "Anna came."])
]  # fmt: skip
RECORD = [
    {"idx": i, "passage": {"text": f"Anna saw {town}. It rained.", "entities": [
        {"start": 0, "end": 3}, {"start": 9, "end": 8 + len(town)}]},
     "qas": [{"idx": i, "query": "She went to @placeholder .", "answers": [
         {"start": 9, "end": 8 + len(town), "text": town}]}]}
    for i, town in enumerate(["Bergen", "Oslo", "Hamar"])
]  # fmt: skip
FIRST_RECORD = {
    "version": "1.0",
    "data": [
        {"id": f"p{row['idx']}", "passage": row["passage"],
         "qas": [{"id": f"q{row['idx']}", "query": q["query"], "answers": q["answers"]} for q in row["qas"]]}
        for row in RECORD
    ],
}  # fmt: skip
FACTS = [
    {"uuid": name, "predicate_id": "P19", "sub_label": who, "obj_label": town}
    for name, who, town in [("a", "Anna", "Bergen"), ("b", "Bob", "Oslo"), ("c", "Carl", "Hamar")]
]
BORN = lines_of([{"relation": "P19", "template": "[X] was born in [Y] .", "label": "birth place", "type": "N-1"}])
SQUAD = {
    "version": "1.1",
    "data": [{"title": "T", "paragraphs": [
        {"context": f"Anna works in {town}.", "qas": [{"id": f"q{i}", "question": "Where?", "answers": [
            {"text": town, "answer_start": 14}]}]}
        for i, town in enumerate(["Bergen", "Oslo", "Hamar"])]}],
}  # fmt: skip
CONLL04 = [
    {"tokens": tokens, "tags": tags, "orig_id": i}
    for i, (tokens, tags) in enumerate(
        [(["Anna", "left"], ["U-Peop", "O"]), (["Bob", "saw", "Oslo"], ["U-Peop", "O", "U-Loc"]), (["Stop"], ["O"])]
    )
]

E2E = "mr,ref\n" + "".join(
    f'"name[{name}], eatType[{kind}]",A {kind}.\n'
    for name, kind in (("Aromi", "pub"), ("Oslo", "bar"), ("Alimentum", "inn"))
)
WEBNLG = {"entries": [
    {str(i + 1): {
        "category": f"City{i}", "size": "1",
        "modifiedtripleset": [{"object": f"Land{i}", "property": "country", "subject": town}],
        "lexicalisations": [{"comment": "good", "lang": "", "lex": f"It is in Land{i}.", "xml_id": "Id1"}]}}
    for i, town in enumerate(["Bergen", "Oslo", "Hamar"])
]}  # fmt: skip


def document(content: Any) -> str:
    """A JSON document on several lines."""
    return json.dumps(content, indent=1)


def part(text: str, begins: str, ends: str) -> str:
    """A part of a text, from its beginning to the next end."""
    start = text.index(begins)
    return text[start : text.index(ends, start) + len(ends)]


PROPS = "-\t(A0*)\nleave\t(V*)\n\n-\t(A0*)\nsee\t(V*)\n-\t(A1*\n-\t*)\n\nstop\t(V*)\n"
WORDS = "Anna\nleft\n\nHe\nsaw\nOslo\nCity\n\nStop\n"
WIDE = (
    "Anna\tN\t*\t*\t-\t-\t(A0*)\nleft\tV\t*\t*\t01\tleave\t(V*)\n\nHe\tN\t*\t*\t-\t-\t(A0*)\n"
    "saw\tV\t*\t*\t01\tsee\t(V*)\nOslo\tN\t*\t*\t-\t-\t(A1*\nCity\tN\t*\t*\t-\t-\t*)\n\n"
    "Stop\tV\t*\t*\t01\tstop\t(V*)\n"
)
NO_IDS = "sentences have no ids; examples are numbered in their order"
BLANK = Same("\n\n", "\n\n \n\n", "extra blank lines are ignored")
NO_V = (
    "nothing shows that a predicate's column belongs to another word: 11 of the 40,393 predicates in srl_ewt's "
    "train have no V at their word, either"
)

NO_TAG = "a token without its tag lacks a column; a sentence without any tags has another form"
NO_BRACKETS = "a predicate without brackets has the wrong column count"
SPACES = "adjacent spaces are one separator, so a missing token is a missing column"
SECOND_TAGS = part(document(CONLL04), '"tags": [\n   "U-Peop",\n   "O",', "],")
SECOND_RECORD = part(document(FIRST_RECORD), '"id": "q1"', '"answers"')
SECOND_TRIPLES = part(document(WEBNLG), '[\n     {\n      "object": "Land1"', "]")
SECOND_TEXTS = part(document(WEBNLG), '"subject": "Oslo"', '"lexicalisations"')
NO_LABELS = "the gold answer is a text"
SECOND_QUESTION = part(document(SQUAD), '"id": "q1"', '"answers"')

FORMS = [
    Form(
        "columns, by tabs", "wnut17", "wnut17train.conll", "emerging.dev.conll",
        "Anna\tB-person\nleft\tO\n\nBob\tB-person\nBerg\tI-person\nsaw\tO\nOslo\tB-location\n\nStop\tO\n",
        {
            **NONE["columns"],
            COLUMNS: Refused("saw\tO", "saw\tO\tx", ":6", "3 columns where line 1 has 2"),
            SEPARATOR: Refused("saw\tO", "saw O", ":6", "use one separator throughout the file"),
            INSIDE: Refused("Oslo\tB-", "Oslo\tI-", ":7", "opens an entity, which IOB2 marks with B-"),
            LABELS: Refused("B-location", "B-lokation", ":7", "did you mean 'location'?"),
            UNLABELED: NO_TAG,
            FIELD: Refused("Oslo\tB-", "\tB-", ":7", "nothing in column 1 (tokens)"),
            EMPTY: BLANK,
            IDS: NO_IDS,
        },
    ),
    Form(
        "columns, by spaces", "conll03", "eng.train", "eng.testa",
        "-DOCSTART- -X- O O\n\nAnna N I-NP I-PER\nleft V I-VP O\n\nBob N I-NP I-PER\nsaw V I-VP O\n"
        "Oslo N I-NP I-LOC\n\nStop V I-VP O\n",
        {
            **NONE["columns"],
            COLUMNS: Refused("Oslo N I-NP", "Oslo I-NP", ":8", "3 columns where at least 4 are needed"),
            SEPARATOR: Refused("Oslo N I-NP I-LOC", "Oslo\tN\tI-NP\tI-LOC", ":8", "use one separator"),
            INSIDE: Same("Oslo N I-NP I-LOC", "Oslo N I-NP B-LOC", "the corpus is IOB1, which opens entities with I-"),
            LABELS: Refused("I-LOC", "I-LOK", ":8", "did you mean 'LOC'?"),
            UNLABELED: NO_TAG,
            FIELD: SPACES,
            EMPTY: BLANK,
            IDS: NO_IDS,
        },
    ),
    Form(
        "columns, numbered", "conll04", "train.txt", "dev.txt",
        "#doc 1\n0\tAnna\tB-Peop\t['N']\t[0]\n1\tleft\tO\t['N']\t[1]\n#doc 2\n0\tBob\tB-Peop\t['N']\t[0]\n"
        "1\tsaw\tO\t['N']\t[1]\n2\tOslo\tB-Loc\t['N']\t[2]\n#doc 3\n0\tStop\tO\t['N']\t[0]\n",
        {
            **NONE["columns"],
            COLUMNS: Refused("2\tOslo\t", "2\t", ":7", "4 columns where line 2 has 5"),
            SEPARATOR: Refused("2\tOslo\tB-Loc\t['N']\t[2]", "2 Oslo B-Loc ['N'] [2]", ":7", "one separator"),
            INSIDE: Same("B-Loc", "I-Loc", "two entities of the original open with I-, so it is read as IOB1"),
            LABELS: Refused("B-Loc", "B-Lok", ":7", "did you mean 'Loc'?"),
            UNLABELED: NO_TAG,
            FIELD: Refused("Oslo\tB-", "\tB-", ":7", "nothing in column 2 (tokens)"),
            EMPTY: Refused("#doc 3", "#doc 9\n#doc 3", ":8", "'#doc 9' without a token after it"),
            IDS: "documents are identified by their order; their numbers are not read",
            OFFSET: Refused("2\tOslo", "3\tOslo", ":7", "token '3' where 2 is expected"),
        },
    ),
    Form(
        "array", "conll04", "conll04_train.json", "conll04_dev.json", document(CONLL04),
        {
            **NONE["json"],
            COLUMNS: Refused('  "O",\n   "U-Loc"', '  "U-Loc"', ": [1]", "3 tokens but 2 tags"),
            INSIDE: Refused('"U-Loc"', '"I-Loc"', ": [1]", "opens an entity, which BILOU marks with B- or U-"),
            LABELS: Refused('"U-Loc"', '"U-Lok"', ": [1]", "did you mean 'Loc'?"),
            UNLABELED: Refused(SECOND_TAGS, "", ": [1]", "has no 'tags', but {path}: [0] does"),
            FIELD: Refused('"Oslo"', '" "', ": [1]", "token 3 is ' '"),
            EMPTY: Refused('[\n   "Stop"\n  ]', "[]", ": [2]", "no tokens"),
            IDS: Refused('"orig_id": 1', '"orig_id": 0', ": [1]", "duplicate orig_id 0, first used at [0]"),
            OUTSIDE: "no answers",
            OFFSET: "only relations have offsets, and they are not read",
        },
        layout="json", document=True, places={LONG: ": [1]"},
    ),
    Form(
        "jsonl", "wic", "WiC/train.jsonl", "WiC/val.jsonl", lines_of(WIC),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused('"word": "ran", ', "", ":2", "no text in 'word'"),
            LABELS: Refused('false, "idx": 1', '"flase", "idx": 1', ":2", "did you mean 'false'?"),
            UNLABELED: Refused('"label": false, "idx": 1', '"idx": 1', ":2", "has no 'label', but {path}:1 does"),
            FIELD: Refused('"word": "ran"', '"word": " "', ":2", "nothing in 'word'; wic needs a text there"),
            EMPTY: Refused('"Oslo ran it."', '""', ":2", "nothing in 'sentence2'"),
            JSON: Refused(' "idx": 1}', "", ":2", "not JSON"),
            IDS: Refused('"idx": 1}', '"idx": 0}', ":2", "duplicate id 0, first used at {path}:1"),
            OUTSIDE: Refused('"end2": 8', '"end2": 99', ":2", "is outside sentence2 (12 characters)"),
            OFFSET: Refused('"start2": 5', '"start2": 4', ":2", "the word 'ran' is at 5 to 8"),
        },
    ),
    Form(
        "multirc", "multirc", "MultiRC/train.jsonl", "MultiRC/val.jsonl", lines_of(MULTIRC),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused(
                '"idx": 3, "text": "Bob 1.", ', '"idx": 3, ', ":2: passage.questions[0].answers[1]", "no 'text'"
            ),
            LABELS: Refused(
                '"Bob 1.", "label": 0', '"Bob 1.", "label": 2', ":2: passage.questions[0].answers[1]",
                "1 for a right answer, else 0",
            ),
            UNLABELED: Refused(
                '"Bob 1.", "label": 0', '"Bob 1."', ":2: passage.questions[0].answers[1]",
                "has no 'label', but {path}:1: passage.questions[0].answers[0] does",
            ),
            FIELD: Refused(
                '"Anna saw Oslo."', '""', ":2: passage.questions[0].answers[0]", "nothing in 'paragraph'", problems=2
            ),
            EMPTY: Kept('"Bob 1."', '""', "an answer may be empty"),
            JSON: Refused('"text": "Bob 1.", "label": 0}]}]}}', '"text": "Bob', ":2", "not JSON"),
            IDS: Refused('"idx": 3', '"idx": 2', ":2: passage.questions[0].answers[1]", "duplicate id 1-1-2"),
            OUTSIDE: "answers are separate texts",
            OFFSET: "no offsets",
        },
    ),
    Form(
        "record, by lines", "record", "ReCoRD/train.jsonl", "ReCoRD/val.jsonl", lines_of(RECORD),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused('"text": "Anna saw Oslo. It rained.", ', "", ":2: passage", "no 'text'"),
            LABELS: Refused(
                '"start": 9, "end": 12}', '"start": 15, "end": 16}', ":2: qas[0]",
                "the answer 'Oslo' is not one of the passage's 2 entities",
            ),
            UNLABELED: Refused(
                ', "answers": [{"start": 9, "end": 12, "text": "Oslo"}]', "", ":2: qas[0]",
                "has no 'answers', but {path}:1: qas[0] does",
            ),
            FIELD: Refused(
                '1, "query": "She went to @placeholder ."', '1, "query": ""', ":2: qas[0]", "no @placeholder"
            ),
            EMPTY: Refused('"Anna saw Oslo. It rained."', '""', ":2: passage.entities[0]", "not in the passage"),
            JSON: Refused('"text": "Oslo"}]}]}', '"text": "Os', ":2", "not JSON"),
            IDS: Refused('"qas": [{"idx": 1', '"qas": [{"idx": 0', ":2: qas[0]", "id 0, first used at {path}:1"),
            OUTSIDE: Refused(
                '"end": 12, "text"', '"end": 99, "text"', ":2: qas[0].answers[0]", "not in the passage, which has 25"
            ),
            OFFSET: Refused(
                '"start": 9, "end": 12, "text"', '"start": 10, "end": 13, "text"', ":2: qas[0].answers[0]", "off by +1"
            ),
        },
    ),
    Form(
        "record, first published", "record", "train.json", "dev.json", document(FIRST_RECORD),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused('"text": "Anna saw Oslo. It rained.",', "", ": data[1]: passage", "no 'text'"),
            LABELS: Refused(
                '"text": "Oslo"', '"text": "Osla"', ": data[1]: qas[0].answers[0]", "it is nowhere in the passage"
            ),
            UNLABELED: Refused(
                SECOND_RECORD, SECOND_RECORD.replace("answers", "answer"), ": data[1]: qas[0]",
                "has no 'answers', but {path}: data[0]: qas[0] does",
            ),
            FIELD: Refused(
                SECOND_RECORD, SECOND_RECORD.replace("She went to @placeholder .", ""), ": data[1]: qas[0]",
                "no @placeholder",
            ),
            EMPTY: Refused('"Anna saw Oslo. It rained."', '""', ": data[1]: passage.entities[0]", "not in the passage"),
            IDS: Refused('"q1"', '"q0"', ": data[1]: qas[0]", "duplicate id q0, first used at {path}: data[0]: qas[0]"),
            OUTSIDE: Refused(
                '"end": 12,\n       "text"', '"end": 99,\n       "text"', ": data[1]: qas[0].answers[0]",
                "not in the passage, which has 25",
            ),
            OFFSET: Refused(
                '"start": 9,\n       "end": 12,\n       "text"', '"start": 10,\n       "end": 13,\n       "text"',
                ": data[1]: qas[0].answers[0]", "off by +1",
            ),
        },
        document=True, places={LONG: ": data[1]"},
    ),
    Form(
        "facts", "lama", "P19/train.jsonl", "P19/dev.jsonl", lines_of(FACTS),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused('"sub_label": "Bob", ', "", ":2", "no text in 'sub_label'"),
            LABELS: Refused('"P19", "sub_label": "Bob"', '"P91", "sub_label": "Bob"', ":2", "did you mean 'P19'?"),
            UNLABELED: Refused(', "obj_label": "Oslo"', "", ":2", "has no 'obj_label', but {path}:1 does"),
            FIELD: Refused('"Bob"', '" "', ":2", "nothing in 'sub_label'; lama needs a text there"),
            EMPTY: Refused('"Oslo"', '""', ":2", "'' in 'obj_label'; lama needs a word there"),
            JSON: Refused('"Oslo"}', '"Os', ":2", "not JSON"),
            IDS: Refused('"uuid": "b"', '"uuid": "a"', ":2", "duplicate id a, first used at {path}:1"),
            OUTSIDE: "objects are separate words",
            OFFSET: "no offsets",
        },
        beside=("relations.jsonl", "relations.jsonl", BORN),
    ),
    Form(
        "delimited, tsv", "sst2", "train.tsv", "dev.tsv", "sentence\tlabel\nso dull\t0\nfine Oslo\t1\nwell\t1\n",
        {
            **NONE["columns"],
            **NONE["text"],
            COLUMNS: Refused("fine Oslo\t1", "fine Oslo\t1\t1", ":3", "3 columns where 2 are needed (sentence, label)"),
            SEPARATOR: Refused("Oslo\t1", "Oslo,1", ":3", "1 columns where 2 are needed (sentence, label)"),
            LABELS: Refused("Oslo\t1", "Oslo\t7", ":3", "one of: 0, 1"),
            UNLABELED: Refused("Oslo\t1", "Oslo\t", ":3", "'' in column 'label'; one of: 0, 1"),
            FIELD: "a row has one text",
            EMPTY: Refused("fine Oslo", "", ":3", "nothing in sentence"),
            IDS: NO_IDS,
        },
    ),
    Form(
        "delimited, csv", "agnews", "train.csv", "dev.csv",
        '"3","Oil, up","two\nlines"\n"1","War","in Oslo"\n"2","Cup","won"\n',
        {
            **NONE["columns"],
            **NONE["text"],
            COLUMNS: Refused('"War",', '"War","x",', ":3", "4 columns where 3 are needed (label, title, description)"),
            SEPARATOR: Refused('"1","War","in Oslo"', '"1";"War";"in Oslo"', ":3", "not a row of a table"),
            BRACKETS: Refused('"in Oslo"', '"in Oslo', ":3", "not a row of a table"),
            LABELS: Refused('"1","War"', '"7","War"', ":3", "one of: 1, 2, 3, 4"),
            UNLABELED: Refused('"1","War"', '"","War"', ":3", "one of: 1, 2, 3, 4"),
            FIELD: Kept('"War"', '""', "task.may_be_empty lists both texts of this corpus"),
            EMPTY: Refused('"War","in Oslo"', '"",""', ":3", "nothing in title and description"),
            IDS: NO_IDS,
        },
    ),
    Form(
        "props and words", "conll05", "train.props", "dev.props", PROPS.replace("see", "Oslo"),
        {
            **NONE["columns"],
            COLUMNS: [
                Refused("Oslo\t(V*)", "Oslo\t(V*)\t*", ":5", "2 bracket columns where the sentence's other lines"),
                Refused("-\t(A1*\n", "", ":4", "3 lines of props, but 4 words at {beside}:4"),
            ],
            SEPARATOR: Refused("Oslo\t(V*)", "Oslo (V*)", ":5", "use one separator throughout the file"),
            BRACKETS: [
                Refused("-\t*)", "-\t*", ":6", "'(A1' is not closed before the sentence ends"),
                Refused("-\t*)", "-\t(A2*)", ":7", "opens a span inside the one opened at {path}:6"),
                Refused("-\t(A1*\n", "-\t*\n", ":7", "closes a span that nothing opened"),
            ],
            INSIDE: "not possible with brackets",
            LABELS: Refused("(A1*", "(A9*", ":5", "'B-A9' (token 3) is not a type of conll05"),
            UNLABELED: NO_BRACKETS,
            FIELD: "an empty line ends a sentence",
            EMPTY: BLANK,
            IDS: NO_IDS,
            OFFSET: NO_V,
        },
        beside=("train.words", "dev.words", WORDS.replace("Oslo", "Bergen")),
    ),
    Form(
        "props, one wide file", "srl_ewt", "ewt.train.conll05", "ewt.dev.conll05", WIDE,
        {
            **NONE["columns"],
            COLUMNS: Refused("Oslo\tN\t*\t*\t-\t-\t(A1*", "Oslo\tN", ":6", "2 columns where at least 6 are needed"),
            SEPARATOR: Refused("Oslo\tN\t*\t*\t-\t-\t(A1*", "Oslo N * * - - (A1*", ":6", "one separator"),
            BRACKETS: [
                Refused("-\t*)", "-\t*", ":6", "'(A1' is not closed before the sentence ends"),
                Refused("-\t*)", "-\t(A2*)", ":7", "opens a span inside the one opened at {path}:6"),
            ],
            INSIDE: "not possible with brackets",
            LABELS: Refused("(A1*", "(A9*", ":5", "'B-A9' (token 3) is not a type of srl_ewt"),
            UNLABELED: NO_BRACKETS,
            FIELD: Refused("Oslo\tN", "\tN", ":6", "nothing in column 1 (word)"),
            EMPTY: BLANK,
            IDS: NO_IDS,
            OFFSET: NO_V,
        },
    ),
    Form(
        "gold_conll, roles", "conll12", "train.english.v4_gold_conll", "dev.english.v4_gold_conll", GOLD,
        {
            **NONE["columns"],
            COLUMNS: Refused("(GPE* (ARG1* -", "(GPE* -", ":9", "12 columns where the sentence's other lines"),
            SEPARATOR: Refused(
                "nw/a/1 0 2 Oslo X * - - - - (GPE* (ARG1* -",
                "nw/a/1 0 2 Oslo X * - - - - (GPE* (ARG1* -".replace(" ", "\t"),
                ":9", "use one separator throughout the file",
            ),
            BRACKETS: [
                Refused("*) *) -", "*) * -", ":9", "'(ARG1' is not closed before the sentence ends"),
                Refused("*) *) -", "*) (ARG2*) -", ":10", "opens a span inside the one opened at {path}:9"),
                Refused("\n#end document\n#begin document (nw/a/2)", "\n#begin document (nw/a/2)", ":12",
                        "the one at {path}:6 has its '#end document'"),
            ],
            INSIDE: "not possible with brackets",
            LABELS: Refused("(ARG1*", "(ARG9*", ":8", "'B-ARG9' (token 3) is not a type of conll12"),
            UNLABELED: NO_BRACKETS,
            FIELD: SPACES,
            EMPTY: Same("#end document\n#begin document (nw/a/2)", "\n\n#end document\n#begin document (nw/a/2)",
                        "extra blank lines are ignored"),
            IDS: NO_IDS,
            OFFSET: NO_V,
        },
    ),
    Form(
        "gold_conll, names", "ontonotes", "train.english.v4_gold_conll", "dev.english.v4_gold_conll", GOLD,
        {
            **NONE["columns"],
            COLUMNS: Refused("(GPE* (ARG1* -", "-", ":9", "11 columns where at least 12 are needed"),
            SEPARATOR: Refused(
                "nw/a/1 0 2 Oslo X * - - - - (GPE* (ARG1* -",
                "nw/a/1 0 2 Oslo X * - - - - (GPE* (ARG1* -".replace(" ", "\t"),
                ":9", "use one separator throughout the file",
            ),
            BRACKETS: [
                Refused("*) *) -", "* *) -", ":9", "'(GPE' is not closed before the sentence ends"),
                Refused("*) *) -", "(ORG) *) -", ":10", "opens a span inside the one opened at {path}:9"),
            ],
            INSIDE: "not possible with brackets",
            LABELS: Refused("(GPE*", "(GPU*", ":9", "did you mean 'GPE'?"),
            UNLABELED: "names are a column, which every token has",
            FIELD: SPACES,
            EMPTY: Same("#end document\n#begin document (nw/a/2)", "\n\n#end document\n#begin document (nw/a/2)",
                        "extra blank lines are ignored"),
            IDS: NO_IDS,
        },
    ),
    Form(
        "indexed", "conll05", "conll05.train.txt", "conll05.devel.txt",
        "1 Anna left ||| B-A0 B-V\n1 He saw Oslo City ||| B-A0 B-V B-A1 I-A1\n0 Stop ||| B-V\n",
        {
            **NONE["columns"],
            COLUMNS: Refused("B-A1 I-A1", "B-A1", ":2", "4 words but 3 tags"),
            SEPARATOR: Same("1 He saw Oslo City", "1\tHe saw\tOslo City", "words are separated by spaces or tabs"),
            INSIDE: Refused("B-A1 I-A1", "O I-A1", ":2", "opens an entity, which IOB2 marks with B-"),
            LABELS: Refused("B-A1 I-A1", "B-A9 I-A9", ":2", "is not a type of conll05"),
            UNLABELED: "see the column count for missing tags",
            FIELD: SPACES,
            EMPTY: Refused("0 Stop ||| B-V", "0 |||", ":3", "no 'index words ||| tags'"),
            IDS: NO_IDS,
            OFFSET: Refused("0 Stop", "1 Stop", ":3", "'1' is not an index of the 1 words, counted from 0"),
        },
    ),
    Form(
        "squad", "squad", "train-v1.1.json", "dev-v1.1.json", document(SQUAD),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused('"id": "q1",', "", ": data[0].paragraphs[1].qas[0]", "no 'id'"),
            LABELS: "answers are texts; one that is not in the context is refused",
            UNLABELED: Refused(
                SECOND_QUESTION, SECOND_QUESTION.replace("answers", "answer"), ": data[0].paragraphs[1].qas[0]",
                "has no 'answers', but {path}: data[0].paragraphs[0].qas[0] does",
            ),
            FIELD: Refused(
                SECOND_QUESTION, SECOND_QUESTION.replace("Where?", ""), ": data[0].paragraphs[1].qas[0]",
                "nothing in 'question'",
            ),
            EMPTY: Refused('"Anna works in Oslo."', '""', ": data[0].paragraphs[1].qas[0]", "nothing in 'context'"),
            IDS: Refused('"q1"', '"q0"', ": data[0].paragraphs[1].qas[0]", "duplicate id q0, first used at data[0]"),
            OUTSIDE: Refused(
                '"text": "Oslo",\n         "answer_start": 14', '"text": "Oslo",\n         "answer_start": 99',
                ": data[0].paragraphs[1].qas[0]", "there is nothing (19 characters); it is at 14",
            ),
            OFFSET: Refused(
                '"text": "Oslo",\n         "answer_start": 14', '"text": "Oslo",\n         "answer_start": 13',
                ": data[0].paragraphs[1].qas[0]", "it is at 14 (answer_start is off by -1)",
            ),
        },
        document=True, places={LONG: ": data[0].paragraphs[1].context"},
    ),
    Form(
        "e2e", "e2e", "trainset.csv", "devset.csv", E2E,
        {
            **NONE["columns"],
            **NONE["text"],
            COLUMNS: Refused(",A bar.", ",A bar.,x", ":3", "3 columns where 2 are needed (mr, ref)"),
            SEPARATOR: Refused(",A bar.", ";A bar.", ":3", "not a row of a table"),
            BRACKETS: Refused("name[Oslo]", "name[Oslo", ":3", "is not a list of attributes such as name[Aromi]"),
            LABELS: NO_LABELS,
            UNLABELED: Refused(",A bar.", ",", ":3", "nothing in 'ref'; each row needs a text"),
            FIELD: Refused("eatType[bar]", "eatType[]", ":3", "is not a list of attributes such as name[Aromi]"),
            EMPTY: Refused("name[Oslo], eatType[bar]", "", ":3", "is not a list of attributes such as name[Aromi]"),
            IDS: "rows have no ids; examples are numbered in their order",
        },
    ),
    Form(
        "webnlg", "webnlg", "train.json", "dev.json", document(WEBNLG),
        {
            **NONE["json"],
            **NONE["text"],
            COLUMNS: Refused('"category": "City1",', "", ": entries[1]", "no 'category'"),
            LABELS: NO_LABELS,
            UNLABELED: Refused(
                SECOND_TEXTS, SECOND_TEXTS.replace("lexicalisations", "texts"), ": entries[1]",
                "has no 'refs', but {path}: entries[0] does",
            ),
            FIELD: Refused("It is in Land1.", " ", ": entries[1].lexicalisations[0]", "nothing in 'lex'"),
            EMPTY: Refused(SECOND_TRIPLES, "[]", ": entries[1]", "no triples in 'modifiedtripleset'"),
            IDS: "entries are numbered in their order; their xml_id is not read",
            OUTSIDE: "no answers",
            OFFSET: "no offsets",
        },
        document=True, places={LONG: ": entries[1].modifiedtripleset[0]: 'subject'"},
    ),
    Form(
        "hub, parquet", "rte", "rte/train.parquet", "rte/validation.parquet",
        lines_of([
            {"premise": f"{town} is old.", "hypothesis": "It is.", "label": "entailment", "idx": i}
            for i, town in enumerate(["Bergen", "Oslo", "Hamar"])
        ]),
        {
            **NONE["columns"],
            **NONE["text"],
            COLUMNS: Refused('"premise": "Oslo is old.", ', "", "aps/super_glue train row 1", "no text in 'premise'"),
            SEPARATOR: "parquet has no separators",
            CRLF: "parquet has no lines",
            BOM: "parquet has no lines",
            NUL: Refused("Oslo is", "Os\\u0000lo is", "aps/super_glue train row 1", "a NUL character in 'premise'"),
            BYTES: Refused("Oslo is", "Osl\udcf8 is", "aps/super_glue train", "a text that is not UTF-8"),
            LABELS: Refused(
                '"entailment", "idx": 1', '"entailmant", "idx": 1', "aps/super_glue train row 1",
                "did you mean 'entailment'?",
            ),
            UNLABELED: Refused(
                '"label": "entailment", "idx": 1', '"idx": 1', "aps/super_glue train row 1",
                "has no 'label', but aps/super_glue train row 0 does",
            ),
            FIELD: Refused('"Oslo is old.", ', '"", ', "aps/super_glue train row 1", "nothing in 'premise'"),
            EMPTY: Refused(
                '"Oslo is old.", "hypothesis": "It is."', '"", "hypothesis": " "', "aps/super_glue train row 1",
                "nothing in premise and hypothesis",
            ),
            LONG: Refused("Oslo is", "o" * 1_000_001, "aps/super_glue train row 1", "is this a text corpus?"),
            JSON: Refused("", "", "{path}", "is its download complete?"),
            IDS: Refused('"idx": 1', '"idx": 0', "aps/super_glue train row 1", "id 0, first used at aps/super_glue"),
            LFS: Refused("", POINTER, "{path}:1", "a Git LFS pointer instead of the data; git lfs pull fetches it"),
            GZIP: "parquet has its own compression",
        },
        hub=True,
    ),
]  # fmt: skip


def cells(form: Form) -> Iterator[tuple[str, Cell]]:
    """Every class with what the form's file is to be like, those that are alike for every form with the form's mark."""
    line = form.line(MARK)
    alike: dict[str, Cell] = {
        CRLF: Same("\n", "\r\n", ""),
        BOM: Same("", "\ufeff", ""),
        NUL: Refused(MARK, "Os\0lo", line, "a NUL character; the file is damaged or not text"),
        BYTES: Refused(MARK, "Osl\udcf8", line, "is not UTF-8; convert the file to UTF-8"),
        LONG: Refused(MARK, "o" * 1_000_001, form.places.get(LONG, line), "is this a text corpus?"),
        MISSING: Refused("", "", "", "no train data in"),
        LFS: Refused("", POINTER, ":1", "a Git LFS pointer instead of the data; git lfs pull fetches it"),
        GZIP: Refused("", "", "", "is it cut short?"),
    }
    if form.document:
        last = form.text.count("\n", 0, form.text.rindex(MARK)) + 1
        alike[JSON] = Refused(form.text[form.text.rindex(MARK) :], "", f":{last}", "the file ends too early")
    for name in CLASSES:
        found = form.cells[name] if name in form.cells else alike[name]
        for cell in found if isinstance(found, list) else [found]:
            yield name, cell


def broken(form: Form, name: str, cell: Refused | Same | Kept) -> bytes:
    """The bytes of train."""
    if name == LFS:  # whatever the form
        return POINTER.encode()
    if name == BOM:
        text = cell.new + form.text
    elif name in (CRLF, MISSING, GZIP):
        text = form.text.replace(cell.old, cell.new) if cell.old else form.text
    elif name in (NUL, BYTES, LONG):
        text = form.text.replace(cell.old, cell.new, 1)
    else:
        assert form.text.count(cell.old) == 1 or cell.old in ("", "\n\n"), (form.name, name, cell.old)
        text = form.text.replace(cell.old, cell.new) if cell.old else form.text
    raw = text.encode("utf-8", "surrogateescape")
    if form.hub:
        return parquet(raw)[: -9 if name == JSON else None]
    return gzip.compress(raw, mtime=0)[:-9] if name == GZIP else raw


def parquet(lines: bytes) -> bytes:
    """Rows given as JSON lines, whatever the bytes of their texts."""
    rows = [json.loads(line) for line in lines.decode("utf-8", "surrogateescape").splitlines()]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name != "idx":
            raw = pa.array([value and value.encode("utf-8", "surrogateescape") for value in values], pa.binary())
            columns[name] = pc.cast(raw, options=pc.CastOptions(pa.string(), allow_invalid_utf8=True))
        else:
            columns[name] = pa.array(values)
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def load(form: Form, folder: Path, train: bytes | None, packed: bool = False, lenient: bool = False) -> Corpus:
    """The corpus with these bytes as train, None for none, beside a good dev; `packed`: with a name in .gz."""
    if form.hub:
        return from_hub(form, folder, train, lenient)
    node = yaml.safe_load((ROOT / f"conf/task/{form.task}.yaml").read_text(encoding="utf-8"))
    task = leaf(node)
    name = form.train + (".gz" if packed else "")
    files = {form.dev: form.text.encode()} | ({} if train is None else {name: train})
    if form.beside:
        ours, theirs, text = form.beside
        words = gzip.compress(text.encode()) if packed else text.encode()
        files |= {theirs: text.encode(), ours + (".gz" if packed else ""): words}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    task.lay_out(form.layout)
    task.source["files"] = {"train": [name], "dev": [form.dev]}
    return corpora.load(task, Data(source="local", root=str(folder), layout=form.layout, lenient=lenient))


def from_hub(form: Form, folder: Path, train: bytes | None, lenient: bool) -> Corpus:
    """As `load`, with the folder for what the Hub's cache would hold."""
    task = leaf(yaml.safe_load((ROOT / f"conf/task/{form.task}.yaml").read_text(encoding="utf-8")))
    (folder / form.dev).parent.mkdir(exist_ok=True)
    for name, content in {form.dev: parquet(form.text.encode()), form.train: train}.items():
        if content is not None:
            (folder / name).write_bytes(content)
    with (
        mock.patch.object(Files, "fetch", return_value=folder),
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache")),
    ):
        return corpora.load(task, Data(source="hub", lenient=lenient))


def good(form: Form, folder: Path) -> Corpus:
    """The corpus as it should be."""
    return load(form, folder, parquet(form.text.encode()) if form.hub else form.text.encode())


def said(form: Form, name: str, cell: Refused | Same | Kept, folder: Path, lenient: bool = False) -> Corpus | str:
    """What is read of a broken file, or the message that refuses it."""
    train = None if name == MISSING else broken(form, name, cell)
    try:
        return load(form, folder, train, packed=name == GZIP, lenient=lenient)
    except (DataError, UnavailableError) as error:
        return str(error)


HEAD = """\
# Bad input

What ptune reports for every form of file that it reads and every kind of mistake. `scripts/bad_input --write` makes
this page from small files that it damages, and `tests/test_bad_input.py` checks each cell. A refusal is one line: the
file, the position in it, and what was expected. `ptune data check` continues after a mistake and reports them all.
`data.lenient=true` skips and counts broken records, but never the rest of a file that cannot be read further: bytes
that are not text, a document that is not JSON, or words and props for different sentences."""


def table() -> Iterator[str]:
    """The lines of docs/bad_input.md: for every form what is wrong, and what is said of it."""
    yield HEAD
    for form in FORMS:
        yield f"\n## {form.name[0].upper()}{form.name[1:]}\n"
        yield f"`task={form.task}`, `{form.train}`\n"
        yield "| problem | what ptune reports |"
        yield "|---|---|"
        for name, cell in cells(form):
            yield f"| {CLASSES[name]} | {answer(form, name, cell)} |"


def answer(form: Form, name: str, cell: Cell) -> str:
    """A cell of the table."""
    if isinstance(cell, str):
        return f"*does not apply: {cell}*"
    if isinstance(cell, Same | Kept):
        return f"*read{': ' + cell.why if cell.why else ' as usual'}*"
    with tempfile.TemporaryDirectory() as folder:
        text = said(form, name, cell, Path(folder))
        assert isinstance(text, str), (form.name, name)
        return f"`{text.replace(f'{folder}/', '').replace(folder, 'DIR').replace('|', chr(92) + '|')}`"
