"""From a composed configuration to a model: what depends on other settings is filled in, then the parts are built.

`_target_` stands only in leaves (template, prompt, head, procedure, task, backbone). Hydra's `instantiate` is never
called.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import yaml
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from ptune import compat, ranks
from ptune.checks import LEAVES, below, check, lookup, unread, unset_length
from ptune.config import Train
from ptune.errors import ConfigError, PtuneError
from ptune.leaves import check_leaf, leaf, signature_model, target, with_defaults
from ptune.where import option

if TYPE_CHECKING:
    import torch

    from ptune.backbones import Backbone
    from ptune.batch import Batch
    from ptune.heads import Head
    from ptune.model import Model
    from ptune.tasks import Task
    from ptune.templates import Template
    from ptune.tokens import Tokens

T = TypeVar("T")
UNTRACKED = (
    "tracker",
    "quiet",
    "resume",
    "experiment",
    "device",
    "time_limit",
    "save_minutes",
    "observer",
    "shard_backbone",
)
UNTRACKED_DATA = ("cache",)
LEAST = 8  # examples of a micro-batch that is trained on beside others


def settings(cfg: DictConfig) -> Train:
    """The typed, resolved and checked settings of a composed configuration. Raises ConfigError with all mistakes."""
    s = settings_of(cfg, Train)
    problems = [*resolve(s)]
    problems = problems or [*unread(s), *check(s)]
    if problems:
        raise ConfigError(problems)
    settle(s)
    return s


def settings_of(cfg: DictConfig, kind: type[T]) -> T:
    """The typed settings of a command without leaves. Raises ConfigError for what is missing or of the wrong type."""
    try:
        s = OmegaConf.to_object(cfg)
    except MissingMandatoryValue as error:
        key = error.full_key or str(error).rsplit(":", 1)[-1].strip()
        raise ConfigError([f"{key}: must be given, as {key}=..."]) from None
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key}: {str(error).splitlines()[0]}"]) from None
    assert isinstance(s, kind)
    return s


def settings_from_file(config: Mapping[str, Any], packages: Sequence[str] = ()) -> Train:
    """Settings from a run folder's config.yaml, read as data: no interpolation, no composition.

    packages: those that the command line lists. A run folder may be a stranger's, so that what it lists itself allows
    nothing. Raises PtuneError for classes of others, and for what is no configuration.
    """
    from ptune.data.source import make_task

    problems = [*_unlike(Train, config)]
    if problems:
        raise PtuneError(f"config.yaml: not a configuration of this version of ptune ({problems[0]})")
    s = _revived(Train, config)
    if unlisted_packages := [name for name in s.packages if name not in packages]:
        raise PtuneError(
            f"the run uses classes from {', '.join(unlisted_packages)}; if you trust that code and this run, add "
            f"packages=[{','.join(s.packages)}]"
        )
    values = asdict(s)
    leaves = {key: lookup(values, key) for key in LEAVES} | ({"observer": s.observer} if s.observer else {})
    problems = [line for key, node in leaves.items() for line in check_leaf(key, node, s.packages)]
    if problems:
        raise PtuneError(f"config.yaml: {problems[0]}")
    make_task(s.task, s.packages)
    return s


def _unlike(kind: type, values: Any, key: str = "") -> Iterator[str]:
    """What keeps plain data from being a dataclass of dataclasses: other names, other types."""
    if not isinstance(values, Mapping):
        yield f"{key}: {type(values).__name__} is not a mapping"
        return
    parts = nested(kind)
    for name, hint in parts.items():
        yield from _unlike(hint, values.get(name), f"{key}{name}.")
    flat_values = {name: value for name, value in values.items() if name not in parts}
    try:
        signature_model(kind, tuple(parts)).model_validate(flat_values, strict=True)
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            yield f"{key}{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def nested(kind: type) -> dict[str, Any]:
    """The fields of a dataclass that are dataclasses."""
    return {name: hint for name, hint in get_type_hints(kind).items() if is_dataclass(hint)}


def _revived(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass of dataclasses from plain data."""
    return kind(**{**values, **{name: _revived(hint, values[name]) for name, hint in nested(kind).items()}})


# What depends on something else


