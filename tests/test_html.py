"""`ptune report format=html` and `figures=DIR`: what is shown, as text alone, and how a browser takes it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NotRequired, get_origin, get_type_hints
from xml.etree import ElementTree

import pytest
import yaml
from chromium import Chromium

from ptune.commands import report
from ptune.config import Report
from ptune.reports import charts, figures, html, results, superglue
from ptune.runs import forms

ROOT = Path(__file__).parents[1]
HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>\'&$x_$\u202e'
LABEL = "<b>LOC</b>"
COMMAND = ["experiment=demo", "task=conll03", "tracker.tags=['a b',\"c\"]", "seed=1"]


def write_run(folder: Path, score: float, seed: int = 1, **told: Any) -> None:
    """A finished run as RunFolder leaves it. told: method, length, layers, lr, task, metric, trained, seconds, tags,
    backbone, flop, data (settings of it), select_on.
    """
    method, length, task = told.get("method", "ptv2"), told.get("length", 20), told.get("task", "conll03")
    metric, backbone = told.get("metric", "f1"), told.get("backbone", "tiny_encoder")
    breakdowns = {"dev": "breakdowns/dev_00000020.json", "test": "breakdowns/test_00000020.json"}
    evaluation = {"report": {metric: score}, "breakdowns": breakdowns}
    checksum = hashlib.sha256(task.encode()).hexdigest()
    result = {
        "method": method,
        "task": task,
        "backbone": backbone,
        "prompt_length": length,
        "tune": "none",
        "seed": seed,
        "synthetic": True,
        "metric": metric,
        "select_on": told.get("select_on", "dev"),
        "report_on": "test",
        "selected_on_reported": False,
        "score": score,
        "interval": [score - 2, score + 2],
        "majority": 0.0,
        "selected": score + 1,
        "steps": 20,
        "best": evaluation,
        "last": {"report": {metric: score - 0.5}},
        "parameters": {"trained": told.get("trained", 1000), "stored": 1000, "bytes": 4000},
        "seconds": {"training": told.get("seconds", 5.0)},
        "flop": told.get("flop", {"training": told.get("trained", 1000) * 1e9}),
        "data": {
            "source": "demo",
            "files": {
                "train": {
                    "path": "/secret/home/train.txt",
                    "sha256": checksum,
                    "beside": {"/secret/home/train.words": checksum},
                }
            },
        },
        "checksums": {"test": "0123456789abcdef" * 4},
        **({"caveat": told["caveat"]} if "caveat" in told else {}),
    }
    config = {
        "method": {"name": method, **({"prompt": {"layers": told.get("layers", "all")}} if length else {})},
        "backbone": {"name": backbone, "layers": 4},
        "task": {"name": task},
        "prompt_length": {"value": length},
        "data": told.get("data", {}),
        "optim": {"lr": told.get("lr", 0.1)},
        "seed": seed,
    }
    environment = {
        "ptune": "0.1.0",
        "code": "c0de" * 10,
        "packages": {"torch": "2.10.0"},
        "overrides": told.get("overrides", COMMAND),
    }
    folder.mkdir(parents=True)
    for name, value in (("result.json", result), ("env.json", environment)):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "splits.jsonl").write_text('{"split": "dev", "examples": 50, "sha256": "0", "ids": []}\n')
    events = [
        {"event": "eval", "split": "dev", "metric": "f1", "epoch": epoch, "selected": score - 10 / epoch, "step": 10}
        | {"seconds": 0.1 + (length or 0) / 100}
        for epoch in (1.0, 2.0)
    ]
    step = '{"event": "step", "step": 1, "loss": 1.0}\n'
    (folder / "metrics.jsonl").write_text(step + "".join(json.dumps(event) + "\n" for event in events))
    broken_down = {
        "split": "test",
        "metric": "f1",
        "labels": [{"label": LABEL, "gold": 7, "f1": score}, {"label": "PER", "gold": 3, "f1": 50.0}],
        "confusions": [
            {"gold": LABEL, "predicted": LABEL, "count": 1234},
            {"gold": "PER", "predicted": LABEL, "count": 17},
        ],
        "by": {"words": [{"value": "1-8", "examples": 41, "f1": score - 20}]},
        "errors": [
            {
                "right": 0.25,
                "id": "ex7",
                "tokens": ["Oslo", HOSTILE],
                "gold": ["B-LOC", "O"],
                "prediction": ["B-LOC", told.get("tag", "B-PER")],
                "note": HOSTILE,
            }
        ],
    }
    (folder / "breakdowns").mkdir()
    (folder / breakdowns["test"]).write_text(json.dumps(broken_down), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Runs of two tasks: prompts of two lengths and depths, three seeds, a floor, and one that means no good."""
    folder = tmp_path_factory.mktemp("outputs")
    for seed, more in ((1, 0.0), (2, 4.0), (3, 2.0)):
        write_run(folder / f"p5-{seed}", 70 + more, seed, length=5, trained=600)
        write_run(folder / f"p20-{seed}", 80 + more, seed, trained=2100, seconds=7.0)
        write_run(folder / f"top-{seed}", 76 + more, seed, layers="3-4", overrides=["method.prompt.layers=3-4"])
        write_run(folder / f"probe-{seed}", 60 + more, seed, method="linear_probe", length=None, trained=100)
    write_run(folder / "floor", 0.0, method="majority", length=None, trained=0, seconds=0.0)
    write_run(folder / "other", 55.0, task="rte")
    name = HOSTILE.replace("/", "|")
    write_run(folder / name, 66.0, method=f"_{HOSTILE}", caveat=HOSTILE, overrides=[HOSTILE, "seed=1"], tag=HOSTILE)
    return folder


