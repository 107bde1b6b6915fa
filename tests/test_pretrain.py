"""scripts/pretrain_tiny: each family's tokenizer and model load with transformers; the same command, the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    T5Config,
    T5ForConditionalGeneration,
)

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from pretrain.encoder_decoder import EncoderDecoder, begin  # noqa: E402
from pretrain.recurring import COPIES, Recurring  # noqa: E402
from pretrain.rows import sinusoids  # noqa: E402

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


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
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


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann", "##a", "met", "bo", "left", ".", "who"]


OTHERS = "met ."  # what stands in the other rows


def ids(text: str) -> tuple[int, ...]:
    return tuple(PIECES.index(piece) for piece in text.split())


def recurring(row: str) -> Recurring:
    return Recurring(PIECES, 5, [ids(row), *[ids(OTHERS)] * 200])


@pytest.mark.parametrize(
    ("row", "pairs"),
    [
        ("[CLS] ann ##a bo left . [SEP] who left . ann ##a bo [SEP]", {(1, 10, 3), (4, 8, 1)}),
        ("[CLS] ann ##a met ann . [SEP]", set()),  # a piece of a name is no name
        ("[CLS] bo bo left . [SEP]", {(1, 2, 1)}),
        ("[CLS] bo met . bo met . bo . [SEP]", {(1, 4, 1), (1, 7, 1), (4, 7, 1)}),
    ],
)
def test_recurring_spans_are_of_whole_rare_words_and_as_long_as_can_be(row, pairs):
    assert set(recurring(row).pairs(ids(row))) == pairs


def test_a_hidden_span_stays_to_be_masked_or_is_left_out_and_its_copies_are_known():
    text = "[CLS] ann ##a bo left . [SEP] who met ann ##a bo [SEP]"
    row, found = ids(text), recurring(text)
    span, seen = ids("ann ##a bo"), set()
    for seed in range(60):
        made, cut, hidden = found.hide(row, 7, Random(seed))
        begin, end, length, *copies = hidden.numbers()
        if not hidden.copies:
            assert (made, cut) == (row, 7)
            kind = "nothing"
        elif end > begin:
            assert (made, cut, made[begin:end]) == (row, 7, span)
            kind = "masked"
        else:
            assert len(made) == len(row) - 3
            assert made[cut - 1] == PIECES.index("[SEP]")
            kind = "left out"
        assert len(copies) == COPIES
        assert all(made[copy : copy + length] == span for copy in copies if copy >= 0)
        seen.add((kind, begin > 6))
    assert seen == {("nothing", False), *((kind, late) for kind in ("masked", "left out") for late in (False, True))}


def test_from_its_first_positions_a_model_sees_how_far_apart_tokens_are_and_not_where():
    table = sinusoids(64, 32)
    for far in (1, 3, 20):
        near = (table[:-far] * table[far:]).sum(1)
        assert torch.allclose(near, near[:1].expand_as(near), rtol=1e-4)
        assert near[0] < table[0].square().sum()


@torch.no_grad()
def test_from_its_first_weights_an_encoder_decoder_looks_at_neighbors():
    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_heads": 4, "num_layers": 2}
    model = T5ForConditionalGeneration(
        T5Config(**sizes, feed_forward_proj="gated-gelu", attn_implementation="eager", decoder_start_token_id=0)
    ).eval()
    begin(model)
    ids = torch.arange(10, 40)[None]
    out = model(ids, decoder_input_ids=ids, output_attentions=True)
    before, after, *_ = out.encoder_attentions[0][0].argmax(-1)  # of the first two heads, a place a token
    places = torch.arange(30)
    assert (before[1:] == places[:-1]).float().mean() > 0.8
    assert (after[:-1] == places[1:]).float().mean() > 0.8
    before = out.decoder_attentions[0][0, 0].argmax(-1)
    assert (before[1:] == places[:-1]).float().mean() > 0.8


@pytest.mark.parametrize(
    ("spans", "source", "target"),
    [
        ([(1, 2), (3, 5)], [11, 90, 13, 91, 16], [90, 12, 91, 14, 15, 1]),
        ([(2, 6)], [11, 12, 90], [90, 13, 14, 15, 16, 1]),  # goes on
        ([], [11, 12, 13, 14, 15, 16], [1]),
    ],
)
def test_sentinels_stand_for_what_the_target_says_after_them(spans, source, target):
    family = EncoderDecoder({"hidden": 64, "layers": 4}, 64, 100)
    family.sentinels, family.end = [90, 91, 92], 1
    assert family.corrupted([11, 12, 13, 14, 15, 16], spans) == (source, target)


def test_spans_do_not_touch_and_cover_about_a_fifth():
    family = EncoderDecoder({"hidden": 64, "layers": 4}, 64, 100)
    family.random = Random(0)
    covered = []
    for length in (1, 2, 7, 30, 30, 30, 30, 60, 60, 160):
        spans = family.spans(length)
        assert spans
        assert all(0 <= start < stop <= length for start, stop in spans)
        assert all(stop < start for (_, stop), (start, _) in pairwise(spans))
        if length >= 30:
            covered.append(sum(stop - start for start, stop in spans) / length)
    assert 0.1 < sum(covered) / len(covered) < 0.25


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
        pytest.param(("encoder", "size=huge"), "size=huge: choose one of tiny, small", marks=pytest.mark.slow),
        pytest.param(("encoder", "sentence=3"), "Key 'sentence' not in 'Options'", marks=pytest.mark.slow),
    ],
)
def test_mistakes(words, message):
    done = pretrain(*words)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
