"""A finished run as an adapter of the PEFT library that gives the same logits there, or the reasons why there is none.

What PEFT and transformers' models with heads can hold is read off their modules; then the adapter is loaded as anybody
would load it, and its logits are compared with the run's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptune.adapters import ADAPTERS
from ptune.batch import EVERY, Batch, Example
from ptune.data.rendered import Rendered
from ptune.errors import PtuneError
from ptune.evaluate import EVALUATION
from ptune.runs.restore import Restored

CURE = "; to=folder keeps everything"
TOLERANCE = 1e-4  # of the largest logit; what is computed in another order differs by a hundredth of that
READ = {  # what a linear head reads -> PEFT's task type, and transformers' model
    "cls": ("SEQ_CLS", "AutoModelForSequenceClassification"),
    "words": ("TOKEN_CLS", "AutoModelForTokenClassification"),
    "context": ("QUESTION_ANS", "AutoModelForQuestionAnswering"),
}


@dataclass
class Adapter:
    """prompt: "prefix" of all layers, "front" for embeddings before the text, None; task, model: see READ, task None
    where PEFT just wraps the model; head: tensors by their names in the model; saved: the modules that they make up;
    alone: whether a text has to be read by itself; worst: the largest difference of a logit, examples: among so many.
    """

    prompt: str | None
    task: str | None
    model: str
    head: dict[str, Tensor] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)
    alone: bool = False
    worst: float = 0.0
    examples: int = 0


def write(run: Restored, examples: Sequence[Example], out: Path) -> Adapter:
    """Write adapter_config.json and adapter_model.safetensors into the folder `out`.

    Raises PtuneError with the reasons where PEFT cannot hold the run, and where its logits are others than the run's
    on `examples`.
    """
    try:
        import peft
    except ImportError:
        raise PtuneError("to=peft: needs the PEFT library: pip install 'ptune[peft]'") from None
    from safetensors.torch import save_file

    rendered = Rendered(examples, run.task, run.model.member(run.member).template, run.settings.data.tokens)
    batch = rendered.batch(range(len(examples)), EVALUATION, "eval")
    adapter = refuse(run, batch)
    base = plain_model(run, adapter)
    if not head_of(run).lm:
        read_head(run, base, adapter)
    config, tensors = as_prompt(run, adapter) if adapter.prompt else as_tuner(run, base)
    config.task_type, config.modules_to_save, config.inference_mode = adapter.task, adapter.saved or None, True
    s = run.settings
    config.base_model_name_or_path = s.backbone.get("checkpoint") or s.backbone.get("path")
    config.revision = s.backbone.get("revision")
    inner = "base_model." if adapter.prompt else "base_model.model."
    tensors |= {inner + name: tensor for name, tensor in adapter.head.items()}
    out.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(out))
    weights = {name: tensor.detach().cpu().float().contiguous().clone() for name, tensor in tensors.items()}
    save_file(weights, out / "adapter_model.safetensors", metadata={"format": "pt"})
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks transformers 5.23 a question by its old name.
            warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
            loaded = peft.PeftModel.from_pretrained(base, str(out)).eval()
        adapter.worst, adapter.examples = compare(run, adapter, batch, loaded), len(examples)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PtuneError(f"to=peft: PEFT cannot run it ({first(error)}){CURE}") from error
    return adapter


def refuse(run: Restored, batch: Batch | None = None) -> Adapter:
    """How PEFT could hold a run whose rows are as `batch`, None where they are not known yet.

    Raises PtuneError with all reasons why it cannot.
    """
    member, backbone, s = run.model.member(run.member), run.model.backbone, run.settings
    tune, head = s.method["tune"], head_of(run)
    wrong: list[str] = []
    folded = set(member.prompt.fold())
    prompt = {frozenset({"prefix"}): "prefix", frozenset({"embeddings"}): "front"}.get(frozenset(folded))
    if folded and prompt is None:
        wrong.append(
            f"a prompt of embeddings alone or of one place's keys and values, not of {', '.join(sorted(folded))}"
        )
    if backbone.shape.decoder_layers and (folded or not head.lm or tune not in ADAPTERS):
        raise PtuneError(
            "to=peft: for encoder-decoders PEFT export supports only LoRA or IA3 with the language-model head, without "
            f"a prompt{CURE}"
        )
    if prompt == "prefix":
        wrong += of_prefix(run)
    if prompt == "front":
        wrong += of_front(run, batch)
    if tune in ADAPTERS and folded:
        wrong.append(f"either a prompt or {tune}, not both")
    elif tune in ("all", "bias"):
        wrong.append("a frozen backbone, or one tuned with lora or ia3 (method.tune)")
    elif tune == "none" and not folded:
        wrong.append("a prompt, or a backbone tuned with lora or ia3")
    if backbone.quantize is not None:
        wrong.append("weights that are not quantized (backbone.quantize=null)")
    task, auto = READ.get(head.reads, (None, "AutoModelForMaskedLM"))
    if head.lm:
        task, auto = ("CAUSAL_LM", "AutoModelForCausalLM") if backbone.causal else (None, "AutoModelForMaskedLM")
        if backbone.shape.decoder_layers:
            task, auto = "SEQ_2_SEQ_LM", "AutoModelForSeq2SeqLM"
        elif not backbone.causal and folded:
            wrong.append("another head than the masked language model's for a prompt (method/head=linear)")
    elif head.reads not in READ or not isinstance(getattr(head, "linear", None), nn.Linear):
        wrong.append("a head of one linear layer over a text, its words or its context (method/head=linear)")
    if wrong:
        raise PtuneError(f"to=peft: cannot export this run: PEFT needs {'; '.join(wrong)}{CURE}")
    typed = batch is not None and bool(batch.types.any()) and backbone.token_types
    if task == "QUESTION_ANS" and typed:
        if prompt is not None:
            raise PtuneError(
                f"to=peft: PEFT's question answering leaves out token types, which {backbone.name} has; "
                f"a RoBERTa backbone has none{CURE}"
            )
        task = None  # PEFT's own class would leave them out; without one it passes on what it is given
    return Adapter(prompt, task, auto, alone=prompt == "front" and head.reads == "cls" and not head.lm)


def head_of(run: Restored) -> Any:
    """The run's head."""
    return run.model.member(run.member).head


