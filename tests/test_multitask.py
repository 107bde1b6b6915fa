"""MPT-2: tasks share a prompt and nothing else, a step is of one task, and each then goes on alone from there."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from command_line import call

from ptune import build, loop
from ptune.checks import check
from ptune.data.rendered import MixedStream, shares
from ptune.leaves import leaf
from ptune.procedures.multitask import Multitask, further
from ptune.runs import stages
from ptune.runs.folder import RunFolder, read_checkpoint
from ptune.session import SINGLE

TINY = [
    *("train", "backbone=tiny_encoder", "data=demo", "data.demo.train=24", "data.demo.dev=8", "data.demo.test=8"),
    *("data.max_length=64", "batch_size=4", "prompt_length.value=3", "eval_every=3", "tracker=none", "quiet=true"),
]
TWO = [
    *TINY,
    *("method=mpt2", "task=conll04", "method.procedure.tasks=[conll03,conll04]", "method.procedure.epochs=2"),
    *("epochs=1", "accumulate=2", "method.procedure.data={conll03: {max_train: 12}}"),
]


def trained(folder: Path, *words: str) -> RunFolder:
    """A run folder of what the words say."""
    assert call(*words, f"hydra.run.dir={folder}") == 0
    return RunFolder(folder)


def learned(folder: RunFolder) -> dict[str, torch.Tensor]:
    """What a run's best checkpoint holds."""
    step = folder.read_json("result.json")["best"]["step"]
    return read_checkpoint(folder.file("checkpoints") / f"{step:08d}")[0]


def stage(folder: RunFolder, name: str) -> RunFolder:
    return RunFolder(folder.file("stages") / name)


class Watch:
    """What every training of a run begins with, and what each of its steps changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> None:
        self.begins: list[dict[str, torch.Tensor]] = []
        self.steps: list[tuple[set[str], set[str]]] = []  # sources and what changed
        fit, update = loop.fit, loop.update

        def fitted(runs, model, *about):
            self.begins.append({name: p.detach().clone() for name, p in runs[0].trained.items()})
            return fit(runs, model, *about)

        def updated(run, model, batches, *rest):
            if len(self.steps) == stop_at:
                raise KeyboardInterrupt
            before = {name: p.detach().clone() for name, p in run.trained.items()}
            update(run, model, batches, *rest)
            changed = {name for name, p in run.trained.items() if not torch.equal(p, before[name])}
            self.steps.append(({batch.source for batch in batches}, changed))

        monkeypatch.setattr(loop, "fit", fitted)
        monkeypatch.setattr(loop, "update", updated)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[RunFolder, Watch]:
    """A run on two tasks, watched."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        watch = Watch(monkeypatch)
        return trained(tmp_path_factory.mktemp("mpt2"), *TWO), watch


# What is drawn


class Counted:
    """A stream whose batches are their numbers."""

    def __init__(self, name: str, steps_per_epoch: int) -> None:
        self.name, self.steps_per_epoch = name, steps_per_epoch

    def __call__(self, step: int) -> list[tuple[str, int]]:
        return [(self.name, step)]


@pytest.mark.parametrize(("given", "lengths"), [([], [256, 504]), (["data.max_length=100"], [100, 100])])
def test_each_task_reads_texts_of_its_own_length(settings, given, lengths):
    """Unless the command line says one for all; the backbone has 512 positions, 8 of them the prompt's."""
    words = ["method=mpt2", "task=copa", "data=demo", "backbone=roberta_large", "prompt_length.value=8"]
    s = settings(*words, "method.procedure.tasks=[boolq,multirc]", *given)
    tasks, own = s.method["procedure"]["tasks"], SimpleNamespace(settings=s, task=leaf(s.task))
    found = [
        stages.with_changes(s, {**each, "method": {"procedure": SINGLE}}) for each in further(tasks, None, own).values()
    ]
    assert [[*check(each)] for each in found] == [[], []]
    for each in found:
        build.settle(each)
    assert [each.data.max_length for each in found] == lengths