def write_page(folder: Path) -> Path:
    """The report of the runs below a folder."""
    report.page(report.gather(Report(runs=str(folder), format="html")))
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(folder) -> Path:
    return write_page(folder)


class Read(HTMLParser):
    """A page's text, its elements with their attributes, and the rows of its tables by what stands before them."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(page.read_text(encoding="utf-8"))
        self.text = "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = tag in ("td", "th") or (self.inside and tag not in ("tr", "p", "figure"))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.inside:
            self.rows[-1][-1] += data.strip().replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def read(page) -> Read:
    return Read(page)


def shown(folder: Path) -> dict[str, charts.Shown]:
    """The groups of the first task by their names."""
    groups = charts.named_groups(results.group_runs(results.runs(folder)))
    return {each.label: each for each in groups if each.board.startswith("conll03")}


def drawing(folder: Path, name: str) -> Any:
    """The drawing of a name."""
    (found,) = (each for each in charts.drawings(results.group_runs(results.runs(folder))) if each.name == name)
    return found


# What is shown


def test_the_summary_takes_the_setting_that_the_selecting_score_prefers(read):
    """Mean, spread, n and parameters; of ptv2's three settings the one that dev likes best."""
    (row,) = (row for row in read.rows if row[0] == "ptv2" and "best of 3 settings" in row[1])
    assert row[1].startswith("82.00 ± 2.00")
    assert "n = 3" in row[1]
    assert "2,100 trained" in row[1]
    assert "P=20" in row[1]
    assert row[2].startswith("55.00")


def test_a_setting_links_to_each_of_its_runs_and_a_run_to_its_folder(read, folder):
    (row,) = (row for row in read.rows if row[0] == "ptv2 P=5" and len(row) == len(html.COLUMNS))
    assert row[2] == "72.00 ± 2.00"
    assert row[4:6] == ["3", "123"]  # n, and a link a seed
    assert row[9] == "600"
    ids = {attributes["id"] for _, attributes in read.elements if attributes.get("id")}
    links = [attributes["href"] for tag, attributes in read.elements if tag == "a"]
    assert {link[1:] for link in links if link and link.startswith("#")} <= ids
    assert "./p5-1/" in links
    assert sum(link == "./p5-1/" for link in links) == 1


