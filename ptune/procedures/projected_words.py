"""Label words from the training set alone (AutoPrompt, Shin et al. 2020, arXiv 2010.15980, section 2.3)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptune.batch import Batch
from ptune.model import Model
from ptune.tokens import Tokens


def mask_states(model: Model, member: int, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """What the language-model head compares with words at the mask, [K, E], and the labels [K] of the rows."""
    states, targets = [], []
    model.eval()
    for batch in batches:
        with model.without_gradients(), model.hidden([(member, batch)]) as ((_, hidden, moved),):
            at_mask = hidden.at(moved.read["mask"])[:, 0]
            states.append(model.backbone.lm_states(at_mask).float())
            targets.append(moved.target)
    return torch.cat(states).clone(), torch.cat(targets).clone()


def projection(states: Tensor, targets: Tensor, labels: int, epochs: int, batch: int, lr: float, seed: int) -> Tensor:
    """The weights [C, E] of a linear layer that tells the labels apart, fitted with Adam.

    The model that the states are of is frozen, so that they are the same in each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = states.shape[1] ** -0.5
    weight = nn.Parameter((torch.rand(labels, states.shape[1], generator=generator) * 2 - 1).to(states) * bound)
    bias = nn.Parameter(states.new_zeros(labels))
    optimizer = torch.optim.Adam([weight, bias], lr=lr)
    for _ in range(epochs):
        for chosen in torch.randperm(len(states), generator=generator).split(batch):
            chosen = chosen.to(states.device)
            optimizer.zero_grad()
            F.cross_entropy(F.linear(states[chosen], weight, bias), targets[chosen]).backward()
            optimizer.step()
    return weight.detach()


def words_of(weight: Tensor, vectors: Tensor, tokens: Tokens, lead: bool, count: int) -> list[list[str]]:
    """For each class the `count` words whose vectors [V, E] its weights [C, E] prefer most to the other classes'.

    A word is one token that its own text becomes again, so that a verbalizer can name it, and is one class's alone.
    """
    share = (weight @ vectors.float().T).softmax(0)
    of = share.argmax(0)
    special = tokens.special_ids
    by_label: list[list[str]] = []
    for label in range(len(weight)):
        mine = share[label].masked_fill(of != label, -1.0)
        words: list[str] = []
        for index in mine.argsort(descending=True, stable=True).tolist():
            if len(words) == count or mine[index] < 0:
                break
            text = tokens.tokenizer.decode([index]).strip()
            if index not in special and text and tokens.encode(text, lead) == [index]:
                words.append(text)
        by_label.append(words)
    return by_label
