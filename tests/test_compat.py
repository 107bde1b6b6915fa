"""`compat=ptv2_official`: each key changes what its row says and nothing else; paper prompt lengths."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from ptune import build
from ptune.config import Compat
from ptune.errors import ConfigError

METHODS = (
    "autoprompt",
    "bilstm",
    "bitfit",
    "finetune",
    "ia3",
    "linear_probe",
    "lora",
    "majority",
    "pattern_finetune",
    "prefix",
    "prompt_tuning",
    "ptuning",
    "ptv2",
    "tfidf_nb",
    "zero_shot",
)
PROMPTLESS = (
    "bilstm",
    "bitfit",
    "finetune",
    "ia3",
    "linear_probe",
    "lora",
    "majority",
    "pattern_finetune",
    "tfidf_nb",
    "zero_shot",
)

ROWS = [
    # row, what stands on the command line, the key, what changes
    (
        "A1",
        "method=ptv2 method.prompt.position_offset=none data.max_length=100",
        "position_offset=length",
        {"method.prompt.position_offset": ("none", "length")},
    ),
    (
        "A1 caps the text",
        "method=ptv2 task=conll03 task.max_length=512 method.prompt.position_offset=none",
        "position_offset=length",
        {"method.prompt.position_offset": ("none", "length"), "data.max_length": (512, 492)},
    ),
    ("A1 without a deep prompt", "method=prompt_tuning", "position_offset=length", {}),
    (
        "A2 BERT",
        "method=ptv2 backbone=bert_large_cased",
        "pooler=published",
        {"method.head.pooler": ("none", "pretrained")},
    ),
    (
        "A2 RoBERTa",
        "method=ptv2 backbone=roberta_large",
        "pooler=published",
        {"method.head.pooler": ("none", "random_frozen")},
    ),
    (
        "A2 DeBERTa",
        "method=ptv2 backbone=deberta_xlarge",
        "pooler=published",
        {"method.head.pooler": ("none", "trained"), "method.head.activation": ("tanh", "gelu")},
    ),
    ("A2 fine-tuning", "method=finetune backbone=roberta_large", "pooler=published", {}),
    ("A2 verbalizer", "method=pattern_finetune", "pooler=published", {}),
    (
        "A3",
        "method=ptv2 method.prompt.init_std=0.5",
        "init_std=0.02",
        {"method.prompt.init_std": (0.5, 0.02)},
    ),
    (
        "A3 PT",
        "method=prompt_tuning",
        "init_std=0.03",
        {"method.prompt.init": ("vocabulary", "normal"), "method.prompt.init_std": (0.02, 0.03)},
    ),
    ("A3 not P-Tuning", "method=ptuning", "init_std=0.02", {}),
    (
        "A4",
        "method=ptv2",
        "dropout=0.2",
        {
            "backbone.dropout": (None, 0.2),
            "method.prompt.dropout": (0.0, 0.2),
            "method.head.dropout": (0.1, 0.2),
        },
    ),
    (
        "A4 answers",
        "method=ptv2 task=squad",
        "dropout=0.2",
        {
            "backbone.dropout": (None, 0.2),
            "method.prompt.dropout": (0.0, 0.2),
            "method.head.dropout": (0.1, 0.0),
        },
    ),
    ("A4 answers, fine-tuned", "method=finetune task=squad", "dropout=0.2", {"method.head.dropout": (0.1, 0.0)}),
    (
        "batches",
        "method=finetune",
        "batches=published",
        {"loss.normalize": ("constant", "batch"), "data.bucket": (True, False)},
    ),
    (
        "A4 not prompt tuning",
        "method=prompt_tuning",
        "dropout=0.2",
        {},
    ),
    ("A5", "method=finetune task=conll03", "freeze_finetune=true", {"method.tune": ("all", "none")}),
    ("A5 not RTE", "method=finetune task=rte", "freeze_finetune=true", {}),
    ("A5 not P-Tuning v2", "method=ptuning task=rte", "freeze_finetune=true", {}),
    (
        "A6",
        "method=prompt_tuning",
        "double_embedding=true",
        {"method.prompt.double_embedding": (False, True)},
    ),
    ("A5 answers", "method=finetune task=squad", "freeze_finetune=true", {"method.tune": ("all", "none")}),
    ("A6 not P-Tuning v2", "method=ptv2", "double_embedding=true", {}),
    ("A7 RTE", "method=ptv2 task=rte", "selection=published", {"report_on": (None, "dev")}),
    (
        "A7 NER",
        "method=ptv2 task=conll03 select_on=train",
        "selection=published",
        {"select_on": ("train", "dev"), "report_on": (None, "test")},
    ),
    (
        "A10 RTE",
        "method=ptv2 task=rte",
        "max_length=published",
        {"task.max_length": (256, 128), "data.max_length": (256, 128)},
    ),
    (
        "A10 NER",
        "method=ptv2 task=conll03",
        "max_length=published",
        {"task.max_length": (256, 512), "data.max_length": (256, 492)},
    ),
    ("A10 a length that is given", "method=ptv2 task=rte data.max_length=77", "max_length=published", {}),
    (
        "A10 tags are cut",
        "method=ptv2 task=conll03",
        "overflow=published",
        {"data.overflow": ("window", "truncate")},
    ),
    ("A10 roles are cut", "task=conll05", "overflow=published", {"data.overflow": ("window", "truncate")}),
    ("A10 answers keep their windows", "method=ptv2 task=squad", "overflow=published", {}),
    (
        "A8",
        "task=conll05",
        "predicate=published",
        {"task.predicate": ("marked", "literal")},
    ),
    (
        "A14",
        "method=ptv2 backbone=deberta_v3_base task=conll03",
        "padding=published",
        {"backbone.embed_pads": (None, True)},
    ),
    ("A14 without a prefix", "method=finetune backbone=deberta_v3_base", "padding=published", {}),
    ("A14 not DeBERTa v1", "method=ptv2 backbone=deberta_xlarge", "padding=published", {}),
    ("A11", "method=ptv2 task=cb metric=f1_macro", "metric=published", {"metric": ("f1_macro", "accuracy")}),
    (
        "A12 SuperGLUE",
        "method=ptv2 task=rte optim.schedule=constant",
        "schedule=published",
        {"optim.schedule": ("constant", "linear")},
    ),
    (
        "A12 NER",
        "method=ptv2 task=conll03 optim.gamma=0.9",
        "schedule=published",
        {"optim.schedule": ("linear", "exponential"), "optim.gamma": (0.9, 0.95)},
    ),
    (
        "a task of others",
        "method=ptv2 task=wnut17",
        "selection=published compat.max_length=published compat.metric=published compat.schedule=published",
        {},
    ),
]


def flat(values, prefix=""):
    """Every setting by its dotted key."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def changed(before, after):
    """What differs, besides the compat node itself."""
    one, other = flat(asdict(before)), flat(asdict(after))
    return {
        key: (one.get(key), other.get(key))
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key) and not key.startswith("compat.")
    }


