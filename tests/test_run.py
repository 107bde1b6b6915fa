"""Run folders: nothing half-written, damage noticed, and a killed run that ends as if it had never been killed."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from ptune import training
from ptune.commands import train
from ptune.errors import ConfigError, DiskError, Interrupted, PtuneError
from ptune.model import Model
from ptune.progress import Progress
from ptune.runs.folder import RunFolder, code_version, intact, sha256, write_atomically
from ptune.runs.track import NoTracker
from ptune.where import Where
from ptune.words import quote


class Stopped(BaseException):
    """What ends a training here as a power cut would."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """RTE files of 24, 8 and 8 pairs."""
    root = tmp_path_factory.mktemp("rte")
    words = "the old mill stands by river dog sleeps in front of house Anna works for Oslo".split()  # noqa: SIM905
    for name, first, count in (("train", 0, 24), ("val", 24, 8), ("test", 32, 8)):
        rows = [
            {
                "premise": " ".join(words[i % 7 : i % 7 + 3 + i % 5]),
                "hypothesis": " ".join(words[i % 11 :][:4]),
                "label": ["entailment", "not_entailment"][i * 7 % 3 % 2],
                "idx": i,
            }
            for i in range(first, first + count)
        ]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def overrides(corpus, bert_folder) -> list[str]:
    """A small run with every kind of dropout on."""
    return [
        "task=rte",
        "data=local",
        f"data.root={corpus}",
        "backbone=local",
        f"backbone.path={bert_folder}",
        "method=ptv2",
        "method.prompt.dropout=0.1",
        "prompt_length.value=3",
        "tracker=none",
        "epochs=4",
        "batch_size=4",
        "quiet=true",
    ]


@pytest.fixture(scope="module")
def go(overrides, settings):
    """go(folder, ...): train in this process; go(folder) on a folder with a configuration goes on with it."""

    def start(folder: Path, *more: str, quiet: bool = True) -> dict:
        stored = (folder / "config.yaml").is_file() and not more
        s = train.stored_settings(folder, Where(folder)) if stored else settings(*overrides, *more)
        return train.run(s, RunFolder(folder), Where(folder), Progress(quiet))

    return start


@pytest.fixture(scope="module")
def whole(go, tmp_path_factory) -> Path:
    """The run, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    go(folder)
    return folder


def events(folder: Path, kind: str, *keys: str) -> list[tuple]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [tuple(event[key] for key in keys) for event in map(json.loads, lines) if event["event"] == kind]


def same(folder: Path, whole: Path) -> bool:
    """Whether two runs ended alike, bit for bit, and recorded the same."""
    assert events(folder, "step", "step", "loss", "lr", "grad_norm") == events(
        whole, "step", "step", "loss", "lr", "grad_norm"
    )
    assert events(folder, "eval", "step", "selected", "best") == events(whole, "eval", "step", "selected", "best")
    results = [json.loads((f / "result.json").read_text(encoding="utf-8")) for f in (folder, whole)]
    for key in ("score", "interval", "selected", "steps", "identity", "parameters"):
        assert results[0][key] == results[1][key]
    for name in ("tuned.safetensors", "predictions.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    return True


def checkpoints(folder: Path) -> list[int]:
    return [int(path.name) for path in RunFolder(folder).checkpoints()]


# Files


def test_write_atomically(tmp_path, monkeypatch):
    """A write that fails leaves the old file, whole; one that does not leaves nothing beside it."""
    path = tmp_path / "result.json"
    write_atomically(path, b"old")

    def broken(*args):
        raise OSError(errno.ENOSPC, "disk full")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, broken)
            with pytest.raises(OSError, match="disk full") as caught:
                write_atomically(path, b"new" * 1000)
        assert caught.value.filename == str(path)
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_metrics_are_cut(tmp_path):
    """Lines after the step go, half lines too; of the step itself what a resumed run writes again."""
    folder = RunFolder(tmp_path)
    folder.cut_metrics(3, evaluated=True, parts=1)
    folder.append_metrics({"event": "halved", "step": 0, "parts": 2})
    for step in (1, 2, 3, 4):
        folder.append_metrics({"event": "step", "step": step})
        folder.append_metrics({"event": "eval", "step": step})
    for parts in (2, 4):
        folder.append_metrics({"event": "halved", "step": 3, "parts": parts})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "st')
    folder.cut_metrics(3, evaluated=True, parts=2)
    assert events(tmp_path, "step", "step") == [(1,), (2,), (3,)]
    assert events(tmp_path, "eval", "step") == [(1,), (2,), (3,)]
    assert events(tmp_path, "halved", "step", "parts") == [(0, 2), (3, 2)]
    assert (tmp_path / "metrics.jsonl").read_text().endswith("}\n")
    folder.cut_metrics(3, evaluated=False, parts=1)
    assert events(tmp_path, "step", "step") == [(1,), (2,), (3,)]
    assert events(tmp_path, "eval", "step") == [(1,), (2,)]
    assert events(tmp_path, "halved", "step", "parts") == [(0, 2)]


