"""Procedures surround the loop: each yields stages, which call the session's parts; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from ptune.injection import Shape


class Stage(NamedTuple):
    """A step of a procedure that ends with figures; `action` returns them."""

    name: str
    action: Callable[[], dict[str, Any]]


class Procedure:
    """trains: whether it needs a learning rate; backbone: whether it needs a model at all; fuses: whether it is one
    training and nothing else, which can share a backbone's pass with others."""

    trains: ClassVar[bool] = True
    backbone: ClassVar[bool] = True
    fuses: ClassVar[bool] = False

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Any) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) for this backbone and task, before any weight is loaded."""
        yield from ()
