"""`ptune export`: a finished run for use elsewhere: as an adapter of PEFT, as a folder of its own, or on the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ptune.config import Export
from ptune.errors import ConfigError, DataError, PtuneError, nearest
from ptune.progress import Progress

if TYPE_CHECKING:
    from ptune.batch import Example
    from ptune.runs.restore import Restored

PLACES = ("peft", "folder", "hub")
OF_HUB = ("repo", "confirm", "content", "private")  # settings
PROBES = 8  # examples that an adapter's logits are compared on
TEXTS = ("a", "the old mill stands by the river", "Anna Berg does not live in the old house .")
Writer = Callable[["Restored", Path, str | None], str]


def main(cfg: DictConfig) -> None:
    """Write the run to a new folder `out`, or tell what would be uploaded to `repo`, and upload it with `confirm`."""
    from ptune.build import settings_of

    s = settings_of(cfg, Export)
    if problems := [*misplaced_settings(s)]:
        raise ConfigError(problems)
    out = None if s.out is None else Path(s.out)
    if out is not None and out.is_file():
        raise ConfigError([f"out: {out} is a file; name a new folder"])
    if out is not None and out.exists() and any(out.iterdir()):
        raise ConfigError([f"out: {out} is not empty; name a new folder"])
    from ptune.runs.restore import restore

    content = s.content if s.to == "hub" else s.to
    progress = Progress()
    run = restore(s.run, "cpu", "float32" if content == "peft" else None, s.packages)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".ptune-", dir=None if out is None else out.parent) as scratch:
        export = Path(scratch) / "export"
        export.mkdir()
        progress.say(WRITERS[content](run, export, s.license))
        if out is not None:
            os.replace(export, out)
            progress.say(f"written to {out}")
            return
        from ptune.exports.upload import upload

        upload(export, s, progress)


def misplaced_settings(s: Export) -> Iterator[str]:
    """Settings that are wrong, lacking, or of another place."""
    if s.to not in PLACES:
        yield f"to: '{s.to}' is not a choice; {nearest(s.to, PLACES)}"
        return
    if s.to == "hub":
        if s.content not in WRITERS:
            yield f"content: '{s.content}' is not a choice; {nearest(s.content, WRITERS)}"
        if s.out is not None:
            yield "out: an upload leaves no folder here; leave it out, or use to=folder"
        if s.repo is None:
            yield "repo: must be given, as repo=NAME/REPOSITORY"
        elif s.repo.count("/") != 1 or not all(s.repo.split("/")):
            yield f"repo: '{s.repo}' is not a repository; write NAME/REPOSITORY"
        elif not is_valid_name(s.repo):
            yield (
                f"repo: '{s.repo}' is not a name on the Hub; use letters, digits, '-', '_' and '.', as NAME/REPOSITORY"
            )
        return
    if s.out is None:
        yield "out: must be given, as out=DIR, a new folder"
    yield from (f"{name}: is only used with to=hub" for name in OF_HUB if getattr(s, name) != getattr(Export(), name))


def is_valid_name(repo: str) -> bool:
    """Whether the Hub takes the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError:
        return False
    return True


def peft(run: Restored, out: Path, license: str | None = None) -> str:
    """Write an adapter of PEFT, see `exports.peft_adapter`, with a model card; returns what is to be known of it."""
    from ptune.exports.card import card
    from ptune.exports.peft_adapter import refuse, usage, write

    refuse(run)  # before examples are looked for
    adapter = write(run, probes(run), out)
    use = usage(run, adapter)
    files = ["adapter_config.json", "adapter_model.safetensors", "README.md"]
    (out / "README.md").write_text(card(run, use, "peft", files, license), encoding="utf-8")
    comparison = (
        f"PEFT gives the same logits: they differ by {adapter.worst:.1e} at most on {adapter.examples} examples"
    )
    return comparison + "; one text at a time, as PEFT reads the last column" * adapter.alone


def probes(run: Restored) -> list[Example]:
    """Examples to compare logits on: those that the run has answered, without their labels; of a folder that has none
    some of our own. Where neither tells all that an example has, as that of a word's place, the first of the corpus.

    Raises PtuneError where that is out of reach.
    """
    from ptune.commands.predict import parse_lines, without_label
    from ptune.readers import Record

    task, folder = run.task, run.folder
    try:
        if folder.file("predictions.jsonl").is_file():
            rows = folder.read_jsonl("predictions.jsonl")
            records = [Record(f"predictions.jsonl:{i}", row) for i, row in enumerate(rows[:PROBES], 1)]
        else:
            lines = [("probe", "\t".join([text] * len(task.inputs))) for text in TEXTS]
            records = [*parse_lines(lines, task)]
        return [task.example(without_label(record, task), i) for i, record in enumerate(records)]
    except DataError:
        return corpus_inputs(run)


