"""W&B beside the run folder: offline without an account, silent about secrets, and never the end of a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from wandb_server import Server

from ptune.commands import train
from ptune.config import Tracker
from ptune.progress import Progress
from ptune.runs import track
from ptune.runs.folder import RunFolder
from ptune.where import Where

CANARY = "canary-5f1c3a"


@pytest.fixture(scope="module")
def overrides(tmp_path_factory, bert_folder, examples) -> list[str]:
    """A run of four steps on hand-made pairs."""
    root = tmp_path_factory.mktemp("rte")
    for name in ("train", "val"):
        rows = [{**example.fields, "label": example.gold} for example in examples["rte"]]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [
        "task=rte",
        "data=local",
        f"data.root={root}",
        "backbone=local",
        f"backbone.path={bert_folder}",
        "method=ptv2",
        "prompt_length.value=3",
        "epochs=2",
        "batch_size=4",
    ]


@pytest.fixture
def go(overrides, settings, tmp_path):
    """Train in this process; the run's folder."""

    def start(*more: str) -> Path:
        folder = tmp_path / "run"
        train.run(settings(*overrides, *more), RunFolder(folder), Where(folder), Progress())
        return folder

    return start


def events(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def records(file: Path) -> list[Any]:
    """The records of a .wandb file, which W&B goes on to write for a moment after a run has ended."""
    for _ in range(30):
        found = read(file)
        if any(record.HasField("exit") for record in found):
            break
        time.sleep(0.1)
    return found


def read(file: Path) -> list[Any]:
    """What stands in a .wandb file: LevelDB log blocks of 32 KiB after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, found, held, place = file.read_bytes(), [], b"", 7
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + 7 + size > len(data):
            break
        held += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(held)
            found.append(record)
            held = b""
    return found


def rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a .wandb file's history with their steps; of a table what W&B keeps of it."""
    found = []
    for record in records(file):
        if record.HasField("history"):
            row: dict[str, Any] = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                if inner:
                    row.setdefault(name, {})[inner[0]] = json.loads(item.value_json)
                else:
                    row[name] = json.loads(item.value_json)
            found.append((record.history.step.num, row))
    return found


def tables_of(folder: Path, row: dict[str, Any], split: str = "") -> dict[str, list[dict[str, Any]]]:
    """The tables in a row of history by name, read from W&B's files."""
    found = {}
    for key, value in row.items():
        prefix, _, name = key.rpartition("/")
        if prefix == split and isinstance(value, dict) and value.get("_type") == "table-file":
            (file,) = folder.glob(f"wandb/*run-*/files/{value['path']}")
            laid_out = json.loads(file.read_text(encoding="utf-8"))
            found[name] = [dict(zip(laid_out["columns"], cells, strict=True)) for cells in laid_out["data"]]
    return found


@pytest.fixture(scope="module")
def offline(overrides, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A run without key, account or terminal, with a home that not even root can write; secrets around it."""
    base = tmp_path_factory.mktemp("offline")
    home = base / "home"
    home.touch()
    (base / "temporary").mkdir()
    keep = ("PATH", "LANG", "VIRTUAL_ENV", "PYTHONPATH")
    environment = {key: os.environ[key] for key in keep if key in os.environ}
    environment |= {
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(base / "temporary"),
        "MY_SECRET_TOKEN": f"{CANARY}-env",
        "HF_TOKEN": f"{CANARY}-hf",
    }
    program = "import sys; from ptune.cli import main; del sys.argv[-1]; main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "train",
            *overrides,
            "tracker.group=mine",
            f"hydra.run.dir={base / 'run'}",
            f"--password={CANARY}-argv",
        ],
        cwd=base,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return base / "run", done


def test_offline_without_anything(offline):
    """The run ends well, asks nothing, warns of nothing, and W&B's files lie in the run folder."""
    folder, done = offline
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert "wandb.ai" not in done.stderr + done.stdout
    assert RunFolder(folder).finished
    assert len(list(folder.glob("wandb/offline-run-*/*.wandb"))) == 1
    assert (folder.parent / "home").read_bytes() == b""


def test_wandb_file(offline):
    """Config, group, tags, and every figure of metrics.jsonl by its step."""
    folder, _ = offline
    found = records(next(folder.glob("wandb/offline-run-*/*.wandb")))
    run = next(record.run for record in found if record.HasField("run"))
    assert run.run_group == "mine"
    assert set(run.tags) == {"ptv2", "rte", json.loads((folder / "result.json").read_text())["backbone"]}
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["seed"] == 1
    assert config["method"]["name"] == "ptv2"
    assert config["prompt_length"]["value"] == 3
    history = dict(rows(next(folder.glob("wandb/offline-run-*/*.wandb"))))
    for event in events(folder):
        row = history[event["step"]]
        if event["event"] == "step":
            assert row["train/loss"] == event["loss"]
            assert row["train/lr"] == event["lr"]
        else:
            assert row["dev/scores.accuracy"] == event["scores"]["accuracy"]
            assert row["dev/selected"] == event["selected"]
            for part, values in event["breakdown"].items():
                assert values
                assert {name: row[f"dev/breakdown.{part}.{name}"] for name in values} == values
            shown = tables_of(folder, row, "dev")
            assert set(shown) == {"labels", "confusions", "by words", "errors", "predictions"}
            stored = json.loads((folder / "breakdowns" / f"dev_{event['step']:08d}.json").read_text(encoding="utf-8"))
            assert [row["label"] for row in shown["labels"]] == [row["label"] for row in stored["labels"]]
            assert [row["f1"] for row in shown["labels"]] == [row["f1"] for row in stored["labels"]]
            assert len(shown["errors"]) == len(stored["errors"])
    assert [len(tables_of(folder, row)["predictions"]) for row in history.values() if "predictions" in row] == [8]


def test_no_secrets(offline):
    """Neither the environment nor the command line's secrets are anywhere in the run folder."""
    folder, _ = offline
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_none_writes_nothing(go):
    """tracker=none leaves no trace, and the record is the same."""
    folder = go("tracker=none")
    assert not (folder / "wandb").exists()
    kinds = [event["event"] for event in events(folder)]
    assert kinds == ["step", "step", "eval"] * 2


class Broken:
    """A W&B run whose log works a few times only."""

    def __init__(self, works: int) -> None:
        self.works, self.logged, self.summary = works, [], {}

    def log(self, figures: dict, step: int | None = None) -> None:
        if len(self.logged) == self.works:
            raise ConnectionError("no route to host")
        self.logged.append((step, figures))

    def finish(self) -> None:
        raise AssertionError("it was given up before")


@pytest.fixture(autouse=True)
def staging(monkeypatch):
    """Where W&B stages its tables is set for the process: not for the tests that follow."""
    monkeypatch.setenv("WANDB_DATA_DIR", "as before")
    monkeypatch.delenv("WANDB_DATA_DIR")
    monkeypatch.setattr(track, "STAGED", set())


def test_tables_are_staged_with_the_run(tmp_path, monkeypatch):
    """In each run's folder, unless the user chose a place."""
    for name in ("first", "second"):
        track.stage_in(tmp_path / name)
        assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / name / "wandb")
    monkeypatch.setenv("WANDB_DATA_DIR", "mine")
    track.stage_in(tmp_path / "third")
    assert os.environ["WANDB_DATA_DIR"] == "mine"


def test_table_fails(capsys):
    """Without its table a run is finished all the same."""

    class Half(Broken):
        finished = False

        def finish(self) -> None:
            self.finished = True

    half, warnings = Half(works=0), []
    track.Wandb(half, warnings.append, 4).finish({"score": 1.0}, {"predictions": [{"prediction": "a"}]})
    assert half.finished
    assert half.summary == {"score": 1.0}
    assert warnings == ["W&B stopped (no route to host); the run continues, and metrics.jsonl has everything"]


def test_steps_only_go_up():
    """An evaluation of an earlier step gets a row after the last, with its own step; none is told twice."""

    class Steps:
        def __init__(self) -> None:
            self.rows: list[tuple[int, dict]] = []

        def log(self, figures: dict, step: int) -> None:
            self.rows.append((step, figures))

    steps, many = Steps(), [{"a": i} for i in range(track.ROWS + 5)]
    wandb = track.Wandb(steps, print, 4, told={("dev", 2), ("step", 2)})
    for split, step in (("dev", 2), ("dev", 6), ("test", 6), ("test", 4), ("test_b", 4), ("test", 6)):
        wandb.tables(split, step, {"labels": many})
    wandb.log({"event": "step", "step": 2, "loss": 1.0})
    assert [(at, {k: v for k, v in row.items() if k.endswith("step")}) for at, row in steps.rows] == [
        (6, {"dev/step": 6}),
        (6, {"test/step": 6}),
        (7, {"test/step": 4}),
        (8, {"test_b/step": 4}),
    ]
    assert len(steps.rows[0][1]["dev/labels"].data) == track.ROWS


def test_resumed_run_tells_nothing_twice(go, capsys):
    """It goes on in its own W&B run, and each step, evaluation and table is in one row."""
    folder = go()
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "00000004")
    go()
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1  # run-ID.wandb
    assert "resuming from step 2 of 4" in capsys.readouterr().err
    told = [row for file in files for _, row in rows(file)]
    for key in ("train/loss", "dev/selected", "dev/labels"):
        steps = [row["train/step" if key.startswith("train") else "dev/step"] for row in told if key in row]
        assert steps == ([1, 2, 3, 4] if key == "train/loss" else [2, 4])


