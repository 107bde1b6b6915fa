"""ptune/sweeps/jobs.py, ledger.py and view.py: names, kinds of failures, the record, what a person sees."""

from __future__ import annotations

import errno
import io
import json
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from ptune import build, threads
from ptune.errors import (
    ConfigError,
    DataError,
    DivergedError,
    Interrupted,
    InUseError,
    NoMemoryError,
    PtuneError,
    UnavailableError,
)
from ptune.progress import Progress
from ptune.runs.folder import RunFolder
from ptune.runs.naming import LONGEST, folder_name
from ptune.sweeps import jobs, ledger
from ptune.sweeps.jobs import Job, Outcome, failure, outcome_of_exit
from ptune.sweeps.view import Latest, View, duration


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["method=ptv2", "seed=1"], "method-ptv2+seed-1"),
        (["+data.demo.train=40", "optim.lr=1e-05"], "data.demo.train-40+optim.lr-1e-05"),
        (["method/prompt=deep_mlp", "quiet=true"], "method.prompt-deep_mlp"),
        ([], "default"),
    ],
)
def test_names_of_folders(words, name):
    assert folder_name(words) == name


def test_words_that_all_jobs_share_are_known_as_hydra_writes_them():
    """A job's name and folder have only what is its own."""
    typed = ["seed=1,2", "quiet=true", "optim.lr=1e-3", "+backbone.dropout=.1", "~optim.warmup", "data.root=null"]
    (job, _), *_ = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(typed), None)
    assert "optim.lr=0.001" in job
    assert [word for word in job if word not in jobs.shared_words(typed)] == ["seed=1"]


def test_names_of_folders_are_bounded_and_differ():
    """Nothing that a path or a command line takes for something else; what is lost is in a hash."""
    several = [
        ["data.root=/a/b"], ["data.root=/a_b"], ["seed=1,2"], ["seed=1_2"], ["a=../.."], ["a='x y'"], ["~a"],
        [f"packages=[{'a' * 200}]"], [f"packages=[{'a' * 201}]"],
    ]  # fmt: skip
    names = [folder_name(words) for words in several]
    assert len({*names}) == len(several)
    for name in names:
        assert len(name) <= LONGEST + 9
        assert {*name} <= {*"abcdefghijklmnopqrstuvwxyz0123456789._+-"}
    assert folder_name(["seed=1,2"]) == names[2]


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error as it is when it was raised, perhaps from another."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError(["a: b"]), "config"),
        (PtuneError("no such thing"), "config"),
        (DataError("f:3: bad"), "data"),
        (UnavailableError("rte: not here"), "data"),
        (DivergedError("step 3"), "nan"),
        (MemoryError(), "oom"),
        (NoMemoryError("an evaluation does not fit"), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (Exception("I/O error: No space left on device (os error 28)"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "code"),
        (ZeroDivisionError(), "code"),
        (SystemExit(3), "code"),
        (raised(RuntimeError("cannot save"), OSError(errno.ENOSPC, "full")), "disk"),
        (raised(ConfigError(["a: b"]), MemoryError()), "config"),
    ],
)
def test_kinds_of_failures(error, kind):
    outcome = failure(raised(error, error.__cause__))
    assert (outcome.state, outcome.kind) == ("failed", kind)


def test_an_end_that_was_asked_for_is_no_failure():
    for error in (Interrupted("SIGTERM"), KeyboardInterrupt()):
        assert failure(error).state == "interrupted"


def test_a_folder_that_is_in_use_is_no_failure():
    """The process that has it may come to its end, and the same command then finds that."""
    outcome = failure(InUseError("run is in use by process 5"))
    assert (outcome.state, outcome.kind) == ("interrupted", "interrupted")
    assert outcome.message == "run is in use by process 5"


@pytest.mark.parametrize(
    ("code", "kernel", "state", "kind", "message"),
    [
        (-signal.SIGKILL, False, "failed", "killed", "ended by SIGKILL"),
        (-signal.SIGKILL, True, "failed", "oom", "killed by the kernel: the machine ran out of memory"),
        (-signal.SIGSEGV, True, "failed", "code", "ended by SIGSEGV"),
        (-signal.SIGTERM, False, "interrupted", "interrupted", "ended by SIGTERM"),
        (3, False, "failed", "code", "the process exited by itself, with code 3"),
        (0, False, "failed", "code", "the process exited by itself, with code 0"),
    ],
)
def test_ends_without_a_word(code, kernel, state, kind, message):
    outcome = outcome_of_exit(code, kernel, 1.0)
    assert (outcome.state, outcome.kind, outcome.message) == (state, kind, message)


