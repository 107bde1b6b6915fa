"""RTE: does a claim follow from a short text, where both answers keep and exchange words alike?

Neither half of a row tells its label: frames and denials are as frequent under both.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import claims
from ptune.demo.claims import Claim
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}
FILES = {"train": "train.jsonl", "dev": "val.jsonl", "test": "test.jsonl"}
LABELS = ("entailment", "not_entailment")
DENIED = 0.15  # claims that are told as not so
TOGGLED = 0.6  # denied hypotheses that do not follow because the text affirms them

Example = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `RTE/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        rows = examples(recipe, split, recipe.random(split))
        write_split(folder / "RTE" / FILES[split], rows, labeled=split != "test")


def write_split(path: Path, rows: Iterator[Example], *, labeled: bool) -> None:
    """One json object a line, numbered by `idx` as in the original."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for index, row in enumerate(rows):
            fields = {key: value for key, value in row.items() if labeled or key != "label"}
            file.write(json.dumps({**fields, "idx": index}) + "\n")


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[Example]:
    """Premises and hypotheses, half of them entailed."""
    noise = recipe.random(f"{split} noise")
    for index in range(recipe.sizes[split]):
        entailed = random.random() < 0.5 if index >= len(LABELS) else index == 0
        yield _example(recipe, split, random, noise, entailed=entailed)


def _example(recipe: Recipe, split: str, random: Random, noise: Random, *, entailed: bool) -> Example:
    """A claim among half as many others as there are distractors; something restates or falsifies one of them.

    What is only believed, or not so, stands beside a plain claim, and the hypothesis is about either.
    """
    world = recipe.part(split)
    distractors = [_drawn(world, random) for _ in range(random.randint(0, (recipe.difficulty.distractors + 1) // 2))]
    draw = random.random()
    verdict = "true" if draw < 0.15 else random.choice(("false", "open")) if draw < 0.5 and distractors else ""
    plain, denied = verdict in ("true", ""), random.random() < DENIED
    if entailed or not plain:
        claim = _drawn(world, random, negated=denied)
        hypothesis = _follows(claim, world, random)
    else:
        toggled = random.random() < (TOGGLED if denied else TOGGLED * DENIED / (1 - DENIED))
        claim = _drawn(world, random, negated=denied != toggled)
        hypothesis = _follows(claim, world, random)
        hypothesis = replace(hypothesis, negated=denied) if toggled else _fails(hypothesis, distractors, world, random)
    if entailed and not plain:
        claim, distractors[0] = distractors[0], claim
    speaker = claims.argument(world, random, "person", claim.subject)
    passage = Passage(world, random, {"speaker": speaker})
    lines = [claims.framed(passage, claim, verdict, split) if verdict else claims.sentence(passage, claim, aside=True)]
    for other in distractors:
        lines.insert(random.randint(0, len(lines)), claims.sentence(Passage(world, random), other))
    premise = " ".join(prose(recipe.noisy(line, noise)) for line in lines)
    return {
        "premise": premise,
        "hypothesis": claims.statement(world, random, hypothesis),
        "label": LABELS[not entailed],
    }


def _drawn(world: World, random: Random, *, negated: bool | None = None) -> Claim:
    denied = random.random() < DENIED if negated is None else negated
    return replace(claims.draw(world, random), negated=denied)


def _follows(claim: Claim, world: World, random: Random) -> Claim:
    """A claim that follows; what is denied in general is more than what was denied, so a denial keeps its size."""
    if claim.negated:
        return claims.synonym(claim, world, random) or claim
    return claims.restated(claim, world, random, steps=random.randint(0, 3))


def _fails(claim: Claim, others: Sequence[Claim], world: World, random: Random) -> Claim:
    """A claim that does not follow, denied just if this one is; it exchanges roles with itself or another gladly."""
    mixed = claims.swapped(claim, world, random) if random.random() < 0.5 else None
    mixed = mixed or next(filter(None, (claims.crossed(claim, other) for other in others)), None)
    rewrites = [rewrite for rewrite in claims.BREAKS if rewrite is not claims.negated]
    while mixed is None:
        mixed = random.choice(rewrites)(claim, world, random)
    return mixed
