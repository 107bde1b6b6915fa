"""Noise, distractors and length do what they promise, in every corpus that they are of use to."""

import json
from pathlib import Path
from typing import Any

import formats
import pytest
import rendering
from rendering import sizes_of

from ptune import demo
from ptune.demo import recipe

PASSAGES = {"boolq": "passage", "squad": "context", "squad_v2": "context", "multirc": "passage", "record": "passage"}
PREMISES = {"rte": "premise", "cb": "premise"}
TABLES = ("e2e", "webnlg")


def written(task: str, folder: Path, **difficulty: Any) -> list[bytes]:
    demo.write(task, folder, sizes=dict.fromkeys(sizes_of(task), 60), **difficulty)
    return list(formats.contents(folder).values())


def texts(task: str, folder: Path, **difficulty: Any) -> list[str]:
    """The passages, premises or texts of training, each once."""
    written(task, folder, **difficulty)
    path = next(path for path in folder.rglob("*train*"))
    if task in TABLES:
        return [text for row in formats.texts(path) for text in row if text != "ref"]
    if path.suffix == ".json":
        return list(dict.fromkeys(context for context, _ in rendering.questions(path)))
    found = [row[{**PASSAGES, **PREMISES}[task]] for row in rendering.rows(path)]
    return [text["text"] if isinstance(text, dict) else text for text in found]


def mean_length(told: list[str]) -> float:
    return sum(len(rendering.sentences(text)) for text in told) / len(told)


@pytest.mark.parametrize("task", demo.tasks())
def test_defaults(task: str, tmp_path: Path) -> None:
    """What is given as default is what is written without."""
    usual = vars(recipe.Difficulty())
    assert written(task, tmp_path / "one") == written(task, tmp_path / "two", **usual)


@pytest.mark.parametrize("task", demo.tasks())
def test_noise(task: str, tmp_path: Path) -> None:
    """Every split changes with it, and more with more of it, but no row comes or goes."""
    for noise in (0.0, 0.3, 1.0):
        written(task, tmp_path / str(noise), noise=noise)
    quiet, some, loud = (formats.by_split(task, tmp_path / str(noise)) for noise in (0.0, 0.3, 1.0))
    for split, before in quiet.items():
        if not formats.noisy(task, split):
            assert before == some[split] == loud[split], split
        elif formats.documents(task) or task == "lama":  # some files are of a row or two
            assert len(before) == len(some[split]) == len(loud[split])
            assert before != some[split] != loud[split] != before
        else:
            assert all(one != other for one, other in zip(before, loud[split], strict=True) if one)
            assert all(one != other for one, other in zip(some[split], loud[split], strict=True))
    assert formats.counts(task, tmp_path / "0.0") == formats.counts(task, tmp_path / "1.0")


@pytest.mark.parametrize("task", ["rte", "cb", "wic", "superglue_axb", "superglue_axg"])
def test_noise_leaves_the_rest(task: str, tmp_path: Path) -> None:
    """The labels and what is asked are the same; most texts are damaged."""
    quiet, loud = (
        [json.loads(line) for line in written(task, tmp_path / str(noise), noise=noise)[:2][-1].splitlines()]
        for noise in (0.0, 1.0)
    )
    kept = ("label", "hypothesis", "word", "pair_id")
    assert [[row.get(name) for name in kept] for row in quiet] == [[row.get(name) for name in kept] for row in loud]
    field = "premise" if "premise" in quiet[0] else "sentence1"
    assert sum(a[field] != b[field] for a, b in zip(quiet, loud, strict=True)) > 0.5 * len(quiet)


@pytest.mark.parametrize("task", ["wic", "wsc"])
def test_noise_spares_what_is_marked(task: str, tmp_path: Path) -> None:
    written(task, tmp_path, noise=1.0)
    for row in rendering.rows(next(tmp_path.rglob("train.jsonl"))):
        if task == "wic":
            found = [row[f"sentence{i}"][row[f"start{i}"] : row[f"end{i}"]].lower() for i in (1, 2)]
            assert set(found) <= {row["word"], row["word"] + "s"}
        else:
            parts, target = row["text"].split(), row["target"]
            for i in (1, 2):
                text, at = target[f"span{i}_text"], target[f"span{i}_index"]
                assert " ".join(parts[at : at + len(text.split())]).rstrip(".,") == text


@pytest.mark.parametrize("task", ["squad", "squad_v2"])
def test_noise_keeps_answers_in_place(task: str, tmp_path: Path) -> None:
    written(task, tmp_path, noise=1.0)
    for path in tmp_path.iterdir():
        for context, question in rendering.questions(path):
            for answer in question["answers"]:
                start = answer["answer_start"]
                assert context[start : start + len(answer["text"])] == answer["text"]


@pytest.mark.parametrize("task", [*PASSAGES, *PREMISES])
def test_distractors(task: str, tmp_path: Path) -> None:
    """More other things make longer texts."""
    lengths = [mean_length(texts(task, tmp_path / str(n), distractors=n)) for n in (0, 2, 6)]
    assert lengths[0] + 0.3 < lengths[1] < lengths[2] - 0.8


@pytest.mark.parametrize("task", [*PASSAGES, *TABLES])
def test_length(task: str, tmp_path: Path) -> None:
    """More facts of the thing itself make longer texts."""
    lengths = [mean_length(texts(task, tmp_path / str(n), length=n)) for n in (1, 3)]
    assert lengths[0] + (0.3 if task in TABLES else 0.5) < lengths[1]
