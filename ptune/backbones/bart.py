"""BART (Lewis et al. 2020, arXiv 1910.13461)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.backbones.encoder_decoder import EncoderDecoder
from ptune.errors import PtuneError

if TYPE_CHECKING:
    from ptune.backbones.attention import Slot

RESERVED = 2  # rows of the table of positions that are not for text


class Bart(EncoderDecoder):
    """Absolute positions; texts, words, answers and masks are all read in the decoder, as section 3 of the paper says.

    Its stacks number their columns, whatever is padding; here the tokens count.
    """

    model_type = "bart"
    lm_key = "decoder.embed_positions.weight"
    dropouts = ("dropout", "activation_dropout")
    attention_dropouts = ("attention_dropout",)
    threads = False  # it drops by torch's function, whose random numbers all threads share

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone. Raises PtuneError for a decoder of other heads than the encoder's."""
        if config["decoder_attention_heads"] != config["encoder_attention_heads"]:
            raise PtuneError("backbone: a BART with different numbers of heads in encoder and decoder is not supported")
        return {
            "layers": config["encoder_layers"],
            "decoder_layers": config["decoder_layers"],
            "heads": config["encoder_attention_heads"],
            "hidden": config["d_model"],
            "embed": config["d_model"],
            "positions": config["max_position_embeddings"],
            "vocab": config["vocab_size"],
        }

    def configure(self, config: Any, lm: bool) -> None:
        """See EncoderDecoder."""
        super().configure(config, lm)
        self.opening = [config.bos_token_id]

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.base.encoder.layers)

    def attentions(self) -> list[nn.Module]:
        """See Backbone."""
        return [layer.self_attn for layer in self.layers()]

    def decoder_layers(self) -> list[Any]:
        """See EncoderDecoder."""
        return list(self.base.decoder.layers)

    def decoder_attentions(self) -> list[nn.Module]:
        """See EncoderDecoder."""
        return [layer.self_attn for layer in self.decoder_layers()]

    def cross_attentions(self) -> list[nn.Module]:
        """See EncoderDecoder."""
        return [layer.encoder_attn for layer in self.decoder_layers()]

    def install(self) -> dict[str, Slot]:
        """See Backbone."""
        self.places: Tensor | None = None
        for stack in (self.base.encoder, self.base.decoder):
            table = stack.embed_positions
            table.forward = partial(self.positioned, table, table.forward)
        return super().install()

    def positioned(self, table: Any, forward: Any, *args: Any, **named: Any) -> Tensor:
        """The embeddings [B, N, H] of the positions that are set; while texts are generated, the library's own."""
        if self.places is None:
            embeddings: Tensor = forward(*args, **named)
            return embeddings
        return F.embedding(self.places + RESERVED, table.weight)

    @contextmanager
    def placed(self, mask: Tensor, offset: int | Tensor) -> Iterator[None]:
        """Tokens under `mask` stand where they are counted, shifted by `offset`, inside."""
        self.places = self.position_ids(mask, offset)
        try:
            yield
        finally:
            self.places = None

    def encode(self, embeds: Tensor, mask: Tensor, offset: int | Tensor) -> Tensor:
        """See EncoderDecoder."""
        with self.placed(mask, offset):
            return super().encode(embeds, mask, offset)

    def decode(self, embeds: Tensor, encoded: Tensor, seen: Tensor, mask: Tensor | None = None) -> Tensor:
        """See EncoderDecoder."""
        token_mask = torch.ones_like(embeds[..., 0], dtype=torch.bool) if mask is None else mask
        with self.placed(token_mask, 0):
            return super().decode(embeds, encoded, seen, mask)

    def embedded(self, embeds: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        """See Backbone."""
        encoder = self.base.encoder
        embedded: Tensor = encoder.layernorm_embedding(
            embeds + F.embedding(positions + RESERVED, encoder.embed_positions.weight)
        )
        return embedded

    def lm_logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """See Backbone."""
        return F.linear(states, self.model.lm_head.weight[ids], self.model.final_logits_bias[0, ids])
