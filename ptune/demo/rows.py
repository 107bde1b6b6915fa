"""Labeled rows in the tables of GLUE and of LM-BFF: what the corpora of both have in common."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from ptune.demo.recipe import Recipe

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}
NUMBERS = ("index", "id")  # columns that number the rows

Row = Mapping[str, str]
Examples = Callable[[Recipe, str, Random], Iterator[Row]]


def table(path: Path, columns: Sequence[str], rows: Iterator[Row], *, header: bool = True) -> None:
    """A tab-separated file without quotes; a column of which a row says nothing is left empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns)] if header else []
    for number, row in enumerate(rows):
        lines.append("\t".join(str(number) if name in NUMBERS else row.get(name, "") for name in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def glue(recipe: Recipe, folder: Path, examples: Examples, columns: Sequence[str], unlabeled: Sequence[str]) -> None:
    """Write `{train,dev,test}.tsv`, each with its header; in test the columns are those `unlabeled`."""
    for split in recipe.sizes:
        fields = unlabeled if split == "test" else columns
        table(folder / f"{split}.tsv", fields, examples(recipe, split, recipe.random(split)))


def lmbff(recipe: Recipe, folder: Path, examples: Examples) -> None:
    """Write `{train,dev,test}.csv` of `label` and `text`, without a header."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in recipe.sizes:
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows((row["label"], row["text"]) for row in examples(recipe, split, recipe.random(split)))
