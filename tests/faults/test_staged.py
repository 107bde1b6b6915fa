"""Procedures of several stages, steps of several passes, and sweeps: killed or told to end, they lose nothing.

The counts here are small; those of docs/faults.md are behind the marker slow and in scripts/faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stages
from stages import LAUNCHERS, RUNS, Whole

ALL = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("faults")  # one server for all of them
SEARCH, ACCUMULATION = "LM-BFF: label words searched and ranked", "the middle of gradient accumulation"


@pytest.fixture(scope="session")
def alone(server, tmp_path_factory) -> Callable[[str], Whole]:
    """alone("PET: ..."): that run, when nothing happens to it."""
    known: dict[str, Whole] = {}

    def made(what: str) -> Whole:
        if what not in known:
            known[what] = stages.whole(server, tmp_path_factory.mktemp("alone"), RUNS[what])
        return known[what]

    return made


@pytest.fixture
def folders(tmp_path) -> Iterator[Path]:
    """A new folder each time."""
    return (tmp_path / str(number) for number in range(1000))


@pytest.mark.parametrize(
    ("what", "count"), [(SEARCH, 1), (ACCUMULATION, 1), *(pytest.param(what, 24, marks=ALL) for what in RUNS)]
)
def test_kill_9(server, alone, folders, what, count):
    """Inside stages and between them; gone on with, it ends as if nothing had happened."""
    whole = alone(what)
    for fault in stages.points(whole.reached, count):
        stages.killed(server, next(folders), RUNS[what], fault, whole)


@pytest.mark.parametrize(("what", "count"), [(SEARCH, 1), *(pytest.param(what, 8, marks=ALL) for what in RUNS)])
def test_sigterm(server, alone, folders, what, count):
    """Exit code 75, and one line with the command that goes on."""
    whole = alone(what)
    for fault in stages.points(whole.reached, count, "SIGTERM_"):
        stages.told_to_end(server, next(folders), RUNS[what], fault, whole)


@pytest.fixture(scope="session")
def swept(server, tmp_path_factory) -> Callable[[str], dict]:
    """swept("a fused group"): that sweep, when nothing happens to it."""
    known: dict[str, dict] = {}

    def made(what: str) -> dict:
        if what not in known:
            known[what] = stages.whole_sweep(server, tmp_path_factory.mktemp("swept"), LAUNCHERS[what])
        return known[what]

    return made


@pytest.mark.parametrize(
    ("what", "faults"),
    [
        pytest.param("a fused group", [{"alone_in_pass": 5}], marks=ALL),
        *(pytest.param(what, stages.sweep_points(48), marks=ALL) for what in LAUNCHERS),
    ],
)
def test_a_sweep_that_is_killed(server, swept, folders, what, faults):
    """Started again at once, while jobs of the former one may be at work yet: nothing lost, doubled or failed."""
    for fault in faults:
        stages.sweep_killed(server, next(folders), LAUNCHERS[what], fault, swept(what))


@pytest.mark.parametrize(
    ("what", "faults"),
    [
        pytest.param(what, stages.sweep_points(12, "SIGTERM_") + stages.sweep_points(2, "SIGUSR2_"), marks=ALL)
        for what in LAUNCHERS
    ],
)
def test_a_sweep_that_is_told_to_end(server, swept, folders, what, faults):
    """Exit code 75, no process left behind, and the same command goes on."""
    for fault in faults:
        stages.sweep_told_to_end(server, next(folders), LAUNCHERS[what], fault, swept(what))