def test_a_lock_keeps_others_out(tmp_path):
    """While this one has it."""
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(PtuneError, match="in use by process"), folder.locked():
        pass
    with folder.locked():
        pass
    assert not folder.file(".lock").exists()


UNFINISHED = (
    ".result.json.123",
    ".metrics.jsonl.4",
    ".tuned.safetensors.4",
    ".config.yaml.4",
    ".eval_my-task_dev.json.4",
    "breakdowns/.dev_00000010.json.9",
    "checkpoints/.00000010.77/parameters.safetensors",
)
KEPT = (
    ".zshrc.1",
    ".result.json",
    ".result.json.old",
    ".backup.2023/thesis.tex",
    ".00000010/of-mine",
    ".00000010.77/of-mine",
    "notes/.result.json.1",
    "checkpoints/.mine.1/of-mine",
    "checkpoints/00000020/state.json",
    "another-run/.result.json.1",
    "another-run/checkpoints/.00000010.77/of-mine",
    "stages/.zshrc.1",
)


def test_what_was_not_finished_is_cleared_away(tmp_path):
    """In the run and its stages, where a run writes and by its names; the folder may be anybody's."""
    there = [tmp_path / part / name for part in ("", "stages/pet0-1", "stages/a/stages/b") for name in UNFINISHED]
    mine = [tmp_path / name for name in KEPT]
    for path in (*there, *mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "stages" / "again").symlink_to(tmp_path)
    with RunFolder(tmp_path).locked():
        assert not [path for path in there if path.exists()]
        assert not (tmp_path / "checkpoints" / ".00000010.77").exists()
        assert all(path.exists() for path in mine)


@pytest.mark.parametrize("part", ["", "stages/pet0-1"])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_retired_checkpoint(tmp_path, part, replaced):
    """It goes where another one has taken its place, and goes back where none has."""
    root = tmp_path / part / "checkpoints"
    for name in (".00000010", *(["00000010"] if replaced else [])):
        (root / name).mkdir(parents=True)
        (root / name / "state.json").write_text(name)
    with RunFolder(tmp_path).locked():
        assert [path.name for path in root.iterdir()] == ["00000010"]
        assert (root / "00000010" / "state.json").read_text() == ("00000010" if replaced else ".00000010")


def test_no_room_from_the_start(tmp_path, settings, monkeypatch):
    """A disk that has no room for the lock is full as it is later."""
    s = settings("method=majority", "task=rte", "data=demo", "backbone=tiny_encoder")

    def full(*_, **__) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / ".lock"))

    monkeypatch.setattr("ptune.lock.os.open", full)
    with pytest.raises(DiskError) as caught, train.claimed_folders(s, [RunFolder(tmp_path)]):
        pass
    assert str(caught.value) == (
        f"{tmp_path / '.lock'}: No space left on device; there was no checkpoint yet; free some space, then run the "
        "same command again"
    )


