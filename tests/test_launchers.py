"""hydra/launcher=local, and what all launchers share: failures that cost one job, the ledger, going on, exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import planted
import pytest
from hydra_plugins.ptune.sweep import Course

from ptune.errors import PtuneError
from ptune.progress import Progress
from ptune.sweeps import ledger
from ptune.sweeps.jobs import Job, Outcome
from ptune.sweeps.view import View

SMALL = [f"data.demo.{split}=8" for split in ("train", "dev", "test")]
SWEEP = [
    "train", "-m", "experiment=demo_majority", "tracker=none", "hydra.sweep.dir=out", *SMALL,
    "method.procedure._target_=planted.Planted", "packages=[planted]",
]  # fmt: skip


def plant(**kinds: str) -> str:
    """The override that plants failures: plant(s3="killed")."""
    return "+method.procedure.plant={" + ",".join(f"{seed[1:]}:{kind}" for seed, kind in kinds.items()) + "}"


def ends(folder: Path) -> dict[int, tuple[str, str]]:
    """(state, kind) of each job's last event, by its number."""
    return {event["job"]: (event["state"], event["kind"]) for event in ledger.last(folder).values()}


def started(folder: Path) -> Counter[int]:
    """How often each job was started."""
    return Counter(event["job"] for event in ledger.events(folder) if event["state"] == "started")