def of_prefix(run: Restored) -> Iterator[str]:
    """What PEFT's prefix tuning has and the run has not."""
    prompt, backbone = run.model.member(run.member).prompt, run.model.backbone
    if getattr(prompt, "layers", None) != list(range(backbone.shape.layers)):
        yield f"a prompt in all {backbone.shape.layers} layers (method.prompt.layers=all)"
    if not backbone.cached:
        yield "a backbone that takes past_key_values"
    elif getattr(prompt, "offset", None) != prompt.length:
        yield "shifted text positions (method.prompt.position_offset=length)"


def of_front(run: Restored, batch: Batch | None) -> Iterator[str]:
    """What PEFT's prompt tuning has and the run has not."""
    member, backbone = run.model.member(run.member), run.model.backbone
    length = member.prompt.length
    if getattr(member.prompt, "double_embedding", False):
        yield "texts that are embedded once (method.prompt.double_embedding=false)"
    if backbone.relative:
        yield "virtual tokens in the first columns, where this backbone's rows have their padding"
    if batch is None:
        return
    if batch.slots.shape[1]:
        if getattr(member.prompt, "prompts", 1) > 1:
            yield f"one prompt for all texts, not {member.prompt.prompts}"
        elif not torch.equal(batch.slots, torch.arange(length).expand(len(batch), -1)):
            yield "virtual tokens in front of everything, even [CLS]"
    elif member.head.reads == "cls" and not member.head.lm and not backbone.causal:
        yield "virtual tokens before [CLS] and reads the first of them instead (use method/prompt=deep)"


def plain_model(run: Restored, adapter: Adapter) -> Any:
    """transformers' model with a head, over the run's checkpoint, as one who knows nothing of ptune loads it."""
    import transformers
    from transformers.utils import logging

    backbone, head = run.model.backbone, head_of(run)
    loaded: dict[str, Any] = {}
    if not head.lm:
        loaded["num_labels"] = head.linear.out_features
    if adapter.task == "SEQ_CLS" and backbone.causal:
        loaded["pad_token_id"] = padding(run)
    logging.set_verbosity_error()
    kind: Any = getattr(transformers, adapter.model)
    try:
        model = kind.from_pretrained(
            str(backbone.folder),
            dtype=torch.float32,
            attn_implementation="sdpa" if backbone.registered else "eager",
            use_safetensors=backbone.weights == "safetensors",
            **loaded,
        )
    except ValueError as error:
        raise PtuneError(
            f"to=peft: transformers has no {adapter.model} for this family ({first(error)}){CURE}"
        ) from None
    return model.eval()


