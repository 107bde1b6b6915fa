"""Attention of a packed pass on a GPU: no key is padding, and a row's keys are its prefix and then its tokens.

The kernel is FlashAttention's for rows of several lengths (Dao 2023, arXiv 2307.08691), as it comes with torch. It has
no dropout and no window beside a prefix; `packing` sets the rows apart for those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ptune.backbones.packing import Packing, bounds_of
from ptune.injection import KV

DTYPES = (torch.bfloat16, torch.float16)
LARGEST_HEAD = 256  # coordinates
CAUSAL, FULL = (-1, 0), (-1, -1)  # windows: keys to the left, and to the right, of a query


def fits(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel takes this device and dtype."""
    return (
        device.type == "cuda"
        and dtype in DTYPES
        and torch.__version__ >= "2.13"  # the kernel's options had other names
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def takes(query: Tensor, key: Tensor, options: Mapping[str, Any]) -> bool:
    """Whether the kernel computes this attention, of queries [1, A, T, D]; options: of transformers' functions."""
    head = query.shape[-1]
    return (
        not options.get("dropout")
        and all(options.get(name) is None for name in ("position_bias", "softcap", "sliding_window"))
        and (head % 8 == 0 and head <= LARGEST_HEAD)
        and query.dtype == key.dtype
        and fits(query.device, query.dtype)
    )


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    kv: KV | None,
    causal: bool,
    scaling: float | None = None,
) -> Tensor:
    """Attention [1, T, A, D] of packed queries, keys and values [1, A, T, D] and of a prefix kv [1|B, A, P, D].

    causal: whether a token sees only those before it; it sees all of the prefix.
    """
    from torch.nn.attention.varlen import varlen_attn  # takes a while, and a CPU has no use for it

    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    longest = width = packing.mask.shape[1]
    key_bounds = packing.bounds
    if kv is not None:
        places, key_bounds = key_places(packing, kv)
        longest += kv.k.shape[2]
        key, value = (
            torch.cat([prefix.transpose(1, 2).flatten(0, 1).to(tokens.dtype), tokens]).index_select(0, places)
            for prefix, tokens in ((kv.k, key), (kv.v, value))
        )
    states = varlen_attn(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        packing.bounds,
        key_bounds,
        width,
        longest,
        scale=scaling,
        window_size=CAUSAL if causal else FULL,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(states, Tensor)
    return states[None]


def key_places(packing: Packing, kv: KV) -> tuple[Tensor, Tensor]:
    """Where the keys of each row stand, [K] in all prefixes [R*P] and then all tokens [T], and the bounds [B+1] between
    rows; the same for all layers of a pass that have equally long prefixes."""
    prefixes, length = kv.k.shape[0], kv.k.shape[2]
    cached = packing.keys.get((prefixes, length, kv.length))
    if cached is None:
        mask = packing.mask
        rows, positions = torch.arange(len(mask), device=mask.device), torch.arange(length, device=mask.device)
        of_prefix = (rows * length if prefixes > 1 else rows * 0)[:, None] + positions
        of_tokens = (mask.flatten().cumsum(0) - 1).view_as(mask) + prefixes * length
        used = positions < (length if kv.length is None else kv.length[:, None])
        there = torch.cat([used.expand(len(mask), -1), mask], 1)
        cached = torch.cat([of_prefix, of_tokens], 1)[there], bounds_of(there)
        packing.keys[prefixes, length, kv.length] = cached
    return cached
