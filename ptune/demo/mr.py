"""MR: the reviews of `sst2`, in LM-BFF's tables."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import rows, sst2
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES


def write(recipe: Recipe, folder: Path) -> None:
    """Write `mr/{train,dev,test}.csv`."""
    rows.lmbff(recipe, folder / "mr", examples)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Reviews in lower case, half of which praise."""
    for _ in range(recipe.sizes[split]):
        text, praise = sst2.review(recipe, split, random, praise=random.random() < 0.5)
        yield {"label": str(int(praise)), "text": text}
