"""What is drawn of runs: their scores, learning curves, and scores against settings and costs.

Groups, runs alike in all but the seed, come from `results`; a board is what scores can be compared on, one metric
of one split of a task with one backbone, on the same data by the same protocol, and no drawing has more than one.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from statistics import fmean, median
from typing import Any, TypeVar

from ptune.reports import compare
from ptune.reports.figures import Axis, Chart, Drawing, Forest, Line, Parallel, Point, Row, Series
from ptune.reports.results import FOLLOWS, Family, Group, Run, below, sort_key
from ptune.reports.tables import flop, seconds
from ptune.runs import forms
from ptune.runs.folder import RunFolder

T = TypeVar("T")
CURVES, ROWS, LINES = 8, 40, 400  # the most that one drawing shows; the best ones
RANKED = 8  # values of a setting that stand on an axis at equal distances; more of them by their size
LENGTH, LAYERS = "prompt_length.value", "method.prompt.layers"
NAMES = ("task.name", "method.name", "backbone.name", LENGTH)
# what leaves hold and what follows from other settings, where nobody chose it
SILENT = (
    "result",
    "accumulate",
    "backbone",
    "compat",
    "data.max_length",
    "files",
    "metric",
    "method",
    "optim.weight_decay",
    "prompt_length.lookup",
    "report_on",
    "task",
)
SECONDS = "seconds of training"


@dataclass(frozen=True)
class Seen:
    """A run as the report shows it."""

    run: Run

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What can make a difference, by its key, with the seed."""
        return {**self.run.settings, "seed": self.run.seed}

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluations of its training, in their order."""
        folder = RunFolder(self.run.folder)
        events = [event for _, event in folder.metrics() if event.get("event") == "eval"]
        for event in events:
            forms.check(forms.Event, event, folder.file("metrics.jsonl"))
        return events

    @cached_property
    def latency(self) -> float | None:
        """Milliseconds of inference an example: the median of its evaluations; None where none was timed."""
        folder = RunFolder(self.run.folder)
        path = folder.file("splits.jsonl")
        rows = folder.read_jsonl(path.name) if path.is_file() else []
        for row in rows:
            forms.check(forms.Split, row, path)
        examples = {row["split"]: row["examples"] for row in rows}
        timed = [
            1000 * event["seconds"] / examples[event["split"]]
            for event in self.evaluations
            if "seconds" in event and examples.get(event.get("split"))
        ]
        return median(timed) if timed else None


@dataclass(frozen=True)
class Shown:
    """A group as the report shows it.

    label: its method and what tells it from most of the others with it on its board; unsaid: settings that the label
    leaves out, as most share them; family: the label without the prompt length and what differs with it, which `along`
    names; style: the number of its method.
    """

    group: Group
    runs: Sequence[Seen]
    board: str
    method: str
    label: str
    unsaid: str
    family: str
    along: Sequence[str]
    style: int

    @property
    def length(self) -> int | None:
        """Its prompt length."""
        return self.runs[0].run.result["prompt_length"]

    @property
    def constant(self) -> bool:
        """Whether it says what the majority class says, and learned nothing: a drawing is no place for it."""
        results = [seen.run.result for seen in self.runs]
        return all(r["score"] == r["majority"] and not r["parameters"]["trained"] for r in results)


def named_groups(groups: Sequence[Group]) -> list[Shown]:
    """The groups with their names, in their order."""
    places = boards(groups)
    methods = [group.of["method"] for group in groups]
    styles = {name: number for number, name in enumerate(dict.fromkeys(methods))}
    labeled: dict[int, Shown] = {}
    for (place, name), members in group_by(range(len(groups)), lambda i: (places[i], methods[i])).items():
        keys, along = differing([run for i in members for run in groups[i].runs])
        alike = [groups[i].settings for i in members for _ in groups[i].runs]
        usual = {key: most_common(json.dumps(settings.get(key)) for settings in alike) for key in keys}
        unsaid = [f"{short(key)}={setting_value(json.loads(value))}" for key, value in usual.items() if key != LENGTH]
        labels: set[str] = set()
        for i in members:
            settings = groups[i].settings
            telling = [key for key in keys if key != LENGTH and json.dumps(settings.get(key)) != usual[key]]
            family = " ".join([name, *(setting_name(key, settings) for key in telling)])
            label = (
                " ".join([family, *(setting_name(key, settings) for key in (*along, LENGTH))])
                if LENGTH in keys
                else family
            )
            while label in labels:  # they differ in what is not told
                label += "'"
            labels.add(label)
            runs = [*map(Seen, groups[i].runs)]
            beside = [*map(short, along)]
            labeled[i] = Shown(groups[i], runs, place, name, label, " ".join(unsaid), family, beside, styles[name])
    return [labeled[i] for i in range(len(groups))]


def most_common(values: Iterable[str]) -> str:
    """The most frequent one; of equals the first."""
    return Counter(values).most_common(1)[0][0]


def boards(groups: Sequence[Group]) -> list[str]:
    """Of each group what its scores are of, with the settings that tell it from other boards of that name."""
    names = [(f"{group.of['task']}, {group.of['backbone']}", group.of["metric"]) for group in groups]
    places = [compare.place(group) for group in groups]
    titles: dict[int, str] = {}
    for (where, score), members in group_by(range(len(groups)), lambda i: names[i]).items():
        keys = differing_settings([places[i] for i in members])
        for i in members:
            differences = [f"{key.removeprefix('result.')}={setting_value(places[i].get(key))}" for key in keys]
            titles[i] = f"{', '.join([where, *differences])}: {score}"
    return [titles[i] for i in range(len(groups))]


def differing_settings(places: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that not all places share, of those that differ in the same way one; checksums come last."""
    by_pattern: dict[tuple[int, ...], str] = {}
    for key in sorted({key for each in places for key in each}, key=lambda key: (key == "files", key)):
        values = [json.dumps(each.get(key), sort_keys=True) for each in places]
        if len({*values}) > 1:
            by_pattern.setdefault(pattern(values), key)
    return [*by_pattern.values()]


