"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ptune.backbones import Backbone


class DistilBert(Backbone):
    """BERT without token types and pooler; MLM head under `vocab_*`."""

    model_type = "distilbert"
    lm_key = "vocab_transform.weight"
    pooler_key = None
    dropouts = ("dropout",)
    attention_dropouts = ("attention_dropout",)
    cached = False
    token_types = False

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone."""
        names = {"num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "hidden_size": "dim"}
        return super().sizes({**config, **{key: config[name] for key, name in names.items()}})

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.transformer.layer)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.attention for layer in self.layers()]

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone."""
        embedded: Tensor = self.base.embeddings(None, embeds, positions)
        return embedded

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        model = self.model
        transformed: Tensor = model.vocab_layer_norm(model.activation(model.vocab_transform(states)))
        return transformed