def first(error: Exception) -> str:
    """The first sentence of an error."""
    return str(error).splitlines()[0].partition(". ")[0].partition(" for this kind")[0]


def padding(run: Restored) -> int:
    """A token that no text ends with, by which transformers finds the last one: the pad token, else the end's."""
    tokenizer = run.model.member(run.member).template.tokens.tokenizer
    pad_id: int | None = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id or 0) if pad_id is None else pad_id


def read_head(run: Restored, model: Any, adapter: Adapter) -> None:
    """Fill in the tensors of the model's head. Raises PtuneError where it is made in another way than the run's."""
    head = head_of(run)
    name, own = type(model).__name__, f"{model.base_model_prefix}."
    names = [n for n, child in model.named_children() if child is not model.base_model and [*child.parameters()]]
    *others, last = names
    layer = getattr(model, last)
    parts = dict(layer.named_children())
    pooler = getattr(model.base_model, "pooler", None) if head.reads == "cls" else None
    activation = getattr(layer, "activation", None)
    if others or (activation is not None and not isinstance(activation, nn.Tanh)):
        raise unlike(name, f"has a layer of another kind before its last ({', '.join(others) or 'no tanh'})")
    put: dict[str, nn.Linear] = {}
    if isinstance(layer, nn.Linear):
        put[last] = head.linear
        if pooler is not None:
            dense = "" if isinstance(pooler, nn.Linear) else ".dense"
            put[f"{own}pooler{dense}"] = head.pooler
    elif {"dense", "out_proj"} <= parts.keys():
        put = {f"{last}.dense": head.pooler, f"{last}.out_proj": head.linear}
        pooler = layer
    else:
        raise unlike(name, f"has a head of its own kind ({type(layer).__name__})")
    if head.reads == "cls" and (pooler is None) != (head.pooler is None):
        cure = "method/head=pooled" if head.pooler is None else "method.head.pooler=none"
        pooling = "without" if pooler is None else "through"
        raise unlike(name, f"reads a text {pooling} a dense layer with tanh ({cure})")
    if head.pooler is not None and not head.tanh:
        raise unlike(name, "reads a text through a dense layer with tanh (method.head.activation=tanh)")
    adapter.saved = [last]
    for module, given in put.items():
        if module.startswith(own):
            if head.pooler_kind == "pretrained":
                continue  # which the checkpoint has
            adapter.saved.append(module.removeprefix(own).partition(".")[0])
        adapter.head[f"{module}.weight"] = given.weight
        if model.get_submodule(module).bias is not None:
            adapter.head[f"{module}.bias"] = given.bias
        elif given.bias is not None and bool(given.bias.any()):
            shift(model, given, adapter)


def shift(model: Any, layer: nn.Linear, adapter: Adapter) -> None:
    """Let the norm below a layer without a bias c have it: W (h + d) = W h + c where d is the shortest such vector.

    Raises PtuneError where there is no such norm, as RMSNorm, or no such vector.
    """
    norms = [name for name, module in model.base_model.named_children() if isinstance(module, nn.LayerNorm)]
    if not norms or layer.out_features > layer.in_features:
        raise unlike(type(model).__name__, "has no bias in its last layer")
    norm = model.base_model.get_submodule(norms[-1])
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    added = torch.linalg.pinv(weight) @ bias
    adapter.saved.append(norms[-1])
    name = f"{model.base_model_prefix}.{norms[-1]}"
    adapter.head[f"{name}.weight"] = norm.weight
    adapter.head[f"{name}.bias"] = (norm.bias.double() + added).float()


def unlike(name: str, what: str) -> PtuneError:
    """The refusal of a head that transformers' model has not."""
    return PtuneError(f"to=peft: transformers' {name} {what}, unlike this run{CURE}")


