"""A bidirectional LSTM on word vectors (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005), from scratch.

Its folder is the run's: `tokenizer.json` has its words, `vectors.safetensors` the vectors of those that a file had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ptune.backbones import Backbone
from ptune.batch import Batch, Hidden
from ptune.dropout import Dropout, dropout
from ptune.injection import Injection
from ptune.tokens import Tokens

PAD, UNKNOWN, FIRST, BETWEEN = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
POSITIONS = 2**20  # a row may be of any length


class BiLSTM(Backbone):
    """embed: the width of word vectors, unless a file gives them; hidden: of each direction; pooling: of the states of
    a whole text, which is read at its first token; word_dropout: the share of words that are unknown while training.

    A pair of texts is read one after the other, and their pooled states u and v are joined as [u; v; |u - v|; u * v]
    (Conneau et al. 2017, arXiv 1705.02364), through a dense layer (GLUE's baselines, arXiv 1804.07461).
    """

    lm_key = ""
    pooler_key = None
    dropouts = ("dropout",)
    attention_dropouts = ()
    cached = False
    stacked = False

    def __init__(
        self,
        name: str,
        embed: int = 100,
        hidden: int = 200,
        layers: int = 1,
        pooling: Literal["max", "mean"] = "max",
        dropout: float = 0.3,
        word_dropout: float = 0.05,
        path: str | None = None,
    ) -> None:
        size, headed = 2 * hidden, False
        super().__init__(name, layers, 1, size, POSITIONS, 0, headed, headed, path=path, embed=embed, dropout=dropout)
        self.pooling, self.word_dropout, self.rate = pooling, word_dropout, dropout

    @property
    def folder(self) -> Path:
        """See Backbone."""
        assert self.path is not None
        return Path(self.path)

    def tokens(self) -> Tokens:
        """See Backbone; a token is a word."""
        from transformers import PreTrainedTokenizerFast

        special_tokens = {"pad_token": PAD, "unk_token": UNKNOWN, "cls_token": FIRST}
        return Tokens(PreTrainedTokenizerFast(tokenizer_file=str(self.folder / "tokenizer.json"), **special_tokens))

    def load(self, lm: bool) -> None:
        """See Backbone; nothing is drawn here, but in `tune`."""
        from safetensors.torch import load_file

        vectors_file = self.folder / "vectors.safetensors"
        self.given = load_file(vectors_file) if vectors_file.is_file() else None
        self.known = self.tokens().tokenizer.get_vocab()

    def tune(self, what: str, adapter: Mapping[str, Any] | None = None) -> None:
        """See Backbone; all of it is drawn here, and learns."""
        width = self.shape.embed if self.given is None else self.given["vectors"].shape[1]
        self.model = Network(len(self.known), width, self.shape.hidden // 2, self.shape.layers, BETWEEN in self.known)
        if self.given is not None:
            with torch.no_grad():
                self.model.embedding.weight[self.given["ids"]] = self.given["vectors"]
        self.model.requires_grad_(what == "all")
        self.drop = Dropout(self.rate)

    def layers(self) -> list[Any]:
        """See Backbone."""
        return list(self.model.layers)

    @contextmanager
    def injected(self, injection: Injection) -> Iterator[None]:
        """See Backbone; nothing is injected."""
        yield

    def forward(self, batch: Batch, injection: Injection, **options: Any) -> Hidden:
        """See Backbone; the state at the first token is that of the whole row."""
        ids, network = batch.ids, self.model
        if self.training and self.word_dropout:
            keep_mask = dropout(torch.ones(ids.shape, device=ids.device), self.word_dropout) > 0
            ids = ids.where(keep_mask, self.known[UNKNOWN])
        states = self.drop(network.embedding(ids))
        lengths = batch.mask.sum(1).cpu()
        for layer in network.layers:
            packed = pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=ids.shape[1])
            states = self.drop(states)
        pooled = self.pooled(states, batch.mask & (batch.types == 0))
        if network.join is not None:
            second = self.pooled(states, batch.mask & (batch.types == 1))
            pooled = torch.cat([pooled, second, (pooled - second).abs(), pooled * second], 1)
            pooled = self.drop(torch.tanh(network.join(pooled)))
        return Hidden(torch.cat([pooled[:, None], states[:, 1:]], 1), self.lm_logits)

    def pooled(self, states: Tensor, chosen: Tensor) -> Tensor:
        """The maximum or mean [B, H] of those states [B, N, H] that are `chosen` [B, N], of which each row has some."""
        if self.pooling == "max":
            return states.masked_fill(~chosen[..., None], -torch.inf).amax(1)
        return (states * chosen[..., None]).sum(1) / chosen.sum(1, keepdim=True)


class Network(nn.Module):
    """Word vectors [V, E], `layers` bidirectional LSTMs of H in each direction, and what joins a pair of texts."""

    def __init__(self, words: int, width: int, hidden: int, layers: int, pairs: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        size = 2 * hidden
        self.layers = nn.ModuleList(
            nn.LSTM(size if layer else width, hidden, bidirectional=True, batch_first=True) for layer in range(layers)
        )
        self.join = nn.Linear(4 * size, size) if pairs else None

    @property
    def base_model(self) -> Network:
        """As transformers' models say where their embeddings are."""
        return self

    def get_input_embeddings(self) -> nn.Embedding:
        """The word vectors."""
        return self.embedding


def splitting(whole: bool, lowercase: bool) -> tuple[Any, Any]:
    """The normalizer (None for none) and the pre-tokenizer: texts fall apart at punctuation, words are as they are."""
    from tokenizers import normalizers, pre_tokenizers

    pre_tokenizer = pre_tokenizers.BertPreTokenizer() if whole else pre_tokenizers.WhitespaceSplit()
    return normalizers.Lowercase() if lowercase else None, pre_tokenizer


def pieces(whole: bool, lowercase: bool) -> Callable[[str], list[str]]:
    """A function from a text to its words, as a tokenizer of `word_tokenizer` splits it."""
    normalizer, pre_tokenizer = splitting(whole, lowercase)

    def split(text: str) -> list[str]:
        text = normalizer.normalize_str(text) if normalizer is not None else text
        return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]

    return split


def word_tokenizer(words: Sequence[str], whole: bool, lowercase: bool, pairs: bool) -> Any:
    """A tokenizer of whole words, with a first token in front and, for `pairs`, one before the second text."""
    from tokenizers import Tokenizer, models, processors

    special_tokens = [PAD, UNKNOWN, FIRST, *([BETWEEN] if pairs else [])]
    vocab = {word: index for index, word in enumerate(dict.fromkeys([*special_tokens, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    normalizer, tokenizer.pre_tokenizer = splitting(whole, lowercase)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST}:0 $A:0",
        pair=f"{FIRST}:0 $A:0 {BETWEEN + ':1 ' if pairs else ''}$B:1",
        special_tokens=[(token, vocab[token]) for token in special_tokens[2:]],
    )
    return tokenizer
