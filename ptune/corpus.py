"""The corpus of a run: its splits as the protocol asks for them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ptune.config import Train
from ptune.errors import ConfigError
from ptune.leaves import leaf, target

if TYPE_CHECKING:
    from ptune.cache import Cache

SYNTHETIC = "SYNTHETIC DATA: ptune invented this corpus; scores say nothing about real language"
UNREAD = ("patterns", "verbalizers")  # of a task's settings those that make no other examples


def read_corpus(
    s: Train, task: Any, cache: Cache | None = None, corpora: dict[str, Any] | None = None
) -> tuple[Any, str]:
    """The corpus with the splits that the protocol asks for, and the split that is reported.

    corpora: those that were read already, by their settings.

    Raises ConfigError where a split has no labels.
    """
    from ptune import data

    few_shot = s.protocol == "few_shot"
    read = {} if corpora is None else corpora
    told = {name: value for name, value in s.task.items() if name not in UNREAD}
    key = json.dumps([told, asdict(s.data), few_shot], default=str)
    if key not in read:
        read[key] = data.load(task, s.data, cache, few_shot=few_shot)
    corpus = data.Corpus(dict(read[key].splits), dict(read[key].origin))
    procedure = target(s.method["procedure"]["_target_"], s.packages)
    evaluates = procedure.backbone and not procedure.trains and s.protocol == "standard"
    untrained = evaluates and "train" not in corpus.splits
    if "train" not in corpus.splits and not untrained:
        raise ConfigError(
            [
                f"task: {task.name} has no training data; to evaluate a finished run on it: ptune eval RUN "
                f"task={task.name}"
            ]
        )
    if s.protocol == "held_out":
        seed = s.seed if s.held_out_seed is None else s.held_out_seed
        data.hold_out(corpus, s.held_out_from, s.held_out_share, seed, task.document)
    if s.protocol != "standard":
        s.select_on = "held_out"
    if not untrained and not corpus.labeled("train"):
        raise ConfigError([f"task: {data.without_gold(task, 'train', data.sources(task, s.data, {})['train'])}"])
    suit(s, task, corpus)
    report = s.report_on or ("test" if corpus.labeled("test") else "dev")
    for key, split in (("select_on", s.select_on), ("report_on", report)):
        if not corpus.labeled(split):
            have = [name for name in corpus.splits if corpus.labeled(name)]
            raise ConfigError(
                [f"{key}: {task.name} has no labels for '{split}' in this source; one of: {', '.join(have)}"]
            )
    return corpus, report


def suit(s: Train, task: Any, corpus: Any) -> None:
    """Let the corpus decide what it has to, and keep it; of examples that ask for a word those that can be answered."""
    from ptune import data

    if decided := task.decide(corpus.splits):
        s.task = {**s.task, **decided}
    if task.readout == "word" and target(s.method["procedure"]["_target_"], s.packages).backbone:
        data.answerable(corpus, leaf(s.backbone, s.packages).tokens())
