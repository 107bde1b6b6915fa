"""Subj: what a critic thinks of something, or what happens in the world."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import opinions, rows, templates
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose

SIZES = rows.SIZES
LINES = ((*opinions.PRAISE, *opinions.BLAME), tuple(line for lines in templates.REGISTERS.values() for line in lines))


def write(recipe: Recipe, folder: Path) -> None:
    """Write `subj/{train,dev,test}.csv`."""
    rows.lmbff(recipe, folder / "subj", examples)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Sentences in lower case: opinions (0) and statements (1), half and half."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        label = random.randrange(2)
        words = Passage(recipe.part(split), random).words(choose(LINES[label], split, random))
        yield {"label": str(label), "text": prose(recipe.noisy(words, noise)).lower()}
