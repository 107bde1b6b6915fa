"""What a corpus is drawn from: a world, rows a split, a seed, and how hard it is meant to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from ptune.demo.grammar import Word
from ptune.demo.world import PROVINCES, World

PROVINCE = {"train": PROVINCES[:2], "dev": PROVINCES[2:3], "test": PROVINCES[3:]}


@dataclass(frozen=True)
class Difficulty:
    """noise: the share of sentences that are damaged (a typo, a lost capital or full stop); distractors: how many
    facts of other things a passage holds besides those that matter; length: how many facts that matter.
    """

    noise: float = 0.0
    distractors: int = 2
    length: int = 4

    def __post_init__(self) -> None:
        """Raises ValueError for what no passage can be like."""
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise {self.noise} is no share; from 0 to 1")
        for name, value, least in (("distractors", self.distractors, 0), ("length", self.length, 1)):
            if value < least:
                raise ValueError(f"{name} {value} is too small; at least {least}")


@dataclass(frozen=True)
class Recipe:
    """Everything that a writer may depend on; the same recipe gives the same bytes."""

    task: str
    world: World
    sizes: Mapping[str, int]
    seed: int = 0
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        """Raises ValueError for splits of no rows."""
        for split, rows in self.sizes.items():
            if rows < 1:
                raise ValueError(f"{split} {rows} is too small; at least 1")

    def random(self, split: str) -> Random:
        """The source of chance of a split."""
        return Random(f"{self.task} {split} {self.seed}")

    def part(self, split: str) -> World:
        """The provinces that a split tells of: train, dev and test share none."""
        return self._parts[split]

    @cached_property
    def _parts(self) -> dict[str, World]:
        return {split: self.world.within(provinces) for split, provinces in PROVINCE.items()}

    def noisy(self, words: Sequence[Word], random: Random) -> list[Word]:
        """The sentence, damaged now and then as `difficulty.noise` says; the number of words stays the same."""
        if random.random() >= self.difficulty.noise:
            return list(words)
        out = list(words)
        for _ in range(random.randint(1, 2)):
            place = random.randrange(len(out))
            out[place] = out[place]._replace(text=damaged(out[place].text, random))
        return out


def damaged(text: str, random: Random) -> str:
    """A word without its case, or with two letters exchanged, one doubled or one dropped."""
    if len(text) < 4 or not text.isalpha() or random.random() < 0.4:
        return text.lower() if random.random() < 0.7 else text.upper()
    place = random.randrange(1, len(text) - 1)
    return random.choice(
        (
            text[:place] + text[place] + text[place:],
            text[:place] + text[place + 1 :],
            text[:place] + text[place + 1] + text[place] + text[place + 2 :],
        )
    )


def choose(lines: Sequence[str], split: str | None, random: Random) -> str:
    """A template that a split may use: training never sees every fourth, dev and test see mostly those."""
    held_out = lines[3::4]
    if split is None or not held_out:
        return random.choice(lines)
    if split == "train":
        return random.choice([line for line in lines if line not in held_out])
    return random.choice(held_out if random.random() < 0.6 else lines)
