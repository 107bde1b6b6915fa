"""The pretraining text: passages told, retold, reported and talked about, never in a task's format.

Half of the passages tell of the world of the seed, the others of worlds met only briefly, so that
an encoder learns names by heart and also how to read names that it has never seen.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from ptune.demo import causes, claims, lexicon, opinions, passages, pronouns, relations, roles, senses, templates
from ptune.demo import world as worlds
from ptune.demo.grammar import Passage, Word, prose
from ptune.demo.world import World

_AGAIN = (
    "in other words ,",
    "that is ,",
    "so",
    "",
    "as we said ,",
    "it is known that",
    "the newspaper wrote that",
)
_BUT = ("but in fact", "in truth ,", "later we learned that", "but")
_INDEED = ("in truth ,", "", "indeed ,", "in fact")
_GUEST_PASSAGES = 400


def text(seed: int, sentences: int) -> Iterator[str]:
    """Passages of one to five sentences, `sentences` in all."""
    random = Random(f"ptune text {seed}")
    home, guest, n_lines, passages = worlds.build(seed), worlds.build(seed), 0, 0
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    while n_lines < sentences:
        if passages % _GUEST_PASSAGES == 0:
            guest = worlds.build(random.randrange(10**6, 10**9))
        passages += 1
        lines = random.choice(kinds)(home if random.random() < 0.5 else guest, random)[: sentences - n_lines]
        n_lines += len(lines)
        yield " ".join(prose(line) for line in lines)


def vocabulary() -> set[str]:
    """The words of the language, in lower case: templates, lexicon and the stock of names, none of a single world."""
    lines = [line for lines in (*templates.REGISTERS.values(), *templates.PHRASES.values()) for line in lines]
    lines += [*templates.TALK, *templates.RELATIONS, *_AGAIN, *_BUT, *_INDEED, *causes.JOINED, *_ANSWERS]
    lines += [line for frames in claims.FRAMES.values() for line in frames]
    lines += [
        line
        for relation in relations.RELATIONS
        for group in (relation.statements, relation.questions, relation.checks)
        for line in group
    ]
    lines += [clause for cause in causes.CAUSES for clause in cause]
    lines += [line for pair in senses.SENSES.values() for sense in pair for line in (sense.gloss, *sense.uses)]
    lines += [schema.template for schema in pronouns.SCHEMAS]
    lines += [
        *roles.SENTENCES,
        *templates.PUBLIC,
        *templates.SCIENCE,
        *templates.HEADINGS,
        *opinions.PRAISE,
        *opinions.BLAME,
        *opinions.SUMMARIES,
    ]
    words = {word for line in lines for word in re.findall("[a-z]+", re.sub(r"{.*?}|CLAIM|<\S+", " ", line))}
    for verb in lexicon.VERBS.values():
        words |= {verb.base, verb.past, verb.participle, *verb.converse.split()}
    words |= {
        word.lower()
        for table in (*lexicon.CLASSES.values(), *lexicon.TITLES.values(), worlds.NAME_WORDS, *worlds.stock().values())
        for word in table
    }
    return words | set(lexicon.HYPERNYM.values())


def _story(world: World, random: Random) -> list[list[Word]]:
    """Sentences of one register that share the things they are about."""
    register = random.choice((*templates.REGISTERS.values(), templates.PUBLIC))
    passage = Passage(world, random, again=0.6)
    return [passage.words(line) for line in random.sample(register, k=random.randint(1, 4))]


def _retold(world: World, random: Random) -> list[list[Word]]:
    """A claim, perhaps something else, then the claim in other words or its correction."""
    claim, passage = claims.draw(world, random), Passage(world, random)
    lines = [claims.sentence(passage, claim, aside=True)]
    if random.random() < 0.4:
        lines.append(claims.sentence(Passage(world, random), claims.draw(world, random)))
    if random.random() < 0.75:
        other, opening = claims.restated(claim, world, random), random.choice(_AGAIN)
    else:
        other, opening = claims.falsified(claim, world, random), random.choice(_BUT)
    return [*lines, claims.sentence(passage, other, opening=opening)]


def _framed(world: World, random: Random) -> list[list[Word]]:
    """What somebody knew, believed or made up, and sometimes how it really was."""
    claim, verdict = claims.draw(world, random), random.choice(tuple(claims.FRAMES))
    speaker = random.choice(world.entities["person"])
    passage = Passage(world, random, {"speaker": speaker}, again=0.5)
    lines = [claims.framed(passage, claim, verdict)]
    if verdict != "open" and random.random() < 0.7:
        real = claims.restated(claim, world, random, 1)
        if verdict == "false":
            real = claims.opposite(claim, world, random) or claims.negated(claim, world, random) or claim
        lines.append(claims.sentence(passage, real, opening=random.choice(_INDEED)))
    return lines


def _talk(world: World, random: Random) -> list[list[Word]]:
    passage = Passage(world, random)
    return [passage.words(random.choice(templates.TALK))]


def _relation(world: World, random: Random) -> list[list[Word]]:
    passage = Passage(world, random)
    return [passage.words(line) for line in random.sample(templates.RELATIONS, k=2)]


def _list(world: World, random: Random) -> list[list[Word]]:
    """Things of one class in a row, sometimes with the class named."""
    name = random.choice((*lexicon.NOUNS, "person", "town", "company", "band", "product"))
    slots = [f"{{{name}{number or ''}}}" for number in range(random.randint(2, 4))]
    row = " , ".join(slots[:-1]) + " and " + slots[-1]
    opening = random.choice(("we saw", "the story tells of", "{person} spoke of", "there were", "people asked about"))
    return [Passage(world, random).words(f"{opening} {row} .")]


def _biography(world: World, random: Random) -> list[list[Word]]:
    """What is known of one thing, fact after fact, sometimes with something else in between."""
    about = random.choice(world.entities[random.choice(tuple(relations.ABOUT))])
    passage = Passage(world, random, again=0.5)
    sentences = [words for _, words in relations.told(about, random.randint(2, 4), passage)]
    if random.random() < 0.4:
        sentences.insert(random.randint(1, len(sentences)), _one(world, random))
    return sentences


def _one(world: World, random: Random) -> list[Word]:
    """One fact of something else."""
    fact = relations.draw(world, random)
    return fact.passage(world, random).words(random.choice(fact.relation.statements))


def _quiz(world: World, random: Random) -> list[list[Word]]:
    """Facts of up to three things and a question about one of them with its answer: after them, before or around."""
    facts = []
    about = [random.choice(world.entities[random.choice(tuple(relations.ABOUT))])]
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        about.append(random.choice(world.entities[about[0].kind]))
    for entity in about:
        facts += relations.told(entity, random.randint(1, 3), Passage(world, random, again=0.3))
    fact, _ = random.choice(facts)
    facts = random.sample(facts, k=len(facts)) if random.random() < 0.3 else facts
    passage = fact.passage(world, random, again=0.3)
    template = random.choice(("QUESTION", '" QUESTION "', '" QUESTION " asked {speaker} .'))
    template = template.replace("QUESTION", random.choice(fact.relation.questions))
    answer = random.choice(("{value} .", '" {value} . "', "STATEMENT"))
    answer = answer.replace("STATEMENT", random.choice(fact.relation.statements))
    passage.bound["speaker"] = random.choice(world.entities["person"])
    lines, question, reply = [words for _, words in facts], passage.words(template), passage.words(answer)
    order = random.random()
    if order < 0.5:
        return [*lines, question, reply]
    return [question, reply, *lines] if order < 0.75 else [question, *lines, reply]


_ANSWERS = (
    "ANSWER .",
    '" ANSWER . "',
    '" ANSWER , " said {speaker} .',
    "the answer is ANSWER .",
    "the answer was ANSWER .",
    "ANSWER , STATEMENT",
    '" ANSWER , STATEMENT "',
    "{speaker} said ANSWER .",
)


def _asked(world: World, random: Random) -> list[list[Word]]:
    """Facts, then questions for yes or no with their answers."""
    about = [random.choice(world.entities[random.choice(tuple(relations.ABOUT))])]
    if random.random() < 0.5:
        about.append(random.choice(world.entities[about[0].kind]))
    facts = [
        pair
        for entity in about
        for pair in relations.told(entity, random.randint(1, 3), Passage(world, random, again=0.3))
    ]
    sentences = [words for _, words in facts]
    for fact, _ in random.choices(facts, k=random.randint(1, 3)):
        claim = fact if random.random() < 0.5 else passages.mistaken(fact, [fact for fact, _ in facts], world, random)
        passage = claim.passage(world, random)
        passage.bound["speaker"] = random.choice(world.entities["person"])
        sentences.append(passage.words(random.choice(fact.relation.checks)))
        answer = random.choice(_ANSWERS).replace("ANSWER", "yes" if claim is fact else "no")
        statement = random.choice(fact.relation.statements)
        passage.bound["value"] = fact.value
        sentences.append(passage.words(answer.replace("STATEMENT", statement)))
    return sentences


def _doubted(world: World, random: Random) -> list[list[Word]]:
    """A claim, told or embedded in what somebody thinks; was it so? yes, no or maybe."""
    claim, verdict = claims.draw(world, random), random.choice(("true", "false", "open", "plain"))
    speaker = random.choice(world.entities["person"])
    passage = Passage(world, random, {"speaker": speaker})
    question, answer = claim, {"true": "yes", "false": "no", "open": "maybe"}.get(verdict, "yes")
    if verdict == "plain":
        lines = [claims.sentence(passage, claim, aside=True)]
        if random.random() < 0.5:
            question, answer = claims.falsified(claim, world, random), "no"
        else:
            question = claims.restated(claim, world, random)
        if question.negated:
            question, answer = replace(question, negated=False), {"yes": "no", "no": "yes"}[answer]
    else:
        lines = [claims.framed(passage, claim, verdict)]
    other = claims.bind(Passage(world, random, {"speaker": speaker}), question)
    lines.append(other.words(claims.question(question, random)))
    reply = random.choice([line for line in _ANSWERS if "STATEMENT" not in line])
    return [*lines, other.words(reply.replace("ANSWER", answer))]


def _caused(world: World, random: Random) -> list[list[Word]]:
    """Something and what came of it."""
    passage = Passage(world, random, again=0.5)
    return [passage.words(line) for line in _split(causes.joined(passage, causes.draw(random)))]


def _split(template: str) -> list[str]:
    """A template of several sentences as one template a sentence."""
    return [line.strip() for line in re.split(r"(?<=[.?]) ", template) if line.strip()]


def _sense(world: World, random: Random) -> list[list[Word]]:
    """A word of two senses, in use, mostly explained; never two uses side by side, as a row of WiC has them."""
    word, number = senses.draw(random)
    sense = senses.SENSES[word][number]
    lines = [Passage(world, random).words(random.choice(sense.uses))]
    if random.random() < 0.6:
        gloss = random.choice((f"this {word} is {sense.gloss} .", f"here a {word} means {sense.gloss} ."))
        lines.append(Passage(world, random).words(gloss))
    return lines


def _resolved(world: World, random: Random) -> list[list[Word]]:
    """Two people and a pronoun, then who was meant."""
    schema, passage = random.choice(pronouns.SCHEMAS), pronouns.bound(world, random)
    lines = [passage.words(pronouns.template(schema))]
    if random.random() < 0.7:
        lines.append(passage.words(pronouns.resolved(schema)))
    return lines


def _review(world: World, random: Random) -> list[list[Word]]:
    """An opinion in two lines, then in a word."""
    praise = random.random() < 0.5
    passage = Passage(world, random)
    remarks = random.sample(opinions.PRAISE if praise else opinions.BLAME, k=random.randint(1, 2))
    return [*(passage.words(line) for line in remarks), opinions.summary(passage, praise)]


def _arranged(world: World, random: Random) -> list[list[Word]]:
    """A sentence in one of the many orders that who, what and whom can have."""
    return [roles.sentence(world, None, random)]


def _section(world: World, random: Random) -> list[list[Word]]:
    """News under, or above, the name of its section."""
    section = random.choice(tuple(templates.SECTIONS))
    passage = Passage(world, random, {"section": section}, again=0.3)
    lines = random.sample(random.choice(templates.SECTIONS[section]), k=random.randint(1, 2))
    sentences = [passage.words(line) for line in lines]
    sentences.insert(random.choice((0, len(sentences))), passage.words(random.choice(templates.HEADINGS)))
    return sentences


SHARES = {
    _story: 7,
    _arranged: 3,
    _review: 2,
    _section: 2,
    _retold: 4,
    _framed: 3,
    _doubted: 4,
    _biography: 4,
    _quiz: 10,
    _asked: 5,
    _caused: 2,
    _sense: 2,
    _resolved: 1,
    _talk: 1,
    _relation: 1,
    _list: 1,
}
