"""What decoder-only language models share: each token sees those before it, and the next one is what they predict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ptune.backbones import Backbone


class Causal(Backbone):
    """A row is read at its last token, and a mask is the token after it: nothing stands behind.

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
        """See Backbone; what is generated later is not prepared for."""
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
