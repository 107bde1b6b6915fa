"""What answers at once loads nothing heavy: help, listings, completion, composition; modules import one way."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ptune

COMPOSING = ("hydra", "omegaconf")
HEAVY = ("torch", "transformers", "datasets", "wandb", "sklearn", "scipy", "numpy")
PROBE = f"""
import sys
from ptune.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *(name for name in {COMPOSING + HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
BARE = ["--help", "--version"]  # lines for which nothing is composed
LINES = [
    *BARE,
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
    loaded = {*done.stderr.splitlines()[-1].split()} - {*(() if line in BARE else COMPOSING)}
    assert loaded == {"loaded:"}


def processor_time(*command: str) -> float:
    """Seconds of it, of user and system."""
    environ = {**os.environ, "COMP_LINE": "ptune train method="}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], capture_output=True, env=environ, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("line", ["--help", "ls", "ls method", "ls task", "train --help", "-sc query=bash"])
@pytest.mark.slow
def test_light_commands_take_little_more_than_hydra(line):
    """Half a second where importing Hydra takes 0.15; turn by turn, since machines differ and are busy.

    A command's own help composes all its settings.
    """
    both = [(processor_time("-m", "ptune", *line.split()), processor_time("-c", "import hydra")) for _ in range(3)]
    ours, hydra = map(min, zip(*both, strict=True))
    assert ours < (6 if line == "train --help" else 4) * hydra


MUTUAL = {("ptune.complete", "ptune.cli")}  # TAB is answered by the command line, and about it


def test_modules_import_each_other_one_way():
    """Those that are imported inside of functions count; those for types alone do not."""
    root = Path(ptune.__file__).parent
    modules = {".".join(("ptune", *path.relative_to(root).with_suffix("").parts)): path for path in root.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {
        name: {*imported(ast.parse(path.read_text(encoding="utf-8")), modules)} - {name}
        for name, path in modules.items()
    }
    assert len(graph["ptune.commands.train"]) > 3
    for importer, known in MUTUAL:
        graph[importer].remove(known)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def imported(node: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    """The modules of ptune that a piece of code imports."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        names = [alias.name for alias in child.names] if isinstance(child, ast.Import | ast.ImportFrom) else []
        within = child.module if isinstance(child, ast.ImportFrom) else None
        for name in names:
            whole = name if within is None else f"{within}.{name}"
            yield from [known for known in (whole, within) if known in modules][:1]
        yield from imported(child, modules)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
REFUSED = {
    "task=squad backbone=roberta_base": "task squad (rajpurkar/squad) is not on this machine",
    "task=cb data=demo backbone=roberta_base": "backbone roberta_base (FacebookAI/roberta-base) is not on this machine",
    "task=ontonotes backbone=tiny_encoder": "data=hub: no data set of the Hub is known for ontonotes",
    "task=cb data=local data.root=pointers": "pointers/train.jsonl:1: a Git LFS pointer instead of the data",
    "task=rte data=local data.root=pointers": "no dev data in pointers",
    "task=cb data=local data.root=nowhere": "data.root: nowhere is not a folder",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_there_is_refused_without_torch(words, tmp_path):
    """Data or a backbone that cannot be had: nobody waits for torch to be told so."""
    (tmp_path / "pointers" / "RTE").mkdir(parents=True)
    for name in ("train.jsonl", "val.jsonl"):
        (tmp_path / "pointers" / name).write_text(POINTER, encoding="utf-8")
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    if words.startswith("task=rte"):
        (tmp_path / "pointers" / "val.jsonl").unlink()
        row = '{"premise": "a", "hypothesis": "b", "label": "entailment", "idx": 0}\n'
        (tmp_path / "pointers" / "train.jsonl").write_text(row, encoding="utf-8")
    command = [sys.executable, "-c", PROBE, "train", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=100)
    assert done.returncode == 1
    assert REFUSED[words] in done.stderr
    loaded = done.stderr.partition("loaded:")[2].splitlines()[0].split()
    assert not {"torch", "transformers", "datasets"} & set(loaded)
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.glob("outputs/**/*") if path.is_file()]
