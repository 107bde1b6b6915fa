"""The answers of the demo corpora are right: each checked against the world by another way than it was made."""

import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import rendering
from rendering import matches, questions, rows, sentences

from ptune import demo
from ptune.demo import causes, claims, lexicon, opinions, pairs, pronouns, senses, templates, world
from ptune.demo.lexicon import VERBS

HOME = world.build(0)


def labeled(root: Path, name: str) -> list[dict[str, Any]]:
    """The rows of train and dev."""
    return [row for split in ("train", "val") for row in rows(root / name.lower() / name / f"{split}.jsonl")]


# Facts


def test_boolq(root: Path) -> None:
    """Yes just where the question holds of the world, and what it asks about has the passage's title."""
    found = labeled(root, "BoolQ")
    for row in found:
        assert (row["question"] + "?" in rendering.checked()) == row["label"], row
        assert row["passage"].split(" -- ")[0].lower() in row["question"]
    assert any(not row["label"] for row in found)


@pytest.mark.parametrize(("task", "version"), [("squad", "v1.1"), ("squad_v2", "v2.0")])
def test_squad(task: str, version: str, root: Path) -> None:
    """An answer stands where it is said to, and is the world's; it is told of the thing that is asked about."""
    count = 0
    for split in ("train", "dev"):
        for context, question in questions(root / task / f"{split}-{version}.json"):
            known = rendering.asked()[question["question"].lower()]
            for answer in question["answers"]:
                start = answer["answer_start"]
                assert context[start : start + len(answer["text"])] == answer["text"]
                assert answer["text"].lower() in {fact.answer.lower() for fact in known}, question
                count += 1
    assert count > 1000


def test_squad_v2_without_an_answer(root: Path) -> None:
    """No sentence tells the fact that is asked for, and the plausible answer is none, though of its kind."""
    impossible, tempting = 0, 0
    for split in ("train", "dev"):
        for context, question in questions(root / "squad_v2" / f"{split}-v2.0.json"):
            assert question["is_impossible"] == (not question["answers"])
            if not question["is_impossible"]:
                continue
            known = rendering.asked()[question["question"].lower()]
            told = [(line, fact) for line in sentences(context) for fact in known]
            assert not any(rendering.states(line, fact) for line, fact in told), (context, question)
            impossible += 1
            for answer in question["plausible_answers"]:
                start = answer["answer_start"]
                assert context[start : start + len(answer["text"])] == answer["text"]
                tempting += 1
    assert tempting == impossible > 300


def test_squad_v2_asks_nothing_twice_of_a_passage(root: Path) -> None:
    """Half of dev's questions have no answer, more than a third of training's, and each on a passage is another one."""
    for split, least in (("train", 0.33), ("dev", 0.45)):
        found = [
            (context, q["question"], q["is_impossible"])
            for context, q in questions(root / f"squad_v2/{split}-v2.0.json")
        ]
        assert len({(context, question) for context, question, _ in found}) == len(found), split
        assert least < sum(impossible for *_, impossible in found) / len(found) < least + 0.1, split


def test_states_finds_what_is_told(root: Path) -> None:
    """The check above sees facts: of answered questions it finds most, but not those told with a pronoun."""
    found = [
        any(rendering.states(line, fact) for line in sentences(context) for fact in rendering.asked()[asked.lower()])
        for context, question in questions(root / "squad" / "dev-v1.1.json")
        for asked in [question["question"]]
    ]
    assert sum(found) > 0.75 * len(found)


def test_multirc(root: Path) -> None:
    """An answer is right just where it is the world's value, its statement, or a name that the text has."""
    full = 0
    for row in labeled(root, "MultiRC"):
        text = row["passage"]["text"]
        for question in row["passage"]["questions"]:
            known = rendering.asked().get(question["question"].lower())
            for answer in question["answers"]:
                if known is None:
                    assert re.fullmatch(r"Of which \w+ does the text speak\?", question["question"])
                    right = answer["text"] in text
                elif answer["text"].endswith("."):
                    right = any(rendering.states(answer["text"], fact) for fact in known)
                    full += 1
                else:
                    right = answer["text"] in {fact.answer for fact in known}
                assert right == bool(answer["label"]), (text, question, answer)
    assert full > 50


