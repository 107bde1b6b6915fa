"""What causes what in every world: pairs of clauses that share their slots. Add a line and it is so."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from ptune.demo.grammar import Passage


class Cause(NamedTuple):
    """A clause and another that it brings about, as templates without the full stop."""

    cause: str
    effect: str


def _causes(text: str) -> tuple[Cause, ...]:
    return tuple(Cause(*(part.strip() for part in line.split("->"))) for line in text.strip().splitlines())


CAUSES: Sequence[Cause] = _causes("""
    it rained all night in {town} -> the road to {town} was wet
    it snowed in {town} -> the road to {town} was white
    the storm broke the bridge in {town} -> nobody could reach {town}
    {person} dropped the glass -> the glass broke
    {person} forgot the bread in the oven -> the bread burned
    {person} did not eat all day -> {person} was hungry
    {person} ate too much cake -> {person} felt sick
    {person} worked all night -> {person} was tired in the morning
    {person} slept too long -> {person} missed the train
    {person} lost the key -> {person} could not open the door
    {person} left the window open -> the room was cold
    {person} lit the fire -> the room was warm
    {person} forgot to feed the {animal} -> the {animal} was hungry
    {person} fed the {animal} -> the {animal} was happy
    {person} shouted at the {animal} -> the {animal} ran away
    the {animal} bit {person} -> {person} went to the doctor
    {person} caught a fever -> {person} stayed in bed
    {person} fell from the ladder -> {person} broke a leg
    {person} won the {event} -> {person} got a prize
    {person} lost the race -> {person} was sad
    {person} sang very well -> the people clapped
    {person} told a joke -> the people laughed
    {person} broke the {instrument} -> there was no music
    {person} played the {instrument} at night -> nobody in the house could sleep
    {person} was late for work -> {company} dismissed {person}
    {person} worked hard -> {company} paid {person} more money
    {company} sold many {product} -> {company} grew rich
    {company} lost its money -> {company} closed its office in {town}
    {company} closed the mill in {town} -> the workers of {town} lost their jobs
    the price of {stuff} rose -> people bought less {stuff}
    the price of {stuff} fell -> people bought more {stuff}
    the sun shone all day -> the wet clothes dried
    there was no rain in {month} -> the {plant.plural} died
    {person} watered the garden -> the {plant.plural} grew
    the river rose -> the cellar was full of water
    the wind blew hard -> the roof of the {building} fell
    {person} turned off the lamp -> the room was dark
    {person} opened the curtain -> the room was bright
    {person} found a purse -> {person} took it to the police
    {person} stole a {tool} -> the police arrested {person}
    {person} insulted {person2} -> {person2} was angry
    {person} helped {person2} -> {person2} thanked {person}
    {person} lied to {person2} -> {person2} did not trust {person}
    {person} gave {person2} a present -> {person2} was glad
    {person} forgot the birthday of {person2} -> {person2} was sad
    {person} washed the {tool} -> the {tool} was clean
    {person} dropped the {letter} in the mud -> the {letter} was dirty
    {person} put the soup on the fire -> the soup was hot
    {person} put the butter in the sun -> the butter melted
    {person} drove too fast -> {person} hit a tree
""")  # fmt: skip

JOINED: tuple[str, ...] = (
    "CAUSE , so EFFECT .",
    "EFFECT because CAUSE .",
    "CAUSE . that is why EFFECT .",
    "because CAUSE , EFFECT .",
    "CAUSE . as a result , EFFECT .",
    "why was it that EFFECT ? because CAUSE .",
    "EFFECT . the reason was that CAUSE .",
    "what happened when CAUSE ? EFFECT .",
)


def draw(random: Random) -> Cause:
    """One of the causes."""
    return random.choice(CAUSES)


def sentences(passage: Passage, cause: Cause) -> list[str]:
    """Cause and effect as two sentences of one passage, in running text, without a connective."""
    from ptune.demo.grammar import prose

    return [prose(passage.words(f"{clause} .")) for clause in cause]


def joined(passage: Passage, cause: Cause) -> str:
    """A template that says that one is because of the other."""
    line = passage.random.choice(JOINED)
    return line.replace("CAUSE", cause.cause).replace("EFFECT", cause.effect)
