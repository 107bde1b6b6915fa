"""One training run as the loop sees it: its parts, its progress, and how it is saved and resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ptune.batch import Batch


class Stepper(Protocol):
    """An optimizer with its schedule: updates a run's parameters once a step."""

    def step(self, closure: Callable[[], Tensor], step: int) -> float:
        """Update from the accumulated gradients, or from `closure`'s losses; returns the learning rate."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values to resume from."""

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""


class Recorder(Protocol):
    """Where a run's history goes: its folder, a tracker, a progress bar."""

    def record(self, event: Mapping[str, Any]) -> None:
        """One step or evaluation."""

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        state: Mapping[str, Any],
        best_step: int | None,
    ) -> None:
        """Write a checkpoint to resume from."""


class Observer(Protocol):
    """Sees a run's evaluations, and may end it."""

    def evaluated(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """Called with all evaluations so far, the newest last; returns why the run shall end here, or None."""


@dataclass
class Stopper:
    """Early stopping: the best evaluation so far, and how many have not been better since a better one.

    patience: evaluations without a better one after which the run stops; None: never. ties: first or last, which of
    equals is the best. pruned: why an observer has ended the run, if it has.
    """

    patience: int | None = None
    ties: str = "first"
    best: float = -math.inf
    best_step: int | None = None
    waited: int = 0
    pruned: str | None = None

    def note(self, value: float, step: int) -> bool:
        """Note an evaluation's score (higher is better); returns whether it is the best so far."""
        is_better = value > self.best
        self.waited = 0 if is_better else self.waited + 1
        if is_better or (self.ties == "last" and value == self.best):
            self.best, self.best_step = value, step
            return True
        return False

    def state(self) -> dict[str, Any]:
        """Plain values to resume from."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited, "pruned": self.pruned}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]
        self.pruned = state.get("pruned")  # which older checkpoints do not have

    @property
    def stop(self) -> bool:
        """Whether patience has run out, or an observer has ended the run."""
        return self.pruned is not None or (self.patience is not None and self.waited >= self.patience)


class Source(NamedTuple):
    """How the loop treats the batches of one source.

    member: the member of the model that reads them. normalizer: what the summed loss of a step is divided by; None: the
    number of the step's labels. weight: of the loss, above 0.
    """

    member: int
    normalizer: float | None = None
    weight: float = 1.0


class Stream(Protocol):
    """Micro-batches as a pure function of the step."""

    def __call__(self, step: int) -> Sequence[Batch]:
        """The micro-batches of a step; steps count from 0."""

    def divide(self, parts: int) -> bool:
        """Split each micro-batch into so many parts from now on; returns whether any had more than one example."""


@dataclass
class Run:
    """One training run.

    member: the index of its prompt and head in the model. stream: its micro-batches by step. trained: the parameters
    that learn, by name. sources: of its batches, by name.
    """

    member: int
    stream: Stream
    stepper: Stepper
    trained: Mapping[str, nn.Parameter]
    recorder: Recorder
    steps: int
    steps_per_epoch: int
    eval_every: int
    seed: int
    sources: Mapping[str, Source]
    clip: float | None = 1.0
    stopper: Stopper = field(default_factory=Stopper)
    observer: Observer | None = None
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None
    save_every: float = math.inf  # seconds since the last checkpoint after which there is another between evaluations
    parts: int = 1  # that each micro-batch is split into, since memory ran out
    saved: int | None = None  # the step of the last checkpoint
    saved_at: float = field(default_factory=time.monotonic)
    taken: float = 0.0  # seconds of its steps and evaluations so far
    since: float | None = None  # time.perf_counter at the start of its current work

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all resumptions: its share of joint passes, and its own work."""
        return self.taken + (0.0 if self.since is None else time.perf_counter() - self.since)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Inside, time counts as this run's."""
        self.since = time.perf_counter()
        try:
            yield
        finally:
            self.taken, self.since = self.seconds, None

    @property
    def due(self) -> bool:
        """Whether an evaluation is due at this step."""
        evaluated_step = self.history[-1]["step"] if self.history else 0
        return self.step > evaluated_step and (self.step % self.eval_every == 0 or self.step == self.steps)

    @property
    def ended(self) -> bool:
        """Whether there are no more steps to train."""
        return self.failure is not None or self.step == self.steps or self.stopper.stop

    def divisors(self, batches: Sequence[Batch]) -> dict[str, float]:
        """By source, what its summed loss over these micro-batches of one step is divided by."""
        labels: dict[str, int] = {}
        for batch in batches:
            labels[batch.source] = labels.get(batch.source, 0) + batch.labels
        sources = {name: self.sources[name] for name in labels}
        return {name: (s.normalizer or float(max(1, labels[name]))) / s.weight for name, s in sources.items()}

    def save(self) -> None:
        """Save a checkpoint."""
        tensors, numbers = self.stepper.state()
        state = {
            "step": self.step,
            "optimizer": numbers,
            "history": self.history,
            **self.stopper.state(),
            "parts": self.parts,
            "seconds": self.seconds,
        }
        parameters = {name: parameter.detach() for name, parameter in self.trained.items()}
        self.recorder.save(self.step, parameters, tensors, state, self.stopper.best_step)
        self.saved, self.saved_at = self.step, time.monotonic()

    def restore(
        self, parameters: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
    ) -> None:
        """Resume from what `save` wrote. Raises ValueError for a step that the run does not have."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(parameters[name])
        self.stepper.restore(optimizer, state["optimizer"])
        self.step, self.history = int(state["step"]), [dict(event) for event in state["history"]]
        if not 0 <= self.step <= self.steps:
            raise ValueError(f"step {self.step} of {self.steps}")
        self.stopper.restore(state)
        if self.observer is None:
            self.stopper.pruned = None  # by an observer that is gone
        self.saved = self.step
        self.taken = float(state.get("seconds", 0.0))
        self.divide(state.get("parts", 1))  # which older checkpoints do not have

    def divide(self, parts: int) -> bool:
        """Split each micro-batch into so many parts; returns whether any had more than one example."""
        self.parts = parts
        return parts == 1 or self.stream.divide(parts)
