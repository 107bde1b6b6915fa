"""No model: the label seen most in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptune.procedures import Procedure, Stage

if TYPE_CHECKING:
    from ptune.session import Session


class Majority(Procedure):
    """Evaluate the constant predictor."""

    trains = False
    backbone = False
    keeps = False

    def stages(self, session: Session) -> Iterator[Stage]:
        """One stage."""
        yield Stage("evaluate", session.report_majority)
