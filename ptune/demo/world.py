"""A small invented world drawn from one seed: four provinces of people, places, things and facts.

All worlds speak one language: most names come from a stock that they share, so that a model which
has read about one world knows that *Tarvale* is a town when another world has one, too. Who lives
there, who founded what and who wrote which book is each world's own.

Everything nameable is an `Entity`: a kind, a name and facts, which are other entities or plain
words. A template reads facts by name (`{person.birthplace}`), so a new fact needs one line here and
none in the grammar. Entities of a province refer mostly to each other, which lets a corpus keep its
test entities out of its training split.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from ptune.demo import lexicon

PROVINCES = ("north", "east", "south", "west")
KINDS = (
    "person",
    "town",
    "country",
    "river",
    "company",
    "club",
    "agency",
    "band",
    "product",
    "work",
    "event",
    "demonym",
    "language",
    "facility",
    "law",
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _words("b br d dr f g gr h j k l m n p r s st t th tr v w")
_VOWELS = _words("a a e e i o o u ai ou")
_CODAS = _words("l n r m s nd rk st t d")
_TOWN_ENDINGS = _words("ton vale mouth burg wick holm ford stead haven by dale port")
_FAMILY_ENDINGS = _words("son sen man ley er ing wood smith croft ham")
_COUNTRY_ENDINGS = _words("ia land mark stan ora")
_COMPANY_ENDINGS = _words("ex ix corp tech dyne soft ora net")
_TRADES = _words("Motors Steel Foods Airlines Mills Insurance Press Chemicals Shipping Textiles Power Telecom Group")
_CLUB_WORDS = _words("United Rovers City Athletic Wanderers Town Rangers Sporting")
_EVENT_WORDS = _words("Fair Festival Cup Marathon Congress Games Open Carnival")
NAME_WORDS = (
    *_TRADES,
    *_CLUB_WORDS,
    *_EVENT_WORDS,
    *_words("Ministry University City Council Bank Board Institute Party Battle Letters Sons Pro Mini Max"),
    *_words("New North Port Lower Lake Mount"),
)


@dataclass(eq=False)
class Entity:
    """Something with a name; `facts` maps a word to another entity or to plain words."""

    kind: str
    name: str
    facts: "dict[str, Entity | str]" = field(default_factory=dict, repr=False)

    def entity(self, fact: str) -> "Entity":
        """The fact of this name, which must be an entity."""
        value = self.facts[fact]
        assert isinstance(value, Entity), (self.name, fact)
        return value


@dataclass(frozen=True)
class World:
    """All entities by kind, and the province that each belongs to."""

    seed: int
    entities: dict[str, tuple[Entity, ...]]
    province: dict[int, str] = field(repr=False)

    def within(self, provinces: Iterable[str]) -> "World":
        """The part of the world that lies in these provinces."""
        names = frozenset(provinces)
        part = {
            kind: tuple(entity for entity in entities if self.province[id(entity)] in names)
            for kind, entities in self.entities.items()
        }
        return World(self.seed, part, self.province)


class _Roots:
    """Draws pronounceable roots, each once, none of them a word of the lexicon."""

    def __init__(self, random: Random, used: Iterable[str] = ()) -> None:
        self.random = random
        self.used = {word.lower() for words in lexicon.CLASSES.values() for word in words}
        self.used |= set(lexicon.VERBS) | {verb.past for verb in lexicon.VERBS.values()} | set(used)

    def root(self, syllables: int = 1) -> str:
        """A new root, capitalized."""
        for attempt in range(1000):
            parts = [
                self.random.choice(_ONSETS) + self.random.choice(_VOWELS) for _ in range(syllables + attempt // 20)
            ]
            name = "".join(parts) + self.random.choice(_CODAS)
            if len(name) > 2 and name not in self.used:
                self.used.add(name)
                return name.capitalize()
        raise AssertionError("the syllables are used up")

    def suffixed(self, endings: Sequence[str], share: float = 0.75, syllables: int = 1) -> str:
        """A root with one of the endings, or for the other share a longer bare one."""
        if self.random.random() < share:
            return self.root(syllables) + self.random.choice(endings)
        return self.root(syllables + 1)


_COINED: dict[str, tuple[int, Callable[[_Roots], str]]] = {
    "town": (400, lambda roots: roots.suffixed(_TOWN_ENDINGS)),
    "river": (120, lambda roots: roots.suffixed(("a", "e", "ow"))),
    "country": (60, lambda roots: roots.root()),
    "she": (120, lambda roots: roots.root() + roots.random.choice(("a", "ia", "ina", "e", "is", "ette", "y"))),
    "he": (120, lambda roots: roots.root() + roots.random.choice(("o", "en", "us", "an", "or", "ik", "y"))),
    "family": (500, lambda roots: roots.suffixed(_FAMILY_ENDINGS, 0.6)),
    "company": (200, lambda roots: roots.suffixed(_COMPANY_ENDINGS, 0.7)),
    "product": (150, lambda roots: roots.root(roots.random.choice((1, 2)))),
    "proper": (120, lambda roots: roots.root(2)),
}
_NEW_NAMES = 0.15


@cache
def stock() -> dict[str, tuple[str, ...]]:
    """The names that all worlds share, by what they name: the same in every process."""
    roots = _Roots(Random("ptune names"))
    return {name: tuple(coin(roots) for _ in range(count)) for name, (count, coin) in _COINED.items()}


class _Names:
    """The names of one world: most from the stock, some new; none twice."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.taken: set[str] = set()
        self.left = {name: random.sample(names, k=len(names)) for name, names in stock().items()}
        taken = {name.lower() for names in stock().values() for name in names}
        self.roots = _Roots(random, taken)

    def draw(self, what: str) -> str:
        """A name for a town, a river, a family and so on, see `_COINED`."""
        if self.left[what] and self.random.random() >= _NEW_NAMES:
            return self.left[what].pop()
        while (name := _COINED[what][1](self.roots)) in self.taken:
            pass
        self.taken.add(name)
        return name


