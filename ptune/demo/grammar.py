"""Turns a template into words with part of speech and entity, every slot bound to one thing a passage."""

import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from ptune.demo import lexicon, templates
from ptune.demo.world import KINDS, Entity, World

_CHOICE = re.compile(r"(?<!\S)([^\s()|]*)\(([^()]*\|[^()]*)\)")
_SLOT = re.compile(r"\{([a-z]+)(\d*)((?:\.[a-z]+)*)\}")
_MARK = re.compile(r"<(\d\.[A-Z][A-Z0-9-]*|[a-z][a-z0-9]*)")
_FEELING_VERBS = ("laughed", "shouted", "screamed", "smiled", "wept")


class Mark(NamedTuple):
    """A named span that a word lies in, and whether the word opens it."""

    name: str
    opens: bool


class Word(NamedTuple):
    """A token: its text, part of speech, the kind of entity it belongs to, whether it opens one, and its marks."""

    text: str
    pos: str
    kind: str | None = None
    opens: bool = False
    marks: tuple[Mark, ...] = ()

    @property
    def marked(self) -> set[str]:
        """The names of the marks it lies in."""
        return {mark.name for mark in self.marks}


Value = Entity | str


class Passage:
    """Renders templates over one set of bindings, so `{person}` stays the same person in all its sentences.

    `mention` decides how a person is named again: after the first time, mostly by family name or pronoun.
    """

    def __init__(
        self, world: World, random: Random, bound: Mapping[str, Value] | None = None, *, again: float = 0.0
    ) -> None:
        self.world, self.random, self.again = world, random, again
        self.bound: dict[str, Value] = dict(bound or {})
        self.told: set[str] = set()

    def words(self, template: str) -> list[Word]:
        """The words of one sentence, capitalized, articles agreeing.

        `<name` and `>` as tokens of their own mark the words between them; marks may stand inside one another.
        """
        words: list[Word] = []
        open_marks: list[tuple[str, int]] = []
        for token in self.choose(template).split():
            if match := _MARK.fullmatch(token):
                open_marks.append((match[1], len(words)))
                continue
            if token == ">" and open_marks:
                name, start = open_marks.pop()
                words[start:] = [w._replace(marks=(*w.marks, Mark(name, not i))) for i, w in enumerate(words[start:])]
                continue
            match = _SLOT.fullmatch(token)
            if match:
                name, number, path = match.groups()
                words += self._slot(name, number, path.split(".")[1:], initial=not words)
            else:
                words.append(Word(token, lexicon.tag(token, words[-1].text if words else "")))
        return _polish(words)

    def choose(self, template: str) -> str:
        """The template with its choices made and its optional phrases put in."""
        while match := _CHOICE.search(template):
            template = (
                template[: match.start()] + match[1] + self.random.choice(match[2].split("|")) + template[match.end() :]
            )
        parts = []
        for token in template.split():
            name = token[1:-1]
            parts.append(
                self.choose(self.random.choice(templates.PHRASES[name]))
                if name in templates.PHRASES and token[0] == "{" and name not in self.bound
                else token
            )
        return " ".join(parts)

    def _slot(self, name: str, number: str, path: Sequence[str], *, initial: bool) -> list[Word]:
        value = self.bound.get(name + number)
        if value is None:
            value = self.bound[name + number] = self._draw(name)
        for step in path:
            value = _follow(value, step, self.random)
        if isinstance(value, Entity) and not path and value.kind == "person":
            if name != "value" and name + number in self.told and self.random.random() < self.again:
                pronoun = initial and self.random.random() < 0.5
                value = value.facts["he"] if pronoun else value.facts["last"]
            self.told.add(name + number)
        return named(value) if isinstance(value, Entity) else plain(value)

    def _draw(self, name: str) -> Value:
        if name in KINDS:
            used = [value for value in self.bound.values() if isinstance(value, Entity)]
            while (entity := self.random.choice(self.world.entities[name])) in used:
                pass
            return entity
        if name in lexicon.CLASSES:
            taken_words = self.bound.values()
            for _ in range(20):
                if (word := self.random.choice(lexicon.CLASSES[name])) not in taken_words:
                    break
            return word
        return _number(name, self.random)


