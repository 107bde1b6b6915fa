"""ptune reproduce: what cells are made of, what becomes of them, and that no status is lost on the way to a reader."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from finished import CONFIG, RESULT
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from ptune import build, config
from ptune.errors import ConfigError
from ptune.leaves import target
from ptune.paper import draw, estimate, found, plan, show
from ptune.paper.table import Cell, Table, cells, matching_cells, overrides, parse
from ptune.procedures import Work

CONF = Path(__file__).parent.parent / "conf"
TABLES = sorted(path.stem for path in (CONF / "table").glob("*.yaml"))
MINE: dict[str, Any] = {
    "title": "A table of one's own",
    "citation": "nobody 2026",
    "rows": ["task"],
    "columns": ["method"],
    "axes": {
        "task": {"cb": {"label": "CB", "set": {"task": "cb"}}, "rte": {"label": "RTE", "set": {"task": "rte"}}},
        "method": {
            "majority": {"label": "majority", "set": {"method": "majority"}},
            "probe": {
                "label": "probe",
                "set": {"method": "linear_probe", "max_steps": 4, "eval_every": 2, "batch_size": 4},
            },
        },
    },
    "scales": {
        "demo": {
            "set": {
                "data": "demo",
                "backbone": "tiny_encoder",
                "tracker": "none",
                "data.demo.train": 24,
                "data.demo.dev": 8,
                "data.demo.test": 8,
            }
        }
    },
    "published": [
        {"origin": "a readme", "cells": {"rte": {"probe": [70.0, "r"]}}},
        {
            "origin": "a paper",
            "cells": {"cb": {"majority": [50.25, "u"], "probe": [60.5, "cq"]}, "rte": {"probe": [71.125, "u", 1.5]}},
        },
    ],
}


def load(name: str) -> Table:
    """A shipped table."""
    composed = compose("reproduce", [f"table={name}"])
    return parse(name, OmegaConf.to_container(composed.table, resolve=True))  # type: ignore[arg-type]


@pytest.fixture
def hydra() -> Iterator[None]:
    """Compositions of the shipped configuration."""
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"):
        yield


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder with a table of somebody's own, `mine`."""
    folder = tmp_path / "conf"
    (folder / "table").mkdir(parents=True)
    (folder / "table" / "mine.yaml").write_text(
        "# Two tasks and two methods.\n" + yaml.safe_dump(MINE, sort_keys=False)
    )
    return folder


def write_rte(root: Path, splits: Sequence[str] = ("train", "val")) -> None:
    """A folder of data with the files of RTE, an example each."""
    (root / "rte").mkdir(parents=True)
    for i, split in enumerate(splits):
        example = {"premise": f"It rains {i}.", "hypothesis": "It is wet.", "label": "entailment", "idx": 0}
        (root / "rte" / f"{split}.jsonl").write_text(json.dumps(example) + "\n", encoding="utf-8")


# Composition


@pytest.mark.parametrize("scale", ["paper", pytest.param("quick", marks=pytest.mark.slow), "demo"])
@pytest.mark.parametrize("name", TABLES)
def test_every_table_composes(name: str, scale: str, hydra: None) -> None:
    """Of the cells with the same keys and method one composes and binds."""
    kinds: dict[tuple[str, ...], Cell] = {}
    for cell in cells(load(name), scale):
        if cell.missing is None:
            kinds.setdefault((*sorted(cell.words), str(cell.words.get("method"))), cell)
    for cell in kinds.values():
        work = plan.work(cell, Path("x"))
        assert work.problem is None, f"{cell.name}: {work.problem}"


def test_a_script_is_what_the_cell_runs(hydra: None) -> None:
    """Where a script was published, the cell is its preset and nothing is searched; elsewhere the search is stated."""
    found = {cell.name: cell for cell in cells(load("ptv2_table2"), "paper")}
    script = plan.work(found["rte.roberta_large.ptv2"], Path("x"))
    assert script.settings is not None
    assert (script.seeds, script.number) == ([11], 1)
    assert (script.settings.optim.lr, script.settings.epochs, script.settings.prompt_length.value) == (5e-3, 100, 128)
    assert script.settings.compat.pooler == "published"
    searched = plan.work(found["cb.bert_large.ptv2"], Path("x"))
    assert searched.number == 9
    assert {tuple(place.words["optim.lr"] for place in searched.search_trials)[i] for i in (0, 3, 6)} == {
        5e-3,
        7e-3,
        1e-2,
    }
    assert found["rte.glm_xlarge.ft"].missing == "no GLM backbone"


def test_seeds_are_counted_from_the_first(hydra: None) -> None:
    """A published script's own is among them; a table's seeds come before further ones."""
    scripts = {cell.name: cell for cell in cells(load("ptv2_table2"), "paper", count=3)}
    assert plan.work(scripts["rte.roberta_large.ptv2"], Path("x")).seeds == [11, 12, 13]
    assert plan.work(scripts["cb.bert_large.ptv2"], Path("x")).seeds == [1, 2, 3]
    pet = {cell.name: cell for cell in cells(load("pet_superglue"), "paper", count=2)}
    assert plan.work(pet["pet.cb_f1"], Path("x")).seeds == [42, 43]
    for count, seeds in ((2, [13, 21]), (6, [13, 21, 42, 87, 100, 101])):
        draws = {cell.name: cell for cell in cells(load("lmbff_table3"), "paper", count=count)}
        assert plan.work(draws["ft.sst2"], Path("x")).seeds == seeds
    (demo, *_) = cells(load("ptv2_table2"), "demo", count=2)
    assert plan.work(demo, Path("x")).seeds == [1, 2]


