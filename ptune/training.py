"""Sessions in the training loop: their batches, their checkpoints, and the figures of their results."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ptune import build, flop, loop, memory, optim, ranks, training_run
from ptune.breakdown import tables
from ptune.checks import below
from ptune.config import Train
from ptune.data.cache import plain, template_settings
from ptune.data.rendered import MixedStream, ParallelStream, Rendered, Stream
from ptune.errors import DivergedError, PrunedError, PtuneError
from ptune.leaves import leaf
from ptune.model import Model
from ptune.runs.accounting import reading
from ptune.runs.folder import breakdown_file, intact, read_checkpoint
from ptune.training_run import Run, Source, Stopper

if TYPE_CHECKING:
    from pathlib import Path

    from ptune.progress import Progress
    from ptune.runs.folder import RunFolder
    from ptune.runs.track import Tracker
    from ptune.session import AuxiliaryData, Session
    from ptune.templates import Template

log = logging.getLogger(__name__)
Splits = dict[str, Rendered]
WEIGHTS = "precision=bfloat16 or a smaller backbone needs less"


class Recorder:
    """Passes the loop's events to the run folder, the tracker and the progress display."""

    def __init__(self, folder: RunFolder, tracker: Tracker, progress: Progress) -> None:
        self.folder, self.tracker, self.progress = folder, tracker, progress

    def record(self, event: Mapping[str, Any]) -> None:
        """See training_run.Recorder."""
        self.folder.append_metrics(event)
        self.tracker.log(event)
        self.progress.show(event)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        state: Mapping[str, Any],
        best_step: int | None,
    ) -> None:
        """See training_run.Recorder."""
        self.folder.save_checkpoint(step, tensors, optimizer, state, best_step)


def train(sessions: Sequence[Session]) -> list[dict[str, Any] | Exception]:
    """Train runs that share a backbone side by side; returns the figures of each, or the error that ended it.

    A run with auxiliary data trains alone.
    """
    first = sessions[0]
    auxiliary = [(data.settings, data.task) for data in first.auxiliary]
    with memory.out_of_memory_guard("for the backbone", WEIGHTS):
        model = build.assemble([session.settings for session in sessions], first.task, auxiliary)
    if model.backbone.lower is not None:
        first.progress.say(f"the {model.backbone.lower.depth} lowest layers are cached and run without dropout")
    shared_splits: Splits = {}
    runs = [prepare_run(session, model, member, shared_splits) for member, session in enumerate(sessions)]
    if not model.runs_in_threads:
        align_steps(sessions, runs)
    label = first.label if len(runs) == 1 else f"{len(runs)} runs"
    first.progress.begin(label, max(run.steps for run in runs), min(run.step for run in runs), len(runs))
    loop.fit(
        runs,
        model,
        lambda run: evaluation_event(sessions[run.member], run.step),
        lambda run: write_pruned(sessions[run.member], run),
    )
    first.progress.end()
    return [figures_or_failure(session, run, len(runs)) for session, run in zip(sessions, runs, strict=True)]


def train_multitask(
    first: Session, others: Sequence[Session], temperature: float | None
) -> list[dict[str, Any] | None]:
    """Train one prompt on the tasks of several runs, with a head per task and batches of a single task (MPT-2).

    Settings, history and checkpoints are the first run's; the best checkpoint has the highest mean score over tasks.
    temperature: of sampling the tasks, see rendered.MixedStream. Returns the figures of each run, with `own_steps`, its
    steps on its own task; None for a run that had finished before.
    """
    sessions = [first, *others]
    with memory.out_of_memory_guard("for the backbone", WEIGHTS):
        model = build.assemble([first.settings], first.task, [(session.settings, session.task) for session in others])
    names = [session.task.name for session in sessions]
    rendered = [lay_out(session, model, member, {}) for member, session in enumerate(sessions)]
    streams = [stream(s.settings, split, name) for s, split, name in zip(sessions, rendered, names, strict=True)]
    mixed_stream = MixedStream(streams, first.settings.seed, temperature)
    sources = {name: source(first.settings, streams[member], member) for member, name in enumerate(names)}
    run = own_run(first, model, mixed_stream, mixed_stream.steps_per_epoch, sources)
    restore(first, run)

    def event(run: Run) -> dict[str, Any]:
        events = {name: evaluation_event(session, run.step) for name, session in zip(names, sessions, strict=True)}
        mean = statistics.fmean(event["selected"] for event in events.values())
        return {**events[names[0]], "selected": mean, "tasks": events}

    first.progress.begin(first.label, run.steps, run.step)
    loop.fit([run], model, event)
    first.progress.end()
    views = [replace(run, history=[{**event, **event["tasks"][name]} for event in run.history]) for name in names]
    unfinished = {session: view for session, view in zip(sessions, views, strict=True) if not session.folder.finished}
    last_points = {session: evaluation_point(session, view.history[-1]) for session, view in unfinished.items()}
    load_best(first, run)
    return [
        {**figures(session, view, last_points[session], 1), "own_steps": mixed_stream.taken(run.step, member)}
        if session in unfinished
        else None
        for member, (session, view) in enumerate(zip(sessions, views, strict=True))
    ]


