"""ALBERT (Lan et al. 2020, arXiv 1909.11942)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ptune.backbones import Backbone, matrices
from ptune.errors import PtuneError

if TYPE_CHECKING:
    from ptune.backbones.attention import Slot


class Albert(Backbone):
    """Layers share their weights, and each application of them has a prefix of its own; embeddings are factorized."""

    model_type = "albert"
    lm_key = "predictions.dense.weight"
    pooler_key = "pooler.weight"
    cached = False
    stacked = False
    threads = False  # its modules count the layers of the pass that is under way

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """See Backbone; a layer is one application of attention."""
        sizes = super().sizes(config)
        return {**sizes, "layers": sizes["layers"] * config.get("inner_group_num", 1)}

    @property
    def multiplied(self) -> int:
        """See Backbone."""
        return matrices(self.base.encoder.albert_layer_groups) * self.shape.layers // len(self.attentions())

    def all_layers(self) -> list[Any]:
        """See Backbone; the modules, fewer than there are layers."""
        return [layer for group in self.base.encoder.albert_layer_groups for layer in group.albert_layers]

    def attentions(self) -> list[nn.Module]:
        """The attention modules, fewer than there are layers."""
        return [layer.attention for layer in self.all_layers()]

    def install(self) -> dict[str, Slot]:
        """See Backbone; a module learns with each call which layer it is."""
        slots = super().install()
        calls: list[nn.Module] = []

        def clear_calls(*_: Any) -> None:
            calls.clear()

        def assign_layer(module: nn.Module, _: Any) -> None:
            module.ptune_layer = len(calls)  # type: ignore[assignment]
            calls.append(module)

        def check_calls(*_: Any) -> None:
            if len(calls) != self.shape.layers:
                raise RuntimeError(f"{len(calls)} applications of attention where {self.shape.layers} have a prefix")

        for module in self.attentions():
            module.register_forward_pre_hook(assign_layer)
        self.base.encoder.register_forward_pre_hook(clear_calls)
        self.base.encoder.register_forward_hook(check_calls)
        return slots

    def checkpointing(self) -> None:
        """Raises PtuneError: transformers has none for ALBERT."""
        raise PtuneError(
            "gradient_checkpointing: not supported for ALBERT, whose shared layers transformers cannot recompute"
        )

    def lm_states(self, states: Tensor) -> Tensor:
        """See Backbone."""
        head = self.model.predictions
        transformed: Tensor = head.LayerNorm(head.activation(head.dense(states)))
        return transformed
