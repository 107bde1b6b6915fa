"""`ptune predict`: text or JSON lines in, JSON lines out, with a finished run."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from omegaconf import DictConfig

from ptune.checks import too_small, unread_root
from ptune.config import Predict
from ptune.data import schemes
from ptune.errors import ConfigError, DataError, nearest
from ptune.progress import Progress
from ptune.readers import Record, decoded
from ptune.readers.jsonl import parse

if TYPE_CHECKING:
    from ptune.runs.restore import Restored
    from ptune.tasks import Task

CHUNK = 16  # batches read ahead, so that rows of similar length meet


def main(cfg: DictConfig) -> None:
    """Write one JSON object for each input line: its fields, the prediction, and scores where there are some.

    Of several runs, a line's "run" says which one answers it. With `submission`, write a leaderboard's files instead.
    """
    from ptune.build import settings_of

    s = settings_of(cfg, Predict)
    if problems := [*misplaced_settings(s)]:
        raise ConfigError(problems)
    if s.input != "-" and not Path(s.input).is_file():
        missing = f"{s.input} is not a file" if Path(s.input).exists() else f"there is no file {s.input}"
        raise ConfigError([f"input: {missing}; name one, or - for standard input"])
    if s.scheme not in (None, *schemes.LETTERS):
        raise ConfigError([f"scheme: '{s.scheme}' is not a choice; {nearest(s.scheme, schemes.LETTERS)}"])
    if s.output != "-" and s.input != "-" and Path(s.output).exists() and Path(s.output).samefile(s.input):
        raise ConfigError([f"output: {s.output} is the input; name another file"])
    from ptune.runs.restore import folders, restore_together

    paths = folders(s.run)
    if s.submission:
        from ptune.exports.submission import submit

        if len(paths) > 1:
            raise ConfigError(["run: a submission takes a single run"])
        (run,) = restore_together(paths, s.device, packages=s.packages)
        with Progress(s.quiet) as progress:
            submit(s, run, progress)
        return
    with ExitStack() as files:
        target = sys.stdout if s.output == "-" else files.enter_context(replacing(Path(s.output)))
        runs = restore_together(paths, s.device, packages=s.packages)
        for run in runs:
            if s.scheme and run.task.readout != "token":
                raise ConfigError([f"scheme: {run.task.name} predicts no tags; leave it out"])
        source = sys.stdin.buffer if s.input == "-" else files.enter_context(open(s.input, "rb"))
        lines = decoded(source, "standard input" if s.input == "-" else s.input)
        if len(runs) > 1:
            records = sorted_out(lines, dict(zip(paths, runs, strict=True)))
        else:
            records = ((runs[0], record) for record in parse_lines(lines, runs[0].task))
        while chunk := list(islice(records, CHUNK * s.batch_size)):
            write(chunk, s.batch_size, target, s.scheme)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes the place of `path` at the end, which stays as it is where there is an error before."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # a pipe, which nothing can take the place of
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sorted_out(lines: Iterable[tuple[str, str]], runs: Mapping[str, Restored]) -> Iterator[tuple[Restored, Record]]:
    """Each record with the run that answers it, which its "run" names: the folder as given, or a last part of one."""
    last = Counter(Path(path).name for path in runs)
    by_name = {Path(path).name: run for path, run in runs.items() if last[Path(path).name] == 1} | dict(runs)
    for where, text in lines:
        if not text.strip():
            continue
        if not text.lstrip().startswith("{"):
            raise DataError(f'{where}: several runs need JSON lines, each with "run": ...; one of: {", ".join(runs)}')
        name = parse(text, where).get("run")
        if not isinstance(name, str) or name not in by_name:
            problem = f"{name!r} is not one of the runs" if name is not None else 'no "run" to say which run answers'
            raise DataError(f"{where}: {problem}; {nearest(str(name), runs)}")
        for record in parse_lines([(where, text)], by_name[name].task):
            yield by_name[name], Record(record.where, {"run": name, **record.values})


def misplaced_settings(s: Predict) -> Iterator[str]:
    """Settings that are out of range, or go with a submission and are given without one, and the other way round."""
    yield from too_small({"batch_size": s.batch_size})
    if s.submission:
        from ptune.data.source import task_problems

        if s.task is not None:
            yield from task_problems(s.task, s.packages)
        yield from unread_root(s.data)
        if s.input != "-":
            yield "input: a submission reads the task's own files (data=...); leave it out"
        if s.scheme is not None:
            yield "scheme: a submission has its leaderboard's form; leave it out"
    else:
        yield from (
            f"{key}: is only used with submission=true" for key in ("task", "data") if getattr(s, key) is not None
        )


def parse_lines(lines: Iterable[tuple[str, str]], task: Task) -> Iterator[Record]:
    """The fields of each line, JSON object or text; blank lines are skipped. Raises DataError with file:line.

    Where the first line names the task's fields, texts stand in columns of these names; others are passed on.
    """
    reader: Any = import_module(f"ptune.readers.{task.source['reader']}") if "reader" in task.source else None
    columns: list[str] = []
    filled = ((where, text) for where, text in lines if text.strip())
    for number, (where, text) in enumerate(filled):
        if text.lstrip().startswith("{"):
            values = parse(text, where)
            if hasattr(reader, "nested") and reader.nested(values):  # a line of the original file is several records
                yield from reader.line_records(values, where)
            else:
                yield Record(where, values)
            continue
        if number == 0 and (columns := header_names(text, task)):
            continue
        try:
            yield Record(where, row_fields(text, columns, task) if columns else task.parse(text))
        except DataError as error:
            raise DataError(f"{where}: {error}") from None


def header_names(text: str, task: Task) -> list[str]:
    """Our names of the columns, of a first line that names all of the task's fields; else none."""
    from ptune.tasks import Task as Plain

    if type(task).parse is not Plain.parse:  # a line is no table's row
        return []
    ours = {theirs: name for name, theirs in (task.source.get("columns") or {}).items()}
    try:
        columns = [ours.get(name, name) for name in cells_of(text, task)]
    except DataError:  # a text
        return []
    return columns if {*task.inputs} <= {*columns} and len({*columns}) == len(columns) else []


