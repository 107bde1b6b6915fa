"""THE training loop: batches, a loss, an optimizer; it knows no method, task or family.

It trains one or more runs that share a backbone, its forward and backward pass too where that pays; elsewhere passes go
on at once, those of the runs as those of a run's micro-batches. One run is the ordinary case. Each keeps its own data
order, optimizer, clipping, schedule, evaluations and early stop, and leaves without disturbing the others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ptune import ranks
from ptune.batch import Batch
from ptune.errors import DivergedError
from ptune.seeds import mix
from ptune.threads import at_once

Work = Sequence[tuple[int, Batch]]
Losses = Sequence[tuple[Tensor, int]]


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


@dataclass
class Stopper:
    """The best evaluation so far, the first of equals; stops after `patience` evaluations without a better one."""

    patience: int | None = None
    best: float = -math.inf
    best_step: int | None = None
    waited: int = 0

    def note(self, value: float, step: int) -> bool:
        """Take an evaluation's score (higher is better); says whether it is the best."""
        if value > self.best:
            self.best, self.best_step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience


class Source(NamedTuple):
    """What becomes of the batches of one source: the member that reads them, and the weight of their loss.

    normalizer: see Run; of the labels of this source. weight: above 0.
    """

    member: int
    normalizer: float | None = None
    weight: float = 1.0


@dataclass
class Run:
    """One training run. `member`: which prompt and head of the model; `stream(step)`: its micro-batches.

    normalizer: the constant that a step's summed loss is divided by; None: the number of labels of the step.
    sources: by their name, those whose batches another member reads, or which weigh more or less than 1.
    """

    member: int
    stream: Callable[[int], Sequence[Batch]]
    stepper: Stepper
    trained: Mapping[str, nn.Parameter]
    recorder: Recorder
    steps: int
    steps_per_epoch: int
    eval_every: int
    seed: int
    normalizer: float | None = None
    clip: float | None = 1.0
    sources: Mapping[str, Source] = field(default_factory=dict)
    stopper: Stopper = field(default_factory=Stopper)
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None

    def source(self, name: str) -> Source:
        """Who reads batches of that source, and what their loss counts for."""
        return self.sources.get(name) or Source(self.member, self.normalizer)

    def divisors(self, batches: Sequence[Batch]) -> dict[str, float]:
        """What the summed loss of each source is divided by in the step of these micro-batches."""
        labels: dict[str, int] = {}
        for batch in batches:
            labels[batch.source] = labels.get(batch.source, 0) + batch.labels
        sources = {name: self.source(name) for name in labels}
        return {name: (s.normalizer or float(max(1, labels[name]))) / s.weight for name, s in sources.items()}

    def save(self) -> None:
        """Write everything that resuming needs."""
        tensors, numbers = self.stepper.state()
        state = {
            "step": self.step,
            "optimizer": numbers,
            "history": self.history,
            "best": self.stopper.best,
            "best_step": self.stopper.best_step,
            "waited": self.stopper.waited,
        }
        parameters = {name: parameter.detach() for name, parameter in self.trained.items()}
        self.recorder.save(self.step, parameters, tensors, state, self.stopper.best_step)

    def restore(
        self, parameters: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
    ) -> None:
        """Go on from what `save` wrote."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(parameters[name])
        self.stepper.restore(optimizer, state["optimizer"])
        self.step, self.history = state["step"], list(state["history"])
        self.stopper.best, self.stopper.best_step = state["best"], state["best_step"]
        self.stopper.waited = state["waited"]


class Trainable(Protocol):
    """The model as the loop sees it."""

    @property
    def apart(self) -> bool:
        """Whether each micro-batch takes a pass of its own; several may go on at once."""

    def losses(self, work: Work) -> AbstractContextManager[Losses]:
        """(sum of losses, labels) for each item of work; the backward pass belongs inside the context."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on or off."""

    def drawing(self, seed: int) -> AbstractContextManager[None]:
        """Dropout is drawn from this seed inside."""


def fit(runs: Sequence[Run], model: Trainable, evaluate: Callable[[Run], Mapping[str, Any]]) -> list[Run]:
    """Train the runs to their end. `evaluate(run)` gives an event with the key "selected", the score that selects.

    A single run that diverges raises DivergedError; among several it is marked failed and the others go on.
    """
    live = [run for run in runs if run.step < run.steps and not run.stopper.stop]
    with at_once(model.apart) as mapped:
        while live:
            started = time.perf_counter()
            torch.manual_seed(mix(live[0].seed, "step", live[0].step))
            model.train()
            totals, batches = gradients(model, live, mapped)
            for run in list(live):
                try:
                    update(run, model, batches[id(run)], totals[id(run)], time.perf_counter() - started)
                    if run.step % run.eval_every == 0 or run.step == run.steps:
                        assess(run, evaluate)
                except DivergedError as error:
                    run.failure = error
                    if len(runs) == 1:
                        raise
                if run.failure or run.step == run.steps or run.stopper.stop:
                    live.remove(run)
    return list(runs)


