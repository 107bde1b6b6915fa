"""One run with all its parts, as procedures use it: task, corpus, model, loop, evaluator and folder."""

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
    from ptune.data.rendered import Rendered
    from ptune.model import Model
    from ptune.runs.evaluations import Evaluations
    from ptune.runs.track import Tracker
    from ptune.tasks import Prediction, Task

log = logging.getLogger(__name__)
FEW = 100  # examples of one split that are searched for in another
SINGLE = {"_target_": "ptune.procedures.single.Single"}  # the procedure of a stage, unless it names one


@dataclass(frozen=True)
class AuxiliaryData:
    """Further training data of a run (as PET's masked language modeling), with a template and head of its own.

    Every step adds a batch of it to the run's own. name: of its batches. settings: the run's, with another template and
    head, and its own batch size. weight: of its loss, the mean over its labels.
    """

    name: str
    settings: Train
    task: Task
    examples: Sequence[Example]
    weight: float = 1.0


class Session:
    """One run with all its parts: task, corpus, model, loop, evaluator and folder.

    A procedure may set, before it trains: expected, how many stages with runs of their own there will be (for display);
    auxiliary, further training data, and weight, that of the run's own loss beside it; start, initial values of trained
    parameters by name; adapt, a function that changes the loop's run before it begins, as its stepper.
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
        """corpora: those already read, by their settings. runs: how many train together. stage: set for a run that is a
        stage of another.
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
        self._model: Model | None = None
        self.member = 0
        self.rendered: dict[str, Rendered] = {}
        self.auxiliary: Sequence[AuxiliaryData] = ()
        self.weight = 1.0
        self.start: Mapping[str, Any] = {}
        self.adapt: Callable[[Any], None] | None = None
        is_announced = bool(corpora)  # by a run that read the corpus before
        identity = build.identity(settings)  # before reading the corpus, which decides some settings
        self.task = leaf(settings.task, settings.packages)
        self.corpus, self.report_on = read_corpus(settings, self.task, self.cache, self.corpora)
        self.procedure = target(settings.method["procedure"]["_target_"], settings.packages)
        if self.procedure.backbone:
            _ = leaf(settings.backbone, settings.packages).folder  # raises if it is missing, before anything is written
            settings.accumulate = micro_batches(settings, folder, runs)
        settings.report_on = self.report_on
        if folder.finished:
            return  # write nothing again
        self.environment = environment(list(overrides))
        self.identity = folder.write_environment({"identity": identity, **self.environment, "data": self.corpus.origin})
        folder.write_config(build.as_config(settings))  # after the identity, which decides whether a run may resume
        splits = self.corpus.splits if self.examples is None else {**self.corpus.splits, "train": self.examples}
        self.splits = {split: account(examples) for split, examples in splits.items()}
        folder.write_jsonl("splits.jsonl", [{"split": split, **facts} for split, facts in self.splits.items()])
        if self.corpus.synthetic:
            log.warning(SYNTHETIC)
        if not is_announced:
            self._announce()
        self.tracker = self._tracker()

    def _announce(self) -> None:
        """Show the user the corpus's warnings, and what is slow here."""
        if self.corpus.synthetic:
            self.progress.say(SYNTHETIC, style="bold yellow")
        for line in self.corpus.warnings:
            self.progress.warn(line)
        for split, count in self.corpus.origin.get("left_out", {}).items():
            self.progress.say(f"{split}: {count} rows are left out (task.source.leave_out)")
        if self.procedure.backbone and build.slow_in_bfloat16(self.settings):
            self.progress.warn("precision: this CPU is far slower in bfloat16 than in float32; use precision=float32")

    def _tracker(self) -> Tracker:
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
        """The tracker's group: from the settings, else the sweep, else the experiment."""
        from ptune.runs.naming import sweep_of

        sweep = sweep_of(self.folder.path)
        return self.settings.tracker.group or (self.settings.experiment if sweep is None else sweep.name)

    def _name(self) -> str:
        """The tracker's name of the run; it ends with the settings that vary in its sweep."""
        from ptune.runs.naming import own_words

        if self.stage is not None:
            return f"{run_name(self.settings)} {self.stage.name}"
        return " ".join([run_name(self.settings), *own_words(self.folder.path)])

    @property
    def label(self) -> str:
        """The run's name in the progress display."""
        return run_name(self.settings) if self.stage is None else f"{self.stage.label}  {run_name(self.settings)}"

    def complete(self, figures: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the procedure to its end, or read the result if the run has finished; returns the result.

        figures: of a run that was trained together with another.
        """
        if not self.folder.finished:
            if figures is None:
                figures = {}
                for step in leaf(self.settings.method["procedure"], self.settings.packages).stages(self):
                    log.info("%s: %s", self.label, step.name)
                    figures = step.action()
            self.finish(figures)
        result = self.folder.read_json("result.json")  # read back: the same as that of a finished run
        if self.stage is not None:
            self.stage.conclude(result)
        return result

    # What procedures call

    def child(self, name: str, examples: Sequence[Example] | None = None, **changes: Any) -> Session:
        """A stage that is a run of its own, in the folder stages/NAME, with this run's settings and some changes.

        changes: settings by name; a mapping changes single keys of a node, and one with a `_target_` replaces a whole
        leaf. Without a procedure among them the stage is a single training. Learning rates and held-out examples stay
        those of this run. examples: to train on in place of the corpus's, with labels or soft labels.

        `complete` runs the stage: it resumes from a checkpoint, and a finished stage is not run again; its figures
        appear in this run's result under "stages". Raises ConfigError for changes that do not fit together.
        """
        method = {"procedure": SINGLE, **changes.get("method", {})}
        s: Train = with_changes(self.settings, {**changes, "method": method})
        changed_settings = differences(asdict(self.settings), asdict(s))
        if s.held_out_seed is None:
            s.held_out_seed = self.settings.seed
        s.tracker.group = s.tracker.group or self._group() or run_name(self.settings)
        if problems := [*build.resolve_length(s)] or [*check(s)]:
            raise ConfigError([f"stage {name}: {problem}" for problem in problems])
        build.settle(s)
        stage = Child(name, self, examples, changed_settings)
        folder = RunFolder(self.folder.file(stage.folder))
        return Session(s, folder, self.overrides, self.progress, self.corpora, stage=stage)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        """Predict examples with the run's model: the one in memory, else the one stored in the folder."""
        from ptune.data.rendered import Rendered
        from ptune.evaluate import Request, predict

        s = self.settings
        if self._model is None:
            model = build.assemble([s], self.task)
            model.load_stored(self.folder.read_tensors())
            self.join_model(model, self.member)
        rendered = Rendered(examples, self.task, self.model.member(self.member).template, s.data.tokens, self.cache)
        return predict(
            self.model, Request(self.member, self.task, examples, rendered), s.eval_batch_size, s.batch_tokens
        )

    def change_settings(self, **changes: Any) -> None:
        """Change the run's settings (see `child`) to what a search found, in its config.yaml too."""
        self.settings = with_changes(self.settings, changes)
        self.task = leaf(self.settings.task, self.settings.packages)
        self.folder.write_config(build.as_config(self.settings))

    def leave_model(self) -> None:
        """Hold the model no longer; `answer` builds it again from the folder."""
        self._model = None

    def drop_weights(self) -> None:
        """Delete the tensors and checkpoints of a finished run; its figures stay."""
        self.leave_model()
        self.folder.drop_tensors()

    def train(self, examples: Sequence[Example] | None = None, **changes: Any) -> dict[str, Any]:
        """Train to the end; returns the figures of the best and the last evaluation.

        examples: to train on in place of the corpus's. changes: of the settings, see `child`. Raises the error that
        ended the training.
        """
        self.examples = self.examples if examples is None else examples
        self.settings = with_changes(self.settings, changes)
        from ptune.training import train

        (figures,) = train([self])
        if isinstance(figures, Exception):
            raise figures
        return figures

    def report_untrained(self) -> dict[str, Any]:
        """Evaluate the model without training; returns the figures."""
        from ptune.runs.evaluations import unmoved

        s = self.settings
        self.join_model(build.assemble([s], self.task))
        if s.method["head"].get("calibrate"):
            from ptune.calibration import calibrate

            calibrate(self.model, self.member, self.task, s.data.tokens)
        splits = {s.select_on, self.report_on, *self.corpus.companion_splits(self.report_on)}
        rendered = {split: self.render(split) for split in splits}
        event = {**self.evaluations.event(self.model, self.member, rendered, 0), "step": 0, "epoch": 0.0}
        point = self.evaluations.point(self.model, self.member, rendered, event, keep=True)
        return {**unmoved(point, event["selected"]), **reading(rendered), "parameters": self.store_tuned()}

    def report_majority(self) -> dict[str, Any]:
        """Evaluate always predicting the majority class of the training data; returns the figures."""
        majority = self.task.majority(self.corpus.splits["train"])
        return self.report_predictor(lambda examples: [majority(example) for example in examples])

    def report_predictor(self, predict: Callable[[Sequence[Any]], list[Any]], learned: int = 0) -> dict[str, Any]:
        """Evaluate a predictor that is not a Model; returns the figures. learned: the number of its parameters."""
        select, report = (self.evaluations.by(predict, split) for split in (self.settings.select_on, self.report_on))
        return self.evaluations.once(select, report, learned)

    def report_predictions(
        self,
        on_select: Sequence[Prediction],
        on_report: Sequence[Prediction],
        parameters: Mapping[str, float],
    ) -> dict[str, Any]:
        """Evaluate predictions of the selecting and the reported split made without a model of this run (an ensemble).

        parameters: of the models that made them, see ptune.runs.accounting. Returns the figures.
        """
        select = self.evaluations.by(lambda examples: list(on_select), self.settings.select_on)
        report = self.evaluations.by(lambda examples: list(on_report), self.report_on)
        return {**self.evaluations.once(select, report), "parameters": dict(parameters)}

    @property
    def reported_selects(self) -> bool:
        """Whether the selecting and the reported split share examples: they are one split, or drawn from one file."""
        select, report = (self.corpus.splits[split] for split in (self.settings.select_on, self.report_on))
        if self.settings.select_on == self.report_on:
            return True
        examples_by_id = {example.id: example for example in islice(select, FEW)}
        return any(example.id in examples_by_id and examples_by_id[example.id] == example for example in report)

    @property
    def evaluations(self) -> Evaluations:
        """The evaluations of the run with its current settings."""
        from ptune.runs.evaluations import Evaluations

        return Evaluations(self.settings, self.task, self.corpus, self.report_on, self.folder, self.tracker)

    # What training calls

    @property
    def model(self) -> Model:
        """The model that the run is a member of, see `join_model`. Raises ValueError before it has one."""
        if self._model is None:
            raise ValueError("the run has no model yet")
        return self._model

    def join_model(self, model: Model, member: int = 0) -> None:
        """Become a member of a model; a template that shows training examples gets them, and the folder keeps them."""
        from ptune.runs import shots
        from ptune.templates import DemonstrationTemplate

        self._model, self.member = model, member
        template = model.member(member).template
        if isinstance(template, DemonstrationTemplate):
            labeled_examples = shots.labeled(self.task, self.corpus.splits["train"])
            template.learn(labeled_examples)
            shots.write(self.folder, labeled_examples)

    def render(self, split: str, examples: Sequence[Example] | None = None) -> Rendered:
        """Render a split, or other examples in its place, with the template; tells the user what was cut."""
        from ptune.data.rendered import Rendered
        from ptune.templates.demonstrations import Demonstrations

        template = self.model.member(self.member).template
        max_tokens = self.settings.data.tokens
        examples = self.corpus.splits[split] if examples is None else examples
        rendered = Rendered(examples, self.task, template, max_tokens, self.cache, split)
        if rendered.cut or rendered.lost:
            share = 100 * rendered.cut / len(rendered)
            message = f"{split}: {rendered.cut} of {len(rendered)} examples ({share:.1f}%) are cut to data.max_length"
            self.progress.say(message + (f", {rendered.lost} gold labels lost" if rendered.lost else ""))
        if isinstance(template, Demonstrations) and (max_dropped := max(rendered.dropped)) > 0:
            n_fitting, n = template.wanted - max_dropped, sum(count > 0 for count in rendered.dropped)
            self.progress.warn(
                f"{split}: {n} of {len(rendered)} examples have no room for all of {template.wanted} demonstrations; "
                f"of those at least {n_fitting} fit into the {max_tokens} tokens of data.max_length"
            )
        return rendered

    def store_tuned(self) -> dict[str, Any]:
        """Write the tuned tensors; returns their counts and sizes, see ptune.runs.accounting."""
        metadata = {
            "ptune": "tuned",
            "method": self.settings.method["name"],
            "backbone": self.settings.backbone["name"],
        }
        tensors = self.model.stored(self.member)
        return accounting(self.model, self.member, tensors, self.folder.write_tensors(tensors, metadata))

    def _weights(self) -> dict[str, Any]:
        """Checksums of the tuned weights and the origin of the backbone."""
        tuned_file = self.folder.file("tuned.safetensors")
        backbone = leaf(self.settings.backbone, self.settings.packages) if self.procedure.backbone else None
        return {
            "tuned": sha256(tuned_file) if tuned_file.is_file() else None,
            "backbone": backbone and backbone.origin(),
        }

    def finish(self, figures: dict[str, Any]) -> dict[str, Any]:
        """Write result.json and finish the tracker; returns the result."""
        result = self._result(figures)
        keys = ("score", "majority", "selected", "best", "last", "parameters", "synthetic", "metric", "report_on")
        predictions = {"predictions": self.folder.read_jsonl("predictions.jsonl")}
        self.folder.write_json("result.json", result)
        with halt.guarded():  # the run is over: a request to end waits for the tracker
            self.tracker.finish({key: result[key] for key in keys}, predictions)
        return result

    def _result(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """The figures of a run with what is needed to trace and compare them, as result.json has it."""
        from ptune.evaluate import evaluate_majority

        s = self.settings
        report = self.corpus.splits[self.report_on]
        majority = evaluate_majority(self.task, self.corpus.splits.get("train", report), self.report_on, report)
        metric = str(s.metric)
        return {
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
            "checksums": {split: facts["sha256"] for split, facts in self.splits.items()},
            "weights": self._weights(),
            "deterministic": s.deterministic,
            "environment": {name: value for name, value in self.environment.items() if name != "overrides"},
        }


def micro_batches(settings: Train, folder: RunFolder, runs: int) -> int:
    """Micro-batches a step; a resumed run keeps its number. Raises ConfigError if there are fewer than ranks."""

    def stored() -> int | None:
        return folder.read_config().get("accumulate") if folder.file("config.yaml").is_file() else None

    if settings.accumulate is None:
        settings.accumulate = ranks.on_first_rank(stored)
    count = build.micro_batches(settings, runs)
    if count < ranks.count():
        text = f"{count} micro-batches a step cannot be divided among {ranks.count()} processes"
        raise ConfigError([f"accumulate: {text}; at least {ranks.count()}, or fewer processes"])
    return count


def run_name(s: Train) -> str:
    """Method, prompt length if any, task and backbone."""
    length = f" P={s.prompt_length.value}" if s.prompt_length.value else ""
    return f"{s.method['name']}{length} {s.task['name']} {s.backbone['name']}"
