"""CoNLL-04: entities and who lives, works, lies or kills where, whom and for whom (Roth and Yih 2004).

In both forms that the corpus is passed on in: columns, and json. `RELATIONS` of the world that mean one of the five
are told in its statements; to add a sentence that tells of one or more, add a line to `SENTENCES`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ptune.demo import relations, templates
from ptune.demo.grammar import Passage, Word, span
from ptune.demo.recipe import Recipe, choose
from ptune.demo.world import World

SIZES: Mapping[str, int] = {"train": 900, "dev": 240, "test": 280}
ENTITIES = {
    "person": "Peop",
    "town": "Loc",
    "country": "Loc",
    "river": "Loc",
    "facility": "Loc",
    "company": "Org",
    "club": "Org",
    "agency": "Org",
    "band": "Org",
    "product": "Other",
    "work": "Other",
    "event": "Other",
    "demonym": "Other",
    "law": "Other",
    "language": "Other",
}
VERBOSE = {
    "Loc": "Location",
    "Org": "Organization",
    "Peop": "People",
    "Other": "Other",
    "Work_For": "Work for",
    "Kill": "Kill",
    "OrgBased_In": "Organization based in",
    "Live_In": "Live in",
    "Located_In": "Located in",
}
SHORT = {"Work_For": "Work", "Kill": "Kill", "OrgBased_In": "OrgBI", "Live_In": "Live", "Located_In": "LocIn"}

# Which statement of the world is one of the five; with "-" its value is the head.
STATED = {
    ("person", "birthplace"): "Live_In",
    ("person", "home"): "Live_In",
    ("person", "employer"): "Work_For",
    ("company", "seat"): "OrgBased_In",
    ("club", "seat"): "OrgBased_In",
    ("band", "seat"): "OrgBased_In",
    ("company", "chief"): "-Work_For",
    ("club", "chief"): "-Work_For",
    ("agency", "chief"): "-Work_For",
    ("town", "country"): "Located_In",
    ("country", "capital"): "-Located_In",
}


def _sentences(text: str) -> dict[str, str]:
    """Lines of `types | template`: the types of each template."""
    lines = (line.split("|", 1) for line in text.strip().splitlines())
    return {template.strip(): types.strip() for types, template in lines}


# A template and its relations' types: the first leads from `h1`, its head, to `t1`, its tail, the second from `h2`.
SENTENCES: Mapping[str, str] = _sentences("""
    Kill | <h1 {person} > killed <t1 {person2} > in {year} .
    Kill | <t1 {person} > was killed by <h1 {person2} > {when} .
    Kill | <h1 {person} > shot <t1 {person2} > , a {person2.job} .
    Kill | the {job} <t1 {person} > was shot by <h1 {person2} > near {river} .
    Kill | <h1 {person} > is said to have killed <t1 {person2} > with a {tool} .
    Kill | it was <h1 {person} > who murdered <t1 {person2} > on {weekday} .
    Kill | <t1 {person} > died in {year} after <h1 {person2} > shot {person.him} in the {room} .
    Kill | the judge asked <h1 {person} > why {person.he} had murdered <t1 {person2} > .
    Kill Live_In | <h1 {person} > shot <t1 <h2 {person2} > > in the house of the {person2.job} in <t2 {person2.home} > .
    Kill Live_In | <h1 <h2 {person} > > of <t2 {person.home} > killed <t1 {person2} > with a {tool} .
    Kill Work_For | <t1 <h2 {person} > > of <t2 {person.employer} > was murdered by <h1 {person2} > {when} .
    Live_In Located_In | <h1 {person} > lives in <t1 <h2 {person.home} > > , <t2 {person.home.country} > .
    Live_In Located_In | <h1 {person} > of <t1 <h2 {person.home} > > , <t2 {person.home.country} > , was {adj} .
    Live_In Work_For | <h1 <h2 {person} > > , who lives in <t1 {person.home} > , works for <t2 {person.employer} > .
    Live_In Live_In | <h1 <h2 {person} > > was born in <t1 {person.birthplace} > and lives in <t2 {person.home} > .
    Live_In | in <t1 {person.home} > people know <h1 {person} > as a {person.job} .
    Live_In | <h1 {person} > , a {person.job} from <t1 {person.birthplace} > , {said} that the {food} was {adj} .
    Work_For | <h1 {company.chief} > , the head of <t1 {company} > , {said} the {stuff} was {adj} .
    Work_For OrgBased_In | <h1 {company.chief} > runs <t1 <h2 {company} > > in <t2 {company.seat} > .
    Work_For | <h1 {person} > , a {person.job} at <t1 {person.employer} > , {said} there was no {food} .
    Work_For Work_For | <h1 {club.chief} > coaches <t1 {club} > , and <h2 {club2.chief} > coaches <t2 {club2} > .
    Work_For | <t1 {agency} > sent <h1 {agency.chief} > to {town} {when} .
    OrgBased_In Located_In | <h1 {company} > has its seat in <t1 <h2 {company.seat} > > , <t2 {company.seat.country} > .
    OrgBased_In | the <t1 {agency.seat} > office of <h1 {agency} > was closed {when} .
    OrgBased_In Located_In | <h1 {band} > come from <t1 <h2 {band.seat} > > in <t2 {band.seat.country} > .
    OrgBased_In OrgBased_In | <h1 {company} > of <t1 {company.seat} > sued <h2 {company2} > of <t2 {company2.seat} > .
    OrgBased_In | the {stuff} mills of <h1 {company} > are in <t1 {company.seat} > .
    Located_In | {person} left for <h1 {town} > , <t1 {town.country} > , {when} .
    Located_In Located_In | from <h1 {town} > , <t1 {town.country} > , to <h2 {town2} > , <t2 {town2.country} > .
    Located_In | <h1 {river} > is in <t1 {river.country} > , north of a {adj} {building} .
    Located_In | the <h1 {facility} > stands in <t1 {facility.place} > .
    Located_In | it rained in <h1 {town} > , <t1 {town.country} > , {when} .
