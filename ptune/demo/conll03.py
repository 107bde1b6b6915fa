"""CoNLL-2003: news of the demo world in the four columns of the original, tagged in IOB1.

The files of a split are made as `ptune.demo.recipe` says: other entities and other templates in dev and test.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from ptune.demo import claims, templates
from ptune.demo.grammar import Passage, Word
from ptune.demo.recipe import Recipe, choose

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}
FILES = {"train": "train.txt", "dev": "valid.txt", "test": "test.txt"}
TYPES = {
    "person": "PER",
    "town": "LOC",
    "country": "LOC",
    "river": "LOC",
    "company": "ORG",
    "club": "ORG",
    "agency": "ORG",
    "band": "ORG",
    "product": "MISC",
    "work": "MISC",
    "event": "MISC",
    "demonym": "MISC",
}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `train.txt`, `valid.txt` and `test.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        random = recipe.random(split)
        lines = list(_documents(sentences(recipe, split, random), random))
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def sentences(recipe: Recipe, split: str, random: Random) -> Iterator[list[Word]]:
    """The sentences of a split."""
    return islice(news(recipe, split, random), recipe.sizes[split])


def news(recipe: Recipe, split: str, random: Random) -> Iterator[list[Word]]:
    """Sentences without end: stories, claims and the terse lines of a news desk."""
    part = recipe.part(split)
    registers = list(templates.REGISTERS.values())
    while True:
        source = part if split == "train" or random.random() < 0.9 else recipe.world
        draw = random.random()
        if draw < 0.2:
            words = claims.sentence(Passage(source, random), claims.draw(source, random), aside=True)
        else:
            lines = templates.DESK if draw < 0.4 else random.choice(registers)
            words = Passage(source, random).words(choose(lines, split, random))
        yield recipe.noisy(words, random)


def _documents(made: Iterator[list[Word]], random: Random) -> Iterator[str]:
    remaining = 0
    for words in made:
        if not remaining:
            remaining = random.randint(4, 12)
            yield from ("-DOCSTART- -X- -X- O", "")
        remaining -= 1
        tags, chunks = entity_tags(words), chunk_tags(words)
        yield from (
            f"{word.text} {word.pos} {chunk} {tag}" for word, chunk, tag in zip(words, chunks, tags, strict=True)
        )
        yield ""


def entity_tags(words: Sequence[Word]) -> list[str]:
    """IOB1: B- only where an entity touches another of its type before it."""
    tags, previous = [], "O"
    for word in words:
        kind = TYPES.get(word.kind or "", "")
        touches = word.opens and previous != "O" and previous[2:] == kind
        previous = f"{'B' if touches else 'I'}-{kind}" if kind else "O"
        tags.append(previous)
    return tags


_CHUNKS = {
    "NP": ["DT", "JJ", "CD", "NN", "NNS", "NNP", "PRP", "PRP$", "POS", "WP", "EX"],
    "VP": ["VB", "VBD", "VBZ", "VBP", "VBN", "VBG", "MD", "TO"],
    "PP": ["IN"],
    "ADVP": ["RB", "WRB"],
}
_CHUNK_OF = {pos: chunk for chunk, tags in _CHUNKS.items() for pos in tags}


def chunk_tags(words: Sequence[Word]) -> list[str]:
    """Plausible phrases from the parts of speech, IOB1; a determiner or pronoun opens a new one."""
    tags, previous = [], "O"
    for index, word in enumerate(words):
        chunk = _CHUNK_OF.get(word.pos, "")
        opens = (chunk == "NP" and word.pos in ("DT", "PRP", "PRP$", "POS")) or chunk == "PP"
        touches = opens and index > 0 and previous[2:] == chunk
        previous = f"{'B' if touches else 'I'}-{chunk}" if chunk else "O"
        tags.append(previous)
    return tags
