"""BoolQ: a passage about something, and a question for yes or no.

What is wrong in a question with the answer no is mostly told of something else in the same passage.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import passages
from ptune.demo.recipe import Recipe
from ptune.demo.rte import FILES, write_split

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `BoolQ/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        write_split(
            folder / "BoolQ" / FILES[split], examples(recipe, split, recipe.random(split)), labeled=split != "test"
        )


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[dict[str, Any]]:
    """Questions in lower case and without their mark, as the original has them; 62% are true, as there."""
    world = recipe.part(split)
    for _ in range(recipe.sizes[split]):
        about, lines = passages.draw(recipe, split, world, random)
        facts = passages.facts(lines)
        fact = random.choice([one for one in facts if one.about is about])
        true = random.random() < 0.62
        claim = fact if true else passages.mistaken(fact, facts, world, random)
        question = passages.check(claim, split, world, random).lower().rstrip("? ")
        yield {"question": question, "passage": f"{about.name} -- {passages.text(lines)}", "label": true}
