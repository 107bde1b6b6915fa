"""Procedures surround the loop: each yields stages, which call the session's parts; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape


class Stage(NamedTuple):
    """A step of a procedure that ends with figures; `action` returns them."""

    name: str
    action: Callable[[], dict[str, Any]]


class Procedure:
    """trains: whether it needs a learning rate; backbone: whether it needs a pretrained model; fuses: whether it is one
    training and nothing else, which can share a backbone's pass with others; keeps: whether a finished run has a model
    that can be opened again; searches: whether it finds discrete prompts."""

    trains: ClassVar[bool] = True
    backbone: ClassVar[bool] = True
    fuses: ClassVar[bool] = False
    keeps: ClassVar[bool] = True
    searches: ClassVar[bool] = False

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) of a run of this procedure, before anything is read or loaded."""
        yield from ()
