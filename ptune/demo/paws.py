"""PAWS: do two sentences of the same words say the same? Two facts, and the same two or with their values exchanged."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pairs, rows
from ptune.demo.grammar import prose
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
PARAPHRASES = 0.44  # of the rows, as in the original


def write(recipe: Recipe, folder: Path) -> None:
    """Write `final/{train,dev,test}.tsv`."""
    columns = ("id", "sentence1", "sentence2", "label")
    rows.glue(recipe, folder / "final", examples, columns, columns)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Pairs of sentences, somewhat less than half of them paraphrases."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        paraphrase = random.random() < PARAPHRASES
        sentences = pairs.scrambled(recipe, split, random, same=paraphrase)
        first, second = (prose(recipe.noisy(words, noise)) for words in sentences)
        yield {"sentence1": first, "sentence2": second, "label": str(int(paraphrase))}
