"""ReCoRD: which entity of a passage fills the gap in a statement about it? In SuperGLUE's jsonl."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import passages
from ptune.demo.grammar import Word, laid_out, prose
from ptune.demo.recipe import Recipe, choose
from ptune.demo.rte import FILES
from ptune.demo.world import Entity

SIZES: Mapping[str, int] = {"train": 800, "dev": 200, "test": 200}

Json = dict[str, Any]
GAP = "@placeholder"


def write(recipe: Recipe, folder: Path) -> None:
    """Write `ReCoRD/{train,val,test}.jsonl`, one passage a line, the last without answers; sizes count queries."""
    (folder / "ReCoRD").mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        with (folder / "ReCoRD" / name).open("w", encoding="utf-8") as file:
            for row in examples(recipe, split, recipe.random(split), labeled=split != "test"):
                file.write(json.dumps(row) + "\n")


def examples(recipe: Recipe, split: str, random: Random, *, labeled: bool, most: int = 2) -> Iterator[Json]:
    """Passages with highlights, and up to `most` queries each; `end` is the last character, as in the original."""
    world, remaining, index, number = recipe.part(split), recipe.sizes[split], 0, 0
    while remaining:
        _, lines = passages.draw(recipe, split, world, random)
        facts = [fact for fact in passages.facts(lines) if isinstance(fact.value, Entity)]
        text, entities = _passage([line.words for line in lines])
        queries: list[Json] = []
        for fact in random.sample(facts, k=min(len(facts), most, remaining)):
            matching = [entity for entity in entities if entity["text"] == fact.answer]
            words = fact.passage(world, random).words(choose(fact.relation.statements, split, random))
            query = prose(words).replace(fact.answer, GAP)
            if matching and query.count(GAP) == 1:
                answers = {"answers": matching} if labeled else {}
                queries.append({"query": query, **answers, "idx": number})
                number += 1
        if queries:
            remaining -= len(queries)
            marks = [{"start": entity["start"], "end": entity["end"]} for entity in entities]
            yield {"source": "demo", "passage": {"text": text, "entities": marks}, "qas": queries, "idx": index}
            index += 1


def _passage(sentences: list[list[Word]]) -> tuple[str, list[Json]]:
    """The text, its last sentence as a highlight, and the names in it."""
    words = [word for sentence in sentences for word in sentence]
    text, starts = laid_out([word.text for word in words])
    cut = starts[len(words) - len(sentences[-1])]
    entities = []
    for first, word in enumerate(words):
        if word.opens:
            last = first
            while last + 1 < len(words) and words[last + 1].kind and not words[last + 1].opens:
                last += 1
            start, end = starts[first], starts[last] + len(words[last].text)
            shift = len("\n@highlight\n") - 1 if start >= cut else 0
            entities.append({"start": start + shift, "end": end + shift - 1, "text": text[start:end]})
    if cut:
        text = f"{text[: cut - 1]}\n@highlight\n{text[cut:]}"
    return text, entities