def test_commands_environments_and_checksums(read):
    """A command can be pasted into a shell; the same environment stands there once; no path of the machine's."""
    assert "ptune train experiment=demo task=conll03 'tracker.tags=['\"'\"'a b'\"'\"',\"c\"]' seed=1" in read.text
    assert read.text.count("torch==2.10.0") == 1
    assert "0123456789abcdef" * 4 in read.text
    assert f"train.txt sha256 {hashlib.sha256(b'conll03').hexdigest()}" in read.text
    assert "/secret" not in read.text


def test_breakdowns_confusions_and_errors(read):
    """Scores of parts are means over the runs of a setting, confusions their sums."""
    best = [row for row in read.rows if row[:2] == [LABEL, "7"]]
    assert best[0][2] == "82.0"
    assert next(row for row in read.rows if row[:2] == ["1-8", "41"])[2] == "62.0"
    assert [LABEL, "3,702", "·"] in read.rows
    assert ["PER", "51", "·"] in read.rows
    assert "ex7, 25% right" in read.text


def test_what_a_reader_must_know_first(read):
    said = read.text.partition("All settings")[0]
    assert "Synthetic corpora" in said
    assert "3 of 7 settings with one seed" in said
    assert "Score, last: mean of n seeds, at the best and at the last evaluation" in read.text


def test_pruned_runs_without_a_search_are_told(ptune, tmp_path):
    """On the page and below the table."""
    write_run(tmp_path / "a", 70.0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "pruned.json").write_text("{}", encoding="utf-8")
    note = "runs that were pruned and in no search.json: 1; they count as no trials"
    assert note in Read(write_page(tmp_path)).text.replace("Runs that", "runs that")
    assert note in ptune("report", str(tmp_path), "by=group").out
    assert json.loads(ptune("report", str(tmp_path), "by=group", "format=json").out)["pruned"] == [str(tmp_path / "b")]


def test_repeated_runs_are_shown_and_count_nowhere(tmp_path):
    for name, score in (("a", 50.0), ("b", 60.0)):
        write_run(tmp_path / name, score)
    read = Read(write_page(tmp_path))
    assert "1 run of a seed that was run again" in read.text
    assert [row[1] for row in read.rows if row[0] == "a"] == ["repeated, counts nowhere"]
    assert [row[2] for row in read.rows if row[0] == "ptv2" and len(row) == len(html.COLUMNS)] == ["60.00"]


def test_differences_to_a_baseline_are_those_of_the_other_formats(read, folder):
    (sheet,) = report.gather(Report(runs=str(folder))).sheets[1:]
    assert sheet.title == "differences"
    assert [text.strip() for text in sheet.rows[0]] in read.rows
    assert sheet.notes[0][1:] in read.text


def test_superglue_average(tmp_path):
    """A row a group of runs, where there are several of the eight tasks."""
    for number, task in enumerate(("boolq", "copa", "rte")):
        write_run(tmp_path / task, 50.0 + number, task=task, metric="accuracy")
    read = Read(write_page(tmp_path))
    (row,) = (row for row in read.rows if "no run of cb, multirc, record, wic, wsc" in row)
    assert row[:-1] == ["ptv2", "tiny_encoder", "20", "synthetic test", "none", "none"]
    assert read.text.count("SuperGLUE average") == 2  # in the contents and above its table


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("1,518,729", 1518729),
        ("<0.001", 0.001),
        ("[-24.3, -6.8]", -24.3),
        ("3, 1", 3),
        ("+0.70", 0.7),
        ("2.1e+12", 2.1e12),
        ("", None),
        ("ptv2 P 20", "ptv2 P 20"),
        ("3 of 4", "3 of 4"),
        ("-", "-"),
    ],
)
def test_a_cell_is_sorted_by_its_number(text, order):
    assert html.as_number(text) == order


