"""FewGLUE: 32 training examples of each SuperGLUE task, as many for dev, and examples without labels.

Made as the tasks' own corpora are. As in the original, MultiRC and ReCoRD have one question a passage, and the
training examples of WSC are all true; dev32.jsonl and val.jsonl are as P-Tuning adds them (FewGLUE_32dev).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from ptune.demo import boolq, cb, copa, multirc, record, rte, wic, wsc
from ptune.demo.recipe import Recipe

SIZES: Mapping[str, int] = {"train": 32, "dev": 32, "test": 100, "unlabeled": 200}
FILES = {"train": "train.jsonl", "dev": "dev32.jsonl", "test": "val.jsonl", "unlabeled": "unlabeled.jsonl"}
SOURCE = {"train": "train", "dev": "train", "test": "dev", "unlabeled": "train"}  # the split of SuperGLUE
TASKS = ("BoolQ", "CB", "COPA", "MultiRC", "RTE", "ReCoRD", "WSC", "WiC")

Json = dict[str, Any]


def write(recipe: Recipe, folder: Path) -> None:
    """Write `FewGLUE/TASK/{train,dev32,val,unlabeled}.jsonl` for the eight tasks; sizes count lines."""
    for task in TASKS:
        (folder / "FewGLUE" / task).mkdir(parents=True, exist_ok=True)
        for split, name in FILES.items():
            lines = [json.dumps(row) + "\n" for row in rows(recipe, task, split)]
            (folder / "FewGLUE" / task / name).write_text("".join(lines), encoding="utf-8")


def rows(recipe: Recipe, task: str, split: str) -> Iterator[Json]:
    """The examples of a task as its own corpus has them, without labels in `unlabeled`."""
    random = Random(f"fewglue {task} {split} {recipe.seed}")
    source, count, labeled = SOURCE[split], recipe.sizes[split], split != "unlabeled"
    drawn = examples(recipe, task, source, count, random, labeled=labeled)
    if task == "WSC" and source == "train" and labeled:
        surplus = examples(recipe, task, source, 8 * count + 8, random, labeled=labeled)
        drawn = (row for row in surplus if row["label"])
    for index, row in enumerate(islice(drawn, count)):
        fields = {key: value for key, value in row.items() if labeled or key != "label"}
        yield {**fields, "idx": index}


def examples(recipe: Recipe, task: str, split: str, count: int, random: Random, *, labeled: bool) -> Iterator[Json]:
    """`count` examples of a task from a split of the world."""
    sized = replace(recipe, sizes={split: count})
    match task:
        case "BoolQ":
            return boolq.examples(sized, split, random)
        case "CB":
            return cb.examples(sized, split, random)
        case "COPA":
            return copa.examples(sized, split, random)
        case "MultiRC":
            return multirc.examples(sized, split, random, labeled=labeled, most=1)
        case "RTE":
            return rte.examples(sized, split, random)
        case "ReCoRD":
            return record.examples(sized, split, random, labeled=labeled, most=1)
        case "WSC":
            return wsc.examples(sized, split, random)
        case "WiC":
            return wic.examples(sized, split, random)
    raise ValueError(f"FewGLUE has no task {task!r}")
