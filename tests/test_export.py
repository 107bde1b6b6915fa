"""Exports: a folder that predicts and scores anywhere, its model card, and the Hub, told before it is uploaded."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from command_line import call

from ptune.config import Train
from ptune.exports import card

KEY = "hf_" + "Abcd1234" * 5


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A finished run of named entities on the shipped encoder."""
    return trained(tmp_path_factory.mktemp("demo"), "task=conll03", "method=ptv2", "prompt_length.value=2")


def trained(base: Path, *words: str) -> Path:
    sizes = [f"data.demo.{split}={count}" for split, count in (("train", 16), ("dev", 8), ("test", 8))]
    common = ["data=demo", *sizes, "backbone=tiny_encoder", "tracker=none", "epochs=1", "batch_size=8", "quiet=true"]
    assert call("train", *common, *words, f"hydra.run.dir={base / 'run'}") == 0
    return base / "run"


def front(text: str) -> dict[str, Any]:
    """A card's YAML, which the Hub's own class reads, too."""
    from huggingface_hub import ModelCard

    found = yaml.safe_load(text.split("---\n")[1])
    assert ModelCard(text).data.to_dict()["license"] == found["license"]
    return dict(found)


def test_a_folder_works_where_it_is_moved(ptune, demo, tmp_path):
    """Without the run it came from: the same predictions, the same score, and no path of this machine in it."""
    found = ptune("export", str(demo), "to=folder", "out=made/here")
    assert found.code == 0, found.err
    assert found.err.splitlines()[-1] == "written to made/here"
    shutil.move(tmp_path / "made" / "here", tmp_path / "moved")
    names = sorted(path.name for path in (tmp_path / "moved").iterdir())
    assert names == sorted(
        ["README.md", "config.yaml", "env.json", "labels.json", "result.json", "splits.jsonl", "tuned.safetensors"]
    )
    text = "Maria Kolt was born in Brenford ."
    (tmp_path / "in.txt").write_text(text + "\n", encoding="utf-8")
    before, after = (ptune("predict", f"run={run}", "input=in.txt") for run in (demo, tmp_path / "moved"))
    assert (after.code, after.out) == (0, before.out)
    assert ptune("eval", "run=moved").code == 0
    result = json.loads((demo / "result.json").read_text(encoding="utf-8"))
    scored = json.loads((tmp_path / "moved" / "eval_test.json").read_text(encoding="utf-8"))
    assert scored["scores"] == result["best"]["report"]
    assert scored["sha256"] == result["checksums"]["test"]
    for path in (tmp_path / "moved").glob("*.*"):
        assert str(demo.parent).encode() not in path.read_bytes(), path
    labels = json.loads((tmp_path / "moved" / "labels.json").read_text(encoding="utf-8"))
    assert labels["labels"][0] == "O"
    found = ptune("export", "moved", "to=peft", "out=adapter")  # which has no examples to compare logits on
    assert found.code == 0, found.err
    assert " at most on 3 examples" in found.err


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("conll05", ("method=ptv2", "prompt_length.value=2")),
        ("wic", ("method=lora", "method/head=pooled")),
        ("wsc", ("method=lora", "method/head=pooled")),
        ("record", ("method=lora", "method/head=pooled")),
        ("lama", ("method=pattern_finetune", "method.tune=lora")),
    ],
)
def test_logits_are_compared_on_the_corpus(ptune, tmp_path, task, words):
    """Of tasks whose predictions do not tell all of an example; where it is out of reach, that is said."""
    pytest.importorskip("peft", reason="the extra ptune[peft] is not installed")
    run = trained(tmp_path, f"task={task}", *words, "max_steps=1")
    found = ptune("export", str(run), "to=peft", "out=adapter")
    assert found.code == 0, found.err
    assert found.err.splitlines()[-2].endswith(" at most on 8 examples")
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["data"] |= {"source": "local", "root": str(tmp_path / "nowhere")}
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    root = f"data.root: {tmp_path / 'nowhere'} is not a folder; name the one that holds {task}'s original files"
    said = f"to=peft: no examples of {task} to compare logits on ({root}); export where its corpus is, or use to=folder"
    found = ptune("export", str(run), "to=peft", "out=other")
    assert (found.code, found.err) == (1, said)


