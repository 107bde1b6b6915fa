"""Drawings of reports on matplotlib: files in a paper's style (svg and pdf), and svg for a page with its own colors.

A chart is data; one look draws it for print, in a serif face at the width of a column, the other for a page, where
colors are CSS variables and what a mark stands for is shown to whoever points at it. The same chart gives the same
bytes: ids are salted with a constant and no file is dated.

Colors are those of Okabe and Ito (2008), told apart with color-blind eyes; every series has a marker of its own beside.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ptune.errors import PtuneError
from ptune.runs.folder import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
SCALE = ("#c6dbef", "#9ecae1", "#6baed6", "#3182bd", "#08519c")  # low to high
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", ":", "-.")
INK, MUTED, GRID, PAPER_COLOR = "#1b1b1b", "#5f5f5f", "#d9d9d9", "#ffffff"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER_COLOR: "--paper",
    **{color: f"--c{i}" for i, color in enumerate(COLORS)},
    **{color: f"--q{i}" for i, color in enumerate(SCALE)},
}
LETTERS = 52  # of a name in a drawing; where it is pointed at it is shown in full

Look = dict[Any, Any]  # settings of matplotlib
PLAIN: Look = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a name with dollar signs is a name
    "text.usetex": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.hashsalt": "ptune",
    "pdf.fonttype": 42,
    "path.simplify": False,
}
PAGE: Look = {**PLAIN, "font.family": "DejaVu Sans", "font.size": 9.5, "svg.fonttype": "none", "lines.markersize": 5.5}
PAPER: Look = {
    **PLAIN,
    "font.family": "STIXGeneral",
    "font.size": 8,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "svg.fonttype": "path",
}
PAGE_INCHES, PAPER_INCHES = (5.2, 3.5), (3.3, 2.4)


@dataclass(frozen=True)
class Point:
    """One mark: where it stands, from where to where it may be, and what it stands for."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Series:
    """Points under one name; `style` is the number of their color and marker, the same in every chart of a report."""

    label: str
    points: Sequence[Point]
    style: int


@dataclass(frozen=True)
class Chart:
    """Series over an axis. kind: `lines`, with bands from low to high; `bars`, lines with error bars; `dots`."""

    name: str
    title: str
    x: str
    y: str
    series: Sequence[Series]
    note: str
    kind: str = "lines"
    log: bool = False
    ticks: Sequence[float] = ()


@dataclass(frozen=True)
class Row:
    """A line of a forest: a mean in its interval, beside the scores that it is of."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    scores: Sequence[float]
    style: int
    told: str


@dataclass(frozen=True)
class Forest:
    """Scores below one another, each with its interval; floor: what a constant prediction has."""

    name: str
    title: str
    x: str
    rows: Sequence[Row]
    note: str
    floor: float | None = None


@dataclass(frozen=True)
class Axis:
    """An axis of parallel coordinates: its name and its marks, from 0 at the bottom to 1."""

    label: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """A run through all axes, each place from 0 to 1; the last one is its score's."""

    places: Sequence[float]
    told: str


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates of runs."""

    name: str
    title: str
    axes: Sequence[Axis]
    lines: Sequence[Line]
    note: str


Drawing = Chart | Forest | Parallel


def need_matplotlib() -> None:
    """Raise PtuneError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise PtuneError("figures need matplotlib: pip install 'ptune[plots]'") from None


def save(charts: Sequence[Drawing], folder: Path) -> list[Path]:
    """Write each chart as FOLDER/NAME.svg and .pdf, in a paper's style; returns their paths."""
    need_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for chart in charts:
        figure = draw(chart, PAPER, PAPER_INCHES)
        for kind in ("svg", "pdf"):
            paths.append(folder / f"{chart.name}.{kind}")
            write_atomically(paths[-1], render(figure, kind, PAPER))
    return paths


def inline(chart: Drawing, name: str) -> str:
    """A chart as an svg element to stand in a page: colors by CSS variables, and no ids but with this name before."""
    svg = ElementTree.fromstring(render(draw(chart, PAGE, PAGE_INCHES), "svg", PAGE))
    return page_svg(svg, chart, name)


def render(figure: Figure, kind: str, look: Look) -> bytes:
    """The bytes of a figure, without a date."""
    import matplotlib

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # which tells each table of each font
    undated = {"Date": None} if kind == "svg" else {"CreationDate": None, "ModDate": None}
    out = io.BytesIO()
    with matplotlib.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it is drawn as a box
        figure.savefig(out, format=kind, metadata={"Creator": "ptune", **undated}, transparent=True)
    return out.getvalue()


