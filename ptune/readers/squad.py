"""The json files of SQuAD 1.1 and 2.0: articles with paragraphs, and questions on each paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Each, Record, strict
from ptune.readers.document import elements, sound


def read(path: Path, each: Each = strict) -> Iterator[Record]:
    """Yield a record a question, as the Hub has them: id, title, context, question, answers {text, answer_start}.

    Questions on one paragraph share its text; `answers` is left out where the file has none. Raises DataError, which
    names the place, for a file that is not SQuAD's json.
    """
    first_places: dict[str, str] = {}
    for a, article in enumerate(elements(path, "data")):
        where = f"{path}: data[{a}]"
        with each("articles"):
            for p, paragraph in enumerate(member(article, "paragraphs", list, where)):
                with each("paragraphs"):
                    yield from paragraph_records(
                        paragraph, article.get("title", ""), f"{where}.paragraphs[{p}]", first_places, each
                    )


def paragraph_records(paragraph: Any, title: Any, where: str, seen: dict[str, str], each: Each) -> Iterator[Record]:
    """The records of one paragraph; seen: the place of every id so far."""
    context = text(paragraph, "context", where)
    for q, question in enumerate(member(paragraph, "qas", list, where)):
        place = f"{where}.qas[{q}]"
        with each("questions"):
            values: dict[str, Any] = {"id": text(question, "id", place), "title": title, "context": context}
            values["question"] = text(question, "question", place)
            if values["id"] in seen:
                raise DataError(f"{place}: duplicate id {values['id']}, first used at {seen[values['id']]}")
            seen[values["id"]] = place.partition(": ")[2]
            if "answers" in question:
                values["answers"] = answers(question, place)
            yield Record(place, values)


def member(node: Any, key: str, kind: type, where: str) -> Any:
    """node[key], which has to be there and of that kind. Raises DataError."""
    if not isinstance(node, dict):
        raise DataError(f"{where}: a {type(node).__name__} where an object with '{key}' is needed")
    if key not in node:
        raise DataError(f"{where}: no '{key}'; is this a file of SQuAD?")
    value = node[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        kind_name = {"list": "list", "str": "text", "int": "number"}[kind.__name__]
        raise DataError(f"{where}.{key}: a {type(value).__name__} where a {kind_name} is needed")
    return value


def text(node: Any, key: str, where: str) -> str:
    """A text of which every character is whole. Raises DataError."""
    value: str = member(node, key, str, where)
    sound(value, f"{where}.{key}")
    return value


def answers(question: Any, where: str) -> dict[str, list[Any]]:
    """The answers of a question, by key instead of by answer. Raises DataError."""
    entries = member(question, "answers", list, where)
    return {
        "text": [text(answer, "text", f"{where}.answers[{i}]") for i, answer in enumerate(entries)],
        "answer_start": [
            member(answer, "answer_start", int, f"{where}.answers[{i}]") for i, answer in enumerate(entries)
        ],
    }