def test_record(root: Path) -> None:
    """The gap filled with an answer states a fact, and with no other entity of the passage; marks are names."""
    found = 0
    for row in labeled(root, "ReCoRD"):
        text = row["passage"]["text"]
        names = {text[mark["start"] : mark["end"] + 1] for mark in row["passage"]["entities"]}
        for query in row["qas"]:
            right = {answer["text"] for answer in query["answers"]}
            for answer in query["answers"]:
                assert text[answer["start"] : answer["end"] + 1] == answer["text"]
            assert len(right) == 1
            assert right < names
            told = {
                name
                for name in names
                for fact in of_value(name)
                if rendering.states(query["query"].replace("@placeholder", name), fact)
            }
            assert told == right or not told, (query, text)
            found += len(told)
    assert found > 900


FACTS_OF: dict[str, list[Any]] = {}  # of things whose name is theirs alone
for _fact in rendering.facts():
    if sum(entity.kind == _fact.about.kind for entity in rendering.by_name_of()[_fact.about.name]) == 1:
        FACTS_OF.setdefault(_fact.answer, []).append(_fact)


def of_value(name: str) -> list[Any]:
    """The facts with this value."""
    return FACTS_OF.get(name, [])


# Sense


def test_copa(root: Path) -> None:
    """The right choice is the other half of the premise's cause with the same people and things; the wrong is not."""
    for row in labeled(root, "COPA"):
        fits = [is_caused(row["premise"], row[name], row["question"]) for name in ("choice1", "choice2")]
        assert fits == [row["label"] == 0, row["label"] == 1], row


def is_caused(premise: str, choice: str, asked: str) -> bool:
    for cause in causes.CAUSES:
        first, second = (cause.cause, cause.effect) if asked == "effect" else (cause.effect, cause.cause)
        if (one := matches(f"{first} .", premise)) and (
            matches(f"{second} .", choice, **{name: re.escape(text) for name, text in one.groupdict().items()})
        ):
            return True
    return False


def test_causes_are_of_one_effect() -> None:
    assert len({cause.cause for cause in causes.CAUSES}) == len({c.effect for c in causes.CAUSES}) == len(causes.CAUSES)


def test_wsc(root: Path) -> None:
    """Two people of one gender, and the candidate is the antecedent just where the schema means it."""
    people = {entity.name: entity for entity in HOME.entities["person"]}
    for row in labeled(root, "WSC"):
        target, parts = row["target"], row["text"].split()
        for number in (1, 2):
            text, index = target[f"span{number}_text"], target[f"span{number}_index"]
            assert " ".join(parts[index : index + len(text.split())]).rstrip(".,") == text
        found = [
            (match["A"], match["B"], schema.means)
            for schema in pronouns.SCHEMAS
            if (match := re.fullmatch(as_pattern(schema.template), row["text"]))
        ]
        assert len(found) == 1, row
        first, second, means = found[0]
        assert people[first].facts["he"] == people[second].facts["he"] == target["span2_text"]
        assert first != second
        assert ((first, second)[means - 1] == target["span1_text"]) == row["label"], row


def as_pattern(schema: str) -> str:
    text = re.sub(r"\ban? \{\w+\}|\{\w+\}", ".+", schema.replace(" .", r"\."))
    return text.replace("A ", "(?P<A>.+) ", 1).replace(" B ", " (?P<B>.+) ", 1).replace("THEY", "(?:he|she)")


def test_schemas_mean_one() -> None:
    """No template has both antecedents, and what is said without a pronoun is said of whom it means."""
    assert len({schema.template for schema in pronouns.SCHEMAS}) == len(pronouns.SCHEMAS)
    for schema in pronouns.SCHEMAS:
        assert f"THEY {schema.plain} " in schema.template
        assert pronouns.resolved(schema).startswith(f"it was {{person{'' if schema.means == 1 else 2}}} who")


def test_wic(root: Path) -> None:
    """The marked words are uses of the word, in one sense just where the label says so."""
    for row in labeled(root, "WiC"):
        used = []
        for number in (1, 2):
            text, start, end = row[f"sentence{number}"], row[f"start{number}"], row[f"end{number}"]
            assert text[start:end].lower() in (row["word"], row["word"] + "s")
            pair = senses.SENSES[row["word"]]
            used.append({i for i, sense in enumerate(pair) for use in sense.uses if matches(use, text)})
        assert [len(found) for found in used] == [1, 1], row
        assert (used[0] == used[1]) == row["label"], row
        assert row["sentence1"] != row["sentence2"]


