"""E2E NLG: attributes of companies, works and other things of the demo world, and texts that tell them all.

Attributes have the order of the original, the name first and then the type; a row is one of several texts of its
attributes.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from ptune.demo import relations, tables
from ptune.demo.recipe import Recipe
from ptune.demo.tables import Block
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 1600, "dev": 200, "test": 200}
FILES = {"train": "trainset.csv", "dev": "devset.csv", "test": "testset_w_refs.csv"}
KINDS = ("company", "club", "agency", "band", "product", "work", "event")
TEXTS = 4  # of the same attributes
PATIENCE = 1000  # draws that were there before


def write(recipe: Recipe, folder: Path) -> None:
    """Write `trainset.csv`, `devset.csv` and `testset_w_refs.csv`, with the header `mr,ref`; sizes count texts."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("mr", "ref"))
            writer.writerows(rows(recipe, split, recipe.random(split)))


def rows(recipe: Recipe, split: str, random: Random) -> Iterator[tuple[str, str]]:
    """Attributes and a text, the texts of the same attributes one after the other.

    Raises ValueError where the world has not as many sets of attributes.
    """
    world, remaining, repeated = recipe.part(split), recipe.sizes[split], 0
    noise = recipe.random(f"{split} noise")
    seen: set[str] = set()
    while remaining:
        block = _drawn(world, random, recipe.difficulty.length)
        mr = attributes(block)
        repeated = repeated + 1 if mr in seen else 0
        if repeated > PATIENCE:
            raise ValueError(f"the world has not enough to tell for {recipe.sizes[split]} different rows of {split}")
        if not repeated:
            seen.add(mr)
            written = tables.texts(recipe, split, random, noise, [block], min(TEXTS, remaining))
            remaining -= len(written)
            yield from ((mr, text) for text in written)


def _drawn(world: World, random: Random, most: int) -> Block:
    """A thing with some of its facts, in their order."""
    about = random.choice(world.entities[random.choice(KINDS)])
    facts = relations.facts(about)
    chosen = sorted(random.sample(range(len(facts)), k=random.randint(1, min(most, len(facts)))))
    return Block(about, [facts[i] for i in chosen], str(about.facts.get("sort", about.kind)))


def attributes(block: Block) -> str:
    """A block as the original writes it: `name[...], type[...]`, and then its facts."""
    pairs = [("name", block.about.name), ("type", block.sort)]
    pairs += [(fact.relation.key, fact.answer) for fact in block.facts]
    return ", ".join(f"{key}[{value}]" for key, value in pairs)