def test_the_demo_computes_an_encoder_once(hydra: None) -> None:
    """Columns that differ in the backbone alone are of the same runs, and so are two figures of one run."""
    every = {cell.name: cell for cell in cells(load("ptv2_table3"), "demo")}
    assert every["conll03.bert_large.ft"].key == every["conll03.deberta_xlarge.ft"].key
    assert every["squad_em.bert_large.pt"].key == every["squad_f1.roberta_large.pt"].key
    assert every["conll03.bert_large.mpt2"].key == every["ontonotes.bert_large.mpt2"].key
    assert every["conll03.bert_large.ft"].key != every["conll03.bert_large.pt"].key
    assert len({cell.key for cell in every.values()}) == 7 * 3 + 3
    paper = {cell.name: cell for cell in cells(load("ptv2_table3"), "paper")}
    assert paper["conll03.bert_large.ft"].key != paper["conll03.deberta_xlarge.ft"].key


def test_words_of_the_command_line_come_last() -> None:
    table = parse("mine", MINE)
    (first, *_) = cells(table, "demo", {"data.demo.train": 9, "data.root": "a b/c"})
    assert overrides(first.words)[-1] == "data.root='a b/c'"
    assert "data.demo.train=9" in overrides(first.words)
    assert [cell.name for cell in matching_cells(cells(table, "demo"), ["rte"])] == ["rte.majority", "rte.probe"]
    assert [cell.name for cell in matching_cells(cells(table, "demo"), ["*.probe"])] == ["cb.probe", "rte.probe"]
    with pytest.raises(ConfigError, match=r"^cells: 'mnli' names no cell; one of: cb.majority"):
        matching_cells(cells(table, "demo"), ["mnli"])


@pytest.mark.parametrize("scale", ["paper", "quick", "demo"])
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"epochs": 1}, "with epochs=1"),
        ({"data.max_train": 100}, "with data.max_train=100"),
        ({"data.layout": "fewglue", "seed": 3}, "with data.layout=fewglue"),
        ({"backbone": "bert_base_cased", "device": "cpu"}, "with backbone=bert_base_cased"),
        ({"+backbone.quantize": "int8"}, "with +backbone.quantize=int8"),
        ({"optim.lr": 0.1, "batch_size": 8}, "with optim.lr=0.1 batch_size=8"),
        ({"experiment": "demo"}, "with experiment=demo"),
    ],
    ids=str,
)
def test_words_that_can_change_a_figure_make_it_incomparable(more: dict[str, Any], said: str, scale: str) -> None:
    """In every cell, beside what stands in the way anyway."""
    scales = {**MINE["scales"], "quick": {"not_comparable": "a part of the data"}}
    for cell in cells(parse("mine", {**MINE, "scales": scales}), scale, more):
        assert cell.not_comparable == (*(["a part of the data"] if scale == "quick" else []), said)


def test_words_that_change_no_figure_leave_it_comparable() -> None:
    """Where files are, how a machine goes about it, and what the result tells itself."""
    more = {
        **{"data": "local", "data.root": "a b/c", "data.cache": False, "backbone.path": "DIR", "seed": 3},
        **{"device": "cpu", "tracker": "none", "tracker.mode": "online", "quiet": True, "hydra/launcher": "ray"},
        **{"eval_batch_size": 8, "batch_tokens": 99, "accumulate": 2, "save_minutes": 1, "time_limit": 5},
        **{"packages": ["mine"], "+backbone.path": "DIR"},
    }
    assert {cell.not_comparable for cell in cells(parse("mine", MINE), "paper", more)} == {()}


def test_heads_are_searched_for_where_no_script_was_published(hydra: None) -> None:
    """Table 4: the linear heads of RTE and BoolQ are published scripts, with their own rate and length."""
    search = {"optim.lr": [5e-3, 7e-3, 1e-2], "prompt_length.value": [8, 32, 128]}
    scripts = {"linear.rte": "ptv2_rte_roberta", "linear.boolq": "ptv2_boolq_roberta"}
    paper = {cell.name: cell for cell in cells(load("ptv2_table4"), "paper")}
    assert {name: cell.search for name, cell in paper.items()} == {n: {} if n in scripts else search for n in paper}
    assert {name: cell.words.get("experiment") for name, cell in paper.items()} == {n: scripts.get(n) for n in paper}
    for cell in cells(load("ptv2_table4"), "quick"):
        assert not cell.search
        quick = {"optim.lr": 7e-3, "prompt_length.value": 20}
        assert {key: cell.words.get(key) for key in quick} == (
            dict.fromkeys(quick) if cell.name in scripts else quick
        ), cell.name


