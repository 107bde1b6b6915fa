"""P-Tuning v2's own variants: an LM head in place of the linear one, prompts at some layers, and their length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ptune.batch import Draw

COMMON = ("data=local", "data.root=.", "data.max_length=40", "batch_size=4", "max_steps=3", "tracker=none")
TABLE_4 = ("method=ptv2", "method/head=verbalizer", "method/template=pattern")


@pytest.fixture
def variant(wire, settings, bert_folder):
    """variant("method.prompt.layers=3-4"): P-Tuning v2 on hand-made pairs, with these changes."""

    def make(*more, task="rte", data=None):
        local = ("backbone=local", f"backbone.path={bert_folder}")
        quiet = ("+backbone.dropout=0.0", "+backbone.attention_dropout=0.0")
        return wire(settings("method=ptv2", f"task={task}", *local, *quiet, *COMMON, "optim.lr=0.01", *more), data=data)

    return make


def batch_of(wired):
    return wired.rendered[0].batch(range(len(wired.rendered[0])), Draw(0, 0), "eval")


def scores(wired):
    return torch.tensor(np.stack([output.scores for output in wired.model.eval().outputs(0, batch_of(wired))]))


# Table 4: the verbalizer


@pytest.mark.parametrize("task", ["rte", "cb"])
def test_deep_prompts_with_a_verbalizer_read_label_words_at_the_mask(variant, examples, task):
    labels = {"rte": None, "cb": ["entailment", "contradiction", "neutral"]}[task]
    data = examples["rte"]
    if labels:
        data = [type(e)(e.id, e.fields, labels[i % 3]) for i, e in enumerate(data)]
    wired = variant(*TABLE_4[1:], "prompt_length.value=4", task=task, data=data)
    assert {name.partition(".")[0] for name in wired.runs[0].trained} == {"prompt"}  # nothing but the prefix learns
    head, batch = wired.model.member(0).head, batch_of(wired)
    assert head.lm
    with wired.model.eval().hidden([(0, batch)]) as ((_, hidden, moved),), torch.no_grad():
        mask = hidden.at(moved.read["mask"])[:, 0]
        words = hidden.words(mask, head.ids)
        torch.testing.assert_close(head.logits(hidden, moved), words)  # a word a label, in the order of the labels
    before = scores(wired)
    wired.fit()
    assert (scores(wired) - before).abs().max() > 1e-3
    assert {tensor.partition(".")[0] for tensor in wired.model.stored()} == {"prompt"}


@pytest.mark.parametrize("task", ["boolq", "cb", "rte", "wic", "multirc", "sst2", "mnli", "agnews"])
def test_every_kind_of_task_with_patterns_takes_the_variant(ptune, tmp_path, monkeypatch, task):
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    few = [f"data.demo.{split}=8" for split in ("train", "dev", "test")]
    more = ("data=demo", "backbone=tiny_encoder", "tracker=none", "max_steps=2", "batch_size=4", "hydra.run.dir=run")
    code, _, err = ptune("train", *TABLE_4, f"task={task}", "prompt_length.value=4", "data.max_length=128", *few, *more)
    assert code == 0, err


# Depth: prompts at some layers, the others masked


def layer_outputs(wired):
    """What each layer gives, [L, B, N, H]."""
    found = []

    def keep(layer, given, out):
        found.append(out[0] if isinstance(out, tuple) else out)

    hooks = [layer.register_forward_hook(keep) for layer in wired.model.backbone.layers()]
    scores(wired)
    for hook in hooks:
        hook.remove()
    return [tensor.detach() for tensor in found]


@pytest.mark.parametrize(("layers", "below"), [("3-4", 2), ("2,4", 1), ("1", 0)])
def test_layers_below_the_first_prompted_one_see_no_prompt(variant, layers, below):
    """Depth of the ablation: the prefix of another draw changes what its layers give, and what those above give."""
    given = (f"method.prompt.layers='{layers}'", "prompt_length.value=4", "method.prompt.init_std=1.0")
    first, second = (layer_outputs(variant(*given, f"seed={seed}")) for seed in (1, 2))
    assert len(first) == 4
    same = [torch.equal(a, b) for a, b in zip(first, second, strict=True)]
    assert same == [i < below for i in range(4)]


def test_masked_layers_cost_nothing(variant):
    counts = {}
    for layers in ("all", "3-4", "2"):
        wired = variant(f"method.prompt.layers='{layers}'", "prompt_length.value=4")
        counts[layers] = sum(p.numel() for name, p in wired.runs[0].trained.items() if name.startswith("prompt."))
        assert set(wired.model.member(0).prompt(torch.tensor([0])).kv["encoder"]) == set(
            {"all": range(4), "3-4": (2, 3), "2": (1,)}[layers]
        )
    assert counts["all"] == 2 * counts["3-4"] == 4 * counts["2"]


# Length


def test_every_further_token_of_the_prompt_is_read_and_learns(variant):
    counts = []
    for length in (1, 4, 16):
        wired = variant(f"prompt_length.value={length}", "method.prompt.init_std=1.0")
        (table,) = (p for name, p in wired.runs[0].trained.items() if name.startswith("prompt."))
        counts.append(table.numel())
        wired.model.eval()
        with wired.model.losses([(0, batch_of(wired))]) as losses:
            losses[0][0].backward()
        assert table.shape[0] == length
        assert (table.grad.abs().sum(1) > 0).all()
        before = scores(wired)
        with torch.no_grad():
            table[-1] += 1.0
        assert not torch.equal(scores(wired), before)
    assert [count // counts[0] for count in counts] == [1, 4, 16]


@pytest.mark.slow
def test_a_sweep_over_lengths(ptune, tmp_path, monkeypatch):
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    few = [f"data.demo.{split}=8" for split in ("train", "dev", "test")]
    words = ("method=ptv2", "task=rte", "data=demo", "backbone=tiny_encoder", "tracker=none", "max_steps=1", *few)
    out = ptune("train", "-m", *words, "prompt_length.value=1,5", "hydra.sweep.dir=sweep").out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("prompt_length")] == [
        "prompt_length.value=1",
        "prompt_length.value=5",
    ]
