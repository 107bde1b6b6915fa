"""Sentences with two people and a pronoun that only sense resolves (Winograd schemas). Add a line to grow.

The two people are of one gender; `THEY` stands for the pronoun (`THEM`, `THEIR` for its other forms).
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from ptune.demo.grammar import Passage
from ptune.demo.world import Entity, World


class Schema(NamedTuple):
    """A template, which of the two people the pronoun means (1 or 2), and the same said without a pronoun."""

    template: str
    means: int
    plain: str


def _schemas(text: str) -> tuple[Schema, ...]:
    schemas = []
    for line in text.strip().splitlines():
        template, means, plain = (part.strip() for part in line.split("|"))
        schemas.append(Schema(template, int(means), plain))
    return tuple(schemas)


SCHEMAS: Sequence[Schema] = _schemas("""
    A thanked B because THEY had helped with the work . | 2 | had helped
    A thanked B because THEY had got good advice . | 1 | had got good advice
    A paid B because THEY had done the work . | 2 | had done the work
    A paid B after THEY had sold the {vehicle} . | 1 | had sold the {vehicle}
    A could not lift B because THEY was too weak . | 1 | was too weak
    A could not lift B because THEY was too heavy . | 2 | was too heavy
    A beat B in the race because THEY was so fast . | 1 | was so fast
    A beat B in the race because THEY was so slow . | 2 | was so slow
    A asked B for help because THEY was a doctor . | 2 | was a doctor
    A asked B for help because THEY was sick . | 1 | was sick
    A visited B because THEY was in bed with a fever . | 2 | was in bed with a fever
    A visited B because THEY wanted to talk . | 1 | wanted to talk
    A arrested B because THEY had stolen a {tool} . | 2 | had stolen a {tool}
    A praised B because THEY had sung so well . | 2 | had sung so well
    A praised B because THEY liked the song . | 1 | liked the song
    A hid from B because THEY was afraid . | 1 | was afraid
    A hid from B because THEY was angry . | 2 | was angry
    A lent B the {tool} because THEY needed it . | 2 | needed it
    A lent B the {tool} because THEY did not need it . | 1 | did not need it
    A sold B the {vehicle} because THEY needed the money . | 1 | needed the money
    A sold B the {vehicle} because THEY wanted to drive it . | 2 | wanted to drive it
    A taught B to read because THEY could not read . | 2 | could not read
    A taught B to read because THEY was a teacher . | 1 | was a teacher
    A fed B because THEY was hungry . | 2 | was hungry
    A forgave B because THEY was kind . | 1 | was kind
    A forgave B because THEY was sorry . | 2 | was sorry
    A wrote to B because THEY missed the old days . | 1 | missed the old days
    A wrote to B because THEY had asked for news . | 2 | had asked for news
    A blamed B because THEY had lost the key . | 2 | had lost the key
    A envied B because THEY was rich . | 2 | was rich
    A envied B because THEY was poor . | 1 | was poor
    A carried B home because THEY had broken a leg . | 2 | had broken a leg
""")  # fmt: skip


def pair(world: World, random: Random) -> tuple[Entity, Entity]:
    """Two people of one gender."""
    first = random.choice(world.entities["person"])
    fitting = [p for p in world.entities["person"] if p.facts["he"] == first.facts["he"] and p is not first]
    return first, random.choice(fitting)


def bound(world: World, random: Random) -> Passage:
    """A passage about two people of one gender, `{person}` and `{person2}`."""
    first, second = pair(world, random)
    return Passage(world, random, {"person": first, "person2": second})


def template(schema: Schema) -> str:
    """The schema with its people marked `first` and `second` and its pronoun `pronoun`."""
    words = {"A": "<first {person} >", "B": "<second {person2} >", "THEY": "<pronoun {person.he} >"}
    return " ".join(words.get(token, token) for token in schema.template.split())


def resolved(schema: Schema) -> str:
    """Who it was, without a pronoun."""
    return f"it was {{person{'' if schema.means == 1 else 2}}} who {schema.plain} ."
