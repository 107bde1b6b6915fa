"""WiC: does a word mean the same in two sentences? Its characters in each are marked for heads that read them."""

from __future__ import annotations

import re
from typing import Any

from ptune.batch import Example, Extent
from ptune.errors import DataError
from ptune.readers import Record
from ptune.tasks.classify import Classify

NOT = re.compile(r"n['\u2019]t\b")  # do|n't: the corpus counts it as a word of its own
MARKED = re.compile(r"\*([^*]+)\*")


class WiC(Classify):
    """fields: the two sentences, then the word; start1, end1, start2, end2 of a record are characters, end exclusive.

    Read-out positions span1 and span2 are the tokens of the word in each sentence.
    """

    marks = ("span1", "span2")

    @property
    def inputs(self) -> list[str]:
        """See Task."""
        return [*self.fields, "start1", "end1", "start2", "end2"]

    def example(self, record: Record, index: int) -> Example:
        """See Task. Raises DataError for characters that are no whole word."""
        example = super().example(record, index)
        marks = {}
        for number, name in enumerate(self.fields[:2], 1):
            sentence = example.fields[name]
            start, end = (self._number(record, f"{edge}{number}") for edge in ("start", "end"))
            self._check(sentence, start, end, number, record.where)
            marks[f"span{number}"] = (name, Extent(start, end - 1))
        return Example(example.id, example.fields, example.gold, marks=marks)

    def _number(self, record: Record, name: str) -> int:
        value = record.values.get(name)
        if type(value) is not int:
            raise DataError(f"{record.where}: '{name}' is {value!r}; it must be a character offset")
        return value

    def _check(self, sentence: str, start: int, end: int, number: int, where: str) -> None:
        place = f"{where}: start{number} and end{number}"
        if not 0 <= start < end <= len(sentence):
            raise DataError(
                f"{place} are {start} and {end}, which is outside sentence{number} ({len(sentence)} characters); "
                f"end{number} is the character after the word's last"
            )
        word, last = sentence[start:end], sentence[end:][:1]
        cut = word != word.strip() or not word[-1].isalnum() or (sentence[:start][-1:].isalnum() and word[0].isalnum())
        if cut or (word[-1].isalnum() and last.isalnum() and not NOT.match(sentence, end)):
            begin = next((b for b in (start, start + 1, start - 1) if starts_word(sentence, b)), start)
            stop = begin + len(re.split(r"\W", sentence[begin:], maxsplit=1)[0])
            raise DataError(
                f"{place} are {start} and {end}, which is {word!r} in {sentence[max(start - 5, 0) : end + 5]!r}; "
                f"the word {sentence[begin:stop]!r} is at {begin} to {stop}"
            )

    def parse(self, text: str) -> dict[str, Any]:
        """The two sentences with the word between asterisks in each, and the word, separated by tabs."""
        texts = text.split("\t")
        marked = [MARKED.findall(sentence) for sentence in texts[:2]]
        if len(texts) != 3 or any(len(words) != 1 for words in marked):
            raise DataError(
                f"{self.name} needs two sentences, each with one word between asterisks, and the word, separated by "
                "tabs, as in: He drank *water*.\tThey *watered* the lawn.\twater"
            )
        values: dict[str, Any] = {self.fields[2]: texts[2]}
        for number, name in enumerate(self.fields[:2], 1):
            match = MARKED.search(texts[number - 1])
            assert match is not None
            values[name] = MARKED.sub(r"\1", texts[number - 1])
            values[f"start{number}"], values[f"end{number}"] = match.start(), match.end() - 2
        return values


def starts_word(sentence: str, start: int) -> bool:
    """Whether a word begins at a character."""
    return 0 <= start < len(sentence) and sentence[start].isalnum() and not (start and sentence[start - 1].isalnum())
