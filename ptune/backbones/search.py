"""Greedy and beam search over a model that goes on one token at a time, whatever its family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Advance = Callable[[Tensor, Tensor], Tensor]


class Search(NamedTuple):
    """end: the end token; limit: how many tokens there are at most, the end token counted; least: at least, without it.

    penalty: of a text's log-likelihood, which is divided by the number of its tokens (the end token counts, and so do
    those `before` it that every text begins with) to this power; banned: tokens that never come.
    """

    end: int
    limit: int
    beams: int = 1
    least: int = 0
    penalty: float = 1.0
    banned: tuple[int, ...] = ()
    before: int = 0

    def allowed_log_likelihoods(self, logits: Tensor, count: int) -> Tensor:
        """Log-likelihoods [K, V] of what may come after `count` tokens; of the rest none, which has had its share."""
        log_likelihoods = logits.float().log_softmax(-1)
        banned_ids = [*self.banned, *([self.end] if count < self.least else ())]
        log_likelihoods[:, banned_ids] = -torch.inf
        return log_likelihoods


def search(first: Tensor, advance: Advance, how: Search) -> list[list[int]]:
    """The tokens that each row goes on with, the end token left out; first: logits [B, V] of their first tokens.

    advance: (tokens [K], origin [K]) -> logits [K, V] after them, where each token goes on from the row number `origin`
    of the call before, of the B rows at first: rows are repeated, exchanged and dropped that way.
    """
    return greedy(first, advance, how) if how.beams == 1 else beam(first, advance, how)


def greedy(logits: Tensor, advance: Advance, how: Search) -> list[list[int]]:
    """The likeliest token each time; see `search`."""
    outputs: list[list[int]] = [[] for _ in logits]
    active_rows = list(range(len(outputs)))
    for count in range(how.limit):
        words = how.allowed_log_likelihoods(logits, count).argmax(-1).tolist()
        unfinished = [i for i, word in enumerate(words) if word != how.end]
        active_rows = [active_rows[i] for i in unfinished]
        for row, i in zip(active_rows, unfinished, strict=True):
            outputs[row].append(words[i])
        if not active_rows or count + 1 == how.limit:
            break
        logits = advance(
            torch.tensor([words[i] for i in unfinished], device=logits.device),
            torch.tensor(unfinished, device=logits.device),
        )
    return outputs


class Beam(NamedTuple):
    """A text as far as it is: its log-likelihood, its tokens, and which row of the last pass it is."""

    score: float
    words: list[int]
    origin: int


def beam(logits: Tensor, advance: Advance, how: Search) -> list[list[int]]:
    """The best of several texts a row, see `search`.

    A row is done with as many ended texts as there are beams, none of them worse than the best that goes on.
    """
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in logits]
    active = {row: [Beam(0.0, [], row)] for row in range(len(finished))}
    for count in range(how.limit):
        log_likelihoods = how.allowed_log_likelihoods(logits, count)
        length_penalty, is_last = (how.before + count + 1) ** how.penalty, count + 1 == how.limit
        next_active: dict[int, list[Beam]] = {}
        for row, beams in active.items():
            open_beams, ended_texts = extend_beams(beams, log_likelihoods, how)
            if is_last:  # texts that have not ended are taken as they are
                ended_texts += [(hyp.score, hyp.words) for hyp in open_beams[: how.beams - len(ended_texts)]]
            texts = finished[row] + [(score / length_penalty, words) for score, words in ended_texts]
            finished[row] = sorted(texts, key=lambda text: -text[0])[: how.beams]
            is_done = len(finished[row]) == how.beams and finished[row][-1][0] >= open_beams[0].score / length_penalty
            if not (is_last or is_done):
                next_active[row] = open_beams
        hypotheses = [hyp for beams in next_active.values() for hyp in beams]
        if not hypotheses:
            break
        logits = advance(
            torch.tensor([hyp.words[-1] for hyp in hypotheses], device=log_likelihoods.device),
            torch.tensor([hyp.origin for hyp in hypotheses], device=log_likelihoods.device),
        )
        origins = iter(range(len(hypotheses)))
        active = {row: [hyp._replace(origin=next(origins)) for hyp in beams] for row, beams in next_active.items()}
    return [texts[0][1] for texts in finished]


def extend_beams(beams: Sequence[Beam], logs: Tensor, how: Search) -> tuple[list[Beam], list[tuple[float, list[int]]]]:
    """The likeliest texts of one token more, and those that end here with a place among the best."""
    scores = torch.tensor([hyp.score for hyp in beams], device=logs.device)
    totals = logs[[hyp.origin for hyp in beams]] + scores[:, None]
    top = totals.flatten().topk(min(2 * how.beams, totals.numel()))
    open_beams: list[Beam] = []
    ended_texts: list[tuple[float, list[int]]] = []
    for rank, (score, index) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
        beam_index, word = divmod(index, totals.shape[1])
        if score == -torch.inf:
            break
        if word == how.end:
            if rank < how.beams:
                ended_texts.append((score, beams[beam_index].words))
        elif len(open_beams) < how.beams:
            open_beams.append(Beam(score, [*beams[beam_index].words, word], beams[beam_index].origin))
    return open_beams, ended_texts
