"""TREC: what kind of thing does a question ask for? Questions for facts by the kind of their value, and some more."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import relations, remarks, rows
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose
from ptune.demo.world import Entity, World

SIZES = rows.SIZES
LABELS = ("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM")  # as LM-BFF numbers them
SHARES = (0.21, 0.23, 0.03, 0.22, 0.15, 0.16)  # in the original's training set
KINDS = {"person": "HUM", "company": "HUM", "club": "HUM", "job": "HUM", "town": "LOC", "country": "LOC", "year": "NUM",
         "stuff": "ENTY", "topic": "ENTY"}  # fmt: skip
ASKED = {label: [r for r in relations.RELATIONS if KINDS[r.value] == label] for label in LABELS}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `trec/{train,dev,test}.csv`."""
    rows.lmbff(recipe, folder / "trec", examples)


def abbreviated(world: World) -> list[Entity]:
    """The agencies that go by an acronym."""
    return [agency for agency in world.entities["agency"] if agency.name.isupper()]


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Questions, as many of each label as the original has; the first six are of one each."""
    world, noise = recipe.part(split), recipe.random(f"{split} noise")
    short = abbreviated(world) or abbreviated(recipe.world)  # a split may have none of its own
    for index in range(recipe.sizes[split]):
        label = LABELS[index] if index < len(LABELS) else random.choices(LABELS, SHARES)[0]
        passage = Passage(world, random, {"agency": random.choice(short)} if label == "ABBR" else {})
        templates, own_questions = ASKED[label], remarks.QUESTIONS.get(label, ())
        if templates and (not own_questions or random.random() < 0.5):
            relation = random.choice(templates)
            line = choose(relation.questions, split, random)
        else:
            line = choose(own_questions, split, random)
        yield {"label": str(LABELS.index(label)), "text": prose(recipe.noisy(passage.words(line), noise))}
