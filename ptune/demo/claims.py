"""Claims are who did what to whom, where and when; this module draws, renders, restates and falsifies them.

`KEEPS` are the rewrites under which a true claim stays true, `BREAKS` those that make a claim that
does not follow; `FRAMES` are the sentences that embed a claim, with what they say about its truth.
Add a function or a line to grow.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from ptune.demo import lexicon
from ptune.demo.grammar import Passage, Value, Word, prose
from ptune.demo.lexicon import VERBS, Verb
from ptune.demo.recipe import choose
from ptune.demo.world import Entity, World


@dataclass(frozen=True)
class Claim:
    """A verb with its arguments, perhaps a place and a time, perhaps negated."""

    verb: Verb
    subject: Value
    object: Value
    place: Entity | None = None
    time: str = ""
    negated: bool = False


def draw(world: World, random: Random, verb: Verb | None = None, subject: Entity | None = None) -> Claim:
    """A claim that the verb's roles allow, with a place and a time more often than not."""
    verbs = [candidate for candidate in VERBS.values() if subject is None or subject.kind in candidate.subjects]
    verb = verb or random.choice(verbs)
    actor = subject or random.choice(world.entities[random.choice(verb.subjects)])
    patient = argument(world, random, random.choice(verb.objects), actor)
    place = random.choice(world.entities["town"]) if random.random() < 0.6 else None
    return Claim(verb, actor, patient, place if place is not patient else None, _time(random))


def argument(world: World, random: Random, kind: str, other: Value) -> Value:
    """Something of this kind other than `other`: an entity, or a noun with an adjective."""
    if kind in world.entities:
        while (entity := random.choice(world.entities[kind])) is other:
            pass
        return entity
    return f"the {random.choice(lexicon.CLASSES['adj'])} {random.choice(lexicon.CLASSES[kind])}"


def _time(random: Random) -> str:
    draw = random.random()
    if draw < 0.35:
        return f"in {random.randint(1880, 2019)}"
    if draw < 0.65:
        kind = random.choice(("month", "weekday"))
        return ("in " if kind == "month" else "on ") + random.choice(lexicon.CLASSES[kind])
    return ""


def clause(claim: Claim, random: Random, *, aside: bool = False, front: bool = True, number: int = 0) -> str:
    """A template for the claim in one of its shapes, without the full stop; `bind` says what its slots mean.

    `aside` adds the job of a person that is the subject or the object; `front` allows the time to come first. The
    predicate and its arguments are marked with their PropBank roles, `0.V`, `0.A0` and so on for predicate `number`.
    """
    verb, shape = claim.verb, random.choice(("active", "active", "passive", "passive", "converse", "cleft"))
    subject, obj = (
        _role(number, role, _argument(name, value, random if aside else None))
        for role, name, value in (("A0", "subject", claim.subject), ("A1", "object", claim.object))
    )
    past, participle = _role(number, "V", verb.past), _role(number, "V", verb.participle)
    if claim.negated:
        no, never = _role(number, "AM-NEG", "not"), _role(number, "AM-NEG", "never")
        body = random.choice(
            (
                f"{subject} did {no} {_role(number, 'V', verb.base)} {obj}",
                f"{obj} was {no} {participle} {_role(number, 'A0', f'by {_bare(subject)}')}",
                f"{subject} {never} {past} {obj}",
            )
        )
    elif shape == "converse" and verb.converse:
        body = f"{_bare(obj)} {verb.converse} {_bare(subject)}"
        number = -1  # another predicate, whose roles nobody listed
    elif shape == "passive":
        body = f"{obj} was {participle} {_role(number, 'A0', f'by {_bare(subject)}')}"
    elif shape == "cleft":
        agent = _role(number, "R-A0", "who")
        body = f"it was {_role(number, 'A0', '{subject}')} {agent} {past} {obj}"
    else:
        body = f"{subject} {past} {obj}"
    place = " " + _role(number, "AM-LOC", "in {place}") if claim.place else ""
    time = _role(number, "AM-TMP", claim.time) if claim.time else ""
    if time and front and random.random() < 0.3:
        return f"{time} , {body}{place}"
    return f"{body}{place} {time}".strip()