class _Builder:
    """Makes the entities of one province; `made` holds what there is so far, by kind."""

    def __init__(self, random: Random, names: _Names) -> None:
        self.random, self.names = random, names
        self.made: dict[str, list[Entity]] = {kind: [] for kind in KINDS}

    def pick(self, kind: str) -> Entity:
        return self.random.choice(self.made[kind])

    def add(self, kind: str, name: str, **facts: "Entity | str") -> Entity:
        entity = Entity(kind, name, dict(facts))
        entity.facts.setdefault("short", entity)
        self.made[kind].append(entity)
        return entity

    def unlike(self, draw: Callable[..., str], *given: Entity | str) -> str:
        """A name from `draw(*given)` that nothing else in the world has."""
        while (name := draw(*given)) in self.names.taken:
            pass
        self.names.taken.add(name)
        return name

    def year(self, low: int = 1880, high: int = 2019) -> str:
        return str(self.random.randint(low, high))

    def words(self) -> tuple[str, str]:
        """An adjective and a common noun for names made of ordinary words."""
        kind = self.random.choice(("animal", "tool", "plant", "weather", "room", "building", "vehicle", "stuff"))
        return (
            self.random.choice(lexicon.CLASSES["adj"]).capitalize(),
            self.random.choice(lexicon.CLASSES[kind]).capitalize(),
        )

    def places(self) -> None:
        for _ in range(7):
            root = self.names.draw("country")
            country = self.add("country", root + self.random.choice(_COUNTRY_ENDINGS))
            adjective = root + self.random.choice(("ian", "ish", "ese", "ic"))
            country.facts["demonym"] = self.add("demonym", adjective, country=country)
            country.facts["language"] = self.add("language", adjective, country=country)
        for _ in range(45):
            name = self.names.draw("town")
            name = self.random.choice(("New ", "North ", "Port ", "Lower ")) * (self.random.random() < 0.15) + name
            self.add("town", name, country=self.pick("country"), size=str(self.random.randint(2, 900)) + ",000")
        for _ in range(12):
            name = self.random.choice(("Lake ", "Mount ", "")) + self.names.draw("river")
            self.add("river", name, country=self.pick("country"), town=self.pick("town"))
        for country in self.made["country"]:
            country.facts["capital"] = self.pick("town")

    def people(self) -> None:
        first_names = {he: [self.names.draw(he) for _ in range(14)] for he in ("she", "he")}
        for _ in range(110):
            he = self.random.choice(("she", "he"))
            draw = self.random.random()
            family = self.pick("town").name.split()[-1] if draw < 0.12 else self.names.draw("family")
            first, birthplace = self.random.choice(first_names[he]), self.pick("town")
            person = self.add(
                "person",
                f"{first} {family}",
                he=he,
                his={"she": "her", "he": "his"}[he],
                him={"she": "her", "he": "him"}[he],
                birthplace=birthplace,
                home=self.pick("town"),
                country=birthplace.entity("country"),
                born=self.year(1900, 1999),
                job=self.random.choice(lexicon.CLASSES["job"]),
            )
            title = self.random.choice(lexicon.TITLES[he])
            person.facts.update(last=Entity("person", family), first=Entity("person", first), title=title)
            person.facts.update(short=person.entity("last"), trade=lexicon.HYPERNYM[str(person.facts["job"])])

    def company_name(self) -> str:
        family = self.pick("person").entity("last").name
        forms = (
            f"{family} {self.random.choice(_TRADES)}",
            f"{family} & Sons",
            family,
            self.names.draw("company"),
            self.names.draw("proper"),
            f"Bank of {self.pick('town').name}",
            f"{self.pick('country').name} {self.random.choice(_TRADES)}",
            " ".join(self.words()),
            self.names.draw("company"),
        )
        return self.random.choice(forms)

    def agency_name(self) -> str:
        topic = self.random.choice(lexicon.NOUNS["topic"]).capitalize()
        letters = "".join(self.random.choice("BCDFGKLMNPRTVWAEIO") for _ in range(self.random.choice((3, 3, 4))))
        forms = (
            f"Ministry of {topic}",
            f"{self.pick('country').name} {topic} Board",
            letters,
            letters,
            f"University of {self.pick('town').name}",
            f"{self.pick('town').name} City Council",
            f"{self.pick('demonym').name} Red Party",
            f"{self.names.draw('proper')} Institute",
        )
        return self.random.choice(forms)

    def club_name(self, town: Entity) -> str:
        return f"{town.name} {self.random.choice(_CLUB_WORDS)}"

    def band_name(self) -> str:
        adjective, noun = self.words()
        forms = (
            f"The {adjective} {lexicon.plural(noun.lower()).capitalize()}",
            f"{adjective} {noun}",
            self.names.draw("proper"),
            self.names.draw("proper") + "s",
        )
        return self.random.choice(forms)

    def work_name(self) -> str:
        adjective, noun = self.words()
        forms = (
            f"The {adjective} {noun}",
            f"The {noun}",
            f"Letters from {self.pick('town').name}",
            f"{adjective} {noun}",
            f"{noun} of {self.random.choice(lexicon.NOUNS['feeling']).capitalize()}",
            self.pick("person").entity("first").name,
            f"The {noun} in {self.pick('town').name}",
        )
        return self.random.choice(forms)

    def event_name(self, town: Entity) -> str:
        word = self.random.choice(_EVENT_WORDS)
        adjective, noun = self.words()
        forms = (
            f"{town.name} {word}",
            f"{adjective} {noun} {word}",
            f"Battle of {town.name}",
            f"{noun} {word}",
            f"{self.names.draw('proper')} {word}",
        )
        return self.random.choice(forms)

    def companies(self) -> None:
        for _ in range(45):
            self.add(
                "company",
                self.unlike(self.company_name),
                seat=self.pick("town"),
                founder=self.pick("person"),
                founded=self.year(),
                chief=self.pick("person"),
                field=self.random.choice(lexicon.NOUNS["stuff"]),
            )

    def clubs_and_agencies(self) -> None:
        for _ in range(22):
            town = self.pick("town")
            club = self.add(
                "club",
                self.unlike(self.club_name, town),
                seat=town,
                founded=self.year(),
                founder=self.pick("person"),
                chief=self.pick("person"),
            )
            club.facts["short"] = Entity("club", town.name, {})
        for _ in range(22):
            self.add(
                "agency",
                self.unlike(self.agency_name),
                seat=self.pick("town"),
                chief=self.pick("person"),
                founded=self.year(),
                field=self.random.choice(lexicon.NOUNS["topic"]),
            )

    def bands(self) -> None:
        for _ in range(16):
            self.add(
                "band",
                self.unlike(self.band_name),
                seat=self.pick("town"),
                founder=self.pick("person"),
                chief=self.pick("person"),
                founded=self.year(),
            )

    def careers(self) -> None:
        for person in self.made["person"]:
            person.facts.update(
                employer=self.pick(self.random.choice(("company", "company", "agency"))),
                club=self.pick("club"),
            )

    def products(self) -> None:
        for _ in range(30):
            maker = self.pick("company")
            model = self.names.draw("product")
            name = self.random.choice(
                (
                    f"{model} {self.random.randint(2, 90)}",
                    f"{model} {self.random.choice(('Pro', 'Mini', 'Max'))}",
                    model,
                    f"{model.upper()[0]}{self.random.randint(10, 990)}",
                    f"{model}{self.random.choice(('o', 'ia', 'ito'))}",
                )
            )
            self.add(
                "product",
                name,
                maker=maker,
                launched=self.year(1950, 2019),
                sort=self.random.choice(lexicon.CLASSES["vehicle"] + ("phone", "camera", "radio", "drink")),
            )

    def works(self) -> None:
        for _ in range(35):
            self.add(
                "work",
                self.unlike(self.work_name),
                author=self.pick("person"),
                written=self.year(),
                place=self.pick("town"),
                sort=self.random.choice(("novel", "film", "song", "poem", "opera", "play", "album")),
            )

    def facility_name(self, building: str) -> str:
        name = self.random.choice((self.pick("person").entity("last").name, self.pick("town").name))
        return f"{name} {building.capitalize()}"

    def law_name(self, year: str) -> str:
        topic = self.random.choice(lexicon.NOUNS["topic"]).capitalize()
        name = self.random.choice((f"{topic} Act", f"{self.pick('person').entity('last').name} Act"))
        return self.random.choice((name, f"{name} of {year}"))

    def facilities_and_laws(self) -> None:
        for _ in range(12):
            building = self.random.choice(lexicon.NOUNS["building"])
            name = self.unlike(self.facility_name, building)
            self.add("facility", name, place=self.pick("town"), sort=building)
        for _ in range(8):
            year = self.year(1950)
            self.add("law", self.unlike(self.law_name, year), country=self.pick("country"), passed=year)

    def events(self) -> None:
        for _ in range(18):
            town = self.pick("town")
            name = self.unlike(self.event_name, town)
            self.add("event", name, place=town, year=self.year(), winner=self.pick("person"))


def build(seed: int) -> World:
    """The world of this seed: the same in every process."""
    random = Random(f"ptune world {seed}")
    names = _Names(random)
    entities: dict[str, list[Entity]] = {kind: [] for kind in KINDS}
    province: dict[int, str] = {}
    for name in PROVINCES:
        builder = _Builder(random, names)
        for step in (
            builder.places,
            builder.people,
            builder.companies,
            builder.clubs_and_agencies,
            builder.bands,
            builder.careers,
            builder.products,
            builder.works,
            builder.facilities_and_laws,
            builder.events,
        ):
            step()
        for kind, added in builder.made.items():
            entities[kind] += added
            province.update((id(entity), name) for entity in added)
    return World(seed, {kind: tuple(members) for kind, members in entities.items()}, province)
