"""iPET (Schick and Schuetze 2021, arXiv 2001.07676, section 3.3): generations of patterns that label for each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ptune.batch import Example
from ptune.leaves import with_defaults
from ptune.procedures.pet import UNTRAINED, Pet, Scored, merge_logits, pet_patterns, softmax, summary
from ptune.seeds import mix

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import Session
    from ptune.tasks import Task

FIRST = 10  # examples of the first training set where none is labeled
MOST_LIKELY = 100  # and of each label the examples that it is drawn from


class Ipet(Pet):
    """PET whose models are trained `generations` times over, from scratch, on training sets that grow.

    After each generation every model's training set is drawn anew: the labeled examples, and with them so many of the
    others that it is `scale` times as large as the last one, in the labels' proportions. A share (`others`) of the
    other models labels them by their weighted mean; those it is sure of are likelier to be drawn.

    Of a choice the places of the right candidates are the labels, where the paper takes PET's result, as it does for
    WSC: they have few unlabeled examples (arXiv 2009.07118, section 4).

    n_most_likely: after the first generation a label's examples are drawn from so many that are likeliest to have it,
    whatever the label they are given. zero_shot: no label is used: the first generation is of untrained models, its
    successors learn from 10 examples, 50, ...; weights are uniform and n_most_likely is 100.
    """

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        settings = with_defaults(cls, given.method["procedure"])
        yield from (problems := list(super().problems(given, shape, task)))
        if not problems and not task.answers:
            yield (
                "method/procedure",
                f"draws examples by shared answers, but in {task.name} each example has its own candidates; use "
                "method=pet, as the paper does",
            )
        for key in ("generations", "n_most_likely"):
            if settings[key] is not None and settings[key] < 1:
                yield f"method.procedure.{key}", f"{settings[key]} is too small; at least 1"
        if settings["scale"] <= 1:
            yield "method.procedure.scale", f"{settings['scale']} is not above 1: training sets grow by it"
        if not 0 < settings["others"] <= 1:
            yield "method.procedure.others", f"{settings['others']} must be above 0 and at most 1"
        repeated = 1 if settings["zero_shot"] else settings["reps"]
        if not problems and task.answers and len(settings["patterns"] or pet_patterns(task)) * repeated < 2:
            yield (
                "method.procedure.patterns",
                "a single model has no others to label for it; name more patterns or set reps=2",
            )

    @classmethod
    def rounds(cls, settings: Mapping[str, Any]) -> int:
        """See Pet; the first of zero_shot trains nothing."""
        return int(settings["generations"]) - bool(settings["zero_shot"])

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
        generations: int = 3,
        scale: float = 5.0,
        others: float = 0.25,
        n_most_likely: int | None = None,
        zero_shot: bool = False,
    ) -> None:
        weights = "uniform" if zero_shot else weights
        shown = (temperature, unlabeled, distill, keep_weights, alpha, auxiliary, mirror)
        super().__init__(pattern, patterns, reps, pattern_steps, weights, steps, sc_reps, *shown)
        self.generations, self.scale, self.others, self.zero_shot = generations, scale, others, zero_shot
        self.n_most_likely = n_most_likely or (MOST_LIKELY if zero_shot else None)

    def count(self, patterns: int) -> int:
        """See Pet."""
        trained = self.generations - self.zero_shot
        return super().count(patterns) + patterns * (self.reps * (trained - 1) + self.zero_shot)

    def teach(
        self, session: Session, patterns: Sequence[str], weights: Mapping[str, float], unlabeled: Sequence[Example]
    ) -> tuple[list[Scored], dict[str, Any]]:
        """See Pet; the models are those of the last generation."""
        labeled = [] if self.zero_shot else list(self.doubled(session) or session.corpus.splits["train"])
        teachers, generations = self.first(session, patterns, unlabeled), list[dict[str, Any]]()
        generations.append({**summary(session, teachers, weights), "train": len(labeled)})
        for generation in range(2, self.generations + 1):
            last, teachers = teachers, []
            counts = self.counts(session.task.answers, labeled, generation)
            for pattern in patterns:
                for rep in range(1, self.reps + 1):
                    name = f"generation{generation}-{pattern}-{rep}"
                    assistants = [each for each in last if each.pattern != pattern or each.rep not in (0, rep)]
                    rng = np.random.default_rng(mix(session.settings.seed, "grow", name))
                    new = self.grow_training_set(
                        session.task.answers, unlabeled, assistants, weights, counts, generation, rng
                    )
                    teachers.append(self.train(session, name, pattern, rep, unlabeled, [*labeled, *new]))
            generations.append({**summary(session, teachers, weights), "train": len(labeled) + len(new)})
        return teachers, {"generations": generations, **{k: v for k, v in generations[-1].items() if k != "train"}}

    def first(self, session: Session, patterns: Sequence[str], unlabeled: Sequence[Example]) -> list[Scored]:
        """The first generation: trained on the labeled examples, or not at all."""
        if not self.zero_shot:
            pairs = [(pattern, rep) for pattern in patterns for rep in range(1, self.reps + 1)]
            examples = self.doubled(session)
            return [self.train(session, f"generation1-{p}-{rep}", p, rep, unlabeled, examples) for p, rep in pairs]
        teachers = []
        for pattern in patterns:
            child = session.child(f"generation1-{pattern}", method=self.method(pattern, UNTRAINED))
            teachers.append(self.summarize_stage(session, child, pattern, 0, unlabeled))
        return teachers

    @property
    def asks(self) -> bool:
        """See Pet; models label for one another."""
        return True

    def counts(self, labels: Sequence[Any], labeled: Sequence[Example], generation: int) -> list[int]:
        """How many new examples of each label a generation's training set has, beside the labeled ones."""
        if not labeled:
            return [max(1, int(FIRST * self.scale ** (generation - 2) / len(labels)))] * len(labels)
        counts = Counter(example.gold for example in labeled)
        return [int(counts[label] * (self.scale ** (generation - 1) - 1)) for label in labels]

    def grow_training_set(
        self,
        labels: Sequence[Any],
        unlabeled: Sequence[Example],
        others: Sequence[Scored],
        weights: Mapping[str, float],
        counts: Sequence[int],
        generation: int,
        rng: np.random.Generator,
    ) -> list[Example]:
        """So many examples of each label, as a share of the other models labels them; of one that none is given, none.

        Drawn without replacement, in proportion to the highest probability; where there are too few each stands for
        several.
        """
        chosen = rng.choice(len(others), max(1, round(self.others * len(others))), replace=False)
        logits = merge_logits([others[i].unlabeled for i in chosen], [weights[others[i].pattern] for i in chosen])
        probabilities = softmax(np.stack(logits))
        predicted, new = probabilities.argmax(1), list[Example]()
        for index, (label, count) in enumerate(zip(labels, counts, strict=True)):
            chances = probabilities.max(1)
            if self.n_most_likely is not None and generation == 2:
                chances = probabilities[:, index]
                among = np.argsort(-chances, kind="stable")[: self.n_most_likely]
            else:
                among = np.flatnonzero(predicted == index)
            if not len(among):
                continue
            among = np.tile(among, -(-count // len(among)) or 1)
            picked = rng.choice(among, count, replace=False, p=chances[among] / chances[among].sum())
            new += [replace(unlabeled[i], gold=label) for i in picked]
        return new
