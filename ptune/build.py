"""From a composed configuration to parts: what depends on other settings is filled in, mistakes are collected, leaves built.

`_target_` stands only in leaves (template, prompt, head, procedure, task, backbone); it is looked up in listed
packages and every key is checked against the class's signature. Hydra's `instantiate` is never called.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import yaml
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, ValidationError, create_model

from ptune import compat
from ptune.config import Train
from ptune.errors import ConfigError, PtuneError, nearest

if TYPE_CHECKING:
    import torch

    from ptune.model import Model

T = TypeVar("T")
LEAVES = ("task", "backbone", "method.template", "method.prompt", "method.head", "method.procedure")
METHOD = ("name", "template", "prompt", "head", "procedure", "tune", "lr", "backbone_lr", "prompt_lr", "head_lr")
SHORTEST_TEXT = 128
CHOICES: dict[str, tuple[str, ...]] = {
    "data.source": ("hub", "local", "demo"),
    "data.overflow": ("window", "truncate"),
    "optim.name": ("adamw", "adafactor"),
    "optim.schedule": ("linear", "constant", "exponential"),
    "loss.normalize": ("constant", "batch"),
    "tracker.name": ("wandb", "none"),
    "tracker.mode": ("offline", "online"),
    "prompt_length.lookup": ("paper",),
    "protocol": ("standard", "held_out"),
    "held_out_from": ("train", "dev"),
    "select_on": ("dev", "test", "train", "held_out"),
    "report_on": ("dev", "test", "train"),
    "precision": ("float32", "bfloat16"),
    "method.tune": ("none", "all", "bias"),
    "compat.position_offset": ("length", "none"),
    "compat.pooler": ("published",),
    "compat.selection": ("published",),
    "compat.max_length": ("published",),
    "compat.metric": ("published",),
    "compat.schedule": ("published",),
}
AT_LEAST_ONE = ("epochs", "max_steps", "batch_size", "accumulate", "eval_batch_size", "eval_every", "patience",
                "data.max_length", "data.max_train", "data.max_dev", "data.max_test")
UNTRACKED = ("tracker", "quiet", "resume", "experiment", "device")


def settings(cfg: DictConfig) -> Train:
    """The typed, resolved and checked settings of a composed configuration. Raises ConfigError with all mistakes."""
    found = settings_of(cfg, Train)
    problems = [*resolve(found)]
    problems = problems or [*check(found)]
    if problems:
        raise ConfigError(problems)
    return found


def settings_of(cfg: DictConfig, kind: type[T]) -> T:
    """The typed settings of a command without leaves. Raises ConfigError for what is missing or of the wrong type."""
    try:
        found = OmegaConf.to_object(cfg)
    except MissingMandatoryValue as error:
        key = error.full_key or str(error).rsplit(":", 1)[-1].strip()
        raise ConfigError([f"{key}: must be given, as {key}=..."]) from None
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key}: {str(error).splitlines()[0]}"]) from None
    assert isinstance(found, kind)
    return found


def stored(config: Mapping[str, Any]) -> Train:
    """Settings from a run folder's config.yaml, read as data: no interpolation, no composition."""
    try:
        return Train(**{**config, **{name: kind(**config[name]) for name, kind in _nodes().items()}})
    except (TypeError, KeyError) as error:
        raise PtuneError(f"config.yaml: not a configuration of this version of ptune ({error})") from None


@functools.cache
def _nodes() -> dict[str, Any]:
    hints = get_type_hints(Train)
    return {name: kind for name, kind in hints.items() if hasattr(kind, "__dataclass_fields__")}


# What depends on something else


def resolve(s: Train) -> Iterator[str]:
    """Fill in what other settings decide; yields what cannot be."""
    from ptune.backbones import local

    if s.backbone.get("_target_") == "ptune.backbones.local":
        try:
            s.backbone = local.settings({k: v for k, v in s.backbone.items() if k != "_target_"})
        except PtuneError as error:
            yield str(error)
            return
    compat.apply(s)
    if s.data.root:
        s.data.root = str(Path(s.data.root).expanduser().absolute())  # eval and resume may come from elsewhere
    yield from resolve_length(s)
    for name in ("lr", "backbone_lr", "prompt_lr", "head_lr"):
        if getattr(s.optim, name) is None:
            setattr(s.optim, name, s.method.get(name))


