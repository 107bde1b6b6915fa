"""AutoPrompt's discrete step (Shin et al. 2020, arXiv 2010.15980, section 2.2): one token of a trigger is replaced.

It is HotFlip's (Ebrahimi et al. 2018, arXiv 1712.06751): the gradient at a token's embedding says to the first order
what every other token would do to the loss; the best of them are tried.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ptune import memory, ranks
from ptune.batch import Batch
from ptune.model import Model
from ptune.prompts.trigger import Trigger
from ptune.seeds import mix
from ptune.threads import parallel_map
from ptune.training_run import Stopper

log = logging.getLogger(__name__)


class HotFlip:
    """A stepper that holds no state: what it draws depends on the seed and the step, what it found is the prompt.

    fresh(step): batches that the candidates are compared on, others than those of the gradient; allowed [V]: which
    tokens may be taken; candidates: how many are tried; measure: accuracy, or loss for the negative loss.
    """

    def __init__(
        self,
        model: Model,
        member: int,
        fresh: Callable[[int], Sequence[Batch]],
        allowed: Tensor,
        candidates: int,
        measure: Literal["accuracy", "loss"],
        seed: int,
    ) -> None:
        self.model, self.member, self.fresh, self.allowed = model, member, fresh, allowed
        self.candidates, self.measure, self.seed = candidates, measure, seed
        prompt = model.member(member).prompt
        assert isinstance(prompt, Trigger)
        self.prompt = prompt

    def step(self, closure: Callable[[], Tensor], step: int) -> float:
        """Replace the token at a random position by the best candidate, where that is better; there is no rate."""
        gradient = self.prompt.table.grad
        assert gradient is not None
        position = mix(self.seed, "position", step) % self.prompt.length
        candidates = self.rank_candidates(gradient[position], self.prompt.ids[position])
        self.prompt.table.grad = None
        batches = self.fresh(step)
        was_training = self.model.training
        self.model.eval()
        old_token = self.prompt.ids[position]
        best_token, best_score = old_token, self.score(batches)
        initial_score = best_score
        for candidate in candidates:
            self.prompt.put([candidate], position)
            if (score := self.score(batches)) > best_score:
                best_token, best_score = candidate, score
        self.prompt.put([best_token], position)
        self.model.train(was_training)
        if best_token != old_token:
            message = "step %d: token %d for %d at position %d, %s %.4f after %.4f"
            log.info(message, step + 1, best_token, old_token, position + 1, self.measure, best_score, initial_score)
        return 0.0

    def rank_candidates(self, gradient: Tensor, current: int) -> list[int]:
        """The tokens that lower the loss most by its gradient [E], without the current one: E . -gradient."""
        gain = -(self.prompt.embedding @ gradient)
        gain = gain.masked_fill(~self.allowed.to(gain.device), -torch.inf)
        gain[current] = -torch.inf
        count = min(self.candidates, int(gain.isfinite().sum()))
        return [int(index) for index in gain.topk(count).indices]

    def score(self, batches: Sequence[Batch]) -> float:
        """How well the trigger does on some batches, a mean over their labels; higher is better."""

        def measure_batch(batch: Batch) -> float:
            if self.measure == "loss":
                with self.model.without_gradients(), self.model.losses([(self.member, batch)]) as ((loss, _),):
                    return -float(loss)
            outputs = self.model.outputs(self.member, batch)
            targets = batch.target.tolist()
            return float(sum(int(o.scores.argmax()) == target for o, target in zip(outputs, targets, strict=True)))

        advice = "a lower batch_size or data.max_length needs less"
        with (
            parallel_map(self.model.threads) as mapper,
            memory.out_of_memory_guard("while candidates were compared", advice),
        ):
            rank_total = math.fsum(mapper(measure_batch, list(ranks.share(batches))))
            self.model.finish_passes()
            (total,) = ranks.sum_over_ranks([rank_total])
        return total / max(1, sum(batch.labels for batch in batches))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See training_run.Stepper; nothing."""
        return {}, {}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """See training_run.Stepper."""


@dataclass
class Budget(Stopper):
    """A stopper that also ends the search at its first evaluation after so many seconds.

    passed: how many there have been, those before a run was gone on with included.
    """

    seconds: float | None = None
    passed: Callable[[], float] = time.monotonic
    spent: bool = False

    def note(self, value: float, step: int) -> bool:
        """See Stopper."""
        self.spent = self.seconds is not None and ranks.on_first_rank(self.passed) > self.seconds
        return super().note(value, step)

    def state(self) -> dict[str, Any]:
        """See Stopper."""
        return {**super().state(), "spent": self.spent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See Stopper."""
        super().restore(state)
        self.spent = bool(state.get("spent"))

    @property
    def stop(self) -> bool:
        """See Stopper."""
        return self.spent or super().stop
