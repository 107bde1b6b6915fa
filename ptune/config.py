"""The schema of every setting that is not a leaf's own; leaves are checked against their class in `leaves`.

Defaults live here, once, and in the yaml files of `conf/`; a run folder stores the complete, resolved result.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


def setting(default: Any, meaning: str) -> Any:
    """A field of a schema: its default, or the class that makes it, and the line that `--help` shows of it."""
    metadata = {"help": meaning}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class PromptLength:
    """How many virtual tokens the prompt has."""

    value: int | None = setting(None, "the number of tokens")
    lookup: str | None = setting(None, "where to look it up: paper (the published script) | pattern (its slots)")


@dataclass
class Demo:
    """The demo corpus that data=demo writes: rows per split and how hard it is."""

    train: int | None = setting(None, "rows; null: the corpus's own number")
    dev: int | None = setting(None, "rows, likewise")
    test: int | None = setting(None, "rows, likewise")
    noise: float = setting(0.0, "share of sentences damaged by typos and lost capitals")
    distractors: int = setting(2, "facts about other things in a passage")
    length: int = setting(4, "facts that matter in a passage")


@dataclass
class Data:
    """Where the corpora come from, and how much of each split is used."""

    source: str = setting("hub", "hub | local | demo; set by data=hub and so on")
    root: str | None = setting(None, "folder of the original files, for data=local")
    layout: str | None = setting(
        None, "for a corpus distributed in several layouts; null: the first in the task's yaml"
    )
    seed: int = setting(0, "seed of the demo world")
    demo: Demo = setting(Demo, "the corpus that data=demo writes")
    max_length: int | None = setting(None, "tokens of text per row; null: the task's")
    lenient: bool = setting(False, "skip broken records and report how many; cannot help if a whole file is broken")
    overflow: str = setting("window", "for longer sentences of tagging tasks and longer contexts: window | truncate")
    cache: bool = setting(True, "cache splits on disk, from 16,384 examples (parsed) and 1,024 examples (tokenized)")
    bucket: bool = setting(True, "put examples of similar length in a batch")
    draw: int | None = setting(None, "seed for sampling max_train or per_class examples; null: take the first ones")
    draw_order: str | None = setting(
        None, "numpy: sample as LM-BFF does, by shuffling the whole file; null: ptune's way"
    )
    per_class: int | None = setting(None, "use this many train examples of each class; null: all")
    max_train: int | None = setting(
        None, "use this many examples, keeping groups (MultiRC's questions) whole; null: all"
    )
    max_dev: int | None = setting(None, "likewise for dev")
    max_test: int | None = setting(None, "likewise for test")

    @property
    def tokens(self) -> int:
        """`max_length` of a run's settings, which are settled (see `build.settle`)."""
        assert self.max_length is not None
        return self.max_length


@dataclass
class Optim:
    """The optimizer and its schedule."""

    name: str = setting("adamw", "adamw | adam | adafactor")
    lr: float | None = setting(None, "learning rate; null: the method's own")
    backbone_lr: float | None = setting(None, "for backbone weights; null: lr")
    prompt_lr: float | None = setting(None, "for prompts; null: lr")
    head_lr: float | None = setting(None, "for heads; null: lr")
    weight_decay: float | None = setting(None, "null: the method's own, else 0")
    betas: list[float] = setting([0.9, 0.999], "of AdamW")
    eps: float = setting(1e-8, "of AdamW")
    clip: float | None = setting(1.0, "largest gradient norm; null: no clipping")
    schedule: str = setting("linear", "linear | constant | exponential")
    gamma: float = setting(0.95, "factor of the exponential schedule, applied once per epoch")
    warmup: float = setting(0.0, "below 1 a share of all steps, otherwise a number of steps")


@dataclass
class Loss:
    """How a step's loss is normalized."""

    normalize: str = setting("constant", "divide by the expected labels per step (constant) or the batch's own (batch)")


@dataclass
class Tracker:
    """W&B beside the run folder's own record; never prompts, never ends a run."""

    name: str = setting("wandb", "wandb | none")
    mode: str = setting("offline", "offline | online")
    project: str = setting("ptune", "W&B project")
    entity: str | None = setting(None, "W&B user or team")
    group: str | None = setting(None, "W&B group")
    tags: list[str] = setting([], "W&B tags")
    samples: int = setting(16, "predictions shown per evaluation")


@dataclass
class Compat:
    """One key a row of the published P-Tuning v2 code's quirks; null and false leave ptune's own behavior."""

    position_offset: str | None = None
    pooler: str | None = None
    init_std: float | None = None
    dropout: float | None = None
    freeze_finetune: bool = False
    double_embedding: bool = False
    selection: str | None = None
    max_length: str | None = None
    overflow: str | None = None
    predicate: str | None = None
    metric: str | None = None
    schedule: str | None = None
    format: str | None = None
    candidates: str | None = None
    padding: str | None = None
    batches: str | None = None