def corpus_inputs(run: Restored) -> list[Example]:
    """The first examples of the run's corpus, without their labels. Raises PtuneError where there are none."""
    from ptune.data.corpora import examples, sources
    from ptune.readers import Reading

    s, task = run.settings, run.task
    try:
        splits = sources(task, s.data, {})
        split = next(name for name in (s.report_on, "dev", *splits, None) if name in splits or name is None)
        chosen = [*islice(examples(task, splits[split], Reading(s.data.lenient)), PROBES)] if split else []
    except PtuneError as error:
        reason = str(error).splitlines()[0]
    else:
        if chosen:
            return [replace(example, gold=None) for example in chosen]
        reason = "none of its files are here"
    raise PtuneError(
        f"to=peft: no examples of {task.name} to compare logits on ({reason}); export where its corpus is, or use "
        "to=folder"
    )


def folder(run: Restored, out: Path, license: str | None = None) -> str:
    """Write a run folder that predicts and evaluates anywhere, with a model card; returns what is to be known of it."""
    from ptune.exports.card import card, portable, without_folders, without_paths
    from ptune.runs import shots
    from ptune.runs.folder import RunFolder
    from ptune.templates import DemonstrationTemplate

    original, exported = run.folder, RunFolder(out)
    exported.write_config(portable(run.settings))
    result = without_paths(original.read_json("result.json"))
    for point in ("best", "last"):
        result[point].pop("breakdowns", None)  # which tell single examples
    exported.write_json("result.json", result)
    env = original.read_json("env.json")
    exported.write_json(
        "env.json", {**without_paths(env), "overrides": [without_folders(word) for word in env["overrides"]]}
    )
    words = getattr(run.model.member(run.member).head, "label_words", None)
    exported.write_json("labels.json", {"labels": list(run.task.labels), **({"words": dict(words)} if words else {})})
    names = ["tuned.safetensors", "splits.jsonl"]
    names += ["tokenizer.json", "vectors.safetensors"]  # of an encoder from scratch
    if shows := isinstance(run.model.member(run.member).template, DemonstrationTemplate):
        names.append(shots.FILE)
    for name in names:
        if original.file(name).is_file():
            exported.file(name).write_bytes(original.file(name).read_bytes())
    files = sorted([*(path.name for path in out.iterdir()), "README.md"])
    (out / "README.md").write_text(card(run, usage(run), "ptune", files, license), encoding="utf-8")
    size = f"{len(files)} files, {sum(path.stat().st_size for path in out.iterdir()):,} bytes"
    return f"{size}; {shots.FILE} has training examples, which its template shows" if shows else size


def usage(run: Restored) -> str:
    """How an exported folder is used."""
    s = run.settings
    checkpoint = s.backbone.get("checkpoint")
    path = str(s.backbone.get("path"))
    inputs = run.task.inputs
    line = "\\t".join(f"TEXT {i}" for i in range(1, len(inputs) + 1)) if len(inputs) > 1 else "TEXT"
    fields = f"{', '.join(inputs)}, apart by tabs; " if len(inputs) > 1 else ""
    if checkpoint:
        needs = f"The backbone `{checkpoint}` comes from the Hub, or its cache."
    elif path.startswith("pkg://"):
        needs = "The backbone comes with ptune."
    else:
        needs = f"The backbone is a folder, `{path}`; elsewhere, write its place into `config.yaml`: `backbone: path:`."
    corpus = {
        "local": "; the corpus's original files are looked for in the current folder",
        "hub": "; the corpus comes from the Hub, or its cache",
    }.get(s.data.source, "")
    listed = f"has to be installed; both commands take packages=[{','.join(s.packages)}]"
    packages = f"\n\nIts classes are in {', '.join(s.packages)}, which {listed}." if s.packages else ""
    return (
        f"With ptune installed, and this folder anywhere, as FOLDER:\n\n```sh\nprintf '{line}\\n' | ptune predict "
        f"run=FOLDER   # one a line: {fields}or JSON lines\n"
        f"ptune eval run=FOLDER{'   # scores it again' + corpus}\n```\n\n{needs}{packages}"
    )


WRITERS: dict[str, Writer] = {"peft": peft, "folder": folder}