def resolve_length(s: Train) -> Iterator[str]:
    """Give the prompt the value of `prompt_length`, null for methods without one; look it up for `paper`."""
    prompt = s.method["prompt"]
    if "length" not in prompt:
        s.prompt_length.value = s.prompt_length.lookup = None
        return
    given = prompt["length"]
    if given is not None and given != s.prompt_length.value:
        yield "method.prompt.length: prompts take their length from prompt_length.value; set that"
    if s.prompt_length.value is None and s.prompt_length.lookup == "paper":
        task, backbone = str(s.task.get("name")), str(s.backbone.get("name"))
        rows = paper_lengths()
        if (task, backbone) not in rows:
            yield (f"prompt_length=paper: no published script for task {task} with backbone {backbone}; "
                   f"known: {', '.join(f'{t} {b}' for t, b in sorted(rows))}")
            return
        s.prompt_length.value = rows[task, backbone]
    if s.prompt_length.value is None:
        yield "prompt_length.value: must be a number of virtual tokens, as prompt_length.value=20"
    prompt["length"] = s.prompt_length.value


def paper_lengths() -> dict[tuple[str, str], int]:
    """(task, backbone) -> prompt length of the published scripts."""
    rows = yaml.safe_load(files("ptune.assets").joinpath("paper_scripts.yaml").read_text(encoding="utf-8"))["scripts"]
    return {(row["task"], row["backbone"]): row["prompt_length"] for row in rows if row.get("preferred", True)}


# Checks, before any weight is loaded


def check(s: Train) -> Iterator[str]:
    """Every mistake in the settings, one line each: the key, what is wrong, what would be right."""
    values = asdict(s)
    yield from (f"method.{key}: not a setting of a method; {nearest(key, METHOD)}" for key in s.method if key not in METHOD)
    for key, choices in CHOICES.items():
        value = lookup(values, key)
        if value is not None and value not in choices:
            yield f"{key}: '{value}' is not a choice; {nearest(value, choices)}"
    for key in (key for key in METHOD if key.endswith("lr")):
        if not isinstance(s.method.get(key), (int, float, type(None))):
            yield f"method.{key}: {s.method[key]!r} is not a number"
    for key in AT_LEAST_ONE:
        value = lookup(values, key)
        if value is not None and value < 1:
            yield f"{key}: {value} is too small; at least 1"
    if s.prompt_length.value is not None and s.prompt_length.value < 0:
        yield f"prompt_length.value: {s.prompt_length.value} is too small; at least 0"
    if s.data.source == "local" and not s.data.root:
        yield "data.root: must be given with data=local: data.root=DIR, the folder of the corpus's original files"
    leaf_problems = [line for key in LEAVES for line in check_leaf(key, lookup(values, key), s.packages)]
    yield from leaf_problems
    if not leaf_problems:
        yield from check_together(s)


