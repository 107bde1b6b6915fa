"""Passages of facts about one thing among others of its kind, and questions about what they tell or leave out."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ptune.demo import claims, relations
from ptune.demo.grammar import Passage, Word, prose
from ptune.demo.recipe import Recipe, choose
from ptune.demo.relations import Fact
from ptune.demo.world import Entity, World


@dataclass(frozen=True)
class Line:
    """A sentence of a passage, and the fact that it tells, with its value marked `answer`; or some other claim."""

    words: list[Word]
    fact: Fact | None = None


def draw(recipe: Recipe, split: str, world: World, random: Random) -> tuple[Entity, list[Line]]:
    """The thing that a passage is about, and the passage.

    `difficulty.length` facts of the thing, `difficulty.distractors` of others of its kind, and now and then a claim.
    """
    kind = random.choice([kind for kind, known in relations.ABOUT.items() if len(known) > 1])
    about = random.choice(world.entities[kind])
    budget = {about.name: recipe.difficulty.length}
    entities = {about.name: about}
    for _ in range(recipe.difficulty.distractors):
        other = random.choice(world.entities[kind])
        entities.setdefault(other.name, other)
        budget[other.name] = budget.get(other.name, 0) + (other.name != about.name)
    blocks = [_told(recipe, split, entities[name], count, world, random) for name, count in budget.items() if count]
    if random.random() < 0.3:
        claim = claims.sentence(Passage(world, random), claims.draw(world, random), aside=True)
        blocks.append([Line(recipe.noisy(claim, random))])
    random.shuffle(blocks)
    return about, [line for block in blocks for line in block]


def _told(recipe: Recipe, split: str, thing: Entity, count: int, world: World, random: Random) -> list[Line]:
    passage = Passage(world, random, again=0.4)
    lines = relations.told(thing, count, passage, split)
    return [Line(recipe.noisy(words, random), fact) for fact, words in lines]


def facts(lines: Sequence[Line]) -> list[Fact]:
    """The facts that a passage tells."""
    return [line.fact for line in lines if line.fact]


def text(lines: Sequence[Line]) -> str:
    """The passage as running text."""
    return prose([word for line in lines for word in line.words])


def question(fact: Fact, split: str, world: World, random: Random) -> str:
    """What asks for the fact's value."""
    return prose(fact.passage(world, random).words(choose(fact.relation.questions, split, random)))


def check(fact: Fact, split: str, world: World, random: Random) -> str:
    """What asks whether the fact holds."""
    return prose(fact.passage(world, random).words(choose(fact.relation.checks, split, random)))


def untold(lines: Sequence[Line], asked: Sequence[Fact], random: Random) -> Fact | None:
    """A fact that the passage leaves out of a thing it names, while it tells the like of another; None if it cannot.

    asked: facts that were asked for before, which it is none of.
    """
    stated = facts(lines)
    used = {(fact.about.name, fact.relation.fact) for fact in [*stated, *asked]}
    subjects = {fact.about.name: fact.about for fact in stated}
    candidates = [fact for thing in subjects.values() for fact in relations.facts(thing)]
    tempting = [
        fact for fact in candidates if (fact.about.name, fact.relation.fact) not in used and plausible(fact, stated)
    ]
    return random.choice(tempting) if tempting else None


def plausible(fact: Fact, told: Sequence[Fact]) -> Fact | None:
    """A told fact of something else whose value is of the kind that is asked for."""
    return next(
        (one for one in told if one.relation.value == fact.relation.value and one.about is not fact.about), None
    )


def mistaken(fact: Fact, told: Sequence[Fact], world: World, random: Random) -> Fact:
    """The fact with a wrong value: one of the same kind that was told of something else, where there is one."""
    wrong = [one for one in told if one.relation.value == fact.relation.value and one.answer != fact.answer]
    return Fact(fact.relation, fact.about, random.choice(wrong).value) if wrong else fact.false(world, random)
