"""AX-b: what follows from what, by phenomenon: the broad diagnostics of SuperGLUE, for models that know RTE.

Each pair of sentences is there in both directions. To add a phenomenon, add a function to `PHENOMENA` that says two
sentences, whether the second follows from the first, and whether the first follows from the second.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

from ptune.demo import claims, lexicon, pronouns
from ptune.demo.claims import Claim
from ptune.demo.grammar import Passage, plain, prose
from ptune.demo.lexicon import VERBS
from ptune.demo.recipe import Recipe, choose
from ptune.demo.roles import GIVING
from ptune.demo.rte import LABELS, Example, write_split
from ptune.demo.world import Entity, World

SIZES: Mapping[str, int] = {"test": 500}


class Pair(NamedTuple):
    """Two sentences; does the second follow from the first, and the first from the second?"""

    first: str
    second: str
    follows: bool
    back: bool


def write(recipe: Recipe, folder: Path) -> None:
    """Write `AX-b/AX-b.jsonl`, with labels as in the original."""
    rows = examples(recipe, recipe.random("test"))
    write_split(folder / "AX-b" / "AX-b.jsonl", rows, labeled=True)


def examples(recipe: Recipe, random: Random) -> Iterator[Example]:
    """The phenomena in turn, each pair in both directions with the same noise."""
    world, count, noise = recipe.part("test"), recipe.sizes["test"], recipe.random("test noise")
    for number in range(0, count, 2):
        (group, name), make = list(PHENOMENA.items())[number // 2 % len(PHENOMENA)]
        pair = make(world, random)
        one, other = (prose(recipe.noisy(plain(text), noise)) for text in (pair.first, pair.second))
        directions = ((one, other, pair.follows), (other, one, pair.back))
        for first, second, follows in directions[: count - number]:
            yield {"sentence1": first, "sentence2": second, group: name, "label": LABELS[not follows]}


def _claim(world: World, random: Random, wanted: Callable[[Claim], object] = lambda claim: True) -> Claim:
    """A claim of this sort that is not negated."""
    while not wanted(claim := claims.draw(world, random)):
        pass
    return claim


def _two(world: World, random: Random) -> tuple[str, str]:
    """Two claims that say no time as clauses in running text, without the full stop."""
    first, second = (replace(_claim(world, random), time="") for _ in range(2))
    return claims.statement(world, random, first)[:-1], claims.statement(world, random, second)[:-1]


def _inner(clause: str) -> str:
    """A clause for the middle of a sentence."""
    word, _, others = clause.partition(" ")
    return f"{word.lower() if word in ('The', 'It', 'A', 'An', 'In', 'On') else word} {others}"


def _said(world: World, random: Random, claim: Claim, template: str) -> str:
    """A template of the subject, the object, and the place and time as the claim has them."""
    place, time = ("in {place}" if claim.place else ""), claim.time
    passage = claims.bind(Passage(world, random), claim)
    return prose(passage.words(template.replace("WHERE", place).replace("WHEN", time)))


def _framed(world: World, random: Random, claim: Claim, verdict: str) -> str:
    speaker = claims.argument(world, random, "person", claim.subject)
    frames = [frame for frame in claims.FRAMES[verdict] if frame.endswith(" .")]
    frame = random.choice(frames).replace("CLAIM", claims.clause(claim, random, front=False))
    return prose(claims.bind(Passage(world, random, {"speaker": speaker}), claim).words(frame))


def negation(world: World, random: Random) -> Pair:
    claim = _claim(world, random)
    other = replace(claim, negated=True)
    return Pair(claims.statement(world, random, claim), claims.statement(world, random, other), False, False)


def double_negation(world: World, random: Random) -> Pair:
    claim = _claim(world, random)
    second = _inner(claims.statement(world, random, replace(claim, negated=True)))
    return Pair(claims.statement(world, random, claim), f"It is not true that {second}", True, True)


def conjunction(world: World, random: Random) -> Pair:
    first, second = _two(world, random)
    return Pair(f"{first} and {_inner(second)}.", f"{random.choice((first, second))}.", True, False)


def disjunction(world: World, random: Random) -> Pair:
    first, second = _two(world, random)
    return Pair(f"{random.choice((first, second))}.", f"Either {_inner(first)} or {_inner(second)}.", True, False)


def conditional(world: World, random: Random) -> Pair:
    """Modus ponens, or the condition left open."""
    first, second = _two(world, random)
    factual = random.random() < 0.5
    rule = f"If {_inner(first)}, then {_inner(second)}."
    return Pair(f"{rule} {first if factual else _two(world, random)[0]}.", f"{second}.", factual, False)


def temporal(world: World, random: Random) -> Pair:
    first, second = _two(world, random)
    same = random.random() < 0.5
    ends = (second, first) if same else (first, second)
    return Pair(f"{first} before {_inner(second)}.", f"{ends[0]} after {_inner(ends[1])}.", same, same)


def number(world: World, random: Random) -> Pair:
    count, least = random.randint(4, 60), random.randint(2, 70)
    noun = lexicon.plural(random.choice(lexicon.NOUNS[random.choice(("animal", "tool"))]))
    person = random.choice(world.entities["person"]).name
    verb = random.choice(("bought", "counted", "sold", "saw"))
    follows = count > least
    return Pair(f"{person} {verb} {count} {noun}.", f"{person} {verb} more than {least} {noun}.", follows, False)


def universal(world: World, random: Random) -> Pair:
    """All of a trade, and one who has it or who has another."""
    claim = _claim(world, random, lambda claim: isinstance(claim.subject, Entity) and claim.subject.kind == "person")
    assert isinstance(claim.subject, Entity)
    job, follows = str(claim.subject.facts["job"]), random.random() < 0.5
    claimed_job = job if follows else random.choice([other for other in lexicon.CLASSES["job"] if other != job])
    rule = _said(world, random, claim, f"every {claimed_job} {claim.verb.past} {{object}} .")
    one = _said(world, random, claim, "{subject} is a {subject.job} .")
    return Pair(
        f"{rule} {one}", _said(world, random, claim, f"{{subject}} {claim.verb.past} {{object}} ."), follows, False
    )


def existential(world: World, random: Random) -> Pair:
    claim = _claim(world, random, lambda claim: isinstance(claim.subject, Entity) and claim.subject.kind == "person")
    somebody = _said(world, random, claim, f"somebody {claim.verb.past} {{object}} WHERE WHEN .")
    return Pair(claims.statement(world, random, claim), somebody, True, False)


def lexical(world: World, random: Random) -> Pair:
    """A synonym, a weaker verb or noun, or an opposite."""
    rewrites = ((claims.synonym, True, True), (claims.weaker, True, False), (claims.opposite, False, False))
    rewritten: list[tuple[Claim, bool, bool]] = []
    while not rewritten:
        claim = claims.draw(world, random)
        rewritten = [
            (other, follows, back) for rewrite, follows, back in rewrites if (other := rewrite(claim, world, random))
        ]
    other, follows, back = random.choice(rewritten)
    return Pair(claims.statement(world, random, claim), claims.statement(world, random, other), follows, back)


def symmetry(world: World, random: Random) -> Pair:
    verb = random.choice([verb for verb in VERBS.values() if verb.symmetric])
    claim = claims.draw(world, random, verb)
    other = replace(claim, subject=claim.object, object=claim.subject)
    return Pair(claims.statement(world, random, claim), claims.statement(world, random, other), True, True)


def factivity(world: World, random: Random) -> Pair:
    claim, verdict = _claim(world, random), random.choice(("true", "true", "open", "false"))
    framed, plain = _framed(world, random, claim, verdict), claims.statement(world, random, claim)
    return Pair(framed, plain, verdict == "true", False)


def core_arguments(world: World, random: Random) -> Pair:
    claim = _claim(world, random, lambda claim: not claim.verb.symmetric and claims.swapped(claim, world, random))
    other = claims.swapped(claim, world, random) or claim
    return Pair(claims.statement(world, random, claim), claims.statement(world, random, other), False, False)


def voice(world: World, random: Random) -> Pair:
    """The same in the passive, or the passive of the reverse."""
    claim, same = _claim(world, random), random.random() < 0.6
    reverse = None if same else claims.swapped(claim, world, random)
    follows = reverse is None or claim.verb.symmetric
    active = _said(world, random, claim, f"{{subject}} {claim.verb.past} {{object}} WHERE WHEN .")
    passive = f"{{object}} was {claim.verb.participle} by {{subject}} WHERE WHEN ."
    return Pair(active, _said(world, random, reverse or claim, passive), follows, follows)


def prepositional(world: World, random: Random) -> Pair:
    """Without the place, or with another one."""
    claim, dropped = _claim(world, random, lambda claim: claim.place), random.random() < 0.5
    place = claims.argument(world, random, "town", claim.place or "")
    other = replace(claim, place=None if dropped or not isinstance(place, Entity) else place)
    return Pair(claims.statement(world, random, claim), claims.statement(world, random, other), dropped, False)


def relative_clause(world: World, random: Random) -> Pair:
    """One of two things that the subject did, or ascribed to the object of the other."""
    claim = _claim(world, random, lambda claim: isinstance(claim.subject, Entity) and claim.subject.kind == "person")
    assert isinstance(claim.subject, Entity)
    other, follows = claims.draw(world, random, subject=claim.subject), random.random() < 0.6
    passage = claims.bind(Passage(world, random, {"thing": other.object}), claim)
    wrong = claims.argument(world, random, "person", claim.subject)
    first = f"{{subject}} , who {claim.verb.past} {{object}} , {other.verb.past} {{thing}} ."
    pair = prose(passage.words(first))
    passage.bound["actor"] = claim.subject if follows else wrong
    return Pair(pair, prose(passage.words(f"{{actor}} {other.verb.past} {{thing}} .")), follows, False)


def dative(world: World, random: Random) -> Pair:
    """Who gave what to whom, in the other order of words or to the giver."""
    (_, past, _), same = random.choice(GIVING), random.random() < 0.6
    passage = Passage(world, random)
    first = prose(passage.words(f"{{person}} {past} {{person2}} the {{tool}} ."))
    ends = ("person", "person2") if same else ("person2", "person")
    second = prose(passage.words(f"{{{ends[0]}}} {past} the {{tool}} to {{{ends[1]}}} ."))
    return Pair(first, second, same, same)


def anaphora(world: World, random: Random) -> Pair:
    """What a pronoun means, or the other one of the two people."""
    templates = {pronouns.template(schema): schema for schema in pronouns.SCHEMAS}
    template = choose(tuple(templates), "test", random)
    schema, passage, follows = templates[template], pronouns.bound(world, random), random.random() < 0.5
    meant = schema if follows else schema._replace(means=3 - schema.means)
    return Pair(prose(passage.words(template)), prose(passage.words(pronouns.resolved(meant))), follows, False)


def world_knowledge(world: World, random: Random) -> Pair:
    """Who comes from a town comes from the country that the town lies in."""
    passage, follows = Passage(world, random), random.random() < 0.5
    person = passage.bound["person"] = random.choice(world.entities["person"])
    country = person.entity("country")
    passage.bound["value"] = country if follows else claims.argument(world, random, "country", country)
    first = prose(passage.words("{person} was born in {person.birthplace} ."))
    return Pair(first, prose(passage.words("{person} comes from {value} .")), follows, False)


PHENOMENA: Mapping[tuple[str, str], Callable[[World, Random], Pair]] = {
    ("logic", "Negation"): negation,
    ("logic", "Double negation"): double_negation,
    ("logic", "Conjunction"): conjunction,
    ("logic", "Disjunction"): disjunction,
    ("logic", "Conditionals"): conditional,
    ("logic", "Temporal"): temporal,
    ("logic", "Intervals/Numbers"): number,
    ("logic", "Universal"): universal,
    ("logic", "Existential"): existential,
    ("lexical-semantics", "Lexical entailment"): lexical,
    ("lexical-semantics", "Symmetry/Collectivity"): symmetry,
    ("lexical-semantics", "Factivity"): factivity,
    ("predicate-argument-structure", "Core args"): core_arguments,
    ("predicate-argument-structure", "Active/Passive"): voice,
    ("predicate-argument-structure", "Prepositional phrases"): prepositional,
    ("predicate-argument-structure", "Relative clauses"): relative_clause,
    ("predicate-argument-structure", "Datives"): dative,
    ("predicate-argument-structure", "Anaphora/Coreference"): anaphora,
    ("knowledge", "World knowledge"): world_knowledge,
}
