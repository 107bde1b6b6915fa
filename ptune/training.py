"""Sessions in the loop: what each trains on, where it goes on from, and the figures that it ends with."""

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
from ptune.data.rendered import Drawn, Rendered, SideBySide, Stream
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
    from ptune.session import Beside, Session

log = logging.getLogger(__name__)
Splits = dict[str, Rendered]
WEIGHTS = "precision=bfloat16 or a smaller backbone needs less"


class Recorder:
    """Feeds the loop's events to the run folder, the tracker and the progress display alike."""

    def __init__(self, folder: RunFolder, tracker: Any, progress: Progress) -> None:
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
    """Train runs that share a backbone side by side; the figures of each, or what ended it.

    A run with sources beside its own trains alone.
    """
    first = sessions[0]
    beside = [(each.settings, each.task) for each in first.beside]
    with memory.out_of_memory_guard("for the backbone", WEIGHTS):
        model = build.assemble([session.settings for session in sessions], first.task, beside)
    if model.backbone.lower is not None:
        first.progress.say(f"the {model.backbone.lower.depth} lowest layers are cached and run without dropout")
    shared: Splits = {}
    runs = [prepare_run(session, model, member, shared) for member, session in enumerate(sessions)]
    if not model.runs_in_threads:
        level(sessions, runs)
    label = first.label if len(runs) == 1 else f"{len(runs)} runs"
    first.progress.begin(label, max(run.steps for run in runs), min(run.step for run in runs), len(runs))
    loop.fit(
        runs,
        model,
        lambda run: evaluation_event(sessions[run.member], run.step),
        lambda run: prune(sessions[run.member], run),
    )
    first.progress.end()
    return [figures_or_failure(session, run, len(runs)) for session, run in zip(sessions, runs, strict=True)]


def jointly(first: Session, others: Sequence[Session], temperature: float | None) -> list[dict[str, Any] | None]:
    """Train one prompt, with a head for each of several runs' tasks, on a batch of one task a step.

    The first run's settings hold; its folder has the history, and the checkpoints, of which the one with the best mean
    of the tasks' scores counts. temperature: see rendered.Drawn. Returns the figures of each run, `own_steps` among
    them: how many had a batch of its task; None of one that has ended before.
    """
    sessions = [first, *others]
    with memory.out_of_memory_guard("for the backbone", WEIGHTS):
        model = build.assemble([first.settings], first.task, [(other.settings, other.task) for other in others])
    names = [session.task.name for session in sessions]
    laid_out = [lay_out(session, model, member, {}) for member, session in enumerate(sessions)]
    streams = [stream(s.settings, given, name) for s, given, name in zip(sessions, laid_out, names, strict=True)]
    drawn = Drawn(streams, first.settings.seed, temperature)
    sources = {name: source(first.settings, streams[member], member) for member, name in enumerate(names)}
    run = own_run(first, model, drawn, drawn.steps_per_epoch, sources)
    restore(first, run)

    def event(run: Run) -> dict[str, Any]:
        each = {name: evaluation_event(session, run.step) for name, session in zip(names, sessions, strict=True)}
        mean = statistics.fmean(found["selected"] for found in each.values())
        return {**each[names[0]], "selected": mean, "tasks": each}

    first.progress.begin(first.label, run.steps, run.step)
    loop.fit([run], model, event)
    first.progress.end()
    views = [replace(run, history=[{**found, **found["tasks"][name]} for found in run.history]) for name in names]
    going_on = {session: view for session, view in zip(sessions, views, strict=True) if not session.folder.finished}
    last = {session: evaluation_point(session, view.history[-1]) for session, view in going_on.items()}
    load_best(first, run)
    return [
        {**figures(session, view, last[session], 1), "own_steps": drawn.taken(run.step, member)}
        if session in going_on
        else None
        for member, (session, view) in enumerate(zip(sessions, views, strict=True))
    ]


# The beginning


def prepare_run(session: Session, model: Model, member: int, shared: Splits) -> Run:
    """The session's run as the loop takes it, from its newest checkpoint if it has one.

    member: its number among the runs of the model; shared: splits as runs with the same settings see them.
    """
    s, given = session.settings, lay_out(session, model, member, shared)
    own = stream(s, given)
    streams, sources = [own], {own.source: source(s, own, member, session.weight)}
    for number, beside in enumerate(session.beside, len(model.members) - len(session.beside)):
        streams.append(stream_beside(session, beside, model.member(number).template))
        sources[beside.name] = source(s, streams[-1], number, beside.weight)
    run = own_run(session, model, SideBySide(streams), own.steps_per_epoch, sources)
    if session.adapt is not None:
        session.adapt(run)
    restore(session, run)
    return run


