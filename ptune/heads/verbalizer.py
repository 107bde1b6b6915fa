"""The language-model head at the mask, read over the words that stand for the labels (PET, arXiv 2001.07676)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ptune.batch import Batch, Hidden, RowOutput
from ptune.errors import nearest
from ptune.heads import Head, scalar_outputs, scale_of
from ptune.injection import Shape


class Verbalizer(Head):
    """A label's score comes of the logits of its words; each word is one token of the backbone's vocabulary.

    aggregate: mean of the logits (PET), or logsumexp, the mass that the words have together. calibrate: scores are
    shifted until texts without content get every label alike, for methods that train nothing (see ptune.calibration).
    A number (readout "scalar") lies between the labels as their scores share out the mass (LM-BFF, arXiv 2012.15723).

    verbalizers: the task's sets; name: which of them, null for `preferred` (the pattern's own) or the first.
    """

    reads = "mask"
    lm = True
    learns = False
    ids: Tensor
    owner: Tensor  # [W, C], which word stands for which label
    shift: Tensor

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """See Head."""
        if task.readout not in ("sequence", "scalar"):
            asked = {"token": "one label a word", "choice": "one of several candidates"}
            yield (
                "",
                f"a verbalizer answers for a whole text, and {task.name} asks for "
                f"{asked.get(task.readout, 'a part of one')}; use linear",
            )
        elif not task.verbalizers:
            yield "name", f"task {task.name} has no verbalizers; add a set to its yaml"
        elif given.get("name") is not None and given["name"] not in task.verbalizers:
            yield (
                "name",
                f"task {task.name} has no verbalizer '{given['name']}'; {nearest(given['name'], task.verbalizers)}",
            )

    def __init__(
        self,
        shape: Shape,
        labels: Sequence[str],
        readout: str,
        verbalizers: Mapping[str, Mapping[str, Sequence[str]]],
        encode: Callable[[str], Sequence[int]],
        preferred: str | None = None,
        name: str | None = None,
        aggregate: Literal["mean", "logsumexp"] = "mean",
        calibrate: bool = False,
    ) -> None:
        super().__init__()
        self.aggregate = aggregate
        self.register_buffer("shift", torch.zeros(len(labels)), persistent=calibrate)
        self.scalar = readout == "scalar"
        if self.scalar:
            self.ends = scale_of(labels)
        self.name = name or preferred or next(iter(verbalizers))
        self.words = words = verbalizers[self.name]
        ids, owner = [], []
        for index, label in enumerate(labels):
            for word in words[label]:
                pieces = encode(word)
                if len(pieces) != 1:
                    raise ValueError(
                        f"'{word}' ({label}) is {len(pieces)} tokens of this backbone; choose a word that is one"
                    )
                ids.append(pieces[0])
                owner.append([i == index for i in range(len(labels))])
        self.register_buffer("ids", torch.tensor(ids), persistent=False)
        self.register_buffer("owner", torch.tensor(owner), persistent=False)

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, C]."""
        states = hidden.at(batch.read["mask"])[:, 0]
        words = hidden.words(states, self.ids).float()
        if self.aggregate == "logsumexp":
            return words[..., None].masked_fill(~self.owner, -torch.inf).logsumexp(1) + self.shift
        return words @ (self.owner / self.owner.sum(0)) + self.shift

    def outputs(self, hidden: Hidden, batch: Batch) -> list[RowOutput]:
        """See Head; of a number, the number."""
        if self.scalar:
            return scalar_outputs(self.logits(hidden, batch).float(), batch, self.ends)
        return super().outputs(hidden, batch)
