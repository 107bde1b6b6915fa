"""Label words found rather than written: what the untrained model says at the mask (Gao et al. 2021, arXiv 2012.15723).

Of each label the words are kept that the model finds likeliest for its training examples; of all ways to give each
label one of its own, those by which the untrained model gets most of the examples right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ptune import build
from ptune.batch import Draw
from ptune.data.rendered import Rendered
from ptune.errors import ConfigError, DataError
from ptune.heads.verbalizer import Verbalizer
from ptune.metrics import correlation, products
from ptune.model import Model
from ptune.progress import Progress
from ptune.runs.stages import with_changes
from ptune.session import Session
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.tasks import Task

BATCH = 32
MARKERS = ("\u0120", "\u2581")  # what byte-level and SentencePiece vocabularies begin a word with
TIE = 1e-6  # what a word that is less likely by one rank counts, below any share of examples
SMALLEST = 100  # tokens with such a marker that a vocabulary which has it has


def search(
    session: Session, rendering: dict[str, Any], k_likely: int, k_neighbors: int | None, n_pairs: int, budget: int
) -> dict[str, Any]:
    """The best combinations of words, and the written one, with what the untrained model scores with each.

    rendering: the leaf that renders the examples. Raises ConfigError for a head that reads no words and for
    labels without words of their own, and DataError for a label without examples.
    """
    s, task = with_changes(session.settings, {"method": {"template": rendering}}), session.task
    model = build.assemble([s], task)
    template, head = model.member(0).template, model.member(0).head
    if not isinstance(head, Verbalizer):
        raise ConfigError(["method/head: label words are only searched for a verbalizer; use verbalizer"])
    template.masks = 1  # what is looked for is one token, whatever is written
    examples = session.corpus.splits["train"]
    rendered = Rendered(examples, task, template, s.data.tokens, session.cache, "train")
    gold, owners = golden(task, examples)
    manual = {label: head.label_words[label][0] for label in task.labels}
    words = vocabulary(template.tokens, template.mask_lead)
    names, ids = list(words), list(words.values())
    own_ids = [template.tokens.encode(word, template.mask_lead)[0] for word in manual.values()]
    logits = mask_logits(model, rendered, [*ids, *own_ids])
    likeliest = likely(logits[:, : len(ids)], owners, len(task.labels), k_likely)
    if k_neighbors is not None:
        table = model.backbone.base.get_input_embeddings().weight.detach().float().cpu().numpy()
        likeliest = [
            nearest(columns, table[ids], table[seed], k_neighbors)
            for columns, seed in zip(likeliest, own_ids, strict=True)
        ]
    most = within(max(map(len, likeliest)), len(likeliest), budget)
    if most < max(map(len, likeliest)):
        session.progress.say(f"label words: {most} per label, for at most {budget:,} combinations (combinations)")
    best = combinations(logits, [columns[:most] for columns in likeliest], gold, n_pairs, session.progress)
    if not best:
        problem = f"the likeliest {most} words of each label give fewer than {len(likeliest)} different ones"
        raise ConfigError([f"method.procedure.k_likely: {problem}; raise it or combinations"])
    last = [np.array([len(ids) + i]) for i in range(len(own_ids))]
    ((_, score),) = combinations(logits, last, gold, 1, session.progress)
    return {
        "written": {"words": manual, "untrained": score},
        "combinations": [
            {"words": dict(zip(task.labels, (names[i] for i in chosen), strict=True)), "untrained": score}
            for chosen, score in best
        ],
    }


def golden(task: Task, examples: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """What is scored against [N], see `combinations`, and the label of each example [N]: the nearer end of a number.

    Raises DataError for a label that no example has.
    """
    targets = [task.target(example) for example in examples]
    gold = np.array(targets)
    if gold.dtype.kind == "f":
        low, high = (float(label) for label in task.labels)
        gold = (gold - low) / (high - low)
    owners = (gold >= 0.5).astype(int) if gold.dtype.kind == "f" else gold
    for index, label in enumerate(task.labels):
        if not (owners == index).any():
            raise DataError(f"{task.name}: no training example is '{label}', so no words can be found for it")
    return gold, owners


def vocabulary(tokens: Tokens, lead: bool) -> dict[str, int]:
    """The words that are one token where the mask stands, by their ids; lead: whether a space stands before it."""
    vocab: dict[str, int] = tokens.tokenizer.get_vocab()
    special = tokens.special_ids
    marker = next((m for m in MARKERS if sum(token.startswith(m) for token in vocab) >= SMALLEST), None)
    by_word: dict[str, int] = {}
    for token, index in sorted(vocab.items(), key=lambda item: item[1]):
        begins = token.startswith(marker) if marker else not token.startswith("##")
        if not begins or index in special:
            continue
        word = tokens.tokenizer.decode([index]).strip()
        if any(map(str.isalpha, word)) and len(ids := tokens.encode(word, lead)) == 1:
            by_word.setdefault(word, ids[0])
    return by_word


def mask_logits(model: Model, rendered: Rendered, ids: Sequence[int]) -> np.ndarray:
    """Language-model logits [N, W] of the tokens `ids` at the mask of each example, whose template gives it one row."""
    was_training = model.training
    model.eval()
    wanted_ids, logits = torch.tensor(ids, device=model.device), []
    for start in range(0, len(rendered), BATCH):
        batch = rendered.batch(range(start, min(start + BATCH, len(rendered))), Draw(0, 0), "search")
        with model.without_gradients(), model.hidden([(0, batch)]) as ((_, hidden, moved),):
            states = hidden.at(moved.read["mask"])[:, 0]
            logits.append(hidden.words(states, wanted_ids).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(logits)


def likely(logits: np.ndarray, owners: np.ndarray, labels: int, most: int) -> list[np.ndarray]:
    """For each label the columns of logits [N, W] with the highest mean over its examples, the highest first.

    owners: the label of each example.
    """
    means = [logits[owners == label].mean(0) for label in range(labels)]
    return [np.argsort(-mean, kind="stable")[:most] for mean in means]


def nearest(columns: np.ndarray, vectors: np.ndarray, seed: np.ndarray, most: int) -> np.ndarray:
    """Of some columns those whose vectors [W, E] are nearest to a seed word's [E], by cosine."""
    chosen = vectors[columns]
    cosines = chosen @ seed / (np.linalg.norm(chosen, axis=1) * np.linalg.norm(seed) + 1e-12)
    return columns[np.argsort(-cosines, kind="stable")[:most]]


