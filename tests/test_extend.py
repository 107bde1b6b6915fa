"""CONTRIBUTING.md's example, taken from its text: one file and one yaml outside of ptune make a method."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"`(my_\S+)`:\n\n```(?:python|yaml)\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_the_example_of_contributing_trains_and_is_restored(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert [name for name, _ in blocks] == [
        "my_package/gated.py",
        "my_conf/method/prompt/gated.yaml",
        "my_conf/method/gated.yaml",
    ]
    for name, text in blocks:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "my_package" / "__init__.py").touch()
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def ptune(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ptune", *arguments], cwd=tmp_path, env=env, text=True, capture_output=True
        )

    common = ["--config-dir", "my_conf", "experiment=demo", "debug=fast", "max_steps=2"]
    refused = ptune("train", *common, "method=gated")
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        "method.prompt._target_: 'my_package.gated.Gated' is in no allowed package (ptune); "
        "packages=[my_package] allows it"
    )
    done = ptune("train", *common, "method=gated", "packages=[my_package]", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["method"] == "gated"
    refused = ptune("eval", "run=run")  # a run folder may be a stranger's
    assert refused.returncode == 1
    assert refused.stderr.strip() == (
        "the run uses classes from my_package; if you trust that code and this run, add packages=[my_package]"
    )
    again = ptune("eval", "run=run", "packages=[my_package]")
    assert again.returncode == 0, again.stderr
    on = ptune("train", "resume=run", "packages=[my_package]")
    assert (on.returncode, on.stderr.strip()) == (0, f"{tmp_path / 'run'} is finished")
    evaluated = json.loads((tmp_path / "run" / "eval_test.json").read_text())
    assert evaluated["scores"][result["metric"]] == result["score"]
    assert "P-Tuning v2 with a learned gate" in ptune("ls", "method", "--config-dir", "my_conf").stdout
