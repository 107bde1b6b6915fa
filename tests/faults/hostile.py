"""Files of strangers that would run something, hang, or write where they must not; each by the door it comes in by.

A payload that ran has left a canary; one that got out has changed a folder beside. `harmless` hands a file to ptune
in a process of its own and says what is wrong with how it ended; scripts/faults and the tests do the same.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from cases import require
from kit import SECRET, TINY, Server
from safetensors.torch import save_file

from ptune.runs.folder import CHECKPOINT, RunFolder, sha256

SECONDS = 2.0  # beyond those that the same command takes with an honest file
LIMIT = 8  # of the processor, after which a process is stopped
PATIENCE = 180.0  # of the clock
MARK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b id=hostile>"
ZEN = "Beautiful is better than ugly"  # what the module `this` prints when it is imported
DEEP = "[" * 200_000


class Place(NamedTuple):
    """Where a command runs; a run folder in it; a folder beside that is nobody's business; what a payload writes."""

    base: Path
    run: Path
    outside: Path
    canary: Path

    @property
    def shell(self) -> str:
        """The payload as a command."""
        return f"touch {self.canary}"

    @property
    def popen(self) -> dict[str, Any]:
        """The payload as a leaf."""
        return {"_target_": "subprocess.Popen", "args": ["touch", str(self.canary)]}


class Hostile(NamedTuple):
    """What the file is, and how it is planted: returns the command line that meets it.

    halfway: in a run to go on; like: the command whose seconds it may take, where it is not its own; shown: it is
    read as text, and no error.
    """

    name: str
    plant: Callable[[Place], Sequence[str]]
    halfway: bool = False
    like: str = ""
    shown: bool = False


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


class Sources(NamedTuple):
    """What corpora are planted in: a finished run, one half way, and the seconds of each command with honest files."""

    finished: Path
    halfway: Path
    seconds: dict[str, float]


def sources(server: Server, base: Path) -> Sources:
    """Train them, once."""
    for name, fault in (("finished", {}), ("halfway", {"after_event": 12})):
        server.train(base / name, "epochs=2", **fault)
        shutil.rmtree(base / name / "wandb", ignore_errors=True)
    return Sources(base / "finished", base / "halfway", {})


def harmless(server: Server, given: Sources, base: Path, case: Hostile) -> None:
    """Nothing ran, nothing hung, nothing got out, and what is wrong was said in a line. Raises Wrong otherwise."""
    place = made(given, base, case.halfway)
    words = tuple(case.plant(place))
    door = case.like or ("resume" if case.halfway else words[0])
    if door not in given.seconds:
        honest = HONEST.get(door, HONEST["eval"])
        other = made(given, base.with_name(f"{base.name}-honest"), case.halfway)
        given.seconds[door] = spent(server, tuple(honest(other)), other)[2]
        shutil.rmtree(other.base.parent)
    before = listing(place.outside)
    code, said, seconds = spent(server, words, place)
    about = (case.name, words, code, said[-3000:])
    require(not place.canary.exists() and ZEN not in said, "EXECUTED", *about)
    require(seconds < given.seconds[door] + SECONDS, "HUNG", f"{seconds:.1f} s", *about)
    require(listing(place.outside) == before, "GOT OUT", listing(place.outside), *about)
    require("Traceback" not in said and code in (0, 1, 2, 75), "TRACEBACK", *about)
    lines = [line for line in said.splitlines() if line.strip()]
    most = 20 if words[0] == "data" else 3  # which shows what it has read before
    require(code == 0 or (1 <= len(lines) <= most and max(map(len, lines)) < 2000), "NOT ONE LINE", *about)
    require(SECRET not in said and not anywhere(place.base, SECRET), "LEAKED", *about)
    require(code == 0 or not case.shown, "NOT SHOWN", *about)
    for page in place.base.glob("*.html"):
        require(not injected(page.read_text(encoding="utf-8")), "MARKUP", injected(page.read_text()), *about)
    shutil.rmtree(base)


def made(given: Sources, base: Path, halfway: bool) -> Place:
    """A fresh place."""
    work, outside = base / "work", base / "outside"
    outside.mkdir(parents=True)
    work.mkdir()
    (outside / "precious.txt").write_text("precious\n")
    (outside / "00000001").mkdir()
    (outside / "00000001" / "precious.txt").write_text("precious\n")
    shutil.copytree(given.halfway if halfway else given.finished, work / "run")
    return Place(work, work / "run", outside, base / "canary")


