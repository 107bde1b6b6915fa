"""Finished runs as reports read them, written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Write = Callable[..., Path]
RESULT: dict[str, Any] = {
    "method": "ptv2",
    "tune": "none",
    "task": "rte",
    "backbone": "roberta_base",
    "prompt_length": 20,
    "seed": 1,
    "synthetic": False,
    "metric": "accuracy",
    "select_on": "dev",
    "report_on": "test",
    "selected_on_reported": False,
    "score": 70.0,
    "selected": 70.0,
    "steps": 10,
    "best": {"report": {"accuracy": 70.0}},
    "last": {"report": {"accuracy": 69.0}},
    "interval": [60.0, 80.0],
    "majority": 50.0,
    "parameters": {"trained": 1000, "stored": 1000, "bytes": 4000},
    "seconds": {"training": 1.5},
    "data": {"files": {"train": {"path": "/a/train", "sha256": "1"}}},
}
CONFIG: dict[str, Any] = {
    "method": {"name": "ptv2", "prompt": {"length": 20}},
    "prompt_length": {"value": 20},
    "data": {"draw": None, "max_train": None, "max_length": 236, "root": None},
    "optim": {"lr": 0.01},
    "loss": {"normalize": "constant"},
    "compat": {"pooler": None},
    "task": {
        "_target_": "ptune.tasks.classify.Classify",
        "name": "rte",
        "version": 1,
        "source": {"license": "free"},
        "fields": ["text"],
        "labels": ["a", "b"],
    },
    "protocol": "standard",
    "held_out_seed": None,
    "epochs": 10,
    "accumulate": 1,
    "batch_size": 16,
}


def writer(root: Path) -> Write:
    """write("name", seed=2, optim__lr=0.1, result={"score": 1.0}): a finished run; `__` stands for a dot.

    right: of each example whether it is predicted rightly, which makes the score; the folder of all runs is returned.
    """

    def written(
        name: str, result: dict[str, Any] | None = None, seed: int = 1, right: str | None = None, **changes: Any
    ) -> Path:
        config = deepcopy(CONFIG)
        for key, value in changes.items():
            *parents, last = key.split("__")
            node = config
            for parent in parents:
                node = node[parent]
            node[last] = value
        folder = root / "runs" / name
        folder.mkdir(parents=True)
        made = {**RESULT, "seed": seed, **(result or {})}
        if right is not None:
            made["score"] = 100 * right.count("1") / len(right)
            rows = [
                {"id": str(i), "text": "t", "gold": "a", "prediction": "a" if r == "1" else "b"}
                for i, r in enumerate(right)
            ]
            (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (folder / "result.json").write_text(json.dumps(made), encoding="utf-8")
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "seed": seed}), encoding="utf-8")
        return root / "runs"

    return written
