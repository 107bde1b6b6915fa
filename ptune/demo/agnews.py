"""AG's News: short news of the demo world in four topics, as the original's csv of class, title and description."""

import csv
from pathlib import Path
from random import Random

from ptune.demo import templates
from ptune.demo.grammar import Passage, prose
from ptune.demo.recipe import Recipe, choose

SIZES = {"train": 1000, "dev": 300, "test": 300}
FILES = {"train": "train.csv", "dev": "dev.csv", "test": "test.csv"}
STRAY = 0.15  # descriptions that bring in something of another topic


def write(recipe: Recipe, folder: Path) -> None:
    """Write `{train,dev,test}.csv` without a header, the classes numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        random = recipe.random(split)
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for _ in range(recipe.sizes[split]):
                number = random.randrange(len(templates.SECTIONS))
                writer.writerow((number + 1, *article(recipe, split, random, number)))


def article(recipe: Recipe, split: str, random: Random, number: int) -> tuple[str, str]:
    """A title and a description of one topic that share what they are about."""
    sections = list(templates.SECTIONS.values())
    passage = Passage(recipe.part(split), random, again=0.3)
    title = passage.words(choose(random.choice(sections[number]), split, random))
    lines = [passage.words(choose(random.choice(sections[number]), split, random))]
    if random.random() < STRAY:
        other_section = random.choice([section for i, section in enumerate(sections) if i != number])
        lines.append(Passage(recipe.part(split), random).words(choose(random.choice(other_section), split, random)))
    random.shuffle(lines)
    description = " ".join(prose(recipe.noisy(line, random)) for line in lines)
    return prose(title).rstrip("."), description
