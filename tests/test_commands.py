"""eval, predict, report and export on finished runs: from the folder alone, wherever one stands."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from command_line import call
from safetensors.torch import load_file, save_file

from ptune.commands import report
from ptune.commands.predict import header_names, parse_lines
from ptune.data.schemes import from_iob2, spans, to_iob2
from ptune.errors import DataError
from ptune.leaves import leaf
from ptune.readers import Record
from ptune.runs.folder import RunFolder, sha256


@pytest.fixture(scope="module")
def runs(tmp_path_factory, bert_folder, examples) -> Path:
    """Finished runs below one folder, trained from another one with relative paths."""
    base = tmp_path_factory.mktemp("runs")
    sentences = [
        "".join(f"{word} x x {tag}\n" for word, tag in zip(e.fields["tokens"], e.gold, strict=True))
        for e in examples["conll03"]
    ]
    (base / "data" / "conll03").mkdir(parents=True)
    (base / "data" / "RTE").mkdir()
    for ner, rte, part in (
        ("train", "train", slice(0, 8)),
        ("valid", "val", slice(0, 4)),
        ("test", None, slice(3, 8)),
    ):
        (base / "data" / "conll03" / f"{ner}.txt").write_text("\n".join(sentences[part]), encoding="utf-8")
        if rte:
            rows = [{**e.fields, "label": e.gold} for e in examples["rte"][part]]
            (base / "data" / "RTE" / f"{rte}.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
            )
    where = os.getcwd()
    os.chdir(base)
    common = [
        "data=local",
        "data.root=data",
        "backbone=local",
        f"backbone.path={os.path.relpath(bert_folder)}",
        "tracker=none",
        "epochs=2",
        "batch_size=4",
        "prompt_length.value=3",
        "quiet=true",
    ]
    try:
        for name, *more in (
            ("ner", "task=conll03", "method=ptv2", "optim.lr=0.05", "data.max_length=24"),
            ("rte", "task=rte", "method=ptv2", "optim.lr=0.05", "seed=3"),
            ("soft", "task=rte", "method=prompt_tuning", "epochs=1"),
            ("majority", "task=rte", "method=majority"),
        ):
            assert call("train", *common, *more, f"hydra.run.dir=finished/{name}") == 0, name
    finally:
        os.chdir(where)
    unfinished = base / "unfinished"
    unfinished.mkdir()
    shutil.copy(base / "finished" / "rte" / "config.yaml", unfinished)
    return base


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# Refusals that the commands share


@pytest.mark.parametrize("words", [["eval"], ["predict", "input=INPUT"], ["export", "out=out"]])
def test_no_run(ptune, runs, tmp_path, words):
    """One line each: no folder, none of a run, an unfinished run, a run without a model, damaged weights."""
    (tmp_path / "in.txt").write_text("a\tb\n")
    words = [word.replace("INPUT", str(tmp_path / "in.txt")) for word in words]

    def refused(run: Path | str, code: int = 1) -> str:
        found = ptune(*words, f"run={run}")
        assert (found.code, found.out) == (code, "")
        assert not (tmp_path / "out").exists()
        return found.err

    assert refused("nowhere", 2) == "there is no folder nowhere"
    (tmp_path / "bare").mkdir()
    assert refused("bare", 2) == "bare is not a run folder: it has no config.yaml"
    for name in ("a/one", "a/one/stages/joint", "a/b/two", "three"):
        (tmp_path / "bare" / name).mkdir(parents=True)
        (tmp_path / "bare" / name / "config.yaml").touch()
    below = "bare is not a run folder: it has no config.yaml; runs below it: bare/a/b/two, bare/a/one, bare/three"
    assert refused("bare", 2) == below
    shutil.copytree(tmp_path / "bare" / "a", tmp_path / "bare" / "y")
    assert refused("bare", 2) == f"{below} and 2 more"
    unfinished = runs / "unfinished"
    assert (
        refused(unfinished)
        == f"{unfinished} has no result.json: the run is not finished; to finish it: ptune train resume={unfinished}"
    )
    majority = runs / "finished" / "majority"
    assert refused(majority) == (f"{majority}: a majority run has no model; its figures are in result.json")
    damaged = shutil.copytree(
        runs / "finished" / "rte", tmp_path / "damaged", ignore=shutil.ignore_patterns("checkpoints")
    )
    (damaged / "tuned.safetensors").write_bytes(b"no")
    assert refused(damaged).startswith(f"{damaged / 'tuned.safetensors'}: missing or damaged (")
    shutil.copy(runs / "finished" / "soft" / "tuned.safetensors", damaged)
    assert refused(damaged).startswith(f"{damaged / 'tuned.safetensors'}: does not fit config.yaml (")


@pytest.mark.parametrize("words", [["eval"], ["predict", "input=in.txt"], ["export", "to=folder", "out=out"]])
def test_other_weights_than_the_runs(ptune, runs, bert_folder, tmp_path, words):
    """Of the run itself and of its backbone: both checksums and the cure are told; what tells of none is taken."""
    (tmp_path / "in.txt").write_text("a\tb\n")
    run = shutil.copytree(runs / "finished" / "rte", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    trained, config = result(run)["weights"], (run / "config.yaml").read_text(encoding="utf-8")
    tensors = load_file(run / "tuned.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, run / "tuned.safetensors")
    now, then = sha256(run / "tuned.safetensors")[:12], trained["tuned"][:12]
    found = ptune(*words, "run=run")
    assert (found.code, found.err) == (
        1,
        f"run/tuned.safetensors: not the weights of result.json (sha256 {now}, there {then}); put back the file that "
        "the run wrote, or train it again",
    )
    other = shutil.copytree(bert_folder, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({n: t + 1 for n, t in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    (run / "config.yaml").write_text(config.replace(str(bert_folder), str(other)), encoding="utf-8")
    now, then = sha256(other / "model.safetensors")[:12], trained["backbone"]["sha256"][:12]
    found = ptune(*words, "run=run")
    assert (found.code, found.err) == (
        1,
        f"run: was trained with weights of {bert_folder.name} whose sha256 begins with {then}, and {other} has {now}; "
        "put that checkpoint back, or name its folder as backbone.path in the run's config.yaml",
    )
    told = result(run)
    del told["weights"]
    (run / "result.json").write_text(json.dumps(told), encoding="utf-8")
    (run / "config.yaml").write_text(config, encoding="utf-8")
    assert ptune(*words, "run=run").code == 0


def test_run_must_be_given(ptune):
    """The key is named."""
    for command in ("eval", "predict"):
        found = ptune(command)
        assert (found.code, found.out) == (2, "")
        assert found.err.startswith("run: must be given")


# eval


@pytest.mark.parametrize("name", ["ner", "rte", "soft"])
def test_eval_repeats_the_result(ptune, runs, name):
    """The very same figures, from another folder, without any setting repeated."""
    folder = runs / "finished" / name
    expected = result(folder)
    found = ptune("eval", str(folder))
    assert found.code == 0, found.err
    again = json.loads((folder / f"eval_{expected['report_on']}.json").read_text(encoding="utf-8"))
    assert again["scores"] == expected["best"]["report"]
    assert again["interval"] == expected["interval"]
    assert again["majority"][expected["metric"]] == expected["majority"]
    assert f"{expected['score']:.2f}" in found.out
    assert f"{expected['score']:.2f}" not in found.err
    told = f"{expected['method']} on {expected['task']}" + " (synthetic)" * expected["synthetic"]
    assert found.out.splitlines()[0].strip() == told


def test_eval_of_another_split(ptune, runs):
    """dev of a run that reports test; and a split that has no labels is refused."""
    folder = runs / "finished" / "ner"
    assert ptune("eval", str(folder), "split=dev").code == 0
    scores = json.loads((folder / "eval_dev.json").read_text(encoding="utf-8"))["scores"]
    assert scores == result(folder)["best"]["select"]
    found = ptune("eval", str(runs / "finished" / "rte"), "split=test")
    assert (found.code, found.err) == (2, "split: rte has no split 'test'; one of: train, dev")
    found = ptune("eval", str(runs / "finished" / "rte"), "split=tset")
    assert (found.code, found.err) == (2, "split: rte has no split 'tset'; one of: train, dev")


def test_eval_batch_size_changes_nothing(ptune, runs):
    """Padding is of no consequence."""
    folder = runs / "finished" / "ner"
    before = result(folder)["best"]["report"]
    assert ptune("eval", str(folder), "batch_size=1").code == 0
    assert json.loads((folder / "eval_test.json").read_text(encoding="utf-8"))["scores"] == before


def test_eval_of_data_that_has_changed(ptune, runs, tmp_path):
    """Is told, and kept beside the scores."""
    run = shutil.copytree(runs / "finished" / "rte", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    assert ptune("eval", "run=run").code == 0
    before = json.loads((run / "eval_dev.json").read_text(encoding="utf-8"))
    assert "changed" not in before
    data = shutil.copytree(runs / "data", tmp_path / "data")
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace(str(runs / "data"), str(data)), encoding="utf-8")
    lines = rows((data / "RTE" / "val.jsonl").read_text(encoding="utf-8"))
    lines[0]["premise"] += " And more."
    (data / "RTE" / "val.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    shutil.copytree(run, tmp_path / "again")
    for words, name in (("run=run", "eval_dev"), ("run=run,again", "ensemble_dev")):
        found = ptune("eval", words)
        assert found.code == 0, found.err
        now = json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
        assert now["changed"]
        said = " ".join(found.err.split())
        assert f"dev: its examples differ from those that run was scored on (sha256 {now['sha256'][:12]} now, " in said
        assert before["sha256"][:12] in said


def test_eval_does_not_compose(ptune, runs, tmp_path):
    """What the configurations would say today does not matter: the stored one alone is read."""
    copy = shutil.copytree(runs / "finished" / "rte", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    text = (copy / "config.yaml").read_text(encoding="utf-8")
    assert "${" not in text
    (copy / "config.yaml").write_text(text.replace("seed: 3", "seed: 99"), encoding="utf-8")
    shutil.rmtree(copy / ".hydra", ignore_errors=True)
    assert ptune("eval", "run=run").code == 0
    assert json.loads((copy / "eval_dev.json").read_text(encoding="utf-8"))["scores"] == result(copy)["best"]["report"]


# predict


@pytest.fixture
def standard_input(monkeypatch):
    """Put bytes where the program reads its standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_predict_repeats_predictions(ptune, runs, tmp_path):
    """JSON lines in: predictions and scores are those of the run, each with its fields, in order."""
    for name, fields in (("ner", ["tokens"]), ("rte", ["premise", "hypothesis"])):
        folder = runs / "finished" / name
        expected = rows((folder / "predictions.jsonl").read_text(encoding="utf-8"))
        source = tmp_path / f"{name}.jsonl"
        source.write_text(
            "".join(json.dumps({key: row[key] for key in fields}) + "\n\n" for row in expected),
            encoding="utf-8",
        )
        found = ptune("predict", str(folder), f"input={source}")
        assert found.code == 0, found.err
        for ours, theirs in zip(rows(found.out), expected, strict=True):
            assert {key: ours[key] for key in fields} == {key: theirs[key] for key in fields}
            assert ours["prediction"] == theirs["prediction"]
            if name == "rte":
                assert ours["scores"] == pytest.approx(theirs["scores"], abs=2e-6)