# What is drawn


def test_names_tell_what_differs_from_most(folder):
    """Of settings that most runs share nothing is said in a name, but once for all."""
    found = shown(folder)
    assert {"ptv2 P=5", "ptv2 P=20", "ptv2 layers=3-4 P=20", "linear_probe", "majority"} < {*found}
    assert found["ptv2 P=5"].unsaid == "layers=all"


def test_learning_curves_are_means_with_the_range_of_the_seeds(folder):
    chart = drawing(folder, "curves-conll03_synthetic_tiny_encoder_test_f1-ptv2")
    series = next(each for each in chart.series if each.label == "P=5")
    assert [(point.x, point.y, point.low, point.high) for point in series.points] == [(1, 62, 60, 64), (2, 67, 65, 69)]
    assert (chart.x, chart.y) == ("epoch", "dev f1")


@pytest.mark.parametrize("kind", ["curves", "latency"])
def test_a_method_has_one_color_in_every_drawing(tmp_path, kind):
    """Whichever is the best one; only several settings of one method are told apart by colors of their own."""
    for method, score in (("finetune", 50.0), ("prompt_tuning", 70.0), ("ptv2", 60.0)):
        write_run(tmp_path / method, score, method=method, length=None if method == "finetune" else 20)
    own = {label: each.style for label, each in shown(tmp_path).items()}
    chart = drawing(tmp_path, f"{kind}-conll03_synthetic_tiny_encoder_test_f1")
    assert {series.label: series.style for series in chart.series} == own
    write_run(tmp_path / "upper", 65.0, method="ptv2", layers="3-4", overrides=["method.prompt.layers=3-4"])
    name = f"{kind}-conll03_synthetic_tiny_encoder_test_f1" + ("-ptv2" if kind == "curves" else "")
    styles = [series.style for series in drawing(tmp_path, name).series]
    assert len({*styles}) == len(styles) > 1


def test_backbones_are_apart(tmp_path):
    """A score of one is in no drawing and no table of another, and each says whose it is."""
    for backbone, score in (("tiny_encoder", 50.0), ("bert_large", 70.0)):
        for method in ("ptv2", "finetune"):
            write_run(tmp_path / f"{backbone}-{method}", score, backbone=backbone, method=method)
    boards = ["conll03 (synthetic), bert_large: test f1", "conll03 (synthetic), tiny_encoder: test f1"]
    groups = charts.named_groups(results.group_runs(results.runs(tmp_path)))
    assert {(each.board, each.label) for each in groups} == {(b, m) for b in boards for m in ("ptv2", "finetune")}
    for forest, score in (("bert_large", 70.0), ("tiny_encoder", 50.0)):
        drawn = drawing(tmp_path, f"scores-conll03_synthetic_{forest}_test_f1")
        assert drawn.title == f"conll03 (synthetic), {forest}"
        assert {row.mean for row in drawn.rows} == {score}
    read = Read(write_page(tmp_path))
    assert next(row for row in read.rows if row[:1] == ["method"]) == ["method", *boards]
    (row,) = (row for row in read.rows if row[0] == "ptv2" and len(row) == 3)
    assert [cell[:5] for cell in row[1:]] == ["70.00", "50.00"]


