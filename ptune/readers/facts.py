"""LAMA's facts of T-REx: a file a relation, and relations.jsonl with the template of each (arXiv 1909.01066)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ptune.errors import DataError, nearest
from ptune.readers import Each, Record, jsonl, strict

RELATIONS = "relations.jsonl"
TOLD = ("template", "label", "type")  # of a relation, the last two where they are there


def read(
    path: Path, split: str | None = None, relations: Sequence[str] | None = None, each: Each = strict
) -> Iterator[Record]:
    """Yield a record a fact, as its file has it, with the template, label and type of its relation beside it.

    path: a folder with RELATION/SPLIT.jsonl where there is a split, as P-Tuning has them, else with RELATION.jsonl, as
    LAMA does; or one of these files. relations.jsonl stands there or in a folder above it. relations: those that are
    read, null for all. A fact without a predicate_id is of the relation that its file is named after.

    Raises DataError for a relation that relations.jsonl has not, or has without a template of [X] and [Y].
    """
    relation_data, place = describe_relations(path), companion_files(path)[0]
    if unknown_names := [name for name in relations or () if name not in relation_data]:
        raise DataError(f"{place}: no relation '{unknown_names[0]}'; {nearest(unknown_names[0], relation_data)}")
    for file in [path] if path.is_file() else files(path, split):
        name = file.name.partition(".")[0] if split is None else file.parent.name
        if relations is not None and name in relation_data and name not in relations:
            continue
        with each("relations"):
            for record in jsonl.read(file, each=each):
                with each():
                    relation = record.values.get("predicate_id", name)
                    if not isinstance(relation, str) or relation not in relation_data:
                        suggestion = nearest(relation, relation_data)
                        raise DataError(f"{record.where}: {place} has no relation '{relation}'; {suggestion}")
                    if relations is None or relation in relations:
                        yield Record(
                            record.where, {**record.values, **relation_data[relation], "predicate_id": relation}
                        )


def describe_relations(path: Path) -> dict[str, dict[str, str]]:
    """What relations.jsonl tells of each relation: its template, its label and its type."""
    descriptions: dict[str, dict[str, str]] = {}
    for record in jsonl.read(companion_files(path)[0]):
        relation, template = (record.values.get(name) for name in ("relation", "template"))
        if not isinstance(relation, str) or not isinstance(template, str):
            raise DataError(f"{record.where}: a relation needs its name in 'relation' and a text in 'template'")
        if template.count("[X]") != 1 or template.count("[Y]") != 1:
            raise DataError(
                f"{record.where}: {template!r} must contain [X] (the subject) and [Y] (the object) once each"
            )
        descriptions[relation] = {name: str(record.values.get(name, "")) for name in TOLD}
    return descriptions


def files(path: Path, split: str | None) -> list[Path]:
    """The files of a folder's relations, in the order of their names."""
    paths = path.glob("*.jsonl" if split is None else f"*/{split}.jsonl")
    return sorted((file for file in paths if file.name != RELATIONS), key=Path.as_posix)


def inside(path: Path) -> list[Path]:
    """The files with facts, of all splits."""
    return sorted((file for file in path.rglob("*.jsonl") if file.name != RELATIONS), key=Path.as_posix)


def companion_files(path: Path) -> list[Path]:
    """relations.jsonl. Raises DataError where it is neither in the folder nor in one of the two above."""
    folder = path.parent if path.is_file() else path
    for parent in (folder, *folder.parents[:2]):
        if (parent / RELATIONS).is_file():
            return [parent / RELATIONS]
    raise DataError(f"{path}: no {RELATIONS} there or in the two folders above; it has the relations' templates")
