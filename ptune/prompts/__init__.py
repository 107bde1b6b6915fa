"""Prompts say what to inject into a backbone: embeddings in front, embeddings in slots, keys and values by layer.

A new kind of prompt is one module with a Prompt class and one yaml in `conf/method/prompt`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ptune.injection import Injection, Shape

if TYPE_CHECKING:
    from ptune.tasks import Task


class Prompt(nn.Module, ABC):
    """length: virtual tokens. place: where they go, "none", "front", "slots" or "layers"; discrete: whether they are
    words of the vocabulary, which are searched and not trained.

    runtime: constructor arguments that are not settings; prompts: how many the task tells apart.
    """

    runtime: ClassVar[tuple[str, ...]] = ("shape", "vocabulary", "prompts")
    place: ClassVar[str]
    discrete: ClassVar[bool] = False
    length: int

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) for this backbone and task, before any weight is loaded."""
        yield from ()

    @classmethod
    def below(cls, given: Mapping[str, Any], shape: Shape) -> int:
        """How many of the lowest layers know nothing of a prompt with these settings."""
        return shape.layers if cls.place == "none" else 0

    @abstractmethod
    def forward(self, index: Tensor) -> Injection:
        """The injection for the rows with example indices `index` [B]; shared prompts give a leading axis of 1."""

    @abstractmethod
    def fold(self) -> dict[str, Tensor]:
        """What a finished run stores: the prompt itself, without the network that produced it."""

    @abstractmethod
    def load(self, folded: Mapping[str, Tensor]) -> None:
        """Take a stored prompt; afterwards `forward` gives it and the network, if there was one, is gone."""