def test_predict_text(ptune, runs, tmp_path, standard_input):
    """Lines of text, from a file or from standard input, with BOM and CRLF or not, into a file or standard output."""
    ner, rte = runs / "finished" / "ner", runs / "finished" / "rte"
    expected = rows((rte / "predictions.jsonl").read_text(encoding="utf-8"))
    lines = [f"{row['premise']}\t{row['hypothesis']}" for row in expected]
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found = ptune("predict", str(rte), "input=in.txt", "output=out.jsonl", "batch_size=1")
    assert (found.code, found.out) == (0, "")
    told = rows((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert [row["prediction"] for row in told] == [row["prediction"] for row in expected]
    standard_input("\n".join(lines).encode() + b"\n")
    for ours, theirs in zip(rows(ptune("predict", str(rte)).out), told, strict=True):
        assert ours.pop("scores") == pytest.approx(theirs.pop("scores"), abs=2e-6)  # in another batch
        assert ours == theirs
    expected = rows((ner / "predictions.jsonl").read_text(encoding="utf-8"))
    standard_input("".join(" ".join(row["tokens"]) + "\n" for row in expected).encode())
    assert [row["prediction"] for row in rows(ptune("predict", str(ner), "input=-").out)] == [
        row["prediction"] for row in expected
    ]


def test_predict_in_a_scheme(ptune, runs, bert_folder, tmp_path):
    """Tags come out in the scheme that is asked for, with the spans that were predicted; other tasks have none."""
    words = ("method=linear_probe", "max_steps=1", "optim.lr=1e-9", "tracker=none", "quiet=true")  # as good as random
    data = ("data=local", f"data.root={runs / 'data'}", "backbone=local", f"backbone.path={bert_folder}")
    assert ptune("train", "task=conll03", *words, *data, "hydra.run.dir=random").code == 0
    expected = rows((tmp_path / "random" / "predictions.jsonl").read_text(encoding="utf-8"))
    assert any(tag[0] == "I" for row in expected for tag in row["prediction"])
    (tmp_path / "in.txt").write_text("".join(" ".join(row["tokens"]) + "\n" for row in expected), encoding="utf-8")
    for scheme in ("iob1", "iob2", "bioes", "bilou"):
        told = [row["prediction"] for row in rows(ptune("predict", "random", "input=in.txt", f"scheme={scheme}").out)]
        assert told == [from_iob2(row["prediction"], scheme) for row in expected]
        assert [list(spans(to_iob2(tags, scheme))) for tags in told] == [
            list(spans(row["prediction"])) for row in expected
        ]
    found = ptune("predict", "random", "input=in.txt", "scheme=biose")
    assert (found.code, found.err) == (2, "scheme: 'biose' is not a choice; did you mean 'bioes'?")
    found = ptune("predict", str(runs / "finished" / "rte"), "input=in.txt", "scheme=bioes")
    assert (found.code, found.err) == (2, "scheme: rte predicts no tags; leave it out")


def test_predict_labels_are_not_read(ptune, runs, tmp_path):
    """Gold labels in the input are passed on, and change nothing."""
    rte = runs / "finished" / "rte"
    pair = {"premise": "Anna lives in Oslo.", "hypothesis": "Oslo is far."}
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({**pair, "label": label, "more": [1]}) + "\n" for label in ("entailment", "not_entailment"))
    )
    first, second = rows(ptune("predict", str(rte), "input=in.jsonl").out)
    assert first.pop("label") == "entailment"
    assert second.pop("label") == "not_entailment"
    assert first == second
    assert first["more"] == [1]


