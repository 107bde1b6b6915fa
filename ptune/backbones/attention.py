"""One attention function for every family that dispatches through transformers' registry: it attends to the prefix too.

`past_key_values` would be ignored silently by several families and dropped by gradient checkpointing; a registered
function is neither. The slot it reads must stay filled until the backward pass is over, because checkpointing
computes the forward pass again there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ptune.backbones import varlen
from ptune.backbones.packing import Packing, geometry
from ptune.dropout import dropout
from ptune.injection import KV

NAME = "ptune"


class Slot:
    """What the forward passes of one backbone inject, by layer; `seen` records keys and values when asked to.

    Passes of several threads have their own. A thread that injects nothing itself sees what was filled last: on a GPU
    the backward pass, which may compute the forward pass again, runs in torch's own threads.
    """

    def __init__(self) -> None:
        self.seen: dict[int, tuple[Tensor, Tensor]] | None = None
        self.last: dict[int, KV] = {}
        self.own = threading.local()

    @property
    def filled(self) -> dict[int, KV] | None:
        """What this thread injects itself."""
        kv: dict[int, KV] | None = getattr(self.own, "kv", None)
        return kv

    @property
    def kv(self) -> dict[int, KV]:
        """Layer -> prefix, of the pass under way."""
        kv = self.filled
        return self.last if kv is None else kv

    def fill(self, kv: dict[int, KV] | None) -> dict[int, KV] | None:
        """Inject this from now on, None: nothing any more; returns what this thread injected before."""
        previous: dict[int, KV] | None = getattr(self.own, "kv", None)
        self.own.kv, self.last = kv, kv or {}
        return previous


def install(attentions: Iterable[nn.Module]) -> Slot:
    """Give the attention modules of layers 0, 1, ... a common slot."""
    slot = Slot()
    for layer, module in enumerate(attentions):
        module.ptune_slot, module.ptune_layer = slot, layer  # type: ignore[assignment]
    return slot


def attend_with_prefix(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **kwargs: Any
) -> tuple[Tensor, None]:
    """Scaled dot-product attention over prefix and tokens; query, key, value [B, A, N, D], mask [B|1, 1, N, N].

    Of a packed pass they are [1, A, T, D].
    """
    packing: Packing | None = kwargs.pop("packing", None)
    kv = prefix_of(module)
    if packing is not None and varlen.takes(query, key, kwargs):
        causal: bool = getattr(module, "is_causal", True)
        return varlen.attend(query, key, value, packing, kv, causal, kwargs.get("scaling")), None
    if packing is not None:
        query, key, value = packing.heads(query), packing.heads(key), packing.heads(value)
        return packing.pack(attend_with_prefix(module, query, key, value, attention_mask, **kwargs)[0]), None
    record(module, key, value)
    if kv is not None:
        rows = key.shape[0]
        prefix = [t.expand(rows, -1, -1, -1).to(key.dtype) for t in (kv.k, kv.v)]
        key, value = torch.cat([prefix[0], key], 2), torch.cat([prefix[1], value], 2)
        attention_mask = with_prefix(attention_mask, kv, rows)
        bias = kwargs.get("position_bias")
        if bias is not None:
            kwargs["position_bias"] = F.pad(bias, (kv.k.shape[2], 0))
    if plain(query, key, kwargs):
        if (group_size := query.shape[1] // key.shape[1]) > 1:
            key, value = key.repeat_interleave(group_size, 1), value.repeat_interleave(group_size, 1)
        scaling, dropout_p, bias = (kwargs.get(name) for name in ("scaling", "dropout", "position_bias"))
        return attend(query, key, value, attention_mask, scaling, dropout_p or 0.0, bias), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


def plain(query: Tensor, key: Tensor, options: Mapping[str, Any]) -> bool:
    """Whether `attend` can and should do it: where a CPU trains, its fused attention is far slower than its parts.

    The fused one's backward pass in bfloat16 takes ten times as long, and with dropout there is none; torch's other one
    would draw from random numbers that all threads share.
    """
    training = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or bool(options.get("dropout")))
    return training and query.device.type == "cpu" and options.get("softcap") is None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scaling: float | None = None,
    dropout_p: float = 0.0,
    position_bias: Tensor | None = None,
) -> Tensor:
    """Attention [B, N, A, D] as a product, a softmax and a product; mask [B, 1, N, L] of bools, key [B, A, L, D].

    position_bias: what is added to the scores [1|B, A, N, L], T5's.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    min_value = torch.finfo(query.dtype).min
    if position_bias is None:
        bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, min_value)
    else:
        bias = torch.where(mask, position_bias.to(query.dtype), min_value)
    weights = (torch.matmul(query * scale, key.transpose(2, 3)) + bias).softmax(-1)
    return torch.matmul(dropout(weights, dropout_p), value).transpose(1, 2).contiguous()


def prefix_of(module: nn.Module) -> KV | None:
    """What an attention module's slot has for its layer."""
    slot: Slot | None = getattr(module, "ptune_slot", None)
    layer: int = getattr(module, "ptune_layer", -1)
    return None if slot is None else slot.kv.get(layer)


def record(module: nn.Module, key: Tensor, value: Tensor) -> None:
    """Keep keys and values [B, A, N, D] of the tokens where they are asked for."""
    slot: Slot | None = getattr(module, "ptune_slot", None)
    layer: int = getattr(module, "ptune_layer", -1)
    if slot is not None and slot.seen is not None:
        slot.seen[layer] = (key.detach(), value.detach())


def with_prefix(mask: Tensor, kv: KV, rows: int) -> Tensor:
    """The mask [B, 1, N, P+N] that lets every token see the prefix positions in use."""
    positions = torch.arange(kv.k.shape[2], device=mask.device)
    prefix_mask = positions.expand(rows, -1) < (len(positions) if kv.length is None else kv.length[:, None])
    prefix_mask = prefix_mask[:, None, None].expand(-1, 1, mask.shape[2], -1)
    return torch.cat([prefix_mask, mask.expand(rows, -1, -1, -1)], 3)


def full_mask(*args: Any, **kwargs: Any) -> Tensor:
    """transformers' mask, never skipped: without one it would cut the keys to the queries' number."""
    no_skip = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    mask = sdpa_mask(*args, **{**kwargs, **no_skip, **geometry()})
    assert mask is not None
    return mask


AttentionInterface.register(NAME, attend_with_prefix)
AttentionMaskInterface.register(NAME, full_mask)
