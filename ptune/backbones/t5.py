"""T5 (Raffel et al. 2020, arXiv 1910.10683), its version 1.1, LM-adapted and Flan checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ptune.backbones.encoder_decoder import EncoderDecoder


class T5(EncoderDecoder):
    """Relative positions, which a prefix has none of: its bias is 0. Version 1.1 has an output layer of its own.

    It is read as transformers' classes read it: whole texts and answers in the decoder (T5ForSequenceClassification,
    T5ForQuestionAnswering), words to be tagged in the encoder (T5ForTokenClassification).
    """

    model_type = "t5"
    lm_key = "shared.weight"
    dropouts = ("dropout_rate",)
    attention_dropouts = ()
    relative = True
    encoder_tags = True
    sentinels = True

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone; positions are what it was trained on, as distances have no limit."""
        return {
            "layers": config["num_layers"],
            "decoder_layers": config.get("num_decoder_layers") or config["num_layers"],
            "heads": config["num_heads"],
            "head_dim": config["d_kv"],
            "hidden": config["d_model"],
            "embed": config["d_model"],
            "positions": config.get("n_positions", 512),
            "vocab": config["vocab_size"],
        }

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.encoder.block)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [block.layer[0].SelfAttention for block in self.layers()]

    def decoder_layers(self) -> list[Any]:
        """See EncoderDecoder."""
        return list(self.base.decoder.block)

    def decoder_attentions(self) -> list[nn.Module]:
        """See EncoderDecoder."""
        return [block.layer[0].SelfAttention for block in self.decoder_layers()]

    def cross_attentions(self) -> list[nn.Module]:
        """See EncoderDecoder."""
        return [block.layer[1].EncDecAttention for block in self.decoder_layers()]

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone; there are no positions to add."""
        return embeds

    def lm_logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """See Backbone; what the word embeddings are tied to is scaled."""
        if self.model.config.scale_decoder_outputs:
            states = states * self.shape.hidden**-0.5
        return F.linear(states, self.model.lm_head.weight[ids])