def test_predict_columns(ptune, runs, tmp_path):
    """A first line that names the task's fields is no example: columns go by its names, a label changes nothing."""
    rte = str(runs / "finished" / "rte")
    (tmp_path / "plain.tsv").write_text("Anna lives in Oslo.\tOslo is far.\n")
    (plain,) = rows(ptune("predict", rte, "input=plain.tsv").out)
    table = "\nlabel\thypothesis\tpremise\nentailment\tOslo is far.\tAnna lives in Oslo.\n\n"
    (tmp_path / "table.tsv").write_text(table)
    (found,) = rows(ptune("predict", rte, "input=table.tsv").out)
    assert found.pop("label") == "entailment"
    assert found == plain
    (tmp_path / "short.tsv").write_text(f"{table}Oslo is far.\tAnna lives in Oslo.\n")
    told = ptune("predict", rte, "input=short.tsv")
    wanted = "short.tsv:5: 2 columns where the first line names 3: label, hypothesis, premise"
    assert (told.code, told.err) == (1, wanted)


def test_columns_stand_as_in_the_tasks_own_tables(settings):
    """Commas and quotation marks where its files have them; a text with one that never closes is a text."""
    task = leaf(settings("task=agnews").task)
    table = ['label,title,"description"', '1,"Rain, again","It ""rains""."', "2,Goal"]
    found = parse_lines([(f"f:{i}", line) for i, line in enumerate(table, 1)], task)
    assert next(found) == Record("f:2", {"label": "1", "title": "Rain, again", "description": 'It "rains".'})
    with pytest.raises(DataError, match="f:3: 2 columns where the first line names 3: label, title, description"):
        next(found)
    found = parse_lines([("f:1", "title,description"), ("f:2", 'a,"b')], task)
    with pytest.raises(DataError, match="f:2: not a row of a table"):
        next(found)
    assert header_names('"Rain\tagain', task) == []


