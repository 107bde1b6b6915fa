"""Adapters of the PEFT library as what learns of a backbone; a further one is a class here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ptune.errors import PtuneError
from ptune.leaves import finding_message, signature_model

if TYPE_CHECKING:
    from torch import nn

# PEFT loads bitsandbytes where it is installed, which warns of kernels that nothing here asks for.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


class Lora:
    """Low-rank updates of some linear layers (Hu et al. 2022, arXiv 2106.09685): W + alpha / r * B A, B from 0.

    targets: the layers' names, as [query, value]; null: those that PEFT chooses for the family.
    """

    def __init__(self, r: int = 8, alpha: float = 16.0, dropout: float = 0.0, targets: list[str] | None = None) -> None:
        self.given: dict[str, Any] = {"r": r, "lora_alpha": alpha, "lora_dropout": dropout, "target_modules": targets}

    def config(self) -> Any:
        """As PEFT wants it."""
        from peft import LoraConfig

        return LoraConfig(**self.given)


class Ia3:
    """Vectors that scale keys, values and inner states of feed-forward layers (Liu et al. 2022, arXiv 2205.05638).

    targets: the layers' names; feedforward: those of them whose inputs are scaled; null: as PEFT chooses.
    """

    def __init__(self, targets: list[str] | None = None, feedforward: list[str] | None = None) -> None:
        self.given: dict[str, Any] = {"target_modules": targets, "feedforward_modules": feedforward}

    def config(self) -> Any:
        """As PEFT wants it."""
        from peft import IA3Config

        return IA3Config(**self.given)


ADAPTERS: dict[str, Any] = {"lora": Lora, "ia3": Ia3}


def problems(kind: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(setting, what is wrong with it) of an adapter."""
    model = signature_model(ADAPTERS[kind])
    try:
        model.model_validate(dict(given), strict=True)
    except ValidationError as error:
        for problem in error.errors():
            yield (
                ".".join(str(part) for part in problem["loc"]),
                finding_message(problem, ADAPTERS[kind], model.model_fields),
            )
        return
    if given.get("r", 1) < 1:
        yield "r", f"{given['r']} is too small; at least 1"
    if not 0 <= given.get("dropout", 0) < 1:
        yield "dropout", f"{given['dropout']} must be at least 0 and below 1"


def inject(model: nn.Module, kind: str, given: Mapping[str, Any]) -> None:
    """Put an adapter into a model, the only part of it that learns, drawn from torch's random numbers.

    Raises PtuneError where PEFT is not installed, or knows no layers of this family to put it in.
    """
    try:
        from peft import inject_adapter_in_model
    except ImportError:
        raise PtuneError(f"method.tune: '{kind}' needs the PEFT library: pip install 'ptune[peft]'") from None
    from ptune.optim import SCALE

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")  # of GPT-2's layers, where PEFT sets it
            inject_adapter_in_model(ADAPTERS[kind](**given).config(), model)
        for parameter in (p for p in model.parameters() if p.requires_grad and kind == "ia3"):
            setattr(parameter, SCALE, True)
    except ValueError as error:
        raise PtuneError(
            f"method.tune: PEFT finds no layers for '{kind}' in this backbone "
            f"({str(error).splitlines()[0].rstrip('.')}); "
            f"name them in method.adapter.targets=[...]{' (and method.adapter.feedforward)' * (kind == 'ia3')}"
        ) from None
