"""Frozen backbones in 8 and 4 bits: near the whole ones, prompts learn, and what cannot be is said before weights."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch
from test_backbones import loaded, opened

from ptune import build, quantized
from ptune.batch import Row, collate
from ptune.errors import ConfigError, PtuneError
from ptune.leaves import leaf

needed = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra 'quantized'")
TINY = ("task=rte", "method=ptv2", "backbone=tiny_encoder", "prompt_length.value=4", "+backbone.dropout=0.0")


@pytest.fixture
def assembled(settings):
    """assembled("..."): a model with the tiny encoder."""

    def make(*words):
        s = settings(*TINY, "+backbone.attention_dropout=0.0", *words)
        s.method["head"]["dropout"] = 0.0
        return build.assemble([s], leaf(s.task))

    return make


@pytest.fixture
def batch():
    ids = [2, *range(100, 120), 3]
    return collate([Row(i, ids[i:], [0] * len(ids[i:]), {"cls": [0]}, target=i) for i in range(2)], 0)


def loss_and_gradient(model, batch):
    with model.losses([(0, batch)]) as found:
        loss = found[0][0]
        (gradient,) = torch.autograd.grad(loss, [model.trained()["prompt.table"]])
    return loss.detach(), gradient, model.outputs(0, batch)


@needed
@pytest.mark.parametrize(("kind", "off"), [("int8", 0.05), ("int4", 0.5)])
def test_states_and_the_prompts_gradient_are_near_those_of_the_whole_backbone(assembled, batch, kind, off):
    whole, less = assembled(), assembled(f"+backbone.quantize={kind}")
    (loss, gradient, outputs), (found, of_less, others) = (loss_and_gradient(m.eval(), batch) for m in (whole, less))
    assert 0 < float(abs(found - loss)) < off
    assert 0 < float((of_less - gradient).norm() / gradient.norm()) < off
    for one, other in zip(outputs, others, strict=True):
        assert abs(one.scores - other.scores).max() < off


@needed
@pytest.mark.parametrize(("kind", "share"), [("int8", 1), ("int4", 2)])
def test_it_takes_the_room_of_its_bits_and_has_the_same_parameters(assembled, kind, share):
    whole, less = assembled().backbone, assembled(f"+backbone.quantize={kind}").backbone
    assert less.size == whole.size
    assert less.base.encoder.layer[0].attention.self.query.weight.numel() == 128 * 128 // share
    assert less.base.encoder.layer[0].attention.self.query.weight.element_size() == 1
    assert torch.equal(less.base.get_input_embeddings().weight, whole.base.get_input_embeddings().weight)
    assert not any(p.requires_grad for p in less.parameters())


@needed
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_bfloat16_leaves_the_bits_alone(assembled, batch, kind):
    plain = assembled(f"+backbone.quantize={kind}").eval()
    half = assembled(f"+backbone.quantize={kind}", "precision=bfloat16").eval()
    assert half.backbone.base.encoder.layer[0].output.dense.weight.dtype in (torch.int8, torch.uint8)
    assert half.backbone.base.get_input_embeddings().weight.dtype == torch.bfloat16
    found, expected = (loss_and_gradient(model, batch) for model in (half, plain))
    torch.testing.assert_close(found[0], expected[0], atol=0.05, rtol=0)
    assert found[1].abs().sum() > 0


@needed
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_run_learns_goes_on_and_is_opened_again(ptune, tmp_path, kind):
    words = ["task=sst2", "method=ptv2", "data=demo", "data.demo.train=64", "data.demo.dev=16", "data.demo.test=16"]
    words += ["backbone=tiny_encoder", f"+backbone.quantize={kind}", "prompt_length.value=4", "epochs=6", "quiet=true"]
    words += ["tracker=none", "optim.lr=0.03", f"hydra.run.dir={tmp_path}"]
    assert ptune("train", *words).code == 0
    losses = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in losses if event["event"] == "step"]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    result = json.loads((tmp_path / "result.json").read_text())
    kept = (tmp_path / "predictions.jsonl").read_text()
    assert ptune("eval", str(tmp_path), "quiet=true").code == 0
    assert (tmp_path / "predictions.jsonl").read_text() == kept
    assert result["parameters"]["backbone"] == 0


@needed
@pytest.mark.parametrize("family", ["roberta", "albert", "deberta_v2", "modernbert", "llama", "opt"])
def test_other_families_take_a_prefix(request, settings, family):
    """The canary has proved that it changes the states and gets a gradient."""
    folder = request.getfixturevalue(f"{family}_folder")
    words = ("task=rte", "method=ptv2", "backbone=local", f"backbone.path={folder}", "prompt_length.value=2")
    s = settings(*words, "data.max_length=40", "+backbone.quantize=int8")
    model = build.assemble([s], leaf(s.task))
    assert any(p.dtype == torch.int8 for p in model.backbone.parameters())


@needed
@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("family", ["t5", "t5_v1_1"])
def test_what_reads_words_from_states_is_left_whole(request, family, kind):
    """T5's is a part of what else is kept in fewer bits, of its own or tied to the embeddings."""
    folder = request.getfixturevalue(f"{family}_folder")
    less = opened(folder, quantize=kind)
    less.load(lm=True)
    whole = loaded(folder, lm=True)
    assert torch.equal(less.model.lm_head.weight, whole.model.lm_head.weight)
    assert (less.model.lm_head.weight is less.base.get_input_embeddings().weight) is (family == "t5")
    assert less.base.decoder.block[0].layer[0].SelfAttention.q.weight.element_size() == 1
    states, words = torch.randn(2, 32), torch.tensor([7, 11, 5])
    torch.testing.assert_close(less.lm_logits(states, words), whole.lm_logits(states, words))


