"""hydra/sweeper=optuna: spaces, trials that go on where they were, pruning, edges, and the spaces that are shipped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser

from ptune import config
from ptune.errors import ConfigError, PtuneError
from ptune.sweeps import search, space
from ptune.sweeps.search import Search, Settings, Trial

CONF = Path(__file__).parent.parent / "conf"


def parameters(*words: str) -> list[space.Parameter]:
    return space.read(OverridesParser.create().parse_overrides([*words]))[0]


def points(word: str) -> list[str] | None:
    (one,) = parameters(word)
    each = one.each()
    return None if each is None else [one.text(value) for value in each]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("optim.lr=0.005,7e-3", ["0.005", "0.007"]),
        ("method=choice(ptv2,prefix)", ["ptv2", "prefix"]),
        ("epochs=range(10,40,10)", ["10", "20", "30"]),  # the end is no part of it, as in a grid
        ("optim.warmup=range(0,0.3,0.1)", ["0", "0.1", "0.2"]),
        ("epochs=range(30,0,-10)", ["10", "20", "30"]),
        ("epochs=int(interval(1,3))", ["1", "2", "3"]),
        ("optim.lr=interval(1,3)", None),
        ("+backbone.name='a b',c", ["'a b'", "c"]),
    ],
)
def test_a_space_in_hydras_grammar(word, values):
    assert points(word) == values


def test_magnitudes_and_what_all_trials_share():
    words = ["task=rte", "optim.lr=1,2", "optim.lr=tag(log,interval(1e-4,1e-1))", "epochs=tag(int,log,interval(4,128))"]
    (lr, epochs), shared = space.read(OverridesParser.create().parse_overrides(words))
    assert shared == ["task=rte"]
    assert (lr.log, lr.whole, epochs.log, epochs.whole) == (True, False, True, True)
    assert (lr.text(0.00123456789), epochs.text(17)) == ("0.00123457", "17")


REFUSED = {
    "seed=1,2": "seed: the best of several is luck, not a better setting; search with one of them, "
    "then train the best with seed=1,2",
    "task=rte": "nothing to search: give a key several values, such as optim.lr=1e-3,1e-2 or interval(1e-3,1e-1)",
    "epochs=range(3,3)": "epochs=range(3,3): an empty range; its end is excluded",
    "optim.lr=tag(lg,interval(1,2))": "optim.lr=tag(lg,interval(1,2)): no tag 'lg'; did you mean 'log'?",
    "optim.lr=tag(log,interval(0,1))": "optim.lr=tag(log,interval(0,1)): tag(log, ...) needs numbers above 0",
    "optim.lr=interval(2,1)": "optim.lr=interval(2,1): its end is below its start",
    "optim.lr=tag(log,choice(1,2))": "optim.lr=tag(log,choice(1,2)): tag(log, ...) is for interval() and range(); "
    "a choice is drawn evenly",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_is_no_space(word):
    with pytest.raises(ConfigError) as error:
        parameters(word)
    assert str(error.value) == REFUSED[word]


@pytest.mark.parametrize(
    ("word", "value", "end"),
    [
        ("batch_size=8,32,16", "32", "largest"),
        ("batch_size=8,32,16", "8", "smallest"),
        ("batch_size=8,32,16", "16", ""),
        ("batch_size=8,16", "16", ""),  # of two there is no inside
        ("method=ptv2,prefix,bitfit", "ptv2", ""),
        ("optim.lr=tag(log,interval(1e-4,1))", 0.8, "largest"),
        ("optim.lr=tag(log,interval(1e-4,1))", 0.5, ""),
        ("optim.lr=interval(0,1)", 0.04, "smallest"),
        ("epochs=range(10,40,10)", 30, "largest"),
        ("epochs=range(10,40,10)", 20, ""),
    ],
)
def test_edges(word, value, end):
    (one,) = parameters(word)
    assert one.edge(value) == end


def opened(folder: Path, *words: str, shared: tuple[str, ...] = ("task=rte",), **settings: Any) -> Search:
    folder.mkdir(exist_ok=True)
    return Search(folder, parameters(*words), shared, Settings(**settings))


def searched(folder: Path, *words: str, stop: int = 99, **settings: Any) -> list[list[str]]:
    """Search with scores that depend on the point alone; the points of this call, in their order."""
    tried: list[list[str]] = []
    with opened(folder, *words, **settings) as found:
        waiting = found.left()
        while len(tried) < stop and (batch := waiting.pop(0) if waiting else found.ask(1)):
            for planned in batch:
                tried.append(planned.words)
                found.tell(planned, folder / str(planned.job), score(planned.words))
        found.write()
    return tried


def score(words: list[str]) -> float:
    return -sum((float(word.partition("=")[2]) - 0.3) ** 2 for word in words)


TWO = ("optim.lr=interval(0,1)", "optim.warmup=interval(0,1)")


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_a_search_goes_on_as_if_it_had_not_stopped(sampler, tmp_path):
    """The same points as of one call, none twice, and nothing more once all are there."""
    whole = searched(tmp_path / "whole", *TWO, sampler=sampler, n_trials=13)
    parts = searched(tmp_path / "parts", *TWO, sampler=sampler, n_trials=13, stop=11)
    parts += searched(tmp_path / "parts", *TWO, sampler=sampler, n_trials=13)
    assert parts == whole
    assert len({tuple(words) for words in whole}) == 13
    assert searched(tmp_path / "parts", *TWO, sampler=sampler, n_trials=13) == []
    assert len(searched(tmp_path / "parts", *TWO, sampler=sampler, n_trials=14)) == 1


def test_every_point_of_a_grid_in_order(tmp_path):
    grid = ("optim.lr=0.1,0.2", "epochs=range(1,4)")
    assert searched(tmp_path, *grid, sampler="grid") == [
        [f"optim.lr={lr}", f"epochs={epochs}"] for lr in (0.1, 0.2) for epochs in (1, 2, 3)
    ]


def test_a_small_space_comes_to_its_end(tmp_path):
    """However much is asked for, each of its points is tried once."""
    tried = searched(tmp_path, "optim.lr=0.1,0.2,0.3", "epochs=1,2", n_trials=50)
    assert sorted(map(tuple, tried)) == [(f"optim.lr={lr}", f"epochs={n}") for lr in (0.1, 0.2, 0.3) for n in (1, 2)]


def test_what_failed_or_was_cut_off_runs_again(tmp_path):
    """Once a call, as the same job, and consecutive jobs together."""
    grid = ("epochs=1,2,3,4,5",)
    with opened(tmp_path, *grid, sampler="grid") as first:
        jobs = first.ask(5)
        assert [planned.job for planned in jobs] == [0, 1, 2, 3, 4]
        first.tell(jobs[0], None, None, "nan: the loss\nis not finite")
        first.tell(jobs[2], tmp_path, 1.0)
        assert first.ask(1) == []
        assert first.write()["counts"] == {"complete": 1, "pruned": 0, "failed": 1, "unfinished": 3}
    with opened(tmp_path, *grid, sampler="grid") as again:
        left = again.left()
        assert [[planned.job for planned in batch] for batch in left] == [[0, 1], [3, 4]]
        assert [planned.words for batch in left for planned in batch] == [[f"epochs={n}"] for n in (1, 2, 4, 5)]
        for planned in left[0] + left[1]:
            again.tell(planned, None, None, "oom: full")
        assert again.ask(1) == []
        assert [t.get("error") for t in again.write()["trials"]] == ["oom: full", "oom: full", None, *["oom: full"] * 2]


def test_a_folder_holds_one_search(tmp_path):
    searched(tmp_path, "epochs=1,2", n_trials=1)
    with pytest.raises(ConfigError, match=r"holds another search \(epochs\); choose another folder"):
        opened(tmp_path, "epochs=1,2,3")
    with pytest.raises(ConfigError, match="holds another search"):
        opened(tmp_path, "epochs=1,2", shared=("task=cb",))
    with (
        opened(tmp_path, "epochs=1,2", shared=("task=rte", "quiet=true"), pruner="none"),
        pytest.raises(PtuneError, match="another search is running there"),
    ):
        opened(tmp_path, "epochs=1,2")


def test_a_journal_that_was_cut_off_is_mended(tmp_path):
    """As by a full disk, in the middle of a line."""
    searched(tmp_path, "epochs=1,2,3", n_trials=2)
    with (tmp_path / search.JOURNAL).open("a") as file:
        file.write('{"op_code":5,"worker')
    assert len(searched(tmp_path, "epochs=1,2,3", n_trials=3)) == 1


def test_settings_that_do_not_hold(tmp_path):
    cases = {
        "hydra.sweeper.sampler: 'tpo' is not a choice; did you mean 'tpe'?": ("epochs=1,2", {"sampler": "tpo"}),
        "hydra.sweeper.n_trials: 0 is too small; at least 1": ("epochs=1,2", {"n_trials": 0}),
        "hydra.sweeper.sampler: a grid needs lists of values, but seeds is an interval; list values, or "
        "use sampler=tpe": (
            "seeds=interval(1,2)",
            {"sampler": "grid"},
        ),
        "hydra.sweeper.sampler: cmaes searches two or more intervals, but epochs is a choice; use sampler=tpe": (
            "epochs=1,2",
            {"sampler": "cmaes"},
        ),
    }
    for message, (word, settings) in cases.items():
        with pytest.raises(ConfigError) as error:
            opened(tmp_path, word, **settings)
        assert str(error.value) == message


def test_the_summary(tmp_path):
    """The best trial, the command that trains it again, and its edge, unless an equal lies inside."""
    with opened(tmp_path, "epochs=1,2,3,4", sampler="grid", shared=("task=rte", "sweep=ptv2_superglue")) as found:
        for planned, value in zip(found.ask(3), (70.0, 80.0, 60.0), strict=True):
            found.tell(planned, tmp_path / planned.words[0], value)
        inside = found.write()
        (last,) = found.ask(1)
        found.tell(last, tmp_path / "last", 90.0)
        edge = found.write()
    assert (inside["best"]["selected"], inside["best"]["folder"], inside["edge"]) == (80.0, "epochs=2", {})
    assert edge["edge"] == {"epochs": "largest"}
    command = "ptune train task=rte sweep=ptv2_superglue epochs=4 hydra.mode=RUN"
    assert edge["best"]["command"] == command
    assert json.loads((tmp_path / "search.json").read_text()) == edge
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["command"] == command
    said = [line for line, _ in search.summary_lines(edge)]
    assert said[0] == "search: 4 complete"
    assert said[1] == "best: 90.00 with epochs=4, in last"
    assert said[2] == "ON THE EDGE: epochs is the largest of the space; better values may lie outside, so widen it"
    with opened(tmp_path / "equal", "epochs=1,2,3", sampler="grid") as found:
        for planned in found.ask(3):
            found.tell(planned, tmp_path, 50.0)
        assert (found.write()["edge"], found.write()["equal"]) == ({}, [0, 1, 2])


def history(*scores: float) -> list[dict[str, Any]]:
    return [{"selected": value} for value in scores]


def test_a_trial_behind_the_median_is_ended(tmp_path):
    """After the first trials, and the first evaluations; the study has all scores."""
    told: list[str] = []
    with opened(tmp_path, "epochs=1,2,3,4,5", sampler="grid", startup=2, warmup=1) as found:
        first, second, third, fourth, _ = found.ask(5)
        path = str(tmp_path / search.JOURNAL)
        for planned, scores in ((first, (50, 60, 70)), (second, (50, 80, 90))):
            observer = Trial(path, planned.trial, told.append, tmp_path / "run")
            assert [observer.evaluated(history(*scores[: i + 1])) for i in range(3)] == [None] * 3
            found.tell(planned, None, float(max(scores)))
        behind = Trial(path, third.trial, told.append, tmp_path / "run")
        assert behind.evaluated(history(10)) is None
        assert behind.evaluated(history(10, 60)) == "behind other trials at evaluation 2 (pruner median)"
        ahead = Trial(path, fourth.trial, told.append, tmp_path / "run")
        assert ahead.evaluated(history(10)) is None
        assert ahead.evaluated(history(10, 75)) is None
        (tmp_path / "run").mkdir()
        (tmp_path / "run/pruned.json").write_text("{}")
        assert found.tell(third, tmp_path / "run", None) == "pruned"
        assert behind.evaluated(history(10, 60, 61)) is None  # resumed by hand
        trials = found.write()["trials"]
        assert [trial["evaluations"] for trial in trials] == [[50, 60, 70], [50, 80, 90], [10, 60], [10, 75], []]
        assert [trial["selected"] for trial in trials] == [70.0, 90.0, None, None, None]
    assert told == []


def test_a_study_that_is_gone_ends_no_run(tmp_path):
    told: list[str] = []
    observer = Trial(str(tmp_path / search.JOURNAL), 0, told.append, tmp_path / "run")
    assert [observer.evaluated(history(1)), observer.evaluated(history(1, 2))] == [None, None]
    assert len(told) == 1
    assert told[0].endswith("no such study; the run continues without reporting to its search")
    assert [*tmp_path.iterdir()] == []


def test_a_study_that_is_elsewhere_is_not_written_to(tmp_path):
    """As a stranger's run may name: an empty file, or one of one line, would be added to."""
    told: list[str] = []
    for place in ("keys", f"other/{search.JOURNAL}"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("ssh-ed25519 AAAA me\n")
        Trial(str(path), 0, told.append, tmp_path / "sweep/run").evaluated(history(1))
        assert path.read_text() == "ssh-ed25519 AAAA me\n"
        assert [each.name for each in path.parent.iterdir() if each.is_file()] == [path.name]
    assert ["not the study.journal of a sweep" in line for line in told] == [True, True]


class Strict:
    """Ends a run at its second evaluation, and at every later one."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def evaluated(self, history):
        self.seen.append(len(history))
        return "enough" if len(history) > 1 else None


def test_an_observer_ends_one_run_of_several(settings, wire):
    """After the evaluation is recorded and the checkpoint written; not a run that is at its end anyway."""
    own = ["task=rte", "backbone=tiny_encoder", "data=demo", "method=linear_probe", "batch_size=4", "epochs=4"]
    wired = wire(*(settings(*own, f"seed={seed}") for seed in (1, 2, 3)))
    wired.runs[0].observer, wired.runs[1].observer = Strict(), Strict()
    wired.runs[1].steps = 2 * wired.runs[1].steps_per_epoch
    ended, over, free = wired.fit()
    assert (ended.step, ended.stopper.pruned) == (2 * ended.steps_per_epoch, "enough")
    assert (over.step, over.stopper.pruned, over.observer.seen) == (over.steps, None, [1, 2])
    assert (free.step, free.stopper.pruned) == (free.steps, None)
    assert len(ended.recorder.values("loss")) == ended.step


SMALL = [
    "data=demo",
    "task=rte",
    "backbone=tiny_encoder",
    "method=linear_probe",
    "data.demo.train=16",
    "data.demo.dev=8",
    "data.demo.test=8",
    "data.max_length=24",
    "tracker=none",
    "epochs=2",
    "optim.lr=0.1,0.01,0.001",
    "hydra/launcher=basic",
    "hydra/sweeper=optuna",
    "hydra.sweeper.sampler=grid",
    "hydra.sweep.dir=out",
    "hydra.sweep.subdir=${hydra.job.num}",
]


class SecondTrial:
    """A pruner that takes offence at one trial."""

    def prune(self, study, trial):
        return trial.number == 1


def test_a_search_from_the_command_line(ptune, tmp_path, monkeypatch):
    """A pruned run has no result, the same command runs nothing again, and resume= takes the run to its end."""
    monkeypatch.setattr(search, "pruner", lambda **told: SecondTrial())
    done = ptune("train", "-m", *SMALL)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "out/search.json").read_text())
    assert found["counts"] == {"complete": 2, "pruned": 1, "failed": 0, "unfinished": 0}
    assert [trial["state"] for trial in found["trials"]] == ["complete", "pruned", "complete"]
    assert [len(trial["evaluations"]) for trial in found["trials"]] == [2, 1, 2]
    assert "search: 2 complete, 1 pruned" in done.out
    assert f"again: {found['best']['command']}" in done.out
    run = tmp_path / "out/1"
    assert not (run / "result.json").exists()
    told = json.loads((run / "pruned.json").read_text())
    assert (told["step"], told["steps"], told["evaluations"]) == (1, 2, 1)
    assert json.loads((run / "env.json").read_text())["overrides"] == [*SMALL[:10], "optim.lr=0.01"]
    assert "out/1" not in ptune("report", "out", "format=csv").out
    told = ptune("report", "out", "by=group")
    assert "best of 3 trials by dev (2 complete, 1 pruned)" in told.out, told.err
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/metrics.jsonl")}
    assert len(before) == 3
    again = ptune("train", "-m", *SMALL)
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/metrics.jsonl")} == before
    assert json.loads((tmp_path / "out/search.json").read_text()) == found
    on = ptune("train", f"resume={run}")
    assert on.code == 0, on.err
    assert "resuming from step 1 of 2" in on.err
    assert json.loads((run / "result.json").read_text())["steps"] == 2
    assert not (run / "pruned.json").exists()


def test_trials_that_fail_are_told(ptune, tmp_path):
    """Three of three: the search stops, and says so."""
    done = ptune("train", "-m", *SMALL[:-6], "optim.lr=0.1", "batch_size=-1,-2,-3,-4,-5", *SMALL[-5:])
    assert done.code != 0
    found = json.loads((tmp_path / "out/search.json").read_text())
    assert found["counts"]["failed"] == 3
    assert found["best"] is None
    assert "batch_size: -1 is too small" in found["trials"][0]["error"]
    assert "no trial is complete" in done.out


MAJORITY = [
    "train", "-m", "experiment=demo_majority", "tracker=none", "hydra/sweeper=optuna", "hydra.sweep.dir=out",
    *(f"data.demo.{split}=8" for split in ("train", "dev", "test")),
]  # fmt: skip


def test_a_search_with_failures_before_goes_on(ptune, tmp_path, monkeypatch):
    """Those run first, fail again, and new trials follow: one of the search has come to its end."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    words = [*MAJORITY, "hydra/launcher=basic", "hydra.sweeper.sampler=grid", "batch_size=4,-1,-2,-3,8"]
    assert ptune(*words, "hydra.sweeper.n_trials=4").code != 0
    found = json.loads((tmp_path / "out/search.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["complete", "failed", "failed", "failed"]
    assert ptune(*words, "hydra.sweeper.n_trials=5").code != 0
    found = json.loads((tmp_path / "out/search.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["complete", "failed", "failed", "failed", "complete"]


WRONG = {
    "hydra.sweeper.n_jobs=-1": "hydra.sweeper.n_jobs: -1 is too small; at least 1, or null",
    "hydra.sweeper.n_jobs=two": "hydra.sweeper.n_jobs: 'two' is not a valid integer",
    "hydra.sweeper.n_trials=many": "hydra.sweeper.n_trials: 'many' is not a valid integer",
    "hydra.sweeper.params=5": "hydra.sweeper.params: 5 is not a valid dictionary",
    "+hydra.sweeper.nope=1": "hydra.sweeper.nope: not a setting of ptune.sweeps.search.Settings; "
    "one of: n_trials, sampler, seed, pruner, startup, warmup",
}


@pytest.mark.parametrize("word", WRONG)
def test_settings_of_a_search_of_wrong_kinds(word, ptune, tmp_path):
    """One line, and nothing begins."""
    done = ptune(*MAJORITY, "batch_size=4,8", word)
    assert (done.code, done.err) == (2, WRONG[word])
    assert not (tmp_path / "out").exists()


PUBLISHED = sorted((CONF / "sweep").glob("*.yaml"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_space(path):
    """Says its source and how sure that is, and every corner of it holds."""
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any("arXiv" in line or "search_script" in line or "P-Tuning v2" in line for line in head)
    assert any("status read" in line or "unconfirmed" in line for line in head)
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"):
        composed = compose("train", [f"sweep={path.stem}"], return_hydra_config=True)
    assert composed.hydra.mode.name == "MULTIRUN"
    found = parameters(*(f"{key}={value}" for key, value in composed.hydra.sweeper.params.items()))
    corners = [[one.first for one in found], [(one.each() or [one.high])[-1] for one in found]]
    from ptune.commands.check import mistakes

    with initialize_config_module("ptune.conf", version_base="1.3"):
        for corner in corners:
            point = dict(zip((one.key for one in found), corner, strict=True))
            assert mistakes([f"sweep={path.stem}", *space.words(found, point)]) == []


def test_the_published_search_has_108_runs():
    params = yaml.safe_load((CONF / "sweep/ptv2_copa.yaml").read_text())["hydra"]["sweeper"]["params"]
    each = space.combinations(parameters(*(f"{key}={value}" for key, value in params.items())))
    assert each is not None
    assert len([*each]) == 108


def test_a_grid_of_an_interval_is_refused(ptune):
    done = ptune("train", "-m", "task=rte", "data=demo", "backbone=tiny_encoder", "optim.lr=interval(1,2)")
    assert done.code != 0
    assert done.err == ("interval(): a grid needs a list of values; list them, or search with hydra/sweeper=optuna")


def test_fused_trials_that_come_one_by_one_are_told_of(ptune):
    """A search asks for as many trials at a time as its n_jobs says, and one trial has nothing to be fused with."""
    done = ptune(*MAJORITY, "hydra/launcher=fused", "task=wnut17", "batch_size=8,16", "hydra.sweeper.n_trials=1")
    assert "hydra.sweeper.n_jobs: one trial at a time leaves nothing to fuse; for example, set 8" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "fused"])
def test_trials_in_other_processes(launcher, ptune, tmp_path, monkeypatch):
    """They tell the study by its file, and the sweep hears of those that were pruned."""
    for name, value in (("OMP_NUM_THREADS", "1"), ("PTUNE_CACHE", str(tmp_path / "cache"))):
        monkeypatch.setitem(os.environ, name, value)
    words = [word for word in SMALL if not word.startswith(("optim.lr", "hydra/launcher", "hydra.sweep.subdir"))]
    more = ["optim.lr=0.05,0.0,1e-9", "data.demo.train=400", "data.demo.dev=100", "epochs=4", "task=sst2"]
    pruning = ["hydra.sweeper.startup=1", "hydra.sweeper.warmup=2", "hydra.sweeper.n_jobs=2"]
    done = ptune("train", "-m", *words, *more, *pruning, f"hydra/launcher={launcher}")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "out/search.json").read_text())
    assert [trial["state"] for trial in found["trials"]] == ["complete", "complete", "pruned"]
    ledger = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    assert [event["state"] for event in ledger if event["state"] != "started"] == ["ok", "ok", "pruned"]
    assert "pruned after step" in done.err


def test_a_journal_says_no_words_of_its_own(tmp_path):
    """A trial that was cut off runs at its point of the space, whatever a stranger's journal has for it."""
    with opened(tmp_path, "optim.lr=0.1,0.2") as found:
        (planned,) = found.ask(1)
        trial = found.study.get_trials()[planned.trial]
        found.storage.set_trial_user_attr(trial._trial_id, "words", ["packages=[evil]", "method._target_=evil.Evil"])
    with opened(tmp_path, "optim.lr=0.1,0.2") as found:
        assert [one.words for group in found.left() for one in group] == [planned.words]
