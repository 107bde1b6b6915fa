"""XLM-R (Conneau et al. 2020, arXiv 1911.02116)."""

from __future__ import annotations

from ptune.backbones.roberta import Roberta


class XlmRoberta(Roberta):
    """RoBERTa's architecture with a vocabulary of a hundred languages."""

    model_type = "xlm-roberta"
