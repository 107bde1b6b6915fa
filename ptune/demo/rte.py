"""RTE: does a claim follow from a short text, where both answers keep and exchange words alike?"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import claims
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}
FILES = {"train": "train.jsonl", "dev": "val.jsonl", "test": "test.jsonl"}
LABELS = ("entailment", "not_entailment")

Example = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `RTE/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        rows = examples(recipe.part(split), recipe.sizes[split], recipe.random(split))
        write_split(folder / "RTE" / FILES[split], rows, labeled=split != "test")


def write_split(path: Path, rows: Iterator[Example], *, labeled: bool) -> None:
    """One json object a line, numbered by `idx` as in the original."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for index, row in enumerate(rows):
            kept = {key: value for key, value in row.items() if labeled or key != "label"}
            file.write(json.dumps({**kept, "idx": index}) + "\n")


def examples(world: World, count: int, random: Random) -> Iterator[Example]:
    """Premises and hypotheses, half of them entailed."""
    for index in range(count):
        label = LABELS[random.random() < 0.5] if index >= len(LABELS) else LABELS[index]
        yield _example(world, random, label)


def _example(world: World, random: Random, label: str) -> Example:
    """Entailed by rewriting, or not entailed by a frame, a false rewrite or a mix-up of two claims."""
    claim, other = claims.draw(world, random), claims.draw(world, random)
    told = claims.restated(claim, world, random, steps=random.randint(0, 3))
    speaker = claims.argument(world, random, "person", claim.subject)
    passage = Passage(world, random, {"speaker": speaker})
    verdict, beside = "", random.random() < 0.5
    if label == "entailment":
        verdict = "true" if random.random() < 0.25 else ""
    elif random.random() < 0.35:
        verdict = random.choice(("false", "open"))
    else:
        mixed = claims.swapped(told, world, random) if random.random() < 0.5 else None
        mixed = mixed or (claims.crossed(told, other) if beside else None)
        told = mixed or claims.falsified(told, world, random)
    line = claims.framed(passage, claim, verdict) if verdict else claims.sentence(passage, claim, aside=True)
    lines = [prose(line)]
    if beside:
        lines.insert(random.randint(0, 1), claims.statement(world, random, other))
    return {"premise": " ".join(lines), "hypothesis": claims.statement(world, random, told), "label": label}
