"""CoNLL-2012 semantic roles: the sentences with predicates of the demo world, in OntoNotes' columns and folders."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from ptune.demo.ontonotes import FOLDERS, Sentence, with_roles, write_documents
from ptune.demo.recipe import Recipe

SIZES: Mapping[str, int] = {"train": 1500, "dev": 300, "test": 300}


def write(recipe: Recipe, folder: Path) -> None:
    """Write the documents of `data/{train,development,test}`; sizes count predicates."""
    for split in FOLDERS:
        random = recipe.random(split)
        write_documents(folder, split, sentences(recipe, split, random), random)


def sentences(recipe: Recipe, split: str, random: Random) -> Iterator[Sentence]:
    """Sentences with as many predicates in all as the size of the split."""
    part, remaining, noise = recipe.part(split), recipe.sizes[split], recipe.random(f"{split} noise")
    while remaining > 0:
        sentence = with_roles(recipe, part, split, random, noise)
        if 0 < len(sentence.predicates) <= remaining:
            remaining -= len(sentence.predicates)
            yield sentence