def draw(chart: Drawing, look: Look, inches: tuple[float, float]) -> Figure:
    """A chart as a figure of matplotlib, of about this width and height."""
    import matplotlib
    from matplotlib.figure import Figure

    width, height = inches
    if isinstance(chart, Forest):
        height = 0.9 + len(chart.rows) * 2.2 * look["font.size"] / 72
    if isinstance(chart, Parallel):
        width = max(width, 1.15 * inches[0] * len(chart.axes) / 5)
    if isinstance(chart, Chart) and len(chart.series) > 1:
        height += -(-len(chart.series) // columns(chart)) * 1.7 * look["font.size"] / 72
    with matplotlib.rc_context(look):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(drawable_name(chart.title), x=0.01, ha="left", fontsize="large")
        axes = figure.add_subplot()
        if isinstance(chart, Forest):
            draw_forest(axes, chart)
        elif isinstance(chart, Parallel):
            draw_parallel(axes, chart)
        else:
            draw_series(axes, chart)
            if len(chart.series) > 1:
                legend(figure, axes, chart)
    return figure


def draw_series(axes: Axes, chart: Chart) -> None:
    """Lines with bands or error bars, or dots alone."""
    from matplotlib.ticker import MaxNLocator

    for place, series in enumerate(chart.series):
        color, marker = COLORS[series.style % len(COLORS)], MARKERS[series.style % len(MARKERS)]
        style = LINES[series.style // len(COLORS) % len(LINES)]
        x, y = [point.x for point in series.points], [point.y for point in series.points]
        ranged = [point for point in series.points if point.low is not None and point.high is not None]
        if ranged and chart.kind == "lines":
            low, high = zip(*((point.low, point.high) for point in ranged), strict=True)
            axes.fill_between([point.x for point in ranged], low, high, color=color, alpha=0.18, linewidth=0)
        elif ranged:
            ends = [(point.low, point.high) for point in ranged]
            axes.vlines([point.x for point in ranged], *zip(*ends, strict=True), color=color, linewidth=1.0)
        line = "none" if chart.kind == "dots" else style
        axes.plot(x, y, color=color, marker=marker, linestyle=line, gid=f"series-{place}")
    axes.set_xlabel(drawable_name(chart.x))
    axes.set_ylabel(drawable_name(chart.y))
    if chart.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        axes.xaxis.set_minor_formatter("")
    elif all(float(point.x).is_integer() for series in chart.series for point in series.points):
        axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], integer=True))
    if chart.ticks:
        axes.set_xticks(list(chart.ticks), labels=[number(tick) for tick in chart.ticks])
        axes.minorticks_off()
    axes.margins(0.05, 0.08)


def draw_forest(axes: Axes, chart: Forest) -> None:
    """A mean and its interval a row, the first on top; hollow marks are the single scores."""
    for place, row in enumerate(chart.rows):
        color, marker = COLORS[row.style % len(COLORS)], MARKERS[row.style % len(MARKERS)]
        if row.interval is not None:
            axes.hlines(place, *row.interval, color=color, linewidth=2.0, alpha=0.55)
        if len(row.scores) > 1:
            lower = [place + 0.28] * len(row.scores)
            axes.plot(row.scores, lower, color=color, marker="|", linestyle="none", markersize=4, alpha=0.8)
        axes.plot([row.mean], [place], color=color, marker=marker, linestyle="none", gid=f"series-{place}")
    if chart.floor is not None:
        axes.axvline(chart.floor, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(chart.rows)), labels=[drawable_name(row.label, 36) for row in chart.rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(chart.rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(drawable_name(chart.x))


def draw_parallel(axes: Axes, chart: Parallel) -> None:
    """A line a run, the stronger its color the higher its score, the last axis, is among the others."""
    order = sorted(enumerate(chart.lines), key=lambda both: both[1].places[-1])
    for rank, (place, line) in enumerate(order):
        shade = rank * len(SCALE) // len(order)
        width = 1.0 if shade < len(SCALE) - 1 else 1.8
        axes.plot(line.places, color=SCALE[shade], linewidth=width, gid=f"series-{place}", marker="none")
    for place, axis in enumerate(chart.axes):
        axes.axvline(place, color=MUTED, linewidth=0.8)
        last = place == len(chart.axes) - 1
        for height, text in axis.ticks:
            axes.annotate(
                drawable_name(text, 18),
                (place, height),
                xytext=(4 if last else -4, 0),
                textcoords="offset points",
                ha="left" if last else "right",
                va="center",
                fontsize="small",
                bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER_COLOR, "edgecolor": "none", "alpha": 0.8},
            )
    axes.set_xticks(range(len(chart.axes)), labels=[drawable_name(axis.label, 22) for axis in chart.axes])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.35, len(chart.axes) - 0.65)


def legend(figure: Figure, axes: Axes, chart: Chart) -> None:
    """The series' names, below."""
    handles = [line for line in axes.get_lines() if str(line.get_gid()).startswith("series-")]
    # named afterwards, as matplotlib leaves out a name that begins with an underscore
    names = [str(i) for i in range(len(handles))]
    box = figure.legend(handles, names, loc="outside lower center", ncols=columns(chart), handlelength=1.8)
    for text, series in zip(box.get_texts(), chart.series, strict=True):
        text.set_text(drawable_name(series.label))


