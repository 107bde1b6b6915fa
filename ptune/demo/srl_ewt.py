"""Semantic roles of the demo world in the wide columns of CoNLL-2005, as the English Web Treebank's are passed on.

A token a line: word, part of speech, parse, names, sense, lemma, a bracket column a predicate, between tabs. Parse bits
are flat, `(TOP*` to `*)`, and the column of names is empty, as in the original; predicates here are verbs alone. The
sentences that have no predicate are there, too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from ptune.demo import roles
from ptune.demo.grammar import Word
from ptune.demo.ontonotes import lemma_of
from ptune.demo.recipe import Recipe
from ptune.readers.props import brackets

SIZES: Mapping[str, int] = {"train": 1500, "dev": 300, "test": 300}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `ewt.{train,dev,test}.conll05`; sizes count predicates."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SIZES:
        lines = [line for rows in sentences(recipe, split, recipe.random(split)) for line in (*rows, "")]
        (folder / f"ewt.{split}.conll05").write_text("\n".join(lines) + "\n", encoding="utf-8")


def sentences(recipe: Recipe, split: str, random: Random) -> Iterator[list[str]]:
    """The lines of sentences with as many predicates in all as the size of the split; noise damages words alone."""
    part, remaining, noise = recipe.part(split), recipe.sizes[split], recipe.random(f"{split} noise")
    while remaining > 0:
        words = roles.sentence(part, split, random)
        n_predicates = len(roles.predicates(words))
        if n_predicates <= remaining:
            remaining -= n_predicates
            yield lines(words, recipe.noisy(words, noise))


def lines(words: list[Word], shown: list[Word]) -> list[str]:
    """A sentence's annotation beside its words as they are shown."""
    verbs = roles.predicates(words)
    columns = [brackets([tag.replace("AM-PNC", "AM-PRP") for tag in tags]) for tags in verbs.values()]
    table, last = [], len(words) - 1
    for index, word in enumerate(words):
        parse = ("(TOP" if index == 0 else "") + "*" + (")" if index == last else "")
        sense, lemma = ("01", lemma_of(word)) if index in verbs else ("-", "-")
        cells = [shown[index].text, word.pos, parse, "*", sense, lemma, *(column[index] for column in columns)]
        table.append("\t".join(cells))
    return table
