"""The corpus of a run: its splits as the protocol asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from ptune.batch import Example
from ptune.config import Train
from ptune.data import corpora
from ptune.data.cache import Cache
from ptune.data.corpora import Corpus
from ptune.data.sampling import by_document, fill, groups, shuffle
from ptune.data.stored import subset
from ptune.errors import ConfigError, DataError, PtuneError
from ptune.leaves import leaf, target
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.tasks import Task

SYNTHETIC = "SYNTHETIC DATA: ptune invented this corpus; scores say nothing about real language"
UNREAD = ("patterns", "verbalizers")  # of a task's settings those that make no other examples


def read_corpus(
    s: Train, task: Task, cache: Cache | None = None, loaded: dict[str, Corpus] | None = None
) -> tuple[Corpus, str]:
    """The corpus with the splits that the protocol asks for, and the split that is reported.

    loaded: corpora that were read already, by their settings.

    Raises ConfigError where a split has no labels.
    """
    few_shot = s.protocol == "few_shot"
    known_corpora = {} if loaded is None else loaded
    task_settings = {name: value for name, value in s.task.items() if name not in UNREAD}
    key = json.dumps([task_settings, asdict(s.data), few_shot], default=str)
    if key not in known_corpora:
        known_corpora[key] = corpora.load(task, s.data, cache, few_shot=few_shot)
    corpus = corpora.Corpus(dict(known_corpora[key].splits), dict(known_corpora[key].origin))
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
        hold_out(corpus, s.held_out_from, s.held_out_share, seed, task.document)
    if s.protocol != "standard":
        s.select_on = "held_out"
    if not untrained and not corpus.labeled("train"):
        raise ConfigError([f"task: {corpora.without_gold(task, 'train', corpora.sources(task, s.data, {})['train'])}"])
    suit(s, task, corpus)
    report = s.report_on or ("test" if corpus.labeled("test") else "dev")
    for key, split in (("select_on", s.select_on), ("report_on", report)):
        if not corpus.labeled(split):
            labeled_splits = [name for name in corpus.splits if corpus.labeled(name)]
            raise ConfigError(
                [f"{key}: {task.name} has no labels for '{split}' in this source; one of: {', '.join(labeled_splits)}"]
            )
    return corpus, report


def suit(s: Train, task: Task, corpus: Corpus) -> None:
    """Let the corpus decide what it has to, and keep it; of examples that ask for a word those that can be answered."""

    if decided_settings := task.decide(corpus.splits):
        s.task = {**s.task, **decided_settings}
    if task.readout == "word" and target(s.method["procedure"]["_target_"], s.packages).backbone:
        answerable(corpus, leaf(s.backbone, s.packages).tokens())


def answerable(corpus: Corpus, tokens: Tokens) -> None:
    """Leave out examples whose gold is not one token; their number and the first one are kept. Raises DataError where
    none is left."""
    single_token: dict[str, bool] = {}
    corpus.origin["examples"] = dict(corpus.origin["examples"])
    for split, examples in corpus.splits.items():
        gold = [example.gold for example in examples]
        single_token |= {
            word: tokens.single(word) is not None for word in {*gold} - {*single_token} if word is not None
        }
        kept_indices = [i for i, word in enumerate(gold) if word is None or single_token[word]]
        if len(kept_indices) == len(gold):
            continue
        first_word = next(word for word in gold if word is not None and not single_token[word])
        if not kept_indices:
            raise DataError(f"{split}: no answer is a single token of the backbone; the first one is '{first_word}'")
        entry = {"examples": len(gold) - len(kept_indices), "of": len(gold), "first": first_word}
        corpus.origin["unanswerable"] = {**corpus.origin.get("unanswerable", {}), split: entry}
        corpus.origin["examples"][split] = len(kept_indices)
        corpus.splits[split] = subset(examples, kept_indices)


def hold_out(
    corpus: Corpus, source: str, share: float, seed: int, document: Callable[[Example], str | None] | None = None
) -> None:
    """protocol=held_out: make the split `held_out` from a share of train, or from half of dev, by a seeded draw.

    Examples that are scored together stay together, as do those of one document, see Task.document: of those, the
    share is of examples in whole groups or documents, as far as there is room for whole ones.
    """
    examples = corpus.splits[source]
    count = len(examples) // 2 if source == "dev" else max(1, round(share * len(examples)))
    has_documents = document and examples and document(examples[0]) is not None
    units = by_document(examples, document) if document and has_documents else groups(examples)
    if units is None:
        order = shuffle(len(examples), seed, "held_out")
        held_out, remaining = order[:count], order[count:]
    else:
        held_out = fill([units[i] for i in shuffle(len(units), seed, "held_out")], count)
        remaining = sorted({*range(len(examples))} - {*held_out})
    if not held_out or not remaining:
        raise PtuneError(f"held_out_share: {share} of {len(examples)} examples leaves one side empty")
    corpus.splits["held_out"] = subset(examples, sorted(held_out))
    corpus.splits[source] = subset(examples, sorted(remaining))
    corpus.origin["held_out"] = {"from": source, "examples": len(held_out), "seed": seed}