def test_predict_errors(ptune, runs, tmp_path, standard_input):
    """The file, the line, and what would be right."""
    ner, rte = runs / "finished" / "ner", runs / "finished" / "rte"

    def refused(run: Path, content: bytes) -> str:
        (tmp_path / "in").write_bytes(content)
        found = ptune("predict", str(run), "input=in")
        assert found.code == 1
        return found.err

    found = ptune("predict", str(rte), "input=no.txt")
    assert (found.code, found.err) == (2, "input: there is no file no.txt; name one, or - for standard input")
    forms = "other forms: a first line that names the columns, or JSON lines"
    texts = f"1 text where rte needs 2, separated by tabs: premise, hypothesis; {forms}"
    assert refused(rte, b"a\tb\n\nc\n") == f"in:3: {texts}"
    assert refused(rte, b'a\tb\n{"premise": \n') == "in:2: not JSON (Expecting value: line 1 column 13 (char 12))"
    assert refused(rte, b'\n{"premise": "a"}\n') == "in:2: no text in 'hypothesis'; rte needs premise, hypothesis"
    assert refused(rte, b"a\tb\n\xff\tb\n") == "in:2: byte 1 is not UTF-8; convert the file to UTF-8"
    assert refused(ner, b'{"tokens": ["a", 1]}\n') == "in:1: no tokens; conll03 needs a list of words in 'tokens'"
    assert (
        refused(ner, b'{"tokens": ["\\ud800"]}\n') == "in:1: half a character (a lone surrogate); the file is damaged"
    )
    standard_input(b"a\n")
    found = ptune("predict", str(rte))
    assert (found.code, found.err) == (1, f"standard input:1: {texts}")


