"""Sentences annotated with semantic roles: marks that are PropBank's, `<0.A0 {person} >`, numbered by predicate.

To add a construction, add a line to `SENTENCES`; to add a verb that gives something to somebody, one to `GIVING`.
"""

from collections.abc import Sequence
from random import Random

from ptune.demo import claims
from ptune.demo.grammar import Passage, Word
from ptune.demo.recipe import choose
from ptune.demo.world import World

# base, past, participle: verbs with a giver (A0), a thing (A1) and a receiver (A2).
GIVING = (
    ("give", "gave", "given"),
    ("send", "sent", "sent"),
    ("show", "showed", "shown"),
    ("offer", "offered", "offered"),
    ("lend", "lent", "lent"),
    ("sell", "sold", "sold"),
    ("bring", "brought", "brought"),
    ("promise", "promised", "promised"),
)

# Slots beside the world's own: {base} {past} {participle} of a verb of giving. CLAIM is a claim as predicate 1.
SENTENCES: tuple[str, ...] = (
    "<0.A0 {person} > <0.V {past} > <0.A2 {person2} > <0.A1 {thing} > <0.AM-TMP {when} > .",
    "<0.A0 {person} > <0.V {past} > <0.A1 {thing} > <0.A2 to {person2} > .",
    "<0.A1 {thing} > was <0.V {participle} > <0.A2 to {person2} > <0.A0 by {person} > .",
    "<0.A2 {person2} > was <0.V {participle} > <0.A1 {thing} > <0.A0 by {person} > <0.AM-LOC in {town} > .",
    "<0.A0 {person} > <0.AM-MOD will > <0.AM-NEG not > <0.V {base} > <0.A2 {person2} > <0.A1 {thing} > .",
    "<0.AM-DIS however > , <0.A0 {person} > <0.AM-MOD could > <0.V {base} > <0.A1 {thing} > <0.A2 to {person2} > .",
    "<0.A0 {person} > , <0.R-A0 who > <0.V {past} > <0.A2 {person2} > <0.A1 {thing} > , lives in {town} .",
    "it was <0.A2 {person2} > <0.R-A2 whom > <0.A0 {person} > <0.V {past} > <0.A1 {thing} > .",
    "<0.A1 {thing} > <0.R-A1 that > <0.A0 {person} > <0.V {past} > <0.A2 {person2} > was {adj} .",
    "<0.A0 {person} > <0.AM-MNR {adverb} > <0.V {past} > <0.A1 {thing} > <0.AM-CAU because of the {weather} > .",
    "<0.AM-TMP {when} > , <0.A2 {person2} > was <0.AM-MNR {adverb} > <0.V {participle} > <0.A1 {thing} > .",
    "<0.A0 {person} > <0.V {past} > <0.A2 {person2} > <0.A1 {thing} > <0.AM-PNC to help {person3} > .",
    "<0.A0 {person} > <0.V said > <0.A1 that CLAIM > .",
    "<0.A1 CLAIM > , <0.A0 {person} > <0.V {said} > .",
    '<0.A1 " CLAIM > , " <0.V said > <0.A0 {person} > , <0.C-A1 " and it was {adj} > . "',
    "<0.A0 {person} > <0.AM-NEG never > <0.V knew > <0.A1 that CLAIM > .",
    "<0.A0 {person} > <0.V asked > <0.A2 {person2} > <0.A1 whether CLAIM > .",
    "<0.A0 {person} > <0.V told > <0.A2 {person2} > <0.A1 that CLAIM > <0.AM-TMP on {weekday} > .",
    "<0.AM-ADV although CLAIM > , <0.A0 {person} > <0.V stayed > <0.AM-LOC in {town} > .",
    "<0.A0 {person} > <0.V went > <0.A4 to {town} > <0.AM-DIR from {town2} > <0.AM-TMP after CLAIM > .",
    "<0.A0 {person} > <0.V returned > <0.AM-DIR from {town} > <0.AM-CAU because CLAIM > .",
    "<0.A0 {person} > <0.V wanted > <0.A1 to {base} {person2} {thing} > .",
    "<0.A0 <1.A0 {person} > > <0.V went > <0.A4 to {town} > and <1.V {past} > <1.A2 {person2} > <1.A1 {thing} > .",
    "<0.A0 <1.A0 {person} > > <0.V promised > <0.A1 to <1.V {base} > <1.A2 {person2} > <1.A1 {thing} > > .",
    "<0.A0 {person} > <0.V asked > <0.A2 <1.A0 {person2} > > <0.A1 to <1.V {base} > <1.A1 {thing} > > .",
    "<0.A1 <1.A1 the {building} > > was <0.V built > <0.A0 by {company} > and <1.V closed > <1.A0 by {agency} > .",
    "<0.A0 the {animal} > <0.V ran > <0.AM-DIR away > when <1.A0 {person} > <1.V opened > <1.A1 the door > .",
    "<0.AM-LOC in {town} > <0.A1 prices > <0.V rose > <0.A2 {number} percent > <0.AM-TMP {when} > .",
    "<0.A1 the {letter} > <0.AM-MOD may > be <0.V sent > <0.A2 to {agency} > <0.AM-MNR by {vehicle} > .",
    "CLAIM , <0.AM-DIS so > <0.A0 {person} > <0.V left > <0.A1 {town} > .",
    "<0.AM-ADV unless CLAIM > , <0.A0 {company} > <0.AM-MOD will > <0.V sell > <0.A1 the {product} > .",
    "<0.A0 {person} > <0.AM-TMP often > <0.V visits > <0.A1 <1.A1 the town > <1.R-AM-LOC where > CLAIM > .",
)  # fmt: skip


def sentence(world: World, split: str | None, random: Random) -> list[Word]:
    """A sentence of one to three predicates, its words marked with their roles."""
    passage = Passage(world, random)
    base, past, participle = random.choice(GIVING)
    passage.bound.update(base=base, past=past, participle=participle)
    if random.random() < 0.3:
        return claims.sentence(passage, claims.draw(world, random), aside=True)
    template = choose(SENTENCES, split, random)
    if "CLAIM" in template:
        claim = claims.draw(world, random)
        template = template.replace("CLAIM", claims.clause(claim, random, front=False, number=1))
        claims.bind(passage, claim)
    return passage.words(template)


def predicates(words: Sequence[Word]) -> dict[int, list[str]]:
    """The annotated predicates: the index of its word -> a tag for each word, in BIO."""
    numbers = sorted({name.split(".")[0] for word in words for name in word.marked if name.endswith(".V")})
    by_place = {}
    for number in numbers:
        tags = [tag(word, f"{number}.") for word in words]
        by_place[tags.index("B-V")] = tags
    return dict(sorted(by_place.items()))


def tag(word: Word, prefix: str) -> str:
    """A word's role for one predicate."""
    for name, opens in word.marks:
        if name.startswith(prefix):
            return f"{'B' if opens else 'I'}-{name.removeprefix(prefix)}"
    return "O"
