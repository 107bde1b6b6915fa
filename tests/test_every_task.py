"""Every task, from its yaml to a result: a few steps on demo data, and on the real files where they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import call
from programs import program

from ptune import demo, loop
from ptune.leaves import leaf

TASKS = sorted(Path(str(path)).stem for path in files("ptune.conf").joinpath("task").iterdir() if path.is_file())
DIAGNOSTICS = [name for name in TASKS if name.startswith("superglue_ax")]
SIZES = {"train": 12, "dev": 8, "test": 8}
WRITTEN = ("e2e", "webnlg")  # whose answer is a text
COMMON = [
    "method=ptv2",
    "prompt_length.value=3",
    "batch_size=4",
    "eval_batch_size=16",
    "epochs=1",
    "max_steps=2",
    "data.max_length=128",
    "tracker=none",
    "quiet=true",
]

WINDOWS = ["task.doc_stride=32", "task.max_question_length=40"]  # which fit data.max_length


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory) -> Iterator[None]:
    """Demo corpora and encoded parts of these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def train(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Train in this process, with the tensors compared before and after; the run's folder."""
    monkeypatch.chdir(tmp_path)
    fit = loop.fit

    def watched(runs: Any, model: Any, *about: Any) -> Any:
        before = {name: p.detach().clone() for name, p in runs[0].trained.items()}
        done = fit(runs, model, *about)
        same = {name for name, p in runs[0].trained.items() if p.equal(before[name])}
        assert any(name.startswith("prompt.") for name in before)
        assert any(name.startswith("head.") for name in before) is model.member(0).head.learns
        assert {name for name in same if not name.endswith("bias")} == set()  # a span's or a choice's cannot matter
        return done

    monkeypatch.setattr(loop, "fit", watched)

    def run(task: str, *more: str) -> Path:
        words = [f"task={task}", *COMMON, *(WINDOWS if task.startswith("squad") else ()), *more]
        assert call("train", *words, f"hydra.run.dir={tmp_path / task}") == 0
        return tmp_path / task

    return run


def headline_of(folder: Path) -> tuple[str, set[str]]:
    """The headline and all scores of a run's task."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    task = leaf(config["task"])
    return task.headline, set(task.score_names)


def check(folder: Path) -> dict[str, Any]:
    """A finished run: its headline, its predictions and breakdowns; returns the result."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    headline, names = headline_of(folder)
    split, report = result["report_on"], result["best"]["report"]
    assert (result["steps"], result["metric"]) == (2, headline)
    assert result["score"] == report[headline]
    assert math.isfinite(result["score"])
    assert -100.0 <= result["score"] <= 100.0
    assert len(names & set(report)) >= min(len(names), 2)
    held_out = result["data"].get("held_out", {})
    left = held_out["examples"] if held_out.get("from") == split else 0
    predictions = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(predictions) == result["data"]["examples"][split] - left
    for name in result["best"]["breakdowns"].values():
        assert json.loads((folder / name).read_text(encoding="utf-8"))["by"]["words"]
    assert result["parameters"]["trained"] > 0
    assert (folder / "tuned.safetensors").stat().st_size > 1000
    return result


def test_these_are_all(ptune):
    """What `ptune ls task` lists."""
    lines = ptune("ls", "task").out.split("\n\n")[0].splitlines()[1:]
    assert sorted(line.split()[0] for line in lines) == TASKS
    assert len(DIAGNOSTICS) == 2


@pytest.mark.parametrize("name", [name for name in TASKS if name not in DIAGNOSTICS])
def test_on_demo_data(train, name):
    """Two steps, evaluations included."""
    if name not in demo.tasks():
        pytest.skip(f"the demo world has no {name}")
    sizes = [f"data.demo.{split}={SIZES[split]}" for split in demo.splits(name)]
    writes = ["backbone=tiny_causal", "method/head=generate", "method.head.beams=2"]
    words = writes if name in WRITTEN else ["backbone=tiny_encoder"]
    result = check(train(name, "data=demo", *words, *sizes))
    assert result["synthetic"]


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_diagnostics(train, name, capsys):
    """A run of rte is evaluated on them."""
    folder = train("rte", "data=demo", "backbone=tiny_encoder", *(f"data.demo.{s}={n}" for s, n in SIZES.items()))
    assert call("eval", str(folder), f"task={name}", "data=demo", "data.demo.test=16", "quiet=true") == 0
    found = json.loads((folder / f"eval_{name}_test.json").read_text(encoding="utf-8"))
    task = leaf(yaml.safe_load(Path(str(files("ptune.conf"))).joinpath("task", f"{name}.yaml").read_text()))
    assert set(found["scores"]) >= {task.headline}
    assert all(math.isfinite(score) for score in found["scores"].values())
    assert (found["task"], found["examples"]) == (name, 16)
    assert (folder / f"predictions_{name}_test.jsonl").is_file()


# Real files

REAL = {
    **{name: [] for name in ("wnut17", "srl_ewt", "squad", "squad_v2", "boolq")},
    **{name: [] for name in ("cb", "rte", "wic", "wsc", "copa", "multirc")},
    **{f"conll04 {layout}": [f"data.layout={layout}"] for layout in ("columns", "json")},
}


@pytest.fixture(scope="module")
def real() -> Any:
    """The program scripts/bench/real, imported: it knows where the corpora are, and how to halve those in one part."""
    return program("scripts/bench/real")


@pytest.mark.parametrize("name", REAL)
def test_on_real_files(train, real, shared, tmp_path, name):
    """Two steps of the same from the original files, as far as they are here."""
    task = name.split()[0]
    corpus = real.CORPORA[task]
    if not (shared / "data" / corpus.folder).exists():
        pytest.skip(f"no {shared / 'data' / corpus.folder}")
    halves = tmp_path / "halves"
    halves.mkdir()
    more = [word for word in corpus.more if not word.startswith("data.max_")]
    whole = task in ("multirc", "squad", "squad_v2")  # texts stay whole: as many answers or questions as have room
    most = [f"data.max_{split}={rows * (6 if whole else 1)}" for split, rows in SIZES.items()]
    words = [*real.data_words(corpus, shared / "data", halves), "backbone=tiny_encoder", *more, *most, *REAL[name]]
    result = check(train(task, *words))
    assert not result["synthetic"]
    if not whole:
        assert result["data"]["examples"]["train"] == SIZES["train"]
    if "protocol=held_out" in corpus.more:
        assert result["select_on"] == "held_out"
        half = result["data"]["held_out"]["examples"] if whole else SIZES["dev"] // 2
        assert result["data"]["held_out"] == {"from": "dev", "examples": half, "seed": 1}


def test_the_bench_knows_every_real_corpus(real):
    """And ReCoRD's demo corpus, marked as such."""
    assert set(real.CORPORA) == {name.split()[0] for name in REAL} | {"record"}
    assert real.data_words(real.CORPORA["record"], Path(), Path()) == ("data=demo",)
    assert "SYNTHETIC" in real.CORPORA["record"].mark
