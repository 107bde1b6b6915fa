"""P-Tuning (arXiv 2103.10385) as published: anchors and slots of each SuperGLUE task, its encoders, its two rates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoTokenizer

from ptune import build
from ptune.batch import Draw, Example
from ptune.errors import ConfigError
from ptune.leaves import leaf
from ptune.prompts.pseudo import Pseudo
from ptune.templates.pattern import Pattern, default_pattern, numbers
from ptune.tokens import Tokens

ROOT = Path(__file__).parents[1]
FIELDS = {
    "boolq": {"question": "does anna live in oslo", "passage": "Anna lives in Oslo"},
    "cb": {"premise": "The dog sleeps.", "hypothesis": "the dog is old"},
    "rte": {"premise": "The dog sleeps.", "hypothesis": "The dog sleeps."},
    "wic": {"sentence1": "The mill stands.", "sentence2": "A mill is old.", "word": "mill"},
    "multirc": {"paragraph": "Anna lives in Oslo", "question": "where is anna", "answer": "oslo"},
    "copa": {"premise": "The dog slept.", "question": " because", "choice1": "He ran.", "choice2": "She sat."},
    "copa_effect": {"premise": "The dog slept.", "question": ", so", "choice1": "He ran.", "choice2": "She sat."},
    "wsc": {"marked": "Mark thanked *him*.", "pronoun": "him"},
}
PUBLISHED = {  # [P] is a pseudo token, _ the mask
    ("boolq", "ptuning"): "[CLS] anna lives in oslo. [P] question: does anna live in oslo? answer: _. [SEP]",
    ("cb", "ptuning"): "[CLS] the dog sleeps. [SEP] the dog is old? [P] answer: _ [SEP]",
    ("rte", "ptuning"): "[CLS] the dog sleeps. question: the dog sleeps? [P] answer: _. [SEP]",
    ("wic", "ptuning"): "[CLS] the mill stands. [SEP] a mill is old. [P] * mill *? _ [SEP]",
    ("wic", "ptuning2"): "[CLS] the mill stands. [SEP] a mill is old. [P] * mill *? [P] _ [SEP]",
    ("wic", "ptuning3"): "[CLS] [P] the mill stands. [SEP] a mill is old. [P] * mill *? [P] _ [SEP]",
    ("wic", "ptuning4"): "[CLS] [P] the mill stands. [SEP] a mill is old. [P] * mill *? [P] _ [P] [SEP]",
    ("multirc", "ptuning"): "[CLS] anna lives in oslo. question: where is anna? is it oslo? [P] _. [SEP]",
    ("copa", "ptuning"): "[CLS] he ran or she sat? the dog slept because [P] _. [SEP]",
    ("copa_effect", "ptuning"): "[CLS] he ran or she sat? the dog slept so [P] _. [SEP]",
    ("wsc", "ptuning"): "[CLS] [P] mark thanked * him *. [P] pronoun ' * him * ' refers to _. [SEP]",
    ("wsc", "ptuning1"): "[CLS] mark thanked * him *. [P] pronoun ' * him * ' refers to _. [SEP]",
}


def patterns(task: str) -> dict[str, dict[str, str]]:
    return yaml.safe_load((ROOT / f"conf/task/{task}.yaml").read_text(encoding="utf-8"))["patterns"]


@pytest.mark.parametrize(("task", "name"), PUBLISHED)
def test_slots_and_anchors_are_the_published_ones(settings, task, name):
    own = task.partition("_")[0]
    s = settings("method=ptuning", f"task={own}", f"method.template.name={name}", "data=demo", "backbone=tiny_encoder")
    count = s.prompt_length.value
    assert count == PUBLISHED[task, name].count("[P]") == s.method["prompt"]["length"]
    tokens = leaf(s.backbone).tokens()
    template = Pattern(tokens, list(FIELDS[task]), patterns(own), name, slots=count, mask=True)
    row = template.rows(template.parts(0, Example("0", FIELDS[task]), None), Draw(0, 0), 64)[0]
    shown = ["[P]" if i in row.slots else tokens.tokenizer.decode([id]) for i, id in enumerate(row.ids)]
    text = " ".join("_" if token == "[MASK]" else token for token in shown).replace(" ##", "")
    for mark in ".,?:":
        text = text.replace(f" {mark}", mark)
    assert text == PUBLISHED[task, name]


@pytest.mark.parametrize(
    ("more", "count"),
    [([], 1), (["prompt_length=short"], 8), (["prompt_length.value=5"], 5), (["experiment=demo"], 20)],
)
def test_the_number_is_the_patterns_unless_it_is_given(settings, more, count):
    assert settings("task=boolq", "method=ptuning", "data=demo", *more, "task=rte").prompt_length.value == count


@pytest.mark.parametrize(("backbone", "count"), [("encoder", 9), ("causal", 6), ("encoder_decoder", 6)])
def test_the_number_is_that_of_the_pattern_that_is_taken(settings, backbone, count):
    s = settings("task=lama", "method=ptuning", "data=demo", f"backbone=tiny_{backbone}")
    assert s.prompt_length.value == count
    made = leaf(s.task)
    template = Pattern(leaf(s.backbone).tokens(), made.fields, made.patterns, slots=count, mask=True)
    assert template.shares == numbers(made.patterns[template.name]["text"])


def test_every_task_of_labels_with_patterns_has_one_for_pseudo_tokens():
    """And by it P-Tuning's number of them, not that of another method's pattern."""
    tasks = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "conf/task").glob("*.yaml"))]
    labeled = [task for task in tasks if task.get("verbalizers")]
    assert len(labeled) > 20
    for task in labeled:
        assert default_pattern(task["patterns"], 1, "ptuning") == "ptuning", task["name"]


@pytest.mark.parametrize(
    ("method", "task", "name"),
    [
        ("ptuning", "sst2", "ptuning"),
        ("autoprompt", "sst2", "autoprompt"),
        ("lmbff", "rte", "lmbff"),
        ("lmbff", "cb", "pet0"),  # which has none of its own
        ("pattern_finetune", "rte", "pet0"),
    ],
)
def test_a_method_takes_the_pattern_of_its_own_paper(settings, method, task, name):
    s = settings(f"method={method}", f"task={task}", "data=demo", "backbone=tiny_encoder")
    made, backbone = leaf(s.task), leaf(s.backbone)
    template, _ = build.surroundings(s, made, backbone, backbone.tokens())
    assert template.name == name


def test_the_name_of_patterns_is_a_word(settings):
    with pytest.raises(ConfigError) as caught:
        settings("method=lmbff", "task=rte", "data=demo", "backbone=tiny_encoder", "method.patterns=5")
    assert caught.value.problems == [
        "method.patterns: 5 is not a name, such as ptuning for patterns ptuning, ptuning2, ..."
    ]


def test_a_task_without_places_for_pseudo_tokens_asks_for_a_number(settings):
    with pytest.raises(ConfigError) as caught:
        settings("method=ptuning", "task=record", "data=demo", "backbone=tiny_encoder")
    assert caught.value.problems == [
        "prompt_length.value: no pattern gives one; must be a number of virtual tokens, such as prompt_length.value=20"
    ]


def test_numbers_of_marks(bert_folder):
    """As many as the marks say stand as they say; others are shared out."""
    text = "{prompt} {premise} {prompt:3} {mask}"
    assert numbers(text) == [1, 3]
    tokens = Tokens(AutoTokenizer.from_pretrained(str(bert_folder)))
    shares = [Pattern(tokens, ["premise"], {"p": {"text": text}}, slots=n).shares for n in (4, 5, 6)]
    assert shares == [[1, 3], [3, 2], [3, 3]]


# The encoder


def run(wire, settings, bert_folder, *more):
    s = settings(
        "method=ptuning", "task=rte", "backbone=local", f"backbone.path={bert_folder}", "data=local", "data.root=.",
        "data.max_length=40", "batch_size=4", "max_steps=2", "tracker=none", *more,
    )  # fmt: skip
    return wire(s)


def slot_gradients(wired):
    """Of what stands in the slots, [S, E]."""
    member = wired.model.member(0)
    kept = []
    forward = Pseudo.forward

    def watched(self, index):
        injection = forward(self, index)
        injection.slots.retain_grad()
        kept.append(injection.slots)
        return injection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pseudo, "forward", watched)
        with wired.model.losses([(0, wired.rendered[0].batch(range(8), Draw(0, 0), "train"))]) as losses:
            losses[0][0].backward()
    return kept[0].grad[0], {name: p.grad for name, p in member.prompt.named_parameters()}


@pytest.mark.parametrize("encoder", ["lstm", "lstm_half", "mlp", "none"])
def test_gradients_reach_the_encoder_through_all_slots(wire, settings, bert_folder, encoder):
    text = "task.patterns.ptuning.text='{prompt:2} {premise} {prompt} {hypothesis} {prompt:3} {mask}'"
    wired = run(wire, settings, bert_folder, text, f"method.prompt.encoder={encoder}")
    assert wired.model.member(0).prompt.length == 6
    slots, parameters = slot_gradients(wired)
    assert (slots.abs().sum(1) > 0).all()
    assert (parameters["table"].abs().sum(1) > 0).all()
    assert all(grad is not None and grad.abs().sum() > 0 for grad in parameters.values())


@pytest.mark.parametrize("encoder", ["lstm", "lstm_half", "mlp"])
def test_the_encoder_folds_to_the_same_logits(wire, settings, bert_folder, encoder):
    wired = run(wire, settings, bert_folder, "prompt_length.value=4", f"method.prompt.encoder={encoder}")
    wired.fit()
    wired.model.eval()
    batch = wired.rendered[0].batch(range(8), Draw(0, 0), "eval")
    before = np.stack([output.scores for output in wired.model.outputs(0, batch)])
    stored = {name: tensor.clone() for name, tensor in wired.model.stored().items()}
    assert [name for name in stored if name.startswith("prompt.")] == ["prompt.embeddings"]
    wired.model.load_stored(stored)
    prompt = wired.model.member(0).prompt
    assert (prompt.lstm, prompt.mlp) == (None, None)
    after = np.stack([output.scores for output in wired.model.outputs(0, batch)])
    np.testing.assert_allclose(after, before, atol=1e-5, rtol=0)


def test_the_encoder_ties_pseudo_tokens_together():
    """What the BiLSTM is for: one token's embedding moves the others, which the MLP alone leaves where they are."""
    from test_prompts import SHAPE

    for encoder, tied in (("lstm", True), ("lstm_half", True), ("mlp", False), ("none", False)):
        torch.manual_seed(0)
        prompt = Pseudo(SHAPE, 3, encoder)
        with torch.no_grad():
            before = prompt.encoded().clone()
            prompt.table[1] += 1
            moved = (prompt.encoded() - before).abs().sum(1) > 0
        assert moved.tolist() == [tied, True, tied], encoder