def test_folder_errors(tmp_path):
    """No run, a broken configuration, no result, no weights."""
    folder = RunFolder(tmp_path)

    def message(action) -> str:
        with pytest.raises(PtuneError) as caught:
            action()
        return str(caught.value)

    assert message(folder.read_config) == f"{tmp_path} is not a run folder: it has no config.yaml"
    (tmp_path / "config.yaml").write_text("a: [")
    assert message(folder.read_config).startswith(f"{tmp_path / 'config.yaml'}: not YAML (")
    (tmp_path / "config.yaml").write_text("- a\n")
    assert message(folder.read_config) == f"{tmp_path / 'config.yaml'}: not a configuration"
    assert message(lambda: folder.read_json("result.json")) == (
        f"{tmp_path} has no result.json: the run is not finished; to finish it: ptune train resume={tmp_path}"
    )
    assert message(folder.read_tensors).startswith(f"{tmp_path / 'tuned.safetensors'}: missing or damaged (")


# Checkpoints


@pytest.fixture
def saved(tmp_path) -> RunFolder:
    """Checkpoints of five steps, the second the best."""
    folder = RunFolder(tmp_path / "run")
    for step in (1, 2, 3, 4, 5):
        folder.save_checkpoint(
            step,
            {"p": torch.full((50,), float(step))},
            {"0.m": torch.zeros(3)},
            {"step": step},
            best_step=min(step, 2),
        )
    return folder


def test_checkpoints_kept(saved):
    """The last two and the best; nothing temporary."""
    assert checkpoints(saved.path) == [2, 4, 5]
    assert sorted(path.name for path in saved.file("checkpoints").iterdir()) == [
        "00000002",
        "00000004",
        "00000005",
    ]
    warnings: list[str] = []
    assert saved.newest_checkpoint(warnings.append) == saved.file("checkpoints") / "00000005"
    assert warnings == []
    assert RunFolder(saved.path / "none").newest_checkpoint(warnings.append) is None


def test_a_checkpoint_that_lasts_has_its_history(tmp_path, monkeypatch):
    """The lines of the history, and where it stands, are on the disk before the manifest is."""
    folder, lasting, sync, replace = RunFolder(tmp_path), [], os.fsync, os.replace

    def noted(descriptor):
        lasting.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def renamed(source, target):
        lasting.append(str(target))
        replace(source, target)

    folder.append_metrics({"event": "step", "step": 1})
    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    folder.save_checkpoint(1, {"p": torch.zeros(2)}, {}, {"step": 1}, best_step=None)
    manifest = next(i for i, path in enumerate(lasting) if path.endswith("/manifest.json"))
    assert {str(tmp_path / "metrics.jsonl"), str(tmp_path)} <= {*lasting[:manifest]}