def resolve(s: Train) -> Iterator[str]:
    """Fill in what other settings decide; yields what cannot be."""
    if s.method.get("encoder"):
        s.backbone = dict(s.method["encoder"])
    if s.backbone.get("_target_") == "ptune.backbones.local":
        from ptune.backbones import local

        try:
            s.backbone = local.settings({k: v for k, v in s.backbone.items() if k != "_target_"})
        except PtuneError as error:
            yield str(error)
            return
    compat.apply(s)
    if s.data.root:
        s.data.root = str(Path(s.data.root).expanduser().absolute())  # eval and resume may come from elsewhere
    resolve_head(s)
    if s.method["prompt"].get("from_run"):
        s.method["prompt"]["from_run"] = str(Path(s.method["prompt"]["from_run"]).expanduser().absolute())
    yield from resolve_length(s)
    yield from resolve_tasks(s)
    for name in ("lr", "backbone_lr", "prompt_lr", "head_lr", "weight_decay"):
        if getattr(s.optim, name) is None:
            setattr(s.optim, name, s.method.get(name))
    s.optim.weight_decay = s.optim.weight_decay or 0.0


def settle(s: Train) -> None:
    """Fill in what the task decides in settings without mistakes: the metric that selects, and the length of texts."""
    backbone, task = leaf(s.backbone, s.packages), leaf(s.task, s.packages)
    if s.metric is None:
        s.metric = task.headline
    if s.data.max_length is None:
        s.data.max_length = unset_length(s, backbone, task)


def resolve_head(s: Train) -> None:
    """Take the head that does the given one's work for the task, if there is one; settings that are set go with it."""
    try:
        head, task = (target(str(node.get("_target_")), s.packages) for node in (s.method["head"], s.task))
    except PtuneError:  # which `check` tells
        return
    replacement = getattr(head, "instead", {}).get(getattr(task, "readout", None))
    if replacement is not None:
        defaults = with_defaults(head, {})
        custom_settings = {
            name: value for name, value in s.method["head"].items() if name not in defaults or value != defaults[name]
        }
        s.method["head"] = {**custom_settings, "_target_": replacement}


def resolve_length(s: Train) -> Iterator[str]:
    """Give the prompt the value of `prompt_length`, null for methods without one; look it up for `paper`, and in the
    template for `pattern`."""
    prompt = s.method["prompt"]
    if "tokens" in prompt:  # its own number
        s.prompt_length.value, s.prompt_length.lookup = prompt["tokens"], None
        return
    if "length" not in prompt:
        s.prompt_length.value = s.prompt_length.lookup = None
        return
    length = prompt["length"]
    if length is not None and length != s.prompt_length.value:
        yield "method.prompt.length: prompts take their length from prompt_length.value; set that instead"
    if s.prompt_length.value is None and s.prompt_length.lookup == "paper":
        task, backbone = str(s.task.get("name")), str(s.backbone.get("name"))
        rows = paper_lengths()
        if (task, backbone) not in rows:
            yield (
                f"prompt_length=paper: no published script for task {task} with backbone {backbone}; "
                f"known: {', '.join(f'{t} {b}' for t, b in sorted(rows))}"
            )
            return
        s.prompt_length.value = rows[task, backbone]
    if s.prompt_length.value is None and s.prompt_length.lookup == "pattern":
        nodes = {"method.template": s.method["template"], "backbone": s.backbone, "task": s.task}
        if problems := [line for key, node in nodes.items() for line in check_leaf(key, node, s.packages)]:
            yield from problems
            return
        template, shape = target(s.method["template"]["_target_"], s.packages), leaf(s.backbone, s.packages).shape
        try:
            s.prompt_length.value = template.places(
                s.method["template"], shape, leaf(s.task, s.packages), s.method.get("patterns")
            )
        except ValueError as error:
            yield f"task.patterns: {error}"
            return
    if s.prompt_length.value is None:
        reason = "no pattern gives one; " if s.prompt_length.lookup == "pattern" else ""
        yield f"prompt_length.value: {reason}must be a number of virtual tokens, such as prompt_length.value=20"
    prompt["length"] = s.prompt_length.value


def resolve_tasks(s: Train) -> Iterator[str]:
    """Put the settings of tasks in the place of names that a procedure has, so that the run folder is complete."""
    procedure = s.method.get("procedure")
    if not isinstance(procedure, dict) or not isinstance(names := procedure.get("tasks"), list):
        return
    tasks: dict[str, Any] = {}
    for name in names:
        try:
            task_settings = option("task", name)
        except PtuneError as error:
            yield f"method.procedure.tasks: {error}"
        else:
            compat.apply_to_task(s, task_settings)
            tasks[str(task_settings.get("name", name))] = task_settings
            yield from check_leaf(f"method.procedure.tasks.{name}", task_settings, s.packages)
    procedure["tasks"] = tasks


