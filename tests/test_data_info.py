"""ptune data info: counts of every split, beside the original's; and commands of two words."""

from __future__ import annotations

import pytest

from ptune import cli


@pytest.fixture
def ptune(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))

    def run(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


SMALL = ("data.demo.train=20", "data.demo.dev=6", "data.demo.test=4")


def test_one_task(ptune):
    """Examples, words and labels of each split, ours and the original's, and where that was read."""
    code, out, _ = ptune("data", "info", "task=conll03", *SMALL)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("conll03: demo, ")
    assert lines[1] == "SYNTHETIC: ptune invented this corpus"
    assert lines[2].split() == ["train", "dev", "test", "original", "train", "original", "dev", "original", "test"]
    assert lines[3].split() == ["examples", "20", "6", "4", "14,041", "3,250", "3,453"]
    assert lines[-1] == "original: Tjong Kim Sang and De Meulder (2003), tables 1 and 2"
    shares = [float(line.split()[2]) for line in lines if line.startswith("% ")]
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_every_task(ptune):
    """One line a task, a dash for splits that the demo does not have."""
    code, out, _ = ptune("data", "info", *SMALL)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert code == 0
    assert rows["conll03"] == ["20", "6", "4", "14,041", "3,250", "3,453"]
    assert rows["squad"] == ["20", "6", "-", "87,599", "10,570", "9,533"]
    assert rows["rte"] == ["20", "6", "4", "2,490", "277", "3,000"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data",), "ptune: 'data' takes a second word: data info"),
        (("data", "inof"), "ptune: 'data' takes a second word: data info"),
        (("data", "info", "task=conl03"), "task=conl03: no such option; did you mean 'conll03'?"),
        (("data", "info", "data.demo.nois=1"), "data.demo.nois: no such key; did you mean 'noise'?"),
        (("data", "info", "task=rte", "data=local", "data.root=nowhere"), "data.root: nowhere is not a folder"),
    ],
)
def test_mistakes(ptune, words, message):
    """One line, no traceback."""
    code, _, err = ptune(*words)
    assert code in (1, 2)
    assert err.splitlines()[0].startswith(message)
    assert "Traceback" not in err
