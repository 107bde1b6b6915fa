"""Every reader on every class of bad input: one line with the place and what was expected, nothing silently dropped."""

from __future__ import annotations

import json
import time
from pathlib import Path

import bad_input
import pytest
from bad_input import CLASSES, EMPTY, FORMS, GZIP, MISSING, Cell, Form, Kept, Refused, Same

from ptune.data.corpora import Corpus

ROOT = Path(__file__).parents[1]
CELLS = [
    pytest.param(form, name, cell, id=f"{form.name}-{name}-{number}")
    for form in FORMS
    for number, (name, cell) in enumerate(bad_input.cells(form))
]
TRIED = [cell for cell in CELLS if not isinstance(cell.values[2], str)]
REFUSED = [cell for cell in CELLS if isinstance(cell.values[2], Refused) and cell.values[1] != MISSING]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, Corpus]:
    """What each form's file holds as it should be."""
    return {form.name: bad_input.good(form, tmp_path_factory.mktemp("good")) for form in FORMS}


def test_every_reader_has_every_class():
    """A cell that does not apply says why; none is left out."""
    readers = {path.stem for path in (ROOT / "ptune/readers").glob("*.py")} - {"__init__", "document"}
    named = {form.name.partition(",")[0].partition(" ")[0] for form in FORMS}
    assert readers - {"roles"} == named - {"props and words"}, "roles chooses among the forms of semantic roles"
    for form in FORMS:
        assert [*dict.fromkeys(name for name, _ in bad_input.cells(form))] == [*CLASSES]
    assert len({(cell.values[0].name, cell.values[1]) for cell in CELLS}) == len(FORMS) * len(CLASSES)


@pytest.mark.parametrize(("form", "name", "cell"), TRIED)
def test_cell(form: Form, name: str, cell: Cell, good, tmp_path):
    """Refused with the place and what was expected, within a second; or read, with every example."""
    started = time.process_time()
    found = bad_input.said(form, name, cell, tmp_path)
    assert time.process_time() - started < 1
    if isinstance(cell, Same):
        assert isinstance(found, Corpus), found
        assert found.splits == good[form.name].splits
    elif isinstance(cell, Kept):
        assert isinstance(found, Corpus), found
        assert found.origin["examples"] == good[form.name].origin["examples"]
        assert found.splits != good[form.name].splits
    else:
        assert isinstance(found, str), "read as if nothing were wrong"
        path = tmp_path / (form.train + (".gz" if name == GZIP else ""))
        begins = f"{form.task}: " if name == MISSING else f"{form.begins(cell, tmp_path, name == GZIP)}: "
        assert found.startswith(begins)
        assert cell.said.format(path=path, beside=tmp_path / form.beside[0] if form.beside else "") in found
        assert "\n" not in found
        assert len(found) < 800  # all roles, where none is near


@pytest.mark.parametrize(("form", "name", "cell"), REFUSED)
def test_lenient(form: Form, name: str, cell: Refused, good, tmp_path):
    """data.lenient skips the record and counts it, with what strict reading says of it; or refuses as that does."""
    strictly = bad_input.said(form, name, cell, tmp_path)
    found = bad_input.said(form, name, cell, tmp_path, lenient=True)
    if isinstance(found, str):
        assert found == strictly
        return
    skipped = found.origin["skipped"]
    assert skipped["train"]["first"] == strictly
    assert skipped["train"]["problems"] == cell.problems
    assert [*skipped] == ["train"]
    read, whole = found.splits["train"], good[form.name].splits["train"]
    assert 0 < len(read) < len(whole) + (form.name == "columns, numbered" and name == EMPTY)  # one more, of nothing
    kept = [(example.fields, example.gold) for example in whole]
    assert all((example.fields, example.gold) in kept for example in read)
    said = f"train: {cell.problems} broken records are skipped (data.lenient); the first: {strictly}"
    assert found.warnings[-1] == said


def test_the_page_is_in_step():
    """docs/bad_input.md is what scripts/bad_input writes."""
    page = (ROOT / "docs/bad_input.md").read_text(encoding="utf-8")
    assert page == "\n".join(bad_input.table()) + "\n"


@pytest.mark.parametrize("words", [("data", "check"), ("train", "backbone=tiny_encoder", "tracker=none")])
def test_at_the_command_line(words, tmp_path, ptune):
    """The message on standard error, no traceback, no run folder."""
    form = next(form for form in FORMS if form.name == "columns, by tabs")
    for path in (form.train, form.dev):
        (tmp_path / path).write_text(form.text.replace("B-location", "B-lokation"), encoding="utf-8")
    code, _, err = ptune(*words, "task=wnut17", "data=local", f"data.root={tmp_path}")
    wanted = [
        f"{tmp_path / path}:7: 'B-lokation' (token 4) is not a type of wnut17; did you mean 'location'?"
        for path in (form.train, form.dev)
    ]
    assert code == 1
    assert err.splitlines() == ([*wanted, "2 problems"] if words[0] == "data" else wanted[:1])
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("lenient", [False, True])
def test_train_without_labels(tmp_path, ptune, lenient):
    """No run comes of it, though dev has its own; nor where leniently all but one without are left."""
    form = next(form for form in FORMS if form.name == "jsonl")
    (tmp_path / "WiC").mkdir()
    (tmp_path / form.dev).write_text(form.text, encoding="utf-8")
    rows = [{**json.loads(line), "label": None} for line in form.text.splitlines()]
    if lenient:
        rows[1:] = [json.loads(line) for line in form.text.splitlines()[1:]]
    (tmp_path / form.train).write_text(bad_input.lines_of(rows), encoding="utf-8")
    local = ("data=local", f"data.root={tmp_path}", f"data.lenient={lenient}")
    code, _, err = ptune("train", "task=wic", "method=majority", "backbone=tiny_encoder", "tracker=none", *local)
    assert (code, err) == (2, f"task: no training record of wic has a 'label' in {tmp_path / form.train}")
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_run_keeps_what_it_skipped(tmp_path, ptune):
    """data.lenient: said aloud, and in env.json and result.json with the number of sentences that were there."""
    form = next(form for form in FORMS if form.name == "columns, by tabs")
    (tmp_path / form.train).write_text(form.text.replace("B-location", "B-lokation"), encoding="utf-8")
    (tmp_path / form.dev).write_text(form.text, encoding="utf-8")
    local = ("data=local", f"data.root={tmp_path}", "data.lenient=true")
    common = ("task=wnut17", "method=majority", "backbone=tiny_encoder", "tracker=none", "hydra.run.dir=run")
    code, _, err = ptune("train", *common, *local)
    assert code == 0
    first = f"{tmp_path / form.train}:7: 'B-lokation' (token 4) is not a type of wnut17; did you mean 'location'?"
    warning = f"warning: train: 1 broken records are skipped (data.lenient); the first: {first}"
    assert warning in err.replace("\n", "")
    for name in ("env.json", "result.json"):
        kept = json.loads((tmp_path / "run" / name).read_text(encoding="utf-8"))["data"]
        assert kept["skipped"] == {"train": {"problems": 1, "first": first}}
        assert kept["parts"] == {"train": {"sentences": 3}, "dev": {"sentences": 3}}
        assert kept["examples"] == {"train": 2, "dev": 3}
