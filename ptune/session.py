"""One run's parts, for procedures to call: task, corpus, model, loop, evaluator and folder."""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ptune import build, ranks
from ptune.accounting import COUNTED, accounting, reading
from ptune.batch import Example
from ptune.checks import check
from ptune.config import Train
from ptune.corpus import SYNTHETIC, read_corpus
from ptune.errors import ConfigError, PrunedError, PtuneError
from ptune.leaves import leaf, target
from ptune.progress import Progress
from ptune.run import RunFolder, environment, intact, read_checkpoint
from ptune.stages import Child, changed, differences

if TYPE_CHECKING:
    from ptune.tasks import Prediction

log = logging.getLogger(__name__)
SINGLE = {"_target_": "ptune.procedures.single.Single"}  # what surrounds a stage that says nothing else


class Recorder:
    """Feeds the loop's events to the run folder, the tracker and the progress display alike."""

    def __init__(self, folder: RunFolder, tracker: Any, progress: Progress) -> None:
        self.folder, self.tracker, self.progress = folder, tracker, progress

    def record(self, event: Mapping[str, Any]) -> None:
        """See loop.Recorder."""
        self.folder.append_metrics(event)
        self.tracker.log(event)
        self.progress.show(event)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        state: Mapping[str, Any],
        best_step: int | None,
    ) -> None:
        """See loop.Recorder."""
        self.folder.save_checkpoint(step, tensors, optimizer, state, best_step)


@dataclass(frozen=True)
class Beside:
    """Examples that every step of a run takes beside its own: another template and head around the run's prompt.

    name: of their batches; settings: the run's with other parts of the method, and a batch size of their own; weight:
    of their loss, the mean over their labels.
    """

    name: str
    settings: Train
    task: Any
    examples: Sequence[Any]
    weight: float = 1.0


