"""The language model's own words: a text is written token by token, or a label by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ptune.batch import Batch, Hidden, RowOutput
from ptune.errors import nearest
from ptune.heads import Head, text_logits, text_loss
from ptune.injection import Shape
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.tasks import Task


class Generate(Head):
    """The loss is the cross-entropy of the text's tokens, its end token among them; what is predicted is searched for.

    beams: of the search, 1 is greedy; least: tokens of a text at least, null: 5 as Prefix-Tuning's of tables (Li and
    Liang 2021, arXiv 2101.00190), 1 of a label; penalty: the power of the length that a beam's log-likelihood is
    divided by; line_breaks: whether there may be any. verbalizer: of a task of labels, the set of its verbalizers whose
    first words are written for them; null: their own names. A text that is no label counts as wrong.
    """

    reads = "text"
    lm = True
    learns = False

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Head."""
        name = given.get("verbalizer")
        if task.readout not in ("text", "sequence"):
            readout_names = {
                "token": "one label per word",
                "choice": "one of several candidates",
                "scalar": "a number",
                "word": "any word of the vocabulary",
            }
            yield (
                "",
                f"generate writes a text, or the label of one, but {task.name} asks for "
                f"{readout_names.get(task.readout, 'a part of a text')}; use linear",
            )
        elif not (shape.causal or shape.decoder_layers):
            yield "", "generate needs a decoder, and this backbone is an encoder; use linear, or a causal model"
        elif name is not None and name not in task.verbalizers:
            yield "verbalizer", f"task {task.name} has no verbalizer '{name}'; {nearest(name, task.verbalizers)}"
        for key in ("beams", "least"):
            if given.get(key) is not None and given[key] < (1 if key == "beams" else 0):
                yield key, f"{given[key]} is too small; at least {1 if key == 'beams' else 0}"

    def __init__(
        self,
        labels: Sequence[str],
        readout: str,
        verbalizers: Mapping[str, Mapping[str, Sequence[str]]],
        tokens: Tokens,
        longest: int,
        beams: int = 5,
        least: int | None = None,
        penalty: float = 1.0,
        line_breaks: bool = False,
        verbalizer: str | None = None,
    ) -> None:
        super().__init__()
        self.tokens, self.whole = tokens, readout == "text"
        self.written = [self.name(label, verbalizers.get(verbalizer or "", {})) for label in labels]
        banned_ids = () if line_breaks else breaks(tokens)
        least = (5 if self.whole else 1) if least is None else least
        length = {"limit": longest, "least": least, "penalty": penalty}
        self.search = {"end": tokens.end_id, "beams": beams, "banned": banned_ids, **length}

    @staticmethod
    def name(label: str, words: Mapping[str, Sequence[str]]) -> str:
        """What is written for a label."""
        return words[label][0] if label in words else label

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """See text_logits."""
        return text_logits(hidden, batch)

    def loss(self, hidden: Hidden, batch: Batch) -> tuple[Tensor, int]:
        """See text_loss."""
        return text_loss(hidden, batch)

    def outputs(self, hidden: Hidden, batch: Batch) -> list[RowOutput]:
        """The text that is searched for; of a label, whose scores are 1 for the one that was written, else 0."""
        assert hidden.generate is not None
        with torch.no_grad():
            texts = [self.tokens.decode(ids) for ids in hidden.generate(**self.search)]
        return [
            RowOutput(example, self.votes(text), candidate=candidate, text=text)
            for example, candidate, text in zip(batch.example.tolist(), batch.candidate.tolist(), texts, strict=True)
        ]

    def votes(self, text: str) -> np.ndarray:
        """[C]: 1 for the label that a text is, whatever its case; else 0."""
        answer = text.strip().casefold()
        return np.array([float(answer == label_text.strip().casefold()) for label_text in self.written])


def breaks(tokens: Tokens) -> tuple[int, ...]:
    """The tokens that are line breaks and nothing else."""
    encodings = [tokens.encode(text) for text in ("\n", "\n\n")]
    return tuple(ids[0] for ids in encodings if len(ids) == 1 and not tokens.tokenizer.decode(ids).strip("\n"))
