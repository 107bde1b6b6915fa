"""A Hub of our own on the loopback: corpora and checkpoints are fetched at their revision, then cached."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from ptune import demo
from ptune.config import Data
from ptune.data import corpora
from ptune.errors import UnavailableError
from ptune.leaves import leaf

ROOT = Path(__file__).parents[1]
DATASET, MODEL = "eriktks/conll2003", "some/tiny-bert"
NOWHERE = "http://127.0.0.1:9"  # where no hub answers


def task_source(name: str) -> dict[str, Any]:
    """Where a task's yaml says that its data is."""
    path = ROOT / "conf" / "task" / f"{name}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["source"])


SOURCES = {path.stem: task_source(path.stem) for path in sorted((ROOT / "conf" / "task").glob("*.yaml"))}
PINNED = {name: source["hub"] for name, source in SOURCES.items() if "hub" in source}
REVISIONS = {MODEL: "a" * 40, **{hub["path"]: hub["revision"] for hub in PINNED.values()}}
TAGS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]


class Hub:
    """What the endpoints answer: the files of each repository, and every path that was asked for."""

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories, self.asked = repositories, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Be gone: connections are refused from now on."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        from urllib.parse import unquote

        path = unquote(request.path.split("?")[0])
        self.asked.append(path)
        for repo, folder in self.repositories.items():
            commit = REVISIONS[repo]
            known = f"({commit}|main|refs/convert/parquet)"
            kind = "models" if repo == MODEL else "datasets"
            files = sorted(p for p in folder.rglob("*") if p.is_file())
            if re.fullmatch(f"/api/{kind}/{repo}(/revision/{known})?", path):
                siblings = [{"rfilename": str(p.relative_to(folder))} for p in files]
                return self.send(
                    request,
                    {
                        "id": repo,
                        "sha": commit,
                        "siblings": siblings,
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                        "likes": 0,
                    },
                )
            if re.fullmatch(f"/api/{kind}/{repo}/tree/{known}", path):
                return self.send(
                    request,
                    [
                        {
                            "type": "file",
                            "path": str(p.relative_to(folder)),
                            "size": p.stat().st_size,
                            "oid": "0" * 40,
                        }
                        for p in files
                    ],
                )
            prefix = "" if kind == "models" else "/datasets"
            found = re.fullmatch(f"{prefix}/{repo}/resolve/{known}/(.+)", path)
            if found and (folder / found[2]).is_file():
                return self.send(
                    request,
                    (folder / found[2]).read_bytes(),
                    {"X-Repo-Commit": commit, "ETag": f'"{found[2]}"'},
                )
        self.send(request, b"", {"X-Error-Code": "EntryNotFound"}, 404)

    def send(
        self, request: BaseHTTPRequestHandler, content: object, headers: dict | None = None, status: int = 200
    ) -> None:
        """A response; HEAD gets the same without the body."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        request.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)


def write_conll2003(folder: Path) -> None:
    """Parquet files as the Hub converts them, with the class names in their schema."""
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=TAGS)),
        }
    )
    for split, count in (("train", 8), ("validation", 4), ("test", 3)):
        rows = {
            "id": [str(i) for i in range(count)],
            "tokens": [["Anna", "Berg", "lives", "in", "Oslo"]] * count,
            "ner_tags": [[1, 2, 0, 0, 5]] * count,
        }
        path = folder / "conll2003" / split / "0000.parquet"
        path.parent.mkdir(parents=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))


def write_super_glue(folder: Path) -> None:
    """RTE and CB, in one repository as on the Hub."""
    for name, labels in (
        ("rte", ["entailment", "not_entailment"]),
        ("cb", ["entailment", "contradiction", "neutral"]),
    ):
        features = datasets.Features(
            {
                "premise": datasets.Value("string"),
                "hypothesis": datasets.Value("string"),
                "idx": datasets.Value("int32"),
                "label": datasets.ClassLabel(names=labels),
            }
        )
        for split, label in (("train", 0), ("validation", 1), ("test", -1)):
            rows = {
                "premise": [f"{name} a"] * 3,
                "hypothesis": ["b"] * 3,
                "idx": [0, 1, 2],
                "label": [label] * 3,
            }
            path = folder / name / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, bert_folder) -> dict[str, Path]:
    """What the hub has."""
    base = tmp_path_factory.mktemp("hub")
    write_conll2003(base / "conll2003")
    write_super_glue(base / "super_glue")
    return {DATASET: base / "conll2003", MODEL: bert_folder, "aps/super_glue": base / "super_glue"}


@pytest.fixture
def hub(repositories) -> Iterator[Hub]:
    """The hub, up."""
    running = Hub(repositories)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def overrides() -> list[str]:
    """Two steps on CoNLL-2003 of the hub, with a backbone of the hub at a pinned revision."""
    shape = {"layers": 4, "heads": 4, "hidden": 32, "positions": 192, "vocab": 160, "pooler": "false"}
    return [
        "task=conll03",
        "method=ptv2",
        "backbone=bert_base_cased",
        f"backbone.checkpoint={MODEL}",
        f"backbone.revision={REVISIONS[MODEL]}",
        *(f"backbone.{key}={value}" for key, value in shape.items()),
        "prompt_length.value=3",
        "data.max_length=32",
        "tracker=none",
        "batch_size=4",
        "epochs=1",
        "max_steps=2",
    ]


def train(folder: Path, url: str, home: Path, *words: str) -> subprocess.CompletedProcess:
    """`ptune train` in a process of its own, which knows no hub but ours."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "ptune", "train", *words, f"hydra.run.dir={folder}"],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.slow
