"""A run that is killed, asked to end, or left without room or memory loses nothing; what is damaged is noticed.

The counts here are small; those of docs/faults.md are behind the marker slow and in scripts/faults.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cases
import pytest
from kit import left

from ptune.runs.folder import RunFolder

ALL = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("faults")  # one server for all of them


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize("count", [4, pytest.param(200, marks=ALL)])
def test_kill_9(server, whole, base, count):
    """Gone on with, it ends as if nothing had happened: weights, metrics, history, predictions."""
    for number, fault in enumerate(cases.kill_points(count)):
        cases.kill(server, base / f"kill{count}-{number}", fault, whole.left, whole.seconds)


@pytest.mark.parametrize("times", [pytest.param(10, marks=ALL)])
def test_kill_9_again_and_again(server, whole, base, times):
    cases.kill_often(server, base / "often", whole.left, times)


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=ALL)])
def test_signals(server, whole, base, count):
    """Exit code 75, no step lost, and it goes on."""
    for number, fault in enumerate(cases.signal_points(count)):
        cases.asked_to_end(server, base / f"signal{count}-{number}", fault, whole.left)


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=ALL)])
def test_disk_full(server, whole, base, count):
    """One line that names the last checkpoint; with room again it goes on."""
    for number in cases.spread(cases.FILES, count):
        cases.disk_full(server, base / f"full{count}-{number}", number, whole.left)


@pytest.fixture(scope="module")
def halfway(server, base) -> RunFolder:
    """A run that was killed after its third evaluation."""
    folder = base / "halfway"
    ended = server.train(folder, after_event=18)
    assert ended.code < 0, ended.said
    assert len(RunFolder(folder).checkpoints()) >= 2
    return RunFolder(folder)


def test_damage_is_noticed(halfway, tmp_path):
    """50 cuts, 200 flipped bytes, each file deleted: every one is said, and the checkpoint before it is taken."""
    shutil.copytree(halfway.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    count = 0
    for _, path, data in cases.damages(folder.checkpoints()[-1]):
        cases.damaged(folder, path, data)
        count += 1
    assert count == 254


def test_damage_and_on(server, whole, halfway, base):
    """With the newest checkpoint damaged a run says so, goes on from the one before, and ends the same."""
    shutil.copytree(halfway.path, base / "damaged" / "run")
    folder = RunFolder(base / "damaged" / "run")
    newest = folder.checkpoints()[-1]
    (newest / "state.json").write_text("{")
    ended = server.train(folder.path)
    assert ended.code == 0, ended.said
    assert ended.said.startswith(f"warning: {newest} is damaged; using the one before it")
    assert left(folder.path) == whole.left


def test_out_of_memory(server, base):
    """Micro-batches are halved until they fit, the step is the same: without dropout so are the losses, to rounding."""
    still = ("backbone.dropout=0", "backbone.attention_dropout=0", "+method.head.dropout=0")
    fine, short = base / "fine", base / "short"
    assert server.train(fine, *(f"++{word.lstrip('+')}" for word in still)).code == 0
    ended = server.train(short, *(f"++{word.lstrip('+')}" for word in still), no_memory=4)
    assert ended.code == 0, ended.said
    assert [line.partition(" on, ")[2] for line in ended.said.splitlines()] == [
        "each micro-batch is split into 2 parts",
        "each micro-batch is split into 4 parts",
    ]
    losses = [
        [event["loss"] for _, event in RunFolder(folder).metrics() if event["event"] == "step"]
        for folder in (fine, short)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][:3] == losses[1][:3]


@pytest.mark.parametrize("count", [3, pytest.param(30, marks=ALL)])
def test_not_a_number(server, base, count):
    """A loss or a gradient: the step is not taken, and its examples are named."""
    for number, fault in enumerate(cases.numberless_points(count)):
        cases.numberless(server, base / f"nan{count}-{number}", fault)


def test_one_process_a_folder(server, tmp_path):
    """A second one is refused while the first lives."""
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        ended = server.train(folder.path)
    assert ended.code == 1
    assert ended.said.startswith(f"{folder.path} is in use by process ")
    assert not (folder.path / "config.yaml").exists()
    with folder.locked():
        pass


def test_time_limit(server, whole, base):
    """A run ends by itself at its limit, and goes on from there."""
    folder = base / "limited"
    ended = server.train(folder, "time_limit=0")
    assert ended.code == 75
    assert ended.said == f"ptune train: ended by time_limit; to resume: ptune train resume={folder}\n"
