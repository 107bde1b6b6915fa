"""cache_layers: what is kept of the layers below the prompt is what they give; what it is not for is refused."""

from __future__ import annotations

import pytest

from ptune.errors import ConfigError
from ptune.loop import gradients

STILL = ("+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "method.head.dropout=0.0")
FAMILIES = ("bert", "roberta", "xlm_roberta", "electra", "distilbert", "modernbert")


@pytest.fixture
def train(settings, bert_folder):
    def compose(*words, folder=bert_folder, method="ptv2", cached=True):
        line = (f"method={method}", "task=rte", "backbone=local", f"backbone.path={folder}", "data.max_length=40",
                "batch_size=4", "optim.lr=0.01", "prompt_length.value=3", "epochs=6")  # fmt: skip
        return settings(*line, *words, *(("cache_layers=true",) if cached else ()))

    return compose


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["ptv2", "linear_probe"])
def test_the_losses_are_those_of_the_whole_model(train, wire, request, family, method):
    """Without dropout nothing changes; with all rows seen, the lowest layers compute nothing."""
    folder = request.getfixturevalue(f"{family}_folder")
    top = ("method.prompt.layers=2-3",) if method == "ptv2" else ()
    whole = wire(train(*STILL, *top, method=method, folder=folder, cached=False))
    whole.fit()
    kept = wire(train(*STILL, *top, method=method, folder=folder))
    kept.fit()
    assert kept.losses() == pytest.approx(whole.losses(), abs=1e-6)
    lower = kept.model.backbone.lower
    layers = kept.model.backbone.layers()
    assert lower.depth == (len(layers) if method == "linear_probe" else 1)
    rows = {len(states) for states in lower.kept.values()}
    assert len(rows) > 1
    calls = []
    kept.model.backbone.attentions()[0].register_forward_hook(lambda *_: calls.append(1))
    gradients(kept.model, kept.runs, map)
    assert not calls


def test_dropout_is_off_below_the_prompt_alone(train, wire):
    """Two passes of a row differ by the dropout of the upper layers."""
    made = wire(train("method.prompt.layers=3"))
    made.model.train()
    layers = made.model.backbone.layers()
    assert [layer.training for layer in layers] == [False, False, True, True]
    assert not made.model.backbone.base.embeddings.training
    made.model.eval()
    assert not any(layer.training for layer in layers)


def test_what_does_not_fit_is_computed_anew(train, wire):
    whole = wire(train(*STILL, "method.prompt.layers=2-3", cached=False))
    whole.fit()
    made = wire(train(*STILL, "method.prompt.layers=2-3"))
    made.model.backbone.lower.room = 3000
    made.fit()
    assert 0 < made.model.backbone.lower.bytes <= 3000
    assert made.losses() == pytest.approx(whole.losses(), abs=1e-6)


def test_a_row_is_known_by_its_position_too(train, wire):
    """The same text under prompts of two lengths stands at other positions."""
    made = wire(*(train(*STILL, "method.prompt.layers=3", f"prompt_length.value={length}") for length in (2, 5)))
    alone = [
        wire(train(*STILL, "method.prompt.layers=3", f"prompt_length.value={length}", cached=False))
        for length in (2, 5)
    ]
    made.fit()
    for member, run in enumerate(alone):
        run.fit()
        assert made.losses(member) == pytest.approx(run.losses(), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "method", "said"),
    [
        ((), "ptv2", "cache_layers: no layer is below the prompt; method.prompt.layers=4 leaves some"),
        ((), "finetune", "cache_layers: method finetune tunes the backbone; leave it out"),
        ((), "prompt_tuning", "cache_layers: no layer is below the prompt; leave it out"),
    ],
)
def test_what_it_is_not_for(train, words, method, said):
    with pytest.raises(ConfigError) as caught:
        train(*words, method=method)
    assert said in str(caught.value)


@pytest.mark.parametrize("family", ["albert", "deberta", "deberta_v3"])
def test_layers_that_are_more_than_a_stack(train, request, family):
    with pytest.raises(ConfigError, match=r"cache_layers: not supported for \w+, whose layers are not"):
        train("method.prompt.layers=2", folder=request.getfixturevalue(f"{family}_folder"))