# Before the loop


def prepare_run(session: Session, model: Model, member: int, shared: Splits) -> Run:
    """The session's run for the loop, resumed from its newest checkpoint if there is one.

    member: its index in the model. shared: rendered splits, which runs with the same settings share.
    """
    s, train_split = session.settings, lay_out(session, model, member, shared)
    main_stream = stream(s, train_split)
    streams, sources = [main_stream], {main_stream.source: source(s, main_stream, member, session.weight)}
    for number, data in enumerate(session.auxiliary, len(model.members) - len(session.auxiliary)):
        streams.append(auxiliary_stream(session, data, model.member(number).template))
        sources[data.name] = source(s, streams[-1], number, data.weight)
    run = own_run(session, model, ParallelStream(streams), main_stream.steps_per_epoch, sources)
    if session.adapt is not None:
        session.adapt(run)
    restore(session, run)
    return run


def lay_out(session: Session, model: Model, member: int, shared: Splits) -> Rendered:
    """Make the session a member of a model and render its splits, see `prepare_run`; returns what it trains on."""
    s = session.settings
    session.join_model(model, member)
    custom_split = None if session.examples is None else session.render("train", session.examples)
    split_names = {s.select_on, session.report_on, *(["train"] if custom_split is None else [])}
    session.rendered = {split: lay_out_split(session, split, shared) for split in split_names}
    train_split = session.rendered["train"] if custom_split is None else custom_split
    session.rendered.setdefault("train", train_split)
    return train_split


def lay_out_split(session: Session, split: str, shared: Splits) -> Rendered:
    """A split as the template renders it; runs with the same template, data and protocol share one."""
    s, template = session.settings, session.model.member(session.member).template
    seed = s.seed if s.held_out_seed is None else s.held_out_seed
    held_out = [s.protocol, s.held_out_from, s.held_out_share, seed] if s.protocol != "standard" else None
    try:
        key = json.dumps([split, template_settings(template), asdict(s.data), held_out], default=plain)
    except TypeError:  # a user's template with settings that JSON has no form for
        key = f"{split} {session.member}"
    if key not in shared:
        shared[key] = session.render(split)
    return shared[key]


def stream(s: Train, rendered: Rendered, name: str = "train") -> Stream:
    """The micro-batches of a source according to the settings."""
    return Stream(rendered, s.batch_size, s.accumulate or 1, s.seed, s.data.bucket, s.batch_tokens, source=name)


def auxiliary_stream(session: Session, data: AuxiliaryData, template: Template) -> Stream:
    """The micro-batches of auxiliary data."""
    max_length = session.settings.data.tokens
    rendered = Rendered(data.examples, data.task, template, max_length, session.cache, data.name)
    return stream(data.settings, rendered, data.name)


def source(s: Train, stream: Stream, member: int, weight: float = 1.0) -> Source:
    """How the loop treats a stream's batches, see training_run.Source."""
    constant = float(stream.expected_labels) if s.loss.normalize == "constant" else None
    return Source(member, constant, weight)


