"""The words of the demo world: nouns under hypernyms, adjectives with opposites, verbs with roles.

To add a noun, put it in its class in `NOUNS`; to add a verb, add one `Verb(...)` line to `VERBS`.
Nothing else has to be edited: the grammar finds the class as a slot (`{animal}`), the claims find
the verb with its arguments.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """A transitive verb with the kinds it selects and how it relates to the other verbs.

    `synonyms`, `implies` and `opposites` name other verbs by their base form: a synonym means the same
    both ways, an implied verb is weaker, an opposite cannot hold of the same pair. `converse` says the
    same with the arguments exchanged ("lost to" for "beat"); `symmetric` verbs may exchange them freely.
    """

    base: str
    past: str
    participle: str
    subjects: tuple[str, ...]
    objects: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    opposites: tuple[str, ...] = ()
    converse: str = ""
    symmetric: bool = False


def _regular(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    return base[:-1] + "ied" if re.search("[^aeiou]y$", base) else base + "ed"


def _verb(
    base: str,
    subjects: str,
    objects: str,
    *,
    past: str = "",
    participle: str = "",
    syn: str = "",
    implies: str = "",
    opp: str = "",
    converse: str = "",
    symmetric: bool = False,
) -> Verb:
    past = past or _regular(base)
    return Verb(
        base,
        past,
        participle or past,
        tuple(subjects.split()),
        tuple(objects.split()),
        tuple(syn.split()),
        tuple(implies.split()),
        tuple(opp.split()),
        converse,
        symmetric,
    )


VERBS: dict[str, Verb] = {
    verb.base: verb
    for verb in (
        _verb("praise", "person", "person work club", syn="commend", opp="criticize"),
        _verb("commend", "person", "person work club", syn="praise", opp="criticize"),
        _verb("criticize", "person agency", "person company work agency", syn="blame", opp="praise commend"),
        _verb("blame", "person", "person company agency", syn="criticize", opp="praise"),
        _verb("help", "person company", "person", syn="assist aid", opp="ignore"),
        _verb("assist", "person company", "person", syn="help aid", opp="ignore"),
        _verb("aid", "person agency", "person", syn="help assist", opp="ignore"),
        _verb("ignore", "person agency", "person", opp="help assist aid"),
        _verb("hire", "company club agency", "person", syn="employ", opp="dismiss", converse="went to work for"),
        _verb("employ", "company club agency", "person", syn="hire", opp="dismiss", converse="worked for"),
        _verb(
            "dismiss",
            "company club agency",
            "person",
            syn="fire",
            opp="hire employ",
            converse="lost a job at",
        ),
        _verb(
            "fire",
            "company club agency",
            "person",
            syn="dismiss",
            opp="hire employ",
            converse="lost a job at",
        ),
        _verb("marry", "person", "person", syn="wed", implies="know", symmetric=True),
        _verb("wed", "person", "person", past="wed", syn="marry", implies="know", symmetric=True),
        _verb("meet", "person", "person", past="met", implies="know", opp="avoid", symmetric=True),
        _verb("know", "person", "person", past="knew", participle="known"),
        _verb("avoid", "person", "person", opp="meet"),
        _verb(
            "teach",
            "person",
            "person",
            past="taught",
            syn="instruct",
            implies="know",
            converse="was a student of",
        ),
        _verb("instruct", "person", "person", syn="teach", implies="know", converse="was a student of"),
        _verb("thank", "person", "person agency", opp="insult"),
        _verb("insult", "person", "person agency", opp="thank"),
        _verb("arrest", "agency", "person", syn="detain", opp="release"),
        _verb("detain", "agency", "person", syn="arrest", opp="release"),
        _verb("release", "agency", "person", syn="free", opp="arrest detain"),
        _verb("free", "agency", "person", syn="release", opp="arrest detain"),
        _verb("replace", "person", "person", syn="succeed"),
        _verb("succeed", "person", "person", syn="replace"),
        _verb("sue", "person company agency", "company person", opp="defend"),
        _verb("defend", "person", "company person", opp="sue"),
        _verb(
            "beat",
            "club person",
            "club person",
            past="beat",
            participle="beaten",
            syn="defeat",
            implies="play",
            converse="lost to",
        ),
        _verb("defeat", "club person", "club person", syn="beat", implies="play", converse="lost to"),
        _verb("play", "club", "club", symmetric=True),
        _verb(
            "buy",
            "person company",
            "company product",
            past="bought",
            syn="purchase acquire",
            implies="own",
            opp="sell",
        ),
        _verb("purchase", "person company", "company product", syn="buy acquire", implies="own", opp="sell"),
        _verb("acquire", "person company", "company product", syn="buy purchase", implies="own", opp="sell"),
        _verb("own", "person company", "company product", converse="belonged to"),
        _verb("sell", "person company", "company product", past="sold", opp="buy purchase acquire"),
        _verb("found", "person", "company club band", syn="establish start", opp="close"),
        _verb("establish", "person", "company club band", syn="found start", opp="close"),
        _verb("start", "person", "company club band", syn="found establish", opp="close"),
        _verb("close", "person agency", "company club building", opp="open found"),
        _verb(
            "lead",
            "person",
            "company club band agency",
            past="led",
            syn="head",
            implies="join",
            converse="was led by",
        ),
        _verb("head", "person", "company club agency", syn="lead", converse="was led by"),
        _verb("join", "person", "club band company", opp="leave"),
        _verb("leave", "person", "club band company town", past="left", syn="quit", opp="join"),
        _verb("quit", "person", "club band company", past="quit", syn="leave", opp="join"),
        _verb("make", "company", "product", past="made", syn="produce", opp="recall", converse="came from"),
        _verb("produce", "company", "product", syn="make", opp="recall", converse="came from"),
        _verb("launch", "company", "product", syn="present", opp="recall"),
        _verb("present", "company person", "product work", syn="launch"),
        _verb("recall", "company", "product", syn="withdraw", opp="launch make produce"),
        _verb(
            "withdraw",
            "company",
            "product",
            past="withdrew",
            participle="withdrawn",
            syn="recall",
            opp="launch make",
        ),
        _verb("write", "person", "work", past="wrote", participle="written", syn="compose", opp="reject"),
        _verb("compose", "person", "work", syn="write", opp="reject"),
        _verb("finish", "person", "work building", syn="complete", opp="abandon"),
        _verb("complete", "person", "work building", syn="finish", opp="abandon"),
        _verb("abandon", "person", "work building", opp="finish complete"),
        _verb("reject", "person agency company", "work", opp="accept"),
        _verb("accept", "person agency", "work", opp="reject"),
        _verb("visit", "person", "town country building", opp="avoid"),
        _verb("reach", "person", "town country river", implies="visit", opp="leave"),
        _verb("build", "person company agency", "building", past="built", syn="construct erect", opp="destroy"),
        _verb("construct", "person company agency", "building", syn="build erect", opp="destroy"),
        _verb("erect", "person company agency", "building", syn="build construct", opp="destroy"),
        _verb("destroy", "person company", "building", syn="wreck", implies="damage", opp="repair build"),
        _verb("wreck", "person company", "building", syn="destroy", implies="damage", opp="repair"),
        _verb("damage", "person company", "building", opp="repair"),
        _verb("repair", "person company agency", "building", syn="fix", opp="damage destroy wreck"),
        _verb("fix", "person company agency", "building", syn="repair", opp="damage destroy wreck"),
        _verb("open", "person agency", "building", opp="close"),
        _verb("feed", "person", "animal", past="fed", opp="starve"),
        _verb("starve", "person", "animal", opp="feed"),
        _verb("catch", "person", "animal", past="caught", syn="trap", opp="free"),
        _verb("trap", "person", "animal", past="trapped", syn="catch"),
        _verb(
            "break",
            "person",
            "tool instrument",
            past="broke",
            participle="broken",
            implies="damage",
            opp="mend",
        ),
        _verb("mend", "person", "tool instrument", syn="fix", opp="break"),
        _verb("find", "person", "tool instrument animal", past="found", opp="lose"),
        _verb("lose", "person", "tool instrument animal", past="lost", syn="misplace", opp="find"),
        _verb("misplace", "person", "tool instrument", syn="lose", opp="find"),
        _verb("borrow", "person", "tool instrument vehicle", opp="return"),
        _verb("return", "person", "tool instrument vehicle", opp="borrow"),
        _verb("drive", "person", "vehicle", past="drove", participle="driven"),
        _verb("eat", "person", "food", past="ate", participle="eaten", syn="consume"),
        _verb("consume", "person", "food", syn="eat"),
        _verb("cook", "person", "food", syn="prepare", opp="burn"),
        _verb("prepare", "person", "food", syn="cook"),
        _verb("burn", "person", "food letter", opp="keep"),
        _verb("keep", "person", "letter tool", past="kept", opp="burn lose"),
    )
}

NOUNS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "animal": "dog cat horse goat sheep cow hen duck goose fox wolf bear crow owl mouse pig rabbit",
        "food": "bread cheese soup cake honey butter fish rice porridge jam pie stew",
        "tool": "hammer knife saw ladder rope lamp shovel axe needle bucket brush wheel",
        "instrument": "violin drum flute guitar piano horn harp",
        "vehicle": "boat cart truck bus train ferry bicycle tractor wagon van",
        "building": "bridge tower mill school library hospital theater station palace barn factory temple",
        "letter": "letter note map book diary newspaper contract photograph",
        "room": "kitchen garden cellar hall office workshop yard attic",
        "weather": "rain snow wind fog frost storm heat thunder",
        "plant": "oak rose apple pear wheat barley grass fern ivy willow",
        "stuff": "iron wool glass paper coal salt silver timber cotton oil",
        "topic": "trade health water farming transport education tax defense energy justice labor sport",
        "feeling": "anger joy pride fear relief surprise grief hope",
        "disease": "fever cold cough measles flu",
    }.items()
}

JOBS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "musician": "violinist drummer singer pianist composer",
        "artist": "painter sculptor actor dancer",
        "writer": "poet novelist journalist",
        "scientist": "chemist physicist biologist astronomer",
        "player": "striker goalkeeper defender midfielder",
        "politician": "mayor minister senator governor",
        "worker": "baker miner tailor carpenter mechanic",
        "official": "judge clerk inspector ambassador",
        "doctor": "surgeon dentist",
    }.items()
}

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("old", "new"),
    ("big", "small"),
    ("large", "little"),
    ("dark", "bright"),
    ("cheap", "expensive"),
    ("clean", "dirty"),
    ("strong", "weak"),
    ("quiet", "noisy"),
    ("empty", "full"),
    ("safe", "dangerous"),
    ("warm", "cold"),
    ("heavy", "light"),
    ("rich", "poor"),
    ("famous", "unknown"),
    ("happy", "sad"),
    ("tall", "low"),
    ("wide", "narrow"),
    ("soft", "hard"),
    ("slow", "fast"),
    ("wet", "dry"),
)

PLAIN: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "adj": " ".join(word for pair in OPPOSITES for word in pair)
        + " silent broken golden green red blue white black",
        "color": "green red blue white black golden brown yellow",
        "month": "January February March April May June July August September October November December",
        "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "good": "wonderful brilliant moving clever charming funny fresh lovely gentle splendid rich lively",
        "bad": "dull boring weak empty silly tired clumsy cheap flat sour stupid noisy",
        "adverb": "quickly slowly quietly gladly suddenly carefully often never always soon",
        "count": "two three four five six seven eight nine ten twelve twenty thirty",
        "relative": "brother sister mother father uncle aunt cousin daughter son wife husband friend",
        "said": "said announced reported added claimed explained stated",
    }.items()
}

TITLES: dict[str, tuple[str, ...]] = {"she": ("Mrs", "Dr", "Judge"), "he": ("Mr", "Dr", "Captain")}
HYPERNYM: dict[str, str] = {word: top for table in (NOUNS, JOBS) for top, words in table.items() for word in words}
CLASSES: dict[str, tuple[str, ...]] = {
    **NOUNS,
    **PLAIN,
    "job": tuple(job for jobs in JOBS.values() for job in jobs),
    "trade": tuple(JOBS),
}
IRREGULAR = {
    "barley": "barley",
    "wheat": "wheat",
    "grass": "grass",
    "ivy": "ivy",
    "goose": "geese",
    "mouse": "mice",
    "wolf": "wolves",
    "sheep": "sheep",
    "fish": "fish",
    "knife": "knives",
    "library": "libraries",
    "factory": "factories",
    "diary": "diaries",
    "wife": "wives",
    "fox": "foxes",
    "bus": "buses",
    "ferry": "ferries",
    "brush": "brushes",
    "axe": "axes",
    "city": "cities",
}

_CLOSED: dict[str, str] = {
    word: tag
    for tag, words in {
        "DT": "the a an this that these those some any every each no another all both",
        "IN": "of in on at by for with from after before over under against near during since until because "
        "if while although through into about between without as than like behind whether outside along",
        "PRP": "i you he she it we they him her us them me nobody everyone nothing",
        "PRP$": "his its their my our your",
        "CC": "and or but nor",
        "TO": "to",
        "MD": "will would can could may might must should shall",
        "VBD": "was were had did",
        "VBZ": "is has does says",
        "VBP": "are am have do",
        "VB": "be",
        "RB": "not never always often soon again here too also very now then today yesterday later "
        "tomorrow once still only just almost away back home quite well down up off out",
        "WP": "who what whom",
        "WDT": "which",
        "WRB": "when where why how",
        "EX": "there",
        "POS": "'s",
        "JJ": " ".join(PLAIN["adj"] + PLAIN["color"])
        + " good bad first last next late early local national whole free",
    }.items()
    for word in words.split()
}
_FORMS: dict[str, str] = {
    **{verb.base: "VB" for verb in VERBS.values()},
    **{verb.participle: "VBN" for verb in VERBS.values()},
    **{verb.past: "VBD" for verb in VERBS.values()},
}
_FORMS |= {
    word: pos
    for pos, words in {
        "VBD": "said went came gave saw told took spoke rose fell won drew sang ran put got felt lost",
        "VBN": "seen gone given told taken spoken shown born",
        "VB": "see go come give say tell take speak vote share want",
    }.items()
    for word in words.split()
}
_NOUN_FORMS: frozenset[str] = frozenset(word for table in (NOUNS, JOBS) for words in table.values() for word in words)
_PUNCTUATION = {
    ",": ",",
    ".": ".",
    "?": ".",
    "!": ".",
    ":": ":",
    ";": ":",
    "-": ":",
    '"': '"',
    "(": "(",
    ")": ")",
}


def plural(noun: str) -> str:
    """The plural of a noun of the lexicon."""
    return IRREGULAR.get(noun, noun + "s")


def tag(word: str, before: str = "") -> str:
    """A plausible Penn part of speech for a word that is no name; `before` is the word to its left."""
    low, previous = word.lower(), before.lower()
    if low in _PUNCTUATION:
        return _PUNCTUATION[low]
    if low[0].isdigit() or low in PLAIN["count"]:
        return "CD"
    if low in _NOUN_FORMS or (previous in _CLOSED and _CLOSED[previous] in ("DT", "PRP$", "POS") and low in _FORMS):
        return "NN"
    if low in _CLOSED:
        return _CLOSED[low]
    if low in _FORMS:
        if previous in ("was", "were", "been", "be", "is", "are", "had", "has", "have") and _FORMS[low] != "VB":
            return "VBN"
        return _FORMS[low]
    if word in PLAIN["month"] or word in PLAIN["weekday"]:
        return "NNP"
    for ending, pos in (("ly", "RB"), ("ing", "VBG"), ("ed", "VBD"), ("ss", "NN"), ("s", "NNS")):
        if low.endswith(ending):
            return pos
    return "NN"
