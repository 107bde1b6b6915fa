"""No training: pattern and verbalizer on the untouched language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ptune.procedures import Procedure, Stage


class ZeroShot(Procedure):
    """Evaluate the model as it is."""

    trains = False

    def stages(self, session: Any) -> Iterator[Stage]:
        """One stage."""
        yield Stage("evaluate", session.untrained)
