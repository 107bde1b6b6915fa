"""The first losses of every method are what they were, so that a refactoring changes none of them unnoticed."""

from __future__ import annotations

import json

import golden
import pytest

pytestmark = pytest.mark.xdist_group("faults")  # one server for all of them


@pytest.fixture(scope="module")
def kept() -> dict[str, list[float]]:
    """The figures as they were."""
    return json.loads(golden.FILE.read_text(encoding="utf-8"))


def test_every_method_has_some(kept):
    """And nothing else has."""
    named = {name.partition(",")[0].partition(" ")[0] for name in golden.RUNS}
    assert named == {path.stem for path in (golden.ROOT / "conf/method").glob("*.yaml")}
    assert kept.keys() == golden.RUNS.keys()


OTHER_FAMILIES = (" both", " causal")
BY_FAMILY = [
    pytest.param(name, marks=[pytest.mark.slow] if name.endswith(OTHER_FAMILIES) else []) for name in golden.RUNS
]


@pytest.mark.parametrize("name", BY_FAMILY)
def test_first_losses(server, kept, tmp_path, name):
    found = golden.figures(server, name, tmp_path)
    changed = golden.differences(found, kept[name])
    assert not changed, f"{name}: {'; '.join(changed[:3])}. {golden.ADVICE}"


def test_a_difference_is_noticed():
    """Of more than the last digits, and of the number of figures."""
    assert golden.differences([1.0, 2.0], [1.00005, 2.0]) == []
    assert golden.differences([1.0, 2.0], [1.0, 2.001]) == ["figure 2: 2 where it was 2.001"]
    assert golden.differences([1.0], [1.0, 2.0]) == ["1 figures where there were 2"]
    assert golden.differences([float("nan")], [1.0])