def pattern(values: Sequence[str]) -> tuple[int, ...]:
    """Which values are the same: each one's number in the order of their first ones."""
    order = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return tuple(order[value] for value in values)


def differing(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """The settings that not all of some runs share: those of command lines, and what else tells runs apart but for what
    a name says already and what follows from another one. Of those that differ in the same way the first; and beside
    them those that differ as the prompt length does, which does not make them.
    """
    overridden = {word.partition("=")[0].lstrip("+") for run in runs for word in run.environment.get("overrides", ())}
    keys = dict.fromkeys([*NAMES, *(key for run in runs for key in run.settings)])
    by_pattern: dict[tuple[int, ...], str] = {}
    along = []
    for key in keys:
        if not (key in NAMES or key in overridden) and below(key, SILENT):
            continue
        values = [json.dumps(run.settings.get(key), sort_keys=True, default=str) for run in runs]
        if len({*values}) > 1 and by_pattern.setdefault(pattern(values), key) == LENGTH:
            along.append(key)
    return [*by_pattern.values()], [key for key in along if key != LENGTH and not below(key, FOLLOWS["prompt_length"])]


def setting_name(key: str, settings: Mapping[str, Any]) -> str:
    """A setting in a name."""
    return f"{short(key)}={setting_value(settings.get(key))}"


def short(key: str) -> str:
    """A setting's name without what stands before it, except for the seed of anything but training."""
    if key in NAMES:
        return {LENGTH: "P"}.get(key, key.partition(".")[0])
    return key if key.endswith(".seed") else key.rpartition(".")[2]


def setting_value(value: Any) -> str:
    """A setting's value."""
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)


