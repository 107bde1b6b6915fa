"""CoNLL-2005: semantic roles of the demo world's verbs, words and props in files of their own.

The test of Brown is of the whole world, that of WSJ of provinces that are in no other split.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import roles
from ptune.demo.grammar import Word
from ptune.demo.recipe import Recipe
from ptune.demo.world import World
from ptune.readers.props import brackets

SIZES = {"train": 1500, "dev": 300, "test": 300}
FILES = {"train": "train", "dev": "dev", "test.wsj": "test", "test.brown": "test"}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `train`, `dev`, `test.wsj` and `test.brown`, each as `.words` and `.props`; sizes count predicates."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in FILES.items():
        random = Random(f"conll05 {name} {recipe.seed}")
        world = recipe.world if name == "test.brown" else recipe.part(split)
        words, props = [], []
        for sentence in _sentences(recipe, world, split, recipe.sizes[split], random):
            words += [*(word.text for word in sentence), ""]
            props += [*lines(sentence), ""]
        (folder / f"{name}.words").write_text("\n".join(words) + "\n", encoding="utf-8")
        (folder / f"{name}.props").write_text("\n".join(props) + "\n", encoding="utf-8")


def _sentences(recipe: Recipe, world: World, split: str, count: int, random: Random) -> Iterator[list[Word]]:
    """Sentences with `count` predicates in all."""
    while count > 0:
        words = roles.sentence(world, split, random)
        verbs = len(roles.predicates(words))
        if 0 < verbs <= count:
            count -= verbs
            yield recipe.noisy(words, random)


def lines(words: list[Word]) -> list[str]:
    """The props of a sentence: the predicate's word in small letters or "-", and a bracket column a predicate."""
    verbs = roles.predicates(words)
    columns = [brackets(tags) for tags in verbs.values()]
    return [
        "\t".join((word.text.lower() if index in verbs else "-", *(column[index] for column in columns)))
        for index, word in enumerate(words)
    ]
