"""Runs are grouped by what they share but for chance, never mixed, and a search shows its best by what selected it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from finished import RESULT, Write, writer

from ptune.errors import PtuneError
from ptune.reports import tables
from ptune.reports.results import best_trials, distinct_settings, group_runs, pruned_folders, runs
from ptune.sweeps.summary import show


@pytest.fixture
def write(tmp_path) -> Write:
    """See finished.writer."""
    return writer(tmp_path)


def weights(sha256: str | None, revision: str | None = None) -> dict[str, Any]:
    """What a result says of the weights that answered."""
    return {"tuned": "0", "backbone": {"checkpoint": "roberta-base", "revision": revision, "sha256": sha256}}


def names(folder: Path) -> list[list[str]]:
    """The runs of each group, by the names of their folders."""
    return [[run.folder.name for run in group.runs] for group in group_runs(runs(folder))]


def test_mean_and_deviation(write):
    """Over seeds, with ddof=1; a single run has no deviation."""
    for seed, score in ((1, 60.0), (2, 64.0), (3, 71.0)):
        folder = write(f"s{seed}", {"score": score, "last": {"report": {"accuracy": score - seed}}}, seed)
    write("t", {"task": "cb"})
    (group, single) = group_runs(runs(folder))
    assert (group.n, group.mean, group.unit) == (3, 65.0, "seed")
    assert group.std == pytest.approx(((25 + 1 + 36) / 2) ** 0.5)
    assert group.last.mean == 63.0
    assert (single.n, single.mean, single.std) == (1, 70.0, None)


FUSED = "seconds do not compare: runs trained 1, 2 or 8 at a time in one process (hydra/launcher=fused)"


def test_seconds_of_fused_runs_do_not_compare(ptune, write, capsys):
    """Said below tables with both kinds; what trains nothing, and a run made of stages, has no seconds to compare."""
    write("majority", {"method": "majority"}, method__name="majority")
    write("stages", {"fused": 4, "stages": {"one": {}}}, data__max_train=5)
    folder = write("one", {"fused": 8}, data__max_train=1)
    assert not any("seconds do not" in note for note in tables.notes(group_runs(runs(folder))))
    write("two", {"fused": 2}, data__max_train=2)
    write("three", {"fused": 1}, data__max_train=3)
    for by in ("run", "group"):
        assert FUSED in ptune("report", "runs", f"by={by}").out.splitlines()
    for run in folder.iterdir():
        (run / "env.json").write_text('{"overrides": []}', encoding="utf-8")
    show(folder)
    assert FUSED in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "changed",
    [
        {"result": {"synthetic": True}},
        {"result": {"data": {**RESULT["data"], "layout": "json"}}},
        {"result": {"data": {"files": {"train": {"path": "/a/train", "sha256": "2"}}}}},
        {"result": {"report_on": "dev"}},
        {"result": {"select_on": "held_out"}, "select_on": "held_out"},
        {"data__draw": 7},
        {"data__max_train": 32},
        {"compat__pooler": "pretrained"},
        {"epochs": 3},
        {"optim__lr": 0.1},
        {"loss__normalize": "batch"},
        {"method__prompt__length": 5},
    ],
)
def test_runs_that_are_never_mixed(write, changed):
    """Whatever differs beside the seed keeps runs apart, and is said."""
    write("one", seed=1)
    folder = write("two", seed=2, **changed)
    assert names(folder) == [["one"], ["two"]]
    groups = group_runs(runs(folder))
    assert distinct_settings(groups)[0] or groups[0].of != groups[1].of


@pytest.mark.parametrize(
    "changed",
    [
        {"accumulate": 2},
        {"data__root": "/elsewhere"},
        {"method__lr": 0.5},
        {"task__source__license": "changed"},
        {"result": {"data": {"files": {"train": {"path": "/b/train", "sha256": "1"}}}}},
    ],
)
def test_what_makes_no_difference(write, changed):
    """Where files are, and how a machine divides a step, is no setting of the experiment."""
    write("one", seed=1)
    assert names(write("two", seed=2, **changed)) == [["one", "two"]]


@pytest.mark.parametrize(
    ("one", "two"),
    [(weights("a" * 64), weights("b" * 64)), (weights(None, "c" * 40), weights(None, "d" * 40))],
    ids=["checksum", "revision"],
)
def test_other_weights_of_a_backbone_are_another_backbone(write, one, two):
    """Under one name, too; those of the prompt are each run's own."""
    write("one", {"weights": one}, seed=1)
    write("two", {"weights": two}, seed=2)
    folder = write("three", {"weights": {**one, "tuned": "1"}}, seed=3)
    assert names(folder) == [["one", "three"], ["two"]]
    groups = group_runs(runs(folder))
    assert [settings["weights"] for settings in distinct_settings(groups)] == [
        group.settings["weights"] for group in groups
    ]
    assert len(best_trials(groups)) == 2