def as_prompt(run: Restored, adapter: Adapter) -> tuple[Any, dict[str, Tensor]]:
    """The configuration and the tensor of a prompt."""
    from peft import PrefixTuningConfig, PromptTuningConfig

    prompt, shape = run.model.member(run.member).prompt, run.model.backbone.shape
    ((_, folded),) = prompt.fold().items()
    common: dict[str, Any] = {
        "num_virtual_tokens": len(folded),
        "num_layers": shape.layers,
        "num_transformer_submodules": 1,
        "num_attention_heads": shape.heads,
    }
    if adapter.prompt == "prefix":
        width = shape.heads * shape.head_dim
        return PrefixTuningConfig(**common, token_dim=width, encoder_hidden_size=width), {"prompt_embeddings": folded}
    return PromptTuningConfig(**common, token_dim=folded.shape[1]), {"prompt_embeddings": folded}


def as_tuner(run: Restored, base: Any) -> tuple[Any, dict[str, Tensor]]:
    """The configuration and tensors of an adapter in the backbone, every layer by its full name."""
    model, s = run.model.backbone.model, run.settings
    prefix = "" if head_of(run).lm else f"{base.base_model_prefix}."
    config = ADAPTERS[s.method["tune"]](**(s.method.get("adapter") or {})).config()
    layers = {prefix + name: module for name, module in model.named_modules() if hasattr(module, "base_layer")}
    config.target_modules = set(layers)
    if hasattr(config, "feedforward_modules"):
        config.feedforward_modules = {n for n, module in layers.items() if getattr(module, "is_feedforward", False)}
    config.fan_in_fan_out = any(getattr(module, "fan_in_fan_out", False) for module in layers.values())
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return config, {f"base_model.model.{prefix}{name.replace('.default', '')}": p for name, p in learned.items()}


def compare(run: Restored, adapter: Adapter, batch: Batch, loaded: Any) -> float:
    """The largest difference between a logit of the run and PEFT's. Raises PtuneError where it is too large."""
    worst = largest = 0.0
    pieces = [rows_of(batch, [i]) for i in range(len(batch))] if adapter.alone else [batch]
    for piece in pieces:
        ours, theirs = logits_of(run, piece), logits_in(run, adapter, piece, loaded)
        largest = max(largest, float(ours.abs().max()))
        worst = max(worst, float((ours - theirs).abs().max()))
    if not worst <= TOLERANCE * largest:
        raise PtuneError(
            f"to=peft: PEFT does not reproduce this run: logits of up to {largest:.3g} differ by up to "
            f"{worst:.3g}{CURE}"
        )
    return worst


def usage(run: Restored, adapter: Adapter) -> str:
    """How the adapter is loaded, and how its model is read."""
    s, member = run.settings, run.model.member(run.member)
    head, length, causal = head_of(run), member.prompt.length, run.model.backbone.causal
    checkpoint = s.backbone.get("checkpoint") or str(s.backbone.get("path"))
    arguments = [f"revision={s.backbone['revision']!r}"] if s.backbone.get("revision") else []
    if not head.lm:
        arguments.append(f"num_labels={head.linear.out_features}")
    lines = []
    if adapter.task == "SEQ_CLS" and causal:
        arguments.append("pad_token_id=tokenizer.pad_token_id")
        if member.template.tokens.tokenizer.pad_token is None:
            lines.append("tokenizer.pad_token = tokenizer.eos_token")
    settings = "".join(f", {each}" for each in arguments)
    code = [
        "from peft import PeftModel",
        f"from transformers import {adapter.model}, AutoTokenizer",
        "",
        f"tokenizer = AutoTokenizer.from_pretrained({checkpoint!r})",
        *lines,
        f"base = {adapter.model}.from_pretrained({checkpoint!r}{settings})",
        'model = PeftModel.from_pretrained(base, "THIS FOLDER").eval()',
    ]
    sentences = [
        f"Compared with the run on {adapter.examples} examples when it was written (PEFT {version('peft')}, "
        f"transformers {version('transformers')}, float32): its logits differ by {adapter.worst:.1e} at most."
    ]
    if s.precision != "float32":
        sentences.append(f"The run itself computed in {s.precision}.")
    if checkpoint.startswith("pkg://"):
        sentences.append("The backbone ships with ptune: its folder stands in for the name above.")
    if adapter.prompt == "front" and (head.lm or head.reads != "cls"):
        sentences.append(f"The first {length} columns of its logits are those of the virtual tokens.")
    if head.reads == "words" and not head.lm:
        sentences.append("A word is read at its first sub-token.")
    if adapter.alone:
        sentences.append("Give it one text at a time: PEFT reads the last column, which is padding in a batch.")
    patterns = getattr(member.template, "name", None)
    if patterns is not None and patterns in run.task.patterns:
        sentences.append(f"Texts are given in the pattern `{run.task.patterns[patterns]['text']}`.")
    if words := getattr(head, "label_words", None):
        label_words = "; ".join(f"{label}: {', '.join(of_label)}" for label, of_label in words.items())
        sentences.append(f"Labels are read off the logits of their words: {label_words}.")
    block = "\n".join(code)
    return f"```python\n{block}\n```\n\n{' '.join(sentences)}"


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """Some rows of a batch, without the columns that are padding in all of them."""
    width = int(batch.mask[rows].sum(1).max())
    return replace(
        batch,
        ids=batch.ids[rows, :width],
        types=batch.types[rows, :width],
        mask=batch.mask[rows, :width],
        read={name: places[rows] for name, places in batch.read.items()},
        slots=batch.slots[rows],
        output=batch.output[rows],
        example=batch.example[rows],
        start=batch.start[rows],
        candidate=batch.candidate[rows],
    )


