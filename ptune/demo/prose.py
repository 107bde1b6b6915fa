"""The pretraining text: passages told, retold, reported and talked about, never in a task's format.

Half of the passages tell of the world of the seed, the others of worlds met only briefly, so that
an encoder learns names by heart and also how to read names that it has never seen.
"""

import re
from collections.abc import Iterator
from random import Random

from ptune.demo import claims, lexicon, templates
from ptune.demo import world as worlds
from ptune.demo.grammar import Passage, Word, prose
from ptune.demo.world import World

_AGAIN = (
    "in other words ,",
    "that is ,",
    "so",
    "",
    "as we said ,",
    "it is known that",
    "the newspaper wrote that",
)
_BUT = ("but in fact", "in truth ,", "later we learned that", "but")
_INDEED = ("in truth ,", "", "indeed ,", "in fact")
_GUEST_PASSAGES = 400


def text(seed: int, sentences: int) -> Iterator[str]:
    """Passages of one to five sentences, `sentences` in all."""
    random = Random(f"ptune text {seed}")
    home, guest, told, passages = worlds.build(seed), worlds.build(seed), 0, 0
    kinds = (*[_story] * 8, *[_retold] * 5, *[_framed] * 4, *[_talk] * 2, _relation, _list)
    while told < sentences:
        if passages % _GUEST_PASSAGES == 0:
            guest = worlds.build(random.randrange(10**6, 10**9))
        passages += 1
        lines = random.choice(kinds)(home if random.random() < 0.5 else guest, random)[: sentences - told]
        told += len(lines)
        yield " ".join(prose(line) for line in lines)


def vocabulary() -> set[str]:
    """The ordinary words of the language, in lower case: templates and lexicon, no names."""
    lines = [line for lines in (*templates.REGISTERS.values(), *templates.PHRASES.values()) for line in lines]
    lines += [*templates.TALK, *templates.RELATIONS, *_AGAIN, *_BUT, *_INDEED]
    lines += [line for frames in claims.FRAMES.values() for line in frames]
    words = {word for line in lines for word in re.findall("[a-z]+", re.sub(r"{.*?}|CLAIM", " ", line))}
    for verb in lexicon.VERBS.values():
        words |= {verb.base, verb.past, verb.participle, *verb.converse.split()}
    words |= {
        word.lower()
        for table in (*lexicon.CLASSES.values(), *lexicon.TITLES.values(), worlds.NAME_WORDS)
        for word in table
    }
    return words | set(lexicon.HYPERNYM.values())


def _story(world: World, random: Random) -> list[list[Word]]:
    """Sentences of one register that share the things they are about."""
    register = templates.REGISTERS[random.choice(tuple(templates.REGISTERS))]
    passage = Passage(world, random, again=0.6)
    return [passage.words(line) for line in random.sample(register, k=random.randint(1, 4))]


def _retold(world: World, random: Random) -> list[list[Word]]:
    """A claim, perhaps something else, then the claim in other words or its correction."""
    claim, passage = claims.draw(world, random), Passage(world, random)
    lines = [claims.sentence(passage, claim, aside=True)]
    if random.random() < 0.4:
        lines.append(claims.sentence(Passage(world, random), claims.draw(world, random)))
    if random.random() < 0.75:
        other, opening = claims.restated(claim, world, random), random.choice(_AGAIN)
    else:
        other, opening = claims.falsified(claim, world, random), random.choice(_BUT)
    return [*lines, claims.sentence(passage, other, opening=opening)]


def _framed(world: World, random: Random) -> list[list[Word]]:
    """What somebody knew, believed or made up, and sometimes how it really was."""
    claim, verdict = claims.draw(world, random), random.choice(tuple(claims.FRAMES))
    speaker = random.choice(world.entities["person"])
    passage = Passage(world, random, {"speaker": speaker}, again=0.5)
    lines = [claims.framed(passage, claim, verdict)]
    if verdict != "open" and random.random() < 0.7:
        real = claims.restated(claim, world, random, 1)
        if verdict == "false":
            real = claims.opposite(claim, world, random) or claims.negated(claim, world, random) or claim
        lines.append(claims.sentence(passage, real, opening=random.choice(_INDEED)))
    return lines


def _talk(world: World, random: Random) -> list[list[Word]]:
    passage = Passage(world, random)
    return [passage.words(random.choice(templates.TALK))]


def _relation(world: World, random: Random) -> list[list[Word]]:
    passage = Passage(world, random)
    return [passage.words(line) for line in random.sample(templates.RELATIONS, k=2)]


def _list(world: World, random: Random) -> list[list[Word]]:
    """Things of one class in a row, sometimes with the class named."""
    name = random.choice((*lexicon.NOUNS, "person", "town", "company", "band", "product"))
    slots = [f"{{{name}{number or ''}}}" for number in range(random.randint(2, 4))]
    row = " , ".join(slots[:-1]) + " and " + slots[-1]
    opening = random.choice(("we saw", "the story tells of", "{person} spoke of", "there were", "people asked about"))
    return [Passage(world, random).words(f"{opening} {row} .")]
