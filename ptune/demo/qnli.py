"""QNLI: does a sentence hold the answer to a question, or only speak of the same things?"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pairs, rows
from ptune.demo.grammar import prose
from ptune.demo.recipe import Recipe
from ptune.demo.rte import LABELS

SIZES = rows.SIZES
TEXTS = ("index", "question", "sentence")


def write(recipe: Recipe, folder: Path) -> None:
    """Write `QNLI/{train,dev,test}.tsv`, the last without labels."""
    rows.glue(recipe, folder / "QNLI", examples, (*TEXTS, "label"), TEXTS)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Questions and sentences, half of which answer them."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        answered = random.random() < 0.5
        question, sentence = (
            prose(recipe.noisy(words, noise)) for words in pairs.answer(recipe, split, random, told=answered)
        )
        yield {"question": question, "sentence": sentence, "label": LABELS[not answered]}