def test_each_task_is_as_published_where_one_is(settings):
    """compat speaks of all tasks of the group: their inputs, lengths, metrics and splits."""
    words = ["method=mpt2", "task=conll05", "data=demo", "backbone=roberta_large", "prompt_length.value=8"]
    s = settings(*words, "compat=ptv2_official", "method.procedure.tasks=[conll05,conll12,conll04]")
    tasks, own = s.method["procedure"]["tasks"], SimpleNamespace(settings=s, task=leaf(s.task))
    roles, entities = (
        stages.with_changes(s, {**each, "method": {"procedure": SINGLE}}) for each in further(tasks, None, own).values()
    )
    assert [[*check(each)] for each in (roles, entities)] == [[], []]
    for each in (roles, entities):
        build.settle(each)
    assert (s.metric, roles.metric, entities.metric) == ("f1_seqeval", "f1_seqeval", "f1")
    assert (roles.task["predicate"], roles.report_on, entities.report_on) == ("literal", "test", "test")
    assert [each.data.max_length for each in (s, roles, entities)] == [504] * 3
    assert {each.data.overflow for each in (roles, entities)} == {"truncate"}


def test_a_task_goes_by_its_own_name():
    given = SimpleNamespace(
        method={"procedure": {"tasks": {"mine": {"name": "conll04"}, "conll03": {"name": "conll03"}}}}
    )
    told = [*Multitask.problems(given, None, None)]
    assert told == [("method.procedure.tasks.mine", "names the task conll04; use that task's own name")]


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [60, 30, 10]), (2.0, [47, 34, 19]), (None, [34, 33, 33]), (1e9, [34, 33, 33])],
)
def test_an_epoch_holds_each_task_in_its_share(temperature, expected):
    drawn = MixedStream([Counted(name, size) for name, size in zip("abc", (60, 30, 10), strict=True)], 1, temperature)
    assert (drawn.steps_per_epoch, drawn.shares) == (100, expected)
    for epoch in range(3):
        found = Counter(drawn(step)[0][0] for step in range(100 * epoch, 100 * (epoch + 1)))
        assert [found[name] for name in "abc"] == expected


def test_a_small_task_is_not_left_out():
    assert shares([1000, 1], 1.0) == [1000, 1]
    assert shares([1, 2, 3], 5.0) == [1, 1, 4]


def test_each_tasks_batches_come_in_their_own_order():
    """Every one once, whatever is drawn between; which step has which depends on seed and step alone."""
    drawn = MixedStream([Counted("a", 5), Counted("b", 3)], seed=3)
    found = [drawn(step)[0] for step in range(24)]
    for name, size in (("a", 15), ("b", 9)):
        assert [number for of, number in found if of == name] == list(range(size))
    assert [drawn(step)[0] for step in reversed(range(24))] == found[::-1]
    assert [MixedStream([Counted("a", 5), Counted("b", 3)], seed=3)(17)[0]] == [found[17]]
    assert found[:8] != [drawn(step)[0] for step in range(8, 16)]
    other = MixedStream([Counted("a", 5), Counted("b", 3)], seed=4)
    assert [other(step)[0][0] for step in range(24)] != [of for of, _ in found]
    assert [drawn.taken(24, 0), drawn.taken(24, 1), drawn.taken(8, 0)] == [15, 9, 5]


# What is shared, and what is not


def test_a_step_is_of_one_task_and_moves_the_prompt_and_its_head_alone(run):
    folder, watch = run
    joint = watch.steps[: folder.read_json("result.json")["joint_steps"]]
    heads = {"conll04": {"head.linear.weight", "head.linear.bias"}}
    heads["conll03"] = {"head.conll03.linear.weight", "head.conll03.linear.bias"}
    for sources, changed in joint:
        (source,) = sources
        assert changed == {"prompt.table", *heads[source]}
    assert Counter(source for sources, _ in joint for source in sources) == {"conll04": 12, "conll03": 6}
    assert [sources for sources, _ in watch.steps[len(joint) :]] == [{"train"}] * (3 + 6)


def test_every_task_goes_on_from_the_shared_prompt_with_its_own_head(run):
    folder, watch = run
    joint, first, own = watch.begins
    found = learned(stage(folder, "joint"))
    assert not torch.equal(found["prompt.table"], joint["prompt.table"])
    for begun, head in ((first, "head.conll03."), (own, "head.")):
        assert begun.keys() == {"prompt.table", "head.linear.weight", "head.linear.bias"}
        assert torch.equal(begun["prompt.table"], found["prompt.table"])
        for name in ("linear.weight", "linear.bias"):
            assert torch.equal(begun[f"head.{name}"], found[f"{head}{name}"])
    assert first["head.linear.bias"].shape == (9,)  # O, and four types; conll04 has others