@pytest.mark.parametrize(("line", "key", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_key_changes_what_its_row_says_and_only_that(settings, line, key, expected):
    plain = settings(*line.split())
    quirk = settings(*line.split(), *f"compat.{key}".split())
    assert changed(plain, quirk) == expected


def test_the_bundle_sets_every_key(settings):
    bundle, none = settings("compat=ptv2_official").compat, settings("compat=none").compat
    assert all(getattr(bundle, field.name) for field in fields(Compat))
    assert none == Compat()


@pytest.mark.parametrize("method", METHODS)
def test_the_bundle_goes_with_every_method(settings, method):
    whole = ("autoprompt", "pattern_finetune", "ptuning", "tfidf_nb", "zero_shot")
    for task in ("rte", "conll03") if method not in whole else ("cb",):
        settings(f"method={method}", f"task={task}", "compat=ptv2_official")


def test_the_bundle_is_the_published_recipe(settings):
    s = settings("compat=ptv2_official", "method=ptv2", "task=rte", "backbone=bert_large_cased", "prompt_length=paper")
    assert s.prompt_length.value == 20
    assert s.method["head"]["pooler"] == "pretrained"
    assert (s.method["prompt"]["dropout"], s.method["head"]["dropout"], s.backbone["dropout"]) == (
        0.1,
        0.1,
        0.1,
    )
    assert (s.select_on, s.report_on, s.data.max_length, s.optim.schedule) == ("dev", "dev", 128, "linear")


@pytest.mark.parametrize(("name", "length", "epochs"), [("squad", 16, 30), ("squad_v2", 8, 10)])
def test_the_published_recipes_for_answers(settings, name, length, epochs):
    s = settings(f"experiment=ptv2_{name}_roberta")
    assert (s.task["name"], s.prompt_length.value, s.optim.lr, s.batch_size, s.epochs) == (
        name,
        length,
        5e-3,
        8,
        epochs,
    )
    assert (s.method["prompt"]["dropout"], s.method["head"]["dropout"], s.backbone["dropout"]) == (0.2, 0.0, 0.2)
    assert (s.data.max_length, s.task["doc_stride"], s.optim.schedule, s.seed) == (384, 128, "exponential", 11)
    assert (s.select_on, s.report_on, s.metric, s.data.overflow) == ("dev", "dev", "f1", "window")


@pytest.mark.parametrize(
    ("name", "task", "backbone", "lr", "batch_size", "epochs", "length", "dropout", "seed"),
    [
        ("conll04_bert", "conll04", "bert_large_uncased", 2e-2, 32, 40, 128, 0.2, 11),
        ("conll04_roberta", "conll04", "roberta_large", 6e-2, 32, 80, 144, 0.1, 11),
        ("ontonotes_bert", "ontonotes", "bert_large_uncased", 1e-2, 16, 30, 16, 0.1, 11),
        ("ontonotes_roberta", "ontonotes", "roberta_large", 7e-3, 16, 60, 48, 0.1, 14),
        ("conll05_roberta", "conll05", "roberta_large", 6e-3, 16, 15, 224, 0.1, 11),
        ("conll12_roberta", "conll12", "roberta_large", 5e-3, 32, 45, 64, 0.1, 11),
        ("conll12_bert", "conll12", "roberta_large", 5e-3, 16, 45, 128, 0.1, 11),
    ],
)
def test_the_published_recipes_for_columns(
    settings, name, task, backbone, lr, batch_size, epochs, length, dropout, seed
):
    """Text is what 512 positions leave beside the prompt; roles are selected by seqeval's F1, predicates appended."""
    s = settings(f"experiment=ptv2_{name}")
    roles = task in ("conll05", "conll12")
    assert (s.task["name"], s.backbone["name"], s.experiment) == (task, backbone, f"ptv2_{name}")
    assert (s.optim.lr, s.batch_size, s.epochs, s.prompt_length.value, s.seed) == (lr, batch_size, epochs, length, seed)
    assert (s.method["prompt"]["dropout"], s.method["head"]["dropout"], s.backbone["dropout"]) == (dropout,) * 3
    assert (s.data.max_length, s.optim.schedule, s.optim.gamma) == (512 - length, "exponential", 0.95)
    assert (s.select_on, s.report_on, s.metric) == ("dev", "test", "f1_seqeval" if roles else "f1")
    assert s.task.get("predicate") == ("literal" if roles else None)
    assert s.data.overflow == "truncate"


def test_a_double_embedding_reaches_the_backbone(settings, bert_folder, wire):
    line = [
        "method=prompt_tuning",
        "backbone=local",
        f"backbone.path={bert_folder}",
        "data.max_length=40",
        "prompt_length.value=3",
        "batch_size=8",
        "max_steps=1",
        "method.head.dropout=0",
    ]
    plain, doubled = wire(settings(*line)), wire(settings(*line, "compat.double_embedding=true"))
    for wired in (plain, doubled):
        wired.fit()
    assert plain.losses()[0] != pytest.approx(doubled.losses()[0], rel=1e-4)


# Prompt lengths


@pytest.mark.parametrize(
    ("task", "backbone", "length"),
    [
        ("rte", "bert_large_cased", 20),
        ("rte", "roberta_large", 128),
        ("conll03", "roberta_large", 11),
        ("conll12", "roberta_large", 64),
    ],
)
def test_paper_lengths(settings, task, backbone, length):
    s = settings("method=ptv2", f"task={task}", f"backbone={backbone}", "prompt_length=paper")
    assert s.prompt_length.value == s.method["prompt"]["length"] == length


def test_a_pair_without_a_script_lists_the_known_ones(settings):
    with pytest.raises(ConfigError) as caught:
        settings("method=ptv2", "task=cb", "backbone=roberta_large", "prompt_length=paper")
    (text,) = caught.value.problems
    assert text.startswith(
        "prompt_length=paper: no published script for task cb with backbone roberta_large; "
        "known: boolq bert_large_cased, "
    )
    assert text.endswith("wsc bert_large_cased, wsc roberta_large")
    assert text.count(",") == 18  # nineteen pairs: conll12 has two scripts for one


@pytest.mark.parametrize("method", PROMPTLESS)
def test_methods_without_a_prompt_have_no_length(settings, method):
    found = [settings(f"method={method}", f"prompt_length={name}") for name in ("short", "paper")]
    found.append(settings(f"method={method}", "prompt_length.value=7"))
    assert {(s.prompt_length.value, s.prompt_length.lookup) for s in found} == {(None, None)}
    assert len({build.identity(s) for s in found}) == 1


@pytest.mark.parametrize(("task", "pooler"), [("copa", "pretrained"), ("rte", "trained")])
def test_a_frozen_fine_tuning_trains_no_pooler(settings, task, pooler):
    """The published baseline of COPA freezes all of the library's model, of which BERT's pooler is a part."""
    s = settings("method=finetune", f"task={task}", "backbone=bert_large_cased", "compat=ptv2_official")
    assert (s.method["head"]["pooler"], s.method["tune"]) == (pooler, "none" if task == "copa" else "all")


def test_a_length_makes_another_run(settings):
    runs = [settings("method=ptv2", f"prompt_length.value={n}") for n in (7, 8)]
    assert build.identity(runs[0]) != build.identity(runs[1])
    assert build.identity(runs[0]) == build.identity(settings("method=ptv2", "prompt_length.value=7", "quiet=true"))


@pytest.mark.parametrize("length", [0, -20])
def test_a_length_of_nothing_is_refused(settings, length):
    with pytest.raises(ConfigError) as caught:
        settings("method=ptv2", f"prompt_length.value={length}")
    assert caught.value.problems == [
        f"prompt_length.value: {length} is too small; at least 1, or no prompt with method=linear_probe"
    ]
