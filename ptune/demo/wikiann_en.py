"""WikiANN's English: sentences of the demo world with the name of a person, an organization or a place in each.

Two columns, IOB2, each word with its language in front, as the original's `train`, `dev` and `test`.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ptune.demo import conll03
from ptune.demo.grammar import Word
from ptune.demo.recipe import Recipe

SIZES = conll03.SIZES
TYPES = ("PER", "ORG", "LOC")


def write(recipe: Recipe, folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in recipe.sizes.items():
        sentences = (tagged(words) for words in conll03.news(recipe, split, recipe.random(split)))
        with_entities = (lines for lines in sentences if any(not line.endswith("\tO") for line in lines))
        (folder / split).write_text(
            "\n".join("\n".join(lines) + "\n" for lines in islice(with_entities, size)), encoding="utf-8"
        )


def tagged(words: list[Word]) -> list[str]:
    """A line a word."""
    return [f"en:{word.text}\t{tag}" for word, tag in zip(words, tags(words), strict=True)]


def tags(words: list[Word]) -> Iterator[str]:
    """IOB2 of the types that WikiANN has; what is named otherwise is no entity."""
    for word in words:
        kind = conll03.TYPES.get(word.kind or "")
        yield f"{'B' if word.opens else 'I'}-{kind}" if kind in TYPES else "O"
