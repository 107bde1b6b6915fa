"""DeBERTa (He et al. 2021, arXiv 2006.03654)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.backbones import Backbone, weight_names

if TYPE_CHECKING:
    from ptune.backbones.attention import Slot
    from ptune.injection import KV


class Deberta(Backbone):
    """Disentangled attention over relative distances, which a prefix has none of; transformers computes it eagerly.

    Its LM head comes under two names: the published one, and `cls`, transformers' own. A checkpoint that learned to
    detect replaced tokens has `mask_predictions`, and an LM head that was not trained with it (arXiv 2111.09543).
    """

    model_type = "deberta"
    lm_key = "lm_predictions.lm_head.dense.weight"
    legacy_lm_key = "cls.predictions.transform.dense.weight"
    pooler_key = None
    registered = False
    cached = False
    relative = True
    stacked = False
    threads = False  # its hooks remember the pass that is under way

    @classmethod
    def has_lm_head(cls, tensors: set[str]) -> bool:
        """See Backbone."""
        is_discriminator = any(name.startswith("mask_predictions.") for name in tensors)
        return not is_discriminator and (cls.lm_key in tensors or cls.legacy_lm_key in tensors)

    def configure(self, config: Any, lm: bool) -> None:
        """See Backbone; published configs do not say which LM head they have."""
        super().configure(config, lm)
        if lm:
            config.legacy = self.lm_key not in weight_names(self.folder, self.weights)

    def install(self) -> dict[str, Slot]:
        """See Backbone."""
        slots = super().install()
        for attention in self.attentions():
            self.hook(attention)
        return slots

    def hook(self, attention: nn.Module) -> None:
        """Let an attention module attend to its prefix."""
        Hooks(attention)

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        if self.model.config.legacy:
            transformed: Tensor = self.model.cls.predictions.transform(states)
            return transformed
        head = self.model.lm_predictions.lm_head
        transformed = head.LayerNorm(head.transform_act_fn(head.dense(states)))
        return transformed

    def lm_words(self) -> tuple[Tensor, Tensor | None]:
        """See Backbone."""
        if self.model.config.legacy:
            decoder = self.model.cls.predictions.decoder
            return decoder.weight, decoder.bias
        return self.base.get_input_embeddings().weight, self.model.lm_predictions.lm_head.bias


class Hooks:
    """The prefix enters as P more rows of the fused projection; the outputs of those rows are dropped."""

    def __init__(self, attention: Any) -> None:
        self.attention = attention
        self.kv: KV | None = None
        self.bias = attention.disentangled_att_bias
        attention.disentangled_att_bias = self.relative
        attention.register_forward_pre_hook(self.begin)
        attention.in_proj.register_forward_hook(self.rows)
        attention.register_forward_hook(self.end)

    @property
    def length(self) -> int:
        """P, of the pass under way."""
        return 0 if self.kv is None else self.kv.k.shape[2]

    def begin(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Widen the mask [B, 1, N, N] to [B, 1, P+N, P+N]."""
        from ptune.backbones.attention import prefix_of, with_prefix

        states, mask, *rest = args
        self.kv = prefix_of(self.attention)
        if self.kv is not None:
            mask = F.pad(with_prefix(mask, self.kv, len(states)), (0, 0, self.length, 0), value=1)
        return states, mask, *rest

    def rows(self, _: nn.Module, __: Any, projected: Tensor) -> Tensor:
        """[B, N, A*3*D], for each head its query, key and value, to [B, P+N, A*3*D]."""
        from ptune.backbones.attention import record

        heads = self.attention.num_attention_heads
        bias = self.attention.v_bias.view(1, heads, 1, -1)
        _, key, value = projected.unflatten(2, (heads, -1)).transpose(1, 2).chunk(3, -1)
        record(self.attention, key, value + bias)
        if self.kv is None:
            return projected
        k, v = self.kv[:2]
        prefix = torch.cat([torch.zeros_like(k), k, v - bias], -1).transpose(1, 2).flatten(2)
        return torch.cat([prefix.expand(len(projected), -1, -1).to(projected.dtype), projected], 1)

    def relative(self, query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        """Scores of relative positions [B, A, P+N, P+N], 0 wherever the prefix is."""
        bias: Tensor = self.bias(query[:, :, self.length :], key[:, :, self.length :], *rest)
        # The mask's fill is the least number of the query's precision, which under autocast the scores lack.
        return F.pad(bias.to(query.dtype), (self.length, 0, self.length, 0))

    def end(self, _: nn.Module, __: Any, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        """Drop the prefix's own outputs."""
        return output[0][:, self.length :], output[1]
