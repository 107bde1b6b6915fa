"""Heads turn hidden states into losses and scores; a new kind of head is one module and one yaml."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.batch import EVERY, IGNORED, Batch, Hidden, RowOutput
from ptune.injection import Shape

if TYPE_CHECKING:
    from ptune.tasks import Task


class Head(nn.Module, ABC):
    """reads: the read-out position it needs in a row, "cls", "words", "context", "mask" or "marks", or "text" for what
    it writes behind the row; lm: whether it needs the LM head; learns: whether it has parameters of its own; ends: of
    the scale of numbers (readout "scalar"); instead: readout -> the class that does its work there. One that drops does
    so with `ptune.dropout`, as runs that train side by side draw on their own.
    """

    runtime: ClassVar[tuple[str, ...]] = (
        "shape",
        "labels",
        "readout",
        "marks",
        "pooler_weights",
        "verbalizers",
        "encode",
        "decode",
        "masked",
        "preferred",
        "tokens",
        "longest",
        "vocabulary",
    )
    reads: str
    ends: tuple[float, float] = (0.0, 1.0)
    lm: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    instead: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) for this backbone and task, before any weight is loaded."""
        yield from ()

    @abstractmethod
    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Scores [B, C], or [B, K, C] for the K words of each row."""

    def loss(self, hidden: Hidden, batch: Batch) -> tuple[Tensor, int]:
        """(sum of the losses of all labels, how many labels); float32 whatever the backbone's precision."""
        logits = self.logits(hidden, batch).float()
        if batch.target.is_floating_point():
            return scalar_loss(logits, batch, self.ends), batch.labels
        if batch.grouped:
            return grouped_loss(logits[:, 0], batch), batch.labels
        if batch.soft is not None:
            losses = divergence(logits, batch.soft, batch.temperature)
            return (losses * batch.weight).sum(), batch.labels
        losses = F.cross_entropy(logits.flatten(0, -2), batch.target.flatten(), ignore_index=IGNORED, reduction="none")
        weight = batch.weight if batch.target.dim() == 1 else batch.weight[:, None].expand_as(batch.target).flatten()
        return (losses * weight).sum(), batch.labels

    def stored(self) -> dict[str, Tensor]:
        """What a finished run keeps of the head: all that a new one would not have by itself."""
        return dict(self.state_dict())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `stored` gave. Raises RuntimeError where names or shapes differ."""
        self.load_state_dict({**self.state_dict(), **tensors})

    def outputs(self, hidden: Hidden, batch: Batch) -> list[RowOutput]:
        """Log-probabilities of each row, without the padding of its words."""
        scores = self.logits(hidden, batch).float().log_softmax(-1).cpu().numpy()
        counts = (batch.read["words"] >= 0).sum(1).tolist() if scores.ndim == 3 else None
        return [
            RowOutput(
                example=int(batch.example[i]),
                scores=scores[i] if counts is None else scores[i][: counts[i]],
                start=int(batch.start[i]),
                candidate=int(batch.candidate[i]),
            )
            for i in range(len(batch))
        ]


def text_logits(hidden: Hidden, batch: Batch) -> Tensor:
    """Of every token of the vocabulary, [T, V], at the T tokens of the batch's texts."""
    assert hidden.output is not None
    return hidden.words(hidden.output[batch.output != IGNORED], EVERY)


def text_loss(hidden: Hidden, batch: Batch) -> tuple[Tensor, int]:
    """(sum of the cross-entropies of the batch's texts, how many tokens they have), each of which is a label."""
    is_text = batch.output != IGNORED
    losses = F.cross_entropy(text_logits(hidden, batch).float(), batch.output[is_text], reduction="none")
    weight = batch.weight[:, None].expand_as(batch.output)[is_text]
    return (losses * weight).sum(), batch.labels


def divergence(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """KL divergences [B] of a student's logits [B, C] from a teacher's probabilities, both at a temperature.

    Times its square, so that gradients are of the same size at any (Hinton et al. 2015, arXiv 1503.02531). What the
    teacher rules out, as the padding of candidates, adds nothing.
    """
    student = (logits / temperature).log_softmax(-1).masked_fill(soft == 0, 0.0)
    return F.kl_div(student, soft, reduction="none").sum(-1) * temperature**2


def scalar_loss(logits: Tensor, batch: Batch, ends: tuple[float, float]) -> Tensor:
    """The summed losses of numbers between two ends; logits [B, 1] or [B, 2].

    One logit is the number, and the loss its squared error; two share the mass out between the ends, as the number
    does: their cross-entropy (Gao et al. 2021, arXiv 2012.15723, section 3.1).
    """
    is_labeled = batch.target != IGNORED
    low, high = ends
    if logits.shape[1] == 1:
        losses = (logits[:, 0] - batch.target) ** 2
    else:
        share = (batch.target - low) / (high - low)
        losses = -(torch.stack([1 - share, share], 1) * logits.log_softmax(-1)).sum(1)
    return (losses * batch.weight)[is_labeled].sum()


def scalar_outputs(logits: Tensor, batch: Batch, ends: tuple[float, float]) -> list[RowOutput]:
    """The number that each row's logits [B, 1] or [B, 2] say, as scores [1]; of two, their mass between the ends."""
    low, high = ends
    numbers = logits if logits.shape[1] == 1 else low + (high - low) * logits.softmax(-1)[:, 1:]
    return [RowOutput(*row) for row in zip(batch.example.tolist(), numbers.cpu().numpy(), strict=True)]


def scale_of(labels: Sequence[str]) -> tuple[float, float]:
    """The ends of a scale, which are its labels."""
    low, high = (float(label) for label in labels)
    return low, high


def grouped_loss(scores: Tensor, batch: Batch) -> Tensor:
    """The summed negative log-likelihoods of the right candidates among those of their example; scores [B].

    Where several candidates are right, it is that of any of them: the marginal likelihood (Kadlec et al. 2016, arXiv
    1603.01547). With soft labels the divergences from those.
    """
    examples, group_index = torch.unique_consecutive(batch.example, return_inverse=True)
    shape = len(examples), int(batch.candidate.max()) + 1
    group_scores = scores.new_full(shape, -torch.inf)
    group_scores[group_index, batch.candidate] = scores
    if batch.soft is not None:
        is_first = batch.candidate == 0
        return (
            divergence(group_scores, batch.soft[is_first, : shape[1]], batch.temperature) * batch.weight[is_first]
        ).sum()
    is_right = torch.zeros(shape, dtype=torch.bool, device=scores.device)
    is_right[group_index, batch.candidate] = batch.target == 1
    weight = scores.new_zeros(shape)
    weight[group_index, batch.candidate] = batch.weight
    is_labeled = is_right.any(1)
    group_scores, is_right = group_scores[is_labeled], is_right[is_labeled]
    losses = group_scores.logsumexp(1) - group_scores.masked_fill(~is_right, -torch.inf).logsumexp(1)
    return (losses * weight[is_labeled, 0]).sum()


def fresh_linear(inputs: int, outputs: int, std: float = 0.02) -> nn.Linear:
    """A linear layer drawn as BERT's are: weights N(0, 0.02), bias 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=std)
    with torch.no_grad():
        layer.bias.zero_()
    return layer
