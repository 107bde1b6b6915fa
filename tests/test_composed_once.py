"""A single run, which Hydra asks for twice, is composed once, and is what Hydra composes the second time."""

from __future__ import annotations

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from hydra_plugins.ptune import register
from omegaconf import DictConfig, OmegaConf

from ptune import config, guard

SINGLE = "hydra.mode=RUN"


@pytest.fixture
def composed(monkeypatch) -> list[list[str]]:
    """The words of every composition."""
    config.register()
    register()
    real, seen = ConfigLoaderImpl.load_configuration, []

    def load(self, config_name, overrides, *args, **more) -> DictConfig:
        seen.append([*overrides])
        return real(self, config_name, overrides, *args, **more)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    return seen


def loader(kind: type[ConfigLoaderImpl]) -> ConfigLoaderImpl:
    return kind(create_config_search_path("pkg://ptune.conf"))


def asked_for_mode(hydra: ConfigLoaderImpl, words: list[str]) -> DictConfig:
    return hydra.load_configuration("train", words, RunMode.MULTIRUN, validate_sweep_overrides=False)


def plain(found: DictConfig) -> tuple[dict, dict]:
    assert OmegaConf.is_struct(found)
    return OmegaConf.to_container(found), found._metadata.flags


@pytest.mark.parametrize("words", [["task=rte"], ["experiment=demo", "seed=3", "hydra.run.dir=x", "+optim.more=null"]])
def test_a_run_is_composed_once(words, composed):
    """Hydra adds the mode to the words that it asked with; another line, or the same one again, is composed anew."""
    hydra, words = loader(guard.Loader), [*words]
    with guard.on(words):
        assert asked_for_mode(hydra, words).hydra.mode is None
        words.append(SINGLE)
        found = hydra.load_configuration("train", words, RunMode.RUN)
        assert composed == [words[:-1]]
        again = hydra.load_configuration("train", words, RunMode.RUN)
    assert composed == [words[:-1], words]
    plainly = loader(ConfigLoaderImpl).load_configuration("train", words, RunMode.RUN)
    assert plain(found) == plain(again) == plain(plainly)


@pytest.mark.parametrize("mode", [SINGLE, "hydra.mode=MULTIRUN"])
def test_a_mode_that_is_given_stays(mode, composed):
    words = ["seed=1", mode]
    hydra = loader(guard.Loader)
    with guard.on(words):
        assert asked_for_mode(hydra, words).hydra.mode == RunMode[mode.partition("=")[2]]
        hydra.load_configuration("train", words, RunMode.RUN)
    assert len(composed) == 2