def test_what_peft_cannot_hold_needs_no_examples(ptune, tmp_path):
    """The reason is told wherever the corpus is."""
    run = trained(tmp_path, "task=wic", "method=bitfit", "max_steps=1")
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["data"] |= {"source": "local", "root": str(tmp_path / "nowhere")}
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    found = ptune("export", str(run), "to=peft", "out=adapter")
    assert found.code == 1
    assert found.err.startswith(
        "to=peft: cannot export this run: PEFT needs a frozen backbone, or one tuned with lora or ia3 (method.tune); "
    )


def test_the_card_tells_everything(ptune, demo, tmp_path):
    """Front matter with results, and below it interval, n, selection, command, checksums; loud about made-up data."""
    assert ptune("export", str(demo), "to=folder", "out=made", "license=mit").code == 0
    text = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    told, result = front(text), json.loads((demo / "result.json").read_text(encoding="utf-8"))
    assert told["license"] == "mit"
    assert (told["language"], told["library_name"], told["pipeline_tag"]) == ("en", "ptune", "token-classification")
    assert "synthetic" in told["tags"]
    assert "datasets" not in told
    (index,) = told["model-index"]
    (each,) = index["results"]
    assert each["dataset"]["name"] == "conll03 (SYNTHETIC, invented by ptune)"
    assert each["dataset"]["type"] == "synthetic-conll03"
    values = {metric["type"]: metric["value"] for metric in each["metrics"]}
    assert values == {name: round(value, 4) for name, value in result["best"]["report"].items()}
    low, high = result["interval"]
    env = json.loads((demo / "env.json").read_text(encoding="utf-8"))
    for said in (
        "> **SYNTHETIC DATA",
        f"| **f1** | {result['score']:.2f} | [{low:.1f}, {high:.1f}] | 8 | {result['majority']:.2f} |",
        f"The best evaluation by f1 on dev ({result['selected']:.2f}",
        "ptune train data=demo data.demo.train=16",
        f"torch {env['packages']['torch']}",
        result["checksums"]["test"],
        result["data"]["files"]["test"]["sha256"],
        result["identity"],
        "seed: 1",
        "## Limits",
        "- `tuned.safetensors`",
    ):
        assert said in text, said
    assert str(demo.parent) not in text


def test_the_card_of_a_result_with_less(ptune, demo, tmp_path):
    """What a result may lack is left out, and no caveat is none."""
    run = tmp_path / "less"
    shutil.copytree(demo, run)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    less = {key: value for key, value in result.items() if key not in ("interval", "selected", "data", "checksums")}
    (run / "result.json").write_text(json.dumps({**less, "caveat": None}), encoding="utf-8")
    done = ptune("export", "less", "to=folder", "out=made")
    assert done.code == 0, done.err
    text = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert f"| **f1** | {result['score']:.2f} |  | 8 |" in text
    assert f"The best evaluation by f1 on dev ({result['score']:.2f}" in text
    assert "Caveat: None" not in text