def own_run(
    session: Session, model: Model, stream: training_run.Stream, steps_per_epoch: int, sources: Mapping[str, Source]
) -> Run:
    """The session's run on the batches of these sources, the first of which is its own."""
    other_members = {name: source.member for name, source in sources.items() if source.member != session.member}
    trained = model.trained(session.member, other_members)
    with torch.no_grad():
        for name, tensor in session.start.items():
            trained[name].copy_(tensor)
    recorder = Recorder(session.folder, session.tracker, session.progress)
    run = loop_run(session.settings, stream, steps_per_epoch, sources, trained, recorder, session.member)
    run.observer = observer(session)
    return run


def loop_run(
    s: Train,
    stream: training_run.Stream,
    steps_per_epoch: int,
    sources: Mapping[str, Source],
    trained: Mapping[str, nn.Parameter],
    recorder: training_run.Recorder,
    member: int = 0,
) -> Run:
    """A run of the loop according to the settings.

    sources: of its batches, by name. trained: the parameters that learn; names begin with prompt, head or backbone.
    """
    steps = s.epochs * steps_per_epoch
    steps = min(steps, s.max_steps) if s.max_steps is not None else steps
    groups = {g: [p for name, p in trained.items() if name.startswith(g + ".")] for g in ("prompt", "head", "backbone")}
    return Run(
        member=member,
        stream=stream,
        stepper=optim.Stepper(optim.optimizer(s.optim, groups), optim.schedule(s.optim, steps, steps_per_epoch)),
        trained=trained,
        recorder=recorder,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        eval_every=s.eval_every or steps_per_epoch,
        seed=s.seed,
        clip=s.optim.clip,
        sources=sources,
        stopper=Stopper(s.patience, s.ties),
        save_every=60 * s.save_minutes,
    )


def observer(session: Session) -> training_run.Observer | None:
    """The observer of the run's evaluations, if the settings name one; stages have none."""
    s = session.settings
    if not s.observer or session.stage is not None:
        return None
    return leaf(s.observer, s.packages, warn=session.progress.warn, folder=session.folder.path)


def restore(session: Session, run: Run, path: Path | None = None) -> None:
    """Resume from a checkpoint, by default the newest valid one, and cut the history off behind it.

    Raises PtuneError for a checkpoint of another run, and for a history that was changed since.
    """
    path = path or session.folder.newest_checkpoint(session.progress.warn)
    if path is not None:
        session.folder.check_metrics(path)
        try:
            run.restore(*read_checkpoint(path))
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PtuneError(f"{path}: not a checkpoint of this run ({reason})") from error
    is_evaluated = bool(run.history) and run.history[-1]["step"] == run.step
    session.folder.cut_metrics(run.step, is_evaluated, run.parts)
    if path is not None:
        session.tracker.again(recorded_events(session.folder))
        session.progress.say(f"resuming from step {run.step} of {run.steps}")


def align_steps(sessions: Sequence[Session], runs: Sequence[Run]) -> None:
    """Let runs with joint passes resume from the same step: that of the run that is furthest behind.

    A run without a checkpoint at that step (beside a new run) stays where it is and waits for the others.
    """
    lowest_step = min((run.step for run in runs if not run.ended), default=math.inf)
    for session, run in zip(sessions, runs, strict=True):
        if run.step > lowest_step:
            path = session.folder.file("checkpoints") / f"{lowest_step:08d}"
            if ranks.on_first_rank(partial(intact, path)):
                restore(session, run, path)


def recorded_events(folder: RunFolder) -> Iterator[tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]]:
    """The recorded events of a run, evaluations with their tables."""
    for _, event in folder.metrics():
        file = breakdown_file(str(event.get("split")), event["step"])
        has_tables = event["event"] == "eval" and folder.file(file).is_file()
        yield event, tables(folder.read_json(file)) if has_tables else {}


# Evaluations


def evaluation_event(session: Session, step: int) -> dict[str, Any]:
    """Evaluate the selecting split; returns the event for the loop."""
    return session.evaluations.event(session.model, session.member, session.rendered, step)


def evaluation_point(session: Session, event: Mapping[str, Any], keep: bool = False) -> dict[str, Any]:
    """Evaluate the model as it is, see `Evaluations.point`."""
    return session.evaluations.point(session.model, session.member, session.rendered, event, keep)


# After the loop


def figures_or_failure(session: Session, run: Run, runs: int) -> dict[str, Any] | Exception:
    """The figures of a run, see `final_figures`, or the error that ended it."""
    if run.failure is not None:
        return run.failure
    if run.stopper.pruned is not None:
        return report_pruned(session, run)
    try:
        return final_figures(session, run, runs)
    except DivergedError as error:  # on the reported split; the other runs keep their figures
        return error