class Session:
    """One run's parts, for procedures to call: task, corpus, model, loop, evaluator and folder.

    expected: how many stages with runs of their own the procedure will ask for, where it knows; for the display alone.
    beside: further sources of the run's batches, which a procedure may set before it trains; weight: of the loss of
    the run's own beside them; start: values that what learns begins with, by name, where it is not as drawn.
    adapt: what a procedure changes of the loop's run before it begins, as its stepper.
    """

    def __init__(
        self,
        settings: Train,
        folder: RunFolder,
        overrides: Sequence[str],
        progress: Progress,
        corpora: dict[str, Any] | None = None,
        runs: int = 1,
        stage: Child | None = None,
    ) -> None:
        """corpora: those that were read for runs beside this one, by their settings; runs: how many, with this one;
        stage: of another run that this one is.
        """
        from ptune.cache import Cache
        from ptune.data import cache_folder
        from ptune.stored import account

        self.cache = Cache(cache_folder, progress, settings.data.cache)
        self.settings, self.folder, self.progress = settings, folder, progress
        self.overrides, self.stage = overrides, stage
        self.corpora = {} if corpora is None else corpora
        self.stages: dict[str, dict[str, Any]] = {}
        self.expected: int | None = None
        self.examples = None if stage is None else stage.examples
        self.model: Any = None
        self.member = self.bytes = 0
        self.beside: Sequence[Beside] = ()
        self.weight = 1.0
        self.start: Mapping[str, Any] = {}
        self.adapt: Callable[[Any], None] | None = None
        read = bool(corpora)  # for another run, which has said what there is to say
        identity = build.identity(settings)  # of what was asked for; reading the corpus decides the rest
        self.task = leaf(settings.task, settings.packages)
        self.corpus, self.report_on = read_corpus(settings, self.task, self.cache, self.corpora)
        self.procedure = target(settings.method["procedure"]["_target_"], settings.packages)
        if self.procedure.backbone:
            _ = leaf(settings.backbone, settings.packages).folder  # to be had, before anything is written
            settings.accumulate = micro_batches(settings, folder, runs)
        settings.report_on = self.report_on
        if folder.finished:
            return  # nothing of it is written again
        folder.write_config(build.as_config(settings))
        self.identity = folder.write_environment(
            {"identity": identity, **environment(list(overrides)), "data": self.corpus.origin}
        )
        given = self.corpus.splits if self.examples is None else {**self.corpus.splits, "train": self.examples}
        self.splits = {split: account(examples) for split, examples in given.items()}
        folder.write_jsonl("splits.jsonl", [{"split": split, **told} for split, told in self.splits.items()])
        if self.corpus.synthetic:
            log.warning(SYNTHETIC)
        if not read:
            self._tell()
        self.tracker = self._tracker()

    def _tell(self) -> None:
        """Say what there is to know of the corpus."""
        if self.corpus.synthetic:
            self.progress.say(SYNTHETIC, style="bold yellow")
        for line in self.corpus.warnings:
            self.progress.warn(line)
        for split, count in self.corpus.origin.get("left_out", {}).items():
            self.progress.say(f"{split}: {count} rows are left out (task.source.leave_out)")

    def _tracker(self) -> Any:
        from ptune.track import tracker

        s = self.settings
        return tracker(
            replace(s.tracker, group=self._group()),
            self.folder.path,
            name=self._name(),
            job="train" if self.stage is None else "stage",
            config=build.as_config(s),
            warn=self.progress.warn,
            tags=[
                s.method["name"],
                s.task["name"],
                s.backbone["name"],
                *(["synthetic"] if self.corpus.synthetic else []),
            ],
        )

    def _group(self) -> str | None:
        """What the tracker files the run under: its sweep, unless the settings say it; else the preset."""
        from ptune.sweep import sweep_of

        sweep = sweep_of(self.folder.path)
        return self.settings.tracker.group or (self.settings.experiment if sweep is None else sweep.name)

    def _name(self) -> str:
        """What the tracker calls the run: it ends with what differs in its sweep."""
        from ptune.sweep import own_words

        if self.stage is not None:
            return f"{run_name(self.settings)} {self.stage.name}"
        return " ".join([run_name(self.settings), *own_words(self.folder.path)])

    @property
    def label(self) -> str:
        """What the run is called while it goes on."""
        return run_name(self.settings) if self.stage is None else f"{self.stage.label}  {run_name(self.settings)}"

    def complete(self, figures: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the run to its end by its procedure, or read what it has ended with already; returns its result.

        figures: those of a run that has been trained with another one.
        """
        if not self.folder.finished:
            if figures is None:
                figures = {}
                for step in leaf(self.settings.method["procedure"], self.settings.packages).stages(self):
                    log.info("%s: %s", self.label, step.name)
                    figures = step.action()
            self.finish(figures)
        result = self.folder.read_json("result.json")  # the same, whether it was there already or not
        if self.stage is not None:
            self.stage.conclude(result)
        return result

    # What procedures call

    def child(self, name: str, examples: Sequence[Example] | None = None, **changes: Any) -> Session:
        """A stage that is a run of its own, in stages/NAME: with this run's settings and some changes.

        Of settings that hold others a mapping names those that change; one with a `_target_` takes the place of a leaf
        as a whole. The procedure is one training where the changes name no other; learning rates are this run's own,
        and so is what the protocol holds out.

        examples: to train on in place of the corpus's, with labels, or soft ones. `complete` takes the stage to its
        end: one that was cut off goes on from its checkpoint, one that has ended is not run again; either way its
        figures stand in this run's result under "stages". Raises ConfigError for changes that do not fit together.
        """
        method = {"procedure": SINGLE, **changes.get("method", {})}
        s: Train = changed(self.settings, {**changes, "method": method})
        differing = differences(asdict(self.settings), asdict(s))
        if s.held_out_seed is None:
            s.held_out_seed = self.settings.seed
        s.tracker.group = s.tracker.group or self._group() or run_name(self.settings)
        if problems := [*build.resolve_length(s)] or [*check(s)]:
            raise ConfigError([f"stage {name}: {problem}" for problem in problems])
        stage = Child(name, self, examples, differing)
        folder = RunFolder(self.folder.file(stage.folder))
        return Session(s, folder, self.overrides, self.progress, self.corpora, stage=stage)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        """What the model of the run says of examples: the one at hand, else the one that its folder keeps."""
        from ptune.evaluate import Asked, predict
        from ptune.rendered import Rendered

        s = self.settings
        if self.model is None:
            self.model = build.assemble([s], self.task)
            self.model.load_stored(self.folder.read_tensors())
            self._show(self.model)
        assert s.data.max_length is not None
        rendered = Rendered(examples, self.task, self.model.member(self.member).template, s.data.max_length, self.cache)
        return predict(self.model, Asked(self.member, self.task, examples, rendered), s.eval_batch_size, s.batch_tokens)

    def settle(self, **changes: Any) -> None:
        """Change settings for good, see `child`, as a search has found them: the folder tells the run with these."""
        self.settings = changed(self.settings, changes)
        self.task = leaf(self.settings.task, self.settings.packages)
        self.folder.write_config(build.as_config(self.settings))

    def drop_weights(self) -> None:
        """Delete the tensors and checkpoints of a finished run that nothing needs any more; its figures stay."""
        self.model = None
        self.folder.drop_tensors()

    def train(self, examples: Sequence[Example] | None = None, **changes: Any) -> dict[str, Any]:
        """Train to the end, then report the best evaluation and the last one.

        examples: to train on in place of the corpus's; changes: of the settings, see `child`.
        """
        self.examples = self.examples if examples is None else examples
        self.settings = changed(self.settings, changes)
        (found,) = train([self])
        if isinstance(found, Exception):
            raise found
        return found

    def untrained(self) -> dict[str, Any]:
        """Report the model as it is."""
        s = self.settings
        model = self.model = build.assemble([s], self.task)
        self._show(model)
        if s.method["head"].get("calibrate"):
            from ptune.calibration import calibrate

            calibrate(model, self.member, self.task, int(s.data.max_length or 0))
        splits = {s.select_on, self.report_on}
        rendered = {split: self._render(model, split) for split in splits}
        event = {**self._event(model, rendered, 0), "step": 0, "epoch": 0.0}
        point = self._point(model, rendered, event, keep=True)
        return {
            "best": point,
            "last": point,
            "steps": 0,
            "epochs": 0.0,
            "selected": event["selected"],
            "seconds": {"training": 0.0},
            **reading(rendered),
            "parameters": self._account(model),
        }

    def constant(self) -> dict[str, Any]:
        """Report the class seen most in training."""
        majority = self.task.majority(self.corpus.splits["train"])
        return self.predicted(lambda examples: [majority(example) for example in examples])

    def scored(self, predict: Callable[[Sequence[Any]], list[Any]], split: str) -> Any:
        """The evaluation of a predictor, a function from examples to predictions."""
        from ptune.evaluate import told

        return told(self.task, predict, split, self.corpus.splits[split])

    def predicted(self, predict: Callable[[Sequence[Any]], list[Any]], learned: int = 0) -> dict[str, Any]:
        """Report a predictor that is no model of ours, see `scored`; learned: how many parameters it has."""
        select, report = (self.scored(predict, split) for split in (self.settings.select_on, self.report_on))
        return self._reported(select, report, learned)

    def answered(
        self,
        on_select: Sequence[Prediction],
        on_report: Sequence[Prediction],
        parameters: Mapping[str, float],
    ) -> dict[str, Any]:
        """Report what was found without a model of this run: predictions on the selecting and the reported split.

        parameters: of the models that found it, see ptune.accounting.
        """
        select = self.scored(lambda examples: list(on_select), self.settings.select_on)
        report = self.scored(lambda examples: list(on_report), self.report_on)
        return {**self._reported(select, report), "parameters": dict(parameters)}

    def _reported(self, select: Any, report: Any, learned: int = 0) -> dict[str, Any]:
        """The figures of a run that has been evaluated once, without training here."""
        for found in (select, report):
            self._break_down(found, 0)
        self._keep(report)
        point = {
            "step": 0,
            "epoch": 0.0,
            "select": select.scores,
            "report": report.scores,
            "interval": report.interval(self.task, self.settings.metric),
            "breakdowns": {found.split: breakdown_file(found.split, 0) for found in (select, report)},
        }
        metric = str(self.settings.metric)
        return {
            "best": point,
            "last": point,
            "steps": 0,
            "epochs": 0.0,
            "selected": select.scores[metric],
            "seconds": {"training": 0.0},
            **reading({}),
            "parameters": {**dict.fromkeys(COUNTED, 0), "trained": learned, "head": learned},
        }

    # Parts of a run

    def begin(self, model: Any, member: int, rendered: dict[str, Any]) -> Any:
        """The run as the loop takes it, from its newest checkpoint if it has one.

        member: its number among the runs of the model; rendered: splits as runs with the same settings see them.
        """
        training = self._run(model, self._lay_out(model, member, rendered))
        if self.adapt is not None:
            self.adapt(training)
        self._restore(training)
        return training

    def _lay_out(self, model: Any, member: int, rendered: dict[str, Any]) -> Any:
        """Take the run's place in a model, see `begin`; returns what it trains on as its template lays it out."""
        s = self.settings
        self.model, self.member = model, member
        self._show(model)
        own = None if self.examples is None else self._render(model, "train", self.examples)
        read = {s.select_on, self.report_on, *(["train"] if own is None else [])}
        self.rendered = {split: self._shared(split, rendered) for split in read}
        given = self.rendered["train"] if own is None else own
        self.rendered.setdefault("train", given)
        return given

    def _show(self, model: Any) -> None:
        """Give the training examples to a template that shows some of them, and keep them for later."""
        from ptune import shots
        from ptune.templates import Showing

        template = model.member(self.member).template
        if isinstance(template, Showing):
            shown = shots.labeled(self.task, self.corpus.splits["train"])
            template.learn(shown)
            shots.write(self.folder, shown)

    def _shared(self, split: str, rendered: dict[str, Any]) -> Any:
        """A split as the template lays it out, perhaps for another run already."""
        from ptune.cache import plain, said

        s, template = self.settings, self.model.member(self.member).template
        seed = s.seed if s.held_out_seed is None else s.held_out_seed
        held_out = [s.protocol, s.held_out_from, s.held_out_share, seed] if s.protocol != "standard" else None
        try:
            key = json.dumps([split, said(template), asdict(s.data), held_out], default=plain)
        except TypeError:  # a template of somebody's own that cannot be written down
            key = f"{split} {self.member}"
        if key not in rendered:
            rendered[key] = self._render(self.model, split)
        return rendered[key]

    def event(self, training: Any) -> dict[str, Any]:
        """What the loop is told of an evaluation."""
        return self._event(self.model, self.rendered, training.step)

    def conclude(self, training: Any, seconds: float, runs: int) -> dict[str, Any]:
        """The figures of a run that the loop has ended; so many runs took so many seconds together."""
        last = self._point(self.model, self.rendered, training.history[-1])
        self._load_best(training)
        return self._concluded(training, last, seconds, runs)

    def pruned(self, training: Any) -> None:
        """Write that an observer has ended the run, and where: it is over even where runs beside it are cut off."""
        last, best = training.history[-1], training.stopper
        told = {
            "why": best.pruned,
            "step": training.step,
            "steps": training.steps,
            "epoch": last["epoch"],
            "evaluations": len(training.history),
            "split": last["split"],
            "metric": last["metric"],
            "selected": best.best,
            "best_step": best.best_step,
            "identity": self.identity,
            "synthetic": self.corpus.synthetic,
        }
        self.folder.write_json("pruned.json", told)

    def prune(self, training: Any) -> PrunedError:
        """Tell the tracker that an observer has ended the run; what to raise then."""
        told, last, best = self.folder.read_json("pruned.json"), training.history[-1], training.stopper
        self.tracker.finish({"pruned": True, **told}, {})
        log.info("pruned after step %d of %d: %s", training.step, training.steps, best.pruned)
        return PrunedError(
            f"pruned after step {training.step} of {training.steps}, {last['split']} {told['metric']} {best.best:.2f}: "
            f"{best.pruned}"
        )

    def _concluded(self, training: Any, last: dict[str, Any], seconds: float, runs: int) -> dict[str, Any]:
        """See `conclude`; the model is as it was at its best."""
        s, model, rendered = self.settings, self.model, self.rendered
        best_event = next(event for event in training.history if event["step"] == training.stopper.best_step)
        best = self._point(model, rendered, best_event, keep=True)
        examples, parameters = training.step * s.batch_size, self._account(model)
        return {
            "best": best,
            "last": last,
            "steps": training.step,
            "epochs": training.step / training.steps_per_epoch,
            "stopped_early": training.step < training.steps,
            "selected": best_event["selected"],
            "seconds": {"training": seconds / runs},
            "fused": runs,
            "examples_per_second": examples * runs / max(seconds, 1e-9),
            **reading(rendered),
            "parameters": parameters,
            "flop": self._flop(model, rendered, training.step, parameters["backbone"]),
        }

    def _flop(self, model: Any, rendered: Mapping[str, Any], steps: int, tuned: int) -> dict[str, float]:
        """An estimate of what training took, and what an example of the reported split takes, see ptune.flop."""
        from ptune import flop
        from ptune.checks import below

        s, backbone = self.settings, model.backbone
        prompt = model.member(self.member).prompt
        about = (prompt.place, prompt.length, below(s, backbone.shape), tuned, s.cache_layers)
        learned, read = (
            flop.cost(backbone.shape, backbone.size, flop.Read.of(each.counts, each.lengths), *about)
            for each in (rendered["train"], rendered[self.report_on])
        )
        return {"training": steps * s.batch_size * learned.step, "example": read.forward}

    def determinism(self, model: Any) -> None:
        """Take no algorithm whose result depends on how threads meet."""
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(self.settings.deterministic)
        # Nothing reads what it did not write.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def _render(self, model: Any, split: str, examples: Sequence[Example] | None = None) -> Any:
        from ptune.rendered import Rendered

        template = model.member(self.member).template
        assert self.settings.data.max_length is not None
        most = self.settings.data.max_length
        examples = self.corpus.splits[split] if examples is None else examples
        rendered = Rendered(examples, self.task, template, most, self.cache, split)
        if rendered.cut or rendered.lost:
            share = 100 * rendered.cut / len(rendered)
            note = f"{split}: {rendered.cut} of {len(rendered)} examples ({share:.1f}%) are cut to data.max_length"
            self.progress.say(note + (f", {rendered.lost} gold labels lost" if rendered.lost else ""))
        if (worst := max(rendered.dropped)) > 0:
            fit, of = template.wanted - worst, sum(dropped > 0 for dropped in rendered.dropped)
            self.progress.warn(
                f"{split}: {of} of {len(rendered)} examples have no room for all of {template.wanted} demonstrations; "
                f"of those at least {fit} fit into the {most} tokens of data.max_length"
            )
        return rendered

    def _run(self, model: Any, rendered: Any) -> Any:
        from ptune import loop
        from ptune.rendered import SideBySide

        stream = self._stream(rendered)
        sources = {stream.source: loop.Source(self.member, self._normalizer(stream), self.weight)}
        streams = [stream]
        for member, beside in enumerate(self.beside, len(model.members) - len(self.beside)):
            streams.append(self._stream_beside(beside, model.member(member).template))
            sources[beside.name] = loop.Source(member, self._normalizer(streams[-1]), beside.weight)
        return self._training(model, SideBySide(streams), stream.steps_per_epoch, sources)

    def _training(self, model: Any, stream: Any, steps_per_epoch: int, sources: Mapping[str, Any]) -> Any:
        """A run of the loop over the batches of sources, of which the first is the run's own."""
        import torch

        from ptune import loop, optim

        s = self.settings
        steps = s.epochs * steps_per_epoch
        steps = min(steps, s.max_steps) if s.max_steps is not None else steps
        others = {name: source.member for name, source in sources.items() if source.member != self.member}
        trained = model.trained(self.member, others)
        with torch.no_grad():
            for name, tensor in self.start.items():
                trained[name].copy_(tensor)
        groups = {
            g: [p for name, p in trained.items() if name.startswith(g + ".")] for g in ("prompt", "head", "backbone")
        }
        stepper = optim.Stepper(optim.optimizer(s.optim, groups), optim.schedule(s.optim, steps, steps_per_epoch))
        return loop.Run(
            member=self.member,
            stream=stream,
            stepper=stepper,
            trained=trained,
            recorder=Recorder(self.folder, self.tracker, self.progress),
            steps=steps,
            steps_per_epoch=steps_per_epoch,
            eval_every=s.eval_every or steps_per_epoch,
            seed=s.seed,
            clip=s.optim.clip,
            sources=sources,
            stopper=loop.Stopper(s.patience),
            save_every=60 * s.save_minutes,
            observer=self._observer(),
        )

    def _observer(self) -> Any:
        """Who sees the evaluations of the run; those of its stages are the procedure's own business."""
        s = self.settings
        return leaf(s.observer, s.packages, warn=self.progress.warn) if s.observer and self.stage is None else None

    def _stream(self, rendered: Any, source: str = "train") -> Any:
        from ptune.rendered import Stream

        s = self.settings
        batching = (s.batch_size, s.accumulate or 1, s.seed, s.data.bucket, s.batch_tokens)
        return Stream(rendered, *batching, source=source)

    def _normalizer(self, stream: Any) -> float | None:
        """What the loss of a stream's steps is divided by, see loop.Run."""
        return float(stream.expected_labels) if self.settings.loss.normalize == "constant" else None

    def _stream_beside(self, beside: Beside, template: Any) -> Any:
        from ptune.rendered import Rendered, Stream

        s = beside.settings
        most = int(s.data.max_length or 0)
        rendered = Rendered(beside.examples, beside.task, template, most, self.cache, beside.name)
        batching = (s.batch_size, s.accumulate or 1, s.seed, s.data.bucket, s.batch_tokens)
        return Stream(rendered, *batching, source=beside.name)

    def _restore(self, training: Any) -> None:
        path = self.folder.newest_checkpoint(self.progress.warn)
        if path is not None:
            training.restore(*read_checkpoint(path))
        self.folder.cut_metrics(training.step)
        if path is not None:
            self.tracker.again(self._record())
            self.progress.say(f"going on from step {training.step} of {training.steps}")

    def _record(self) -> Iterator[tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]]:
        """The events of the run so far, an evaluation with its tables."""
        from ptune.breakdown import tables

        for _, event in self.folder.metrics():
            file = breakdown_file(str(event.get("split")), event["step"])
            known = event["event"] == "eval" and self.folder.file(file).is_file()
            yield event, tables(self.folder.read_json(file)) if known else {}

    def _load_best(self, training: Any) -> None:
        import torch

        if training.stopper.best_step == training.step:
            return
        path = self.folder.file("checkpoints") / f"{training.stopper.best_step:08d}"
        if not ranks.told(lambda: intact(path)):
            raise PtuneError(f"{path}, the best of the run, is damaged; train again, in a new folder")
        parameters, _, _ = read_checkpoint(path)
        with torch.no_grad():
            for name, parameter in training.trained.items():
                parameter.copy_(parameters[name])

    def _evaluate(self, model: Any, rendered: Mapping[str, Any], split: str) -> Any:
        from ptune.evaluate import Asked, evaluate

        s = self.settings
        asked = Asked(self.member, self.task, self.corpus.splits[split], rendered[split])
        return evaluate(model, asked, split, s.eval_batch_size, s.batch_tokens)

    def _event(self, model: Any, rendered: Mapping[str, Any], step: int) -> dict[str, Any]:
        from ptune.breakdown import figures

        found = self._evaluate(model, rendered, self.settings.select_on)
        metric = str(self.settings.metric)
        return {
            "split": found.split,
            "metric": metric,
            "selected": found.scores[metric],
            "scores": found.scores,
            "breakdown": figures(self._break_down(found, step)),
            "seconds": found.seconds,
        }

    def _break_down(self, found: Any, step: int) -> dict[str, Any]:
        """Write where an evaluation's score comes from, and tell the tracker."""
        from ptune.breakdown import breakdown, tables

        broken_down = breakdown(self.task, found, self.settings.metric)
        self.folder.write_json(breakdown_file(found.split, step), {"step": step, **broken_down})
        self.tracker.tables(found.split, step, tables(broken_down))
        return broken_down

    def _point(
        self, model: Any, rendered: dict[str, Any], event: Mapping[str, Any], keep: bool = False
    ) -> dict[str, Any]:
        """The scores of one moment of training, on the selecting and on the reporting split."""
        beside: dict[str, dict[str, float]] = {}
        intervals: dict[str, Any] = {}
        step = event["step"]
        for split in self.corpus.beside(self.report_on) if keep else ():
            rendered[split] = self._render(model, split)
            found = self._evaluate(model, rendered, split)
            beside[split] = found.scores
            intervals[split] = found.interval(self.task, self.settings.metric)
            self._break_down(found, step)
        report = self._evaluate(model, rendered, self.report_on)
        self._break_down(report, step)
        if keep:
            self._keep(report)
        return {
            **({"beside": beside, "beside_intervals": intervals} if beside else {}),
            "step": step,
            "epoch": event["epoch"],
            "select": event["scores"],
            "report": report.scores,
            "interval": report.interval(self.task, self.settings.metric),
            "breakdowns": {s: breakdown_file(s, step) for s in (self.settings.select_on, self.report_on, *beside)},
        }

    def _keep(self, report: Any) -> None:
        from ptune.evaluate import prediction_rows

        self.predictions = prediction_rows(report)
        self.folder.write_jsonl("predictions.jsonl", self.predictions)

    def _account(self, model: Any) -> dict[str, Any]:
        about = {"ptune": "tuned", "method": self.settings.method["name"], "backbone": self.settings.backbone["name"]}
        tensors = model.stored(self.member)
        self.bytes = self.folder.write_tensors(tensors, about)
        return accounting(model, self.member, tensors, self.bytes)

    def finish(self, figures: dict[str, Any]) -> dict[str, Any]:
        """Write the result and tell the tracker."""
        from ptune.evaluate import constant

        s = self.settings
        report = self.corpus.splits[self.report_on]
        majority = constant(self.task, self.corpus.splits.get("train", report), self.report_on, report)
        metric = str(s.metric)
        result = {
            "method": s.method["name"],
            "task": s.task["name"],
            "backbone": s.backbone["name"],
            "prompt_length": s.prompt_length.value,
            "tune": s.method["tune"],
            "seed": s.seed,
            "experiment": s.experiment,
            "identity": self.identity,
            "synthetic": self.corpus.synthetic,
            "metric": metric,
            "select_on": s.select_on,
            "report_on": self.report_on,
            "selected_on_reported": s.select_on == self.report_on,
            "score": figures["best"]["report"][metric],
            "interval": figures["best"]["interval"],
            "majority": majority.scores[metric],
            **figures,
            **({"stages": list(self.stages.values())} if self.stages else {}),
            **({"caveat": self.task.caveat} if self.task.caveat else {}),
            "data": self.corpus.origin,
            "checksums": {split: told["sha256"] for split, told in self.splits.items()},
        }
        self.folder.write_json("result.json", result)
        keys = ("score", "majority", "selected", "best", "last", "parameters", "synthetic", "metric", "report_on")
        self.tracker.finish({key: result[key] for key in keys}, {"predictions": self.predictions})
        return result


