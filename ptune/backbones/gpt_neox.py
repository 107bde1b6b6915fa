"""GPT-NeoX and Pythia (Black et al. 2022, arXiv 2204.06745; Biderman et al. 2023, arXiv 2304.01373)."""

from __future__ import annotations

from typing import Any

from torch import nn

from ptune.backbones.causal import Causal


class GptNeox(Causal):
    """Rotary positions on a part of each head; a prefix is not rotated: its keys stand at position 0."""

    model_type = "gpt_neox"
    lm_key = "embed_out.weight"
    dropouts = ("hidden_dropout",)
    attention_dropouts = ("attention_dropout",)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.attention for layer in self.layers()]

    def still(self) -> list[Any]:
        """See Backbone."""
        return [self.base.emb_dropout]
