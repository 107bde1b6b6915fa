"""`ptune report format=html`: finished runs as one page that stands alone, for eyes and for paper.

Everything is inside of the file, and its content security policy lets it load nothing and run no script but its own;
names and texts of runs are shown, never read as markup. Charts need no script; sorting does. The same runs in the same
places give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence, Sized
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple
from urllib.parse import quote

from ptune import __version__, bounded
from ptune.errors import PtuneError
from ptune.reports import charts, figures
from ptune.reports.charts import Seen, Shown, group_by, preferred, ranking
from ptune.reports.results import Group, Run, flat, pruned_folders, without_paths
from ptune.reports.tables import Sheet, flop, note_on_pruned, notes, seconds, training_seconds
from ptune.runs import forms
from ptune.runs.folder import write_atomically

ERRORS = 5  # that are shown of a setting
PARTS = 8  # settings beside one another in a breakdown
CONFUSED = 20  # labels of a table of confusions at most
NUMBER = re.compile(r"[<\[]?([-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?)(?:\]|, .*|)$")  # or <0.001, [1.0, 2.0], "3, 3"


class Cell(NamedTuple):
    """What a table's cell shows, what it is sorted by, the small print below, and what it links to: (text, address)."""

    text: str
    order: float | str | None = None
    small: str = ""
    links: Sequence[tuple[str, str]] = ()
    shade: float | None = None

    @property
    def number(self) -> bool:
        """Whether it stands to the right."""
        return isinstance(self.order, int | float)


