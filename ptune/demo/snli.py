"""SNLI: does one short text entail, contradict or leave open another? With pairs on which nobody could agree."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import pairs, rows
from ptune.demo.mnli import LABELS
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
OPEN = 100  # rows after which one has no gold label, as one in 60 of the original has none


def write(recipe: Recipe, folder: Path) -> None:
    """Write `snli_1.0/snli_1.0_{train,dev,test}.jsonl`; sizes count pairs with a gold label; parses are left out."""
    (folder / "snli_1.0").mkdir(parents=True, exist_ok=True)
    for split in recipe.sizes:
        with (folder / "snli_1.0" / f"snli_1.0_{split}.jsonl").open("w", encoding="utf-8") as file:
            for row in examples(recipe, split, recipe.random(split)):
                file.write(json.dumps(row) + "\n")


def examples(recipe: Recipe, split: str, random: Random) -> Iterator[dict[str, Any]]:
    """Premises with their hypotheses and the votes of five judges, a third of each label."""
    noise = recipe.random(f"{split} noise")
    for number in range(recipe.sizes[split]):
        label = random.choice(LABELS)
        row = pair(recipe, split, random, noise, label, number)
        yield {"annotator_labels": [label] * 5, "gold_label": label, **row}
        if number % OPEN == OPEN - 1:
            row = pair(recipe, split, random, noise, random.choice(LABELS), number)
            yield {"annotator_labels": [*LABELS[:2], *LABELS[:2], LABELS[2]], "gold_label": "-", **row}


def pair(recipe: Recipe, split: str, random: Random, noise: Random, label: str, number: int) -> dict[str, str]:
    """The texts of a row."""
    premise, hypothesis = pairs.inference(recipe, split, random, noise, label, "news", 0)
    about = {"captionID": f"{number}.jpg#0", "pairID": f"{number}.jpg#0r1{label[0]}"}
    return {**about, "sentence1": premise, "sentence2": hypothesis}
