"""THE training loop: batches, a loss, an optimizer; it knows no method, task or family.

It trains one run, or several that share a backbone. Several runs share a forward and backward pass (a joint pass) where
that is faster; elsewhere each micro-batch of each run has its own pass, and passes run in parallel threads. Every run
keeps its own data order, optimizer, clipping, schedule, evaluations and early stopping, and ends without disturbing the
others.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ptune import memory, ranks
from ptune.batch import Batch
from ptune.errors import DivergedError, Interrupted, NoMemoryError
from ptune.runs import halt
from ptune.seeds import mix
from ptune.threads import parallel_map
from ptune.training_run import Run

log = logging.getLogger(__name__)
Work = Sequence[tuple[int, Batch]]
Losses = Sequence[tuple[Tensor, int]]
FEW = 3  # examples that a message names
CURE = "A lower optim.lr or a warmup (optim.warmup=0.06) usually helps"


class Trainable(Protocol):
    """The model as the loop sees it."""

    @property
    def runs_in_threads(self) -> bool:
        """Whether each micro-batch has a pass of its own, and passes run in parallel threads."""

    def losses(self, work: Work) -> AbstractContextManager[Losses]:
        """(summed loss, number of labels) of each (member, batch); run the backward pass inside the context."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on or off."""

    def drawing(self, seed: int) -> AbstractContextManager[None]:
        """Inside, dropout is drawn from this seed."""

    def finish_passes(self) -> None:
        """Called by each rank when it has made its share of passes."""


def fit(
    runs: Sequence[Run],
    model: Trainable,
    evaluate: Callable[[Run], Mapping[str, Any]],
    pruned: Callable[[Run], Any] = lambda run: None,
) -> list[Run]:
    """Train the runs to their end.

    evaluate: returns an event with the key "selected", the score that selects checkpoints. pruned: called when an
    observer ends a run.

    Raises DivergedError if a single run diverges; one of several is marked as failed, and the others continue. Raises
    Interrupted, after saving every run, if the process is asked to end: after a step, or within an evaluation, which is
    repeated when the run resumes.
    """
    with parallel_map(model.runs_in_threads) as mapper, halt.guarded():
        try:
            for run in runs:
                if run.due:
                    attempt(runs, run, lambda run: evaluate_and_save(run, evaluate))
            live_runs = remaining_runs(runs, pruned)
            is_joint = len(live_runs) > 1 and not model.runs_in_threads
            if is_joint:
                save_together(live_runs)
            while live_runs:
                lowest_step = min(run.step for run in live_runs)
                level_runs = [run for run in live_runs if run.step == lowest_step] if is_joint else live_runs
                advance(runs, level_runs, model, evaluate, mapper)
                live_runs = remaining_runs(live_runs, pruned)
                if is_joint and any(run.saved == run.step for run in level_runs):
                    save_together([run for run in level_runs if run.failure is None])
                halt.check()
        except Interrupted:
            save_together([run for run in runs if run.failure is None and run.step])
            raise
    return list(runs)


def save_together(runs: Sequence[Run]) -> None:
    """Save the runs that are not saved: joint passes draw dropout for all their runs, so they resume from one step."""
    for run in runs:
        if run.saved != run.step:
            run.save()


def remaining_runs(live: Sequence[Run], pruned: Callable[[Run], Any]) -> list[Run]:
    """The runs that have not ended; `pruned` is called for those that an observer has ended."""
    for run in live:
        if run.stopper.pruned is not None:
            pruned(run)
    return [run for run in live if not run.ended]


def advance(
    runs: Sequence[Run],
    live: Sequence[Run],
    model: Trainable,
    evaluate: Callable[[Run], Mapping[str, Any]],
    mapper: Callable[..., Iterable[Any]],
) -> None:
    """Train the live runs for one step, then evaluate or save those that are due."""
    start = time.perf_counter()
    torch.manual_seed(mix(live[0].seed, "step", live[0].step))
    model.train()
    try:
        totals, batches = gradients(model, live, mapper)
    except (MemoryError, RuntimeError) as error:
        if not memory.ran_out(error):
            raise
        if ranks.count() > 1:  # the other ranks' step is whole
            raise NoMemoryError("out of memory on one of several ranks; a higher accumulate=N needs less") from error
        share_seconds(live, time.perf_counter() - start, [1] * len(live))
        if not halve(live):
            advice = "a lower data.max_length, gradient_checkpointing=true or precision=bfloat16"
            raise NoMemoryError(f"out of memory with one example at a time; {advice} needs less") from error
        return
    seconds = time.perf_counter() - start
    counts = [count_examples(batches[id(run)]) for run in live]
    share_seconds(live, seconds, counts)

    def finish_step(run: Run) -> None:
        update(run, model, batches[id(run)], totals[id(run)], seconds)
        if run.due:
            if ranks.count() > 1:  # which cannot stop within the evaluation
                run.save()
            evaluate_and_save(run, evaluate)
        elif time.monotonic() - run.saved_at > run.save_every:
            run.save()

    for run in live:
        attempt(runs, run, finish_step)


def share_seconds(runs: Sequence[Run], seconds: float, counts: Sequence[int]) -> None:
    """Divide the seconds of a step among its runs in proportion to their examples."""
    for run, count in zip(runs, counts, strict=True):
        run.taken += seconds * count / sum(counts)


def count_examples(batches: Sequence[Batch]) -> int:
    """The number of examples in the micro-batches of a step."""
    return sum(len(set(batch.example.tolist())) for batch in batches)


