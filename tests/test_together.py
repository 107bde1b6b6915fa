"""Mixed-task inference: several runs answer one stream with one backbone, in shared batches, as each would alone."""

from __future__ import annotations

import json

import pytest

from ptune.backbones import Backbone
from ptune.runs.restore import folders

RUNS = {
    "stars": ["method=ptv2", "task=sst2", "prompt_length.value=5"],
    "names": ["method=prompt_tuning", "task=conll03", "prompt_length.value=2"],
    "answers": ["method=ptv2", "task=squad", "prompt_length.value=3"],
    "cloze": ["method=zero_shot", "task=cb"],
}
LINES = [
    {"run": "stars", "sentence": "the best of the year ."},
    {"run": "names", "tokens": ["Anna", "Berg", "lives", "in", "Oslo", "."]},
    {"run": "answers", "question": "Who lives in Oslo?", "context": "Anna Berg lives in Oslo. " * 40},
    {"run": "cloze", "premise": "Anna sold a boat .", "hypothesis": "Anna sold something ."},
    {"run": "stars", "sentence": "dull", "label": "positive"},
    {"run": "names", "tokens": ["Oslo"]},
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of each."""
    from command_line import call

    base = tmp_path_factory.mktemp("runs")
    sizes = ["data.demo.train=16", "data.demo.dev=8", "data.demo.test=8"]
    for name, words in {**RUNS, "tuned": ["method=bitfit", "task=sst2"]}.items():
        steps = [] if "zero_shot" in words[0] else ["max_steps=2", "optim.lr=0.05"]
        common = ["data=demo", "backbone=tiny_encoder", "tracker=none", "quiet=true", f"hydra.run.dir={base / name}"]
        assert call("train", *words, *steps, *sizes, *common) == 0
    return base


def answered(ptune, where, lines, run, *words):
    """The lines that predict writes."""
    path = where / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    done = ptune("predict", f"run={run}", f"input={path}", *words)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_each_line_is_answered_as_by_its_run_alone(ptune, finished, tmp_path, monkeypatch):
    """In one pass of the backbone for all of them."""
    passes = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda *given: passes.append(len(given[1])) or forward(*given))
    monkeypatch.setattr("ptune.evaluate.PADDING", 10**6)
    found = answered(ptune, tmp_path, LINES, ",".join(str(finished / name) for name in RUNS))
    rows = passes[1:]  # the first is the canary's
    assert len(rows) <= 3
    assert max(rows) >= len(LINES)
    assert [row["run"] for row in found] == [line["run"] for line in LINES]
    for line, row in zip(LINES, found, strict=True):
        (alone,) = answered(ptune, tmp_path, [line], finished / line["run"])
        assert row["prediction"] == alone["prediction"], line
        assert row.get("scores", {}) == pytest.approx(alone.get("scores", {}), abs=1e-4)
        assert {name: row[name] for name in line} == line


def test_batches_of_one_row_give_the_same(ptune, finished, tmp_path):
    runs = ",".join(str(finished / name) for name in RUNS)
    many, one = (answered(ptune, tmp_path, LINES, runs, f"batch_size={size}") for size in (64, 1))
    assert [row["prediction"] for row in many] == [row["prediction"] for row in one]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"sentence": "dull"}, 'lines.jsonl:1: no "run" to say which run answers; '),
        ({"run": "start", "sentence": "dull"}, "lines.jsonl:1: 'start' is not one of the runs; "),
        ({"run": "stars", "tokens": ["dull"]}, "lines.jsonl:1: "),
    ],
)
def test_a_line_that_no_run_answers(ptune, finished, tmp_path, line, said):
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    done = ptune("predict", f"run={finished / 'stars'},{finished / 'names'}", f"input={path}")
    assert done.code != 0
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_several_runs_take_no_plain_text(ptune, finished, tmp_path):
    """Since nothing in it says which of them answers."""
    (tmp_path / "lines.txt").write_text(json.dumps(LINES[0]) + "\n\ndull\n", encoding="utf-8")
    runs = finished / "stars", finished / "names"
    done = ptune("predict", f"run={runs[0]},{runs[1]}", "input=lines.txt")
    said = f'lines.txt:3: several runs need JSON lines, each with "run": ...; one of: {runs[0]}, {runs[1]}'
    assert (done.code, done.err) == (1, said)


def test_a_name_that_two_runs_share_is_none(ptune, finished, tmp_path):
    """A folder as it is given goes before another's last part."""
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "run").symlink_to(finished / ("stars" if place == "one" else "names"))
    line = {"run": "run", "sentence": "dull"}
    (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    done = ptune("predict", "run=one/run,two/run", "input=lines.jsonl")
    assert "lines.jsonl:1: 'run' is not one of the runs; did you mean 'two/run'?" in done.err
    (row,) = answered(ptune, tmp_path, [{**line, "run": "one/run"}], "one/run,two/run")
    assert row["prediction"] in ("negative", "positive")
    line = {"run": ["a"], "sentence": "dull"}
    (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    done = ptune("predict", "run=one/run,two/run", "input=lines.jsonl")
    assert "lines.jsonl:1: ['a'] is not one of the runs; " in done.err


def test_runs_that_cannot_answer_together(ptune, finished):
    done = ptune("predict", f"run={finished / 'stars'},{finished / 'tuned'}")
    assert done.err == f"{finished / 'tuned'}: tunes the backbone (bitfit); run it separately"
    done = ptune("predict", f"run={finished / 'stars'},{finished / 'names'}", "submission=true")
    assert done.err == "run: a submission takes a single run"


def test_commas_in_the_names_of_folders(tmp_path, monkeypatch):
    """As Hydra gives them to the jobs of a sweep."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "lr=1,seed=2", "lr=1,seed=3"):
        (tmp_path / name).mkdir()
    assert folders("lr=1,seed=2") == ["lr=1,seed=2"]
    assert folders("a,lr=1,seed=2,lr=1,seed=3") == ["a", "lr=1,seed=2", "lr=1,seed=3"]
    assert folders("a,nowhere") == ["a", "nowhere"]
