"""Every shipped yaml composes, binds and says in its first line what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import initialize_config_module

from ptune import config
from ptune.check import combinations, mistakes

CONF = Path(__file__).parent.parent / "conf"


def test_every_option_of_every_group_binds() -> None:
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"):
        checked = list(combinations())
        found = {" ".join(overrides): mistakes(overrides) for overrides in checked}
    assert len(checked) > 50
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_yaml_says_what_it_is(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 20
    assert "default.yaml" not in path.name


def test_a_wrong_shipped_yaml_would_be_caught(tmp_path: Path) -> None:
    config.register()
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "bad.yaml").write_text("defaults: [ptv2, _self_]\nprompt: {lenght: 3}\n")
    with initialize_config_module("ptune.conf", version_base="1.3"):
        assert mistakes(["method=bad", f"hydra.searchpath=[file://{tmp_path}]"]) == [
            "method.prompt.lenght: not a setting of ptune.prompts.deep.Deep; did you mean 'length'?"
        ]
