"""The source of a task's yaml: every mistake in it said by its key, before a file is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ptune.data.source import make_task, readers
from ptune.errors import ConfigError

TASKS = Path(__file__).parents[1] / "conf/task"
Edit = Callable[[dict[str, Any]], Any]


def node(name: str) -> dict[str, Any]:
    return yaml.safe_load((TASKS / f"{name}.yaml").read_text(encoding="utf-8"))


def renamed(old: str, new: str) -> Edit:
    return lambda source: source.update({new: source.pop(old)})


def without(name: str) -> Edit:
    return lambda source: source.pop(name)


def of(path: str, value: Any) -> Edit:
    def edit(source: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            source = source[parent]
        source[last] = value

    return edit


READERS = (
    "array, columns, delimited, e2e, facts, gold_conll, indexed, jsonl, multirc, props, record, roles, squad, webnlg"
)
CASES: dict[str, tuple[str, Edit, list[str]]] = {
    "misspelled option": (
        "wnut17",
        renamed("columns", "colums"),
        ["task.source.colums: not a setting of a source with reader columns; did you mean 'columns'?"],
    ),
    "no reader": ("wnut17", without("reader"), ["task.source.reader: must be given: the name of a format"]),
    "misspelled reader": (
        "wnut17",
        of("reader", "colunms"),
        ["task.source.reader: there is no reader 'colunms'; did you mean 'columns'?"],
    ),
    "a module that is no reader": (
        "wnut17",
        of("reader", "document"),
        [f"task.source.reader: there is no reader 'document'; one of: {READERS}"],
    ),
    "no files": (
        "wnut17",
        without("files"),
        ["task.source.files: must be given: a mapping, as {train: [train.txt], dev: [dev.txt]}"],
    ),
    "files of no split": (
        "wnut17",
        of("files", {}),
        ["task.source.files: no split; at least one is needed, as {dev: [dev.txt]}"],
    ),
    "files in a text": (
        "wnut17",
        of("files", "train.txt"),
        ["task.source.files: 'train.txt' is not a mapping, as {train: [train.txt], dev: [dev.txt]}"],
    ),
    "a split's files in a text": (
        "wnut17",
        of("files.train", "train.txt"),
        ["task.source.files.train: 'train.txt' is not a list of names of files; did you mean [train.txt]?"],
    ),
    "splits of other names": (
        "wnut17",
        of("files", {"trian": ["a"], "dev": ["b"], "validation": ["b"]}),
        [
            "task.source.files.trian: not a split; did you mean 'train'?",
            "task.source.files.validation: not a split; one of: train, dev, test, unlabeled",
        ],
    ),
    "columns in a list": ("wnut17", of("columns", [0, 1]), ["task.source.columns: [0, 1] is not a valid dictionary"]),
    "no columns": (
        "wnut17",
        of("columns", {}),
        ["task.source.columns: must say in which columns tokens, tags are"],
    ),
    "columns by name": (
        "wnut17",
        of("columns", {"tokens": "word", "tags": 1}),
        ["task.source.columns.tokens: 'word' is not a valid integer"],
    ),
    "misspelled column": (
        "wnut17",
        of("columns", {"tokens": 0, "tag": 1}),
        ["task.source.columns.tag: not a value that wnut17 reads; did you mean 'tags'?"],
    ),
    "misspelled column of the Hub": (
        "wnut17",
        of("hub.columns", {"token": "tokens"}),
        ["task.source.hub.columns.token: not a value that wnut17 reads; did you mean 'tokens'?"],
    ),
    "unknown format of the Hub": (
        "wnut17",
        of("hub.format", "csv"),
        ["task.source.hub.format: 'csv' is not a choice; one of: parquet, jsonl"],
    ),
    "misspelled key of the Hub": (
        "wnut17",
        of("hub.colums", {}),
        ["task.source.hub.colums: not a setting of a data set on the Hub; did you mean 'columns'?"],
    ),
    "option of a layout": (
        "conll04",
        of("layouts.json.uniqe", "orig_id"),
        ["task.source.layouts.json.uniqe: not a setting of a source with reader array; did you mean 'unique'?"],
    ),
    "scheme of a layout": (
        "conll04",
        of("layouts.json.scheme", "bilo"),
        ["task.source.layouts.json.scheme: 'bilo' is not a choice; did you mean 'bilou'?"],
    ),
    "a layout that is none": (
        "conll04",
        of("layouts.json", 3),
        ["task.source.layouts.json: 3 is not a source of its own, with reader and files"],
    ),
    "layouts in a list": (
        "conll04",
        of("layouts", ["json"]),
        ["task.source.layouts: ['json'] is not a mapping of layouts to sources"],
    ),
    "choice of a reader": (
        "ontonotes",
        of("annotation", "name"),
        ["task.source.annotation: 'name' is not a choice; did you mean 'names'?"],
    ),
    "a number that is none": (
        "ontonotes",
        of("statistics.examples.train", "many"),
        ["task.source.statistics.examples.train: 'many' is not a number"],
    ),
    "a split that differs and is none": (
        "stsb",
        of("differs", {"tst": {"columns": {}}}),
        ["task.source.differs.tst: not one of the splits; did you mean 'test'?"],
    ),
    "misspelled option of a split": (
        "stsb",
        of("differs.test", {"column": {}}),
        ["task.source.differs.test.column: not a setting of a source with reader delimited; did you mean 'columns'?"],
    ),
    "a value to leave out": (
        "snli",
        of("leave_out", {"label": "-"}),
        ["task.source.leave_out.label: '-' is not a list of values; did you mean [-]?"],
    ),
    "values of another column": (
        "mr",
        of("values", {"lable": {"0": "neg"}}),
        ["task.source.values.lable: not a value that mr reads; did you mean 'label'?"],
    ),
    "genres in a text": (
        "ontonotes",
        of("without", "pt"),
        ["task.source.without: 'pt' is not a list"],
    ),
}


TYPOS = {
    "task.source.reader=colunms": "task.source.reader: there is no reader 'colunms'; did you mean 'columns'?",
    "+task.source.opened=16": (
        "task.source.opened: not a setting of a source with reader columns; did you mean 'opens'?"
    ),
    "task.source.files=train.txt": (
        "task.source.files: 'train.txt' is not a mapping, as {train: [train.txt], dev: [dev.txt]}"
    ),
    "task.source.files.dev=dev.txt": (
        "task.source.files.dev: 'dev.txt' is not a list of names of files; did you mean [dev.txt]?"
    ),
}


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make_task(config)
    return caught.value.problems


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    task, edit, expected = CASES[name]
    config = node(task)
    edit(config["source"])
    assert problems(config) == expected


@pytest.mark.parametrize("name", sorted(path.stem for path in TASKS.glob("*.yaml")))
def test_every_shipped_source_is_right(name: str) -> None:
    assert make_task(node(name)).name == name


def test_readers_are_named_by_their_modules() -> None:
    assert readers() == READERS.split(", ")


def test_fields_that_may_be_empty_are_fields() -> None:
    assert problems({**node("cb"), "may_be_empty": ["premis"]}) == [
        "task.may_be_empty: 'premis' is not a field of cb; did you mean 'premise'?"
    ]


UNQUOTED = {
    "labels: [no, yes]": [
        "task.labels.0: false where a text is needed; YAML reads no and off as false, so quote it: 'no'",
        "task.labels.1: true where a text is needed; YAML reads yes and on as true, so quote it: 'yes'",
    ],
    "labels: [1, 0]": [
        "task.labels.0: 1 is a number where a text is needed; quote it in the yaml: '1'",
        "task.labels.1: 0 is a number where a text is needed; quote it in the yaml: '0'",
    ],
    "verbalizers: {said: {yes: ['Yes'], '0': [2.5]}}": [
        "task.verbalizers.said: true where a text is needed; YAML reads yes and on as true, so quote it: 'yes'",
        "task.verbalizers.said.0.0: 2.5 is a number where a text is needed; quote it in the yaml: '2.5'",
    ],
}


@pytest.mark.parametrize("line", UNQUOTED)
def test_what_yaml_takes_for_something_else(line: str) -> None:
    assert problems({**node("paws"), **yaml.safe_load(line)}) == UNQUOTED[line]


def test_a_number_among_the_values_of_a_column() -> None:
    config = node("paws")
    config["source"]["values"]["label"] = {0: "different", "1": "paraphrase"}
    assert problems(config) == [
        "task.source.values.label: 0 is a number where a text is needed; quote it in the yaml: '0'"
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("data", "check", "data.root=."),
        ("data", "info", "data=demo"),
        ("train", "backbone=tiny_encoder", "data=demo", "tracker=none"),
    ],
    ids=["data check", "data info", "train"],
)
def test_at_the_command_line(words, ptune) -> None:
    """One line, no traceback; a task without an argument that its class needs, too."""
    cases = {
        "+task.source.opened=16": "task.source.opened: not a setting of a source with reader columns; did you mean",
        "task.source.reader=colunms": "task.source.reader: there is no reader 'colunms'; did you mean 'columns'?",
        "~task.types": "task.types: must be given; ptune.tasks.tag.Tag needs it",
        "task.source.files=train.txt": "task.source.files: 'train.txt' is not a mapping",
    }
    for edit, said in cases.items():
        code, _, err = ptune(*words, "task=wnut17", edit)
        assert code == 2
        assert err.startswith(said)
        assert "\n" not in err


@pytest.mark.parametrize("edit", TYPOS)
@pytest.mark.parametrize(
    "words",
    [
        ("data", "check"),
        ("train", "backbone=tiny_encoder", "tracker=none"),
        ("train", "-m", "backbone=tiny_encoder", "tracker=none", "seed=1"),
        ("eval", "run=none"),
        ("predict", "run=none", "submission=true"),
    ],
    ids=["data check", "train", "train -m", "eval", "predict"],
)
def test_before_a_file_or_a_run_is_opened(words, edit, ptune) -> None:
    """Where the original files would be read, with one line the same for all, and without an empty run folder."""
    code, out, err = ptune(*words, "data=local", "data.root=.", "task=wnut17", edit)
    if "-m" in words:
        assert TYPOS[edit] in out + err
        assert code == 2
    else:
        assert (code, err) == (2, TYPOS[edit])
        assert not [*Path("outputs").glob("wnut17/*/*")]
