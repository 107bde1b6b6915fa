"""Every template x prompt x head x tune that makes sense trains and comes back from its stored tensors."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch

from ptune import build
from ptune.batch import IGNORED, Draw
from ptune.errors import ConfigError, PtuneError
from ptune.exports.peft_adapter import refuse
from ptune.runs.folder import RunFolder
from ptune.runs.restore import Restored

PROMPTS = ("none", "soft", "pseudo", "deep", "deep_mlp")
TUNES = ("none", "all", "bias", "lora")
COMBINATIONS = [
    *(
        ("rte", template, prompt, head)
        for template in ("plain", "pattern")
        for prompt in PROMPTS
        for head in ("linear", "pooled", "verbalizer")
    ),
    *(("conll03", "plain", prompt, "linear") for prompt in PROMPTS),
    *(("squad", template, prompt, "linear") for template in ("plain", "pattern") for prompt in PROMPTS),
    ("squad_v2", "plain", "deep", "pooled"),
    *(("copa", "plain", prompt, "linear") for prompt in PROMPTS),
    *(("copa", "pattern", prompt, "verbalizer") for prompt in PROMPTS),
    ("copa", "plain", "none", "pooled"),
    ("stsb", "plain", "deep", "linear"),
    ("stsb", "plain", "none", "pooled"),
    ("stsb", "pattern", "pseudo", "verbalizer"),
]
WINDOWS = ("task.doc_stride=8", "task.max_question_length=12")
COMMON = (
    "data=local",
    "data.root=.",
    "data.max_length=40",
    "batch_size=4",
    "max_steps=2",
    "prompt_length.value=3",
    "optim.lr=0.01",
    "tracker=none",
)


@pytest.fixture(scope="module")
def composed(settings, bert_folder):
    """The settings of one combination on the tiny BERT."""

    def compose(task, template, prompt, head, folder=bert_folder, more=()):
        return settings(
            "method=ptv2",
            f"task={task}",
            f"method/template={template}",
            f"method/prompt={prompt}",
            f"method/head={head}",
            f"method.tune={'all' if (prompt, head) == ('none', 'verbalizer') else 'none'}",
            "backbone=local",
            f"backbone.path={folder}",
            *COMMON,
            *(WINDOWS if task.startswith("squad") else ()),
            *more,
        )

    return compose


def gradients(wired):
    """Every trained parameter's gradient on the first batch, in evaluation mode."""
    wired.model.eval()
    batch = wired.rendered[0].batch(range(8), Draw(0, 0), "train")
    with wired.model.losses([(0, batch)]) as losses:
        ((total, labels),) = losses
        total.backward()
    found = {name: p.grad for name, p in wired.runs[0].trained.items()}
    wired.model.zero_grad(set_to_none=True)
    assert labels == wired.rendered[0].labels
    return found


def outputs(model, wired):
    """What a model says of all examples."""
    model.eval()
    return model.outputs(0, wired.rendered[0].batch(range(8), Draw(0, 0), "eval"))


def idle(wired, name):
    """Whether a parameter cannot matter: a span's bias shifts every position's logits alike, a choice's every row's."""
    return wired.task.readout in ("span", "choice") and name == "head.linear.bias"


def unread(wired, name):
    """Whether it is a part of the decoder that words are not tagged by."""
    backbone = wired.model.backbone
    return backbone.encoder_tags and wired.task.readout == "token" and name.startswith("backbone.decoder.")


