"""A published table as its yaml says it: axes whose entries compose into cells, and the figures of the paper.

A cell is an experiment that holds only its deltas: what its entries on each axis set, then what the scale does. Cells
whose deltas come out the same are of the same runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ptune.errors import ConfigError, nearest
from ptune.words import hydra_value

SCALES = ("paper", "quick", "demo")
READ, CORROBORATED, UNCONFIRMED = "read", "corroborated", "unconfirmed"
STATUSES = {"r": READ, "c": CORROBORATED, "u": UNCONFIRMED}
# Overrides of every cell with which a figure compares as without: where things are, how they run, what a result tells
HARMLESS = (
    *("data.source", "data.root", "data.cache", "backbone.path", "seed", "device", "tracker", "quiet", "hydra"),
    *("eval_batch_size", "batch_tokens", "accumulate", "save_minutes", "time_limit", "packages"),
)
QUOTED = "q"  # after a status: the paper quotes the figure from other work
Words = dict[str, Any]  # overrides by key


class Deltas(BaseModel):
    """What an entry of an axis, or a cell, sets, and what is to be known of its figures.

    set: at every scale; paper: at scale=paper, and under what scale=quick sets; search: values by key that are tried
    there, each with each other; each_seed: whether each seed searches for itself, rather than the first for all; quick:
    at scale=quick, an entry's in place of a search alone; demo: at scale=demo. A cell's `paper` takes the place of its
    entries', and of their search.
    metric: the figure that is shown; null: the task's headline. beside: of this split, which is reported beside the
    reported one. stage: of this stage of the run. missing: why there is no such run; not_comparable: why its figure
    does not compare with the paper's. seeds: of the runs; null: the configuration's.
    """

    model_config = ConfigDict(extra="forbid")

    set: Words = Field(default_factory=dict)
    paper: Words = Field(default_factory=dict)
    quick: Words = Field(default_factory=dict)
    demo: Words = Field(default_factory=dict)
    search: dict[str, list[Any]] = Field(default_factory=dict)
    each_seed: bool | None = None
    seeds: list[int] | None = None
    metric: str | None = None
    beside: str | None = None
    stage: str | None = None
    missing: str | None = None
    not_comparable: str | None = None


class Entry(Deltas):
    """One entry of an axis."""

    label: str


class Scale(BaseModel):
    """What a scale sets in every cell."""

    model_config = ConfigDict(extra="forbid")

    set: Words = Field(default_factory=dict)
    seeds: list[int] | None = None
    not_comparable: str | None = None
    note: str | None = None


class Origin(BaseModel):
    """Figures of one source, by the entries of each axis: [value, status] or [value, status, standard deviation]."""

    model_config = ConfigDict(extra="forbid")

    origin: str
    cells: dict[str, Any]


class Drawing(BaseModel):
    """The figure that a table is drawn as: panels by one axis, lines by another, points along `x`."""

    model_config = ConfigDict(extra="forbid")

    x: str
    lines: str
    panels: str
    xlabel: str
    scale: Literal["linear", "log"] = "linear"


class Table(BaseModel):
    """A table: its axes, which of them are rows and columns, cells with deltas of their own by pattern, figures.

    published: the origin that ours is compared with comes first; a cell may have figures of several.
    """

    model_config = ConfigDict(extra="forbid")

    title: str
    citation: str
    rows: list[str]
    columns: list[str]
    axes: dict[str, dict[str, Entry]]
    cells: dict[str, Deltas] = Field(default_factory=dict)
    scales: dict[Literal["paper", "quick", "demo"], Scale] = Field(default_factory=dict)
    published: list[Origin] = Field(default_factory=list)
    note: str | None = None
    figure: Drawing | None = None


class Published(NamedTuple):
    """A figure of a paper: what it is, how sure that is, and where it stands."""

    value: float
    status: str
    quoted: bool
    origin: str
    std: float | None = None


class Cell(NamedTuple):
    """A cell at a scale. name: its entries, joined by dots; words: its overrides.

    seeds: of its runs; null: its settings' own. number: how many of them are asked for, see `seed_list`; null: these.
    """

    name: str
    row: str
    column: str
    entries: tuple[str, ...]
    words: Words
    search: dict[str, list[Any]]
    each_seed: bool
    seeds: list[int] | None
    number: int | None
    metric: str | None
    beside: str | None
    stage: str | None
    missing: str | None
    not_comparable: tuple[str, ...]
    published: tuple[Published, ...]

    @property
    def key(self) -> str:
        """What cells of the same runs have in common, as text."""
        return json.dumps([self.words, self.search, self.each_seed, self.seeds, self.number], sort_keys=True)

    @property
    def target(self) -> Published | None:
        """The figure that ours is compared with."""
        return self.published[0] if self.published else None


def parse(name: str, given: Mapping[str, Any]) -> Table:
    """A table from its yaml. Raises ConfigError with every mistake in it."""
    try:
        table = Table.model_validate(given)
    except ValidationError as error:
        raise ConfigError([mistake(name, dict(problem)) for problem in error.errors()]) from None
    axes = [*table.rows, *table.columns]
    problems = [
        f"table {name}: rows, columns: no axis '{axis}'; {nearest(axis, table.axes)}"
        for axis in axes
        if axis not in table.axes
    ]
    if not problems:
        names = [".".join(entries) for entries in product(*(table.axes[axis] for axis in axes))]
        problems += [
            f"table {name}: cells.{pattern}: no such cell; {nearest(pattern, names, names[:8])}"
            for pattern in table.cells
            if not any(fnmatchcase(each, pattern) for each in names)
        ]
        problems += [f"table {name}: published: {line}" for line in unreadable(table, axes)]
    if table.figure:
        used = (table.figure.x, table.figure.lines, table.figure.panels)
        problems += [
            f"table {name}: figure: no axis '{axis}'; {nearest(axis, axes)}" for axis in used if axis not in axes
        ]
        problems += [
            f"table {name}: axes.{table.figure.x}.{key}.label: '{entry.label}' is not a number, which a "
            "figure's x axis needs"
            for key, entry in table.axes.get(table.figure.x, {}).items()
            if not is_number(entry.label)
        ]
    if problems:
        raise ConfigError(problems)
    return table


def mistake(name: str, problem: Mapping[str, Any]) -> str:
    """A line for what pydantic found."""
    place = ".".join(str(part) for part in problem["loc"])
    return f"table {name}: {place}: {problem['msg'].lower()}"


def unreadable(table: Table, axes: Sequence[str]) -> Iterator[str]:
    """Published figures of cells that there are not, or that are no figures."""
    for source in table.published:
        for path, value in leaves(source.cells):
            place = f"{source.origin}: {'.'.join(path)}"
            if len(path) != len(axes):
                yield f"{place}: not a cell of {', '.join(axes)}"
                continue
            wrong = next((i for i, part in enumerate(path) if part not in table.axes[axes[i]]), None)
            if wrong is not None:
                yield f"{place}: no '{path[wrong]}'; {nearest(path[wrong], table.axes[axes[wrong]])}"
            elif not is_figure(value):
                yield f"{place}: {value!r} is not [value, status]; status: {', '.join(STATUSES)}, and {QUOTED} after it"


def is_figure(value: Any) -> bool:
    """Whether it is [value, status] or [value, status, standard deviation]."""
    if not (isinstance(value, list) and len(value) in (2, 3) and isinstance(value[1], str)):
        return False
    numbers = [value[0], *value[2:]]
    return value[1].removesuffix(QUOTED) in STATUSES and all(isinstance(n, int | float) for n in numbers)


def is_number(text: str) -> bool:
    """Whether a label can stand on an axis of numbers."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every path of a tree of mappings with its value."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, (*path, str(key)))
    else:
        yield path, node


