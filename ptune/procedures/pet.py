"""PET (Schick and Schuetze 2021, arXiv 2001.07676, 2009.07118): a classifier distilled from an ensemble of patterns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ptune.batch import Example, SoftLabel
from ptune.errors import nearest
from ptune.procedures import Procedure, Stage
from ptune.seeds import mix

if TYPE_CHECKING:
    from ptune.injection import Shape
    from ptune.session import Beside, Session
    from ptune.tasks import Task

UNLABELED = "unlabeled.jsonl"  # in a stage's folder: what its model says of them
UNTRAINED = {"procedure": {"_target_": "ptune.procedures.zero_shot.ZeroShot"}, "name": "zero_shot", "tune": "none"}


class Scored(NamedTuple):
    """A trained pattern: its score in percent on the reported split, and its log-probabilities [N, C] there and on the
    unlabeled examples, whose means are those of logits but for a constant of each example. rep: 0 where untrained."""

    pattern: str
    rep: int
    score: float
    reported: np.ndarray
    unlabeled: np.ndarray


class Pet(Procedure):
    """A run for each pattern and repetition; the mean of what they say of unlabeled examples trains the method itself.

    Each run is a stage: the task's PET patterns (named pet...), or `patterns`, with the method's parts of `pattern`,
    `reps` seeds each, `pattern_steps` steps. The classifier takes `steps` steps; of `sc_reps` the first is this run.
    weights: of the patterns in the mean of logits; accuracy is that of the untrained pattern on the training examples,
    and uniform in place of zeros throughout. temperature: of the soft labels; unlabeled: how many of them at most.
    keep_weights: of stages, which nothing needs once they have said all they are asked. alpha: of the patterns' own
    loss, beside that of masked language modeling on the unlabeled examples in the same pattern, which weighs 1 - alpha
    and whose parts are `auxiliary`; None: without.
    """

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        if task.readout != "sequence":
            yield (
                "",
                f"labels whole texts, and {task.name} asks for something else; its patterns alone are other methods",
            )
        elif not (known := pet_patterns(task)):
            yield "patterns", f"task {task.name} has no pattern named pet...; name some of its patterns in a list"
        else:
            for name in given["patterns"] or ():
                if name not in task.patterns:
                    yield "patterns", f"task {task.name} has no pattern '{name}'; {nearest(name, known)}"
        for key in ("reps", "sc_reps", "pattern_steps", "steps", "unlabeled"):
            if given[key] is not None and given[key] < 1:
                yield key, f"{given[key]} is too small; at least 1"
        if given["alpha"] is not None and not 0 < given["alpha"] < 1:
            yield "alpha", f"{given['alpha']} is not between 0 and 1; null trains without the auxiliary loss"
        for key, parts in (("pattern", given["pattern"]), ("auxiliary", given["auxiliary"])):
            if missing := {"template", "head"} - set(parts or ()) if key == "pattern" or given["alpha"] else ():
                yield f"{key}.{min(missing)}", "must be given, with its _target_"
        if given["temperature"] <= 0:
            yield "temperature", f"{given['temperature']} is not above 0"

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
        keep_weights: bool = False,
        alpha: float | None = None,
        auxiliary: dict[str, Any] | None = None,
    ) -> None:
        self.pattern, self.patterns, self.reps, self.pattern_steps = pattern, patterns, reps, pattern_steps
        self.weights, self.steps, self.sc_reps, self.temperature = weights, steps, sc_reps, temperature
        self.unlabeled, self.keep_weights = unlabeled, keep_weights
        self.alpha, self.auxiliary = alpha, auxiliary or {}

    def stages(self, session: Session) -> Iterator[Stage]:
        """One, whose runs are stages of their own."""
        yield Stage("patterns and classifier", lambda: self.figures(session))

    def figures(self, session: Session) -> dict[str, Any]:
        """Those of the distilled classifier, and under "pet" every score on the way to it."""
        from ptune.data import without_labels

        s = session.settings
        unlabeled, which = without_labels(session.task, s.data, session.corpus, session.cache)
        unlabeled = unlabeled[: self.unlabeled]
        patterns = self.patterns or pet_patterns(session.task)
        session.expected = self.count(len(patterns))
        session.progress.say(f"{len(unlabeled):,} examples without labels ({which}), {len(patterns)} patterns")
        weights = self.weigh(session, patterns)
        teachers, told = self.teach(session, patterns, weights, unlabeled)
        logits = merged([each.unlabeled for each in teachers], [weights[each.pattern] for each in teachers])
        soft = softened(unlabeled, logits, self.temperature)
        changes = training(s, self.steps)
        figures = session.train(soft, **changes)
        scores = [figures["best"]["report"][str(s.metric)]]
        for number in range(2, self.sc_reps + 1):
            child = session.child(f"classifier-{number}", soft, seed=mix(s.seed, "classifier", number), **changes)
            scores.append(child.complete()["score"])
            self.done(child)
        said = {
            "unlabeled": {"from": which, "examples": len(unlabeled)},
            "weights": weights,
            **told,
            "classifier": {"mean": float(np.mean(scores)), "scores": scores},
        }
        self.show(session, said)
        return {**figures, "pet": said}

    def count(self, patterns: int) -> int:
        """How many stages there will be."""
        return patterns * (self.reps + (self.weights == "accuracy")) + self.sc_reps - 1

    def weigh(self, session: Session, patterns: Sequence[str]) -> dict[str, float]:
        """Each pattern's weight: 1, or its accuracy on the training examples before it is trained."""
        if self.weights == "uniform":
            return dict.fromkeys(patterns, 1.0)
        train, found = session.corpus.splits["train"], {}
        for pattern in patterns:
            child = session.child(f"{pattern}-untrained", method=self.method(pattern, UNTRAINED))
            child.complete()
            said = scores_of(child, "train.jsonl", train).argmax(1)
            found[pattern] = float(np.mean([label_of(session.task, e) == i for e, i in zip(train, said, strict=True)]))
            self.done(child)
        return found if any(found.values()) else dict.fromkeys(patterns, 1.0)

    def teach(
        self, session: Session, patterns: Sequence[str], weights: Mapping[str, float], unlabeled: Sequence[Example]
    ) -> tuple[list[Scored], dict[str, Any]]:
        """The models whose mean the classifier learns from, and their scores."""
        each = [(pattern, rep) for pattern in patterns for rep in range(1, self.reps + 1)]
        found = [self.train(session, f"{pattern}-{rep}", pattern, rep, unlabeled) for pattern, rep in each]
        return found, summary(session, found, weights)

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
            child.beside, child.weight = [self.beside(child, pattern, unlabeled)], self.alpha
        return self.scored(session, child, pattern, rep, unlabeled)

    def beside(self, child: Session, pattern: str, unlabeled: Sequence[Example]) -> Beside:
        """The unlabeled examples as a source of batches whose hidden tokens a stage learns to tell."""
        from ptune.session import Beside, changed

        assert self.alpha is not None
        template = {**self.auxiliary["template"], "name": pattern}
        settings = changed(child.settings, {"method": {**self.auxiliary, "template": template}})
        return Beside("unlabeled", settings, child.task, unlabeled, 1 - self.alpha)

    def scored(self, session: Session, child: Session, pattern: str, rep: int, unlabeled: Sequence[Example]) -> Scored:
        """What a stage says at its end; its weights are of no more use."""
        score = child.complete()["score"]
        said = scores_of(child, UNLABELED, unlabeled)
        reported = table(child.folder.read_jsonl("predictions.jsonl"))
        self.done(child)
        return Scored(pattern, rep, score, reported, said)

    def method(self, pattern: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """The method of a pattern's run."""
        template = {**self.pattern["template"], "name": pattern}
        return {**self.pattern, "template": template, **more}

    def done(self, child: Session) -> None:
        """Nothing more is asked of a stage."""
        child.model = None
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
        rows += [[f"distilled classifier, mean of {self.sc_reps}", f"{said['classifier']['mean']:.2f}"]]
        session.progress.table(["", f"{session.report_on} {session.settings.metric}"], rows)


def pet_patterns(task: Any) -> list[str]:
    """The names of a task's PET patterns."""
    return [name for name in task.patterns if name.startswith("pet")]


def training(s: Any, steps: int) -> dict[str, Any]:
    """The settings of a training of so many steps, or of max_steps where those are fewer, evaluated at its end."""
    steps = min(steps, s.max_steps or steps)
    return {"max_steps": steps, "epochs": steps, "eval_every": s.eval_every or steps}


def scores_of(child: Session, name: str, examples: Sequence[Example]) -> np.ndarray:
    """Log-probabilities [N, C] that a finished stage gives the labels of examples, read from its folder if they are
    there: its weights may not be."""
    if not child.folder.file(name).is_file():
        said = zip(examples, child.answer(examples), strict=True)
        child.folder.write_jsonl(name, [{"id": example.id, "scores": answer.scores} for example, answer in said])
    return table(child.folder.read_jsonl(name))


def table(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The scores [N, C] of rows of predictions."""
    return np.array([list(row["scores"].values()) for row in rows])


def label_of(task: Task, example: Example) -> int:
    """The index of an example's label."""
    return task.labels.index(example.gold)


def merged(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The weighted mean [N, C] of several models' logits."""
    return np.average(np.stack(scores), axis=0, weights=weights)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def softened(examples: Sequence[Example], logits: np.ndarray, temperature: float) -> list[Example]:
    """The examples with soft labels of their logits [N, C] at a temperature."""
    probabilities = softmax(logits / temperature).tolist()
    return [
        replace(example, gold=None, soft=SoftLabel(of_one, temperature))
        for example, of_one in zip(examples, probabilities, strict=True)
    ]


def summary(session: Session, found: Sequence[Scored], weights: Mapping[str, float]) -> dict[str, Any]:
    """The scores of models and of their ensemble on the reported split; oracle: the pattern that is best there."""
    from ptune.tasks import Prediction

    task, metric = session.task, str(session.settings.metric)
    by_pattern: dict[str, list[float]] = {}
    for each in found:
        by_pattern.setdefault(each.pattern, []).append(each.score)
    means = {name: float(np.mean(scores)) for name, scores in by_pattern.items()}
    best = max(means, key=means.__getitem__)
    logits = merged([each.reported for each in found], [weights[each.pattern] for each in found])
    said = [Prediction(task.labels[index]) for index in logits.argmax(1)]
    scores = task.score(session.corpus.splits[session.report_on], said)
    return {
        "patterns": {name: {"mean": means[name], "scores": scores} for name, scores in by_pattern.items()},
        "mean": float(np.mean([each.score for each in found])),
        "oracle": {"pattern": best, "score": means[best]},
        "ensemble": {"score": scores[metric], "scores": scores},
    }
