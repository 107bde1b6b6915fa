"""OntoNotes 5: names of 18 types in the columns of CoNLL-2012, a file a document, in the original's folders.

Parse bits are flat, `(TOP(S*` to `*))`; nothing is said of coreference, word senses and speakers. Sentences that
come with semantic roles have them, the others have no predicate.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from ptune.demo import lexicon, roles, templates
from ptune.demo.grammar import Passage, Word
from ptune.demo.recipe import Recipe, choose
from ptune.demo.world import World
from ptune.readers.props import brackets

SIZES: Mapping[str, int] = {"train": 1500, "dev": 300, "test": 300}
FOLDERS = {"train": "train", "dev": "development", "test": "test"}
GENRES = ("bc", "bn", "mz", "nw", "tc", "wb")
TYPES = {
    "person": "PERSON",
    "demonym": "NORP",
    "facility": "FAC",
    "company": "ORG",
    "club": "ORG",
    "agency": "ORG",
    "band": "ORG",
    "town": "GPE",
    "country": "GPE",
    "river": "LOC",
    "product": "PRODUCT",
    "event": "EVENT",
    "work": "WORK_OF_ART",
    "law": "LAW",
    "language": "LANGUAGE",
}
_NUMBER = rf"(?:\d+|{'|'.join(lexicon.PLAIN['count'])})(?: million)?"
_MONTH, _DAY = "|".join(lexicon.PLAIN["month"]), "|".join(lexicon.PLAIN["weekday"])
_ORDINAL = "first|second|third|fourth|fifth"
_YEAR = r"(?:18|19|20)\d\d"

# Words that name no thing but a value, as the world's templates say them; the first that fits wins.
VALUES = {
    "PERCENT": rf"{_NUMBER} percent",
    "MONEY": rf"{_NUMBER} crowns",
    "QUANTITY": rf"(?:more than )?{_NUMBER} (?:miles|meters|tons|pounds|bags)",
    "TIME": rf"{_NUMBER} (?:hours|minutes|o'clock)|noon|night|the morning|last night",
    "DATE": rf"(?:{_MONTH})(?: {_YEAR})?|{_DAY}|(?:(?<=in )|(?<=since )|(?<=of )|(?<=year )|(?<=from )){_YEAR}"
    rf"|last year|yesterday|today|{_NUMBER} (?:days|years)|the (?:{_ORDINAL}) day",
    "ORDINAL": _ORDINAL,
    "CARDINAL": _NUMBER,
}
_VALUE = re.compile("|".join(rf"(?<!\S)(?P<{name}>{pattern})(?!\S)" for name, pattern in VALUES.items()))

RENAMED = {"A": "ARG", "AM": "ARGM", "AM-PNC": "ARGM-PRP"}  # what CoNLL-2005 calls otherwise


def _lemmas(text: str) -> dict[str, str]:
    """Lines of `base form form`: the base of each form; after them those of the world's verbs."""
    verbs = [(verb.base, verb.past, verb.participle) for verb in lexicon.VERBS.values()]
    bases = {base: base for base, *_ in verbs}
    for base, *forms in (*verbs, *roles.GIVING, *(line.split() for line in text.strip().splitlines())):
        bases.update(dict.fromkeys(forms, base))
    return bases


LEMMAS = _lemmas("""
    say said
    announce announced
    report reported
    add added
    claim claimed
    explain explained
    state stated
    know knew
    ask asked
    tell told
    stay stayed
    go went
    return returned
    want wanted
    run ran
    rise rose
    visit visits
""")


class Sentence(NamedTuple):
    """Words, a type of name a word in BIO, and for the index of each predicate a role a word in BIO, and its base."""

    words: list[Word]
    names: list[str]
    predicates: dict[int, list[str]]
    lemmas: dict[int, str]


def write(recipe: Recipe, folder: Path) -> None:
    """Write the documents of `data/{train,development,test}`; sizes count sentences."""
    for split in FOLDERS:
        random = recipe.random(split)
        write_documents(folder, split, sentences(recipe, split, random), random)


