"""Data sets of the Hugging Face Hub as the same records that the readers of original files give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import datasets

from ptune.errors import DataError, nearest
from ptune.readers import Record


def read(dataset: datasets.Dataset, where: str, columns: Mapping[str, str]) -> Iterator[Record]:
    """Yield a record a row, class indices turned into their names (-1, the Hub's "no label", into None).

    columns: our name -> the data set's; others keep their name, where it is not one of ours. Raises DataError for a
    column that is not there.
    """
    for ours, theirs in columns.items():
        if theirs not in dataset.features:
            raise DataError(f"{where}: no column '{theirs}' for '{ours}'; {nearest(theirs, dataset.features)}")
    renamed = {theirs: ours for ours, theirs in columns.items()}
    names = {name: _class_names(feature) for name, feature in dataset.features.items()}
    for index, row in enumerate(dataset):
        values = {
            renamed.get(name, name): _named(value, names[name])
            for name, value in row.items()
            if name in renamed or name not in columns
        }
        yield Record(f"{where} row {index}", values)


def _class_names(feature: Any) -> list[str] | None:
    feature = getattr(feature, "feature", feature)
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return None if value is None or value < 0 else names[value]
