"""The schema of every setting that is not a leaf's own; leaves are checked against their class in `leaves`.

Defaults live here, once, and in the yaml files of `conf/`; a run folder stores the complete, resolved result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


@dataclass
class PromptLength:
    """How many virtual tokens the prompt has; `lookup: paper` takes it from the published scripts, `pattern` from the
    task's pattern."""

    value: int | None = None
    lookup: str | None = None


@dataclass
class Demo:
    """The demo corpus that data=demo writes: rows a split (null: the corpus's own number) and how hard it is."""

    train: int | None = None
    dev: int | None = None
    test: int | None = None
    noise: float = 0.0  # share of damaged sentences: typos, lost capitals
    distractors: int = 2  # facts of other things in a passage
    length: int = 4  # facts that matter in a passage


@dataclass
class Data:
    """Where the corpora come from, and how much of each split is used."""

    source: str = "hub"  # hub | local | demo
    root: str | None = None  # folder of the original files, for source=local
    layout: str | None = None  # of a corpus that is passed on in several; null: the first of the task's yaml
    seed: int = 0  # seed of the demo world
    demo: Demo = field(default_factory=Demo)
    max_length: int | None = None  # tokens of text a row; null: the task's
    lenient: bool = False  # skip broken records, whose number is printed and kept; of no use where a whole file is
    overflow: str = "window"  # longer sentences of tagging tasks and contexts: window | truncate
    cache: bool = True  # large splits stand on disk: examples of 16,384 and more, and encoded ones of 1,024 and more
    bucket: bool = True  # batches of similar length
    draw: int | None = None  # seed of a random choice of max_train, or per_class, examples; null: the first ones
    draw_order: str | None = None  # numpy: the draw is its shuffle of the whole file, as LM-BFF's; null: ptune's own
    per_class: int | None = None  # so many examples of each class of train; null: all
    max_train: int | None = None  # so many examples of a split, of groups (MultiRC's questions) whole ones; null: all
    max_dev: int | None = None
    max_test: int | None = None


@dataclass
class Optim:
    """The optimizer and its schedule; lr and weight_decay null are the method's own, other rates default to lr."""

    name: str = "adamw"  # adamw | adafactor
    lr: float | None = None
    backbone_lr: float | None = None
    prompt_lr: float | None = None
    head_lr: float | None = None
    weight_decay: float | None = None  # null: the method's, else 0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8
    clip: float | None = 1.0  # of the gradient's norm; null: none
    schedule: str = "linear"  # linear | constant | exponential
    gamma: float = 0.95  # of exponential, once an epoch
    warmup: float = 0.0  # a share of all steps below 1, else a number of steps


@dataclass
class Loss:
    """How a step's loss is normalized: by the expected labels a step, or by those of the batch."""

    normalize: str = "constant"  # constant | batch


@dataclass
class Tracker:
    """W&B beside the run folder's own record; never prompts, never ends a run."""

    name: str = "wandb"  # wandb | none
    mode: str = "offline"  # offline | online
    project: str = "ptune"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    samples: int = 16  # predictions shown


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


@dataclass
class Train:
    """Every setting of `ptune train`."""

    method: dict[str, Any] = MISSING
    backbone: dict[str, Any] = MISSING
    task: dict[str, Any] = MISSING
    prompt_length: PromptLength = field(default_factory=PromptLength)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    loss: Loss = field(default_factory=Loss)
    tracker: Tracker = field(default_factory=Tracker)
    compat: Compat = field(default_factory=Compat)
    experiment: str | None = None  # the name of the preset, for the record

    seed: int = 1
    epochs: int = 10
    max_steps: int | None = None  # ends training earlier than `epochs` would
    batch_size: int = 16  # examples a step, over all micro-batches
    accumulate: int | None = None  # micro-batches a step; null: one, or one a CPU thread of at least 8 examples
    eval_batch_size: int = 64  # rows
    batch_tokens: int | None = None  # of a pass at most, with padding, without prompts; null: any number
    eval_every: int | None = None  # steps between evaluations; null: each epoch
    patience: int | None = None  # evaluations without a better score before stopping; null: never
    metric: str | None = None  # what selects the best evaluation; null: the task's headline
    # standard | held_out: select on a part of train, or on half of dev | few_shot: on as many others of each class
    protocol: str = "standard"
    held_out_from: str = "train"  # train | dev
    held_out_share: float = 0.1  # of train; of dev it is half
    held_out_seed: int | None = None  # of what is held out; null: the run's
    select_on: str = "dev"
    report_on: str | None = None  # null: test where it has labels, else dev
    precision: str = "float32"  # float32 | bfloat16 (autocast; frozen weights are kept in it)
    gradient_checkpointing: bool = False
    cache_layers: bool = False  # keep what frozen layers below the prompt give a row: faster, and without their dropout
    # the same bits each time on the same machine, on a GPU too; false: faster algorithms may be taken there
    deterministic: bool = True
    device: str = "auto"
    resume: str | None = None  # a run folder to continue
    time_limit: float | None = None  # minutes after which the run saves and ends, with exit code 75, to be resumed
    save_minutes: float = 10.0  # between checkpoints where evaluations, each of which writes one, are further apart
    quiet: bool = False
    packages: list[str] = field(default_factory=list)  # further packages whose classes a yaml may name
    observer: dict[str, Any] = field(default_factory=dict)  # who sees each evaluation and may end the run, by _target_