def assert_trains_and_returns(wire, settings, tune):
    settings = deepcopy(settings)
    settings.method["tune"] = tune
    wired = wire(settings)
    parts = {name.partition(".")[0] for name in wired.runs[0].trained}
    assert ("backbone" in parts) is (tune != "none")
    assert ("prompt" in parts) is ("length" in settings.method["prompt"])
    before = {name: p.detach().clone() for name, p in wired.runs[0].trained.items()}
    for name, grad in gradients(wired).items():
        if grad is None and unread(wired, name):
            continue
        assert grad is not None, f"{name} gets no gradient"
        assert grad.isfinite().all()
        if idle(wired, name):
            assert grad.abs().max() < 1e-5
        elif not name.startswith("backbone."):
            assert grad.abs().sum() > 0, f"{name} gets a gradient of 0"
    wired.fit()
    assert len(wired.losses()) == 2
    assert all(math.isfinite(loss) for loss in wired.losses())
    assert all(
        not torch.equal(p, before[name])
        for name, p in wired.runs[0].trained.items()
        if name.startswith(("prompt", "head")) and not idle(wired, name)
    )
    stored = {name: tensor.detach().clone() for name, tensor in wired.model.stored().items()}
    assert any(name.startswith("backbone.") for name in stored) is (tune != "none")
    other = deepcopy(settings)
    other.seed = 77
    fresh = build.assemble([other], wired.task)
    fresh.load_stored(stored)
    for ours, theirs in zip(outputs(wired.model, wired), outputs(fresh, wired), strict=True):
        assert (ours.example, ours.start) == (theirs.example, theirs.start)
        torch.testing.assert_close(torch.tensor(theirs.scores), torch.tensor(ours.scores), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(("task", "template", "prompt", "head"), COMBINATIONS)
def test_a_combination_trains_and_comes_back(composed, wire, task, template, prompt, head):
    settings = composed(task, template, prompt, head)
    for tune in TUNES:
        if (prompt, head, tune) != ("none", "verbalizer", "none"):  # nothing learns: that is zero_shot
            assert_trains_and_returns(wire, settings, tune)


@pytest.mark.parametrize(
    ("task", "template", "prompt", "head"),
    [
        ("rte", "pattern", "pseudo", "verbalizer"),
        ("rte", "plain", "deep", "linear"),
        ("rte", "plain", "soft", "verbalizer"),
        ("conll03", "plain", "deep", "linear"),
        ("conll03", "plain", "pseudo", "linear"),
        ("squad_v2", "plain", "deep", "linear"),
        ("squad", "pattern", "pseudo", "linear"),
    ],
)
def test_roberta_trains_and_comes_back(composed, wire, roberta_folder, task, template, prompt, head):
    for tune in ("none", "all"):
        assert_trains_and_returns(wire, composed(task, template, prompt, head, roberta_folder), tune)


CAUSAL = ("gpt2", "opt", "gpt_neox", "qwen3", "llama")
OTHERS = (
    *CAUSAL,
    "t5",
    "bart",
    "xlm_roberta",
    "electra",
    "distilbert",
    "albert",
    "deberta",
    "deberta_v2",
    "deberta_v3",
    "modernbert",
)


@pytest.mark.parametrize(
    ("task", "template", "prompt", "head"),
    [
        ("rte", "plain", "deep", "linear"),
        ("rte", "pattern", "pseudo", "verbalizer"),
        ("conll03", "plain", "soft", "linear"),
        ("squad_v2", "plain", "deep", "linear"),
    ],
)
@pytest.mark.parametrize("family", OTHERS)
def test_other_families_train_and_come_back(composed, wire, request, family, task, template, prompt, head):
    folder = request.getfixturevalue(f"{family}_folder")
    for tune in ("none", "all"):
        assert_trains_and_returns(wire, composed(task, template, prompt, head, folder), tune)


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_train_in_bfloat16_and_with_gradient_checkpointing(composed, wire, request, family):
    folder = request.getfixturevalue(f"{family}_folder")
    more = ["precision=bfloat16", f"gradient_checkpointing={str(family != 'albert').lower()}"]  # it has none
    wired = wire(composed("rte", "plain", "deep", "linear", folder, more))
    wired.fit()
    exact = wire(composed("rte", "plain", "deep", "linear", folder))
    exact.fit()
    assert wired.losses() == pytest.approx(exact.losses(), rel=0.2)  # random weights multiply what is rounded
    assert wired.losses() != exact.losses()


@pytest.mark.parametrize("pooler", ["pretrained", "random_frozen", "trained"])
def test_poolers_train_and_come_back(composed, wire, pooled_bert_folder, pooler):
    settings = composed("rte", "plain", "deep", "linear", pooled_bert_folder, [f"method.head.pooler={pooler}"])
    wired = wire(settings)
    learns = {name for name in wired.runs[0].trained if "pooler" in name}
    assert learns == ({"head.pooler.weight", "head.pooler.bias"} if pooler == "trained" else set())
    kept = {name for name in wired.model.stored() if "pooler" in name}
    assert kept == (set() if pooler == "pretrained" else {"head.pooler.weight", "head.pooler.bias"})
    theirs = wired.model.backbone.pooler_weights()
    ours = wired.model.members[0].head.pooler.state_dict()
    same = all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert same is (pooler != "random_frozen")
    assert_trains_and_returns(wire, settings, "none")


@pytest.mark.parametrize("more", [["method.prompt.encoder=none"], ["method.prompt.encoder=mlp"]], ids=str)
def test_pseudo_encoders_train_and_come_back(composed, wire, more):
    assert_trains_and_returns(wire, composed("rte", "pattern", "pseudo", "verbalizer", more=more), "none")


@pytest.mark.parametrize(
    "more",
    [
        ["method.prompt.layers=3-4"],
        ["method.prompt.init=activations", "method.prompt.init_text=the old mill"],
        ["method.prompt.position_offset=none", "method.prompt.dropout=0.1"],
    ],
    ids=str,
)
def test_deep_variants_train_and_come_back(composed, wire, more):
    assert_trains_and_returns(wire, composed("conll03", "plain", "deep", "linear", more=more), "none")


def test_bfloat16_and_gradient_checkpointing_train(composed, wire):
    sure = ["+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "method.head.dropout=0.0"]
    cheap = ["precision=bfloat16", "gradient_checkpointing=true"]
    wired = wire(composed("rte", "plain", "deep", "linear", more=[*sure, *cheap]))
    wired.fit()
    exact = wire(composed("rte", "plain", "deep", "linear", more=sure))
    exact.fit()
    assert wired.losses() == pytest.approx(exact.losses(), rel=0.05)
    assert wired.losses() != exact.losses()
    assert all(p.dtype == torch.float32 for p in wired.runs[0].trained.values())


def test_answers_train_in_bfloat16(composed, wire):
    wired = wire(composed("squad_v2", "plain", "deep", "linear", more=["precision=bfloat16"]))
    wired.fit()
    exact = wire(composed("squad_v2", "plain", "deep", "linear"))
    exact.fit()
    assert wired.losses() == pytest.approx(exact.losses(), rel=0.05)
    assert wired.losses() != exact.losses()


# What makes no sense


def problems(composed, *given, **more):
    with pytest.raises(ConfigError) as caught:
        composed(*given, **more)
    return caught.value.problems


TAG_AND_VERBALIZER = (
    "method/head: a verbalizer answers for a whole text, but conll03 asks for one label per word; use linear"
)
TAG_AND_PATTERN = (
    "method.template.name: task conll03 has no patterns; use method/template=plain or add a pattern to its yaml"
)


def test_tagging_with_a_verbalizer(composed):
    assert problems(composed, "conll03", "plain", "deep", "verbalizer") == [TAG_AND_VERBALIZER]


def test_answers_with_a_verbalizer(composed):
    assert problems(composed, "squad", "plain", "deep", "verbalizer") == [
        "method/head: a verbalizer answers for a whole text, but squad asks for a part of one; use linear"
    ]


def test_tagging_with_a_pattern(composed):
    assert problems(composed, "conll03", "pattern", "deep", "linear") == [TAG_AND_PATTERN]


def test_a_verbalizer_without_a_language_model_head(composed, pooled_bert_folder):
    assert problems(composed, "rte", "pattern", "deep", "verbalizer", pooled_bert_folder) == [
        "method.head: a verbalizer reads the language-model head, but backbone "
        f"{pooled_bert_folder.name} has no weights for it; "
        "choose method/head=linear or a backbone that has them"
    ]


def test_a_pretrained_pooler_that_is_not_there(composed):
    assert problems(composed, "rte", "plain", "deep", "linear", more=["method.head.pooler=pretrained"]) == [
        "method.head.pooler: 'pretrained' needs a checkpoint with a pooler, but this one has none; "
        "did you mean 'trained'?"
    ]


def test_everything_that_is_wrong_is_told_at_once(composed):
    more = ["method.prompt.layers=3-9", "method.prompt.init=activations"]
    assert problems(composed, "conll03", "pattern", "deep", "verbalizer", more=more) == [
        TAG_AND_PATTERN,
        "method.prompt.layers: 3-9 is outside the 4 layers (1-4); did you mean '3-4'?",
        "method.prompt.init_text: init=activations needs the words to start from, such as "
        "init_text='summarize the table'",
        TAG_AND_VERBALIZER,
    ]


@pytest.mark.parametrize("family", ["bert", *OTHERS])
def test_peft_gets_no_prefix_that_it_would_ignore(composed, wire, request, family):
    settings = composed("conll03", "plain", "deep", "linear", request.getfixturevalue(f"{family}_folder"))
    wired = wire(settings)
    run = Restored(settings, wired.task, wired.model, RunFolder("none"))
    batch = wired.rendered[0].batch(range(2), Draw(0, 0), "eval")
    if family in ("bert", "xlm_roberta", "electra", *CAUSAL):
        assert refuse(run, batch).prompt == "prefix"
        return
    with pytest.raises(PtuneError) as caught:
        refuse(run, batch)
    lacks = "cannot export this run: PEFT needs a backbone that takes past_key_values"
    if family in ("t5", "bart"):
        lacks = (
            "for encoder-decoders PEFT export supports only LoRA or IA3 with the language-model head, without a prompt"
        )
    assert str(caught.value) == f"to=peft: {lacks}; to=folder keeps everything"


def test_a_label_word_of_several_tokens(composed, wire):
    """It has a mask for each; where the whole vocabulary is weighed against, words are to be one."""
    more = ["task.verbalizers.yes_no.entailment=[Hippopotamus]"]
    head = wire(composed("rte", "pattern", "deep", "verbalizer", more=more)).model.member(0).head
    assert head.masks == (head.words != IGNORED).sum(1).max() > 1
    with pytest.raises(ConfigError) as caught:
        wire(composed("rte", "pattern", "deep", "verbalizer", more=[*more, "method.head.among=vocabulary"]))
    (text,) = caught.value.problems
    cure = "tokens of this backbone; choose a word that is one token"
    assert text == f"task.verbalizers: 'Hippopotamus' is {head.masks} {cure}"
