"""`ptune export`: a finished run in another library's format, for use without ptune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ptune.config import Export
from ptune.errors import ConfigError, PtuneError, nearest
from ptune.progress import Progress, bracketed

if TYPE_CHECKING:
    from ptune.restore import Restored


KINDS = {  # readout -> PEFT's task type, and what transformers calls the layer there
    "sequence": ("SEQ_CLS", "classifier"),
    "choice": ("SEQ_CLS", "classifier"),  # a score a candidate
    "token": ("TOKEN_CLS", "classifier"),
    "span": ("QUESTION_ANS", "qa_outputs"),
}


def main(cfg: DictConfig) -> None:
    """Write the run to a new folder `out`."""
    from ptune.build import settings_of

    s = settings_of(cfg, Export)
    if s.format not in FORMATS:
        raise ConfigError([f"format: '{s.format}' is not a choice; {nearest(s.format, FORMATS)}"])
    out = Path(s.out)
    if out.is_file():
        raise PtuneError(f"out: {out} is a file; name a new folder")
    if out.exists() and any(out.iterdir()):
        raise PtuneError(f"out: {out} is not empty; name a new folder")
    from ptune.restore import restore

    run = restore(s.run, "cpu")
    refuse(run)
    FORMATS[s.format](run, out)
    Progress().say(f"written to {out}")


def refuse(run: Restored) -> None:
    """Raise PtuneError for what PEFT's prefix tuning cannot express."""
    prompt, head = run.settings.method["prompt"], run.settings.method["head"]
    layers = run.settings.backbone["layers"]
    wrong = []
    if "layers" not in prompt or prompt["layers"] != "all":
        wrong.append(f"a prompt in all {layers} layers (method/prompt=deep)")
    elif prompt["position_offset"] != "length":
        wrong.append("shifted text positions (method.prompt.position_offset=length)")
    if "pooler" not in head or (run.task.readout in ("sequence", "choice") and head["pooler"] != "pretrained"):
        wrong.append(
            "a linear head, on the checkpoint's own pooler where whole texts are classified "
            "(method.head.pooler=pretrained)"
        )
    if not run.model.backbone.cached:
        wrong.append("a backbone that takes past_key_values")
    if run.model.backbone.causal:
        wrong.append("an encoder, whose layer reads the first token")
    if run.settings.method["tune"] != "none":
        wrong.append("a frozen backbone (method.tune=none)")
    if wrong:
        raise PtuneError(f"format=peft: PEFT's prefix tuning has {'; '.join(wrong)}; this run has not")
    template: Any = run.model.member(0).template
    if run.task.readout == "span" and any(template.tokens.frames[2].types):
        raise PtuneError(
            "format=peft: PEFT's question answering leaves out token types, which "
            f"{run.settings.backbone['name']} has; a RoBERTa backbone has none"
        )


def peft(run: Restored, out: Path) -> None:
    """PEFT's PREFIX_TUNING adapter: prompt_embeddings [P, 2LAD], the linear layer, adapter_config.json and a card."""
    from safetensors.torch import save_file

    member: Any = run.model.member(0)
    shape, s = run.model.backbone.shape, run.settings
    kind, layer = KINDS[run.task.readout]
    tensors = {
        "prompt_embeddings": member.prompt.fold()["prefix"].contiguous(),
        f"base_model.{layer}.weight": member.head.linear.weight.detach().contiguous(),
        f"base_model.{layer}.bias": member.head.linear.bias.detach().contiguous(),
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "PREFIX_TUNING",
        "task_type": kind,
        "base_model_name_or_path": s.backbone.get("checkpoint") or s.backbone.get("path"),
        "revision": s.backbone.get("revision"),
        "num_virtual_tokens": member.prompt.length,
        "num_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "token_dim": shape.hidden,
        "encoder_hidden_size": shape.hidden,
        "num_transformer_submodules": 1,
        "prefix_projection": False,
        "inference_mode": True,
        "modules_to_save": [layer],
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(run), encoding="utf-8")


def card(run: Restored) -> str:
    """What the adapter is, in a page."""
    result = run.folder.read_json("result.json")
    labels = ", ".join(run.task.labels)
    synthetic = (
        "\n**Trained on synthetic data that ptune invented: a test fixture, not evidence about real language.**\n"
    )
    interval = f"95% interval {bracketed(result['interval'])}, " if result["interval"] else ""
    return (
        f"# {result['method']} on {result['task']} with {result['backbone']}\n"
        f"{synthetic if result['synthetic'] else ''}\n"
        f"{result['report_on']} {result['metric']}: {result['score']:.2f}, {interval}"
        f"majority class {result['majority']:.2f}; "
        f"selected on {result['select_on']}, seed {result['seed']}.\n\n"
        f"Labels, in the classifier's order: {labels}.\n\nWritten by ptune; load it with "
        "`PeftModel.from_pretrained` over the model that `adapter_config.json` names.\n"
    )


FORMATS = {"peft": peft}
