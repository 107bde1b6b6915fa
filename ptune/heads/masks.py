"""Runs of masks: texts of several tokens are scored, learned and written there (PET, arXiv 2009.07118, section 3).

A text is scored with as many masks as it has tokens. Letters beside those of `ptune.injection`: C texts that compete
for a row's masks, M tokens of the longest, K pairs of a row and a text; texts [B, C, M] are padded with IGNORED.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ptune.batch import IGNORED, Batch, Hidden

Decoding = Literal["confident", "left_to_right", "parallel"]


def everywhere(hidden: Hidden, positions: Tensor, vocab: int) -> Tensor:
    """Log-probabilities [B, M, V] of all tokens at `positions` [B, M]."""
    return likelihoods(hidden, hidden.at(positions), vocab)


def likelihoods(hidden: Hidden, states: Tensor, vocab: int) -> Tensor:
    """Log-probabilities [B, M, V] of all tokens by states [B, M, H]."""
    logits = hidden.words(states.flatten(0, 1), torch.arange(vocab, device=states.device)).float()
    return logits.log_softmax(-1).unflatten(0, states.shape[:2])


def score_in_parallel(hidden: Hidden, batch: Batch, texts: Tensor, vocab: int) -> Tensor:
    """Log-probabilities [B, C, M] of each token of the texts while nothing is known of the others; 0 for padding.

    What training takes: one pass with the masks of the longest text, of which a shorter one takes the first.
    """
    log_probs = everywhere(hidden, batch.read["mask"][:, : texts.shape[2]], vocab)
    token_scores = log_probs.gather(2, texts.clamp(min=0).transpose(1, 2)).transpose(1, 2)
    return token_scores.masked_fill(texts == IGNORED, 0)


def one_by_one(hidden: Hidden, batch: Batch, texts: Tensor, vocab: int, sentinels: bool = False) -> Tensor:
    """As `score_in_parallel` for models without runs of masks: each token after those before it, by the chain rule.

    Of a causal model behind the row's last token; with sentinels behind the row's one, in the decoder.
    """
    is_token = texts != IGNORED
    if texts.shape[2] == 1:
        return score_in_parallel(hidden, batch, texts, vocab)
    rows, columns = is_token.any(2).nonzero(as_tuple=True)
    token_scores = []
    for chunk in torch.arange(len(rows), device=rows.device).split(len(batch)):
        chunk_texts, chunk_batch = texts[rows[chunk], columns[chunk]], batch.select_rows(rows[chunk])
        if sentinels:
            chunk_hidden = again(hidden, with_answer(chunk_batch, chunk_texts), rows[chunk])
            assert chunk_hidden.output is not None
            log_probs = likelihoods(hidden, chunk_hidden.output[:, 1:], vocab)
        else:
            positions = chunk_batch.read["mask"] + torch.arange(texts.shape[2], device=rows.device)
            chunk_hidden = again(hidden, with_continuation(chunk_batch, chunk_texts), rows[chunk])
            log_probs = everywhere(chunk_hidden, positions.where(chunk_texts != IGNORED, -1), vocab)
        token_scores.append(log_probs.gather(2, chunk_texts.clamp(min=0)[..., None])[..., 0])
    scores = torch.zeros(texts.shape, device=texts.device)
    scores[rows, columns] = torch.cat(token_scores)
    return scores.masked_fill(~is_token, 0)


def decode_choices(hidden: Hidden, batch: Batch, texts: Tensor, vocab: int, decoding: Decoding) -> Tensor:
    """Log-probabilities [B, C] of the texts, -inf where there is none; each with as many masks as it has tokens.

    The tokens are filled in one after the other, the rest of the masks being looked at anew: the most confident first
    (its log-probability is taken, then it stands there), from left to right, or all at once. Texts of one length are
    scored together, in passes of no more rows than the batch has.
    """
    lengths = (texts != IGNORED).sum(2)
    scores = torch.full(lengths.shape, -torch.inf, device=texts.device)
    for length in lengths[lengths > 0].unique().tolist():
        rows, columns = (lengths == length).nonzero(as_tuple=True)
        tokens = texts[rows, columns, :length]
        unique_rows, inverse = rows.unique(return_inverse=True)
        short_batch = trim_masks(batch.select_rows(unique_rows), length)
        is_whole = len(unique_rows) == len(batch) and torch.equal(short_batch.mask, batch.mask)
        log_probs = everywhere(
            hidden if is_whole else again(hidden, short_batch, unique_rows), short_batch.read["mask"], vocab
        )
        chunks = torch.arange(len(rows), device=rows.device).split(len(batch))
        chunk_scores = [
            _filled_in(
                hidden,
                short_batch.select_rows(inverse[chunk]),
                rows[chunk],
                tokens[chunk],
                log_probs[inverse[chunk]],
                vocab,
                decoding,
            )
            for chunk in chunks
        ]
        scores[rows, columns] = torch.cat(chunk_scores)
    return scores


def _filled_in(
    hidden: Hidden, batch: Batch, rows: Tensor, wanted: Tensor, said: Tensor, vocab: int, decoding: Decoding
) -> Tensor:
    """Scores [K] of the texts `wanted` [K, M] at the masks of a batch, a row each; said [K, M, V]: of a first pass."""
    masks, row_index = batch.read["mask"], torch.arange(len(wanted), device=wanted.device)
    scores = torch.zeros(len(wanted), device=wanted.device)
    waiting = torch.ones_like(wanted, dtype=torch.bool)
    while True:
        token_scores = said.gather(2, wanted[..., None])[..., 0]
        if decoding == "parallel":
            return token_scores.sum(1)
        position = next_mask(token_scores, waiting, decoding)
        scores = scores + token_scores[row_index, position]
        waiting[row_index, position] = False
        if not waiting.any():
            return scores
        batch = with_tokens(batch, masks[row_index, position], wanted[row_index, position])
        said = everywhere(again(hidden, batch, rows), masks, vocab)


def most_likely_tokens(hidden: Hidden, batch: Batch, vocab: int, decoding: Decoding) -> list[list[int]]:
    """The tokens that the model itself writes at each row's masks, the likeliest each time."""
    masks = batch.read["mask"]
    waiting, row_index = masks >= 0, torch.arange(len(batch), device=masks.device)
    best_tokens = torch.zeros_like(masks)
    log_probs = everywhere(hidden, masks, vocab)
    while True:
        best_scores, tokens = log_probs.max(2)
        if decoding == "parallel":
            best_tokens = tokens
            break
        position = next_mask(best_scores, waiting, decoding)
        unfinished = waiting.any(1)
        best_tokens[row_index[unfinished], position[unfinished]] = tokens[row_index[unfinished], position[unfinished]]
        batch = with_tokens(batch, masks[row_index, position].where(unfinished, -1), tokens[row_index, position])
        waiting[row_index, position] = False
        if not waiting.any():
            break
        log_probs = everywhere(again(hidden, batch, row_index), masks, vocab)
    return [row[mask >= 0].tolist() for row, mask in zip(best_tokens, masks, strict=True)]


