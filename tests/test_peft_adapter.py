"""Runs as adapters of PEFT: loaded over the same checkpoint without ptune, they give the same logits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ptune.errors import PtuneError
from ptune.evaluate import EVALUATION
from ptune.exports import peft_adapter
from ptune.runs.folder import RunFolder
from ptune.runs.restore import Restored

pytest.importorskip("peft", reason="the extra ptune[peft] is not installed")

WINDOWS = ("task.doc_stride=8", "task.max_question_length=12")
POOLED = "method/head=pooled"
LM = "method/head=generate"
FROZEN = ("method=ptuning", "method.tune=none", "prompt_length.value=3")
HELD = {
    "bert": [
        ("prefix-words", "method=ptv2", "task=conll03"),
        ("prefix-text", "method=ptv2", "task=rte", POOLED),
        ("soft-words", "method=prompt_tuning", "task=conll03"),
        ("lora-text", "method=lora", "task=rte", POOLED),
        ("lora-span", "method=lora", "task=squad", *WINDOWS),
        ("lora-mask", "method=pattern_finetune", "method.tune=lora", "task=rte"),
        ("ia3-text", "method=ia3", "task=rte", POOLED),
    ],
    "roberta": [
        ("prefix-words", "method=ptv2", "task=conll03"),
        ("prefix-text", "method=ptv2", "task=rte", POOLED),
        ("prefix-random-pooler", "method=ptv2", "task=rte", "method.head.pooler=random_frozen"),
        ("prefix-span", "method=ptv2", "task=squad", *WINDOWS),
        ("soft-span", "method=prompt_tuning", "task=squad", *WINDOWS),
        ("lora-dense-text", "method=lora", "task=rte", POOLED, "method.adapter.targets=[query,dense]"),
    ],
    "gpt2": [
        ("prefix-words", "method=ptv2", "task=conll03"),
        ("prefix-text", "method=ptv2", "task=rte"),
        ("prefix-span", "method=ptv2", "task=squad", *WINDOWS),
        ("prefix-written", "method=prefix_generate", "task=rte"),
        ("soft-text", "method=prompt_tuning", "task=rte"),
        ("soft-written", "method=prompt_tuning", LM, "task=rte"),
        ("pseudo-in-front", *FROZEN, "task=rte", "method/head=linear", "method/template=plain"),
        ("lora-text", "method=lora", "task=rte"),
        ("lora-written", "method=lora", LM, "task=rte"),
        ("ia3-words", "method=ia3", "task=conll03"),
    ],
}
ALSO = [
    ("t5", "method=lora", LM, "task=rte"),
    ("qwen3", "method=ptv2", "task=conll03"),
    ("albert", "method=lora", "task=conll03", "method.adapter.targets=[query,value]"),
]


REFUSED = [  # family, what the run is, what is said of it
    ("bert", ("method=bitfit", "task=conll03"), "a frozen backbone, or one tuned with lora or ia3 (method.tune); to="),
    ("bert", ("method=linear_probe", "task=conll03"), "a prompt, or a backbone tuned with lora or ia3; to="),
    (
        "bert",
        ("method=ptv2", "task=conll03", "method.prompt.layers=3-4", "method.tune=bias"),
        "a prompt in all 4 layers (method.prompt.layers=all); a frozen backbone, or one tuned with lora "
        "or ia3 (method.tune)",
    ),
    ("bert", ("method=ptv2", "task=conll03", "method.prompt.position_offset=none"), "shifted text positions"),
    ("bert", ("method=ptv2", "task=conll03", "method.tune=lora"), "either a prompt or lora, not both"),
    ("bert", ("method=ptv2", "task=rte", "method/template=pattern", "method/head=verbalizer"), "another head than the"),
    ("bert", ("method=ptv2", "task=squad", *WINDOWS), "PEFT's question answering leaves out token types, which bert"),
    ("bert", (*FROZEN, "task=rte", "method/head=linear"), "virtual tokens in front of everything, even [CLS]"),
    ("bert", ("method=prompt_tuning", "task=rte"), "virtual tokens before [CLS] and reads the first of them"),
    ("bert", ("method=lora", "task=rte"), "BertForSequenceClassification reads a text through a dense layer with tanh"),
    ("gpt2", ("method=lora", "task=rte", POOLED), "GPT2ForSequenceClassification reads a text without a dense layer"),
    (
        "distilbert",
        ("method=lora", "task=rte", POOLED, "method.adapter.targets=[q_lin]"),
        "has a layer of another kind before its last (pre_classifier)",
    ),
    ("electra", ("method=lora", "task=rte", POOLED), "has a layer of another kind before its last (no tanh)"),
    ("llama", ("method=lora", "task=rte"), "LlamaForSequenceClassification has no bias in its last layer"),
    ("t5", ("method=prefix_generate", "task=rte"), "for encoder-decoders PEFT export supports only LoRA or IA3"),
]


@pytest.fixture(scope="module")
def made(settings, request):
    """made(family, ...): settings on a tiny checkpoint."""

    def compose(family: str, *words: str):
        folder = request.getfixturevalue(f"{family}_folder")
        common = ("data=local", "data.root=.", "data.max_length=40", "prompt_length.value=3", "tracker=none")
        return settings(*common, "backbone=local", f"backbone.path={folder}", *words)

    return compose


@pytest.fixture
def run(made, wire):
    """run(family, ...): a run in memory whose every learned weight is drawn anew, and its examples."""

    def build(family: str, *words: str):
        s = made(family, *words)
        wired = wire(s)
        torch.manual_seed(7)
        with torch.no_grad():
            for name, parameter in wired.model.trained().items():
                parameter.copy_(torch.randn_like(parameter) * (0.05 if "lora" in name else 0.5))
        wired.model.eval()
        return Restored(s, wired.task, wired.model, RunFolder("none")), wired.rendered[0]

    return build


LOADS = """
import json, sys
sys.modules["ptune"] = None  # importing it fails
import torch, transformers
from peft import PeftModel
from safetensors.torch import load_file
for folder in sys.argv[1:]:
    told = json.load(open(f"{folder}/told.json"))
    kind = getattr(transformers, told["model"])
    model = PeftModel.from_pretrained(kind.from_pretrained(told["checkpoint"], **told["known"]), folder).eval()
    tensors = load_file(f"{folder}/batch.safetensors")
    logits = tensors.pop("logits")
    rows = [slice(i, i + 1) for i in range(len(tensors["input_ids"]))] if told["alone"] else [slice(None)]
    for row in rows:
        given = {name: tensor[row] for name, tensor in tensors.items()}
        if told["alone"]:
            given = {name: tensor[:, given["attention_mask"][0] > 0] for name, tensor in given.items()}
        with torch.no_grad():
            out = model(**given)
        out = torch.stack([out.start_logits, out.end_logits], -1) if "start_logits" in out else out.logits
        if out.dim() == 3:
            out = out[:, -given["input_ids"].shape[1] :][given["attention_mask"] > 0]
        torch.testing.assert_close(out, logits[row] if told["alone"] else logits, atol=1e-4, rtol=1e-4)
    print(folder)
