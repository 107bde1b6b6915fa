"""Texts as text-to-text models are given them: each field behind its name (Raffel et al. 2020, arXiv 1910.10683)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ptune.batch import Example, Extent, Windows
from ptune.templates import Part, Parts, Template
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.injection import Shape
    from ptune.tasks import Task


class Text(Template):
    """Rows as "premise: ... hypothesis: ..."; task: words in front, as T5 is told its tasks; null: none, as with Soft
    Prompt Tuning, whose prompt stands for them (Lester et al. 2021, arXiv 2104.08691, section 3).

    slots: pseudo tokens in front; mask: a mask at the end, for heads that read one.
    """

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Template."""
        if task.readout not in ("sequence", "scalar", "text"):
            yield "", f"text writes texts after their names, but {task.name} asks for more than texts; use plain"

    def __init__(
        self,
        tokens: Tokens,
        fields: Sequence[str],
        task: str | None = None,
        slots: int = 0,
        mask: bool = False,
        overflow: Literal["window", "truncate"] = "window",
        windows: Windows | None = None,
    ) -> None:
        super().__init__(tokens, overflow, windows)
        self.fields, self.task, self.slots, self.mask = list(fields), task, slots, mask

    def parts(self, index: int, example: Example, target: float | Sequence[int] | Extent | None) -> Parts:
        """See Template."""
        pieces = [Part("slot", [self.tokens.unk_id] * self.slots)] if self.slots else []
        if self.task:
            pieces.append(Part("literal", self.tokens.encode(self.task)))
        for number, name in enumerate(self.fields):
            pieces.append(Part("literal", self.tokens.encode(f"{name}:", lead=bool(self.task or number))))
            pieces.append(Part("text", self.tokens.encode(example.fields[name].strip(), lead=True)))
        if self.mask:
            assert self.tokens.mask_id is not None
            pieces.append(Part("mask", [self.tokens.mask_id] * self.masks))
        return Parts(index, pieces, target)
