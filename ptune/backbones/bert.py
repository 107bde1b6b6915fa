"""BERT (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from torch import Tensor

from ptune.backbones import Backbone


class Bert(Backbone):
    """Absolute positions from 0; MLM head under `cls`."""

    model_type = "bert"
    lm_key = "cls.predictions.transform.dense.weight"

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        transformed: Tensor = self.model.cls.predictions.transform(states)
        return transformed
