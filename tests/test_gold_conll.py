"""OntoNotes and semantic roles in CoNLL-2012's columns and in every other form: real files, fixtures, broken ones."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
import yaml

from ptune.config import Data
from ptune.data import corpora
from ptune.errors import ConfigError, DataError
from ptune.leaves import leaf
from ptune.readers import gold_conll, indexed, props, roles
from ptune.readers.columns import blocks

ROOT = Path(__file__).parents[1]
EWT = {"renamed": {"ARGM": "AM", "ARG": "A"}}
GOLD = """\
#begin document (nw/demo/00/demo_0000); part 000
nw/demo/00/demo_0000   0   0    Anna   NNP   (TOP(S*     -    -   -   -   (PERSON*     (ARG0*)        *    (1
nw/demo/00/demo_0000   0   1    Berg   NNP         *     -    -   -   -         *)          *         *    1)
nw/demo/00/demo_0000   0   2    gave   VBD         *   give   01   1   -         *        (V*)        *     -
nw/demo/00/demo_0000   0   3   Peru    NNP         *     -    -   -   -     (GPE)     (ARG2*)        *     -
nw/demo/00/demo_0000   0   4    help    NN       *))   help   01   2   -         *     (ARG1*)      (V*)    -

nw/demo/00/demo_0000   0   0       #   NFP   (TOP*)   -   -   -   -   (CARDINAL)   -
#end document

#begin document (pt/nt/40/nt_4001); part 001
pt/nt/40/nt_4001   1   0   Stop   VB   (TOP*)   stop   02   -   -   *   (V*)   -
#end document
"""
NAMES = [
    {"tokens": ["Anna", "Berg", "gave", "Peru", "help"], "tags": ["B-PERSON", "I-PERSON", "O", "B-GPE", "O"]},
    {"tokens": ["#"], "tags": ["B-CARDINAL"]},
    {"tokens": ["Stop"], "tags": ["O"]},
]
FRAMES = [
    {"tokens": NAMES[0]["tokens"], "predicate": 2, "tags": ["B-ARG0", "O", "B-V", "B-ARG2", "B-ARG1"]},
    {"tokens": NAMES[0]["tokens"], "predicate": 4, "tags": ["O", "O", "O", "O", "B-V"]},
    {"tokens": ["Stop"], "predicate": 0, "tags": ["B-V"]},
]


def task(name: str):
    """The shipped task."""
    return leaf(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")))


def values(records) -> list[dict]:
    return [record.values for record in records]


@pytest.fixture
def write(tmp_path):
    """Write a file, with the folders it needs."""

    def to(content: str | bytes, name: str = "some.gold_conll") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


# The form


@pytest.mark.parametrize("gap", ["   ", " ", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_and_roles(write, gap, end):
    """Documents and parts in one file; a token may be #, a name of one word has no star; spaces or one tab."""
    lines = (gap.join(line.split()) if line[:1] != "#" else line for line in GOLD.splitlines())
    path = write(end.join(lines) + end)
    names = list(gold_conll.read(path))
    assert values(names) == NAMES
    assert [record.where for record in names] == [f"{path}:2", f"{path}:8", f"{path}:12"]
    assert names[0].at(3) == f"{path}:5"
    found = list(gold_conll.read(path, "roles"))
    assert values(found) == values(roles.read(path)) == FRAMES
    assert [record.where for record in found] == [f"{path}:4", f"{path}:6", f"{path}:12"]


def test_a_line_that_begins_with_a_hash_is_data(write):
    """Only a document's first and last line are not, whatever the document is called."""
    path = write(
        "#begin document (#); part 000\n#doc 0 0 #end X * - - - - * -\n\n#begin 0 0 a X * - - - - * -\n#end document"
    )
    assert [record["tokens"] for record in values(gold_conll.read(path))] == [["#end"], ["a"]]


def test_folders(write):
    """Every *gold_conll below a folder in the order of their names, genres left out; an empty one says what to do."""
    first, second = GOLD.split("\n\n#begin")[0], "#begin" + GOLD.split("\n\n#begin")[1]
    for name, content in (("nw/b.v4_gold_conll", first), ("nw/c/d.gold_conll", first), ("a/pt.gold_conll", second)):
        write(content, f"tree/{name}")
    path = write("no data", "tree/nw/b.v4_gold_skel").parents[1]
    assert values(gold_conll.read(path)) == [NAMES[2], *NAMES[:2], *NAMES[:2]]
    assert values(gold_conll.read(path, without=["pt"])) == [*NAMES[:2], *NAMES[:2]]
    assert values(roles.read(path, without=["nw"])) == FRAMES[2:]
    empty = write("", "empty/x.v4_gold_skel").parent
    with pytest.raises(DataError) as caught:
        list(gold_conll.read(empty))
    assert str(caught.value) == (
        f"{empty}: no *_gold_conll files in it; CoNLL-2012's script skeleton2conll.sh makes them from its "
        "*_gold_skel files and OntoNotes"
    )


