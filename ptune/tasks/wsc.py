"""WSC: does a pronoun mean a candidate? As classification, the pronoun marked in the text or named in front of it.

With patterns the answer is written at their masks and compared with the candidate (Schick and Schuetze 2021, arXiv
2009.07118; the comparison is that of Raffel et al. 2020, arXiv 1910.10683, section 2.4).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ptune.batch import Example, RowOutput
from ptune.errors import DataError
from ptune.readers import Record
from ptune.tasks import OwnTexts, Prediction
from ptune.tasks.classify import Classify

MARKED = re.compile(r"\*([^*]+)\*")
KEYS = ("span1_text", "span1_index", "span2_text", "span2_index")


class Erratum(NamedTuple):
    """A row of the original files whose index is wrong: the right one, None where the words stand apart in the text."""

    idx: int
    span: int
    text: str
    given: int
    right: int | None


class WSC(Classify, OwnTexts):
    """fields: text, marked (the text with the pronoun between asterisks), pronoun, candidate.

    Indices of a record count the text's parts between spaces: span 1 is the candidate, span 2 the pronoun. errata:
    rows of the original files whose indices are known to be wrong, {idx, span, text, given, right}. Patterns write the
    candidate at their masks, and learn from those examples alone whose candidate is the right one.
    """

    masked = "text"

    def __init__(
        self,
        name: str,
        version: int,
        source: dict[str, Any],
        labels: list[str],
        errata: list[dict[str, Any]] | None = None,
        max_length: int = 256,
        published: dict[str, Any] | None = None,
        formats: dict[str, list[str]] | None = None,
        format: str | None = None,
        patterns: dict[str, dict[str, str]] | None = None,
    ) -> None:
        fields = ["text", "marked", "pronoun", "candidate"]
        super().__init__(
            name,
            version,
            source,
            fields,
            labels,
            max_length=max_length,
            published=published,
            formats=formats,
            format=format,
            patterns=patterns,
        )
        self.errata = [Erratum(**row) for row in errata or []]

    @property
    def inputs(self) -> list[str]:
        """See Task."""
        return ["text", "target", *KEYS]

    def example(self, record: Record, index: int) -> Example:
        """See Task. Raises DataError for a span that is not at its index."""
        values = record.values
        text, name = values.get("text"), str(values.get("idx", index))
        if not isinstance(text, str):
            raise DataError(f"{record.where}: no text in 'text'; {self.name} needs text and target ({', '.join(KEYS)})")
        target = values.get("target", values)  # the Hub's columns are flat
        if not isinstance(target, Mapping):
            raise DataError(f"{record.where}: 'target' is not an object with {', '.join(KEYS)}")
        place = None
        for span in (1, 2):
            span_text, at = target.get(f"span{span}_text"), target.get(f"span{span}_index")
            if not isinstance(span_text, str) or not span_text.strip() or type(at) is not int:
                raise DataError(
                    f"{record.where}: span {span} is {span_text!r} at {at!r}; span{span}_text must be a text and "
                    f"span{span}_index a number"
                )
            place = self._place(text, span_text, at, span, name, record.where)
        if place is None:
            raise DataError(f"{record.where}: task.errata gives the pronoun of row {name} no place; it needs one")
        begin, end = place
        marked = f"{text[:begin]}*{text[begin:end]}*{text[end:]}"
        fields = {"text": text, "marked": marked, "pronoun": target["span2_text"], "candidate": target["span1_text"]}
        return Example(name, fields, self.gold(record))

    def document(self, example: Example) -> str | None:
        """See Task: the text, which is asked about with several pronouns and candidates."""
        return str(example.fields["text"]) if "text" in example.fields else None

    def _place(self, text: str, said: str, at: int, span: int, name: str, where: str) -> tuple[int, int] | None:
        """Where a span begins and ends; None of a candidate whose words are known to stand apart."""
        errata = [row for row in self.errata if (str(row.idx), *row[1:4]) == (name, span, said, at)]
        words = [match.start() for match in re.finditer(r"\S+", text)]
        if errata:
            right = errata[0].right
            return None if right is None else locate_span(text, words, said, right)
        place = locate_span(text, words, said, at)
        if place is None:
            key = f"span{span}"
            outside = not 0 <= at < len(words)
            instead = f"outside the {len(words)} words" if outside else repr(text[words[at] :].split()[0])
            near = [
                i
                for i in sorted(range(len(words)), key=lambda i: abs(i - at))
                if locate_span(text, words, said, i) is not None
            ]
            cure = (
                f"it is at {near[0]} ({key}_index is off by {at - near[0]:+d})" if near else "it is nowhere in the text"
            )
            raise DataError(
                f"{where}: {key}_text {said!r} is not at {key}_index {at}, which is {instead}; {cure}; words are "
                "counted from 0, between spaces"
            )
        return place

    def options(self, example: Example) -> tuple[Example, list[int] | None]:
        """See OwnTexts."""
        target = self.target(example)
        return replace(example, choices=[example.fields["candidate"]]), None if target is None else [target]

    def decode(self, example: Example, outputs: Sequence[RowOutput]) -> Prediction:
        """See Classify; of a text that was written at masks, whether it agrees with the candidate."""
        answer = outputs[0].text
        if answer is None or len(outputs[0].scores):  # a label, perhaps written
            return super().decode(example, outputs)
        return Prediction(self.labels[int(agree(answer, example.fields["candidate"]))])

    def parse(self, text: str) -> dict[str, Any]:
        """The text with the pronoun between asterisks, and the candidate, separated by a tab."""
        sentence, _, candidate = text.partition("\t")
        pronouns = list(MARKED.finditer(sentence))
        plain, candidate = MARKED.sub(r"\1", sentence), candidate.strip()
        words = [match.start() for match in re.finditer(r"\S+", plain)]
        places = [i for i in range(len(words)) if candidate and locate_span(plain, words, candidate, i) is not None]
        if len(pronouns) != 1 or not places:
            raise DataError(
                f"{self.name} needs a text with a pronoun between asterisks and a candidate from it, separated by a "
                "tab, as in: Mark thanked Pete because *he* had helped.\tPete"
            )
        return {
            "text": plain,
            "span1_text": candidate,
            "span1_index": places[0],
            "span2_text": pronouns[0][1],
            "span2_index": len(plain[: pronouns[0].start() + 1].split()) - 1,
        }


def locate_span(text: str, words: Sequence[int], said: str, at: int) -> tuple[int, int] | None:
    """Where a span begins and ends that starts in the part `at` of a text; None where it does not.

    Case, white space, and punctuation at the span's end or before its first word make no difference.
    """
    if not 0 <= at < len(words):
        return None
    bare = said.strip().rstrip(string.punctuation) or said.strip()
    begin, end = words[at], words[at + 1] if at + 1 < len(words) else len(text)
    while begin < end and not text[begin].isalnum() and text[begin] != bare[0]:
        begin += 1
    parts = bare.split()
    if sum(map(len, parts)) > len(text) - begin:  # before a pattern is made of a text of any length
        return None
    match = re.compile(r"\s+".join(map(re.escape, parts)) + r"(?!\w)", re.IGNORECASE).match(text, begin)
    return match.span() if match and begin < end else None


def agree(said: str, meant: str) -> bool:
    """Whether either text has all words of the other, in any case; a text without words agrees with none."""
    ours, theirs = (set(re.findall(r"\w+", text.lower())) for text in (said, meant))
    return bool(ours) and bool(theirs) and (ours <= theirs or theirs <= ours)
