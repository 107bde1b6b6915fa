"""What a person sees of a run: a live bar on a terminal while it goes on, a plain line now and then elsewhere, and its
results.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table
from rich.text import Text

from ptune import ranks

SECONDS_BETWEEN_LINES = 10.0
SECONDS_UNSEEN = 1.0  # that work may take without being shown
SECONDS_BETWEEN_UPDATES = 0.2
UNLIMITED = 400  # characters: a file or a pipe has no width, and tables get all that they need
ROOMY = 140  # characters of a terminal that has room for all of a bar
NARROW = 12  # characters of a column that may wrap, at least
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
PIECES = re.compile(r"[^\s._=/+,-]*[\s._=/+,-]+|[^\s._=/+,-]+")  # of a name, each with the signs behind it
T = TypeVar("T")


class Progress:
    """Shows messages and the course of training on standard error, results on standard output; quiet shows errors
    alone.

    stream: takes both, in the place of these two. Of several ranks the first one shows them. rich honors NO_COLOR by
    itself.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet = quiet or not ranks.first()
        self.console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True, quiet=not ranks.first())
        self.results = Console(file=stream, highlight=False, soft_wrap=True)
        if not self.results.is_terminal:
            self.results.width = UNLIMITED
        self.live = self.console.is_terminal and not quiet
        self.bar: Bar | None = None
        self.started = self.spoke = time.monotonic()
        self.first_step = self.examples = 0
        self.runs, self.best, self.metric = 1, -math.inf, ""

    def say(self, text: str, style: str | None = None) -> None:
        """One line."""
        if not self.quiet:
            self.console.print(printable(text), style=style, markup=False)

    def tell(self, text: str, style: str | None = None) -> None:
        """One line of the results."""
        if not self.quiet:
            self.results.print(printable(text), style=style, markup=False)

    def warn(self, text: str) -> None:
        """One line that stands out, quiet or not."""
        self.console.print(printable(f"warning: {text}"), style="yellow", markup=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def follow(self, label: str, items: Iterable[T], count: int | None = None) -> Iterator[T]:
        """The items as they come, `count` in all if known; work that goes on for more than a second is shown."""
        start, bar = time.monotonic(), None
        next_at, interval = start + SECONDS_UNSEEN, SECONDS_BETWEEN_UPDATES if self.live else SECONDS_BETWEEN_LINES
        try:
            for n_done, item in enumerate(items, 1):
                yield item
                if (now := time.monotonic()) < next_at:
                    continue
                next_at = now + interval
                if self.live:
                    if bar is None:
                        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn()
                        bar = Bar(*columns, TimeRemainingColumn(), console=self.console, transient=True)
                        task = bar.add_task(label, total=count)
                        bar.start()
                    bar.update(task, completed=n_done)
                elif count is None:
                    self.say(f"{label}  {n_done:,}")
                else:
                    seconds_left = (now - start) / n_done * (count - n_done)
                    self.say(f"{label}  {n_done:,}/{count:,}  {seconds_left:.0f} s left")
        finally:
            if bar is not None:
                bar.stop()

    def begin(self, label: str, steps: int, done: int = 0, runs: int = 1) -> None:
        """Start showing a training of `steps` steps; of several runs side by side the best score is shown."""
        self.end()
        self.started = self.spoke = time.monotonic()
        self.runs, self.best = runs, -math.inf
        self.first_step, self.examples, self.metric, self.label, self.steps = done, 0, "", label, steps
        if self.live:
            self.bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24 if self.console.width >= ROOMY else 8),
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                Figures("{task.fields[figures]}", table_column=Column()),
                TimeRemainingColumn(table_column=Column(no_wrap=True)),
                console=self.console,
            )
            self.task = self.bar.add_task(label, total=steps, completed=done, figures="")
            self.bar.start()

    def show(self, event: Mapping[str, Any]) -> None:
        """Take an event of the training shown."""
        if event["event"] == "halved":
            self.warn(
                f"out of memory: from step {event['step'] + 1} on, each micro-batch is split into "
                f"{event['parts']} parts"
            )
            return
        if event["event"] == "eval" and self.runs > 1:
            self.best = max(self.best, event["selected"])
            self.metric = f"best {event['split']} {event['metric']} {self.best:.1f}"
            return
        if event["event"] == "eval":
            self.metric = f"{event['split']} {event['metric']} {event['selected']:.1f}" + (
                " (best)" if event["best"] else ""
            )
            return
        self.examples += int(event["examples"])
        rate = self.examples / max(time.monotonic() - self.started, 1e-9)
        figures = f"{rate:.0f} examples/s  {self.metric}"
        if self.runs == 1:
            figures = f"loss {event['loss']:.3f}  {figures}"
        if self.bar is not None:
            self.bar.update(self.task, completed=event["step"], figures=figures)
        elif not self.quiet and (
            time.monotonic() - self.spoke > SECONDS_BETWEEN_LINES or (event["step"] == self.steps and self.runs == 1)
        ):
            self.spoke = time.monotonic()
            seconds_left = (
                (self.spoke - self.started) / max(event["step"] - self.first_step, 1) * (self.steps - event["step"])
            )
            self.say(f"{self.label}  step {event['step']}/{self.steps}  {figures}  {seconds_left:.0f} s left")

    def end(self) -> None:
        """Stop the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
        """A compact table of results; numbers to the right."""
        if not self.quiet:
            self.results.print(table(columns, rows, title))


class Output(Console):
    """Standard output; a reader that has read enough, as `head`, is no failure, which rich would make of it."""

    def on_broken_pipe(self) -> None:
        """See rich."""
        raise BrokenPipeError


class Figures(TextColumn):
    """The column of a bar that gives way, with the bar itself, where the terminal is too narrow for all of them."""

    def render(self, task: Task) -> Text:
        """See rich."""
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, wraps: Collection[str] = ()
) -> Table:
    """Rows under column names, the first column to the left and the others to the right.

    wraps: the columns that give way, on several lines, where the terminal is too narrow.
    """
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        justify: JustifyMethod = "left" if index == 0 or column in wraps else "right"
        width = NARROW if column in wraps else None
        grid.add_column(column, justify=justify, no_wrap=column not in wraps, overflow="fold", min_width=width)
    for row in rows:
        cells = zip(columns, map(printable, row), strict=True)
        grid.add_row(*(Name(cell) if column in wraps else Text(cell) for column, cell in cells))
    return grid


class Name:
    """A text that goes on several lines, where it must, behind the signs within its words: prompt_length. value= 20."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(cell_len, PIECES.findall(self.text)), default=0), cell_len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for piece in PIECES.findall(self.text):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += piece
        yield Text("\n".join(line.rstrip() for line in lines), overflow="fold")


def printable(text: str) -> str:
    """A text without what terminals take for commands."""
    return CONTROL.sub("\ufffd", text)


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval as tables show it; nothing for a score that has none."""
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""
