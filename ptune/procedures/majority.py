"""No model: the label seen most in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ptune.procedures import Procedure, Stage


class Majority(Procedure):
    """Evaluate the constant predictor."""

    trains = False
    backbone = False
    keeps = False

    def stages(self, session: Any) -> Iterator[Stage]:
        """One stage."""
        yield Stage("evaluate", session.report_majority)
