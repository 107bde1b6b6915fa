"""One run's parts, for procedures to call: task, corpus, model, loop, evaluator and folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ptune import build, ranks
from ptune.batch import Example
from ptune.checks import check
from ptune.config import Train
from ptune.data.splits import SYNTHETIC, read_corpus
from ptune.errors import ConfigError
from ptune.leaves import leaf, target
from ptune.progress import Progress
from ptune.runs import halt
from ptune.runs.accounting import accounting, reading
from ptune.runs.folder import RunFolder, environment, sha256
from ptune.runs.stages import Child, differences, with_changes

if TYPE_CHECKING:
    from ptune.runs.evaluations import Evaluations
    from ptune.tasks import Prediction

log = logging.getLogger(__name__)
FEW = 100  # examples of a split that are looked for in another
SINGLE = {"_target_": "ptune.procedures.single.Single"}  # what surrounds a stage that says nothing else


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
        from ptune.data.cache import Cache
        from ptune.data.corpora import cache_folder
        from ptune.data.stored import account

        self.cache = Cache(cache_folder, progress, settings.data.cache)
        self.settings, self.folder, self.progress = settings, folder, progress
        self.overrides, self.stage = overrides, stage
        self.corpora = {} if corpora is None else corpora
        self.stages: dict[str, dict[str, Any]] = {}
        self.expected: int | None = None
        self.examples = None if stage is None else stage.examples
        self.model: Any = None
        self.member = 0
        self.rendered: dict[str, Any] = {}
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
        self.environment = environment(list(overrides))
        self.identity = folder.write_environment({"identity": identity, **self.environment, "data": self.corpus.origin})
        folder.write_config(build.as_config(settings))  # behind the identity: what goes on is what was asked for
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
        from ptune.runs.track import tracker

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
        from ptune.runs.naming import sweep_of

        sweep = sweep_of(self.folder.path)
        return self.settings.tracker.group or (self.settings.experiment if sweep is None else sweep.name)

    def _name(self) -> str:
        """What the tracker calls the run: it ends with what differs in its sweep."""
        from ptune.runs.naming import own_words

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
        s: Train = with_changes(self.settings, {**changes, "method": method})
        differing = differences(asdict(self.settings), asdict(s))
        if s.held_out_seed is None:
            s.held_out_seed = self.settings.seed
        s.tracker.group = s.tracker.group or self._group() or run_name(self.settings)
        if problems := [*build.resolve_length(s)] or [*check(s)]:
            raise ConfigError([f"stage {name}: {problem}" for problem in problems])
        build.settle(s)
        stage = Child(name, self, examples, differing)
        folder = RunFolder(self.folder.file(stage.folder))
        return Session(s, folder, self.overrides, self.progress, self.corpora, stage=stage)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        """What the model of the run says of examples: the one at hand, else the one that its folder keeps."""
        from ptune.data.rendered import Rendered
        from ptune.evaluate import Asked, predict

        s = self.settings
        if self.model is None:
            model = build.assemble([s], self.task)
            model.load_stored(self.folder.read_tensors())
            self.take(model, self.member)
        rendered = Rendered(examples, self.task, self.model.member(self.member).template, s.data.tokens, self.cache)
        return predict(self.model, Asked(self.member, self.task, examples, rendered), s.eval_batch_size, s.batch_tokens)

    def settle(self, **changes: Any) -> None:
        """Change settings for good, see `child`, as a search has found them: the folder tells the run with these."""
        self.settings = with_changes(self.settings, changes)
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
        self.settings = with_changes(self.settings, changes)
        from ptune.training import train

        (found,) = train([self])
        if isinstance(found, Exception):
            raise found
        return found

    def untrained(self) -> dict[str, Any]:
        """Report the model as it is."""
        from ptune.runs.evaluations import unmoved

        s = self.settings
        self.take(build.assemble([s], self.task))
        if s.method["head"].get("calibrate"):
            from ptune.calibration import calibrate

            calibrate(self.model, self.member, self.task, s.data.tokens)
        splits = {s.select_on, self.report_on, *self.corpus.beside(self.report_on)}
        seen = self.model, self.member, {split: self.render(split) for split in splits}
        event = {**self.evaluations.event(*seen, 0), "step": 0, "epoch": 0.0}
        point = self.evaluations.point(*seen, event, keep=True)
        return {**unmoved(point, event["selected"]), **reading(seen[2]), "parameters": self.account()}

    def constant(self) -> dict[str, Any]:
        """Report the class seen most in training."""
        majority = self.task.majority(self.corpus.splits["train"])
        return self.predicted(lambda examples: [majority(example) for example in examples])

    def predicted(self, predict: Callable[[Sequence[Any]], list[Any]], learned: int = 0) -> dict[str, Any]:
        """Report a predictor that is no model of ours, from examples to predictions; learned: its parameters."""
        select, report = (self.evaluations.by(predict, split) for split in (self.settings.select_on, self.report_on))
        return self.evaluations.once(select, report, learned)

    def answered(
        self,
        on_select: Sequence[Prediction],
        on_report: Sequence[Prediction],
        parameters: Mapping[str, float],
    ) -> dict[str, Any]:
        """Report what was found without a model of this run: predictions on the selecting and the reported split.

        parameters: of the models that found it, see ptune.runs.accounting.
        """
        select = self.evaluations.by(lambda examples: list(on_select), self.settings.select_on)
        report = self.evaluations.by(lambda examples: list(on_report), self.report_on)
        return {**self.evaluations.once(select, report), "parameters": dict(parameters)}

    @property
    def reported_selects(self) -> bool:
        """Whether examples that are reported select: of the same split, or of two that are of one file, as SST-5's."""
        select, report = (self.corpus.splits[split] for split in (self.settings.select_on, self.report_on))
        if self.settings.select_on == self.report_on:
            return True
        some = {example.id: example for example in islice(select, FEW)}
        return any(example.id in some and some[example.id] == example for example in report)

    @property
    def evaluations(self) -> Evaluations:
        """What evaluates the run, with its settings as they are now."""
        from ptune.runs.evaluations import Evaluations

        return Evaluations(self.settings, self.task, self.corpus, self.report_on, self.folder, self.tracker)

    # What training calls

    def take(self, model: Any, member: int = 0) -> None:
        """Take a place in a model; a template that shows training examples learns them, and they are kept for later."""
        from ptune.runs import shots
        from ptune.templates import Showing

        self.model, self.member = model, member
        template = model.member(member).template
        if isinstance(template, Showing):
            shown = shots.labeled(self.task, self.corpus.splits["train"])
            template.learn(shown)
            shots.write(self.folder, shown)

    def render(self, split: str, examples: Sequence[Example] | None = None) -> Any:
        """A split, or other examples in its place, as the template lays it out; says what has no room."""
        from ptune.data.rendered import Rendered

        template = self.model.member(self.member).template
        most = self.settings.data.tokens
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

    def account(self) -> dict[str, Any]:
        """Store what was trained; what it comes to, see ptune.runs.accounting."""
        about = {"ptune": "tuned", "method": self.settings.method["name"], "backbone": self.settings.backbone["name"]}
        tensors = self.model.stored(self.member)
        return accounting(self.model, self.member, tensors, self.folder.write_tensors(tensors, about))

    def _weights(self) -> dict[str, Any]:
        """What tells the weights that answered: of the file that was tuned, and of the backbone that it goes with."""
        tuned = self.folder.file("tuned.safetensors")
        backbone = leaf(self.settings.backbone, self.settings.packages) if self.procedure.backbone else None
        return {
            "tuned": sha256(tuned) if tuned.is_file() else None,
            "backbone": backbone and backbone.origin(),
        }

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
            "protocol": s.protocol,
            "select_on": s.select_on,
            "report_on": self.report_on,
            "selection": f"the first evaluation with the highest {metric} on {s.select_on}"
            if figures["steps"]
            else "none, it was evaluated once",
            "selected_on_reported": bool(figures["steps"] or "selection" in figures) and self.reported_selects,
            "score": figures["best"]["report"][metric],
            "interval": figures["best"]["interval"],
            "majority": majority.scores[metric],
            **figures,
            **({"stages": list(self.stages.values())} if self.stages else {}),
            **({"caveat": self.task.caveat} if self.task.caveat else {}),
            "data": self.corpus.origin,
            "checksums": {split: told["sha256"] for split, told in self.splits.items()},
            "weights": self._weights(),
            "deterministic": s.deterministic,
            "environment": {name: told for name, told in self.environment.items() if name != "overrides"},
        }
        keys = ("score", "majority", "selected", "best", "last", "parameters", "synthetic", "metric", "report_on")
        shown = {"predictions": self.folder.read_jsonl("predictions.jsonl")}
        self.folder.write_json("result.json", result)
        with halt.guarded():  # the run is over; who asks it to end waits until its tracker knows
            self.tracker.finish({key: result[key] for key in keys}, shown)
        return result


def micro_batches(settings: Train, folder: RunFolder, runs: int) -> int:
    """Of a step; a run that goes on does so as it began. Raises ConfigError where some ranks would have none."""

    def begun() -> int | None:
        return folder.read_config().get("accumulate") if folder.file("config.yaml").is_file() else None

    if settings.accumulate is None:
        settings.accumulate = ranks.on_first_rank(begun)
    found = build.micro_batches(settings, runs)
    if found < ranks.count():
        text = f"{found} micro-batches a step cannot be divided among {ranks.count()} processes"
        raise ConfigError([f"accumulate: {text}; at least {ranks.count()}, or fewer processes"])
    return found


def run_name(s: Train) -> str:
    """method task backbone, with the prompt length where there is one."""
    length = f" P={s.prompt_length.value}" if s.prompt_length.value else ""
    return f"{s.method['name']}{length} {s.task['name']} {s.backbone['name']}"