# Claims


def test_cb(root: Path) -> None:
    """The frames that the last sentence can be, with the hypothesis as its clause, are of the label alone."""
    verdicts = {"true": "entailment", "false": "contradiction", "open": "neutral"}
    for row in labeled(root, "CB"):
        last, clause = sentences(row["premise"])[-1], row["hypothesis"].lower()
        found = {verdicts[verdict] for verdict, said in clauses(last).items() if clause in map(str.lower, said)}
        assert found == {row["label"]}, row


SPEAKER = r"(?-i:[A-Z]\w+ [A-Z]\w+)"


def clauses(sentence: str) -> dict[str, list[str]]:
    """What a sentence may embed, by what its frame says about it."""
    return {
        verdict: [m["claim"] for line in lines if (m := matches(line, sentence, speaker=SPEAKER))]
        for verdict, lines in FRAMES.items()
    }


FRAMES = {verdict: [f.replace("CLAIM", "{claim}") for f in lines] for verdict, lines in claims.FRAMES.items()}


@dataclass(frozen=True)
class Reading:
    """One way to understand a sentence."""

    verb: str
    subject: str
    object: str
    place: str
    time: str
    denied: bool


MONTHS, DAYS = ("|".join(lexicon.CLASSES[kind]) for kind in ("month", "weekday"))
TIME = rf"in \d{{4}}|in (?:{MONTHS})|on (?:{DAYS})"
TOWNS = rendering.names(HOME, ["town"])
NAMES = {name.lower() for name in rendering.by_name_of()}


def readings(text: str) -> list[Reading]:
    """Every way to understand a plain sentence as who did what to whom, where and when."""
    text = re.sub(r", an? \w+(?: from [^,]+?)?,(?= |$)", "", text.rstrip("."))
    text = re.sub(rf"\bthe (?:{'|'.join(lexicon.CLASSES['job'])}) (?=[A-Z])", "", text, flags=re.IGNORECASE)
    time = ""
    if match := re.match(rf"({TIME}), ", text, re.IGNORECASE):
        time, text = match[1].lower(), text[match.end() :]
    elif match := re.search(rf" ({TIME})$", text):
        time, text = match[1].lower(), text[: match.start()]
    bodies = [(text, "")]
    if (match := re.fullmatch(r"(.+) in (.+?)", text)) and match[2] in TOWNS:
        bodies.append((match[1], match[2]))
    return [
        Reading(verb, subject.lower(), patient.lower(), place, time, denied)
        for body, place in bodies
        for verb, subject, patient, denied in shapes(body)
        if is_thing(subject) and is_thing(patient)
    ]


def is_thing(text: str) -> bool:
    return text.lower() in NAMES or text.split()[-1] in lexicon.HYPERNYM or text.split()[-1] in lexicon.NOUNS


def shapes(body: str) -> list[tuple[str, str, str, bool]]:
    found = []
    low = body.lower()
    for base, verb in VERBS.items():
        forms = (base, verb.past, verb.participle, verb.converse or base)
        if not any(f" {form} " in low for form in forms):
            continue
        active = [(rf"(.+) {verb.past} (.+)", False), (rf"it was (.+) who {verb.past} (.+)", False)]
        active += [(rf"(.+) did not {base} (.+)", True), (rf"(.+) never {verb.past} (.+)", True)]
        passive = [(rf"(.+) was {verb.participle} by (.+)", False), (rf"(.+) was not {verb.participle} by (.+)", True)]
        if verb.converse:
            passive.append((rf"(.+) {verb.converse} (.+)", False))
        found += [(base, m[1], m[2], no) for line, no in active if (m := re.fullmatch(line, body, re.IGNORECASE))]
        found += [(base, m[2], m[1], no) for line, no in passive if (m := re.fullmatch(line, body, re.IGNORECASE))]
    return found


def asserted(premise: str) -> list[Reading]:
    """What a text says is so: its plain sentences, and the clauses of the frames that make them true."""
    found = []
    for line in sentences(premise):
        embedded = clauses(line)
        framed = {verdict for verdict, said in embedded.items() for clause in said if readings(clause)}
        assert len(framed) <= 1, (line, embedded)
        if not framed:
            found += readings(line)
        elif framed == {"true"}:
            found += [reading for clause in embedded["true"] for reading in readings(clause)]
    return found


