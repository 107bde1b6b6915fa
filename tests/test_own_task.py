"""A task of one's own, a yaml and tables beside it: what is said of each mistake in them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

YAML = """# Toys: is a review good or bad?
_target_: ptune.tasks.classify.Classify
name: toys
version: 1
source:
  reader: delimited
  files: {train: [train.tsv], dev: [dev.tsv]}
fields: [text]
labels: [bad, good]
"""
ROWS = [f"a {said} toy, number {i}\t{label}" for i in range(6) for said, label in (("broken", "bad"), ("fine", "good"))]
TRAIN = ("backbone=tiny_encoder", "method=ptv2", "max_steps=1", "batch_size=4", "tracker=none")
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the task's yaml and both of its files."""

    def write(yaml: str = YAML, header: str = "text\tlabel", rows: list[str] = ROWS) -> None:
        (tmp_path / "my_conf/task").mkdir(parents=True, exist_ok=True)
        (tmp_path / "my_conf/task/toys.yaml").write_text(yaml, encoding="utf-8")
        for name in ("train.tsv", "dev.tsv"):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in (header, *rows) if line), encoding="utf-8")

    return write


@pytest.fixture
def on_toys(ptune: Callable[..., Result]) -> Callable[..., Result]:
    """A command on the task."""
    return lambda *words: ptune(*words, "--config-dir", "my_conf", "task=toys", "data=local", "data.root=.")


HEADERS = {
    "none": ("", "(a broken toy, number 0, bad); if the file has none, add names: [text, label] under source in the "
             "task's yaml, in its order"),
    "commas": ("text,label", "(text,label); if commas separate its columns, add delimiter: ',' under source in the "
               "task's yaml"),
    "another name": ("texts\tlabel", "(texts, label); did you mean 'texts'? Rename one of the two"),
    "a long one": ("a" * 50 + "\tlabel", f"({'a' * 40}..., label); if the file has none, add names: [text, label] "
                   "under source in the task's yaml, in its order"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_without_the_text(name: str, write: Write, on_toys: Callable[..., Result]) -> None:
    header, said = HEADERS[name]
    write(header=header, rows=[row.replace("\t", ",") for row in ROWS] if name == "commas" else ROWS)
    wanted = f":1: the header has no 'text' {said}"
    assert on_toys("data", "check").err.splitlines() == [f"train.tsv{wanted}", f"dev.tsv{wanted}", "2 problems"]
    assert on_toys("train", *TRAIN).err == f"train.tsv{wanted}"


def test_the_cures_of_a_header(write: Write, on_toys: Callable[..., Result]) -> None:
    write(header="", yaml=YAML.replace("delimited\n", "delimited\n  names: [text, label]\n"))
    assert on_toys("data", "check").code == 0
    commas = [f'"{text}",{label}' for text, label in (row.split("\t") for row in ROWS)]
    write(YAML.replace("delimited\n", "delimited\n  delimiter: ','\n  quoted: true\n"), "text,label", commas)
    assert on_toys("data", "check").code == 0
    write(header="text\tclass", yaml=YAML + "label: class\n")
    assert on_toys("data", "check").code == 0


def test_names_without_the_text(write: Write, on_toys: Callable[..., Result]) -> None:
    write(header="", yaml=YAML.replace("delimited\n", "delimited\n  names: [review, label]\n"))
    wanted = "no column 'text' by task.source.names and columns (review, label)"
    assert on_toys("data", "check").err.splitlines()[0] == f"train.tsv: {wanted}"


def test_a_label_of_another_name(write: Write, on_toys: Callable[..., Result], tmp_path: Path) -> None:
    write(header="text\tclass")
    wanted = "has text, class; rename class to label, or add label: class to the task's yaml"
    checked = on_toys("data", "check")
    assert checked.code == 1
    assert checked.err.splitlines() == [f"no training record of toys has a 'label': train.tsv {wanted}", "1 problem"]
    assert f"no dev record of toys has a 'label': dev.tsv {wanted}" in checked.out
    said = f"task: no training record of toys has a 'label': {tmp_path}/train.tsv {wanted}"
    assert on_toys("train", *TRAIN).err == said


def test_a_task_without_a_name(write: Write, on_toys: Callable[..., Result]) -> None:
    write(YAML.replace("name: toys\n", ""))
    assert on_toys("train", *TRAIN).err == "task.name: must be given: name: NAME in the yaml of the task"


def blocks(kind: str) -> list[str]:
    """The code of docs/data.md on a corpus of one's own."""
    page = (Path(__file__).parents[1] / "docs/data.md").read_text(encoding="utf-8")
    section = page.split("## A corpus of your own\n")[1].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)


def test_the_page_on_a_corpus_of_ones_own(ptune: Callable[..., Result], tmp_path: Path) -> None:
    """Its table, its yaml and its commands, as they are written there."""
    (table,), (task,) = blocks("tsv"), blocks("yaml")
    (tmp_path / "my_conf/task").mkdir(parents=True)
    (tmp_path / "my_conf/task/toys.yaml").write_text(task, encoding="utf-8")
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(table, encoding="utf-8")
    check, train, predict = (shlex.split(line, comments=True)[1:] for line in blocks("sh")[0].splitlines())
    assert ptune(*check).out.endswith("no problems")
    trained = ptune(*train, "max_steps=2", "tracker=none")
    assert trained.code == 0, trained.err
    answers = [json.loads(line) for line in ptune(*predict).out.splitlines()]
    assert [(row["text"], row["label"]) for row in answers] == [
        ("The wheels came off on day one.", "bad"),
        ("Our kids love it.", "good"),
    ]
    assert {row["prediction"] for row in answers} <= {"bad", "good"}