def test_a_checkpoint_without_room_for_its_history(tmp_path, monkeypatch):
    """A disk that is found to be full only then leaves nothing behind."""
    folder = RunFolder(tmp_path)
    folder.append_metrics({"event": "step", "step": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.save_checkpoint(1, {"p": torch.zeros(2)}, {}, {"step": 1}, best_step=None)
    assert [*(tmp_path / "checkpoints").iterdir()] == []


def test_what_the_one_before_needs_is_kept(tmp_path):
    """The newest is the best of all: damaged, the one before it counts, whose best is another."""
    folder = RunFolder(tmp_path / "run")
    for step, best in ((10, 10), (20, 10), (30, 30)):
        folder.save_checkpoint(step, {"p": torch.zeros(2)}, {}, {"step": step, "best_step": best}, best_step=best)
    (folder.checkpoints()[-1] / "state.json").write_text("{")
    assert folder.newest_checkpoint(lambda text: None) == folder.file("checkpoints") / "00000020"


CHECKPOINT = ("parameters.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("name", CHECKPOINT)
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing"])
def test_damage_is_noticed(saved, name, damage):
    """Whatever happened to a file, the checkpoint before is taken, and a warning says so."""
    newest, before = saved.checkpoints()[-1], saved.checkpoints()[-2]
    path = newest / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = bytearray(content)
        flipped[-2] ^= 4
        path.write_bytes({"flip": bytes(flipped), "truncate": content[:-1], "empty": b""}[damage])
    warnings: list[str] = []
    assert saved.newest_checkpoint(warnings.append) == before
    assert warnings == [f"{newest} is damaged; using the one before it"]


def test_every_flipped_byte_is_noticed(saved):
    """All of them, in every file."""
    newest = saved.checkpoints()[-1]
    for name in CHECKPOINT:
        content = (newest / name).read_bytes()
        for place in range(0, len(content), 1 if len(content) < 400 else 7):
            flipped = bytearray(content)
            flipped[place] ^= 1
            (newest / name).write_bytes(bytes(flipped))
            assert not intact(newest), (name, place)
        (newest / name).write_bytes(content)
    assert intact(newest)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"parameters.safetensors": 1}'])
def test_manifest_that_promises_nothing(saved, content):
    """A manifest vouches for every file, or the checkpoint is damaged."""
    newest = saved.checkpoints()[-1]
    (newest / "manifest.json").write_text(content)
    assert not intact(newest)


def test_all_damaged(saved):
    """Never silently from the start."""
    for path in saved.checkpoints():
        (path / "manifest.json").unlink()
    warnings: list[str] = []
    with pytest.raises(PtuneError) as caught:
        saved.newest_checkpoint(warnings.append)
    assert str(caught.value) == (
        f"{saved.file('checkpoints')}: every checkpoint is damaged; remove the folder to start again"
    )
    assert len(warnings) == 3


# Runs


def test_whole_run(whole):
    """Everything that a finished run has."""
    assert sorted(path.name for path in whole.iterdir()) == [
        "breakdowns",
        "checkpoints",
        "config.yaml",
        "env.json",
        "metrics.jsonl",
        "predictions.jsonl",
        "result.json",
        "splits.jsonl",
        "tuned.safetensors",
    ]
    result = json.loads((whole / "result.json").read_text(encoding="utf-8"))
    assert result["steps"] == 24
    assert result["report_on"] == "test"
    assert not result["selected_on_reported"]
    kept = checkpoints(whole)
    assert kept[-2:] == [18, 24]
    assert result["best"]["step"] in kept
    assert len(kept) <= 3
    assert len(events(whole, "step", "step")) == 24
    assert len(set(events(whole, "step", "loss"))) == 24
    config = (whole / "config.yaml").read_text(encoding="utf-8")
    assert "${" not in config
    assert "???" not in config


def test_the_commit_of_the_code():
    """Of the folder that ptune was imported from, where git knows it."""
    root = Path(train.__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("no source tree")
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    found = code_version()
    assert found is not None
    assert found.removesuffix("+changed") == head.stdout.strip()


def test_a_result_tells_what_it_is_of(whole):
    """Code, packages, data, weights and how the best evaluation was chosen, without another file of the run."""
    result = json.loads((whole / "result.json").read_text(encoding="utf-8"))
    env = json.loads((whole / "env.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((whole / "config.yaml").read_text(encoding="utf-8"))
    names = ("ptune", "code", "python", "platform", "packages", "threads", "ranks", "cuda", "gpu")
    assert {name: result["environment"][name] for name in names} == {name: env[name] for name in names}
    assert result["environment"]["code"] == code_version()
    assert result["environment"]["packages"]["torch"] == torch.__version__
    for told in result["data"]["files"].values():
        assert told["sha256"] == sha256(Path(told["path"]))
    assert result["weights"]["tuned"] == sha256(whole / "tuned.safetensors")
    backbone = config["backbone"]
    assert result["weights"]["backbone"] == {
        "checkpoint": backbone.get("checkpoint"),
        "revision": backbone.get("revision"),
        "sha256": backbone.get("sha256") or sha256(Path(backbone["path"]) / "model.safetensors"),
    }
    assert result["selection"] == f"the first evaluation with the highest {result['metric']} on dev"
    assert (result["protocol"], result["deterministic"]) == ("standard", True)


def stop_after(patch, name: str, count: int) -> None:
    """Let a method of the run folder do its work `count` times, then stop the program in its place."""
    original, calls = getattr(RunFolder, name), []

    def stopping(self, *args):
        if len(calls) == count:
            raise Stopped
        calls.append(1)
        return original(self, *args)

    patch.setattr(RunFolder, name, stopping)


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("append_metrics", 0),
        ("append_metrics", 3),
        ("append_metrics", 6),
        ("append_metrics", 7),
        ("append_metrics", 16),
        ("save_checkpoint", 0),
        ("save_checkpoint", 2),
        ("_prune", 3),
        ("write_tensors", 0),
        ("write_jsonl", 0),
    ],
)
def test_stopped_anywhere(go, whole, tmp_path, monkeypatch, where, count):
    """Before the first checkpoint, between two, at an evaluation, while saving, after training: the end is the same."""
    with monkeypatch.context() as patch:
        stop_after(patch, where, count)
        with pytest.raises(Stopped):
            go(tmp_path, "epochs=4")
    assert not (tmp_path / "result.json").exists()
    go(tmp_path)
    assert same(tmp_path, whole)


def test_stopped_again_and_again(go, whole, tmp_path, monkeypatch):
    """Progress is kept from one stop to the next, and the record has no line twice."""
    for attempt in range(12):  # noqa: B007, asked about below
        with monkeypatch.context() as patch:
            stop_after(patch, "append_metrics", 9)
            try:
                go(tmp_path)
                break
            except Stopped:
                continue
    assert attempt < 6
    assert same(tmp_path, whole)


def test_an_evaluation_is_recorded_once(go, whole, tmp_path, monkeypatch):
    """Cut off by SIGTERM it is made when the run goes on; killed before the next checkpoint, a third time."""
    answers = Model.answers

    def interrupted(self, work):
        os.kill(os.getpid(), signal.SIGTERM)
        return answers(self, work)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "answers", interrupted)
        with pytest.raises(Interrupted):
            go(tmp_path, "epochs=4")
    assert checkpoints(tmp_path) == [6]
    assert events(tmp_path, "eval", "step") == []
    with monkeypatch.context() as patch:
        stop_after(patch, "save_checkpoint", 0)
        with pytest.raises(Stopped):
            go(tmp_path)
    assert events(tmp_path, "eval", "step") == [(6,)]
    go(tmp_path)
    assert same(tmp_path, whole)


def test_halved_micro_batches_are_recorded_once(go, whole, tmp_path, monkeypatch):
    """A run that is killed before the next checkpoint runs out of memory again at the same step."""
    losses = Model.losses

    def short(self, work):
        if max(len(batch) for _, batch in work) > 2:
            raise torch.OutOfMemoryError("planted")
        return losses(self, work)

    monkeypatch.setattr(Model, "losses", short)
    with monkeypatch.context() as patch:
        stop_after(patch, "append_metrics", 4)
        with pytest.raises(Stopped):
            go(tmp_path, "epochs=4")
    assert events(tmp_path, "halved", "step", "parts") == [(0, 2)]
    go(tmp_path)
    assert events(tmp_path, "halved", "step", "parts") == [(0, 2)]
    assert events(tmp_path, "step", "step") == events(whole, "step", "step")


def test_damaged_while_stopped(go, whole, tmp_path, monkeypatch, capsys):
    """From the checkpoint before, with a warning, to the same end."""
    with monkeypatch.context() as patch:
        stop_after(patch, "append_metrics", 23)
        with pytest.raises(Stopped):
            go(tmp_path, "epochs=4")
    newest = RunFolder(tmp_path).checkpoints()[-1]
    assert newest.name == "00000018"
    path = newest / "parameters.safetensors"
    flipped = bytearray(path.read_bytes())
    flipped[-9] ^= 16
    path.write_bytes(bytes(flipped))
    go(tmp_path)
    assert f"warning: {newest} is damaged; using the one before it" in capsys.readouterr().err.replace("\n", "")
    assert same(tmp_path, whole)


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda text: text.replace('"step": 3', '"step"; 3', 1), ":3"),
        (lambda text: text.replace('"examples"', '"exbmples"', 1), ""),
        (lambda text: text.replace('"loss": 0.', '"loss": 1.', 1), ""),
        (lambda text: text[: len(text) // 2], ":"),
        (lambda text: None, ""),
    ],
)
def test_a_history_other_than_the_checkpoints_is_told(go, tmp_path, monkeypatch, damage, place):
    """Nothing of what was recorded is left out without a word."""
    with monkeypatch.context() as patch:
        stop_after(patch, "append_metrics", 16)
        with pytest.raises(Stopped):
            go(tmp_path, "epochs=4")
    path = tmp_path / "metrics.jsonl"
    text = damage(path.read_text(encoding="utf-8"))
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(PtuneError) as caught:
        go(tmp_path)
    newest = RunFolder(tmp_path).checkpoints()[-1].name
    assert str(caught.value).startswith(f"{path}{place}")
    assert str(caught.value).endswith(
        f": changed since checkpoint {newest} was saved; restore it from a copy, or start the run again in "
        "another folder"
    )


def test_the_tracker_hears_of_an_end_that_is_asked_to_end(go, tmp_path, monkeypatch):
    """The run is over, and its summary is told whole."""
    told: list[float] = []

    class Slow(NoTracker):
        def finish(self, summary, tables) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            told.append(summary["score"])

    monkeypatch.setattr("ptune.runs.track.tracker", lambda *_, **__: Slow())
    assert [go(tmp_path, "epochs=1")["score"]] == told
    assert RunFolder(tmp_path).finished


def test_damaged_best(go, tmp_path, monkeypatch):
    """The best checkpoint is read at the end: its bytes are checked like those of the newest."""
    scores = iter([3.0, 1.0, 2.0, 1.5])
    monkeypatch.setattr(
        training,
        "evaluation_event",
        lambda session, step: {
            "split": "dev",
            "metric": "accuracy",
            "selected": next(scores),
            "scores": {"accuracy": 50.0},
            "seconds": 0.0,
        },
    )
    original = RunFolder.save_checkpoint

    def damaging(self, step, *rest):
        original(self, step, *rest)
        if step == 24:
            path = self.file("checkpoints") / "00000006" / "parameters.safetensors"
            flipped = bytearray(path.read_bytes())
            flipped[-9] ^= 16
            path.write_bytes(bytes(flipped))

    monkeypatch.setattr(RunFolder, "save_checkpoint", damaging)
    with pytest.raises(PtuneError) as caught:
        go(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'checkpoints' / '00000006'}, the best of the run, is damaged; train again, in a new folder"
    )
    assert not (tmp_path / "result.json").exists()