def test_the_result_has_each_tasks_scores_and_steps(run):
    folder, _ = run
    result = folder.read_json("result.json")
    assert (result["task"], result["joint_steps"], result["steps"], result["total_steps"]) == ("conll04", 18, 6, 27)
    assert {
        name: (told["examples"], told["joint_steps"], told["continued_steps"]) for name, told in result["tasks"].items()
    } == {
        "conll04": (24, 12, 6),
        "conll03": (12, 6, 3),
    }
    assert result["tasks"]["conll04"]["continued"] == result["score"]
    assert result["tasks"]["conll04"]["joint"] == stage(folder, "joint").read_json("result.json")["score"]
    of_other = stage(folder, "joint/stages/conll03").read_json("result.json")
    assert result["tasks"]["conll03"]["joint"] == of_other["score"]
    assert [told["name"] for told in result["stages"]] == ["joint", "conll03"]
    assert result["stages"][1]["differs"]["task"] == "conll03"
    tasks = yaml.safe_load(folder.file("config.yaml").read_text())["method"]["procedure"]["tasks"]
    assert tasks["conll03"]["types"] == ["PER", "ORG", "LOC", "MISC"]


@pytest.mark.parametrize("where", [".", "stages/conll03", "stages/joint/stages/conll03"])
def test_each_is_a_run_that_can_be_evaluated(run, ptune, where):
    folder, _ = run
    result = json.loads((folder.path / where / "result.json").read_text())
    done = ptune("eval", str(folder.path / where), "quiet=true")
    assert done.code == 0
    stored = json.loads((folder.path / where / "predictions.jsonl").read_text().splitlines()[0])
    assert len(stored["prediction"]) == len(stored["tokens"])
    assert result["report_on"] == "test"


# One task, and a run that was cut off


def test_with_one_task_the_joint_phase_is_ptv2(tmp_path):
    """To the last bit: the prompt, the head, and every loss."""
    line = [*TINY, "task=conll03"]
    procedure = ("method.procedure.tasks=[conll03]", "method.procedure.epochs=2")
    one = trained(tmp_path / "one", *line, "method=mpt2", "epochs=1", *procedure)
    ptv2 = trained(tmp_path / "ptv2", *line, "method=ptv2", "epochs=2")
    joint = stage(one, "joint")
    losses = [[e["loss"] for _, e in folder.metrics() if e["event"] == "step"] for folder in (joint, ptv2)]
    assert len(losses[0]) == 12
    assert losses[0] == losses[1]
    found, expected = learned(joint), learned(ptv2)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("stop_at", [7, 25], ids=["joint", "own"])
def test_a_run_that_was_cut_off_ends_as_the_whole_one(run, tmp_path, monkeypatch, stop_at):
    """In the joint phase, and after it, in which case the stages that have ended are not run again."""
    whole, _ = run
    with monkeypatch.context() as patched:
        Watch(patched, stop_at)
        assert call(*TWO, f"hydra.run.dir={tmp_path}") == 130
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        assert call("train", f"resume={tmp_path}", "quiet=true") == 0
    assert len(watch.steps) == {7: 27 - 6, 25: 27 - 24}[stop_at]
    for where in (".", "stages/joint", "stages/conll03", "stages/joint/stages/conll03"):
        found, expected = (RunFolder(folder / where) for folder in (tmp_path, whole.path))
        assert found.file("tuned.safetensors").read_bytes() == expected.file("tuned.safetensors").read_bytes(), where
        assert found.read_json("result.json")["score"] == expected.read_json("result.json")["score"]
    again, once = (f.read_json("result.json")["tasks"] for f in (RunFolder(tmp_path), whole))
    assert again == once


def test_an_unknown_task_is_named(ptune):
    done = ptune(*TINY, "method=mpt2", "task=conll03", "method.procedure.tasks=[conll03,conll4]")
    assert done.code == 2
    assert done.err == "method.procedure.tasks: no task 'conll4'; did you mean 'conll04'?"
