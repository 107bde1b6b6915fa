"""Every reader on files that are damaged at random; the name of a reader and a number make a case again.

python tests/faults/fuzz.py READER NUMBER    # what becomes of one case; the damaged files stay, and are named
"""

from __future__ import annotations

import gzip
import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import bad_input  # noqa: E402
from bad_input import FORMS, Form, lines_of  # noqa: E402
from cases import Wrong, require  # noqa: E402
from mutate import mutated  # noqa: E402

from ptune.commands.predict import parse_lines, without_label  # noqa: E402
from ptune.config import Data  # noqa: E402
from ptune.data import corpora  # noqa: E402
from ptune.errors import PtuneError  # noqa: E402
from ptune.leaves import leaf  # noqa: E402
from ptune.procedures.word_vectors import vectors  # noqa: E402
from ptune.readers import Reading, decoded, hub  # noqa: E402
from ptune.reports.resample import units  # noqa: E402
from ptune.reports.results import Run  # noqa: E402
from ptune.reports.results import read as read_run  # noqa: E402

SECONDS, MEGABYTES = 2.0, 200  # of a case at most: of computing, and of memory beside what the process had
LONGEST = 1000  # characters of a message

# Kinds of task whose records no form of bad_input has


def corpus(name: str, task: str, train: str, dev: str, rows: Sequence[dict[str, Any]] | str, **more: Any) -> Form:
    """A form without cells."""
    return Form(name, task, train, dev, rows if isinstance(rows, str) else lines_of([*rows]), {}, **more)