def within(words: int, labels: int, budget: int) -> int:
    """How many words a label may have so that there are at most `budget` combinations."""
    while words > 1 and words**labels > budget:
        words -= 1
    return words


def combinations(
    logits: np.ndarray, columns: Sequence[np.ndarray], gold: np.ndarray, most: int, progress: Progress
) -> list[tuple[tuple[int, ...], float]]:
    """The best ways to give each label one of its columns, a column to one label, and their scores in percent.

    gold [N]: labels, scored by accuracy; or, of floats, shares of the way between two ends, scored by Pearson's
    correlation. Of equals the one with likelier words goes first.
    """
    rest = np.indices([len(each) for each in columns[1:]])  # [C - 1, k, k, ...], the places of the other words
    chosen = np.stack([each[places] for each, places in zip(columns[1:], rest, strict=True)])
    clash = np.zeros(chosen.shape[1:], dtype=bool)
    for one in range(len(chosen)):
        clash |= (chosen[one] == chosen[:one]).any(0)
    best: list[tuple[float, tuple[int, ...], float]] = []
    for rank, first in enumerate(progress.follow("label words: combinations", columns[0].tolist(), len(columns[0]))):
        label_logits = [logits[:, first], *(logits[:, each] for each in columns[1:])]
        scores = correlations(label_logits, gold) if gold.dtype.kind == "f" else accuracies(label_logits, gold)
        order = scores - TIE * (rank + rest.sum(0))
        order[clash | (chosen == first).any(0)] = -np.inf
        for place in np.argsort(-order, axis=None, kind="stable")[:most]:
            if np.isfinite(value := float(order.flat[place])):
                words = first, *(int(each.flat[place]) for each in chosen)
                best.append((value, words, float(scores.flat[place])))
        best = sorted(best, key=lambda each: -each[0])[:most]
    return [(words, score) for _, words, score in best]


def accuracies(said: Sequence[np.ndarray], gold: np.ndarray) -> np.ndarray:
    """The share [k, k, ...] of examples whose own label's word is the likeliest, in percent; of equals the first is.

    said: the logits of each label's words, of the first label's one [N], of the others' [N, k].
    """
    labels = len(said)
    right = np.zeros([each.shape[1] for each in said[1:]])
    for n, label in enumerate(gold):
        along = [along_axis(said[c][n], c, labels) for c in range(labels)]
        wins = [along[label] > along[c] if c < label else along[label] >= along[c] for c in range(labels) if c != label]
        right += np.logical_and.reduce(np.broadcast_arrays(*wins, right)[:-1])
    return 100 * right / len(gold)


def along_axis(values: np.ndarray, label: int, labels: int) -> np.ndarray:
    """The logits of a label's words along the axis that is its own; of the first label there is one word."""
    return np.asarray(values).reshape([-1 if axis == label else 1 for axis in range(1, labels)])


def correlations(said: Sequence[np.ndarray], gold: np.ndarray) -> np.ndarray:
    """Pearson's correlation [k] of the share that the upper end's word has of both, in percent."""
    low, high = said
    shares = 1 / (1 + np.exp(low[:, None] - high))
    return np.array([correlation(products(gold, column).sum(0)) for column in shares.T])
