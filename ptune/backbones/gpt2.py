"""GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ptune.backbones.causal import Causal


class Gpt2(Causal):
    """Absolute positions from 0; the language-model head is tied to the word embeddings."""

    model_type = "gpt2"
    dropouts = ("resid_pdrop", "embd_pdrop")
    attention_dropouts = ("attn_pdrop",)

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone."""
        names = {"layers": "n_layer", "heads": "n_head", "hidden": "n_embd", "embed": "n_embd"}
        return {
            **{key: config[name] for key, name in names.items()},
            "positions": config["n_positions"],
            "vocab": config["vocab_size"],
        }

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.h)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.attn for layer in self.layers()]

    def still(self) -> list[nn.Module]:
        """See Backbone."""
        return [self.base.drop]

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone."""
        embedded: Tensor = self.base.drop(embeds + self.base.wpe(positions))
        return embedded