def test_fingerprints():
    """Numbers and paths do not matter, the kind, the words and the place do."""

    def mark(error: BaseException) -> str:
        return failure(error).fingerprint

    assert mark(DataError("/a/b.txt:7: 3 columns")) == mark(DataError("/a/c.txt:19: 4 columns"))
    assert mark(DataError("/a/b.txt:7: 3 columns")) != mark(DataError("/a/b.txt:7: 3 rows"))
    assert mark(raised(KeyError("a 1"))) == mark(raised(KeyError("a 2")))
    with pytest.raises(KeyError) as here:
        raise KeyError("a 1")
    assert mark(raised(KeyError("a 1"))) != mark(here.value)


def test_the_ledger_keeps_whole_lines(tmp_path):
    """A line that was cut off costs itself; the last event of a job counts; one writer at a time."""
    event = {"job": 1, "folder": "b", "identity": "", "state": "started", "kind": "", "message": "", "overrides": []}
    with ledger.Ledger(tmp_path) as book:
        book.add(event)
        with pytest.raises(PtuneError, match="another sweep is running there"):
            ledger.Ledger(tmp_path)
    with (tmp_path / ledger.NAME).open("a") as file:
        file.write('{"job": 2, "folder": "c", "sta')
    with ledger.Ledger(tmp_path) as book:
        book.add({**event, "job": 0, "folder": "a"})
        book.add({**event, "state": "ok"})
    assert [(e["job"], e["state"]) for e in ledger.events(tmp_path)] == [(1, "started"), (0, "started"), (1, "ok")]
    assert {name: e["state"] for name, e in ledger.last(tmp_path).items()} == {"a": "started", "b": "ok"}
    assert [*ledger.last(tmp_path)] == ["a", "b"]
    assert ledger.events(tmp_path / "nowhere") == []