@pytest.fixture
def cached(monkeypatch, tmp_path_factory):
    """A cache folder of the tests' own."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_failures_cost_one_job_each_and_resume_runs_only_those(ptune, tmp_path, cached):
    """Each kind is named, the wrong settings before anything starts; the same command then runs what is missing."""
    kinds = {
        1: "config", 2: "data", 3: "oom", 4: "oom in torch", 5: "nan", 6: "killed", 7: "disk", 8: "code", 9: "exit",
        10: "crash",
    }  # fmt: skip
    words = [*SWEEP, "seed=range(0,12)", plant(**{f"s{seed}": f"'{kind}'" for seed, kind in kinds.items()})]
    done = ptune(*words)
    assert done.code == 1, done.err
    named = {"oom in torch": "oom", "exit": "code", "crash": "code"}
    expected = {seed: ("failed", named.get(kind, kind)) for seed, kind in kinds.items()}
    assert ends(tmp_path / "out") == {**expected, 0: ("ok", ""), 11: ("ok", "")}
    lines = done.err.splitlines()
    assert lines[0] == "job 1 (seed=1) failed (config): seed: 1 is planted"
    assert lines[1] == "12 jobs in out: 0 done, 1 not to run, 11 to run"
    assert (
        "job 2 (seed=2) failed (data): train.txt:7: 3 columns where there should be 4; log: out/seed-2/log.txt" in lines
    )
    assert any(line.startswith("job 6 (seed=6) failed (killed): ended by SIGKILL") for line in lines)
    assert any(line.startswith("job 8 (seed=8) failed (code): KeyError: 'a key' (planted.py:") for line in lines)
    assert any(line.startswith("job 10 (seed=10) failed (code): ended by SIGSEGV") for line in lines)
    assert lines[-1].startswith("ptune train: failed jobs: 1-10 (3 code, 2 oom, ")
    assert "KeyError" in (tmp_path / "out/seed-8/log.txt").read_text()
    assert not (tmp_path / "out/seed-1").exists()
    assert "failed (disk)  seed=7" in done.out  # below the table of the others

    Path("mended").touch()
    before = started(tmp_path / "out")
    again = ptune(*words)
    assert again.code == 0, again.err
    assert "12 jobs in out: 2 done, 10 to run" in again.err
    assert sorted(started(tmp_path / "out") - before) == list(kinds)
    assert {*ends(tmp_path / "out").values()} == {("ok", "")}
    assert len({*(tmp_path / "out").glob("seed-*/result.json")}) == 12


@pytest.mark.slow
def test_three_first_failures_that_are_alike_stop_a_sweep(ptune, tmp_path, cached):
    """Unless a job has come to its end before."""
    words = [*SWEEP, "hydra.launcher.n_jobs=1", "seed=range(0,5)"]
    done = ptune(*words, plant(s0="code", s1="code", s2="code"))
    assert done.code == 1
    assert started(tmp_path / "out") == Counter([0, 1, 2])
    assert done.err.splitlines()[-1].startswith(
        "stopping with 2 jobs not run: the first 3 failed the same way (code: KeyError: 'a key' (planted.py:"
    )
    done = ptune(*words[:-1], "seed=range(0,4)", plant(s0="code", s1="code", s2="code"), "hydra.sweep.dir=one")
    assert done.err.splitlines()[-1].startswith("stopping with 1 job not run: ")
    done = ptune(*words, plant(s1="code", s2="code", s3="code"), "hydra.sweep.dir=other")
    assert done.code == 1
    assert {*started(tmp_path / "other")} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("twin", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_failures_that_are_alike_stop_no_sweep_with_finished_jobs(twin, ptune, tmp_path, cached):
    """Its own from before, or the same configurations in other folders of it."""
    words = [*SWEEP, "hydra.launcher.n_jobs=1"]
    assert ptune(*words, "seed=0,9", plant(s1="code", s2="code", s3="code")).code == 0
    if twin:
        words += ["hydra.sweep.subdir=other/${hydra.job.num}"]
    done = ptune(*words, "seed=range(0,5)", plant(s1="code", s2="code", s3="code"))
    assert done.code == 1
    assert "the sweep stops" not in done.err
    assert ("the same configuration as seed-0" in done.err) == twin
    assert len([*(tmp_path / "out").rglob("result.json")]) == 3
    assert ends(tmp_path / "out")[4] == ("ok", "")


class Limited:
    """A launcher that takes so many jobs at a time and refuses others, and some always; asked: for what it was."""

    def __init__(self, most: int, refused: Sequence[int] = ()) -> None:
        self.most, self.refused, self.asked, self.here = most, refused, list[int](), list[Short]()
        self.failures, self.well = list[Outcome](), False
        callbacks = SimpleNamespace(on_job_start=lambda **given: None)
        self.hydra_context, self.task_function = SimpleNamespace(callbacks=callbacks), SimpleNamespace(failed={})

    def groups(self, jobs: Sequence[Job], view: View) -> list[list[Job]]:
        return [[job] for job in jobs]

    def room(self, group: Sequence[Job], running: Sequence[Sequence[Job]]) -> bool:
        return True

    def start(self, group: Sequence[Job]) -> Short:
        self.asked.append(group[0].number)
        if group[0].number in self.refused or len(self.here) == self.most:
            raise PtuneError("hydra.launcher: a job could not be submitted (a limit of submissions)")
        self.here.append(Short(self.here))
        return self.here[-1]


class Short:
    """A job that ends at the third look, and must not be told to."""

    def __init__(self, here: list[Short]) -> None:
        self.here, self.looks = here, 0

    def poll(self) -> list[Outcome] | None:
        self.looks += 1
        if self.looks < 3:
            return None
        self.here.remove(self)
        return [Outcome("ok", score=50.0)]

    def stop(self) -> None:
        raise AssertionError("a job was told to end")

    kill = stop


@pytest.mark.parametrize(
    ("most", "refused", "asked"),
    [
        (1, (), [0, 1, 1, 2, 2, 3, 3]),
        (9, (1,), [0, 1, 1, 2, 3]),
        (9, (0,), [0, 1, 2, 3]),
        (2, (3,), [0, 1, 2, 2, 3, 3]),
    ],
)
def test_a_job_that_is_refused(most, refused, asked, settings, tmp_path):
    """It waits for one to end and is tried again; with none running it has failed, and the others go on."""
    composed = [settings("experiment=demo_majority", f"seed={seed}") for seed in range(4)]
    jobs = [Job(number, None, [], tmp_path / str(number), s) for number, s in enumerate(composed)]
    launcher = Limited(most, refused)
    with ledger.Ledger(tmp_path) as book, View(tmp_path, jobs, Progress(stream=io.StringIO())) as view:
        course = Course(launcher, book, view)
        course.run(jobs)
        assert view.waiting == 0
    assert launcher.asked == asked
    states = {number: ("failed", "config") if number in refused else ("ok", "") for number in range(4)}
    assert ends(tmp_path) == {number: states[number] for number in range(4)}
    assert {number: outcome.state for number, outcome in course.done.items()} == {n: s for n, (s, _) in states.items()}
    assert started(tmp_path) == Counter(number for number in range(4) if number not in refused)
    assert launcher.task_function.failed == dict.fromkeys(refused, "config")


WRONG = {
    "local hydra.launcher.n_jobs=two": "n_jobs: 'two' is not a valid integer",
    "local hydra.launcher.n_jobs=-1": "n_jobs: -1 is too small; at least 1, or null",
    "fused hydra.launcher.runs=-1": "runs: -1 is too small; at least 1, or null",
    "fused hydra.launcher.memory=lots": "memory: 'lots' is not a valid number",
    "submitit hydra.launcher.slurm=5": "slurm: 5 is not a valid dictionary",
    "submitit hydra.launcher.requeue=-1": "requeue: -1 is too small; at least 0",
    "submitit hydra.launcher.cpus_per_task=0": "cpus_per_task: 0 is too small; at least 1, or null",
    "ray hydra.launcher.memory_gb=much": "memory_gb: 'much' is not a valid number",
}


@pytest.mark.parametrize("words", WRONG)
def test_settings_of_wrong_kinds(words, ptune, tmp_path):
    """One line, and nothing begins."""
    done = ptune(*SWEEP, "seed=1,2", plant(), *f"hydra/launcher={words}".split())
    assert (done.code, done.err) == (2, f"hydra.launcher.{WRONG[words]}")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_temporary_folder_with_a_long_name(tmp_path, cached):
    """Sockets, whose names must be short, are elsewhere then."""
    place = tmp_path / ("scratch-" * 12)
    place.mkdir()
    words = [sys.executable, "-m", "ptune", *SWEEP, "seed=1", "+method.procedure.plant={}"]
    environment = {**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ends(tmp_path / "out") == {0: ("ok", "")}


def test_a_sweep_of_wrong_settings_starts_nothing(ptune, tmp_path, cached):
    done = ptune(*SWEEP, "seed=1,2", plant(s1="config", s2="config"))
    assert done.code == 2
    assert started(tmp_path / "out") == Counter()
    assert (done.out + done.err).count("seed: 1 is planted") == 1
    assert done.err.splitlines()[-1] == "ptune train: failed jobs: 0-1 (2 config); fix the settings"
    done = ptune(*SWEEP, "seed=1,2", plant(), "resume=out")
    assert "(config): resume: a sweep resumes when the same command is run again" in done.err


@pytest.mark.slow
def test_a_sweep_of_which_a_job_is_well_is_not_all_wrong_settings(ptune, tmp_path, cached):
    """Its exit code says that some failed, whether the job is well now or was before."""
    words = [*SWEEP, "seed=1,2", plant(s1="config")]
    for _ in range(2):
        done = ptune(*words)
        assert (done.code, ends(tmp_path / "out")[1]) == (1, ("ok", ""))
        assert done.err.splitlines()[-1] == "ptune train: failed jobs: 0 (1 config); fix the settings"
    mixed = ptune(*SWEEP, "seed=1,2", plant(s1="config", s2="code"), "hydra.sweep.dir=mixed")
    assert mixed.code == 1
    cure = "fix the settings and run the same command again to retry them"
    assert mixed.err.splitlines()[-1] == f"ptune train: failed jobs: 0-1 (1 config, 1 code); {cure}"


def test_a_folder_of_other_settings_is_left_alone(ptune, tmp_path, cached):
    assert ptune(*SWEEP, "seed=1", plant()).code == 0
    kept = (tmp_path / "out/seed-1/result.json") if (tmp_path / "out/seed-1").exists() else None
    (run,) = (tmp_path / "out").glob("*/result.json")
    text = run.read_text()
    done = ptune(*SWEEP, "seed=1", "batch_size=4", plant(), f"hydra.sweep.subdir={run.parent.name}")
    assert done.code == 2
    assert f"{run.parent} holds a run with other settings; remove it or choose another hydra.sweep.dir" in done.err
    assert run.read_text() == text
    assert kept is None or kept == run


def test_a_sweep_whose_folder_has_a_damaged_run(ptune, tmp_path, cached):
    """Its own jobs end, and a line names the run for which there is no table."""
    other = tmp_path / "out/other"
    other.mkdir(parents=True)
    (other / "result.json").write_text("{}")
    done = ptune(*SWEEP, "seed=1", plant())
    assert done.code == 0
    (line,) = [line for line in done.err.splitlines() if "damaged" in line]
    assert f"{other.relative_to(tmp_path)}/result.json: damaged (method: Field required)" in line
    assert line.endswith("; the sweep's table is left out")
    assert "Callback" not in done.err


@pytest.mark.parametrize(("name", "said"), [("result.json", "no selecting score"), ("env.json", "Expecting value")])
def test_a_damaged_folder_costs_its_job_alone(name, said, ptune, tmp_path, cached):
    """The others run, and the line says which file it is."""
    assert ptune(*SWEEP, "seed=1", plant(), "hydra.sweep.subdir=${seed}").code == 0
    (tmp_path / "out/1" / name).write_text("{}" if name == "result.json" else "")
    done = ptune(*SWEEP, "seed=1,2", plant(), "hydra.sweep.subdir=${seed}")
    assert done.code == 1
    assert f"out/1/{name}: damaged ({said}" in done.err
    assert (tmp_path / "out/2/result.json").is_file()


@pytest.fixture
def once_begun() -> Iterator[Callable[[Path, Callable[[], Any]], None]]:
    """once_begun(folder, act): act when a job of the sweep has begun to hang."""
    threads = []

    def watch(folder: Path, act: Callable[[], Any]) -> None:
        def wait() -> None:
            until = time.monotonic() + 120
            while not [*folder.glob(f"*/{planted.BEGUN}")] and time.monotonic() < until:
                time.sleep(0.1)
            act()

        threads.append(threading.Thread(target=wait, daemon=True))
        threads[-1].start()

    yield watch
    for thread in threads:
        thread.join()


def processes(folder: Path) -> list[int]:
    """Of the jobs that began to hang."""
    return [int(path.read_text()) for path in folder.glob(f"*/{planted.BEGUN}")]


def gone(number: int) -> bool:
    """Whether a process has ended."""
    try:
        return "Z" in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_sweep_that_is_told_to_end(number, code, ptune, tmp_path, cached, once_begun):
    """It passes that on, leaves no process behind, and the same command goes on."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread alone")
    words = [*SWEEP, "hydra.launcher.n_jobs=1", "seed=1,2", plant(s1="hang")]
    once_begun(tmp_path / "out", lambda: os.kill(os.getpid(), number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    done = ptune(*words)
    signal.signal(signal.SIGINT, before)
    assert done.code == code, done.err
    assert ends(tmp_path / "out") == {0: ("interrupted", "interrupted")}
    assert "0 of 2 jobs are done; run the same command again to resume" in done.err
    assert [gone(process) for process in processes(tmp_path / "out")] == [True]
    Path("mended").touch()
    assert ptune(*words).code == 0
    assert ends(tmp_path / "out") == {0: ("ok", ""), 1: ("ok", "")}


def test_two_sweeps_in_one_folder(ptune, tmp_path, cached):
    with ledger.Ledger(tmp_path / "out"):
        done = ptune(*SWEEP, "seed=1", plant())
    assert done.err == f"{tmp_path / 'out'}: another sweep is running there; wait for it, or choose another folder " + (
        "with hydra.sweep.dir=DIR"
    )


def test_the_same_command_has_the_same_folder(ptune, tmp_path, cached):
    """Without anything that names one."""
    words = [word for word in SWEEP if not word.startswith("hydra.sweep.dir")]
    assert ptune(*words, "seed=1,2", plant()).code == 0
    again = ptune(*words, "seed=1,2", plant())
    assert again.code == 0
    assert again.err.endswith(": 2 done, 0 to run")
    (sweep,) = (tmp_path / "outputs/sweeps").iterdir()
    assert sweep.name.startswith("experiment-demo_majority+tracker-none+data.demo.train-8+")
    assert started(sweep) == Counter([0, 1])


KILLED_ONCE = """
import os, signal
from pathlib import Path
from ptune.heads.linear import Linear

class Once(Linear):
    steps = 0

    def loss(self, hidden, batch):
        Once.steps += 1
        if Once.steps == 6 and not Path("mended").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(hidden, batch)
"""


@pytest.mark.slow
def test_an_unfinished_job_goes_on_from_its_checkpoint(ptune, tmp_path, cached, monkeypatch):
    """With the bits of a run that nothing has cut."""
    (tmp_path / "once.py").write_text(KILLED_ONCE)
    monkeypatch.syspath_prepend(tmp_path)
    words = [
        "train", "-m", "experiment=demo", "tracker=none", *SMALL, "batch_size=4", "eval_every=2", "max_steps=8",
        "packages=[once]", "method.head._target_=once.Once",
    ]  # fmt: skip
    done = ptune(*words, "hydra.sweep.dir=out")
    assert (done.code, ends(tmp_path / "out")) == (1, {0: ("failed", "killed")})
    Path("mended").touch()
    assert ptune(*words, "hydra.sweep.dir=out").code == ptune(*words, "hydra.sweep.dir=whole").code == 0
    (cut,), (whole,) = ([*(tmp_path / folder).glob("*/")] for folder in ("out", "whole"))
    assert "resuming from step 4 of 8" in (cut / "log.txt").read_text()
    assert (cut / "tuned.safetensors").read_bytes() == (whole / "tuned.safetensors").read_bytes()


@pytest.mark.slow
def test_fifty_jobs_with_twelve_failures_of_six_kinds(tmp_path, cached):
    """38 finish, 12 are named rightly, the same command runs only those; then the sweep itself is killed, too."""
    kinds = ("data", "oom", "nan", "killed", "disk", "code")
    failing = {seed: kinds[i % 6] for i, seed in enumerate(range(2, 50, 4))}
    words = [*SWEEP, "seed=range(0,50)", plant(**{f"s{seed}": f"'{kind}'" for seed, kind in failing.items()})]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    def begun(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ptune", *words, *more]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE)

    sweep = begun()
    _, said = sweep.communicate(timeout=1200)
    assert sweep.returncode == 1, said
    found = ends(tmp_path / "out")
    assert Counter(state for state, _ in found.values()) == {"ok": 38, "failed": 12}
    assert {number: kind for number, (_, kind) in found.items() if kind} == failing
    (tmp_path / "mended").touch()
    before = started(tmp_path / "out")
    sweep = begun()
    while len([*(tmp_path / "out").glob("*/result.json")]) < 42:
        time.sleep(0.1)
    sweep.kill()
    sweep.communicate()
    time.sleep(5)  # its jobs end with it
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/result.json")}
    sweep = begun()
    _, said = sweep.communicate(timeout=1200)
    assert sweep.returncode == 0, said
    assert f"50 jobs in out: {len(finished)} done, {50 - len(finished)} to run" in said
    assert {*(started(tmp_path / "out") - before)} == {*failing}
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    results = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/result.json")]
    assert sorted(result["seed"] for result in results) == list(range(50))