def question(claim: Claim, random: Random) -> str:
    """A template that asks whether the claim holds."""
    place, time = (" in {place}" if claim.place else ""), (f" {claim.time}" if claim.time else "")
    if random.random() < 0.5:
        return f"did {{subject}} {claim.verb.base} {{object}}{place}{time} ?"
    return f"was {{object}} {claim.verb.participle} by {{subject}}{place}{time} ?"


def _role(number: int, role: str, words: str) -> str:
    return words if number < 0 else f"<{number}.{role} {words} >"


def _bare(marked: str) -> str:
    """A marked argument without its mark."""
    return marked.split(" ", 1)[1].rsplit(" ", 1)[0] if marked.startswith("<") else marked


def _argument(name: str, value: Value, random: Random | None) -> str:
    if random and isinstance(value, Entity) and value.kind == "person" and random.random() < 0.3:
        return random.choice(
            (
                f"{{{name}}} , a {{{name}.job}} ,",
                f"the {{{name}.job}} {{{name}}}",
                f"{{{name}}} , a {{{name}.job}} from {{{name}.birthplace}} ,",
            )
        )
    return f"{{{name}}}"


def bind(passage: Passage, claim: Claim) -> Passage:
    """The passage with the slots of this claim's clause bound."""
    passage.bound.update(subject=claim.subject, object=claim.object)
    if claim.place:
        passage.bound["place"] = claim.place
    return passage


def sentence(passage: Passage, claim: Claim, *, aside: bool = False, opening: str = "") -> list[Word]:
    """The claim as a sentence, after an opening such as "so ,"."""
    return bind(passage, claim).words(f"{opening} {clause(claim, passage.random, aside=aside)} .")


def framed(passage: Passage, claim: Claim, verdict: str, split: str | None = None) -> list[Word]:
    """The claim inside a frame that makes it true, false or leaves it open; a split has its own share of frames."""
    frame = choose(FRAMES[verdict], split, passage.random)
    return bind(passage, claim).words(frame.replace("CLAIM", clause(claim, passage.random, front=False)))


def statement(world: World, random: Random, claim: Claim) -> str:
    """The claim as running text."""
    return prose(sentence(Passage(world, random), claim))


Rewrite = Callable[[Claim, World, Random], Claim | None]


def _other_verb(claim: Claim, random: Random, names: tuple[str, ...]) -> Claim | None:
    fitting = [
        VERBS[name]
        for name in names
        if _fits(VERBS[name].subjects, claim.subject) and _fits(VERBS[name].objects, claim.object)
    ]
    return replace(claim, verb=random.choice(fitting)) if fitting else None


def _fits(kinds: tuple[str, ...], value: Value) -> bool:
    if isinstance(value, Entity):
        return value.kind in kinds
    return lexicon.HYPERNYM.get(value.split()[-1], "") in kinds


def synonym(claim: Claim, world: World, random: Random) -> Claim | None:
    """Another verb of the same meaning."""
    return _other_verb(claim, random, claim.verb.synonyms)


def weaker(claim: Claim, world: World, random: Random) -> Claim | None:
    """A verb that the verb implies, or the noun's hypernym."""
    if isinstance(claim.object, str) and claim.object.split()[-1] in lexicon.HYPERNYM and random.random() < 0.7:
        noun = claim.object.split()[-1]
        top = lexicon.HYPERNYM[noun]
        return replace(claim, object=random.choice((claim.object.replace(noun, top), f"a {top}", f"the {noun}")))
    return _other_verb(claim, random, claim.verb.implies)


def shorter(claim: Claim, world: World, random: Random) -> Claim | None:
    """Without its place or its time."""
    if claim.place and (not claim.time or random.random() < 0.5):
        return replace(claim, place=None)
    return replace(claim, time="") if claim.time else None


def swapped(claim: Claim, world: World, random: Random) -> Claim | None:
    """Who did it and to whom it was done exchanged."""
    if claim.verb.symmetric or not isinstance(claim.object, Entity) or not isinstance(claim.subject, Entity):
        return None
    if claim.object.kind != claim.subject.kind:
        return None
    return replace(claim, subject=claim.object, object=claim.subject)


def opposite(claim: Claim, world: World, random: Random) -> Claim | None:
    """A verb that cannot hold of the same pair."""
    return _other_verb(claim, random, claim.verb.opposites)


def negated(claim: Claim, world: World, random: Random) -> Claim | None:
    """The denial of the claim."""
    return replace(claim, negated=not claim.negated)


