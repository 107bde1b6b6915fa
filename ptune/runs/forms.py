"""The forms of a run folder's files, as far as reports rely on them; a file of another form is damaged, or no run's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ptune.errors import PtuneError

Number = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Cost = Annotated[float, Field(ge=0, le=1e40, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Seed = Annotated[int, Field(ge=-(2**64), le=2**64)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)] | None


class Parameters(TypedDict):
    """How many numbers learn and are stored, see accounting."""

    trained: Count
    stored: Count
    bytes: Count


class Seconds(TypedDict):
    """What a run took."""

    training: Cost


class Point(TypedDict):
    """One moment of training."""

    report: dict[str, Number]
    breakdowns: NotRequired[dict[str, str]]
    epoch: NotRequired[Number]


class Result(TypedDict):
    """result.json."""

    method: str
    tune: str
    task: str
    backbone: str
    prompt_length: Count | None
    seed: Seed
    synthetic: bool
    metric: str
    select_on: str
    report_on: str
    selected_on_reported: bool
    score: Number
    selected: NotRequired[Number]
    steps: Count
    best: Point
    last: Point
    interval: NotRequired[Interval]
    majority: Number
    parameters: Parameters
    seconds: Seconds
    flop: NotRequired[dict[str, Cost | None] | None]
    caveat: NotRequired[str | None]
    weights: NotRequired[dict[str, dict[str, str | None] | str | None]]
    data: NotRequired[dict[str, Any]]
    checksums: NotRequired[dict[str, str]]


class Config(TypedDict, total=False):
    """config.yaml."""

    method: dict[str, Any]
    task: dict[str, Any]
    data: dict[str, Any]
    loss: dict[str, Any]
    protocol: str
    held_out_seed: Seed | None
    packages: list[str]


class Environment(TypedDict, total=False):
    """env.json."""

    overrides: list[str]
    packages: dict[str, str]
    code: str | None


class Event(TypedDict):
    """An evaluation in metrics.jsonl."""

    epoch: Number
    selected: Number
    split: str
    metric: str
    seconds: NotRequired[Number]


class Split(TypedDict):
    """A line of splits.jsonl."""

    split: str
    examples: Count


class Label(TypedDict):
    """Of a breakdown."""

    label: Any
    f1: NotRequired[Number]
    gold: NotRequired[Count]


class Confusion(TypedDict):
    """Of a breakdown."""

    gold: Any
    predicted: Any
    count: Count


class Wrong(TypedDict):
    """An example of a breakdown that was answered wrongly."""

    right: Number


class Breakdown(TypedDict, total=False):
    """A file in breakdowns/."""

    metric: str
    labels: list[Label]
    confusions: list[Confusion]
    by: dict[str, list[dict[str, Any]]]
    errors: list[Wrong]


class Space(TypedDict, total=False):
    """What a search searches for one setting: values, or the numbers from low to high."""

    values: list[Any]
    low: Number
    high: Number
    step: Number
    whole: bool
    log: bool


class Trial(TypedDict):
    """A job of a search."""

    job: Count
    state: Literal["complete", "pruned", "failed", "unfinished"]
    folder: str
    params: dict[str, Any]


class Search(TypedDict):
    """search.json."""

    space: dict[str, Space]
    trials: list[Trial]


FORMS = {form.__name__: TypeAdapter(form) for form in (Result, Config, Environment, Event, Split, Breakdown, Search)}


def check(form: type, value: Any, path: Path) -> None:
    """Raises PtuneError, which names the file, for a value of another form; what a form does not name may be there."""
    try:
        FORMS[form.__name__].validate_python(value, strict=True)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise PtuneError(f"{path}: damaged ({place}: {problem['msg']})"[:500]) from None