def spent(server: Server, words: tuple[str, ...], place: Place) -> tuple[int, str, float]:
    """A command's exit code, what it said, and the seconds it would take on a quiet machine; infinite if stopped."""
    log, told = place.base.parent / "said.txt", place.base.parent / "seconds.txt"
    told.unlink(missing_ok=True)
    process = server.start(words, place.base, log, limit=LIMIT)
    timer = threading.Timer(PATIENCE, lambda: stopped(process))
    timer.start()
    code = server.wait(process)
    timer.cancel()
    said = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    return code, said, float(told.read_text()) if told.exists() else float("inf")


def stopped(process: int) -> None:
    """End a process that hangs."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def listing(folder: Path) -> dict[str, str]:
    """Every file with its checksum."""
    return {str(path): sha256(path) if path.is_file() else "" for path in sorted(folder.rglob("*"))}


def anywhere(folder: Path, text: str) -> list[Path]:
    """The files that have a text in them, in bytes, or in their names."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if text.encode() in path.read_bytes() or text in path.name]


class Elements(HTMLParser):
    """The elements of a page that its own template has not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """See HTMLParser."""
        given = dict(attrs)
        self.scripts += tag == "script"
        address = str(given.get("href") or "")
        led = address and not address.startswith(("#", "./"))
        named = given.get("id") == "hostile" or any(name.startswith("on") for name in given)
        if tag in ("img", "iframe", "object", "b") or named or led:
            self.found.append(self.get_starttag_text() or tag)


def injected(page: str) -> list[str]:
    """What stands in a page as markup and must not."""
    seen = Elements()
    seen.feed(page)
    return seen.found + ["script"] * (seen.scripts != 1)


HONEST: Mapping[str, Callable[[Place], Sequence[str]]] = {
    "eval": lambda place: ("eval", f"run={place.run}"),
    "predict": lambda place: ("predict", f"run={place.run}", f"input={lines(place, 'a' + chr(9) + 'b')}"),
    "export": lambda place: ("export", f"run={place.run}", "to=folder", f"out={place.base / 'out'}"),
    "report": lambda place: ("report", str(place.run), "format=html", f"out={place.base / 'page.html'}"),
    "resume": lambda place: ("train", f"resume={place.run}", "quiet=true"),
    "tracked": lambda place: config("resume", tracker__name="wandb")(place),
    "train": lambda place: ("train", *TINY, "epochs=2", f"hydra.run.dir={place.base / 'new'}"),
}


def lines(place: Place, *texts: str) -> Path:
    """A file of texts to predict."""
    path = place.base / "input.txt"
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


# Edits


def put(node: Any, key: str, value: Any) -> None:
    """Set a dotted key of nested mappings."""
    *parents, last = key.split(".")
    for name in parents:
        node = node[name]
    node[last] = value


def config(door: str, **values: Any) -> Callable[[Place], Sequence[str]]:
    """The stored configuration with other values; a function is given the place. Two underscores stand for a dot."""

    def plant(place: Place) -> Sequence[str]:
        path = place.run / "config.yaml"
        told = yaml.safe_load(path.read_text())
        for key, value in values.items():
            put(told, key.replace("__", "."), value(place) if callable(value) else value)
        path.write_text(yaml.safe_dump(told, sort_keys=False))
        return HONEST[door](place)

    return plant


def text(door: str, name: str, given: Any) -> Callable[[Place], Sequence[str]]:
    """A file of the run with other bytes."""

    def plant(place: Place) -> Sequence[str]:
        data = given(place) if callable(given) else given
        (place.run / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return HONEST[door](place)

    return plant


def result(door: str, name: str, change: Callable[[Any], Any]) -> Callable[[Place], Sequence[str]]:
    """A JSON file of the run, changed."""

    def plant(place: Place) -> Sequence[str]:
        path = next(place.run.glob(name))
        told = json.loads(path.read_text())
        path.write_text(json.dumps(change(told) or told))
        return HONEST[door](place)

    return plant


def link(door: str, name: str, to: str) -> Callable[[Place], Sequence[str]]:
    """A file or folder of the run that leads outside."""

    def plant(place: Place) -> Sequence[str]:
        path = place.run / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(to if to.startswith("/") else place.outside / to)
        return HONEST[door](place)

    return plant


def checkpoint(name: str, data: Callable[[Place, bytes], bytes]) -> Callable[[Place], Sequence[str]]:
    """A file of every checkpoint with other bytes, and a manifest that says they are right."""

    def plant(place: Place) -> Sequence[str]:
        for folder in RunFolder(place.run).checkpoints():
            (folder / name).write_bytes(data(place, (folder / name).read_bytes()))
            told = {each: sha256(folder / each) for each in CHECKPOINT}
            (folder / "manifest.json").write_text(json.dumps(told))
        return HONEST["resume"](place)

    return plant


def state(**values: Any) -> Callable[[Place], Sequence[str]]:
    """The state of every checkpoint with other values."""
    return checkpoint("state.json", lambda _, data: json.dumps({**json.loads(data), **values}).encode())


def written(value: Any) -> Any:
    """A value with markup in every text of it, but names of files and of settings."""
    if isinstance(value, dict):
        kept = ("breakdowns", "report_on", "select_on", "metric", "split")
        return {key: each if key in kept else written(each) for key, each in value.items()}
    if isinstance(value, list):
        return [written(each) for each in value]
    return f"{MARK}{value}" if isinstance(value, str) else value


def marked_up(place: Place) -> None:
    """Markup in every text of a run that a report may show."""
    for name in ("result.json", "env.json", *(f"breakdowns/{p.name}" for p in place.run.glob("breakdowns/*"))):
        path = place.run / name
        path.write_text(json.dumps(written(json.loads(path.read_text()))))
    for name in ("predictions.jsonl", "metrics.jsonl"):
        path = place.run / name
        rows = [json.loads(row) for row in path.read_text().splitlines()]
        marked = [
            {**written(row), **{key: row[key] for key in ("gold", "prediction", "event") if key in row}} for row in rows
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in marked))


def bomb(place: Place, *_: Any) -> bytes:
    """A pickle that runs the payload."""
    return pickle.dumps(Bomb(place.shell))


def torch_bomb(place: Place) -> bytes:
    """The same in the form of torch.save."""
    out = io.BytesIO()
    torch.save({"x": Bomb(place.shell)}, out)
    return out.getvalue()


def laughs(key: str = "a", levels: int = 30) -> str:
    """A YAML text whose aliases stand for 2^levels values."""
    rows = ["- &a0 [lol, lol]", *(f"- &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels))]
    return "\n".join([f"{key}:", *rows, ""])


def laughing(door: str) -> Callable[[Place], Sequence[str]]:
    """The stored configuration with them where it has a list."""

    def plant(place: Place) -> Sequence[str]:
        path = place.run / "config.yaml"
        told = path.read_text().replace("packages: []\n", "")
        path.write_text(told + laughs("packages"))
        return HONEST[door](place)

    return plant


# Backbones


def backbone(*extra: str, **files: Any) -> Callable[[Place], Sequence[str]]:
    """The tiny encoder's folder with other files (dots of names are two underscores; None deletes), and a training."""

    def plant(place: Place) -> Sequence[str]:
        folder = place.base / "backbone"
        shutil.copytree(str(resources.files("ptune.assets").joinpath("tiny_encoder")), folder)
        for name, given in files.items():
            path = folder / name.replace("__", ".")
            data = given(place) if callable(given) else given
            if data is None:
                path.unlink()
            elif isinstance(data, dict):
                before = json.loads(path.read_text()) if path.is_file() else {}
                path.write_text(json.dumps({**before, **data}))
            else:
                path.write_bytes(data if isinstance(data, bytes) else data.encode())
        others = [word for word in TINY if not word.startswith("backbone=")]
        where = ("backbone=local", f"backbone.path={folder}", "max_steps=1", f"hydra.run.dir={place.base / 'new'}")
        return ("train", *others, *where, *extra)

    return plant


