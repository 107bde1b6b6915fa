"""SST-2: reviews of the demo world's works, products and events, in GLUE's two columns; test without labels."""

from pathlib import Path
from random import Random

from ptune.demo import opinions
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose

SIZES = {"train": 1000, "dev": 300, "test": 300}
FILES = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `SST-2/{train,dev,test}.tsv` with their header; in test an index stands in the label's place."""
    (folder / "SST-2").mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        random = recipe.random(split)
        rows = [review(recipe, split, random, praise=random.random() < 0.5) for _ in range(recipe.sizes[split])]
        if split == "test":
            lines = ["index\tsentence", *(f"{index}\t{text}" for index, (text, _) in enumerate(rows))]
        else:
            lines = ["sentence\tlabel", *(f"{text}\t{int(praise)}" for text, praise in rows)]
        (folder / "SST-2" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def review(recipe: Recipe, split: str, random: Random, *, praise: bool) -> tuple[str, bool]:
    """One or two sentences in lower case, as the original has them, and whether they praise.

    A quarter of the pairs concede a point to the other side first.
    """
    passage = Passage(recipe.part(split), random)
    own, other = (opinions.PRAISE, opinions.BLAME) if praise else (opinions.BLAME, opinions.PRAISE)
    text = prose(recipe.noisy(passage.words(choose(own, split, random)), random))
    draw = random.random()
    if draw < 0.25:
        text += " " + prose(recipe.noisy(passage.words(choose(own, split, random)), random))
    elif draw < 0.4:
        text = "some say : " + prose(passage.words(choose(other, split, random))) + " but for me : " + text
    return text.lower(), praise
