"""CoNLL-2012 columns: the `*_gold_conll` files of OntoNotes, with documents and their parts (Pradhan et al. 2012).

A line a token: document, part, number, word, part of speech, parse, lemma, frameset, sense, speaker, names, a bracket
column a predicate, coreference. Parts stand between `#begin document` and `#end document`; any other line that begins
with `#` is a token's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ptune.errors import DataError, UnreadableError
from ptune.readers import Each, Record, lines, strict
from ptune.readers.columns import Cells, Row
from ptune.readers.props import Sentence, bio, propositions

WORD, FRAMESET, NAMES, ROLES = 3, 7, 10, 11
FEWEST = 12  # columns: without a predicate
BEGIN, END = "#begin document", "#end document"
ALONE = re.compile(r"(\([^()*\s]+)\)")  # a name of one word, as names are written: (GPE) for (GPE*)


def read(
    path: Path,
    annotation: Literal["names", "roles"] = "names",
    without: Sequence[str] = (),
    each: Each = strict,
) -> Iterator[Record]:
    """Yield the records of a file, or of every `*gold_conll` below a folder.

    annotation: names, a record a sentence: `tokens` and `tags`; or roles, a record a predicate: see `props`. Tags are
    BIO. without: genres that are left out, by the first part of the document's name. Raises DataError for a line with
    too few columns or another number of them than its sentence's others, for brackets that do not match, for tokens
    outside of a document and for a document without its end.
    """
    for file in inside(path) if path.is_dir() else [path]:
        cells = Cells()
        for block in sentences(file):
            if genre(block[0][1]) in without:
                continue
            with each("sentences"):
                rows = check_columns(cells.rows(block))
                yield from record_of(rows) if annotation == "names" else propositions(sentence_record(rows), each)


def inside(path: Path) -> list[Path]:
    """The files below a folder that `read` reads, in the order of their names. Raises DataError where it has none."""
    paths = sorted((file for file in path.rglob("*gold_conll") if file.is_file()), key=Path.as_posix)
    if not paths:
        raise DataError(
            f"{path}: no *_gold_conll files in it; CoNLL-2012's script skeleton2conll.sh makes them from "
            "its *_gold_skel "
            "files and OntoNotes"
        )
    return paths


def sentences(path: Path) -> Iterator[list[tuple[str, str]]]:
    """The lines of each sentence of a file: those between blank ones, all within a document."""
    block: list[tuple[str, str]] = []
    document_start = ""  # the place where the document begins
    for where, text in lines(path):
        is_mark = text.startswith((BEGIN, END))
        if text.strip(" \t") and not is_mark:
            if not document_start:
                raise UnreadableError(
                    f"{where}: a token outside a document; '{BEGIN} (NAME); part NNN' must come first"
                )
            block.append((where, text))
            continue
        if block:
            yield block
            block = []
        if is_mark:
            if text.startswith(BEGIN) == bool(document_start):
                raise UnreadableError(
                    f"{where}: a document begins before the one at {document_start} has its '{END}'"
                    if document_start
                    else f"{where}: '{END}' of a document that has not begun"
                )
            document_start = "" if document_start else where
    if document_start:
        raise UnreadableError(f"{document_start}: a document without its '{END}'; is the file cut short?")


def genre(text: str) -> str:
    """The first part of the name of a line's document: bc, bn, mz, nw, pt, tc or wb."""
    return text.replace("\t", " ").lstrip(" ").partition(" ")[0].partition("/")[0]


def check_columns(rows: list[Row]) -> list[Row]:
    """The lines of a sentence. Raises DataError for too few columns, or not as many as on the line before."""
    for index, (where, cells) in enumerate(rows):
        if len(cells) < FEWEST:
            raise DataError(f"{where}: {len(cells)} columns where at least {FEWEST} are needed")
        expected = len(rows[index - 1].cells) if index else len(cells)
        if len(cells) != expected:
            raise DataError(f"{where}: {len(cells)} columns where the sentence's other lines have {expected}")
        if not cells[WORD]:
            raise DataError(f"{where}: nothing in column {WORD + 1} (word)")
    return rows


def record_of(rows: Sequence[Row]) -> Iterator[Record]:
    """The record of a sentence with its names."""
    tags = bio([ALONE.sub(r"\1*)", row.cells[NAMES]) for row in rows], rows)
    yield Record(rows[0].where, {"tokens": [row.cells[WORD] for row in rows], "tags": tags}, by_line=True)


def sentence_record(rows: Sequence[Row]) -> Sentence:
    """A sentence with its predicates, which are the words that have a frameset, in the order of their columns."""
    tokens, framesets = [row.cells[WORD] for row in rows], [row.cells[FRAMESET] for row in rows]
    return Sentence(rows, tokens, framesets, [row.cells[ROLES:-1] for row in rows])
