"""The first losses of every method, from a tiny run each: a refactoring must leave them as they are.

    python tests/faults/golden.py    # makes tests/golden_losses.json anew, where they are to be others from now on

Figures of a run: the losses of its first steps and of those of its stages; of one without any, what its predictions
were scored. Another CPU changes their last digits alone: what is drawn is the same on all.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kit import Server  # noqa: E402

from ptune.runs.folder import RunFolder  # noqa: E402

FILE = ROOT / "tests/golden_losses.json"
TOLERANCE = 1e-4  # relative
ROUNDING = 2e-6  # of the scores of predictions, which have six digits
STEPS = 3
SMALL = (
    *("data=demo", "data.demo.train=24", "data.demo.dev=8", "data.demo.test=8", "seed=1", "data.seed=0"),
    *("batch_size=8", "accumulate=1", f"max_steps={STEPS}", f"eval_every={STEPS}", "save_minutes=1000"),
    *("tracker=none", "quiet=true", "device=cpu", "precision=float32"),
)
PROMPT = "prompt_length.value=4"
FEW = ("protocol=few_shot", "data.per_class=4", "data.draw=13", "data.demo.train=60")
STAGES = ("method.procedure.pattern_steps=2", "method.procedure.reps=1", "method.procedure.unlabeled=12")
MODEL = {"encoder": "tiny_encoder", "causal": "tiny_causal", "both": "tiny_encoder_decoder"}
RUNS: dict[str, tuple[str, ...]] = {  # method, with the family of its backbone where it is not an encoder
    "autoprompt": ("task=sst2", PROMPT, "method.procedure.accumulate=1", "method.procedure.candidates=3"),
    "bilstm": ("task=conll03",),
    "bitfit": ("task=rte",),
    "finetune": ("task=conll03",),
    "finetune both": ("task=rte",),
    "finetune causal": ("task=rte",),
    "ia3": ("task=rte",),
    "in_context": ("task=sst2", "method.template.shots=2", "method.template.samples=2"),
    "ipet": ("task=rte", *STAGES, "method.procedure.patterns=[pet1,pet4]", "method.procedure.generations=1"),
    "linear_probe": ("task=rte",),
    "lmbff": ("task=sst2", *FEW, "method.template.samples=2"),
    "lmbff_auto": (
        *("task=sst2", *FEW, "method.template.samples=2"),
        *("method.procedure.k_likely=4", "method.procedure.n_pairs=2", "method.procedure.combinations=16"),
    ),
    "lora": ("task=conll03",),
    "majority": ("task=rte",),
    "mpt2": (
        *("task=conll04", PROMPT, "method.procedure.tasks=[conll03,conll04]"),
        *("method.procedure.epochs=1", f"method.procedure.max_steps={STEPS}"),
    ),
    "pattern_finetune": ("task=rte",),
    "pet": ("task=rte", *STAGES, "method.procedure.patterns=[pet1]"),
    "prefix": ("task=rte", PROMPT),
    "prefix both": ("task=rte", PROMPT),
    "prefix_generate causal": ("task=e2e", PROMPT, "method.head.beams=1"),
    "prompt_tuning": ("task=rte", PROMPT),
    "prompt_tuning causal": ("task=rte", PROMPT),
    "prompt_tuning_t2t both": ("task=rte", PROMPT, "optim=adafactor"),
    "ptuning": ("task=rte",),
    "ptv2": ("task=conll03", PROMPT),
    "ptv2 both": ("task=rte", PROMPT),
    "ptv2 causal": ("task=rte", PROMPT),
    "ptv2, spans": ("task=squad", PROMPT),
    "tfidf_nb": ("task=sst2",),
    "zero_shot": ("task=sst2",),
}
ADVICE = (
    "a change to what a method computes; where that is what you want, say so in the commit and run "
    "`python tests/faults/golden.py`, else find what changed it"
)


def words(name: str) -> tuple[str, ...]:
    """The command line of a run."""
    method, _, family = name.partition(",")[0].partition(" ")
    return ("train", f"method={method}", f"backbone={MODEL[family or 'encoder']}", *SMALL, *RUNS[name])


def figures(server: Server, name: str, base: Path) -> list[float]:
    """Train, and tell the figures of the run."""
    base.mkdir(parents=True, exist_ok=True)
    ended = server.run((*words(name), f"hydra.run.dir={base / 'run'}"), base)
    assert ended.code == 0, f"{name}: {ended.said}"
    found = [
        event["loss"]
        for path in sorted((base / "run").rglob("metrics.jsonl"))
        for _, event in RunFolder(path.parent).metrics()
        if event["event"] == "step" and event["step"] <= STEPS
    ]
    return found or [score for row in RunFolder(base / "run").read_jsonl("predictions.jsonl") for score in said(row)]


def said(row: dict[str, Any]) -> list[float]:
    """The scores of a prediction; of one without, 1 where it is right."""
    return [*row["scores"].values()] if row.get("scores") else [float(row["prediction"] == row["gold"])]


def differences(found: list[float], wanted: list[float]) -> list[str]:
    """Where two lists of figures are not the same to the tolerance."""
    if len(found) != len(wanted):
        return [f"{len(found)} figures where there were {len(wanted)}"]
    return [
        f"figure {i}: {a:.7g} where it was {b:.7g}"
        for i, (a, b) in enumerate(zip(found, wanted, strict=True), 1)
        if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=ROUNDING)
    ]


def main() -> None:
    """Write the figures of all runs."""
    server = Server()
    with tempfile.TemporaryDirectory() as base:
        made = {name: [float(f"{x:.7g}") for x in figures(server, name, Path(base) / f"{i}")]
                for i, name in enumerate(RUNS)}  # fmt: skip
    server.close()
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in made.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
