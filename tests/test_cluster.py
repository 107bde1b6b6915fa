"""hydra/launcher=submitit and ray: the sweeps of the default launcher, on other engines. No SLURM is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hydra_plugins.ptune import submitit as launcher
from hydra_plugins.ptune.submitit import SubmititLauncher

from ptune.errors import ConfigError, PtuneError
from ptune.sweeps.jobs import Outcome
from ptune.sweeps.ledger import events

SMALL = [
    "train",
    "data=demo",
    "task=conll03",
    "backbone=tiny_encoder",
    "data.demo.train=24",
    "data.demo.dev=6",
    "data.demo.test=6",
    "tracker=none",
    "method=ptv2",
    "prompt_length.value=4",
    "optim.lr=0.01",
    "accumulate=2",
]
SUBMITIT = ["hydra/launcher=submitit", "hydra.launcher.executor=local"]
FIGURES = ("score", "interval", "selected", "steps", "parameters", "identity", "checksums")


def figures(run: Path) -> dict[str, Any]:
    """What a run has ended with, but for its time."""
    result = json.loads((run / "result.json").read_text())
    return {**{key: result[key] for key in FIGURES}, "weights": (run / "tuned.safetensors").read_bytes()}


def states(sweep: Path) -> dict[str, str]:
    """How each job of a sweep ended, by its folder."""
    return {event["folder"]: event["state"] for event in events(sweep)}


@pytest.mark.slow
def test_a_sweep_by_submitit(ptune, tmp_path):
    """The figures of a job are those of the same run by itself; given again the sweep runs what failed alone."""
    words = [*SMALL, "max_steps=2"]
    sweep = ["-m", *SUBMITIT, "metric=f1,f2", "hydra.sweep.dir=out"]
    done = ptune(*words, *sweep)
    assert done.code == 1, done.err  # some failed
    assert ptune(*words, "metric=f1", "hydra.run.dir=alone").code == 0
    assert figures(tmp_path / "out/metric-f1") == figures(tmp_path / "alone")
    assert (tmp_path / "out/metric-f1/log.txt").is_file()
    assert (tmp_path / "out/submitit").stat().st_mode & 0o77 == 0
    assert states(tmp_path / "out") == {"metric-f1": "ok", "metric-f2": "failed"}
    again = ptune(*words, *sweep)
    assert again.code == 1, again.err
    assert "1 done" in again.err
    assert [event["folder"] for event in events(tmp_path / "out") if event["state"] == "started"] == ["metric-f1"]


# SLURM, as far as its programs can be stood in for


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """slurm(sbatch="exit 1"): programs that are called as SLURM's, in shell; sbatch keeps what it is given."""
    programs = tmp_path / "slurm"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def make(**texts: str) -> Path:
        sbatch = f'cp "$1" {programs}/script\necho Submitted batch job {os.getpid()}'
        for name, text in {"sbatch": sbatch, "srun": "", "sacct": "", "scancel": "", **texts}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        return programs / "script"

    return make


def submitted(folder: Path, **given: Any) -> Any:
    """A job of submitit that does next to nothing."""
    return SubmititLauncher(**given).make_executor(folder / "submitit").submit(len, [])


def test_what_slurm_is_told(slurm, tmp_path):
    script = slurm()
    more = {"partition": "gpu", "constraint": "a100", "account": None, "setup": ["module load cuda"]}
    submitted(tmp_path, timeout_min=90, nodes=2, tasks_per_node=4, gpus_per_node=4, mem_gb=16, slurm=more)
    told = script.read_text().splitlines()
    assert {line for line in told if line.startswith("#SBATCH")} > {
        "#SBATCH --partition=gpu",
        "#SBATCH --constraint=a100",
        "#SBATCH --time=90",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --gpus-per-node=4",
        "#SBATCH --mem=16GB",
        "#SBATCH --signal=USR2@90",
        "#SBATCH --open-mode=append",
    }
    assert "--account" not in script.read_text()
    assert "module load cuda" in told
    assert f"{sys.executable} -u -m submitit.core._submit" in script.read_text()


LOST = {
    "OUT_OF_MEMORY": ("failed", "oom"),
    "NODE_FAIL": ("failed", "killed"),
    "TIMEOUT": ("interrupted", "interrupted"),
    "CANCELLED by 0": ("interrupted", "interrupted"),
}


@pytest.mark.parametrize("state", LOST)
def test_jobs_that_leave_no_outcome(state, slurm, tmp_path, monkeypatch):
    """SLURM knows what became of them."""
    number = 1000 + [*LOST].index(state)
    slurm(sbatch=f"echo Submitted batch job {number}", sacct=f'echo "JobID|State"; echo "{number}|{state}"')
    monkeypatch.setattr(launcher, "PATIENCE", 0.0)
    (outcome,) = launcher.Submitted(submitted(tmp_path), 1).poll()
    assert (outcome.state, outcome.kind) == LOST[state]
    assert f"submitit job {number} ended as {state.upper()}" in outcome.message


