"""Trained keys and values at every layer: Prefix-Tuning (arXiv 2101.00190) and P-Tuning v2 (arXiv 2110.07602)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.dropout import dropout
from ptune.errors import nearest
from ptune.injection import KV, Injection, Shape, Vocabulary
from ptune.leaves import Chance
from ptune.prompts import Prompt

if TYPE_CHECKING:
    from ptune.tasks import Task


class Deep(Prompt):
    """P virtual tokens with a key and a value in each chosen layer; the others see no prefix.

    sites: where an encoder-decoder has them, a table and a reparameterization for each: null is wherever the task's
    read-out comes by, as Prefix-Tuning's BART has them in the encoder, the decoder and its attention to the encoder
    ("cross"). `layers` counts those of each site.
    reparam mlp: Embedding(P, H) -> Linear(mid) -> Tanh -> Linear(2LH), dropped after training. mlp_init: how it begins:
    normal, all weights from N(0, init_std) and no bias, as in P-Tuning v2's code; torch, the embedding from N(0, 1) and
    the linear layers as torch begins them, as in Prefix-Tuning's.
    layers: "all", or one-based numbers and ranges as "17-24" or "1,3,5".
    init: normal(0, init_std), or activations: the keys and values of `init_text` in the backbone.
    position_offset: "length" shifts the text's positions by P as the published code does, "none" leaves them; those of
    an encoder-decoder stay, as in Prefix-Tuning's code for BART.
    """

    place = "layers"

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Prompt."""
        sites = given.get("sites")
        if sites is not None and not sites:
            yield "sites", f"must name at least one of {', '.join(shape.sites)}"
        for site in sites or ():
            if site not in shape.sites:
                yield "sites", f"{task.name} with this backbone does not use '{site}'; {nearest(site, shape.sites)}"
        for site in (site for site in shape.sites if not sites or site in sites):
            try:
                chosen_layers(given.get("layers", "all"), shape.sites[site])
            except ValueError as error:
                yield "layers", str(error) if len(shape.sites) == 1 else f"{site}: {error}"
                break
        if given.get("init") == "activations" and not given.get("init_text"):
            yield "init_text", "init=activations needs the words to start from, such as init_text='summarize the table'"
        if given.get("init_text") and given.get("init") != "activations":
            yield (
                "init_text",
                "is only used with init=activations; set method.prompt.init=activations or remove init_text",
            )

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
        dropout: Chance = 0.0,
        position_offset: Literal["length", "none"] = "length",
        mlp_init: Literal["normal", "torch"] = "normal",
        sites: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.length, self.dropout = length, dropout
        self.heads, self.head_dim = shape.heads, shape.head_dim
        self.site, *other_sites = [site for site in shape.sites if sites is None or site in sites]
        self.layers = chosen_layers(layers, shape.sites[self.site])
        self.offset = length if position_offset == "length" and not shape.decoder_layers else 0
        flat_width = 2 * len(self.layers) * shape.heads * shape.head_dim
        start = self._activations(vocabulary, init_text, length) if init == "activations" else None
        if reparam == "mlp":
            self.table = nn.Parameter(torch.randn(length, shape.hidden) * (init_std if mlp_init == "normal" else 1.0))
            self.mlp: nn.Sequential | None = nn.Sequential(
                nn.Linear(shape.hidden, mid), nn.Tanh(), nn.Linear(mid, flat_width)
            )
            for name, parameter in self.mlp.named_parameters() if mlp_init == "normal" else ():
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=init_std)
            if start is not None:
                fit(self, start)
        else:
            self.mlp = None
            self.table = nn.Parameter(torch.randn(length, flat_width) * init_std if start is None else start)
        args = (shape, vocabulary, length, reparam, mid, layers, init, init_std, init_text, dropout, position_offset)
        self.others = nn.ModuleList(Deep(*args, mlp_init, sites=[site]) for site in other_sites)

    def _activations(self, vocabulary: Vocabulary, text: str | None, length: int) -> Tensor:
        """[P, 2LAD]: the keys and values of `text`, its words repeated until there are P."""
        states = vocabulary.states(text or "", self.site)
        columns = []
        for layer in self.layers:
            for tensor in states[layer]:
                rows = tensor[0].transpose(0, 1).flatten(1)
                columns.append(rows[torch.arange(length) % len(rows)])
        return torch.cat(columns, 1)

    def flat(self) -> Tensor:
        """[P, 2LAD]: layer by layer the keys, then the values."""
        return self.table if self.mlp is None else self.mlp(self.table)

    def forward(self, index: Tensor) -> Injection:
        """kv of each site: layer -> K, V [1, A, P, D]; [B, A, P, D] while dropout draws for each example."""
        flat = self.flat()[None]
        if self.training and self.dropout:
            flat = dropout(flat.expand(len(index), -1, -1), self.dropout)
        split = flat.view(flat.shape[0], self.length, 2 * len(self.layers), self.heads, self.head_dim)
        pairs = split.permute(2, 0, 3, 1, 4).split(2)
        kv = {self.site: {layer: KV(pair[0], pair[1]) for layer, pair in zip(self.layers, pairs, strict=True)}}
        for prompt in self.of_others():
            kv |= prompt(index).kv
        return Injection(kv=kv, offset=self.offset)

    def fold(self) -> dict[str, Tensor]:
        """prefix [P, 2LAD] of the only or first site, SITE.prefix of further ones."""
        other_tensors = {
            f"{prompt.site}.{name}": tensor for prompt in self.of_others() for name, tensor in prompt.fold().items()
        }
        return {"prefix": self.flat().detach(), **other_tensors}

    def load(self, folded: Mapping[str, Tensor]) -> None:
        """See Prompt."""
        self.table = nn.Parameter(folded["prefix"].to(self.table))
        self.mlp = None
        for prompt in self.of_others():
            prompt.load({"prefix": folded[f"{prompt.site}.prefix"]})

    def of_others(self) -> Iterator[Deep]:
        """The prompts of further sites."""
        for prompt in self.others:
            assert isinstance(prompt, Deep)
            yield prompt


def chosen_layers(layers: str | int, depth: int) -> list[int]:
    """Zero-based layers of "all", "17-24", "1,3,5" or a number. Raises ValueError outside 1 to `depth`."""
    if layers == "all":
        return list(range(depth))
    layer_numbers: set[int] = set()
    for part in str(layers).split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"'{layers}' is not a choice of layers; write all, 17-24 or 1,3,5")
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= depth:
            ends = (high, low) if low > high else (min(max(low, 1), depth), min(max(high, 1), depth))
            suggestion = "-".join(dict.fromkeys(map(str, ends)))
            raise ValueError(f"{part.strip()} is outside the {depth} layers (1-{depth}); did you mean '{suggestion}'?")
        layer_numbers.update(range(low - 1, high))
    return sorted(layer_numbers)


def fit(prompt: Deep, target: Tensor, steps: int = 500, lr: float = 1e-4) -> None:
    """Fit the reparameterization to given keys and values, as Prefix-Tuning's low-data recipe does (MSE, Adam)."""
    optimizer = torch.optim.Adam(prompt.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(prompt.flat(), target).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