@pytest.mark.parametrize(
    ("one", "two", "heading"),
    [
        ({"data": {"seed": 1}}, {"data": {"seed": 2}}, "data.seed"),
        ({"data": {"max_train": 32, "seed": 1}}, {"data": {"max_train": None, "seed": 1}}, "data.max_train"),
        ({"select_on": "dev"}, {"select_on": "held_out"}, "select_on"),
    ],
    ids=["corpus", "size", "split"],
)
def test_runs_on_other_data_are_never_ranked(tmp_path, one, two, heading):
    """Each place has its column, table and drawings, under a heading that says what tells it from the others."""
    write_run(tmp_path / "a", 52.5, **one)
    write_run(tmp_path / "b", 35.0, **two)
    write_run(tmp_path / "c", 35.5, **two, method="linear_probe", length=None)
    read = Read(write_page(tmp_path))
    first, second = ((told | told.get("data", {}))[heading.removeprefix("data.")] for told in (one, two))
    boards = [
        f"conll03 (synthetic), tiny_encoder, {heading}={charts.setting_value(value)}: test f1"
        for value in (first, second)
    ]
    assert read.rows[0] == ["method", *boards]
    cells = {row[0]: row[1:] for row in read.rows[1:3]}
    assert [cell[:5] for cell in cells["ptv2"]] == ["52.50", "35.00"]
    assert [cell[:5] for cell in cells["linear_probe"]] == ["", "35.50"]
    assert not any("best of" in cell for row in read.rows for cell in row)
    found = charts.drawings(results.group_runs(results.runs(tmp_path)))
    forests = {each.title: [row.label for row in each.rows] for each in found if isinstance(each, figures.Forest)}
    assert [*forests.values()] == [["ptv2"], ["linear_probe", "ptv2"]]
    assert all(heading in title for title in forests)


def test_what_has_one_place_has_a_short_heading(tmp_path):
    write_run(tmp_path / "a", 52.5, data={"seed": 1})
    write_run(tmp_path / "b", 35.0, data={"seed": 1}, lr=0.5)
    places = {each.board for each in charts.named_groups(results.group_runs(results.runs(tmp_path)))}
    assert places == {"conll03 (synthetic), tiny_encoder: test f1"}


def test_no_cost_of_an_encoder_decoder_is_drawn(tmp_path):
    """The others' is, and the page has nothing in its place."""
    for method, flop in (("finetune", 2e12), ("prefix", 1e12), ("ptv2", None)):
        told = {"training": flop, "example": 1.0} if flop else None
        write_run(tmp_path / method, 50.0, method=method, flop=told)
    drawn = drawing(tmp_path, "flop-conll03_synthetic_tiny_encoder_test_f1")
    assert {series.label for series in drawn.series} == {"finetune", "prefix"}
    read = Read(write_page(tmp_path))
    rows = {row[0]: row[-2] for row in read.rows if len(row) == len(html.COLUMNS) and row[0] != "setting"}
    assert rows == {"finetune": "2.0e+12", "prefix": "1.0e+12", "ptv2": ""}
    for method in ("finetune", "prefix"):
        shutil.rmtree(tmp_path / method)
    assert not [
        each.name for each in charts.drawings(results.group_runs(results.runs(tmp_path))) if "flop" in each.name
    ]
    write_page(tmp_path)


def test_a_curve_ends_where_the_first_seed_ends(folder, tmp_path):
    for seed in (1, 2):
        shutil.copytree(folder / f"p5-{seed}", tmp_path / str(seed))
    lines = (tmp_path / "2" / "metrics.jsonl").read_text().splitlines(keepends=True)
    third = {**json.loads(lines[-1]), "epoch": 3.0}
    (tmp_path / "2" / "metrics.jsonl").write_text("".join([*lines, json.dumps(third) + "\n"]))
    (series,) = drawing(tmp_path, "curves-conll03_synthetic_tiny_encoder_test_f1-ptv2").series
    assert [point.x for point in series.points] == [1, 2]


def test_scores_against_length_depth_parameters_and_cost(folder):
    length = drawing(folder, "length-conll03_synthetic_tiny_encoder_test_f1")
    assert [[(p.x, p.y) for p in series.points] for series in length.series] == [[(5, 72), (20, 82)]]
    depth = drawing(folder, "depth-conll03_synthetic_tiny_encoder_test_f1")
    assert [series.label for series in depth.series] == ["ptv2 P=20, from the highest"]
    assert [(p.x, p.y) for p in depth.series[0].points] == [(2, 78), (4, 82)]
    parameters = drawing(folder, "parameters-conll03_synthetic_tiny_encoder_test_f1")
    assert parameters.log
    assert (600, 72) in {(p.x, p.y) for series in parameters.series for p in series.points}
    for name, x in (("cost", 7), ("flop", 2.1e12)):
        cost = drawing(folder, f"{name}-conll03_synthetic_tiny_encoder_test_f1")
        assert (x, 82) in {(p.x, p.y) for series in cost.series for p in series.points}


