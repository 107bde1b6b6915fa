"""A search's space, in Hydra's own grammar of sweeps: choice(), a,b,c, range() and interval(), with tag(log, ...)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from ptune.errors import ConfigError, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TAGS = ("log", "int")
CHANCE = ("seed", "data.seed", "data.draw", "held_out_seed")  # settings whose best value is luck
DIGITS = 6  # of a number from an interval, enough for any setting
MARGIN = 0.05  # of an interval, from each of its ends: what is in there is on the edge
FEW = 3  # values that a choice of numbers needs to have an inside


@dataclass(frozen=True)
class Parameter:
    """One searched setting: `values`, as they stand on a command line, or the numbers from `low` to `high`.

    key: as on the command line, with its +; whole: integers alone, `step` apart; log: drawn evenly by magnitude.
    """

    key: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    whole: bool = False
    log: bool = False

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna draws from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values:
            return CategoricalDistribution(self.values)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    @property
    def first(self) -> Any:
        """One of its values, as Optuna has them."""
        return self.values[0] if self.values else int(self.low) if self.whole else self.low

    def text(self, value: Any) -> str:
        """A value as it stands on a command line."""
        if self.values or self.whole:
            return str(value)
        return f"{value:.{DIGITS}g}"

    def each(self) -> list[Any] | None:
        """All values, as Optuna has them; None for an interval."""
        if self.values:
            return [*self.values]
        if self.step is None:
            return [*range(int(self.low), int(self.high) + 1)] if self.whole else None
        count = round((self.high - self.low) / self.step) + 1
        values = [self.low + i * self.step for i in range(count)]
        return [int(value) for value in values] if self.whole else values

    def as_record(self) -> dict[str, Any]:
        """What it is, for the record."""
        if self.values:
            return {"values": [plain(value) for value in self.values]}
        numbers = {"low": self.low, "high": self.high, **({"step": self.step} if self.step is not None else {})}
        return {**numbers, "whole": self.whole, "log": self.log}

    def edge(self, value: Any) -> str:
        """Which end of the space a value lies on, "smallest" or "largest"; nothing inside, and where there is none."""
        at, ends = number(value), [number(each) for each in self.values or (self.low, self.high)]
        bounds = sorted({end for end in ends if end is not None})
        if at is None or len(bounds) < len({*ends}) or len(bounds) < (FEW if self.values else 2):
            return ""
        low, high, place = (math.log(x) if self.log else x for x in (bounds[0], bounds[-1], at))
        width = 0.0 if self.values or self.step is not None else MARGIN * (high - low)
        return "smallest" if place <= low + width else "largest" if place >= high - width else ""


def number(value: Any) -> float | None:
    """A value, or its text, as a number; None where it is none."""
    try:
        return float(value)
    except ValueError:
        return None


def plain(text: str) -> Any:
    """The text of a value as the number it says, else as it is."""
    at = number(text)
    return text if at is None else int(at) if at.is_integer() and "e" not in text and "." not in text else at


def read(overrides: Sequence[Override]) -> tuple[list[Parameter], list[str]]:
    """(what is searched, the overrides that all trials share); of several for one key the last counts.

    Raises ConfigError for a space that cannot be searched.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    searched = {key: override for key, override in by_key.items() if override.is_sweep_override()}
    problems = [
        f"{key}: the best of several is luck, not a better setting; search with one of them, "
        f"then train the best with {override.input_line}"
        for key, override in searched.items()
        if key.lstrip("+") in CHANCE
    ]
    if not searched:
        problems.append(
            "nothing to search: give a key several values, such as optim.lr=1e-3,1e-2 or interval(1e-3,1e-1)"
        )
    parameters = []
    for key, override in searched.items():
        try:
            parameters.append(parameter(key, override))
        except ValueError as error:
            problems.append(f"{override.input_line}: {error}")
    if problems:
        raise ConfigError(problems)
    return parameters, [str(override.input_line) for key, override in by_key.items() if key not in searched]


def parameter(key: str, override: Override) -> Parameter:
    """One override that sweeps as a parameter. Raises ValueError where Optuna cannot draw from it."""
    sweep = override.value()
    tags = {str(tag) for tag in getattr(sweep, "tags", ())}
    if wrong := sorted(tags - {*TAGS}):
        raise ValueError(f"no tag '{wrong[0]}'; {nearest(wrong[0], TAGS)}")
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        is_integer = "int" in tags or isinstance(sweep.start, int)
        span = Parameter(key, (), float(sweep.start), float(sweep.end), None, is_integer, "log" in tags)
    elif isinstance(sweep, RangeSweep):
        values = [*sweep.range()]
        if not values:
            raise ValueError("an empty range; its end is excluded")
        is_integer, step = isinstance(values[0], int), abs(sweep.step)
        span = Parameter(key, (), min(values), max(values), step, is_integer, "log" in tags)
        if span.log and step != 1:
            raise ValueError("tag(log, ...) is for interval(), and for a range in steps of 1")
    elif tags:
        raise ValueError(f"tag({', '.join(sorted(tags))}, ...) is for interval() and range(); a choice is drawn evenly")
    else:
        return Parameter(key, tuple(dict.fromkeys(override.sweep_string_iterator())))
    if span.low > span.high:
        raise ValueError("its end is below its start")
    if span.log and span.low <= 0:
        raise ValueError("tag(log, ...) needs numbers above 0")
    return span


def combinations(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]] | None:
    """Every point of the space in order, as Optuna has them; None where an interval has no end of them."""
    choices = [one.each() for one in parameters]
    if any(values is None for values in choices):
        return None
    keys = [one.key for one in parameters]
    return (
        dict(zip(keys, values, strict=True)) for values in itertools.product(*(v for v in choices if v is not None))
    )


def words(parameters: Sequence[Parameter], point: Mapping[str, Any]) -> list[str]:
    """A point as overrides."""
    return [f"{one.key}={one.text(point[one.key])}" for one in parameters]
