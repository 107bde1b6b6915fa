"""`ptune data info`: what a corpus holds, split by split, beside what is published of the original, and its terms."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ptune.batch import Example
from ptune.build import settings_of
from ptune.checks import unread_root
from ptune.config import DataInfo
from ptune.data import corpora
from ptune.data.cache import Cache
from ptune.data.source import make_task
from ptune.errors import ConfigError, UnavailableError
from ptune.progress import Output, Progress, table
from ptune.tasks import Task

WIDEST = 1000  # characters of a table that is measured
Columns = Mapping[str, Mapping[str, str]]


def main(cfg: DictConfig) -> None:
    """Describe the corpus of `task`, or every task's in one line each."""
    s = settings_of(cfg, DataInfo)
    if problems := [*unread_root(s.data)]:
        raise ConfigError(problems)
    console = Output(highlight=False, width=None if sys.stdout.isatty() else 200)
    if s.task is None:
        rows = [line for name in task_names() for line in one_line(name, cfg)]
        console.print(table(["task", "train", "dev", "test", "original train", "dev", "test"], rows))
        return
    task = make_task(s.task, s.packages)
    try:
        with Progress() as progress:
            corpus = corpora.load(task, s.data, Cache(corpora.cache_folder, progress, s.data.cache))
    except UnavailableError:  # what is known of it tells how to get it
        if theirs := original(task):
            show({}, theirs, console)
        tell(about(task), console)
        raise
    console.print(f"{task.name}: {corpus.origin['source']}, {corpus.origin.get('root', '')}")
    if corpus.synthetic:
        console.print("SYNTHETIC: ptune invented this corpus", style="bold yellow")
    for line in corpus.warnings:
        console.print(line, style="bold yellow")
    ours = {split: describe_split(task, examples) for split, examples in corpus.splits.items()}
    show(parts(ours, corpus.origin.get("parts", {})), original(task), console)
    for split, count in corpus.origin.get("left_out", {}).items():
        console.print(f"left out of {split}: {count:,} rows (task.source.leave_out)")
    tell(about(task), console)


def about(task: Task) -> dict[str, str]:
    """What holds of the corpus as a whole: where its figures are from, its metrics, its license and how to get it."""
    files = " ".join(f"{split}: {' or '.join(names)};" for split, names in task.source["files"].items())
    facts = {
        "original": task.source.get("statistics", {}).get("from"),
        "kind": type(task).__module__.rpartition(".")[2],
        "metrics": ", ".join(f"{name} (headline)" if name == task.headline else name for name in task.score_names),
        "files": files.rstrip(";"),
        "hub": task.source.get("hub", {}).get("path"),
        "license": task.source.get("license"),
        "obtain": task.source.get("obtain"),
    }
    return {name: text for name, text in facts.items() if text}


def show(ours: Columns, theirs: Columns, console: Console) -> None:
    """Print the statistics of both side by side, or one below the other where there is no room."""
    wide = table(*comparison_rows(ours, theirs))
    if console.measure(wide, options=console.options.update(width=WIDEST)).maximum <= console.width:
        console.print(wide)
        return
    for columns in (comparison_rows(ours, {}), comparison_rows({}, theirs)):
        console.print(table(*columns), "")


def tell(lines: Mapping[str, str], console: Console) -> None:
    """Print a name and its text a line, or on a terminal as many as it takes."""
    if not console.is_terminal:
        for name, text in lines.items():
            console.print(f"{name}: {text}", markup=False, soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, text in lines.items():
        grid.add_row(Text(f"{name}:"), Text(text, overflow="fold"))
    console.print(grid)


def task_names() -> list[str]:
    """The options of the group `task`."""
    loader = GlobalHydra.instance().config_loader()
    return list(loader.get_group_options("task", ObjectType.CONFIG))


def one_line(name: str, cfg: DictConfig) -> list[list[str]]:
    """A task's number of examples by split, a dash where the source has none, beside the original's."""
    s = settings_of(compose("data_info", overrides=[f"task={name}"]), DataInfo)
    s.data = settings_of(cfg, DataInfo).data
    assert s.task is not None
    task = make_task(s.task, s.packages)
    for split in set(corpora.SPLITS) - set(task.source["files"]):  # a size is for the tasks that have the split
        setattr(s.data.demo, split, None)
    try:
        corpus = corpora.load(task, s.data)
        ours = [f"{len(corpus.splits[split]):,}" if split in corpus.splits else "-" for split in corpora.SPLITS]
    except UnavailableError:
        ours = ["-"] * len(corpora.SPLITS)
    theirs = original(task)
    return [[task.name, *ours, *(theirs.get(split, {}).get("examples", "-") for split in corpora.SPLITS)]]


def describe_split(task: Task, examples: Iterable[Example]) -> dict[str, str]:
    """Number of examples, words a field on average, and the share of each label in percent."""
    count, lengths, labels = 0, Counter[str](), Counter[str]()
    for example in examples:
        count += 1
        candidate = next(iter(task.candidates(example)))[0]
        lengths.update({name: words(candidate.fields[name]) for name in task.fields})
        labels.update(task.tally(example) if example.gold is not None else ())
    statistics = {"examples": f"{count:,}"}
    statistics |= {f"words of {name}": f"{length / count:.1f}" for name, length in lengths.items()}
    statistics["labels"] = f"{labels.total():,}"
    statistics |= {f"% {label}": f"{100 * n / labels.total():.1f}" for label, n in labels.most_common()}
    return statistics


def parts(ours: Columns, counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
    """Columns with the number of sentences, lines or other parts of each split's files, where they are no examples."""
    units = dict.fromkeys(unit for column in counts.values() for unit in column)
    columns = {
        split: {unit: f"{numbers[unit]:,}" for unit in units if unit in numbers} for split, numbers in counts.items()
    }
    shown_units = [
        unit for unit in units if any(columns[split].get(unit) != ours[split]["examples"] for split in columns)
    ]
    return {
        split: {
            "examples": column["examples"],
            **{unit: columns[split][unit] for unit in shown_units if unit in columns[split]},
        }
        | dict(column)
        for split, column in ours.items()
    }


def words(value: Any) -> int:
    """How many words a field has: a list's items, or a text's parts between spaces."""
    return len(value.split() if isinstance(value, str) else value)


def original(task: Task) -> dict[str, dict[str, str]]:
    """What the task's yaml says of the original, as `describe_split` says it of ours: split -> statistic -> value."""
    columns: dict[str, dict[str, str]] = {}
    for name, values in task.source.get("statistics", {}).items():
        if isinstance(values, dict):
            for split, value in values.items():
                columns.setdefault(split, {})[name] = f"{value:,}"
    return columns


def comparison_rows(ours: Columns, theirs: Columns) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: each statistic by split, ours and then the original's."""
    names = dict.fromkeys(name for column in (*ours.values(), *theirs.values()) for name in column)
    header = ["", *ours, *(f"original {split}" for split in theirs)]
    rows = [[name, *(column.get(name, "") for column in (*ours.values(), *theirs.values()))] for name in names]
    return header, rows
