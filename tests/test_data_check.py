"""ptune data check: every split to its end, counts beside the published ones, every problem with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture
def check(ptune):
    """Run `ptune data check`: (exit code, {row of the table: its cells}, the lines after it, standard error's)."""

    def run(*words: str) -> tuple[int, dict[str, list[str]], list[str], list[str]]:
        code, out, err = ptune("data", "check", *words)
        lines = out.splitlines()
        rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if line.split()[0] in KINDS}
        said = [line for line in err.splitlines() if ": reading  " not in line]  # of a busy machine
        return code, rows, [line for line in lines[2:] if line.split()[0] not in KINDS], said

    return run


KINDS = ("examples", "labels", "sentences", "lines", "questions", "articles", "paragraphs", "queries", "rows")
WIC = {
    "word": "ran",
    "sentence1": "She ran home.",
    "sentence2": "He ran.",
    "start1": 4,
    "end1": 7,
    "start2": 3,
    "end2": 6,
}


def wic(folder: Path, **splits: list[dict]) -> None:
    """WiC's files, each row changed as said."""
    for name, rows in splits.items():
        text = "".join(json.dumps({**WIC, "label": True, "idx": i, **row}) + "\n" for i, row in enumerate(rows))
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def test_every_problem_is_named(check, tmp_path):
    """Of the line, of what the task makes of it, of two lines together; in every split; what is right is counted."""
    wic(tmp_path, train=[{}, {"start1": 3}, {"label": "ja"}, {"idx": 0}, {}, {"word": 5}], val=[{}, {"end2": 99}])
    with (tmp_path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"idx": 6\n')
    code, rows, remarks, said = check("task=wic", f"data.root={tmp_path}")
    train, val = tmp_path / "train.jsonl", tmp_path / "val.jsonl"
    assert code == 1
    assert rows["examples"] == ["2", "1", "5,428", "638", "1,400"]
    assert rows["lines"] == ["7", "2"]
    assert remarks[:3] == [
        "2 in train where the original has 5,428",
        "1 in dev where the original has 638",
        "no test data; looked for test.jsonl",
    ]
    assert [line.partition(": ")[0] for line in said[:-1]] == [
        *(f"{train}:{line}" for line in (2, 3, 4, 6, 7)),
        f"{val}:2",
    ]
    assert said[1] == f"{train}:3: 'ja' is not a label of wic; one of: false, true"
    assert said[-1] == "6 problems"


def test_a_file_that_cannot_be_read_on(check, tmp_path):
    """It is a problem, and the other splits are read all the same; a split that has to be there is one, too."""
    wic(tmp_path, val=[{}, {}])
    (tmp_path / "train.jsonl").write_bytes(json.dumps({**WIC, "label": True, "idx": 0}).encode() + b"\n\xff\n")
    code, rows, _, said = check("task=wic", f"data.root={tmp_path}")
    assert code == 1
    assert rows["examples"][:2] == ["1", "2"]
    assert said == [f"{tmp_path / 'train.jsonl'}:2: byte 1 is not UTF-8; convert the file to UTF-8", "1 problem"]
    (tmp_path / "val.jsonl").write_text("\n", encoding="utf-8")
    (tmp_path / "train.jsonl").unlink()
    code, _, _, said = check("task=wic", f"data.root={tmp_path}")
    assert code == 1
    assert said == [
        f"{tmp_path / 'val.jsonl'}: no records; is this the dev file of wic?",
        f"wic: no train data in {tmp_path}; looked for train.jsonl",
        "2 problems",
    ]


def test_no_problems(check, tmp_path, monkeypatch):
    """Exit code 0; a folder that is not there, and no task, are mistakes of the line."""
    monkeypatch.setenv("PTUNE_CACHE", str(tmp_path / "cache"))
    code, rows, remarks, said = check("task=conll05", "data=demo", "data.demo.train=12", "data.demo.dev=5")
    assert (code, remarks[-1], said) == (0, "no problems", [])
    assert rows["examples"][:2] == ["12", "5"]
    assert rows["sentences"][-4:] == ["39,832", "1,346", "2,416", "426"]
    assert int(rows["sentences"][0]) < 12
    code, *_, said = check("task=wic", "data.root=nowhere")
    assert (code, said) == (1, ["data.root: nowhere is not a folder; name the one that holds wic's original files"])
    code, *_, said = check("data.root=.")
    assert (code, said) == (2, ["task: must be given: task=NAME; ptune ls task lists them"])


def test_gold_that_is_missing(check, tmp_path):
    """At its line, in either direction, or of all of train; a dev split without any is said, and is no problem."""
    wic(tmp_path, train=[{}, {"label": None}, {}], val=[{"label": None}, {"label": None}])
    train = tmp_path / "train.jsonl"
    code, rows, remarks, said = check("task=wic", f"data.root={tmp_path}")
    assert code == 1
    assert rows["labels"] == ["2", "0"]
    assert f"no dev record of wic has a 'label' in {tmp_path / 'val.jsonl'}" in remarks
    wanted = "a split is labeled throughout or not at all"
    assert said == [f"{train}:2: has no 'label', but {train}:1 does; {wanted}", "1 problem"]
    wic(tmp_path, train=[{"label": None}, {}], val=[{}])
    code, _, remarks, said = check("task=wic", f"data.root={tmp_path}")
    assert (code, said) == (1, [f"{train}:2: has 'label', but {train}:1 does not; {wanted}", "1 problem"])
    wic(tmp_path, train=[{"label": None}, {"label": None}], val=[{}])
    code, _, remarks, said = check("task=wic", f"data.root={tmp_path}")
    assert (code, said) == (1, [f"no training record of wic has a 'label' in {train}", "1 problem"])


def test_another_selection_is_loud(check, tmp_path):
    """As in data info, where the corpus is known by its counts; on the demo's it would say nothing."""
    text = "0 a X * - - - - (GPE) * -\n"
    line = "nw/a/1 0 " + text.replace("a X", "Oslo X")
    for split in ("train", "dev"):
        (tmp_path / f"{split}.english.v4_gold_conll").write_text(
            f"#begin document (nw/a/1); part 000\n{line}\n#end document\n", encoding="utf-8"
        )
    code, _, remarks, said = check("task=ontonotes", f"data.root={tmp_path}")
    assert (code, said) == (0, [])
    assert remarks[0] == (
        "NOT THE USUAL ONTONOTES: 1 in train where the original has 59,924; 1 in dev where the original has 8,528 "
        "(Chiu and Nichols (2016), Q16-1026)"
    )
    assert not any(line.startswith("1 in ") for line in remarks)
    code, _, remarks, _ = check("task=ontonotes", "data=demo", "data.demo.train=5", "data.demo.dev=5")
    assert not any("NOT THE USUAL" in line for line in remarks)


def test_props_without_their_words(check, tmp_path):
    """What is wrong with the brackets is named all the same; nothing is read of them."""
    for split in ("train", "dev"):
        (tmp_path / f"{split}.props").write_text("see\t(V*)\n-\t(A1*\n-\t*\n\nstop\t(V*)\n", encoding="utf-8")
    code, rows, _, said = check("task=conll05", f"data.root={tmp_path}")
    assert code == 1
    assert rows["examples"][:2] == ["0", "0"]
    assert said == [
        line
        for path in (tmp_path / "train.props", tmp_path / "dev.props")
        for line in (
            f"{path}: no {path.stem}.words beside it; props come with the words that they annotate",
            f"{path}:2: '(A1' is not closed before the sentence ends",
        )
    ] + ["4 problems"]


def test_too_few_columns_everywhere(check, tmp_path):
    """A file with other columns is told which setting says so; a line that lost one is not."""
    for split in ("train", "testa"):
        (tmp_path / f"eng.{split}").write_text("Anna I-PER\nleft O\n\n", encoding="utf-8")
    said = check("task=conll03", f"data.root={tmp_path}")[-1]
    hint = "; task.source.columns says which are read, counted from 0"
    assert said[0] == f"{tmp_path / 'eng.train'}:1: 2 columns where at least 4 are needed: 'Anna I-PER'{hint}"
    (tmp_path / "eng.train").write_text("Anna N I-NP I-PER\nleft O\n\n", encoding="utf-8")
    said = check("task=conll03", f"data.root={tmp_path}")[-1]
    assert said[0] == f"{tmp_path / 'eng.train'}:2: 2 columns where at least 4 are needed: 'left O'"
    for split in ("train", "dev"):
        (tmp_path / f"ewt.{split}.conll05").write_text("Anna - (A0*)\nleft leave (V*)\n", encoding="utf-8")
    said = check("task=srl_ewt", f"data.root={tmp_path}")[-1]
    assert said[0] == (
        f"{tmp_path / 'ewt.train.conll05'}:1: 3 columns where at least 6 are needed; task.source.word and .predicate "
        "say which are read, counted from 0"
    )


# Real files

ONLY_DEV = ("~task.source.files.train",)
COUNTS = {  # the words of the line, the rows of the table
    "conll04": (("task=conll04", "data.root=DATA"), {"examples": "910 243 288"}),
    "conll04, json": (("task=conll04", "data.root=DATA", "data.layout=json"), {"examples": "922 231 288"}),
    "wnut17": (("task=wnut17", "data.root=DATA"), {"examples": "3,394 1,009 1,287"}),
    "srl_ewt": (
        ("task=srl_ewt", "data.root=DATA"),
        {"sentences": "12,511 1,965 2,053", "examples": "40,393 4,960 4,791"},
    ),
    "squad": (("task=squad", "data.root=DATA", *ONLY_DEV), {"examples": "10,570"}),
    "squad 2.0": (
        ("task=squad_v2", "data.root=DATA/squad", *ONLY_DEV, "task.source.files.dev=[cs224n_dev-v2.0.json]"),
        {"examples": "6,078"},
    ),
    "rte": (("task=rte", "data.root=DATA/superglue"), {"examples": "2,490 277 3,000"}),
    "cb": (("task=cb", "data.root=DATA/superglue"), {"examples": "250 56 250"}),
    "copa": (("task=copa", "data.root=DATA/superglue"), {"examples": "400 100 500"}),
    "wic": (("task=wic", "data.root=DATA/superglue"), {"examples": "5,428 638 1,400"}),
    "wsc": (("task=wsc", "data.root=DATA/superglue"), {"examples": "554 104 146"}),
    "boolq": (("task=boolq", "data.root=DATA/superglue", *ONLY_DEV), {"examples": "3,270 3,245"}),
    "multirc": (
        ("task=multirc", "data.root=DATA/superglue"),
        {"lines": "456 83 166", "questions": "5,131 953 1,820", "examples": "27,243 4,848 9,693"},
    ),
    "record": (
        ("task=record", "data.root=DATA/superglue", *ONLY_DEV, "task.source.files.dev=[v1.0_sample.json]"),
        {"examples": "2"},
    ),
}
FEW = ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")
FIXTURES = {
    "conll03": ("conll03", "conll03/sample.txt"),
    "squad 1.1": ("squad", "squad/fixtures/allennlp_squad1.json"),
    "lines of the published code": ("conll05", "conll05_fixtures/deep_srl_sentences_with_gold.txt"),
    "props without words": ("conll05", "conll05_fixtures/primesrl_sense_c_gold.conll05"),
    "roles": ("conll12", "conll12_fixtures/structured_prediction"),
    "names": ("ontonotes", "conll12_fixtures/structured_prediction"),
    "coreference": ("conll12", "conll12_fixtures/coref"),
    "rte": ("rte", "superglue/RTE/fixtures/allennlp_superglue_rte.jsonl"),
}


SLOW = ("srl_ewt",)  # by far the largest


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in COUNTS])
def test_real_files(check, shared, name):
    """The counts that are known of the files, and no problem in them."""
    words, counts = COUNTS[name]
    code, rows, remarks, said = check(*(word.replace("DATA", str(shared / "data")) for word in words))
    assert (code, said, remarks[-1]) == (0, [], "no problems")
    for kind, figures in counts.items():
        assert rows[kind][: len(figures.split())] == figures.split()
    task = yaml.safe_load((ROOT / f"conf/task/{words[0].removeprefix('task=')}.yaml").read_text(encoding="utf-8"))
    whole = name not in ("squad 2.0", "record")
    assert whole == (not any("where the original has" in line for line in remarks)), task["name"]


