"""CR: what customers say of the demo world's products."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import remarks, rows
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose

SIZES = rows.SIZES
POSITIVE = 0.64  # of the rows, as in the original


def write(recipe: Recipe, folder: Path) -> None:
    """Write `cr/{train,dev,test}.csv`."""
    rows.lmbff(recipe, folder / "cr", examples)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """One or two remarks on one product, all of one side."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        good = random.random() < POSITIVE
        lines = remarks.GOOD_BUYS if good else remarks.BAD_BUYS
        passage = Passage(recipe.part(split), random)
        sentences = [passage.words(choose(lines, split, random)) for _ in range(random.randint(1, 2))]
        yield {"label": str(int(good)), "text": " ".join(prose(recipe.noisy(words, noise)) for words in sentences)}
