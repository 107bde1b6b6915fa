"""scripts/pretrain_tiny: each family's tokenizer and model load with transformers; the same command, the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

ROOT = Path(__file__).parents[1]
KINDS = {"encoder": AutoModelForMaskedLM, "causal": AutoModelForCausalLM, "encoder_decoder": AutoModelForSeq2SeqLM}
SMALL = ("sentences=1500", "tokens=2048", "threads=1")


def pretrain(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/pretrain_tiny"), *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("family", [pytest.param("encoder"), *(pytest.param(f, marks=pytest.mark.slow) for f in KINDS)])
def test_a_model_of_each_family(family, tmp_path):
    done = pretrain(family, f"out={tmp_path / 'model'}", *SMALL)
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "model/README.md").read_text()
    assert f"`scripts/pretrain_tiny {family} {' '.join(SMALL)}`" in card
    assert "synthetic" in card
    model = KINDS[family].from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = "Was the old bridge built by the mayor? Yes."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokenizer.unk_token_id not in ids[0].tolist()[:-1]
    with torch.no_grad():
        labels = {"labels": ids} if family == "encoder_decoder" else {}
        assert model(ids, **labels).logits.shape[-1] == model.config.vocab_size == len(tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_the_same_command_gives_the_same_bytes(family, tmp_path):
    for name in ("one", "two"):
        assert pretrain(family, f"out={tmp_path / name}", *SMALL).returncode == 0
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Say which: encoder, causal, encoder_decoder"),
        (("encoder", "size=huge"), "size=huge: choose one of tiny, small"),
        (("encoder", "sentence=3"), "Key 'sentence' not in 'Options'"),
    ],
)
def test_mistakes(words, message):
    done = pretrain(*words)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