def test_from_the_hub_and_from_its_cache(repositories, overrides, tmp_path):
    """Both are fetched at their revision; afterwards the hub may be gone."""
    hub = Hub(repositories)
    try:
        done = train(tmp_path / "first", hub.url, tmp_path / "home", *overrides)
    finally:
        hub.stop()
    assert done.returncode == 0, done.stderr
    assert any(f"/{MODEL}/resolve/{REVISIONS[MODEL]}/model.safetensors" in path for path in hub.asked)
    assert any(path.endswith("/resolve/" + REVISIONS[DATASET] + "/conll2003/train/0000.parquet") for path in hub.asked)
    result = json.loads((tmp_path / "first" / "result.json").read_text(encoding="utf-8"))
    assert result["steps"] == 2
    assert result["data"]["examples"] == {"train": 8, "dev": 4, "test": 3}
    assert result["data"]["revision"] == REVISIONS[DATASET]
    assert result["data"]["root"] == DATASET
    environment = json.loads((tmp_path / "first" / "env.json").read_text(encoding="utf-8"))
    assert environment["data"]["revision"] == REVISIONS[DATASET]
    assert set(result["data"]["files"]) == {"train", "dev", "test"}
    assert not result["synthetic"]
    gold = json.loads((tmp_path / "first" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()[0])["gold"]
    assert gold == ["B-PER", "I-PER", "O", "O", "B-LOC"]

    done = train(tmp_path / "second", hub.url, tmp_path / "home", *overrides)
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "second" / "result.json").read_text(encoding="utf-8"))
    assert again["score"] == result["score"]
    assert again["data"]["files"] == result["data"]["files"]
    tuned = [(tmp_path / name / "tuned.safetensors").read_bytes() for name in ("first", "second")]
    assert tuned[0] == tuned[1]


THREE_WAYS = """\
{what} is not on this machine and the Hub cannot be reached. Three options:
  hub:   run the same command where the Hub can be reached (or set HF_ENDPOINT to a mirror); what it fetches is cached
  local: {local}
  demo:  add data=demo backbone=tiny_encoder to train on synthetic data with the shipped model
"""


def test_nowhere(overrides, tmp_path):
    """No hub, nothing cached: without retries, one message with three options, and no folder left."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = train(tmp_path / "run", NOWHERE, tmp_path / "home", *overrides)
    after, waited = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    assert done.returncode == 1
    local = (
        "data=local data.root=DIR, a folder with its original files (train.txt or eng.train; valid.txt or dev.txt or "
        "eng.testa), and backbone=local backbone.path=DIR"
    )
    assert done.stderr == THREE_WAYS.format(what=f"task conll03 ({DATASET})", local=local)
    # What it slept, however slow the machine is: a probe at most, where the Hub client's own retries take 24 s.
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert waited - worked < 15
    assert not (tmp_path / "run").exists()


def snapshots(url: str, home: Path, *wanted: tuple) -> list[str]:
    """What is fetched of each, in a process of its own: a folder, or the message of an error.

    wanted: ("model", repository, revision), ("dataset", repository, pattern), or ("unlink", a file of the last).
    """
    script = """
