"""Trained keys and values at every layer: Prefix-Tuning (arXiv 2101.00190) and P-Tuning v2 (arXiv 2110.07602)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.dropout import dropout
from ptune.injection import KV, Injection, Shape, Vocabulary
from ptune.prompts import Prompt


class Deep(Prompt):
    """P virtual tokens with a key and a value in each chosen layer; the others see no prefix.

    reparam mlp: Embedding(P, H) -> Linear(mid) -> Tanh -> Linear(2LH), dropped after training.
    layers: "all", or one-based numbers and ranges as "17-24" or "1,3,5".
    init: normal(0, init_std), or activations: the keys and values of `init_text` in the backbone.
    position_offset: "length" shifts the text's positions by P as the published code does, "none" leaves them.
    """

    place = "layers"

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """See Prompt."""
        try:
            chosen_layers(given.get("layers", "all"), shape.layers)
        except ValueError as error:
            yield "layers", str(error)
        if given.get("init") == "activations" and not given.get("init_text"):
            yield "init_text", "init=activations needs the words to start from, as init_text='summarize the table'"

    @classmethod
    def below(cls, given: Mapping[str, Any], shape: Shape) -> int:
        """See Prompt."""
        return chosen_layers(given.get("layers", "all"), shape.layers)[0]

    def __init__(
        self,
        shape: Shape,
        vocabulary: Vocabulary,
        length: int,
        reparam: Literal["none", "mlp"] = "none",
        mid: int = 512,
        layers: str | int = "all",
        init: Literal["normal", "activations"] = "normal",
        init_std: float = 0.02,
        init_text: str | None = None,
        dropout: float = 0.0,
        position_offset: Literal["length", "none"] = "length",
    ) -> None:
        super().__init__()
        self.length, self.dropout = length, dropout
        self.heads, self.head_dim = shape.heads, shape.head_dim
        self.layers = chosen_layers(layers, shape.layers)
        self.offset = length if position_offset == "length" else 0
        flat = 2 * len(self.layers) * shape.heads * shape.head_dim
        start = self._activations(vocabulary, init_text, length) if init == "activations" else None
        if reparam == "mlp":
            self.table = nn.Parameter(torch.randn(length, shape.hidden) * init_std)
            self.mlp: nn.Sequential | None = nn.Sequential(
                nn.Linear(shape.hidden, mid), nn.Tanh(), nn.Linear(mid, flat)
            )
            for name, parameter in self.mlp.named_parameters():
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=0.02)
            if start is not None:
                fit(self, start)
        else:
            self.mlp = None
            self.table = nn.Parameter(torch.randn(length, flat) * init_std if start is None else start)

    def _activations(self, vocabulary: Vocabulary, text: str | None, length: int) -> Tensor:
        """[P, 2LAD]: the keys and values of `text`, its words repeated until there are P."""
        states = vocabulary.states(text or "")
        flat = []
        for layer in self.layers:
            for tensor in states[layer]:
                rows = tensor[0].transpose(0, 1).flatten(1)
                flat.append(rows[torch.arange(length) % len(rows)])
        return torch.cat(flat, 1)

    def flat(self) -> Tensor:
        """[P, 2LAD]: layer by layer the keys, then the values."""
        return self.table if self.mlp is None else self.mlp(self.table)

    def forward(self, index: Tensor) -> Injection:
        """kv of the encoder: layer -> K, V [1, A, P, D]; [B, A, P, D] while dropout draws for each example."""
        flat = self.flat()[None]
        if self.training and self.dropout:
            flat = dropout(flat.expand(len(index), -1, -1), self.dropout)
        split = flat.view(flat.shape[0], self.length, 2 * len(self.layers), self.heads, self.head_dim)
        pairs = split.permute(2, 0, 3, 1, 4).split(2)
        return Injection(
            kv={"encoder": {layer: KV(pair[0], pair[1]) for layer, pair in zip(self.layers, pairs, strict=True)}},
            offset=self.offset,
        )

    def fold(self) -> dict[str, Tensor]:
        """prefix [P, 2LAD]."""
        return {"prefix": self.flat().detach()}

    def load(self, folded: Mapping[str, Tensor]) -> None:
        """See Prompt."""
        self.table = nn.Parameter(folded["prefix"].to(self.table))
        self.mlp = None


def chosen_layers(layers: str | int, depth: int) -> list[int]:
    """Zero-based layers of "all", "17-24", "1,3,5" or a number. Raises ValueError outside 1 to `depth`."""
    if layers == "all":
        return list(range(depth))
    chosen: set[int] = set()
    for part in str(layers).split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"'{layers}' is not a choice of layers; write all, 17-24 or 1,3,5")
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= depth:
            near = f"{min(max(low, 1), depth)}-{min(max(high, 1), depth)}" if low <= high else f"{high}-{low}"
            raise ValueError(f"{part.strip()} is outside the {depth} layers (1-{depth}); did you mean '{near}'?")
        chosen.update(range(low - 1, high))
    return sorted(chosen)


def fit(prompt: Deep, target: Tensor, steps: int = 500, lr: float = 1e-4) -> None:
    """Fit the reparameterization to given keys and values, as Prefix-Tuning's low-data recipe does (MSE, Adam)."""
    optimizer = torch.optim.Adam(prompt.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(prompt.flat(), target).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