def test_few_examples_are_as_few_at_any_scale(hydra: None) -> None:
    """A part of the real data is none larger than the cell's own: as many of each class as in PET's code."""
    of_class, unlabeled = {"agnews": 25, "mnli": 33}, {"agnews": 40000, "mnli": 30000}
    for scale in ("paper", "quick"):
        for cell in (each for each in cells(load("pet_texts"), scale) if not each.missing):
            method, task = cell.entries
            few = method in ("supervised", "pet", "ipet")
            assert cell.words.get("data.per_class") == (of_class[task] if few else None), cell.name
            assert cell.words.get("data.max_train") == (1000 if scale == "quick" and not few else None), cell.name
            if "pet" in method:
                most = 1000 if few and scale == "quick" else unlabeled[task]
                assert cell.words["method.procedure.unlabeled"] == most, cell.name
    for cell in cells(load("lmbff_table3"), "quick"):
        assert cell.words["data.max_train"] is None, cell.name  # its experiment takes 16 of each class


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"titel": "x"}, "table mine: titel: extra inputs are not permitted"),
        ({"rows": ["tasks"]}, "table mine: rows, columns: no axis 'tasks'; did you mean 'task'?"),
        ({"cells": {"cb.probes": {}}}, "table mine: cells.cb.probes: no such cell; did you mean 'cb.probe'?"),
        (
            {"published": [{"origin": "x", "cells": {"cb": {"probe": 60}}}]},
            "table mine: published: x: cb.probe: 60 is not [value, status]; status: r, c, u, and q after it",
        ),
        (
            {"published": [{"origin": "x", "cells": {"cb": {"prob": [60, "r"]}}}]},
            "table mine: published: x: cb.prob: no 'prob'; did you mean 'probe'?",
        ),
        (
            {"figure": {"x": "task", "lines": "method", "panels": "method", "xlabel": "x"}},
            "table mine: axes.task.cb.label: 'CB' is not a number, which a figure's x axis needs",
        ),
    ],
)
def test_what_is_wrong_with_a_table(change: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse("mine", {**MINE, **change})
    assert error.value.problems[0] == line


# Statuses


def ours(mean: float, n: int = 1) -> found.Ours:
    """A figure of ours."""
    return found.Ours(
        n, mean, 0.5 if n > 1 else None, (1.0, 99.0), "accuracy", "dev", "dev", 3.0, 2.0, 1, {}, {}, ["cb.probe/1"]
    )


@pytest.fixture
def states() -> list[found.Found]:
    """Cells of every kind of status."""
    each = {cell.name: cell for cell in cells(parse("mine", MINE), "demo")}
    return [
        found.Found(each["cb.majority"], "ok", "", ours(51.25)),
        found.Found(each["cb.probe"], "ok", "", ours(61.0, 3)),
        found.Found(each["rte.majority"], "missing", "not run"),
        found.Found(each["rte.probe"], "not comparable", "synthetic", ours(72.0)),
    ]


def test_no_status_is_lost(states: list[found.Found]) -> None:
    """An unconfirmed figure has its mark, and a legend, wherever it stands; no format has its bare number."""
    table = parse("mine", MINE)
    lines = show.rows(states)
    assert [line[1] for line in lines] == [
        "50.25? (a paper)",
        "60.5~^ (a paper)",
        "",
        "70 (a readme), 71.125 ± 1.5? (a paper)",
    ]
    assert [line[6] for line in lines] == ["+1.00?", "+0.50~", "", ""]
    assert any(line.startswith("? unconfirmed") for line in show.table_notes(table, "demo", states))
    text = show.markdown(table, "demo", states, ["a note"])
    separated = show.comma_separated(states)
    for written in (text, separated):
        assert "50.25?" in written
        assert written.count("50.25") == written.count("50.25?")
        assert written.count("71.125") == written.count("71.125 ± 1.5?")
    assert "- ? unconfirmed" in text
    read = [*csv.DictReader(io.StringIO(separated))]
    assert [line["published_status"] for line in read] == ["unconfirmed", "corroborated", "", "read"]
    assert [line["published_quoted"] for line in read] == ["False", "True", "", "False"]
    assert [line["state"] for line in read] == ["ok", "ok", "missing", "not comparable"]
    data = show.as_json("mine", table, "demo", states, [])
    assert data["legend"]["?"].startswith("unconfirmed")
    first, second, _, last = data["cells"]
    assert "value" not in first["published"][0]
    assert first["published"][0]["unconfirmed_value"] == 50.25
    assert "difference" not in first
    assert first["difference_from_unconfirmed"] == pytest.approx(1.0)
    assert (second["published"][0]["value"], second["difference"]) == (60.5, pytest.approx(0.5))
    assert (last["published"][0]["status"], last["published"][1]["status"]) == ("read", "unconfirmed")
    assert last["difference"] is None


def test_what_figures_are_beside_ours_is_said(states: list[found.Found]) -> None:
    """Whose they are where they are of several sources, and what a figure without a mark is."""
    table = parse("mine", MINE)
    said = show.table_notes(table, "demo", states)
    assert "sources of the published figures: a paper (2); a readme (1)" in said
    assert "no mark: read in the source itself" in said
    alone = show.table_notes(table, "demo", states[:2])
    assert not any("sources of" in line or "no mark" in line for line in alone)
    assert [line.partition(" ")[0] for line in alone[1:]] == ["~", "?", "^"]


def test_the_page_of_demo_tables_says_what_tables_say_of_themselves(hydra: None, tmp_path: Path) -> None:
    """Its bullets are those of `ptune reproduce` where every cell that can run has run."""
    page = (CONF.parent / "docs" / "demo_tables.md").read_text(encoding="utf-8").splitlines()
    for name in ("ptv2_table3", "ptv2_table2"):
        table, of_cells, seen = load(name), cells(load(name), "demo"), []
        first: dict[str, str] = {}
        for cell in of_cells:
            by = first.setdefault(cell.key, cell.name) if cell.missing is None else cell.name
            figure = replace(ours(50.0), caveats=["synthetic data"])
            ended = found.Found(cell, found.NOT_COMPARABLE, "", figure, None if by == cell.name else by)
            seen.append(found.cell_state(cell, {}, {}, False, tmp_path) if cell.missing else ended)
        title, *bullets = show.table_notes(table, "demo", seen)
        at = page.index(f"## {title}") + 2
        assert page[at : page.index("", at)] == [f"- {line}" for line in bullets]


def test_glm_columns_say_why(hydra: None, tmp_path: Path) -> None:
    """In every format, and they need nothing."""
    table = load("ptv2_table2")
    every = [
        found.cell_state(cell, {}, {}, False, tmp_path) for cell in matching_cells(cells(table, "demo"), ["glm_*"])
    ]
    assert {show.state(each) for each in every} == {"missing: no GLM backbone"}
    assert "missing: no GLM backbone / 88.3~" in show.markdown(table, "demo", every, [])
    assert show.comma_separated(every).count("missing,no GLM backbone") == 48


def test_a_figure_is_drawn(hydra: None, tmp_path: Path) -> None:
    """A panel a task, a line an encoder, prompt lengths in their order."""
    pytest.importorskip("matplotlib")
    from ptune.reports import figures

    table = load("ptv2_length")
    every = cells(table, "demo")
    seen = [found.Found(cell, "ok", "", ours(50.0 + i)) for i, cell in enumerate(every)]
    charts = draw.charts(table, seen)
    assert [chart.name for chart in charts] == [f"length-{task}" for task in ("rte", "boolq", "conll04", "conll12")]
    assert [series.label for series in charts[0].series] == ["embedding", "MLP"]
    assert [point.x for point in charts[0].series[0].points] == [4, 8, 16, 32, 64, 128]
    assert charts[0].ticks == [4, 8, 16, 32, 64, 128]
    written = figures.save(charts[:1], tmp_path)
    assert "<svg" in written[0].read_text()
    assert draw.charts(load("ptv2_table2"), []) == []


def test_the_estimate_follows_its_arithmetic(settings: Callable[..., Any]) -> None:
    """Twice the epochs, twice the FLOP; a tuned backbone takes 3 to a frozen one's 2, and its checkpoints the disk."""
    words = ["data=demo", "task=rte", "backbone=tiny_encoder", "data.demo.train=600", "data.demo.dev=1"]
    one = estimate.cost(settings("method=prompt_tuning", *words, "epochs=10", "prompt_length.value=1"))
    two = estimate.cost(settings("method=prompt_tuning", *words, "epochs=20", "prompt_length.value=1"))
    tuned = estimate.cost(settings("method=finetune", *words, "epochs=10"))
    assert two.flop == pytest.approx(2 * one.flop)
    assert tuned.flop / one.flop == pytest.approx(1.5, rel=0.02)
    assert tuned.disk > 50 * one.disk
    forward = 256 * (24 * 4 * 128**2 + 4 * 4 * 128 * 256)  # of a row, in a model of 4 layers and hidden width 128
    assert tuned.flop == pytest.approx(10 * (3 * 600 + 1) * forward)


def test_the_estimate_counts_every_training(settings: Callable[..., Any]) -> None:
    """Of LM-BFF's candidates, of PET's patterns in each generation, of AutoPrompt's candidates the answers."""
    words = ["data=demo", "task=rte", "backbone=tiny_encoder", "data.demo.train=64", "data.demo.dev=16", "epochs=4"]
    once = estimate.cost(settings("method=lmbff", *words)).flop
    searched = settings("method=lmbff_auto", *words, "method.procedure.n_pairs=9", "method.procedure.templates=false")
    assert estimate.cost(searched).flop == pytest.approx(11 * once)
    small = ["method.procedure.patterns=[pet1,pet2]", "method.procedure.reps=3", "method.procedure.pattern_steps=10"]
    small += ["method.procedure.steps=30", "method.procedure.unlabeled=50"]

    def work(s: Any) -> Work:
        found: Work = target(s.method["procedure"]["_target_"]).work(s, 100, 64)
        return found

    assert work(settings("method=pet", *words, *small)) == Work(2 * 3 * 10 + 30, 2 * 3 * 50)
    more = ["method.procedure.generations=4", "max_steps=5"]
    assert work(settings("method=ipet", *words, *small, *more)) == Work(4 * 2 * 3 * 5 + 5, 4 * 2 * 3 * 50)
    few = ["method.procedure.iterations=7", "method.procedure.accumulate=3", "method.procedure.candidates=5"]
    assert work(settings("method=autoprompt", *words, *few, "batch_size=8")) == Work(7 * 3, 7 * 5 * 8)
    assert work(settings("method=zero_shot", *words)) == Work(0)


# Runs


def launch(folder: Path, *words: str) -> subprocess.Popen[str]:
    """ptune reproduce table=mine in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ptune", "reproduce", "table=mine", "--config-dir", "conf", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "PTUNE_CACHE": str(folder / "cache")},
    )


def events(folder: Path) -> list[dict[str, Any]]:
    """The lines of the ledger."""
    path = folder / "outputs/reproduce/mine/demo/ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "fused"])
def test_killed_in_the_middle_it_goes_on(launcher: str, own: Path, tmp_path: Path) -> None:
    """kill -9, the same command again: nothing that had ended runs again, and nothing is lost or doubled."""
    root = tmp_path / "outputs/reproduce/mine/demo"
    first = launch(tmp_path, "hydra/launcher=basic")
    until = time.monotonic() + 120
    while not [*root.glob("*/*/result.json")] and first.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    ended = {path: path.stat().st_mtime_ns for path in root.glob("*/*/result.json")}
    assert 1 <= len(ended) < 4
    assert not (root / "table.md").exists()
    second = launch(tmp_path, f"hydra/launcher={launcher}")
    said, _ = second.communicate(timeout=180)
    assert second.returncode == 0, said
    assert {path: path.stat().st_mtime_ns for path in ended} == ended
    done = {path.parent.parent.name for path in root.glob("*/*/result.json")}
    assert done == {"cb.majority", "cb.probe", "rte.majority", "rte.probe"}
    again = {event["folder"] for event in events(tmp_path) if event["state"] == "started"}
    if launcher == "fused":
        assert again == {f"{name}/1" for name in done} - {str(path.parent.relative_to(root)) for path in ended}
    for name in ("cb.probe", "rte.probe"):
        lines = [json.loads(line) for line in (root / name / "1/metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if line["event"] == "eval"] == [2, 4]
    assert sorted(path.name for path in root.glob("table.*")) == ["table.csv", "table.json", "table.md"]


@pytest.mark.slow
def test_what_has_changed_is_said(own: Path, ptune: Callable[..., Any], tmp_path: Path) -> None:
    """A finished table is shown, and nothing runs; other code, data and settings are told, and what is asked for runs
    again, beside what was there."""
    root = tmp_path / "outputs/reproduce/mine/demo"
    words = ("reproduce", "table=mine", "--config-dir", str(own), "cells=*.majority", "hydra/launcher=basic")
    assert ptune(*words).code == 0
    changes: dict[str, dict[str, Any]] = {"cb": {"code": "0123456789abcdef"}, "rte": {"identity": "other"}}
    for task, change in changes.items():
        path = root / f"{task}.majority/1/env.json"
        env = json.loads(path.read_text())
        if task == "rte":
            env["data"]["files"]["train"]["sha256"] = "other"
        path.write_text(json.dumps({**env, **change}))
    again = ptune(*words)
    assert again.code == 0, again.err
    assert "runs to go" not in again.out + again.err
    assert "cb.majority: run with ptune 0123456789ab, torch" in again.out
    assert "rte.majority: the files of rte have changed since; rerun=true runs them again" in again.out
    data = {cell["cell"]: cell for cell in json.loads((root / "table.json").read_text())["cells"]}
    assert (data["cb.majority"]["state"], data["cb.majority"]["why"]) == ("not comparable", "synthetic data")
    assert data["cb.majority"]["difference_from_unconfirmed"] is None
    changed = "its settings have changed since; rerun=true runs it again"
    assert data["rte.majority"]["why"] == f"synthetic data; {changed}"
    assert ptune(*words, "rerun=cb.majority", "quiet=true").code == 0
    assert [*root.glob("replaced/*/*")] == [root / "replaced/cb.majority/1-1"]
    assert (root / "cb.majority/1/result.json").is_file()


@pytest.mark.slow
def test_the_files_have_the_whole_table(own: Path, ptune: Callable[..., Any], tmp_path: Path) -> None:
    """Whatever part was asked for; the terminal shows that part."""
    root = tmp_path / "outputs/reproduce/mine/demo"
    words = ("reproduce", "table=mine", "--config-dir", str(own), "hydra/launcher=basic")
    assert ptune(*words, "cells=*.majority").code == 0

    def table() -> dict[str, tuple[str, int | None]]:
        told = json.loads((root / "table.json").read_text(encoding="utf-8"))["cells"]
        return {cell["cell"]: (cell["state"], cell["ours"] and cell["ours"]["n"]) for cell in told}

    missing, one, two = ("missing", None), ("not comparable", 1), ("not comparable", 2)
    assert table() == {"cb.majority": one, "cb.probe": missing, "rte.majority": one, "rte.probe": missing}
    again = ptune(*words, "cells=rte.majority", "seeds=2")
    assert again.code == 0, again.err
    assert ("RTE | majority" in again.out, "CB | majority" in again.out) == (True, False)
    whole = {"cb.majority": one, "cb.probe": missing, "rte.majority": two, "rte.probe": missing}
    assert table() == whole
    read = [*csv.DictReader((root / "table.csv").read_text(encoding="utf-8").splitlines())]
    assert [line["cell"] for line in read] == [*whole]
    assert ptune(*words, "cells=cb.majority").code == 0
    assert table() == whole


def test_a_stage_chooses_its_own_trial(hydra: None, tmp_path: Path) -> None:
    """Of runs that tasks share each has the trial that its dev set chose, and its edge; further seeds go on from it."""
    some = [f"{task}.bert_large.mpt2" for task in ("conll03", "ontonotes", "conll04")]
    every = {cell.name: cell for cell in cells(load("ptv2_table3"), "paper", count=2) if cell.name in some}
    works = plan.plan_cells(every.values(), {each.key: each for each in reversed(every.values())}, tmp_path)
    (work,) = works.values()
    assert (work.stages, work.number) == ([None, "ontonotes", "conll04"], 6 + 3)
    best = {None: (1e-2, 32), "conll04": (5e-3, 128), "ontonotes": (1e-2, 32)}

    def finish(place: plan.Place) -> None:
        trial = place.words["optim.lr"], place.words["prompt_length.value"]
        for stage, chosen in best.items():
            score = {"selected": 80.0 if trial == chosen else 70.0, "seed": place.words["seed"]}
            told = {**RESULT, **score, "epochs": 1, "best": {**RESULT["best"], "epoch": 1, "interval": None}}
            config = {**CONFIG, "optim": {"lr": trial[0]}, "prompt_length": {"value": trial[1]}}
            place.of(stage).mkdir(parents=True, exist_ok=True)
            (place.of(stage) / "result.json").write_text(json.dumps(told), encoding="utf-8")
            (place.of(stage) / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    for place in work.search_trials:
        finish(place)
    chosen = {stage: [str(place.folder.relative_to(work.folder)) for place in work.places(stage)] for stage in best}
    own, other = "optim.lr=0.01,prompt_length.value=32", "optim.lr=0.005,prompt_length.value=128"
    assert chosen[None] == chosen["ontonotes"] == [f"search/{own}", "2"]
    assert chosen["conll04"] == [f"search/{other}", f"{other}/2"]
    assert (len(work.every), work.number) == (6 + 2, 6 + 2)
    assert not work.has_figure("conll04")
    for place in work.every:
        finish(place)
    seen = {name: found.cell_state(each, works, {}, False, tmp_path).ours for name, each in every.items()}
    assert [each and (each.n, each.edge) for each in seen.values()] == [
        (2, {"optim.lr": "largest"}),  # two lengths have no edge
        (2, {"optim.lr": "largest"}),
        (2, {"optim.lr": "smallest"}),
    ]


def test_each_seed_searches_for_itself(hydra: None, tmp_path: Path) -> None:
    """As LM-BFF's draws do: the figure is of the trial that each has chosen."""
    every = {cell.name: cell for cell in cells(load("lmbff_table3"), "paper", count=2)}
    one = every["ft.rte"]
    works = plan.plan_cells([one], {one.key: one}, tmp_path)
    (work,) = works.values()
    assert (work.seeds, work.number, len(work.search_trials)) == ([13, 21], 18, 18)
    best = {13: (2, 1e-5), 21: (8, 5e-5)}

    def finish(place: plan.Place) -> None:
        seed, size, rate = (place.words[key] for key in ("seed", "batch_size", "optim.lr"))
        score = 0.8 if (size, rate) == best[seed] else 0.9 if seed == 13 and rate == 5e-5 and size == 8 else 0.7
        selected = 1.0 if (size, rate) == best[seed] else 0.5  # by dev; the reported figure decides nothing
        report = dict.fromkeys(RESULT["best"]["report"], score)
        told = {**RESULT, "selected": selected, "seed": seed, "epochs": 1}
        told["best"] = {**RESULT["best"], "report": report, "epoch": 1, "interval": None}
        config = {**CONFIG, "seed": seed, "batch_size": size, "optim": {"lr": rate}}
        place.folder.mkdir(parents=True)
        (place.folder / "result.json").write_text(json.dumps(told), encoding="utf-8")
        (place.folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    for place in work.searched(13):
        finish(place)
    assert [place.words["seed"] for place in work.places()] == [13]
    state = found.cell_state(one, works, {}, False, tmp_path)
    assert (state.state, state.why) == ("missing", "9 of 18 runs")
    for place in work.searched(21):
        finish(place)
    seen = found.cell_state(one, works, {}, False, tmp_path)
    assert seen.ours is not None
    assert seen.reasons == ["its settings have changed since; rerun=true runs it again"]  # of folders that tell none
    assert (seen.ours.n, seen.ours.mean, seen.ours.trials) == (2, 0.8, 9)
    assert [Path(run).name for run in seen.ours.runs] == ["batch_size=2,optim.lr=1e-05", "batch_size=8,optim.lr=5e-05"]
    fewer = plan.work(one._replace(number=1), tmp_path)
    fewer.take_seeds_that_ended()
    assert fewer.seeds[:2] == [13, 21]


@pytest.mark.slow
def test_what_cannot_run_again_stays(own: Path, ptune: Callable[..., Any], tmp_path: Path) -> None:
    """rerun leaves a finished run alone whose data are gone, or whose settings have a problem now, and says so."""
    data, root = tmp_path / "data", tmp_path / "outputs/reproduce/mine/paper"
    write_rte(data)
    words = ["reproduce", "table=mine", "--config-dir", str(own), "scale=paper", "cells=rte.majority"]
    words += ["hydra/launcher=basic", "quiet=true"]
    real = f"'data=local','data.root={data}','tracker=none','backbone=tiny_encoder'"
    assert ptune(*words, f"overrides=[{real}]").code == 0
    shutil.rmtree(data)
    gone = ptune(*words, f"overrides=[{real}]", "rerun=true")
    assert gone.code == 0, gone.err
    assert "rte.majority is not run again: data.root: " in gone.err
    assert "0 of 1" in ptune(*words, f"overrides=[{real}]", "rerun=true", "dry_run=true").out
    wrong = ptune(*words, f"overrides=[{real},'method.procedure.nothing=1']", "rerun=true")
    assert (wrong.code, wrong.err.splitlines()[-1]) == (1, "1 of 1 cells failed: rte.majority")
    assert (root / "rte.majority/1/result.json").is_file()
    assert not (root / "replaced").exists()


def test_a_search_with_a_problem_has_no_trials(hydra: None) -> None:
    """Nothing runs, and what is asked of every run is asked of none."""
    table = parse("mine", {**MINE, "cells": {"rte.probe": {"search": {"optim.lr": [1e-3, 1e-2], "no.such": [1]}}}})
    work = plan.work(next(cell for cell in cells(table, "paper") if cell.search), Path("x"))
    assert work.problem is not None
    assert (work.search_trials, work.every, [*plan.other_data([work])]) == ([], [], [])


@pytest.mark.parametrize("there", [("train", "val"), ("train",), (), None])
def test_files_that_are_not_there_have_not_changed(hydra: None, tmp_path: Path, there: tuple[str, ...] | None) -> None:
    """Only of files that can be read it is said that they are others than those a run has read."""
    root = tmp_path / "data"
    if there is not None:
        write_rte(root, there)
    more = {"data": "local", "data.root": str(root), "tracker": "none"}
    cell = next(cell for cell in cells(parse("mine", MINE), "paper", more) if cell.name == "rte.majority")
    work = plan.work(cell, tmp_path)
    (place,) = work.places()
    place.folder.mkdir(parents=True)
    (place.folder / "result.json").write_text("{}", encoding="utf-8")
    files = {"train": {"sha256": "of a run"}}
    (place.folder / "env.json").write_text(json.dumps({"data": {"files": files}}), encoding="utf-8")
    said = ["rte.majority: the files of rte have changed since; rerun=true runs them again"]
    assert [*plan.other_data([work])] == (said if there == ("train", "val") else [])


@pytest.mark.parametrize("synthetic", [True, False])
@pytest.mark.parametrize("scale", ["paper", "quick", "demo"])
def test_synthetic_data_are_comparable_with_nothing(hydra: None, tmp_path: Path, scale: str, synthetic: bool) -> None:
    """At no scale; real data are, where nothing else stands in the way, and are called synthetic nowhere."""
    shipped = yaml.safe_load((CONF / "table/part/scales.yaml").read_text(encoding="utf-8"))["scales"]
    scales = {"demo": {**MINE["scales"]["demo"], "not_comparable": shipped["demo"]["not_comparable"]}}
    more = {"data": "demo", "tracker": "none"}
    for table in (parse("mine", MINE), parse("mine", {**MINE, "scales": scales})):
        (cell, *_) = cells(table, scale, more)
        work = plan.work(cell, tmp_path)
        (place,) = work.places()
        place.folder.mkdir(parents=True, exist_ok=True)
        result = RESULT | {"epochs": 1, "synthetic": synthetic}
        result["best"] = {"report": {"accuracy": 70.0}, "epoch": 1, "interval": None}
        (place.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
        env = {"identity": build.identity(place.settings)}
        (place.folder / "env.json").write_text(json.dumps(env), encoding="utf-8")
        seen = found.cell_state(cell, {cell.key: work}, {}, False, tmp_path)
        reasons = [*cell.not_comparable, *(["synthetic data"] if synthetic else [])]
        assert (seen.state, seen.why) == ("not comparable" if reasons else "ok", "; ".join(reasons))
        assert ("synthetic" in seen.why) is synthetic
        alike = [line for line in show.table_notes(table, scale, [seen]) if "is comparable with" in line]
        assert alike == [f"none of our figures is comparable with the published ones: {seen.why}"] * bool(reasons)
        assert found.shared_reasons([seen, found.Found(cell, "ok", "", ours(70.0))]) == "; ".join(cell.not_comparable)
        assert (seen.difference is None) is bool(reasons)


def test_dry_run(own: Path, ptune: Callable[..., Any], tmp_path: Path) -> None:
    """Cells, cost, and what is missing; nothing is written."""
    done = ptune("reproduce", "table=mine", "--config-dir", str(own), "dry_run=true")
    assert done.code == 0, done.err
    assert "cb.probe      not run  1 of 1" in done.out
    assert "method=linear_probe max_steps=4" in done.out
    assert "TFLOP/s" in done.out + done.err
    real = ["scale=paper", 'overrides=["data=local","data.root=nowhere","backbone=tiny_encoder"]', "cells=cb.probe"]
    lacking = ptune("reproduce", "table=mine", "--config-dir", str(own), "dry_run=true", *real)
    assert lacking.code == 0, lacking.err
    assert "missing: data.root: " in lacking.out + lacking.err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_dry_run_counts_what_would_run(own: Path, ptune: Callable[..., Any], tmp_path: Path) -> None:
    """What has ended with rerun alone, and never a cell that nothing can run, whatever cell has its settings."""
    path = own / "table" / "mine.yaml"
    table = yaml.safe_load(path.read_text())
    table["axes"]["task"]["huge"] = {"label": "huge", "set": {"task": "rte"}, "missing": "no such model"}
    path.write_text("# Mine, with a hole.\n" + yaml.safe_dump(table, sort_keys=False))
    words = ("reproduce", "table=mine", "--config-dir", str(own), "dry_run=true", "cells=*.majority")
    ended = tmp_path / "outputs/reproduce/mine/demo/cb.majority/1"
    ended.mkdir(parents=True)
    result = RESULT | {"seed": 1, "epochs": 1, "best": {**RESULT["best"], "epoch": 1, "interval": None}}
    (ended / "result.json").write_text(json.dumps(result))

    def runs(*more: str) -> dict[str, str | None]:
        done = ptune(*words, *more)
        assert done.code == 0, done.err
        rows = [line.split() for line in done.out.splitlines() if ".majority " in line]
        return {row[0]: next((row[i - 1] for i, word in enumerate(row) if word == "of"), None) for row in rows}

    assert runs() == {"cb.majority": "0", "rte.majority": "1", "huge.majority": None}
    assert runs("rerun=cb") == {"cb.majority": "1", "rte.majority": "1", "huge.majority": None}


def test_a_cell_that_is_missing_owns_no_runs(own: Path, ptune: Callable[..., Any]) -> None:
    """Of two figures of one run the first may be one that nothing here computes."""
    path = own / "table" / "mine.yaml"
    table = yaml.safe_load(path.read_text())
    nist = {"label": "NIST", "missing": "no NIST scorer"}
    table["axes"]["metric"] = {"nist": nist, "accuracy": {"label": "accuracy", "metric": "accuracy"}}
    table |= {"columns": ["method", "metric"], "published": []}
    path.write_text("# Two figures of each run.\n" + yaml.safe_dump(table, sort_keys=False))
    done = ptune("reproduce", "table=mine", "--config-dir", str(own), "dry_run=true", "cells=cb.majority.*")
    assert done.code == 0, done.err
    assert [line.split()[:3] for line in done.out.splitlines() if line.startswith("cb.")] == [
        ["cb.majority.nist", "missing:", "no"],
        ["cb.majority.accuracy", "not", "run"],
    ]


def test_what_is_refused(own: Path, ptune: Callable[..., Any]) -> None:
    """One line each, before anything runs."""
    common = ("reproduce", "table=mine", "--config-dir", str(own))
    assert ptune("reproduce").err == "table: must be given, as table=ptv2_table2; ptune ls table shows what there is"
    assert ptune(*common, "scale=papr").err == "scale: 'papr' is not a choice; did you mean 'paper'?"
    assert ptune(*common, "cells=mnli").err.startswith("cells: 'mnli' names no cell; one of: cb.majority")
    assert ptune(*common, "overrides=[seed]").err == "overrides: 'seed' is not of the form key=value"
    several = ptune(*common, 'overrides=["seed=1,2"]').err
    assert several == "overrides: seed=1,2: several values; a cell is run with one"
    assert ptune(*common, "tflops=0").err == "tflops: 0 is no speed; give TFLOP/s above 0, as tflops=15"
    assert ptune(*common, "rerun=mnli", "dry_run=true").err == "rerun: mnli names no cell of those that are chosen"
    assert ptune("reproduce", "table=ptv2_table").err.startswith("table=ptv2_table: no such option; did you mean")


def test_a_cell_that_cannot_run_is_failed(own: Path, ptune: Callable[..., Any], tmp_path: Path) -> None:
    """The others run, the table says why, and so does the exit code."""
    path = own / "table" / "mine.yaml"
    table = yaml.safe_load(path.read_text())
    table["cells"] = {"rte.majority": {"set": {"method.procedure.nothing": 1}}}
    path.write_text("# Broken.\n" + yaml.safe_dump(table, sort_keys=False))
    words = ("hydra/launcher=basic", "cells=*.majority", "quiet=true")
    done = ptune("reproduce", "table=mine", "--config-dir", str(own), *words)
    assert done.code == 1
    assert done.err.splitlines()[-1] == "1 of 2 cells failed: rte.majority"
    data = json.loads((tmp_path / "outputs/reproduce/mine/demo/table.json").read_text())
    states = {cell["cell"]: (cell["state"], cell["why"]) for cell in data["cells"]}
    assert states["cb.majority"][0] == "not comparable"
    assert states["rte.majority"][0] == "failed"
    assert "method.procedure.nothing" in states["rte.majority"][1]
