"""CoLA: is it a sentence? Sentences of all registers, a third of them damaged where grammar notices."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from ptune.demo import rows, templates
from ptune.demo.grammar import Passage, Word, prose
from ptune.demo.recipe import Recipe, choose

SIZES = rows.SIZES
ACCEPTABLE = 0.7  # of the rows, as in the original
OTHER_NUMBER = {"was": "were", "were": "was", "is": "are", "are": "is", "has": "have", "have": "has"}
LINES = [line for lines in templates.REGISTERS.values() for line in lines]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `CoLA/{train,dev,test}.tsv`; only the last has a header, and no labels."""
    for split in recipe.sizes:
        columns = ("index", "sentence") if split == "test" else ("origin", "label", "mark", "sentence")
        sentences = examples(recipe, split, recipe.random(split))
        rows.table(folder / "CoLA" / f"{split}.tsv", columns, sentences, header=split == "test")


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[rows.Row]:
    """Sentences with their label, 1 for those that are acceptable; linguists mark the others with a star."""
    noise = recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        good = random.random() < ACCEPTABLE
        words = Passage(recipe.part(split), random).words(choose(LINES, split, random))
        while not good and (worse := damaged(words, random)) is None:
            words = Passage(recipe.part(split), random).words(choose(LINES, split, random))
        sentence = prose(recipe.noisy(words if good else worse or words, noise))
        yield {"origin": "demo", "label": str(int(good)), "mark": "" if good else "*", "sentence": sentence}


def damaged(words: Sequence[Word], random: Random) -> list[Word] | None:
    """An article behind its noun, a verb of the other number, or a function word twice; None where there is none."""
    out = list(words)
    kind = random.choice(("article", "number", "twice"))
    places = [
        place
        for place, word in enumerate(words[:-1])
        if (kind == "article" and word.pos == "DT" and words[place + 1].text.isalpha())
        or (kind == "number" and word.text in OTHER_NUMBER)
        or (kind == "twice" and word.pos in ("DT", "IN") and word.text.isalpha())
    ]
    if not places:
        return None
    place = random.choice(places)
    if kind == "article":
        out[place : place + 2] = out[place + 1], out[place]
    elif kind == "number":
        out[place] = out[place]._replace(text=OTHER_NUMBER[out[place].text])
    else:
        out.insert(place, out[place])
    return out
