"""Tasks hold labels and metrics: records become examples, row outputs become predictions and scores.

A task is a yaml of one of the classes here; a new kind of task is one more module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from ptune.batch import Example, RowOutput
from ptune.readers import Record


class Prediction(NamedTuple):
    """What is predicted for one example: a label or a list of tags, and a score for each class where there is one."""

    value: Any
    scores: dict[str, float] | None = None


class Task(ABC):
    """labels: the classes of the head, in order; readout: what a head reads, one vector a row or one a word."""

    readout: ClassVar[Literal["sequence", "token"]]
    name: str
    source: dict[str, Any]
    labels: list[str]
    fields: list[str]
    headline: str
    score_names: list[str]
    max_length: int
    patterns: dict[str, dict[str, str]]
    verbalizers: dict[str, dict[str, list[str]]]

    @abstractmethod
    def example(self, record: Record, index: int) -> Example:
        """One record as an example. Raises DataError where a field is missing or a label unknown."""

    @abstractmethod
    def target(self, example: Example) -> int | list[int] | None:
        """The class index (or one a word) that the loss compares with; None without gold."""

    @abstractmethod
    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The rows of one example joined into its prediction."""

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """Every metric of the task, in percent, the headline first."""

    @abstractmethod
    def interval(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[float, float]:
        """A 95% interval around the headline, in percent."""

    @abstractmethod
    def majority(self, train: Iterable[Example]) -> Majority:
        """The predictor that says what was seen most in training."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, Any]:
        """The fields of an example given as one line of text. Raises DataError where the line does not fit."""

    def tally(self, example: Example) -> list[str]:
        """The gold labels of an example, for statistics of a corpus."""
        return [str(example.gold)]


class Majority(NamedTuple):
    """A constant predictor; `tag` is a label, repeated for each word where the task reads words."""

    tag: str
    words: str | None = None

    def __call__(self, example: Example) -> Prediction:
        """The constant, as often as the example needs it."""
        return Prediction(self.tag if self.words is None else [self.tag] * len(example.fields[self.words]))
