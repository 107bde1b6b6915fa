"""Tables in text: tsv without quotes, csv with them, and what is wrong with a row, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ptune.config import Data
from ptune.data import corpora
from ptune.errors import DataError
from ptune.leaves import leaf
from ptune.readers import delimited

ROOT = Path(__file__).parents[1]


def read(path, text, **options):
    path.write_text(text, encoding="utf-8", newline="")
    return list(delimited.read(path, **options))


def test_tsv_with_a_header(tmp_path):
    """Quotation marks are text, and a line is a row."""
    records = read(tmp_path / "a.tsv", 'sentence\tlabel\n"so" dull\t0\nfine\t1\n')
    assert [record.values for record in records] == [
        {"sentence": '"so" dull', "label": "0"},
        {"sentence": "fine", "label": "1"},
    ]
    assert [record.where for record in records] == [f"{tmp_path / 'a.tsv'}:2", f"{tmp_path / 'a.tsv'}:3"]


def test_csv_with_names_and_quotes(tmp_path):
    """A quoted cell holds commas and line ends; the row begins where it begins."""
    text = '"3","Oil, up","two\nlines"\r\n"1","War","said ""no"""\r\n'
    records = read(tmp_path / "a.csv", text, delimiter=",", quoted=True, names=["label", "title", "description"],
                   values={"label": {"1": "World", "3": "Business"}})  # fmt: skip
    assert [record.values for record in records] == [
        {"label": "Business", "title": "Oil, up", "description": "two\nlines"},
        {"label": "World", "title": "War", "description": 'said "no"'},
    ]
    assert [record.where.rpartition(":")[2] for record in records] == ["1", "3"]


@pytest.mark.parametrize(
    ("text", "options", "line", "message"),
    [
        ("a\tb\n1\n", {}, 2, "1 columns where 2 are needed (a, b)"),
        ("a\tb\n1\t2\t3\n", {}, 2, "3 columns where 2 are needed (a, b)"),
        ("a\tb\n1\t2\n", {"values": {"b": {"0": "no", "1": "yes"}}}, 2, "'2' in column 'b'; one of: 0, 1"),
        ('a,b\n"1,2\n', {"delimiter": ",", "quoted": True}, 2, "not a row of a table (unexpected end of data)"),
        ("a\tb\n1\t\0\n", {}, 2, "a NUL character; the file is damaged or not text"),
    ],
)
def test_mistakes(tmp_path, text, options, line, message):
    """One line with the place."""
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x", text, **options)
    assert str(caught.value) == f"{tmp_path / 'x'}:{line}: {message}"


@pytest.mark.parametrize("task", ["sst2", "agnews"])
def test_the_demo_in_tables(settings, task, tmp_path, monkeypatch):
    """The shipped yamls read what the demo writes; both have every label."""
    from ptune import build

    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path))
    found = settings(f"task={task}", "data=demo", "data.demo.train=60", "data.demo.dev=30", "data.demo.test=10",
                     "backbone=tiny_encoder", "method=majority")  # fmt: skip
    corpus = corpora.load(build.leaf(found.task), found.data)
    assert corpus.origin["examples"] == {"train": 60, "dev": 30, "test": 10}
    assert {example.gold for example in corpus.splits["train"]} == set(found.task["labels"])
    assert corpus.labeled("test") == (task == "agnews")


def test_paws(tmp_path):
    """The shipped yaml reads the files of PAWS-Wiki, in the folder that they are packed in; a label is 0 or 1."""
    task = leaf(yaml.safe_load((ROOT / "conf/task/paws.yaml").read_text(encoding="utf-8")))
    header = "id\tsentence1\tsentence2\tlabel\n"
    (tmp_path / "final").mkdir()
    for split in ("train", "dev", "test"):
        rows = f'1\t"{split}" is A , not B .\tB is {split} .\t0\n2\tA is B .\tB is A .\t1\n'
        (tmp_path / "final" / f"{split}.tsv").write_text(header + rows, encoding="utf-8")
    found = corpora.load(task, Data(source="local", root=str(tmp_path)))
    for split in ("train", "dev", "test"):
        first, second = found.splits[split]
        assert first.fields == {"sentence1": f'"{split}" is A , not B .', "sentence2": f"B is {split} ."}
        assert (first.gold, second.gold) == ("different", "paraphrase")
    (tmp_path / "final" / "dev.tsv").write_text(header + "1\tA .\tB .\t2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.tsv:2: '2' in column 'label'; one of: 0, 1"):
        corpora.load(task, Data(source="local", root=str(tmp_path)))