def lay_out(session: Session, model: Model, member: int, shared: Splits) -> Rendered:
    """Take the session's place in a model, see `prepare_run`; returns what it trains on as its template lays it out."""
    s = session.settings
    session.take(model, member)
    own = None if session.examples is None else session.render("train", session.examples)
    read = {s.select_on, session.report_on, *(["train"] if own is None else [])}
    session.rendered = {split: laid_out(session, split, shared) for split in read}
    given = session.rendered["train"] if own is None else own
    session.rendered.setdefault("train", given)
    return given


def laid_out(session: Session, split: str, shared: Splits) -> Rendered:
    """A split as the template lays it out, perhaps for another run already."""
    s, template = session.settings, session.model.member(session.member).template
    seed = s.seed if s.held_out_seed is None else s.held_out_seed
    held_out = [s.protocol, s.held_out_from, s.held_out_share, seed] if s.protocol != "standard" else None
    try:
        key = json.dumps([split, template_settings(template), asdict(s.data), held_out], default=plain)
    except TypeError:  # a template of somebody's own that cannot be written down
        key = f"{split} {session.member}"
    if key not in shared:
        shared[key] = session.render(split)
    return shared[key]


def stream(s: Train, rendered: Rendered, name: str = "train") -> Stream:
    """The micro-batches of a source, as the settings ask for them."""
    return Stream(rendered, s.batch_size, s.accumulate or 1, s.seed, s.data.bucket, s.batch_tokens, source=name)


def stream_beside(session: Session, beside: Beside, template: Any) -> Stream:
    """The micro-batches of examples beside a run's own."""
    most = session.settings.data.tokens
    rendered = Rendered(beside.examples, beside.task, template, most, session.cache, beside.name)
    return stream(beside.settings, rendered, beside.name)


def source(s: Train, stream: Stream, member: int, weight: float = 1.0) -> Source:
    """Who reads a stream, and what its losses are divided by, see training_run.Source."""
    constant = float(stream.expected_labels) if s.loss.normalize == "constant" else None
    return Source(member, constant, weight)


def own_run(session: Session, model: Model, stream: Any, steps_per_epoch: int, sources: Mapping[str, Source]) -> Run:
    """The session's run over the batches of sources, of which the first is its own."""
    others = {name: source.member for name, source in sources.items() if source.member != session.member}
    trained = model.trained(session.member, others)
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
    """A run of the loop as the settings ask for it: of what is trained, by name, on the batches of sources."""
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
        stopper=Stopper(s.patience),
        save_every=60 * s.save_minutes,
    )


def observer(session: Session) -> Any:
    """Who sees the evaluations of the run; those of its stages are the procedure's own business."""
    s = session.settings
    if not s.observer or session.stage is not None:
        return None
    return leaf(s.observer, s.packages, warn=session.progress.warn, folder=session.folder.path)


def restore(session: Session, run: Run, path: Path | None = None) -> None:
    """Go on from a checkpoint, the newest that is whole unless one is given; what the history tells of later steps is
    cut off.

    Raises PtuneError for a checkpoint of another run, and for a history other than it was then.
    """
    path = path or session.folder.newest_checkpoint(session.progress.warn)
    if path is not None:
        session.folder.check_metrics(path)
        try:
            run.restore(*read_checkpoint(path))
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            about = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PtuneError(f"{path}: not a checkpoint of this run ({about})") from error
    evaluated_there = bool(run.history) and run.history[-1]["step"] == run.step
    session.folder.cut_metrics(run.step, evaluated_there, run.parts)
    if path is not None:
        session.tracker.again(record(session.folder))
        session.progress.say(f"resuming from step {run.step} of {run.steps}")


