"""Prompts: what they inject, how they begin, what they cost, and that a folded one is the same prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ptune import build
from ptune.backbones import local
from ptune.errors import ConfigError
from ptune.injection import Shape, Vocabulary
from ptune.prompts.deep import Deep, chosen_layers
from ptune.prompts.none import NoPrompt
from ptune.prompts.pseudo import Pseudo
from ptune.prompts.soft import Soft

SHAPE = Shape(layers=4, heads=2, head_dim=8, hidden=16, embed=12, positions=64, vocab=40, lm_head=True, pooler=False)
LARGE = Shape(
    layers=24,
    heads=16,
    head_dim=64,
    hidden=1024,
    embed=1024,
    positions=512,
    vocab=50,
    lm_head=True,
    pooler=False,
)
INDEX = torch.tensor([3, 0, 5])


@pytest.fixture
def vocabulary():
    """Forty words, the first five special; a text's words are its letters' places in the alphabet."""
    generator = torch.Generator().manual_seed(0)

    def states(text, site):
        n = len(text)
        return {
            layer: tuple(
                torch.randn(1, 2, n, 8, generator=torch.Generator().manual_seed(10 * layer + w)) for w in (0, 1)
            )
            for layer in range(4)
        }

    return Vocabulary(
        embedding=torch.randn(40, 12, generator=generator),
        encode=lambda text: [5 + ord(letter) - ord("a") for letter in text],
        states=states,
        labels=["ab", "c"],
        special=frozenset(range(5)),
    )


PROMPTS = {
    "none": lambda v: NoPrompt(),
    "deep": lambda v: Deep(SHAPE, v, 3),
    "deep activations": lambda v: Deep(SHAPE, v, 3, init="activations", init_text="abcde"),
    "deep mlp": lambda v: Deep(SHAPE, v, 3, reparam="mlp", mid=6),
    "deep mlp activations": lambda v: Deep(SHAPE, v, 3, reparam="mlp", mid=6, init="activations", init_text="ab"),
    "deep mlp torch": lambda v: Deep(SHAPE, v, 3, reparam="mlp", mid=6, mlp_init="torch"),
    "deep subset": lambda v: Deep(SHAPE, v, 3, layers="2,4"),
    "deep one layer": lambda v: Deep(SHAPE, v, 3, layers=4),
    "deep mlp subset": lambda v: Deep(SHAPE, v, 3, reparam="mlp", mid=6, layers="3-4", position_offset="none"),
    "pseudo": lambda v: Pseudo(SHAPE, 3, "none"),
    "pseudo lstm": lambda v: Pseudo(SHAPE, 3, "lstm"),
    "pseudo mlp": lambda v: Pseudo(SHAPE, 3, "mlp"),
    "soft uniform": lambda v: Soft(SHAPE, v, 3, "uniform"),
    "soft normal": lambda v: Soft(SHAPE, v, 3, "normal"),
    "soft vocabulary": lambda v: Soft(SHAPE, v, 3, "vocabulary"),
    "soft labels": lambda v: Soft(SHAPE, v, 3, "labels"),
    "soft text": lambda v: Soft(SHAPE, v, 3, "text", "fade"),
    "soft doubled": lambda v: Soft(SHAPE, v, 3, double_embedding=True),
}


def tensors(injection):
    """Everything an injection holds, by name."""
    found = {
        "front": injection.front,
        "slots": injection.slots,
        "offset": torch.as_tensor(injection.offset),
        "whole": torch.as_tensor(injection.whole_embedding),
    }
    for site, layers in injection.kv.items():
        for layer, kv in layers.items():
            found |= {f"{site}.{layer}.k": kv.k, f"{site}.{layer}.v": kv.v}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


# What is injected


@pytest.mark.parametrize("name", PROMPTS)
def test_shapes(vocabulary, name):
    prompt = PROMPTS[name](vocabulary)
    found = {key: tuple(tensor.shape) for key, tensor in tensors(prompt(INDEX)).items()}
    layers = {"deep": range(4), "deep subset": (1, 3), "deep one layer": (3,), "deep mlp subset": (2, 3)}
    expected = {"offset": (), "whole": ()}
    if name.startswith("deep"):
        expected |= {f"encoder.{n}.{w}": (1, 2, 3, 8) for n in layers.get(name, range(4)) for w in "kv"}
    elif name.startswith("pseudo"):
        expected["slots"] = (1, 3, 12)
    elif name.startswith("soft"):
        expected["front"] = (1, 3, 12)
    assert found == expected
    assert prompt.place == {"none": "none", "deep": "layers", "pseudo": "slots", "soft": "front"}[name.split()[0]]


def test_deep_shifts_the_text_unless_told_not_to(vocabulary):
    assert Deep(SHAPE, vocabulary, 3)(INDEX).offset == 3
    assert Deep(SHAPE, vocabulary, 3, position_offset="none")(INDEX).offset == 0


def test_deep_lays_layers_out_as_key_then_value(vocabulary):
    prompt = Deep(SHAPE, vocabulary, 3, layers="2,4")
    with torch.no_grad():
        prompt.table.copy_(torch.arange(3 * 64).view(3, 64))
    kv = prompt(INDEX).kv["encoder"]
    assert kv[1].k[0, 0, 0].tolist() == list(range(8))
    assert kv[1].k[0, 1, 0].tolist() == list(range(8, 16))
    assert kv[1].v[0, 0, 0].tolist() == list(range(16, 24))
    assert kv[3].k[0, 0, 2].tolist() == list(range(128 + 32, 128 + 40))
    assert kv[3].v[0, 1, 1].tolist() == list(range(64 + 56, 64 + 64))


@pytest.mark.parametrize("name", PROMPTS)
def test_a_folded_prompt_injects_the_same(vocabulary, name):
    prompt, fresh = PROMPTS[name](vocabulary), PROMPTS[name](vocabulary)
    with torch.no_grad():
        for parameter in prompt.parameters():
            parameter.add_(torch.randn_like(parameter))
    fresh.load({key: tensor.clone() for key, tensor in prompt.fold().items()})
    ours, theirs = tensors(prompt.eval()(INDEX)), tensors(fresh.eval()(INDEX))
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key], atol=1e-6, rtol=0)
    assert sum(p.numel() for p in fresh.parameters()) == sum(t.numel() for t in prompt.fold().values())
    assert all(not tensor.requires_grad for tensor in prompt.fold().values())


@pytest.mark.parametrize("name", [name for name in PROMPTS if name != "none"])
def test_every_parameter_learns(vocabulary, name):
    prompt = PROMPTS[name](vocabulary)
    sum(t.square().sum() for t in tensors(prompt(INDEX)).values() if t.requires_grad).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in prompt.parameters())


@pytest.mark.parametrize("kind", ["deep", "deep mlp", "soft"])
def test_dropout_is_drawn_for_each_example_and_only_in_training(vocabulary, kind):
    torch.manual_seed(0)
    if kind == "soft":
        prompt = Soft(SHAPE, vocabulary, 3, "uniform", dropout=0.5)
    else:
        prompt = Deep(SHAPE, vocabulary, 3, "mlp" if kind == "deep mlp" else "none", dropout=0.5)
    prompt.train()
    for name, tensor in tensors(prompt(INDEX)).items():
        if name in ("offset", "whole"):
            continue
        assert tensor.shape[0] == len(INDEX)
        dropped = tensor == 0
        assert 0.2 < dropped.float().mean() < 0.8
        assert not torch.equal(dropped[0], dropped[1])
        full = tensors(prompt.eval()(INDEX))[name]
        prompt.train()
        assert full.shape[0] == 1
        assert not (full == 0).any()
        torch.testing.assert_close(tensor[0][~dropped[0]], 2 * full[0][~dropped[0]])


# How prompts begin


@pytest.mark.parametrize(("std", "given"), [(0.02, {}), (0.5, {"init_std": 0.5})])
def test_deep_begins_normal(vocabulary, std, given):
    torch.manual_seed(0)
    table = Deep(LARGE, vocabulary, 8, **given).table
    assert table.mean().item() == pytest.approx(0, abs=std / 100)
    assert table.std().item() == pytest.approx(std, rel=0.01)


@pytest.mark.parametrize("std", [0.02, 0.5])
def test_mlp_begins_as_the_code_of_p_tuning_v2_does(vocabulary, std):
    """transformers' own start of all weights, and no bias."""
    torch.manual_seed(0)
    prompt = Deep(LARGE, vocabulary, 20, "mlp", init_std=std)
    for tensor in (prompt.table, prompt.mlp[0].weight, prompt.mlp[2].weight):
        assert tensor.mean().item() == pytest.approx(0, abs=std / 50)
        assert tensor.std().item() == pytest.approx(std, rel=0.02)
    assert not prompt.mlp[0].bias.any()
    assert not prompt.mlp[2].bias.any()


