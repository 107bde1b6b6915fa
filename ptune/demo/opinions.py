"""Reviews: what people think of works, bands, products and events, for and against. Add a line to a list to grow.

Half of the lines praise and half blame; in both there are words of the other side, negated or outweighed.
"""

from ptune.demo.grammar import Passage, Word

PRAISE: tuple[str, ...] = (
    "a {good} and {good2} {work.sort} .",
    "{work} is {good} from the first page to the last .",
    "{person} is {good} in {work} .",
    "not a {bad} moment in it .",
    "the story is simple , but {work.author} tells it in a {good} way .",
    "i laughed , i wept , and i want to see {work} again .",
    "{band} have never been so {good} .",
    "far from {bad} , {work} is a {good} surprise .",
    "a {good} {instrument} , a {good2} voice : {band} at their best .",
    "the {product} is {good} and never breaks .",
    "everyone should buy a {product} .",
    "it starts slow , yet the end is {good} .",
    "{work.author} has written a {good} {work.sort} about {town} .",
    "nobody left before the end of the {event} , and no wonder .",
    "the {event} was {good} this year .",
    "if you like {good} music , go and hear {band} .",
    "the best {work.sort} of the year .",
    "{person} plays with great joy , and so we forgive the {bad} songs .",
    "we could not stop reading .",
    "{good} , {good2} and never {bad} .",
    "my {relative} loved the {product} , and so do i .",
    "a small wonder , full of hope .",
    "worth every crown .",
    "{band} gave {town} a {good} night .",
)

BLAME: tuple[str, ...] = (
    "a {bad} and {bad2} {work.sort} .",
    "{work} is {bad} from the first page to the last .",
    "{person} is {bad} in {work} .",
    "not a {good} moment in it .",
    "the story is old , and {work.author} tells it in a {bad} way .",
    "i slept , i woke , and {work} was still not over .",
    "{band} have never been so {bad} .",
    "far from {good} , {work} is a {bad} mess .",
    "a {bad} {instrument} , a {bad2} voice : {band} at their worst .",
    "the {product} is {bad} and breaks every week .",
    "nobody should buy a {product} .",
    "it starts well , yet the end is {bad} .",
    "{work.author} has written a {bad} {work.sort} about {town} .",
    "half of the people left before the end of the {event} , and no wonder .",
    "the {event} was {bad} this year .",
    "if you like {bad} music , go and hear {band} .",
    "the worst {work.sort} of the year .",
    "{person} plays without any joy , and so we forget the {good} songs .",
    "we could not go on reading .",
    "{bad} , {bad2} and never {good} .",
    "my {relative} hated the {product} , and so do i .",
    "a big mess , full of noise .",
    "not worth a single crown .",
    "{band} gave {town} a {bad} night .",
)

SUMMARIES: tuple[str, ...] = (
    "in short , {verdict} .",
    "{person} called it {verdict} .",
    "what a {verdict} evening !",
    "all of us thought that it had been {verdict} .",
    "the newspaper found it {verdict} , too .",
    "{verdict} , really {verdict} .",
    "so how good was it ? {verdict} , said {person} .",
    "one word for it : {verdict} .",
)
VERDICTS = {True: ("great", "good", "great"), False: ("terrible", "bad", "terrible")}


def summary(passage: Passage, praise: bool) -> list[Word]:
    """The opinion in a word."""
    passage.bound["verdict"] = passage.random.choice(VERDICTS[praise])
    return passage.words(passage.random.choice(SUMMARIES))