def cells(table: Table, scale: str, more: Words | None = None, count: int | None = None) -> list[Cell]:
    """The cells of a table at a scale, row by row. more: overrides of every cell; count: so many seeds."""
    axes = [*table.rows, *table.columns]
    figures: dict[tuple[str, ...], list[Published]] = {}
    for source in table.published:
        for path, (value, status, *std) in leaves(source.cells):
            meaning = STATUSES[status.removesuffix(QUOTED)]
            figure = Published(value, meaning, status.endswith(QUOTED), source.origin, *std)
            figures.setdefault(path, []).append(figure)
    return [
        cell(table, scale, entries, tuple(figures.get(entries, ())), more or {}, count)
        for entries in product(*(table.axes[axis] for axis in axes))
    ]


def cell(
    table: Table,
    scale: str,
    entries: tuple[str, ...],
    published: tuple[Published, ...],
    more: Words,
    count: int | None,
) -> Cell:
    """One cell, see `cells`."""
    axes = [*table.rows, *table.columns]
    name = ".".join(entries)
    parts: list[Entry] = [table.axes[axis][entry] for axis, entry in zip(axes, entries, strict=True)]
    own_deltas = [deltas for pattern, deltas in table.cells.items() if fnmatchcase(name, pattern)]
    all_deltas: list[Deltas] = [*parts, *own_deltas]
    of_scale = table.scales.get(scale, Scale())  # type: ignore[call-overload]
    scripts = [deltas for deltas in own_deltas if deltas.paper]
    paper = scripts or parts
    search = merge_mappings(*(deltas.search for deltas in [*([] if scripts else parts), *own_deltas]))
    words = merge_mappings(*(deltas.set for deltas in all_deltas))
    if scale == "demo":
        words = merge_mappings(words, of_scale.set, *(deltas.demo for deltas in all_deltas))
    else:
        words = merge_mappings(words, *(deltas.paper for deltas in paper), of_scale.set)
        if scale == "quick":
            words = merge_mappings(words, *(deltas.quick for deltas in (all_deltas if search else own_deltas)))
    reasons = [*(deltas.not_comparable for deltas in all_deltas), of_scale.not_comparable]
    telling = {key: value for key, value in more.items() if not harmless(key)}
    reasons.append(f"with {' '.join(overrides(telling))}" if telling else None)
    seeds = last(of_scale.seeds, *(deltas.seeds for deltas in all_deltas)) if scale == "paper" else of_scale.seeds
    rows, columns = parts[: len(table.rows)], parts[len(table.rows) :]
    return Cell(
        name=name,
        row=" ".join(part.label for part in rows),
        column=" ".join(part.label for part in columns),
        entries=entries,
        words=merge_mappings(words, more),
        search=search if scale == "paper" else {},
        each_seed=scale == "paper" and bool(last(*(deltas.each_seed for deltas in all_deltas))),
        seeds=seeds,
        number=count,
        metric=last(*(deltas.metric for deltas in all_deltas)),
        beside=last(*(deltas.beside for deltas in all_deltas)),
        stage=last(*(deltas.stage for deltas in all_deltas)),
        missing=last(*(deltas.missing for deltas in all_deltas)),
        not_comparable=tuple(reason for reason in reasons if reason),
        published=published,
    )


