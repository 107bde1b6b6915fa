"""Every mistake in the settings of a run, found before any weight is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptune import quantized, secrets
from ptune.adapters import ADAPTERS, problems
from ptune.config import Data, Optim, Train
from ptune.errors import nearest
from ptune.leaves import check_leaf, leaf, target, with_defaults
from ptune.runs.folder import RunFolder

if TYPE_CHECKING:
    from ptune.backbones import Backbone
    from ptune.injection import Shape
    from ptune.tasks import Task

LEAVES = ("task", "backbone", "method.template", "method.prompt", "method.head", "method.procedure")
PROCEDURES = ("task", "backbone", "method.procedure")  # what a procedure has to have, to say that a task is not for it
METHOD = (
    *("name", "template", "prompt", "head", "procedure", "encoder", "tune", "adapter", "patterns"),
    *("lr", "backbone_lr", "prompt_lr", "head_lr", "weight_decay"),
)
SHORTEST_TEXT = 128
NEEDED = ("method.name", "method.tune")
RATES = ("lr", "backbone_lr", "prompt_lr", "head_lr")
AT_LEAST_ZERO = (
    *(f"optim.{key}" for key in (*RATES, "weight_decay", "eps", "warmup")),
    *("time_limit", "save_minutes"),
)
LARGEST = 3.4e38  # of float32
ABOVE_ZERO = ("optim.clip", "optim.gamma")
CHOICES: dict[str, tuple[str, ...]] = {
    "data.source": ("hub", "local", "demo"),
    "data.overflow": ("window", "truncate"),
    "optim.name": ("adamw", "adam", "adafactor"),
    "optim.schedule": ("linear", "constant", "exponential"),
    "loss.normalize": ("constant", "batch"),
    "tracker.name": ("wandb", "none"),
    "tracker.mode": ("offline", "online"),
    "prompt_length.lookup": ("paper", "pattern"),
    "protocol": ("standard", "held_out", "few_shot"),
    "ties": ("first", "last"),
    "held_out_from": ("train", "dev"),
    "select_on": ("dev", "test", "train", "held_out"),
    "report_on": ("dev", "test", "train"),
    "precision": ("float32", "bfloat16"),
    "method.tune": ("none", "all", "bias", *ADAPTERS),
    "compat.position_offset": ("length", "none"),
    "compat.pooler": ("published",),
    "compat.selection": ("published",),
    "compat.predicate": ("published",),
    "compat.max_length": ("published",),
    "compat.overflow": ("published",),
    "compat.metric": ("published",),
    "compat.schedule": ("published",),
    "compat.format": ("published",),
    "compat.candidates": ("published",),
    "compat.padding": ("published",),
    "compat.batches": ("published",),
}
AT_LEAST_ONE = (
    "epochs",
    "max_steps",
    "batch_size",
    "accumulate",
    "eval_batch_size",
    "batch_tokens",
    "eval_every",
    "patience",
    "data.max_length",
    "data.per_class",
    "data.max_train",
    "data.max_dev",
    "data.max_test",
)


def check(s: Train) -> Iterator[str]:
    """Every mistake in the settings, one line each: the key, what is wrong, what would be right."""
    values = asdict(s)
    yield from secrets.problems(values)
    yield from (
        f"method.{key}: not a setting of a method; {nearest(key, METHOD)}" for key in s.method if key not in METHOD
    )
    for key, choices in CHOICES.items():
        value = lookup(values, key)
        if key in ("select_on", "report_on"):
            choices = (*choices, *(split for split in second(s.task) if split not in choices))
        if value is not None and value not in choices:
            yield f"{key}: '{value}' is not a choice; {nearest(value, choices)}"
    yield from check_numbers(values)
    for key in NEEDED:
        if not isinstance(lookup(values, key), str):
            options = f", one of: {', '.join(CHOICES[key])}" if key in CHOICES else ""
            yield f"{key}: must be given{options}"
    if not isinstance(s.method.get("patterns"), (str, type(None))):
        yield (
            f"method.patterns: {s.method['patterns']!r} is not a name, such as ptuning for patterns ptuning, "
            "ptuning2, ..."
        )
    yield from too_small({key: lookup(values, key) for key in AT_LEAST_ONE})
    if s.prompt_length.value is not None and s.prompt_length.value < 1:
        yield (
            f"prompt_length.value: {s.prompt_length.value} is too small; at least 1, or no prompt with "
            "method=linear_probe"
        )
    if s.data.source == "local" and not s.data.root:
        yield "data.root: must be given with data=local: data.root=DIR, the folder of the corpus's original files"
    yield from unread_root(s.data)
    leaves = {key: lookup(values, key) for key in LEAVES} | ({"observer": s.observer} if s.observer else {})
    leaf_problems = {key: [*check_leaf(key, value, s.packages)] for key, value in leaves.items()}
    procedure_problems = [] if any(leaf_problems[key] for key in PROCEDURES) else [*check_procedure(s)]
    if procedure_problems or any(leaf_problems.values()):
        yield from procedure_problems or (line for lines in leaf_problems.values() for line in lines)
    else:
        yield from check_together(s)


def unread_root(data: Data | None) -> Iterator[str]:
    """A folder of original files is given beside a source that does not read it."""
    if data is not None and data.root and data.source != "local":
        yield f"data.root: only used with data=local; leave it out, or add data=local for {data.root}"


def unread(s: Train) -> Iterator[str]:
    """What is held out, and what selects, where the protocol says otherwise; a stage has them of the run around it."""
    if s.protocol in ("standard", "few_shot"):
        for key in ("held_out_from", "held_out_share", "held_out_seed"):
            if getattr(s, key) != getattr(Train, key):
                yield f"{key}: is only used with protocol=held_out"
    if s.protocol in ("held_out", "few_shot") and s.select_on not in (Train.select_on, "held_out"):
        yield f"select_on: protocol={s.protocol} selects on the examples it holds out; leave select_on out"


def too_small(values: Mapping[str, int | None]) -> Iterator[str]:
    """Numbers of things that are no number of things."""
    for key, value in values.items():
        if value is not None and value < 1:
            yield f"{key}: {value} is too small; at least 1"


def check_numbers(values: Mapping[str, Any]) -> Iterator[str]:
    """Numbers that train backwards, or nothing."""
    for key in (*RATES, "weight_decay"):  # which become those of the optimizer
        if not isinstance(lookup(values, f"method.{key}"), (int, float, type(None))):
            yield f"method.{key}: {lookup(values, f'method.{key}')!r} is not a number"
    for key in AT_LEAST_ZERO:
        value = lookup(values, key)
        if isinstance(value, (int, float)) and not 0 <= value < math.inf:
            yield f"{key}: {value:g} is not a finite number of at least 0"
    for key in ABOVE_ZERO:
        value = lookup(values, key)
        if value is not None and not 0 < value < math.inf:
            hint = "; null leaves gradients as they are" if key == "optim.clip" else ""
            yield f"{key}: {value:g} is not a finite number above 0{hint}"
    share = lookup(values, "held_out_share")
    if not 0 < share < 1:
        yield f"held_out_share: {share:g} is not a share of the examples; use one above 0 and below 1, such as 0.1"
    betas = lookup(values, "optim.betas")
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        yield f"optim.betas: {betas} is not two numbers of at least 0 and below 1"
    else:
        for key in RATES:  # which Adam's first step divides by 1 - betas[0]
            rate = lookup(values, f"optim.{key}")
            if isinstance(rate, (int, float)) and LARGEST < rate / (1 - betas[0]) < math.inf:
                yield f"optim.{key}: {rate:g} is too large for a step in float32"
    if lookup(values, "optim.name") == "adafactor":
        for key in ("betas", "eps"):
            if lookup(values, f"optim.{key}") != getattr(Optim(), key):
                yield f"optim.{key}: Adafactor does not use it; leave it out or set optim.name=adamw"


def check_procedure(s: Train) -> Iterator[str]:
    """Why the procedure is not for the task, if it is not; other settings that do not fit may be due to that."""
    backbone, task = leaf(s.backbone, s.packages), leaf(s.task, s.packages)
    findings = target(s.method["procedure"]["_target_"], s.packages).problems(s, backbone.shape, task)
    yield from (f"{key}: {text}" for key, text in findings if key in ("method", "method/procedure"))


def second(task: Mapping[str, Any]) -> list[str]:
    """The splits beside train, dev and test that a task's sources have, as MNLI's dev_mismatched and Brown's test."""
    source = task.get("source")
    if not isinstance(source, Mapping):
        return []  # which the leaf's own check tells
    layouts, hub = source.get("layouts"), source.get("hub")
    all_layouts = [source, *(layouts.values() if isinstance(layouts, Mapping) else ())]
    split_maps = [layout.get("files") for layout in all_layouts if isinstance(layout, Mapping)]
    split_maps += [hub.get("splits")] if isinstance(hub, Mapping) else []
    return list(dict.fromkeys(str(split) for splits in split_maps if isinstance(splits, Mapping) for split in splits))