"""


def states(run: Restored, batch) -> torch.Tensor:
    """The run's logits at every token, whatever a row is read at; of texts one row each."""
    head, skipped = run.model.member(0).head, batch.slots.shape[1]
    with torch.no_grad(), run.model.hidden([(0, batch)]) as ((_, hidden, _),):
        if head.lm or head.reads == "cls":
            return peft_adapter.logits_of(run, batch)
        return head.linear(hidden.states[:, skipped:][batch.mask[:, skipped:]])


def hand_over(run: Restored, rendered, adapter: peft_adapter.Adapter, family: str, out: Path) -> None:
    """Leave what a program without ptune needs beside an adapter: the rows, the run's logits, and how to load it."""
    head = run.model.member(0).head
    batch = rendered.batch(range(len(rendered.examples)), EVALUATION, "eval")
    batch.output = batch.output[:, :0]
    given = {"input_ids": batch.ids, "attention_mask": batch.mask.long()}
    known = {} if head.lm else {"num_labels": head.linear.out_features}
    if family == "bert":
        given["token_type_ids"] = batch.types
    if family == "gpt2" and adapter.task == "SEQ_CLS":
        known["pad_token_id"] = peft_adapter.padding(run)
        given["input_ids"] = batch.ids.masked_fill(~batch.mask, known["pad_token_id"])
    given = {key: tensor[:, batch.slots.shape[1] :].contiguous() for key, tensor in given.items()}
    save_file({**given, "logits": states(run, batch).contiguous()}, out / "batch.safetensors")
    told = {"model": adapter.model, "checkpoint": run.settings.backbone["path"], "known": known, "alone": adapter.alone}
    (out / "told.json").write_text(json.dumps(told))


@pytest.mark.parametrize("most", [1, pytest.param(None, marks=pytest.mark.slow)])  # of a family
def test_peft_gives_the_same_logits(run, tmp_path, most):
    """Of prompts and adapters, of words, texts, answers and language models: in a program without ptune."""
    folders = []
    for family, runs in HELD.items():
        for name, *words in runs[:most]:
            restored, rendered = run(family, *words)
            out = tmp_path / f"{family}-{name}"
            adapter = peft_adapter.write(restored, rendered.examples, out)
            assert adapter.worst < 1e-4
            assert sorted(path.name for path in out.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
            hand_over(restored, rendered, adapter, family, out)
            folders.append(str(out))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", LOADS, *folders], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == folders, done.stderr[-2000:]


@pytest.mark.parametrize("words", ALSO)
def test_further_families(run, words, tmp_path):
    """What is compared as it is written: grouped heads, a decoder beside the encoder, layers that are one."""
    family, *words = words
    restored, rendered = run(family, *words)
    assert peft_adapter.write(restored, rendered.examples, tmp_path / "out").worst < 1e-4


@pytest.mark.parametrize(("family", "words", "said"), REFUSED)
def test_what_peft_cannot_hold_is_told_why(run, family, words, said, tmp_path):
    restored, rendered = run(family, *words)
    with pytest.raises(PtuneError) as caught:
        peft_adapter.write(restored, rendered.examples, tmp_path / "out")
    assert said in str(caught.value)
    assert str(caught.value).startswith("to=peft: ")
    assert str(caught.value).endswith("; to=folder keeps everything")
    assert not (tmp_path / "out").exists()


def test_logits_that_differ_are_refused(run, tmp_path):
    """Whatever the reason, as a checkpoint that is another one by now."""
    restored, rendered = run("bert", "method=ptv2", "task=conll03")
    with torch.no_grad():
        restored.model.backbone.base.embeddings.word_embeddings.weight[20:].normal_()
    with pytest.raises(
        PtuneError, match=r"to=peft: PEFT does not reproduce this run: logits of up to .* differ by up to"
    ):
        peft_adapter.write(restored, rendered.examples, tmp_path / "out")
