"""DeBERTa v2 and v3 (He et al. 2021, arXiv 2006.03654; 2023, arXiv 2111.09543)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.backbones.deberta import Deberta
from ptune.leaves import Chance

if TYPE_CHECKING:
    from ptune.backbones.attention import Slot
    from ptune.injection import KV


class DebertaV2(Deberta):
    """DeBERTa with projections of its own for keys and values, and distances in buckets.

    embed_pads: paddings keep their embeddings, as in the published P-Tuning v2 code; where there is a convolution, the
    text's ends read them.
    """

    model_type = "deberta-v2"

    def __init__(
        self,
        name: str,
        layers: int,
        heads: int,
        hidden: int,
        positions: int,
        vocab: int,
        lm_head: bool,
        pooler: bool,
        checkpoint: str | None = None,
        revision: str | None = None,
        path: str | None = None,
        sha256: str | None = None,
        embed: int | None = None,
        dropout: Chance | None = None,
        attention_dropout: Chance | None = None,
        weights: Literal["safetensors", "bin"] = "safetensors",
        quantize: Literal["int8", "int4"] | None = None,
        embed_pads: bool = False,
    ) -> None:
        super().__init__(
            name,
            layers,
            heads,
            hidden,
            positions,
            vocab,
            lm_head,
            pooler,
            checkpoint=checkpoint,
            revision=revision,
            path=path,
            sha256=sha256,
            embed=embed,
            dropout=dropout,
            attention_dropout=attention_dropout,
            weights=weights,
            quantize=quantize,
        )
        self.embed_pads = embed_pads

    def install(self) -> dict[str, Slot]:
        """See Backbone."""
        if self.embed_pads:
            self.base.embeddings.register_forward_pre_hook(
                lambda _, args, named: (args, {**named, "mask": None}), with_kwargs=True
            )
        return super().install()

    def hook(self, attention: nn.Module) -> None:
        """See Deberta."""
        Hooks(attention)


class Hooks:
    """The prefix enters as P more keys and values."""

    def __init__(self, attention: Any) -> None:
        self.attention = attention
        self.kv: KV | None = None
        self.of_tokens = False  # with share_att_key the projections serve the relative embeddings as well
        self.key: Tensor
        self.bias = attention.disentangled_attention_bias
        attention.disentangled_attention_bias = self.relative
        attention.register_forward_pre_hook(self.begin)
        attention.key_proj.register_forward_hook(self.keys)
        attention.value_proj.register_forward_hook(self.values)

    def begin(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Widen the mask [B, 1, N, N] to [B, 1, N, P+N]."""
        from ptune.backbones.attention import prefix_of, with_prefix

        states, mask, *rest = args
        self.kv, self.of_tokens = prefix_of(self.attention), True
        return states, mask if self.kv is None else with_prefix(mask, self.kv, len(states)), *rest

    def keys(self, _: nn.Module, __: Any, projected: Tensor) -> Tensor:
        """[B, N, A*D] to [B, P+N, A*D]."""
        if not self.of_tokens:
            return projected
        self.key = self.heads(projected)
        return projected if self.kv is None else joined(self.kv.k, projected)

    def values(self, _: nn.Module, __: Any, projected: Tensor) -> Tensor:
        """[B, N, A*D] to [B, P+N, A*D]."""
        from ptune.backbones.attention import record

        record(self.attention, self.key, self.heads(projected))
        return projected if self.kv is None else joined(self.kv.v, projected)

    def heads(self, projected: Tensor) -> Tensor:
        """[B, N, A*D] as [B, A, N, D]."""
        return projected.unflatten(2, (self.attention.num_attention_heads, -1)).transpose(1, 2)

    def relative(self, query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        """Scores of relative positions [B*A, N, P+N], 0 wherever the prefix is."""
        length = 0 if self.kv is None else self.kv.k.shape[2]
        self.of_tokens = False
        bias: Tensor = self.bias(query, key[:, length:], *rest)
        return F.pad(bias, (length, 0))


def joined(prefix: Tensor, projected: Tensor) -> Tensor:
    """Prefix [1|B, A, P, D] before [B, N, A*D]."""
    rows = prefix.transpose(1, 2).flatten(2).expand(len(projected), -1, -1)
    return torch.cat([rows.to(projected.dtype), projected], 1)
