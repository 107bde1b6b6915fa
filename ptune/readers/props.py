"""CoNLL-2005 semantic roles: a bracket column a predicate, beside the words or in a file of their own.

The columns of the shared task (Carreras and Marquez 2005): in a props file the predicate's lemma or "-", then one
column for each predicate of the sentence, in their order. Its release has a folder `props` of packed files beside one
of `words`, for training one a section of the Wall Street Journal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ptune.errors import DataError, UnreadableError
from ptune.readers import Each, Record, strict
from ptune.readers.columns import Cells, Row, blocks

CELL = re.compile(r"(?:\(([^()*\s]+))?\*(\))?")
Tokens = list[str]


def read(path: Path, word: int = 0, predicate: int = 5, each: Each = strict) -> Iterator[Record]:
    """Yield a record a predicate: `tokens`, `predicate` (the index of its word), `tags` (BIO). [len(tokens)]

    path: a props file, its words file beside it with "words" for "props" in its name and folders; a folder of such
    files, one a section of the treebank; or one wide file with the word in column `word`, a predicate's lemma (else
    "-") in column `predicate` and its brackets after that. A name that ends in .gz is unpacked. A sentence without a
    predicate gives no record.

    Raises DataError for another number of bracket columns than predicates, brackets that do not match, words and
    props of different length, a file that is cut short and a section that is there twice.
    """
    for file in inside(path) if path.is_dir() else [path]:
        words_files: list[Path] = []
        with each():
            words_files = companion_files(file)
        if ".props" in file.name and not words_files:  # a lenient reading goes on: the brackets can be wrong, too
            alone(file, each)
            continue
        cells, words_cells = Cells(), Cells()
        for block, words in paired_lines(file) if ".props" in file.name else ((block, None) for block in blocks(file)):
            with each("sentences"):
                rows = cells.rows(block)
                sentence = wide(rows, word, predicate) if words is None else narrow(rows, words_cells.rows(words))
                yield from propositions(sentence, each)


def inside(path: Path) -> list[Path]:
    """The props files in a folder, in the order of their sections. Raises DataError for none, or one twice."""
    files_by_name: dict[str, Path] = {}
    for file in sorted(file for file in path.iterdir() if file.name.removesuffix(".gz").endswith(".props")):
        first_file = files_by_name.setdefault(file.name.removesuffix(".gz"), file)
        if first_file != file:
            raise DataError(f"{file}: is there beside {first_file.name}; keep only one of the two")
    if not files_by_name:
        raise DataError(f"{path}: no file in it whose name ends in .props or .props.gz")
    return list(files_by_name.values())


def alone(path: Path, each: Each) -> None:
    """Read props without their words, for what is wrong with the brackets."""
    cells = Cells()
    for block in blocks(path):
        with each("sentences"):
            rows = cells.rows(block)
            for _ in propositions(narrow(rows, [Row(row.where, [""]) for row in rows]), each):
                pass


def companion_files(path: Path) -> list[Path]:
    """The files that `read(path)` reads too: the words of props. Raises DataError where they are not there."""
    return [words_of(file) for file in (inside(path) if path.is_dir() else [path]) if ".props" in file.name]


def words_of(path: Path) -> Path:
    """The words of a props file, packed or not: beside it, or in the folder `words` beside its own."""
    name = path.name.replace("props", "words")
    for folder in (path.parent, path.parent.parent / "words"):
        for words in (folder / name, folder / name.removesuffix(".gz"), folder / f"{name}.gz"):
            if words.is_file():
                return words
    raise DataError(f"{path}: no {name} beside it; props come with the words that they annotate")


class Sentence(NamedTuple):
    """A sentence's tokens, whether each is a predicate, and its bracket columns."""

    rows: Sequence[Row]
    tokens: Tokens
    lemmas: list[str]
    brackets: list[list[str]]