@pytest.mark.parametrize("task", FEW)
def test_fewglue(check, shared, task):
    """32 rows of each task."""
    code, rows, _, said = check(
        f"task={task}", f"data.root={shared / 'data/fewglue'}", "~task.source.files.dev", "~task.source.files.test"
    )
    assert (code, said) == (0, [])
    assert rows["lines" if task == "multirc" else "examples"][0] == "32"


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures(check, shared, name):
    """They are read without a problem."""
    task, path = FIXTURES[name]
    splits = yaml.safe_load((ROOT / f"conf/task/{task}.yaml").read_text(encoding="utf-8"))["source"]["files"]
    more = [f"~task.source.files.{split}" for split in splits if split != "dev"]
    if name == "props without words":
        more += ["+task.source.word=0", "+task.source.predicate=0"]
    code, rows, _, said = check(
        f"task={task}", f"data.root={shared / 'data'}", f"task.source.files.dev=[{path}]", *more
    )
    assert (code, said) == (0, [])
    assert int(rows["examples"][0]) > 0


TWICE = {  # fixtures that have an id twice: the task and the file, the places, what is read of how many
    "squad 2.0": (
        ("squad_v2", "squad/fixtures/allennlp_squad2.json"),
        ": data[0].paragraphs[0].qas[1]: duplicate id 5733be284776f41900661182, "
        "first used at data[0].paragraphs[0].qas[0]",
        ("5", {"questions": "6"}),
    ),
    "boolq": (
        ("boolq", "superglue/BoolQ/fixtures/allennlp_boolq.jsonl"),
        ":3: duplicate id 5, first used at {path}:2; number the examples of a file from 0, or leave the numbers out",
        ("4", {"lines": "5"}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_fixtures_with_a_problem(check, shared, name):
    """It is the only one, and all other examples are read."""
    (task, file), expected, (examples, parts) = TWICE[name]
    path = shared / "data" / file
    code, rows, _, said = check(
        f"task={task}", f"data.root={path.parent}", *ONLY_DEV, f"task.source.files.dev=[{path.name}]"
    )
    assert code == 1
    assert said == [f"{path}{expected.format(path=path)}", "1 problem"]
    assert rows["examples"][0] == examples
    assert {kind: rows[kind][0] for kind in parts} == parts
