"""Answers that are parts of a text: SQuAD 1.1 (arXiv 1606.05250), and 2.0 with questions of no answer (1806.03822)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ptune import metrics as metric
from ptune.batch import NOWHERE, Example, Extent, RowOutput, Windows
from ptune.errors import DataError
from ptune.readers import Record
from ptune.sums import Sums
from ptune.tasks import Majority, Prediction, Task, between, question_word

SPECIAL = 4  # tokens that the widest frame of two texts takes
ANSWERS = (1, 2, 4, 8)  # words
SHOWN = 40  # characters of a text in an error


class Candidate(NamedTuple):
    """An answer that could be given: its score, and the characters of the context where it begins and ends."""

    score: float
    begin: int
    end: int


class Span(Task):
    """fields: the question, then the context that holds the answer; `answers` of a record: {text, answer_start}, lists.

    null_threshold: how much "no answer" may outscore the best answer before it is taken (SQuAD 2.0); null: every
    question has an answer (1.1). doc_stride: tokens that neighboring windows of a context share, which is what Hugging
    Face's tokenizers call stride; n_best: candidates that are weighed against one another; max_answer_length in tokens.
    """

    readout = "span"
    label = "answers"
    also = ("id", "title")

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        fields: list[str],
        null_threshold: float | None = None,
        doc_stride: int = 128,
        max_question_length: int = 64,
        n_best: int = 20,
        max_answer_length: int = 30,
        max_length: int = 384,
        patterns: dict[str, dict[str, str]] | None = None,
        published: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.version, self.source = name, version, source
        self.fields, self.labels = list(fields), ["start", "end"]
        self.context = self.fields[-1]
        self.null_threshold, self.n_best = null_threshold, n_best
        self.windows: Windows = Windows(self.context, doc_stride, max_question_length, max_answer_length)
        self.max_length = max_length
        shortest = max_question_length + doc_stride + SPECIAL + 1
        self.shortest = shortest, f"task.max_question_length + task.doc_stride + {SPECIAL} special tokens + 1"
        self.exact = "exact_match" if null_threshold is None else "exact"
        self.headline, self.score_names = "f1", ["f1", self.exact]
        if null_threshold is not None:
            self.score_names += ["best_f1", "best_exact"]
        self.patterns, self.verbalizers = patterns or {}, {}

    def problems(self) -> Iterator[tuple[str, str]]:
        """See Task."""
        for name, value, least in (
            ("doc_stride", self.windows.stride, 0),
            ("max_question_length", self.windows.limit, 1),
            ("max_answer_length", self.windows.longest, 1),
            ("n_best", self.n_best, 1),
        ):
            if value < least:
                yield name, f"{value} is too small; at least {least}"
        if len(self.fields) != 2:
            yield "fields", f"{self.fields} must be two: the question, then the context that holds the answer"

    def example(self, record: Record, index: int) -> Example:
        """See Task; gold is {text, answer_start}. Raises DataError for an answer that is not where it is said to be."""
        texts = self.texts(record)
        texts[self.context] = sys.intern(texts[self.context])  # the Hub repeats it for every question
        name, answers = str(record.values.get("id", index)), record.values.get("answers")
        if answers is not None:
            self._check(answers, texts[self.context], f"{record.where}: question {name}")
        return Example(name, texts, answers)

    def document(self, example: Example) -> str | None:
        """The context, about which there are several questions; nothing of answers that are told without it."""
        return example.fields.get(self.context)

    def _check(self, answers: Any, context: str, where: str) -> None:
        texts, starts = (answers.get(key) if isinstance(answers, Mapping) else None for key in ("text", "answer_start"))
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError(f"{where}: 'answers' must be two lists of the same length, 'text' and 'answer_start'")
        if not texts and self.null_threshold is None:
            raise DataError(
                f"{where}: no answer, and {self.name} has one for every question; "
                "task=squad_v2 takes questions without one"
            )
        for text, start in zip(texts, starts, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{where}: {text!r} is not an answer; a question without one has an empty list")
            if not isinstance(start, int) or isinstance(start, bool):
                raise DataError(f"{where}: answer_start {start!r} is not a character offset")
            if start < 0 or not context.startswith(text, start):
                raise DataError(f"{where}: {misplaced(text, start, context)}")

    def target(self, example: Example) -> Extent | None:
        """The first answer's characters in the context, NOWHERE without an answer; None without gold."""
        if example.gold is None:
            return None
        if not example.gold["text"]:
            return NOWHERE
        text, start = example.gold["text"][0], example.gold["answer_start"][0]
        first = start + len(text) - len(text.lstrip())
        return Extent(first, first + len(text.strip()) - 1)

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The best answer over all windows; "" where there is none.

        A candidate's score is the sum of its ends' logits; that of no answer is the least over the windows of the
        first token's. scores: `probability` of what is predicted among the n best, and `null_odds`, by how much no
        answer outscores the best one, where questions may have none.
        """
        ranked = candidates(outputs, self.windows.longest, self.n_best)
        if not ranked:
            return Prediction("")
        best = ranked[0]
        answer = example.fields[self.context][best.begin : best.end]
        scores = np.array([candidate.score for candidate in ranked])
        if self.null_threshold is None:
            return Prediction(answer, {"probability": share(best.score, scores)})
        nothing = min(float(output.scores[0].sum(dtype=np.float64)) for output in outputs)
        odds = nothing - best.score
        text, score = ("", nothing) if odds > self.null_threshold else (answer, best.score)
        return Prediction(text, {"probability": share(score, np.append(scores, nothing)), "null_odds": odds})

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """F1 and exact match as the official scorers have them; for SQuAD 2.0 also apart by whether there is an answer.

        best_exact and best_f1 say what a null_threshold below the one in use would reach, and *_thresh which one that
        is. Questions with an answer, or without, have no figure where there are none of them.
        """
        pairs = self._both(examples, predictions)
        exact, f1 = pairs[:, 0].tolist(), pairs[:, 1].tolist()
        scores = {"f1": metric.mean_percent(f1), self.exact: metric.mean_percent(exact)}
        if self.null_threshold is None:
            return scores
        answerable = [bool(example.gold["text"]) for example in examples]
        has = [i for i, has_answer in enumerate(answerable) if has_answer]
        no = [i for i, has_answer in enumerate(answerable) if not has_answer]
        if has:
            scores["HasAns_f1"] = metric.mean_percent([f1[i] for i in has])
            scores["HasAns_exact"] = metric.mean_percent([exact[i] for i in has])
        if no:
            scores["NoAns_exact"] = metric.mean_percent([exact[i] for i in no])
        odds = [(prediction.scores or {}).get("null_odds", 0.0) for prediction in predictions]
        answered = [bool(prediction.value) for prediction in predictions]
        for name, values in (("best_f1", f1), ("best_exact", exact)):
            scores[name], scores[f"{name}_thresh"] = metric.best_threshold(values, odds, answerable, answered)
        return scores

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """See Task; none for what the best threshold reaches."""
        if name in ("best_f1", "best_exact"):
            return None
        exact, f1 = self._both(examples, predictions).T
        return Sums(metric.shares(exact if name == self.exact else f1), metric.share, share=name == self.exact)

    def facets(self, example: Example) -> dict[str, str]:
        """See Task; the length is the first answer's, in words."""
        answers = example.gold["text"]
        length = between(len(answers[0].split()), ANSWERS) if answers else "no answer"
        return {"question word": question_word(example.fields[self.fields[0]]), "answer words": length}

    def right(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[float]:
        """Word F1."""
        f1: list[float] = self._both(examples, predictions)[:, 1].tolist()
        return f1

    def _both(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> np.ndarray:
        """Exact match and F1 of each question, [n, 2]."""
        nothing = self.null_threshold is not None
        pairs = zip(examples, predictions, strict=True)
        return np.array([metric.answer_scores(e.gold["text"], p.value, nothing) for e, p in pairs])

    def tally(self, example: Example) -> list[str]:
        """Whether the context answers the question."""
        return ["answered" if example.gold["text"] else "not answered"]

    def majority(self, train: Iterable[Example]) -> Majority:
        """No answer, where questions may have none; else the answer seen most in training, the first one of equals."""
        if self.null_threshold is not None:
            return Majority("")
        counts = Counter(example.gold["text"][0] for example in train)
        return Majority(counts.most_common(1)[0][0])


def misplaced(text: str, start: int, context: str) -> str:
    """What stands where an answer should, and where it stands instead."""
    starts = [i for i in range(len(context) - len(text) + 1) if context.startswith(text, i)]
    at_start = context[start : start + len(text)] if start >= 0 else ""
    instead = f"{at_start[:SHOWN]!r} is" if at_start else f"there is nothing ({len(context)} characters)"
    if starts:
        at = min(starts, key=lambda i: abs(i - start))
        cure = f"it is at {at} (answer_start is off by {start - at:+d})"
    else:
        cure = "it is nowhere in the context"
    return f"the answer {text[:SHOWN]!r} is not at answer_start {start}, where {instead}; {cure}"


def candidates(outputs: Sequence[RowOutput], longest: int, most: int) -> list[Candidate]:
    """The `most` best answers of at most `longest` tokens over all windows of a context, each once, best first.

    None begins or ends with a token of white space.
    """
    scores: dict[tuple[int, int], float] = {}
    for output in outputs:
        assert output.offsets is not None
        blank = output.offsets[:, :1] >= output.offsets[:, 1:]
        for score, first, last in best_pairs(np.where(blank, -np.inf, output.scores[1:]), longest, most):
            place = int(output.offsets[first, 0]), int(output.offsets[last, 1])
            scores[place] = max(score, scores.get(place, -np.inf))
    ranked = [Candidate(score, *place) for place, score in scores.items()]
    return sorted(ranked, key=lambda candidate: (-candidate.score, candidate.begin, candidate.end))[:most]


def best_pairs(ends: np.ndarray, longest: int, most: int) -> list[tuple[float, int, int]]:
    """(score, first, last) of the `most` best pairs with first <= last < first + longest; `ends` [K, 2] logits."""
    if not len(ends):
        return []
    begin, end = ends.astype(np.float64).T
    width = min(longest, len(end))
    padded = np.concatenate([end, np.full(width - 1, -np.inf)])
    total = (begin[:, None] + sliding_window_view(padded, width)).ravel()
    chosen = np.argpartition(-total, most - 1)[:most] if most < len(total) else np.arange(len(total))
    chosen = chosen[np.isfinite(total[chosen])]
    return [(float(total[i]), int(i) // width, int(i) // width + int(i) % width) for i in chosen]


def share(score: float, scores: np.ndarray) -> float:
    """The softmax of one score among several."""
    return float(np.exp(score - scores.max()) / np.exp(scores - scores.max()).sum())