def follows(one: Reading, other: Reading) -> bool:
    verb = VERBS[one.verb]
    if one.denied or other.denied:
        same = (one.subject, one.object, one.place, one.time) == (other.subject, other.object, other.place, other.time)
        return one.denied and other.denied and same and other.verb in (one.verb, *verb.synonyms)
    alike = {one.verb, *verb.synonyms}
    weaker = set(chain.from_iterable(VERBS[name].implies for name in alike))
    weaker |= set(chain.from_iterable(VERBS[name].synonyms for name in weaker))
    if other.verb not in alike | weaker or other.place not in ("", one.place) or other.time not in ("", one.time):
        return False
    if (other.subject, other.object) == (one.object, one.subject):
        return VERBS[other.verb].symmetric
    return one.subject == other.subject and other.object in broader(one.object)


def broader(thing: str) -> set[str]:
    noun = thing.split()[-1]
    top = lexicon.HYPERNYM.get(noun)
    if thing in NAMES or not top:
        return {thing}
    article = "an" if top[0] in "aeiou" else "a"
    return {thing, thing.replace(noun, top), f"{article} {top}", f"the {noun}"}


def test_rte(root: Path) -> None:
    """Entailed just where a sentence that the text asserts, read on its own, gives the hypothesis."""
    for row in labeled(root, "RTE"):
        wanted = readings(row["hypothesis"])
        assert wanted, row
        told = asserted(row["premise"])
        entailed = any(follows(one, other) for one in told for other in wanted)
        assert entailed == (row["label"] == "entailment"), row


# GLUE's pairs


def pairs_of(root: Path, place: str) -> list[dict[str, str]]:
    """The rows of train and dev of a corpus in GLUE's tables, but broken ones."""
    found = []
    for path in sorted(path for path in (root / place).glob("*.tsv") if "test" not in path.name):
        header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
        found += [dict(zip(header, cells, strict=True)) for cells in lines if len(cells) == len(header)]
    return found


def test_qqp(root: Path) -> None:
    """Duplicate just where one fact answers both questions."""
    for row in pairs_of(root, "qqp/QQP"):
        one, two = (
            {(fact.relation.fact, fact.about.name) for fact in rendering.asked()[row[f"question{i}"].lower()]}
            for i in (1, 2)
        )
        assert bool(one & two) == (row["is_duplicate"] == "1"), row


def halves(sentence: str) -> list[str]:
    """The two statements that a sentence joins."""
    one, two = sentence.split(", and ")
    return [f"{one}.", two]


def test_qnli(root: Path) -> None:
    """Entailed just where one half states the fact that is asked for."""
    for row in pairs_of(root, "qnli/QNLI"):
        known = rendering.asked()[row["question"].lower()]
        told = any(rendering.states(half, fact) for half in halves(row["sentence"]) for fact in known)
        assert told == (row["label"] == "entailment"), row


@pytest.mark.parametrize(
    ("place", "first", "second", "label"),
    [("mrpc/MRPC", "#1 String", "#2 String", "Quality"), ("paws/final", "sentence1", "sentence2", "label")],
)
def test_facts_of_pairs(place: str, first: str, second: str, label: str, root: Path) -> None:
    """They say the same just where both sentences are true; else one of them is."""
    facts: dict[str, list[Any]] = {}
    for fact in rendering.facts():
        facts.setdefault(fact.about.name, []).append(fact)

    def true(sentence: str) -> bool:
        return all(
            any(rendering.states(half, fact) for name in facts if name.lower() in half.lower() for fact in facts[name])
            for half in halves(sentence)
        )

    for row in pairs_of(root, place)[:400]:
        assert [true(row[first]), true(row[second])].count(True) == 1 + int(row[label]), row


def test_paws(root: Path) -> None:
    """The sentences of a pair are of the same words."""
    found = pairs_of(root, "paws/final")
    same = [sorted(rendering.words(row["sentence1"])) == sorted(rendering.words(row["sentence2"])) for row in found]
    assert sum(same) > 0.9 * len(same)
    assert all(row["sentence1"] != row["sentence2"] for row in found)


SAID = [line.replace("CLAIM", "{claim}") for lines in pairs.SAID.values() for line in lines]


def said(sentence: str) -> list[Reading]:
    """What a sentence tells, whoever says it."""
    framed = [match["claim"] for line in SAID if (match := matches(line, sentence))]
    return [reading for claim in framed for reading in readings(claim)]


