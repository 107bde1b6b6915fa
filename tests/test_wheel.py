"""The wheel holds everything: installed elsewhere, ptune finds its configurations and assets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    words, env = [*map(str, command)], {**os.environ, **environ}
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the tree, so that no build folder is left in it."""
    if not find_spec("setuptools") or not find_spec("pip"):
        pytest.skip("building a wheel needs pip and setuptools in this environment")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    for name in ("ptune", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=JUNK)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    run(*pip, "--wheel-dir", out, source, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--no-compile"]
    run(*pip, "--target", target, wheel, cwd=target)
    return target


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 15_000_000


def test_the_wheel_holds_all_configurations_assets_and_modules(wheel):
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    conf = {f"ptune/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    modules = {
        str(path.relative_to(ROOT))
        .replace("ptune/launchers/", "hydra_plugins/ptune/")
        .replace("ptune/sweepers/", "hydra_plugins/ptune/sweepers/")
        for path in (ROOT / "ptune").rglob("*.py")
    }
    assets = {str(path.relative_to(ROOT)) for path in (ROOT / "ptune/assets").rglob("*") if path.is_file()}
    junk = {name for name in conf | modules | assets if "__pycache__" in name or "/local/" in name}
    assert (conf | modules | assets) - junk - shipped == set()
    assert {name.split("/")[0] for name in shipped} == {"ptune", "hydra_plugins"}
    assert not [name for name in shipped if "__pycache__" in name]


def test_the_installed_wheel_runs_from_another_folder(installed, tmp_path):
    def ptune(*words: str) -> str:
        return run(sys.executable, "-m", "ptune", *words, cwd=tmp_path, PYTHONPATH=str(installed))

    where = "import ptune, ptune.conf; print(ptune.__file__, ptune.conf.__file__)"
    files = run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(installed))
    assert all(file.startswith(str(installed)) for file in files.split())
    assert "P-Tuning v2" in ptune("ls", "method")
    cfg = OmegaConf.create(ptune("train", "--cfg", "job", "method=prefix"))
    assert cfg.method.prompt._target_ == "ptune.prompts.deep.Deep"
    script = installed / "bin" / "ptune"
    assert run(sys.executable, script, "--help", cwd=tmp_path, PYTHONPATH=str(installed)).startswith("ptune ")
    assert list(tmp_path.iterdir()) == []


def test_the_package_list_is_complete():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "ptune").rglob("*.py")
        if "__pycache__" not in file.parts
    }
    elsewhere = {
        "ptune.conf": "conf",
        "hydra_plugins.ptune": "ptune/launchers",
        "hydra_plugins.ptune.sweepers": "ptune/sweepers",
    }
    assert sorted(listed) == sorted({*found, *elsewhere} - {"ptune.launchers", "ptune.sweepers"})
    folders = [ROOT / elsewhere.get(name, name.replace(".", "/")) for name in listed]
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
