"""A backbone that two ranks divide trains, predicts and writes as one that each holds whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from several import start
from two_ranks import PTV2, same

FEW = ["train", "data=demo", "data.demo.train=24", "data.demo.dev=8", "data.demo.test=8", "tracker=none", "epochs=20"]
SMALL = [*FEW, "max_steps=4", "eval_every=2", "batch_size=7", "accumulate=3"]
WRITE = [*SMALL, "task=e2e", "method=prefix_generate", "prompt_length.value=4"]
TAG = [*SMALL, "task=conll03"]
RUNS = {
    "deep prompt, uneven shares, dropout": [*PTV2, "accumulate=3", "batch_size=13"],
    "texts that end when they end": [*WRITE, "backbone=tiny_causal"],
    "encoder and decoder": [*WRITE, "backbone=tiny_encoder_decoder"],
    "further passes of single rows": [
        *SMALL,
        "task=copa",
        "method=ptuning",
        "method.tune=none",
        "backbone=tiny_encoder",
    ],
    "candidates that are compared": [*SMALL, "task=sst2", "method=autoprompt", "method.procedure.candidates=2"],
    "adapters inside": [*TAG, "method=lora", "backbone=tiny_encoder"],
    "biases inside": [*TAG, "method=bitfit", "backbone=tiny_encoder"],
    "computed again": [*TAG, "method=ptv2", "backbone=tiny_encoder", "gradient_checkpointing=true"],
    "top layers": [*TAG, "method=ptv2", "backbone=tiny_encoder", "method.prompt.layers=2"],
}
FIRST = "deep prompt, uneven shares, dropout"


def divided(folder: Path) -> tuple[int, int]:
    """How many of the numbers in the backbone's layers the first rank held, and how many there are."""
    (found,) = re.findall(r"of ([\d,]+) numbers in the backbone's layers this rank holds ([\d,]+)", log(folder))
    whole, held = (int(number.replace(",", "")) for number in found)
    return held, whole


def log(folder: Path) -> str:
    return (folder / "log.txt").read_text()


@pytest.mark.parametrize("what", [FIRST, *(pytest.param(w, marks=pytest.mark.slow) for w in RUNS if w != FIRST)])
def test_a_divided_backbone_is_a_whole_one(what, tmp_path):
    """What the ranks ask for they get, though they ask for different layers, or one of them for none any more."""
    words = RUNS[what] if "backbone=" in " ".join(RUNS[what]) else [*RUNS[what], "backbone=tiny_encoder"]
    for name, extra in (("divided", ["shard_backbone=true"]), ("whole", [])):
        ended = start(tmp_path, *words, *extra, f"hydra.run.dir={name}")
        assert [rank.code for rank in ended] == [0, 0], ended
    same(tmp_path / "divided", tmp_path / "whole")
    held, whole = divided(tmp_path / "divided")
    learned = 0.1 * whole if "inside" in what else 0
    assert whole / 2 <= held <= 0.55 * whole + learned
    assert "this rank holds" not in log(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["albert", "grouped_albert", "deberta_v2", "modernbert", "t5", "bart", "llama"])
def test_families(family, request, tmp_path):
    """Layers that are one module several times over, and modules that remember things."""
    path = request.getfixturevalue(f"{family}_folder")
    words = [
        *TAG,
        "method=ptv2",
        "prompt_length.value=3",
        "backbone=local",
        f"backbone.path={path}",
        "data.max_length=60",
    ]
    for name, extra in (("divided", ["shard_backbone=true"]), ("whole", [])):
        ended = start(tmp_path, *words, *extra, f"hydra.run.dir={name}")
        assert [rank.code for rank in ended] == [0, 0], ended
    same(tmp_path / "divided", tmp_path / "whole")
    held, whole = divided(tmp_path / "divided")
    assert held < 0.6 * whole


def test_one_process_holds_it_whole(ptune, tmp_path):
    """A run that several ranks began can go on in one."""
    assert ptune(*PTV2, "max_steps=2", "shard_backbone=true", "hydra.run.dir=one").code == 0
    assert "this rank holds" not in log(tmp_path / "one")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("method=finetune", "shard_backbone: only a frozen backbone can be divided; leave it out with method finetune"),
        ("method=ptv2 +backbone.quantize=int8", "shard_backbone: not supported for a quantized backbone"),
        ("method=ptv2 cache_layers=true method.prompt.layers=2", "shard_backbone: not supported beside cache_layers"),
    ],
)
def test_what_it_is_not_for(words, said, ptune):
    ended = ptune(*FEW, "task=conll03", "backbone=tiny_encoder", "shard_backbone=true", *words.split())
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