def final_figures(session: Session, run: Run, runs: int) -> dict[str, Any]:
    """The figures of a run after the loop. runs: how many were trained together."""
    last_point = evaluation_point(session, run.history[-1])
    load_best(session, run)
    return figures(session, run, last_point, runs)


def load_best(session: Session, run: Run) -> None:
    """Load the parameters of the best evaluation. Raises PtuneError if that checkpoint is damaged."""
    if run.stopper.best_step == run.step:
        return
    path = session.folder.file("checkpoints") / f"{run.stopper.best_step:08d}"
    if not ranks.on_first_rank(lambda: intact(path)):
        raise PtuneError(f"{path}, the best of the run, is damaged; train again, in a new folder")
    parameters, _, _ = read_checkpoint(path)
    with torch.no_grad():
        for name, parameter in run.trained.items():
            parameter.copy_(parameters[name])


def figures(session: Session, run: Run, last: Mapping[str, Any], runs: int) -> dict[str, Any]:
    """See `final_figures`; the model has the parameters of its best evaluation."""
    best_event = next(event for event in run.history if event["step"] == run.stopper.best_step)
    for split in session.corpus.companion_splits(session.report_on):
        session.rendered[split] = session.render(split)
    best_point = evaluation_point(session, best_event, keep=True)
    parameters, recorder = session.store_tuned(), run.recorder
    assert isinstance(recorder, Recorder)
    examples = sum(event["examples"] for _, event in recorder.folder.metrics() if event["event"] == "step")
    return {
        "best": best_point,
        "last": last,
        "steps": run.step,
        "epochs": run.step / run.steps_per_epoch,
        "stopped_early": run.step < run.steps,
        "selected": best_event["selected"],
        "seconds": {"training": run.seconds},
        "fused": runs,
        "examples_per_second": examples / max(run.seconds, 1e-9),
        **reading(session.rendered),
        "parameters": parameters,
        "flop": cost(session, examples, parameters["backbone"]),
    }


def cost(session: Session, examples: int, tuned: int) -> dict[str, float] | None:
    """Estimated FLOP of training on so many examples, and of predicting one example of the reported split; see flop.

    None for an encoder-decoder.
    """
    s, backbone = session.settings, session.model.backbone
    if backbone.shape.decoder_layers:
        return None
    prompt = session.model.member(session.member).prompt
    cost_args = (prompt.place, prompt.length, below(s, backbone.shape), tuned, s.cache_layers)
    train_split, report_split = session.rendered["train"], session.rendered[session.report_on]
    training, prediction = (
        flop.cost(backbone.shape, backbone.multiplied, read, *cost_args)
        for read in (
            flop.Read.of(train_split.training_counts, train_split.training_lengths),
            flop.Read.of(report_split.counts, report_split.lengths),
        )
    )
    return {"training": examples * training.step, "example": prediction.forward}


def write_pruned(session: Session, run: Run) -> None:
    """Write pruned.json: an observer has ended the run, even if the process is killed before the other runs end."""
    last_event, stopper = run.history[-1], run.stopper
    pruning = {
        "why": stopper.pruned,
        "step": run.step,
        "steps": run.steps,
        "epoch": last_event["epoch"],
        "evaluations": len(run.history),
        "split": last_event["split"],
        "metric": last_event["metric"],
        "selected": stopper.best,
        "best_step": stopper.best_step,
        "identity": session.identity,
        "synthetic": session.corpus.synthetic,
    }
    session.folder.write_json("pruned.json", pruning)


def report_pruned(session: Session, run: Run) -> PrunedError:
    """Tell the tracker that an observer has ended the run; returns the error that says so."""
    pruning, stopper = session.folder.read_json("pruned.json"), run.stopper
    session.tracker.finish({"pruned": True, **pruning}, {})
    log.info("pruned after step %d of %d: %s", run.step, run.steps, stopper.pruned)
    return PrunedError(
        f"pruned after step {run.step} of {run.steps}, "
        f"{pruning['split']} {pruning['metric']} {stopper.best:.2f}: {stopper.pruned}"
    )
