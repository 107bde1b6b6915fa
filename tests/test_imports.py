"""What answers at once loads nothing heavy: help, listings, completion, composition."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "wandb", "sklearn", "scipy", "numpy")
PROBE = f"""
import sys
from ptune.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
LINES = [
    "--help",
    "ls",
    "ls method",
    "ls task",
    "train --help",
    "train --cfg job method=prefix",
    "train method=nope",
    "eval --help",
    "-sc install=bash",
    "-sc query=bash",
]


@pytest.mark.parametrize("line", LINES)
def test_light_commands_load_nothing_heavy(line):
    environ = {**os.environ, "COMP_LINE": "ptune train method.prompt."}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *line.split()], capture_output=True, text=True, env=environ, timeout=30
    )
    assert done.stderr.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("line", ["--help", "ls", "ls method", "ls task", "train --help", "-sc query=bash"])
def test_light_commands_answer_in_half_a_second(line):
    environ = {**os.environ, "COMP_LINE": "ptune train method="}
    command = [sys.executable, "-m", "ptune", *line.split()]
    seconds = []
    for _ in range(3):  # the best of processor time: a busy machine is not the program's fault
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, env=environ, check=True, timeout=30)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5
