"""Which examples of a split there are: the first, random ones, or K of each class; whole groups and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ptune.batch import Example
from ptune.config import Data
from ptune.data.stored import subset
from ptune.errors import DataError
from ptune.seeds import mix

if TYPE_CHECKING:
    from ptune.tasks import Task


def check_classes(data: Data, task: Task) -> Iterator[str]:
    """K examples of each class need classes, and no other number of them."""
    if data.per_class is not None and not task.classes:
        yield (
            f"data.per_class: the examples of {task.name} have no single class; data.max_train=N data.draw=SEED draws "
            "any N at random"
        )
    if data.draw is not None and data.per_class is None and data.max_train is None:
        yield "data.draw: is only used with data.max_train=N or data.per_class=K; set one of them"
    if data.per_class is not None and data.max_train is not None:
        yield "data.max_train: data.per_class already says how many to train on; leave one of them out"


def check_order(settings: Data) -> Iterator[str]:
    """What is wrong with data.draw_order."""
    if settings.draw_order not in (None, "numpy"):
        yield f"data.draw_order: '{settings.draw_order}' is not a choice; use numpy, or null for ptune's own"
    elif settings.draw_order and settings.draw is not None and not 0 <= settings.draw < 2**32:
        yield f"data.draw: {settings.draw} is not a seed for numpy; use 0 to 4294967295"


def sample(
    examples: Sequence[Example], most: int | None, seed: int | None, order: str | None = None
) -> Sequence[Example]:
    """The first `most` examples; with a seed a random choice of so many, see `permutation`, in the order of the file.

    Of examples that are scored together whole groups: as many as `most` has room for, one at least.
    """
    if most is None or most >= len(examples):
        return examples
    units = groups(examples)
    count = len(examples if units is None else units)
    numbers = permutation(count, seed, order)
    return subset(examples, sorted(numbers[:most] if units is None else fill([units[i] for i in numbers], most)))


def by_class(task: Task, examples: Sequence[Example], settings: Data, few_shot: bool) -> dict[str, Sequence[Example]]:
    """`train`: the first data.per_class examples of each class, with a seed in its order, see `permutation`; of fewer
    those of more.

    few_shot: and `held_out`, as many of each that come after them, as LM-BFF draws its development data (Gao et al.
    2021, arXiv 2012.15723). Both stand in the order of the file, by numpy as LM-BFF writes them: class by class, the
    first one drawn first. Raises DataError where there are too few of a class.
    """
    count = settings.per_class or 0
    classes = [task.class_of(example) for example in examples]
    class_indices: dict[str, list[int]] = {}
    for index in permutation(len(classes), settings.draw, settings.draw_order):
        if (label := classes[index]) is not None:
            class_indices.setdefault(label, []).append(index)
    quota = 2 * count if few_shot else count
    for label in task.classes:
        if len(indices := class_indices.get(label, [])) < quota:
            option = f"data.per_class={count}" + (" with protocol=few_shot" if few_shot else "")
            raise DataError(
                f"{task.name}: {option} needs {quota} examples of each class, but train has {len(indices)} of '{label}'"
            )
    parts = {"train": slice(count), **({"held_out": slice(count, quota)} if few_shot else {})}
    split_indices = {
        split: [index for indices in class_indices.values() for index in indices[part]] for split, part in parts.items()
    }
    as_drawn = settings.draw is not None and settings.draw_order
    return {
        split: subset(examples, indices if as_drawn else sorted(indices)) for split, indices in split_indices.items()
    }


def groups(examples: Sequence[Example]) -> list[list[int]] | None:
    """The indices of the examples that are scored together, in the order of their first; None where each is on its own.

    Whether they are is told by the first example, since making every one of a large split takes its time.
    """
    if not examples or examples[0].group is None:
        return None
    group_indices: dict[str | None, list[int]] = {}
    for index, example in enumerate(examples):
        group_indices.setdefault(example.group, []).append(index)
    return list(group_indices.values())


def by_document(examples: Sequence[Example], document: Callable[[Example], str | None]) -> list[list[int]]:
    """The indices of the examples of each document, in the order of their first; one without stays with its group."""
    document_indices: dict[tuple[str, str], list[int]] = {}
    for index, example in enumerate(examples):
        document_id = document(example)
        key = ("group", example.group or f"{index}") if document_id is None else ("document", document_id)
        document_indices.setdefault(key, []).append(index)
    return list(document_indices.values())


def permutation(count: int, seed: int | None, order: str | None) -> Sequence[int]:
    """The numbers below `count` as examples are drawn: as they are without a seed, else as ptune shuffles them, or
    numpy, as in LM-BFF's code, a whole file's lines."""
    if seed is None:
        return range(count)
    if order is None:
        return shuffle(count, seed, "draw")
    numbers = list(range(count))
    np.random.RandomState(seed).shuffle(numbers)
    return numbers


def shuffle(count: int, seed: int, what: str) -> list[int]:
    """The numbers below `count` in an order that the seed, and what it is for, decide."""
    import torch

    return torch.randperm(count, generator=torch.Generator().manual_seed(mix(seed, what))).tolist()


def fill(units: Iterable[list[int]], most: int) -> list[int]:
    """The indices of the first groups as far as `most` has room for whole ones, of the first in any case."""
    indices: list[int] = []
    for unit in units:
        if indices and len(indices) + len(unit) > most:
            break
        indices += unit
    return indices