def test_predict_keeps_what_it_would_write_over(ptune, runs, tmp_path):
    """The input is no place for the output, and old answers stay where a line is bad; folders are made first."""
    rte = str(runs / "finished" / "rte")
    (tmp_path / "in.txt").write_text("a\tb\n")
    os.link(tmp_path / "in.txt", tmp_path / "same.txt")
    for name in ("in.txt", "./in.txt", "same.txt"):
        found = ptune("predict", rte, "input=in.txt", f"output={name}")
        assert (found.code, found.err) == (2, f"output: {name} is the input; name another file")
    assert (tmp_path / "in.txt").read_text() == "a\tb\n"
    assert ptune("predict", rte, "input=in.txt", "output=new/folder/out.jsonl").code == 0
    before = (tmp_path / "new/folder/out.jsonl").read_bytes()
    assert len(before.splitlines()) == 1
    (tmp_path / "bad.txt").write_text("a\tb\n" * 20 + "a\n")
    found = ptune("predict", rte, "input=bad.txt", "output=new/folder/out.jsonl", "batch_size=1")
    assert found.code == 1
    assert found.err.startswith("bad.txt:21: ")
    assert (tmp_path / "new/folder/out.jsonl").read_bytes() == before
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["out.jsonl"]
    (tmp_path / "link.jsonl").symlink_to("new/folder/out.jsonl")
    assert ptune("predict", rte, "input=bad.txt", "output=link.jsonl").code == 1
    (tmp_path / "bad.txt").write_text("a\tb\n" * 2)
    assert ptune("predict", rte, "input=bad.txt", "output=link.jsonl").code == 0
    assert len((tmp_path / "new/folder/out.jsonl").read_bytes().splitlines()) == 2


def test_predict_into_what_is_no_file(ptune, runs, tmp_path, monkeypatch):
    """A pipe is written to, and a folder refused, before a model is loaded."""
    (tmp_path / "in.txt").write_text("a\tb\n")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert ptune("predict", str(runs / "finished" / "rte"), "input=in.txt", "output=pipe").code == 0
    assert json.loads(os.read(reader, 9999))["hypothesis"] == "b"
    os.close(reader)
    monkeypatch.setattr(
        "ptune.runs.restore.restore_together", lambda *given, **named: pytest.fail("a model was loaded")
    )
    found = ptune("predict", str(runs / "finished" / "rte"), "input=in.txt", f"output={tmp_path}")
    assert (found.code, found.err) == (1, f"{tmp_path}: is a directory; choose another place")
    found = ptune("predict", str(runs / "finished" / "rte"), "input=in.txt", "output=in.txt/out.jsonl")
    assert (found.code, found.out) == (1, "")
    assert found.err.endswith("/in.txt: file exists; choose another place")


@pytest.mark.parametrize("words", [["eval"], ["predict", "input=in.txt"], ["predict", "submission=true"]])
@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_examples(ptune, runs, tmp_path, words, size):
    (tmp_path / "in.txt").write_text("a\tb\n")
    found = ptune(*words, f"run={runs / 'finished' / 'rte'}", f"batch_size={size}")
    assert (found.code, found.err, found.out) == (2, f"batch_size: {size} is too small; at least 1", "")


# report


@pytest.fixture
def finished(runs, tmp_path) -> Path:
    """Results and nothing else."""
    for name in ("ner", "rte", "majority"):
        (tmp_path / "some" / name).mkdir(parents=True)
        shutil.copy(runs / "finished" / name / "result.json", tmp_path / "some" / name)
    return tmp_path / "some"


def test_report(ptune, finished):
    """The same rows as a table, as Markdown and as CSV, each with majority class and interval."""
    found = ptune("report", "some", "format=csv")
    assert found.code == 0, found.err
    table = list(csv.DictReader(io.StringIO(found.out)))
    assert [row["run"] for row in table] == ["some/majority", "some/ner", "some/rte"]
    expected = result(finished / "rte")
    row = table[2]
    assert row["method"] == "ptv2"
    assert row["task"] == "rte"
    assert row["P"] == "3"
    assert row["seed"] == "3"
    assert row["score"] == f"{expected['score']:.2f}"
    assert row["majority"] == f"{expected['majority']:.2f}"
    assert [row["95% interval low"], row["95% interval high"]] == [f"{bound:.1f}" for bound in expected["interval"]]
    assert row["metric"] == "dev accuracy (selected on)"
    assert table[1]["metric"] == "test f1"
    assert row["trained"] == row["stored"] == str(expected["parameters"]["trained"])
    told = {
        "trained": f"{int(row['trained']):,}",
        "stored": f"{int(row['stored']):,}",
        "bytes": f"{int(row['bytes']):,}",
    }
    interval = f"[{row['95% interval low']}, {row.pop('95% interval high')}]"
    row = {name: interval if name == "95% interval low" else told.get(name, cell) for name, cell in row.items()}
    markdown = ptune("report", "some", "format=markdown").out.splitlines()
    assert len(markdown) == 5
    assert markdown[1].startswith("| --- | ---: |")
    assert [cell.strip() for cell in markdown[4].strip("|").split("|")] == list(row.values())
    shown = ptune("report", "some").out.splitlines()
    assert len(shown) == 7  # the backbone is said below
    assert shown[0].startswith("method")
    for column, cell in row.items():
        assert cell.removeprefix("some/") in shown[3] or column == "backbone"
    assert shown[6] == "runs below some"


