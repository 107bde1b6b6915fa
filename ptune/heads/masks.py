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
    said = everywhere(hidden, batch.read["mask"][:, : texts.shape[2]], vocab)
    found = said.gather(2, texts.clamp(min=0).transpose(1, 2)).transpose(1, 2)
    return found.masked_fill(texts == IGNORED, 0)


def one_by_one(hidden: Hidden, batch: Batch, texts: Tensor, vocab: int, sentinels: bool = False) -> Tensor:
    """As `score_in_parallel` for models without runs of masks: each token after those before it, by the chain rule.

    Of a causal model behind the row's last token; with sentinels behind the row's one, in the decoder.
    """
    there = texts != IGNORED
    if texts.shape[2] == 1:
        return score_in_parallel(hidden, batch, texts, vocab)
    rows, places = there.any(2).nonzero(as_tuple=True)
    found = []
    for some in torch.arange(len(rows), device=rows.device).split(len(batch)):
        wanted, own = texts[rows[some], places[some]], batch.select_rows(rows[some])
        if sentinels:
            further = again(hidden, with_answer(own, wanted), rows[some])
            assert further.output is not None
            said = likelihoods(hidden, further.output[:, 1:], vocab)
        else:
            positions = own.read["mask"] + torch.arange(texts.shape[2], device=rows.device)
            further = again(hidden, with_continuation(own, wanted), rows[some])
            said = everywhere(further, positions.where(wanted != IGNORED, -1), vocab)
        found.append(said.gather(2, wanted.clamp(min=0)[..., None])[..., 0])
    scores = torch.zeros(texts.shape, device=texts.device)
    scores[rows, places] = torch.cat(found)
    return scores.masked_fill(~there, 0)


def decode_choices(hidden: Hidden, batch: Batch, texts: Tensor, vocab: int, decoding: Decoding) -> Tensor:
    """Log-probabilities [B, C] of the texts, -inf where there is none; each with as many masks as it has tokens.

    The tokens are filled in one after the other, the rest of the masks being looked at anew: the most confident first
    (its log-probability is taken, then it stands there), from left to right, or all at once. Texts of one length are
    scored together, in passes of no more rows than the batch has.
    """
    lengths = (texts != IGNORED).sum(2)
    scores = torch.full(lengths.shape, -torch.inf, device=texts.device)
    for length in lengths[lengths > 0].unique().tolist():
        rows, places = (lengths == length).nonzero(as_tuple=True)
        wanted = texts[rows, places, :length]
        own, of = rows.unique(return_inverse=True)
        short = trim_masks(batch.select_rows(own), length)
        whole = len(own) == len(batch) and torch.equal(short.mask, batch.mask)
        said = everywhere(hidden if whole else again(hidden, short, own), short.read["mask"], vocab)
        parts = torch.arange(len(rows), device=rows.device).split(len(batch))
        found = [
            _filled_in(hidden, short.select_rows(of[some]), rows[some], wanted[some], said[of[some]], vocab, decoding)
            for some in parts
        ]
        scores[rows, places] = torch.cat(found)
    return scores


def _filled_in(
    hidden: Hidden, batch: Batch, rows: Tensor, wanted: Tensor, said: Tensor, vocab: int, decoding: Decoding
) -> Tensor:
    """Scores [K] of the texts `wanted` [K, M] at the masks of a batch, a row each; said [K, M, V]: of a first pass."""
    masks, each = batch.read["mask"], torch.arange(len(wanted), device=wanted.device)
    scores = torch.zeros(len(wanted), device=wanted.device)
    waiting = torch.ones_like(wanted, dtype=torch.bool)
    while True:
        found = said.gather(2, wanted[..., None])[..., 0]
        if decoding == "parallel":
            return found.sum(1)
        at = next_mask(found, waiting, decoding)
        scores = scores + found[each, at]
        waiting[each, at] = False
        if not waiting.any():
            return scores
        batch = with_tokens(batch, masks[each, at], wanted[each, at])
        said = everywhere(again(hidden, batch, rows), masks, vocab)