import json, pathlib, sys
from ptune.errors import UnavailableError
from ptune.hub import Files, checkpoint
for what, *names in json.loads(sys.argv[1]):
    try:
        if what == "unlink":
            pathlib.Path(found, *names).unlink()
            continue
        if what == "model":
            files = checkpoint(*names, "safetensors")
        else:
            files = Files(names[0], "main", names[1:], lambda folder: False, what)
        found = str(files.fetch())
        print(found)
    except UnavailableError as error:
        print(error)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(wanted)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_parts_of_a_repository(hub, tmp_path):
    """rte and cb live in one repository: having the one does not stand in the way of fetching the other."""
    rte, cb = (("dataset", "aps/super_glue", f"{name}/*.parquet") for name in ("rte", "cb"))
    first, second = snapshots(hub.url, tmp_path, rte, cb)
    assert first == second
    assert Path(first).name == REVISIONS["aps/super_glue"]
    assert sorted(path.parent.name for path in Path(first).rglob("*.parquet")) == ["cb"] * 3 + ["rte"] * 3
    hub.asked.clear()
    assert snapshots(hub.url, tmp_path, rte, cb) == [first, first]
    assert not any("/resolve/" in path or "/api/datasets/" in path for path in hub.asked)


def test_an_interrupted_download(hub, tmp_path):
    """A file that is missing from a cached revision is fetched, not taken for absent."""
    model = ("model", MODEL, REVISIONS[MODEL])
    first, second = snapshots(hub.url, tmp_path, model, ("unlink", "model.safetensors"), model)
    assert first == second
    assert (Path(first) / "model.safetensors").is_file()


def by_hand(home: Path, kind: str, repo: str, folder: Path, *names: str) -> Path:
    """A cache of some files of a repository, without the list of what it has: as older clients leave it, or people."""
    to = home / "hub" / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / REVISIONS[repo]
    for path in [path for name in names for path in folder.glob(name)]:
        (to / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / path.relative_to(folder))
    return to


LOOK = """
import json, sys
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from ptune import config
from ptune.data import corpora
from ptune.config import Data
from ptune.errors import UnavailableError
from ptune.leaves import leaf

config.register()
with initialize_config_module("ptune.conf", version_base="1.3"):
    for name in sys.argv[1:]:
        task = leaf(OmegaConf.to_container(compose("train", overrides=[f"task={name}"]).task, resolve=True))
        for found in (corpora.look, corpora.load):
            try:
                corpus = found(task, Data(source="hub"))
                print(json.dumps(corpus and corpus.origin["examples"]))
            except UnavailableError as error:
                print(json.dumps(str(error)))
"""


