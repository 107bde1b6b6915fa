"""SuperGLUE's average in ptune report: of the eight tasks, of runs that are alike, never of fewer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from command_line import Result

RUN: dict[str, Any] = {
    "method": "ptv2",
    "tune": "none",
    "backbone": "roberta_base",
    "prompt_length": 3,
    "synthetic": False,
    "select_on": "dev",
    "report_on": "dev",
    "selected_on_reported": True,
    "interval": [40.0, 60.0],
    "majority": 50.0,
    "steps": 100,
    "parameters": {"trained": 1000, "stored": 1000, "bytes": 4000},
    "seconds": {"training": 1.5},
    "data": {"source": "hub"},
}
# Scores of each task's run with seed 1; with seed 2 each is 2 higher. Two-metric tasks: (60 + 40) / 2 = 50.
SUPERGLUE = {
    "boolq": {"accuracy": 70.0},
    "cb": {"accuracy": 60.0, "f1_macro": 40.0},
    "copa": {"accuracy": 55.0},
    "multirc": {"f1a": 60.0, "em": 20.0, "f1m": 99.0},
    "record": {"f1": 31.0, "em": 30.0},
    "rte": {"accuracy": 64.0},
    "wic": {"accuracy": 62.0},
    "wsc": {"accuracy": 63.5},
}


@pytest.fixture
def superglue(tmp_path) -> Callable[..., None]:
    """superglue(method="ptv2", ...): runs of the eight tasks with seeds 1 and 2, but those that are left out."""

    def write(*without: str, folder: str = "glue", config: dict | None = None, **changed: object) -> None:
        for task, scores in SUPERGLUE.items():
            for seed in (1, 2):
                if f"{task}{seed}" in without or task in without:
                    continue
                best = {name: score + 2 * (seed - 1) for name, score in scores.items()}
                metric = next(iter(scores))
                made = {**RUN, "task": task, "seed": seed, "metric": metric, "score": best[metric]}
                made["best"] = {"report": best}
                made["last"] = {"report": {name: score - 1 for name, score in best.items()}}
                path = tmp_path / "all" / folder / f"{task}{seed}"
                path.mkdir(parents=True)
                (path / "result.json").write_text(json.dumps({**made, **changed}), encoding="utf-8")
                if config is not None:
                    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    return write


def said_of_superglue(ptune: Callable[..., Result], **words: str) -> list[str]:
    """The lines of a report on SuperGLUE's average."""
    found = ptune("report", "all", *(f"{key}={value}" for key, value in words.items()))
    assert found.code == 0, found.err
    return [line for line in found.out.splitlines() if "SuperGLUE average" in line]


def test_superglue_average(ptune, superglue):
    """Of the eight tasks' scores: two metrics averaged first, then seeds, then tasks; in every format."""
    superglue()
    tasks = (70, 50, 55, 40, 30.5, 64, 62, 63.5)
    best, last = sum(tasks) / 8 + 1, sum(tasks) / 8  # a point for the mean of the seeds; the last evaluation is 1 lower
    of = "ptv2, roberta_base, P 3, dev (selected on)"
    line = f"SuperGLUE average of {of}: {best:.2f} (last {last:.2f}); 8 tasks, 2 seeds each"
    assert said_of_superglue(ptune) == said_of_superglue(ptune, format="markdown") == [line]
    table = list(csv.DictReader(io.StringIO(ptune("report", "all", "format=csv").out)))
    assert [row["task"] for row in table].count("SuperGLUE average") == 1
    assert (table[-1]["score"], table[-1]["last"], table[-1]["P"]) == (f"{best:.2f}", f"{last:.2f}", "3")
    assert table[-1]["metric"] == "dev (selected on); 8 tasks, 2 seeds each"


def test_superglue_average_with_other_numbers_of_seeds(ptune, superglue):
    """Each task counts once, however many seeds it has."""
    superglue("cb2")
    tasks = (71, 50, 56, 41, 31.5, 65, 63, 64.5)
    assert said_of_superglue(ptune)[0].endswith(
        f": {sum(tasks) / 8:.2f} (last {sum(tasks) / 8 - 1:.2f}); 8 tasks, 1 to 2 seeds each"
    )


