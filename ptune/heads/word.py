"""The language-model head at the mask, over all words: how LAMA asks for facts (Petroni et al., arXiv 1909.01066)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ptune.batch import Batch, Hidden, RowOutput
from ptune.heads import Head
from ptune.injection import Shape

if TYPE_CHECKING:
    from ptune.tasks import Task

SHOWN = 10  # of the best words


class Word(Head):
    """The loss is the cross-entropy over the whole vocabulary; what is said is one of its words that are one token.

    vocabulary: those words and their ids. Parts of words, punctuation and special tokens compete in the loss alone, as
    in P-Tuning's code, where a list of words bounds what can be said.
    """

    reads = "mask"
    lm = True
    learns = False
    every: Tensor
    ids: Tensor

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Head."""
        if task.readout != "word":
            yield (
                "",
                f"word answers with any word of the vocabulary, but {task.name} asks for no word; use linear",
            )

    def __init__(self, shape: Shape, vocabulary: Callable[[], Mapping[str, int]]) -> None:
        super().__init__()
        word_ids = vocabulary()
        self.words = list(word_ids)
        self.register_buffer("every", torch.arange(shape.vocab), persistent=False)
        self.register_buffer("ids", torch.tensor(list(word_ids.values())), persistent=False)

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, V]."""
        return hidden.words(hidden.at(batch.read["mask"])[:, 0], self.every)

    def outputs(self, hidden: Hidden, batch: Batch) -> list[RowOutput]:
        """The best words with their log-probabilities among all tokens."""
        scores = self.logits(hidden, batch).float().log_softmax(-1)[:, self.ids]
        best_scores, places = scores.topk(min(SHOWN, len(self.words)))
        gold = (self.ids[places] == batch.target[:, None]).int()
        gold_places = torch.where(gold.any(1), gold.argmax(1), -1).tolist()
        return [
            RowOutput(example, row_scores, words=[self.words[place] for place in row_places], gold=gold_place)
            for example, row_scores, row_places, gold_place in zip(
                batch.example.tolist(), best_scores.cpu().numpy(), places.tolist(), gold_places, strict=True
            )
        ]
