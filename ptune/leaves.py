"""Leaves of a configuration: classes named by `_target_` in listed packages, keys checked against their signatures."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from ptune.errors import PtuneError, nearest

LEAVES = ("backbones", "heads", "procedures", "prompts", "sweeps.search", "tasks", "templates")  # modules of ptune

Chance = Annotated[float, Field(ge=0, lt=1)]  # a probability that is no certainty, as that of dropout


def target(path: str, packages: Iterable[str] = ()) -> Any:
    """The class that `_target_` names. Raises PtuneError outside ptune and the listed packages, or for a wrong name.

    Of ptune's own, those in the folders of leaves; a class is of the package that defines it, not of one that uses it.
    """
    module, _, name = path.rpartition(".")
    allowed = ("ptune", *packages)
    if module.split(".")[0] not in allowed:
        raise PtuneError(
            f"'{path}' is in no allowed package ({', '.join(allowed)}); packages=[{path.split('.')[0]}] allows it"
        )
    try:
        loaded_module = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise
        root = module.split(".")[0]
        hint = (
            "" if root == "ptune" else f"; run with PYTHONPATH=DIR, the folder that {root} is in (PYTHONPATH=. if here)"
        )
        raise PtuneError(f"there is no module '{module}'{hint}") from None
    kind = getattr(loaded_module, name, None)
    if not isinstance(kind, type) or not is_leaf_class(kind, allowed):
        classes = [n for n, v in vars(loaded_module).items() if isinstance(v, type) and v.__module__ == module]
        raise PtuneError(f"'{module}' has no class '{name}'; {nearest(name, classes)}")
    return kind


def is_leaf_class(kind: type, allowed: Iterable[str]) -> bool:
    """Whether a class may be one of a configuration's."""
    package, _, module = kind.__module__.partition(".")
    if package == "ptune":
        return any(f"{module}.".startswith(f"{place}.") for place in LEAVES)
    return package in allowed


def leaf(node: Mapping[str, Any], packages: Iterable[str] = (), **runtime: Any) -> Any:
    """Build a leaf from its settings and those run-time parts that its signature asks for."""
    kind = target(str(node["_target_"]), packages)
    parameters = inspect.signature(kind).parameters
    settings = {name: value for name, value in node.items() if name != "_target_"}
    return kind(**settings, **{name: value for name, value in runtime.items() if name in parameters})


def check_leaf(key: str, node: Any, packages: Iterable[str]) -> Iterator[str]:
    """Bind a leaf's keys to its class's signature, types included."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        yield f"{key}: must be one of its group's options, with a _target_"
        return
    try:
        kind = target(str(node["_target_"]), packages)
    except PtuneError as error:
        yield f"{key}._target_: {error}"
        return
    yield from check_settings(key, kind, {name: value for name, value in node.items() if name != "_target_"})


def check_settings(key: str, kind: Any, given: Mapping[str, Any]) -> Iterator[str]:
    """Bind settings below a key to a signature, types included."""
    model = signature_model(kind)
    try:
        model.model_validate(given, strict=True)
    except ValidationError as error:
        for problem in error.errors():
            yield f"{key}.{path_of(problem)}: {finding_message(problem, kind, model.model_fields)}"


def path_of(problem: Any) -> str:
    """Where one of pydantic's findings is, below the key of what was checked: of a wrong key, what it is a key of."""
    location = problem["loc"]
    return ".".join(str(part) for part in (location[:-2] if location[-1] == "[key]" else location))


def finding_message(problem: Any, kind: Any, fields: Mapping[str, Any]) -> str:
    """One of pydantic's findings in our words."""
    if problem["type"] == "extra_forbidden":
        return f"not a setting of {kind.__module__}.{kind.__name__}; {nearest(problem['loc'][-1], fields)}"
    if problem["type"] == "missing":
        return f"must be given; {kind.__module__}.{kind.__name__} needs it"
    if problem["type"] == "literal_error":
        choices = [choice.strip("'") for choice in problem["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"'{problem['input']}' is not a choice; {nearest(problem['input'], choices)}"
    if problem["type"] == "sequence_str":
        return f"{problem['input']!r} is not a list"
    if problem["type"] == "string_type" and isinstance(value := problem["input"], bool | int | float):
        return quoting_hint(value)
    return f"{problem['input']!r} is not {problem['msg'].removeprefix('Input should be ')}"


def quoting_hint(value: float) -> str:
    """That a text is needed, of one that YAML takes for something else unless it is quoted."""
    if not isinstance(value, bool):
        return f"{value} is a number where a text is needed; quote it in the yaml: '{value}'"
    boolean, words = ("true", ("yes", "on")) if value else ("false", ("no", "off"))
    return f"{boolean} where a text is needed; YAML reads {' and '.join(words)} as {boolean}, so quote it: '{words[0]}'"


@functools.cache
def signature_model(kind: Any, aside: tuple[str, ...] = ()) -> Any:
    """A pydantic model of a leaf's own settings: its signature without what build passes at run time.

    Of a function too, whose parameters `aside` are no settings. Names that a signature does not have are settings where
    it takes any.
    """
    function = inspect.getattr_static(kind, "__init__") if isinstance(kind, type) else kind
    hints = get_type_hints(function, include_extras=True)
    aside += tuple(getattr(kind, "runtime", ()))
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in aside or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}
    extra: Any = "allow" if inspect.Parameter.VAR_KEYWORD in kinds else "forbid"
    config = ConfigDict(extra=extra, arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(kind.__name__, __config__=config, **fields)


def with_defaults(kind: type, node: Mapping[str, Any]) -> dict[str, Any]:
    """A leaf's settings with its signature's defaults."""
    fields = signature_model(kind).model_fields
    return {name: node.get(name, field.default) for name, field in fields.items()}