def test_a_method_without_a_backbone_has_no_weights(write):
    """As a majority class."""
    folder = write("one", {"weights": {"tuned": None, "backbone": None}})
    assert group_runs(runs(folder))[0].settings["weights"] is None


def test_accumulation_matters_to_a_mean_of_means(write):
    """With loss.normalize=batch the objective depends on the micro-batches."""
    write("one", seed=1, loss__normalize="batch")
    assert names(write("two", seed=2, loss__normalize="batch", accumulate=2)) == [["one"], ["two"]]


def test_a_draw_that_follows_the_seed(write):
    """LM-BFF draws its examples by the seed: one group; draws 1 and 2 with one seed are two."""
    write("a", seed=13, data__draw=13)
    write("b", seed=21, data__draw=21)
    folder = write("c", seed=13, data__draw=5)
    write("d", seed=21, data__draw=5)
    assert names(folder) == [["a"], ["b"], ["c", "d"]]  # a mixture is taken apart by draw
    for name in ("c", "d"):
        (folder / name / "result.json").unlink()
    assert names(folder) == [["a", "b"]]


def test_several_splits(write):
    """FewNLU: the mean over held-out splits, each the mean of its seeds."""
    for split, seed, score in ((1, 1, 60.0), (1, 2, 70.0), (2, 1, 75.0)):
        folder = write(f"{split}{seed}", {"score": score}, seed, protocol="held_out", held_out_seed=split)
    (group,) = group_runs(runs(folder))
    assert (group.unit, group.n, group.mean) == ("split", 2, 70.0)
    assert group.std == pytest.approx(50**0.5)


@pytest.mark.parametrize(
    ("ended", "mean", "repeated"),
    [((100, 200), 70.0, "a"), ((200, 100), 30.0, "b"), ((100, 100), 70.0, "a")],
    ids=["in order", "the other way round", "at once"],
)
def test_a_seed_counts_once(write, ended, mean, repeated):
    """Of two runs of a seed the one that ended last counts, whatever its folder's name, and the other is known."""
    write("a", {"score": 10.0})
    write("b", {"score": 90.0})
    folder = write("c", {"score": 50.0}, seed=2)
    for name, when in zip("ab", ended, strict=True):
        os.utime(folder / name / "result.json", (when, when))
    (group,) = group_runs(runs(folder))
    assert (group.n, group.mean) == (2, mean)
    assert [run.folder.name for run in group.repeated] == [repeated]


def test_parts_of_runs_and_what_was_put_aside_are_no_runs(write):
    """But where they are asked for."""
    write("mpt2")
    write("mpt2/stages/joint", {"score": 1.0})
    folder = write("replaced/mpt2/1-1", {"score": 2.0})
    assert [run.folder for run in runs(folder)] == [folder / "mpt2"]
    assert [run.score for run in runs(folder / "replaced")] == [2.0]
    (folder / "mpt2" / "result.json").unlink()
    with pytest.raises(PtuneError, match="no finished run below"):
        runs(folder)


def test_no_cost_of_an_encoder_decoder_is_shown(write):
    """Where it is not known of one run, it is not of its group."""
    write("both", {"flop": None})
    write("more", {"flop": {"training": 2e12, "example": 1e9}}, seed=2)
    folder = write("causal", {"flop": {"training": 2e12, "example": 1e9}}, seed=1, epochs=3)
    assert {run.folder.name: tables.RUNS["FLOP"](run.row) for run in runs(folder)} == {
        "both": "",
        "more": "2.0e+12",
        "causal": "2.0e+12",
    }
    groups = {group.n: group for group in group_runs(runs(folder))}
    assert [tables.GROUPS["FLOP"](groups[n]) for n in (2, 1)] == ["", "2.0e+12"]
    assert tables.as_data(groups[2])["flop"] is None
    assert not any("FLOP" in note for note in tables.notes([groups[2]]))


def test_the_best_trial_is_chosen_by_what_selects(write):
    """Never by the reported score; on the seeds that all trials have; its space is said, and the edge it stands on."""
    for lr, selected, score in ((0.01, 80.0, 50.0), (0.1, 81.0, 40.0), (0.001, 70.0, 99.0)):
        folder = write(f"lr{lr}", {"score": score, "selected": selected}, optim__lr=lr)
    write("more", {"score": 41.0, "selected": 60.0}, seed=2, optim__lr=0.1)  # another seed of the best, and a bad one
    (best,) = best_trials(group_runs(runs(folder)))
    assert (best.settings["optim.lr"], best.n, best.mean) == (0.1, 2, 40.5)
    assert (best.trials, best.space, best.edge) == (3, {"optim.lr": [0.001, 0.01, 0.1]}, {"optim.lr": "largest"})


