"""MultiRC: questions about a passage, each with several answers of which none, one or many are right."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import passages
from ptune.demo.passages import Line
from ptune.demo.recipe import Recipe
from ptune.demo.relations import Fact
from ptune.demo.rte import FILES
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 500, "dev": 150, "test": 150}
ANSWERS = 5

Json = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `MultiRC/{train,val,test}.jsonl`, one passage a line, the last without labels; sizes count questions."""
    (folder / "MultiRC").mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        with (folder / "MultiRC" / name).open("w", encoding="utf-8") as file:
            for row in examples(recipe, split, recipe.random(split), labeled=split != "test"):
                file.write(json.dumps(row) + "\n")


def examples(recipe: Recipe, split: str, random: Random, *, labeled: bool, most: int = 4) -> Iterator[Json]:
    """Passages with up to `most` questions; answers are numbered through all of a split."""
    world, remaining, index, answers = recipe.part(split), recipe.sizes[split], 0, 0
    while remaining:
        _, lines = passages.draw(recipe, split, world, random)
        questions: list[Json] = []
        for text, options in _questions(lines, split, world, random)[: min(most, remaining)]:
            rows = []
            for option, right in options:
                rows.append({"text": option, "idx": answers, **({"label": int(right)} if labeled else {})})
                answers += 1
            questions.append({"question": text, "answers": rows, "idx": len(questions)})
        remaining -= len(questions)
        yield {"idx": index, "version": 1.1, "passage": {"text": passages.text(lines), "questions": questions}}
        index += 1


def _questions(lines: list[Line], split: str, world: World, random: Random) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Each question with its answers: one after a fact, or one after all things of which something is told."""
    facts = passages.facts(lines)
    drawn = []
    for fact in random.sample(facts, k=len(facts)):
        drawn.append((passages.question(fact, split, world, random), _one_right(fact, facts, world, random)))
    kind = facts[0].relation.kind
    subjects = list(dict.fromkeys(fact.about.name for fact in facts))
    if len(subjects) > 1:
        passage = passages.text(lines)  # a claim in between may name more of them
        unmentioned = [
            thing.name for thing in random.sample(world.entities[kind], k=ANSWERS) if thing.name not in passage
        ]
        options = [(name, True) for name in subjects] + [(name, False) for name in unmentioned]
        drawn.insert(random.randint(0, len(drawn)), (f"Of which {kind} does the text speak?", _mixed(options, random)))
    return drawn


def _one_right(fact: Fact, told: list[Fact], world: World, random: Random) -> list[tuple[str, bool]]:
    """The value, said in full as well, and values that others have."""
    wrong = {one.answer for one in told if one.relation.value == fact.relation.value and one.answer != fact.answer}
    while len(wrong) < ANSWERS - 2:
        wrong.add(fact.false(world, random).answer)
    options = [(fact.answer, True)] + [(answer, False) for answer in sorted(wrong)]
    if random.random() < 0.4:
        claim = fact if random.random() < 0.6 else fact.false(world, random)
        words = claim.passage(world, random).words(random.choice(fact.relation.statements))
        options.append((passages.text([Line(words)]), claim is fact))
    return _mixed(options, random)


def _mixed(options: list[tuple[str, bool]], random: Random) -> list[tuple[str, bool]]:
    random.shuffle(options)
    return options
