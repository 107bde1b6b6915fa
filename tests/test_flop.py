"""The estimate of operations, by hand."""

from __future__ import annotations

import csv
import io
import json
from importlib.util import find_spec

import pytest
from test_backbones import loaded, opened

from ptune.flop import Read, cost
from ptune.injection import Shape

SHAPE = Shape(layers=4, heads=2, head_dim=4, hidden=8, embed=8, positions=10, vocab=90, lm_head=True, pooler=False)
MANY = 3100  # weights in the layers


@pytest.mark.parametrize(
    ("place", "length", "below", "tuned", "cached", "linear", "forward", "step"),
    [
        # 20 tokens an example in 2 rows; attention: 4 x 4 layers x width 8 x keys x tokens = 128 x keys x tokens
        ("none", 0, 4, 0, False, 2 * 3100 * 20, 128 * 10 * 20, "forward"),
        ("none", 0, 4, 3900, False, 2 * 3100 * 20, 128 * 10 * 20, "all"),
        ("layers", 5, 0, 0, False, 2 * 3100 * 20, 128 * 15 * 20, "through"),
        ("front", 5, 0, 0, False, 2 * 3100 * 30, 128 * 15 * 30, "through"),
        ("layers", 5, 3, 0, False, 2 * 3100 * 20, 128 * 15 * 20, "quarter"),
        ("layers", 5, 3, 0, True, 2 * 3100 * 20, 128 * 15 * 20, "cached"),
    ],
)
def test_cost(place, length, below, tuned, cached, linear, forward, step):
    """2 a weight and token forward, 2 through it backward as far down as something learns, 2 for its own gradient."""
    attention = forward
    found = cost(SHAPE, MANY, Read(2, 20), place, length, below, tuned, cached)
    both, back = linear + attention, linear + 2 * attention
    expected = {
        "forward": both,
        "all": both + back + linear,
        "through": both + back,
        "quarter": both + back / 4,
        "cached": both / 4 + back / 4,
    }
    assert (found.forward, found.step) == (both, pytest.approx(expected[step]))


# What is multiplied: a layer of width 32 has 4 matrices of attention and 2 of width 64, unless it is said


@pytest.mark.parametrize("lm", [False, True])
@pytest.mark.parametrize(
    ("family", "many"),
    [
        ("bert", 4 * (4 * 32 * 32 + 2 * 32 * 64)),
        ("gpt2", 4 * (4 * 32 * 32 + 2 * 32 * 128)),
        ("gpt_neox", 4 * (4 * 32 * 32 + 2 * 32 * 64)),  # of an output layer of its own
        ("llama", 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)),  # keys and values of half the heads; gated
        ("albert", 4 * (4 * 32 * 32 + 2 * 32 * 64)),  # four passes through one layer
        ("grouped_albert", 4 * (4 * 32 * 32 + 2 * 32 * 64)),  # through four
    ],
)
def test_weights_of_the_layers_are_multiplied(request, family, many, lm):
    """No embeddings, of places or words, nor what reads words from the states; shared ones as often as used."""
    assert loaded(request.getfixturevalue(f"{family}_folder"), lm).multiplied == many


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra 'quantized'")
@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("family", ["bert", "electra", "albert", "llama"])
def test_fewer_bits_are_as_many_weights(request, family, kind):
    """Those beside the layers, as what widens embeddings, are none of theirs."""
    folder = request.getfixturevalue(f"{family}_folder")
    less = opened(folder, quantize=kind)
    less.load(lm=False)
    whole = loaded(folder, False)
    assert (less.multiplied, less.size) == (whole.multiplied, whole.size)


SMALL = ("data=demo", "data.demo.train=8", "data.demo.dev=4", "data.demo.test=4", "max_steps=1", "tracker=none")


@pytest.mark.parametrize(("backbone", "told"), [("tiny_encoder_decoder", False), ("tiny_causal", True)])
def test_a_run_tells_its_cost(ptune, tmp_path, backbone, told):
    """But of an encoder-decoder, which reports then show without."""
    words = ("task=rte", "method=ptv2", f"backbone={backbone}", "prompt_length.value=2", "quiet=true")
    assert ptune("train", *words, *SMALL, "hydra.run.dir=runs/one").code == 0
    result = json.loads((tmp_path / "runs/one/result.json").read_text(encoding="utf-8"))
    assert (result["flop"] is not None) is told
    for report in ("table", "markdown", "latex", "json", "html"):
        assert ptune("report", "runs", f"format={report}").code == 0
    for by in ("run", "group"):
        (row,) = csv.DictReader(io.StringIO(ptune("report", "runs", "format=csv", f"by={by}").out))
        assert bool(row["FLOP"]) is told


def test_training_with_demonstrations_costs_a_row_of_an_example(ptune, tmp_path):
    """However many evaluation reads."""
    words = ("task=rte", "method=lmbff", "method.tune=bias", "backbone=tiny_encoder", "quiet=true")
    found = []
    for samples in (1, 4):
        run = f"runs/{samples}"
        assert ptune("train", *words, *SMALL, f"method.template.samples={samples}", f"hydra.run.dir={run}").code == 0
        found.append(json.loads((tmp_path / run / "result.json").read_text(encoding="utf-8"))["flop"])
    one, four = found
    assert one["training"] == four["training"]
    assert four["example"] > 3.5 * one["example"]


def test_read():
    """Rows and tokens of an example on average."""
    assert Read.of([1, 3], [10, 20]) == (2.0, 35.0)
