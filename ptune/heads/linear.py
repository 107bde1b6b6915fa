"""A linear layer on a row's state, on the first sub-token of each word, or on every token of a context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptune.batch import Batch, Hidden, RowOutput
from ptune.dropout import Dropout
from ptune.heads import Head, fresh_linear, scalar_outputs, scale_of
from ptune.injection import Shape
from ptune.leaves import Chance

if TYPE_CHECKING:
    from ptune.tasks import Task

ROWS = ("sequence", "choice", "scalar")  # readouts of one vector a row


class Linear(Head):
    """pooler: what stands before the layer when whole rows are classified (dense and tanh, BERT's pooler; activation:
    gelu in place of tanh, DeBERTa's).

    none: nothing. pretrained: the checkpoint's, frozen. random_frozen: drawn at the start and frozen, what the
    published P-Tuning v2 code does to RoBERTa. trained: learned, from the checkpoint's where it has one.

    Answers (readout "span") begin and end at positions of the context, or where a row is read as a whole (its first
    token; of a model with a decoder the last) if there is none; the
    loss is the mean of both cross-entropies (Devlin et al. 2019, arXiv 1810.04805, section 4.2). Candidates (readout
    "choice") have a score each; a number (readout "scalar") is one output, and its loss the squared error.
    """

    instead = MappingProxyType({"word": "ptune.heads.word.Word"})  # it would have an output for each word to learn

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Head."""
        if task.readout == "text":
            yield (
                "",
                f"a linear head gives labels or numbers, but {task.name} asks for a text; use method/head=generate",
            )
        if given.get("pooler") == "pretrained" and task.readout in ROWS and not shape.pooler:
            yield (
                "pooler",
                "'pretrained' needs a checkpoint with a pooler, but this one has none; did you mean 'trained'?",
            )

    def __init__(
        self,
        shape: Shape,
        labels: Sequence[str],
        readout: Literal["sequence", "token", "span", "choice", "scalar"],
        pooler_weights: Mapping[str, Tensor] | None = None,
        pooler: Literal["none", "pretrained", "random_frozen", "trained"] = "none",
        dropout: Chance = 0.1,
        activation: Literal["tanh", "gelu"] = "tanh",
    ) -> None:
        super().__init__()
        self.tanh = activation == "tanh"
        self.reads = {"token": "words", "span": "context"}.get(readout, "cls")
        self.choice, self.scalar = readout == "choice", readout == "scalar"
        if self.scalar:
            self.ends = scale_of(labels)
        self.dropout, self.pooler_kind = Dropout(dropout), pooler
        self.pooler = None if pooler == "none" or readout not in ROWS else fresh_linear(shape.hidden, shape.hidden)
        if self.pooler is not None:
            if pooler_weights is not None and pooler in ("pretrained", "trained"):
                self.pooler.load_state_dict(dict(pooler_weights))
            self.pooler.requires_grad_(pooler == "trained")
        self.linear: nn.Linear = fresh_linear(shape.hidden, 1 if self.scalar else len(labels))

    def stored(self) -> dict[str, Tensor]:
        """See Head; the checkpoint's own frozen pooler is left out."""
        return {
            k: v for k, v in super().stored().items() if self.pooler_kind != "pretrained" or not k.startswith("pooler.")
        }

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, C], C being 1 for a number, or [B, K, C]; of spans [B, 2, 1 + K]: begin and end at no answer and at
        the K of the context.
        """
        if self.reads == "context":
            return self._span_logits(hidden, batch)
        states = hidden.at(batch.read[self.reads])
        if self.reads == "cls":
            states = states[:, 0]
        if self.pooler is not None:
            states = torch.tanh(self.pooler(states)) if self.tanh else functional.gelu(self.pooler(states))
        return self.linear(self.dropout(states))

    def _span_logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        positions = torch.cat([batch.read["cls"], batch.read["context"]], 1)
        scores = self.linear(self.dropout(hidden.at(positions)))
        return scores.masked_fill((positions < 0)[..., None], -torch.inf).transpose(1, 2)

    def loss(self, hidden: Hidden, batch: Batch) -> tuple[Tensor, int]:
        """See Head; an answer is one label, whose cross-entropy is the mean of its two ends'."""
        total, labels = super().loss(hidden, batch)
        return (total / 2 if self.reads == "context" else total), labels

    def outputs(self, hidden: Hidden, batch: Batch) -> list[RowOutput]:
        """See Head; of spans and candidates the logits, [1 + K, 2] or [C], which can be compared between rows."""
        if self.scalar:
            return scalar_outputs(self.logits(hidden, batch).float(), batch, self.ends)
        if self.choice:
            logits = self.logits(hidden, batch).float().cpu().numpy()
            rows = zip(batch.example.tolist(), batch.candidate.tolist(), logits, strict=True)
            return [RowOutput(example, scores, candidate=candidate) for example, candidate, scores in rows]
        if self.reads != "context":
            return super().outputs(hidden, batch)
        scores = self.logits(hidden, batch).float().transpose(1, 2).cpu().numpy()
        return [
            RowOutput(
                example=int(batch.example[i]),
                scores=scores[i][: 1 + len(offsets)],
                start=int(batch.start[i]),
                candidate=int(batch.candidate[i]),
                offsets=offsets,
            )
            for i, offsets in enumerate(batch.offsets)
        ]
