"""GLUE's RTE: the texts and claims of `rte`, in GLUE's tables."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import rows, rte
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
TEXTS = ("index", "sentence1", "sentence2")


def write(recipe: Recipe, folder: Path) -> None:
    """Write `RTE/{train,dev,test}.tsv`, the last without labels."""
    rows.glue(recipe, folder / "RTE", examples, (*TEXTS, "label"), TEXTS)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Premises and hypotheses, half of them entailed."""
    for row in rte.examples(recipe, split, random):
        yield {"sentence1": row["premise"], "sentence2": row["hypothesis"], "label": row["label"]}
