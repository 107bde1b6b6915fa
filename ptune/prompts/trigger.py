"""Words of the vocabulary in a template's slots, found by search: AutoPrompt (Shin et al. 2020, arXiv 2010.15980)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ptune.injection import Injection, Shape, Vocabulary
from ptune.prompts import Prompt

if TYPE_CHECKING:
    from ptune.tasks import Task


class Trigger(Prompt):
    """`tokens` tokens, each the mask at first; a step puts others in their place (see `hotflip`), none is trained.

    Their embeddings are a parameter, so that they get a gradient; it holds rows of the backbone's at all times.
    """

    place = "slots"
    discrete = True
    embedding: Tensor

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Prompt."""
        if given.get("tokens", 3) < 1:
            yield "tokens", f"{given['tokens']} is too small; at least 1"
        if shape.causal:
            yield "", "triggers are searched for a masked language model, but this one is causal"

    def __init__(self, shape: Shape, vocabulary: Vocabulary, tokens: int = 3) -> None:
        super().__init__()
        self.length = tokens
        self.register_buffer("embedding", vocabulary.embedding, persistent=False)
        self.table = nn.Parameter(torch.empty(tokens, shape.embed))
        assert vocabulary.mask is not None
        self.put([vocabulary.mask] * tokens)

    @property
    def ids(self) -> list[int]:
        """The tokens; of those with the same embedding the first."""
        return [int((self.embedding == row).all(1).nonzero()[0]) for row in self.table.detach()]

    def put(self, ids: Sequence[int], first: int = 0) -> None:
        """Let these tokens stand in the slots from `first` on."""
        with torch.no_grad():
            self.table[first : first + len(ids)] = self.embedding[list(ids)]

    def forward(self, index: Tensor) -> Injection:
        """slots [1, P, E]."""
        return Injection(slots=self.table[None])

    def fold(self) -> dict[str, Tensor]:
        """ids [P]."""
        return {"ids": torch.tensor(self.ids)}

    def load(self, folded: Mapping[str, Tensor]) -> None:
        """See Prompt."""
        self.put(folded["ids"].tolist())
