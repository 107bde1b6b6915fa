"""Adapters of PEFT as what learns of a backbone: what they compute, what a run keeps of them, what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from ptune import build, optim
from ptune.config import Optim
from ptune.leaves import leaf

DEMO = [
    *("data=demo", "backbone=tiny_encoder", "data.demo.train=24", "data.demo.dev=12", "data.demo.test=12"),
    *("epochs=1", "tracker=none", "quiet=true"),
]


@pytest.fixture
def assembled(settings):
    """assembled("method=lora", ...): a model of the tiny encoder."""

    def make(*words):
        s = settings("task=sst2", "backbone=tiny_encoder", *words)
        return build.assemble([s], leaf(s.task))

    return make


def query(model):
    """The first layer's query projection."""
    return model.backbone.attentions()[0].query


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_an_untrained_adapter_changes_nothing(assembled, method):
    plain, adapted = assembled("method=linear_probe"), assembled(f"method={method}")
    ids = torch.arange(5, 17)[None]
    plain.eval(), adapted.eval()
    with torch.no_grad():
        states = [model.backbone.base(input_ids=ids).last_hidden_state for model in (plain, adapted)]
    assert torch.equal(*states)


def test_lora_is_a_low_rank_update(assembled):
    """W x + alpha / r B A x, of the projections that PEFT chooses for BERT."""
    layer = query(model := assembled("method=lora", "method.adapter.r=4", "method.adapter.alpha=6.0").eval())
    a, b = layer.lora_A.default.weight, layer.lora_B.default.weight
    assert (a.shape, b.shape) == ((4, 128), (128, 4))
    with torch.no_grad():
        b.normal_()
        x = torch.randn(3, 128)
        expected = layer.base_layer(x) + 6 / 4 * x @ a.T @ b.T
        torch.testing.assert_close(layer(x), expected)
    learns = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert {name.split(".")[-4] for name in learns} == {"query", "value"} - {None}
    assert len(learns) == 4 * 2 * 2
    assert model.runs_in_threads, "micro-batches of so few gradients go on at once"


def test_seeds_draw_an_adapter(assembled):
    first, again, other = (query(assembled("method=lora", f"seed={seed}")).lora_A.default.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_frozen_weights_beside_an_adapter_are_in_bfloat16(assembled):
    backbone = assembled("method=lora", "precision=bfloat16").backbone
    kinds = {p.requires_grad: p.dtype for p in backbone.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}


def test_scales_are_not_decayed(assembled):
    """IA3's are matrices of one row or column; decay would pull them to 0, and 1 is where they change nothing."""
    for method, decays in (("lora", {True}), ("ia3", {False})):
        model = assembled(f"method={method}")
        adapter = [p for name, p in model.trained().items() if name.startswith("backbone")]
        groups = optim.optimizer(Optim(lr=0.1, weight_decay=0.1), {"backbone": adapter}).param_groups
        assert {group["weight_decay"] > 0 for group in groups} == decays


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_a_run_keeps_its_adapter_alone(ptune, tmp_path, method):
    """And eval, from the folder, scores what training did."""
    folder = tmp_path / "run"
    done = ptune("train", f"method={method}", "task=sst2", *DEMO, f"hydra.run.dir={folder}")
    assert done.code == 0, done.err
    stored = load_file(folder / "tuned.safetensors")
    assert {name.partition(".")[0] for name in stored} == {"backbone", "head"}
    assert all(method in name for name in stored if name.startswith("backbone"))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["parameters"]["stored"] == sum(tensor.numel() for tensor in stored.values())
    assert any(tensor.abs().sum() > 0 for name, tensor in stored.items() if "lora_B" in name) or method == "ia3"
    assert ptune("eval", f"run={folder}", "split=dev", "quiet=true").code == 0
    found = json.loads((folder / "eval_dev.json").read_text(encoding="utf-8"))
    assert found["scores"] == result["best"]["select"]


def test_a_prompt_and_an_adapter_learn_together(ptune, tmp_path):
    """Each is a part of the same small design space."""
    words = ["method=ptv2", "method.tune=lora", "task=sst2", "prompt_length.value=3", "max_steps=2", *DEMO]
    assert ptune("train", *words, f"hydra.run.dir={tmp_path / 'run'}").code == 0
    stored = load_file(tmp_path / "run" / "tuned.safetensors")
    assert {name.partition(".")[0] for name in stored} == {"backbone", "head", "prompt"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=lora", "method.adapter.r=x"], "method.adapter.r: 'x' is not a valid integer"),
        (
            ["method=lora", "+method.adapter.rank=4"],
            "method.adapter.rank: not a setting of ptune.adapters.Lora; one of: r, alpha, dropout, targets",
        ),
        (["method=lora", "method.adapter.r=0"], "method.adapter.r: 0 is too small; at least 1"),
        (["method=lora", "method.adapter.dropout=1.0"], "method.adapter.dropout: 1.0 must be at least 0 and below 1"),
        (
            ["method=ptv2", "+method.adapter.r=3"],
            "method.adapter: must be a mapping of settings, and is only used with method.tune=lora or ia3",
        ),
        (
            ["method=lora", "method.adapter.targets=[nope]"],
            "method.tune: PEFT finds no layers for 'lora' in this backbone (Target modules {'nope'} not "
            "found in the base "
            "model. Please check the target modules and try again); name them in method.adapter.targets=[...]",
        ),
    ],
)
def test_what_is_refused(ptune, words, said):
    done = ptune("train", *words, "task=sst2", *DEMO)
    assert done.code != 0
    assert said in done.err
    assert "Traceback" not in done.err
