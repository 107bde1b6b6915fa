"""The pretraining text has no row and no pattern of a task; the tiny backbones are those of their cards."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rendering
import torch
import yaml
from formats import COINCIDENCES, MEANT_TO_BE_TOLD, SHORT, files, texts
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from ptune import conf, demo

ASSETS = Path(demo.__file__).parent.parent / "assets"
TASKS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(next(iter(conf.__path__))) / "task").glob("*.yaml"))
}
PATTERNS = {
    f"{task}.{name}": pattern["text"]
    for task, node in TASKS.items()
    for name, pattern in (node.get("patterns") or {}).items()
}
ANSWERS = {
    f"{task}.{name}": [
        word for words in (node.get("verbalizers") or {}).get(pattern.get("verbalizer"), {}).values() for word in words
    ]
    for task, node in TASKS.items()
    for name, pattern in (node.get("patterns") or {}).items()
}
FIXED = {name: text for name, text in PATTERNS.items() if re.search("[a-z]{2}", re.sub(r"\{[^}]*\}", "", text))}


@pytest.fixture(scope="module")
def passages() -> list[str]:
    """A sample of the text of the shipped backbones' world."""
    return list(demo.text(0, 20_000))


def test_deterministic(passages: list[str]) -> None:
    assert list(demo.text(0, 500)) == list(demo.text(0, 500))
    assert list(demo.text(0, 500)) != list(demo.text(1, 500))
    start = list(demo.text(0, 500))
    assert start[:-1] == passages[: len(start) - 1], "more text begins with the same"


def test_statistics(passages: list[str]) -> None:
    """Passages of one to a dozen sentences, each with a beginning and an end, hardly one twice."""
    sentences = [line for passage in passages for line in rendering.sentences(passage)]
    assert 0.8 * 20_000 < len(sentences) < 1.2 * 20_000
    assert 2.0 < len(sentences) / len(passages) < 4.0
    lengths = [len(line.split()) for line in sentences]
    assert 6 < sum(lengths) / len(lengths) < 12
    assert max(lengths) < 60
    assert all(re.match(r"[\"A-Z0-9]", passage) and passage[-1] in '.?!"' for passage in passages)
    assert len(set(passages)) > 0.9 * len(passages)
    assert not any(re.search(r"[{}|<>]|[A-Z]{7}", passage) for passage in passages), "a part of a template is left"


def test_answers_are_given_both_ways(passages: list[str]) -> None:
    """Questions for yes or no are answered with yes, no and maybe, which is what the verbalizers draw on."""
    counts = {
        word: sum(word in rendering.words(p) for p in passages) / len(passages) for word in ("yes", "no", "maybe")
    }
    assert all(share > 0.01 for share in counts.values()), counts
    assert 0.5 < counts["yes"] / counts["no"] < 2


# Tasks


@pytest.mark.parametrize("task", [task for task in demo.tasks() if task not in MEANT_TO_BE_TOLD])
def test_no_row_of_a_task(task: str, root: Path, passages: list[str], index: dict[str, list[str]]) -> None:
    """No passage holds all long texts of a row, whatever stands between them."""
    told = set(passages)
    lines = {line for passage in passages for line in rendering.sentences(passage)}
    sought = 0
    for path in files(root / task):
        found = count = 0
        for row in texts(path):
            whole = " ".join(row)
            count += 1
            if len(rendering.sentences(whole)) > 1:
                found += whole in told or any(all(part in passage for part in row) for passage in near(row, index))
                sought += 1
            elif len(whole.split()) > 12:
                found += whole in lines
                sought += 1
        share, _ = COINCIDENCES.get(path.parent.name, (0.0, ""))
        assert found <= share * count, path.name
    assert sought > 10 or task in SHORT


def near(row: list[str], found: dict[str, list[str]]) -> Iterator[str]:
    """The passages with the row's longest part."""
    longest = max(row, key=len)
    rare = min((found.get(token, []) for token in longest.split()), key=len)
    return (passage for passage in rare if longest in passage)


