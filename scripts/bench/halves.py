"""Two halves of a corpus of which one part alone is here, to train on one and evaluate on the other."""

from __future__ import annotations

import json
from pathlib import Path


def halve_squad(source: Path, folder: Path) -> None:
    """Every other article to train on, the others in dev's place; no article is in both."""
    whole = json.loads(source.read_text(encoding="utf-8"))
    version = (
        "v2.0"
        if any(qa.get("is_impossible") for a in whole["data"] for p in a["paragraphs"] for qa in p["qas"])
        else "v1.1"
    )
    for name, first in (("train", 0), ("dev", 1)):
        half = {**whole, "data": whole["data"][first::2]}
        (folder / f"{name}-{version}.json").write_text(json.dumps(half), encoding="utf-8")


def halve_boolq(source: Path, folder: Path) -> None:
    """Every other passage to train on, the others in dev's place; questions on one passage stay together."""
    lines = source.read_text(encoding="utf-8").splitlines()
    numbers: dict[str, int] = {}
    halves: tuple[list[str], list[str]] = ([], [])
    for line in lines:
        passage = json.loads(line)["passage"]
        halves[numbers.setdefault(passage, len(numbers)) % 2].append(line)
    for name, half in zip(("train", "val"), halves, strict=True):
        (folder / f"{name}.jsonl").write_text("\n".join(half) + "\n", encoding="utf-8")
