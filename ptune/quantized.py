"""Frozen backbones whose linear layers are kept in 8 or 4 bits, by the bitsandbytes library."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ptune.errors import PtuneError

if TYPE_CHECKING:
    from torch import nn


def problems(kind: str | None, tune: str) -> Iterator[str]:
    """What is wrong with keeping a backbone in so many bits, before any weight is loaded."""
    if kind is not None and tune != "none":
        yield f"is only for a frozen backbone, but method.tune is '{tune}'; leave it out"
    elif kind is not None and find_spec("bitsandbytes") is None:
        yield f"'{kind}' needs the bitsandbytes library: pip install 'ptune[quantized]'"


def quantize(model: nn.Module, kind: str, name: str) -> None:
    """Keep the weights of a model's linear layers in fewer bits; gradients of their inputs pass as before.

    int8: a scale a row (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339), and no outliers apart; on a GPU their
    inputs are rounded too. int4: NormalFloat in blocks of 64 (QLoRA, Dettmers et al. 2023, arXiv 2305.14314).

    Raises PtuneError where the backbone `name` has no such layers, as GPT-2, whose are of another class.
    """
    from torch import nn

    fp32_names = tuple(getattr(model, "_keep_in_fp32_modules", None) or ())  # T5's code looks at their weight's type
    output_layer = getattr(model, "get_output_embeddings", lambda: None)()  # of which a backbone takes some rows
    linear_layers = [
        (parent, key, layer)
        for parent in model.modules()
        for key, layer in parent.named_children()
        if type(layer) is nn.Linear and key not in fp32_names and layer is not output_layer
    ]
    if not linear_layers:
        raise PtuneError(f"backbone.quantize: backbone {name} has no linear layers that could be kept in {kind}")
    convert = {"int8": eight, "int4": four}[kind]
    for parent, key, layer in linear_layers:
        setattr(parent, key, convert(layer).to(layer.weight.device))  # which packs it


def numbers(parameter: nn.Parameter) -> int:
    """How many numbers a parameter holds, however many of them are kept in one place of it."""
    state = getattr(parameter, "quant_state", None)  # of 4 bits alone
    return parameter.numel() if state is None else int(state.shape.numel())


def eight(layer: nn.Linear) -> Any:
    """A layer whose weight takes 8 bits once it is moved to its device."""
    library = import_module("bitsandbytes.nn")
    new_layer = library.Linear8bitLt(layer.in_features, layer.out_features, has_fp16_weights=False, threshold=0.0)
    new_layer.weight = library.Int8Params(layer.weight.detach(), requires_grad=False, has_fp16_weights=False)
    new_layer.bias = layer.bias
    return new_layer


def four(layer: nn.Linear) -> Any:
    """A layer whose weight takes 4 bits once it is moved to its device."""
    library = import_module("bitsandbytes.nn")
    new_layer = library.Linear4bit(layer.in_features, layer.out_features, quant_type="nf4")
    new_layer.weight = library.Params4bit(layer.weight.detach(), requires_grad=False, quant_type="nf4")
    new_layer.bias = layer.bias
    # An evaluation on a CPU with AVX-512 would repack the weight for good in a way through which no gradient passes.
    new_layer.support_avx512bf16_for_cpu = False
    return new_layer
