"""Facts as language: for each relation how it is stated, asked for, asked about and written in a table.

In a template the thing that the fact is about is a slot of its kind (`{person}`), the value is `{value}`. A
corpus binds both, so the same line states a truth or a falsehood. Corpora keep every fourth statement and
question out of their training split. To add a relation, add one `Relation(...)`: passages, questions, tables
and the pretraining text find it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ptune.demo import lexicon
from ptune.demo.grammar import Passage, Value, Word
from ptune.demo.recipe import choose
from ptune.demo.world import Entity, World


@dataclass(frozen=True)
class Relation:
    """kind: what it is about; fact: its name there; value: the kind of entity or the word class of the value.

    statements, questions and checks (questions for yes or no) are templates; key is its name in a table.
    """

    kind: str
    fact: str
    value: str
    key: str
    statements: Sequence[str]
    questions: Sequence[str]
    checks: Sequence[str]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def _relation(kind: str, fact: str, value: str, key: str, statements: str, questions: str, checks: str) -> Relation:
    return Relation(kind, fact, value, key, _lines(statements), _lines(questions), _lines(checks))


RELATIONS: tuple[Relation, ...] = (
    _relation(
        "person", "birthplace", "town", "birth place",
        """{person} was born in {value} .
        {person} was born and grew up in {value} .
        {value} is the town where {person} was born .
        the birthplace of {person} is {value} .
        {person.his} family lived in {value} when {person} was born .
        it was in {value} that {person} was born .
        {value} is the birthplace of {person} .
        {person} came into the world in {value} .""",
        """where was {person} born ?
        in which town was {person} born ?
        what is the birthplace of {person} ?
        which town is {person} from by birth ?""",
        """was {person} born in {value} ?
        is {value} the birthplace of {person} ?
        did {person} come into the world in {value} ?
        is it true that {person} was born in {value} ?""",
    ),
    _relation(
        "person", "born", "year", "birth year",
        """{person} was born in {value} .
        in {value} , {person} was born .
        the year {value} saw the birth of {person} .
        {person} was a child of the year {value} .
        it was {value} when {person} was born .""",
        """when was {person} born ?
        in which year was {person} born ?
        what year was {person} born in ?
        what is the birth year of {person} ?""",
        """was {person} born in {value} ?
        was {value} the year when {person} was born ?
        did the birth of {person} fall in {value} ?
        is it true that {person} was born in {value} ?""",
    ),
    _relation(
        "person", "home", "town", "home",
        """{person} lives in {value} .
        {person} has a house in {value} .
        today {value} is the home of {person} .
        {person} moved to {value} and lives there still .
        the home of {person} is in {value} .
        {value} is where {person} lives now .""",
        """where does {person} live ?
        in which town does {person} live ?
        where is the home of {person} ?
        which town is the home of {person} ?""",
        """does {person} live in {value} ?
        is the home of {person} in {value} ?
        is {value} where {person} lives ?
        has {person} a house in {value} ?""",
    ),
    _relation(
        "person", "job", "job", "job",
        """{person} is a {value} .
        {person} works as a {value} .
        {person} has been a {value} for {count} years .
        {person} earns {person.his} money as a {value} .
        by trade {person} is a {value} .
        people know {person} as a {value} .""",
        """what does {person} do ?
        what is the job of {person} ?
        as what does {person} work ?
        what is {person} by trade ?""",
        """is {person} a {value} ?
        does {person} work as a {value} ?
        is it true that {person} is a {value} ?
        has {person} been a {value} ?""",
    ),
    _relation(
        "person", "employer", "company", "employer",
        """{person} works for {value} .
        {person} is employed by {value} .
        {value} employs {person} .
        {person} has a post at {value} .
        since {year} {person} has worked at {value} .
        {person} goes to work at {value} every {weekday} .""",
        """who does {person} work for ?
        who employs {person} ?
        where does {person} work ?
        what is the employer of {person} ?""",
        """does {person} work for {value} ?
        is {person} employed by {value} ?
        does {value} employ {person} ?
        has {person} a post at {value} ?""",
    ),
    _relation(
        "person", "club", "club", "club",
        """{person} supports {value} .
        {person} is a fan of {value} .
        the club that {person} loves is {value} .
        {person} has followed {value} since {year} .
        on {weekday} {person} goes to see {value} .""",
        """which club does {person} support ?
        what is the club of {person} ?
        who is {person} a fan of ?
        which club has {person} followed ?""",
        """does {person} support {value} ?
        is {person} a fan of {value} ?
        is {value} the club that {person} loves ?
        has {person} followed {value} ?""",
    ),
    _relation(
        "company", "founder", "person", "founder",
        """{company} was founded by {value} .
        {value} founded {company} .
        {value} is the founder of {company} .
        {company} was started by {value} .
        the founder of {company} is {value} .
        it was {value} who established {company} .""",
        """who founded {company} ?
        who is the founder of {company} ?
        who started {company} ?
        by whom was {company} established ?""",
        """did {value} found {company} ?
        was {company} founded by {value} ?
        is {value} the founder of {company} ?
        was it {value} who started {company} ?""",
    ),
    _relation(
        "company", "founded", "year", "founded",
        """{company} was founded in {value} .
        {company} has been there since {value} .
        in {value} , {company} opened its first office .
        {company} began in {value} .
        the story of {company} begins in {value} .""",
        """when was {company} founded ?
        in which year was {company} founded ?
        when did {company} begin ?
        what year was {company} started in ?""",
        """was {company} founded in {value} ?
        did {company} begin in {value} ?
        has {company} been there since {value} ?
        is it true that {company} was founded in {value} ?""",
    ),
    _relation(
        "company", "seat", "town", "seat",
        """{company} has its seat in {value} .
        the seat of {company} is in {value} .
        {company} is a company from {value} .
        {company} has its offices in {value} .
        {value} is the seat of {company} .""",
        """where is the seat of {company} ?
        where does {company} have its seat ?
        which town is {company} from ?
        in which town are the offices of {company} ?""",
        """is the seat of {company} in {value} ?
        is {company} from {value} ?
        does {company} have its seat in {value} ?
        are the offices of {company} in {value} ?""",
    ),
    _relation(
        "company", "chief", "person", "head",
        """{value} is the head of {company} .
        {company} is led by {value} .
        {value} leads {company} .
        the head of {company} is {value} .
        {value} runs {company} .""",
        """who is the head of {company} ?
        who leads {company} ?
        who runs {company} ?
        by whom is {company} led ?""",
        """is {value} the head of {company} ?
        does {value} lead {company} ?
        is {company} led by {value} ?
        does {value} run {company} ?""",
    ),
    _relation(
        "company", "field", "stuff", "sells",
        """{company} sells {value} .
        {company} trades in {value} .
        {company} makes its money with {value} .
        {value} is what {company} sells .
        the mills of {company} make {value} .""",
        """what does {company} sell ?
        what does {company} trade in ?
        what do the mills of {company} make ?
        with what does {company} make its money ?""",
        """does {company} sell {value} ?
        does {company} trade in {value} ?
        is {value} what {company} sells ?
        do the mills of {company} make {value} ?""",
    ),
    _relation(
        "club", "seat", "town", "town",
        """{club} is a club from {value} .
        {club} play their games in {value} .
        the club {club} is at home in {value} .
        {value} is the home of {club} .""",
        """where is {club} at home ?
        which town is {club} from ?
        where does {club} play its games ?
        what is the home of {club} ?""",
        """is {club} from {value} ?
        is {club} at home in {value} ?
        does {club} play its games in {value} ?
        is {value} the home of {club} ?""",
    ),
    _relation(
        "club", "chief", "person", "coach",
        """{value} is the coach of {club} .
        {club} is coached by {value} .
        the coach of {club} is {value} .
        {value} coaches {club} .""",
        """who is the coach of {club} ?
        who coaches {club} ?
        by whom is {club} coached ?
        what is the name of the coach of {club} ?""",
        """is {value} the coach of {club} ?
        does {value} coach {club} ?
        is {club} coached by {value} ?
        is it true that {value} coaches {club} ?""",
    ),
    _relation(
        "agency", "chief", "person", "head",
        """{value} is the head of {agency} .
        {agency} is led by {value} .
        the head of {agency} is {value} .
        {value} speaks for {agency} .""",
        """who is the head of {agency} ?
        who leads {agency} ?
        by whom is {agency} led ?
        who speaks for {agency} ?""",
        """is {value} the head of {agency} ?
        does {value} lead {agency} ?
        is {agency} led by {value} ?
        does {value} speak for {agency} ?""",
    ),
    _relation(
        "agency", "field", "topic", "topic",
        """{agency} works on {value} .
        the work of {agency} is {value} .
        {agency} is there for {value} .
        {agency} spends its money on {value} .""",
        """what does {agency} work on ?
        what is the work of {agency} ?
        what is {agency} there for ?
        on what does {agency} spend its money ?""",
        """does {agency} work on {value} ?
        is {value} the work of {agency} ?
        is {agency} there for {value} ?
        does {agency} spend its money on {value} ?""",
    ),
    _relation(
        "band", "seat", "town", "town",
        """{band} is a band from {value} .
        {band} come from {value} .
        {band} was formed in {value} .
        the band {band} lives in {value} .""",
        """where is {band} from ?
        which town does {band} come from ?
        where was {band} formed ?
        in which town does {band} live ?""",
        """is {band} from {value} ?
        was {band} formed in {value} ?
        does {band} come from {value} ?
        is it true that {band} comes from {value} ?""",
    ),
    _relation(
        "band", "chief", "person", "leader",
        """{band} is led by {value} .
        {value} sings in {band} .
        {value} leads {band} .
        the leader of {band} is {value} .""",
        """who leads {band} ?
        who sings in {band} ?
        who is the leader of {band} ?
        by whom is {band} led ?""",
        """does {value} lead {band} ?
        is {band} led by {value} ?
        does {value} sing in {band} ?
        is {value} the leader of {band} ?""",
    ),
    _relation(
        "product", "maker", "company", "maker",
        """the {product} is made by {value} .
        {value} makes the {product} .
        the {product} comes from {value} .
        {value} is the maker of the {product} .
        the maker of the {product} is {value} .""",
        """who makes the {product} ?
        who is the maker of the {product} ?
        which company makes the {product} ?
        from which company is the {product} ?""",
        """does {value} make the {product} ?
        is the {product} made by {value} ?
        is {value} the maker of the {product} ?
        does the {product} come from {value} ?""",
    ),
    _relation(
        "product", "launched", "year", "launched",
        """the {product} was launched in {value} .
        the {product} came out in {value} .
        people could buy the {product} from {value} .
        in {value} the {product} came to the shops .""",
        """when was the {product} launched ?
        when did the {product} come out ?
        in which year was the {product} launched ?
        since when could people buy the {product} ?""",
        """was the {product} launched in {value} ?
        did the {product} come out in {value} ?
        is {value} the year of the {product} ?
        could people buy the {product} from {value} ?""",
    ),
    _relation(
        "work", "author", "person", "author",
        """{work} was written by {value} .
        {value} wrote {work} .
        {value} is the author of {work} .
        the author of {work} is {value} .
        {work} is by {value} .""",
        """who wrote {work} ?
        who is the author of {work} ?
        by whom was {work} written ?
        by whom is {work} ?""",
        """did {value} write {work} ?
        was {work} written by {value} ?
        is {value} the author of {work} ?
        is {work} by {value} ?""",
    ),
    _relation(
        "work", "written", "year", "year",
        """{work} was written in {value} .
        {work} was finished in {value} .
        {work} is from {value} .
        the year of {work} is {value} .""",
        """when was {work} written ?
        in which year was {work} finished ?
        which year is {work} from ?
        what is the year of {work} ?""",
        """was {work} written in {value} ?
        was {work} finished in {value} ?
        is {work} from {value} ?
        is {value} the year of {work} ?""",
    ),
    _relation(
        "work", "place", "town", "set in",
        """{work} tells of the people of {value} .
        the story of {work} happens in {value} .
        {work} was first shown in {value} .
        {value} is the town in {work} .""",
        """where does the story of {work} happen ?
        which town is in {work} ?
        of the people of which town does {work} tell ?
        where was {work} first shown ?""",
        """does the story of {work} happen in {value} ?
        does {work} tell of the people of {value} ?
        is {value} the town in {work} ?
        was {work} first shown in {value} ?""",
    ),
    _relation(
        "event", "place", "town", "place",
        """the {event} was held in {value} .
        {value} was the place of the {event} .
        people came to {value} for the {event} .
        the {event} took place in {value} .""",
        """where was the {event} held ?
        which town was the place of the {event} ?
        where did the {event} take place ?
        where did people go for the {event} ?""",
        """was the {event} held in {value} ?
        did the {event} take place in {value} ?
        was {value} the place of the {event} ?
        did people go to {value} for the {event} ?""",
    ),
    _relation(
        "event", "winner", "person", "winner",
        """{value} won the {event} .
        the {event} was won by {value} .
        the winner of the {event} was {value} .
        {value} came first in the {event} .""",
        """who won the {event} ?
        who was the winner of the {event} ?
        by whom was the {event} won ?
        who came first in the {event} ?""",
        """did {value} win the {event} ?
        was {value} the winner of the {event} ?
        was the {event} won by {value} ?
        did {value} come first in the {event} ?""",
    ),
    _relation(
        "town", "country", "country", "country",
        """{town} is a town in {value} .
        {town} lies in {value} .
        the town of {town} belongs to {value} .
        {value} has a town called {town} .""",
        """in which country is {town} ?
        where is {town} ?
        which country does {town} belong to ?
        what is the country of {town} ?""",
        """is {town} in {value} ?
        does {town} belong to {value} ?
        is {value} the country of {town} ?
        does {town} lie in {value} ?""",
    ),
    _relation(
        "country", "capital", "town", "capital",
        """{value} is the capital of {country} .
        the capital of {country} is {value} .
        {country} is governed from {value} .
        {country} has its capital in {value} .""",
        """what is the capital of {country} ?
        which town is the capital of {country} ?
        from where is {country} governed ?
        where does {country} have its capital ?""",
        """is {value} the capital of {country} ?
        is {country} governed from {value} ?
        is it true that {value} is the capital of {country} ?
        does {country} have its capital in {value} ?""",
    ),
)  # fmt: skip
ABOUT: dict[str, tuple[Relation, ...]] = {
    kind: tuple(relation for relation in RELATIONS if relation.kind == kind)
    for kind in dict.fromkeys(relation.kind for relation in RELATIONS)
}


@dataclass(frozen=True)
class Fact:
    """A relation that holds between a thing and a value."""

    relation: Relation
    about: Entity
    value: Value

    def passage(self, world: World, random: Random, again: float = 0.0) -> Passage:
        """Where this fact's templates are rendered."""
        bound: dict[str, Value] = {self.relation.kind: self.about, "value": self.value}
        return Passage(world, random, bound, again=again)

    def false(self, world: World, random: Random) -> "Fact":
        """The same with a value that does not hold."""
        return Fact(self.relation, self.about, other(self.relation.value, self.value, world, random))

    @property
    def answer(self) -> str:
        """The value as plain words."""
        return self.value.name if isinstance(self.value, Entity) else self.value


