"""WebNLG 2017: triples about things of the demo world and texts that tell them, in the json form of the challenge.

A quarter of the sets follow a value to a fact of its own. Half of test is of categories that training has not.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import relations, tables
from ptune.demo.recipe import Recipe
from ptune.demo.relations import Fact
from ptune.demo.tables import Block
from ptune.demo.world import Entity, World

SIZES: Mapping[str, int] = {"train": 600, "dev": 100, "test": 200}
SEEN = ("person", "company", "club", "agency", "product", "work", "town")
UNSEEN = ("band", "event", "country")
TEXTS = 3  # of a set of triples, at most

Json = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `webnlg_challenge_2017/{train,dev,test}.json`; sizes count sets of triples."""
    (folder / "webnlg_challenge_2017").mkdir(parents=True, exist_ok=True)
    for split in SIZES:
        drawn = entries(recipe, split, recipe.random(split))
        data = {"entries": [{str(number): entry} for number, entry in enumerate(drawn, 1)]}
        path = folder / "webnlg_challenge_2017" / f"{split}.json"
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def entries(recipe: Recipe, split: str, random: Random) -> Iterator[Json]:
    """Sets of triples with their texts; in test first those of seen categories."""
    world, size, noise = recipe.part(split), recipe.sizes[split], recipe.random(f"{split} noise")
    for number in range(size):
        kinds = UNSEEN if split == "test" and number >= size / 2 else SEEN
        blocks = _drawn(world, random, random.choice(kinds), recipe.difficulty.length)
        written = tables.texts(recipe, split, random, noise, blocks, random.randint(1, TEXTS))
        triples = [triple(fact) for block in blocks for fact in block.facts]
        shape, shape_type = _shape(blocks)
        yield {
            "category": blocks[0].about.kind.capitalize(),
            "lexicalisations": [
                {"comment": "good", "lang": "", "lex": text, "xml_id": f"Id{i}"} for i, text in enumerate(written, 1)
            ],
            "modifiedtripleset": triples,
            "originaltriplesets": {"originaltripleset": [triples]},
            "shape": shape,
            "shape_type": shape_type,
            "size": str(len(triples)),
            "xml_id": f"Id{number + 1}",
        }


def _drawn(world: World, random: Random, kind: str, most: int) -> list[Block]:
    about = random.choice(world.entities[kind])
    own_facts = relations.facts(about)
    facts = random.sample(own_facts, k=random.randint(1, min(most, len(own_facts))))
    blocks = [Block(about, facts)]
    values = [fact.value for fact in facts if isinstance(fact.value, Entity) and relations.facts(fact.value)]
    if values and random.random() < 0.25:
        further = random.choice(values)
        blocks.append(Block(further, [random.choice(relations.facts(further))]))
    return blocks


def triple(fact: Fact) -> Json:
    """Subject, property and object as DBpedia would name them."""
    first, *others = fact.relation.key.split()
    name = first + "".join(word.capitalize() for word in others)
    return {"object": fact.answer.replace(" ", "_"), "property": name, "subject": fact.about.name.replace(" ", "_")}


def _shape(blocks: list[Block]) -> tuple[str, str]:
    """The tree of a set of triples, and what it is called."""
    if len(blocks) == 1:
        count = len(blocks[0].facts)
        return f"(X{' (X)' * count})", "sibling" if count > 1 else "NA"
    n_others = len(blocks[0].facts) - 1
    return f"(X (X (X)){' (X)' * n_others})", "mixed" if n_others else "chain"