def test_what_differs_with_the_length_is_said(tmp_path):
    """In names and below the chart, whose line is one of several things at once."""
    for length, lr in ((2, 0.01), (8, 0.05)):
        write_run(tmp_path / str(length), 70.0 + length, length=length, lr=lr)
    assert [*shown(tmp_path)] == ["ptv2 lr=0.01 P=2", "ptv2 lr=0.05 P=8"]
    chart = drawing(tmp_path, "length-conll03_synthetic_tiny_encoder_test_f1")
    assert [series.label for series in chart.series] == ["ptv2"]
    assert chart.note.endswith("With the prompt length differ: lr.")


def test_inference_is_milliseconds_an_example(folder):
    """0.1 s and 0.01 s a prompt token for 50 examples."""
    latency = drawing(folder, "latency-conll03_synthetic_tiny_encoder_test_f1")
    found = {(p.x, round(p.y, 6)) for series in latency.series for p in series.points}
    assert {(0, 2.0), (5, 3.0), (20, 6.0)} <= found


def test_parallel_coordinates_have_an_axis_a_setting_and_a_line_a_run(folder):
    drawn = drawing(folder, "settings-conll03_synthetic_tiny_encoder_test_f1")
    assert [axis.label for axis in drawn.axes] == ["method", "P", "layers", "seed", "test f1"]
    assert len(drawn.lines) == 13  # the floor is on none
    assert {line.places[-1] for line in drawn.lines} >= {0.0, 1.0}
    assert [text for _, text in drawn.axes[1].ticks] == ["none", "5", "20"]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([1, 2, 4], ["1", "2", "4"]), ([10.0**-i for i in range(9)], ["1e-08", "1e-06", "0.0001", "0.01", "1"])],
)
def test_many_numbers_stand_by_their_size(values, ticks):
    axis, places = charts.axis_positions(values, "lr")
    assert [text for _, text in axis.ticks] == ticks
    assert sorted(places) == pytest.approx(sorted(places, key=lambda place: values[places.index(place)]))


@pytest.mark.slow
def test_every_figure_is_written_as_svg_and_pdf_the_same_again(folder, tmp_path):
    drawn = charts.drawings(results.group_runs(results.runs(folder)))
    paths = figures.save(drawn, tmp_path / "figures")
    assert {path.name for path in paths} == {f"{each.name}.{kind}" for each in drawn for kind in ("svg", "pdf")}
    for path in paths:
        assert re.fullmatch(r"[\w-]+\.(svg|pdf)", path.name)
        data = path.read_bytes()
        assert b"Date" not in data
        if path.suffix == ".svg":
            assert ElementTree.fromstring(data).tag.endswith("svg")
        else:
            assert data.startswith(b"%PDF")
    some = [
        each
        for each in drawn
        if each.name in ("scores-conll03_synthetic_tiny_encoder_test_f1", "cost-conll03_synthetic_tiny_encoder_test_f1")
    ]
    for path in figures.save(some, tmp_path / "again"):
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes()


def test_whole_numbers_that_are_close_stand_on_an_even_scale(tmp_path):
    """As counts of trained parameters do, which are no floats."""
    series = figures.Series("a", [figures.Point(x, y) for x, y in ((1200, 50.0), (2400, 60.0), (4800, 61.0))], 0)
    chart = figures.Chart("cost", "cost", "trained parameters", "f1", [series], "")
    figures.save([chart], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"cost.svg", "cost.pdf"}


# As a file


