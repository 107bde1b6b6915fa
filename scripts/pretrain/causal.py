"""A GPT-2: the next token, with a byte-level vocabulary that keeps capitals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pretrain.rows import INITIAL, Rows, names, often, shifted, sinusoids

END = "<|endoftext|>"


def byte_level(passages: Sequence[str], ordinary: set[str], size: int, special: Sequence[str]) -> Tokenizer:
    """A byte-level BPE tokenizer of the text, words with the space before them."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator((" " + word for word in chain(names(passages, ordinary), often(ordinary))), trainer)
    return made


class Causal:
    """Language modeling from left to right (Radford et al. 2019): one row a passage, between end-of-text tokens."""

    name = "tiny_causal"
    kind = "A GPT-2"
    objective = "language modeling"
    longest, sentences, lr = 160, 600_000, 1.5e-3

    def __init__(self, size: dict[str, int], positions: int, vocabulary: int) -> None:
        self.size, self.positions, self.vocabulary = size, positions, vocabulary
        self.layers = str(size["layers"])

    def tokenizer(self, passages: Sequence[str], ordinary: set[str]) -> PreTrainedTokenizerFast:
        """A byte-level tokenizer with one special token."""
        made = byte_level(passages, ordinary, self.vocabulary, [END])
        return PreTrainedTokenizerFast(
            tokenizer_object=made, bos_token=END, eos_token=END, pad_token=END, model_max_length=self.positions
        )

    def rows(self, passages: Sequence[str], tokenizer: Any, random: Random, *, train: bool) -> Rows:
        """The passage between two end-of-text tokens."""
        end = tokenizer.eos_token_id
        texts = [" " + passage for passage in passages]
        return Rows([[end, *ids[: self.longest], end] for ids in tokenizer(texts)["input_ids"]])

    def build(self, tokenizer: Any) -> GPT2LMHeadModel:
        """A new model without dropout."""
        hidden = self.size["hidden"]
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=self.positions,
                n_embd=hidden,
                n_layer=self.size["layers"],
                n_head=hidden // 32,
                initializer_range=INITIAL,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=tokenizer.eos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                attn_implementation="eager",
            )
        )
        model.transformer.wpe.weight.data.copy_(sinusoids(self.positions, hidden))
        return model

    def finish(self, model: GPT2LMHeadModel) -> None:
        """Give the configuration the dropout that users of the checkpoint expect."""
        model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = 0.1

    def prepare(self, tokenizer: Any, seed: int) -> None:
        """The source of chance."""
        self.end = tokenizer.eos_token_id
        self.generator = torch.Generator().manual_seed(seed)

    def losses(self, model: Any, rows: Rows, indices: Sequence[int], *, train: bool) -> tuple[Tensor, Tensor]:
        """(cross-entropy of each token [M], whether each was guessed [M])."""
        ids, _ = rows.padded(indices, self.end)
        real = torch.arange(ids.shape[1]) < torch.from_numpy(rows.lengths[list(indices)])[:, None]
        positions = shifted(*ids.shape, self.positions, self.generator) if train else None
        states = model.transformer(ids, attention_mask=real.long(), position_ids=positions).last_hidden_state
        wanted = real[:, 1:]
        logits = model.lm_head(states[:, :-1][wanted])
        targets = ids[:, 1:][wanted]
        return F.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets

    def cloze(self, model: Any, rows: Rows, indices: Sequence[int]) -> Tensor:
        """Whether the last piece before the final punctuation is foretold, a row. [B]"""
        ids, _ = rows.padded(indices, self.end)
        last = torch.from_numpy(rows.lengths[list(indices)]).long() - 3
        states = model.transformer(ids).last_hidden_state
        count = torch.arange(len(ids))
        return model.lm_head(states[count, last - 1]).argmax(-1) == ids[count, last]
