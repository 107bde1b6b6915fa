"""One training run: what most methods are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptune.procedures import Procedure, Stage

if TYPE_CHECKING:
    from ptune.session import Session


class Single(Procedure):
    """Train, keep the best evaluation, report."""

    fuses = True

    def stages(self, session: Session) -> Iterator[Stage]:
        """One stage."""
        yield Stage("train", session.train)
