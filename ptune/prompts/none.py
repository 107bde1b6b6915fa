"""No prompt: fine-tuning, probes and cloze patterns."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ptune.injection import Injection
from ptune.prompts import Prompt


class NoPrompt(Prompt):
    """Injects nothing."""

    place = "none"
    length = 0

    def forward(self, index: Tensor) -> Injection:
        """See Prompt."""
        return Injection()

    def fold(self) -> dict[str, Tensor]:
        """See Prompt."""
        return {}

    def load(self, folded: Mapping[str, Tensor]) -> None:
        """See Prompt."""