def test_operations_are_estimated(runs):
    """Of a run that trained: prompts of a frozen backbone cost about two forward passes an example; of others none."""
    told = result(runs / "finished" / "rte")
    passes = told["flop"]["training"] / told["steps"] / told["flop"]["example"]
    assert 1.5 < passes / RunFolder(runs / "finished" / "rte").read_config()["batch_size"] < 2.5
    assert "flop" not in result(runs / "finished" / "majority")


def test_report_says_once_what_all_runs_share(ptune, finished, tmp_path):
    """On the terminal: settings alone are left out of the rows, never a figure, however equal."""
    for name in ("one", "two"):
        shutil.copytree(finished / "rte", tmp_path / "same" / name)
    shown = ptune("report", "same").out.splitlines()
    assert not {"task", "backbone", "seed", "metric"} & set(shown[0].split())
    assert {"score", "last", "bytes", "seconds", "run"} <= set(shown[0].split())
    assert shown[4].startswith("all with task rte, backbone ")
    assert "P 3, seed 3" in shown[4]
    assert "metric dev accuracy (selected on)" in shown[4]
    assert "a seed that was run again: same/" in shown[5]


@pytest.mark.parametrize("width", [100, 80])
def test_a_run_can_be_copied_from_a_narrow_terminal(monkeypatch, capsys, width):
    """Its folder stays on one line where other columns can go."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    name = "conll03/ptv2/20260101-000000-000001"
    long = ["ptv2", "conll03 (synthetic)", "80.65", "[77.5, 83.6]", "79.12", "1,518,729", "6,083,244", "14.0", name]
    other = [*long[:-1], name.replace("ptv2", "bitfit")]
    other[0] = "bitfit"
    columns = ["method", "task", "score", "95% interval", "last", "trained", "bytes", "seconds", "run"]
    report.draw(columns, [long, other], whole=("run",))
    said = capsys.readouterr().out
    assert name in said
    assert "too narrow for" in said


@pytest.mark.parametrize("width", [60, 40])
def test_nothing_is_cut_off_on_a_narrow_terminal(monkeypatch, capsys, width):
    """What has no room follows in tables below, whose rows are named again."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    columns = ["method", "task", "backbone", "P", "against", "difference", "95% of it", "p (Holm)", "metric"]
    row = ["ptv2", "rte (synthetic)", "tiny_encoder", "20", "finetune", "+2.50", "[-7.5, +15.0]", "0.731", "test f1"]
    report.draw(columns, [row])
    said = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert said.count("\n\nmethod ") == said.count("\nptv2 ") - 1 > 0
    assert max(map(len, said.splitlines())) <= width
    words = " ".join(said.split())
    assert all(text in words for text in (*columns[4:], *row[3:]))
    assert "too narrow" not in said


def test_report_tells_layouts_apart(ptune, finished):
    """Scores on two layouts of a corpus are of other splits: the task's cell says which."""
    told = result(finished / "ner")
    told["data"]["layout"] = "json"
    (finished / "ner" / "result.json").write_text(json.dumps(told), encoding="utf-8")
    table = list(csv.DictReader(io.StringIO(ptune("report", "some", "format=csv").out)))
    assert {row["run"]: row["task"] for row in table} == {
        "some/majority": result(finished / "majority")["task"]
        + " (synthetic)" * result(finished / "majority")["synthetic"],
        "some/ner": "conll03 json" + " (synthetic)" * told["synthetic"],
        "some/rte": "rte" + " (synthetic)" * result(finished / "rte")["synthetic"],
    }


def test_report_by_score(ptune, finished):
    """sort=score: the best first."""
    by_score = list(csv.DictReader(io.StringIO(ptune("report", "some", "format=csv", "sort=score").out)))
    scores = [float(row["score"]) for row in by_score]
    assert scores == sorted(scores, reverse=True)


def test_report_errors(ptune, finished):
    """Nothing to show, and choices that are none."""
    (finished.parent / "empty").mkdir(exist_ok=True)
    found = ptune("report", "empty")
    assert (found.code, found.err) == (1, "runs: no finished run below empty; ptune train makes one")
    found = ptune("report", "nowhere")
    assert (found.code, found.err) == (2, "there is no folder nowhere")
    found = ptune("report", "some", "format=markdwn")
    assert (found.code, found.err) == (2, "format: 'markdwn' is not a choice; did you mean 'markdown'?")
    found = ptune("report", "some", "sort=x")
    assert (found.code, found.err) == (2, "sort: 'x' is not a choice; one of: folder, method, task, score")


# export


