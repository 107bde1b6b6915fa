"""`ptune reproduce table=NAME`: the cells of a published table are run, and the paper's figures stand beside ours.

A run that has ended is not run again, one that was cut off goes on, and both hold however the command ended.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ptune.config import Reproduce
from ptune.errors import ConfigError, PtuneError, nearest
from ptune.lock import lock
from ptune.paper import found, plan, show
from ptune.paper.table import SCALES, Cell, Table, cells, matching_cells, names, overrides, parse
from ptune.progress import Progress
from ptune.runs.folder import write_atomically
from ptune.sweeps import ledger

LOCK = "lock"
TABLE = "table"  # of files with the table, before their suffix


def main(cfg: DictConfig) -> None:
    """Run what is missing of a table, then print and store it; raises PtuneError where cells have failed."""
    from ptune.build import settings_of
    from ptune.where import choice

    s = settings_of(cfg, Reproduce)
    if problems := [*wrong(s)]:
        raise ConfigError(problems)
    assert s.table is not None
    name = choice("table").replace("/", "_")
    table = parse(name, s.table)
    all_cells = cells(table, s.scale, words(s.overrides), s.seeds)
    chosen = matching_cells(all_cells, patterns(s.cells)) if s.cells else all_cells
    reproduction = Reproduction(name, table, s, all_cells, chosen)
    with Progress(s.quiet) as progress:
        if s.dry_run:
            reproduction.forecast(progress)
            return
        with alone(reproduction.root):
            failures = reproduction.run(progress)
            states = reproduction.show(progress, failures)
    if failed := [each.cell.name for each in states if each.state == found.FAILED]:
        raise PtuneError(f"{len(failed)} of {len(chosen)} cells failed: {plan.first_names(failed)}")


def wrong(s: Reproduce) -> Iterator[str]:
    """What is wrong with the settings."""
    if s.table is None:
        yield "table: must be given, as table=ptv2_table2; ptune ls table shows what there is"
    if s.scale not in SCALES:
        yield f"scale: '{s.scale}' is not a choice; {nearest(s.scale, SCALES)}"
    if s.seeds is not None and s.seeds < 1:
        yield f"seeds: {s.seeds} is not a number of seeds"
    if s.tflops is not None and s.tflops <= 0:
        yield f"tflops: {s.tflops:g} is no speed; give TFLOP/s above 0, as tflops=15"
    for word in s.overrides:
        if "=" not in word:
            yield f"overrides: '{word}' is not of the form key=value"


def patterns(given: Any) -> list[str]:
    """A pattern or a list of them, as a list."""
    return [str(each) for each in given] if isinstance(given, list) else [str(given)]


def words(given: Sequence[str]) -> dict[str, Any]:
    """Overrides of a command line by their keys. Raises ConfigError for a value that cannot be read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    values: dict[str, Any] = {}
    for word in given:
        try:
            (parsed,) = OverridesParser.create().parse_overrides([word])
        except OverrideParseException as error:
            raise ConfigError([f"overrides: {word}: {error.message.splitlines()[0]}"]) from None
        if parsed.is_sweep_override():
            raise ConfigError([f"overrides: {word}: several values; a cell is run with one"])
        values[word.partition("=")[0]] = parsed.value()
    return values


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold a table's folder. Raises PtuneError where another process has it."""
    root.mkdir(parents=True, exist_ok=True)
    if (file := lock(root / LOCK)) is None:
        raise PtuneError(f"{root}: another process reproduces this table; dry_run=true shows how far it is")
    try:
        yield
    finally:
        os.close(file)


def is_running(root: Path) -> bool:
    """Whether somebody reproduces the table now."""
    try:
        with alone(root):
            return False
    except PtuneError:
        return True