def test_every_form_says_the_same(write):
    """Props with words, a wide file, CoNLL-2012's columns and a predicate a line; roles renamed or not."""
    short = [{**row, "tags": [tag.replace("ARG", "A") for tag in row["tags"]]} for row in FRAMES]
    sentences = {tuple(row["tokens"]): [r for r in short if r["tokens"] == row["tokens"]] for row in short}
    words, wide = [], []
    for tokens, rows in sentences.items():
        columns = [props.brackets(row["tags"]) for row in rows]
        marked = {row["predicate"] for row in rows}
        for i, token in enumerate(tokens):
            words.append(token)
            wide.append("\t".join(["x" if i in marked else "-", *(column[i] for column in columns)]))
        words.append("")
        wide.append("")
    made = write("\n".join(wide), "dev.props")
    write("\n".join(words), "dev.words")
    assert values(roles.read(made)) == short
    path = write(
        "\n".join(f"{a}\tX\t*\t*\t-\t{b}" if a else "" for a, b in zip(words, wide, strict=True)), "dev.conll05"
    )
    assert values(roles.read(path)) == short
    lines = [f"{row['predicate']} {' '.join(row['tokens'])} ||| {' '.join(row['tags'])}" for row in short]
    assert values(roles.read(write("\n".join(["", *lines]), "dev.txt"))) == short
    assert values(roles.read(write(GOLD), **EWT)) == short


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("B-ARG0", "B-A0"), ("I-ARGM-TMP", "I-AM-TMP"), ("B-R-ARGM-LOC", "B-R-AM-LOC"), ("B-C-ARG1-DSP", "B-C-A1-DSP"),
        ("B-ARGA", "B-AA"), ("B-C-V", "B-C-V"), ("O", "O"), ("B-A0", "B-A0"),
    ],
)  # fmt: skip
def test_renamed(tag, expected):
    """The longer beginning first; C- and R- stay."""
    assert roles.retagged(tag, EWT["renamed"]) == expected


# Broken files