EVIL = "import os\nos.system({0!r})\nclass Evil:\n    def __init__(self, *a, **k):\n        os.system({0!r})\n"


def evil(place: Place) -> str:
    """A module that runs the payload when it is imported."""
    return EVIL.format(place.shell)


# Configurations


def conf(group: str, given: str, *words: str, door: str = "train") -> Callable[[Place], Sequence[str]]:
    """A yaml of a configuration folder; {popen}, {shell} and {outside} stand for the place's."""

    def plant(place: Place) -> Sequence[str]:
        path = place.base / "conf" / group / "evil.yaml"
        path.parent.mkdir(parents=True)
        opened = json.dumps({"_target_": "io.open", "file": str(place.canary), "mode": "w"})
        told = {"{popen}": json.dumps(place.popen), "{shell}": place.shell, "{outside}": str(place.outside)}
        told["{opened}"] = opened
        body = given
        for name, value in told.items():
            body = body.replace(name, value)
        path.write_text(body)
        if door != "train":
            return (door, f"run={place.run}", "--config-dir", str(path.parents[group.count("/") + 1]), *words)
        others = [word for word in TINY if word.partition("=")[0] != group]
        chosen = f"+{group}=evil" if group == "extra" else f"{group}=evil"
        where = ("--config-dir", str(path.parents[group.count("/") + 1]), "max_steps=1")
        return ("train", *others, chosen, *where, *words)

    return plant


def log(which: str, key: str) -> str:
    """A yaml whose log is written by the payload."""
    handler = f"{{{key}: subprocess.Popen, args: [sh, -c, '{{shell}}']}}"
    told = f"version: 1\n    handlers:\n      evil: {handler}\n    root: {{handlers: [evil]}}"
    return f"# @package _global_\nhydra:\n  {which}:\n    {told}\n"


