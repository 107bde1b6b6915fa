"""A BERT with its masked-LM head: whole words masked, answers more often than the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from pretrain.recurring import LONGEST, NOTHING, Recurring
from pretrain.rows import INITIAL, Rows, names, often, shifted, sinusoids

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SENTENCE_END = re.compile(r"(?<=[.?!]) (?=[A-Z0-9\"])")
MASKED, ANSWERS_MASKED = 0.15, 0.4
PRIVATE = 0xE000


def wordpieces(words: Iterable[str], size: int) -> list[str]:
    """The pieces of a WordPiece vocabulary, from letters to the rarest merge.

    The trainer of `tokenizers` numbers the letters inside words in the order of a hash table and settles ties by
    number, so its vocabulary differs from run to run. Byte-pair merges over letters, those inside a word moved to
    private code points, give the pieces that WordPiece would, and the same each time.
    """
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    moved = {ord(letter): PRIVATE + ord(letter) for letter in letters}
    back = {code: letter for letter, code in moved.items()}
    made = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=[*letters, *map(chr, moved.values())]
    )
    made.train_from_iterator((word[0] + word[1:].translate(moved) for word in words), trainer)
    pieces = sorted(made.get_vocab().items(), key=lambda item: item[1])
    return [("##" if ord(piece[0]) in back else "") + piece.translate(back) for piece, _ in pieces]


class Encoder:
    """Masked language modeling (Devlin et al. 2019) over whole words: 80% [MASK], 10% random, 10% kept.

    A passage of several sentences is cut into segments A and B, so that token type 1 is trained. Words after the
    last question mark are masked more often (salient span masking, Guu et al. 2020): answers are worth learning. Where
    a row says something twice, one place is hidden and two vectors, thrown away in the end, find the ends of the others
    (recurring span selection, Ram et al. 2021): so what stands in a passage learns to see what is asked of it.
    """

    name = "tiny_encoder"
    kind = "A BERT"
    objective = "masked language modeling over whole words and recurring span selection"
    longest, sentences, lr = 160, 1_500_000, 1.5e-3

    def __init__(self, size: dict[str, int], positions: int, vocabulary: int) -> None:
        self.size, self.positions, self.vocabulary = size, positions, vocabulary
        self.layers = str(size["layers"])

    def tokenizer(self, passages: Sequence[str], ordinary: set[str]) -> BertTokenizer:
        """An uncased WordPiece tokenizer of the text."""
        words = chain(sorted({name.lower() for name in names(passages, ordinary)}), often(ordinary))
        pieces = [*SPECIAL, *wordpieces(words, self.vocabulary - len(SPECIAL))]
        vocabulary = {piece: index for index, piece in enumerate(pieces)}
        made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
        made.add_special_tokens(list(SPECIAL))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        ends = ((token, SPECIAL.index(token)) for token in ("[SEP]", "[CLS]"))
        made.post_processor = processors.BertProcessing(*ends)
        return BertTokenizer(tokenizer_object=made, do_lower_case=True, model_max_length=self.positions)

    def rows(self, passages: Sequence[str], tokenizer: Any, random: Random, *, train: bool) -> Rows:
        """[CLS] A [SEP] or [CLS] A [SEP] B [SEP]; the cut is where B begins, the facts are those of `Hidden`."""
        firsts, seconds = [], []
        for passage in passages:
            sentences = SENTENCE_END.split(passage)
            many = len(sentences) > 1 and random.random() < 0.6
            cut = random.randint(1, len(sentences) - 1) if many else len(sentences)
            firsts.append(" ".join(sentences[:cut]))
            seconds.append(" ".join(sentences[cut:]))
        ids_a, ids_b = (tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (firsts, seconds))
        rows, cuts, facts, half = [], [], [], self.longest // 2
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        recurring = Recurring(pieces, len(SPECIAL), [tuple(a + b) for a, b in zip(ids_a, ids_b, strict=True)])
        for a, b in zip(ids_a, ids_b, strict=True):
            head = (tokenizer.cls_token_id, *a[: half if b else self.longest], tokenizer.sep_token_id)
            row = (*head, *b[:half], tokenizer.sep_token_id) if b else head
            row, cut, hidden = recurring.hide(row, len(head), random) if train else (row, len(head), NOTHING)
            rows.append(row)
            cuts.append(cut)
            facts.append(hidden.numbers())
        return Rows(rows, cuts, facts)

    def build(self, tokenizer: Any) -> BertForMaskedLM:
        """A new model without dropout, which one pass over the text does not need."""
        hidden = self.size["hidden"]
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden,
                num_hidden_layers=self.size["layers"],
                num_attention_heads=hidden // 32,
                intermediate_size=4 * hidden,
                max_position_embeddings=self.positions,
                initializer_range=INITIAL,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                attn_implementation="eager",
            )
        )
        model.bert.embeddings.position_embeddings.weight.data.copy_(sinusoids(self.positions, hidden))
        model.ends = nn.Linear(hidden, 2)
        return model

    def finish(self, model: BertForMaskedLM) -> None:
        """Leave out what only pretraining needs, and give the configuration the dropout that users expect."""
        del model.ends
        model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.1

    def prepare(self, tokenizer: Any, seed: int) -> None:
        """What masking needs to know of the vocabulary."""
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.continues = torch.tensor([piece.startswith("##") for piece in pieces])
        self.mask_id, self.question = tokenizer.mask_token_id, tokenizer.convert_tokens_to_ids("?")
        self.generator = torch.Generator().manual_seed(seed)

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator)

    def inputs(self, ids: Tensor, cuts: Tensor, shift: bool) -> dict[str, Tensor]:
        """What the model is given beside the ids."""
        count, length = ids.shape
        positions = shifted(count, length, self.positions, self.generator) if shift else None
        if positions is not None:  # with or without [CLS] moved
            positions[:, 0] = torch.where(self.rand(count) < 0.5, positions[:, 0], 0)
        types = (torch.arange(length) >= cuts).long() * (ids > 0)
        return {"token_type_ids": types, "attention_mask": (ids > 0).long(), "position_ids": positions}

    def losses(self, model: Any, rows: Rows, indices: Sequence[int], *, train: bool) -> tuple[Tensor, Tensor]:
        """(cross-entropy of each masked token [M], whether each was guessed [M]).

        In training the losses of the ends of hidden spans come after those of the tokens.
        """
        ids, cuts = rows.padded(indices, 0)
        real = ids >= len(SPECIAL)
        word = torch.cumsum(~self.continues[ids], dim=1)
        share = torch.full(ids.shape, MASKED)
        if train:
            after = (ids == self.question).flip(1).cumsum(1).flip(1) == 0
            asked = (ids == self.question).any(1, keepdim=True)
            share[after & asked] = ANSWERS_MASKED
        draws = self.rand(ids.shape[0], ids.shape[1] + 1).gather(1, word)
        begin, end, length, *copies = torch.from_numpy(rows.facts[indices].astype("int64")).T[..., None]
        place = torch.arange(ids.shape[1])
        hidden = (place >= begin) & (place < end) & train
        chosen = (draws < share) & real | hidden
        masked, draw = ids.clone(), self.rand(*ids.shape)
        masked[chosen & (draw < 0.8)] = self.mask_id
        noise = torch.randint(len(SPECIAL), len(self.continues), ids.shape, generator=self.generator)
        masked = torch.where(chosen & (draw >= 0.9), noise, masked)
        masked[hidden] = self.mask_id
        states = model.bert(masked, **self.inputs(ids, cuts, shift=train)).last_hidden_state
        logits = model.cls(states[chosen])
        losses, right = F.cross_entropy(logits, ids[chosen], reduction="none"), logits.argmax(-1) == ids[chosen]
        if train:
            firsts = torch.cat(copies, dim=1)
            firsts = firsts.masked_fill(firsts < 0, -LONGEST)[..., None]
            scores = model.ends(states).float().masked_fill((ids == 0)[..., None], -torch.inf)
            for end, places in enumerate((firsts, firsts + length[..., None] - 1)):
                losses = torch.cat([losses, found(scores[..., end], (places == place).any(1))])
        return losses, right

    def cloze(self, model: Any, rows: Rows, indices: Sequence[int]) -> Tensor:
        """Whether one masked word of a single piece is restored, a row. [B]"""
        ids, cuts = rows.padded(indices, 0)
        after = torch.cat([self.continues[ids[:, 1:]], torch.zeros(len(ids), 1, dtype=torch.bool)], dim=1)
        whole = (ids >= len(SPECIAL)) & ~self.continues[ids] & ~after
        place = (self.rand(*ids.shape) * whole).argmax(1, keepdim=True)
        masked = ids.scatter(1, place, self.mask_id)
        states = model.bert(masked, **self.inputs(ids, cuts, shift=False)).last_hidden_state
        guess = model.cls(states[torch.arange(len(ids)), place.squeeze(1)]).argmax(-1)
        return guess == ids.gather(1, place).squeeze(1)


def found(scores: Tensor, sought: Tensor) -> Tensor:
    """Minus the log-probability of the places that are sought [B, N], of the rows where some are."""
    rows = sought.any(1)
    scores, sought = scores[rows], sought[rows]
    return scores.logsumexp(1) - scores.masked_fill(~sought, -torch.inf).logsumexp(1)