class Reproduction:
    """A table at a scale in its folder: every cell of it, and those that the command line names."""

    def __init__(self, name: str, table: Table, s: Reproduce, every: Sequence[Cell], chosen: Sequence[Cell]) -> None:
        self.name, self.table, self.s = name, table, s
        self.root = Path(s.folder, name, s.scale).absolute()
        self.every, self.chosen = every, chosen
        # where the runs of a cell are follows from the whole table, whatever part of it is asked for
        self.owners: dict[str, Cell] = {}
        for cell in every:
            if cell.missing is None:
                self.owners.setdefault(cell.key, cell)
        self.works = plan.plan_cells(chosen, self.owners, self.root)
        self.reach = reach = plan.Reach()
        for work in self.works.values():
            if work.settings is not None:
                work.lacking = "; ".join(reach.lacking(work.settings)) or None

    def states(self, failures: Mapping[str, str], going: bool = False) -> list[found.Found]:
        """What has become of each cell."""
        return [found.cell_state(cell, self.works, failures, going, self.root) for cell in self.chosen]

    def others(self) -> dict[str, plan.Work]:
        """The works of cells that were not chosen, by key, where there is something of them; see `plan_cells`."""
        with_folders = {key for key, cell in self.owners.items() if (self.root / cell.name).is_dir()} - {*self.works}
        works = plan.plan_cells([cell for cell in self.every if cell.key in with_folders], self.owners, self.root)
        for work in works.values():
            if work.settings is not None:
                work.take_seeds_that_ended()
        return works

    def states_of_table(self, chosen: Sequence[found.Found], others: Mapping[str, plan.Work]) -> list[found.Found]:
        """What has become of each cell of the table; of those that were not chosen, what their folders tell."""
        states, failures = {each.cell.name: each for each in chosen}, failed_before(self.root)
        works = {**self.works, **others}
        return [
            states.get(cell.name) or found.cell_state(cell, works, failures, False, self.root) for cell in self.every
        ]

    def notes(self, works: Collection[plan.Work]) -> list[str]:
        """What has changed since cells were run."""
        return [*plan.other_code(works), *plan.other_data(works)]

    # Running

    def run(self, progress: Progress) -> dict[str, str]:
        """Run what is missing, the runs after a search last; what ended those that failed, by folder in the root's."""
        from ptune.paper.launch import launch

        self.make_room(progress)
        failures: dict[str, str] = {}
        while places := [place for place in self.waiting() if self.key(place) not in failures]:
            finished = sum(place.state == plan.FINISHED for work in self.works.values() for place in work.every)
            progress.say(f"{self.name}, scale={self.s.scale}: {len(places)} runs to go, {finished} have ended")
            try:
                ends = launch(places, self.root, self.s.quiet)
            except PtuneError as error:  # nothing to hope for: the table says how far it came
                failures |= {self.key(place): str(error) for place in places if place.state != plan.FINISHED}
                progress.warn(str(error))
                break
            failures |= {str(folder.relative_to(self.root)): reason for folder, reason in ends.items()}
        messages = {
            folder: event["message"] for folder, event in ledger.last(self.root).items() if event.get("message")
        }
        return {folder: messages.get(folder) or reason for folder, reason in failures.items()}

    def key(self, place: plan.Place) -> str:
        """A run by its folder in the root's."""
        return str(place.folder.relative_to(self.root))

    def waiting(self) -> list[plan.Place]:
        """The runs that have not ended, and can run now."""
        able = [work for work in self.works.values() if not work.obstacle]
        return [place for work in able for place in work.every if place.state != plan.FINISHED]

    def again(self) -> set[str]:
        """The keys of the cells that are to be run again. Raises ConfigError for patterns that name none."""
        rerun_patterns = patterns(self.s.rerun) if self.s.rerun not in (False, True) else ["*"] * bool(self.s.rerun)
        keys = {cell.key for cell in self.chosen if any(names(cell, pattern) for pattern in rerun_patterns)}
        if rerun_patterns and not keys:
            raise ConfigError([f"rerun: {', '.join(rerun_patterns)} names no cell of those that are chosen"])
        return keys

    def make_room(self, progress: Progress) -> None:
        """Put aside what is to be run again, and what was begun with other settings and could not go on.

        What cannot run now stays where it is.
        """
        keys = self.again()
        for work in self.works.values():
            if work.obstacle:
                if work.cell.key in keys:
                    progress.warn(f"{work.cell.name} is not run again: {work.obstacle}")
                continue
            for place in work.every:
                if work.cell.key in keys or (place.state == plan.BEGUN and place.settings_changed):
                    if place.state != plan.NOTHING:
                        progress.say(f"{self.key(place)} starts again; what was there is kept in {plan.REPLACED}")
                    place.put_aside(self.root)

    # Telling

    def forecast(self, progress: Progress) -> None:
        """Say what would run, what it costs, and what it lacks."""
        from ptune.paper import estimate

        rerun = self.again()
        going = self.root.is_dir() and is_running(self.root)
        cells = self.states(failed_before(self.root), going)
        total = estimate.Cost(0.0, 0.0)
        rows = []
        small = self.s.scale == "demo"
        unit, device = ("CPU-min", "one CPU core") if small else ("GPU-h", "one GPU in float32")
        speed = self.s.tflops or (estimate.CPU_TFLOPS if small else estimate.GPU_TFLOPS)
        spent = (60 if small else 1) / (speed * 3.6e15)  # of a FLOP
        for entry in cells:
            work = None if entry.cell.missing else self.works.get(entry.cell.key)
            runs, hours, disk = "", "", ""
            if work is not None and work.settings is not None and entry.by is None:
                cost = estimate.cost(work.settings)
                anew = entry.cell.key in rerun and not work.obstacle
                finished = 0 if anew else sum(place.state == plan.FINISHED for place in work.every)
                remaining = work.number - finished
                total = estimate.Cost(*(a + b for a, b in zip(total, cost.times(remaining), strict=True)))
                runs, hours = f"{remaining} of {work.number}", f"{cost.times(remaining).flop * spent:.2f}"
                disk = f"{cost.times(remaining).disk / 1e9:.2f}"
            deltas = "" if entry.by else " ".join(overrides(entry.cell.words))
            searched = "; ".join(f"{key}: {', '.join(map(str, v))}" for key, v in entry.cell.search.items())
            searched = (
                f" (search {'with each seed ' * entry.cell.each_seed}{searched})" if searched and not entry.by else ""
            )
            deltas = "" if entry.cell.missing else deltas + searched
            state = show.state(entry)
            if entry.why == found.NOT_RUN:
                state = f"as {entry.by}" if entry.by else entry.why
            rows.append([entry.cell.name, state, runs, hours, disk, deltas])
        rows.insert(0, ["cell", "state", "runs", unit, "GB", "overrides"])
        lay_out(rows)
        hours = f"{total.flop * spent:,.1f} {unit}"
        progress.tell(f"in all {hours} and {total.disk / 1e9:,.1f} GB of disk, roughly:")
        progress.tell(f"  {total.flop:.3g} FLOP at {speed:g} TFLOP/s, which {device} is taken to sustain (tflops=...).")
        for line in " ".join((estimate.__doc__ or "").split("\n\n")[1].split()).split(". "):
            progress.tell(f"  {line.rstrip('.')}.")
        lacking = {line for work in self.works.values() if work.lacking for line in work.lacking.split("; ")}
        for line in sorted(lacking):
            progress.tell("\n".join([f"missing: {line}", *(f"  {way}" for way in self.reach.ways.get(line, ()))]))
        for line in self.notes(self.works.values()):
            progress.warn(line)

    def show(self, progress: Progress, failures: Mapping[str, str]) -> list[found.Found]:
        """Print the cells that were chosen, and store the whole table in each format; returns the former."""
        chosen, others = self.states(failures), self.others()
        cells, notes = self.states_of_table(chosen, others), self.notes([*self.works.values(), *others.values()])
        document = show.as_json(self.name, self.table, self.s.scale, cells, notes)
        files = {
            "md": show.markdown(self.table, self.s.scale, cells, notes),
            "csv": show.comma_separated(cells),
            "json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        }
        self.root.mkdir(parents=True, exist_ok=True)
        for kind, text in files.items():
            write_atomically(self.root / f"{TABLE}.{kind}", text.encode())
        if not self.s.quiet:
            from ptune.commands.report import draw

            draw(show.COLUMNS, show.rows(chosen))
            for line in [*show.table_notes(self.table, self.s.scale, chosen), *notes]:
                print(line)
        print(f"{self.root / TABLE}.md, .csv and .json")
        self.draw(progress, cells)
        return chosen

    def draw(self, progress: Progress, cells: Sequence[found.Found]) -> None:
        """Store what was published as a figure as one, too: a file a panel; says so where that takes matplotlib."""
        from ptune.paper.draw import charts
        from ptune.reports import figures

        if drawings := charts(self.table, cells):
            try:
                for path in figures.save(drawings, self.root):
                    print(path)
            except PtuneError as error:
                progress.warn(str(error))


def lay_out(rows: Sequence[list[str]]) -> None:
    """Print rows as columns; on a terminal without the last one where that makes them too wide."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    narrow = sys.stdout.isatty() and sum(widths) + 2 * len(widths) > shutil.get_terminal_size().columns
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells[:-1] if narrow else cells).rstrip())
    if narrow:
        print(f"too narrow for {rows[0][-1]}; | less -S shows them")


def failed_before(root: Path) -> dict[str, str]:
    """What the ledger says of runs that failed, by folder."""
    return {
        folder: str(event.get("message") or event["state"])
        for folder, event in ledger.last(root).items()
        if event.get("state") == "failed"
    }