def test_names_and_texts_are_never_markup(page, read):
    """Of what came from runs nothing has become an element, an attribute or a script."""
    tags = [tag for tag, _ in read.elements]
    assert "img" not in tags
    assert tags.count("script") == 1
    assert "b" not in tags
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in read.text
    assert HOSTILE.replace("/", "|") in read.text


def test_the_page_points_nowhere_else(page):
    assert not re.search(r"https?:|//\w|url\((?!#)|@import", page.read_text(encoding="utf-8"), re.IGNORECASE)
    for tag, attributes in Read(page).elements:
        assert "src" not in attributes
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert str(attributes.get("href", "#")).startswith(("#", "./"))


def test_only_its_own_script_may_run(page):
    text = page.read_text(encoding="utf-8")
    script = re.search(r"<script>(.*)</script>", text, re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert f"script-src 'sha256-{digest}';" in policy[1]


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes_in_another_process(folder, page, tmp_path):
    """Whatever order its sets have there."""
    words = [sys.executable, "-m", "ptune", "report", str(folder), "format=html", f"out={folder / 'again.html'}"]
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run(words, check=True, capture_output=True, cwd=tmp_path, env=env)
    assert (folder / "again.html").read_bytes() == page.read_bytes()
    assert len(page.read_bytes()) < 500_000


# The command


def test_report_of_a_real_run(ptune, tmp_path):
    """What runs leave is what the report reads: curve, latency, breakdown, errors, command and checksums."""
    small = ["data.max_train=32", "data.max_dev=8", "data.max_test=8", "max_steps=2", "eval_every=1", "batch_size=4"]
    made = ptune("train", "experiment=demo", "tracker=none", "quiet=true", "prompt_length.value=2", *small)
    assert made.code == 0, made.err
    found = ptune("report", "outputs", "format=html", "figures=drawn")
    assert found.code == 0, found.err
    assert found.out.splitlines()[-1] == "outputs/report.html"
    read = Read(tmp_path / "outputs" / "report.html")
    assert f"ptune train experiment=demo tracker=none quiet=true prompt_length.value=2 {' '.join(small)}" in read.text
    assert re.search(r"file of train\s*train.txt sha256 [0-9a-f]{64}", read.text)
    assert "% right" in read.text
    (row,) = (row for row in read.rows if len(row) == len(html.COLUMNS) and row[0] == "ptv2")
    assert float(row[-1]) > 0  # ms/example
    assert row[3]  # interval
    drawn = {path.stem for path in (tmp_path / "drawn").glob("*.pdf")}
    assert drawn == {
        "scores-conll03_synthetic_tiny_encoder_test_f1",
        "curves-conll03_synthetic_tiny_encoder_test_f1-ptv2",
    }


def optional(form: type) -> list[str]:
    """The keys that a form's files may lack."""
    hints = get_type_hints(form, include_extras=True)
    return [key for key in hints if key in form.__optional_keys__ or get_origin(hints[key]) is NotRequired]


def write_least(folder: Path, name: str, seed: int) -> None:
    """A run whose files have only what their forms ask for."""
    write_run(folder / name, 70.0, seed)
    for file, form in (("result.json", forms.Result), ("breakdowns/test_00000020.json", forms.Breakdown)):
        path = folder / name / file
        found = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in found.items() if key == "by" or key not in optional(form)}
        path.write_text(json.dumps(kept), encoding="utf-8")
    for file in ("config.yaml", "env.json"):
        (folder / name / file).write_text("{}", encoding="utf-8")


@pytest.mark.parametrize("by", ["run", "group", None])
@pytest.mark.parametrize("kind", report.FORMATS)
def test_what_a_form_does_not_ask_for_may_be_missing(tmp_path, kind, by, capsys):
    """As the interval of an older run's result, or the metric of a breakdown."""
    assert {"interval", "selected", "data"} <= {*optional(forms.Result)}
    for name, seed in (("a", 1), ("b", 2)):
        write_least(tmp_path, name, seed)
    write_run(tmp_path / "whole", 71.0, method="finetune", length=None)
    report.FORMATS[kind](report.gather(Report(runs=str(tmp_path), format=kind, by=by)))
    assert capsys.readouterr().out


