"""Procedures surround the loop: each yields stages, which call the session's parts; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.tasks import Task


class Stage(NamedTuple):
    """A step of a procedure that ends with figures; `action` returns them."""

    name: str
    action: Callable[[], dict[str, Any]]


class Work(NamedTuple):
    """What a procedure takes: steps of training in all of its runs, and examples that it answers beside evaluations."""

    steps: float
    answers: float = 0.0


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
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """(setting, what is wrong with it) of a run of this procedure, before anything is read or loaded."""
        yield from ()

    @classmethod
    def work(cls, given: Train, steps: float, examples: float) -> Work:
        """What the run will take, about: one training takes so many steps; examples: of its training set."""
        return Work(steps if cls.trains else 0.0)
