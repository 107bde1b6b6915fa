"""`ptune check`: compose every shipped configuration and bind every leaf, without loading a weight."""

from __future__ import annotations

from collections.abc import Iterator

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig

from ptune.config import Check
from ptune.errors import ConfigError, PtuneError
from ptune.progress import Progress

GROUPS = (
    "method",
    "method/template",
    "method/prompt",
    "method/head",
    "method/procedure",
    "backbone",
    "task",
    "prompt_length",
    "data",
    "optim",
    "tracker",
    "compat",
    "experiment",
    "sweep",
    "debug",
)
COMPANIONS = {  # what an option needs beside itself
    "backbone=local": ["backbone.path=pkg://ptune.assets/tiny_encoder"],
    "data=local": ["data.root=."],
    "method/head=generate": ["backbone=gpt2"],
    "method/head=spans": ["task=wic"],
    "method/procedure=autoprompt": ["method=autoprompt"],
    "method/procedure=classic": ["method=bilstm"],
    "method/prompt=trigger": ["method=autoprompt"],
    "method/head=word": ["task=lama"],
    "prompt_length=pattern": ["method=ptuning"],
    "method=prefix_generate": ["backbone=gpt2"],
    "method=prompt_tuning_t2t": ["backbone=t5_small"],
    "prompt_length=paper": ["task=rte", "backbone=roberta_large"],
    "task=e2e": ["method=prefix_generate", "backbone=gpt2"],
    "task=webnlg": ["method=prefix_generate", "backbone=gpt2"],
}


def main(cfg: DictConfig) -> None:
    """Check every option of every group on top of the defaults; raises ConfigError naming those that do not bind."""
    from ptune.build import settings_of

    s = settings_of(cfg, Check)
    with Progress(s.quiet) as progress:
        problems: list[str] = []
        count = 0
        for overrides in combinations():
            count += 1
            problems += [f"{' '.join(overrides)}: {line}" for line in mistakes(overrides)]
        if problems:
            raise ConfigError(problems)
        progress.tell(f"{count} configurations compose and bind")


def combinations() -> Iterator[list[str]]:
    """The overrides of each configuration to check: one for every option of every group."""
    loader = GlobalHydra.instance().config_loader()
    for group in GROUPS:
        for option in loader.get_group_options(group, ObjectType.CONFIG):
            choice = f"{group}={option}"
            yield [choice, *COMPANIONS.get(choice, [])]


def mistakes(overrides: list[str]) -> list[str]:
    """What is wrong with one configuration of `ptune train`; empty when it binds."""
    from ptune import build

    try:
        build.settings(compose("train", overrides=overrides))
    except ConfigError as error:
        return error.problems
    except (PtuneError, HydraException) as error:
        return [str(error).splitlines()[0]]
    return []