def looked(url: str, home: Path, *tasks: str) -> list[Any]:
    """What looking for each task's data, then loading it, comes to: examples by split, or the message of an error."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *tasks], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_cache_of_another_config(repositories, tmp_path):
    """Of the same repository, or without a split: refused in three ways without the Hub, else the rest is fetched."""
    by_hand(tmp_path, "dataset", "aps/super_glue", repositories["aps/super_glue"], "rte/*", "cb/train*", "cb/test*")
    whole = {"train": 3, "dev": 3, "test": 3}
    rte, cb, axg = zip(*[iter(looked(NOWHERE, tmp_path, "rte", "cb", "superglue_axg"))] * 2, strict=True)
    assert rte == (None, whole)
    for name, (looking, loading) in (("cb", cb), ("superglue_axg", axg)):
        assert looking == loading
        assert looking.startswith(f"task {name} (aps/super_glue) is not on this machine and the Hub cannot be reached.")
        assert [line.split(":")[0] for line in looking.splitlines()[1:]] == ["  hub", "  local", "  demo"]
    hub = Hub(repositories)
    try:
        assert looked(hub.url, tmp_path, "rte", "cb") == [None, whole, None, whole]
    finally:
        hub.stop()
    assert not any("/resolve/" in path and "/rte/" in path for path in hub.asked)


@pytest.mark.parametrize("there", [["*.json"], ["config.json", "*.safetensors"], ["*.json", "pytorch_model.bin"]])
def test_a_cache_of_a_part_of_a_model(there, repositories, bert_folder, tmp_path):
    """Config and tokenizer alone, no tokenizer, or weights of the other kind; the rest is fetched."""
    (tmp_path / "model").mkdir()
    for path in bert_folder.iterdir():
        shutil.copy(path, tmp_path / "model")
    (tmp_path / "model/pytorch_model.bin").write_bytes(b"weights")
    folder = by_hand(tmp_path, "model", MODEL, tmp_path / "model", *there)
    model = ("model", MODEL, REVISIONS[MODEL])
    assert snapshots(NOWHERE, tmp_path, model) == ["None"]
    hub = Hub(repositories)
    try:
        assert snapshots(hub.url, tmp_path, model) == [str(folder)]
    finally:
        hub.stop()
    assert {path.name for path in folder.iterdir()} >= {"config.json", "tokenizer.json", "model.safetensors"}
    assert snapshots(NOWHERE, tmp_path, model) == [str(folder)]


def test_a_whole_model_without_a_list_is_taken(bert_folder, tmp_path):
    """As older clients leave one."""
    folder = by_hand(tmp_path, "model", MODEL, bert_folder, "*")
    assert snapshots(NOWHERE, tmp_path, ("model", MODEL, REVISIONS[MODEL])) == [str(folder)]


def test_not_on_the_hub(hub, tmp_path):
    """A hub that answers but has no such repository is quoted."""
    (message,) = snapshots(hub.url, tmp_path, ("dataset", "no/such", "*.parquet"))
    assert message.startswith("no/such at main: the Hub answered with an error: ")


def test_offline(tmp_path, monkeypatch):
    """HF_HUB_OFFLINE is obeyed without a probe."""
    from ptune import hub as module

    def probed(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(module.socket, "create_connection", probed)
    for value in ("1", "true", "ON"):
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert not module.reachable()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(AssertionError):
        module.reachable()


# The same corpora from the Hub and from their original files

Rows = list[dict[str, Any]]
TEXT, NUMBER = datasets.Value("string"), datasets.Value("int32")
TRUTH = datasets.ClassLabel(names=["False", "True"])
NEWER = ["corporation", "creative-work", "group", "location", "person", "product"]
SPLIT_NAMES = {"train": "train", "dev": "validation", "test": "test"}


def named(label: Any, names: list[str]) -> int:
    """A label as the Hub stores it; -1 where the test has none."""
    return -1 if label is None else names.index(str(label))


def json_lines(path: Path) -> Rows:
    """One object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def boolq_rows(path: Path) -> Rows:
    """Truth values are classes."""
    return [{**row, "label": named(row.get("label"), TRUTH.names)} for row in json_lines(path)]


def cb_rows(path: Path) -> Rows:
    """Names of labels are classes."""
    return [{**row, "label": named(row.get("label"), ["entailment", "contradiction", "neutral"])}
            for row in json_lines(path)]  # fmt: skip


def copa_rows(path: Path) -> Rows:
    """Choices are classes."""
    return [{**row, "label": row.get("label", -1)} for row in json_lines(path)]


def wsc_rows(path: Path) -> Rows:
    """The target's fields stand beside the text."""
    return [
        {"text": row["text"], **row["target"], "idx": row["idx"], "label": named(row.get("label"), TRUTH.names)}
        for row in json_lines(path)
    ]


def multirc_rows(path: Path) -> Rows:
    """A row an answer."""
    return [
        {
            "paragraph": line["passage"]["text"],
            "question": question["question"],
            "answer": answer["text"],
            "idx": {"paragraph": line["idx"], "question": question["idx"], "answer": answer["idx"]},
            "label": answer.get("label", -1),
        }
        for line in json_lines(path)
        for question in line["passage"]["questions"]
        for answer in question["answers"]
    ]


def record_rows(path: Path) -> Rows:
    """A row a query; ends of mentions are exclusive, entities and answers in no order of the passage."""
    rows = []
    for line in json_lines(path):
        text, entities = line["passage"]["text"], line["passage"]["entities"]
        spans = [(text[e["start"] : e["end"] + 1], e["start"], e["end"] + 1) for e in entities]
        for query in line["qas"]:
            rows.append(
                {
                    "passage": text,
                    "query": query["query"],
                    "entities": sorted({span[0] for span in spans}),
                    "entity_spans": dict(
                        zip(("text", "start", "end"), map(list, zip(*spans, strict=True)), strict=True)
                    ),
                    "answers": sorted({answer["text"] for answer in query.get("answers", [])}),
                    "idx": {"passage": line["idx"], "query": query["idx"]},
                }
            )
    return rows


