"""Damage to a file at random: in its bytes, lines, separators, numbers, JSON values, characters and nesting."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

SEPARATORS = ("\t", " ", "  ", ",", ";", "|", "|||", ":", "\n", "")
ENDS = ("\n", "\r\n", "\r", "\n\r", "\r\r\n", "\n\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")
NUMBERS = (
    *("-1", "0", "-0", "1e999", "-1e999", "NaN", "-Infinity", "1.5", "1e-320", "0x10", "1_000", "\u00b2", "\u0663"),
    *("9" * 20, "-" + "9" * 20, str(2**31), str(2**63), "9" * 400, "9" * 5000, "0." + "3" * 500, "1e", "007", "+1"),
)
ODD = (
    *("\0", "\ufeff", "\ufffe", "\uffff", "\u202e", "\u2066", "\u0301", "\u0301" * 40, "\U0001f9d1\u200d\U0001f680"),
    *("\U00010348", "\u00a0", "\u3000", "\u200b", "\u00ad", "\x1b[31m", "\x07", "\x7f", "\x1f", "\u0130", "\ufb01"),
    *("\\ud800", "\\udc00", "\\u0000", "\\u2028", "\\ud83d\\ude00", "\\", '"', "'", "#", "%s", "{0}", "${x}", "../"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, 1.5, 1e308, float("nan"), float("inf"), "", " ", "0", "\0", "a\nb", "\ud800"),
    *([], [[]], [None], {}, {"": {}}, [1, "a"], {"text": 1}, "\u202eabc", "x" * 3000, 10**400),
)


def mutated(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """The content with one or a few kinds of damage; `others` are files to take parts of."""
    for _ in range(1 + min(int(draw.expovariate(1.0)), 4)):
        operation = draw.choices(OPERATIONS, WEIGHTS)[0]
        if operation in OF_BYTES:
            content = OF_BYTES[operation](content, draw, others)
        else:
            text = content.decode("utf-8", "surrogateescape")
            content = OF_TEXT[operation](text, draw).encode("utf-8", "surrogatepass")
    return content


def place(content: Sequence[Any], draw: random.Random) -> int:
    """Anywhere in it, its end counted."""
    return draw.randrange(len(content) + 1)


def part(content: Sequence[Any], draw: random.Random) -> tuple[int, int]:
    """The ends of a part, more often of a short one."""
    start = place(content, draw)
    return start, min(len(content), start + int(draw.expovariate(1 / (1 + len(content) / 8))))


# Bytes


def flip(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """A few bits changed."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8) if content else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def noise(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Bytes in between that mean nothing."""
    at = place(content, draw)
    return content[:at] + draw.randbytes(draw.randint(1, 9)) + content[at:]