def test_evaluations_on_train_are_not_its_steps(go):
    """They have rows and names of their own, and are told once too."""
    folder = go("select_on=train")
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "00000004")
    go("select_on=train")
    told = [row for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")) for _, row in rows(file)]
    assert [row["train/step"] for row in told if "train/loss" in row] == [1, 2, 3, 4]
    for key in ("eval_train/selected", "eval_train/labels"):
        assert [row["eval_train/step"] for row in told if key in row] == [2, 4]
    assert not any("train/selected" in row for row in told)
    seconds = [event["seconds"] for event in events(folder) if event["event"] == "step"]
    assert [row["train/seconds"] for row in told if "train/loss" in row][:2] == seconds[:2]  # before it was cut off


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (f"tracker.tags=[{'x' * 65}]", f"tracker.tags: '{'x' * 65}' has 65 characters; W&B takes 1 to 64"),
        ("tracker.tags=['']", "tracker.tags: '' has 0 characters; W&B takes 1 to 64"),
        (
            "tracker.project=a/b",
            "tracker.project: 'a/b' is not a valid name; use 1 to 128 characters without / \\ # ? % :",
        ),
    ],
)
def test_what_wandb_would_refuse(overrides, ptune, word, said):
    """Before the run, not as a warning without a record."""
    done = ptune("train", *overrides, "tracker=wandb", word)
    assert (done.code, done.err) == (2, said)


