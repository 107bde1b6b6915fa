"""The demo corpora, written once."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rendering import sizes_of

from ptune import demo

LONGEST = 3.0  # seconds to write the files of a task


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every task written at its default sizes, each in time."""
    folder = tmp_path_factory.mktemp("demo")
    for task in demo.tasks():
        start = time.process_time()
        demo.write(task, folder / task)
        assert time.process_time() - start < LONGEST, task
    return folder


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """large(task): its files with enough rows to measure; only the test is left small."""
    made: dict[str, Path] = {}

    def write(task: str) -> Path:
        if task not in made:
            made[task] = tmp_path_factory.mktemp(task)
            sizes = {"train": 3000, "dev": 1500, "test": 10}
            demo.write(task, made[task], sizes={k: v for k, v in sizes.items() if k in sizes_of(task)})
        return made[task]

    return write