def test_two_rates_and_a_frozen_backbone(wire, settings, bert_folder):
    wired = run(wire, settings, bert_folder)
    groups = wired.runs[0].stepper.optimizer.param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    trained = wired.runs[0].trained
    assert {rates[id(p)] for name, p in trained.items() if name.startswith("prompt.")} == {1e-4}
    assert {rates[id(p)] for name, p in trained.items() if name.startswith("backbone.")} == {1e-5}
    frozen = run(wire, settings, bert_folder, "method.tune=none").runs[0].trained
    assert {name.partition(".")[0] for name in frozen} == {"prompt"}


@pytest.mark.parametrize("task", ["boolq", "cb", "rte", "wic", "multirc"])
def test_every_task_runs_on_32_examples_and_on_all(ptune, monkeypatch, tmp_path, task):
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    common = (
        "method=ptuning", f"task={task}", "data=demo", "backbone=tiny_encoder", "tracker=none", "max_steps=2",
        "batch_size=4", "data.demo.train=8", "data.demo.dev=6", "data.demo.test=6", "data.max_length=128",
    )  # fmt: skip
    for folder, layout in (("full", []), ("few", ["data.layout=fewglue_32dev"])):
        code, _, err = ptune("train", *common, *layout, f"hydra.run.dir={folder}")
        assert code == 0, err
        found = json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))
        assert (found["prompt_length"], found["tune"]) == (1, "all")
        assert found["data"].get("layout") == ("fewglue_32dev" if layout else None)
        assert (found["select_on"], found["report_on"]) == ("dev", "test" if layout else "dev")


