"""The demo world: facts that agree, provinces apart, names shared and own, the same in every process."""

import ast
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import rendering

from ptune import demo
from ptune.demo import lexicon, recipe, relations, world
from ptune.demo.world import KINDS, PROVINCES, Entity

HOME = world.build(0)


def everything(part: world.World) -> list[Entity]:
    return [entity for entities in part.entities.values() for entity in entities]


def described(part: world.World) -> list[tuple[object, ...]]:
    """All that is known, in plain values."""
    return [
        (
            entity.kind,
            entity.name,
            part.province[id(entity)],
            [(name, v.name if isinstance(v, Entity) else v) for name, v in sorted(entity.facts.items())],
        )
        for entity in everything(part)
    ]


def test_seeds() -> None:
    assert described(world.build(7)) == described(world.build(7))
    assert described(world.build(7)) != described(world.build(8))


def test_facts_agree() -> None:
    """What is said of one thing in several facts is the same, and inverse facts are each other's."""
    for person in HOME.entities["person"]:
        assert person.facts["country"] is person.entity("birthplace").facts["country"]
        pronouns = {"she": ("her", "her"), "he": ("his", "him")}[str(person.facts["he"])]
        assert (person.facts["his"], person.facts["him"]) == pronouns
        assert f"{person.entity('first').name} {person.entity('last').name}" == person.name
        assert lexicon.HYPERNYM[str(person.facts["job"])] == person.facts["trade"]
        assert person.facts["title"] in lexicon.TITLES[str(person.facts["he"])]
    for country in HOME.entities["country"]:
        assert country.entity("demonym").facts["country"] is country
        assert country.entity("language").facts["country"] is country


def test_relations_hold_of_every_entity() -> None:
    """Each relation finds its fact, and a value of its kind: an entity, a year or a word of its class."""
    for relation in relations.RELATIONS:
        for entity in HOME.entities[relation.kind]:
            value = entity.facts[relation.fact]
            if isinstance(value, Entity):
                # People work for agencies, too.
                assert value.kind == relation.value or (relation.fact, value.kind) == ("employer", "agency")
            elif relation.value == "year":
                assert 1880 <= int(value) <= 2019
            else:
                assert value in lexicon.CLASSES[relation.value]


def test_false_facts_are_false() -> None:
    random = recipe.Recipe("any", HOME, {}).random("train")
    for fact in [fact for entity in everything(HOME) for fact in relations.facts(entity)][::7]:
        assert fact.false(HOME, random).answer != fact.answer
        assert fact.false(HOME, random).about is fact.about


def test_provinces_are_apart() -> None:
    """Every entity is in one province, and its facts lead to entities of that province alone."""
    parts = [HOME.within([name]) for name in PROVINCES]
    assert sorted(map(id, everything(HOME))) == sorted(id(e) for part in parts for e in everything(part))
    for part, name in zip(parts, PROVINCES, strict=True):
        assert all(part.entities[kind] for kind in KINDS)
        for entity in everything(part):
            for value in entity.facts.values():
                assert not isinstance(value, Entity) or HOME.province.get(id(value), name) == name
    for one, other in combinations(parts, 2):
        for kind in ("person", "town", "river", "country", "club"):
            assert not rendering.names(one, [kind]) & rendering.names(other, [kind])


def test_splits_are_apart() -> None:
    given = [name for split in ("train", "dev", "test") for name in recipe.PROVINCE[split]]
    assert sorted(given) == sorted(PROVINCES)


def test_shares_of_new_names() -> None:
    """About 15% of a world's coined names are its own: the others are of the stock that all worlds share."""
    stock = world.stock()
    drawn = [str(getattr(e, "name", e)).split()[-1] for seed in range(4) for e in world.build(seed).entities["town"]]
    new = [name not in stock["town"] for name in drawn]
    assert 0.10 < sum(new) / len(new) < 0.20
    towns = [rendering.names(world.build(seed), ["town"]) for seed in (0, 1)]
    assert 0.1 < len(towns[0] & towns[1]) / len(towns[0]) < 0.9


def test_facts_differ_between_worlds() -> None:
    """Who has a name that two worlds share was born somewhere else."""
    births = [{p.name: p.entity("birthplace").name for p in world.build(seed).entities["person"]} for seed in range(8)]
    pairs = [(one[name], other[name]) for one, other in combinations(births, 2) for name in one.keys() & other.keys()]
    assert len(pairs) > 3
    assert sum(a == b for a, b in pairs) <= 0.2 * len(pairs)


def test_names_are_no_words_of_the_lexicon() -> None:
    words = {word.lower() for table in lexicon.CLASSES.values() for word in table}
    assert not {name.lower() for names in world.stock().values() for name in names} & words


def test_some_names_are_of_two_kinds() -> None:
    """A name alone does not tell its kind."""
    shared = [name for name, found in rendering.by_name_of().items() if len({e.kind for e in found}) > 1]
    assert len(shared) >= 10


# The program


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_the_same_in_other_processes_and_without_torch(every: int, tmp_path: Path) -> None:
    """Every byte that is written is independent of the hash seed."""
    program = (
        "import sys; from pathlib import Path; from ptune import demo\n"
        f"for task in demo.tasks()[::{every}]: demo.write(task, Path(sys.argv[1]) / task, noise=0.2)\n"
        "print(*demo.text(3, 500), sep='\\n')\n"
        "assert not {'torch', 'transformers', 'numpy', 'tokenizers'} & set(sys.modules)\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / salt)],
            check=True,
            text=True,
            capture_output=True,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for salt in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    one, two = (
        {path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()}
        for base in (tmp_path / "1", tmp_path / "2")
    )
    assert one
    assert one == two


@pytest.mark.parametrize("path", sorted(Path(demo.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_only_the_standard_library_is_imported(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"ptune"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {name.name.split(".")[0] for name in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert str(node.module).split(".")[0] in allowed
