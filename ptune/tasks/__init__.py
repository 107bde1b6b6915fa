"""Tasks hold labels and metrics: records become examples, row outputs become predictions and scores.

A task is a yaml of one of the classes here; a new kind of task is one more module.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from string import Formatter
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

from ptune import metrics as metric
from ptune.batch import Example, Extent, RowOutput, Windows
from ptune.errors import ConfigError, DataError, nearest
from ptune.readers import Record
from ptune.sums import Sums

QUESTIONS = ("what", "who", "whom", "whose", "when", "where", "which", "why", "how")
Target = float | list[int] | Extent | str | None
DEMONSTRATIONS = ("max_length", "first_sent_limit", "other_sent_limit", "samples")  # what a task's yaml says of them
SHARED = ("folder", "metric", "license", "language", "obtain", "layouts", "submission")  # of a source, by all layouts


class Prediction(NamedTuple):
    """What is predicted for one example: a label, a list of tags or a text; and scores by name where there are some."""

    value: Any
    scores: dict[str, float] | None = None


class Task(ABC):
    """labels: the classes of the head, in order; readout: what a head reads, one vector a row, one a word, one a token
    of a context, one a row that is weighed against other rows, one a row for a number between those that the labels
    are, or one a row for a word of the backbone's vocabulary; or what it writes, a text; windows: how a long field is
    read; shortest: the least data.max_length that will do, and why; marks: read-out positions that examples mark in
    their fields.

    masked: what the masks of its patterns stand for, a word of the label, one of the example's own choices, or a text
    that is to be written there; beside: the fields that `options` gives beside `fields`.

    label: the value of a record that is its gold; also: the values of one that are neither input nor gold, as its
    number; may_be_empty: the fields that records may have nothing in, None where no setting allows it.
    """

    readout: ClassVar[Literal["sequence", "token", "span", "choice", "scalar", "word", "text"]]
    caveat: ClassVar[str] = ""  # what is to be known of its scores
    output_length: int = 16  # tokens of what a head may write for an example, the end token counted
    marks: ClassVar[tuple[str, ...]] = ()
    masked: ClassVar[Literal["label", "choice", "text"]] = "label"
    beside: Sequence[str] = ()
    demonstrations: Mapping[str, int] = MappingProxyType({})  # what was published of them for the task
    rows: int = 1  # candidates of an example, a mean where examples differ
    grouped: bool = False  # whether the candidates of an example compete for one label
    windows: Windows | None = None
    shortest: tuple[int, str] = (1, "")
    also: ClassVar[tuple[str, ...]] = ("idx",)
    name: str
    version: int
    source: dict[str, Any]
    labels: list[str]
    label: str = "label"
    fields: list[str]
    may_be_empty: Sequence[str] | None = None
    segments: list[str] | None = None  # what the plain template joins: fields, or texts with {fields}; None: the fields
    headline: str
    score_names: list[str]
    max_length: int
    patterns: dict[str, dict[str, str]]
    verbalizers: dict[str, dict[str, list[str]]]

    @property
    def inputs(self) -> list[str]:
        """The values of a record that an example is made of, its gold label aside."""
        return self.fields

    @property
    def classes(self) -> list[str]:
        """The labels that each example has one of, see `class_of`; none where gold is something else, or examples are
        scored together.

        So many examples can be chosen of each, with data.per_class.
        """
        return []

    def class_of(self, example: Example) -> str | None:
        """The one of `classes` that an example has; None without a label."""
        return None if example.gold is None else str(example.gold)

    @property
    def answers(self) -> Sequence[Any]:
        """What gold may be, in the order of the scores, where examples have it in common; none where each has its own
        candidates."""
        return self.labels

    @property
    def prompts(self) -> int:
        """How many prompts are told apart where a prompt can be, see Example.prompt."""
        return 1

    def problems(self) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) for values that no type rules out."""
        yield from ()

    def decide(self, splits: Mapping[str, Sequence[Example]]) -> dict[str, Any]:
        """Take what the corpus decides; the settings that say it, for a run to keep."""
        return {}

    @abstractmethod
    def example(self, record: Record, index: int) -> Example:
        """One record as an example. Raises DataError where a field is missing or a label unknown."""

    @abstractmethod
    def target(self, example: Example) -> Target:
        """What is learned, or None: a class index, or one a word; an answer's characters; a number; a word; a text."""

    def candidates(self, example: Example) -> Iterator[tuple[Example, Target]]:
        """What templates render of an example, with its target: the example itself, or one for each candidate."""
        yield example, self.target(example)

    @abstractmethod
    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """The rows of one example joined into its prediction."""

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """Every metric of the task, in percent, the headline first."""

    def sums(self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str) -> Sums | None:
        """What each unit adds to a score of `score_names`: an example, or a group of those that are scored together.

        None for a score that is no such sum, as the best that a threshold reaches on the examples it was chosen on.
        """
        return None

    def document(self, example: Example) -> str | None:
        """What an example shares with others that are therefore not independent of it, as a paragraph; None: nothing.

        All of a group have the same.
        """
        return None

    def interval(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], name: str | None = None
    ) -> tuple[float, float] | None:
        """A 95% interval around a score of `score_names`, the headline without a name, in percent.

        Wilson's for a share, a bootstrap for the rest, over units, or over the documents that they share; None for a
        score that is no sum, see `sums`, and where all share one document, which says nothing of others.
        """
        sums = self.sums(examples, predictions, name or self.headline)
        if sums is None:
            return None
        first = {example.id if example.group is None else example.group: example for example in examples}
        documents = [self.document(example) for example in first.values()]
        if len(documents) == len(sums.each) and documents and None not in documents:
            if len({*documents}) == 1:
                return None
            if len({*documents}) < len(documents):
                sums = sums.over([str(document) for document in documents])
        if sums.share:
            return metric.binomial(int(sums.each[:, 0].sum()), len(sums.each))
        return metric.bootstrap(sums.of, len(sums.each))

    @abstractmethod
    def majority(self, train: Iterable[Example]) -> Majority:
        """The predictor that says what was seen most in training."""

    def parse(self, text: str) -> dict[str, Any]:
        """The fields of an example given as a line of text, separated by tabs. Raises DataError where they are not."""
        texts = text.split("\t")
        if len(texts) != len(self.inputs):
            given = f"{len(texts)} text{'s' * (len(texts) != 1)}"
            raise DataError(
                f"{given} where {self.name} needs {len(self.inputs)}, separated by tabs: "
                f"{', '.join(self.inputs)}; other forms: a first line that names the columns, or JSON lines"
            )
        return dict(zip(self.inputs, texts, strict=True))

    def lay_out(self, name: str | None) -> None:
        """Read the corpus in another of the layouts that it is passed on in: source.layouts, each with its own reader.

        Raises ConfigError for one that it has not.
        """
        layouts = self.source.get("layouts", {})
        if name is None or name == self.source.get("layout"):
            return
        if name not in layouts:
            names = [layout for layout in (self.source.get("layout"), *layouts) if layout]
            cure = nearest(name, names) if names else "its files have only one; leave it out"
            raise ConfigError([f"data.layout: {self.name} has no layout '{name}'; {cure}"])
        shared: dict[str, Any] = {key: self.source[key] for key in SHARED if key in self.source}
        self.source = {**shared, **layouts[name], "layout": name}

    def texts(self, record: Record) -> dict[str, str]:
        """The fields of a record, each of them a text.

        Raises DataError for one that is missing, something else, or empty and none of those that may be, and where
        all of them are empty.
        """
        texts = {name: self.text(record, name) for name in self.fields}
        if not any(text.strip() for text in texts.values()):
            raise DataError(f"{record.where}: nothing in {' and '.join(texts)}; {self.name} needs a text")
        for name, text in texts.items():
            if not text.strip() and name not in (self.may_be_empty or ()):
                way = ""
                if self.may_be_empty is not None:
                    way = f"; ++task.may_be_empty=[{','.join([*self.may_be_empty, name])}] allows it"
                raise DataError(f"{record.where}: nothing in '{name}'; {self.name} needs a text there{way}")
        return texts

    def text(self, record: Record, name: str) -> str:
        """A value of a record that is a text. Raises DataError where it is missing or something else."""
        value = record.values.get(name)
        if not isinstance(value, str):
            raise DataError(f"{record.where}: no text in '{name}'; {self.name} needs {', '.join(self.inputs)}")
        return value

    def empty_problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with may_be_empty, for `problems`."""
        for name in self.may_be_empty or ():
            if name not in self.fields:
                yield "may_be_empty", f"'{name}' is not a field of {self.name}; {nearest(name, self.fields)}"

    def demonstrations_problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with demonstrations, for `problems`."""
        for name in self.demonstrations:
            if name not in DEMONSTRATIONS:
                yield f"demonstrations.{name}", f"not one of them; {nearest(name, DEMONSTRATIONS)}"

    def choose(self, formats: Mapping[str, list[str]] | None, name: str | None) -> None:
        """Take the segments of a format by its name, of the first one without a name."""
        self.formats, self.format = dict(formats or {}), name
        self.segments = next(iter(self.formats.values()), None) if name is None else self.formats.get(name)

    def format_problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the formats, for `problems`."""
        if self.format is not None and self.format not in self.formats:
            yield "format", f"{self.name} has no format '{self.format}'; {nearest(self.format, self.formats)}"
        for name, segments in self.formats.items():
            if not 1 <= len(segments) <= 2:
                yield f"formats.{name}", f"{len(segments)} segments; a text or a pair of texts is 1 or 2"
            for segment in segments:
                try:
                    parts = list(Formatter().parse(segment)) if "{" in segment else [("", segment, "", None)]
                except ValueError as error:
                    yield f"formats.{name}", f"{segment!r}: {error}"
                    continue
                for _, field, form, _ in parts:
                    if field is not None and (field not in self.fields or form):
                        yield (
                            f"formats.{name}",
                            f"'{field}' is not a field of {self.name}; {nearest(field, self.fields)}",
                        )

    def report(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
        """Tables of the official scorers below the headline: `labels` (or types, or roles) and `confusions` of them."""
        return {}

    def facets(self, example: Example) -> dict[str, str]:
        """What the scores are broken down by beside the length: a name, and the example's value of it."""
        return {}

    def right(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Sequence[float]:
        """How much of each prediction is right, 0 to 1."""
        return [float(e.gold == p.value) for e, p in zip(examples, predictions, strict=True)]

    def length(self, example: Example) -> int:
        """How many words the input has; of candidates the first one's."""
        candidate, _ = next(self.candidates(replace(example, gold=None)))
        texts = (
            candidate.fields[s] if "{" not in s else s.format_map(candidate.fields)
            for s in self.segments or self.fields
        )
        return sum(len(text.split() if isinstance(text, str) else text) for text in texts)

    def swap_candidates(self, example: Example) -> Example | None:
        """The example with its two candidates in each other's places; None where they have no places."""
        return None

    def tally(self, example: Example) -> list[str]:
        """The gold labels of an example, for statistics of a corpus."""
        return [str(example.gold)]


class OwnTexts(Task):
    """Tasks whose patterns' masks stand for texts of an example's own; `masked` says what becomes of them."""

    @abstractmethod
    def options(self, example: Example) -> tuple[Example, list[int] | None]:
        """What patterns render: the example with its texts as `choices`.

        With each one's target, 1 where it is right and 0 where it is not, or None.
        """


def between(number: int, ends: Sequence[int]) -> str:
    """Which part of a scale a number is in, as "9-16"; `ends`: the last number of each part."""
    for before, end in zip((-1, 0, *ends), (0, *ends), strict=False):
        if number <= end:
            return str(end) if before + 1 == end else f"{before + 1}-{end}"
    return f"{ends[-1] + 1}+"


def question_word(question: str) -> str:
    """The first question word of a question, or "other"."""
    words = (word.strip(string.punctuation) for word in question.lower().split())
    return next((word for word in words if word in QUESTIONS), "other")


class Majority(NamedTuple):
    """A constant predictor; `tag` is a label, repeated for each word where the task reads words; with a `key` it has a
    label for each value of that field."""

    tag: Any
    words: str | None = None
    key: str | None = None

    def __call__(self, example: Example) -> Prediction:
        """The constant, as often as the example needs it."""
        if self.key is not None:
            return Prediction(self.tag.get(example.fields[self.key]))
        return Prediction(self.tag if self.words is None else [self.tag] * len(example.fields[self.words]))
