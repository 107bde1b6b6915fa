"""Semantic roles in each form that they are passed on in: props, one wide file, CoNLL-2012's, or a predicate a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ptune.readers import Each, Record, gold_conll, indexed, lines, props, strict

PROPS = "props"  # the folder of a split in the release of CoNLL-2005
TAG = re.compile(r"([BI]-(?:[CR]-)?)(.+)")


def read(
    path: Path,
    word: int = 0,
    predicate: int = 5,
    renamed: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    each: Each = strict,
) -> Iterator[Record]:
    """Yield a record a predicate: `tokens`, `predicate` (the index of its word), `tags` (BIO). [len(tokens)]

    The form follows from the path: a folder `props` is of CoNLL-2005's sections, any other folder or a name in
    *gold_conll is CoNLL-2012's (`without`: see there), a name with .props is props with their words; of the other
    files the first line tells whether a predicate or a token is a line (`word` and `predicate`: see `props`). renamed:
    how roles begin, and what stands for that instead, the first that fits: {ARGM: AM, ARG: A} makes ARGM-TMP AM-TMP,
    and R-ARG0 R-A0.
    """
    for record in records_at(path, word, predicate, without, each):
        tags = [retagged(tag, renamed) for tag in record.values["tags"]] if renamed else record.values["tags"]
        yield record._replace(values={**record.values, "tags": tags})


def records_at(path: Path, word: int, predicate: int, without: Sequence[str], each: Each) -> Iterator[Record]:
    """The records of a path in the form that it has."""
    if path.is_dir() and path.name == PROPS:
        return props.read(path, each=each)
    if path.is_dir() or path.name.removesuffix(".gz").endswith("gold_conll"):
        return gold_conll.read(path, "roles", without, each)
    if ".props" in path.name:
        return props.read(path, each=each)
    first_line = next((text for _, text in lines(path) if text.strip(" \t")), "")
    return indexed.read(path, each) if f" {indexed.BAR} " in first_line else props.read(path, word, predicate, each)


def inside(path: Path) -> list[Path]:
    """The files in a folder that `read` reads. Raises DataError where it has none."""
    return props.inside(path) if path.name == PROPS else gold_conll.inside(path)


def companion_files(path: Path) -> list[Path]:
    """The files that are read beside a path: the words of props. Raises DataError where they are not there."""
    return [] if path.is_dir() and path.name != PROPS else props.companion_files(path)


def retagged(tag: str, renamed: Mapping[str, str]) -> str:
    """A tag with its role by its other name."""
    match = TAG.fullmatch(tag)
    prefix = next((prefix for prefix in renamed if match and match[2].startswith(prefix)), None)
    return f"{match[1]}{renamed[prefix]}{match[2].removeprefix(prefix)}" if match and prefix else tag