@pytest.mark.parametrize("told", [{"weights": {"backbone": "abc"}}, {"data": {"held_out": None}}], ids=str)
def test_other_values_that_a_form_allows(tmp_path, told):
    write_run(tmp_path / "a", 70.0)
    path = tmp_path / "a" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **told}), encoding="utf-8")
    (run,) = results.runs(tmp_path)
    assert run.settings["weights"] == ("abc" if "weights" in told else None)
    assert superglue.alike(run)


def test_out_is_for_pages(ptune, folder):
    found = ptune("report", str(folder), "out=x.html")
    assert found.code == 2
    assert found.err.endswith("out: only used with format=html; format=table is printed")


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("matplotlib", "figures need matplotlib: pip install 'ptune[plots]'"),
        ("jinja2", "format=html needs Jinja2: pip install 'ptune[plots]'"),
    ],
)
def test_what_is_not_installed_is_named(ptune, folder, monkeypatch, package, line):
    monkeypatch.setitem(sys.modules, package, None)
    found = ptune("report", str(folder), "format=html")
    assert (found.code, found.out) == (1, "")
    assert found.err.splitlines()[-1].endswith(line)


# In a browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Chromium]:
    """A headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if program is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    with Chromium(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_opens_it_from_disk(chromium, page, width, scheme):
    """Nothing is asked for or complained of, nobody's script runs, and the page is no wider than the window."""
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(page, width, prefers_color_scheme=scheme)
    assert chromium.evaluate("document.querySelectorAll('figure svg').length") >= 10
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    background = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("figure svg", "h1", "#summary table"):
        assert chromium.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().width") > 100
    chromium.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate("window.hacked === undefined")
    assert chromium.errors == []
    assert chromium.requests == [page.as_uri()]


def test_a_click_sorts_a_table_and_another_one_turns_it(chromium, page):
    """Numbers as numbers: 100 stands before 600 and 2,100; what has no number stays last."""
    chromium.open(page)
    rows = "[...document.querySelectorAll('#tables table')[0].tBodies[0].rows]"

    def column(name: str) -> list[str]:
        place = [head for head, _ in html.COLUMNS].index(name)
        chromium.click(f"#tables table th:nth-child({place + 1}) button")
        return chromium.evaluate(f"{rows}.map(row => row.cells[{place}].textContent.trim())")

    first, second = column("trained"), column("trained")
    numbers = [int(text.replace(",", "")) for text in first]
    assert numbers == sorted(numbers, reverse=True)
    assert first[0] == "2,100"
    assert numbers[::-1] == [int(text.replace(",", "")) for text in second]
    assert chromium.evaluate("document.querySelectorAll('#tables [aria-sort=ascending]').length") == 1
    for _ in range(2):
        lengths = column("P")
        assert lengths[-2:] == ["", ""]
        assert {*lengths[:-2]} == {"5", "20"}
    names = column("setting")
    assert names[-4:] == ["majority", "ptv2 layers=3-4 P=20", "ptv2 P=5", "ptv2 P=20"]  # numbers in words as numbers


def test_a_link_opens_what_it_points_into(chromium, page):
    chromium.open(page)
    visible = "document.querySelector('#command-1').checkVisibility()"
    assert not chromium.evaluate(visible)
    chromium.click("a[href='#command-1']")
    assert chromium.evaluate(f"new Promise(done => setTimeout(() => done({visible}), 100))")


def test_it_prints(chromium, page, tmp_path):
    """In the light colors, whatever the screen has."""
    chromium.open(page, prefers_color_scheme="dark")
    assert chromium.pdf().startswith(b"%PDF")