def test_mnli(root: Path) -> None:
    """Entailed just where a sentence of the premise gives the hypothesis, contradicted where its verb is opposed."""
    found = pairs_of(root, "mnli/MNLI")
    assert len(found) == 1600
    for row in found:
        told = [reading for line in sentences(row["sentence1"]) for reading in said(line)]
        wanted = readings(row["sentence2"])
        assert told, row
        entailed = any(follows(one, other) for one in told for other in wanted)
        assert entailed == (row["gold_label"] == "entailment"), row
        against = any(opposed(one, other) for one in told for other in wanted)
        assert against == (row["gold_label"] == "contradiction"), row


def opposed(one: Reading, other: Reading) -> bool:
    """Whether of the same people and things, there and then, the verbs are opposites, or synonyms of such."""
    if {one.subject, one.object} != {other.subject, other.object} or (one.place, one.time) != (other.place, other.time):
        return False
    verbs = (one.verb, *VERBS[one.verb].synonyms, *(v for v in VERBS if one.verb in VERBS[v].synonyms))
    return any(v in VERBS[other.verb].opposites or other.verb in VERBS[v].opposites for v in verbs)


def test_stsb(root: Path) -> None:
    """What is alike has more words in common."""
    shared: dict[int, list[float]] = {}
    for row in pairs_of(root, "stsb/STS-B"):
        one, two = (set(rendering.words(row[f"sentence{i}"])) for i in (1, 2))
        shared.setdefault(round(float(row["score"])), []).append(len(one & two) / len(one | two))
    means = {score: sum(shares) / len(shares) for score, shares in shared.items()}
    assert means[0] < means[1] < min(means[2], means[3], means[4], means[5])


def test_trec(root: Path) -> None:
    """Questions for facts are of the kind of their value."""
    from ptune.readers import delimited

    kinds = {"person": "3", "company": "3", "club": "3", "job": "3", "town": "4", "country": "4", "year": "5",
             "stuff": "1", "topic": "1"}  # fmt: skip
    count = 0
    for record in delimited.read(root / "trec/trec/train.csv", ",", ["label", "text"], quoted=True):
        known = rendering.asked().get(record.values["text"].lower(), [])
        assert {kinds[fact.relation.value] for fact in known} <= {record.values["label"]}, record
        count += bool(known)
    assert count > 400


def test_trec_where_no_agency_of_a_split_goes_by_an_acronym(tmp_path: Path) -> None:
    demo.write("trec", tmp_path, 29, {"train": 40, "dev": 40, "test": 40})
    assert len((tmp_path / "trec/test.csv").read_text(encoding="utf-8").splitlines()) == 40


# Topics and opinions


def test_agnews(root: Path) -> None:
    """The title is of a template of its class, and of no other."""
    from ptune.readers import delimited

    sections = [[line for lines in section for line in lines] for section in templates.SECTIONS.values()]
    phrases = dict.fromkeys(templates.PHRASES, ".+?")
    for record in delimited.read(root / "agnews/dev.csv", ",", ["label", "title", "description"], quoted=True):
        title, number = record.values["title"], int(record.values["label"]) - 1
        found = {
            i
            for i, lines in enumerate(sections)
            for line in lines
            if matches(f"{bare(line)} .", title + " .", **phrases)
        }
        assert number in found, record


def bare(line: str) -> str:
    return line.removesuffix(" .")


def test_sst2(root: Path) -> None:
    """The last opinion of a review is of a template of its label alone."""
    good, bad = ("|".join(lexicon.CLASSES[name]) for name in ("good", "bad"))
    bound = {"good": f"(?:{good})", "good2": f"(?:{good})", "bad": f"(?:{bad})", "bad2": f"(?:{bad})"}
    for line in (root / "sst2/SST-2/dev.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        text, label = line.split("\t")
        last = text.split("but for me : ")[-1]
        found = {
            str(int(praise))
            for praise, lines in ((True, opinions.PRAISE), (False, opinions.BLAME))
            for one in lines
            for two in ("", *lines)
            if matches(f"{one} {two}", last, **bound)
        }
        assert label in found, line


def test_json_is_one_object_a_line(root: Path) -> None:
    for path in root.rglob("*.jsonl"):
        assert all(isinstance(json.loads(line), dict) for line in path.read_text(encoding="utf-8").splitlines())
