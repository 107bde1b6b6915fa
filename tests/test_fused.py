"""hydra/launcher=fused: what trains side by side, that it trains as alone, and what becomes of groups that break."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hydra_plugins.ptune.fused import FusedLauncher, bytes_needed, free, group_jobs, group_lines
from hydra_plugins.ptune.sweep import halves
from omegaconf import OmegaConf

from ptune import build, loop, training, training_run
from ptune.commands import train
from ptune.errors import PrunedError
from ptune.progress import Progress
from ptune.runs.folder import RunFolder
from ptune.sweeps.jobs import Job
from ptune.where import Where

SMALL = [
    "data=demo",
    "task=conll03",
    "backbone=tiny_encoder",
    "data.demo.train=40",
    "data.demo.dev=8",
    "data.demo.test=8",
    "tracker=none",
]
SURE = ["+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "method.head.dropout=0.0"]
FUSED = ["train", "-m", "hydra/launcher=fused", "hydra.sweep.dir=out"]


@pytest.fixture
def job(settings, tmp_path):
    """job(3, "seed=2", ...): a job of that number."""

    def make(number: int, *words: str) -> Job:
        s = settings("method=ptv2", "prompt_length.value=4", *SMALL[:3], "optim.lr=0.01", *words)
        return Job(number, None, [*words], tmp_path / str(number), s)

    return make


def plan(jobs: list[Job], most: int = 99) -> tuple[list[list[int]], dict[str, list[int]]]:
    groups, reasons = group_jobs(jobs, lambda settings: most)
    return [[j.number for j in group] for group in groups], {why: [j.number for j in js] for why, js in reasons.items()}


@pytest.mark.slow
def test_what_trains_side_by_side(job):
    """Runs that differ in what they have of their own; another task, backbone or corpus is another group."""
    own = ["seed=2", "optim.lr=0.1", "prompt_length.value=9", "method=prompt_tuning", "batch_size=8", "epochs=3"]
    jobs = [
        job(0),
        *(job(i, word) for i, word in enumerate(own, 1)),
        job(7, "task=wnut17"),
        job(8, "task=wnut17", "seed=2"),
    ]
    assert plan(jobs) == ([[0, 1, 2, 3, 4, 5, 6], [7, 8]], {})
    for word in ("data.seed=3", "precision=bfloat16", "data.max_train=20", "deterministic=false", "time_limit=5"):
        assert plan([job(0), job(1, "seed=2"), job(2, word)]) == ([[0, 1]], {"nothing to share": [2]}), word


def test_layers_that_are_cached_are_those_below_the_prompts(job):
    """Of one group the same ones: with them dropout is left out. Without the cache other layers are no other group."""
    layers = ["method.prompt.layers=3-4", "method.prompt.layers=4", "method.prompt.layers=4"]
    for cached, groups in (("true", ([[1, 2]], {"nothing to share": [0]})), ("false", ([[0, 1, 2]], {}))):
        jobs = [job(i, word, f"seed={i}", f"cache_layers={cached}") for i, word in enumerate(layers)]
        assert plan(jobs) == groups


def test_what_runs_alone(job):
    """And why."""
    jobs = [job(0), job(1, "method=finetune"), job(2, "method=majority"), job(6, "seed=6"), job(7, "method=bitfit")]
    groups, reasons = plan(jobs)
    assert groups == [[0, 6]]
    assert reasons == {
        "tunes the backbone (finetune)": [1],
        "not a single training run (majority)": [2],
        "tunes the backbone (bitfit)": [7],
    }
    assert [*group_lines(*group_jobs(jobs, lambda settings: 99))][:2] == [
        "jobs 0, 6: 2 runs side by side, conll03 with tiny_encoder",
        "job 1: alone (tunes the backbone (finetune))",
    ]


@pytest.mark.parametrize("published", [False, True])
def test_runs_that_read_padding_run_alone(job, settings, deberta_v2_folder, published):
    """How much there is depends on the rows beside theirs."""
    words = ["backbone=local", f"backbone.path={deberta_v2_folder}", "compat=ptv2_official", "optim.lr=0.01"]
    words += [] if published else ["compat.padding=null"]
    jobs = [job(number, *words, f"seed={number}") for number in (1, 2)]
    groups, reasons = plan(jobs)
    assert (groups, [*reasons.values()]) == (([], [[1, 2]]) if published else ([[1, 2]], []))


def test_memory_splits_a_group(job):
    """Into groups of nearly the same size."""
    jobs = [job(i, f"seed={i}") for i in range(7)]
    assert plan(jobs, most=3) == ([[0, 1, 2], [3, 4, 5]], {"memory": [6]})
    assert plan(jobs, most=4) == ([[0, 1, 2, 3], [4, 5, 6]], {})
    assert plan(jobs, most=1) == ([], {"memory": list(range(7))})


@pytest.mark.slow
def test_memory_of_a_run(job):
    """Twice the batch, or none of the layers forgotten, is twice the memory."""
    one = job(0, "data.max_length=64", "batch_size=8").settings
    assert bytes_needed(job(0, "data.max_length=64", "batch_size=16").settings) == 2 * bytes_needed(one)
    assert bytes_needed(job(0, "data.max_length=64", "batch_size=16", "accumulate=2").settings) == bytes_needed(one)
    assert bytes_needed(job(0, "data.max_length=64", "batch_size=16", "batch_tokens=480").settings) == bytes_needed(one)
    assert (
        bytes_needed(job(0, "data.max_length=64", "batch_size=8", "precision=bfloat16").settings)
        == bytes_needed(one) / 2
    )
    assert bytes_needed(one) == 8 * 68 * (14 * 128 + 2 * 4 * 68) * 4 * 4
    assert free(one) > bytes_needed(one)


@pytest.mark.parametrize("again", ["false", "true"])
@pytest.mark.parametrize(
    "words",
    [
        *(["method=ptv2"], ["method=ptv2", "method.tune=bias"], ["method=lora"], ["method=finetune"]),
        *(["method=ptv2", "+backbone.quantize=int8"], ["method=ptv2", "+backbone.quantize=int4"]),
        *(["method=ptv2", "backbone=tiny_encoder_decoder"], ["method=ptv2", "backbone=tiny_causal"]),
    ],
    ids=" ".join,
)
def test_settings_tell_what_the_model_does(settings, words, again):
    """How many micro-batches a step has is decided before there is a model to ask."""
    if any("quantize" in word for word in words):
        pytest.importorskip("bitsandbytes")
    line = ["task=rte", "data=demo", "device=cpu", "optim.lr=0.01", f"gradient_checkpointing={again}"]
    line += ["prompt_length.value=4"] if "method=ptv2" in words else []
    line += [] if any(word.startswith("backbone=") for word in words) else ["backbone=tiny_encoder"]
    s = settings(*line, *words)
    assert build.assemble([s], build.leaf(s.task)).runs_in_threads == build.runs_in_threads(s)


def test_memory_of_rows_and_layers(job):
    """A row a candidate, layers of a decoder, and the words that are compared at each token that is written."""
    one = bytes_needed(job(0, "task=rte", "data.max_length=64").settings)
    assert bytes_needed(job(0, "task=copa", "data.max_length=64").settings) == 2 * one
    assert bytes_needed(job(0, "task=record", "data.max_length=64").settings) == 12 * one
    masks = ["method/head=verbalizer", "method/template=pattern", "data.max_length=64"]
    assert bytes_needed(job(0, "task=record", *masks).settings) == one, "entities compete at the masks of a row"
    both = job(0, "task=rte", "backbone=tiny_encoder_decoder", "data.max_length=64").settings
    own = both.backbone
    of_layer = 68 * (14 * own["hidden"] + 2 * own["heads"] * 68) * 4
    assert bytes_needed(both) == both.batch_size * of_layer * (own["layers"] + own["decoder_layers"])
    writes = job(0, "task=rte", "backbone=tiny_encoder_decoder", "data.max_length=64", "method/head=generate").settings
    assert bytes_needed(writes) == bytes_needed(both) + both.batch_size * 16 * own["vocab"] * 8


@pytest.mark.parametrize("threads", [2, 8])
def test_passes_at_once_take_memory(job, monkeypatch, threads):
    """On a CPU one a thread, however many runs there are; where passes are joint, one a run."""
    monkeypatch.setattr("ptune.threads.all_threads", lambda: threads)
    s = job(0, "device=cpu").settings
    joint = job(0, "device=cpu", "gradient_checkpointing=true").settings
    found = {n: FusedLauncher(runs=30, memory=(n + 0.5) * bytes_needed(s) / 1e9).fit(s) for n in (0, 1, 4, 8, 40)}
    assert found == {0: 1, 1: 1, 4: 30 if threads == 2 else 4, 8: 30, 40: 30}
    assert FusedLauncher(runs=30, memory=8.5 * bytes_needed(joint) / 1e9).fit(joint) == 8


def test_halves():
    assert halves([1, 2]) == [[1], [2]]
    assert halves([1, 2, 3]) == [[1], [2, 3]]
    assert halves([1, 2, 3, 4]) == [[1, 2], [3, 4]]


def lines(folder: Path, event: str, *keys: str) -> list[list[Any]]:
    """Some figures of each step or evaluation."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[one[key] for key in keys] for one in found if one["event"] == event]


