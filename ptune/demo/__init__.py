"""The demo: synthetic corpora of one invented world, written in the original file formats of the tasks.

A corpus is a module of this package with a function `write(recipe, folder)` and its default `SIZES`; its file name
is its name. README.md of this folder is the guide to the world.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["splits", "tasks", "text", "write"]


def tasks() -> list[str]:
    """The names of the corpora that can be written, sorted."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in names if hasattr(importlib.import_module(f"{__name__}.{name}"), "write")]


def splits(task: str) -> list[str]:
    """The splits that the corpus of a task has."""
    return list(importlib.import_module(f"{__name__}.{task}").SIZES)


def write(task: str, folder: Path, seed: int = 0, sizes: Mapping[str, int] | None = None, **difficulty: Any) -> None:
    """Write the files of a task below `folder`.

    seed: of the world and of what is told of it; sizes: rows of `train`, `dev` and `test`; difficulty: the fields
    of `ptune.demo.recipe.Difficulty`. Raises ValueError for a task or a split that is not there.
    """
    if task not in tasks():
        raise ValueError(f"no demo corpus is called {task!r}; there are {', '.join(tasks())}")
    module = importlib.import_module(f"{__name__}.{task}")
    counts = {**module.SIZES, **(sizes or {})}
    if extra := sorted(set(counts) - set(module.SIZES)):
        raise ValueError(f"no split is called {extra[0]!r}; there are {', '.join(module.SIZES)}")
    recipe = importlib.import_module(f"{__name__}.recipe")
    world = importlib.import_module(f"{__name__}.world").build(seed)
    module.write(recipe.Recipe(task, world, counts, seed, recipe.Difficulty(**difficulty)), Path(folder))


def text(seed: int, sentences: int) -> Iterator[str]:
    """Passages of plain text for pretraining, `sentences` sentences in all; no task's rows are among them."""
    prose = importlib.import_module(f"{__name__}.prose")
    yield from prose.text(seed, sentences)
