"""STS-B: how alike are two sentences? Claims from the same in other words to claims of other things."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pairs, rows
from ptune.demo.grammar import prose
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
TEXTS = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2")


def write(recipe: Recipe, folder: Path) -> None:
    """Write `STS-B/{train,dev,test}.tsv`, the last without scores."""
    rows.glue(recipe, folder / "STS-B", examples, (*TEXTS, "score"), TEXTS)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Pairs of sentences with scores from 0 to 5 on which not all judges agreed."""
    noise = recipe.random(f"{split} noise")
    for number in range(recipe.sizes[split]):
        level = random.randint(0, 5)
        first, second = (prose(recipe.noisy(words, noise)) for words in pairs.alike(recipe, split, random, level))
        score = min(max(level + random.choice((-0.4, -0.2, 0.0, 0.0, 0.2, 0.4)), 0.0), 5.0)
        about = {"genre": "main-news", "filename": "demo", "year": "2017", "old_index": str(number)}
        sources = {"source1": "none", "source2": "none"}
        yield {**about, **sources, "sentence1": first, "sentence2": second, "score": f"{score:.3f}"}
