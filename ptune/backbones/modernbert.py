"""ModernBERT (Warner et al. 2024, arXiv 2412.13663)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ptune.backbones import Backbone


class ModernBert(Backbone):
    """Rotary positions; two layers of three see a local window of the text, and a prefix is exempt from it.

    The prefix is not rotated: its keys stand at position 0, and the text's offset is its distance to them. A prompt in
    front of the text is text: local layers see it within their window. The decoder is tied to the word embeddings.
    """

    model_type = "modernbert"
    lm_key = "decoder.bias"
    pooler_key = None
    dropouts = ("embedding_dropout", "mlp_dropout")
    attention_dropouts = ("attention_dropout",)
    cached = False
    token_types = False
    relative = True

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.layers)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.attn for layer in self.layers()]

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone."""
        embedded: Tensor = self.base.embeddings(inputs_embeds=embeds)
        return embedded

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        transformed: Tensor = self.model.head(states)
        return transformed
