"""Pseudo tokens in the slots of a template, through a BiLSTM or MLP: P-Tuning (Liu et al. 2021, arXiv 2103.10385)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ptune.injection import Injection, Shape
from ptune.prompts import Prompt


class Pseudo(Prompt):
    """Embedding(P, E) -> encoder, E being the width of the backbone's word embeddings (not its hidden width).

    lstm: two bidirectional layers of width E, then Linear-ReLU-Linear; lstm_half: of width E / 2, as the published code
    has it for LAMA; mlp: Linear-ReLU-Linear alone. A task that tells G prompts apart has an embedding for each, and one
    encoder that reads them one by one.
    """

    place = "slots"

    def __init__(
        self,
        shape: Shape,
        length: int,
        encoder: Literal["none", "lstm", "lstm_half", "mlp"] = "lstm",
        init_std: float = 1.0,
        prompts: int = 1,
    ) -> None:
        super().__init__()
        width = shape.embed
        self.length, self.prompts = length, prompts
        self.table = nn.Parameter(torch.randn(prompts * length, width) * init_std)
        state_width = {"lstm": width, "lstm_half": width // 2}.get(encoder, 0)
        self.lstm = nn.LSTM(width, state_width, 2, bidirectional=True, batch_first=True) if state_width else None
        encoder_width = 2 * state_width or width
        mlp = nn.Sequential(nn.Linear(encoder_width, width), nn.ReLU(), nn.Linear(width, width))
        self.mlp = None if encoder == "none" else mlp

    def encoded(self) -> Tensor:
        """The pseudo tokens as the backbone sees them, [GP, E], prompt by prompt."""
        states = self.table.view(self.prompts, self.length, self.table.shape[1])
        if self.lstm is not None:
            states = self.lstm(states)[0]
        return (states if self.mlp is None else self.mlp(states)).flatten(0, 1)

    def forward(self, index: Tensor) -> Injection:
        """slots [1, GP, E]."""
        return Injection(slots=self.encoded()[None])

    def fold(self) -> dict[str, Tensor]:
        """embeddings [GP, E]."""
        return {"embeddings": self.encoded().detach()}

    def load(self, folded: Mapping[str, Tensor]) -> None:
        """See Prompt."""
        self.table = nn.Parameter(folded["embeddings"].to(self.table))
        self.lstm = self.mlp = None