def test_mlp_begins_as_the_code_of_prefix_tuning_does(vocabulary):
    """torch's own start of an embedding, N(0, 1), and of linear layers, uniform, whatever init_std is; at each site."""
    torch.manual_seed(0)
    prompt = Deep(replace(LARGE, decoder_layers=2), vocabulary, 20, "mlp", mlp_init="torch")
    for each in (prompt, *prompt.of_others()):
        assert each.table.mean().item() == pytest.approx(0, abs=0.02)
        assert each.table.std().item() == pytest.approx(1, rel=0.02)
        for layer in (each.mlp[0], each.mlp[2]):
            bound = layer.in_features**-0.5
            for tensor in (layer.weight, layer.bias):
                assert tensor.abs().max().item() == pytest.approx(bound, rel=0.02)
                assert tensor.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert len(list(prompt.of_others())) == 2


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["method=prefix"], "torch"),
        (["method=prefix_generate", "method/head=linear"], "torch"),
        (["method=ptv2", "method/prompt=deep_mlp"], "normal"),
        (["method=ptv2", "method.prompt.reparam=mlp"], "normal"),
        (["experiment=ptv2_wic_bert", "compat=none"], "normal"),
    ],
    ids=" ".join,
)
def test_which_methods_begin_so(settings, words, begins):
    found = settings("backbone=tiny_encoder", *words, "task=rte", "data=demo", "prompt_length.value=4")
    assert (found.method["prompt"]["reparam"], found.method["prompt"]["mlp_init"]) == ("mlp", begins)


