"""QQP: do two questions ask the same?"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pairs, rows
from ptune.demo.grammar import prose
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
DUPLICATE = 0.37  # of the rows, as in the original
BREAK = 400  # rows after which one is broken in two, as a few of the original's training file are


def write(recipe: Recipe, folder: Path) -> None:
    """Write `QQP/{train,dev,test}.tsv`, the last without labels; broken rows of training are beside its size."""
    columns = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    rows.glue(recipe, folder / "QQP", examples, columns, ("id", "question1", "question2"))


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Pairs of questions, of which 37% are duplicates."""
    noise = recipe.random(f"{split} noise")
    for number in range(recipe.sizes[split]):
        duplicate = random.random() < DUPLICATE
        first, second = (
            prose(recipe.noisy(words, noise)) for words in pairs.questions(recipe, split, random, same=duplicate)
        )
        row = {"qid1": str(2 * number + 1), "qid2": str(2 * number + 2), "question1": first, "question2": second}
        yield {**row, "is_duplicate": str(int(duplicate))}
        if split == "train" and number % BREAK == BREAK - 1:
            yield {**row, "question2": second.replace(" ", "\n", 1), "is_duplicate": str(int(duplicate))}
