"""WNUT-17: noisy posts of the demo world's people, in two columns tagged in IOB2."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from ptune.demo import templates
from ptune.demo.grammar import Passage, Word
from ptune.demo.recipe import Recipe, choose

SIZES: Mapping[str, int] = {"train": 1000, "dev": 300, "test": 300}
FILES = {"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"}
TYPES = {
    "person": "person",
    "town": "location",
    "country": "location",
    "river": "location",
    "company": "corporation",
    "product": "product",
    "work": "creative-work",
    "club": "group",
    "band": "group",
}
NOISE = {
    "you": "u",
    "your": "ur",
    "are": "r",
    "to": "2",
    "for": "4",
    "because": "cuz",
    "with": "w/",
    "people": "ppl",
    "and": "n",
    "before": "b4",
    "very": "v",
    "the": "da",
    "again": "agn",
    "about": "abt",
    "what": "wat",
}
TAILS = ("lol", "smh", "!!", "...", "omg", ":)", ":(", "haha", "<3", "tbh")


def write(recipe: Recipe, folder: Path) -> None:
    """Write the three files of the shared task."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        posts = ("\n".join(post) + "\n" for post in _posts(recipe, split, recipe.random(split)))
        (folder / name).write_text("\n".join(posts), encoding="utf-8")


def _posts(recipe: Recipe, split: str, random: Random) -> Iterator[list[str]]:
    part = recipe.part(split)
    plain = [templates.REGISTERS[name] for name in ("life", "daily", "sport", "business", "culture", "place")]
    for _ in range(recipe.sizes[split]):
        source = part if split == "train" or random.random() < 0.9 else recipe.world
        lines = templates.POSTS if random.random() < 0.65 else random.choice(plain)
        words = Passage(source, random).words(choose(lines, split, random))
        yield list(_rows(recipe.noisy(words, random), random))


def _rows(words: list[Word], random: Random) -> Iterator[str]:
    shouts, lowers = random.random() < 0.05, random.random() < 0.7
    if random.random() < 0.15:
        name = random.choice(("the", "real", "its", "mr")) + random.choice("abcdefgh")
        yield f"@{name}{random.randint(10, 99)}\tO"
    for word in words:
        text = word.text.upper() if shouts else word.text.lower() if lowers else word.text
        kind = TYPES.get(word.kind or "")
        if kind:
            yield f"{_typo(text, random, 0.04)}\t{'B' if word.opens else 'I'}-{kind}"
        else:
            text = NOISE.get(text, text) if random.random() < 0.4 else _typo(text, random, 0.05)
            yield f"{text}\tO"
    if random.random() < 0.2:
        yield f"{random.choice(TAILS)}\tO"


def _typo(text: str, random: Random, share: float) -> str:
    """Now and then a letter doubled, dropped or exchanged with the next."""
    if len(text) < 4 or not text.isalpha() or random.random() >= share:
        return text
    place = random.randrange(1, len(text) - 1)
    return random.choice(
        (
            text[:place] + text[place] + text[place:],
            text[:place] + text[place + 1 :],
            text[:place] + text[place + 1] + text[place] + text[place + 2 :],
        )
    )