PACKAGES = "more packages whose classes may be used; counts on the command line only"
DEVICE = "auto (a GPU if there is one), or a device of torch: cpu, cuda:1"
QUIET = "print no progress"


@dataclass
class Train:
    """Every setting of `ptune train`."""

    method: dict[str, Any] = MISSING
    backbone: dict[str, Any] = MISSING
    task: dict[str, Any] = MISSING
    prompt_length: PromptLength = setting(PromptLength, "how many virtual tokens the prompt has")
    data: Data = setting(Data, "where the corpus comes from, and how much of it is used")
    optim: Optim = setting(Optim, "the optimizer and its schedule")
    loss: Loss = setting(Loss, "how the loss of a step is normalized")
    tracker: Tracker = setting(Tracker, "W&B, beside the run folder's own record")
    compat: Compat = field(default_factory=Compat)
    experiment: str | None = None  # the name of the preset, for the record

    seed: int = setting(1, "of initial values, data order and dropout")
    epochs: int = setting(10, "passes over the training data")
    max_steps: int | None = setting(None, "end training after this many steps, if epochs would take more")
    batch_size: int = setting(16, "examples per step, over all micro-batches")
    accumulate: int | None = setting(
        None, "micro-batches per step; null: 1 per rank, or (CPU, frozen backbone) 1 per thread of at least 8 examples"
    )
    eval_batch_size: int = setting(64, "rows per evaluation batch")
    batch_tokens: int | None = setting(None, "most tokens per pass, with padding, without prompts; null: no limit")
    eval_every: int | None = setting(None, "steps between evaluations; null: once per epoch")
    patience: int | None = setting(None, "stop after this many evaluations without a better score; null: never")
    ties: str = setting("first", "first | last: which of several evaluations with the best score is the best")
    metric: str | None = setting(None, "what selects the best evaluation; null: the task's main metric")
    protocol: str = setting(
        "standard",
        "standard | held_out: select on a part of train, or on half of dev | few_shot: on as many others per class",
    )
    held_out_from: str = setting("train", "for protocol=held_out: train | dev")
    held_out_share: float = setting(0.1, "for protocol=held_out: share of train (of dev it is half)")
    held_out_seed: int | None = setting(None, "for protocol=held_out: seed of the split; null: the run's seed")
    select_on: str = setting("dev", "split that selects the best evaluation: dev | test | train | held_out")
    report_on: str | None = setting(
        None, "split that is reported: dev | test | train; null: test if it has labels, else dev"
    )
    precision: str = setting("float32", "float32 | bfloat16 (autocast; frozen weights are stored in bfloat16)")
    gradient_checkpointing: bool = setting(False, "less memory, more time")
    shard_backbone: bool = setting(
        False,
        "several GPUs: each holds a part of a frozen backbone (FSDP2); slower, for one that none of them can hold",
    )
    cache_layers: bool = setting(False, "cache the output of frozen layers below the prompt: faster, no dropout there")
    deterministic: bool = setting(
        True, "the same bits each time on the same machine; false: allow faster GPU algorithms"
    )
    device: str = setting("auto", DEVICE)
    resume: str | None = setting(None, "a run folder to continue")
    time_limit: float | None = setting(None, "minutes after which the run saves and exits with code 75, to be resumed")
    save_minutes: float = setting(10.0, "longest time between checkpoints; every evaluation writes one, too")
    quiet: bool = setting(False, QUIET)
    packages: list[str] = setting([], PACKAGES)
    observer: dict[str, Any] = setting({}, "class that sees each evaluation and may end the run, by _target_")


@dataclass
class Eval:
    """Settings of `ptune eval`: a finished run on one of its task's splits, or on those of another task."""

    run: str = setting(MISSING, "a finished run's folder, or several whose prompts vote: A,B,C")
    split: str | None = setting(None, "which split to score; null: the one that the run reports")
    task: dict[str, Any] | None = setting(None, "another task with the run's labels; null: the run's own")
    data: Data | None = setting(None, "where that task's data comes from; null: as in the run")
    batch_size: int = setting(64, "rows per batch")
    device: str = setting("auto", DEVICE)
    quiet: bool = setting(False, QUIET)
    packages: list[str] = setting([], PACKAGES)


@dataclass
class Predict:
    """Settings of `ptune predict`: text or jsonl in, jsonl out, or a leaderboard's files."""

    run: str = setting(MISSING, "a finished run's folder, or several that share a backbone: A,B")
    input: str = setting("-", "file of texts, tsv or jsonl; -: standard input")
    output: str = setting("-", "jsonl file, or a folder for submission=true; -: standard output, or RUN/submission")
    submission: bool = setting(False, "write the leaderboard's files for the task's test split")
    task: dict[str, Any] | None = setting(
        None, "for submission: another task with the run's labels; null: the run's own"
    )
    data: Data | None = setting(None, "for submission: where its rows come from; null: as in the run")
    scheme: str | None = setting(None, "write tags as iob1 | iob2 | bioes | bilou; null: as predicted")
    batch_size: int = setting(64, "rows per batch")
    device: str = setting("auto", DEVICE)
    quiet: bool = setting(False, QUIET)
    packages: list[str] = setting([], PACKAGES)


