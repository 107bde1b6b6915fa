"""What a wrong command line says, literally: the key, what is wrong, what would be right; all at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from ptune import build, config
from ptune.checks import check
from ptune.errors import ConfigError

TINY = ["backbone=tiny_encoder", "data=demo"]
CASES = {
    "choice": (["optim.name=adamww"], ["optim.name: 'adamww' is not a choice; did you mean 'adamw'?"]),
    "several at once": (
        ["optim.schedule=cosine", "epochs=0", "method.prompt.reparam=mpl"],
        [
            "optim.schedule: 'cosine' is not a choice; one of: linear, constant, exponential",
            "epochs: 0 is too small; at least 1",
            "method.prompt.reparam: 'mpl' is not a choice; did you mean 'mlp'?",
        ],
    ),
    "key of a leaf": (
        ["+method.prompt.lenght=3"],
        ["method.prompt.lenght: not a setting of ptune.prompts.deep.Deep; did you mean 'length'?"],
    ),
    "type of a leaf": (
        ["method.prompt.mid=wide"],
        ["method.prompt.mid: 'wide' is not a valid integer"],
    ),
    "a module out of sight": (
        ["method.head._target_=my_package.gated.Gated", "packages=[my_package]"],
        [
            "method.head._target_: there is no module 'my_package.gated'; run with PYTHONPATH=DIR, the folder that "
            "my_package is in (PYTHONPATH=. if here)"
        ],
    ),
    "key of a method": (
        ["+method.tuned=all"],
        ["method.tuned: not a setting of a method; did you mean 'tune'?"],
    ),
    "learning rate": (["method.lr=fast"], ["method.lr: 'fast' is not a number"]),
    "numbers that train backwards": (
        ["optim.lr=-1", "optim.weight_decay=-0.1", "optim.warmup=-0.5", "optim.clip=-1", "optim.betas=[0.9]"],
        [
            "optim.lr: -1 is not a finite number of at least 0",
            "optim.weight_decay: -0.1 is not a finite number of at least 0",
            "optim.warmup: -0.5 is not a finite number of at least 0",
            "optim.clip: -1 is not a finite number above 0; null leaves gradients as they are",
            "optim.betas: [0.9] is not two numbers of at least 0 and below 1",
        ],
    ),
    **{
        f"a share of {share}": (
            ["protocol=held_out", f"held_out_share={share}"],
            [f"held_out_share: {share} is not a share of the examples; use one above 0 and below 1, such as 0.1"],
        )
        for share in ("nan", "0", "-0.1", "1", "1.5", "inf")
    },
    "a part that nobody holds out": (
        ["held_out_from=dev", "held_out_share=0.2", "held_out_seed=0"],
        [f"held_out_{key}: is only used with protocol=held_out" for key in ("from", "share", "seed")],
    ),
    "what few-shot draws": (
        ["protocol=few_shot", "data.per_class=2", "held_out_seed=3", "select_on=dev"],
        ["held_out_seed: is only used with protocol=held_out"],
    ),
    "what the protocol selects on": (
        ["protocol=held_out", "select_on=train"],
        ["select_on: protocol=held_out selects on the examples it holds out; leave select_on out"],
    ),
    "a rate without room": (
        ["optim.lr=1e38", "optim.head_lr=1e39", "optim.prompt_lr=1e37"],
        [
            "optim.lr: 1e+38 is too large for a step in float32",
            "optim.head_lr: 1e+39 is too large for a step in float32",
        ],
    ),
    "settings of another optimizer": (
        ["optim=adafactor", "optim.betas=[0.8,0.9]", "optim.eps=1e-6"],
        [
            "optim.betas: Adafactor does not use it; leave it out or set optim.name=adamw",
            "optim.eps: Adafactor does not use it; leave it out or set optim.name=adamw",
        ],
    ),
    "dropout of a family with a constructor of its own": (
        ["backbone=deberta_v3_large", "++backbone.dropout=1.5"],
        ["backbone.dropout: 1.5 is not less than 1"],
    ),
    "dropout": (
        ["++method.prompt.dropout=2", "++backbone.attention_dropout=-1"],
        [
            "backbone.attention_dropout: -1 is not greater than or equal to 0",
            "method.prompt.dropout: 2 is not less than 1",
        ],
    ),
    "nothing where something must be": (
        ["method.tune=null", "method.name=null"],
        [
            "method.name: must be given",
            "method.tune: must be given, one of: none, all, bias, lora, ia3",
        ],
    ),
    "layers": (
        ["backbone=roberta_large", "data=hub", "method.prompt.layers=30-40"],
        ["method.prompt.layers: 30-40 is outside the 24 layers (1-24); did you mean '24'?"],
    ),
    "positions": (
        ["prompt_length.value=200"],
        [
            "prompt_length.value: 200 + 128 tokens of text (the least that ptune cuts text to by itself) is more than "
            "the 256 positions of tiny_encoder; at most 128"
        ],
    ),
    "positions with a length of one's own": (
        ["prompt_length.value=100", "data.max_length=200"],
        [
            "prompt_length.value: 100 + 200 tokens of text (data.max_length) is more than the 256 positions of "
            "tiny_encoder; at most 56"
        ],
    ),
    "tagging with a verbalizer": (
        ["task=conll03", "method/head=verbalizer"],
        ["method/head: a verbalizer answers for a whole text, but conll03 asks for one label per word; use linear"],
    ),
    "tagging with nothing trained": (
        ["task=conll03", "method=zero_shot"],
        [
            "method: zero_shot answers for whole texts only, and conll03 asks for one label a word; use a method that "
            "trains, as method=ptv2"
        ],
    ),
    "tagging with an untrained head": (
        ["task=conll03", "method=zero_shot", "method/template=plain", "method/head=linear"],
        [
            "method: zero_shot answers for whole texts only, and conll03 asks for one label a word; use a method that "
            "trains, as method=ptv2"
        ],
    ),
    "answers with nothing trained": (
        ["task=squad", "method=in_context"],
        [
            "method: in_context answers for whole texts only, and squad asks for a part of one; use a method that "
            "trains, as method=ptv2"
        ],
    ),
    "answers with a verbalizer": (
        ["task=squad", "method/head=verbalizer", "method/template=pattern"],
        ["method/head: a verbalizer answers for a whole text, but squad asks for a part of one; use linear"],
    ),
    "answers in a pattern without their text": (
        ["task=squad", "method/template=pattern", "task.patterns.t5.text='{question} {context:lower}'"],
        [
            "method.template.name: task.patterns.t5: answers are read from {context}, which must be there once, "
            "without a form"
        ],
    ),
    "windows without room": (
        ["task=squad", "data.max_length=150"],
        [
            "data.max_length: 150 is too small for squad; at least 197 "
            "(task.max_question_length + task.doc_stride + 4 special tokens + 1)"
        ],
    ),
    "windows of the task without room": (
        ["task=squad", "task.doc_stride=330"],
        [
            "task.max_length: 384 is too small for squad; at least 399 "
            "(task.max_question_length + task.doc_stride + 4 special tokens + 1)"
        ],
    ),
    "positions with windows": (
        ["task=squad_v2", "prompt_length.value=60"],
        [
            "prompt_length.value: 60 + 197 tokens of text (task.max_question_length + task.doc_stride + 4 special "
            "tokens + 1) is more than the 256 positions of tiny_encoder; at most 59"
        ],
    ),
    "numbers of a task": (
        ["task=squad", "task.n_best=0", "task.doc_stride=-1", "task.max_answer_length=0"],
        [
            "task.doc_stride: -1 is too small; at least 0",
            "task.max_answer_length: 0 is too small; at least 1",
            "task.n_best: 0 is too small; at least 1",
        ],
    ),
    "type of a number of a task": (
        ["task=squad_v2", "task.null_threshold=low"],
        ["task.null_threshold: 'low' is not a valid number"],
    ),
    "metric of a task": (
        ["task=squad", "metric=exact"],
        ["metric: squad has no metric 'exact'; did you mean 'exact_match'?"],
    ),
    "tagging with a pattern": (
        ["task=conll03", "method/template=pattern"],
        ["method.template.name: task conll03 has no patterns; use method/template=plain or add a pattern to its yaml"],
    ),
    "pattern": (
        ["method/template=pattern", "method.template.name=pet9"],
        ["method.template.name: task rte has no pattern 'pet9'; did you mean 'pet4'?"],
    ),
    "pooler": (
        ["method.head.pooler=pretrained"],
        [
            "method.head.pooler: 'pretrained' needs a checkpoint with a pooler, but this one has none; "
            "did you mean 'trained'?"
        ],
    ),
    "nothing to train": (
        ["method=pattern_finetune", "method.tune=none"],
        ["method.tune: 'none' trains nothing with this head and no prompt; did you mean 'all'?"],
    ),
    "metric": (["metric=f1"], ["metric: rte has no metric 'f1'; one of: accuracy"]),
    "paper length": (
        ["prompt_length=paper"],
        [
            "prompt_length=paper: no published script for task rte with backbone tiny_encoder; known: "
            "boolq bert_large_cased, "
            "boolq roberta_large, conll03 roberta_large, conll04 bert_large_uncased, conll04 roberta_large, "
            "conll05 roberta_large, "
            "conll12 roberta_large, copa bert_large_cased, copa roberta_large, ontonotes bert_large_uncased, "
            "ontonotes roberta_large, rte bert_large_cased, rte roberta_large, squad roberta_large, "
            "squad_v2 roberta_large, "
            "wic bert_large_cased, wic roberta_large, wsc bert_large_cased, wsc roberta_large"
        ],
    ),
    "package": (
        ["method.prompt._target_=os.system"],
        ["method.prompt._target_: 'os.system' is in no allowed package (ptune); packages=[os] allows it"],
    ),
    "class": (
        ["method.prompt._target_=ptune.prompts.deep.Depp"],
        ["method.prompt._target_: 'ptune.prompts.deep' has no class 'Depp'; did you mean 'Deep'?"],
    ),
}


def problems(*overrides: str) -> list[str]:
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"), pytest.raises(ConfigError) as caught:
        build.settings(compose("train", overrides=[*TINY, *overrides]))
    return caught.value.problems


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    overrides, expected = CASES[name]
    assert problems(*overrides) == expected


def test_checking_changes_no_setting(settings) -> None:
    """What is checked has been settled, or is settled afterwards."""
    s = settings("task=rte", *TINY)
    s.metric, s.data.max_length = None, None
    before = asdict(s)
    assert [*check(s)] == []
    assert asdict(s) == before
    build.settle(s)
    assert (s.metric, s.data.max_length) == ("accuracy", 236)


def test_adafactor_as_it_is(settings) -> None:
    """Settings that AdamW has are no mistake where nobody set them, nor where they are written out."""
    for given in ((), ("optim.betas=[0.9,0.999]", "optim.eps=1e-8")):
        assert settings(*TINY, "optim=adafactor", *given).optim.name == "adafactor"
    assert settings(*TINY, "optim.betas=[0.8,0.9]", "optim.eps=1e-6").optim.eps == 1e-6


def test_a_verbalizer_needs_an_lm_head(tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 32,
    }
    with torch.random.fork_rng():
        BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "headless")
    assert problems("backbone=local", f"backbone.path={tmp_path / 'headless'}", "method=pattern_finetune") == [
        "method.head: a verbalizer reads the language-model head, but backbone headless has no weights for it; "
        "choose method/head=linear or a backbone that has them"
    ]


def test_an_electra_discriminator_has_no_lm_head() -> None:
    assert problems("backbone=electra_large", "method=pattern_finetune") == [
        "method.head: a verbalizer reads the language-model head, but backbone electra_large has no weights for it; "
        "choose method/head=linear or a backbone that has them"
    ]


UNKNOWN = {
    "train": (
        ("train", *TINY, "+data.max_trian=16", "+nonsense.of=mine", "+optim.lrr=1", "+data.demo.tran=3"),
        [
            "data.demo.tran: no such setting; did you mean 'train'?",
            "data.max_trian: no such setting; did you mean 'max_train'?",
            "optim.lrr: no such setting; did you mean 'lr'?",
            "nonsense: no such setting; one of: method, backbone, task, prompt_length, ",
        ],
    ),
    "data check": (
        ("data", "check", "task=cb", "data.root=.", "+pakages=[a]"),
        ["pakages: no such setting; did you mean 'packages'?"],
    ),
    "ls": (("ls", "+groop=method"), ["groop: no such setting; did you mean 'group'?"]),
    "eval": (("eval", "RUN", "data=demo", "+data.sed=1"), ["data.sed: no such setting; did you mean 'seed'?"]),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_settings_that_there_are_not(ptune, name: str) -> None:
    """Added with +, which no schema sees; what belongs to Hydra, and what leaves check themselves, stays open."""
    words, expected = UNKNOWN[name]
    code, _, err = ptune(*words)
    assert code == 2
    lines = err.splitlines()
    assert len(lines) == len(expected)
    assert all(line.startswith(said) for line, said in zip(lines, expected, strict=True))


def test_what_stays_open(ptune) -> None:
    code, out, err = ptune("ls", "tracker", "++hydra.verbose=false")
    assert (code, err) == (0, "")
    assert "wandb" in out
    code, _, err = ptune("data", "info", "task=cb", "data=demo", "data.demo.train=6", "+task.may_be_empty=[premise]")
    assert (code, err) == (0, "")
