"""A frozen backbone that is divided among the ranks of a run (FSDP2): each holds a part of every layer.

A layer's weights are gathered before it works, in the forward and in the backward pass, and freed after it. FSDP2 takes
for granted that all ranks make the same passes at the same time. Here they do not: shares of a step or an evaluation
are uneven, and a text that is generated ends when it ends. So a rank asks for a layer before it works. All ranks gather
the layer that is asked for from furthest along in a pass, those that have no use for it too, and the others ask again.
A rank that has done its share gathers with the others until all have.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ptune import ranks

log = logging.getLogger(__name__)


class Shards:
    """The layers of a backbone, divided among the ranks; what learns in them is whole on each."""

    def __init__(self, layers: Sequence[Any], device: torch.device) -> None:
        """Divide layers, which are on the CPU or on the device, and have them asked for."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if device.type == "cuda":
            torch.cuda.set_device(device)  # where FSDP2 puts what it gathers
        mesh = init_device_mesh(device.type, (ranks.count(),))
        self.layers = list(layers)
        self.last: int | None = None  # the layer that this rank has asked for
        for number, layer in enumerate(self.layers):
            trainable = {parameter for parameter in layer.parameters() if parameter.requires_grad}
            # Each by itself, so that FSDP2 gathers none ahead of time.
            fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trainable)
            layer.register_forward_pre_hook(partial(self._before_forward, number), prepend=True)
            layer.register_forward_hook(partial(self._after_forward, number), prepend=True)
        n_held, n_total = (sum(counts) for counts in zip(*map(sizes, self.layers), strict=True))
        log.info("of %s numbers in the backbone's layers this rank holds %s", f"{n_total:,}", f"{n_held:,}")

    def _before_forward(self, number: int, layer: nn.Module, given: Any) -> None:
        self.ask(number, number)

    def _after_forward(self, number: int, layer: nn.Module, given: Any, output: Any) -> None:
        backward = 2 * len(self.layers) - number

        def before_backward(_: Tensor) -> None:
            self.ask(number, backward)

        for tensor in tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(before_backward)

    def ask(self, number: int, along: int) -> None:
        """Wait for a layer's weights; along: how far along in its pass this rank is."""
        if self._gathered(number):  # computed again in its backward pass
            return
        if self.last is not None and self._gathered(self.last):
            self.layers[self.last].reshard()
        self.last = number
        while self._gather_next(number, along) != number:
            pass

    def finish(self) -> None:
        """Gather with the other ranks what they ask for, until none asks any more. Every rank must come here."""
        while self._gather_next() is not None:
            pass

    def _gather_next(self, number: int | None = None, along: int = 0) -> int | None:
        """Gather the layer that is asked for from furthest along, and free it again if it is another than this rank's;
        returns it, and None if no rank asks for any.
        """
        count = len(self.layers)
        request = ranks.largest(-1 if number is None else along * count + number)
        if request < 0:
            return None
        self.layers[request % count].unshard()
        if request % count != number:
            self.layers[request % count].reshard()
        return request % count

    def _gathered(self, number: int) -> bool:
        return not any(isinstance(parameter, DTensor) for parameter in self.layers[number].parameters())


def sizes(layer: nn.Module) -> tuple[int, int]:
    """How many of a layer's numbers this rank holds, and how many there are."""
    parameters = list(layer.parameters())
    n_held = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in parameters)
    return n_held, sum(p.numel() for p in parameters)


def tensors(output: Any) -> Iterator[Tensor]:
    """The tensors of a layer's output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from tensors(item)
