"""MultiRC in SuperGLUE's jsonl: a passage a line, with questions and the answers of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.readers import Each, Record, jsonl, strict
from ptune.readers.jsonl import member


def read(path: Path, each: Each = strict) -> Iterator[Record]:
    """Yield a record an answer, as the Hub has them: paragraph, question, answer, idx {paragraph, question, answer}.

    `label` is left out where the file has none. Raises DataError, which names the line and the place in it.
    """
    for record in jsonl.read(path, each=each):
        with each():
            yield from line_records(record.values, record.where, each)


def line_records(line: dict[str, Any], where: str, each: Each = strict) -> Iterator[Record]:
    """The records of one line."""
    passage, number = member(line, "passage", dict, where), member(line, "idx", int, where)
    paragraph: str = member(passage, "text", str, f"{where}: passage")
    for q, question in enumerate(member(passage, "questions", list, f"{where}: passage")):
        with each("questions"):
            yield from question_records(question, paragraph, number, f"{where}: passage.questions[{q}]", each)


def question_records(question: Any, paragraph: str, number: int, where: str, each: Each) -> Iterator[Record]:
    """The records of one question on a paragraph of that number."""
    question_text, question_id = member(question, "question", str, where), member(question, "idx", int, where)
    for a, answer in enumerate(member(question, "answers", list, where)):
        place = f"{where}.answers[{a}]"
        with each():
            idx = {"paragraph": number, "question": question_id, "answer": member(answer, "idx", int, place)}
            answer_text = member(answer, "text", str, place)
            values = {"paragraph": paragraph, "question": question_text, "answer": answer_text, "idx": idx}
            yield Record(place, {**values, "label": answer["label"]} if "label" in answer else values)


def nested(line: dict[str, Any]) -> bool:
    """Whether an object is a line of the file, and no record of it."""
    return "passage" in line
