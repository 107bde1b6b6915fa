"""The grammar renders templates: slots, choices, inflection, marks and layout."""

from random import Random

import pytest

from ptune.demo import grammar, lexicon, opinions, recipe, relations, roles, templates, world
from ptune.demo.grammar import Mark, Passage, Word, laid_out, prose, span

HOME = world.build(0)
PERSON = HOME.entities["person"][0]


def passage(seed: int = 0, **bound: grammar.Value) -> Passage:
    return Passage(HOME, Random(seed), bound)


def said(template: str, seed: int = 0, **bound: grammar.Value) -> str:
    return prose(passage(seed, **bound).words(template))


# Slots


def test_slots_keep_what_they_are_bound_to() -> None:
    """A slot is one thing in all sentences of a passage; another number is another thing."""
    told = passage()
    first, again = (prose(told.words("{person} saw {town} .")) for _ in range(2))
    assert first == again
    for seed in range(50):
        one, two = said("{town} , {town2}", seed).split(", ")
        assert one != two


def test_slots_follow_facts() -> None:
    assert said("{person}", person=PERSON) == PERSON.name
    assert said("{person.birthplace}", person=PERSON) == PERSON.entity("birthplace").name
    assert said("{person.birthplace.country}", person=PERSON) == PERSON.entity("country").name
    assert said("ask {person.him} .", person=PERSON) == f"Ask {PERSON.facts['him']}."


@pytest.mark.parametrize(
    ("template", "bound", "wanted"),
    [
        ("the {animal.plural}", "goose", "The geese"),
        ("the {animal.plural}", "dog", "The dogs"),
        ("the {animal.hypernym}", "dog", "The animal"),
        ("so {animal.opposite}", "old", "So new"),
        ("so {animal.opposite}", "new", "So old"),
        ("a {animal}", "owl", "An owl"),
        ("an {animal}", "dog", "A dog"),
    ],
)
def test_inflection(template: str, bound: str, wanted: str) -> None:
    assert said(template, animal=bound) == wanted


@pytest.mark.parametrize(
    "kind", [*world.KINDS, *lexicon.CLASSES, "year", "digit", "number", "score", "sets", "isodate"]
)
def test_every_kind_and_class_is_a_slot(kind: str) -> None:
    words = passage().words(f"see {{{kind}}}")
    assert len(words) > 1
    assert all((word.kind == kind) == (kind in world.KINDS) for word in words[1:])
    assert [word.opens for word in words[1:]] == [kind in world.KINDS] + [False] * (len(words) - 2)


def test_people_are_named_again_by_last_name_or_pronoun() -> None:
    told = Passage(HOME, Random(1), {"person": PERSON}, again=1.0)
    first, *later = (prose(told.words("{person} slept .")) for _ in range(40))
    assert first == f"{PERSON.name} slept."
    last, pronoun = PERSON.entity("last").name, str(PERSON.facts["he"]).capitalize()
    assert set(later) == {f"{last} slept.", f"{pronoun} slept."}


@pytest.mark.parametrize("template", ["{unheard}", "{animal.size}", "{person.size}"])
def test_unknown_slots(template: str) -> None:
    with pytest.raises(KeyError, match=r"unheard|size"):
        passage().words(template)


# Choices


def test_choices() -> None:
    assert {said("we (ran|slept|) .", seed) for seed in range(40)} == {"We ran.", "We slept.", "We."}
    assert {said("(a|b (c|d))", seed) for seed in range(60)} == {"A", "B c", "B d"}
    assert said("f(x) and (y)").count("(") == 2, "without a bar it is text"


@pytest.mark.parametrize("name", templates.PHRASES)
def test_phrases_are_put_in(name: str) -> None:
    assert {passage(seed).choose(f"{{{name}}}") for seed in range(60)}.isdisjoint({f"{{{name}}}"})


def test_every_template_can_be_rendered() -> None:
    """No template has an unknown slot, an open mark or a choice left."""
    groups = [*templates.REGISTERS.values(), templates.TALK, templates.POSTS, templates.DESK, templates.PUBLIC]
    groups += [
        opinions.PRAISE,
        opinions.BLAME,
        *(lines for section in templates.SECTIONS.values() for lines in section),
    ]
    for index, line in enumerate(line for group in groups for line in group):
        text = said(line, index)
        assert text
        assert not set("{}|") & set(text), line