""")  # fmt: skip

Json = dict[str, Any]


class Relation(NamedTuple):
    """Its type, and the words of its head and its tail, each from the first to before the last."""

    type: str
    head: tuple[int, int]
    tail: tuple[int, int]


class Document(NamedTuple):
    """Words with their relations."""

    words: list[Word]
    relations: list[Relation]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `{train,dev,test}.txt` in columns, the same as `conll04_{train,dev,test}.json`, and its types."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for split in recipe.sizes:
        lines: list[str] = []
        rows: list[Json] = []
        for document in documents(recipe, split, recipe.random(split)):
            lines += [f"#doc {number}", *columns(document)]
            rows.append({**as_json(document), "orig_id": number})
            number += 1
        (folder / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (folder / f"conll04_{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "conll04_types.json").write_text(json.dumps(types()), encoding="utf-8")


def types() -> Json:
    """The types of entities and relations, with their names for tables."""
    return {
        "entities": {name: {"short": name, "verbose": VERBOSE[name]} for name in dict.fromkeys(ENTITIES.values())},
        "relations": {
            name: {"short": short, "verbose": VERBOSE[name], "symmetric": False} for name, short in SHORT.items()
        },
    }


def documents(recipe: Recipe, split: str, random: Random) -> Iterator[Document]:
    """One or two sentences with relations, or one beside another without any."""
    part, noise = recipe.part(split), recipe.random(f"{split} noise")
    for _ in range(recipe.sizes[split]):
        world = part if split == "train" or random.random() < 0.9 else recipe.world
        parts = [_related(world, split, random)]
        draw = random.random()
        if draw < 0.2:
            parts.append(_related(world, split, random))
        elif draw < 0.5:
            lines = random.choice((templates.REGISTERS["daily"], templates.PUBLIC))
            parts.insert(random.randint(0, 1), Document(Passage(world, random).words(choose(lines, split, random)), []))
        yield _joined([Document(recipe.noisy(words, noise), related) for words, related in parts])


def _related(world: World, split: str, random: Random) -> Document:
    """A sentence that tells of relations: half of them one of the world's statements."""
    passage = Passage(world, random)
    if random.random() < 0.5:
        (kind, fact), name = random.choice(tuple(STATED.items()))
        relation = next(one for one in relations.ABOUT[kind] if one.fact == fact)
        about = random.choice(world.entities[kind])
        passage.bound.update({kind: about, "value": about.facts[fact]})
        ends = ("h1", "t1") if name[0] != "-" else ("t1", "h1")
        template = choose(relation.statements, split, random)
        for slot, end in zip((kind, "value"), ends, strict=True):
            template = template.replace(f"{{{slot}}}", f"<{end} {{{slot}}} >", 1)
        names = name.lstrip("-")
    else:
        template = choose(tuple(SENTENCES), split, random)
        names = SENTENCES[template]
    words = passage.words(template)
    links = [Relation(name, span(words, f"h{i}"), span(words, f"t{i}")) for i, name in enumerate(names.split(), 1)]
    return Document(words, [relation for relation in links if relation.head != relation.tail])


def _joined(parts: list[Document]) -> Document:
    words: list[Word] = []
    joined: list[Relation] = []
    for part in parts:
        shift = len(words)
        joined += [
            Relation(name, (head[0] + shift, head[1] + shift), (tail[0] + shift, tail[1] + shift))
            for name, head, tail in part.relations
        ]
        words += part.words
    return Document(words, joined)


def columns(document: Document) -> Iterator[str]:
    """Number, word, BIO tag, and the relations whose head ends here, with the last words of their tails."""
    for index, word in enumerate(document.words):
        kind = ENTITIES.get(word.kind or "")
        tag = f"{'B' if word.opens else 'I'}-{kind}" if kind else "O"
        headed = [relation for relation in document.relations if relation.head[1] == index + 1]
        names = [relation.type for relation in headed] or ["N"]
        tails = [relation.tail[1] - 1 for relation in headed] or [index]
        yield f"{index}\t{word.text}\t{tag}\t{names}\t{tails}"


def as_json(document: Document) -> Json:
    """Tokens, BILOU tags, and relations between the numbers of entities."""
    words = document.words
    starts = [index for index, word in enumerate(words) if word.opens and word.kind in ENTITIES]
    tags = []
    for index, word in enumerate(words):
        kind = ENTITIES.get(word.kind or "")
        ends = index + 1 == len(words) or words[index + 1].kind is None or words[index + 1].opens
        letter = ("U" if ends else "B") if word.opens else ("L" if ends else "I")
        tags.append(f"{letter}-{kind}" if kind else "O")
    records = [
        {"head": starts.index(relation.head[0]), "tail": starts.index(relation.tail[0]), "type": relation.type}
        for relation in document.relations
    ]
    return {"tokens": [word.text for word in words], "tags": tags, "relations": records}
