"""LAMA: facts of the demo world as a subject, a relation and an object of one word, for a model to recall.

In LAMA's files of T-REx, and split as P-Tuning has them. Relations are numbered as in Wikidata where it has the like.
Left out are facts whose object is more than a word or is in the subject's name, and things that share their name.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from ptune.demo import relations
from ptune.demo.grammar import prose, span
from ptune.demo.recipe import Recipe, choose
from ptune.demo.relations import Fact, Relation
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 100, "dev": 50, "test": 50}
PREDICATES = {
    ("person", "birthplace"): "P19",
    ("person", "born"): "P569",
    ("person", "home"): "P551",
    ("person", "job"): "P106",
    ("person", "employer"): "P108",
    ("company", "founded"): "P571",
    ("company", "seat"): "P159",
    ("company", "field"): "P1056",
    ("agency", "field"): "P101",
    ("band", "seat"): "P740",
    ("product", "maker"): "P176",
    ("product", "launched"): "P729",
    ("work", "written"): "P577",
    ("work", "place"): "P840",
    ("event", "place"): "P276",
    ("town", "country"): "P17",
    ("country", "capital"): "P36",
}

Json = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `relations.jsonl` and for each relation, say P19, `single_relations/P19.jsonl` (its template),
    `fact-retrieval/original/P19/{train,dev,test}.jsonl` and `TREx/P19.jsonl` (the same as test).

    Sizes count the facts of a relation; where there are fewer, all of them are there.
    """
    templates = []
    by_kind = {(relation.kind, relation.fact): relation for relation in relations.RELATIONS}
    numbers = identifiers(recipe.world)
    for of, name in PREDICATES.items():
        relation = by_kind[of]
        templates.append(described(relation, name))
        _write(folder / "single_relations" / f"{name}.jsonl", templates[-1:])
        for split in SIZES:
            random = Random(f"lama {name} {split} {recipe.seed}")
            rows = list(examples(recipe, split, random, relation, name, numbers))
            _write(folder / "fact-retrieval/original" / name / f"{split}.jsonl", rows)
            if split == "test":
                _write(folder / "TREx" / f"{name}.jsonl", rows)
    _write(folder / "relations.jsonl", templates)


def _write(path: Path, rows: Iterable[Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def described(relation: Relation, name: str) -> Json:
    """A relation with its template, which is its first statement."""
    template, question = (
        line.replace(f"{{{relation.kind}}}", "[X]").replace("{value}", "[Y]")
        for line in (relation.statements[0], relation.questions[0])
    )
    return {
        "relation": name,
        "template": template[0].upper() + template[1:],
        "label": f"{relation.kind} {relation.key}",
        "description": question,
        "type": "1-1" if name == "P36" else "N-1",
    }


def identifiers(world: World) -> dict[str, str]:
    """Something like Wikidata's Q for the name of each thing."""
    names = dict.fromkeys(entity.name for entities in world.entities.values() for entity in entities)
    return {name: f"Q{number}" for number, name in enumerate(names, 1)}


def examples(
    recipe: Recipe, split: str, random: Random, relation: Relation, name: str, numbers: Mapping[str, str]
) -> Iterator[Json]:
    """Facts of one relation in any order, with a sentence that tells them; a word has itself for a number.

    Noise damages the sentence, but not the names in it that the row gives.
    """
    world, noise = recipe.part(split), recipe.random(f"{name} {split} noise")
    names = Counter(thing.name for thing in recipe.world.entities[relation.kind])
    facts = [fact for fact in recallable(world, relation) if names[fact.about.name] == 1]
    for fact in random.sample(facts, k=min(recipe.sizes[split], len(facts))):
        sentence = fact.passage(world, random).words(relations.marked(choose(relation.statements, split, random)))
        pairs = zip(sentence, recipe.noisy(sentence, noise), strict=True)
        words = [old if old.marks or old.kind == relation.kind else new for old, new in pairs]
        first, last = span(words, "answer")
        masked = prose([*words[:first], "[MASK]", *words[last:]])
        yield {
            "uuid": str(UUID(int=random.getrandbits(128), version=4)),
            "predicate_id": name,
            "sub_uri": numbers[fact.about.name],
            "sub_label": fact.about.name,
            "obj_uri": numbers.get(fact.answer, fact.answer),
            "obj_label": fact.answer,
            "evidences": [
                {"sub_surface": fact.about.name, "obj_surface": fact.answer, "masked_sentence": masked},
            ],
        }


def recallable(world: World, relation: Relation) -> list[Fact]:
    """The facts of a relation that have an answer of one word which the subject does not give away."""
    facts = [Fact(relation, thing, thing.facts[relation.fact]) for thing in world.entities[relation.kind]]
    return [fact for fact in facts if " " not in fact.answer and fact.answer not in fact.about.name]