def test_soft_uniform_and_normal(vocabulary):
    torch.manual_seed(0)
    uniform, normal = (
        Soft(LARGE, vocabulary, 20, "uniform").table,
        Soft(LARGE, vocabulary, 20, "normal").table,
    )
    assert uniform.min().item() == pytest.approx(-0.5, abs=0.01)
    assert uniform.max().item() == pytest.approx(0.5, abs=0.01)
    assert normal.std().item() == pytest.approx(0.02, rel=0.02)


def test_soft_begins_with_words(vocabulary):
    table = vocabulary.embedding

    def rows(*given, length=4):
        return Soft(SHAPE, vocabulary, length, *given).table

    torch.manual_seed(0)
    sample = [int((table == row).all(1).nonzero()) for row in rows("vocabulary", length=30)]
    assert len(set(sample)) == 30
    assert not set(sample) & vocabulary.special
    labels = rows("labels")
    torch.testing.assert_close(labels[0], table[[5, 6]].mean(0))
    torch.testing.assert_close(labels[1], table[7])
    assert all((row == table[5:]).all(1).any() for row in labels[2:])
    assert torch.equal(rows("text", "fade"), table[[10, 5, 8, 9]])
    assert torch.equal(rows("text", "fade", length=2), table[[10, 5]])
    longer = rows("text", "fade", length=50)
    assert torch.equal(longer[:4], table[[10, 5, 8, 9]])
    assert len(longer) == 50


