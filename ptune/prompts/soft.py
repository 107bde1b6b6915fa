"""Trained embeddings in front of the text: Soft Prompt Tuning (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ptune.dropout import dropout
from ptune.errors import ConfigError
from ptune.injection import Injection, Shape, Vocabulary
from ptune.leaves import Chance
from ptune.prompts import Prompt
from ptune.runs.folder import RunFolder

if TYPE_CHECKING:
    from ptune.tasks import Task

COMMON = 5000  # Lester et al. sample from the 5,000 most common tokens, the first ids of their vocabulary


class Soft(Prompt):
    """init: uniform in [-0.5, 0.5], normal(0, init_std), a sample of the vocabulary, class labels, or a text's words.

    from_run: the folder of a finished run whose prompt this one starts from instead, as SPoT's (Vu et al. 2022, arXiv
    2110.07904). Raises ConfigError where it has none of this length and width.
    """

    place = "front"

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Prompt."""
        if given.get("init") == "text" and not given.get("init_text"):
            yield "init_text", "init=text needs the words to start from, such as init_text='does the premise entail'"
        if given.get("init_text") and (given.get("init") != "text" or given.get("from_run")):
            yield (
                "init_text",
                "is only used with init=text and without from_run; set method.prompt.init=text or remove init_text",
            )

    def __init__(
        self,
        shape: Shape,
        vocabulary: Vocabulary,
        length: int,
        init: Literal["uniform", "normal", "vocabulary", "labels", "text"] = "vocabulary",
        init_text: str | None = None,
        dropout: Chance = 0.0,
        double_embedding: bool = False,
        from_run: str | None = None,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        self.length, self.dropout, self.double_embedding = length, dropout, double_embedding
        start = (
            initial(vocabulary, length, shape.embed, init, init_std, init_text)
            if from_run is None
            else transferred_prompt(from_run, length, shape.embed)
        )
        self.table = nn.Parameter(start)

    def forward(self, index: Tensor) -> Injection:
        """front [1, P, E]; [B, P, E] while dropout draws for each example."""
        front = self.table[None]
        if self.training and self.dropout:
            front = dropout(front.expand(len(index), -1, -1), self.dropout)
        return Injection(front=front, whole_embedding=self.double_embedding)

    def fold(self) -> dict[str, Tensor]:
        """embeddings [P, E]."""
        return {"embeddings": self.table.detach()}

    def load(self, folded: Mapping[str, Tensor]) -> None:
        """See Prompt."""
        self.table = nn.Parameter(folded["embeddings"].to(self.table))


def transferred_prompt(run: str, length: int, width: int) -> Tensor:
    """The prompt [P, E] of a finished run."""
    tensors = RunFolder(Path(run)).read_tensors() if Path(run).is_dir() else {}
    prompt = tensors.get("prompt.embeddings")
    if prompt is None:
        raise ConfigError([f"method.prompt.from_run: {run} is not a finished run with a prompt in front of the text"])
    if prompt.shape != (length, width):
        raise ConfigError(
            [
                f"method.prompt.from_run: the prompt of {run} has {len(prompt)} virtual tokens of width "
                f"{prompt.shape[1]}, but this one {length} of {width}; use prompt_length.value={len(prompt)} "
                "and the same "
                "backbone"
            ]
        )
    return prompt


def initial(vocabulary: Vocabulary, length: int, width: int, init: str, std: float, text: str | None) -> Tensor:
    """[P, E] to start from; labels and texts that are too short are filled up from the vocabulary."""
    if init == "uniform":
        return torch.rand(length, width) - 0.5
    if init == "normal":
        return torch.randn(length, width) * std
    table = vocabulary.embedding
    rows: list[Tensor] = []
    if init == "labels":  # the mean of a label's sub-words, one virtual token a label
        rows = [table[vocabulary.encode(label)].mean(0) for label in vocabulary.labels]
    if init == "text":
        rows = list(table[vocabulary.encode(text or "")])
    rows = rows[:length]
    common = [i for i in range(min(len(table), COMMON + len(vocabulary.special))) if i not in vocabulary.special]
    while len(rows) < length:
        picks = torch.randperm(len(common))[: length - len(rows)]
        rows.extend(table[[common[i] for i in picks]])
    return torch.stack(rows) if rows else torch.zeros(0, width)