def paper_lengths() -> dict[tuple[str, str], int]:
    """(task, backbone) -> prompt length of the published scripts."""
    rows = yaml.safe_load(files("ptune.assets").joinpath("paper_scripts.yaml").read_text(encoding="utf-8"))["scripts"]
    return {(row["task"], row["backbone"]): row["prompt_length"] for row in rows if row.get("preferred", True)}


# Building


def as_config(s: Train) -> dict[str, Any]:
    """The settings as plain data, for the run folder."""
    return asdict(s)


def identity(s: Train) -> str:
    """A hash of every setting that can change a figure: runs that share it are the same run.

    Of accumulate=null too, whose number depends on the machine and on what trains beside the run, and dropout on that.
    """
    values = {name: value for name, value in asdict(s).items() if name not in UNTRACKED}
    values["data"] = {name: value for name, value in values["data"].items() if name not in UNTRACKED_DATA}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def runs_in_threads(s: Train) -> bool:
    """Whether micro-batches are trained on at once, as Model.runs_in_threads says when it is there."""
    if s.method["tune"] == "all" or s.gradient_checkpointing or s.backbone.get("quantize"):
        return False
    if s.shard_backbone and ranks.count() > 1:
        return False
    return target(s.backbone["_target_"], s.packages).threads and device(s.device).type == "cpu"


def twice(s: Train) -> bool:
    """Whether texts are embedded twice, which is a property of the whole pass."""
    return bool(s.method["prompt"].get("double_embedding"))


