"""AX-g: does a model resolve a pronoun as it should whether it is she or he? SuperGLUE's diagnostics of gender.

The schemas of `pronouns`, told of two jobs instead of two names.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from ptune.demo import lexicon, pronouns
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe
from ptune.demo.rte import LABELS, Example, write_split

SIZES: Mapping[str, int] = {"test": 356}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `AX-g/AX-g.jsonl`, with labels as in the original; sizes count rows, two a pair."""
    rows = examples(recipe, recipe.random("test"))
    write_split(folder / "AX-g" / "AX-g.jsonl", rows, labeled=True)


def examples(recipe: Recipe, random: Random) -> Iterator[Example]:
    """Pairs that differ in the pronoun's gender alone, also where noise damages their premises.

    A hypothesis is of either job equally often.
    """
    world, count, noise = recipe.part("test"), recipe.sizes["test"], recipe.random("test noise")
    schemas = [schema for schema in pronouns.SCHEMAS if "was a " not in schema.plain]
    for number in range(0, count, 2):
        schema, asked = random.choice(schemas), random.choice((1, 2))
        jobs = random.sample(lexicon.CLASSES["job"], k=2)
        passage = Passage(world, random, {"job": jobs[0], "job2": jobs[1]})
        hypothesis = prose(passage.words(f"the {{job{'' if asked == 1 else 2}}} {schema.plain} ."))
        damage = noise.random()
        for pronoun in ("she", "he")[: count - number]:
            names = {"A": "the {job}", "B": "the {job2}", "THEY": f"<pronoun {pronoun} >"}
            premise = passage.words(" ".join(names.get(token, token) for token in schema.template.split()))
            damaged = recipe.noisy(premise, Random(damage))
            yield {
                "premise": prose(old if old.marks else new for old, new in zip(premise, damaged, strict=True)),
                "hypothesis": hypothesis,
                "label": LABELS[schema.means != asked],
                "pair_id": number // 2,
            }