def wide(rows: Sequence[Row], word: int, predicate: int) -> Sentence:
    """The sentence of lines with everything."""
    for where, cells in rows:
        if len(cells) <= max(word, predicate):
            needed, in_all_rows = max(word, predicate) + 1, max(len(row.cells) for row in rows) == len(cells)
            hint = "; task.source.word and .predicate say which are read, counted from 0" if in_all_rows else ""
            raise DataError(f"{where}: {len(cells)} columns where at least {needed} are needed{hint}")
        for name, column in (("word", word), ("predicate", predicate)):
            if not cells[column]:
                raise DataError(f"{where}: nothing in column {column + 1} ({name})")
    return Sentence(
        rows,
        [row.cells[word] for row in rows],
        [row.cells[predicate] for row in rows],
        [row.cells[predicate + 1 :] for row in rows],
    )


def paired_lines(path: Path) -> Iterator[tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """The lines of each sentence of a props file, with those of its words file."""
    words_path = words_of(path)
    words_blocks = blocks(words_path)
    for props in blocks(path):
        words = next(words_blocks, None)
        if words is None:
            raise UnreadableError(f"{props[0][0]}: {words_path} ends before this sentence")
        if len(words) != len(props):  # what follows would be of different sentences
            raise UnreadableError(
                f"{props[0][0]}: {len(props)} lines of props, but {len(words)} words at {words[0][0]}"
            )
        yield props, words
    if extra_block := next(words_blocks, None):
        raise UnreadableError(f"{extra_block[0][0]}: {path} ends before this sentence")


def narrow(rows: Sequence[Row], words: Sequence[Row]) -> Sentence:
    """The sentence of props and its words."""
    for where, cells in words:
        if len(cells) > 1:
            raise DataError(f"{where}: {len(cells)} columns where a words file has one, the word alone")
    for where, cells in rows:
        if not cells[0]:
            raise DataError(f"{where}: nothing in column 1 (predicate)")
    return Sentence(
        rows,
        [row.cells[0] for row in words],
        [row.cells[0] for row in rows],
        [row.cells[1:] for row in rows],
    )


def propositions(sentence: Sentence, each: Each = strict) -> Iterator[Record]:
    """A record for each predicate of a sentence."""
    predicates = [index for index, lemma in enumerate(sentence.lemmas) if lemma != "-"]
    ((width, _),) = Counter(len(cells) for cells in sentence.brackets).most_common(1)
    for row, cells in zip(sentence.rows, sentence.brackets, strict=True):
        if len(cells) != width:
            raise DataError(f"{row.where}: {len(cells)} bracket columns where the sentence's other lines have {width}")
    if width != len(predicates):
        raise DataError(
            f"{sentence.rows[0].where}: {width} bracket columns where the sentence has {len(predicates)} predicates"
        )
    for column, predicate in enumerate(predicates):
        with each():
            tags = bio([cells[column] for cells in sentence.brackets], sentence.rows)
            values: dict[str, Any] = {"tokens": sentence.tokens, "predicate": predicate, "tags": tags}
            yield Record(sentence.rows[predicate].where, values)


def bio(cells: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """One predicate's brackets as BIO tags. Raises DataError where they do not match."""
    tags: list[str] = []
    role, opening_place = "", ""
    for cell, row in zip(cells, rows, strict=True):
        match = CELL.fullmatch(cell)
        if not match:
            raise DataError(f"{row.where}: '{cell}' is not a bracket; use *, (A0*, *) or (A0*)")
        if match[1] and role:
            raise DataError(f"{row.where}: '{cell}' opens a span inside the one opened at {opening_place}")
        tags.append(f"B-{match[1]}" if match[1] else f"I-{role}" if role else "O")
        if match[1]:
            role, opening_place = match[1], row.where
        if match[2]:
            if not role:
                raise DataError(f"{row.where}: '{cell}' closes a span that nothing opened")
            role = ""
    if role:
        raise DataError(f"{opening_place}: '({role}' is not closed before the sentence ends")
    return tags


def brackets(tags: Sequence[str]) -> list[str]:
    """BIO tags as one predicate's brackets: what `bio` reads."""
    cells = []
    for index, tag in enumerate(tags):
        next_tag = tags[index + 1] if index + 1 < len(tags) else "O"
        opening = f"({tag[2:]}" if tag[0] == "B" else ""
        closing = ")" if tag != "O" and next_tag[0] != "I" else ""
        cells.append(f"{opening}*{closing}")
    return cells