def next_mask(scores: Tensor, waiting: Tensor, decoding: Decoding) -> Tensor:
    """Which of the masks [B, M] that wait is next [B]: that of the highest score [B, M], or the first."""
    if decoding == "left_to_right":
        return waiting.long().argmax(1)
    return scores.masked_fill(~waiting, -torch.inf).argmax(1)


def again(hidden: Hidden, batch: Batch, rows: Tensor) -> Hidden:
    """Another pass, of rows like those [K] of this one."""
    rerun: Callable[[Batch, Tensor], Hidden] | None = hidden.again
    assert rerun is not None
    return rerun(batch, rows)


def with_tokens(batch: Batch, places: Tensor, tokens: Tensor) -> Batch:
    """A batch with a token [B] at a place [B] of each row, -1: none."""
    ids, rows = batch.ids.clone(), (places >= 0).nonzero()[:, 0]
    ids[rows, places[rows]] = tokens[rows]
    return replace(batch, ids=ids)


def trim_masks(batch: Batch, count: int) -> Batch:
    """A batch with the first `count` masks of each row, what stands after the others moved up."""
    masks, is_kept = batch.read["mask"], batch.mask.clone()
    rows, places = (masks[:, count:] >= 0).nonzero(as_tuple=True)
    is_kept[rows, masks[rows, count + places]] = False
    order = (~is_kept).long().argsort(dim=1, stable=True)[:, : int(is_kept.sum(1).max())]
    new_positions = is_kept.long().cumsum(1) - 1

    def move(positions: Tensor) -> Tensor:
        return new_positions.gather(1, positions.clamp(min=0)).where(positions >= 0, -1)

    return replace(
        batch,
        ids=batch.ids.gather(1, order),
        types=batch.types.gather(1, order),
        mask=is_kept.gather(1, order),
        read={
            name: move(positions[:, :count] if name == "mask" else positions) for name, positions in batch.read.items()
        },
        slots=move(batch.slots),
    )


def with_continuation(batch: Batch, texts: Tensor) -> Batch:
    """A causal model's batch with a text [B, M] behind each row's last token, but for the text's own last."""
    rows, places = (texts[:, 1:] != IGNORED).nonzero(as_tuple=True)
    extra = texts.shape[1] - 1
    ids, types, mask = (F.pad(tensor, (0, extra)) for tensor in (batch.ids, batch.types, batch.mask))
    positions = batch.read["mask"][rows, 0] + 1 + places
    ids[rows, positions], mask[rows, positions] = texts[rows, places], True
    return replace(batch, ids=ids, types=types, mask=mask)


def with_answer(batch: Batch, texts: Tensor) -> Batch:
    """A batch whose rows have a sentinel each: that, and a text [B, M] behind it, are what the decoder writes."""
    sentinel = batch.ids.gather(1, batch.read["mask"][:, :1])
    return replace(batch, read={}, output=torch.cat([sentinel, texts], 1))


def hinge(scores: Tensor, target: Tensor) -> Tensor:
    """What each wrong text lacks to be worse than a right one by 1, summed over them [B]; of log-probabilities [B, C].

    target [B, C]: 1 for a right one, 0 for a wrong one.
    """
    margins = (1 - scores[:, :, None] + scores[:, None, :]).clamp(min=0)
    pairs = (target == 1)[:, :, None] & (target == 0)[:, None, :]
    return margins.masked_fill(~pairs, 0).sum((1, 2))