def test_finished(go, whole, capsys):
    """A finished run is left alone."""
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    go(whole, quiet=False)
    assert capsys.readouterr() == (f"{whole}\n", f"{whole} is finished\n")
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_resume_with_other_settings(whole):
    """The stored settings are the run's; others are refused, by name."""
    with pytest.raises(ConfigError) as caught:
        train.stored_settings(whole, Where(whole, [f"resume={whole}", "seed=2", "quiet=true", "+optim.lr=1"]))
    assert str(caught.value) == "resume: a run resumes with its own settings; leave out seed=2 +optim.lr=1"
    with pytest.raises(PtuneError, match=r"^there is no folder .*/no$"):
        train.stored_settings(whole / "no", Where(whole / "no"))


def test_resume_in_another_folder(ptune, whole, tmp_path, monkeypatch):
    """A run stays where it is, however its folder is named; nothing is left of the other one."""
    found = ptune("train", f"resume={whole}", "hydra.run.dir=other")
    assert (found.code, found.err) == (
        2,
        f"resume: a run resumes in its own folder, {whole}; leave out hydra.run.dir",
    )
    assert [*tmp_path.iterdir()] == []
    monkeypatch.chdir(whole.parent)
    assert train.stored_settings(Path(whole.name), Where(whole)).seed == 1