@needed
@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize(
    "words", [["method=prompt_tuning_t2t"], ["method=ptv2", "method/template=pattern", "method/head=verbalizer"]]
)
def test_an_encoder_decoder_writes_texts_and_fills_masks(ptune, tmp_path, words, kind):
    small = ["data=demo", "data.demo.train=8", "data.demo.dev=4", "data.demo.test=4", "max_steps=1", "tracker=none"]
    small += ["task=rte", "backbone=tiny_encoder_decoder", "prompt_length.value=2", "quiet=true"]
    done = ptune("train", *words, *small, f"+backbone.quantize={kind}", f"hydra.run.dir={tmp_path}/run")
    assert done.code == 0, done.err
    kept = (tmp_path / "run/predictions.jsonl").read_text()
    assert ptune("eval", str(tmp_path / "run"), "quiet=true").code == 0
    assert (tmp_path / "run/predictions.jsonl").read_text() == kept


@needed
def test_a_family_without_such_layers(settings, gpt2_folder):
    words = ("task=rte", "method=ptv2", "backbone=local", f"backbone.path={gpt2_folder}", "prompt_length.value=2")
    s = settings(*words, "data.max_length=40", "+backbone.quantize=int8")
    with pytest.raises(
        PtuneError, match=r"backbone.quantize: backbone .* has no linear layers that could be kept in int8"
    ):
        build.assemble([s], leaf(s.task))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["method=finetune"],
            "backbone.quantize: is only for a frozen backbone, but method.tune is 'all'; leave it out",
        ),
        (["method=lora"], "backbone.quantize: is only for a frozen backbone, but method.tune is 'lora'; leave it out"),
        (["+backbone.quantize=int3"], "backbone.quantize: 'int3' is not a choice; did you mean 'int8'?"),
    ],
)
def test_what_cannot_be(settings, words, expected):
    with pytest.raises(ConfigError) as caught:
        settings(*TINY, *([] if "quantize" in words[0] else ["+backbone.quantize=int8"]), *words)
    assert str(caught.value) == expected


def test_without_the_extra(settings, monkeypatch):
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        settings(*TINY, "+backbone.quantize=int4")
    said = "backbone.quantize: 'int4' needs the bitsandbytes library: pip install 'ptune[quantized]'"
    assert str(caught.value) == said
