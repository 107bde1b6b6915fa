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
    """A candidate (span 1) and a pronoun (span 2); indices count the text's parts between spaces."""
    world = recipe.part(split)
    templates = {pronouns.template(schema): schema for schema in pronouns.SCHEMAS}
    for _ in range(recipe.sizes[split]):
        template = choose(tuple(templates), split, random)
        words = pronouns.bound(world, random).words(template)
        asked = random.choice((1, 2))
        marks = {"span1": "first" if asked == 1 else "second", "span2": "pronoun"}
        target: dict[str, Any] = {}
        for name, mark in marks.items():
            first, last = span(words, mark)
            target[f"{name}_index"] = len(prose(words[: first + 1]).split()) - 1
            target[f"{name}_text"] = prose(words[first:last])
        yield {"text": prose(words), "target": target, "label": templates[template].means == asked}