@torch.no_grad()
def logits_of(run: Restored, batch: Batch) -> Tensor:
    """The run's logits, one row each that is read: [K, C], or of every word of the vocabulary at each token [K, V]."""
    written = writes(run)
    source = replace(batch, output=batch.ids[:, :written])
    with run.model.hidden([(run.member, source)]) as ((head, hidden, moved),):
        if written:
            assert hidden.output is not None
            return hidden.words(hidden.output, EVERY).float().flatten(0, 1)
        if head.lm:
            skipped = batch.slots.shape[1]
            return hidden.words(hidden.states[:, skipped:][moved.mask[:, skipped:]], EVERY).float()
        logits = head.logits(hidden, moved).float()
        if head.reads == "context":
            logits = logits.transpose(1, 2)[reading(moved) >= 0]
        return logits[moved.read["words"] >= 0] if head.reads == "words" else logits.flatten(0, -2)


@torch.no_grad()
def logits_in(run: Restored, adapter: Adapter, batch: Batch, loaded: Any) -> Tensor:
    """PEFT's logits, as `logits_of`."""
    head = head_of(run)
    skipped = batch.slots.shape[1]
    ids, mask, types = (each[:, skipped:] for each in (batch.ids, batch.mask, batch.types))
    if adapter.task == "SEQ_CLS" and run.model.backbone.causal:
        ids = ids.masked_fill(~mask, padding(run))
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if run.model.backbone.token_types:
        inputs["token_type_ids"] = types
    if written := writes(run):
        backbone: Any = run.model.backbone
        inputs["decoder_input_ids"] = backbone.after_start(ids[:, : written - 1])
        return loaded(**inputs).logits.flatten(0, 1)
    out = loaded(**inputs)
    if head.reads == "context":
        logits = torch.stack([out.start_logits, out.end_logits], -1)
    else:
        logits = out.logits
    in_front = logits.shape[1] - ids.shape[1] if logits.dim() == 3 else 0
    logits = logits[:, in_front:] if logits.dim() == 3 else logits
    if head.lm:
        return logits[mask]
    if head.reads == "cls":
        return logits
    places = reading(batch) if head.reads == "context" else batch.read["words"]
    rows, columns = (places >= 0).nonzero(as_tuple=True)
    return logits[rows, places[rows, columns] - skipped]


def writes(run: Restored) -> int:
    """How many tokens of each row a decoder is given to be compared, as if it had written them; 0 without one."""
    return 3 if run.model.backbone.shape.decoder_layers else 0


def reading(batch: Batch) -> Tensor:
    """The positions [B, 1 + K] of a context that answers are read at."""
    return torch.cat([batch.read["cls"], batch.read["context"]], 1)