class Table(NamedTuple):
    """Columns with what they mean, and rows of cells, each with an id or none."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    note: str = ""


def write(groups: Sequence[Group], sheets: Sequence[Sheet], folder: Path, page: Path) -> None:
    """Write a page on groups of runs below a folder; sheets: tables of their comparison, which it shows as they are.

    Raises PtuneError without what draws it.
    """
    figures.need_matplotlib()
    text = render(groups, sheets, folder, page)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, text.encode("utf-8", "replace"))


def render(groups: Sequence[Group], sheets: Sequence[Sheet], folder: Path, page: Path) -> str:
    """The page's text, with links to run folders as seen from where it stands."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise PtuneError("format=html needs Jinja2: pip install 'ptune[plots]'") from None
    loader = PackageLoader("ptune", "assets/report")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style, script = (
        resources.files("ptune.assets").joinpath("report", name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    report = Report(groups, folder, page)
    number = itertools.count(1)
    images = {
        heading: [(Markup(figures.inline(drawing, f"figure-{next(number)}")), drawing) for drawing in drawings]
        for heading, drawings in charts.charts(report.groups).items()
    }
    return jinja.get_template("page.html").render(
        report=report,
        drawn=images,
        compared=[(f"{sheet.title[:1].upper()}{sheet.title[1:]}", as_table(sheet)) for sheet in sheets],
        style=Markup(style),
        script=Markup(script),
        hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
    )


class Item(NamedTuple):
    """An environment, or the data of runs: its number and what is known of it."""

    id: str
    lines: Sequence[tuple[str, str]]


class Sample(NamedTuple):
    """An example that was answered wrongly: words with their tags, (word, gold, predicted), and its other fields."""

    id: str
    right: float
    words: Sequence[tuple[str, str, str]]
    fields: Sequence[tuple[str, str]]


class Report:
    """What the page says, apart from its drawings."""

    def __init__(self, groups: Sequence[Group], folder: Path, page: Path) -> None:
        self.groups = charts.named_groups(groups)
        self.folder, self.page = folder, page
        self.settings = {seen.run.folder: shown for shown in self.groups for seen in shown.runs}
        repeated = [run for group in groups for run in group.repeated]
        self.repeated = {run.folder for run in repeated}
        self.runs = [seen for shown in self.groups for seen in shown.runs] + [*map(Seen, repeated)]
        self.ids = {seen.run.folder: f"run-{number}" for number, seen in enumerate(self.runs, 1)}
        self.anchors = {id(shown): f"setting-{number}" for number, shown in enumerate(self.groups, 1)}
        self.boards = group_by(self.groups, lambda shown: shown.board)
        self.environments, self.environment_of = number_distinct("E", [environment(seen.run) for seen in self.runs])
        self.data, self.data_of = number_distinct("D", [data(seen.run) for seen in self.runs])

    @property
    def counts(self) -> str:
        """How much there is."""
        tasks = {shown.group.of["task"] for shown in self.groups}
        return f"{count_text(self.runs, 'run')} of {count_text(self.groups, 'setting')} on {count_text(tasks, 'task')}"

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before the figures."""
        runs = [seen.run for seen in self.runs]
        codes = {run.environment.get("code") for run in runs} - {None}
        single = sum(shown.group.n == 1 for shown in self.groups)
        remarks = [
            (
                any(run.result["synthetic"] for run in runs),
                "Synthetic corpora: these figures say nothing about language.",
            ),
            (
                any(run.result["selected_on_reported"] for run in runs),
                "Some scores are of the split that their best evaluation was selected on; their table says so.",
            ),
            (len(codes) > 1, f"The runs are of {len(codes)} versions of the code; the table of runs names each one's."),
            (any(str(code).endswith("+changed") for code in codes), "Some ran with changes that are in no commit."),
            (bool(single), f"{single} of {count_text(self.groups, 'setting')} with one seed: no spread over seeds."),
            (
                bool(self.repeated),
                f"{count_text(self.repeated, 'run')} of a seed that was run again; the last one counts.",
            ),
        ]
        remarks += [
            (True, f"{note[:1].upper()}{note[1:]}.") for note in note_on_pruned(pruned_folders(self.folder, runs))
        ]
        caveats = dict.fromkeys(run.result["caveat"] for run in runs if run.result.get("caveat"))
        return [text for holds, text in remarks if holds] + [*caveats]

    # Tables

    def summary(self) -> Table:
        """The methods by their scores: of each method the setting that the selecting score prefers."""
        best = {
            key: (preferred(members), len(members))
            for key, members in group_by(self.groups, lambda shown: (shown.board, shown.method)).items()
        }
        methods = [*dict.fromkeys(shown.method for shown in self.groups)]
        first = next(iter(self.boards))
        methods.sort(key=lambda name: -best[first, name][0].group.mean if (first, name) in best else 1.0)
        rows = [
            (
                "",
                [
                    Cell(name, name),
                    *(
                        self.method_cell(*best[key]) if (key := (board, name)) in best else Cell("")
                        for board in self.boards
                    ),
                ],
            )
            for name in methods
        ]
        columns = [("method", ""), *((board, "mean over seeds ± standard deviation (ddof 1)") for board in self.boards)]
        note = (
            "Mean over seeds ± standard deviation (ddof 1), its 95% interval, and trained parameters. Of a method with "
            "several settings it is the one with the best selecting score, which need not be the best reported one."
        )
        return Table(columns, rows, note)

    def method_cell(self, shown: Shown, of: int) -> Cell:
        """A method's cell."""
        group = shown.group
        trained, trials = f"{parameter_count(shown):,} trained", f"best of {of} settings" if of > 1 else ""
        settings = shown.label.removeprefix(shown.method).strip()
        notes = [unbroken(interval(group)), unbroken(f"n = {group.n}"), settings, unbroken(trained), unbroken(trials)]
        links = [(mean(group), f"#{self.anchors[id(shown)]}")]
        return Cell(mean(group), group.mean, " · ".join(filter(None, notes)), links)

    def table(self, board: str) -> Table:
        """The settings of a board."""
        members = ranking(self.boards[board])
        rows = [(self.anchors[id(shown)], self.row(shown)) for shown in members]
        majority = sorted({f"{seen.run.result['majority']:.2f}" for shown in members for seen in shown.runs})
        unsaid = {shown.method: shown.unsaid for shown in members if shown.unsaid}
        note = f"Majority class {' or '.join(majority)}."
        note += "".join(f" Where the name of {name} says nothing else: {text}." for name, text in unsaid.items())
        trials = [shown.group for shown in members if shown.group is shown.group.family.best]
        return Table(COLUMNS, rows, f"{note} {sentences(notes(trials))}")

    def row(self, shown: Shown) -> list[Cell]:
        """A setting's cells."""
        group, runs = shown.group, [seen.run for seen in shown.runs]
        parameters = runs[0].result["parameters"]
        timed = [seen.latency for seen in shown.runs if seen.latency is not None]
        spent = seconds(group)
        cost = flop(group)
        seeds = [(str(run.seed), f"#{self.ids[run.folder]}") for run in runs]
        edge = ", ".join(f"{end} {charts.short(key)}" for key, end in group.edge.items())
        return [
            Cell(shown.label, shown.label),
            Cell("" if shown.length is None else str(shown.length), shown.length),
            Cell(mean(group), group.mean),
            Cell(interval(group), group.interval[0] if group.interval else None),
            Cell(str(group.n), group.n),
            Cell("", None, links=seeds),
            Cell(f"{group.selected.mean:.2f}", group.selected.mean),
            Cell(f"{group.last.mean:.2f}", group.last.mean),
            Cell(str(group.trials), group.trials, f"edge: {edge}" if edge and group is group.family.best else ""),
            Cell(f"{parameters['trained']:,}", parameters["trained"]),
            Cell(f"{parameters['bytes']:,}", parameters["bytes"]),
            Cell("" if spent is None else f"{spent:.1f}", spent),
            Cell("" if cost is None else f"{cost:.1e}", cost),
            Cell(f"{fmean(timed):.2f}" if timed else "", fmean(timed) if timed else None),
        ]

    def run_table(self) -> Table:
        """All runs."""
        rows = []
        for number, seen in enumerate(self.runs):
            run = seen.run
            shown = self.settings.get(run.folder)
            name = str(run.folder.relative_to(self.folder))
            spent = training_seconds(run.result)
            bounds = run.result.get("interval")
            links = f"#{self.environment_of[number]}", f"#{self.data_of[number]}"
            rows.append(
                (
                    self.ids[run.folder],
                    [
                        Cell("", name, links=[(name, self.link(run))]),
                        Cell(shown.label if shown else "repeated, counts nowhere", shown.label if shown else ""),
                        Cell(run.result["task"], run.result["task"]),
                        Cell(str(run.seed), run.seed),
                        Cell(f"{run.score:.2f}", run.score),
                        Cell(f"[{bounds[0]:.1f}, {bounds[1]:.1f}]" if bounds else "", bounds[0] if bounds else None),
                        Cell(f"{run.selected:.2f}", run.selected),
                        Cell(f"{run.last:.2f}", run.last),
                        Cell("" if spent is None else f"{spent:.1f}", spent),
                        Cell("", None, links=[("command", f"#command-{number + 1}")]),
                        Cell("", self.environment_of[number], links=[(links[0][1:], links[0])]),
                        Cell("", self.data_of[number], links=[(links[1][1:], links[1])]),
                    ],
                )
            )
        note = "The interval of a run is over examples alone. A run's name opens its folder."
        return Table(RUN_COLUMNS, rows, note)

    def commands(self) -> list[tuple[str, str, str]]:
        """The id, name and command line of every run."""
        blocks = []
        for number, seen in enumerate(self.runs, 1):
            words = seen.run.environment.get("overrides")
            command = "not recorded" if words is None else " ".join(["ptune train", *map(shlex.quote, words)])
            blocks.append((f"command-{number}", str(seen.run.folder.relative_to(self.folder)), command))
        return blocks

    def link(self, run: Run) -> str:
        """A run's folder as seen from the page."""
        return "./" + quote(os.fsencode(os.path.relpath(run.folder.resolve(), self.page.resolve().parent))) + "/"

    # Where scores come from

    def parts(self, board: str) -> dict[str, Table]:
        """The score by label, length and what else a board's task tells apart, of the best setting of each method."""
        best = self.best_settings(board)
        scores = [[label_scores(breakdown(seen.run)) for seen in shown.runs] for shown in best]
        tables = {}
        for name in dict.fromkeys(name for one in scores for parts in one for name in parts):
            of_label = [[parts.get(name, {}) for parts in one] for one in scores]
            sizes: dict[str, int] = {}
            for values in (values for one in of_label for values in one):
                sizes = {**{value: n for value, (_, n) in values.items()}, **sizes}
            rows = [
                ("", [Cell(value), Cell(f"{n:,}", n), *(part(one, value) for one in of_label)])
                for value, n in sizes.items()
            ]
            of = "gold" if name == "label" else "examples"
            tables[name] = Table([(name, ""), (of, ""), *((shown.label, "") for shown in best)], rows)
        return tables

    def best_settings(self, board: str) -> list[Shown]:
        """The best setting of each method on a board, in the order of their scores."""
        return ranking(map(preferred, group_by(self.boards[board], lambda shown: shown.method).values()))[:PARTS]

    def confusions(self, shown: Shown) -> Table | None:
        """How often each label was taken for each other one, over a setting's runs."""
        counts: dict[tuple[str, str], int] = {}
        for seen in shown.runs:
            for row in breakdown(seen.run).get("confusions", ()):
                key = str(row["gold"]), str(row["predicted"])
                counts[key] = counts.get(key, 0) + row["count"]
        sizes: dict[str, int] = {}
        for (gold, predicted), count in counts.items():
            for label in dict.fromkeys((gold, predicted)):
                sizes[label] = sizes.get(label, 0) + count
        labels = sorted(sorted(sizes, key=lambda label: -sizes[label])[:CONFUSED])
        if len(labels) < 2:
            return None
        rows = []
        for gold in labels:
            row = [counts.get((gold, predicted), 0) for predicted in labels]
            most = max(*row, 1)
            cells = [Cell(f"{count:,}" if count else "·", count, shade=count / most) for count in row]
            rows.append(("", [Cell(gold), *cells]))
        note = f"Rows are gold, columns predicted; counts over {count_text(shown.runs, 'run')}."
        note += f" The {CONFUSED} most frequent of {len(sizes)} labels." if len(sizes) > CONFUSED else ""
        return Table([("gold", ""), *((label, "") for label in labels)], rows, note)

    def samples(self, shown: Shown) -> list[Sample]:
        """Some of the worst errors of a setting's first run."""
        return [sample(row) for row in breakdown(shown.runs[0].run).get("errors", ())[:ERRORS]]


COLUMNS = (
    ("setting", "method and what tells it from the others"),
    ("P", "prompt length"),
    ("score", "mean over seeds ± standard deviation (ddof 1) of the best evaluation, in percent"),
    ("95% interval", "of the mean"),
    ("n", "seeds"),
    ("runs", "by their seeds"),
    ("selected", "the score that the best evaluation was chosen by, mean over seeds"),
    ("last", "the reported score of the last evaluation, mean over seeds"),
    (
        "trials",
        "settings tried in the same search, this one among them; of the best one what is at the edge of what was tried",
    ),
    ("trained", "parameters that learn"),
    ("bytes", "of what is stored of a run"),
    ("seconds", "of training a run"),
    ("FLOP", "of training a run, as estimated"),
    ("ms/example", "of inference, as timed by the evaluations during training"),
)
RUN_COLUMNS = (
    ("run", "its folder"),
    ("setting", ""),
    ("task", ""),
    ("seed", ""),
    ("score", "of the best evaluation, in percent"),
    ("95% interval", "over examples"),
    ("selected", "the score that the best evaluation was chosen by"),
    ("last", "the reported score of the last evaluation"),
    ("seconds", "of training"),
    ("command", ""),
    ("env", "environment"),
    ("data", ""),
)


def as_table(sheet: Sheet) -> Table:
    """A table that is told in words; what can be read as a number is sorted as one."""
    rows = [("", [Cell(text, as_number(text)) for text in row]) for row in sheet.rows]
    return Table([(column, "") for column in sheet.columns], rows, sentences(sheet.notes))


def sentences(told: Sequence[str]) -> str:
    """Notes one after another."""
    return " ".join(f"{note[:1].upper()}{note[1:]}." for note in told)


def as_number(text: str) -> float | str | None:
    """What a cell is sorted by: the number, or the first of several; None for one that says nothing."""
    match = NUMBER.match(text)
    return float(match[1].replace(",", "")) if match else text or None


def count_text(items: Sized, what: str) -> str:
    """A number of things."""
    return f"{len(items)} {what}" + "s" * (len(items) != 1)


def mean(group: Group) -> str:
    """A mean with its standard deviation."""
    return f"{group.mean:.2f}" + (f" ± {group.std:.2f}" if group.std is not None else "")


def unbroken(text: str) -> str:
    """A text that stays on one line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def interval(group: Group) -> str:
    """A group's interval."""
    return f"[{group.interval[0]:.1f}, {group.interval[1]:.1f}]" if group.interval else ""


def parameter_count(shown: Shown) -> int:
    """How many parameters a setting's runs train."""
    return int(shown.runs[0].run.result["parameters"]["trained"])


def number_distinct(letter: str, items: Sequence[list[tuple[str, str]]]) -> tuple[list[Item], list[str]]:
    """The distinct ones with their numbers, and of each its number."""
    distinct: dict[str, Item] = {}
    numbers = []
    for lines in items:
        item = distinct.setdefault(json.dumps(lines), Item(f"{letter}{len(distinct) + 1}", lines))
        numbers.append(item.id)
    return [*distinct.values()], numbers


def environment(run: Run) -> list[tuple[str, str]]:
    """What a run's figures depend on beside its configuration and data."""
    facts = {name: value for name, value in run.environment.items() if name not in OF_A_RUN}
    packages = " ".join(f"{name}=={version}" for name, version in facts.pop("packages", {}).items())
    return [(name, charts.setting_value(value)) for name, value in facts.items()] + [("packages", packages)] * bool(
        packages
    )


OF_A_RUN = ("identity", "overrides", "data", "resumed")


def data(run: Run) -> list[tuple[str, str]]:
    """Where a run's data is from, with the checksums of its files and of its splits' examples."""
    origin = run.result.get("data", {})
    files = origin.get("files")
    lines = [(name, charts.setting_value(value)) for name, value in flat(without_paths({**origin, "files": {}}))]
    for split, entry in files.items() if isinstance(files, dict) else ():
        for file in entry if isinstance(entry, list) else [entry]:
            if isinstance(file, dict):
                name = Path(str(file.get("path", ""))).name
                facts = without_paths(file).items()
                lines.append(
                    (f"file of {split}", " ".join([name, *(f"{k} {charts.setting_value(v)}" for k, v in facts)]))
                )
    sums = run.result.get("checksums", {})
    return lines + [(f"examples of {split}", f"sha256 {checksum}") for split, checksum in sums.items()]


def breakdown(run: Run) -> Mapping[str, Any]:
    """Where a run's reported score comes from; empty where nobody kept it."""
    name = run.result["best"].get("breakdowns", {}).get(run.result["report_on"])
    path = run.folder / name if name else None
    if path is None or not path.is_file():
        return {}
    if not path.resolve().is_relative_to(run.folder.resolve()):
        raise PtuneError(f"{run.folder / 'result.json'}: damaged (best.breakdowns: {name} is not in the run folder)")
    parts: dict[str, Any] = bounded.read_json(path)
    forms.check(forms.Breakdown, parts, path)
    return parts


def label_scores(found: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, int]]]:
    """The scores of a breakdown's labels and parts, each with how many it is of."""
    labels = {str(row["label"]): (row["f1"], row.get("gold", 0)) for row in found.get("labels", ()) if "f1" in row}
    metric = found.get("metric")
    parts = {
        name: {str(row["value"]): (row[metric], row["examples"]) for row in rows if metric in row}
        for name, rows in found.get("by", {}).items()
    }
    return {name: values for name, values in {"label": labels, **parts}.items() if values}


def part(runs: Sequence[Mapping[str, tuple[float, int]]], value: str) -> Cell:
    """The mean score of a part over runs."""
    scores = [run[value][0] for run in runs if value in run]
    return Cell(f"{fmean(scores):.1f}", fmean(scores), shade=fmean(scores) / 100) if scores else Cell("")


def sample(row: Mapping[str, Any]) -> Sample:
    """An error of a breakdown."""
    fields = {name: value for name, value in row.items() if name not in ("id", "right", "scores")}
    lists = {name: value for name, value in fields.items() if isinstance(value, list)}
    words: list[tuple[str, str, str]] = []
    if {"gold", "prediction"} < {*lists} and len({len(value) for value in lists.values()}) == 1:
        text = next(name for name in lists if name not in ("gold", "prediction"))
        rows = zip(lists[text], lists["gold"], lists["prediction"], strict=True)
        words = [(str(word), str(gold), str(predicted)) for word, gold, predicted in rows]
        fields = {name: value for name, value in fields.items() if name not in (text, "gold", "prediction")}
    lines = [(name, charts.setting_value(value)) for name, value in fields.items() if value not in (None, "", [], {})]
    return Sample(str(row.get("id", "")), 100 * row["right"], words, lines)