def test_the_card_of_local_data(ptune, tmp_path, bert_folder, examples):
    """The corpus's name on the Hub, no word of synthetic, what is selected on its own report; no folder but a name."""
    for name in ("train", "val"):
        rows = [{**example.fields, "label": example.gold} for example in examples["rte"]]
        (tmp_path / "data").mkdir(exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    words = ["task=rte", "data=local", f"data.root={tmp_path / 'data'}", "backbone=local", "method=ptv2"]
    more = [
        "tracker=none",
        f"backbone.path={bert_folder}",
        "method/head=pooled",
        "epochs=1",
        "prompt_length.value=2",
        "quiet=true",
    ]
    assert ptune("train", *words, *more, f"hydra.run.dir={tmp_path / 'run'}").code == 0
    assert ptune("export", "run", "out=adapter").code == 0
    text = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    told = front(text)
    assert told["datasets"] == ["aps/super_glue"]
    assert told["license"] == "other"
    assert "base_model" not in told  # a folder, which is no name on the Hub
    assert "SYNTHETIC" not in text
    assert "Caveat: selected on dev, which is reported: optimistic." in text
    assert "data.root=data" in text
    assert str(tmp_path) not in text
    assert "AutoModelForSequenceClassification" in text
    assert ptune("export", "run", "to=folder", "out=folder").code == 0
    config = yaml.safe_load((tmp_path / "folder" / "config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["root"] is None
    assert config["backbone"]["path"] == str(bert_folder)  # the one that is needed, and is told
    assert str(bert_folder) in (tmp_path / "folder" / "README.md").read_text(encoding="utf-8")


def test_what_the_protocol_took_away_is_a_caveat():
    """Half of dev is not dev, and some examples are not the training set."""
    half = card.held_out(Train(protocol="held_out", held_out_from="dev"))
    assert half == "selected on one half of dev, and what is called dev is the other half (held_out_from=dev)"
    assert "10% of train" in card.held_out(Train(protocol="held_out"))
    assert "a few examples" in card.held_out(Train(protocol="few_shot"))


def test_files_beside_a_splits_have_their_checksums():
    """As the words of CoNLL-2005's props; none says where it was."""
    beside = {"/home/somebody/train.words": "2"}
    files = {"train": {"path": "/home/somebody/train.props", "sha256": "1", "beside": beside}}
    run: Any = SimpleNamespace(task=SimpleNamespace(source={}), settings=Train())
    text = card.data(run, {"synthetic": False, "data": {"source": "local", "files": files}})
    assert text.splitlines()[1:] == ["- train: `train.props`, sha256 `1`", "- train: `train.words`, sha256 `2`"]


# The Hub


class Hub:
    """A Hub on the loopback that takes commits: what it was sent, and what it was asked."""

    def __init__(self, refuse: int | None = None, breaks: bool = False) -> None:
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.breaks = breaks
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                hub.answer(self, self.rfile.read(size), refuse)

            def do_PUT(self) -> None:
                self.do_POST()

            def do_GET(self) -> None:
                hub.answer(self, b"", refuse)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes, refuse: int | None) -> None:
        """One request."""
        path = request.path.split("?")[0]
        self.asked.append(f"{request.command} {path}")
        self.tokens.add(request.headers.get("Authorization"))
        if self.breaks:
            request.close_connection = True
            return
        status, told = 200, {}
        if refuse:
            status, told = refuse, {"error": "no"}
        elif path == "/api/repos/create":
            self.created = json.loads(body)
            told = {"url": f"{self.url}/me/mine", "id": "1"}
        elif path.startswith("/api/models/") and "/preupload/" in path:
            files = json.loads(body)["files"]
            told = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif path.startswith("/api/models/") and "/commit/" in path:
            import base64

            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            told = {"success": True, "commitOid": "c" * 40, "commitUrl": f"{self.url}/me/mine/commit/{'c' * 40}"}
        elif path == "/api/models/me/mine":
            told = {"id": "me/mine", "sha": "a" * 40, "siblings": [], "private": True, "tags": []}
        elif path.startswith("/api/models/"):
            told = {"id": "me/mine", "sha": "a" * 40, "siblings": []}
        content = json.dumps(told).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@pytest.fixture
def hub(monkeypatch) -> Iterator[Any]:
    """hub(): one that this process's client talks to, with a token in the environment."""
    from huggingface_hub import constants

    servers = []

    def start(**how: Any) -> Hub:
        server = Hub(**how)
        servers.append(server.server)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", KEY)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_nothing_is_uploaded_unless_confirmed(ptune, demo, hub, tmp_path):
    """The files with their sizes and the card are told; the Hub is not asked anything."""
    server = hub()
    found = ptune("export", str(demo), "to=hub", "repo=me/mine")
    assert found.code == 0, found.err
    said = found.out + found.err
    size = (demo / "tuned.safetensors").stat().st_size
    assert "tuned.safetensors" in said
    assert f"{size:,}" in said
    assert "SYNTHETIC DATA" in said
    assert "confirm=true commits these 7 files to me/mine" in said
    assert "private" in said.splitlines()[-1]
    assert KEY not in said
    assert server.asked == []
    assert [*tmp_path.iterdir()] == []


def test_a_confirmed_upload(ptune, demo, hub):
    """One private repository, one commit with all the files; the token goes to the Hub and nowhere else."""
    server = hub()
    found = ptune("export", str(demo), "to=hub", "repo=me/mine", "confirm=true")
    assert found.code == 0, found.err
    assert server.created["visibility"] == "private"
    assert (server.created["name"], server.created["organization"]) == ("mine", "me")
    assert sum("/commit/" in path for path in server.asked) == 1
    assert server.files["tuned.safetensors"] == (demo / "tuned.safetensors").read_bytes()
    assert {"README.md", "config.yaml", "result.json", "labels.json"} <= set(server.files)
    assert server.tokens - {None} == {f"Bearer {KEY}"}
    assert "uploaded to" in found.err
    assert KEY not in found.out + found.err
    assert not any(KEY.encode() in content for content in server.files.values())


def test_a_refused_upload(ptune, demo, hub):
    """One line that tells how to log in."""
    server = hub(refuse=401)
    found = ptune("export", str(demo), "to=hub", "repo=me/mine", "confirm=true")
    assert (found.code, found.err.splitlines()[-1]) == (
        1,
        f"to=hub: {server.url} refuses me/mine (401); run hf auth login or set HF_TOKEN in the environment, "
        "with write access",
    )
    assert server.files == {}


def test_an_upload_that_breaks_off(ptune, demo, hub):
    """One line, too."""
    server = hub(breaks=True)
    found = ptune("export", str(demo), "to=hub", "repo=me/mine", "confirm=true")
    said = found.err.splitlines()[-1]
    assert (found.code, len(server.asked) > 0) == (1, True)
    assert said.startswith(f"to=hub: {server.url} broke off (")
    assert said.endswith("); run the same command again to retry")


def test_no_upload_without_a_hub(ptune, demo, hub, monkeypatch):
    """Offline, it says so at once."""
    server = hub()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = ptune("export", str(demo), "to=hub", "repo=me/mine", "confirm=true")
    assert (found.code, found.err.splitlines()[-1]) == (
        1,
        f"to=hub: {server.url} cannot be reached (or HF_HUB_OFFLINE is set)",
    )


# Keys


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (f"tracker.tags=[{KEY}]", "hf_A..."),
        ("data.root=https://me:secret@example.org/x", "a password in an address"),
        ("experiment=seventeen-letters", "the value of MY_API_KEY"),
    ],
)
def test_a_key_is_kept_nowhere(ptune, monkeypatch, tmp_path, word, told):
    """A command line with one ends before anything is written."""
    monkeypatch.setenv("MY_API_KEY", "seventeen-letters")
    found = ptune("train", "-m", "data=demo", word, "seed=1,2")
    assert (found.code, found.err) == (
        2,
        f"ptune train: the command line contains what looks like a secret ({told}), which would be saved with the run; "
        "pass it through the environment instead",
    )
    assert [*tmp_path.iterdir()] == []


