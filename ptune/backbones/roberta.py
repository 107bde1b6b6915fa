"""RoBERTa (Liu et al. 2019, arXiv 1907.11692)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ptune.backbones import Backbone, columns


class Roberta(Backbone):
    """Positions start after the padding index; MLM head under `lm_head`."""

    model_type = "roberta"
    lm_key = "lm_head.dense.weight"

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone; the first `pad_token_id` + 1 positions are not for text."""
        sizes = super().sizes(config)
        return {**sizes, "positions": sizes["positions"] - config.get("pad_token_id", 1) - 1}

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        head = self.model.lm_head
        transformed: Tensor = head.layer_norm(F.gelu(head.dense(states)))
        return transformed

    def position_ids(self, mask: Tensor, offset: int | Tensor) -> Tensor:
        """See Backbone."""
        positions = mask.long().cumsum(1) + columns(offset)
        return positions * mask + self.base.config.pad_token_id
