"""BERT (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ptune.backbones import Backbone


class Bert(Backbone):
    """Absolute positions from 0; MLM head under `cls`."""

    model_type = "bert"
    lm_key = "cls.predictions.transform.dense.weight"

    def lm_logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """See Backbone."""
        head = self.model.cls.predictions
        return F.linear(head.transform(states), head.decoder.weight[ids], head.decoder.bias[ids])