@pytest.mark.parametrize("relation", relations.RELATIONS, ids=lambda relation: f"{relation.kind}.{relation.fact}")
def test_relations_name_thing_and_value(relation: relations.Relation) -> None:
    for lines in (relation.statements, relation.checks):
        assert len(set(lines)) == len(lines) >= 4
        assert all(f"{{{relation.kind}" in line and line.count("{value}") == 1 for line in lines)
    assert all("{value}" not in line and f"{{{relation.kind}}}" in line for line in relation.questions)
    assert len(set(relation.questions)) == len(relation.questions) >= 4


# Marks


def test_marks() -> None:
    """Marks may stand inside one another, and each knows its first word."""
    words = passage().words("<a <b x y > z > w")
    assert [word.marks for word in words] == [
        (Mark("b", True), Mark("a", True)),
        (Mark("b", False), Mark("a", False)),
        (Mark("a", False),),
        (),
    ]
    assert span(words, "a") == (0, 3)
    assert span(words, "b") == (0, 2)
    with pytest.raises(ValueError, match="no word is marked 'c'"):
        span(words, "c")


def test_every_annotated_sentence_has_its_predicates() -> None:
    """Every predicate has one verb of one word, and arguments that are no part of another's span."""
    for template in roles.SENTENCES:
        told = passage(base="give", past="gave", participle="given")
        words = told.words(template.replace("CLAIM", "<1.A0 {person4} > <1.V left > <1.A1 {town} >"))
        found = roles.predicates(words)
        assert found, template
        for place, tags in found.items():
            assert tags[place] == "B-V"
            assert all(tag[0] != "I" or before[2:] == tag[2:] for before, tag in zip(["O", *tags], tags, strict=False))


# Layout


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("we left , and came .", "we left, and came."),
        ('he said : " no , " and left .', 'he said: "no," and left.'),
        ("fog ( or snow ) in may", "fog (or snow) in may"),
        ("the dog 's food", "the dog's food"),
    ],
)
def test_layout(tokens: str, text: str) -> None:
    parts = tokens.split()
    made, starts = laid_out(parts)
    assert made == text
    assert [made[start : start + len(part)] for start, part in zip(starts, parts, strict=True)] == parts


def test_capitals() -> None:
    assert said('so we left . " no , " i said .') == 'So we left. "No," I said.'


# What a recipe does to sentences


def test_noise() -> None:
    """With no noise nothing changes; with all noise most sentences do, word by word."""
    words = passage().words("the {adj} {animal} of {person} slept in {town} on {weekday} .")
    quiet = recipe.Recipe("any", HOME, {})
    loud = recipe.Recipe("any", HOME, {}, difficulty=recipe.Difficulty(noise=1.0))
    assert quiet.noisy(words, Random(0)) == words
    made = [loud.noisy(words, Random(seed)) for seed in range(50)]
    assert sum(one != words for one in made) > 25
    for one in made:
        assert [word._replace(text="") for word in one] == [word._replace(text="") for word in words]
        assert sum(a != b for a, b in zip(one, words, strict=True)) <= 2
    half = recipe.Recipe("any", HOME, {}, difficulty=recipe.Difficulty(noise=0.5))
    changed = sum(half.noisy(words, Random(seed)) != words for seed in range(400))
    assert changed < 0.65 * sum(loud.noisy(words, Random(seed)) != words for seed in range(400))


def test_choose() -> None:
    """Training never gets every fourth line; dev and test get mostly those, and all others now and then."""
    lines = [str(number) for number in range(12)]
    random = Random(0)
    got = {split: [recipe.choose(lines, split, random) for _ in range(2000)] for split in ("train", "dev", "test")}
    kept = {"3", "7", "11"}
    assert set(got["train"]) == set(lines) - kept
    for split in ("dev", "test"):
        assert set(got[split]) == set(lines)
        assert 0.6 < sum(line in kept for line in got[split]) / 2000 < 0.8
    assert {recipe.choose(lines, None, random) for _ in range(300)} == set(lines)
    assert recipe.choose(["one"], "train", random) == "one"


def test_words_are_tokens() -> None:
    assert grammar.plain("the old dog") == [Word("the", "DT"), Word("old", "JJ"), Word("dog", "NN")]