def ladder(levels: int = 38) -> str:
    """A YAML text of few values, none with more than 60 around it as it is written, and 2,000 as it is meant."""
    rows = [f"k{i}: &a{i} {'[' * 60}{f'*a{i - 1}' if i else 'x'}{']' * 60}" for i in range(levels)]
    return "\n".join(["", *rows, ""])


def laddered(door: str) -> Callable[[Place], Sequence[str]]:
    """The stored configuration with it below."""

    def plant(place: Place) -> Sequence[str]:
        path = place.run / "config.yaml"
        path.write_text(path.read_text() + ladder())
        return HONEST[door](place)

    return plant


def table(place: Place) -> Sequence[str]:
    """A table whose cells list packages of their own, and a task that is in one of them."""
    for group, told in (("task", place.popen), ("table", TABLE)):
        path = place.base / "conf" / group / "evil.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(told))
    return ("reproduce", "--config-dir", str(place.base / "conf"), "table=evil", "dry_run=true")


TABLE = {
    "title": "evil",
    "citation": "nobody",
    "rows": ["method"],
    "columns": ["task"],
    "axes": {
        "method": {"a": {"label": "a", "set": {"method": "ptv2", "data": "demo", "packages": ["subprocess"]}}},
        "task": {"b": {"label": "b", "set": {"task": "evil"}}},
    },
}
TASK = """\
_target_: ptune.tasks.classify.Classify
name: {name}
version: 1
source:
  reader: jsonl
  demo: rte
  folder: RTE
  files: {files}
  submission: {{format: superglue, files: {{test: {submission}}}}}
fields: [premise, hypothesis]
label: label
labels: [entailment, not_entailment]
metrics: [accuracy]
max_length: 64
"""
FILES = "{train: [train.jsonl], dev: [val.jsonl], test: [test.jsonl]}"


def task(name: str = "evil", files: str = FILES, submission: str = "evil.jsonl") -> str:
    """A task's yaml with names of somebody else's."""
    return TASK.format(name=name, files=files, submission=submission)


# Data


def data(files: Mapping[str, Any], *words: str, door: str = "train") -> Callable[[Place], Sequence[str]]:
    """A corpus's folder: RTE's three files, and others in their place."""

    def plant(place: Place) -> Sequence[str]:
        folder = place.base / "data"
        folder.mkdir()
        row = {"premise": "a", "hypothesis": "b", "label": "entailment"}
        for name in ("train", "val", "test"):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps({**row, "idx": i}) + "\n" for i in range(4)))
        for name, given in files.items():
            made = given(place) if callable(given) else given
            (folder / name).write_bytes(made if isinstance(made, bytes) else made.encode())
        if door == "check":
            return ("data", "check", "task=rte", f"data.root={folder}", *words)
        others = [word for word in TINY if not word.startswith("data")]
        where = ("data=local", f"data.root={folder}", "max_steps=1", f"hydra.run.dir={place.base / 'new'}")
        return ("train", *others, *where, *words)

    return plant


def zipped(place: Place) -> bytes:
    """A zip file with a name that leads outside."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("../../outside/out.txt", "out")
    return out.getvalue()


def squeezed(_: Place) -> bytes:
    """A gzip file of a few megabytes that becomes gigabytes."""
    return gzip.compress(bytes(2**20)) * 4000


# Sweeps


def sweep(**files: Any) -> Callable[[Place], Sequence[str]]:
    """A sweep's folder, in which the command's one job has ended; files as text, or made of the job's name."""

    def plant(place: Place) -> Sequence[str]:
        folder = place.base / "sweep"
        shutil.copytree(place.run, folder / "job")
        env = json.loads((folder / "job" / "env.json").read_text())
        for name, given in files.items():
            (folder / name.replace("__", ".")).write_text(given(place) if callable(given) else given)
        words = [word for word in env["overrides"] if not word.startswith("quiet")]
        return ("train", "-m", *words, f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=job")

    return plant


def event(**values: Any) -> str:
    """A line of a ledger."""
    told = {"job": 0, "overrides": [], "folder": "job", "identity": "x", "state": "ok", "kind": "", "message": ""}
    return json.dumps({**told, **values}) + "\n"


def piped(door: str, name: str) -> Callable[[Place], Sequence[str]]:
    """A pipe that nobody writes to, in place of a file."""

    def plant(place: Place) -> Sequence[str]:
        (place.run / name).unlink()
        os.mkfifo(place.run / name)
        return HONEST[door](place)

    return plant


def late(place: Place) -> Sequence[str]:
    """A W&B file that is cut short, and of the year 2096."""
    path = place.run / "wandb" / "offline-run-20260101_000000-abcdefgh" / "run-abcdefgh.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(
        b":W&B\x00\x00\x00" + b"\x00" * 4 + (5).to_bytes(2, "little") + b"\x01abcde" + b"\x00" * 6 + b"\xff"
    )
    os.utime(path, (4e9, 4e9))
    return config("resume", tracker__name="wandb")(place)


