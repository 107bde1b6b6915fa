"""What strangers' files do to ptune, and what ptune tells strangers: nothing, as docs/faults.md counts."""

from __future__ import annotations

import ast
from pathlib import Path

import alone
import hostile
import pytest
import yaml

from ptune import bounded
from ptune.errors import PtuneError
from ptune.sweeps.ledger import events

ROOT = Path(__file__).parents[2]
ALL = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("faults")  # one server for all of them


@pytest.fixture(scope="session")
def given(server, tmp_path_factory) -> hostile.Sources:
    """The runs that hostile files are planted in."""
    return hostile.sources(server, tmp_path_factory.mktemp("sources"))


@pytest.mark.parametrize("count", [5, pytest.param(None, marks=ALL)])
def test_hostile_files(server, given, tmp_path, count):
    """None runs anything, hangs, or gets out; what is wrong is said in a line."""
    for number, case in enumerate(hostile.corpus(count)):
        hostile.harmless(server, given, tmp_path / f"{number}", case)


def test_corpus_is_large():
    names = [case.name for case in hostile.CORPUS]
    assert len(names) == len({*names}) >= 30


@ALL
def test_a_machine_with_nothing(tmp_path):
    """No network, key, terminal or home: it trains, evaluates and reports, and asks nobody."""
    alone.nothing(tmp_path / "work")


@ALL
def test_a_machine_full_of_secrets(tmp_path):
    """Ten of them, in the environment, on the command line and in settings: none is in any file."""
    alone.secrets(tmp_path / "work")
    for name in alone.CANARIES:
        alone.canary(tmp_path / "work", name)


# What would let a file run something has no place in the code, but where it is named here

CALLS = {"eval", "exec", "compile", "__import__", "extractall", "unpack_archive", "instantiate", "literal_eval"}
MODULES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib", "zipfile", "tarfile", "runpy", "code"}
KNOWN = {
    ("ptune/backbones/__init__.py", "from pickle import UnpicklingError"),  # what torch.load raises
    ("ptune/launchers/submitit.py", "pickle_load"),  # submitit's own format, of jobs that this process submitted
}


def found_in(path: Path) -> list[tuple[str, str]]:
    """(file, what it does) of what a file might be run by."""
    name, found = str(path.relative_to(ROOT)), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [f"import {each.name}" for each in node.names if each.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in MODULES:
            found += [f"from {node.module} import {', '.join(each.name for each in node.names)}"]
        elif isinstance(node, ast.Call):
            given = {word.arg: word.value for word in node.keywords}
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if called in CALLS and not (owner and called in ("eval", "compile")):  # model.eval(), re.compile()
                found.append(ast.unparse(node.func))
            if called == "pickle_load":
                found.append(called)
            if owner == "torch" and called == "load" and ast.unparse(given.get("weights_only", node)) != "True":
                found.append("torch.load")
            if "trust_remote_code" in given and ast.unparse(given["trust_remote_code"]) != "False":
                found.append("trust_remote_code")
            if owner == "OmegaConf" and called == "load":
                found.append("OmegaConf.load")
            if owner == "yaml" and called.endswith("load") and called != "safe_load" and name != "ptune/bounded.py":
                found.append(f"yaml.{called}")
    return [(name, what) for what in found]


def test_nothing_in_the_code_runs_files():
    """No pickle, no remote code, no archive, no evaluated text."""
    files = [path for path in (ROOT / "ptune").rglob("*.py") if "demo" not in path.parts]
    found = {each for path in files for each in found_in(path)}
    assert found == KNOWN


# Bounds


def test_what_stands_before_hydra_is_gone_after_a_command(ptune):
    """A process that goes on after one composes as if nothing had been."""
    from hydra._internal import hydra as program
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    assert ptune("ls", "debug").code == 0
    assert vars(program)["ConfigLoaderImpl"] is ConfigLoaderImpl


def test_bounds_of_yaml(tmp_path):
    """Aliases count each time, whatever they stand for; honest ones are read."""
    assert bounded.parse_yaml("a: &x [1, 2]\nb: *x\n", "f") == {"a": [1, 2], "b": [1, 2]}
    for text, said in (
        (hostile.laughs(), "more than 50,000 values, counting those of aliases"),
        ("a: &x [*x]", "alias *x is undefined or refers to itself"),
        ("[" * 65 + "]" * 65, "values are nested more than 64 deep"),
        (hostile.ladder(), "values are nested more than 64 deep"),
        ("a" * (2**20 + 1), "1,048,577 characters; the limit is 1,048,576"),
    ):
        with pytest.raises(yaml.YAMLError) as error:
            bounded.check(text)
        assert str(error.value) == said
    with pytest.raises(PtuneError, match=r"f: not YAML \(.*python/object"):
        bounded.parse_yaml("!!python/object/apply:os.system ['true']", "f")


def test_bounds_of_yaml_are_of_what_aliases_stand_for():
    """The most that is taken, whichever way it is written."""
    inner, outer = "[" * 31 + "]" * 31, ("[" * 32, "]" * 32)
    assert bounded.parse_yaml(f"a: &x {inner}\nb: {outer[0]}*x{outer[1]}\n", "f")
    with pytest.raises(yaml.YAMLError, match="nested more than"):
        bounded.check(f"a: &x {inner}\nb: [{outer[0]}*x{outer[1]}]\n")


def test_bounds_of_json(tmp_path):
    assert bounded.parse_json("[" * 64 + "]" * 64, "f")
    for text in ("[" * 65 + "]" * 65, "[" * 10**6, "{", "9" * 10**4):
        with pytest.raises(PtuneError, match="f: damaged"):
            bounded.parse_json(text, "f")
    with pytest.raises(PtuneError, match="not a file"):
        bounded.text(tmp_path)


def test_names():
    """What stands in the name of a file or folder is no way to another."""
    assert all(bounded.plain(name) for name in ("rte", "dev_mismatched", "a b", "P=20", "..a"))
    assert not any(bounded.plain(name) for name in ("", ".", "..", "a/b", "../a", "/a", "a\\b", "a\0", "a" * 200))


def test_ledger_keeps_what_is_an_event(tmp_path):
    good = hostile.event()
    (tmp_path / "ledger.jsonl").write_text(f"[1]\n7\n{hostile.DEEP}\n{hostile.event(folder=7)}{good}{{")
    assert [event["folder"] for event in events(tmp_path)] == ["job"]
