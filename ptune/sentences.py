"""Texts as vectors: the mean of an untrained encoder's last states, as sentence encoders give it (Reimers and Gurevych
2019, arXiv 1908.10084).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ptune.backbones import local
from ptune.batch import Row, collate
from ptune.errors import ConfigError, PtuneError
from ptune.injection import Injection
from ptune.leaves import leaf

BATCH = 32


class Sentences:
    """Embeds with a copy of the run's backbone as its checkpoint has it, or with the checkpoint of a folder, which may
    be a sentence encoder of a known family; weights are loaded when the first text comes."""

    def __init__(
        self, backbone: Mapping[str, Any], packages: Iterable[str], device: torch.device, folder: str | None
    ) -> None:
        """Raises ConfigError for a folder that has no checkpoint of a known family."""
        try:
            node = backbone if folder is None else local.settings({"path": folder})
        except PtuneError as error:
            raise ConfigError([f"method.template.encoder: {str(error).removeprefix('backbone.path: ')}"]) from None
        self.backbone, self.device, self.loaded = leaf(node, packages), device, False

    def _load(self) -> None:
        self.tokens = self.backbone.tokens()
        self.backbone.load(lm=False)
        self.backbone.to(self.device).eval()
        self.loaded = True

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors [n, H] of length 1, so that their products are cosines."""
        if not self.loaded:
            self._load()
        rows = [self._row(i, text) for i, text in enumerate(texts)]
        vectors = []
        for start in range(0, len(rows), BATCH):
            batch = collate(rows[start : start + BATCH], self.tokens.pad_id).to(self.device)
            with torch.inference_mode():
                states = self.backbone(batch, Injection()).states.float()
            mean = (states * batch.mask[..., None]).sum(1) / batch.mask.sum(1, keepdim=True)
            vectors.append(torch.nn.functional.normalize(mean, dim=1).cpu().numpy())
        return np.concatenate(vectors) if vectors else np.empty((0, self.backbone.shape.hidden))

    def _row(self, number: int, text: str) -> Row:
        frame = self.tokens.frames[1]
        room = self.backbone.shape.positions - len(frame)
        ids = [*frame.before, *self.tokens.encode(text)[:room], *frame.after] or [self.tokens.start_id]
        return Row(number, ids, [frame.types[0]] * len(ids), {"cls": [0]})