def test_a_best_trial_inside_its_space(write):
    """No edge where smaller and larger values were worse."""
    for lr, selected in ((0.01, 80.0), (0.1, 70.0), (0.001, 70.0)):
        folder = write(f"lr{lr}", {"selected": selected}, optim__lr=lr)
    (best,) = best_trials(group_runs(runs(folder)))
    assert best.edge == {}


def test_an_equal_trial_inside_its_space_is_no_edge(write):
    """As in search.json: with it, it says nothing that one of them lies on the edge."""
    for lr, selected in ((0.001, 80.0), (0.01, 80.0), (0.1, 70.0)):
        folder = write(f"lr{lr}", {"selected": selected}, optim__lr=lr)
    (best,) = best_trials(group_runs(runs(folder)))
    assert (best.settings["optim.lr"], best.edge) == (0.001, {})


def test_of_two_values_none_is_an_edge(write):
    """They have no inside, see space.FEW."""
    for lr, selected in ((0.01, 80.0), (0.1, 70.0)):
        folder = write(f"lr{lr}", {"selected": selected}, optim__lr=lr)
    (best,) = best_trials(group_runs(runs(folder)))
    assert (best.trials, best.edge) == (2, {})


def test_of_equal_trials_the_first_counts_whatever_their_order(write):
    """A report that sorts by the reported score does not select by it."""
    for name, score in (("a", 50.0), ("b", 99.0)):
        folder = write(name, {"score": score, "selected": 70.0}, optim__lr=score)
    for found in (runs(folder), runs(folder)[::-1]):
        assert [group.runs[0].folder.name for group in best_trials(group_runs(found))] == ["a"]


LR = {"optim.lr": {"low": 0.0001, "high": 0.1, "whole": False, "log": True}}


def tell(folder: Path, space: dict[str, Any], *trials: tuple[str, str, dict[str, Any]]) -> None:
    """A search.json of trials: (folder, state, params)."""
    told = [
        {"job": job, "state": state, "folder": name, "params": params}
        for job, (name, state, params) in enumerate(trials)
    ]
    (folder / "search.json").write_text(json.dumps({"space": space, "trials": told}), encoding="utf-8")
    for name, state, _ in trials:
        if state == "pruned":
            (folder / name).mkdir()
            (folder / name / "pruned.json").write_text("{}", encoding="utf-8")


def test_pruned_trials_count_and_widen_the_space(write):
    """What search.json tells: no edge where smaller values were tried, and pruned, and the search's own tie-break."""
    for name, lr, selected in (("a", 0.02, 80.0), ("b", 0.03, 80.0), ("c", 0.05, 70.0)):
        folder = write(name, {"selected": selected}, optim__lr=lr)
    (without,) = best_trials(group_runs(runs(folder)))
    assert (without.trials, without.runs[0].folder.name) == (3, "a")
    points = {"p": 0.0003, "b": 0.03, "q": 0.001, "a": 0.02, "c": 0.05}
    states = {name: "pruned" if name in "pq" else "complete" for name in points}
    tell(folder, LR, *((name, states[name], {"optim.lr": lr}) for name, lr in points.items()))
    found = runs(folder)
    (best,) = best_trials(group_runs(found))
    assert (best.trials, best.family.counts) == (5, {"complete": 3, "pruned": 2})
    assert best.space == {"optim.lr": [0.0003, 0.001, 0.02, 0.03, 0.05]}
    assert best.edge == {}
    assert best.runs[0].folder.name == "b"  # of equals the first job
    assert any(
        "best of 5 trials by dev (3 complete, 2 pruned); optim.lr 0.0003," in note for note in tables.notes([best])
    )
    assert "of 3 trials with a result, without 2 that have none" in tables.budgets_table([best]).notes[1]
    assert pruned_folders(folder, found) == []
    (folder / "search.json").unlink()
    assert pruned_folders(folder, runs(folder)) == [folder / "p", folder / "q"]


