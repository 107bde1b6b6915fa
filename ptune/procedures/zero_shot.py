"""No training: pattern and verbalizer on the untouched language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptune.leaves import target
from ptune.procedures import Procedure, Stage

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import Session
    from ptune.tasks import Task

WANTED = {"token": "one label a word", "span": "a part of one"}  # which an untrained head would guess


class ZeroShot(Procedure):
    """Evaluate the model as it is."""

    trains = False

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        head = target(given.method["head"]["_target_"], given.packages)
        if task.readout in WANTED and task.masked == "label" and getattr(head, "reads", None) != "text":
            name, needed = given.method["name"], WANTED[task.readout]
            yield (
                "method",
                f"{name} answers for whole texts only, and {task.name} asks for {needed}; use a method that trains, as "
                "method=ptv2",
            )

    def stages(self, session: Session) -> Iterator[Stage]:
        """One stage."""
        yield Stage("evaluate", session.report_untrained)
