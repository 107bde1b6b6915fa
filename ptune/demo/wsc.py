"""WSC: whom does the pronoun mean? Sentences about two people of one gender, in SuperGLUE's form."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import pronouns
from ptune.demo.grammar import prose, span
from ptune.demo.recipe import Recipe, choose
from ptune.demo.rte import FILES, write_split

SIZES: Mapping[str, int] = {"train": 500, "dev": 104, "test": 146}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `WSC/{train,val,test}.jsonl`, the last without labels."""
    for split in FILES:
        write_split(
            folder / "WSC" / FILES[split], examples(recipe, split, recipe.random(split)), labeled=split != "test"
        )


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[dict[str, Any]]:
    """A candidate (span 1) and a pronoun (span 2); indices count the text's parts between spaces.

    The first and the second person are meant equally often, so that the place of the candidate tells nothing.
    """
    world, noise = recipe.part(split), recipe.random(f"{split} noise")
    templates = {i: [pronouns.template(s) for s in pronouns.SCHEMAS if s.means == i] for i in (1, 2)}
    for _ in range(recipe.sizes[split]):
        means, asked = random.choice((1, 2)), random.choice((1, 2))
        sentence = pronouns.bound(world, random).words(choose(templates[means], split, random))
        words = [old if old.marks else new for old, new in zip(sentence, recipe.noisy(sentence, noise), strict=True)]
        marks = {"span1": "first" if asked == 1 else "second", "span2": "pronoun"}
        target: dict[str, Any] = {}
        for name, mark in marks.items():
            first, last = span(words, mark)
            target[f"{name}_index"] = len(prose(words[: first + 1]).split()) - 1
            target[f"{name}_text"] = prose(words[first:last])
        yield {"text": prose(words), "target": target, "label": means == asked}
