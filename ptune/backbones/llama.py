"""Llama (Touvron et al. 2023, arXiv 2302.13971; Grattafiori et al. 2024, arXiv 2407.21783)."""

from ptune.backbones.causal import Grouped


class Llama(Grouped):
    """Rotary positions; a prefix is not rotated: its keys stand at position 0."""

    model_type = "llama"