def cut(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """Its end, its beginning, or a part of it left out."""
    start, end = part(content, draw)
    return draw.choice((content[:start], content[end:], content[:start] + content[end:]))


def twice(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """A part of it again, there or elsewhere."""
    start, end = part(content, draw)
    at = draw.choice((start, place(content, draw)))
    return content[:at] + content[start:end] * draw.choice((1, 1, 2, 9)) + content[at:]


def spliced(content: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """A part of another file in it."""
    other, at = draw.choice(others), place(content, draw)
    start, end = part(other, draw)
    return content[:at] + other[start:end] + content[at:]


# Text


def lines(text: str, draw: random.Random) -> str:
    """Lines swapped, left out, twice, joined or in another order."""
    rows = text.split("\n")
    i, j = draw.randrange(len(rows)), draw.randrange(len(rows))
    match draw.randrange(5):
        case 0:
            rows[i], rows[j] = rows[j], rows[i]
        case 1:
            del rows[i]
        case 2:
            rows.insert(j, rows[i])
        case 3:
            rows[i : i + 2] = ["".join(rows[i : i + 2])]
        case _:
            draw.shuffle(rows)
    return "\n".join(rows)


def words(text: str, draw: random.Random) -> str:
    """What stands between separators left out, twice, or in the place of another."""
    cells = re.split(r"([\s,:|]+)", text)
    i, j = draw.randrange(len(cells)), draw.randrange(len(cells))
    cells[i] = draw.choice(("", cells[i] * 2, cells[j]))
    return "".join(cells)


def separators(text: str, draw: random.Random) -> str:
    """One separator for another, once, at some places or at all of them."""
    old, new = draw.choice([one for one in SEPARATORS if one and one in text] or ["a"]), draw.choice(SEPARATORS)
    share = draw.choice((0.0, 0.3, 1.0))
    if not share:
        at = place(text, draw)
        return text[:at] + text[at:].replace(old, new, 1)
    return re.sub(re.escape(old), lambda found: new if draw.random() < share else found[0], text)


def ends(text: str, draw: random.Random) -> str:
    """Line ends of several systems, mixed."""
    some = draw.sample(ENDS, 2)
    return re.sub("\n", lambda found: draw.choice((found[0], *some)), text)


def numbers(text: str, draw: random.Random) -> str:
    """A number made huge, or none."""
    found = [*re.finditer(r"-?\d+(?:\.\d+)?", text)]
    if not found:
        return text
    one = draw.choice(found)
    return text[: one.start()] + draw.choice(NUMBERS) + text[one.end() :]


def characters(text: str, draw: random.Random) -> str:
    """Characters that few files have: NUL, marks of byte order and direction, controls, escapes, quotes."""
    for _ in range(draw.randint(1, 3)):
        at = place(text, draw)
        text = text[:at] + draw.choice(ODD) + text[at + draw.randint(0, 1) :]
    return text


def brackets(text: str, draw: random.Random) -> str:
    """Brackets and quotation marks left out or in between."""
    found = [*re.finditer(r"[()\[\]{}*\"']", text)]
    if found and draw.random() < 0.5:
        at = draw.choice(found).start()
        return text[:at] + text[at + 1 :]
    at = place(text, draw)
    return text[:at] + draw.choice("()[]{}*\"'") + text[at:]


def values(text: str, draw: random.Random) -> str:
    """In a document of JSON, or a line of one, values of other types, keys left out, deep nesting."""
    rows = [text] if text.startswith(("{\n", "[\n")) else text.split("\n")
    i = draw.randrange(len(rows))
    try:
        node = {"": json.loads(rows[i])}
        exchange(node, draw)
        rows[i] = json.dumps(node.get("", {}), indent=1 if len(rows) == 1 else None, ensure_ascii=draw.random() < 0.5)
    except (ValueError, RecursionError):  # no JSON, or nested deeply before
        return characters(text, draw)
    return "\n".join(rows)


def exchange(node: Any, draw: random.Random) -> None:
    """One value somewhere in it exchanged, left out, or wrapped."""
    held = [(node, key) for key in node]
    for owner, key in held:  # grows as it goes
        if isinstance(owner[key], dict | list):
            inner = owner[key]
            held += [(inner, one) for one in (inner if isinstance(inner, dict) else range(len(inner)))]
    owner, key = draw.choice(held)
    match draw.randrange(5):
        case 0:
            del owner[key]
        case 1:
            other, name = draw.choice(held)
            owner[key] = json.loads(json.dumps(other[name]))
        case 2:
            for _ in range(draw.choice((*[1] * 9, 2, 300, 700))):
                owner[key] = draw.choice(([owner[key]], {"a": owner[key]}))
        case _:
            owner[key] = draw.choice(VALUES)


def long(text: str, draw: random.Random) -> str:
    """A very long line."""
    at = place(text, draw)
    return (
        text[:at] + draw.choice(("x", " ", "\t", "(", "é", "1", '"', "a b ")) * draw.randint(10**4, 10**6) + text[at:]
    )


def nested(text: str, draw: random.Random) -> str:
    """Nesting without an end."""
    at = place(text, draw)
    return text[:at] + draw.choice(("[", '{"a":', "[[],", "(")) * draw.choice((10, 400, 990, 100_000)) + text[at:]


OF_BYTES: dict[str, Callable[[bytes, random.Random, Sequence[bytes]], bytes]] = {
    one.__name__: one for one in (flip, noise, cut, twice, spliced)
}
OF_TEXT: dict[str, Callable[[str, random.Random], str]] = {
    one.__name__: one for one in (lines, words, separators, ends, numbers, characters, brackets, values, long, nested)
}
OPERATIONS = [*OF_BYTES, *OF_TEXT]
WEIGHTS = [{"long": 0.1, "nested": 0.1, "flip": 0.5, "noise": 0.5, "values": 3}.get(name, 1) for name in OPERATIONS]
