"""Dropout by drawn words, and the attention that uses it: the distribution, the seeds, and torch's own results."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptune import dropout
from ptune.backbones.attention import attend

HALVES = [torch.bfloat16, torch.float16, torch.float32]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.37])
@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_dropped(dtype, p):
    """A share of p, within five standard deviations; the rest is scaled as torch scales it, and keeps its gradient."""
    ones = torch.ones(300, 1001, dtype=dtype, requires_grad=True)
    with dropout.seeded_generator(3):
        dropped = dropout.dropout(ones, p)
    share = float((dropped == 0).float().mean())
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / ones.numel()) ** 0.5)
    (scale,) = dropped[dropped != 0].unique().tolist()
    assert scale == pytest.approx(1 / (1 - p), rel=2**-7 if dtype is torch.bfloat16 else 2**-10)
    dropped.sum().backward()
    assert torch.equal(ones.grad, dropped.detach())


@pytest.mark.parametrize("dtype", HALVES)
def test_elements_are_dropped_independently(dtype):
    """Of neighbors, and of elements a word apart, p**2 are dropped together; every column loses its share."""
    with dropout.seeded_generator(8):
        gone = (dropout.keep_factors((2000, 400), 0.3, dtype) == 0).float()
    for apart in (1, 2, 3, 4, 8):
        both = float((gone[:, apart:] * gone[:, :-apart]).mean())
        assert both == pytest.approx(0.09, abs=5 * (0.09 * 0.91 / gone.numel()) ** 0.5 * 2)
    assert (gone.mean(0) - 0.3).abs().max() < 6 * (0.21 / 2000) ** 0.5


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_or_nothing(p):
    values = torch.randn(4, 5)
    assert torch.equal(dropout.dropout(values, p), F.dropout(values, p))


def test_threads_draw_their_own():
    """What a thread draws from a seed is the same beside another as alone, and torch's random numbers go on."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    found = {}

    def draw(seed, gate):
        with dropout.seeded_generator(seed):
            gate.wait()
            found[seed] = [dropout.keep_factors((50, 50), 0.5, torch.float32) for _ in range(20)]

    gate = threading.Barrier(2)
    threads = [threading.Thread(target=draw, args=(seed, gate)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = dict(found)
    draw(1, threading.Barrier(1))
    assert all(map(torch.equal, together[1], found[1]))
    assert not torch.equal(together[1][0], together[2][0])
    assert not torch.equal(together[1][0], together[1][1])
    assert torch.equal(torch.rand(3), expected)


def test_every_dropout_of_a_model_is_replaced():
    class Own(nn.Dropout):
        pass

    model = nn.Sequential(nn.Dropout(0.2), nn.ModuleDict({"a": nn.Dropout(0.3), "b": Own(0.4)})).eval()
    dropout.install(model)
    assert [type(part) for part in (model[0], model[1]["a"], model[1]["b"])] == [dropout.Dropout, dropout.Dropout, Own]
    assert [model[0].p, model[1]["a"].p] == [0.2, 0.3]
    values = torch.ones(100)
    assert torch.equal(model[0](values), values)
    assert not torch.equal(model[0].train()(values), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_attention_by_its_parts_is_torchs(dtype, scaling):
    """Values and gradients, over a mask that hides keys."""
    torch.manual_seed(0)
    shapes = (3, 2, 7, 8), (3, 2, 11, 8), (3, 2, 11, 8)
    ours = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    mask = torch.rand(3, 1, 7, 11) > 0.4
    mask[..., 0] = True
    weights = torch.randn(3, 7, 2, 8, dtype=dtype)
    found = attend(*ours, mask, scaling)
    expected = F.scaled_dot_product_attention(*theirs, attn_mask=mask, scale=scaling).transpose(1, 2)
    tolerance = {"atol": 3e-2, "rtol": 3e-2} if dtype is torch.bfloat16 else {}
    torch.testing.assert_close(found, expected, **tolerance)
    for tensors, output in ((ours, found), (theirs, expected)):
        (output * weights).sum().backward(inputs=tensors)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, **tolerance)