def facts(entity: Entity) -> list[Fact]:
    """Everything that is known of an entity."""
    return [Fact(relation, entity, entity.facts[relation.fact]) for relation in ABOUT.get(entity.kind, ())]


def draw(world: World, random: Random, kind: str | None = None) -> Fact:
    """Some fact of the world."""
    about = random.choice(world.entities[kind or random.choice(tuple(ABOUT))])
    return random.choice(facts(about))


def other(kind: str, value: Value, world: World, random: Random) -> Value:
    """Another value of the same kind."""
    while True:
        drawn: Value
        if kind == "year":
            drawn = str(random.randint(1880, 2019))
        elif kind in world.entities:
            drawn = random.choice(world.entities[kind])
        else:
            drawn = random.choice(lexicon.CLASSES[kind])
        if drawn is not value and drawn != value:
            return drawn


def marked(template: str) -> str:
    """The template with its value marked as `answer`."""
    return template.replace("{value}", "<answer {value} >")


def told(entity: Entity, count: int, passage: Passage, split: str | None = None) -> list[tuple[Fact, list[Word]]]:
    """Up to `count` facts of an entity as sentences of one passage, each with its value marked `answer`."""
    random = passage.random
    chosen = random.sample(facts(entity), k=min(count, len(facts(entity))))
    out = []
    for fact in chosen:
        passage.bound.update({fact.relation.kind: entity, "value": fact.value})
        out.append((fact, passage.words(marked(choose(fact.relation.statements, split, random)))))
    return out
