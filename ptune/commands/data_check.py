"""`ptune data check`: read every split of a corpus to its end, and name every problem."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from ptune.batch import Example
from ptune.build import settings_of
from ptune.commands.data_info import Columns, comparison_rows, describe_split, original, parts
from ptune.config import DataCheck
from ptune.data import corpora
from ptune.data.source import make_task
from ptune.errors import ConfigError, DataError
from ptune.progress import Output, Progress, table
from ptune.readers import Reading
from ptune.tasks import Task


def main(cfg: DictConfig) -> None:
    """Print counts beside the published ones; raises DataError with a line for each problem, where there is one."""
    s = settings_of(cfg, DataCheck)
    console = Output(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    if s.task is None:
        raise ConfigError(["task: must be given: task=NAME; ptune ls task lists them"])
    task = make_task(s.task, s.packages)
    origin: dict[str, Any] = {}
    sources = corpora.sources(task, s.data, origin)
    problems: list[str] = []
    warnings: list[str] = []
    ours, counts, read = {}, {}, {}
    with Progress(s.quiet) as progress:
        for split, source in sources.items():
            reading = Reading(lenient=True)
            examples = progress.follow(f"{split}: reading", read_through(task, split, source, reading))
            ours[split] = describe_split(task, examples)
            unlabeled = reading.labeled is False and not reading.problems
            if unlabeled and split == "train":
                reading.problems.append(corpora.without_gold(task, split, source))
            elif unlabeled and split == "dev":  # protocol=held_out does without; a test split without labels is usual
                warnings.append(corpora.without_gold(task, split, source))
            problems += reading.problems
            counts[split], read[split] = reading.examples, dict(reading.counts)
            corpora.note(origin, split, reading)
    if not s.quiet:
        console.print(f"{task.name}: {origin['source']}, {origin.get('root', '')}", markup=False)
        console.print(table(*comparison_rows(without_lengths(parts(ours, read)), without_lengths(original(task)))))
        if loud := corpora.unlike_original(task, counts) if origin["source"] != "demo" else "":
            console.print(loud, style="bold yellow", markup=False)
        sizes = [] if loud else corpora.others(task, counts)
        for line in (*sizes, *warnings, *remarks(task, counts, origin)):
            console.print(line, style="yellow", markup=False)
    if missing := corpora.missing(task, sources, origin):
        problems.append(missing)
    if problems := list(dict.fromkeys(problems)):  # a file may be read for two splits
        raise DataError(*problems, f"{len(problems):,} problem{'s' * (len(problems) > 1)}")
    if not s.quiet:
        console.print("no problems")


def read_through(task: Task, split: str, source: corpora.Source, reading: Reading) -> Iterator[Example]:
    """The examples of a split as far as it can be read; what is wrong is added to the problems of `reading`."""
    has_examples = False
    try:
        for example in corpora.examples(task, source, reading):
            has_examples = True
            yield example
        source.files()
    except DataError as error:
        reading.problems.append(str(error))
    if not has_examples and not reading.problems:
        reading.problems.append(corpora.empty(task, split, source))


def without_lengths(columns: Columns) -> dict[str, dict[str, str]]:
    """The counts alone; lengths and shares are for `ptune data info`."""
    return {
        split: {name: value for name, value in column.items() if not name.startswith(("words of ", "% "))}
        for split, column in columns.items()
    }


def remarks(task: Task, counts: dict[str, int], origin: dict[str, Any]) -> list[str]:
    """What is no problem and worth knowing: rows left out, splits that are not there."""
    absent_splits = [
        split for split in task.source["files"] if split not in counts and split not in corpora.required(task)
    ]
    published_in = task.source.get("statistics", {}).get("from")
    return [
        *(
            f"left out of {split}: {count:,} rows (task.source.leave_out)"
            for split, count in origin.get("left_out", {}).items()
        ),
        *(f"no {split} data; looked for {corpora.looked_for(task, [split])}" for split in absent_splits),
        *([f"original: {published_in}"] if published_in else []),
    ]