MORE = [
    corpus("jsonl, two choices", "copa", "COPA/train.jsonl", "COPA/val.jsonl", [
        {"premise": f"It rained in {town}.", "choice1": "Anna left.", "choice2": "The road was wet.",
         "question": question, "label": label, "idx": i}
        for i, (town, question, label) in enumerate([("Bergen", "cause", 0), ("Oslo", "effect", 1)])
    ]),
    corpus("jsonl, spans of words", "wsc", "WSC/train.jsonl", "WSC/val.jsonl", [
        {"text": f"Anna saw {town} when she came .", "idx": i, "label": label,
         "target": {"span1_index": 0, "span1_text": "Anna", "span2_index": 4, "span2_text": "she"}}
        for i, (town, label) in enumerate([("Bergen", True), ("Oslo", True), ("Hamar", False)])
    ]),
    corpus("delimited, numbers", "stsb", "train.tsv", "dev.tsv",
           "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
           + "".join(f"{i}\tnews\tf\t2012\t{i}\ta\tb\tA man in {town}.\tA man.\t{score}\n"
                     for i, (town, score) in enumerate([("Bergen", "5.000"), ("Oslo", "2.5"), ("Hamar", "0")]))),
    corpus("jsonl, pairs by sex", "superglue_axg", "AX-g/AX-g.jsonl", "AX-g/AX-g.jsonl", [
        {"premise": f"The {who} left.", "hypothesis": f"{pronoun} left.", "label": label, "idx": i, "pair_id": i // 2}
        for i, (who, pronoun, label) in enumerate(
            [("nurse", "He", "entailment"), ("nurse", "She", "entailment"), ("guide", "He", "not_entailment"),
             ("guide", "She", "not_entailment")])
    ]),
]  # fmt: skip

VECTORS = "4 3\nthe 0.1 0.2 -0.3\nof 1e-3 2 3\nNew York 4 5 6\ncafé -1 0.5 2e2\n"
ASKED = {  # what `ptune predict` is given, by task
    "wic": lines_of([{k: row[k] for k in row if k != "label"} for row in bad_input.WIC]),
    "conll03": 'Anna left Oslo .\n{"tokens": ["Bob", "saw", "Oslo"]}\n',
    "squad": '{"id": "a", "context": "Anna works in Oslo.", "question": "Where?"}\n'
    + lines_of([{"context": "Bob left.", "question": "Who left?", "title": "T"}]),
    "multirc": lines_of(bad_input.MULTIRC),
    "record": lines_of(bad_input.RECORD),
    "conll05": '{"tokens": ["Anna", "left"], "predicate": 1}\n{"tokens": ["Bob", "saw", "Oslo"], "predicate": 1}\n',
    "sst2": 'so dull\nfine Oslo\n{"sentence": "well"}\n',
    "e2e": "name[Aromi], eatType[pub]\n",
    "stsb": lines_of([{"sentence1": "A man.", "sentence2": "Two men."}]),
    "copa": lines_of([{"premise": "It rained.", "choice1": "A.", "choice2": "B.", "question": "cause"}]),
}
RUN = {
    "result.json": json.dumps(
        {"method": "ptv2", "task": "wic", "backbone": "b", "prompt_length": 4, "tune": "none", "seed": 1, "score": 50.0,
         "metric": "accuracy", "steps": 2, "synthetic": False, "report_on": "dev", "select_on": "dev",
         "selected_on_reported": True, "best": {"report": {"accuracy": 50.0}}, "last": {"report": {"accuracy": 50.0}},
         "majority": 50.0, "parameters": {"trained": 4, "stored": 4, "bytes": 16},
         "seconds": {"training": 1.0}}, indent=2,
    ),
    "env.json": json.dumps({"code": "abc", "packages": {"torch": "2"}, "overrides": ["task=wic"]}, indent=2),
    "config.yaml": yaml.safe_dump({"task": yaml.safe_load((ROOT / "conf/task/wic.yaml").read_text(encoding="utf-8"))}),
    "predictions.jsonl": lines_of([
        {"id": f"{i}", "word": "bank", "gold": gold, "prediction": said, "scores": {"false": 0.25, "true": 0.75}}
        for i, (gold, said) in enumerate([("true", "true"), ("false", "true")])
    ]),
}  # fmt: skip


class Reader(NamedTuple):
    """The files that a reader is given, in what they should hold, and the reading of the folder that they are in.

    lines: the files in which each record has a line, so that what is wrong has one too.
    """

    files: dict[str, bytes]
    read: Callable[[Path, bool], Iterable[str]]  # (folder, leniently) -> problems that it goes on after
    lines: tuple[str, ...] = ()
    share: float = 1.0  # of the cases


@cache
def readers() -> dict[str, Reader]:
    """Every reader by its name."""
    found: dict[str, Reader] = {}
    for form in [*FORMS, *MORE]:
        if form.hub:
            files = {Path(form.train).name: bad_input.parquet(form.text.encode())}
            found[form.name] = Reader(files, from_hub(form), share=0.05)  # as slow as it is: pyarrow's and datasets'
            continue
        for packed in (False, True) if form.name in ("jsonl", "props and words", "squad") else (False,):
            share = 0.25 if packed or form in MORE else 1.0
            found[form.name + ", packed" * packed] = of_form(form, packed)._replace(share=share)
    found["word vectors"] = Reader({"vectors.txt": VECTORS.encode()}, of_vectors, ("vectors.txt",))
    for name, text in ASKED.items():
        found[f"asked of {name}"] = Reader({"asked.txt": text.encode()}, of_asked(name), ("asked.txt",), 1 / len(ASKED))
    found["a run"] = Reader({name: text.encode() for name, text in RUN.items()}, of_run, share=0.25)
    return found


def task_of(name: str) -> Any:
    """A task as its yaml makes it."""
    return leaf(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")))


def of_form(form: Form, packed: bool) -> Reader:
    """The reading of a corpus's file, and of the one beside it."""
    name = form.train + ".gz" * packed
    files = {name: form.text.encode()}
    if form.beside:
        files[form.beside[0] + ".gz" * packed] = form.beside[2].encode()
    if packed:
        files = {name: gzip.compress(text, mtime=0) for name, text in files.items()}

    @cache
    def source(folder: Path) -> tuple[Any, corpora.Source]:
        task = task_of(form.task)
        task.lay_out(form.layout)
        task.source["files"] = {"train": [name]}
        return task, corpora.sources(task, Data(source="local", root=str(folder), layout=form.layout), {})["train"]

    def read(folder: Path, lenient: bool) -> list[str]:
        task, train = source(folder)
        return through(task, train, lenient)

    return Reader(files, read, () if form.document else (*files,))


def through(task: Any, train: corpora.Source, lenient: bool) -> list[str]:
    """Read all records; the problems that a lenient reading goes on after."""
    reading = Reading(lenient)
    for _ in corpora.records(task, train, reading):
        pass
    require(lenient or not reading.problems, reading.problems)
    return reading.problems


def from_hub(form: Form) -> Callable[[Path, bool], list[str]]:
    """The reading of a data set of the Hub."""
    import datasets

    datasets.disable_progress_bars()

    def read(folder: Path, lenient: bool) -> list[str]:
        path = folder / Path(form.train).name
        files = partial(hub.files, [path], str(path), {})
        with tempfile.TemporaryDirectory() as cached:
            before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, cached
            try:
                return through(task_of(form.task), corpora.Source("", files, dict), lenient)
            finally:
                datasets.config.HF_DATASETS_CACHE = before

    return read


def of_vectors(folder: Path, lenient: bool) -> list[str]:
    """The reading of word vectors."""
    for _, vector in vectors(folder / "vectors.txt", lambda word: not lenient or word != "the"):
        require(vector.ndim == 1 and bool(np.isfinite(vector).all()))
    return []


def of_asked(name: str) -> Callable[[Path, bool], list[str]]:
    """The reading of what `ptune predict` is given."""
    task = task_of(name)
    task.lay_out(None)

    def read(folder: Path, lenient: bool) -> list[str]:
        with (folder / "asked.txt").open("rb") as file:
            for number, record in enumerate(parse_lines(decoded(file, str(folder / "asked.txt")), task)):
                task.example(without_label(record, task), number)
        return []

    return read


def of_run(folder: Path, lenient: bool) -> list[str]:
    """The reading of a finished run, as reports read it."""
    run = read_run(folder)
    units(Run(folder, json.loads(RUN["result.json"]), run.config, {}))
    return []


# Cases


class Slow(Exception):
    """A reading that took too long."""


def slow(*_: Any) -> None:
    """Raise Slow, as a handler of signals."""
    raise Slow(f"not done after {SECONDS} s")


def peak() -> float:
    """The most memory that this process has had since `fuzzed` began, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzzed(name: str, count: int, folder: Path) -> int:
    """The first so many cases of a reader, or its share of them; returns how many. Raises Wrong for a bad one."""
    reader = readers()[name]
    count = max(1, round(count * reader.share))
    whole(reader, folder)
    require(not reader.read(folder, False), name, "whole files have problems")
    before = signal.signal(signal.SIGPROF, slow)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak
    least = peak()
    try:
        for number in range(count):
            case(name, number, reader, folder, least + MEGABYTES)
    finally:
        signal.signal(signal.SIGPROF, before)
    return count


def whole(reader: Reader, folder: Path) -> None:
    """Write a reader's files as they should be."""
    for file, content in reader.files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)


def damage(name: str, number: int, reader: Reader, folder: Path) -> str:
    """Damage one of a case's files, of a packed one what is in it or the packed bytes; returns its name."""
    draw = random.Random(f"{name} {number}")
    file = draw.choice([*reader.files])
    content = reader.files[file]
    if file.endswith(".gz") and draw.random() < 0.8:
        content = gzip.compress(mutated(gzip.decompress(content), draw, texts()), 1, mtime=0)
    else:
        content = mutated(content, draw, texts())
    (folder / file).write_bytes(content)
    return file


@cache
def texts() -> list[bytes]:
    """What files of every form begin as."""
    return [form.text.encode() for form in FORMS]


def case(name: str, number: int, reader: Reader, folder: Path, most: float) -> None:
    """Read a damaged file; raises Wrong, with what makes the case again, unless it ends as it must.

    most: megabytes that the process may have had by then.
    """
    file = damage(name, number, reader, folder)
    said: list[str] = []
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            said += reader.read(folder, number % 2 == 1)
        except PtuneError as error:
            said.append(str(error))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        for message in said:
            told(message, reader, folder)
        require(peak() < most, f"{peak():.0f} MB of memory where {most:.0f} are the most")
    except Exception as error:
        again = f"python tests/faults/fuzz.py {name!r} {number}"
        raise Wrong(f"{again}: {type(error).__name__}: {str(error)[:1500]!a}") from error
    finally:
        (folder / file).write_bytes(reader.files[file])


def told(message: str, reader: Reader, folder: Path) -> None:
    """A message is one line that can be read, begins with the file, and names the line where it has one."""
    begins = [str(folder / file) for file in reader.files]
    require(message.startswith((*begins, str(folder))), "does not begin with a file:", message)
    require(message.isprintable(), "is not a line that can be printed:", message)
    require(len(message) <= LONGEST, "is long:", message)
    by_line = [str(folder / file) for file in reader.lines]
    if message.startswith((*by_line,)) and not re.search("cannot be unpacked|: no records|: no facts", message):
        require(re.match(r".+?:\d+: ", message) is not None, "names no line:", message)


def rows(bench: Any) -> Iterator[str]:
    """The line of the table, of as many cases a reader as the bench has points of a kind."""
    total = good = 0
    for name, reader in readers().items():
        count = max(1, round(bench.points * reader.share))
        folder = bench.base / "fuzz"
        total += count
        try:
            good += fuzzed(name, bench.points, folder)
        except Wrong as wrong:
            print(f"fuzz: {wrong}", file=sys.stderr)
        shutil.rmtree(folder)
    yield (
        f"| files damaged at random ({len(readers())} readers and forms): bytes, lines, separators, numbers, JSON "
        f"types, Unicode, nesting | {total} | {good} | examples, or one line with the file and the line or position "
        f"in it; none takes {SECONDS:.0f} s or {MEGABYTES} MB |"
    )


def main() -> None:
    """One case, with what becomes of it."""
    name, number = sys.argv[1], int(sys.argv[2])
    folder, reader = Path(tempfile.mkdtemp()), readers()[name]
    whole(reader, folder)
    reader.read(folder, False)
    print(folder / damage(name, number, reader, folder))
    print(reader.read(folder, number % 2 == 1))


if __name__ == "__main__":
    main()
