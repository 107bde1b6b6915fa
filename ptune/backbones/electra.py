"""ELECTRA (Clark et al. 2020, arXiv 2003.10555)."""

from __future__ import annotations

from torch import Tensor

from ptune.backbones import Backbone


class Electra(Backbone):
    """BERT's layers on embeddings of a width of their own; only the generator has a language-model head."""

    model_type = "electra"
    lm_key = "generator_predictions.dense.weight"
    pooler_key = None

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        transformed: Tensor = self.model.generator_predictions(states)
        return transformed
