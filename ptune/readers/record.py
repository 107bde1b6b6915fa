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
        here = f"{where}: qas[{q}]"
        with each("queries"):
            values = {"passage": text, "query": member(query, "query", str, here), "entity_spans": spans}
            values["idx"] = {"passage": name(line, where), "query": name(query, here)}
            if "answers" in query:
                values["answers"] = answers(query, text, here)
            yield Record(here, values)


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
    found = []
    for i, answer in enumerate(member(query, "answers", list, where)):
        place = f"{where}.answers[{i}]"
        said = member(answer, "text", str, place)
        start, end = extent(answer, text, place)
        if text[start:end] != said:
            near = text.find(said, max(start - 2, 0), end + 2)
            last = near + len(said) - 1
            off = f"'start' is off by {start - near:+d}" if near != start else f"'end' is off by {end - 1 - last:+d}"
            cure = f"it is at {near} to {last} ({off})" if near >= 0 else "it is elsewhere"
            if said not in text:
                cure = "it is nowhere in the passage"
            raise DataError(
                f"{place}: the answer {said!r} is not at characters {start} to {end - 1}, which hold "
                f"{text[start:end]!r}; "
                f"{cure}; 'end' is a mention's last character"
            )
        found.append(said)
    return found


def nested(line: dict[str, Any]) -> bool:
    """Whether an object is a line of the file, and no record of it."""
    return "qas" in line
