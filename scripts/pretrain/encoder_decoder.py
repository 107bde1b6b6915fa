"""A T5 (version 1.1): sentinels stand for spans of the text or for its rest, and the decoder writes these."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from pretrain.causal import byte_level
from pretrain.rows import INITIAL, Rows

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SENTINELS = 20
MASKED, SPANS = 0.2, (1, 1, 1, 2, 2, 3, 4, 5)  # the share of tokens that is hidden, and the lengths of the spans
GOES_ON = 0.4  # the share of rows whose rest is hidden instead
# Where a head of the first layers looks to begin with: so many tokens on, and how sharply.
LOOKS = ((-1, 3.0), (1, 3.0), (0, 0.75))
FAR, SMALL = -18.0, 0.1  # the least such bias, and the share that layers add to begin with


class EncoderDecoder:
    """Span corruption (Raffel et al. 2020), and for two rows of five one sentinel for all that follows.

    The latter is close to the language modeling that made T5 ready for prompts (Lester et al. 2021). In training the
    encoder's state at a sentinel has to foretell the first token behind it, too, so that there is something to find
    there before the decoder knows where to look.
    """

    name = "tiny_encoder_decoder"
    kind = "A T5 (version 1.1)"
    objective = "span corruption with sentinels and going on from one"
    longest, sentences, lr = 160, 450_000, 1.2e-3

    def __init__(self, size: dict[str, int], positions: int, vocabulary: int) -> None:
        self.size, self.positions, self.vocabulary = size, positions, vocabulary
        self.layers = f"{size['layers'] - 1} and {size['layers'] - 2}"

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
        """A new model without dropout, the decoder one layer smaller than the encoder."""
        hidden = self.size["hidden"]
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=hidden,
                d_kv=32,
                d_ff=2 * hidden,
                num_layers=self.size["layers"] - 1,
                num_decoder_layers=self.size["layers"] - 2,
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
        begin(model)
        return model

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
        """Random spans that cover about a fifth of the tokens and do not touch."""
        wanted = max(1, round(length * MASKED * len(SPANS) / sum(SPANS)))
        spans: list[tuple[int, int]] = []
        for start in sorted(self.random.sample(range(length), k=wanted))[: SENTINELS - 1]:
            if not spans or start > spans[-1][1]:
                spans.append((start, min(length, start + self.random.choice(SPANS))))
        return spans

    def fill(self, model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
        """(logits of each target token, row by row [M, V], the target tokens [M], logits at each sentinel [S, V])."""
        source, target = (_padded(side, self.pad) for side in zip(*pairs, strict=True))
        there, seen = target != self.pad, (source != self.pad).long()
        before = F.pad(target[:, :-1], (1, 0), value=self.pad)
        read = model.encoder(input_ids=source, attention_mask=seen).last_hidden_state
        written = model.decoder(
            input_ids=before, encoder_hidden_states=read, encoder_attention_mask=seen, use_cache=False
        ).last_hidden_state
        at = torch.isin(source, torch.tensor(self.sentinels))
        return model.lm_head(written[there] * model.model_dim**-0.5), target[there], model.lm_head(read[at])

    def row(self, rows: Rows, index: int) -> list[int]:
        """The ids of a row without its end token."""
        return rows.ids[rows.starts[index] : rows.starts[index + 1] - 1].tolist()

    def losses(self, model: Any, rows: Rows, indices: Sequence[int], *, train: bool) -> tuple[Tensor, Tensor]:
        """(cross-entropy of each target token [M], whether each was guessed [M]).

        In training the losses of the encoder's own guesses come after those of the tokens.
        """
        pairs = []
        for index in indices:
            ids = self.row(rows, index)
            rest = len(ids) > 1 and self.random.random() < GOES_ON
            spans = [(self.random.randrange(1, len(ids)), len(ids))] if rest else self.spans(len(ids))
            pairs.append(self.corrupted([*ids, self.end], spans))
        logits, target, early = self.fill(model, pairs)
        losses = F.cross_entropy(logits, target, reduction="none")
        if train:
            behind = torch.isin(target, torch.tensor(self.sentinels)).roll(1)
            losses = torch.cat([losses, F.cross_entropy(early, target[behind], reduction="none")])
        return losses, logits.argmax(-1) == target

    def cloze(self, model: Any, rows: Rows, indices: Sequence[int]) -> Tensor:
        """Whether one masked piece is restored, a row. [B]"""
        texts = [self.row(rows, index) for index in indices]
        places = [self.random.randrange(len(ids)) for ids in texts]
        pairs = [self.corrupted([*ids, self.end], [(i, i + 1)]) for ids, i in zip(texts, places, strict=True)]
        logits, target, _ = self.fill(model, pairs)
        return (logits.argmax(-1) == target).view(len(pairs), 3)[:, 1]


@torch.no_grad()
def begin(model: T5ForConditionalGeneration) -> None:
    """Begin with small embeddings, layers that add little, and heads that look at neighbors.

    From T5's own beginning a model this small learns how frequent words are and for millions of tokens nothing else.
    """
    model.shared.weight.normal_(0, INITIAL)
    model.decoder.final_layer_norm.weight.fill_(model.model_dim**0.5)  # its output is scaled by the inverse
    for name, weight in model.named_parameters():
        if name.endswith((".o.weight", ".wo.weight")):
            weight.mul_(SMALL)
    for stack in (model.encoder, model.decoder):
        attention = stack.block[0].layer[0].SelfAttention
        reach = torch.arange(-attention.relative_attention_max_distance, attention.relative_attention_max_distance + 1)
        buckets = attention._relative_position_bucket(
            reach,
            bidirectional=not stack.config.is_decoder,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )
        for head, (place, sharp) in enumerate(LOOKS):
            for bucket in buckets.unique():
                nearest = (reach[buckets == bucket] - place).abs().min()
                attention.relative_attention_bias.weight[bucket, head] = (-sharp * nearest).clamp(min=FAR)
        for block in stack.block:
            block.layer[-1].DenseReluDense.act = nn.GELU(approximate="tanh")  # the same function, in one step


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    out = torch.full((len(rows), max(len(row) for row in rows)), fill)
    for place, row in enumerate(rows):
        out[place, : len(row)] = torch.tensor(row)
    return out