def test_what_slurm_refuses(slurm, tmp_path):
    """In one line, SLURM's own."""
    slurm(sbatch='echo "sbatch: error: invalid partition specified: gpux" >&2; exit 1')
    sweep = SubmititLauncher()
    sweep.submitter = sweep.make_executor(tmp_path / "submitit")
    with pytest.raises(PtuneError, match=r"could not be submitted \(.*invalid partition specified: gpux\)"):
        sweep.start([])


@pytest.mark.parametrize(("state", "submissions"), [("RUNNING", 1), ("PENDING", 1), ("FAILED", 2), ("UNKNOWN", 2)])
def test_a_sweep_that_died_finds_its_jobs_again(state, submissions, slurm, tmp_path):
    """SLURM's job of a job that still waits or runs is followed; of another, or one that has ended, there is a new."""
    numbers, first = tmp_path / "numbers", 7000 + 10 * len(state)
    more = f'echo x >> {numbers}; echo "Submitted batch job $(({first} + $(wc -l < {numbers})))"'
    slurm(sbatch=more, sacct=f'echo "JobID|State"; echo "{first + 1}|{state}"; echo "{first + 2}|{state}"')
    job = SimpleNamespace(identity="one", spec="a spec", folder=tmp_path / "job")
    other = SimpleNamespace(identity="two", spec="a spec", folder=tmp_path / "other")
    said: list[str] = []

    def start(job: Any) -> Any:
        sweep = SubmititLauncher()
        sweep.submitter, sweep.view = sweep.make_executor(tmp_path / "submitit"), SimpleNamespace(warn=said.append)
        return sweep.start([job]).job

    before = start(job)
    with (tmp_path / "submitit" / launcher.SUBMITTED).open("a") as file:
        file.write('{"identities": ["one"], "jo')  # cut off
    again = start(job)
    assert len(numbers.read_text().splitlines()) == submissions
    assert (again.job_id == before.job_id) is (submissions == 1)
    assert len(said) == 2 - submissions
    start(other)
    assert len(numbers.read_text().splitlines()) == submissions + 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"executor": "slurm"}, "srun"),
        ({"executor": "pbs"}, "pbs"),
        ({"executor": "local", "nodes": 2}, "nodes"),
        ({"executor": "local", "timeout_min": "long"}, "timeout_min"),
        ({"executor": "local", "slurm": {"particion": "gpu"}}, "particion"),
    ],
)
def test_what_submitit_does_not_know(given, said, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(ConfigError, match=rf"^hydra\.launcher: .*{said}.*$"):
        SubmititLauncher(**given).make_executor(tmp_path / "submitit")


def test_the_rank_that_knows_tells(tmp_path):
    """Of two tasks the second one has met the error; a task may fail before it comes to its job."""
    from submitit.core.utils import cloudpickle_dump
    from submitit.local.local import LocalJob

    job = LocalJob(tmp_path, "7", tasks=[0, 1])
    outcome = Outcome("failed", "oom", "out of memory")
    cloudpickle_dump(("success", []), job.task(0).paths.result_pickle)
    cloudpickle_dump(("success", [outcome]), job.task(1).paths.result_pickle)
    assert launcher.Submitted(job, 1).poll() == [outcome]
    trace = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'mine'\n"
    cloudpickle_dump(("error", trace), job.task(0).paths.result_pickle)
    (outcome,) = launcher.Submitted(job, 1).poll()
    assert (outcome.kind, outcome.message) == ("code", "ModuleNotFoundError: No module named 'mine'")


def test_a_job_is_queued_again_as_it_was(tmp_path):
    from submitit.core.utils import DelayedSubmission

    job = launcher.Attempt(["a spec"], 2)
    job.checkpoint().dump(tmp_path / "again.pkl")
    again = DelayedSubmission.load(tmp_path / "again.pkl").function
    assert (again.specs, again.beside, again.cut) == (["a spec"], 2, False)
    assert job.cut


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_a_job_that_slurm_ends_leaves_no_outcome(cluster, cut, tmp_path, monkeypatch):
    """SIGTERM comes before the kill, of a job that is queued again as of one that is canceled; it has been saved."""
    outcome = Outcome("interrupted", "interrupted", "ended by SIGTERM; to resume: ptune train resume=run")
    slept: list[float] = []
    job = launcher.Attempt([], 1)

    def attempt(specs: Any) -> list[Outcome]:
        job.cut = cut
        return [outcome]

    monkeypatch.setattr("submitit.helpers.TorchDistributedEnvironment", lambda: SimpleNamespace(world_size=1, rank=1))
    monkeypatch.setattr("submitit.JobEnvironment", lambda: SimpleNamespace(cluster=cluster))
    monkeypatch.setattr("ptune.threads.divide", lambda processes: None)
    monkeypatch.setattr(launcher, "attempt", attempt)
    monkeypatch.setattr(launcher.time, "sleep", slept.append)
    if cut:
        with pytest.raises(SystemExit):
            job()
    else:
        assert job() == [outcome]
    assert slept == ([launcher.KILLED] if cluster == "slurm" else [])


@pytest.mark.parametrize("again", [True, False])
def test_a_job_that_is_told_to_go_is_saved_before_it_is_queued_again(again, tmp_path, monkeypatch):
    """What has been trained is in a checkpoint by then; submitit hears of the signal afterwards, and decides."""
    from submitit.core.utils import UncompletedJobError

    said = "ended by SIGUSR2; to resume: ptune train resume=run"
    job, order = launcher.Attempt(["a spec"], 1), list[str]()

    def attempt(specs: Any) -> list[Outcome]:
        order.append("saved")
        return [Outcome("interrupted", "interrupted", said)]

    def heard(*_: Any) -> None:
        order.append("heard")
        raise SystemExit(9) if again else UncompletedJobError("timed-out too many times")

    monkeypatch.setattr("submitit.helpers.TorchDistributedEnvironment", lambda: SimpleNamespace(world_size=1, rank=1))
    monkeypatch.setattr("ptune.threads.divide", lambda processes: None)
    monkeypatch.setattr(launcher, "attempt", attempt)
    before = signal.signal(signal.SIGUSR2, heard)
    try:
        if again:
            with pytest.raises(SystemExit):
                job()
        else:
            assert job() == [launcher.LATE]
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert order == ["saved", "heard"]


# Whole sweeps, with processes that import everything anew


ENGINES = {
    "submitit": SUBMITIT,
    "submitit, two tasks a job": [*SUBMITIT, "hydra.launcher.tasks_per_node=2"],
    "ray": ["hydra/launcher=ray"],
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The sweep by the default launcher."""
    folder = tmp_path_factory.mktemp("reference")
    swept(folder)
    return folder / "out"


def swept(folder: Path, *words: str) -> None:
    """A sweep of four jobs, two of them wrong, in a process of its own."""
    command = [sys.executable, "-m", "ptune", *SMALL, "-m", "max_steps=6", "seed=1,2", "metric=f1,f2", *words]
    done = subprocess.run([*command, "hydra.sweep.dir=out"], cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 1, done.stderr
    assert "failed jobs: 1, 3 (2 config)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_sweeps_are_alike_on_every_engine(engine, reference, tmp_path):
    """Figures, weights to the bit, and the ledger."""
    if engine == "ray" and find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'ptune[ray]'")
    swept(tmp_path, *ENGINES[engine])
    assert states(tmp_path / "out") == states(reference)
    assert sorted(states(reference).values()) == ["failed", "failed", "ok", "ok"]
    for seed in (1, 2):
        name = f"seed-{seed}+metric-f1"
        assert figures(tmp_path / "out" / name) == figures(reference / name)
    ranks = json.loads((tmp_path / "out/seed-1+metric-f1/env.json").read_text())["ranks"]
    assert ranks == (2 if "two" in engine else 1)


@pytest.mark.slow
def test_a_preempted_job_goes_on(ptune, tmp_path):
    """Told to go by submitit's signal before it has a checkpoint, it saves, is queued again and goes on from there."""
    words = [*SMALL, "max_steps=400", "epochs=400", "eval_every=400", "seed=3"]
    command = [sys.executable, "-m", "ptune", *words, "-m", *SUBMITIT, "hydra.sweep.dir=out"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as sweep:
        until = time.monotonic() + 300
        while not [*tmp_path.glob("out/*/metrics.jsonl")] and time.monotonic() < until:
            time.sleep(0.05)
        tasks = [
            p for p in psutil.Process(sweep.pid).children(recursive=True) if "submitit.core._submit" in p.cmdline()
        ]
        for task in tasks:
            task.send_signal(signal.SIGUSR2)
        _, said = sweep.communicate(timeout=500)
    assert sweep.returncode == 0, said
    (run,) = (path.parent for path in tmp_path.glob("out/*/result.json"))
    assert "resuming from step" in (run / "log.txt").read_text()
    assert ptune(*words, "hydra.run.dir=whole").code == 0
    assert figures(run) == figures(tmp_path / "whole")