def attempt(runs: Sequence[Run], run: Run, work: Callable[[Run], None]) -> None:
    """Do one run's own part of a step. Raises DivergedError for a single run; one of several is marked as failed."""
    try:
        with run.busy():
            work(run)
    except DivergedError as error:
        run.failure = error
        if len(runs) == 1:
            raise


def gradients(
    model: Trainable, live: Sequence[Run], mapper: Callable[..., Iterable[Any]]
) -> tuple[dict[int, float], dict[int, Sequence[Batch]]]:
    """Accumulate the gradients of every run's loss over its micro-batches; returns losses and micro-batches by run id.

    Micro-batch i of all runs shares a joint pass, or each has its own. Each rank computes its share of the passes; in
    the end all ranks have the summed gradients and losses.
    """
    batches = {id(run): run.stream(run.step) for run in live}
    scales = {id(run): run.divisors(batches[id(run)]) for run in live}
    max_batches = max(len(run_batches) for run_batches in batches.values())
    joint_passes = [[(run, i) for run in live if i < len(batches[id(run)])] for i in range(max_batches)]
    passes = [[item] for items in joint_passes for item in items] if model.runs_in_threads else joint_passes

    def run_pass(items: Sequence[tuple[Run, int]]) -> tuple[list[float], Sequence[Tensor | None]]:
        first_run, index = items[0]
        work = [(run, batches[id(run)][i]) for run, i in items]
        with (
            model.drawing(mix(first_run.seed, "dropout", first_run.step, index)),
            model.losses([(run.sources[batch.source].member, batch) for run, batch in work]) as losses,
        ):
            pairs = zip(work, losses, strict=True)
            scaled_losses = [loss / scales[id(run)][batch.source] for (run, batch), (loss, _) in pairs]
            total = torch.stack(scaled_losses).sum()
            grads: Sequence[Tensor | None] = ()
            if model.runs_in_threads:
                grads = torch.autograd.grad(total, list(first_run.trained.values()), allow_unused=True)
            else:
                total.backward()
        return [float(loss.detach()) for loss in scaled_losses], grads

    totals = dict.fromkeys(scales, 0.0)
    rank_passes = ranks.share(passes)
    for items, (losses, grads) in zip(rank_passes, mapper(run_pass, rank_passes), strict=True):
        for (run, _), loss in zip(items, losses, strict=True):
            totals[id(run)] += loss
        for parameter, grad in zip(items[0][0].trained.values(), grads, strict=False):
            if grad is not None:
                total = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = total.add_(grad)
    model.finish_passes()
    return ranks.add_up([p for run in live for p in run.trained.values()], totals), batches


def halve(runs: Sequence[Run]) -> bool:
    """Halve the micro-batches of runs that ran out of memory; returns False if they are of one example already."""
    for run in runs:
        for parameter in run.trained.values():
            parameter.grad = None
    divided = [run.divide(2 * run.parts) for run in runs]
    if not any(divided):
        return False
    memory.spare()
    for run in runs:
        run.recorder.record({"event": "halved", "step": run.step, "parts": run.parts})
    return True


def update(run: Run, model: Trainable, batches: Sequence[Batch], loss: float, seconds: float) -> None:
    """Clip gradients and step one run's optimizer.

    Raises DivergedError, before anything changes, for a loss or gradient that is not finite.
    """
    norm = float(nn.utils.clip_grad_norm_(list(run.trained.values()), run.clip or math.inf))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        names = [name for batch in batches for name in batch.names]
        log.error("step %d: loss %s, gradient norm %s; examples: %s", run.step + 1, loss, norm, ", ".join(names))
        shown_names = ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
        raise DivergedError(
            f"step {run.step + 1}: loss {loss}, gradient norm {norm}; the batch's examples: {shown_names}. {CURE}"
        )
    with memory.out_of_memory_guard(
        "for the optimizer's step", "optim=adafactor or a lower prompt_length.value needs less"
    ):
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
            "examples": count_examples(batches),
        }
    )


def losses_of(run: Run, model: Trainable, batches: Sequence[Batch]) -> Tensor:
    """The run's current loss on the batches, for steppers that compare candidates."""
    scaled_losses: list[Tensor] = []
    divisors = run.divisors(batches)
    for batch in batches:
        with torch.no_grad(), model.losses([(run.sources[batch.source].member, batch)]) as losses:
            scaled_losses.append(losses[0][0] / divisors[batch.source])
    return torch.stack(scaled_losses).sum()


def evaluate_and_save(run: Run, evaluate: Callable[[Run], Mapping[str, Any]]) -> None:
    """Evaluate a run, note whether this is its best score, inform its observer, and save a checkpoint.

    Raises DivergedError if a trained parameter or the score is not finite.
    """
    nonfinite_names = [name for name, parameter in run.trained.items() if not bool(parameter.detach().isfinite().all())]
    if nonfinite_names:
        raise DivergedError(f"step {run.step}: {nonfinite_names[0]} is not finite. {CURE}")
    event = dict(evaluate(run))
    score = ranks.on_first_rank(lambda: float(event["selected"]))
    if not math.isfinite(score):
        raise DivergedError(f"step {run.step}: the selecting {event.get('metric', 'score')} is {score}. {CURE}")
    event["best"] = run.stopper.note(score, run.step)
    event.update(event="eval", step=run.step, epoch=run.step / run.steps_per_epoch)
    run.history.append(event)
    run.recorder.record(event)
    if run.observer is not None:  # before the checkpoint: after a kill it hears again, and misses nothing
        observer = run.observer
        reason = ranks.on_first_rank(lambda: observer.evaluated(run.history))
        if run.step < run.steps and not run.stopper.stop:
            run.stopper.pruned = reason
    run.save()