def micro_batches(s: Train, runs: int = 1) -> int:
    """Into how many micro-batches a step is divided, where so many runs train side by side.

    Unless `accumulate` says it: where they are trained on at once, one for each of the threads that torch has alone;
    and as many on every rank.
    """
    if s.accumulate is not None or not runs_in_threads(s):
        return s.accumulate or ranks.count()
    from ptune.threads import all_threads

    per_rank = min(ranks.on_first_rank(all_threads) // runs, s.batch_size // ranks.count() // LEAST)
    return ranks.count() * max(1, per_rank)


def assemble(runs: Sequence[Train], task: Task | Sequence[Task], beside: Sequence[tuple[Train, Task]] = ()) -> Model:
    """The model of one or more runs that share a backbone: on its device, weights loaded, prompts drawn from the seeds.

    task: of all of them, or each one's. beside: settings and task of further members, which have the first
    run's prompt, and a template and a head of their own.
    Raises ConfigError for what only the tokenizer can tell (a label word that is several tokens), before weights.
    """
    import torch

    from ptune.injection import Vocabulary
    from ptune.model import Member, Model
    from ptune.seeds import mix
    from ptune.threads import determinism

    first_run = runs[0]
    determinism(first_run.deterministic)
    for key in ("backbone", "precision", "device", "deterministic", "gradient_checkpointing", "cache_layers"):
        if any(getattr(s, key) != getattr(first_run, key) for s in runs):
            raise ValueError(f"runs with different settings of '{key}' cannot share a backbone")
    if len(runs) > 1 and any(s.method["tune"] != "none" for s in runs):
        raise ValueError("runs that tune the backbone cannot share it")
    backbone = leaf(first_run.backbone, first_run.packages)
    tokens = backbone.tokens()
    tasks = task if isinstance(task, Sequence) else [task] * len(runs)
    parts = [surroundings(s, run_task, backbone, tokens) for s, run_task in zip(runs, tasks, strict=True)]
    extra_parts = [surroundings(s, source_task, backbone, tokens) for s, source_task in beside]
    backbone.load(lm=any(head.lm for _, head in (*parts, *extra_parts)))
    torch.manual_seed(mix(first_run.seed, "adapter"))
    backbone.tune(first_run.method["tune"], first_run.method.get("adapter"))
    members = []
    for s, run_task, (template, head) in zip(runs, tasks, parts, strict=True):
        torch.manual_seed(mix(s.seed, "prompt"))
        vocabulary = Vocabulary(
            embedding=backbone.base.get_input_embeddings().weight.detach(),
            encode=lambda text: tokens.encode(text, lead=True),
            states=lambda text, site: backbone.key_values(tokens.encode(text), site),
            labels=[label.replace("_", " ") for label in run_task.labels],
            special=tokens.special_ids,
            mask=tokens.mask_id,
        )
        prompt = leaf(
            s.method["prompt"],
            s.packages,
            shape=backbone.shape.of(run_task.readout),
            vocabulary=vocabulary,
            prompts=run_task.prompts,
        )
        members.append(Member(template, prompt, head))
    members += [Member(template, members[0].prompt, head) for template, head in extra_parts]
    model = Model(backbone, members, first_run.precision)
    if first_run.gradient_checkpointing:
        backbone.checkpointing()
    if first_run.shard_backbone and ranks.count() > 1:
        backbone.shard(device(first_run.device))
    model.to(device(first_run.device))
    if any(member.prompt.place == "layers" for member in members):
        backbone.canary(canary_batch(tokens).to(model.device))
    if first_run.cache_layers:
        backbone.keep_lower(min(below(s, backbone.shape) for s in runs))
    return model


def surroundings(s: Train, task: Task, backbone: Backbone, tokens: Tokens) -> tuple[Template, Head]:
    """The template and the head of a run, which need the tokenizer but no backbone weights."""
    import torch

    from ptune.seeds import mix
    from ptune.sentences import Sentences

    prompt_class, head_class = (target(s.method[part]["_target_"], s.packages) for part in ("prompt", "head"))
    reads_mask = getattr(head_class, "reads", None) == "mask"
    masked = task.masked if reads_mask else "label"
    if reads_mask and tokens.mask_id is None:
        raise ConfigError([f"method.head: backbone {backbone.name} has no mask token for a verbalizer to read at"])
    template = leaf(
        s.method["template"],
        s.packages,
        tokens=tokens,
        fields=task.fields if masked == "label" else [*task.fields, *task.beside],
        segments=task.segments,
        patterns=task.patterns,
        mask=reads_mask,
        slots=int(s.prompt_length.value or 0) if prompt_class.place == "slots" else 0,
        overflow=s.data.overflow,
        windows=task.windows,
        labels=task.labels,
        verbalizers=task.verbalizers,
        words=s.method["head"].get("name"),
        sentences=lambda folder: Sentences(s.backbone, s.packages, device(s.device), folder),
        masked=masked,
        family=s.method.get("patterns"),
        seed=s.seed,
    )
    writes_text = getattr(head_class, "reads", None) == "text"
    if writes_text and tokens.end_id is None:
        raise ConfigError([f"method.head: the tokenizer of backbone {backbone.name} has no token that ends a text"])
    torch.manual_seed(mix(s.seed, "head"))
    try:
        head = leaf(
            s.method["head"],
            s.packages,
            shape=backbone.shape,
            labels=task.labels,
            readout=task.readout,
            marks=task.marks,
            pooler_weights=backbone.pooler_weights() if backbone.shape.pooler else None,
            verbalizers=task.verbalizers,
            encode=lambda word: tokens.encode(word, template.mask_lead),
            decode=tokens.decode,
            masked=masked,
            preferred=template.verbalizer,
            tokens=tokens,
            longest=task.output_length,
            vocabulary=lambda: tokens.vocabulary(template.mask_lead),
        )
    except ValueError as error:
        raise ConfigError([f"task.verbalizers: {error}"]) from None
    if writes_text:
        template.generating(head.written, task.output_length)
    template.masks = 1 if tokens.sentinel else getattr(head, "masks", 1)
    return template, head


def canary_batch(tokens: Tokens) -> Batch:
    """A row of ordinary tokens to try a prefix on."""
    from ptune.batch import Row, collate

    ids = [*tokens.frames[1].before, *tokens.encode("a b c"), *tokens.frames[1].after]
    return collate([Row(0, ids, [tokens.frames[1].types[0]] * len(ids), {"cls": [0]})], tokens.pad_id)


def slow_in_bfloat16(s: Train) -> bool:
    """Whether a run in bfloat16 is on a CPU without instructions for it, which takes some ten times as long."""
    import torch

    if s.precision != "bfloat16" or device(s.device).type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    feature = "avx512_bw"  # by oneDNN's products
    return capabilities.get("architecture") == "x86_64" and not capabilities.get(feature)


def device(name: str) -> torch.device:
    """A device by name; auto is the first GPU, or the rank's, else the CPU. Raises ConfigError where there is none."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and ranks.count() > 1:
        name = f"cuda:{ranks.gpu(torch.cuda.device_count())}"
    try:
        torch_device = torch.device(name)
    except RuntimeError:
        raise ConfigError([f"device: '{name}' is not a device; use cpu, cuda or cuda:1"]) from None
    if torch_device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(["device: no CUDA device here; use device=cpu or device=auto"])
    return torch_device