def test_soft_prompts_learn_apart_from_the_vocabulary(vocabulary):
    before = vocabulary.embedding.clone()
    prompt = Soft(SHAPE, vocabulary, 4, "text", "fade")
    with torch.no_grad():
        prompt.table.add_(1)
    assert torch.equal(vocabulary.embedding, before)


def test_pseudo_begins_normal():
    torch.manual_seed(0)
    assert Pseudo(LARGE, 20, "none").table.std().item() == pytest.approx(1.0, rel=0.02)
    assert Pseudo(LARGE, 20, "none", init_std=0.1).table.std().item() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("layers", ["all", "2,4"])
def test_activations_are_the_backbones_keys_and_values(bert_folder, layers):
    backbone = build.leaf(local.settings({"path": str(bert_folder), "name": "local"}))
    backbone.load(lm=False)
    encode = backbone.tokens().encode
    text = "the mill in oslo ."
    assert len(encode(text)) == 5
    real = Vocabulary(
        backbone.base.get_input_embeddings().weight.detach(),
        encode,
        lambda t, site: backbone.key_values(encode(t), site),
    )
    kv = Deep(backbone.shape, real, 5, layers=layers, init="activations", init_text=text)(INDEX).kv["encoder"]
    states = backbone.key_values(encode(text))
    assert list(kv) == ([0, 1, 2, 3] if layers == "all" else [1, 3])
    for layer, found in kv.items():
        assert torch.equal(found.k, states[layer][0])
        assert torch.equal(found.v, states[layer][1])
    repeated = Deep(backbone.shape, real, 7, init="activations", init_text=text)(INDEX).kv["encoder"]
    assert torch.equal(repeated[2].k[:, :, 5:], states[2][0][:, :, :2])
    shorter = Deep(backbone.shape, real, 2, init="activations", init_text=text)(INDEX).kv["encoder"]
    assert torch.equal(shorter[2].k, states[2][0][:, :, :2])


def test_mlp_is_fitted_to_the_activations(vocabulary):
    def given(text):
        torch.manual_seed(1)
        kind = {"init": "activations", "init_text": text} if text else {}
        return Deep(SHAPE, vocabulary, 3, reparam="mlp", mid=64, **kind)

    target = Deep(SHAPE, vocabulary, 3, init="activations", init_text="abc").flat()
    drawn, fitted = (float((given(text).flat() - target).square().mean().detach()) for text in ("", "abc"))
    assert fitted < 0.7 * drawn
    assert all(p.grad is None for p in given("abc").parameters())


def test_a_finished_run_fits_nothing_anew(ptune, tmp_path, monkeypatch):
    """It has a prompt of its own, whatever that began with."""
    words = [
        "task=cb",
        "backbone=tiny_encoder",
        "method=prefix",
        "prompt_length.value=2",
        "max_steps=1",
        "tracker=none",
    ]
    words += ["method.prompt.init=activations", "method.prompt.init_text=the old mill", "hydra.run.dir=run"]
    sizes = ["data=demo", "data.demo.train=8", "data.demo.dev=4", "data.demo.test=4", "quiet=true"]
    assert ptune("train", *words, *sizes).code == 0
    before = (tmp_path / "run" / "predictions.jsonl").read_text()
    for name in ("ptune.prompts.deep.fit", "ptune.prompts.deep.Deep._activations"):
        monkeypatch.setattr(name, lambda *given: pytest.fail("a start was looked for"))
    assert ptune("eval", "run", "quiet=true").code == 0
    assert (tmp_path / "run" / "predictions.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["method=ptv2", "method.prompt.init_text=the mill"],
            "is only used with init=activations; set method.prompt.init=activations or remove init_text",
        ),
        (
            ["method=prompt_tuning", "method.prompt.init_text=the mill"],
            "is only used with init=text and without from_run; set method.prompt.init=text or remove init_text",
        ),
        (
            [
                "method=prompt_tuning",
                "method.prompt.init=text",
                "method.prompt.init_text=a",
                "method.prompt.from_run=r",
            ],
            "is only used with init=text and without from_run; set method.prompt.init=text or remove init_text",
        ),
        (["method=ptv2", "method.prompt.init=activations", "method.prompt.init_text=the mill"], None),
        (["method=prompt_tuning", "method.prompt.init=text", "method.prompt.init_text=the mill"], None),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_words_that_nothing_starts_from_are_refused(settings, words, said):
    common = ("task=rte", "data=demo", "backbone=tiny_encoder", "prompt_length.value=4")
    if said is None:
        assert settings(*words, *common).method["prompt"]["init_text"] == "the mill"
        return
    with pytest.raises(ConfigError) as caught:
        settings(*words, *common)
    assert caught.value.problems == [f"method.prompt.init_text: {said}"]


