"""OPT (Zhang et al. 2022, arXiv 2205.01068)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ptune.backbones.causal import Causal
from ptune.errors import PtuneError


class Opt(Causal):
    """Absolute positions from 0; the 350M checkpoint, whose embeddings are narrower than its states, is refused."""

    model_type = "opt"
    dropouts = ("dropout",)
    attention_dropouts = ("attention_dropout",)
    threads = False  # it drops by torch's function, whose random numbers all threads share

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone. Raises PtuneError for states that leave the model in another width."""
        if config.get("word_embed_proj_dim", config["hidden_size"]) != config["hidden_size"]:
            raise PtuneError(
                f"backbone: an OPT of {config['hidden_size']} hidden units whose word embeddings have "
                f"{config['word_embed_proj_dim']} (opt-350m) is not supported; opt-125m and opt-1.3b are"
            )
        return super().sizes(config)

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.decoder.layers)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.self_attn for layer in self.layers()]

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone."""
        embedded: Tensor = embeds + self.base.decoder.embed_positions(types, position_ids=positions)
        return embedded
