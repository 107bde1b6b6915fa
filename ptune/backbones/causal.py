"""What decoder-only language models share: each token sees those before it, and the next one is what they predict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.backbones import Backbone, front_mask
from ptune.backbones.search import Search, search
from ptune.batch import EVERY, IGNORED, Batch, Hidden
from ptune.injection import Injection


class Causal(Backbone):
    """A row is read at its last token, and a mask is the token after it: nothing stands behind but the row's output,
    which is read in the same pass.

    lm_key: the language-model head's weights; a checkpoint without them ties them to the word embeddings.
    """

    lm_key = "lm_head.weight"
    lm_class = "AutoModelForCausalLM"
    pooler_key = None
    token_types = False
    causal = True

    @classmethod
    def has_lm_head(cls, tensors: set[str]) -> bool:
        """See Backbone; where it is tied there is nothing to be seen of it."""
        return True

    def configure(self, config: Any, lm: bool) -> None:
        """See Backbone; keys and values are kept for generation alone, which asks for it."""
        super().configure(config, lm)
        config.use_cache = False

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.layers)

    @abstractmethod
    def attentions(self) -> list[nn.Module]:
        """See Backbone."""

    def still(self) -> list[nn.Module]:
        """See Backbone."""
        return [self.base.get_input_embeddings()]

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone; rotary positions are added in the layers."""
        return embeds

    def forward(self, batch: Batch, injection: Injection, **options: Any) -> Hidden:
        """See Backbone. Outputs stand in columns behind the widest source, each right after its own to the model."""

        def generate(**how: Any) -> list[list[int]]:
            return self.generate(batch, injection, Search(**how))

        if not batch.output.shape[1]:
            return replace(super().forward(batch, injection, **options), generate=generate)
        output_ids = batch.output[:, :-1]
        padding = (0, output_ids.shape[1])
        full_batch = replace(
            batch,
            ids=torch.cat([batch.ids, output_ids.clamp(min=0)], 1),
            types=F.pad(batch.types, padding),
            mask=torch.cat([batch.mask, output_ids != IGNORED], 1),
        )
        hidden = super().forward(full_batch, injection, **options)
        source, output = hidden.states.split([batch.ids.shape[1], output_ids.shape[1]], 1)
        first_states = replace(hidden, states=source).at(last(batch.mask))
        return Hidden(source, hidden.words, torch.cat([first_states, output], 1), generate)

    def generate(self, batch: Batch, injection: Injection, how: Search) -> list[list[int]]:
        """What each row goes on with under the injection, see `search`; one pass for the sources, then one a token."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        source = self.sources(batch, injection, cache)
        mask = batch.mask
        if injection.front is not None:
            mask = torch.cat([front_mask(injection, len(batch)), mask], 1)
        rows = torch.arange(len(batch), device=mask.device)

        def advance(tokens: Tensor, origin: Tensor) -> Tensor:
            nonlocal mask, rows
            rows = rows[origin]
            mask = F.pad(mask[origin], (0, 1), value=True)
            cache.reorder_cache(origin)
            row_injection = injection.of(rows)
            with self.injected(row_injection):
                states = self.base(
                    input_ids=tokens[:, None],
                    attention_mask=mask.long(),
                    position_ids=self.position_ids(mask, row_injection.offset)[:, -1:],
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state
            return self.logits(states[:, 0])

        return search(self.logits(source), advance, how)

    def logits(self, states: Tensor) -> Tensor:
        """Logits [B, V] of every word."""
        lm_logits: Callable[[Tensor, Any], Tensor] = self.lm_logits
        return lm_logits(states, EVERY)

    def sources(self, batch: Batch, injection: Injection, cache: Any) -> Tensor:
        """The state of each row's last token, [B, H]; keys and values of all of them go into the cache."""
        source_batch = replace(batch, output=batch.output[:, :0])
        hidden = super().forward(source_batch, injection, past_key_values=cache, use_cache=True)
        return hidden.at(last(batch.mask))[:, 0]


def last(mask: Tensor) -> Tensor:
    """[B, 1]: the last column in use of each row of a mask [B, N]."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    return (columns * mask).amax(1, keepdim=True)


class Grouped(Causal):
    """Llama's layout: several query heads share a key head, and a head's width is its own setting."""

    dropouts = ()
    attention_dropouts = ("attention_dropout",)

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone."""
        heads = config["num_attention_heads"]
        return {
            **super().sizes(config),
            "kv_heads": config.get("num_key_value_heads") or heads,
            "head_dim": config.get("head_dim") or config["hidden_size"] // heads,
        }

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.self_attn for layer in self.layers()]