@pytest.mark.parametrize(("lr", "edge"), [(0.095, {"optim.lr": "largest"}), (0.05, {})])
def test_an_edge_is_that_of_the_space(write, lr, edge):
    """With its margin, whichever values were drawn."""
    for name, tried, selected in (("a", lr, 80.0), ("b", 0.01, 70.0), ("c", 0.001, 60.0)):
        folder = write(name, {"selected": selected}, optim__lr=tried)
    tell(
        folder, LR, *((name, "complete", {"optim.lr": tried}) for name, tried in (("a", lr), ("b", 0.01), ("c", 0.001)))
    )
    (best,) = best_trials(group_runs(runs(folder)))
    assert best.edge == edge
    assert any("optim.lr 0.095 is the largest of its space" in note for note in tables.notes([best])) == bool(edge)


def test_pruned_trials_are_those_of_their_family(write):
    """A search over what is no tuned setting has families of its own; a method's lr is the optimizer's."""
    for name, epochs, precision in (("a", 3, "x"), ("b", 3, "y")):
        folder = write(name, epochs=epochs, precision=precision)
    tell(
        folder,
        {"+precision": {"values": ["x", "y"]}, "method.lr": LR["optim.lr"]},
        ("a", "complete", {"+precision": "x", "method.lr": 0.01}),
        ("b", "complete", {"+precision": "y", "method.lr": 0.01}),
        ("p", "pruned", {"+precision": "y", "method.lr": 0.001}),
        ("", "failed", {"+precision": "y", "method.lr": 0.002}),
    )
    x, y = best_trials(group_runs(runs(folder)))
    assert (x.trials, y.trials) == (1, 3)
    assert y.family.counts == {"complete": 1, "pruned": 1, "failed": 1}
    assert y.space == {"optim.lr": [0.001, 0.002, 0.01]}
    assert tables.budgets_table([y]).rows == []


def test_a_damaged_search(write):
    folder = write("a")
    (folder / "search.json").write_text('{"space": {}, "trials": [{"job": 0}]}', encoding="utf-8")
    with pytest.raises(PtuneError, match=r"search\.json: damaged \(trials\.0\.state"):
        runs(folder)


def test_a_prompt_length_is_tuned_when_it_is_said_to_be(write):
    """Else every length is a row; what is made of it does not keep trials apart."""
    for length in (5, 10, 20):
        folder = write(
            f"p{length}",
            {"prompt_length": length, "selected": 60.0 + length},
            method__prompt__length=length,
            prompt_length__value=length,
            data__max_length=256 - length,
        )
    assert len(best_trials(group_runs(runs(folder)))) == 3
    (best,) = best_trials(group_runs(runs(folder), tuned=["prompt_length"]))
    assert (best.space, best.edge) == ({"prompt_length.value": [5, 10, 20]}, {"prompt_length.value": "largest"})


def test_what_differs_with_the_prompt_length_is_said(write):
    """Beside it, and without what follows from it."""
    for length, lr in ((5, 0.01), (20, 0.05)):
        folder = write(
            f"p{length}",
            {"prompt_length": length},
            method__prompt__length=length,
            prompt_length__value=length,
            data__max_length=256 - length,
            optim__lr=lr,
        )
    groups = sorted(group_runs(runs(folder)), key=lambda group: int(group.of["P"]))
    assert tables.differing(groups) == ["optim.lr 0.01", "optim.lr 0.05"]
    assert tables.differing(groups[:1]) == [""]


def test_seconds_of_stages_are_no_runs(write):
    """What the last stage took is not what the run did: no cost is shown rather than a part of it."""
    folder = write("mpt2", {"method": "mpt2", "stages": [{"name": "joint", "folder": "stages/joint"}]})
    write("ptv2")
    groups = group_runs(runs(folder))
    assert [tables.RUNS["seconds"](run.row) for run in runs(folder)] == ["", "1.5"]
    assert [tables.GROUPS["seconds"](group) for group in groups] == ["", "1.5"]
    assert [tables.as_data(group)["seconds"] for group in groups] == [None, 1.5]
    assert "no seconds or FLOP for runs made of stages: each stage has its own" in tables.notes(groups)
    assert not any("stages" in note for note in tables.notes(groups[1:]))


def test_damaged_files(write):
    """One line that names the file."""
    folder = write("one")
    (folder / "one" / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(PtuneError, match=r"result\.json: damaged \(Expecting"):
        runs(folder)
    with pytest.raises(PtuneError, match=r"there is no folder .*nowhere"):
        runs(folder / "nowhere")


@pytest.mark.parametrize(("name", "first"), [("parameters", "trained"), ("seconds", "training")])
def test_results_without_their_figures(write, name, first):
    folder = write("one")
    path = folder / "one" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), name: {}}), encoding="utf-8")
    with pytest.raises(PtuneError, match=rf"result\.json: damaged \({name}\.{first}: Field required\)"):
        runs(folder)
