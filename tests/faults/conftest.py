"""One server of forks for all the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import cases
import pytest
from kit import Server


class Whole(NamedTuple):
    """What is left of the tiny run when nothing happens to it, and the seconds that it takes."""

    left: dict[str, Any]
    seconds: float


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The process that forks."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def whole(server, tmp_path_factory) -> Whole:
    """The tiny run, left alone."""
    return Whole(*cases.timed(server, tmp_path_factory.mktemp("whole")))
