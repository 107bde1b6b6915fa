"""ptune data info: counts of every split, beside the original's; and commands of two words."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """What is written, is written here."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))


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
    assert lines[-7] == "original: Tjong Kim Sang and De Meulder (2003), tables 1 and 2"
    assert lines[-6:-4] == ["kind: tag", "metrics: f1 (headline), precision, recall, f1_strict"]
    assert lines[-4] == (
        "files: train: train.txt or eng.train; dev: valid.txt or dev.txt or eng.testa; test: test.txt or eng.testb"
    )
    assert lines[-3:-1] == [
        "hub: eriktks/conll2003",
        "license: Reuters Corpus agreement; for research, with NIST (trec.nist.gov/data/reuters/reuters.html)",
    ]
    assert lines[-1].startswith("obtain: eng.train, eng.testa and eng.testb, made of the Reuters Corpus")
    shares = [float(line.split()[2]) for line in lines if line.startswith("% ")]
    assert sum(shares) == pytest.approx(100, abs=0.3)


@pytest.mark.slow
def test_every_task(ptune):
    """One line a task, a dash for splits that the demo does not have."""
    code, out, _ = ptune("data", "info", *SMALL)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert code == 0
    assert rows["conll03"] == ["20", "6", "4", "14,041", "3,250", "3,453"]
    assert rows["squad"] == ["20", "6", "-", "87,599", "10,570", "9,533"]
    assert rows["rte"] == ["20", "6", "4", "2,490", "277", "3,000"]


@pytest.mark.parametrize("task", ["conll04", "ontonotes", "conll12"])
def test_column_corpora(ptune, task):
    """Each has a demo in its original's files; what is published of the original is from where it says."""
    code, out, _ = ptune("data", "info", f"task={task}", *SMALL)
    lines = out.splitlines()
    published = {
        "conll04": (["910", "243", "288"], "original: the files as they are passed on"),
        "ontonotes": (["59,924", "8,528", "8,262"], "original: Chiu and Nichols (2016), Q16-1026"),
        "conll12": ([], ""),
    }[task]
    assert code == 0
    assert lines[3].split() == ["examples", "20", "6", "4", *published[0]]
    assert not published[1] or published[1] in lines
    assert [line.partition(":")[0] for line in lines[-2:]] == ["license", "obtain"]


def test_a_corpus_that_is_not_here(ptune):
    """What is known of it is told all the same, how to get it above all; then what is missing."""
    code, out, err = ptune("data", "info", "task=paws", "data=local", "data.root=nowhere")
    lines = out.splitlines()
    assert (code, err.splitlines()) == (
        1,
        ["data.root: nowhere is not a folder; name the one that holds paws's original files"],
    )
    assert lines[1].split() == ["examples", "49,401", "8,000", "8,000"]
    assert lines[-1].startswith("obtain: PAWS-Wiki Labeled (Final), paws_wiki_labeled_final.tar.gz of github.com/")


def test_layouts(ptune, tmp_path):
    """data.layout names which of a corpus's layouts is read; other numbers than the layout's own are said aloud."""
    rows = [{"tokens": ["Oslo"], "tags": ["U-Loc"], "orig_id": 1}]
    for split in ("train", "dev"):
        (tmp_path / f"conll04_{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    words = ("data", "info", "task=conll04", "data=local", f"data.root={tmp_path}")
    code, out, _ = ptune(*words, "data.layout=json")
    assert code == 0
    assert out.splitlines()[1] == (
        "NOT THE USUAL CONLL04: 1 in train where the original has 922; 1 in dev where the original has 231 "
        "(the files as they are passed on, and the card of DFKI-SLT/conll04 on the Hub)"
    )
    common = (
        "task=conll04",
        "method=majority",
        "backbone=tiny_encoder",
        "tracker=none",
        *words[3:],
        "data.layout=json",
    )
    code, out, err = ptune("train", *common)
    assert code == 0
    assert "warning: NOT THE USUAL CONLL04: 1 in train" in " ".join((out + err).split())
    code, _, err = ptune(*words)
    assert (code, err.strip()) == (
        1,
        f"conll04: no train and no dev data in {tmp_path}; looked for train.txt; dev.txt; "
        "for its other layout, set data.layout=json",
    )


def test_info_without_the_folder_or_without_its_use(ptune, tmp_path, monkeypatch):
    """What is read where nobody says where; and no other corpus than the one that a folder was given for."""
    monkeypatch.chdir(tmp_path)
    nowhere = "rte: no train and no dev data in .; looked for train.jsonl; val.jsonl"
    found = ptune("data", "info", "task=rte", "data=local")
    assert (found.code, found.err) == (1, f"{nowhere}; for another folder, set data.root=DIR")
    assert ptune("data", "info", "task=rte", "data.root=mine") == (
        *(2, ""),
        "data.root: only used with data=local; leave it out, or add data=local for mine",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("data", "info", "task=conll04", "data.layout=jsn"),
            "data.layout: conll04 has no layout 'jsn'; did you mean 'json'?",
        ),
        (("data",), "ptune: 'data' needs a second word: data check, data info"),
        (("data", "inof"), "ptune: 'data' needs a second word: data check, data info"),
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
