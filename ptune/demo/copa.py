"""COPA: which of two things is the cause, or the effect, of a third? The wrong one belongs to another cause.

Both name as many of the premise's people and things.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo.causes import CAUSES, Cause
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
    world, schemas = recipe.part(split), _known(split)
    pairs = {asked: _pairs(schemas, asked) for asked in ("cause", "effect")}
    for _ in range(recipe.sizes[split]):
        asked, right = random.choice(("cause", "effect")), random.randrange(2)
        passage = Passage(world, random)
        pair, other = random.sample(random.choice(pairs[asked]), k=2)
        (first, true), (_, wrong) = _asked(pair, asked), _asked(other, asked)
        premise, *choices = (
            prose(recipe.noisy(passage.words(f"{clause} ."), random))
            for clause in (first, *((true, wrong) if right == 0 else (wrong, true)))
        )
        yield {"premise": premise, "choice1": choices[0], "choice2": choices[1], "question": asked, "label": right}


def _asked(cause: Cause, asked: str) -> tuple[str, str]:
    """What is given and what is asked for."""
    return (cause.cause, cause.effect) if asked == "effect" else (cause.effect, cause.cause)


def _pairs(known: Sequence[Cause], asked: str) -> list[tuple[Cause, Cause]]:
    """Causes either of which may be the wrong one beside the other.

    A choice is as often wrong as right that way, and names as many of the premise's people and things.
    """
    return [
        (one, other)
        for one, other in combinations(known, 2)
        if _shared(one, one, asked) == _shared(one, other, asked)
        and _shared(other, other, asked) == _shared(other, one, asked)
    ]


def _shared(one: Cause, other: Cause, asked: str) -> int:
    """How many slots the given clause of one and the clause that is asked for of the other have in common."""
    premise, choice = _asked(one, asked)[0], _asked(other, asked)[1]
    return len(set(_SLOTS.findall(premise)) & set(_SLOTS.findall(choice)))


def _known(split: str) -> list[Cause]:
    """Training has three of four causes, dev and test have all."""
    return [cause for i, cause in enumerate(CAUSES) if split != "train" or i % 4 != 3]
