"""ELECTRA (Clark et al. 2020, arXiv 2003.10555)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ptune.backbones import Backbone


class Electra(Backbone):
    """BERT's layers on embeddings of a width of their own; only the generator has a language-model head."""

    model_type = "electra"
    lm_key = "generator_predictions.dense.weight"
    pooler_key = None

    def lm_logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """See Backbone."""
        head = self.model.generator_lm_head
        return F.linear(self.model.generator_predictions(states), head.weight[ids], head.bias[ids])