def group_by(items: Iterable[T], key: Callable[[T], Hashable]) -> dict[Any, list[T]]:
    """Items by what they have in common, in their order."""
    groups: dict[Any, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def charts(groups: Sequence[Shown]) -> dict[str, list[Drawing]]:
    """Everything that can be drawn of some groups, by the heading that it stands under; each has a name of its own."""
    sections: dict[str, list[Drawing]] = defaultdict(list)
    names: set[str] = set()
    of_board = group_by(groups, lambda each: each.board)
    for heading, kinds in DRAWN.items():
        for board, members in of_board.items():
            for drawing in (drawing for drawn in kinds for drawing in drawn(board, members)):
                while drawing.name in names:
                    drawing = replace(drawing, name=f"{drawing.name}_")
                names.add(drawing.name)
                sections[heading].append(drawing)
    return dict(sections)


def file_name(*words: str) -> str:
    """The name of a drawing's files, and of its ids in a page."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_") or "_" for word in words)


def ranking(members: Iterable[Shown]) -> list[Shown]:
    """The best first; of equals the first."""
    return sorted(members, key=lambda named_groups: -named_groups.group.mean)


def figures(shown: Shown) -> str:
    """A group's mean with what it is worth."""
    group = shown.group
    spread = "" if group.std is None else f" ± {group.std:.2f}"
    interval = f", 95% [{group.interval[0]:.1f}, {group.interval[1]:.1f}]" if group.interval else ""
    return f"{group.mean:.2f}{spread} (n = {group.n}{interval})"


def forest(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Means with their intervals, the best on top."""
    best = [s for s in ranking(members) if not s.constant]
    rows = [
        Row(s.label, s.group.mean, s.group.interval, scores(s), s.style, f"{s.label}\n{figures(s)}")
        for s in best[:ROWS]
    ]
    if not rows:
        return
    majority = sorted({round(seen.run.result["majority"], 6) for s in members for seen in s.runs})
    values = [score for row in rows for score in (*row.scores, *(row.interval or ()))]
    near = len(majority) == 1 and majority[0] > min(values) - 2 * (max(values) - min(values))
    note = f"{MEANS} The strokes below it are single seeds. "
    note += "Dashed: majority class, " if near else "Majority class: "
    note += " or ".join(f"{score:.2f}" for score in majority) + "." + left_out(len(best), ROWS)
    title, score = place.split(": ", 1)
    yield Forest(file_name("scores", place), title, score, rows, note, majority[0] if near else None)


def scores(shown: Shown) -> list[float]:
    """The scores of a group's runs."""
    return [seen.run.score for seen in shown.runs]


def left_out(count: int, most: int, what: str = "settings") -> str:
    """That a drawing shows only a part."""
    return f" The best {most} of {count} {what}." if count > most else ""


def curves(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """The selecting score over the epochs: of each method's preferred setting, and of the settings of each method."""
    by_method = group_by(members, lambda s: s.method)
    task = place.partition(": ")[0]
    if len(by_method) > 1:
        best = ranking(map(preferred, by_method.values()))
        caption = " Of each method the setting that the selecting score prefers."
        yield from curve(file_name("curves", place), task, best, [s.label for s in best], caption)
    for name, alike in by_method.items():
        if len(alike) > 1 or len(by_method) == 1:
            best = ranking(alike)
            labels = [s.label.removeprefix(name).strip() or name for s in best]
            yield from curve(file_name("curves", place, name), f"{name} on {task}", best, labels)


def curve(name: str, title: str, best: Sequence[Shown], labels: Sequence[str], told: str = "") -> Iterator[Drawing]:
    """The selecting score of some settings over the epochs."""
    lines = [(s, label) for s, label in zip(best, labels, strict=True) if len(course(s)) > 1]
    if lines:
        most = lines[:CURVES]
        numbers = styles([s for s, _ in most])
        series = [Series(label, course(s), style) for (s, label), style in zip(most, numbers, strict=True)]
        first = lines[0][0].runs[0].evaluations[0]
        note = "Mean over seeds at each evaluation that all have; the band is from the lowest to the highest seed."
        note += told + left_out(len(lines), CURVES)
        yield Chart(name, title, "epoch", f"{first['split']} {first['metric']}", series, note)


def preferred(members: Sequence[Shown]) -> Shown:
    """The setting that the selecting score prefers, on the seeds that all have where there are any."""
    best = Family([shown.group for shown in members]).best
    return next(named_groups for named_groups in members if named_groups.group is best)


def styles(drawn: Sequence[Shown]) -> Sequence[int]:
    """The styles of series: those of their methods, as in every drawing; further settings of a method have others."""
    others, found = count(max((s.style for s in drawn), default=0) + 1), list[int]()
    for s in drawn:
        found.append(s.style if s.style not in found else next(others))
    return found


def course(shown: Shown) -> list[Point]:
    """A group's mean score at the evaluations that all of its runs have."""
    each = [{event["epoch"]: event["selected"] for event in seen.evaluations} for seen in shown.runs]
    points = []
    for epoch in sorted(set.intersection(*map(set, each))):
        values = [found[epoch] for found in each]
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
        band = "" if low is None else f" ({low:.2f} to {high:.2f}, n = {len(values)})"
        tooltip = f"{shown.label}\nepoch {epoch:g}: {fmean(values):.2f}{band}"
        points.append(Point(epoch, fmean(values), low, high, tooltip))
    return points


def point(shown: Shown, x: float, told: str) -> Point:
    """A group's mean and interval at a place of an axis."""
    low, high = shown.group.interval or (None, None)
    return Point(x, shown.group.mean, low, high, f"{shown.label}\n{told}\n{figures(shown)}")


MEANS = "Mean over seeds with its 95% interval, over seeds and examples; of one seed the run's own, over examples."


def lengths(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Scores against the prompt length."""
    families = group_by((s for s in ranking(members) if s.length), lambda s: s.family)
    several = {name: kin for name, kin in families.items() if len({s.length for s in kin}) > 1}
    most = [*several.items()][:CURVES]
    series = [
        Series(name, [point(s, float(s.length or 0), f"P = {s.length}") for s in by_length(kin)], style)
        for (name, kin), style in zip(most, styles([kin[0] for _, kin in most]), strict=True)
    ]
    if series:
        title, score = place.split(": ", 1)
        places = sorted({point.x for each in series for point in each.points})
        ticks = places if len(places) <= RANKED else ()
        log = places[-1] >= 8 * places[0]
        note = MEANS + left_out(len(several), CURVES) + also([s for kin in several.values() for s in kin])
        yield Chart(file_name("length", place), title, "prompt length", score, series, note, "bars", log, ticks)


def also(members: Sequence[Shown]) -> str:
    """What else differs along an axis of prompt lengths."""
    names = dict.fromkeys(name for s in members for name in s.along)
    return f" With the prompt length differ: {', '.join(names)}." if names else ""


def by_length(kin: Iterable[Shown]) -> list[Shown]:
    """Groups by their prompt lengths."""
    return sorted(kin, key=lambda s: s.length or 0)


def depths(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Scores against the number of layers that hold a prompt, counted from the lowest or from the highest."""
    layered = [s for s in members if LAYERS in s.runs[0].settings]
    kin = group_by(layered, lambda s: re.sub(rf" {short(LAYERS)}=\S+", "", s.label))
    series: list[Series] = []
    for name, alike in kin.items():
        if len({setting_value(s.runs[0].settings[LAYERS]) for s in alike}) < 2:
            continue
        for end, way in (("lowest", 0), ("highest", -1)):
            with_layers = [(s, layers) for s in alike if (layers := prompted(s, way))]
            if len({len(layers) for _, layers in with_layers}) > 1:
                points = [
                    point(s, float(len(layers)), f"layers {setting_value(s.runs[0].settings[LAYERS])}")
                    for s, layers in sorted(with_layers, key=lambda both: len(both[1]))
                ]
                series.append(Series(f"{name}, from the {end}", points, len(series)))
    if series:
        title, score = place.split(": ", 1)
        ticks = sorted({point.x for each in series for point in each.points})
        name = file_name("depth", place)
        yield Chart(name, title, "layers with a prompt", score, series, MEANS, "bars", ticks=ticks)


def prompted(shown: Shown, way: int) -> list[int]:
    """The layers that hold a prompt where they are all from the lowest (way 0) or the highest (-1) on, else none."""
    from ptune.prompts.deep import chosen_layers

    settings = shown.runs[0].settings
    depth = int(settings.get("backbone.layers") or 0)
    try:
        layers = sorted(chosen_layers(settings[LAYERS], depth))
    except ValueError:  # of an encoder-decoder's sites
        return []
    ends = (list(range(len(layers))), list(range(depth - len(layers), depth)))
    return layers if layers == ends[way] else []


def parameters(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Scores against the number of trained parameters."""
    yield from against(
        place,
        members,
        "parameters",
        "trained parameters",
        lambda s: s.runs[0].run.result["parameters"]["trained"],
        lambda x: f"{x:,.0f} trained parameters",
        MEANS,
    )


def costs(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Scores against the time of training."""
    yield from against(
        place,
        members,
        "cost",
        SECONDS,
        lambda s: seconds(s.group) or 0.0,
        lambda x: f"{x:.1f} {SECONDS}",
        MEANS
        + " Seconds are a run's, as it was timed on its own machine; those of runs in one process are shared out.",
    )


def flops(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Scores against the operations of training."""
    yield from against(
        place,
        members,
        "flop",
        "FLOP of training",
        lambda s: flop(s.group) or 0.0,
        lambda x: f"{x:.1e} FLOP",
        MEANS + " FLOP are estimated from sizes and lengths.",
    )


def against(
    place: str,
    members: Sequence[Shown],
    name: str,
    x: str,
    value: Callable[[Shown], float],
    told: Callable[[float], str],
    note: str,
) -> Iterator[Drawing]:
    """Scores against a quantity above zero, a mark a group and a color a method."""
    placed = [(s, value(s)) for s in members if value(s) > 0]
    if len({x for _, x in placed}) < 2:
        return
    kin = group_by(placed, lambda both: both[0].method)
    series = [Series(method, [point(s, x, told(x)) for s, x in each], each[0][0].style) for method, each in kin.items()]
    values = [x for _, x in placed]
    title, score = place.split(": ", 1)
    log = max(values) > 8 * min(values)
    yield Chart(file_name(name, place), title, x, score, series, note, "dots", log)


def latencies(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Inference time against the prompt length; without a prompt it is 0."""
    timed = [(s, [seen.latency for seen in s.runs if seen.latency is not None]) for s in ranking(members)]
    kin = group_by([both for both in timed if both[1]], lambda both: both[0].family)
    series = []
    most = [*kin.items()][:CURVES]
    for (name, each), style in zip(most, styles([each[0][0] for _, each in most]), strict=True):
        points = []
        for s, values in sorted(each, key=lambda both: both[0].length or 0):
            tooltip = f"{s.label}\n{fmean(values):.2f} ms an example ({min(values):.2f} to {max(values):.2f})"
            points.append(Point(float(s.length or 0), fmean(values), min(values), max(values), tooltip))
        series.append(Series(name, points, style))
    if len({point.x for each in series for point in each.points}) > 1:
        note = (
            "Time of an evaluation during training over its examples, in the run's own batches: the median of a run's, "
            "then mean, lowest and highest of the seeds. Runs that trained beside others are slower for it."
        ) + left_out(len(kin), CURVES)
        note += also([s for each in kin.values() for s, _ in each])
        title = place.partition(": ")[0]
        name = file_name("latency", place)
        yield Chart(name, title, "prompt length", "inference, ms an example", series, note, "bars")


def settings(place: str, members: Sequence[Shown]) -> Iterator[Drawing]:
    """Parallel coordinates: a line a run through all settings that differ, to its score."""
    runs = [seen for s in members if not s.constant for seen in s.runs]
    keys = [key for some in differing([seen.run for seen in runs]) for key in some]
    if len(keys) < 2 or len(runs) < 3:
        return
    if len({seen.run.seed for seen in runs}) > 1:
        keys.append("seed")
    best = sorted(runs, key=lambda seen: -seen.run.score)[:LINES]
    axes, columns = [], []
    for key in keys:
        axis, places = axis_positions([seen.settings.get(key) for seen in best], short(key))
        axes.append(axis)
        columns.append(places)
    axis, places = axis_scale([seen.run.score for seen in best], place.partition(": ")[2])
    lines = [
        Line(
            where,
            "\n".join(
                [*(setting_name(key, seen.settings) for key in keys), f"{axis.label}: {seen.run.result['score']:.2f}"]
            ),
        )
        for seen, where in zip(best, zip(*columns, places, strict=True), strict=True)
    ]
    note = "A line is a run, the stronger its color the higher its score." + left_out(len(runs), LINES, "runs")
    yield Parallel(file_name("settings", place), place.partition(":")[0], [*axes, axis], lines, note)


def axis_positions(values: Sequence[Any], label: str) -> tuple[Axis, list[float]]:
    """Where the values of a setting stand on its axis: at equal distances, or, where they are many numbers, by size."""
    distinct = {setting_value(value): value for value in values}
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(distinct) > RANKED and len(numbers) == len(values):
        return axis_scale(numbers, label)
    order = sorted(distinct, key=lambda text: (distinct[text] is not None, sort_key(distinct[text])))
    height = {text: (i + 0.5) / len(order) for i, text in enumerate(order)}
    return Axis(label, [(at, text) for text, at in height.items()]), [height[setting_value(value)] for value in values]


def axis_scale(values: Sequence[float], label: str) -> tuple[Axis, list[float]]:
    """Where numbers stand between their lowest and their highest, by logarithms where that is 20 times as much."""
    low, high = min(values), max(values)
    log = low > 0 and high >= 20 * low
    size: Callable[[float], float] = math.log if log else float
    width = (size(high) - size(low)) or 1.0
    marks = [size(low) + share * width for share in (0, 0.25, 0.5, 0.75, 1)]
    ticks = [((mark - size(low)) / width, f"{math.exp(mark) if log else mark:.4g}") for mark in marks]
    return Axis(label, ticks if high > low else [(0.0, f"{low:.4g}")]), [(size(v) - size(low)) / width for v in values]


DRAWN: dict[str, Sequence[Callable[[str, Sequence[Shown]], Iterator[Drawing]]]] = {
    "Scores": (forest,),
    "Learning curves": (curves,),
    "Prompts": (lengths, depths),
    "Costs": (parameters, costs, flops, latencies),
    "Settings": (settings,),
}


def drawings(groups: Sequence[Group]) -> list[Drawing]:
    """Everything that can be drawn of groups."""
    return [drawing for each in charts(named_groups(groups)).values() for drawing in each]
