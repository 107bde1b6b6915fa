"""A T5 (version 1.1): spans of the text are replaced by sentinels, and the decoder fills them in."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from pretrain.causal import byte_level
from pretrain.rows import Rows

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SENTINELS = 20
MASKED, MEAN_SPAN = 0.15, 3.0


class EncoderDecoder:
    """Span corruption (Raffel et al. 2020): 15% of the tokens in spans of 3 on average, a sentinel for each."""

    name = "tiny_encoder_decoder"
    kind = "A T5 (version 1.1)"
    objective = "span corruption with sentinels"
    longest, sentences = 160, 500_000

    def __init__(self, size: dict[str, int], positions: int, vocabulary: int) -> None:
        self.size, self.positions, self.vocabulary = size, positions, vocabulary

    def tokenizer(self, passages: Sequence[str], ordinary: set[str]) -> PreTrainedTokenizerFast:
        """A byte-level tokenizer with T5's special tokens and sentinels, the sentinels last and counted down."""
        sentinels = [f"<extra_id_{i}>" for i in range(SENTINELS)]
        made = byte_level(passages, ordinary, self.vocabulary - SENTINELS, [PAD, END, UNKNOWN])
        made.add_special_tokens(sentinels[::-1])
        return PreTrainedTokenizerFast(
            tokenizer_object=made,
            pad_token=PAD,
            eos_token=END,
            unk_token=UNKNOWN,
            additional_special_tokens=sentinels,
            model_max_length=self.positions,
        )

    def rows(self, passages: Sequence[str], tokenizer: Any, random: Random, *, train: bool) -> Rows:
        """The passage and the end token."""
        texts = [" " + passage for passage in passages]
        return Rows([[*ids[: self.longest], tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]])

    def build(self, tokenizer: Any) -> T5ForConditionalGeneration:
        """A new model without dropout."""
        hidden = self.size["hidden"]
        return T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=hidden,
                d_kv=32,
                d_ff=2 * hidden,
                num_layers=self.size["layers"] - 1,
                num_decoder_layers=self.size["layers"] - 1,
                num_heads=hidden // 32,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                decoder_start_token_id=tokenizer.pad_token_id,
                attn_implementation="eager",
            )
        )

    def finish(self, model: T5ForConditionalGeneration) -> None:
        """Give the configuration the dropout that users of the checkpoint expect."""
        model.config.dropout_rate = 0.1

    def prepare(self, tokenizer: Any, seed: int) -> None:
        """Where the sentinels are, and the source of chance."""
        self.pad, self.end = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.sentinels = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(SENTINELS)])
        self.random = Random(seed)

    def corrupted(self, ids: list[int], spans: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """(the row with a sentinel for each span, the sentinels with what they stand for)."""
        source, target, at = [], [], 0
        for sentinel, (start, stop) in zip(self.sentinels, spans, strict=False):
            source += [*ids[at:start], sentinel]
            target += [sentinel, *ids[start:stop]]
            at = stop
        return source + ids[at:], [*target, self.end]

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Random spans that cover about 15% of the tokens and do not touch."""
        wanted = max(1, round(length * MASKED / MEAN_SPAN))
        starts = sorted(self.random.sample(range(length), k=min(wanted, length)))
        spans: list[tuple[int, int]] = []
        for start in starts[: SENTINELS - 1]:
            stop = min(length, start + self.random.choice((1, 2, 3, 4, 5)))
            if not spans or start > spans[-1][1]:
                spans.append((start, stop))
        return spans

    def fill(self, model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
        """(cross-entropy [B, N], whether each was guessed [B, N], which are there [B, N]) of the targets."""
        source, target = (_padded(side, self.pad) for side in zip(*pairs, strict=True))
        labels = target.masked_fill(target == self.pad, -100)
        logits = model(source, attention_mask=(source != self.pad).long(), labels=labels).logits
        losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        return losses, logits.argmax(-1) == target, target != self.pad

    def row(self, rows: Rows, index: int) -> list[int]:
        """The ids of a row without its end token."""
        return rows.ids[rows.starts[index] : rows.starts[index + 1] - 1].tolist()

    def losses(self, model: Any, rows: Rows, indices: Sequence[int], *, train: bool) -> tuple[Tensor, Tensor]:
        """(cross-entropy of each target token [M], whether each was guessed [M])."""
        texts = [self.row(rows, index) for index in indices]
        losses, right, there = self.fill(
            model, [self.corrupted([*ids, self.end], self.spans(len(ids))) for ids in texts]
        )
        return losses[there], right[there]

    def cloze(self, model: Any, rows: Rows, indices: Sequence[int]) -> Tensor:
        """Whether one masked piece is restored, a row. [B]"""
        texts = [self.row(rows, index) for index in indices]
        places = [self.random.randrange(len(ids)) for ids in texts]
        pairs = [self.corrupted([*ids, self.end], [(i, i + 1)]) for ids, i in zip(texts, places, strict=True)]
        return self.fill(model, pairs)[1][:, 1]


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    out = torch.full((len(rows), max(len(row) for row in rows)), fill)
    for place, row in enumerate(rows):
        out[place, : len(row)] = torch.tensor(row)
    return out
