"""Pairs of sentences that say the same, less, more, the opposite, or something else of the same things."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from ptune.demo import claims, relations, tables
from ptune.demo.claims import Claim
from ptune.demo.grammar import Passage, Word, prose
from ptune.demo.lexicon import VERBS
from ptune.demo.recipe import Recipe, choose
from ptune.demo.relations import Fact
from ptune.demo.world import Entity, World

SAID: dict[str, tuple[str, ...]] = {  # by genre: who says a claim, which stays as true as it is
    "news": (
        "CLAIM .",
        "as the newspaper of {town} reports , CLAIM .",
        "{agency} announced on {weekday} that CLAIM .",
        "it is known in {town} that CLAIM .",
    ),
    "letter": (
        "CLAIM .",
        "dear {person.first} , you must know that CLAIM .",
        "i write to tell you that CLAIM .",
        "my {relative} wrote from {town} that CLAIM .",
    ),
    "talk": (
        "well , CLAIM .",
        "you know , CLAIM , and that is all .",
        "yes , i remember it : CLAIM .",
        "oh , but CLAIM .",
    ),
    "guide": (
        "visitors of {town} will hear that CLAIM .",
        "near {river} people still tell how CLAIM .",
        "every child of {town} learns that CLAIM .",
        "a stone in {town} tells the reader that CLAIM .",
    ),
}


# Facts


def stated(fact: Fact, world: World, split: str, random: Random, but: str = "") -> tuple[str, list[Word]]:
    """The statement of a fact in a template other than `but`, and that template."""
    lines = tables.statements(fact.relation)
    while (line := choose(lines, split, random)) == but:
        pass
    return line, fact.passage(world, random).words(line)


def joined(first: Sequence[Word], second: Sequence[Word]) -> list[Word]:
    """Two sentences as one."""
    start = second[0] if second[0].kind else second[0]._replace(text=second[0].text.lower())
    return [*first[:-1], Word(",", ","), Word("and", "CC"), start, *second[1:]]


def two(world: World, random: Random) -> tuple[Fact, Fact]:
    """One relation of two things that have different values."""
    one = relations.draw(world, random)
    others = [entity for entity in world.entities[one.about.kind] if entity.name != one.about.name]
    while (other := fact_of(random.choice(others), one)).answer == one.answer:
        pass
    return one, other


def fact_of(entity: Entity, like: Fact) -> Fact:
    """What holds of an entity in the relation of another fact."""
    return Fact(like.relation, entity, entity.facts[like.relation.fact])


def paraphrase(recipe: Recipe, split: str, random: Random, *, same: bool) -> tuple[list[Word], list[Word]]:
    """Two sentences of two facts each, which are the same facts or not.

    Where they are not, the values of the facts are exchanged, or one of them is another one, in either sentence.
    """
    world = recipe.part(split)
    facts = two(world, random)
    others = facts
    if not same:
        one, other = facts
        crossed = Fact(one.relation, one.about, other.value), Fact(other.relation, other.about, one.value)
        others = crossed if random.random() < 0.6 else (one.false(world, random), other)
    first = [stated(fact, world, split, random) for fact in facts]
    second = [stated(fact, world, split, random, line)[1] for fact, (line, _) in zip(others, first, strict=True)]
    random.shuffle(second)
    sentences = [joined(*(words for _, words in first)), joined(*second)]
    random.shuffle(sentences)
    return sentences[0], sentences[1]


def scrambled(recipe: Recipe, split: str, random: Random, *, same: bool) -> tuple[list[Word], list[Word]]:
    """Two sentences of the same words: two facts, and the two the other way round or with their values exchanged."""
    world = recipe.part(split)
    one, other = two(world, random)
    crossed = Fact(one.relation, one.about, other.value), Fact(other.relation, other.about, one.value)
    line = choose(tables.statements(one.relation), split, random)
    first = [fact.passage(world, random).words(line) for fact in (one, other)]
    second = [fact.passage(world, random).words(line) for fact in ((one, other) if same else crossed)]
    if same or random.random() < 0.5:
        second.reverse()
    sentences = [joined(*first), joined(*second)]
    random.shuffle(sentences)
    return sentences[0], sentences[1]


def questions(recipe: Recipe, split: str, random: Random, *, same: bool) -> tuple[list[Word], list[Word]]:
    """Two questions for the same fact in different words; or for that of another thing, or for another fact."""
    world = recipe.part(split)
    one, other = two(world, random)
    line = choose(one.relation.questions, split, random)
    if same:
        other = one
    elif random.random() < 0.5:
        other_facts = [fact for fact in relations.facts(one.about) if fact.relation is not one.relation]
        other = random.choice(other_facts) if other_facts else other
    while (asked := choose(other.relation.questions, split, random)) == line and same:
        pass
    return one.passage(world, random).words(line), other.passage(world, random).words(asked)


def answer(recipe: Recipe, split: str, random: Random, *, told: bool) -> tuple[list[Word], list[Word]]:
    """A question and a sentence of two facts, one of which is the answer, or neither.

    Either sentence is about the thing that is asked for, and tells what is asked for, though perhaps of another.
    """
    world = recipe.part(split)
    one, other = two(world, random)
    while len(own_facts := relations.facts(one.about)) < 2:
        one, other = two(world, random)
    other_fact = random.choice([fact for fact in own_facts if fact.relation is not one.relation])
    if told:
        facts = [one, random.choice((other_fact, fact_of(other.about, other_fact)))]
    else:
        facts = [other_fact, other]
    random.shuffle(facts)
    question = one.passage(world, random).words(choose(one.relation.questions, split, random))
    return question, joined(*(stated(fact, world, split, random)[1] for fact in facts))


# Claims


OPPOSED = [verb for verb in VERBS.values() if any(verb.base in VERBS[name].opposites for name in verb.opposites)]


def framed(claim: Claim, world: World, split: str, random: Random, genre: str) -> list[Word]:
    """A claim as somebody of a genre says it."""
    passage = claims.bind(Passage(world, random), claim)
    line = choose(SAID[genre], split, random)
    return passage.words(line.replace("CLAIM", claims.clause(claim, random, front=False)))


def inference(
    recipe: Recipe, split: str, random: Random, noise: Random, label: str, genre: str, others: int
) -> tuple[str, str]:
    """A premise and a hypothesis: `entailment`, `neutral` or `contradiction`.

    Either gives a place or a time: the same where it is entailed or contradicted, by an opposite verb; where it is
    neutral, the one a place and the other a time, which nobody can know of. `others` claims stand around the premise.
    """
    world = recipe.part(split)
    claim = full(world, random)
    while (opposed := claims.opposite(claim, world, random)) is None:
        claim = full(world, random)
    sides = [claim, opposed]
    random.shuffle(sides)  # so that no verb tells the label
    if label != "contradiction":
        sides[1] = sides[0]
    details: list[dict[str, Any]] = [{"place": None}, {"time": ""}]
    random.shuffle(details)
    premise = replace(sides[0], **details[label == "neutral"])
    hypothesis = replace(sides[1], **details[0])
    premise = claims.synonym(premise, world, random) or premise
    lines = [framed(premise, world, split, random, genre)]
    for _ in range(others):
        context = without(full(world, random), random)
        lines.insert(random.randint(0, len(lines)), claims.sentence(Passage(world, random), context))
    text = " ".join(prose(recipe.noisy(line, noise)) for line in lines)
    return text, claims.statement(world, random, hypothesis)


def full(world: World, random: Random) -> Claim:
    """A claim of a verb with an opposite, with its place and its time."""
    while True:
        claim = claims.draw(world, random, random.choice(OPPOSED))
        if claim.place and claim.time:
            return claim


def without(claim: Claim, random: Random) -> Claim:
    """A claim without its place or its time."""
    if claim.place and (not claim.time or random.random() < 0.5):
        return replace(claim, place=None)
    return replace(claim, time="")


def alike(recipe: Recipe, split: str, random: Random, level: int) -> tuple[list[Word], list[Word]]:
    """Two sentences as alike as STS-B's scale says, from 0 (of other things) to 5 (the same)."""
    world = recipe.part(split)
    claim = full(world, random)
    actor = claim.subject if isinstance(claim.subject, Entity) else None
    changes: list[Callable[[], Claim | None]] = [
        lambda: full(world, random),
        lambda: claims.draw(world, random, subject=actor),
        lambda: claims.opposite(claim, world, random),
        lambda: claims.moved(claim, world, random),
        lambda: without(claim, random),
        lambda: claims.synonym(claim, world, random),
    ]
    while (other := changes[level]()) is None:
        claim = full(world, random)
    both = [framed(one, world, split, random, "news") for one in (claim, other)]
    random.shuffle(both)
    return both[0], both[1]
