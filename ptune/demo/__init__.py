"""The demo: synthetic corpora of one invented world, written in the original file formats of the tasks.

A task is a module of this package with a function `write(world, folder, sizes, seed)`; its file
name is its name.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["tasks", "text", "write"]


def tasks() -> list[str]:
    """The names of the corpora that can be written, sorted."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in names if hasattr(importlib.import_module(f"{__name__}.{name}"), "write")]


def write(task: str, folder: Path, seed: int = 0, sizes: Mapping[str, int] | None = None) -> None:
    """Write the files of a task below `folder`; `sizes` says how many rows `train`, `dev` and `test` have."""
    if task not in tasks():
        raise ValueError(f"no demo corpus is called {task!r}; there are {', '.join(tasks())}")
    module = importlib.import_module(f"{__name__}.{task}")
    wanted = {**module.SIZES, **(sizes or {})}
    if extra := sorted(set(wanted) - set(module.SIZES)):
        raise ValueError(f"no split is called {extra[0]!r}; there are {', '.join(module.SIZES)}")
    world = importlib.import_module(f"{__name__}.world").build(seed)
    module.write(world, Path(folder), wanted, seed)


def text(seed: int, sentences: int) -> Iterator[str]:
    """Passages of plain text for pretraining, `sentences` sentences in all; no task's rows are among them."""
    prose = importlib.import_module(f"{__name__}.prose")
    yield from prose.text(seed, sentences)
