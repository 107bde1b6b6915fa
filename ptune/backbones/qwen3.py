"""Qwen3 (Yang et al. 2025, arXiv 2505.09388)."""

from ptune.backbones.causal import Grouped


class Qwen3(Grouped):
    """As Llama, with queries and keys normalized in each head; the keys of a prefix are taken as they are."""

    model_type = "qwen3"
