"""README's commands: every `ptune train` line composes and binds; those that use a finished run are run on one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from ptune import build, config

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [line.strip() for block in BLOCK.findall(README) for line in block.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES if line and "|" not in line]
TRAIN = [words[2:] for words in COMMANDS if words[:2] == ["ptune", "train"]]
ON_A_RUN = [line.partition("#")[0].strip() for line in LINES if "run=RUN" in line]


def single(words: list[str]) -> list[str]:
    """One job of a sweep: the first value of each; what is searched for is left as it is."""
    plain = [word for word in words if word != "-m" and not word.startswith("hydra") and "(" not in word]
    return [f"{key}={value.split(',')[0]}" for key, _, value in (word.partition("=") for word in plain)]


@pytest.mark.parametrize("words", TRAIN, ids=" ".join)
def test_a_train_command_binds(words: list[str], tmp_path: Path) -> None:
    config.register()
    overrides = [word.replace("=DIR", "=pkg://ptune.assets/tiny_encoder") for word in single(words)]
    overrides = [f"resume={tmp_path}" if word.startswith("resume=") else word for word in overrides]
    with initialize_config_module("ptune.conf", version_base="1.3"):
        build.settings(compose("train", overrides=overrides))


def test_there_are_enough_commands_to_check() -> None:
    assert len(TRAIN) >= 8
    assert len(ON_A_RUN) == 3


@pytest.mark.slow
def test_commands_on_a_run_work(tmp_path: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def shell(line: str) -> str:
        done = subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shell("ptune train experiment=demo debug=fast max_steps=2 hydra.run.dir=RUN")
    printed = [shell(line) for line in ON_A_RUN]
    assert '"prediction": [' in printed[1]
    assert (tmp_path / "RUN" / "eval_dev.json").is_file()
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
    assert "ptv2" in shell("ptune report .")


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0].startswith("scripts/")], ids=" ".join)
def test_a_script_is_there(words: list[str]) -> None:
    assert os.access(ROOT / words[0], os.X_OK)