# Which layers


@pytest.mark.parametrize(
    ("given", "expected"),
    [("all", [0, 1, 2, 3]), ("1", [0]), (4, [3]), ("2-3", [1, 2]), ("1,4", [0, 3]), ("3-4, 1,3", [0, 2, 3])],
)
def test_layers(given, expected):
    assert chosen_layers(given, 4) == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("30-40", "30-40 is outside the 24 layers (1-24); did you mean '24'?"),
        ("17-40", "17-40 is outside the 24 layers (1-24); did you mean '17-24'?"),
        ("0-3", "0-3 is outside the 24 layers (1-24); did you mean '1-3'?"),
        ("5-2", "5-2 is outside the 24 layers (1-24); did you mean '2-5'?"),
        ("25", "25 is outside the 24 layers (1-24); did you mean '24'?"),
        (0, "0 is outside the 24 layers (1-24); did you mean '1'?"),
        ("1,30", "30 is outside the 24 layers (1-24); did you mean '24'?"),
        ("top", "'top' is not a choice of layers; write all, 17-24 or 1,3,5"),
        ("3-", "'3-' is not a choice of layers; write all, 17-24 or 1,3,5"),
        ("-1", "'-1' is not a choice of layers; write all, 17-24 or 1,3,5"),
        ("", "'' is not a choice of layers; write all, 17-24 or 1,3,5"),
    ],
)
def test_layers_that_are_not_there(given, text):
    with pytest.raises(ValueError, match=r".") as caught:
        chosen_layers(given, 24)
    assert str(caught.value) == text


# What they cost


def count(prompt):
    return sum(p.numel() for p in prompt.parameters())


def test_parameter_counts_are_the_published_ones(vocabulary):
    assert count(Deep(LARGE, vocabulary, 20)) == 20 * 49152
    assert count(Deep(LARGE, vocabulary, 20, layers="17-24")) == 20 * 2 * 8 * 1024
    mlp = 20 * 1024 + 1024 * 512 + 512 + 512 * 49152 + 49152
    assert count(Deep(LARGE, vocabulary, 20, "mlp")) == mlp == pytest.approx(25.76e6, rel=0.001)
    folded = Deep(LARGE, vocabulary, 20, "mlp").fold()
    assert sum(tensor.numel() for tensor in folded.values()) == 20 * 49152
    boolq = count(Deep(LARGE, vocabulary, 8)) + 2 * 1024 + 2
    assert boolq == pytest.approx(0.395e6, rel=0.001)
    assert count(Deep(LARGE, vocabulary, 224)) == pytest.approx(11.0e6, rel=0.01)
    assert count(Soft(SHAPE, vocabulary, 20, "normal")) == 20 * 12
    assert count(Pseudo(SHAPE, 20, "none")) == 20 * 12
    assert count(NoPrompt()) == 0