def cells_of(text: str, task: Task) -> list[str]:
    """The texts of a line as the task's own tables have them: with its delimiter and quotation marks, else with tabs.

    Raises DataError for quotation marks that do not close.
    """
    delimiter = str(task.source.get("delimiter", "\t"))
    if not task.source.get("quoted"):
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"not a row of a table ({error})") from None


def row_fields(text: str, columns: Sequence[str], task: Task) -> dict[str, str]:
    """A row's texts by their columns' names. Raises DataError where they are not as many."""
    texts = cells_of(text, task)
    if len(texts) != len(columns):
        raise DataError(f"{len(texts)} columns where the first line names {len(columns)}: {', '.join(columns)}")
    return dict(zip(columns, texts, strict=True))


def without_label(record: Record, task: Task) -> Record:
    """The record's fields alone: a gold label in the input is passed on, and changes nothing."""
    return Record(record.where, {name: record.values[name] for name in task.inputs if name in record.values})


def write(chunk: Sequence[tuple[Restored, Record]], batch_size: int, target: TextIO, scheme: str | None = None) -> None:
    """Predict a chunk and write it in its order, tags in `scheme` if one is given."""
    from ptune.data.rendered import Rendered
    from ptune.evaluate import Request, predict_together

    runs = {run.member: run for run, _ in chunk}
    places = {member: [i for i, (run, _) in enumerate(chunk) if run.member == member] for member in runs}
    requests = []
    for member, run in runs.items():
        records = [chunk[i][1] for i in places[member]]
        examples = [run.task.example(without_label(record, run.task), i) for i, record in enumerate(records)]
        rendered = Rendered(examples, run.task, run.model.member(member).template, run.settings.data.tokens)
        requests.append(Request(member, run.task, examples, rendered))
    answers = predict_together(next(iter(runs.values())).model, requests, batch_size)
    predictions = {
        place: prediction
        for member, of_run in zip(runs, answers, strict=True)
        for place, prediction in zip(places[member], of_run, strict=True)
    }
    for place, (_, record) in enumerate(chunk):
        prediction = predictions[place]
        value = schemes.from_iob2(prediction.value, scheme) if scheme else prediction.value
        row = {**record.values, "prediction": value}
        if prediction.scores:
            row["scores"] = {label: round(score, 6) for label, score in prediction.scores.items()}
        target.write(json.dumps(row, ensure_ascii=False) + "\n")
    target.flush()