def train(sessions: Sequence[Session]) -> list[dict[str, Any] | Exception]:
    """Train runs that share a backbone side by side; the figures of each, or what ended it.

    A run with sources beside its own trains alone.
    """
    from ptune import loop

    first = sessions[0]
    beside = [(each.settings, each.task) for each in first.beside]
    model = build.assemble([session.settings for session in sessions], first.task, beside)
    first.determinism(model)
    if model.backbone.lower is not None:
        first.progress.say(f"the {model.backbone.lower.depth} lowest layers are cached; no dropout in them")
    rendered: dict[str, Any] = {}
    runs = [session.begin(model, member, rendered) for member, session in enumerate(sessions)]
    label = first.label if len(runs) == 1 else f"{len(runs)} runs"
    first.progress.begin(label, max(run.steps for run in runs), min(run.step for run in runs), len(runs))
    started = time.perf_counter()
    loop.fit(runs, model, lambda run: sessions[run.member].event(run), lambda run: sessions[run.member].pruned(run))
    seconds = time.perf_counter() - started
    first.progress.end()
    both = zip(sessions, runs, strict=True)
    return [
        run.failure or (session.prune(run) if run.stopper.pruned else session.conclude(run, seconds, len(runs)))
        for session, run in both
    ]


def jointly(first: Session, others: Sequence[Session], temperature: float | None) -> list[dict[str, Any] | None]:
    """Train one prompt, with a head for each of several runs' tasks, on a batch of one task a step.

    The first run's settings hold; its folder has the history, and the checkpoints, of which the one with the best mean
    of the tasks' scores counts. temperature: see rendered.Drawn. Returns the figures of each run, `own_steps` among
    them: how many had a batch of its task; None of one that has ended before.
    """
    from ptune import loop
    from ptune.rendered import Drawn

    runs = [first, *others]
    model = build.assemble([first.settings], first.task, [(other.settings, other.task) for other in others])
    first.determinism(model)
    names = [run.task.name for run in runs]
    laid_out = [run._lay_out(model, member, {}) for member, run in enumerate(runs)]
    streams = [run._stream(given, name) for run, given, name in zip(runs, laid_out, names, strict=True)]
    drawn = Drawn(streams, first.settings.seed, temperature)
    sources = {name: loop.Source(member, first._normalizer(streams[member])) for member, name in enumerate(names)}
    training = first._training(model, drawn, drawn.steps_per_epoch, sources)
    first._restore(training)

    def event(training: Any) -> dict[str, Any]:
        each = {name: run.event(training) for name, run in zip(names, runs, strict=True)}
        mean = statistics.fmean(found["selected"] for found in each.values())
        return {**each[names[0]], "selected": mean, "tasks": each}

    first.progress.begin(first.label, training.steps, training.step)
    started = time.perf_counter()
    loop.fit([training], model, event)
    seconds = time.perf_counter() - started
    first.progress.end()
    views = [
        replace(training, history=[{**found, **found["tasks"][name]} for found in training.history]) for name in names
    ]
    both = list(zip(runs, views, strict=True))
    ended = [run.folder.finished for run in runs]
    last = [
        None if e else r._point(model, r.rendered, view.history[-1]) for e, (r, view) in zip(ended, both, strict=True)
    ]
    first._load_best(training)
    return [
        None
        if then is None
        else {**run._concluded(view, then, seconds, 1), "own_steps": drawn.taken(training.step, member)}
        for member, (then, (run, view)) in enumerate(zip(last, both, strict=True))
    ]


def micro_batches(settings: Train, folder: RunFolder, runs: int) -> int:
    """Of a step; a run that goes on does so as it began. Raises ConfigError where some ranks would have none."""

    def begun() -> int | None:
        return folder.read_config().get("accumulate") if folder.file("config.yaml").is_file() else None

    if settings.accumulate is None:
        settings.accumulate = ranks.told(begun)
    found = build.micro_batches(settings, runs)
    if found < ranks.count():
        text = f"{found} micro-batches a step cannot be divided among {ranks.count()} processes"
        raise ConfigError([f"accumulate: {text}; at least {ranks.count()}, or fewer processes"])
    return found


def breakdown_file(split: str, step: int) -> str:
    """Where the breakdown of a split after a step is, in the run folder."""
    return f"breakdowns/{split}_{step:08d}.json"


def run_name(s: Train) -> str:
    """method task backbone, with the prompt length where there is one."""
    length = f" P={s.prompt_length.value}" if s.prompt_length.value else ""
    return f"{s.method['name']}{length} {s.task['name']} {s.backbone['name']}"