def sst2_rows(path: Path) -> Rows:
    """Of its tables: train and dev have a header of sentence and label, test one of index and sentence."""
    header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return [{"sentence": row["sentence"], "label": int(row.get("label", -1)), "idx": i} for i, row in enumerate(rows)]


def squad_rows(path: Path) -> Rows:
    """A row a question."""
    return [
        {
            "id": qa["id"],
            "title": article["title"],
            "context": paragraph["context"],
            "question": qa["question"],
            "answers": {key: [answer[key] for answer in qa["answers"]] for key in ("text", "answer_start")},
        }
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def tagged_rows(path: Path, names: list[str]) -> Rows:
    """Of columns: the words, and the last column as IOB2, where the Hub has classes."""
    rows = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        cells = [line.split() for line in block.split("\n") if not line.startswith("-DOCSTART-")]
        if not cells:
            continue
        tags = [line[-1] for line in cells]
        for i, tag in enumerate(tags):
            if tag[0] == "I" and (i == 0 or tags[i - 1][1:] != tag[1:]):
                tags[i] = "B" + tag[1:]
        rows.append(
            {"id": str(len(rows)), "tokens": [line[0] for line in cells], "ner_tags": [names.index(t) for t in tags]}
        )
    return rows


def tagged(names: list[str]) -> dict[str, Any]:
    """The columns of a tagged corpus."""
    return {"id": TEXT, "tokens": datasets.List(TEXT), "ner_tags": datasets.List(datasets.ClassLabel(names=names))}


WNUT_TAGS = ["O", *(f"{prefix}-{name}" for name in NEWER for prefix in "BI")]
ANSWERS = {"text": datasets.List(TEXT), "answer_start": datasets.List(NUMBER)}
SQUAD = {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": ANSWERS}
PAIR = {"premise": TEXT, "hypothesis": TEXT, "idx": NUMBER}
ON_HUB: dict[str, tuple[str, dict[str, Any], Callable[[Path], Rows]]] = {
    "boolq": ("aps/super_glue/boolq", {"question": TEXT, "passage": TEXT, "idx": NUMBER, "label": TRUTH}, boolq_rows),
    "cb": ("aps/super_glue/cb",
           {**PAIR, "label": datasets.ClassLabel(names=["entailment", "contradiction", "neutral"])}, cb_rows),
    "copa": ("aps/super_glue/copa",
             {"premise": TEXT, "choice1": TEXT, "choice2": TEXT, "question": TEXT, "idx": NUMBER,
              "label": datasets.ClassLabel(names=["choice1", "choice2"])}, copa_rows),
    "wsc": ("aps/super_glue/wsc",
            {"text": TEXT, "span1_index": NUMBER, "span2_index": NUMBER, "span1_text": TEXT, "span2_text": TEXT,
             "idx": NUMBER, "label": TRUTH}, wsc_rows),
    "multirc": ("aps/super_glue/multirc",
                {"paragraph": TEXT, "question": TEXT, "answer": TEXT, "label": TRUTH,
                 "idx": {"paragraph": NUMBER, "question": NUMBER, "answer": NUMBER}}, multirc_rows),
    "record": ("aps/super_glue/record",
               {"passage": TEXT, "query": TEXT, "entities": datasets.List(TEXT), "answers": datasets.List(TEXT),
                "entity_spans": {"text": datasets.List(TEXT), "start": datasets.List(NUMBER),
                                 "end": datasets.List(NUMBER)},
                "idx": {"passage": NUMBER, "query": NUMBER}}, record_rows),
    "sst2": ("nyu-mll/glue/sst2",
             {"sentence": TEXT, "label": datasets.ClassLabel(names=["negative", "positive"]), "idx": NUMBER},
             sst2_rows),
    "squad": ("rajpurkar/squad/plain_text", SQUAD, squad_rows),
    "squad_v2": ("rajpurkar/squad_v2/squad_v2", SQUAD, squad_rows),
    "wnut17": ("leondz/wnut_17/wnut_17", tagged(WNUT_TAGS), lambda path: tagged_rows(path, WNUT_TAGS)),
    "conll03": ("eriktks/conll2003/conll2003", tagged(TAGS), lambda path: tagged_rows(path, TAGS)),
}  # fmt: skip
BOTH = """
import json, sys
from hydra import compose, initialize_config_module
from ptune.config import Data
from ptune.data.corpora import load
from ptune.leaves import leaf
from omegaconf import OmegaConf
from ptune import config

config.register()
found = {}
with initialize_config_module("ptune.conf", version_base="1.3"):
    for name, root in json.loads(sys.argv[1]).items():
        node = OmegaConf.to_container(compose("train", overrides=[f"task={name}"]).task, resolve=True)
        for settings in (Data(source="hub"), Data(source="local", root=root)):
            corpus = load(leaf(node), settings)
            splits = {split: [repr(example) for example in rows] for split, rows in corpus.splits.items()}
            origin = {key: corpus.origin.get(key) for key in ("revision", "examples")}
            found.setdefault(name, {})[settings.source] = {"splits": splits, **origin}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, Any]:
    """Each corpus as read from a hub that serves it in parquet, and from its original files."""
    base = tmp_path_factory.mktemp("both")
    for name, (place, features, rows_of) in ON_HUB.items():
        demo.write(name, base / "local" / name, 3, dict.fromkeys(demo.splits(name), 12), length=2)
        for split, names in task_source(name)["files"].items():
            path = next((p for n in names for p in (base / "local" / name).rglob(n)), None)
            if path is not None:
                rows = rows_of(path)
                assert rows, path
                to = base / "hub" / place / f"{SPLIT_NAMES[split]}-00000-of-00001.parquet"
                to.parent.mkdir(parents=True, exist_ok=True)
                datasets.Dataset.from_list(rows, features=datasets.Features(features)).to_parquet(str(to))
    hub = Hub({repo: base / "hub" / repo for repo in {place.rpartition("/")[0] for place, _, _ in ON_HUB.values()}})
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(base / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", BOTH, json.dumps({name: str(base / "local" / name) for name in ON_HUB})],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        hub.stop()
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", ON_HUB)
def test_hub_gives_what_the_original_files_give(both, name):
    """Every example of every split: ids, fields, gold, marks and groups."""
    hub, local = both[name]["hub"], both[name]["local"]
    assert hub["revision"] == REVISIONS[ON_HUB[name][0].rpartition("/")[0]]
    assert set(hub["splits"]) == set(task_source(name)["hub"]["splits"])
    assert {split: len(rows) for split, rows in local["splits"].items()} == hub["examples"]
    assert min(hub["examples"].values()) >= 10
    for split, rows in local["splits"].items():
        assert hub["splits"][split] == rows


def test_what_is_not_on_the_hub_has_the_demo_where_there_is_one():
    """What to obtain, and data=demo only for a corpus of the demo world."""
    for name, ways in (
        ("srl_ewt", "Two options"),
        ("conll12", "Two options"),
        ("paws", "Two options"),
        ("wikiann_en", "Two options"),
    ):
        task = leaf(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")))
        with pytest.raises(UnavailableError) as caught:
            corpora.load(task, Data(source="hub"))
        first, local, *demos = str(caught.value).splitlines()
        assert first == f"data=hub: no data set of the Hub is known for {name}. {ways}:"
        assert local == f"  local: data=local data.root=DIR, with {task.source['obtain']}"
        assert demos == ["  demo:  data=demo, a synthetic corpus in the same format"] * (name in demo.tasks())
        del task.source["obtain"]
        with pytest.raises(UnavailableError, match=r"with its original files \("):
            corpora.load(task, Data(source="hub"))


@pytest.mark.parametrize("name", PINNED)
def test_revisions_are_commits(name):
    """A branch moves; tasks of one repository read it at one commit."""
    assert re.fullmatch("[0-9a-f]{40}", PINNED[name]["revision"])
    assert PINNED[name]["revision"] == REVISIONS[PINNED[name]["path"]]


def test_every_task_of_the_hub_has_a_demo():
    """The options that its message names are there."""
    nodes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "conf/task").glob("*.yaml")]
    assert {node["name"] for node in nodes if "hub" in node["source"]} <= {*demo.tasks()}
