"""`source` of a task's yaml: checked against its reader's signature and the task before a file is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module, resources
from typing import Any, NamedTuple

from pydantic import ValidationError

from ptune.bounded import UNNAMABLE, plain
from ptune.data.corpora import NOT_THE_READERS, SPLITS
from ptune.data.schemes import LETTERS
from ptune.errors import ConfigError, nearest
from ptune.leaves import check_leaf, finding_message, leaf, path_of, signature_model
from ptune.tasks import SHARED, Task

NOT_OPTIONS = ("path", "reads", "each")
NAMED = (*SPLITS, "unlabeled")
Problem = tuple[str, str]


class Kind(NamedTuple):
    """What a key of a source has to be: a type, and how it is said."""

    type: type
    said: str


TEXT, MAPPING, TRUTH = Kind(str, "a text"), Kind(Mapping, "a mapping"), Kind(bool, "true or false")
KINDS = {
    "reader": Kind(str, "the name of a format"),
    "folder": TEXT,
    "files": Kind(Mapping, "a mapping, as {train: [train.txt], dev: [dev.txt]}"),
    "differs": Kind(Mapping, "a mapping of splits to options of the reader"),
    "leave_out": Kind(Mapping, "a mapping, as {label: [null]}"),
    "hub": Kind(Mapping, "a mapping with path, revision and splits"),
    "metric": TEXT,
    "license": TEXT,
    "language": TEXT,
    "obtain": TEXT,
    "statistics": MAPPING,
    "layout": TEXT,
    "layouts": Kind(Mapping, "a mapping of layouts to sources"),
    "submission": MAPPING,
    "demo": TEXT,
}
HUB = {
    "path": TEXT,
    "config": TEXT,
    "revision": TEXT,
    "format": TEXT,
    "splits": Kind(Mapping, "a mapping, as {train: train, dev: validation}"),
    "columns": Kind(Mapping, "a mapping of our names to the data set's"),
    "leave_out": KINDS["leave_out"],
}
HUB_NEEDS = ("path", "revision", "splits")
HUB_FORMATS = ("parquet", "jsonl")


def make_task(config: Mapping[str, Any], packages: Sequence[str] = ()) -> Task:
    """The task of a yaml. Raises ConfigError with every mistake in it."""
    if problems := task_problems(config, packages):
        raise ConfigError(problems)
    task: Task = leaf(config, packages)
    return task


def task_problems(config: Any, packages: Sequence[str] = ()) -> list[str]:
    """Every mistake in a task's yaml, one line each."""
    if problems := [*check_leaf("task", config, packages)]:
        return problems
    task: Task = leaf(config, packages)
    return [f"task.{key}: {text}" for key, text in (*task.problems(), *source_problems(task))]


def source_problems(task: Task) -> Iterator[Problem]:
    """(setting, what is wrong with it) for the source of a task and each of its layouts, data.layout aside."""
    if not plain(task.name):
        yield "name", f"{task.name!r} {UNNAMABLE}"
    yield from source_errors(task, task.source, "source")
    layouts = task.source.get("layouts")
    if isinstance(layouts, Mapping):
        for name, layout in layouts.items():
            if isinstance(layout, Mapping):
                shared_settings = {key: task.source[key] for key in SHARED if key in task.source and key != "layouts"}
                yield from source_errors(task, {**shared_settings, **layout}, f"source.layouts.{name}")
            else:
                yield f"source.layouts.{name}", f"{layout!r} is not a source of its own, with reader and files"


def source_errors(task: Task, source: Mapping[str, Any], key: str) -> Iterator[Problem]:
    """What is wrong with one source, which stands at `key`."""
    yield from kinds(source, KINDS, ("reader", "files"), key)
    if isinstance(source.get("files"), Mapping):
        yield from files(source["files"], f"{key}.files")
    if isinstance(source.get("leave_out"), Mapping):
        yield from lists(source["leave_out"], f"{key}.leave_out", "values")
    yield from statistics(source.get("statistics"), f"{key}.statistics")
    yield from submission(source.get("submission"), f"{key}.submission")
    if isinstance(source.get("hub"), Mapping):
        yield from hub(task, source["hub"], f"{key}.hub")
    if not isinstance(source.get("reader"), str):
        return
    if source["reader"] not in readers():
        yield f"{key}.reader", f"there is no reader '{source['reader']}'; {nearest(source['reader'], readers())}"
        return
    if source.get("scheme") not in (None, *LETTERS):
        yield f"{key}.scheme", f"'{source['scheme']}' is not a choice; {nearest(source['scheme'], LETTERS)}"
    arguments = {name: value for name, value in source.items() if name not in NOT_THE_READERS}
    problems = [*options(source["reader"], arguments, key), *misnamed_columns(task, source, arguments, key)]
    yield from problems
    differs = source.get("differs")
    for split, changes in differs.items() if isinstance(differs, Mapping) and not problems else ():
        place = f"{key}.differs.{split}"
        if split not in (source.get("files") or ()):
            yield place, f"not one of the splits; {nearest(split, source.get('files') or ())}"
        elif not isinstance(changes, Mapping):
            yield place, f"{changes!r} is not a mapping of the reader's options"
        else:
            yield from options(source["reader"], {**arguments, **changes}, place)  # a value may be named out of the way