@pytest.mark.parametrize("sure", [SURE, []], ids=["no dropout", "dropout"])
def test_runs_of_a_group_are_those_alone(sure, ptune, tmp_path):
    """Twenty steps in float32: lengths, prompts, rates, seeds, batches, dropout and ends of their own."""
    runs = [
        ("ptv2", "prompt_length.value=3", "optim.lr=0.01", "eval_every=6", "max_steps=20"),
        ("ptv2", "prompt_length.value=8", "optim.lr=0.05", "seed=2", "patience=1", "eval_every=4", "max_steps=20"),
        ("prompt_tuning", "prompt_length.value=5", "optim.lr=0.1", "batch_size=8", "eval_every=6", "max_steps=11"),
    ]
    common = [*SMALL, *sure, "epochs=7"]
    experiments = tmp_path / "conf/experiment"
    experiments.mkdir(parents=True)
    for number, (method, *words) in enumerate(runs):
        head = f"# @package _global_\ndefaults:\n  - override /method: {method}\n"
        (experiments / f"run{number}.yaml").write_text(head + OmegaConf.to_yaml(OmegaConf.from_dotlist(words)))
    done = ptune(*FUSED, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=run0,run1,run2", *common)
    assert done.code == 0, done.err
    assert "jobs 0, 1, 2: 3 runs side by side, conll03 with tiny_encoder" in done.err
    for number in range(3):
        alone = ptune(
            "train",
            f"hydra.searchpath=[file://{tmp_path / 'conf'}]",
            f"experiment=run{number}",
            *common,
            f"hydra.run.dir=alone{number}",
        )
        assert alone.code == 0, alone.err
        here, there = tmp_path / f"out/experiment-run{number}", tmp_path / f"alone{number}"
        ours, theirs = (
            lines(folder, "step", "step", "loss", "grad_norm", "lr", "examples") for folder in (here, there)
        )
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one == pytest.approx(other, abs=1e-5, rel=1e-5)
        ours, theirs = (lines(folder, "eval", "step", "selected", "best") for folder in (here, there))
        assert ours == theirs
        results = [json.loads((folder / "result.json").read_text()) for folder in (here, there)]
        for key in ("score", "interval", "steps", "selected", "parameters", "identity"):
            assert results[0][key] == results[1][key], key
        assert [result["fused"] for result in results] == [3, 1]
        assert (here / "log.txt").is_file()
        stored = [
            [json.loads(line) for line in (f / "predictions.jsonl").read_text().splitlines()] for f in (here, there)
        ]
        assert [row["prediction"] for row in stored[0]] == [row["prediction"] for row in stored[1]]


BROKEN = """
import os
from ptune import session
from ptune.heads.linear import Linear

class Shy(Linear):
    heads = set()

    def loss(self, hidden, batch):
        Shy.heads.add(id(self))
        if len(Shy.heads) > 1:
            HOW
        return super().loss(hidden, batch)
"""


@pytest.mark.parametrize("how", [pytest.param("raise RuntimeError('shy')", marks=pytest.mark.slow), "os._exit(9)"])
def test_a_group_that_breaks_goes_on_in_halves(how, ptune, tmp_path, monkeypatch):
    """Whether by an exception or an end without a word; in the end each run alone, in a process of its own."""
    (tmp_path / "shy.py").write_text(BROKEN.replace("HOW", how))
    monkeypatch.syspath_prepend(tmp_path)
    done = ptune(
        *FUSED, *SMALL, "max_steps=2", "seed=1,2,3", "packages=[shy]", "method.head._target_=shy.Shy", "optim.lr=0.01"
    )
    assert done.code == 0, done.err
    assert "warning: jobs 0, 1, 2 together: " in done.err
    assert "retrying them in halves" in done.err
    assert "warning: jobs 1, 2 together: " in done.err
    assert "retrying them one by one" in done.err
    results = [json.loads((tmp_path / f"out/seed-{seed}/result.json").read_text()) for seed in (1, 2, 3)]
    assert [result["fused"] for result in results] == [1, 1, 1]


def test_what_has_ended_is_not_trained_again(settings, tmp_path):
    """In halves of a group that broke at its end, or where a search goes on: finished runs and pruned ones."""
    common = ["method=ptv2", "prompt_length.value=4", *SMALL, "max_steps=2", "optim.lr=0.01", "quiet=true"]
    jobs = [(settings(*common, f"seed={seed}"), tmp_path / str(seed), []) for seed in (1, 2, 3)]
    (score,) = train.train_together(jobs[:1], True)
    RunFolder(jobs[1][1]).write_json("pruned.json", {"why": "behind"})
    kept = (tmp_path / "1/result.json").read_bytes()
    first, second, third = train.train_together(jobs, True)
    assert first == score
    assert (tmp_path / "1/result.json").read_bytes() == kept
    assert isinstance(second, PrunedError)
    assert str(second) == "already pruned: behind"
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["pruned.json"]
    assert isinstance(third, float)


class Behind:
    """An observer that is never pleased."""

    def evaluated(self, history: Any) -> str:
        return "behind"


class Stopped(BaseException):
    """What ends a group here as a power cut would."""


def test_a_pruned_run_stays_so_where_its_group_is_cut_off(settings, tmp_path, monkeypatch):
    """It was over before: started again, the group goes on without it."""
    common = [
        "method=ptv2",
        "prompt_length.value=4",
        *SMALL,
        "max_steps=6",
        "eval_every=2",
        "optim.lr=0.01",
        "quiet=true",
    ]
    pruned = settings(*common, "packages=[test_fused]", "+observer={_target_: test_fused.Behind}")
    other = settings(*common, "packages=[test_fused]", "seed=2")
    jobs = [(pruned, tmp_path / "1", []), (other, tmp_path / "2", [])]
    update = loop.update

    def cut(run: training_run.Run, *rest: Any) -> None:
        if run.step == 3:
            raise Stopped
        update(run, *rest)

    monkeypatch.setattr(loop, "update", cut)
    with pytest.raises(Stopped):
        train.train_together(jobs, True)
    monkeypatch.setattr(loop, "update", update)
    first, second = train.train_together(jobs, True)
    assert str(first) == "already pruned: behind"
    assert isinstance(second, float)
    assert [step for (step,) in lines(tmp_path / "1", "step", "step")] == [1, 2]
    assert json.loads((tmp_path / "1/pruned.json").read_text())["step"] == 2


SAVES = [0, 3, 6, None]  # checkpoints before a group is cut off, of the tests that are not slow


@pytest.mark.parametrize(
    "saves", [*SAVES, *(pytest.param(n, marks=pytest.mark.slow) for n in range(10) if n not in SAVES)], ids=str
)
def test_a_group_of_joint_passes_goes_on_from_one_step(saves, settings, tmp_path, monkeypatch):
    """What a pass draws depends on who is in it: wherever the group is cut off, it ends as if it had not been."""
    common = ["method=ptv2", *SMALL, "optim.lr=0.01", "quiet=true"]
    given = (
        "seed=1 eval_every=2 max_steps=4 prompt_length.value=4",
        "seed=2 eval_every=3 max_steps=7 prompt_length.value=9",
    )
    runs = [settings(*common, *words.split()) for words in given]
    monkeypatch.setattr("ptune.model.Model.runs_in_threads", False)

    def together(folder: Path) -> None:
        train.train_together([(deepcopy(s), folder / str(i), []) for i, s in enumerate(runs)], True)

    together(tmp_path / "whole")
    save, left = RunFolder.save_checkpoint, [None] * (99 if saves is None else saves)

    def cut(self: RunFolder, *rest: Any) -> None:
        if not left:
            raise Stopped
        left.pop()
        save(self, *rest)

    def ended(*_: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", cut)
        patch.setattr(training, "final_figures", ended)
        with pytest.raises(Stopped):
            together(tmp_path / "cut")
    taken: list[int] = []
    update = loop.update
    monkeypatch.setattr(loop, "update", lambda run, *rest: taken.append(run.member) or update(run, *rest))
    together(tmp_path / "cut")
    assert saves is not None or not taken
    for run in "01":
        for event, keys in (("step", ("step", "loss", "grad_norm")), ("eval", ("step", "selected", "best"))):
            assert lines(tmp_path / "cut" / run, event, *keys) == lines(tmp_path / "whole" / run, event, *keys)
        ends = [(tmp_path / name / run / "tuned.safetensors").read_bytes() for name in ("cut", "whole")]
        assert ends[0] == ends[1]


def test_a_run_waits_for_one_that_is_new_beside_it(settings, tmp_path, monkeypatch):
    """It has been further, and is not trained again."""
    common = ["method=ptv2", "prompt_length.value=4", *SMALL, "max_steps=8", "eval_every=2", "quiet=true"]
    jobs = [(settings(*common, f"seed={seed}", "optim.lr=0.01"), tmp_path / str(seed), []) for seed in (1, 2)]
    monkeypatch.setattr("ptune.model.Model.runs_in_threads", False)
    update = loop.update

    def cut(run: training_run.Run, *rest: Any) -> None:
        if run.step == 7:
            raise Stopped
        update(run, *rest)

    monkeypatch.setattr(loop, "update", cut)
    with pytest.raises(Stopped):
        train.train_together(deepcopy(jobs[:1]), True)
    before = lines(tmp_path / "1", "step", "step", "loss")[:6]
    monkeypatch.setattr(loop, "update", update)
    train.train_together(jobs, True)
    assert lines(tmp_path / "1", "step", "step", "loss")[:6] == before
    assert [len(lines(tmp_path / seed, "step", "step")) for seed in "12"] == [8, 8]


def test_a_pruned_run_is_known_by_its_checkpoint(settings, tmp_path, monkeypatch):
    """Killed before that is written down it is over all the same; asked to go on it does."""
    words = ["method=ptv2", "prompt_length.value=4", *SMALL, "max_steps=6", "eval_every=2", "optim.lr=0.01"]
    s = settings(*words, "quiet=true", "packages=[test_fused]", "+observer={_target_: test_fused.Behind}")
    folder, prune = RunFolder(tmp_path / "run"), training.write_pruned

    def cut(*_: Any) -> None:
        raise Stopped

    def go_on(again: bool = False) -> dict[str, Any]:
        stored = train.stored_settings(folder.path, Where(folder.path), ["test_fused"])
        if again:
            stored.observer = {}
        return train.run(stored, folder, Where(folder.path), Progress(True), again)

    monkeypatch.setattr(training, "write_pruned", cut)
    with pytest.raises(Stopped):
        train.run(s, folder, Where(folder.path), Progress(True))
    monkeypatch.setattr(training, "write_pruned", prune)
    with pytest.raises(PrunedError):
        go_on()
    assert [step for (step,) in lines(folder.path, "step", "step")] == [1, 2]
    session = train.Session
    monkeypatch.setattr(train, "Session", cut)
    with pytest.raises(Stopped):  # what cannot begin leaves it pruned
        go_on(again=True)
    assert folder.pruned
    monkeypatch.setattr(train, "Session", session)
    assert go_on(again=True)["steps"] == 6
    assert not folder.file("pruned.json").exists()


@pytest.mark.slow
def test_a_run_that_diverges_leaves_the_others(ptune, tmp_path):
    """The sweep goes on, and says which failed."""
    done = ptune(*FUSED, *SMALL, *SURE, "max_steps=4", "optim.lr=1e30,0.01,0.02", "optim.clip=null")
    assert done.code == 1
    assert "job 0 (optim.lr=1e+30) failed (nan): " in done.err
    assert "A lower optim.lr" in done.err
    assert not (tmp_path / "out/optim.lr-1e+30/result.json").exists()
    for rate in (0.01, 0.02):
        assert json.loads((tmp_path / f"out/optim.lr-{rate}/result.json").read_text())["steps"] == 4
