"""WNLI: does a sentence follow in which one of two people stands for the pronoun? The schemas of `pronouns`."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pronouns, rows
from ptune.demo.grammar import prose
from ptune.demo.recipe import Recipe, choose

SIZES = rows.SIZES
TEXTS = ("index", "sentence1", "sentence2")
PLAIN = {pronouns.template(schema): schema.plain for schema in pronouns.SCHEMAS}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `WNLI/{train,dev,test}.tsv`, the last without labels."""
    rows.glue(recipe, folder / "WNLI", examples, (*TEXTS, "label"), TEXTS)


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Schemas and what they mean, or would mean of the other one; either is the first person equally often."""
    world, noise = recipe.part(split), recipe.random(f"{split} noise")
    templates = {i: [pronouns.template(s) for s in pronouns.SCHEMAS if s.means == i] for i in (1, 2)}
    for _ in range(recipe.sizes[split]):
        means, asked = random.choice((1, 2)), random.choice((1, 2))
        template, passage = choose(templates[means], split, random), pronouns.bound(world, random)
        sentence = passage.words(template)
        words = [old if old.marks else new for old, new in zip(sentence, recipe.noisy(sentence, noise), strict=True)]
        claim = prose(passage.words(f"{{person{'' if asked == 1 else 2}}} {PLAIN[template]} ."))
        yield {"sentence1": prose(words), "sentence2": claim, "label": str(int(means == asked))}