def lookup(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    node: Any = values
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def check_transfer(s: Train) -> Iterator[str]:
    """A prompt means nothing to another backbone than that which it was trained with."""
    run = s.method["prompt"].get("from_run")
    if not run or not (Path(run) / "config.yaml").is_file():  # which building the prompt complains of
        return
    folder = RunFolder(run)
    source = folder.read_config().get("backbone")
    if not isinstance(source, Mapping) or any(source.get(key) != s.backbone.get(key) for key in ("name", "checkpoint")):
        name, trained = s.backbone.get("name"), lookup({"backbone": source}, "backbone.name")
        yield (
            f"method.prompt.from_run: the prompt of {run} was trained with backbone {trained}, but this run has {name}"
        )
    elif folder.file("result.json").is_file():
        trained = lookup(folder.read_json("result.json"), "weights.backbone.sha256")
        if trained and trained != leaf(s.backbone, s.packages).origin()["sha256"]:
            yield (
                f"method.prompt.from_run: the prompt of {run} was trained with other weights of "
                f"{s.backbone['name']}; use the checkpoint whose sha256 begins with {trained[:12]}"
            )


def check_together(s: Train) -> Iterator[str]:
    """What fits on its own but not together; each leaf's class speaks for itself through `problems`."""
    from ptune.data.sampling import check_classes
    from ptune.data.source import source_problems
    from ptune.runs.track import problems as tracker_problems

    backbone, task = leaf(s.backbone, s.packages), leaf(s.task, s.packages)
    yield from (f"task.{key}: {text}" for key, text in (*task.problems(), *source_problems(task)))
    procedure = target(s.method["procedure"]["_target_"], s.packages)
    uses_model = procedure.backbone or s.method.get("encoder")  # else nobody renders, injects or reads
    for part in ("template", "prompt", "head") if uses_model else ():
        part_class = target(s.method[part]["_target_"], s.packages)
        part_settings = with_defaults(part_class, s.method[part])
        for key, text in part_class.problems(part_settings, shape=backbone.shape.of(task.readout), task=task):
            yield f"method.{part}.{key}: {text}" if key else f"method/{part}: {text}"
    yield from check_transfer(s)
    if s.tracker.name == "wandb":
        yield from tracker_problems(s.tracker)
    head, template = (target(s.method[part]["_target_"], s.packages) for part in ("head", "template"))
    if getattr(head, "reads", None) == "marks" and not template.marks:
        yield "method/head: this head reads marked words only in the plain template; use method/template=plain"
    if getattr(head, "reads", None) == "text" and s.method["prompt"].get("double_embedding"):
        yield "method.prompt.double_embedding: not supported with heads that write texts; leave it out"
    if task.masked != "label" and (getattr(head, "reads", None) == "mask") != template.fills:
        yield (
            f"method/template: patterns and a verbalizer of {task.name} are only used together; use "
            f"method/template={'plain' if template.fills else 'pattern'}"
        )
    if head.lm and not backbone.shape.lm_head:
        yield (
            f"method.head: a {head.__name__.lower()} reads the language-model head, but backbone {backbone.name} "
            "has no weights for it; choose method/head=linear or a backbone that has them"
        )
    for key in ("dropout", "attention_dropout"):
        if getattr(backbone, key) and not getattr(backbone, f"{key}s"):
            yield f"backbone.{key}: {type(backbone).__name__} has no such setting; leave it out"
    yield from check_positions(s, backbone, task)
    yield from check_adapter(s.method["tune"], s.method.get("adapter"))
    yield from (f"backbone.quantize: {text}" for text in quantized.problems(backbone.quantize, s.method["tune"]))
    yield from check_lower(s, backbone)
    yield from check_shards(s, backbone)
    yield from check_metric(s, task)
    yield from check_classes(s.data, task)
    if s.protocol == "few_shot" and s.data.per_class is None:
        yield (
            "data.per_class: must be given with protocol=few_shot: data.per_class=K, the examples of each "
            "class to train on"
        )
    yield from (f"{key}: {text}" for key, text in procedure.problems(s, backbone.shape, task))
    prompt = target(s.method["prompt"]["_target_"], s.packages)
    if prompt.discrete and not procedure.searches:
        yield "method/prompt: words of the vocabulary are searched, not trained; use method=autoprompt"
    if procedure.trains and s.method["head"].get("calibrate"):
        yield "method.head.calibrate: only for methods that train nothing, such as zero_shot; leave it out"
    if procedure.trains and s.optim.lr is None:
        yield f"optim.lr: method {s.method['name']} has no default learning rate; set optim.lr"
    if procedure.trains and not head.learns and prompt.place == "none" and s.method["tune"] == "none":
        yield "method.tune: 'none' trains nothing with this head and no prompt; did you mean 'all'?"


def check_positions(s: Train, backbone: Backbone, task: Task) -> Iterator[str]:
    """Prompt and text must fit the model's positions; an unset text length gives way down to SHORTEST_TEXT."""
    prompt_tokens, output_tokens = prompt_positions(s, backbone.shape), written_positions(s, backbone.shape, task)
    is_set = s.data.max_length is not None
    max_length = s.data.max_length if s.data.max_length is not None else row_length(s, task)
    shortest, reason = task.shortest
    if max_length < shortest:
        key = "data.max_length" if is_set else "task.max_length"
        yield f"{key}: {max_length} is too small for {task.name}; at least {shortest} ({reason})"
        return
    min_length = max_length if is_set else max(min(max_length, SHORTEST_TEXT), shortest)
    if text_positions(s, backbone.shape, task) < min_length:
        max_prompt = backbone.shape.positions - min_length - output_tokens
        unset_reason = reason if min_length == shortest else "the least that ptune cuts text to by itself"
        text = "data.max_length" if is_set else unset_reason
        yield (
            f"prompt_length.value: {prompt_tokens} + {min_length} tokens of text ({text})"
            f"{f' + {output_tokens} to be written' if output_tokens else ''} is more than the "
            f"{backbone.shape.positions} positions of {backbone.name}; at most {max(max_prompt, 0)}"
        )


def unset_length(s: Train, backbone: Backbone, task: Task) -> int:
    """What data.max_length comes to where it is not set and `check_positions` finds nothing wrong."""
    return min(row_length(s, task), text_positions(s, backbone.shape, task))


def row_length(s: Train, task: Task) -> int:
    """How many tokens of text the template takes for the task where there is room."""
    template = target(s.method["template"]["_target_"], s.packages)
    return int(template.row_length(s.method["template"], task))


def text_positions(s: Train, shape: Shape, task: Task) -> int:
    """How many positions of the backbone are left for text."""
    return int(shape.positions) - prompt_positions(s, shape) - written_positions(s, shape, task)


def written_positions(s: Train, shape: Shape, task: Task) -> int:
    """How many positions, behind the text, are for what is written."""
    reads = getattr(target(s.method["head"]["_target_"], s.packages), "reads", None)
    writes_text = reads == "text" or (reads == "mask" and task.masked == "text")
    return int(task.output_length) if writes_text and shape.causal else 0


def check_adapter(tune: str, given: Any) -> Iterator[str]:
    """An adapter's settings are those of its class, and of no use without it."""
    if given is not None and (tune not in ADAPTERS or not isinstance(given, Mapping)):
        yield (
            f"method.adapter: must be a mapping of settings, and is only used with method.tune={' or '.join(ADAPTERS)}"
        )
    elif tune in ADAPTERS:
        yield from (f"method.adapter.{key}: {text}" for key, text in problems(tune, given or {}))


def below(s: Train, shape: Shape) -> int:
    """How many of the lowest layers know nothing of the prompt."""
    layer_count: int = target(s.method["prompt"]["_target_"], s.packages).below(s.method["prompt"], shape)
    return layer_count


def check_shards(s: Train, backbone: Backbone) -> Iterator[str]:
    """What is divided among ranks stays as it is."""
    if not s.shard_backbone:
        return
    if s.method["tune"] == "all":
        yield f"shard_backbone: only a frozen backbone can be divided; leave it out with method {s.method['name']}"
    if backbone.quantize is not None:
        yield "shard_backbone: not supported for a quantized backbone; leave it or backbone.quantize out"
    if s.cache_layers:
        yield "shard_backbone: not supported beside cache_layers=true; leave one of them out"


def check_lower(s: Train, backbone: Backbone) -> Iterator[str]:
    """Only frozen layers below the lowest prompted one can be left out."""
    if not s.cache_layers:
        return
    if s.method["tune"] != "none":
        yield f"cache_layers: method {s.method['name']} tunes the backbone; leave it out"
    elif not backbone.stacked:
        yield (
            f"cache_layers: not supported for {type(backbone).__name__}, whose layers are not a plain stack; "
            "leave it out"
        )
    elif below(s, backbone.shape) == 0:
        layers, first_layer = backbone.shape.layers, max(2, backbone.shape.layers * 3 // 4 + 1)
        hint = (
            f"method.prompt.layers={first_layer}-{layers}" if first_layer < layers else f"method.prompt.layers={layers}"
        )
        is_deep = target(s.method["prompt"]["_target_"], s.packages).place == "layers"
        yield f"cache_layers: no layer is below the prompt; {f'{hint} leaves some' if is_deep else 'leave it out'}"


def prompt_positions(s: Train, shape: Shape) -> int:
    """How many positions of the backbone the prompt takes."""
    length, offset = int(s.prompt_length.value or 0), s.method["prompt"].get("position_offset")
    return 0 if offset == "none" or (offset and shape.decoder_layers) else length


def check_metric(s: Train, task: Task) -> Iterator[str]:
    """The metric that selects, where one is given, must be one the task computes."""
    metric_names = list(task.score_names)
    if s.metric is not None and s.metric not in metric_names:
        yield f"metric: {task.name} has no metric '{s.metric}'; {nearest(s.metric, metric_names)}"
