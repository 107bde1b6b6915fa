"""What encoder-decoders share: a row is the encoder's text, and what its decoder is given goes by what is read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.backbones import Backbone, weight_names
from ptune.backbones.search import Search, search
from ptune.batch import EVERY, IGNORED, Batch, Hidden
from ptune.errors import PtuneError
from ptune.injection import Injection

if TYPE_CHECKING:
    from ptune.backbones.attention import Slot


class EncoderDecoder(Backbone):
    """States are the decoder's, to which the row's text is given once more behind the start token: that of the end
    token stands for the row as a whole (Lewis et al. 2020, arXiv 1910.13461, section 3). Two families' exceptions:

    encoder_tags: words to be tagged are read in the encoder, and the decoder is not run for them.
    sentinels: a mask is a sentinel of the encoder's text, and what is read there is the decoder's state behind the
    start token and that sentinel, which foretells the first token that it stands for.

    Texts to be generated are given to the decoder behind the start token and what else they all begin with. Prompts in
    front of the text and in its slots are the encoder's, those in slots the decoder's too where it is given the text.
    """

    lm_class = "AutoModelForSeq2SeqLM"
    pooler_key = None
    token_types = False
    cached = False
    stacked = False

    @classmethod
    def has_lm_head(cls, tensors: set[str]) -> bool:
        """See Backbone; where it is tied there is nothing to be seen of it but the decoder."""
        return any("decoder." in name for name in tensors)

    def configure(self, config: Any, lm: bool) -> None:
        """See Backbone. Raises PtuneError for a checkpoint of an encoder alone, whose decoder would be random."""
        super().configure(config, lm)
        if not self.has_lm_head(weight_names(self.folder, self.weights)):
            raise PtuneError(f"backbone {self.name}: its checkpoint has no decoder; choose one with a decoder")
        config.use_cache = False
        self.start_id: int = config.decoder_start_token_id
        self.opening: list[int] = []  # see Tokens.opening
        self.pad_id: int = config.pad_token_id

    @abstractmethod
    def decoder_layers(self) -> list[Any]:
        """The decoder's layers, from the lowest."""

    def all_layers(self) -> list[Any]:
        """See Backbone."""
        return [*self.layers(), *self.decoder_layers()]

    @abstractmethod
    def cross_attentions(self) -> list[nn.Module]:
        """The modules by which each layer of the decoder attends to the encoder."""

    @abstractmethod
    def decoder_attentions(self) -> list[nn.Module]:
        """The modules by which each layer of the decoder attends to what was decoded."""

    def install(self) -> dict[str, Slot]:
        """See Backbone."""
        from ptune.backbones.attention import install

        decoder_slots = {"decoder": install(self.decoder_attentions()), "cross": install(self.cross_attentions())}
        return {**super().install(), **decoder_slots}

    def forward(self, batch: Batch, injection: Injection, **options: Any) -> Hidden:
        """See Backbone; there are no options."""
        self.expect(injection)
        source = self.source(batch, injection)
        embeds = self.embed(batch.ids) if source.embeds is None else source.embeds
        encoded = self.encode(embeds, source.mask, injection.offset)
        states = self.states(batch, source.text_states(embeds), source.text_states(encoded), encoded, source.mask)
        output = self.taught(batch.output, encoded, source.mask) if batch.output.shape[1] else None

        def generate(**how: Any) -> list[list[int]]:
            return self.generate(encoded, source.mask, injection, Search(**how))

        return Hidden(states, self.lm_logits, output, generate)

    def states(self, batch: Batch, embeds: Tensor, own: Tensor, encoded: Tensor, seen: Tensor) -> Tensor:
        """What is read of the rows [B, N, H], given their embeddings [B, N, E] and `own`, the encoder's states of them.

        encoded: all its states [B, P+N, H], those of a prompt in front too, under the mask `seen` [B, P+N]. Raises
        PtuneError for a row of several masks that are sentinels.
        """
        is_tagged = reads(batch, ["words"] if self.encoder_tags else [])
        is_cloze = reads(batch, ["mask"] if self.sentinels else [])
        is_text = reads(batch, batch.read) & ~is_tagged & ~is_cloze
        states = own
        if is_text.any():
            decoded = self.decode(self.behind_start(embeds, batch.mask), encoded, seen, batch.mask)
            states = torch.where(is_text[:, None, None], decoded, states)
        if is_cloze.any():
            if ((batch.read["mask"] >= 0).sum(1) > 1).any():
                raise PtuneError(f"backbone {self.name} reads one mask per text; choose a pattern with one mask")
            positions = batch.read["mask"][:, :1].clamp(min=0)
            decoded = self.decode(self.embed(self.after_start(batch.ids.gather(1, positions))), encoded, seen)[:, 1:]
            filled = states.scatter(1, positions[..., None].expand_as(decoded), decoded.to(states.dtype))
            states = torch.where(is_cloze[:, None, None], filled, states)
        return states

    def taught(self, output: Tensor, encoded: Tensor, seen: Tensor) -> Tensor:
        """The states [B, M, H] that predict each token of `output` [B, M] behind those before it."""
        input_ids = output.masked_fill(output == IGNORED, self.pad_id)[:, :-1]
        return self.decode(self.embed(self.after_start(input_ids)), encoded, seen)

    def after_start(self, ids: Tensor) -> Tensor:
        """Ids [B, M] behind the start token, [B, 1+M]."""
        return F.pad(ids, (1, 0), value=self.start_id)

    def behind_start(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """A text's embeddings [B, N, E] but the last, behind that of the start token; padding anywhere."""
        start = self.embed(torch.tensor([[self.start_id]], device=mask.device))
        is_first = mask & (mask.cumsum(1) == 1)
        return torch.where(is_first[..., None], start, F.pad(embeds[:, :-1], (0, 0, 1, 0)))

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings [B, N, E]."""
        embeds: Tensor = self.base.get_input_embeddings()(ids)
        return embeds

    def encode(self, embeds: Tensor, mask: Tensor, offset: int | Tensor) -> Tensor:
        """The encoder's states [B, N, H], with positions shifted by `offset`."""
        states: Tensor = self.base.encoder(inputs_embeds=embeds, attention_mask=mask.long()).last_hidden_state
        return states

    def decode(self, embeds: Tensor, encoded: Tensor, seen: Tensor, mask: Tensor | None = None) -> Tensor:
        """The decoder's states [B, M, H] of embeddings [B, M, E] under `mask` [B, M], padding on the right without."""
        states: Tensor = self.base.decoder(
            inputs_embeds=embeds,
            attention_mask=None if mask is None else mask.long(),
            encoder_hidden_states=encoded,
            encoder_attention_mask=seen.long(),
            use_cache=False,
        ).last_hidden_state
        return states

    def read(self, ids: Tensor) -> None:
        """See Backbone; the decoder is given the text behind the start token."""
        mask, embeds = torch.ones_like(ids, dtype=torch.bool), self.embed(ids)
        self.decode(self.behind_start(embeds, mask), self.encode(embeds, mask, 0), mask, mask)

    def generate(self, encoded: Tensor, seen: Tensor, injection: Injection, how: Search) -> list[list[int]]:
        """What the decoder writes for each row under the injection, see `search`; one pass a token."""
        from transformers import DynamicCache, EncoderDecoderCache

        # Not transformers' own choice, which has as many layers as the encoder.
        cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
        rows = torch.arange(len(encoded), device=encoded.device)

        def advance(tokens: Tensor, origin: Tensor) -> Tensor:
            nonlocal rows
            rows = rows[origin]
            cache.reorder_cache(origin)
            with self.injected(injection.of(rows)):
                states = self.base.decoder(
                    input_ids=tokens[:, None],
                    encoder_hidden_states=encoded[rows],
                    encoder_attention_mask=seen[rows].long(),
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state
            logits: Callable[[Tensor, Any], Tensor] = self.lm_logits
            return logits(states[:, 0], EVERY)

        all_rows = rows
        for token in (self.start_id, *self.opening):
            first_logits = advance(torch.full_like(all_rows, token), all_rows)
        return search(first_logits, advance, how._replace(before=len(self.opening)))


def reads(batch: Batch, names: Iterable[str]) -> Tensor:
    """Which rows have a position among those of some read-outs, [B]."""
    has_position = torch.zeros(len(batch), dtype=torch.bool, device=batch.ids.device)
    for name in names:
        if name in batch.read:
            has_position = has_position | (batch.read[name] >= 0).any(1)
    return has_position
