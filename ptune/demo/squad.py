"""SQuAD 1.1: questions about passages of the demo world, answered by a span, in the original's json."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import passages
from ptune.demo.grammar import laid_out, span
from ptune.demo.passages import Line
from ptune.demo.recipe import Recipe
from ptune.demo.relations import Fact
from ptune.demo.world import World

SIZES = {"train": 1600, "dev": 400}
VERSION = "1.1"
FILES = {"train": "train-v1.1.json", "dev": "dev-v1.1.json"}
A_PASSAGE, AN_ARTICLE = 4, 5  # questions, and passages

Json = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `train-v1.1.json` and `dev-v1.1.json`; the original's test set is not public, and there is none here."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        write_split(recipe, split, folder / name, VERSION, impossible=0.0)


def write_split(recipe: Recipe, split: str, path: Path, version: str, impossible: float) -> None:
    """Articles of passages of questions; `impossible` is the share that the passage does not answer."""
    random, world = recipe.random(split), recipe.part(split)
    paragraphs = list(_paragraphs(recipe, split, world, random, impossible))
    starts = range(0, len(paragraphs), AN_ARTICLE)
    data = [{"title": f"Demo_{split}_{i}", "paragraphs": paragraphs[i : i + AN_ARTICLE]} for i in starts]
    path.write_text(json.dumps({"version": version, "data": data}) + "\n", encoding="utf-8")


def _paragraphs(recipe: Recipe, split: str, world: World, random: Random, impossible: float) -> Iterator[Json]:
    remaining, number = recipe.sizes[split], 0
    while remaining:
        _, lines = passages.draw(recipe, split, world, random)
        facts = passages.facts(lines)
        count = min(remaining, A_PASSAGE, len(facts))
        questions: list[Json] = []
        open_questions: list[Fact] = []
        for fact in random.sample(facts, k=count):
            name = f"demo{recipe.seed}-{recipe.task}-{split}-{number}"
            missing = passages.untold(lines, open_questions, random) if random.random() < impossible else None
            if missing:
                open_questions.append(missing)
                questions.append(_unanswered(name, missing, lines, split, world, random))
            else:
                questions.append(_answered(name, fact, lines, split, world, random, unanswerable=impossible > 0))
            number += 1
        remaining -= count
        yield {"context": passages.text(lines), "qas": questions}


def _answered(
    name: str, fact: Fact, lines: list[Line], split: str, world: World, random: Random, *, unanswerable: bool
) -> Json:
    answer = located(lines, fact)
    answers = [answer] * (1 if split == "train" else 3)  # the original's dev questions have three annotators
    extra = {"is_impossible": False} if unanswerable else {}
    return {"id": name, "question": passages.question(fact, split, world, random), "answers": answers, **extra}


def _unanswered(name: str, fact: Fact, lines: list[Line], split: str, world: World, random: Random) -> Json:
    tempting = passages.plausible(fact, passages.facts(lines))
    return {
        "id": name,
        "question": passages.question(fact, split, world, random),
        "answers": [],
        "is_impossible": True,
        "plausible_answers": [located(lines, tempting)] if tempting else [],
    }


def located(lines: list[Line], fact: Fact) -> Json:
    """Where a passage tells the value of a fact: text and answer_start."""
    words: list[str] = []
    at = first = last = 0
    for line in lines:
        if line.fact is fact:
            at = len(words)
            first, last = span(line.words, "answer")
        words += [word.text for word in line.words]
    text, starts = laid_out(words)
    start = starts[at + first]
    end = starts[at + last - 1] + len(words[at + last - 1])
    return {"answer_start": start, "text": text[start:end]}
