"""The json files of SQuAD 1.1 and 2.0: articles with paragraphs, and questions on each paragraph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError, UnreadableError
from ptune.readers import LONGEST_LINE, POINTER, Each, Record, content, strict

SURROGATE = re.compile("[\ud800-\udfff]")


def read(path: Path, each: Each = strict) -> Iterator[Record]:
    """Yield a record a question, as the Hub has them: id, title, context, question, answers {text, answer_start}.

    Questions on one paragraph share its text; `answers` is left out where the file has none. Raises DataError, which
    names the place, for a file that is not SQuAD's json.
    """
    document = load(path)
    articles = member(document, "data", list, str(path))
    seen: dict[str, str] = {}
    articles.reverse()
    for a in range(len(articles)):
        article = articles.pop()  # let go of what has been read
        where = f"{path}: data[{a}]"
        with each("articles"):
            for p, paragraph in enumerate(member(article, "paragraphs", list, where)):
                with each("paragraphs"):
                    yield from asked(paragraph, article.get("title", ""), f"{where}.paragraphs[{p}]", seen, each)


def asked(paragraph: Any, title: Any, where: str, seen: dict[str, str], each: Each) -> Iterator[Record]:
    """The records of one paragraph; seen: the place of every id so far."""
    context = text(paragraph, "context", where)
    for q, question in enumerate(member(paragraph, "qas", list, where)):
        here = f"{where}.qas[{q}]"
        with each("questions"):
            values: dict[str, Any] = {"id": text(question, "id", here), "title": title, "context": context}
            values["question"] = text(question, "question", here)
            if values["id"] in seen:
                raise DataError(f"{here}: id {values['id']} is that of {seen[values['id']]}, too")
            seen[values["id"]] = here.partition(": ")[2]
            if "answers" in question:
                values["answers"] = answers(question, here)
            yield Record(here, values)


def load(path: Path) -> Any:
    """The document in a file. Raises UnreadableError for one that is no json, and says what it is where that shows."""
    raw = content(path)
    if raw.startswith(POINTER.encode()):
        raise UnreadableError(f"{path}:1: a Git LFS pointer instead of the data; git lfs pull fetches it")
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = error.start - raw.rfind(b"\n", 0, error.start)
        raise UnreadableError(f"{path}:{line}: byte {byte} is not UTF-8; convert the file to UTF-8") from None
    if "\0" in decoded:
        line = decoded.count("\n", 0, decoded.index("\0")) + 1
        raise UnreadableError(f"{path}:{line}: a NUL character; the file is damaged or not text")
    try:
        return json.loads(decoded)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}: not JSON ({error.msg}, character {error.pos + 1} of {len(decoded)})"
        cut = error.msg.startswith("Unterminated string") or not decoded[error.pos :].strip()
        raise UnreadableError(place + ("; the file ends too early: is its download complete?" if cut else "")) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, nesting without an end
        raise UnreadableError(f"{path}: not JSON ({error})") from None


def sound(value: str, where: str) -> None:
    """Raises DataError for a text with half a character in it, or of more characters than a text corpus has."""
    if SURROGATE.search(value):
        raise DataError(f"{where}: half a character (a lone surrogate); the file is damaged")
    if len(value) > LONGEST_LINE:
        raise DataError(f"{where}: {len(value)} characters, and {LONGEST_LINE} are the most; is this a text corpus?")


def member(node: Any, key: str, kind: type, where: str) -> Any:
    """node[key], which has to be there and of that kind. Raises DataError."""
    if not isinstance(node, dict):
        raise DataError(f"{where}: a {type(node).__name__} where an object with '{key}' is needed")
    if key not in node:
        raise DataError(f"{where}: no '{key}'; is this a file of SQuAD?")
    value = node[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = {"list": "list", "str": "text", "int": "number"}[kind.__name__]
        raise DataError(f"{where}.{key}: a {type(value).__name__} where a {wanted} is needed")
    return value


def text(node: Any, key: str, where: str) -> str:
    """A text of which every character is whole. Raises DataError."""
    value: str = member(node, key, str, where)
    sound(value, f"{where}.{key}")
    return value


def answers(question: Any, where: str) -> dict[str, list[Any]]:
    """The answers of a question, by key instead of by answer. Raises DataError."""
    each = member(question, "answers", list, where)
    return {
        "text": [text(answer, "text", f"{where}.answers[{i}]") for i, answer in enumerate(each)],
        "answer_start": [member(answer, "answer_start", int, f"{where}.answers[{i}]") for i, answer in enumerate(each)],
    }
