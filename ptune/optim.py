"""Optimizers, their schedules as pure functions of the step, and the stepper that the loop calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptune.config import Optim

Schedule = Callable[[int], float]


def schedule(settings: Optim, steps: int, steps_per_epoch: int) -> Schedule:
    """The factor on every learning rate at a step (counted from 0).

    linear: to 0 after `steps`; exponential: times gamma an epoch; constant: 1; each after a linear warmup.
    """
    warmup = settings.warmup * steps if settings.warmup < 1 else settings.warmup

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "linear":
            return max(0.0, (steps - step) / max(1.0, steps - warmup))
        return settings.gamma ** (step // steps_per_epoch) if settings.schedule == "exponential" else 1.0

    return factor


class Stepper:
    """One update from the gradients at hand; other kinds may call `closure` for the loss of a changed prompt."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Schedule) -> None:
        self.optimizer, self.factor = optimizer, factor
        self.rates = [group["lr"] for group in optimizer.param_groups]

    def step(self, closure: Callable[[], Tensor], step: int) -> float:
        """Update and clear the gradients; returns the learning rate of the first group."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimizer's state: tensors by "parameter.name", and what is no tensor."""
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, Any] = {}
        for index, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{name}"] = value
        return tensors, numbers

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        state: dict[int, dict[str, Any]] = {}
        for key, value in {**tensors, **numbers}.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        full_state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**full_state, "state": state})


SCALE = "ptune_scale"  # an attribute of parameters that have two axes and are vectors


def optimizer(settings: Optim, groups: Mapping[str, Sequence[nn.Parameter]]) -> torch.optim.Optimizer:
    """The optimizer of the parameters of prompt, head and backbone, each with its own rate; vectors are not decayed.

    Nor is what `ptune.adapters` says to be scales. Adam has the decay of all parameters in its gradient (L2).
    """
    rates = {"prompt": settings.prompt_lr, "head": settings.head_lr, "backbone": settings.backbone_lr}
    decays_all, entries = settings.name == "adam", []
    for name, parameters in groups.items():
        lr = settings.lr if rates[name] is None else rates[name]
        for decay in (True, False):
            params = [p for p in parameters if (decays_all or (p.dim() > 1 and not hasattr(p, SCALE))) is decay]
            if params:
                entries.append(
                    {"params": params, "lr": lr, "weight_decay": (settings.weight_decay or 0.0) if decay else 0.0}
                )
    if settings.name != "adafactor":
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        return kind(entries, betas=(settings.betas[0], settings.betas[1]), eps=settings.eps)
    from transformers.optimization import Adafactor

    return Adafactor(entries, scale_parameter=False, relative_step=False, warmup_init=False, decay_rate=-0.8)