def test_resume_of_a_folder_that_there_is_not(ptune, tmp_path):
    """Which is not made either."""
    assert ptune("train", "resume=outputs/toys/ptv2") == (2, "", "there is no folder outputs/toys/ptv2")
    assert [*tmp_path.iterdir()] == []


def test_an_error_takes_no_folder_away_that_was_there(ptune, tmp_path, monkeypatch):
    """Not an empty one that is no run, nor one that a run was to go to or below."""
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert ptune("train", "resume=mine/empty").err == "mine/empty is not a run folder: it has no config.yaml"
    for folder in ("mine/empty", "mine/empty/new/run"):
        found = ptune("train", "experiment=demo", "epochs=0", f"hydra.run.dir={folder}")
        assert found == (2, "", "epochs: 0 is too small; at least 1")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["mine", "mine/empty"]


def test_resume_of_a_stage(ptune, whole, tmp_path):
    """The run that it is of goes on as a whole, and is named; of a stage's stage that run, too."""
    for name in ("run", "run/stages/pet0-1", "run/stages/pet0-1/stages/words", "stages/run"):
        (tmp_path / name).mkdir(parents=True)
        shutil.copy(whole / "config.yaml", tmp_path / name)
    for name in ("run/stages/pet0-1", "run/stages/pet0-1/stages/words"):
        found = ptune("train", f"resume={tmp_path / name}")
        assert (found.code, found.err) == (
            2,
            f"resume: {tmp_path / name} is a stage of a run; resume the whole run: ptune train "
            f"resume={tmp_path / 'run'}",
        )
    by_that_name = tmp_path / "stages" / "run"
    assert train.stored_settings(by_that_name, Where(by_that_name)).seed == 1


