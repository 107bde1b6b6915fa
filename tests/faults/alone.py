"""A machine with nothing: no network, no key, no terminal, a home that nobody can write. And one full of secrets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cases import require
from hostile import anywhere
from kit import TINY

PROGRAM = (sys.executable, "-m", "ptune")
# A process that Python starts reads this, and so do all that it starts: each name or address that they ask for.
LISTENER = """\
import os, sys
def heard(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        file = os.open(os.environ["HEARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{event} {args[1:] if event == 'socket.connect' else args}\\n".encode())
        os.close(file)
sys.addaudithook(heard)
"""
LOOPBACK = re.compile(r"'(127\.[\d.]+|::1|localhost)'|^socket\.connect \('[^']*',\)$")  # or a path, of this machine
OUTSIDE = re.compile(r'sin_addr=inet_addr\("(?!127\.)|inet_pton\(AF_INET6, "(?!::1")')
DEFAULTS = [word for word in TINY if word.partition("=")[0] not in ("tracker", "quiet")]


def bare(base: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of such a machine, and others."""
    base.mkdir(parents=True, exist_ok=True)
    (base / "home").touch()  # where not even root makes a folder
    (base / "temporary").mkdir(exist_ok=True)
    given = {key: os.environ[key] for key in ("PATH", "LANG", "VIRTUAL_ENV") if key in os.environ}
    given |= {"HOME": str(base / "home"), "TMPDIR": str(base / "temporary"), "OMP_NUM_THREADS": "1"}
    return {**given, **environment}


def told(
    base: Path, *words: str, environment: Mapping[str, str] | None = None, under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own, with no terminal and standard input closed."""
    return subprocess.run(
        [*under, *PROGRAM, *words],
        cwd=base,
        env=bare(base, environment or {}),
        preexec_fn=lambda: os.close(0),
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=900,
    )


def nothing(base: Path) -> None:
    """Trains with the default settings, evaluates and reports; asks nobody anything. Raises Wrong otherwise."""
    (base / "listener").mkdir(parents=True)
    (base / "listener" / "sitecustomize.py").write_text(LISTENER)
    heard, trace = base / "heard.txt", base / "trace.txt"
    environment = {"PYTHONPATH": str(base / "listener"), "HEARD": str(heard)}
    strace = shutil.which("strace")  # sees programs that are not Python's, as W&B's
    under = (strace, "-f", "-qq", "-e", "trace=connect", "-o", str(trace)) if strace else ()
    for words in (
        ("train", *DEFAULTS, "max_steps=2", "hydra.run.dir=run"),
        ("eval", "run", "split=dev"),
        ("report", "run", "format=html", "out=page.html"),
    ):
        done = told(base, *words, environment=environment, under=under)
        require(done.returncode == 0, words, done.returncode, done.stderr[-2000:])
        require("warning" not in done.stderr, words, done.stderr[-2000:])
    lines = heard.read_text().splitlines() if heard.exists() else []
    asked = [line for line in lines if not LOOPBACK.search(line)]
    asked += [line for line in trace.read_text().splitlines() if OUTSIDE.search(line)] if trace.exists() else []
    require(not asked, "asked for", asked[:5])
    require(bool(list((base / "run").glob("wandb/offline-run-*/*.wandb"))), "W&B's own file")
    require((base / "home").read_bytes() == b"" and (base / "page.html").is_file(), "home or page")


CANARIES = {
    "HF_TOKEN": "hf_" + "canary01" * 5,
    "WANDB_API_KEY": "canary02" * 5,
    "AWS_SECRET_ACCESS_KEY": "canary03/" * 4,
    "OPENAI_API_KEY": "sk-" + "canary04" * 4,
    "DB_PASSWORD": "canary05-and-no-more",
    "DATABASE_URL": "postgres://me:canary06pass@host/db",
    "word by form": "ghp_" + "canary07" * 5,
    "word by name": "canary08 plain",
    "setting by form": "hf_" + "canary09" * 5,
    "setting by name": "canary10 plain",
}


def secrets(base: Path) -> None:
    """A run, a sweep, exports and a page, on a machine full of secrets; and commands that hold some, refused."""
    environment = {key: value for key, value in CANARIES.items() if key.isupper()}
    source = "task.source.statistics"
    conf = base.parent / "conf" / "extra"
    conf.mkdir(parents=True)
    for name, body in (
        ("form", f"tracker:\n  group: {CANARIES['setting by form']}\n"),
        ("name", f"task:\n  source:\n    statistics:\n      password: {CANARIES['setting by name']}\n"),
    ):
        (conf / f"{name}.yaml").write_text(f"# @package _global_\n{body}")
    quick, run = (*DEFAULTS, "max_steps=1"), "hydra.run.dir=run"
    refused = [
        ("train", *quick, run, f"tracker.group={CANARIES['word by form']}"),
        ("train", *quick, run, f"+{source}.api_key='{CANARIES['word by name']}'"),
        ("train", *quick, run, "--config-dir", str(conf.parent), "+extra=form"),
        ("train", *quick, run, "--config-dir", str(conf.parent), "+extra=name"),
        ("train", *quick, run, "tracker.group=${oc.env:DB_PASSWORD}"),
        ("train", "-m", *quick, "seed=1,2", "hydra.sweep.dir=run", "--config-dir", str(conf.parent), "+extra=form"),
        ("train", "-m", *quick, "seed=1,2", "hydra.sweep.dir=run", "--config-dir", str(conf.parent), "+extra=name"),
    ]
    for words in refused:
        done = told(base, *words, environment=environment)
        require(done.returncode in (1, 2) and "secret" in done.stderr, words, done.returncode, done.stderr[-1000:])
        require(not (base / "run").exists(), words, "left a folder")
    for words in (
        ("train", *quick, run),
        ("train", "-m", *quick, "seed=1,2", "hydra.sweep.dir=sweep", "hydra.launcher.n_jobs=1"),
        ("eval", "run", "split=dev"),
        ("export", "run", "to=folder", "out=folder"),
        ("report", "sweep", "format=html", "out=page.html"),
    ):
        done = told(base, *words, environment=environment)
        require(done.returncode == 0, words, done.returncode, done.stderr[-2000:])


def canary(base: Path, name: str) -> None:
    """One of them is nowhere below. Raises Wrong where it is."""
    require(len([path for path in base.rglob("*") if path.is_file()]) > 40, "not much was written")
    value = CANARIES[name]
    for part in (value, re.search(r"canary\d\d", value)[0]):  # type: ignore[index]
        require(not (found := anywhere(base, part)), name, found)