# PEFT 0.21 asks transformers 5.23 a question by its old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_export_peft(ptune, runs, bert_folder, tmp_path):
    """PEFT loads the adapter over the same checkpoint and gives the same logits, padding included."""
    peft = pytest.importorskip("peft", reason="the extra ptune[peft] is not installed")
    from transformers import AutoModelForTokenClassification

    from ptune.data.rendered import Rendered
    from ptune.evaluate import EVALUATION
    from ptune.runs.restore import restore

    folder = runs / "finished" / "ner"
    found = ptune("export", str(folder), "out=adapter")
    assert found.code == 0
    said, where = found.err.splitlines()
    assert said.startswith("PEFT gives the same logits: they differ by ")
    assert said.endswith(" at most on 5 examples")
    assert where == "written to adapter"
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    card = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert f"# ptv2 (3 virtual tokens) on conll03 with {bert_folder.name}\n" in card
    assert "SYNTHETIC" not in card
    ours = restore(str(folder), "cpu")
    base = AutoModelForTokenClassification.from_pretrained(str(bert_folder), num_labels=len(ours.task.labels))
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    from ptune.data.splits import read_corpus

    examples = read_corpus(ours.settings, ours.task)[0].splits["test"]
    rendered = Rendered(examples, ours.task, ours.model.member(0).template, 24)
    batch = rendered.batch(range(len(examples)), EVALUATION, "eval")
    assert (batch.mask.sum(1) < batch.mask.shape[1]).any()
    with torch.no_grad():
        logits = theirs(input_ids=batch.ids, attention_mask=batch.mask.long(), token_type_ids=batch.types).logits
    for row, output in enumerate(ours.model.outputs(0, batch)):
        places = batch.read["words"][row]
        places = places[places >= 0]
        expected = torch.log_softmax(logits[row, places], -1)
        found_scores = torch.log_softmax(torch.as_tensor(output.scores)[: len(places)], -1)
        torch.testing.assert_close(found_scores, expected, atol=1e-6, rtol=1e-6)


# answers in a text


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_answers_from_training_to_export(ptune, examples, bert_folder, roberta_folder, tmp_path):
    """Train, eval, predict (text and json lines) and export of SQuAD, and the majority of both versions."""
    for version, name in (("1.1", "squad"), ("2.0", "squad_v2")):
        paragraphs = [
            {
                "context": e.fields["context"],
                "qas": [
                    {
                        "id": e.id,
                        "question": e.fields["question"],
                        "answers": [
                            {"text": text, "answer_start": start}
                            for text, start in zip(e.gold["text"], e.gold["answer_start"], strict=True)
                        ],
                    }
                ],
            }
            for e in examples[name]
        ]
        content = json.dumps({"version": version, "data": [{"title": "T", "paragraphs": paragraphs}]})
        for split in ("train", "dev"):
            (tmp_path / f"{split}-v{version}.json").write_text(content, encoding="utf-8")
    backbone = ["backbone=local", f"backbone.path={bert_folder}"]
    common = ["data=local", "data.root=.", *backbone, "tracker=none", "epochs=2", "batch_size=4", "quiet=true"]
    windows = ["data.max_length=40", "task.doc_stride=10", "task.max_question_length=14", "prompt_length.value=3"]

    def train(*words: str, run: str) -> dict:
        found = ptune("train", *common, *windows, *words, f"hydra.run.dir={run}")
        assert found.code == 0, found.err
        return result(tmp_path / run)

    figures = train("task=squad_v2", "method=ptv2", run="v2")
    assert figures["metric"] == "f1"
    assert figures["selected_on_reported"]  # the test set was never published
    assert {"exact", "HasAns_f1", "NoAns_exact", "best_f1", "best_f1_thresh"} <= set(figures["best"]["report"])
    written = rows((tmp_path / "v2" / "predictions.jsonl").read_text(encoding="utf-8"))
    assert all(row["prediction"] == "" or row["prediction"] in row["context"] for row in written)
    assert all((row["prediction"] == "") == (row["scores"]["null_odds"] > 0) for row in written)
    found = ptune("eval", "v2")
    assert found.code == 0, found.err
    again = json.loads((tmp_path / "v2" / "eval_dev.json").read_text(encoding="utf-8"))
    assert again["scores"] == figures["best"]["report"]
    assert train("task=squad_v2", "method=majority", run="none")["best"]["report"]["NoAns_exact"] == 100.0

    figures = train("task=squad", "method=ptv2", f"backbone.path={roberta_folder}", run="v1")
    assert set(figures["best"]["report"]) == {"f1", "exact_match"}
    assert train("task=squad", "method=majority", run="most")["score"] == figures["majority"] > 0
    context = "Anna Berg works for Nordwind in Oslo."
    given = [json.dumps({"id": 7, "question": "Who?", "context": context, "answers": 3}), f"Where?\t{context}"]
    (tmp_path / "in.txt").write_text("\n".join(given), encoding="utf-8")
    told = ptune("predict", "v1", "input=in.txt")
    assert told.code == 0, told.err
    one, two = rows(told.out)
    assert (one["id"], one["answers"]) == (7, 3)
    assert two["question"] == "Where?"
    for row in (one, two):
        assert row["prediction"]
        assert row["prediction"] in context
        assert 0 < row["scores"]["probability"] <= 1
    (tmp_path / "in.txt").write_text("\nWhere?", encoding="utf-8")
    told = ptune("predict", "v1", "input=in.txt")
    assert (told.code, told.err) == (
        1,
        "in.txt:2: 1 text where squad needs 2, separated by tabs: question, context; other forms: a first line that "
        "names the columns, or JSON lines",
    )
    assert ptune("export", "v1", "out=adapter").code == 0
    equals_peft(tmp_path / "v1", tmp_path / "adapter", roberta_folder)
    found = ptune("export", "v2", "out=other")
    assert (found.code, found.err) == (
        1,
        f"to=peft: PEFT's question answering leaves out token types, which {bert_folder.name} has; "
        "a RoBERTa backbone has none; to=folder keeps everything",
    )


