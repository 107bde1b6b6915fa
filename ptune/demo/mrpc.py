"""MRPC: do two sentences of the news say the same? Two facts each, told in other words or of other things."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pairs, rows
from ptune.demo.grammar import prose
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
EQUIVALENT = 0.67  # of the rows, as in the original
TEXTS = ("#1 ID", "#2 ID", "#1 String", "#2 String")


def write(recipe: Recipe, folder: Path) -> None:
    """Write `MRPC/{train,dev,test}.tsv`, the last without labels."""
    rows.glue(recipe, folder / "MRPC", examples, ("Quality", *TEXTS), ("index", *TEXTS))


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Pairs of sentences, two thirds of them equivalent."""
    noise = recipe.random(f"{split} noise")
    for number in range(recipe.sizes[split]):
        equivalent = random.random() < EQUIVALENT
        first, second = (
            prose(recipe.noisy(words, noise)) for words in pairs.paraphrase(recipe, split, random, same=equivalent)
        )
        ids = {"#1 ID": str(2 * number + 1), "#2 ID": str(2 * number + 2)}
        yield {"Quality": str(int(equivalent)), **ids, "#1 String": first, "#2 String": second}
