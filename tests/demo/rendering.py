"""Templates as patterns of running text, and the world's facts said in full: read apart from the grammar's renderer."""

import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ptune.demo import relations, world
from ptune.demo.relations import Fact
from ptune.demo.world import Entity, World

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_PIECE = re.compile(r"\{([a-z]+\d*)((?:\.[a-z]+)*)\}|([\0\1\2])|(\S)|(\s+)")
_OPEN = {"\0": "(?:", "\1": "|", "\2": ")"}


@cache
def pattern(template: str, bound: tuple[tuple[str, str], ...] = (), ends: bool = True) -> re.Pattern[str]:
    """What the template may become, in any case; a slot is a group of its name, or what `bound` says."""
    template = " ".join(t for t in template.split() if not re.fullmatch(r"<[\w.-]+|>", t))
    while match := _CHOICE.search(template):
        inside = match[1].replace("|", "\1")
        template = f"{template[: match.start()]}\0{inside}\2{template[match.end() :]}"
    given, seen, out = dict(bound), set(), ""
    template = re.sub(r"(?<![^\s\0\1])an?(?![^\s\1\2])", "\3", template)
    for piece in re.finditer(_PIECE, template):
        name, path, choice, letter, _ = piece.groups()
        if name:
            group = (name + path).replace(".", "_")
            if group in given:
                out += given[group]
            else:
                out += f"(?P={group})" if group in seen else f"(?P<{group}>.+?)"
                seen.add(group)
        elif choice:
            out += _OPEN[choice]
        elif letter:
            out += "an?" if letter == "\3" else re.escape(letter)
        else:
            out += r"\s?"
    return re.compile(out + ("$" if ends else ""), re.IGNORECASE)


def matches(template: str, text: str, **bound: str) -> re.Match[str] | None:
    """The match of a whole text with a template."""
    return pattern(template, tuple(sorted(bound.items()))).fullmatch(text)


def sentences(text: str) -> list[str]:
    """A text at its full stops, question and exclamation marks."""
    return re.split(r"(?:(?<=[.?!])|(?<=[.?!]\")) (?=[A-Z])", text)


def words(text: str) -> list[str]:
    """In small letters, without punctuation."""
    return re.findall(r"[\w&']+", text.lower())


def said(template: str, fact: Fact) -> str:
    """A template of a relation about a fact, closed up and in small letters; other slots stay."""
    text = template.replace(f"{{{fact.relation.kind}}}", fact.about.name).replace("{value}", fact.answer)
    text = re.sub(r"\ban? (?=[aeiou])", "an ", re.sub(r" (?=[.,?])", "", text), flags=re.IGNORECASE)
    return text.lower()


@cache
def facts(seed: int = 0) -> tuple[Fact, ...]:
    """Every fact of a world."""
    everything = world.build(seed).entities.values()
    return tuple(fact for entities in everything for entity in entities for fact in relations.facts(entity))


@cache
def asked(seed: int = 0) -> dict[str, list[Fact]]:
    """Each question of a world, and the facts that answer it."""
    table: dict[str, list[Fact]] = {}
    for fact in facts(seed):
        for line in fact.relation.questions:
            table.setdefault(said(line, fact), []).append(fact)
    return table


@cache
def checked(seed: int = 0) -> frozenset[str]:
    """Each question for yes or no of a world that is to be answered with yes."""
    return frozenset(said(line, fact) for fact in facts(seed) for line in fact.relation.checks)


def states(sentence: str, fact: Fact) -> bool:
    """Whether a sentence tells this fact of the thing by its name, or by the last name of a person."""
    names = {fact.about.name, str(getattr(fact.about.facts["short"], "name", ""))}
    about = "(?:" + "|".join(re.escape(name) for name in sorted(names, reverse=True)) + ")"
    bound = {fact.relation.kind: about, "value": re.escape(fact.answer)}
    return any(matches(line, sentence, **bound) for line in fact.relation.statements)


def names(part: World, kinds: Sequence[str]) -> set[str]:
    """The full names of all entities of some kinds."""
    return {entity.name for kind in kinds for entity in part.entities[kind]}


@cache
def by_name_of(seed: int = 0) -> Mapping[str, list[Entity]]:
    """The entities of each name of a world."""
    return by_name(world.build(seed))


def by_name(part: World) -> Mapping[str, list[Entity]]:
    """The entities of each name."""
    table: dict[str, list[Entity]] = {}
    for entities in part.entities.values():
        for entity in entities:
            table.setdefault(entity.name, []).append(entity)
    return table


def rows(path: Path) -> list[dict[str, Any]]:
    """A file of a json object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def questions(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The contexts of a SQuAD file, each with its questions."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph["context"], question


def sizes_of(task: str) -> dict[str, int]:
    """The default sizes of a task."""
    return dict(importlib.import_module(f"ptune.demo.{task}").SIZES)
