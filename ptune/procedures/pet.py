"""PET (Schick and Schuetze 2021, arXiv 2001.07676, 2009.07118): a classifier distilled from an ensemble of patterns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ptune.batch import Example, RowOutput, SoftLabel
from ptune.errors import nearest
from ptune.leaves import target, with_defaults
from ptune.procedures import Procedure, Stage, Work
from ptune.runs.accounting import joint_account
from ptune.seeds import mix
from ptune.tasks import OwnTexts
from ptune.templates.pattern import Pattern

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import AuxiliaryData, Session
    from ptune.tasks import Prediction, Task

Said = Sequence[np.ndarray]
PATTERN = "pet"  # how the names of a task's PET patterns begin
UNLABELED = "unlabeled.jsonl"  # in a stage's folder: what its model says of them
UNTRAINED = {"procedure": {"_target_": "ptune.procedures.zero_shot.ZeroShot"}, "name": "zero_shot", "tune": "none"}


class Scored(NamedTuple):
    """A trained pattern: its score in percent on the reported split, and what it says there, of the selecting split
    and of the unlabeled examples: log-probabilities [C] of each one's labels or candidates, whose means are those of
    logits but for a constant. rep: 0 where untrained; parameters: see ptune.runs.accounting."""

    pattern: str
    rep: int
    score: float
    reported: Said
    selecting: Said
    unlabeled: Said
    parameters: Mapping[str, float] = MappingProxyType({})


class Pet(Procedure):
    """A run for each pattern and repetition; the mean of what they say of unlabeled examples trains the method itself.

    Each run is a stage: the task's PET patterns (named pet...), or `patterns`, with the method's parts of `pattern`,
    `reps` seeds each, `pattern_steps` steps. The classifier takes `steps` steps; of `sc_reps` the first is this run.
    weights: of the patterns in the mean of logits; accuracy is that of the untrained pattern on the training examples
    that it learns from, and uniform in place of zeros throughout. temperature: of the soft labels; unlabeled: how many
    of them at most. distill: without it there is no classifier, nor need of unlabeled examples: the ensemble's answers
    are the run's. keep_weights: of stages, which nothing needs once they have said all they are asked. alpha: of the
    patterns' own loss, beside that of masked language modeling on the unlabeled examples in the same pattern, which
    weighs 1 - alpha and whose parts are `auxiliary`; None: without. mirror: where candidates have places, as COPA's
    two, each labeled and each unlabeled example is there once more with them in each other's.
    """

    zero_shot = False  # whether the labels of train are of no use, see Ipet

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        prefix, settings = "method.procedure", with_defaults(cls, given.method["procedure"])
        if task.readout != "sequence" and not (task.readout == "choice" and task.grouped):
            yield (
                "method/procedure",
                f"labels texts or candidates that compete for one label, but {task.name} asks for something else",
            )
        elif not (available := known_to(settings, task)):
            yield (
                f"{prefix}.patterns",
                f"task {task.name} has no pattern named pet...; name some of its patterns in a list",
            )
        else:
            for name in available:
                if name not in task.patterns:
                    known_as = nearest(name, task.patterns)
                    yield f"{prefix}.patterns", f"task {task.name} has no pattern '{name}'; {known_as}"
                else:
                    problems = Pattern.problems(with_defaults(Pattern, {"name": name}), shape, task)
                    yield from ((f"{prefix}.patterns", f"{name}: {text}") for _, text in problems)
        for key in ("reps", "sc_reps", "pattern_steps", "steps", "unlabeled"):
            if settings[key] is not None and settings[key] < 1:
                yield f"{prefix}.{key}", f"{settings[key]} is too small; at least 1"
        if settings["alpha"] is not None and not 0 < settings["alpha"] < 1:
            yield (
                f"{prefix}.alpha",
                f"{settings['alpha']} is not between 0 and 1; null trains without the auxiliary loss",
            )
        if settings["alpha"] is not None and task.masked != "label":
            yield (
                f"{prefix}.alpha",
                f"the auxiliary loss needs patterns that ask for a label's word, but those of {task.name} ask for "
                "each example's own text; leave it out",
            )
        node = (settings["auxiliary"] or {}).get("template")
        if settings["alpha"] is not None and node:
            kind, first = target(str(node.get("_target_")), given.packages), next(iter(known_to(settings, task)), None)
            for key, text in kind.problems(with_defaults(kind, {**node, "name": first}), shape, task):
                if key != "name":  # which is told above
                    yield f"{prefix}.auxiliary.template{'.' if key else ''}{key}", text
        for key, parts in (("pattern", settings["pattern"]), ("auxiliary", settings["auxiliary"])):
            if missing := {"template", "head"} - set(parts or ()) if key == "pattern" or settings["alpha"] else ():
                yield f"{prefix}.{key}.{min(missing)}", "must be given, with its _target_"
        if settings["temperature"] <= 0:
            yield f"{prefix}.temperature", f"{settings['temperature']} is not above 0"

    @classmethod
    def work(cls, given: Train, steps: float, examples: float) -> Work:
        """See Procedure: every pattern's trainings, of which each answers the unlabeled examples; the classifier's."""
        settings = with_defaults(cls, given.method["procedure"])
        patterns = settings["patterns"] or [
            name for name in given.task.get("patterns") or () if name.startswith(PATTERN)
        ]
        runs = len(patterns) * settings["reps"] * cls.rounds(settings)
        of_pattern, of_classifier = (training(given, settings[key])["max_steps"] for key in ("pattern_steps", "steps"))
        distilled = settings["sc_reps"] * of_classifier * settings["distill"]
        unlabeled = min(examples, settings["unlabeled"] or examples) if settings["distill"] else 0.0
        return Work(runs * of_pattern + distilled, runs * unlabeled)

    @classmethod
    def rounds(cls, settings: Mapping[str, Any]) -> int:
        """How often each pattern is trained."""
        return 1

    def __init__(
        self,
        pattern: dict[str, Any],
        patterns: list[str] | None = None,
        reps: int = 3,
        pattern_steps: int = 250,
        weights: Literal["accuracy", "uniform"] = "accuracy",
        steps: int = 5000,
        sc_reps: int = 1,
        temperature: float = 2.0,
        unlabeled: int | None = None,
        distill: bool = True,
        keep_weights: bool = False,
        alpha: float | None = None,
        auxiliary: dict[str, Any] | None = None,
        mirror: bool = True,
    ) -> None:
        self.pattern, self.patterns, self.reps, self.pattern_steps = pattern, patterns, reps, pattern_steps
        self.weights, self.steps, self.sc_reps, self.temperature = weights, steps, sc_reps, temperature
        self.unlabeled, self.distill, self.keep_weights = unlabeled, distill, keep_weights
        self.alpha, self.auxiliary, self.mirror = alpha, auxiliary or {}, mirror

    def stages(self, session: Session) -> Iterator[Stage]:
        """One, whose runs are stages of their own."""
        yield Stage("patterns and classifier", lambda: self.figures(session))

    def figures(self, session: Session) -> dict[str, Any]:
        """Those of the distilled classifier, else of the ensemble, and under "pet" every score on the way to it."""
        s = session.settings
        unlabeled, origin = self.without_labels(session)
        patterns = self.patterns or pet_patterns(session.task)
        session.expected = self.count(len(patterns))
        weights = self.weigh(session, patterns)
        teachers, scores = self.teach(session, patterns, weights, unlabeled)
        of_each = [weights[each.pattern] for each in teachers]
        about = {**origin, "weights": weights, **scores}
        if self.distill:
            logits = merge_logits([each.unlabeled for each in teachers], of_each)
            soft, changes = with_soft_labels(unlabeled, logits, self.temperature), training(s, self.steps)
            figures = session.train(soft, **changes)
            at_best = [figures["best"]["report"][str(s.metric)]]
            for number in range(2, self.sc_reps + 1):
                child = session.child(f"classifier-{number}", soft, seed=mix(s.seed, "classifier", number), **changes)
                at_best.append(child.complete()["score"])
                self.done(child)
            about["classifier"] = {"mean": float(np.mean(at_best)), "scores": at_best}
        else:
            of_teachers = [[each.selecting for each in teachers], [each.reported for each in teachers]]
            splits = (session.corpus.splits[split] for split in (s.select_on, session.report_on))
            select, report = (
                decode_logits(session.task, e, merge_logits(of, of_each))
                for e, of in zip(splits, of_teachers, strict=True)
            )
            figures = session.report_predictions(select, report, joint_account([each.parameters for each in teachers]))
            figures["selection"] = f"each model's evaluation with the highest {s.metric} on {s.select_on}"
        self.show(session, about)
        return {**figures, "pet": about}

    @property
    def asks(self) -> bool:
        """Whether unlabeled examples are of any use."""
        return self.distill or self.alpha is not None

    def without_labels(self, session: Session) -> tuple[list[Example], dict[str, Any]]:
        """The unlabeled examples, and where they are from; none where nothing asks for them."""
        from ptune.data.corpora import without_labels
        from ptune.data.sampling import shuffle

        if not self.asks:
            return [], {}
        scored = (session.settings.select_on, session.report_on) if self.zero_shot else None
        examples, origin = without_labels(session.task, session.settings.data, session.corpus, session.cache, scored)
        examples = [*examples, *self.mirrored(session.task, examples)]
        if self.unlabeled is not None and self.unlabeled < len(examples):  # of a file that may be in any order
            chosen = shuffle(len(examples), session.settings.seed, "unlabeled")[: self.unlabeled]
            examples = [examples[place] for place in sorted(chosen)]
        session.progress.say(f"{len(examples):,} examples without labels: {origin}")
        return examples, {"unlabeled": {"from": origin, "examples": len(examples)}}

    def mirrored(self, task: Task, examples: Sequence[Example]) -> list[Example]:
        """The examples with their candidates in each other's places; none of a task where they have none."""
        if not self.mirror or not examples or task.swap_candidates(examples[0]) is None:
            return []
        return [each for example in examples if (each := task.swap_candidates(example)) is not None]

    def doubled(self, session: Session) -> list[Example] | None:
        """The training examples and those that are mirrored; None where there are none of these."""
        train = session.corpus.splits["train"]
        mirrored = self.mirrored(session.task, train)
        return [*train, *mirrored] if mirrored else None

    def count(self, patterns: int) -> int:
        """How many stages there will be."""
        return patterns * (self.reps + (self.weights == "accuracy")) + (self.sc_reps - 1) * self.distill

    def weigh(self, session: Session, patterns: Sequence[str]) -> dict[str, float]:
        """Each pattern's weight: 1, or its accuracy before it is trained on the examples that it learns from."""
        if self.weights == "uniform":
            return dict.fromkeys(patterns, 1.0)
        train = teaching_examples(session.task, self.doubled(session) or session.corpus.splits["train"])
        weights = {}
        for pattern in patterns if train else ():
            child = session.child(f"{pattern}-untrained", method=self.method(pattern, UNTRAINED))
            child.complete()
            predictions = decode_logits(session.task, train, scores_of(child, "train.jsonl", train))
            weights[pattern] = float(np.mean(session.task.right(train, predictions)))
            self.done(child)
        return weights if any(weights.values()) else dict.fromkeys(patterns, 1.0)

    def teach(
        self, session: Session, patterns: Sequence[str], weights: Mapping[str, float], unlabeled: Sequence[Example]
    ) -> tuple[list[Scored], dict[str, Any]]:
        """The models whose mean the classifier learns from, and their scores."""
        pairs = [(pattern, rep) for pattern in patterns for rep in range(1, self.reps + 1)]
        examples = self.doubled(session)
        teachers = [
            self.train(session, f"{pattern}-{rep}", pattern, rep, unlabeled, examples) for pattern, rep in pairs
        ]
        return teachers, summary(session, teachers, weights)

    def train(
        self,
        session: Session,
        name: str,
        pattern: str,
        rep: int,
        unlabeled: Sequence[Example],
        examples: Sequence[Example] | None = None,
    ) -> Scored:
        """The run of one pattern, on the training examples or on others, and what it says."""
        s = session.settings
        changes = {**training(s, self.pattern_steps), "seed": mix(s.seed, name)}
        child = session.child(name, examples, method=self.method(pattern, {"name": "pattern_finetune"}), **changes)
        if self.alpha is not None:
            child.auxiliary, child.weight = [self.auxiliary_data(child, pattern, unlabeled)], self.alpha
        return self.summarize_stage(session, child, pattern, rep, unlabeled)

    def auxiliary_data(self, child: Session, pattern: str, unlabeled: Sequence[Example]) -> AuxiliaryData:
        """The unlabeled examples for the auxiliary masked language modeling loss."""
        from ptune.runs.stages import with_changes
        from ptune.session import AuxiliaryData

        assert self.alpha is not None
        template = {**self.auxiliary["template"], "name": pattern}
        settings = with_changes(child.settings, {"method": {**self.auxiliary, "template": template}})
        return AuxiliaryData("unlabeled", settings, child.task, unlabeled, 1 - self.alpha)

    def summarize_stage(
        self, session: Session, child: Session, pattern: str, rep: int, unlabeled: Sequence[Example]
    ) -> Scored:
        """What a stage says at its end; its weights are of no more use."""
        result = child.complete()
        scores = scores_of(child, UNLABELED, unlabeled)
        selecting = reported = table(child.folder.read_jsonl("predictions.jsonl"), session.task)
        if not self.distill and (split := session.settings.select_on) != session.report_on:
            selecting = scores_of(child, f"{split}.jsonl", session.corpus.splits[split])
        self.done(child)
        return Scored(pattern, rep, result["score"], reported, selecting, scores, result["parameters"])

    def method(self, pattern: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """The method of a pattern's run."""
        template = {**self.pattern["template"], "name": pattern}
        return {**self.pattern, "template": template, **more}

    def done(self, child: Session) -> None:
        """Nothing more is asked of a stage."""
        child.leave_model()
        if not self.keep_weights:
            child.drop_weights()

    def show(self, session: Session, said: Mapping[str, Any]) -> None:
        """The scores on the way, as a table."""
        rows = [
            [f"pattern {name}, mean of {len(of['scores'])}", f"{of['mean']:.2f}"]
            for name, of in said["patterns"].items()
        ]
        rows += [["mean of the patterns", f"{said['mean']:.2f}"]]
        rows += [[f"best pattern on this split ({said['oracle']['pattern']})", f"{said['oracle']['score']:.2f}"]]
        rows += [["their ensemble", f"{said['ensemble']['score']:.2f}"]]
        if self.distill:
            rows += [[f"distilled classifier, mean of {self.sc_reps}", f"{said['classifier']['mean']:.2f}"]]
        session.progress.table(["", f"{session.report_on} {session.settings.metric}"], rows)


def known_to(settings: Mapping[str, Any], task: Task) -> list[str]:
    """The names of the patterns that are trained: those in the settings, else the task's own."""
    return list(settings["patterns"] or pet_patterns(task))


def pet_patterns(task: Task) -> list[str]:
    """The names of a task's PET patterns."""
    return [name for name in task.patterns if name.startswith(PATTERN)]


def teaching_examples(task: Task, examples: Sequence[Example]) -> Sequence[Example]:
    """The examples that patterns learn from: where a text is to be written, those whose text is the right one."""
    if not isinstance(task, OwnTexts) or task.masked != "text":
        return examples
    return [example for example in examples if 1 in (task.options(example)[1] or ())]


def training(s: Any, steps: int) -> dict[str, Any]:
    """The settings of a training of so many steps, or of max_steps where those are fewer, evaluated at its end."""
    steps = min(steps, s.max_steps or steps)
    return {"max_steps": steps, "epochs": steps, "eval_every": s.eval_every or steps}


def scores_of(child: Session, name: str, examples: Sequence[Example]) -> Said:
    """What a finished stage says of examples, read from its folder if it is there: its weights may not be."""
    if not child.folder.file(name).is_file():
        answers = zip(examples, child.answer(examples), strict=True)
        rows = [{"id": e.id, "prediction": answer.value, "scores": answer.scores} for e, answer in answers]
        child.folder.write_jsonl(name, rows)
    return table(child.folder.read_jsonl(name), child.task)


def table(rows: Sequence[Mapping[str, Any]], task: Task) -> Said:
    """The scores of rows of predictions; an answer without any, as one that is written, counts 1 for its label, and a
    number is its own score."""
    if task.readout == "scalar":
        return [np.array([row["prediction"]]) for row in rows]
    row_scores = [
        row.get("scores") or {label: float(label == row["prediction"]) for label in task.labels} for row in rows
    ]
    return [np.array(list(scores.values())) for scores in row_scores]


def merge_logits(scores: Sequence[Said], weights: Sequence[float]) -> Said:
    """The weighted mean of several models' logits, for each example; zeros throughout are uniform weights."""
    used = weights if any(weights) else None
    return [np.average(np.stack(of_one), axis=0, weights=used) for of_one in zip(*scores, strict=True)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def with_soft_labels(examples: Sequence[Example], logits: Said, temperature: float) -> list[Example]:
    """The examples with soft labels of their logits at a temperature."""
    return [
        replace(example, gold=None, soft=SoftLabel(softmax(of_one / temperature).tolist(), temperature))
        for example, of_one in zip(examples, logits, strict=True)
    ]


def decode_logits(task: Task, examples: Sequence[Example], scores: Said) -> list[Prediction]:
    """What a task makes of the scores of its labels, or of an example's candidates, which are rows of their own."""
    if task.readout != "choice":
        return [task.decode(e, [RowOutput(0, of_one)]) for e, of_one in zip(examples, scores, strict=True)]
    return [
        task.decode(e, [RowOutput(0, of_one[[i]], candidate=i) for i in range(len(of_one))])
        for e, of_one in zip(examples, scores, strict=True)
    ]


def summary(session: Session, found: Sequence[Scored], weights: Mapping[str, float]) -> dict[str, Any]:
    """The scores of models and of their ensemble on the reported split; oracle: the pattern that is best there."""
    metric, examples = str(session.settings.metric), session.corpus.splits[session.report_on]
    by_pattern: dict[str, list[float]] = {}
    for each in found:
        by_pattern.setdefault(each.pattern, []).append(each.score)
    means = {name: float(np.mean(scores)) for name, scores in by_pattern.items()}
    best = max(means, key=means.__getitem__)
    logits = merge_logits([each.reported for each in found], [weights[each.pattern] for each in found])
    scores = session.task.score(examples, decode_logits(session.task, examples, logits))
    return {
        "patterns": {name: {"mean": means[name], "scores": scores} for name, scores in by_pattern.items()},
        "mean": float(np.mean([each.score for each in found])),
        "oracle": {"pattern": best, "score": means[best]},
        "ensemble": {"score": scores[metric], "scores": scores},
    }