def readers() -> list[str]:
    """The formats that there are: the modules of ptune.readers that read files; that of the Hub reads data sets."""
    stems = {file.name.removesuffix(".py") for file in resources.files("ptune.readers").iterdir() if file.is_file()}
    names = sorted(stems - {"__init__", "hub"})
    return [name for name in names if hasattr(import_module(f"ptune.readers.{name}"), "read")]


def kinds(given: Mapping[str, Any], known: Mapping[str, Kind], needed: Sequence[str], key: str) -> Iterator[Problem]:
    """Values of another kind than their key's, and needed ones that are not there."""
    for name, (kind, description) in known.items():
        if given.get(name) is None:
            if name in needed:
                yield f"{key}.{name}", f"must be given: {description}"
        elif not isinstance(given[name], kind):
            yield f"{key}.{name}", f"{given[name]!r} is not {description}"


def files(given: Mapping[str, Any], key: str) -> Iterator[Problem]:
    """What is wrong with the names of the splits' files."""
    if not given:
        yield key, "no split; at least one is needed, as {dev: [dev.txt]}"
    for split in given:
        if str(split).partition("_")[0] not in NAMED or not plain(split):
            yield f"{key}.{split}", f"not a split; {nearest(split, NAMED)}"
    yield from lists(given, key, "names of files", str)


def lists(given: Mapping[str, Any], key: str, what: str, kind: type = object) -> Iterator[Problem]:
    """Values that are no lists of something."""
    for name, values in given.items():
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            hint = f"; did you mean [{values}]?" if isinstance(values, str) else ""
            yield f"{key}.{name}", f"{values!r} is not a list of {what}{hint}"


def statistics(given: Any, key: str) -> Iterator[Problem]:
    """What is wrong with the counts of the original."""
    if not isinstance(given, Mapping):
        return
    yield from kinds(given, {"from": TEXT, "pinned": TRUTH}, ("from",) if given.get("pinned") else (), key)
    for name, counts in given.items():
        for split, count in counts.items() if isinstance(counts, Mapping) else ():
            if isinstance(count, bool) or not isinstance(count, int | float):
                yield f"{key}.{name}.{split}", f"{count!r} is not a number"


def submission(given: Any, key: str) -> Iterator[Problem]:
    """What is wrong with the files that are handed in."""
    split_files = given.get("files") if isinstance(given, Mapping) else None
    for split, name in split_files.items() if isinstance(split_files, Mapping) else ():
        if not plain(name):
            yield f"{key}.files.{split}", f"{name!r} is not a file name"


def hub(task: Task, given: Mapping[str, Any], key: str) -> Iterator[Problem]:
    """What is wrong with where a data set is on the Hub."""
    for name in given:
        if name not in HUB:
            yield f"{key}.{name}", f"not a setting of a data set on the Hub; {nearest(name, HUB)}"
    yield from kinds(given, HUB, HUB_NEEDS, key)
    if given.get("format") not in (None, *HUB_FORMATS):
        yield f"{key}.format", f"'{given['format']}' is not a choice; {nearest(given['format'], HUB_FORMATS)}"
    if isinstance(given.get("leave_out"), Mapping):
        yield from lists(given["leave_out"], f"{key}.leave_out", "values")
    yield from misnamed_columns(task, given, given, key)


def options(reader: str, given: Mapping[str, Any], key: str) -> Iterator[Problem]:
    """What is wrong with the options of a reader, by its signature."""
    read = import_module(f"ptune.readers.{reader}").read
    model = signature_model(read, NOT_OPTIONS)
    try:
        model.model_validate(dict(given), strict=True)
    except ValidationError as error:
        problems = error.errors()
        extra_names = [str(problem["loc"][0]) for problem in problems if problem["type"] == "extra_forbidden"]
        for problem in problems:
            if problem["type"] == "missing" and get_close_matches(str(problem["loc"][0]), extra_names):
                continue  # it is there, misspelled
            path = path_of(problem)
            if problem["type"] == "extra_forbidden":
                setting_names = [*model.model_fields, *NOT_THE_READERS]
                yield f"{key}.{path}", f"not a setting of a source with reader {reader}; {nearest(path, setting_names)}"
            else:
                yield f"{key}.{path}", finding_message(problem, read, model.model_fields)


def misnamed_columns(task: Task, source: Mapping[str, Any], given: Mapping[str, Any], key: str) -> Iterator[Problem]:
    """Columns under names that the task does not read, as `tag` for `tags`; and none at all."""
    left_out = source.get("leave_out")
    value_names = [*task.inputs, task.label, *task.also, *(left_out if isinstance(left_out, Mapping) else ())]
    if given.get("columns") == {}:
        yield f"{key}.columns", f"must say in which columns {', '.join([*task.inputs, task.label])} are"
    for option in ("columns", "values"):
        for name in given[option] if isinstance(given.get(option), Mapping) else ():
            if name not in value_names:
                yield f"{key}.{option}.{name}", f"not a value that {task.name} reads; {nearest(name, value_names)}"