def test_no_superglue_average_of_fewer_tasks(ptune, superglue):
    """What is lacking is said; a task with a seed in two groups would be a mean of other settings."""
    superglue("boolq", "record")
    (line,) = said_of_superglue(ptune)
    assert line.endswith(": none; no run of boolq, record")
    table = list(csv.DictReader(io.StringIO(ptune("report", "all", "format=csv").out)))
    assert (table[-1]["task"], table[-1]["score"]) == ("SuperGLUE average", "")
    others = ("boolq", "record", "rte", "wic", "wsc", "copa", "multirc", "cb2")
    superglue(*others, folder="half", config={"precision": "bfloat16"})
    (line,) = said_of_superglue(ptune)
    assert line.endswith(": none; no run of boolq, record; several runs of cb with seed 1")


def test_superglue_average_counts_a_seed_once(ptune, superglue):
    """The run that ended last, as in the table above it."""
    superglue()
    (before,) = said_of_superglue(ptune)
    superglue(*(task for task in SUPERGLUE if task != "cb"), "cb2", folder="again")
    assert said_of_superglue(ptune) == [before]


def test_superglue_average_is_of_the_best_trials(ptune, superglue):
    """A search over one task leaves the average as it is, of the trial that is shown."""
    superglue(config={"optim": {"lr": 0.01}})
    (before,) = said_of_superglue(ptune)
    tried = {"config": {"optim": {"lr": 0.1}}, "score": 1.0}  # which selects
    superglue(*(task for task in SUPERGLUE if task != "cb"), folder="trial", **tried)
    assert said_of_superglue(ptune) == [before]


def test_a_single_task_is_no_superglue(ptune, superglue):
    """Runs of rte alone say nothing of the others."""
    superglue(*(task for task in SUPERGLUE if task != "rte"))
    assert said_of_superglue(ptune) == []


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"method": "ptv2"}, {"method": "finetune"}),
        ({"backbone": "bert_large_cased"}, {"backbone": "roberta_large"}),
        ({"prompt_length": 3}, {"prompt_length": 20}),
        ({"synthetic": True}, {"synthetic": False}),
        ({"select_on": "dev"}, {"select_on": "held_out"}),
        ({"config": {"data": {"max_train": 32}}}, {"config": {"data": {"max_train": None}}}),
        ({"config": {"data": {"layout": "fewglue"}}}, {"config": {"data": {"layout": None}}}),
        ({"config": {"protocol": "held_out"}}, {"config": {"protocol": "standard"}}),
        ({"weights": {"backbone": {"sha256": "a"}}}, {"weights": {"backbone": {"sha256": "b"}}}),
        ({"config": {"compat": {"pooler": None}}}, {"config": {"compat": {"pooler": "pretrained"}}}),
        (
            {"config": {"method": {"head": {"_target_": "ptune.heads.linear.Linear"}}}},
            {"config": {"method": {"head": {"_target_": "ptune.heads.verbalizer.Verbalizer"}}}},
        ),
    ],
)
def test_superglue_average_of_runs_that_are_alike(ptune, superglue, one, two):
    """Half of the tasks with one setting and half with another are no eight."""
    superglue(*[*SUPERGLUE][4:], folder="one", **one)
    superglue(*[*SUPERGLUE][:4], folder="two", **two)
    said = said_of_superglue(ptune)
    assert [line.partition(": ")[2] for line in said] == [
        "none; no run of record, rte, wic, wsc",
        "none; no run of boolq, cb, copa, multirc",
    ]


def test_superglue_average_of_two_groups(ptune, superglue):
    """Each group has its own; where the data is from and how long its texts are is a task's own matter."""
    superglue(folder="one", config={"data": {"max_length": 128, "source": "hub"}})
    superglue(folder="two", method="prompt_tuning")
    assert [line.split(",")[0] for line in said_of_superglue(ptune)] == [
        "SuperGLUE average of ptv2",
        "SuperGLUE average of prompt_tuning",
    ]
