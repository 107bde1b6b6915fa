"""Naive Bayes on tf-idf, by scikit-learn: what the words of a text say without their order and without pretraining."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ptune.batch import Example, RowOutput
from ptune.errors import PtuneError
from ptune.procedures import Procedure, Stage

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import Session
    from ptune.tasks import Prediction, Task

UNSEEN = -100.0  # the log-probability of a class that no training example has
SMOOTHING = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
READOUTS = ("sequence", "choice")


class TfidfNB(Procedure):
    """A text, or the texts of an example joined, is a bag of terms; the candidates of a choice are each right or wrong.

    variant: multinomial, or complement (Rennie et al. 2003); smoothing: the pseudo-counts of a term that are tried,
    the first of those that score best on the selecting split is taken; ngrams, min_count, sublinear: of
    scikit-learn's TfidfVectorizer (its ngram_range, min_df and sublinear_tf), whose other defaults stand.
    """

    trains = False
    backbone = False
    keeps = False

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        needs = {"token": "one label per word", "span": "a part of one", "scalar": "a number"}
        needs |= {"word": "a word of its own", "text": "a text to be written"}
        if task.readout not in READOUTS:
            need = needs.get(task.readout, task.readout)
            yield "method", f"naive Bayes sorts whole texts into classes, but {task.name} asks for {need}"
        for key in ("ngrams", "min_count"):
            if given.method["procedure"].get(key, 1) < 1:
                yield f"method.procedure.{key}", f"{given.method['procedure'][key]} is too small; at least 1"
        smoothing = given.method["procedure"].get("smoothing", SMOOTHING)
        if not smoothing or min(smoothing) <= 0:
            yield "method.procedure.smoothing", f"{list(smoothing)} is not a list of numbers above 0"

    def __init__(
        self,
        variant: Literal["multinomial", "complement"] = "multinomial",
        smoothing: list[float] | None = None,
        ngrams: int = 2,
        min_count: int = 1,
        sublinear: bool = False,
    ) -> None:
        self.variant, self.smoothing = variant, list(smoothing or SMOOTHING)
        self.ngrams, self.min_count, self.sublinear = ngrams, min_count, sublinear

    def stages(self, session: Session) -> Iterator[Stage]:
        """One stage."""
        yield Stage("fit", lambda: self.fit(session))

    def fit(self, session: Session) -> dict[str, Any]:
        """Fit with each smoothing, keep the best, report it."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        started = time.perf_counter()
        s, task = session.settings, session.task
        texts, targets = texts_and_classes(task, session.corpus.splits["train"])
        vectorizer = TfidfVectorizer(ngram_range=(1, self.ngrams), min_df=self.min_count, sublinear_tf=self.sublinear)
        try:
            terms = vectorizer.fit_transform(texts)
        except ValueError as error:  # no term is left
            raise PtuneError(f"method {s.method['name']}: {error}; method.procedure.min_count=1 keeps all") from None
        models = {
            alpha: Bayes(task, vectorizer, self.make_estimator(alpha).fit(terms, targets)) for alpha in self.smoothing
        }
        scores = {a: session.evaluations.by(model, s.select_on).scores[str(s.metric)] for a, model in models.items()}
        best = max(scores, key=lambda alpha: scores[alpha])
        result = {
            "smoothing": {"chosen": best, "scores": {str(alpha): score for alpha, score in scores.items()}},
            "found": {"smoothing": f"{best:g}"},
            "selection": f"the smoothing with the highest {s.metric} on {s.select_on}",
            "seconds": {"training": time.perf_counter() - started},
        }
        figures: dict[str, Any] = session.report_predictor(models[best], learned=models[best].size)
        return {**figures, **result}

    def make_estimator(self, alpha: float) -> Any:
        """scikit-learn's estimator with this smoothing."""
        from sklearn.naive_bayes import ComplementNB, MultinomialNB

        return (MultinomialNB if self.variant == "multinomial" else ComplementNB)(alpha=alpha)


class Bayes:
    """A fitted vectorizer and naive Bayes as a predictor of a task's examples."""

    def __init__(self, task: Task, vectorizer: Any, fitted: Any) -> None:
        self.task, self.vectorizer, self.fitted = task, vectorizer, fitted
        log_priors = fitted.class_log_prior_
        self.size = int(fitted.feature_log_prob_.size + log_priors.size + vectorizer.idf_.size)

    def __call__(self, examples: Sequence[Example]) -> list[Prediction]:
        """A prediction for each example."""
        task = self.task
        counts = [sum(1 for _ in task.candidates(example)) for example in examples]
        texts, _ = texts_and_classes(task, examples)
        log_probabilities = self.fitted.predict_log_proba(self.vectorizer.transform(texts))
        scores = np.full((len(texts), max(2, len(task.labels))), UNSEEN)
        scores[:, self.fitted.classes_] = np.maximum(log_probabilities, UNSEEN)
        if task.readout == "choice" and task.grouped:
            scores = scores[:, 1:2] - scores[:, 0:1]
        rows = iter(scores)
        predictions = []
        for number, (example, count) in enumerate(zip(examples, counts, strict=True)):
            outputs = [RowOutput(number, next(rows), candidate=place) for place in range(count)]
            predictions.append(task.decode(example, outputs))
        return predictions


def texts_and_classes(task: Task, examples: Sequence[Example]) -> tuple[list[str], list[int]]:
    """The text of each example, or of each of its candidates, and its class (-1 where there is none)."""
    texts, targets = [], []
    for example in examples:
        for candidate, target in task.candidates(example):
            parts = (
                segment.format_map(candidate.fields) if "{" in segment else candidate.fields[segment]
                for segment in task.segments or task.fields
            )
            texts.append(" ".join(parts))
            targets.append(target if isinstance(target, int) else -1)
    return texts, targets