KILLED = """
import os, signal
import psutil
from ptune import training
from ptune.cli import main
record = training.Recorder.record
def until(self, event):
    record(self, event)
    if (event["event"], event["step"]) == ("step", 7):
        for child in psutil.Process().children(recursive=True):  # W&B's own
            child.kill()
        os.kill(os.getpid(), signal.SIGKILL)
training.Recorder.record = until
main()
"""


@pytest.mark.slow
def test_a_killed_run_is_synced_without_a_doubled_or_a_lost_row(go, overrides, tmp_path, monkeypatch):
    """What W&B had not written yet is told again, the rest is not, and `wandb sync` sends every step once."""
    words = [*overrides, "epochs=4", f"hydra.run.dir={tmp_path / 'run'}"]
    own = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}  # which outlives this process
    command = [sys.executable, "-c", KILLED, "train", *words]
    killed = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    (first,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    keep = [at for at in range(first.stat().st_size) if at % 997 == 0][-1]
    first.write_bytes(first.read_bytes()[:keep])  # what was not on the disk yet
    before = [row["train/step"] for _, row in rows(first) if "train/step" in row]
    assert before == list(range(1, len(before) + 1))
    assert 0 < len(before) < 7
    folder = go("epochs=4")
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    every = [row for file in files for _, row in rows(file)]
    evaluated = [2, 4, 6, 8]
    assert [row["train/step"] for row in every if "train/loss" in row] == list(range(1, 9))
    assert [row["dev/step"] for row in every if "dev/selected" in row] == evaluated
    assert [row["dev/step"] for row in every if "dev/labels" in row] == evaluated

    server = Server()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}  # W&B of our own
    environment |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}
    command = [sys.executable, "-m", "wandb", "sync", *(str(file.parent) for file in files)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    server.stop()
    assert done.returncode == 0, done.stderr
    (run,) = server.runs
    sent = server.history(run)
    assert [row["train/step"] for row in sent if "train/loss" in row] == list(range(1, 9))
    assert [row["_step"] for row in sent] == sorted(row["_step"] for row in sent)
    losses = {event["step"]: event["loss"] for event in events(folder) if event["event"] == "step"}
    assert {row["train/step"]: row["train/loss"] for row in sent if "train/loss" in row} == losses
    assert server.runs[run]["jobType"] == "train"


def test_online_what_was_not_sent_is_told_again(monkeypatch, tmp_path):
    """The server's step counts, not what stands in a file that a killed process left behind."""
    import wandb

    class Run:
        step = 3

        def __init__(self) -> None:
            self.rows: list[tuple[int, dict]] = []

        def log(self, figures: dict, step: int) -> None:
            self.rows.append((step, figures))

    run = Run()
    given = [{"event": "step", "step": step, "loss": 1.0} for step in range(1, 6)]
    (tmp_path / "wandb" / "run-20260101_000000-abc").mkdir(parents=True)
    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    monkeypatch.setattr(track, "history", lambda files: {n: {"train/loss": 1.0, "train/step": n} for n in range(1, 5)})
    common: dict[str, Any] = {"name": "n", "tags": [], "config": {}, "warn": print}
    track.tracker(Tracker(mode="online"), tmp_path, **common).again((event, {}) for event in given)
    assert [step for step, _ in run.rows] == [3, 4, 5]


def test_halved_micro_batches_are_told_once():
    """As what they are, and not as an evaluation; a run that goes on finds it told."""
    rows: list[dict] = []
    event = {"event": "halved", "step": 3, "parts": 2}
    wandb = track.Wandb(None, print, 4)
    wandb.run = type("Run", (), {"log": lambda self, figures, step: rows.append(figures)})()
    wandb.log(event)
    assert rows == [{"halved/step": 3, "halved/parts": 2}]
    again = track.Wandb(wandb.run, print, 4, track.logged_history({3: rows[0]}), 3)
    again.again([(event, {})])
    assert len(rows) == 1


def test_what_was_told_is_read_off_the_rows():
    """Events and tables by their step; a row of tables alone is no evaluation's figures."""
    table = {"_type": "table-file"}
    assert track.logged_history(
        {
            1: {"train/loss": 1.0, "train/step": 1},
            2: {"train/loss": 0.5, "train/step": 2, "dev/step": 2, "dev/selected": 3.0, "dev/labels": table},
            3: {"test/step": 2, "test/labels": table},
            4: {"predictions": table},
        }
    ) == {("step", 1), ("step", 2), ("eval", 2), ("dev", 2), ("test", 2)}


@pytest.mark.slow
def test_a_sweep_is_a_group_with_a_summary(ptune, overrides, tmp_path):
    """Runs are called by what differs in their sweep, and one more run has the table of them all."""
    words = ["-m", *overrides, "epochs=1", "seed=1,2", "quiet=true", f"hydra.sweep.dir={tmp_path / 'mine'}"]
    assert ptune("train", *words).code == 0
    files = sorted((tmp_path / "mine").glob("*/wandb/offline-run-*/*.wandb"))
    told = [next(record.run for record in records(file) if record.HasField("run")) for file in files]
    backbone = json.loads(next((tmp_path / "mine").glob("*/result.json")).read_text())["backbone"]
    assert sorted(run.display_name for run in told) == [f"ptv2 P=3 rte {backbone} seed={seed}" for seed in (1, 2)]
    assert {(run.run_group, run.job_type) for run in told} == {("mine", "train")}
    (file,) = (tmp_path / "mine").glob("wandb/offline-run-*/*.wandb")
    run = next(record.run for record in records(file) if record.HasField("run"))
    assert (run.display_name, run.run_group, run.job_type) == ("mine summary", "mine", "summary")
    ((_, row),) = rows(file)
    shown = tables_of(tmp_path / "mine", row, "sweep")["runs"]
    results = [json.loads(path.read_text()) for path in (tmp_path / "mine").glob("*/result.json")]
    assert {each["run"]: each["score"] for each in shown} == {f"seed={r['seed']}": r["score"] for r in results}
    assert {each["state"] for each in shown} == {"finished"}


def test_every_split_is_told(settings, tmp_path, bert_folder):
    """The reported one at the best and the last epoch, and the one beside it; all with their tables."""
    folder, sizes = tmp_path / "run", [f"data.demo.{split}={n}" for split, n in (("train", 16), ("dev", 8))]
    words = ["task=mnli", "data=demo", *sizes, "backbone=local", f"backbone.path={bert_folder}", "method=ptv2"]
    more = ["prompt_length.value=3", "batch_size=8", "epochs=3", "optim.lr=0.5", "data.max_length=48"]
    train.run(settings(*words, *more), RunFolder(folder), Where(folder), Progress())
    history = rows(next(folder.glob("wandb/offline-run-*/*.wandb")))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert list(result["best"]["beside"]) == ["dev_mismatched"]
    written = sorted(path.stem for path in folder.glob("breakdowns/*.json"))
    told = [
        f"{split}_{row[f'{split}/step']:08d}"
        for _, row in history
        for split in ("dev", "dev_mismatched")
        if f"{split}/labels" in row
    ]
    assert sorted(told) == written
    assert len(written) == 4
    assert [step for step, _ in history] == sorted(step for step, _ in history)


def test_eval_goes_on_in_the_runs_own(go, ptune, monkeypatch):
    """`ptune eval` adds its scores and tables to the W&B run that the run has; where it has none, it says so."""
    folder = go()
    done = ptune("eval", str(folder), "split=train")
    assert done.code == 0, done.err
    assert "W&B" not in done.out + done.err
    first, second = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert first.name == second.name
    stored = json.loads((folder / "eval_train.json").read_text(encoding="utf-8"))
    ((step, row),) = rows(second)
    assert step == json.loads((folder / "result.json").read_text(encoding="utf-8"))["steps"]
    assert row["eval_train/scores.accuracy"] == stored["scores"]["accuracy"]
    shown = tables_of(folder, row, "eval_train")
    assert {"labels", "confusions", "by words", "predictions"} <= set(shown)
    breakdown = json.loads((folder / stored["breakdown"]).read_text(encoding="utf-8"))
    assert [row["f1"] for row in shown["labels"]] == [row["f1"] for row in breakdown["labels"]]

    shutil.rmtree(folder / "wandb")
    done = ptune("eval", str(folder), "split=train")
    assert done.code == 0
    assert "the run has no W&B run to update; its folder has everything" in done.out + done.err
    assert not (folder / "wandb").exists()


def test_init_fails(go, monkeypatch, capsys):
    """A warning, and the run goes on."""
    import wandb

    def refuse(**settings: Any) -> None:
        raise wandb.errors.CommError("run initialization has timed out after 20 sec")

    monkeypatch.setattr(wandb, "init", refuse)
    folder = go()
    assert RunFolder(folder).finished
    assert len(events(folder)) == 6
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warnings == [
        "warning: W&B could not start (run initialization has timed out after 20 sec); "
        "the run continues, and metrics.jsonl has everything"
    ]


def test_log_fails(go, monkeypatch, capsys):
    """Told once; nothing more is asked of W&B; what was logged equals the record."""
    import wandb

    broken = Broken(works=5)
    monkeypatch.setattr(wandb, "init", lambda **settings: broken)
    folder = go()
    assert RunFolder(folder).finished
    assert len(events(folder)) == 6
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warnings == ["warning: W&B stopped (no route to host); the run continues, and metrics.jsonl has everything"]
    told, tables = broken.logged[:2] + broken.logged[3:], broken.logged[2]
    assert {"dev/labels", "dev/by words", "dev/predictions"} <= set(tables[1])
    assert [step for step, _ in told] == [event["step"] for event in events(folder)[:4]]
    for (_, figures), event in zip(told, events(folder), strict=False):
        prefix = "train" if event["event"] == "step" else "dev"
        numbers = {
            f"{prefix}/{key}": value for key, value in track.flat(event).items() if isinstance(value, int | float)
        }
        assert figures == numbers


def test_online_without_a_key(monkeypatch, tmp_path):
    """Nobody is asked for one: offline, with a warning."""
    import wandb

    seen, warnings = [], []
    monkeypatch.setattr(wandb, "init", lambda **settings: seen.append(settings))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    common: dict[str, Any] = {"name": "n", "tags": ["a"], "config": {"seed": 1}, "warn": warnings.append}
    track.tracker(Tracker(mode="online"), tmp_path, **common)
    assert warnings == [
        "tracker.mode=online, but W&B has no API key on this machine (run wandb login); tracking offline"
    ]
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n")
    track.tracker(Tracker(mode="online", tags=["b"], group="g", project="p"), tmp_path, **common)
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("WANDB_API_KEY", "x")
    track.tracker(Tracker(mode="online"), tmp_path, **common)
    assert [settings["mode"] for settings in seen] == ["offline", "online", "online"]
    assert len(warnings) == 1
    assert seen[1]["tags"] == ["a", "b"]
    assert seen[1]["group"] == "g"
    assert seen[1]["project"] == "p"
    quiet = seen[0]["settings"]
    assert quiet.x_disable_meta
    assert not quiet.save_code
    assert quiet.disable_git
    assert quiet.console == "off"


def test_laid_out():
    """Columns in the order of their first use; numbers stay numbers where a column has nothing else."""
    rows = [{"label": "a", "f1": 50.0, "gold": 3}, {"label": "b", "f1": 0, "tokens": ["x"]}]
    assert track.laid_out(rows) == (["label", "f1", "gold", "tokens"], [["a", 50.0, "3", ""], ["b", 0, "", "['x']"]])


def test_flat():
    """Dotted names; what is no figure or text is left out."""
    assert track.flat({"a": 1, "b": {"c": 2.5, "d": {"e": "x"}}, "f": [1], "g": None}) == {
        "a": 1,
        "b.c": 2.5,
        "b.d.e": "x",
    }
