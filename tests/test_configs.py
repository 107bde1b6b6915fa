"""Every shipped yaml composes, binds and says in its first line what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module

from ptune import build, config
from ptune.commands.check import combinations, mistakes
from ptune.leaves import leaf

CONF = Path(__file__).parent.parent / "conf"


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_every_option_of_every_group_binds(every: int) -> None:
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"):
        checked = [*combinations()][::every]
        found = {" ".join(overrides): mistakes(overrides) for overrides in checked}
    assert len(checked) > 50 // every
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


def test_every_published_script_has_its_experiment() -> None:
    """A preset for each run script of P-Tuning v2, and no further one of that name."""
    rows = yaml.safe_load((CONF.parent / "ptune/assets/paper_scripts.yaml").read_text(encoding="utf-8"))["scripts"]
    assert len(rows) == 20
    named = {path.stem for path in (CONF / "experiment").glob("ptv2_*.yaml")}
    assert named == {f"ptv2_{row['script'].removeprefix('run_')}" for row in rows}


@pytest.mark.parametrize("backbone", ["gpt2_medium", "gpt2_large"])
def test_prefix_tuning_on_e2e_has_the_values_chosen_for_it(backbone: str) -> None:
    """Not the paper's general ones, which its figures on E2E are not of."""
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"):
        s = build.settings(compose("train", ["experiment=prefix_e2e", f"backbone={backbone}"]))
    assert (s.prompt_length.value, s.epochs, s.batch_size, s.optim.lr) == (5, 5, 10, 8e-5)


@pytest.mark.parametrize(
    "words",
    [["experiment=prefix_e2e"], ["experiment=prefix_webnlg"], ["experiment=prefix_low_data"], ["sweep=prefix_tuning"]],
    ids=" ".join,
)
def test_published_runs_of_prefix_tuning_drop_nothing(words: list[str]) -> None:
    """The frozen model is in eval mode in their code; the method alone leaves that to the checkpoint."""
    config.register()
    with initialize_config_module("ptune.conf", version_base="1.3"):
        for backbone in ("gpt2_medium", "gpt2_large"):
            found = build.settings(compose("train", [*words, f"backbone={backbone}", "prompt_length.value=5"]))
            dropped = leaf(found.backbone)
            assert (found.backbone["name"], dropped.dropout, dropped.attention_dropout) == (backbone, 0.0, 0.0)
            assert found.method["prompt"]["mlp_init"] == "torch"
        method = ["method=prefix_generate", "task=e2e", "backbone=gpt2_medium", "prompt_length.value=5"]
        assert leaf(build.settings(compose("train", method)).backbone).dropout is None


TASKS = sorted((CONF / "task").glob("*.yaml"))
BRIEF = ("wikiann_en", "paws")  # what CONTRIBUTING.md shows of a corpus that is a yaml and nothing else


@pytest.mark.parametrize("name", BRIEF)
def test_a_corpus_is_a_yaml_of_fifteen_lines(name: str) -> None:
    assert len((CONF / "task" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()) <= 15
    assert f"conf/task/{name}.yaml" in (CONF.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_every_task_says_its_terms(path: Path) -> None:
    """License, how to get it, and the metric that `ptune ls task` shows, which is that of its class."""
    node = yaml.safe_load(path.read_text(encoding="utf-8"))
    source = node["source"]
    assert len(source["license"]) > 10
    assert len(source["license"].partition(";")[0]) <= 32
    assert ";" in source["license"], "in short; and whose, or of what"
    assert len(source["obtain"]) > 40
    assert (source.get("metric") or node["metrics"][0]) == leaf(node).headline