def test_experiments_are_the_published_scripts(settings):
    steps = {"boolq": 250, "cb": 250, "multirc": 250, "rte": 3500, "wic": 3500}
    for task, count in steps.items():
        s = settings(f"experiment=ptuning_{task}_albert")
        assert (s.max_steps, s.batch_size, s.method["tune"], s.optim.backbone_lr) == (count, 16, "all", 1e-5)
        assert (s.data.layout, s.prompt_length.value, s.eval_every, s.patience) == ("fewglue_32dev", 1, 20, 10)
        assert s.ties == "last"
    s = settings("experiment=ptuning_lama_bert", "task.source.relations=[P19]")
    assert (s.method["tune"], s.prompt_length.value, s.optim.lr, s.optim.gamma) == ("none", 9, 1e-5, 0.98)
    assert (s.optim.name, s.optim.weight_decay, s.ties) == ("adam", 5e-4, "last")
    assert build.leaf(s.task).readout == "word"
    sweep = yaml.safe_load((ROOT / "conf/experiment/ptuning_lama_bert.yaml").read_text(encoding="utf-8"))
    relations = sweep["hydra"]["sweeper"]["params"]["task.source.relations"].split(",")
    assert len(set(relations)) == 41 == leaf(s.task).source["statistics"]["relations"]["test"]