def test_micro_batches_do_not_depend_on_what_runs_beside(settings, monkeypatch):
    """A share of the threads makes a run slower and changes nothing of it."""
    import torch

    s = settings("experiment=demo", "batch_size=64")
    monkeypatch.setattr(threads, "_whole", None)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        alone = build.micro_batches(s)
        threads.divide(4)
        assert torch.get_num_threads() == 1
        assert build.micro_batches(s) == alone == 4
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def sweep(settings, tmp_path):
    """Four jobs of two seeds and two tasks."""
    s = [settings("experiment=demo_majority", f"task={task}") for task in ("conll03", "wnut17")]
    return [
        Job(n, None, [], tmp_path / str(n), s[n // 2], name=f"task={s[n // 2].task['name']} seed={n % 2}")
        for n in range(4)
    ]


def played(jobs: list[Job], folder: Path, terminal: bool) -> tuple[View, str]:
    """A sweep of which one job was finished before, one fails, one ends, one runs; what was printed."""
    out: Any = io.StringIO()
    progress = Progress(stream=out)
    if terminal:
        from rich.console import Console

        progress.console = Console(file=out, force_terminal=True, width=100, color_system=None)
        progress.live = True
    with View(folder, jobs, progress) as view:
        view.found(jobs[0], Outcome("ok", score=70.0))
        view.begin(3)
        view.started([jobs[1]])
        view.started([jobs[2]])
        view.ended(jobs[1], Outcome("failed", "oom", "MemoryError", seconds=3.0))
        view.ended(jobs[2], Outcome("ok", score=81.5, seconds=40.0))
        view.started([jobs[3]])
        jobs[3].folder.mkdir()
        step = {"event": "step", "step": 7, "epoch": 3.5}
        event = {"event": "eval", "step": 6, "split": "dev", "metric": "f1", "selected": 55.55}
        (jobs[3].folder / "metrics.jsonl").write_text(f"{json.dumps(event)}\n{json.dumps(step)}\n" + '{"eve')
        if terminal:
            progress.console.print(view.drawn())
    return view, out.getvalue()


def test_plain_lines(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, said = played(sweep, tmp_path, terminal=False)
    assert said.splitlines() == [
        "4 jobs in .: 1 done, 3 to run",
        "job 1 (task=conll03 seed=1) started",
        "job 2 (task=wnut17 seed=0) started",
        "job 1 (task=conll03 seed=1) failed (oom): MemoryError",
        "job 2 (task=wnut17 seed=0) ok: dev f1 81.50, 40 s; 2 of 4 done, 1 failed, about 40 s left",
        "job 3 (task=wnut17 seed=1) started",
    ]


def test_the_live_view(sweep, tmp_path):
    """Done, running, failed, the best of each task, the time left; failures stay above it."""
    view, said = played(sweep, tmp_path, terminal=True)
    assert "job 1 (task=conll03 seed=1) failed (oom): MemoryError" in said
    assert "started" not in said
    lines = [line.strip() for line in said.splitlines()]
    (head,) = {line for line in lines if "2 done" in line and "1 running" in line}
    assert "1 failed" in head
    assert "0 waiting" in head
    assert "left" in head
    assert "best conll03 dev f1 70.00  task=conll03 seed=0" in lines
    assert "best wnut17 dev f1 81.50  task=wnut17 seed=0" in lines
    (row,) = {line for line in lines if line.startswith("job 3")}
    assert row.split("  ") == ["job 3", "task=wnut17 seed=1", "step 7/20", "dev f1 55.5", "0:00"]
    assert not view.live.is_started


def test_the_time_left_follows_from_steps(settings, tmp_path, monkeypatch):
    """Of running jobs, before any has ended; a job that trains nothing says nothing of those that do."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("ptune.sweeps.view.time.monotonic", lambda: clock.now)
    quick, slow = settings("experiment=demo_majority"), settings("experiment=demo", "epochs=2", "max_steps=30")
    jobs = [Job(n, None, [], tmp_path / str(n), quick if n == 0 else slow, name=str(n)) for n in range(4)]
    with View(tmp_path, jobs, Progress(stream=io.StringIO())) as view:
        view.begin(4)
        view.started([jobs[0]])
        assert view.left() is None
        view.ended(jobs[0], Outcome("ok", score=0.0, seconds=1.0))
        view.started([jobs[1]])
        clock.now += 10
        assert view.left() is None
        jobs[1].folder.mkdir()
        (jobs[1].folder / "metrics.jsonl").write_text('{"event": "step", "step": 6, "epoch": 0.4}\n')
        assert str(view.history(jobs[1])) == "step 6/30"
        assert view.left() == pytest.approx(40 + 50 + 50)
        view.ended(jobs[1], Outcome("ok", score=0.0, seconds=20.0))
        assert view.left() == pytest.approx(40)
        view.started(jobs[2:])
        assert view.left() == pytest.approx(20)


def test_figures_of_a_run(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = Latest(path)
    assert str(history) == "-"
    evaluated = {"event": "eval", "step": 100, "split": "dev", "metric": "f1", "selected": 55.5}
    steps = [{"event": "step", "step": step, "loss": 0.5, "names": "x" * 200} for step in range(101, 200)]
    lines = [json.dumps(event) + "\n" for event in (evaluated, *steps)]
    path.write_text("".join(lines) + '{"event": "st', encoding="utf-8")
    assert str(history) == "step 199  dev f1 55.5"  # however long ago that was
    path.write_text("".join(lines) + '{"event": "step", "step": 200}\n', encoding="utf-8")
    assert str(history) == "step 200  dev f1 55.5"
    path.write_text(lines[1], encoding="utf-8")
    assert str(history) == "step 101"
    assert [duration(seconds) for seconds in (5, 89, 120, 7200)] == ["5 s", "89 s", "2 min", "2.0 h"]


def test_a_job_waits_for_one_that_a_killed_sweep_has_left(tmp_path, monkeypatch):
    """It ends by itself; where it does not, the job that follows is told whose its folder is."""
    folder, kept = RunFolder(tmp_path / "run"), ExitStack()
    kept.enter_context(folder.locked())
    threading.Timer(0.5, kept.close).start()
    jobs.wait_for_orphans([folder])
    with folder.locked():  # is free now
        monkeypatch.setattr(jobs, "ORPHANED", 0.1)
        jobs.wait_for_orphans([folder])
        with pytest.raises(PtuneError, match="is in use by process"), folder.locked():
            pass
