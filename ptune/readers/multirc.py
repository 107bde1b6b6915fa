"""MultiRC in SuperGLUE's jsonl: a passage a line, with questions and the answers of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.readers import Record, jsonl
from ptune.readers.jsonl import member


def read(path: Path) -> Iterator[Record]:
    """Yield a record an answer, as the Hub has them: paragraph, question, answer, idx {paragraph, question, answer}.

    `label` is left out where the file has none. Raises DataError, which names the line and the place in it.
    """
    for record in jsonl.read(path):
        yield from flattened(record.values, record.where)


def flattened(line: dict[str, Any], where: str) -> Iterator[Record]:
    """The records of one line."""
    passage = member(line, "passage", dict, where)
    shared = {"paragraph": member(passage, "text", str, f"{where}: passage")}
    for q, question in enumerate(member(passage, "questions", list, f"{where}: passage")):
        here = f"{where}: passage.questions[{q}]"
        asked = member(question, "question", str, here)
        answers = member(question, "answers", list, here)
        for a, answer in enumerate(answers):
            place = f"{here}.answers[{a}]"
            idx = {
                "paragraph": member(line, "idx", int, where),
                "question": member(question, "idx", int, here),
                "answer": member(answer, "idx", int, place),
            }
            values = {**shared, "question": asked, "answer": member(answer, "text", str, place), "idx": idx}
            yield Record(place, {**values, "label": answer["label"]} if "label" in answer else values)


def nested(line: dict[str, Any]) -> bool:
    """Whether an object is a line of the file, and no record of it."""
    return "passage" in line
