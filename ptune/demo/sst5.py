"""SST-5: how much does a review praise or blame? One opinion or two of a side, or one of each."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import opinions, rows
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose

SIZES = rows.SIZES
SIDES = {0: "--", 1: "-", 2: "+-", 3: "+", 4: "++"}  # of a review's opinions, by its label
LINES = {"+": opinions.PRAISE, "-": opinions.BLAME}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `sst-5/{train,dev,test}.csv`."""
    rows.lmbff(recipe, folder / "sst-5", examples)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Reviews in lower case, a fifth of each label."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        label = random.choice(list(SIDES))
        passage = Passage(recipe.part(split), random)
        sides = random.sample(SIDES[label], k=len(SIDES[label]))
        sentences = [passage.words(choose(LINES[side], split, random)) for side in sides]
        yield {"label": str(label), "text": " ".join(prose(recipe.noisy(words, noise)) for words in sentences).lower()}
