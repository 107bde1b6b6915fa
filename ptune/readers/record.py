"""ReCoRD: a passage a line in SuperGLUE's jsonl, or all of them in one json as first published; queries on each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptune.errors import DataError
from ptune.readers import Each, Record, jsonl, strict
from ptune.readers.document import elements, sound
from ptune.readers.jsonl import member


def read(path: Path, each: Each = strict) -> Iterator[Record]:
    """Yield a record a query, as the Hub has them: passage, query, entity_spans, answers, idx {passage, query}.

    entity_spans: {text, start, end}, lists; an end is the character after the last. `answers` (texts) is left out where
    the file has none. Raises DataError for an answer or an entity that is not where it is said to be.
    """
    if path.name.removesuffix(".gz").endswith(".json"):
        for i, passage in enumerate(elements(path, "data")):
            with each("passages"):
                sound(json.dumps(passage, ensure_ascii=False), f"{path}: data[{i}]")
                yield from line_records(passage, f"{path}: data[{i}]", each)
        return
    for record in jsonl.read(path, each=each):
        with each():
            yield from line_records(record.values, record.where, each)


def line_records(line: dict[str, Any], where: str, each: Each = strict) -> Iterator[Record]:
    """The records of one line."""
    passage = member(line, "passage", dict, where)
    text: str = member(passage, "text", str, f"{where}: passage")
    spans: dict[str, list[Any]] = {"text": [], "start": [], "end": []}
    for i, entity in enumerate(member(passage, "entities", list, f"{where}: passage")):
        start, end = extent(entity, text, f"{where}: passage.entities[{i}]")
        for key, value in (("text", text[start:end]), ("start", start), ("end", end)):
            spans[key].append(value)
    for q, query in enumerate(member(line, "qas", list, where)):
        place = f"{where}: qas[{q}]"
        with each("queries"):
            values = {"passage": text, "query": member(query, "query", str, place), "entity_spans": spans}
            values["idx"] = {"passage": name(line, where), "query": name(query, place)}
            if "answers" in query:
                values["answers"] = answers(query, text, place)
            yield Record(place, values)


def name(node: Any, where: str) -> Any:
    """The `idx` of SuperGLUE, or the `id` of the first publication."""
    return member(node, "idx" if "idx" in node or "id" not in node else "id", (int, str), where)


def extent(node: Any, text: str, where: str) -> tuple[int, int]:
    """Where a mention begins, and the character after its last. Raises DataError outside the passage."""
    start, last = member(node, "start", int, where), member(node, "end", int, where)
    if not 0 <= start <= last < len(text):
        raise DataError(
            f"{where}: characters {start} to {last} are not in the passage, which has {len(text)} characters; "
            "'end' is a mention's last character"
        )
    return start, last + 1


def answers(query: Any, text: str, where: str) -> list[str]:
    """The texts of a query's answers. Raises DataError for one that does not stand where it is said to."""
    texts = []
    for i, answer in enumerate(member(query, "answers", list, where)):
        place = f"{where}.answers[{i}]"
        answer_text = member(answer, "text", str, place)
        start, end = extent(answer, text, place)
        if text[start:end] != answer_text:
            nearest_start = text.find(answer_text, max(start - 2, 0), end + 2)
            last = nearest_start + len(answer_text) - 1
            offset_hint = (
                f"'start' is off by {start - nearest_start:+d}"
                if nearest_start != start
                else f"'end' is off by {end - 1 - last:+d}"
            )
            hint = f"it is at {nearest_start} to {last} ({offset_hint})" if nearest_start >= 0 else "it is elsewhere"
            if answer_text not in text:
                hint = "it is nowhere in the passage"
            raise DataError(
                f"{place}: the answer {answer_text!r} is not at characters {start} to {end - 1}, which hold "
                f"{text[start:end]!r}; "
                f"{hint}; 'end' is a mention's last character"
            )
        texts.append(answer_text)
    return texts


def nested(line: dict[str, Any]) -> bool:
    """Whether an object is a line of the file, and no record of it."""
    return "qas" in line