def columns(chart: Chart) -> int:
    """How many names stand beside one another in a chart's legend."""
    longest = max(len(drawable_name(series.label)) for series in chart.series)
    return max(1, min(len(chart.series), 62 // (longest + 6)))


def drawable_name(text: str, letters: int = LETTERS) -> str:
    """A name as it can be drawn: on one line, without what no font or XML has, and not too long."""
    clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))
    return clean if len(clean) <= letters else clean[: letters - 1] + "…"


def number(value: float) -> str:
    """A mark of an axis."""
    if abs(value) >= 1e7:
        return f"{value:.0e}".replace("e+", "e")
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


# Into a page


NAMESPACE = re.compile(r"^\{[^}]*\}")
DECIMALS = re.compile(r"-?\d+\.\d+")
FONT_SIZE = re.compile(r"([\d.]+)px")


def page_svg(svg: ElementTree.Element, chart: Drawing, name: str) -> str:
    """An svg of matplotlib as part of a page: smaller, its colors variables, its marks told."""
    for parent in list(svg.iter()):
        for child in list(parent):
            if NAMESPACE.sub("", child.tag) in ("metadata", "style"):
                parent.remove(child)
    for place, group in draw_legend(chart).items():
        tell(svg, f"series-{place}", group)
    values = [value for element in svg.iter() for value in element.attrib.values()]
    referred = dict.fromkeys(reference for value in values for reference in re.findall(r"#([\w-]+)", value))
    ids = {reference: f"{name}-{i}" for i, reference in enumerate(referred)}
    for element in svg.iter():
        element.text, element.tail = ((text or "").strip() for text in (element.text, element.tail))
        element.tag = NAMESPACE.sub("", element.tag)
        attributes = {NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
        page_attributes = {key: page_attribute(key, value, ids) for key, value in attributes.items()}
        element.attrib.clear()
        element.attrib.update({key: value for key, value in page_attributes.items() if value is not None})
    flatten(svg)
    box = svg.get("viewBox", "")
    width = float(box.split()[2])
    svg.attrib.clear()
    svg.attrib.update({"viewBox": box, "role": "img", "aria-label": chart.title, "style": f"--width: {width:.0f}"})
    return ElementTree.tostring(svg, encoding="unicode")


def flatten(element: ElementTree.Element) -> None:
    """Put what is in groups without attributes in their place."""
    children: list[ElementTree.Element] = []
    for child in element:
        flatten(child)
        children += [*child] if child.tag == "g" and not child.attrib else [child]
    element[:] = children


def draw_legend(chart: Drawing) -> dict[int, list[str]]:
    """What the marks of each series stand for, or its line as a whole."""
    if isinstance(chart, Chart):
        return {i: [point.told for point in series.points] for i, series in enumerate(chart.series)}
    entries: Sequence[Row | Line] = chart.rows if isinstance(chart, Forest) else chart.lines
    return {i: [item.told] for i, item in enumerate(entries)}


def tell(svg: ElementTree.Element, gid: str, texts: Sequence[str]) -> None:
    """Give the marks of a series their titles, which browsers show where they are pointed at."""
    group = next(element for element in svg.iter() if element.get("id") == gid)
    group.set("class", "series")
    marks = [element for element in group.iter() if NAMESPACE.sub("", element.tag) == "use"] or [group]
    if len(marks) != len(texts):  # a mark beyond the axes is not drawn
        return
    for mark, text in zip(marks, texts, strict=True):
        title = ElementTree.Element("title")
        title.text = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)
        mark.insert(0, title)


def page_attribute(name: str, value: str, ids: Mapping[str, str]) -> str | None:
    """An attribute as the page has it; None for one that it does without."""
    if name == "id":
        return ids.get(value)
    if name in ("href", "clip-path"):
        return re.sub(r"#([\w-]+)", lambda found: f"#{ids[found[1]]}", value)
    if name == "transform" and value.startswith("rotate(-0 "):
        return None
    if name == "style":
        return "; ".join(filter(None, map(page_style, value.split(";")))) or None
    if name in ("d", "transform", "x", "y", "points"):
        return " ".join(DECIMALS.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value).split())
    return value


def page_style(declaration: str) -> str:
    """One declaration of a style: colors by variables, a font's size without its face, which is the page's."""
    name, _, value = (part.strip() for part in declaration.partition(":"))
    if name in ("font", "font-size"):
        match = FONT_SIZE.search(value)
        return f"font-size: {match[1]}px" if match else ""
    if name == "font-family":
        return ""
    if name in ("fill", "stroke") and value.lower() in VARIABLES:
        return f"{name}: var({VARIABLES[value.lower()]})"
    return f"{name}: {value}" if value else ""
