"""Every tensor of a run is on the run's device: what a GPU would refuse is refused by a pretended one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("pretended_gpu.py")
SMALL = (
    *("data=demo", "data.demo.train=24", "data.demo.dev=24", "data.demo.test=12", "batch_size=8", "epochs=1"),
    *("prompt_length.value=4", "precision=float32", "tracker=none", "quiet=true", "deterministic=true"),
)
HALVES = ("protocol=held_out", "held_out_from=dev")
CALM = ("+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "method.head.dropout=0.0")
SHORT = ("data.max_train=16", *(f"method.procedure.{each}" for each in ("reps=1", "pattern_steps=3", "steps=4")))
ENCODER, BOTH, CAUSAL = (f"backbone=tiny_{name}" for name in ("encoder", "encoder_decoder", "causal"))
SEARCH = ("method.procedure.iterations=2", "method.procedure.candidates=3", "method.procedure.accumulate=1")
WRITTEN = tuple(
    f"method.procedure.{each}" for each in ("k_likely=5", "n_pairs=2", "templates=true", "beam=3", "n_templates=2")
)
RUNS = {
    "tags": ("task=conll03", "method=ptv2", ENCODER),
    "spans": ("task=squad", "method=ptv2", ENCODER, *HALVES),
    "roles": ("task=conll05", "method=ptv2", ENCODER),
    "a choice": ("task=copa", "method=finetune", ENCODER, *HALVES),
    "runs of masks": ("task=copa", "method=pattern_finetune", ENCODER, *HALVES),
    "one token at a time": ("task=sst2", "method=prompt_tuning", ENCODER, *HALVES),
    "demonstrations": ("task=sst2", "method=lmbff", ENCODER, *HALVES),
    "words and templates": ("task=sst2", "method=lmbff_auto", ENCODER, *HALVES, *WRITTEN),
    "many samples": ("task=sst2", "method=in_context", ENCODER, *HALVES),
    "adapters": ("task=sst2", "method=lora", ENCODER, *HALVES),
    "a trigger": ("task=sst2", "method=autoprompt", ENCODER, *HALVES, *SEARCH),
    "stages": ("task=rte", "method=pet", ENCODER, *HALVES, *SHORT),
    "corpora": ("task=conll03", "method=mpt2", ENCODER),
    "text to text": ("task=rte", "method=prompt_tuning_t2t", BOTH, *HALVES),
    "a text, both stacks": ("task=e2e", "method=prefix_generate", BOTH),
    "a text, one stack": ("task=e2e", "method=prefix_generate", CAUSAL),
    "both stacks": ("task=rte", "method=ptv2", BOTH, *HALVES),
    "checkpointing": ("task=rte", "method=ptv2", ENCODER, *HALVES, "gradient_checkpointing=true"),
    "cached layers": ("task=rte", "method=ptv2", ENCODER, *HALVES, "cache_layers=true", "method.prompt.layers=2"),
}


def run(folder: Path, *words: str, device: bool = True) -> str:
    """A command on the pretended device, or on the CPU; what it says on standard error."""
    program = [str(PROGRAM)] if device else ["-m", "ptune"]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[1]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *program, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def losses(folder: Path) -> dict[str, list[float]]:
    """Of each run below a folder, by its seed, the loss of every step."""
    found = {}
    for path in folder.rglob("metrics.jsonl"):
        events = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        seed = json.loads((path.parent / "result.json").read_text(encoding="utf-8"))["seed"]
        found[seed] = [event["loss"] for event in events if event["event"] == "step"]
    return found


def test_runs_that_share_passes_on_a_device_are_those_of_a_cpu(tmp_path):
    """Fused runs on a GPU go through the backbone together, which no CPU does."""
    words = ("train", "task=rte", "method=ptv2", ENCODER, *SMALL, *HALVES, *CALM, "seed=1,2", "-m")
    for name, device, launcher in (("there", True, ("hydra/launcher=fused",)), ("here", False, ())):
        (tmp_path / name).mkdir()
        said = run(tmp_path / name, *words, *launcher, device=device)
        assert "retrying" not in said  # each alone
    there, here = losses(tmp_path / "there"), losses(tmp_path / "here")
    assert there.keys() == here.keys() == {1, 2}
    for seed, values in here.items():
        assert there[seed] == pytest.approx(values, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_no_method_mixes_devices(tmp_path, words):
    run(tmp_path, "train", *SMALL, *words)


def test_a_mix_of_devices_would_be_noticed():
    code = "import torch, pretended_gpu as p\nwith p.Everywhere(): torch.ones(2, device=p.DEVICE) + torch.ones(2)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROGRAM.parent, capture_output=True, text=True)
    assert "expected all tensors to be on the same device in aten.add.Tensor" in done.stderr