def level(sessions: Sequence[Session], runs: Sequence[Run]) -> None:
    """Let runs that take joint passes go on from one step, that of the last one, as far as they have been there.

    One without a checkpoint there, as beside a run that is new, waits for the others.
    """
    behind = min((run.step for run in runs if not run.ended), default=math.inf)
    for session, run in zip(sessions, runs, strict=True):
        if run.step > behind:
            path = session.folder.file("checkpoints") / f"{behind:08d}"
            if ranks.on_first_rank(partial(intact, path)):
                restore(session, run, path)


def record(folder: RunFolder) -> Iterator[tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]]:
    """The events of a run so far, an evaluation with its tables."""
    for _, event in folder.metrics():
        file = breakdown_file(str(event.get("split")), event["step"])
        known = event["event"] == "eval" and folder.file(file).is_file()
        yield event, tables(folder.read_json(file)) if known else {}


# Evaluations


def evaluation_event(session: Session, step: int) -> dict[str, Any]:
    """What the loop is told of an evaluation."""
    return session.evaluations.event(session.model, session.member, session.rendered, step)


def evaluation_point(session: Session, event: Mapping[str, Any], keep: bool = False) -> dict[str, Any]:
    """The model as it is, see `Evaluations.point`."""
    return session.evaluations.point(session.model, session.member, session.rendered, event, keep)


# The end


def figures_or_failure(session: Session, run: Run, runs: int) -> dict[str, Any] | Exception:
    """The figures of a run, see `final_figures`, or what it has ended with in their place."""
    if run.failure is not None:
        return run.failure
    if run.stopper.pruned is not None:
        return report_pruned(session, run)
    try:
        return final_figures(session, run, runs)
    except DivergedError as error:  # on the reported split; runs beside it have figures
        return error


def final_figures(session: Session, run: Run, runs: int) -> dict[str, Any]:
    """The figures of a run that the loop has ended; so many runs trained together."""
    last = evaluation_point(session, run.history[-1])
    load_best(session, run)
    return figures(session, run, last, runs)


def load_best(session: Session, run: Run) -> None:
    """Let the model be as it was at its best evaluation. Raises PtuneError where that checkpoint is damaged."""
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
    """See `final_figures`; the model is as it was at its best."""
    best_event = next(event for event in run.history if event["step"] == run.stopper.best_step)
    for split in session.corpus.beside(session.report_on):
        session.rendered[split] = session.render(split)
    best = evaluation_point(session, best_event, keep=True)
    parameters, recorder = session.account(), run.recorder
    assert isinstance(recorder, Recorder)
    examples = sum(event["examples"] for _, event in recorder.folder.metrics() if event["event"] == "step")
    return {
        "best": best,
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
    """An estimate of what training on so many examples took, and what one of the reported split takes: ptune.flop.

    None of an encoder-decoder.
    """
    s, backbone = session.settings, session.model.backbone
    if backbone.shape.decoder_layers:
        return None
    prompt = session.model.member(session.member).prompt
    about = (prompt.place, prompt.length, below(s, backbone.shape), tuned, s.cache_layers)
    train, report = session.rendered["train"], session.rendered[session.report_on]
    learned, read = (
        flop.cost(backbone.shape, backbone.multiplied, each, *about)
        for each in (
            flop.Read.of(train.learned_counts, train.learned_lengths),
            flop.Read.of(report.counts, report.lengths),
        )
    )
    return {"training": examples * learned.step, "example": read.forward}


def prune(session: Session, run: Run) -> None:
    """Write that an observer has ended the run, and where: it is over even where runs beside it are cut off."""
    last, best = run.history[-1], run.stopper
    told = {
        "why": best.pruned,
        "step": run.step,
        "steps": run.steps,
        "epoch": last["epoch"],
        "evaluations": len(run.history),
        "split": last["split"],
        "metric": last["metric"],
        "selected": best.best,
        "best_step": best.best_step,
        "identity": session.identity,
        "synthetic": session.corpus.synthetic,
    }
    session.folder.write_json("pruned.json", told)


def report_pruned(session: Session, run: Run) -> PrunedError:
    """Tell the tracker that an observer has ended the run; what to raise then."""
    told, best = session.folder.read_json("pruned.json"), run.stopper
    session.tracker.finish({"pruned": True, **told}, {})
    log.info("pruned after step %d of %d: %s", run.step, run.steps, best.pruned)
    return PrunedError(
        f"pruned after step {run.step} of {run.steps}, {told['split']} {told['metric']} {best.best:.2f}: {best.pruned}"
    )
