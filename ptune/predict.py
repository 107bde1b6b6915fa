"""`ptune predict`: text or JSON lines in, JSON lines out, with a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from omegaconf import DictConfig

from ptune.config import Predict
from ptune.errors import DataError, PtuneError

if TYPE_CHECKING:
    from ptune.restore import Restored
    from ptune.tasks import Task

CHUNK = 16  # batches read ahead, so that rows of similar length meet


def main(cfg: DictConfig) -> None:
    """Write one JSON object for each input line: its fields, the prediction, and scores where there are some."""
    from ptune.build import settings_of

    s = settings_of(cfg, Predict)
    if s.input != "-" and not Path(s.input).is_file():
        raise PtuneError(f"input: there is no file {s.input}; name one, or - for standard input")
    from ptune.restore import restore

    run = restore(s.run, s.device)
    with ExitStack() as files:
        source = sys.stdin if s.input == "-" else files.enter_context(open(s.input, encoding="utf-8"))
        target = sys.stdout if s.output == "-" else files.enter_context(open(s.output, "w", encoding="utf-8"))
        name = "standard input" if s.input == "-" else s.input
        records = parsed(source, name, run.task)
        while chunk := list(islice(records, CHUNK * s.batch_size)):
            write(run, chunk, s.batch_size, target)


def parsed(lines: Iterable[str], name: str, task: Task) -> Iterator[dict[str, Any]]:
    """The fields of each line, JSON object or text; blank lines are skipped. Raises DataError with file:line."""
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        try:
            yield json.loads(text) if text.lstrip().startswith("{") else task.parse(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{name}:{number}: not JSON ({error})") from None
        except DataError as error:
            raise DataError(f"{name}:{number}: {error}") from None


def write(run: Restored, chunk: list[dict[str, Any]], batch_size: int, target: TextIO) -> None:
    """Predict a chunk and write it in its order."""
    from dataclasses import replace

    from ptune.data import Rendered
    from ptune.evaluate import predict
    from ptune.readers import Record

    examples = [replace(run.task.example(Record(f"input {i + 1}", fields), i), gold=None) for i, fields in enumerate(chunk)]
    assert run.settings.data.max_length is not None
    rendered = Rendered(examples, run.task, run.model.member(0).template, run.settings.data.max_length)
    for fields, prediction in zip(chunk, predict(run.model, 0, run.task, examples, rendered, batch_size), strict=True):
        row = {**fields, "prediction": prediction.value}
        if prediction.scores:
            row["scores"] = {label: round(score, 6) for label, score in prediction.scores.items()}
        target.write(json.dumps(row, ensure_ascii=False) + "\n")
    target.flush()
