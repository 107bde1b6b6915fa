"""Tables of facts and the texts that say what they say, all of it and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ptune.demo.grammar import Passage, Value, Word, prose
from ptune.demo.recipe import Recipe, choose
from ptune.demo.relations import Fact, Relation
from ptune.demo.world import Entity, World

SORTS: tuple[str, ...] = (
    "SUBJECT is a {value} .",
    "there is a {value} called SUBJECT .",
    "SUBJECT is the name of a {value} .",
    "one may know SUBJECT as a {value} .",
)
PLURAL = ("club", "band")  # of which the world speaks as of it and as of them: no pronoun fits every statement


@dataclass(frozen=True)
class Block:
    """Facts of one thing, with the sort of thing that it is where the table has that."""

    about: Entity
    facts: Sequence[Fact]
    sort: str = ""


def texts(recipe: Recipe, split: str, random: Random, noise: Random, blocks: Sequence[Block], count: int) -> list[str]:
    """Up to `count` different texts of the same blocks, each with the facts of a block in some order.

    Those of training have the recipe's noise; what texts of a model are compared with has none.
    """
    world = recipe.part(split)
    versions: dict[str, list[list[Word]]] = {}
    for _ in range(3 * count):
        sentences = [words for block in blocks for words in told(world, split, random, block)]
        versions.setdefault(_prose(sentences), sentences)
    chosen = list(versions.values())[:count]
    if split == "train":
        chosen = [[recipe.noisy(words, noise) for words in sentences] for sentences in chosen]
    return [_prose(sentences) for sentences in chosen]


def _prose(sentences: Sequence[Sequence[Word]]) -> str:
    return " ".join(prose(words) for words in sentences)


def told(world: World, split: str, random: Random, block: Block) -> list[list[Word]]:
    """Sentences of one or two facts."""
    kind = block.about.kind
    subject, pronoun = f"{{{kind}}}", "" if kind in (*PLURAL, "person") else "it"
    bound: dict[str, Value] = {kind: block.about}
    lines: list[str] = []
    joint = ""  # what may join the next fact to the last sentence
    if block.sort:
        bound["value"] = block.sort
        lines.append(choose(SORTS, split, random).replace("SUBJECT", subject))
        joint = "that"
    for number, fact in enumerate(random.sample(block.facts, k=len(block.facts)), 2):
        bound[f"value{number}"] = fact.value
        line = choose(statements(fact.relation), split, random).replace("{value}", f"{{value{number}}}")
        head, _, tail = line.partition(f"{subject} ")
        starts = head in ("", "the ") and bool(tail)
        if joint and starts and random.random() < 0.5:
            lines[-1] = f"{lines[-1].removesuffix(' .')} {joint} {tail}"
            joint = ""
        else:
            lines.append(f"{pronoun} {tail}" if lines and starts and pronoun and random.random() < 0.5 else line)
            joint = "and" if starts else ""
    passage = Passage(world, random, bound, again=0.5)
    return [passage.words(line) for line in lines]


def statements(relation: Relation) -> list[str]:
    """The statements that tell of nothing else."""
    return [line for line in relation.statements if set(re.findall(r"{([a-z]+)", line)) == {relation.kind, "value"}]
