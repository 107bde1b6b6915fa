"""MPQA: short phrases that speak well or ill of the demo world's people and things."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import remarks, rows
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose

SIZES = rows.SIZES
POSITIVE = 0.31  # of the rows, as in the original


def write(recipe: Recipe, folder: Path) -> None:
    """Write `mpqa/{train,dev,test}.csv`."""
    rows.lmbff(recipe, folder / "mpqa", examples)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Phrases in lower case, a third of which speak well."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        good = random.random() < POSITIVE
        lines = remarks.SPEAKS_WELL if good else remarks.SPEAKS_ILL
        words = Passage(recipe.part(split), random).words(choose(lines, split, random))
        yield {"label": str(int(good)), "text": prose(recipe.noisy(words, noise)).lower()}
