"""COPA: which of two things is the cause, or the effect, of a third? The wrong one belongs to another cause.

Both name as many of the premise's people and things.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import causes
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe
from ptune.demo.rte import FILES, write_split

SIZES: Mapping[str, int] = {"train": 400, "dev": 100, "test": 200}
_SLOTS = re.compile(r"{\w+")


def write(recipe: Recipe, folder: Path) -> None:
    """Write `COPA/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        rows = examples(recipe, split, recipe.random(split))
        write_split(folder / "COPA" / FILES[split], rows, labeled=split != "test")


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[dict[str, Any]]:
    """Premises with two choices about the same people and things; both places are right equally often."""
    world = recipe.part(split)
    for _ in range(recipe.sizes[split]):
        asked, right = random.choice(("cause", "effect")), random.randrange(2)
        passage = Passage(world, random)
        pair = random.choice(_known(split))
        given, true = pair if asked == "effect" else reversed(pair)
        others = [other.effect if asked == "effect" else other.cause for other in _known(split) if other is not pair]
        wrong = random.choice(_alike(given, true, others))
        premise, *choices = (
            prose(recipe.noisy(passage.words(f"{clause} ."), random))
            for clause in (given, *((true, wrong) if right == 0 else (wrong, true)))
        )
        yield {"premise": premise, "choice1": choices[0], "choice2": choices[1], "question": asked, "label": right}


def _alike(given: str, true: str, others: list[str]) -> list[str]:
    """Those that name as many of the given clause's people and things as the right choice does; the nearest, or all."""
    named = set(_SLOTS.findall(given))
    wanted = len(named & set(_SLOTS.findall(true)))
    far = [abs(len(named & set(_SLOTS.findall(other))) - wanted) for other in others]
    return [other for other, distance in zip(others, far, strict=True) if distance == min(far)]


def _known(split: str) -> list[causes.Cause]:
    """Training has three of four causes, dev and test have all."""
    return [cause for i, cause in enumerate(causes.CAUSES) if split != "train" or i % 4 != 3]
