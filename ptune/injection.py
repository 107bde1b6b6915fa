"""What a prompt says to inject into a backbone; prompts make injections, backbones carry them out.

Axis letters of the code base: B rows, N tokens, P prompt length, L layers, A heads, D head width, H hidden,
E embedding width, C classes, R runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The sizes of a backbone that prompts, heads and checks need; known before its weights are loaded.

    heads, head_dim: of keys, which several query heads may share; causal: whether a token sees only those before it;
    decoder_layers: of a decoder beside the encoder, whose layers are `layers`; encoder_tags: whether words are tagged
    by the encoder's states; sentinels: whether a mask stands for any number of tokens, which the decoder writes.
    """

    layers: int
    heads: int
    head_dim: int
    hidden: int
    embed: int
    positions: int
    vocab: int
    lm_head: bool
    pooler: bool
    causal: bool = False
    decoder_layers: int = 0
    encoder_tags: bool = False
    sentinels: bool = False

    @property
    def sites(self) -> dict[str, int]:
        """Where prefixes can be, and how many layers each of the places has."""
        decoder = {"decoder": self.decoder_layers, "cross": self.decoder_layers} if self.decoder_layers else {}
        return {"encoder": self.layers, **decoder}

    def of(self, readout: str) -> Shape:
        """What a task's read-out uses of the backbone: without a decoder where the encoder's states are read."""
        return replace(self, decoder_layers=0) if readout == "token" and self.encoder_tags else self


@dataclass(frozen=True)
class Vocabulary:
    """The words a prompt can start from.

    embedding: [V, E], the backbone's input embeddings; encode: text -> token ids without special tokens;
    states: (text, site) -> {layer: (K, V)}, each [1, A, n, D], the backbone's keys and values on that text;
    labels: the task's label words; special: ids that stand for no text; mask: the mask's id, where there is one.
    """

    embedding: Tensor
    encode: Callable[[str], list[int]]
    states: Callable[[str, str], dict[int, tuple[Tensor, Tensor]]]
    labels: Sequence[str] = ()
    special: frozenset[int] = frozenset()
    mask: int | None = None


class KV(NamedTuple):
    """Prefix keys and values of one layer: [B|1, A, P, D]; length [B] where rows use fewer than P, else None."""

    k: Tensor
    v: Tensor
    length: Tensor | None = None


@dataclass
class Injection:
    """Everything a prompt adds to one forward pass; leading axis 1 is shared by the batch, B is per row.

    front: [B|1, P, E] embeddings in front of the text, right-aligned where `front_length` [B] is shorter than P.
    slots: [B|1, S, E] embeddings that replace the template's slots.
    kv: site (encoder, decoder, cross) -> layer -> KV.
    offset: how many positions the text is shifted by, one number or [B].
    whole_embedding: embed the text twice, as the published P-Tuning v2 baseline does (compat A6).
    """

    front: Tensor | None = None
    front_length: Tensor | None = None
    slots: Tensor | None = None
    kv: dict[str, dict[int, KV]] = field(default_factory=dict)
    offset: int | Tensor = 0
    whole_embedding: bool = False

    def of(self, rows: Tensor) -> Injection:
        """What those rows [K] of the pass have of it; itself where every row has the same."""
        tensors = [self.front, self.front_length, self.slots, self.offset if isinstance(self.offset, Tensor) else None]
        tensors += [tensor for layers in self.kv.values() for kv in layers.values() for tensor in kv]
        if all(tensor is None or tensor.dim() == 0 or len(tensor) == 1 for tensor in tensors):
            return self

        def take(tensor: Tensor | None) -> Tensor | None:
            return tensor if tensor is None or tensor.dim() == 0 or len(tensor) == 1 else tensor[rows]

        return replace(
            self,
            front=take(self.front),
            front_length=take(self.front_length),
            slots=take(self.slots),
            kv={
                site: {layer: KV(*(take(tensor) for tensor in kv)) for layer, kv in layers.items()}  # type: ignore[arg-type]
                for site, layers in self.kv.items()
            },
            offset=self.offset if isinstance(self.offset, int) else take(self.offset),  # type: ignore[arg-type]
        )


def join(injections: Sequence[Injection], counts: Sequence[int]) -> Injection:
    """One injection for the rows of several runs, `counts[i]` rows of `injections[i]`; shorter ones are masked.

    Raises ValueError when runs disagree about `whole_embedding`, which is a property of the whole pass.
    """
    if len(injections) == 1:
        return injections[0]
    if len({injection.whole_embedding for injection in injections}) > 1:
        raise ValueError("runs with and without whole_embedding cannot share a forward pass")
    device = _device(injections)
    front, front_length = _join_front([i.front for i in injections], [i.front_length for i in injections], counts)
    offsets = [torch.as_tensor(i.offset, device=device).expand(n) for i, n in zip(injections, counts, strict=True)]
    sites = sorted({site for i in injections for site in i.kv})
    return Injection(
        front=front,
        front_length=front_length,
        slots=_join_padded([i.slots for i in injections], counts, axis=1)[0],
        kv={site: _join_site([i.kv.get(site, {}) for i in injections], counts) for site in sites},
        offset=torch.cat(offsets),
        whole_embedding=injections[0].whole_embedding,
    )


def _device(injections: Sequence[Injection]) -> torch.device | None:
    for injection in injections:
        for tensor in (injection.front, injection.slots):
            if tensor is not None:
                return tensor.device
        for layers in injection.kv.values():
            for kv in layers.values():
                return kv.k.device
    return None


def _join_site(sites: Sequence[dict[int, KV]], counts: Sequence[int]) -> dict[int, KV]:
    kv_by_layer = {}
    for layer in sorted({layer for site in sites for layer in site}):
        kvs = [site.get(layer) for site in sites]
        lengths = [kv.length if kv else None for kv in kvs]
        k, length = _join_padded([kv.k if kv else None for kv in kvs], counts, 2, lengths)
        v, _ = _join_padded([kv.v if kv else None for kv in kvs], counts, 2)
        assert k is not None
        assert v is not None
        kv_by_layer[layer] = KV(k, v, length)
    return kv_by_layer


def _join_front(
    tensors: Sequence[Tensor | None], lengths: Sequence[Tensor | None], counts: Sequence[int]
) -> tuple[Tensor | None, Tensor | None]:
    flipped = [None if t is None else t.flip(1) for t in tensors]
    joined, length = _join_padded(flipped, counts, 1, lengths)
    return (None, None) if joined is None else (joined.flip(1), length)


def _join_padded(
    tensors: Sequence[Tensor | None], counts: Sequence[int], axis: int, lengths: Sequence[Tensor | None] | None = None
) -> tuple[Tensor | None, Tensor | None]:
    """Concatenate over rows, padding `axis` at its end; a missing tensor counts as length 0."""
    present_tensors = [tensor for tensor in tensors if tensor is not None]
    if not present_tensors:
        return None, None
    longest = max(tensor.shape[axis] for tensor in present_tensors)
    rows, used_lengths = [], []
    for i, (tensor, n) in enumerate(zip(tensors, counts, strict=True)):
        if tensor is None:
            tensor = present_tensors[0].narrow(axis, 0, 0)[:1]
        padding = [0, 0] * (tensor.dim() - 1 - axis) + [0, longest - tensor.shape[axis]]
        length = lengths[i] if lengths is not None else None
        used_lengths.append(torch.full((n,), tensor.shape[axis], device=tensor.device) if length is None else length)
        rows.append(F.pad(tensor, padding).expand(n, *[-1] * (tensor.dim() - 1)))
    return torch.cat(rows), torch.cat(used_lengths)