def gradients(
    model: Trainable, live: Sequence[Run], mapped: Callable[..., Iterable[Any]]
) -> tuple[dict[int, float], dict[int, Sequence[Batch]]]:
    """Gradients of every run's loss over the micro-batches of its step; returns losses and micro-batches by run.

    The runs take their micro-batches side by side, in a joint pass for each of them or in passes apart. Each rank goes
    through its share of the passes, and has the gradients and losses of all.
    """
    batches = {id(run): run.stream(run.step) for run in live}
    scales = {id(run): run.divisors(batches[id(run)]) for run in live}
    most = max(len(of_run) for of_run in batches.values())
    joint = [[(run, i) for run in live if i < len(batches[id(run)])] for i in range(most)]
    passes = [[one] for items in joint for one in items] if model.apart else joint

    def taken(items: Sequence[tuple[Run, int]]) -> tuple[list[float], Sequence[Tensor | None]]:
        first, index = items[0]
        read = [(run, batches[id(run)][i]) for run, i in items]
        with (
            model.drawing(mix(first.seed, "dropout", first.step, index)),
            model.losses([(run.source(batch.source).member, batch) for run, batch in read]) as losses,
        ):
            both = zip(read, losses, strict=True)
            scaled = [loss / scales[id(run)][batch.source] for (run, batch), (loss, _) in both]
            total = torch.stack(scaled).sum()
            found: Sequence[Tensor | None] = ()
            if model.apart:
                found = torch.autograd.grad(total, list(first.trained.values()), allow_unused=True)
            else:
                total.backward()
        return [float(loss.detach()) for loss in scaled], found

    totals = dict.fromkeys(scales, 0.0)
    mine = ranks.share(passes)
    for items, (losses, found) in zip(mine, mapped(taken, mine), strict=True):
        for (run, _), loss in zip(items, losses, strict=True):
            totals[id(run)] += loss
        for parameter, gradient in zip(items[0][0].trained.values(), found, strict=False):
            if gradient is not None:
                held = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = held.add_(gradient)
    return ranks.add_up([p for run in live for p in run.trained.values()], totals), batches


def update(run: Run, model: Trainable, batches: Sequence[Batch], loss: float, seconds: float) -> None:
    """Clip and step one run. Raises DivergedError where its loss or gradient is not finite, before anything changes."""
    norm = float(nn.utils.clip_grad_norm_(list(run.trained.values()), run.clip or math.inf))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        names = ", ".join(name for batch in batches for name in batch.names)
        raise DivergedError(
            f"step {run.step + 1}: loss {loss}, gradient norm {norm}; the batch's examples: {names}. "
            "A lower optim.lr or a warmup (optim.warmup=0.06) usually cures it"
        )
    rate = run.stepper.step(lambda: losses_of(run, model, batches), run.step)
    run.step += 1
    run.recorder.record(
        {
            "event": "step",
            "step": run.step,
            "epoch": run.step / run.steps_per_epoch,
            "loss": loss,
            "lr": rate,
            "grad_norm": norm,
            "seconds": seconds,
            "examples": sum(len(set(batch.example.tolist())) for batch in batches),
        }
    )


def losses_of(run: Run, model: Trainable, batches: Sequence[Batch]) -> Tensor:
    """The run's loss on given batches as its parameters are now, for steppers that compare candidates."""
    total: list[Tensor] = []
    divisors = run.divisors(batches)
    for batch in batches:
        with torch.no_grad(), model.losses([(run.source(batch.source).member, batch)]) as losses:
            total.append(losses[0][0] / divisors[batch.source])
    return torch.stack(total).sum()


def assess(run: Run, evaluate: Callable[[Run], Mapping[str, Any]]) -> None:
    """Evaluate, note whether it is the best, and write a checkpoint."""
    event = dict(evaluate(run))
    event["best"] = run.stopper.note(ranks.told(lambda: float(event["selected"])), run.step)
    event.update(event="eval", step=run.step, epoch=run.step / run.steps_per_epoch)
    run.history.append(event)
    run.recorder.record(event)
    run.save()