def shown(form: str, change: Callable[[Place], None]) -> Callable[[Place], Sequence[str]]:
    """A report in some form on a changed run."""

    def plant(place: Place) -> Sequence[str]:
        change(place)
        out = (f"out={place.base / 'page.html'}",) if form == "html" else ()
        return ("report", str(place.run), f"format={form}", *out)

    return plant


def huge(place: Place) -> Sequence[str]:
    """A safetensors file whose header says that it is of terabytes."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}).encode()
    return text("predict", "tuned.safetensors", len(header).to_bytes(8, "little") + header)(place)


def renamed(place: Place) -> None:
    """Names with codes of terminals, and markup of rich's."""
    path = place.run / "result.json"
    told = json.loads(path.read_text())
    told["method"], told["backbone"] = "\x1b]0;owned\x07\x1b[2J[/bold]", "[link=file:///etc/passwd]x"
    path.write_text(json.dumps(told))


def other_weights(place: Place) -> Sequence[str]:
    """An adapter in the backbone's folder that leads to another model."""
    save_file({"x": torch.zeros(1)}, str(place.outside / "adapter.safetensors"))
    told = {"peft_type": "LORA", "base_model_name_or_path": "somebody/else"}
    return backbone(adapter_config__json=told)(place)


LEAD = "../" * 12
CORPUS: Sequence[Hostile] = [
    # the stored configuration
    Hostile(
        "config.yaml: a python tag",
        text("eval", "config.yaml", lambda p: f"!!python/object/apply:os.system ['{p.shell}']"),
    ),
    Hostile("config.yaml: aliases of aliases", laughing("eval")),
    Hostile("config.yaml: aliases of aliases, reported", laughing("report")),
    Hostile("config.yaml: an alias of itself", text("predict", "config.yaml", "method: &a {a: *a}\n")),
    Hostile("config.yaml: nested without end", text("eval", "config.yaml", DEEP)),
    Hostile("config.yaml: nested without end, reported", text("report", "config.yaml", DEEP)),
    Hostile("config.yaml: aliases inside of aliases", laddered("eval")),
    Hostile("config.yaml: aliases inside of aliases, reported", laddered("report")),
    Hostile("config.yaml: eight megabytes", text("export", "config.yaml", "a: [" + "b, " * 2_700_000 + "]\n")),
    Hostile("config.yaml: not UTF-8", text("eval", "config.yaml", b"\xff\xfe\x00name")),
    Hostile("config.yaml: a number of 100,000 digits", text("eval", "config.yaml", "seed: " + "9" * 100_000)),
    Hostile(
        "_target_: os.system", config("eval", method__template=lambda p: {"_target_": "os.system", "command": p.shell})
    ),
    Hostile("packages: evaluated", config("eval", packages=["subprocess"], method__template=lambda p: p.popen)),
    Hostile("packages: predicted with", config("predict", packages=["subprocess"], method__prompt=lambda p: p.popen)),
    Hostile("packages: exported", config("export", packages=["subprocess"], task=lambda p: p.popen)),
    Hostile("packages: reported", config("report", packages=["subprocess"], task=lambda p: p.popen)),
    Hostile("packages: resumed", config("resume", packages=["subprocess"], task=lambda p: p.popen), True),
    Hostile("observer: resumed", config("resume", packages=["subprocess"], observer=lambda p: p.popen), True),
    Hostile(
        "observer: a study that is somebody's file",
        config(
            "resume",
            observer=lambda p: {
                "_target_": "ptune.sweeps.search.Trial",
                "study": str(p.outside / "precious.txt"),
                "number": 0,
            },
        ),
        True,
    ),
    Hostile("packages: a module that says something", config("eval", packages=["this"], task___target_="this.This")),
    Hostile(
        "_target_: a class of ours that is no leaf",
        config("eval", task=lambda p: {"_target_": "ptune.sweeps.ledger.Ledger", "folder": str(p.outside / "new")}),
    ),
    Hostile(
        "_target_: a class that a module of ours imports",
        config("eval", task=lambda p: {"_target_": "ptune.commands.export.TemporaryDirectory", "dir": str(p.outside)}),
    ),
    Hostile("_target_: the program itself", config("eval", task___target_="ptune.__main__.Main")),
    Hostile("_target_: a number", config("eval", task___target_=7)),
    Hostile("backbone.path: a package that says something", config("eval", backbone__path="pkg://this/x")),
    Hostile("reader: of another package", config("eval", task__source__reader="..export")),
    Hostile(
        "${oc.env}: evaluated",
        config("eval", backbone__path="${oc.env:PTUNE_HOSTILE}", tracker__project="${oc.env:PTUNE_HOSTILE}"),
    ),
    Hostile("${oc.env}: exported", config("export", task__name="${oc.env:PTUNE_HOSTILE}")),
    Hostile(
        "${oc.env}: resumed",
        config("resume", tracker__tags=["${oc.env:PTUNE_HOSTILE}"], tracker__name="wandb"),
        True,
        "tracked",
    ),
    Hostile("task.name leads outside", config("resume", task__name=f"{LEAD}x"), True),
    Hostile(
        "a split leads outside",
        config(
            "resume",
            task__source__files={
                "train": ["train.jsonl"],
                "dev": ["val.jsonl"],
                "dev_/../../../../outside/x": ["val.jsonl"],
            },
        ),
        True,
    ),
    Hostile("config.yaml: lists where mappings are", config("eval", method=["x"])),
    Hostile("config.yaml: huge sizes", config("predict", data__max_length=10**15, batch_size=10**15)),
    Hostile("config.yaml: a prompt of terabytes", config("predict", method__prompt__length=10**12)),
    Hostile("config.yaml: layers without end", config("predict", method__prompt__layers="1-999999999999")),
    # links and pipes
    Hostile("config.yaml -> /dev/zero", link("eval", "config.yaml", "/dev/zero")),
    Hostile("result.json -> /dev/zero, reported", link("report", "result.json", "/dev/zero")),
    Hostile("config.yaml is a pipe", piped("eval", "config.yaml")),
    Hostile("result.json is a pipe, reported", piped("report", "result.json")),
    Hostile(".lock leads outside", link("resume", ".lock", "precious.txt"), True),
    Hostile("metrics.jsonl leads outside", link("resume", "metrics.jsonl", "precious.txt"), True),
    Hostile("log.txt leads outside", link("resume", "log.txt", "precious.txt"), True),
    Hostile("checkpoints/ leads outside", link("resume", "checkpoints", "."), True),
    Hostile("breakdowns/ leads outside", link("eval", "breakdowns", ".")),
    Hostile("tokenizer.json leads outside, exported", link("export", "tokenizer.json", "precious.txt")),
    # tensors and checkpoints
    Hostile("tuned.safetensors: a pickle", text("predict", "tuned.safetensors", bomb)),
    Hostile("tuned.safetensors: of torch.save", text("eval", "tuned.safetensors", torch_bomb)),
    Hostile("tuned.safetensors: of terabytes", huge),
    Hostile(
        "tuned.safetensors: a header without end", text("predict", "tuned.safetensors", (2**62).to_bytes(8, "little"))
    ),
    Hostile("checkpoint: a pickle for parameters", checkpoint("parameters.safetensors", bomb), True),
    Hostile(
        "checkpoint: torch.save for the optimizer",
        checkpoint("optimizer.safetensors", lambda p, _: torch_bomb(p)),
        True,
    ),
    Hostile("checkpoint: a pickle for state", checkpoint("state.json", bomb), True),
    Hostile("checkpoint: state nested without end", checkpoint("state.json", lambda *_: DEEP.encode()), True),
    Hostile("checkpoint: a best step that leads outside", state(best_step=f"{LEAD}x"), True),
    Hostile("checkpoint: a step beyond all numbers", state(step=10**400), True),
    Hostile("checkpoint: a history of nothing", state(history={"a": 1}, optimizer=[1]), True),
    # what reports read
    Hostile("result.json: nested without end", text("report", "result.json", DEEP)),
    Hostile("result.json: nested without end, evaluated", text("eval", "result.json", DEEP)),
    Hostile("result.json: a list", text("report", "result.json", "[1]")),
    Hostile("result.json: nothing in it", text("report", "result.json", "{}")),
    Hostile("result.json: a score of text", result("report", "result.json", lambda r: r.update(score=MARK))),
    Hostile(
        "result.json: scores beyond all numbers",
        result("report", "result.json", lambda r: r.update(score=1e308, selected=-1e308, steps=10**300)),
    ),
    Hostile(
        "result.json: not a number",
        result("report", "result.json", lambda r: r.update(score=float("nan"), interval=[float("-inf"), float("inf")])),
    ),
    Hostile(
        "result.json: a breakdown outside",
        result("report", "result.json", lambda r: put(r, "best.breakdowns.dev", f"{LEAD}dev/zero")),
    ),
    Hostile("breakdown: nested without end", text("report", "breakdowns/dev_00000010.json", DEEP)),
    Hostile("env.json: nested without end", text("report", "env.json", DEEP)),
    Hostile(
        "env.json: overrides that are none", result("report", "env.json", lambda r: r.update(overrides=7, packages=[1]))
    ),
    Hostile("metrics.jsonl: nested without end", text("report", "metrics.jsonl", DEEP + "\n")),
    Hostile(
        "metrics.jsonl: numbers and lists",
        text("report", "metrics.jsonl", '[1]\n{"event": "eval", "step": 1e308, "scores": 7}\n'),
    ),
    Hostile("predictions.jsonl: nested without end", text("report", "predictions.jsonl", DEEP + "\n")),
    Hostile("predictions.jsonl: no predictions", text("report", "predictions.jsonl", '{"id": 1}\n[1]\n')),
    Hostile("splits.jsonl: nested without end", text("report", "splits.jsonl", DEEP + "\n")),
    Hostile("every text is markup: html", shown("html", marked_up), shown=True),
    Hostile("every text is markup: markdown", shown("markdown", marked_up), shown=True),
    Hostile("names of terminals' codes and rich's markup", shown("table", renamed), shown=True),
    Hostile("W&B's file is cut short and of the year 2096", late, True, "tracked"),
    # backbones
    Hostile("pytorch_model.bin: a pickle beside", backbone(pytorch_model__bin=bomb)),
    Hostile(
        "pytorch_model.bin: a pickle",
        backbone("+backbone.weights=bin", pytorch_model__bin=bomb, model__safetensors=None),
    ),
    Hostile(
        "pytorch_model.bin: of torch.save",
        backbone("+backbone.weights=bin", pytorch_model__bin=torch_bomb, model__safetensors=None),
    ),
    Hostile("model.safetensors: a pickle", backbone(model__safetensors=bomb)),
    Hostile(
        "model.safetensors.index.json leads outside",
        backbone(
            model__safetensors=None,
            model__safetensors__index__json=lambda p: {"metadata": {}, "weight_map": {"x": f"{LEAD}dev/zero"}},
        ),
    ),
    Hostile(
        "config.json: code of its own",
        backbone(
            config__json={"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}, "trust_remote_code": True},
            evil__py=evil,
        ),
    ),
    Hostile(
        "tokenizer_config.json: code of its own",
        backbone(
            tokenizer_config__json={
                "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
                "tokenizer_class": "Evil",
                "trust_remote_code": True,
            },
            evil__py=evil,
        ),
    ),
    Hostile(
        "config.json: a kernel of the Hub",
        backbone(config__json={"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel"}),
    ),
    Hostile(
        "config.json: quantized by somebody",
        backbone(config__json={"quantization_config": {"quant_method": "gptq", "bits": 4}}),
    ),
    Hostile("config.json: nested without end", backbone(config__json=DEEP)),
    Hostile("config.json: a billion layers", backbone(config__json={"num_hidden_layers": 10**9})),
    Hostile("config.json: sizes of text", backbone(config__json={"hidden_size": "__import__('os')", "vocab_size": -1})),
    Hostile("tokenizer.json: nested without end", backbone(tokenizer__json=DEEP)),
    Hostile("adapter_config.json leads elsewhere", other_weights),
    # configurations
    Hostile("task yaml: a python tag", conf("task", "!!python/object/apply:os.system ['{shell}']\n")),
    Hostile("task yaml: aliases of aliases", conf("task", laughs())),
    Hostile("task yaml: an alias of itself", conf("task", "a: &a [*a]\n")),
    Hostile("task yaml: nested without end", conf("task", DEEP)),
    Hostile("task yaml: a foreign leaf", conf("task", "_target_: subprocess.Popen\nargs: [sh, -c, '{shell}']\n")),
    Hostile("yaml: packages of its own", conf("extra", "# @package _global_\npackages: [subprocess]\ntask: {popen}\n")),
    Hostile(
        "yaml: a callback of Hydra's", conf("extra", "# @package _global_\nhydra:\n  callbacks:\n    evil: {opened}\n")
    ),
    Hostile(
        "yaml: a callback that is a function of Hydra's tests",
        conf(
            "extra",
            "# @package _global_\nhydra:\n  callbacks:\n    evil:\n"
            "      _target_: hydra.test_utils.test_utils.run_process\n      cmd: [sh, -c, '{shell}']\n",
        ),
    ),
    Hostile(
        "yaml: a callback by way of another's module",
        conf(
            "extra",
            "# @package _global_\nhydra:\n  callbacks:\n    evil:\n"
            "      _target_: ptune.cli.os.system\n      command: '{shell}'\n",
        ),
    ),
    Hostile(
        "yaml: a callback by reference",
        conf(
            "extra",
            "# @package _global_\nmethod:\n  evil: {opened}\nhydra:\n  callbacks:\n    evil: ${method.evil}\n",
        ),
    ),
    Hostile(
        "yaml: packages in a sweep's settings",
        conf(
            "extra",
            "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
            "      packages: '[subprocess]'\n      seed: '1,2'\ntask: {popen}\n",
        ),
    ),
    Hostile("table yaml: packages of its cells", table),
    Hostile(
        "yaml: a log's factory",
        conf(
            "extra",
            log("job_logging", "'()'"),
        ),
    ),
    Hostile(
        "yaml: a log's class",
        conf(
            "extra",
            log("hydra_logging", "class"),
        ),
    ),
    Hostile(
        "yaml: a callback, evaluated with",
        conf("task", "# @package _global_\nhydra:\n  callbacks:\n    evil: {opened}\n", "task=evil", door="eval"),
    ),
    Hostile("task yaml: a name that leads outside", conf("task", task(name=f"{LEAD}{{outside}}/x"))),
    Hostile(
        "task yaml: a name that leads outside, evaluated",
        conf("task", task(name="../../../outside/x"), "task=evil", door="eval"),
    ),
    Hostile(
        "task yaml: a split that leads outside",
        conf(
            "task",
            task(files="{train: [train.jsonl], dev: [val.jsonl], 'dev_/../../../../outside/x': [val.jsonl]}"),
            "hydra.run.dir=new",
        ),
    ),
    Hostile(
        "task yaml: a submission that leads outside",
        conf("task", task(submission="{outside}/x"), "task=evil", "submission=true", door="predict"),
    ),
    # data
    Hostile("train.jsonl: a zip file", data({"train.jsonl": zipped})),
    Hostile("train.jsonl: a zip file, checked", data({"train.jsonl": zipped}, door="check")),
    Hostile("train.jsonl: a pickle", data({"train.jsonl": bomb})),
    Hostile("train.jsonl: nested without end", data({"train.jsonl": DEEP})),
    Hostile(
        "train.jsonl.gz: gigabytes", data({"train.jsonl.gz": squeezed}, "task.source.files.train=[train.jsonl.gz]")
    ),
    Hostile(
        "train.json.gz: gigabytes in one value",
        data(
            {"train.json.gz": squeezed},
            "task=squad",
            "task.source.files={train: [train.json.gz], dev: [train.json.gz]}",
            "~data.demo.test",
        ),
    ),
    Hostile(
        "input: nested without end",
        lambda p: ("predict", f"run={p.run}", f"input={lines(p, '{' + chr(34) + 'premise' + chr(34) + ':' + DEEP)}"),
    ),
    Hostile("input: markup", lambda p: ("predict", f"run={p.run}", f"input={lines(p, MARK + chr(9) + MARK)}")),
    # sweeps
    Hostile("ledger.jsonl: lists", sweep(ledger__jsonl="[1]\n7\n")),
    Hostile("ledger.jsonl: nested without end", sweep(ledger__jsonl=DEEP + "\n")),
    Hostile("ledger.jsonl: a folder outside", sweep(ledger__jsonl=event(folder=f"{LEAD}dev/zero") + event(folder=7))),
    Hostile(
        "ledger.jsonl: markup of rich's",
        sweep(ledger__jsonl=event(state="failed", kind="[/bold]", message="\x1b[2J[/red]", folder="other")),
    ),
]


def corpus(count: int | None = None) -> Iterator[Hostile]:
    """So many of them, evenly chosen; all without a number."""
    most = len(CORPUS) if count is None else min(count, len(CORPUS))
    return (CORPUS[number * len(CORPUS) // most] for number in range(most))


def rows(bench: Any) -> Iterator[str]:
    """Lines of the table of docs/faults.md."""
    import alone

    given = sources(bench.server, bench.base / "sources")
    yield bench.row(
        "an untrusted file: pickles, foreign classes, its own code, endless YAML and JSON, names and links that lead "
        "outside, archives, markup",
        CORPUS,
        lambda base, case: harmless(bench.server, given, base, case),
        f"0 executed, 0 hung for more than {SECONDS:g} s, nothing written outside, reported in one line or shown "
        "as text",
    )
    yield bench.row(
        "no network, no key, no terminal, a read-only home: train, eval, report with the default tracker",
        [None],
        lambda base, _: alone.nothing(base),
        "works, 0 prompts, 0 sockets beyond loopback",
    )
    alone.secrets(bench.base / "secrets" / "work")
    yield bench.row(
        "secrets in the environment, on the command line and in settings of a run, a sweep, exports and an HTML report",
        [*alone.CANARIES],
        lambda base, name: alone.canary(bench.base / "secrets" / "work", name),
        "none appears in any file",
    )