def most_likely_tokens(hidden: Hidden, batch: Batch, vocab: int, decoding: Decoding) -> list[list[int]]:
    """The tokens that the model itself writes at each row's masks, the likeliest each time."""
    masks = batch.read["mask"]
    waiting, each = masks >= 0, torch.arange(len(batch), device=masks.device)
    out = torch.zeros_like(masks)
    said = everywhere(hidden, masks, vocab)
    while True:
        best, tokens = said.max(2)
        if decoding == "parallel":
            out = tokens
            break
        at = next_mask(best, waiting, decoding)
        some = waiting.any(1)
        out[each[some], at[some]] = tokens[each[some], at[some]]
        batch = with_tokens(batch, masks[each, at].where(some, -1), tokens[each, at])
        waiting[each, at] = False
        if not waiting.any():
            break
        said = everywhere(again(hidden, batch, each), masks, vocab)
    return [row[mask >= 0].tolist() for row, mask in zip(out, masks, strict=True)]


def next_mask(scores: Tensor, waiting: Tensor, decoding: Decoding) -> Tensor:
    """Which of the masks [B, M] that wait is next [B]: that of the highest score [B, M], or the first."""
    if decoding == "left_to_right":
        return waiting.long().argmax(1)
    return scores.masked_fill(~waiting, -torch.inf).argmax(1)


def again(hidden: Hidden, batch: Batch, rows: Tensor) -> Hidden:
    """Another pass, of rows like those [K] of this one."""
    further: Callable[[Batch, Tensor], Hidden] | None = hidden.again
    assert further is not None
    return further(batch, rows)


def with_tokens(batch: Batch, places: Tensor, tokens: Tensor) -> Batch:
    """A batch with a token [B] at a place [B] of each row, -1: none."""
    ids, rows = batch.ids.clone(), (places >= 0).nonzero()[:, 0]
    ids[rows, places[rows]] = tokens[rows]
    return replace(batch, ids=ids)


def trim_masks(batch: Batch, count: int) -> Batch:
    """A batch with the first `count` masks of each row, what stands after the others moved up."""
    masks, keep = batch.read["mask"], batch.mask.clone()
    rows, places = (masks[:, count:] >= 0).nonzero(as_tuple=True)
    keep[rows, masks[rows, count + places]] = False
    order = (~keep).long().argsort(dim=1, stable=True)[:, : int(keep.sum(1).max())]
    moved = keep.long().cumsum(1) - 1

    def at(positions: Tensor) -> Tensor:
        return moved.gather(1, positions.clamp(min=0)).where(positions >= 0, -1)

    return replace(
        batch,
        ids=batch.ids.gather(1, order),
        types=batch.types.gather(1, order),
        mask=keep.gather(1, order),
        read={name: at(given[:, :count] if name == "mask" else given) for name, given in batch.read.items()},
        slots=at(batch.slots),
    )


def with_continuation(batch: Batch, texts: Tensor) -> Batch:
    """A causal model's batch with a text [B, M] behind each row's last token, but for the text's own last."""
    rows, places = (texts[:, 1:] != IGNORED).nonzero(as_tuple=True)
    more = texts.shape[1] - 1
    ids, types, mask = (F.pad(given, (0, more)) for given in (batch.ids, batch.types, batch.mask))
    at = batch.read["mask"][rows, 0] + 1 + places
    ids[rows, at], mask[rows, at] = texts[rows, places], True
    return replace(batch, ids=ids, types=types, mask=mask)


def with_answer(batch: Batch, texts: Tensor) -> Batch:
    """A batch whose rows have a sentinel each: that, and a text [B, M] behind it, are what the decoder writes."""
    sentinel = batch.ids.gather(1, batch.read["mask"][:, :1])
    return replace(batch, read={}, output=torch.cat([sentinel, texts], 1))


def hinge(scores: Tensor, target: Tensor) -> Tensor:
    """What each wrong text lacks to be worse than a right one by 1, summed over them [B]; of log-probabilities [B, C].

    target [B, C]: 1 for a right one, 0 for a wrong one.
    """
    short = (1 - scores[:, :, None] + scores[:, None, :]).clamp(min=0)
    pairs = (target == 1)[:, :, None] & (target == 0)[:, None, :]
    return short.masked_fill(~pairs, 0).sum((1, 2))
