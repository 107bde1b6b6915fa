"""One training run: what most methods are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ptune.procedures import Procedure, Stage


class Single(Procedure):
    """Train, keep the best evaluation, report."""

    fuses = True

    def stages(self, session: Any) -> Iterator[Stage]:
        """One stage."""
        yield Stage("train", session.train)
