"""The json files of SQuAD 1.1 and 2.0: articles with paragraphs, and questions on each paragraph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Record

POINTER = b"version https://git-lfs.github.com/spec/"
SURROGATE = re.compile("[\ud800-\udfff]")


def read(path: Path) -> Iterator[Record]:
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
        for p, paragraph in enumerate(member(article, "paragraphs", list, where)):
            inside = f"{where}.paragraphs[{p}]"
            shared = {"title": article.get("title", ""), "context": text(paragraph, "context", inside)}
            for q, question in enumerate(member(paragraph, "qas", list, inside)):
                here = f"{inside}.qas[{q}]"
                values = {"id": text(question, "id", here), **shared, "question": text(question, "question", here)}
                if values["id"] in seen:
                    raise DataError(f"{here}: id {values['id']} is that of {seen[values['id']]}, too")
                seen[values["id"]] = here.partition(": ")[2]
                if "answers" in question:
                    values["answers"] = answers(question, here)
                yield Record(here, values)


def load(path: Path) -> Any:
    """The document in a file. Raises DataError for one that is no json, and says what it is where that shows."""
    raw = path.read_bytes()
    if raw.startswith(POINTER):
        raise DataError(f"{path}:1: a Git LFS pointer instead of the data; git lfs pull fetches it")
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: byte {error.start + 1} is not UTF-8; convert the file to UTF-8") from None
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}: not JSON ({error.msg}, character {error.pos + 1} of {len(content)})"
        cut = error.msg.startswith("Unterminated string") or not content[error.pos :].strip()
        raise DataError(place + ("; the file ends too early: is its download complete?" if cut else "")) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, nesting without an end
        raise DataError(f"{path}: not JSON ({error})") from None


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
    if SURROGATE.search(value):
        raise DataError(f"{where}.{key}: half a character (a lone surrogate); the file is damaged")
    return value


def answers(question: Any, where: str) -> dict[str, list[Any]]:
    """The answers of a question, by key instead of by answer. Raises DataError."""
    each = member(question, "answers", list, where)
    return {
        "text": [text(answer, "text", f"{where}.answers[{i}]") for i, answer in enumerate(each)],
        "answer_start": [member(answer, "answer_start", int, f"{where}.answers[{i}]") for i, answer in enumerate(each)],
    }