def harmless(key: str) -> bool:
    """Whether an override by the command line leaves a figure comparable: see HARMLESS, or the choice of a source."""
    plain = key.lstrip("+~").replace("/", ".")
    return plain == "data" or any(plain == name or plain.startswith(f"{name}.") for name in HARMLESS)


def merge_mappings(*several: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings as one; of a key that several have the last one's value, in the place of the first."""
    merged: dict[str, Any] = {}
    for each in several:
        merged.update(each)
    return merged


def last(*values: Any) -> Any:
    """The last value that is not null."""
    return next((value for value in reversed(values) if value is not None), None)


def seed_list(seeds: Sequence[int], count: int | None) -> list[int]:
    """So many seeds: the given ones, then those that follow the largest; null: the given ones."""
    return [*seeds] if count is None else [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + count)][:count]


def matching_cells(found: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """The cells that one of the patterns names. Raises ConfigError for a pattern that names none."""
    cell_names = [cell.name for cell in found]
    problems = [
        f"cells: '{pattern}' names no cell; {nearest(pattern, cell_names, cell_names[:8])}"
        for pattern in patterns
        if not any(names(cell, pattern) for cell in found)
    ]
    if problems:
        raise ConfigError(problems)
    return [cell for cell in found if any(names(cell, pattern) for pattern in patterns)]


def names(cell: Cell, pattern: str) -> bool:
    """Whether a pattern names a cell: the whole name, or one of its entries, as `rte`, `*.ptv2` or `rte.*.ft`."""
    return fnmatchcase(cell.name, pattern) or any(fnmatchcase(entry, pattern) for entry in cell.entries)


def overrides(words: Mapping[str, Any]) -> list[str]:
    """The words of a command line."""
    return [f"{key}={hydra_value(each)}" for key, each in words.items()]


def trials(search: Mapping[str, Sequence[Any]]) -> list[Words]:
    """Every combination of a search's values; none where nothing is searched."""
    return [dict(zip(search, values, strict=True)) for values in product(*search.values())] if search else []