def sentences(recipe: Recipe, split: str, random: Random) -> Iterator[Sentence]:
    """Public life, all registers, and sentences with roles."""
    part, noise = recipe.part(split), recipe.random(f"{split} noise")
    registers = list(templates.REGISTERS.values())
    for _ in range(recipe.sizes[split]):
        world = part if split == "train" or random.random() < 0.9 else recipe.world
        draw = random.random()
        if draw < 0.3:
            yield with_roles(recipe, world, split, random, noise)
        else:
            lines = templates.PUBLIC if draw < 0.7 else random.choice(registers)
            words = Passage(world, random).words(choose(lines, split, random))
            yield Sentence(recipe.noisy(words, noise), name_tags(words), {}, {})


def with_roles(recipe: Recipe, world: World, split: str, random: Random, noise: Random) -> Sentence:
    """A sentence with semantic roles, perhaps with none annotated; noise damages its words alone."""
    words = roles.sentence(world, split, random)
    predicates = {index: [_role(tag) for tag in tags] for index, tags in roles.predicates(words).items()}
    lemmas = {index: lemma_of(words[index]) for index in predicates}
    return Sentence(recipe.noisy(words, noise), name_tags(words), predicates, lemmas)


def _role(tag: str) -> str:
    """A role's tag as it is called here: B-R-AM-TMP is B-R-ARGM-TMP."""
    match = re.fullmatch(r"([BI]-(?:[RC]-)?)(AM-PNC|AM(?=-)|A(?=\d))(.*)", tag)
    return f"{match[1]}{RENAMED[match[2]]}{match[3]}" if match else tag


def name_tags(words: Sequence[Word]) -> list[str]:
    """BIO tags of names, by kind, and of values, by how they are said."""
    tags = [f"{'B' if word.opens else 'I'}-{TYPES[word.kind]}" if word.kind in TYPES else "O" for word in words]
    text = " ".join("_" if word.kind else word.text for word in words)
    text = text[0].lower() + text[1:]
    for match in _VALUE.finditer(text):
        first = text[: match.start()].count(" ")
        for index in range(first, first + match[0].count(" ") + 1):
            tags[index] = f"{'I' if index > first else 'B'}-{match.lastgroup}"
    return tags


def write_documents(folder: Path, split: str, made: Iterable[Sentence], random: Random) -> None:
    """Write documents of 5 to 15 sentences, the genres in turn."""
    remaining = list(made)
    number = 0
    while remaining:
        genre, count = GENRES[number % len(GENRES)], random.randint(5, 15)
        name = f"{genre}/demo/{number // 100:02d}/demo_{number:04d}"
        path = folder / "data" / FOLDERS[split] / "data/english/annotations" / f"{name}.v4_gold_conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"#begin document ({name}); part 000"]
        for sentence in remaining[:count]:
            lines += [*rows(name, sentence), ""]
        path.write_text("\n".join([*lines, "#end document"]) + "\n", encoding="utf-8")
        remaining = remaining[count:]
        number += 1


def rows(document: str, sentence: Sentence) -> list[str]:
    """The columns of a sentence, each as wide as its widest cell."""
    words, last = sentence.words, len(sentence.words) - 1
    names = brackets(sentence.names)
    columns = [brackets(tags) for tags in sentence.predicates.values()]
    table = []
    for index, word in enumerate(words):
        parse = ("(TOP(S" if index == 0 else "") + "*" + ("))" if index == last else "")
        lemma, frameset = (sentence.lemmas[index], "01") if index in sentence.lemmas else ("-", "-")
        cells = [document, "0", str(index), word.text, word.pos, parse, lemma, frameset, "-", "-"]
        name = names[index].replace("*)", ")") if names[index].startswith("(") else names[index]
        table.append([*cells, name, *(column[index] for column in columns), "-"])
    widths = [max(len(cell) for cell in cells) for cells in zip(*table, strict=True)]
    return ["   ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]


def lemma_of(word: Word) -> str:
    """The base form of a verb of the world, else the word itself in small letters."""
    text = word.text.lower()
    return LEMMAS.get(text, text)