@dataclass
class Eval:
    """Settings of `ptune eval`: a finished run on one of its task's splits, or on those of another task."""

    run: str = MISSING
    split: str | None = None
    task: dict[str, Any] | None = None  # another task with the run's labels; null: the run's own
    data: Data | None = None  # where that one's data comes from; null: as the run's
    batch_size: int = 64
    device: str = "auto"
    quiet: bool = False
    packages: list[str] = field(default_factory=list)  # further packages whose classes the run may name


@dataclass
class Predict:
    """Settings of `ptune predict`: text or jsonl in, jsonl out, or a leaderboard's files."""

    run: str = MISSING
    input: str = "-"
    output: str = "-"
    submission: bool = False  # write a leaderboard's files of the task's test into `output`, a folder
    task: dict[str, Any] | None = None  # of a submission: another task with the run's labels; null: the run's own
    data: Data | None = None  # of a submission: where its rows come from; null: as the run's
    scheme: str | None = None  # of the tags that are written: iob1 | iob2 | bioes | bilou; null: as predicted
    batch_size: int = 64
    device: str = "auto"
    quiet: bool = False
    packages: list[str] = field(default_factory=list)  # further packages whose classes the run may name


@dataclass
class Ls:
    """Settings of `ptune ls`."""

    group: str | None = None


@dataclass
class DataInfo:
    """Settings of `ptune data info`."""

    task: dict[str, Any] | None = None
    data: Data = field(default_factory=Data)
    packages: list[str] = field(default_factory=list)
    quiet: bool = False


@dataclass
class DataCheck(DataInfo):
    """Settings of `ptune data check`."""


@dataclass
class Check:
    """Settings of `ptune check`."""

    quiet: bool = False


@dataclass
class Export:
    """Settings of `ptune export`."""

    run: str = MISSING
    to: str = "peft"  # peft | folder | hub
    out: str | None = None  # the new folder, of peft and folder
    repo: str | None = None  # of hub: NAME/REPOSITORY
    content: str = "folder"  # of hub, what is uploaded: folder | peft
    private: bool = True  # of hub: whether a new repository is
    confirm: bool = False  # of hub: upload; without it is only told what would be
    license: str | None = None  # of the weights, for the model card, as the Hub calls it: mit
    packages: list[str] = field(default_factory=list)  # further packages whose classes the run may name


@dataclass
class Report:
    """Settings of `ptune report`."""

    runs: str = "outputs"
    format: str = "table"  # table | markdown | latex | csv | json | html
    out: str | None = None  # the page of format=html; null: report.html in `runs`
    figures: str | None = None  # a folder for the figures, as svg and pdf; null: none are drawn
    sort: str = "folder"  # folder | method | task | score
    # what has a row: run | group; null: group where there are several seeds, or compare or margin is given
    by: str | None = None
    compare: str | None = None  # the baseline of differences, a method; null: finetune, else the first | none
    margin: float | None = None  # points, for non-inferiority
    # what makes groups trials of one search, of which the best is shown: keys, or what they begin with
    tuned: list[str] = field(
        default_factory=lambda: ["optim", "batch_size", "epochs", "max_steps", "patience", "eval_every"]
    )
    packages: list[str] = field(default_factory=list)  # further packages whose tasks score runs' examples anew


@dataclass
class Reproduce:
    """Settings of `ptune reproduce`: a published table, and which of its cells are run at which scale."""

    table: dict[str, Any] | None = None  # to be given, see ptune ls table
    scale: str = "demo"  # paper | quick | demo
    cells: Any = None  # a pattern of names, or a list of them, as rte, *.ptv2 or rte.*.ft; null: all
    seeds: int | None = None  # so many; null: as the table says
    rerun: Any = False  # true, or patterns as of cells: run again what has ended
    dry_run: bool = False  # say what would run and what it needs
    overrides: list[str] = field(default_factory=list)  # of every cell, as "data.root=DIR"
    folder: str = "outputs/reproduce"
    tflops: float | None = None  # a second, which the estimate rests on; null: see ptune.paper.estimate
    quiet: bool = False


def register() -> None:
    """Make the schemas known to Hydra under `NAME_schema`, and the two resolvers that `conf/` uses."""
    OmegaConf.register_new_resolver("ptune.first", lambda *values: next(v for v in values if v), replace=True)
    # Cached as ${now:} is: the jobs of a sweep, whose overrides are others, get the name that the sweep has.
    OmegaConf.register_new_resolver("ptune.folder", _folder, replace=True, use_cache=True)
    store = ConfigStore.instance()
    for name, node in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=node, provider="ptune")


def _folder(words: Any) -> str:
    from ptune.jobs import folder_name

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
