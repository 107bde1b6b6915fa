"""WiC: does a word mean the same in two sentences? Words of two senses; some words and uses are not in training."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import senses
from ptune.demo.grammar import Passage, laid_out, span
from ptune.demo.recipe import Recipe, choose
from ptune.demo.rte import FILES, write_split

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `WiC/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        write_split(
            folder / "WiC" / FILES[split], examples(recipe, split, recipe.random(split)), labeled=split != "test"
        )


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[dict[str, Any]]:
    """Pairs of uses of one word, half of them in one sense; start and end are characters, end exclusive."""
    noise = recipe.random(f"{split} noise")
    words = [word for i, word in enumerate(senses.SENSES) if split != "train" or i % 4 != 3]
    for index in range(recipe.sizes[split]):
        word, same_sense = random.choice(words), random.random() < 0.5
        first = random.randrange(2)
        second = first if same_sense else 1 - first
        uses = [choose(senses.SENSES[word][first].uses, split, random)]
        while len({*uses}) < 2:
            uses = [uses[0], choose(senses.SENSES[word][second].uses, split, random)]
        (text1, start1, end1), (text2, start2, end2) = (_used(recipe, split, use, random, noise) for use in uses)
        yield {
            "word": word, "sentence1": text1, "sentence2": text2, "idx": index, "label": same_sense,
            "start1": start1, "start2": start2, "end1": end1, "end2": end2, "version": 1.1,
        }  # fmt: skip


def _used(recipe: Recipe, split: str, use: str, random: Random, noise: Random) -> tuple[str, int, int]:
    sentence = Passage(recipe.part(split), random).words(use)
    words = [old if old.marks else new for old, new in zip(sentence, recipe.noisy(sentence, noise), strict=True)]
    text, starts = laid_out([word.text for word in words])
    place = span(words, "word")[0]
    return text, starts[place], starts[place] + len(words[place].text)