ROW = "d 0 0 w X * - - - - * -\n"
BEGIN, END = "#begin document (d); part 000\n", "#end document\n"
BROKEN = {
    "no document": (ROW, ":1: a token outside a document; '#begin document (NAME); part NNN' must come first"),
    "after a document": (
        BEGIN + ROW + END + ROW,
        ":4: a token outside a document; '#begin document (NAME); part NNN' must come first",
    ),
    "no end": (BEGIN + ROW, ":1: a document without its '#end document'; is the file cut short?"),
    "two begin": (BEGIN + ROW + BEGIN, ":3: a document begins before the one at {path}:1 has its '#end document'"),
    "two end": (BEGIN + ROW + END + END, ":4: '#end document' of a document that has not begun"),
    "few columns": (BEGIN + ROW + "d 0 1 w X * - - - - *\n" + END, ":3: 11 columns where at least 12 are needed"),
    "more columns": (
        BEGIN + ROW + ROW.replace("- -\n", "- * -\n").replace("- * -", "- * * -") + END,
        ":3: 13 columns where the sentence's other lines have 12",
    ),
    "another separator": (
        BEGIN + ROW + ROW.replace(" ", "\t") + END,
        ":3: tabs between columns, where line 2 has spaces; use one separator throughout the file",
    ),
    "a name not closed": (
        BEGIN + ROW.replace("* -\n", "(GPE* -\n") + END,
        ":2: '(GPE' is not closed before the sentence ends",
    ),
    "a name not opened": (BEGIN + ROW.replace("* -\n", "*) -\n") + END, ":2: '*)' closes a span that nothing opened"),
    "no bracket": (
        BEGIN + ROW.replace("* -\n", "GPE -\n") + END,
        ":2: 'GPE' is not a bracket; use *, (A0*, *) or (A0*)",
    ),
    "a pointer": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        ":1: a Git LFS pointer instead of the data; git lfs pull fetches it",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(write, name):
    """One line each: file, line, what is there and what would be right."""
    content, expected = BROKEN[name]
    path = write(content)
    with pytest.raises(DataError) as caught:
        list(gold_conll.read(path))
    assert str(caught.value) == f"{path}{expected.format(path=path)}"


def test_broken_roles(write):
    """A bracket column for each frameset, as for props."""
    row = "d 0 0 w X * go 01 - - * -\n"
    path = write(BEGIN + row + END)
    with pytest.raises(DataError) as caught:
        list(roles.read(path))
    assert str(caught.value) == f"{path}:2: 0 bracket columns where the sentence has 1 predicates"


INDEXED = {
    "no bar": ("1 a b O O", ":1: no 'index words ||| tags': '1 a b O O'"),
    "no words": ("1 ||| O", ":1: no 'index words ||| tags': '1 ||| O'"),
    "no index": ("a b ||| O", ":1: 'a' is not an index of the 1 words, counted from 0"),
    "beyond": ("2 a b ||| O O", ":1: '2' is not an index of the 2 words, counted from 0"),
    "below": ("-1 a b ||| O O", ":1: '-1' is not an index of the 2 words, counted from 0"),
    "tags": ("0 a b ||| B-V\n", ":1: 2 words but 1 tags"),
    "later": ("0 a ||| B-V\n\n0 a ||| \n", ":3: 1 words but 0 tags"),
}


@pytest.mark.parametrize("name", INDEXED)
def test_broken_lines(write, name):
    """Of a predicate a line."""
    content, expected = INDEXED[name]
    path = write(content)
    with pytest.raises(DataError) as caught:
        list(indexed.read(path))
    assert str(caught.value) == f"{path}{expected}"


def test_a_word_may_be_a_bar(write):
    """The last bar of a line ends the words; other characters are a word's."""
    path = write("1 ||| go\u00a0on ||| O B-V")
    assert values(indexed.read(path)) == [{"tokens": ["|||", "go\u00a0on"], "predicate": 1, "tags": ["O", "B-V"]}]


@pytest.mark.parametrize("annotation", ["names", "roles"])
def test_damaged_anywhere(write, annotation):
    """Cut or changed at any byte, a file is read or refused by a DataError with a line number, and nothing else."""
    whole, rng, told = GOLD.encode(), random.Random(3), []
    for i in range(400):
        at = rng.randrange(len(whole))
        path = write(whole[:at] if i % 2 else whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
        try:
            for found in values(gold_conll.read(path, annotation)):
                assert len(found["tokens"]) == len(found["tags"]) > 0
        except DataError as error:
            told.append(str(error).removeprefix(str(path)))
    assert 100 < len(told) < 400
    assert all(text[0] == ":" and text[1].isdigit() and "\n" not in text for text in told)


# Real files


@pytest.mark.parametrize(("split", "sentences", "predicates"), [("dev", 1965, 4960), ("test", 2053, 4791)])
@pytest.mark.slow
def test_ewt_is_the_same_in_all_its_files(shared, split, sentences, predicates):
    """The wide file, words with props and CoNLL-2012's columns give the same examples; a token may be #."""
    folder = shared / "data" / "srl_ewt"
    made = task("srl_ewt")
    forms = [
        [made.example(record, i) for i, record in enumerate(roles.read(folder / f"ewt.{split}.{form}", **EWT))]
        for form in ("conll05", "props", "gold_conll")
    ]
    assert forms[0] == forms[1] == forms[2]
    assert len(forms[0]) == predicates
    assert len(list(blocks(folder / f"ewt.{split}.conll05"))) == sentences
    assert len(list(gold_conll.read(folder / f"ewt.{split}.gold_conll"))) == sentences
    assert any("#" in example.fields["tokens"] for example in forms[2])


@pytest.mark.slow
def test_ewt_train(shared):
    """As many sentences as the corpus has, each of its predicates a known role."""
    path = shared / "data" / "srl_ewt" / "ewt.train.conll05"
    assert len(list(blocks(path))) == 12_511
    made = task("srl_ewt")
    assert len([made.example(record, i) for i, record in enumerate(roles.read(path))]) == 40_393


@pytest.mark.parametrize(
    ("name", "names", "frames"),
    [
        ("coref/coref.gold_conll", 9, 22),
        ("structured_prediction/srl/conll_2012/subdomain/example.gold_conll", 4, 6),
        ("structured_prediction/srl/conll_2012/subdomain2/example.gold_conll", 1, 2),
    ],
)
def test_fixtures(shared, name, names, frames):
    """Several documents and parts a file; every type and role is one of the task's; V is at the predicate."""
    path = shared / "data" / "conll12_fixtures" / name
    ner = [task("ontonotes").example(record, i) for i, record in enumerate(gold_conll.read(path))]
    srl = [task("conll12").example(record, i) for i, record in enumerate(roles.read(path))]
    assert (len(ner), len(srl)) == (names, frames)
    assert all(example.gold[example.fields["index"]] == "B-V" for example in srl)


def test_fixture_by_hand(shared):
    """The names of a real document, among them one of one word."""
    folder = shared / "data" / "conll12_fixtures" / "structured_prediction/srl/conll_2012/subdomain"
    first, second, third, _ = values(gold_conll.read(folder / "example.gold_conll"))
    assert first["tags"] == ["B-GPE", *["O"] * 10]
    assert second["tags"] == ["O"] * 5 + ["B-DATE", "I-DATE", "O", "B-DATE", "I-DATE", "O", "O", "O"]
    assert third["tags"] == ["B-PERSON", "I-PERSON", "B-WORK_OF_ART", "I-WORK_OF_ART", "O"]
    assert len(list(gold_conll.read(folder.parent))) == 5


def test_published_lines(shared):
    """The line format of the published code, as conll05 reads it."""
    path = shared / "data" / "conll05_fixtures" / "deep_srl_sentences_with_gold.txt"
    found = [task("conll05").example(record, i) for i, record in enumerate(roles.read(path))]
    assert [example.fields["predicate"] for example in found] == ["love", "told", "cut", "saw", "flying"]
    assert found[2].gold == ["O", "O", "B-A0", "O", "B-V", "I-V", "B-A1", "I-A1", "O"]


# As corpora


def tree(write, sentences: dict[str, int]) -> Path:
    """OntoNotes' folders with so many sentences a split."""
    folders = {"train": "train", "dev": "development", "test": "test"}
    for split, count in sentences.items():
        content = BEGIN.replace("(d)", "(nw/x)") + "\n".join([ROW] * count) + END
        place = f"root/data/{folders[split]}/data/english/annotations"
        write(content, f"{place}/nw/x.v4_gold_conll")
        write(content.replace("(nw/x)", "(pt/y)").replace("d 0", "pt/y 0"), f"{place}/pt/y.v4_gold_conll")
    return write("", "root/note").parent


def test_ontonotes_from_its_folders(write):
    """Without the New Testament; the checksum is of every file; other counts than the usual are a loud warning."""
    root = tree(write, {"train": 3, "dev": 2, "test": 1})
    corpus = corpora.load(task("ontonotes"), Data(source="local", root=str(root)))
    assert corpus.origin["examples"] == {"train": 3, "dev": 2, "test": 1}
    path = root / "data/train/data/english/annotations"
    assert corpus.origin["files"]["train"]["path"] == str(path)
    assert corpus.origin["files"]["train"]["files"] == 2
    listed = "".join(
        f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("nw/x.v4_gold_conll", "pt/y.v4_gold_conll")
    )
    assert corpus.origin["files"]["train"]["sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert corpus.origin["warning"] == (
        "NOT THE USUAL ONTONOTES: 3 in train where the original has 59,924; 2 in dev where the original has 8,528; "
        "1 in test where the original has 8,262 (Chiu and Nichols (2016), Q16-1026)"
    )


def test_counts_are_those_of_the_files(shared):
    """Fewer examples by data.max_train are no other corpus; a corpus of its usual size has no warning."""
    for layout, counts in (("columns", (910, 243, 288)), ("json", (922, 231, 288))):
        settings = Data(source="local", root=str(shared / "data"), layout=layout, max_train=10)
        corpus = corpora.load(task("conll04"), settings)
        assert "warning" not in corpus.origin
        assert corpus.origin["layout"] == layout
        assert corpus.origin["examples"] == {"train": 10, "dev": counts[1], "test": counts[2]}
        corpus = corpora.load(task("conll04"), Data(source="local", root=str(shared / "data"), layout=layout))
        assert tuple(corpus.origin["examples"].values()) == counts


def test_layouts_are_named():
    """A layout that a corpus has not is answered with those that it has."""
    for name, layout, said in (
        ("conll04", "jsn", "data.layout: conll04 has no layout 'jsn'; did you mean 'json'?"),
        ("conll03", "json", "data.layout: conll03 has no layout 'json'; its files have only one; leave it out"),
    ):
        with pytest.raises(ConfigError) as caught:
            corpora.load(task(name), Data(source="demo", layout=layout))
        assert str(caught.value) == said