def _number(name: str, random: Random) -> str:
    if name == "year":
        return str(random.randint(1880, 2019))
    if name == "digit":
        return str(random.randint(0, 9))
    if name == "number":
        return str(random.choice((random.randint(2, 99), random.randint(2, 99) * 100, random.randint(1, 9) * 10)))
    if name == "score":
        return f"{random.randint(0, 5)} - {random.randint(0, 5)}"
    if name == "sets":
        return f"6-{random.randint(0, 4)} {random.randint(0, 4)}-6 7-5"
    if name == "isodate":
        return f"{random.randint(1990, 2010)}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"
    if name in ("handle", "hashtag"):
        word = random.choice(lexicon.CLASSES["adj"]) + random.choice(lexicon.CLASSES[random.choice(("animal", "food"))])
        return word + random.choice(("", "", str(random.randint(1, 99))))
    raise KeyError(f"no entity kind, word class or number is called {name!r}")


def _follow(value: Value, step: str, random: Random) -> Value:
    if isinstance(value, Entity):
        return value.facts[step]
    if step == "plural":
        return lexicon.plural(value)
    if step == "hypernym":
        return lexicon.HYPERNYM[value]
    if step == "opposite":
        return next((b if a == value else a for a, b in lexicon.OPPOSITES if value in (a, b)), "gray")
    if step == "verb":
        return random.choice(_FEELING_VERBS)
    raise KeyError(f"a word has no {step!r}")


def named(entity: Entity) -> list[Word]:
    """The words of an entity's name."""
    adjective = entity.kind == "demonym"
    return [
        Word(
            text,
            "JJ" if adjective else "IN" if text == "of" else "CC" if text == "&" else "CD" if text.isdigit() else "NNP",
            entity.kind,
            index == 0,
        )
        for index, text in enumerate(entity.name.split())
    ]


def plain(text: str) -> list[Word]:
    """The words of a text that names nothing."""
    words: list[Word] = []
    for token in text.split():
        words.append(Word(token, lexicon.tag(token, words[-1].text if words else "")))
    return words


def _polish(words: list[Word]) -> list[Word]:
    """Capital letters where a sentence or a quotation begins, and "an" before a vowel."""
    polished: list[Word] = []
    quoted, begins = False, True
    for index, word in enumerate(words):
        text, following = word.text, words[index + 1].text if index + 1 < len(words) else ""
        if word.kind is None and text in ("a", "an") and following:
            text = "an" if following[0].lower() in "aeiou" else "a"
        if (begins and text[0].isalpha()) or text == "i":
            text = text[0].upper() + text[1:]
        if text == '"':
            quoted = not quoted
            begins = quoted or not polished
        elif text not in "()":
            begins = text in (".", "?")
        polished.append(word._replace(text=text))
    return polished


def prose(words: Iterable[Word | str]) -> str:
    """Words as running text: no space before punctuation, quotation marks closed up."""
    return laid_out([word if isinstance(word, str) else word.text for word in words])[0]


def laid_out(tokens: Sequence[str]) -> tuple[str, list[int]]:
    """The tokens as running text, and the character at which each begins."""
    text, inside, starts = "", False, []
    for token in tokens:
        glue = not text or token in (".", ",", "?", "!", ";", ":", ")", "'s") or text.endswith("(")
        if token == '"':
            glue = inside or not text
            inside = not inside
        elif text.endswith('"') and inside:
            glue = True
        text += token if glue else " " + token
        starts.append(len(text) - len(token))
    return text, starts


def span(words: Sequence[Word], name: str) -> tuple[int, int]:
    """The first word with this mark, and the one after the last. Raises ValueError where there is none."""
    marked = [index for index, word in enumerate(words) if name in word.marked]
    if not marked:
        raise ValueError(f"no word is marked {name!r}")
    return marked[0], marked[-1] + 1