def equals_peft(run: Path, adapter: Path, checkpoint: Path) -> None:
    """PEFT's question answering model gives the same logits at every position that is read."""
    peft = pytest.importorskip("peft", reason="the extra ptune[peft] is not installed")
    from transformers import AutoModelForQuestionAnswering

    from ptune.data.rendered import Rendered
    from ptune.data.splits import read_corpus
    from ptune.evaluate import EVALUATION
    from ptune.runs.restore import restore

    ours = restore(str(run), "cpu")
    base = AutoModelForQuestionAnswering.from_pretrained(str(checkpoint))
    theirs = peft.PeftModel.from_pretrained(base, str(adapter)).eval()
    examples = read_corpus(ours.settings, ours.task)[0].splits["dev"]
    batch = Rendered(examples, ours.task, ours.model.member(0).template, 40).batch(
        range(len(examples)), EVALUATION, "eval"
    )
    with torch.no_grad():
        logits = theirs(input_ids=batch.ids, attention_mask=batch.mask.long(), token_type_ids=batch.types)
    both = torch.stack([logits.start_logits, logits.end_logits], -1)
    outputs = ours.model.outputs(0, batch)
    assert len(outputs) > len(examples)
    for row, output in enumerate(outputs):
        places = [0, *[place for place in batch.read["context"][row].tolist() if place >= 0]]
        torch.testing.assert_close(torch.as_tensor(output.scores), both[row, places], atol=1e-5, rtol=1e-5)


def test_export_errors(ptune, runs, tmp_path):
    """What PEFT cannot express is named, all of it; nothing is overwritten."""
    soft, ner = runs / "finished" / "soft", runs / "finished" / "ner"
    found = ptune("export", str(soft), "out=adapter")
    assert (found.code, found.err) == (
        1,
        "to=peft: cannot export this run: PEFT needs virtual tokens before [CLS] and reads the first of them instead "
        "(use method/prompt=deep); to=folder keeps everything",
    )
    found = ptune("export", str(runs / "finished" / "rte"), "out=adapter")
    assert (found.code, found.err) == (
        1,
        "to=peft: transformers' BertForSequenceClassification reads a text through a dense layer with tanh "
        "(method/head=pooled), unlike this run; to=folder keeps everything",
    )
    assert not (tmp_path / "adapter").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    found = ptune("export", str(ner), "out=full")
    assert (found.code, found.err) == (2, "out: full is not empty; name a new folder")
    found = ptune("export", str(ner), "out=full/mine")
    assert (found.code, found.err) == (2, "out: full/mine is a file; name a new folder")
    for words, said in (
        (["out=x", "to=onnx"], "to: 'onnx' is not a choice; one of: peft, folder, hub"),
        (["to=folder"], "out: must be given, as out=DIR, a new folder"),
        (["to=folder", "out=x", "repo=a/b"], "repo: is only used with to=hub"),
        (["to=folder", "out=x", "content=peft"], "content: is only used with to=hub"),
        (["to=peft", "out=x", "private=false"], "private: is only used with to=hub"),
        (["to=hub"], "repo: must be given, as repo=NAME/REPOSITORY"),
        (["to=hub", "repo=mine"], "repo: 'mine' is not a repository; write NAME/REPOSITORY"),
        *(
            (
                ["to=hub", f"repo='{name}'"],
                f"repo: '{name}' is not a name on the Hub; use letters, digits, '-', '_' and '.', as NAME/REPOSITORY",
            )
            for name in ("me/my repo", "me/a..b", "-me/x", "me/x.git")
        ),
        (["to=hub", "repo=a/b", "out=x"], "out: an upload leaves no folder here; leave it out, or use to=folder"),
        (["to=hub", "repo=a/b", "content=x"], "content: 'x' is not a choice; one of: peft, folder"),
    ):
        found = ptune("export", str(ner), *words)
        assert (found.code, found.err) == (2, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