# From the command line


@pytest.fixture(scope="module")
def killed(overrides, tmp_path_factory) -> tuple[Path, Path]:
    """A run killed with -9 in a process of its own, taken up again by another; and the same run, left alone."""
    base = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "ptune", "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    more = [*overrides, "epochs=20"]
    folder = base / "run"
    process = subprocess.Popen([*command, *more, f"hydra.run.dir={folder}"], cwd=base, env=environment)
    deadline = time.monotonic() + 60
    while len(RunFolder(folder).checkpoints()) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    assert len(events(folder, "step", "step")) < 120
    resumed = subprocess.run(
        [*command, "resume=run"], cwd=base, env=environment, capture_output=True, text=True, timeout=100
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from step " in resumed.stderr
    return folder, base


@pytest.mark.slow
def test_kill_9(killed, go):
    """The end is the same, bit for bit, as in this process without any interruption."""
    folder, base = killed
    go(base / "whole", "epochs=20")
    assert len(events(folder, "step", "step")) == 120
    assert same(folder, base / "whole")


def test_resume_refuses(ptune, whole):
    """One line, no traceback."""
    refused = ptune("train", f"resume={whole}", "seed=2")
    assert (refused.code, refused.err) == (2, "resume: a run resumes with its own settings; leave out seed=2")
    finished = ptune("train", f"resume={whole}")
    assert finished == (0, str(whole), f"{whole} is finished")
    assert ptune("train", f"resume={whole}", "quiet=true") == (0, "", "")


def test_results_go_to_standard_output(ptune, overrides, tmp_path):
    """The scores, and the folder alone as the last line; progress goes to standard error, and quiet says nothing."""
    words = [word for word in overrides if word != "quiet=true"]
    done = ptune("train", *words, "hydra.run.dir=run")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert done.code == 0, done.err
    title, score, *_, folder = done.out.splitlines()
    assert title.startswith("ptv2 on rte with ")
    assert f"{result['score']:.2f}" in score
    assert folder == str(tmp_path / "run")
    assert "step 24/24" in done.err
    assert folder not in done.err
    assert ptune("train", *overrides, "hydra.run.dir=quiet") == (0, "", "")


def test_the_seconds_are_those_of_every_sitting(go, tmp_path, monkeypatch):
    """A run that was cut off and goes on has taken what it took before, too."""
    with monkeypatch.context() as patch:
        stop_after(patch, "save_checkpoint", 2)
        with pytest.raises(Stopped):
            go(tmp_path)
    path = RunFolder(tmp_path).checkpoints()[-1]
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    assert state["seconds"] > 0
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    (path / "state.json").write_text(json.dumps({**state, "seconds": 1000.0}), encoding="utf-8")
    manifest["state.json"] = sha256(path / "state.json")
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    result = go(tmp_path)
    assert 1000 < result["seconds"]["training"] < 1100
    assert result["examples_per_second"] == pytest.approx(24 * 4 / result["seconds"]["training"])


def test_examples_are_counted_as_they_are_read(go, tmp_path):
    """Ten where a batch would have 32."""
    result = go(tmp_path, "max_steps=1", "data.max_train=10", "batch_size=32")
    assert events(tmp_path, "step", "examples") == [(10,)]
    assert result["examples_per_second"] == pytest.approx(10 / result["seconds"]["training"])
    twice = go(tmp_path / "twice", "epochs=2", "data.max_train=10", "batch_size=8")
    assert sorted(events(tmp_path / "twice", "step", "examples")) == [(2,), (2,), (8,), (8,)]
    assert twice["flop"]["training"] == pytest.approx(2 * result["flop"]["training"])


@pytest.mark.parametrize("name", ["run", "two words, lr=1", "it's $HOME; {a} #1", "back\\slash\\", "Läufe", "null"])
def test_what_goes_on_is_said_as_it_is_typed(ptune, overrides, tmp_path, name):
    """The words behind "to go on" are for a shell, and for Hydra behind it, whatever the folder is called."""
    folder = tmp_path / name
    rest = [word for word in overrides if not word.startswith("epochs")]
    cut = ptune("train", *rest, "max_steps=1", "time_limit=0", f"hydra.run.dir={quote(str(folder))}")
    begun, _, typed = cut.err.partition("; to resume: ")
    assert (cut.code, begun) == (75, "ptune train: ended by time_limit")
    assert checkpoints(folder) == [1]
    assert not (folder / "result.json").exists()
    missing = ptune("eval", f"run={quote(str(folder))}")
    assert missing.err == (f"{folder} has no result.json: the run is not finished; to finish it: {typed}")
    stored = folder / "config.yaml"
    stored.write_text(stored.read_text(encoding="utf-8").replace("time_limit: 0.0", "time_limit: null"))
    program, *words = shlex.split(typed)
    assert program == "ptune"
    found = ptune(*words, "quiet=true")
    assert (found.code, found.err) == (0, "")
    assert (folder / "result.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_folder_of_other_settings_is_refused(ptune, whole, overrides, tmp_path):
    """Finished or cut off, nothing of it is shown or mixed as if it were what was asked for."""
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "result.json").unlink()
    for folder in (whole, cut):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        found = ptune("train", *overrides, "seed=2", "optim.lr=0.001", f"hydra.run.dir={folder}")
        assert found.code == 2
        assert found.err.startswith(f"hydra.run.dir: {folder} holds a run with other settings (")
        assert "seed: 1 there, 2 here" in found.err
        assert found.err.endswith(f"choose another folder, or resume that run: ptune train resume={folder}")
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_sweep_runs_the_same_once(ptune, overrides, tmp_path):
    """A method without a prompt does not see its length: one training, and the other job says where it is."""
    rest = [word for word in overrides if not word.startswith(("method", "prompt_length", "quiet", "epochs"))]
    code, _, text = ptune(
        "train", "-m", *rest, "method=finetune", "prompt_length=short,long", "epochs=1", "hydra.sweep.dir=sweep"
    )
    assert code == 0, text
    assert [path.parent.name for path in tmp_path.glob("sweep/*/result.json")] == ["prompt_length-short"]
    assert "job 1 (prompt_length=long) ok: the same configuration as prompt_length-short; its result stands" in text
    code, _, text = ptune(
        "train", "-m", *rest, "method=finetune", "prompt_length=short,long", "epochs=1", "hydra.sweep.dir=sweep"
    )
    assert code == 0, text
    assert "0 to run" in text
    assert [path.parent.name for path in tmp_path.glob("sweep/*/result.json")] == ["prompt_length-short"]
    code, _, text = ptune("train", "-m", *rest, "method=finetune", "seed=1,2", "epochs=1", "hydra.sweep.dir=seeds")
    assert code == 0, text
    assert sorted(path.parent.name for path in tmp_path.glob("seeds/*/result.json")) == ["seed-1", "seed-2"]


@pytest.mark.parametrize(
    ("able", "precision", "told"),
    [
        ({"architecture": "x86_64", "avx512_bw": False}, "bfloat16", True),
        ({"architecture": "x86_64", "avx512_bw": False}, "float32", False),
        ({"architecture": "x86_64", "avx512_bw": True}, "bfloat16", False),
        ({"architecture": "aarch64"}, "bfloat16", False),
    ],
    ids=str,
)
def test_a_cpu_that_is_slow_in_bfloat16_is_told_of(able, precision, told, overrides, ptune, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    done = ptune(
        "train", *overrides, f"precision={precision}", "max_steps=1", "device=cpu", f"hydra.run.dir={tmp_path}"
    )
    assert done.code == 0, done.err
    assert ("this CPU is far slower in bfloat16 than in float32; use precision=float32" in done.err) is told