def lookup(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    node: Any = values
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


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
    given = {name: value for name, value in node.items() if name != "_target_"}
    model = signature_model(kind)
    try:
        model.model_validate(given, strict=True)
    except ValidationError as error:
        for problem in error.errors():
            yield f"{key}.{'.'.join(str(part) for part in problem['loc'])}: {told(problem, kind, model.model_fields)}"


def told(problem: Any, kind: type, fields: Mapping[str, Any]) -> str:
    """One of pydantic's findings in our words."""
    if problem["type"] == "extra_forbidden":
        return f"not a setting of {kind.__module__}.{kind.__name__}; {nearest(problem['loc'][-1], fields)}"
    if problem["type"] == "missing":
        return f"must be given; {kind.__module__}.{kind.__name__} needs it"
    if problem["type"] == "literal_error":
        choices = [choice.strip("'") for choice in problem["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"'{problem['input']}' is not a choice; {nearest(problem['input'], choices)}"
    return f"{problem['input']!r} is not {problem['msg'].removeprefix('Input should be ')}"


@functools.cache
def signature_model(kind: type) -> Any:
    """A pydantic model of a leaf's own settings: its signature without what build passes at run time."""
    hints = get_type_hints(inspect.getattr_static(kind, "__init__"))
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in getattr(kind, "runtime", ()) or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    return create_model(kind.__name__, __config__=config, **fields)


def check_together(s: Train) -> Iterator[str]:
    """What fits on its own but not together; each leaf's class speaks for itself through `problems`."""
    backbone, task = leaf(s.backbone, s.packages), leaf(s.task, s.packages)
    for part in ("template", "prompt", "head"):
        kind = target(s.method[part]["_target_"], s.packages)
        given = with_defaults(kind, s.method[part])
        for key, text in kind.problems(given, shape=backbone.shape, task=task):
            yield f"method.{part}.{key}: {text}" if key else f"method/{part}: {text}"
    head = target(s.method["head"]["_target_"], s.packages)
    if head.lm and not backbone.shape.lm_head:
        yield (f"method.head: a {head.__name__.lower()} reads the language-model head, and backbone {backbone.name} "
               "has no LM-head weights; choose method/head=linear or a backbone with them")
    yield from check_positions(s, backbone, task)
    yield from check_metric(s, task)
    if s.optim.lr is None and s.method["procedure"]["_target_"].endswith(".Single"):
        yield f"optim.lr: method {s.method['name']} has no learning rate of its own; set optim.lr"


def check_positions(s: Train, backbone: Any, task: Any) -> Iterator[str]:
    """Prompt and text must fit the model's positions; an unset text length gives way down to SHORTEST_TEXT."""
    taken = prompt_positions(s)
    room = backbone.shape.positions - taken
    wanted = s.data.max_length if s.data.max_length is not None else task.max_length
    least = wanted if s.data.max_length is not None else min(wanted, SHORTEST_TEXT)
    if room < least:
        at_most = backbone.shape.positions - least
        text = "data.max_length" if s.data.max_length is not None else "the least that ptune cuts text to by itself"
        yield (f"prompt_length.value: {taken} + {least} tokens of text ({text}) is more than the "
               f"{backbone.shape.positions} positions of {backbone.name}; at most {max(at_most, 0)}")
    elif s.data.max_length is None:
        s.data.max_length = min(wanted, room)


def prompt_positions(s: Train) -> int:
    """How many positions of the backbone the prompt takes."""
    length = int(s.prompt_length.value or 0)
    return 0 if s.method["prompt"].get("position_offset") == "none" else length


def check_metric(s: Train, task: Any) -> Iterator[str]:
    """The metric that selects must be one the task computes."""
    known = list(task.score_names)
    if s.metric is None:
        s.metric = task.headline
    elif s.metric not in known:
        yield f"metric: {task.name} has no '{s.metric}'; {nearest(s.metric, known)}"


def with_defaults(kind: type, node: Mapping[str, Any]) -> dict[str, Any]:
    """A leaf's settings with its signature's defaults."""
    fields = signature_model(kind).model_fields
    return {name: node.get(name, field.default) for name, field in fields.items()}


# Building


def target(path: str, packages: Iterable[str] = ()) -> Any:
    """The class that `_target_` names. Raises PtuneError outside ptune and the listed packages, or for a wrong name."""
    module, _, name = path.rpartition(".")
    allowed = ("ptune", *packages)
    if module.split(".")[0] not in allowed:
        raise PtuneError(f"'{path}' is in no allowed package ({', '.join(allowed)}); packages=[{path.split('.')[0]}] allows it")
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise
        raise PtuneError(f"there is no module '{module}'") from None
    kind = getattr(loaded, name, None)
    if not isinstance(kind, type):
        classes = [n for n, v in vars(loaded).items() if isinstance(v, type) and v.__module__ == module]
        raise PtuneError(f"'{module}' has no class '{name}'; {nearest(name, classes)}")
    return kind


def leaf(node: Mapping[str, Any], packages: Iterable[str] = (), **runtime: Any) -> Any:
    """Build a leaf from its settings and those run-time parts that its signature asks for."""
    kind = target(str(node["_target_"]), packages)
    asked = inspect.signature(kind).parameters
    given = {name: value for name, value in node.items() if name != "_target_"}
    return kind(**given, **{name: value for name, value in runtime.items() if name in asked})


def as_config(s: Train) -> dict[str, Any]:
    """The settings as plain data, for the run folder."""
    return asdict(s)


def identity(s: Train) -> str:
    """A hash of every setting that can change a figure: runs that share it are the same run."""
    values = {name: value for name, value in asdict(s).items() if name not in UNTRACKED}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def assemble(runs: Sequence[Train], task: Any) -> Model:
    """The model of one or more runs that share a backbone, on its device, weights loaded and prompts drawn from their seeds.

    Raises ConfigError for what only the tokenizer can tell (a label word that is several tokens), before weights.
    """
    import torch

    from ptune.injection import Vocabulary
    from ptune.loop import mix
    from ptune.model import Member, Model

    first = runs[0]
    backbone = leaf(first.backbone, first.packages)
    tokens = backbone.tokens()
    parts = [surroundings(s, task, backbone, tokens) for s in runs]
    backbone.load(lm=any(head.lm for _, head in parts))
    backbone.tune(first.method["tune"])
    members = []
    for s, (template, head) in zip(runs, parts, strict=True):
        torch.manual_seed(mix(s.seed, "prompt"))
        vocabulary = Vocabulary(
            embedding=backbone.base.get_input_embeddings().weight.detach(),
            encode=tokens.encode,
            states=lambda text: backbone.key_values(tokens.encode(text)),
            labels=[label.replace("_", " ") for label in task.labels],
            special=tokens.special_ids,
        )
        prompt = leaf(s.method["prompt"], s.packages, shape=backbone.shape, vocabulary=vocabulary)
        members.append(Member(template, prompt, head))
    model = Model(backbone, members, first.precision)
    if first.gradient_checkpointing:
        backbone.checkpointing()
    model.to(device(first.device))
    if any(member.prompt.place == "layers" for member in members):
        backbone.canary(canary_batch(tokens).to(model.device))
    return model


def surroundings(s: Train, task: Any, backbone: Any, tokens: Any) -> tuple[Any, Any]:
    """The template and the head of a run, which need the tokenizer but no backbone weights."""
    import torch

    from ptune.loop import mix

    prompt, head = (target(s.method[part]["_target_"], s.packages) for part in ("prompt", "head"))
    mask = getattr(head, "reads", None) == "mask"
    if mask and tokens.mask_id is None:
        raise ConfigError([f"method.head: backbone {backbone.name} has no mask token for a verbalizer to read at"])
    template = leaf(
        s.method["template"], s.packages, tokens=tokens, fields=task.fields, patterns=task.patterns, mask=mask,
        slots=int(s.prompt_length.value or 0) if prompt.place == "slots" else 0, overflow=s.data.overflow,
    )
    torch.manual_seed(mix(s.seed, "head"))
    try:
        built = leaf(
            s.method["head"], s.packages, shape=backbone.shape, labels=task.labels, readout=task.readout,
            pooler_weights=backbone.pooler_weights() if backbone.shape.pooler else None,
            verbalizers=task.verbalizers, encode=lambda word: tokens.encode(word, template.mask_lead),
            preferred=template.verbalizer,
        )
    except ValueError as error:
        raise ConfigError([f"task.verbalizers: {error}"]) from None
    return template, built


def canary_batch(tokens: Any) -> Any:
    """A row of ordinary tokens to try a prefix on."""
    from ptune.batch import Row, collate

    ids = [*tokens.frames[1].before, *tokens.encode("a b c"), *tokens.frames[1].after]
    return collate([Row(0, ids, [tokens.frames[1].types[0]] * len(ids), {"cls": [0]})], tokens.pad_id)


def device(name: str) -> torch.device:
    """A device by name; auto is the first GPU, else the CPU. Raises ConfigError for one that is not there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
    except RuntimeError:
        raise ConfigError([f"device: '{name}' is not a device; cpu, cuda or cuda:1 is"]) from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device: no CUDA device here; device=cpu or device=auto"])
    return found
