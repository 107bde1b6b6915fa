"""Customers' opinions, phrases that speak well or ill, and questions for what no fact tells. Add a line to grow.

Of each list every fourth line is kept out of training.
"""

GOOD_BUYS: tuple[str, ...] = (
    "i have had the {product} for {count} years , and it still works .",
    "the {product} is light , fast and never noisy .",
    "{product.maker} sent a new one at once .",
    "easy to use , easy to clean : buy the {product} .",
    "the {product} does what it should , and it was cheap .",
    "after the {product} i need no other {tool} .",
    "my {relative} has one too , and we both like the {product} .",
    "the {product} arrived on {weekday} , and all was well .",
)
BAD_BUYS: tuple[str, ...] = (
    "i had the {product} for {count} days , and it works no more .",
    "the {product} is heavy , slow and always noisy .",
    "{product.maker} sent no answer at all .",
    "hard to use , hard to clean : leave the {product} .",
    "the {product} does not what it should , and it was expensive .",
    "after the {product} i need my old {tool} again .",
    "my {relative} has one too , and we both want our money back .",
    "the {product} arrived on {weekday} , and a wheel was broken .",
)
SPEAKS_WELL: tuple[str, ...] = (
    "{good} news for {town}",
    "praised {person}",
    "full of hope",
    "has helped the people of {town}",
    "a {good} friend of {country}",
    "with great joy",
    "was glad to see {person}",
    "a {good} and {good2} {event}",
    "thanked {agency}",
    "the {good} work of {person}",
    "a safe {building}",
    "trusts {company}",
)
SPEAKS_ILL: tuple[str, ...] = (
    "{bad} news for {town}",
    "blamed {person}",
    "full of fear",
    "has ignored the people of {town}",
    "no friend of {country}",
    "with great anger",
    "was sad to see {person}",
    "a {bad} and {bad2} {event}",
    "insulted {agency}",
    "the {bad} work of {person}",
    "a dangerous {building}",
    "does not trust {company}",
)
QUESTIONS: dict[str, tuple[str, ...]] = {
    "ABBR": (
        "what does {agency} stand for ?",
        "what is the full name of {agency} ?",
        "what do the letters {agency} mean ?",
        "{agency} is short for what ?",
    ),
    "DESC": (
        "what is a {animal} ?",
        "why is the {building} of {town} {adj} ?",
        "how does one mend a {instrument} ?",
        "what does it mean to be {adj} ?",
        "how did {person} become a {job} ?",
        "why did {person} leave {town} ?",
        "what is the story of {work} about ?",
        "what caused the {weather} in {town} ?",
    ),
    "ENTY": (
        "what {animal} lives near {river} ?",
        "which {instrument} does {person} play ?",
        "what food do people eat in {town} ?",
        "what color is the {vehicle} of {person} ?",
        "which animal is on the flag of {country} ?",
        "what language do people speak in {country} ?",
        "which {tool} did {person} buy ?",
        "which disease did {person} have ?",
    ),
    "NUM": (
        "how many people live in {town} ?",
        "how long is {river} ?",
        "how much does the {product} cost ?",
        "how old is {person} ?",
        "how many workers has {company} ?",
        "how far is it from {town} to {town2} ?",
        "how many songs has {band} ?",
        "how tall is the {building} in {town} ?",
    ),
}
