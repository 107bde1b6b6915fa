"""The speed benches: their figures, and that a side does its rounds."""

from __future__ import annotations

import importlib

import pytest
from programs import program


@pytest.fixture(scope="module")
def speed():
    program("scripts/bench/train")  # puts its folder on the path
    return importlib.import_module("speed")


def each(*rates):
    return [{"rate": rate} for rate in rates]


def test_figures_are_medians_with_quartiles(speed):
    assert speed.told([4.0, 1.0, 2.0, 3.0, 100.0]) == (3.0, 2.0, 4.0)
    assert str(speed.told([250.0, 350.0])) == "300 [275, 325]"
    assert str(speed.told([12.0])) == "12.0 [12.0, 12.0]"
    assert str(speed.told([1.236])) == "1.24 [1.24, 1.24]"


def test_ratios_are_taken_within_a_round(speed):
    """A round in which the machine was twice as slow for both changes nothing."""
    assert speed.ratios(each(20.0, 10.0, 22.0), each(10.0, 5.0, 10.0)) == (2.0, 2.0, 2.1)


def test_a_table_of_sides(speed):
    found = {"A": each(10.0, 10.0), "B": each(30.0, 30.0), "C": each(15.0, 15.0)}
    assert speed.comparison(found, {"B": ("A", "C"), "C": ("A",)}) == [
        "| side | examples/s | x A | x C |",
        "|---|---:|---:|---:|",
        "| A | 10.0 [10.0, 10.0] |  |  |",
        "| B | 30.0 [30.0, 30.0] | 3.00 [3.00, 3.00] | 2.00 [2.00, 2.00] |",
        "| C | 15.0 [15.0, 15.0] | 1.50 [1.50, 1.50] |  |",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("spec", [{"side": "ptune", "runs": 2}, {"side": "peft", "kind": "eval"}], ids=str)
def test_a_side_does_its_rounds(speed, shared, tmp_path, spec):
    """Sixteen examples of wnut17 on a random encoder, two fused runs; its dev set on real weights."""
    if spec["side"] == "peft":
        pytest.importorskip("peft", reason="needs PEFT: pip install 'ptune[peft]'")
    for needed in ("models/minilm-l6", "data/wnut17"):
        if not (shared / needed).exists():
            pytest.skip(f"no {shared / needed}")
    if spec["side"] == "ptune":
        speed.random_encoder(tmp_path, shared / "models/minilm-l6", layers=2, hidden=128)
        spec = {**spec, "backbone": str(tmp_path)}
    turn = speed.Turn({**spec, "shared": str(shared), "examples": 16}, threads=1)
    try:
        first, second = turn.go(), turn.go()
    finally:
        turn.close()
    assert first["examples"] == second["examples"] == (32 if spec["side"] == "ptune" else 1009)
    assert first["seconds"] > 0 < second["seconds"]
    assert second["peak"] >= first["peak"] > 10**8
    if spec["side"] == "ptune":  # 4 for each weight and token: two layers of 12 times 128 x 128, some 25 tokens
        assert 15 < second["flop"] / (4 * 2 * 12 * 128**2) < 40


@pytest.mark.slow
def test_a_side_that_fails_says_why(speed, tmp_path):
    with pytest.raises(RuntimeError, match="a side has ended"):
        speed.Turn({"side": "ptune", "shared": str(tmp_path)}, threads=1)


def test_what_checkpoints_cost():
    """Of each round the share of its steps, of each checkpoint the milliseconds and bytes."""
    bench = program("scripts/bench/checkpoint")
    saves = [{"seconds": 0.2, "fsync": 0.1}, {"seconds": 0.4, "fsync": 0.2}]
    one = {"saves": saves, "steps": 60.0, "bytes": 12_000, "trained": 1000, "backbone": 22_000_000}
    assert bench.share(one) == pytest.approx(1.0)
    assert bench.share(one, "fsync") == pytest.approx(0.5)
    assert bench.table({"minilm-l6": [one, one]})[-1] == (
        "| minilm-l6 | 22,000,000 | 1,000 | 12,000 | 12.0 | 300 [200, 400] | 150 [100, 200] | 1.00 [1.00, 1.00] |"
        " 0.50 [0.50, 0.50] |"
    )


def test_a_page_of_a_gpu():
    """Of each side its rate, the arithmetic that is, the share of the best, and the memory beyond the model."""
    bench = program("scripts/bench/performance")
    one = {"rate": 100.0, "held": 2_000_000_000, "peak": 5_500_000_000}
    assert bench.summary({"ptune": [one, {**one, "rate": 300.0}]}, flop=1e12, products=8e14)[-1] == (
        "| ptune | 200 [150, 250] | 200.0 | 25% | 3.50 [3.50, 3.50] |"
    )


def test_top_layers_are_the_top_quarter_of_a_large_encoder():
    bench = program("scripts/bench/train")
    words = {name: bench.of_large(spec).get("words", []) for name, spec in bench.SIDES.items()}
    assert words["ptune, top layers, cached"] == ["method.prompt.layers=19-24", "cache_layers=true"]
    assert words["ptune, one micro-batch"] == ["accumulate=1"]