@pytest.fixture(scope="module")
def index(passages: list[str]) -> dict[str, list[str]]:
    """The passages of each word, with what is written at it."""
    table: dict[str, list[str]] = {}
    for passage in passages:
        for token in dict.fromkeys(passage.split()):
            table.setdefault(token, []).append(passage)
    return table


def as_regex(pattern: str, answers: list[str]) -> str:
    """A pattern with one of the answers at its mask and anything in its other fields."""
    parts = re.split(r"(\{[^}]*\})", pattern)
    mask = f"(?:{'|'.join(map(re.escape, answers))})"
    told = "".join(mask if p == "{mask}" else ".+?" if p[:1] == "{" else re.escape(p) for p in parts)
    return re.sub(r"(?:\\ )+", r"\\s+", re.sub(r"^(?:\.\+\?)+|(?:\.\+\?)+$", "", told))


@pytest.mark.parametrize("name", FIXED)
def test_no_pattern_of_a_task(name: str, passages: list[str]) -> None:
    """A pattern with its words in their order, an answer at its mask and anything in its fields occurs nowhere."""
    told = re.compile(as_regex(FIXED[name], ANSWERS[name]), re.IGNORECASE)
    assert not [passage for passage in passages if told.search(passage)]


def test_patterns_are_found() -> None:
    """The search above finds a pattern that is there."""
    said = "The review was long. It was great. We left."
    assert re.search(as_regex(FIXED["sst2.lmbff"], ANSWERS["sst2.lmbff"]), said)
    asked = "It snowed. Question: did it? A word. Answer: Yes."
    assert re.search(as_regex(FIXED["rte.ptuning"], ANSWERS["rte.ptuning"]), asked)


def test_patterns_are_found_where_they_are() -> None:
    assert len(FIXED) >= 8
    assert "rte.ptuning" in FIXED


# The shipped backbones

SHIPPED = [path for path in sorted(ASSETS.iterdir()) if (path / "config.json").is_file()]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_a_backbone_is_the_one_of_its_card(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4 * 2**20
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {folder.name}\n")
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() in card
    for words in (
        "not evidence about",
        f"`scripts/pretrain_tiny {folder.name.removeprefix('tiny_')}`",
        "Held-out loss",
    ):
        assert words in card


def test_the_backbones_are_small_together() -> None:
    assert {path.name for path in SHIPPED} == {"tiny_causal", "tiny_encoder", "tiny_encoder_decoder"}
    assert sum(path.stat().st_size for folder in SHIPPED for path in folder.iterdir()) <= 10_000_000


def test_tiny_encoder_vocabulary() -> None:
    vocabulary = json.loads((ASSETS / "tiny_encoder/tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert len(vocabulary) <= 5400
    wanted = "[CLS] [SEP] [MASK] [PAD] [UNK] yes no maybe true false right wrong bridge poet bought because"
    assert set(wanted.split()) <= set(vocabulary)


@torch.no_grad()
def test_the_causal_model_goes_on_in_the_language_of_the_world() -> None:
    folder = str(ASSETS / "tiny_causal")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer("<|endoftext|> Was the bridge built by the mayor? The answer is", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()).strip() in ("yes", "no", "maybe")


@torch.no_grad()
@pytest.mark.parametrize(
    ("passage", "written"),
    [
        ("Was the bridge built by the mayor? The answer is<extra_id_0>.", "<extra_id_0> (yes|no|maybe)"),
        ("She went to the<extra_id_0> and bought<extra_id_1>.", "<extra_id_0> [a-z ]+<extra_id_1> [a-z ]+"),
    ],
)
def test_the_encoder_decoder_fills_sentinels(passage: str, written: str) -> None:
    folder = str(ASSETS / "tiny_encoder_decoder")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(" " + passage, return_tensors="pt")["input_ids"]
    filled = tokenizer.decode(model.generate(ids, max_new_tokens=20, do_sample=False)[0])
    assert re.fullmatch(f"<pad>{written}</s>", filled), filled
