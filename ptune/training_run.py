"""One training run as the loop takes it: what it is made of, how far it is, and how it is saved and gone on with."""

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
    """What changes a run's parameters once a step."""

    def step(self, closure: Callable[[], Tensor], step: int) -> float:
        """Update from the gradients at hand (or from `closure`'s losses); returns the learning rate."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values to resume from."""

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""


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
        """Write a checkpoint that training can go on from."""


class Observer(Protocol):
    """Who sees a run's evaluations and may end it."""

    def evaluated(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """All evaluations so far, the last one new; says why the run is to end here, if it is."""


@dataclass
class Stopper:
    """The best evaluation so far, the first of equals; stops after `patience` evaluations without a better one.

    pruned: why an observer has ended the run before that, if one has.
    """

    patience: int | None = None
    best: float = -math.inf
    best_step: int | None = None
    waited: int = 0
    pruned: str | None = None

    def note(self, value: float, step: int) -> bool:
        """Take an evaluation's score (higher is better); says whether it is the best."""
        if value > self.best:
            self.best, self.best_step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited, "pruned": self.pruned}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be as `state` was."""
        self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]
        self.pruned = state.get("pruned")  # which older checkpoints do not have

    @property
    def stop(self) -> bool:
        """Whether patience has run out, or that of an observer."""
        return self.pruned is not None or (self.patience is not None and self.waited >= self.patience)


class Source(NamedTuple):
    """What becomes of the batches of one source: the member that reads them, and the weight of their loss.

    normalizer: the constant that a step's summed loss of the source is divided by; None: its labels of the step.
    weight: above 0.
    """

    member: int
    normalizer: float | None = None
    weight: float = 1.0


class Stream(Protocol):
    """Micro-batches, a pure function of the step."""

    def __call__(self, step: int) -> Sequence[Batch]:
        """Those of a step, counted from 0."""

    def divide(self, parts: int) -> bool:
        """Give each in so many parts from now on; says whether they had more than one example."""


@dataclass
class Run:
    """One training run. `member`: which prompt and head of the model; `stream(step)`: its micro-batches.

    sources: by their names, those that its batches are of.
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
    parts: int = 1  # of each micro-batch, since memory ran out
    saved: int | None = None  # the step of the last checkpoint
    saved_at: float = field(default_factory=time.monotonic)
    taken: float = 0.0  # seconds that its steps and evaluations took until now
    since: float | None = None  # when it began what it does now, by time.perf_counter

    @property
    def seconds(self) -> float:
        """What its training has taken until now, over all the times that it was gone on with: its part of each pass
        and what it did by itself."""
        return self.taken + (0.0 if self.since is None else time.perf_counter() - self.since)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Inside, all the time is the run's own."""
        self.since = time.perf_counter()
        try:
            yield
        finally:
            self.taken, self.since = self.seconds, None

    @property
    def due(self) -> bool:
        """Whether the run is to be evaluated as it stands."""
        evaluated = self.history[-1]["step"] if self.history else 0
        return self.step > evaluated and (self.step % self.eval_every == 0 or self.step == self.steps)

    @property
    def ended(self) -> bool:
        """Whether no step is left to do."""
        return self.failure is not None or self.step == self.steps or self.stopper.stop

    def divisors(self, batches: Sequence[Batch]) -> dict[str, float]:
        """What the summed loss of each source is divided by in the step of these micro-batches."""
        labels: dict[str, int] = {}
        for batch in batches:
            labels[batch.source] = labels.get(batch.source, 0) + batch.labels
        sources = {name: self.sources[name] for name in labels}
        return {name: (s.normalizer or float(max(1, labels[name]))) / s.weight for name, s in sources.items()}

    def save(self) -> None:
        """Write everything that resuming needs."""
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
        """Go on from what `save` wrote."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(parameters[name])
        self.stepper.restore(optimizer, state["optimizer"])
        self.step, self.history = int(state["step"]), [dict(event) for event in state["history"]]
        if not 0 <= self.step <= self.steps:
            raise ValueError(f"step {self.step} of {self.steps}")
        self.stopper.restore(state)
        if self.observer is None:
            self.stopper.pruned = None  # by one that is not asked any more
        self.saved = self.step
        self.taken = float(state.get("seconds", 0.0))
        self.divide(state.get("parts", 1))  # which older checkpoints do not have

    def divide(self, parts: int) -> bool:
        """Give each micro-batch in so many parts; says whether they had more than one example."""
        self.parts = parts
        return parts == 1 or self.stream.divide(parts)