def moved(claim: Claim, world: World, random: Random) -> Claim | None:
    """In another place or at another time."""
    if claim.place and random.random() < 0.5:
        place = argument(world, random, "town", claim.place)
        return replace(claim, place=place if isinstance(place, Entity) else None)
    new_time = _time(random)
    return replace(claim, time=new_time) if claim.time and new_time and new_time != claim.time else None


def recast(claim: Claim, world: World, random: Random) -> Claim | None:
    """With somebody or something else in one of the roles."""
    if isinstance(claim.subject, Entity) and random.random() < 0.5:
        return replace(claim, subject=argument(world, random, claim.subject.kind, claim.subject))
    if isinstance(claim.object, Entity):
        return replace(claim, object=argument(world, random, claim.object.kind, claim.object))
    *modifiers, noun = claim.object.split()
    if noun not in lexicon.HYPERNYM:
        return None
    words = [word for word in lexicon.CLASSES[lexicon.HYPERNYM[noun]] if word != noun]
    return replace(claim, object=" ".join((*modifiers, random.choice(words))))


def crossed(claim: Claim, other: Claim) -> Claim | None:
    """With the subject or the place of another claim, where that is possible and makes a difference."""
    if _fits(claim.verb.subjects, other.subject) and other.subject not in (claim.subject, claim.object):
        return replace(claim, subject=other.subject)
    if claim.place and other.place and claim.place is not other.place:
        return replace(claim, place=other.place)
    return None


KEEPS: tuple[Rewrite, ...] = (synonym, weaker, shorter)
BREAKS: tuple[Rewrite, ...] = (swapped, opposite, negated, moved, recast)


def restated(claim: Claim, world: World, random: Random, steps: int = 2) -> Claim:
    """A claim that follows from this one."""
    for rewrite in random.sample(KEEPS, k=len(KEEPS))[:steps]:
        claim = rewrite(claim, world, random) or claim
    return claim


def falsified(claim: Claim, world: World, random: Random) -> Claim:
    """A claim that does not follow from this one."""
    for rewrite in random.sample(BREAKS, k=len(BREAKS)):
        if rewritten := rewrite(claim, world, random):
            return rewritten
    raise AssertionError("every claim can be negated")


FRAMES: dict[str, tuple[str, ...]] = {
    "true": (
        "{speaker} (knew|realized|learned|noticed|saw|found out|remembered) that CLAIM .",
        "{speaker} did not (know|realize|notice|see) that CLAIM .",
        "{speaker} (regretted|was glad|was sad|was surprised|was angry) that CLAIM .",
        "did {speaker} (know|notice|remember) that CLAIM ?",
        "{speaker} (proved|showed|admitted) that CLAIM .",
        "it is a pity that CLAIM .",
        "if only {speaker} had (known|noticed) that CLAIM !",
        "{speaker} (forgot|had forgotten) that CLAIM .",
        "{speaker} was right : CLAIM .",
        "why had nobody (told|warned) {speaker} that CLAIM ?",
        "{speaker} could not forget that CLAIM .",
    ),
    "false": (
        "{speaker} (pretended|imagined|dreamed) that CLAIM .",
        "{speaker} was wrong to (think|believe|say) that CLAIM .",
        "{speaker} (did not|does not) (think|believe) that CLAIM .",
        "nobody (thinks|believes) that CLAIM .",
        "it is (false|not true) that CLAIM .",
        "{speaker} (doubted|denied) that CLAIM .",
        "{speaker} lied when {speaker.he} said that CLAIM .",
        "i do not think that CLAIM .",
        "there is no sign that CLAIM .",
        "it only seemed to {speaker} that CLAIM .",
        "{speaker} would never (say|think|believe) that CLAIM .",
    ),
    "open": (
        "{speaker} (thinks|believes|hopes|suspects|guesses) that CLAIM .",
        "{speaker} wondered whether CLAIM .",
        "perhaps CLAIM .",
        "if CLAIM , {speaker} will be (glad|angry|sad) .",
        "{speaker} may have heard that CLAIM .",
        "does {speaker} (think|believe) that CLAIM ?",
        "some people say that CLAIM .",
        "{speaker} asked (if|whether) CLAIM .",
        "it is possible that CLAIM .",
        "{speaker} claimed that CLAIM .",
        "unless {speaker} is wrong , CLAIM .",
    ),
}
