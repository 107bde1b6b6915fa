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
        logs = logits.float().log_softmax(-1)
        shut = [*self.banned, *([self.end] if count < self.least else ())]
        logs[:, shut] = -torch.inf
        return logs


def search(first: Tensor, advance: Advance, how: Search) -> list[list[int]]:
    """The tokens that each row goes on with, the end token left out; first: logits [B, V] of their first tokens.

    advance: (tokens [K], origin [K]) -> logits [K, V] after them, where each token goes on from the row number `origin`
    of the call before, of the B rows at first: rows are repeated, exchanged and dropped that way.
    """
    return greedy(first, advance, how) if how.beams == 1 else beam(first, advance, how)


def greedy(logits: Tensor, advance: Advance, how: Search) -> list[list[int]]:
    """The likeliest token each time; see `search`."""
    said: list[list[int]] = [[] for _ in logits]
    live = list(range(len(said)))
    for count in range(how.limit):
        words = how.allowed_log_likelihoods(logits, count).argmax(-1).tolist()
        going = [i for i, word in enumerate(words) if word != how.end]
        live = [live[i] for i in going]
        for row, i in zip(live, going, strict=True):
            said[row].append(words[i])
        if not live or count + 1 == how.limit:
            break
        logits = advance(
            torch.tensor([words[i] for i in going], device=logits.device), torch.tensor(going, device=logits.device)
        )
    return said


class Beam(NamedTuple):
    """A text as far as it is: its log-likelihood, its tokens, and which row of the last pass it is."""

    score: float
    words: list[int]
    origin: int


def beam(logits: Tensor, advance: Advance, how: Search) -> list[list[int]]:
    """The best of several texts a row, see `search`.

    A row is done with as many ended texts as there are beams, none of them worse than the best that goes on.
    """
    found: list[list[tuple[float, list[int]]]] = [[] for _ in logits]
    live = {row: [Beam(0.0, [], row)] for row in range(len(found))}
    for count in range(how.limit):
        logs = how.allowed_log_likelihoods(logits, count)
        length, last = (how.before + count + 1) ** how.penalty, count + 1 == how.limit
        going: dict[int, list[Beam]] = {}
        for row, beams in live.items():
            on, ended = extend_beams(beams, logs, how)
            if last:  # texts that have not ended are taken as they are
                ended += [(each.score, each.words) for each in on[: how.beams - len(ended)]]
            texts = found[row] + [(score / length, words) for score, words in ended]
            found[row] = sorted(texts, key=lambda text: -text[0])[: how.beams]
            done = len(found[row]) == how.beams and found[row][-1][0] >= on[0].score / length
            if not (last or done):
                going[row] = on
        flat = [each for beams in going.values() for each in beams]
        if not flat:
            break
        logits = advance(
            torch.tensor([each.words[-1] for each in flat], device=logs.device),
            torch.tensor([each.origin for each in flat], device=logs.device),
        )
        places = iter(range(len(flat)))
        live = {row: [each._replace(origin=next(places)) for each in beams] for row, beams in going.items()}
    return [texts[0][1] for texts in found]


def extend_beams(beams: Sequence[Beam], logs: Tensor, how: Search) -> tuple[list[Beam], list[tuple[float, list[int]]]]:
    """The likeliest texts of one token more, and those that end here with a place among the best."""
    scores = torch.tensor([each.score for each in beams], device=logs.device)
    some = logs[[each.origin for each in beams]] + scores[:, None]
    best = some.flatten().topk(min(2 * how.beams, some.numel()))
    on: list[Beam] = []
    ended: list[tuple[float, list[int]]] = []
    for rank, (score, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        number, word = divmod(place, some.shape[1])
        if score == -torch.inf:
            break
        if word == how.end:
            if rank < how.beams:
                ended.append((score, beams[number].words))
        elif len(on) < how.beams:
            on.append(Beam(score, [*beams[number].words, word], beams[number].origin))
    return on, ended
