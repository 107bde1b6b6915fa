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
    read = {} if loaded is None else loaded
    told = {name: value for name, value in s.task.items() if name not in UNREAD}
    key = json.dumps([told, asdict(s.data), few_shot], default=str)
    if key not in read:
        read[key] = corpora.load(task, s.data, cache, few_shot=few_shot)
    corpus = corpora.Corpus(dict(read[key].splits), dict(read[key].origin))
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
            have = [name for name in corpus.splits if corpus.labeled(name)]
            raise ConfigError(
                [f"{key}: {task.name} has no labels for '{split}' in this source; one of: {', '.join(have)}"]
            )
    return corpus, report


def suit(s: Train, task: Task, corpus: Corpus) -> None:
    """Let the corpus decide what it has to, and keep it; of examples that ask for a word those that can be answered."""

    if decided := task.decide(corpus.splits):
        s.task = {**s.task, **decided}
    if task.readout == "word" and target(s.method["procedure"]["_target_"], s.packages).backbone:
        answerable(corpus, leaf(s.backbone, s.packages).tokens())


def answerable(corpus: Corpus, tokens: Tokens) -> None:
    """Leave out examples whose gold is not one token; their number and the first one are kept. Raises DataError where
    none is left."""
    known: dict[str, bool] = {}
    corpus.origin["examples"] = dict(corpus.origin["examples"])
    for split, examples in corpus.splits.items():
        gold = [example.gold for example in examples]
        known |= {word: tokens.single(word) is not None for word in {*gold} - {*known} if word is not None}
        kept = [i for i, word in enumerate(gold) if word is None or known[word]]
        if len(kept) == len(gold):
            continue
        first = next(word for word in gold if word is not None and not known[word])
        if not kept:
            raise DataError(f"{split}: no answer is a single token of the backbone; the first one is '{first}'")
        told = {"examples": len(gold) - len(kept), "of": len(gold), "first": first}
        corpus.origin["unanswerable"] = {**corpus.origin.get("unanswerable", {}), split: told}
        corpus.origin["examples"][split] = len(kept)
        corpus.splits[split] = subset(examples, kept)


def hold_out(
    corpus: Corpus, source: str, share: float, seed: int, document: Callable[[Example], str | None] | None = None
) -> None:
    """protocol=held_out: make the split `held_out` from a share of train, or from half of dev, by a seeded draw.

    Examples that are scored together stay together, as do those of one document, see Task.document: of those, the
    share is of examples in whole groups or documents, as far as there is room for whole ones.
    """
    examples = corpus.splits[source]
    count = len(examples) // 2 if source == "dev" else max(1, round(share * len(examples)))
    shared = document and examples and document(examples[0]) is not None
    units = by_document(examples, document) if document and shared else groups(examples)
    if units is None:
        order = shuffle(len(examples), seed, "held_out")
        taken, left = order[:count], order[count:]
    else:
        taken = fill([units[i] for i in shuffle(len(units), seed, "held_out")], count)
        left = sorted({*range(len(examples))} - {*taken})
    if not taken or not left:
        raise PtuneError(f"held_out_share: {share} of {len(examples)} examples leaves one side empty")
    corpus.splits["held_out"] = subset(examples, sorted(taken))
    corpus.splits[source] = subset(examples, sorted(left))
    corpus.origin["held_out"] = {"from": source, "examples": len(taken), "seed": seed}