@dataclass
class Ls:
    """Settings of `ptune ls`."""

    group: str | None = setting(None, "the group to list, such as method or method/prompt; null: every group")


@dataclass
class DataInfo:
    """Settings of `ptune data info`."""

    task: dict[str, Any] | None = setting(None, "whose corpus, see ptune ls task; null: every demo corpus")
    data: Data = setting(Data, "where it comes from, and how much of it is used")
    packages: list[str] = setting([], PACKAGES)
    quiet: bool = setting(False, QUIET)


@dataclass
class DataCheck(DataInfo):
    """Settings of `ptune data check`."""

    task: dict[str, Any] | None = setting(None, "whose corpus, see ptune ls task; must be given")


@dataclass
class Check:
    """Settings of `ptune check`."""

    quiet: bool = setting(False, QUIET)


@dataclass
class Export:
    """Settings of `ptune export`."""

    run: str = setting(MISSING, "a finished run's folder")
    to: str = setting("peft", "peft (an adapter) | folder (a run) | hub (an upload)")
    out: str | None = setting(None, "for peft and folder: the new folder")
    repo: str | None = setting(None, "for hub: NAME/REPOSITORY")
    content: str = setting("folder", "for hub, what is uploaded: folder | peft")
    private: bool = setting(True, "for hub: make a new repository private")
    confirm: bool = setting(False, "for hub: upload; false: only show what would be uploaded")
    license: str | None = setting(None, "of the weights, for the model card, as the Hub spells it: mit")
    packages: list[str] = setting([], PACKAGES)


@dataclass
class Report:
    """Settings of `ptune report`."""

    runs: str = setting("outputs", "folder with the finished runs, at any depth")
    format: str = setting("table", "table | markdown | latex | csv | json | html")
    out: str | None = setting(None, "for format=html: the page's file; null: report.html in the folder of runs")
    figures: str | None = setting(None, "folder to draw the figures in, as svg and pdf; null: none")
    sort: str = setting("folder", "folder | method | task | score")
    by: str | None = setting(
        None, "one row per run | group; null: group if there are several seeds, or compare or margin is given"
    )
    compare: str | None = setting(
        None, "baseline method for differences, or none; null: finetune, else the first method"
    )
    margin: float | None = setting(None, "margin of non-inferiority, in points")
    tuned: list[str] = setting(
        ["optim", "batch_size", "epochs", "max_steps", "patience", "eval_every"],
        "settings (or prefixes) whose values are trials of one search, of which the best is shown",
    )
    packages: list[str] = setting([], PACKAGES)


@dataclass
class Reproduce:
    """Settings of `ptune reproduce`: a published table, and which of its cells are run at which scale."""

    table: dict[str, Any] | None = setting(None, "which table, see ptune ls table; must be given")
    scale: str = setting("demo", "paper | quick | demo")
    cells: Any = setting(None, "patterns of the cells to run, such as rte, *.ptv2 or [rte.*.ft,cb]; null: all")
    seeds: int | None = setting(None, "number of seeds; null: as the table says")
    rerun: Any = setting(False, "true, or patterns as in cells: run finished cells again")
    dry_run: bool = setting(False, "only show what would run and what it needs")
    overrides: list[str] = setting([], 'for every cell, such as ["data=local","data.root=DIR"]')
    folder: str = setting("outputs/reproduce", "where the runs and the table go")
    tflops: float | None = setting(None, "machine speed in TFLOP/s, for the estimate; null: a built-in value")
    quiet: bool = setting(False, QUIET)


@cache
def register() -> None:
    """Make the schemas known to Hydra under `NAME_schema`, and the two resolvers that `conf/` uses."""
    OmegaConf.register_new_resolver("ptune.first", lambda *values: next(v for v in values if v), replace=True)
    # Cached as ${now:} is: the jobs of a sweep, whose overrides are others, get the name that the sweep has.
    OmegaConf.register_new_resolver("ptune.folder", _folder, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("ptune.settings", _settings, replace=True)  # of conf/hydra/help
    store = ConfigStore.instance()
    for name, node in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=node, provider="ptune")


def _settings(*, _root_: Any) -> str:
    from ptune.help import settings

    return settings(_root_)


def _folder(words: Any) -> str:
    from ptune.runs.naming import folder_name

    return folder_name([str(word) for word in words])


SCHEMAS = {
    "train": Train,
    "eval": Eval,
    "predict": Predict,
    "ls": Ls,
    "check": Check,
    "data_check": DataCheck,
    "data_info": DataInfo,
    "export": Export,
    "report": Report,
    "reproduce": Reproduce,
}