def test_a_key_in_a_setting(settings, monkeypatch):
    """One that comes from somewhere else, as from the environment, too."""
    from ptune.errors import ConfigError

    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 3)
    with pytest.raises(ConfigError) as caught:
        settings("data=demo", "backbone=tiny_encoder", "tracker.entity=${oc.env:WANDB_API_KEY}")
    assert caught.value.problems[0] == (
        "tracker.entity: contains what looks like a secret (the value of WANDB_API_KEY), which would be saved with the "
        "run; W&B and the Hub read theirs from the environment"
    )


@pytest.mark.parametrize("sweeper", [[], ["hydra/sweeper=optuna"]], ids=["every point", "optuna"])
def test_a_key_in_a_yaml_is_kept_with_no_sweep(ptune, tmp_path, sweeper):
    """Whose settings are written before those of its jobs are looked at; of a list's parts, and of names, too."""
    if sweeper:
        pytest.importorskip("optuna", reason="needs Optuna: pip install 'ptune[search]'")
    (tmp_path / "conf/extra").mkdir(parents=True)
    told = f"# @package _global_\ntask:\n  source:\n    statistics:\n      parts: [{{a: {KEY}}}]\n      {KEY}: 1\n"
    (tmp_path / "conf/extra/form.yaml").write_text(told)
    words = ["data=demo", "backbone=tiny_encoder", "--config-dir", "conf", "+extra=form", "seed=1,2"]
    found = ptune("train", "-m", *words, *sweeper, "hydra.sweep.dir=sweep")
    assert found.code == 2
    lines = found.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["task.source.statistics.parts", "task.source.statistics"]
    assert all("looks like a secret (hf_A...)" in line for line in lines)
    assert not [path for path in tmp_path.glob("sweep/**/*") if path.is_file()]
