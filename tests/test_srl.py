"""Semantic roles end to end: the files, brackets and tags, srl-eval.pl's figures, the marked predicate, commands."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import call
from official import role_columns
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

from ptune import demo, metrics
from ptune.batch import Draw, Example, RowOutput
from ptune.config import Data
from ptune.data.corpora import load
from ptune.data.rendered import Rendered
from ptune.errors import DataError
from ptune.readers import Record, props
from ptune.tasks import Prediction
from ptune.tasks.roles import Roles
from ptune.templates.plain import Plain
from ptune.tokens import Tokens

ROOT = Path(__file__).parents[1]
NO_DRAW = Draw(0, 0)
WIDE = """\
Anna	NNP	(S*	(PER*)	-	-	(A0*)	*
gave	VBD	*	*	01	give	(V*)	*
the	DT	*	*	-	-	(A1*	(A1*
book	NN	*	*	-	-	*	*)
that	WDT	*	*	-	-	*	(R-A1*)
Eve	NNP	*	*	-	-	*	(A0*)
wrote	VBD	*	*	01	write	*)	(V*)
to	IN	*	*	-	-	(A2*	*
Bob	NNP	*	*	-	-	*)	*
.	.	*)	*	-	-	*	*

Yes	UH	*	*	-	-

Stop	VB	*	*	01	stop	(V*)
#	#	*	*	-	-	(A1*)
"""
WORDS = [["Anna", "gave", "the", "book", "that", "Eve", "wrote", "to", "Bob", "."], ["Yes"], ["Stop", "#"]]
GIVE = ["B-A0", "B-V", "B-A1", "I-A1", "I-A1", "I-A1", "I-A1", "B-A2", "I-A2", "O"]
WROTE = ["O", "O", "B-A1", "I-A1", "B-R-A1", "B-A0", "B-V", "O", "O", "O"]
SAID = [
    {"tokens": WORDS[0], "predicate": 1, "tags": GIVE},
    {"tokens": WORDS[0], "predicate": 6, "tags": WROTE},
    {"tokens": WORDS[2], "predicate": 0, "tags": ["B-V", "B-A1"]},
]
WORDS_FILE = "\n\n".join("\n".join(words) for words in WORDS) + "\n"
PROPS_FILE = "".join("\t".join(line.split("\t")[5:]) + "\n" for line in WIDE.splitlines())


def roles(name: str = "conll05", **more) -> Roles:
    """The shipped task, with some settings changed."""
    node = {**yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8")), **more}
    del node["_target_"]
    return Roles(**node)


@pytest.fixture
def write(tmp_path):
    """Write files of text or bytes, packed where their name ends in .gz; returns the first one's path."""

    def to(**files: str | bytes) -> Path:
        paths = []
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            raw = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" and isinstance(content, str) else raw)
            paths.append(path)
        return paths[0]

    return to


def values(path: Path, **options) -> list[dict]:
    return [record.values for record in props.read(path, **options)]


# The files


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("gap", ["\t", "  ", " \t"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_layouts(write, end, gap, packed):
    """One wide file, or props beside words, or in folders of their own; packed or not; a record a predicate."""

    def spelled(text: str) -> str:
        return "\ufeff" + text.replace("\t", gap).replace("\n", end)

    assert values(write(**{f"dev.conll05{packed}": spelled(WIDE)})) == SAID
    words, brackets = spelled(WORDS_FILE), spelled(PROPS_FILE)
    assert values(write(**{f"dev.props{packed}": brackets, f"dev.words{packed}": words})) == SAID
    assert values(write(**{f"props__d.24.props{packed}": brackets, f"words__d.24.words{packed}": words})) == SAID


def test_places(write):
    """A record's place is the line of its predicate; blank lines may repeat, and the last line may lack its end."""
    path = write(dev="\n \n" + WIDE.replace("\n\n", "\n\t\n\n").rstrip("\n"))
    assert [record.where for record in props.read(path)] == [f"{path}:4", f"{path}:9", f"{path}:18"]
    path = write(**{"dev.props": PROPS_FILE, "dev.words": WORDS_FILE})
    assert [record.where for record in props.read(path)] == [f"{path}:2", f"{path}:7", f"{path}:14"]
    assert values(write(empty="")) == values(write(blank="\n\n")) == []


def test_other_columns(write):
    """Where the word and the lemma stand is an option, as for the shared task's own columns."""
    path = write(one="1 Stop stop (V*)\n2 now - (AM-TMP*)\n")
    (found,) = values(path, word=1, predicate=2)
    assert found == {"tokens": ["Stop", "now"], "predicate": 0, "tags": ["B-V", "B-AM-TMP"]}


@pytest.mark.parametrize(
    "word", ["a\u00a0b", "\u00a0", "a\u2028b", "\u3000", "a\x0bb", "a\x85b", "a\x1cb", "#", "-", "*"]
)
def test_odd_words(write, word):
    """Columns end at tabs and spaces alone, sentences at lines of nothing else; nothing opens a comment."""
    expected = [{"tokens": ["Stop", word], "predicate": 0, "tags": ["B-V", "B-A1"]}]
    for gap in ("\t", " "):
        lines = (gap.join(row) for row in (["Stop", "stop", "(V*)"], [word, "-", "(A1*)"]))
        assert values(write(dev="\n".join(lines)), predicate=1) == expected
    assert values(write(**{"dev.props": "stop (V*)\n- (A1*)\n", "dev.words": f"Stop\n{word}\n"})) == expected


def test_words_with_spaces(write):
    """Between tabs a word may have a space; where nothing but spaces separate, one is not silently cut in two."""
    path = write(dev="Visit\tvisit\t(V*)\nNew York\t-\t(A1*)\n")
    assert values(path, predicate=1) == [{"tokens": ["Visit", "New York"], "predicate": 0, "tags": ["B-V", "B-A1"]}]
    for gap in (" ", "\t"):
        path = write(**{"dev.props": "visit (V*)\n- (A1*)\n", "dev.words": f"Visit\nNew{gap}York\n"})
        with pytest.raises(DataError) as caught:
            values(path)
        assert str(caught.value) == (
            f"{path.with_suffix('.words')}:2: 2 columns where a words file has one, the word alone"
        )


def one(*cells: str) -> str:
    """Props of one predicate."""
    return "".join(f"{'-' if i else 'x'}\t{cell}\n" for i, cell in enumerate(cells))


# props -> what is said of them, with four words in two sentences of two
BROKEN = {
    "not closed": (one("(V*)", "(A1*"), ":2: '(A1' is not closed before the sentence ends"),
    "not closed, sentence before last": (
        one("(V*)", "(A1*") + "\n" + one("*", "*)"),
        ":2: '(A1' is not closed before the sentence ends",
    ),
    "not opened": (one("*)", "(V*)"), ":1: '*)' closes a span that nothing opened"),
    "closed twice": (one("(V*)", "*)"), ":2: '*)' closes a span that nothing opened"),
    "one inside another": (one("(A1*", "(V*)"), ":2: '(V*)' opens a span inside the one opened at {path}:1"),
    "overlapping": (one("(A1*", "(A2*)"), ":2: '(A2*)' opens a span inside the one opened at {path}:1"),
    "two at one word": (one("(A1(V*))", "*"), ":1: '(A1(V*))' is not a bracket; use *, (A0*, *) or (A0*)"),
    "no star": (one("(V)", "*"), ":1: '(V)' is not a bracket; use *, (A0*, *) or (A0*)"),
    "no role": (one("(*)", "*"), ":1: '(*)' is not a bracket; use *, (A0*, *) or (A0*)"),
    "tags": (one("B-V", "O"), ":1: 'B-V' is not a bracket; use *, (A0*, *) or (A0*)"),
    "the older columns": (one("(V*V)", "*"), ":1: '(V*V)' is not a bracket; use *, (A0*, *) or (A0*)"),
    "a column too many": (
        "x\t(V*)\t*\n-\t*\t*\n",
        ":1: 2 bracket columns where the sentence has 1 predicates",
    ),
    "a column too few": ("x\t(V*)\ny\t*\n", ":1: 1 bracket columns where the sentence has 2 predicates"),
    "a cell too few": ("x\t(V*)\n-\n", ":2: 0 bracket columns where the sentence's other lines have 1"),
    "no predicate": ("-\t(V*)\n-\t*\n", ":1: 1 bracket columns where the sentence has 0 predicates"),
    "a line too many": (one("(V*)", "*", "*"), ":1: 3 lines of props, but 2 words at {words}:1"),
    "a line too few": (one("(V*)"), ":1: 1 lines of props, but 2 words at {words}:1"),
    "a sentence too many": (one("(V*)", "*") + "\n-\n-\n\n-\n", ":7: {words} ends before this sentence"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_props(write, name):
    """One line each: file, line, what is there and what would be right."""
    content, expected = BROKEN[name]
    path = write(**{"dev.props": content, "dev.words": "a\nb\n\nc\nd\n"})
    with pytest.raises(DataError) as caught:
        values(path)
    assert str(caught.value) == f"{path}{expected.format(path=path, words=path.with_suffix('.words'))}"


def test_words_that_go_on(write):
    """Words after the last props are as wrong as props after the last words."""
    path = write(**{"dev.props": one("(V*)", "*"), "dev.words": "a\nb\n\nc\n"})
    with pytest.raises(DataError) as caught:
        values(path)
    assert str(caught.value) == f"{path.with_suffix('.words')}:4: {path} ends before this sentence"


def test_no_words(write):
    """Props alone say nothing; the message names the file that is missed."""
    for packed in ("", ".gz"):
        path = write(**{f"dev.props{packed}": one("(V*)", "*")})
        with pytest.raises(DataError) as caught:
            values(path)
        assert str(caught.value) == (
            f"{path}: no dev.words{packed} beside it; props come with the words that they annotate"
        )


def test_narrow_lines(write):
    """A line without its columns, in a file that has everything."""
    path = write(dev=WIDE.replace("that\tWDT\t*\t*", "that\tWDT"))
    with pytest.raises(DataError) as caught:
        values(path)
    assert str(caught.value) == f"{path}:5: 0 bracket columns where the sentence's other lines have 2"
    path = write(dev="Stop VB\n")
    with pytest.raises(DataError) as caught:
        values(path)
    assert str(caught.value) == (
        f"{path}:1: 2 columns where at least 6 are needed; task.source.word and .predicate say which are "
        "read, counted from 0"
    )


def test_packed_files_cut_short(write):
    """A packed file that is cut, or none at all, is one line; so are bytes that are no text."""
    whole = gzip.compress(WIDE.encode())
    for broken in (whole[:-9], whole[: len(whole) // 2], WIDE.encode(), whole[:20] + b"\xff" * 30 + whole[50:]):
        path = write(**{"dev.conll05.gz": broken})
        with pytest.raises(DataError) as caught:
            values(path)
        assert str(caught.value).startswith(f"{path}: cannot be unpacked (")
        assert str(caught.value).endswith("); is it cut short?")
    path = write(dev=b"Stop\n\nc\xe9\n")
    with pytest.raises(DataError, match=r":3: byte 2 is not UTF-8; convert the file to UTF-8$"):
        list(props.blocks(path))


def test_damaged_anywhere(write):
    """Cut or changed at any byte, files are read or refused by a DataError with a line number, and nothing else."""
    whole, rng = WIDE.encode(), random.Random(5)
    told = []
    for i in range(400):
        at = rng.randrange(len(whole))
        path = write(dev=whole[:at] if i % 2 else whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
        try:
            for values_ in values(path):
                assert len(values_["tokens"]) == len(values_["tags"]) > values_["predicate"] >= 0
                assert props.bio(props.brackets(values_["tags"]), rows(len(values_["tags"]))) == values_["tags"]
        except DataError as error:
            told.append(str(error).removeprefix(str(path)))
    assert 100 < len(told) < 400
    assert all(text[0] == ":" and text[1].isdigit() and "\n" not in text for text in told)


# Brackets and tags


ROLES = ["V", "A0", "A1", "A2", "AM-TMP", "R-A0", "R-AM-LOC", "C-A1", "C-V", "C-AM-MNR"]


def rows(count: int) -> list[props.Row]:
    return [props.Row(f"x:{i}", []) for i in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(50))
def test_round_trip(seed):
    """Spans -> brackets -> tags -> brackets: nothing is lost, and spans of one role that touch stay two."""
    rng = random.Random(seed)
    cells, tags = [], []
    while len(cells) < rng.randint(1, 30):
        role, length = rng.choice(ROLES), rng.randint(1, 4)
        if rng.random() < 0.4:
            cells += ["*"] * length
            tags += ["O"] * length
            continue
        tags += [f"B-{role}"] + [f"I-{role}"] * (length - 1)
        cells += [f"({role}*)"] if length == 1 else [f"({role}*", *["*"] * (length - 2), "*)"]
    assert props.bio(cells, rows(len(cells))) == tags
    assert props.brackets(tags) == cells


def test_round_trip_of_touching_spans():
    """Two spans of one role side by side, by hand."""
    assert props.bio(["(A1*)", "(A1*", "*)", "(C-A1*)", "*"], rows(5)) == ["B-A1", "B-A1", "I-A1", "B-C-A1", "O"]
    assert props.brackets(["B-A1", "B-A1", "I-A1", "B-C-A1", "O"]) == ["(A1*)", "(A1*", "*)", "(C-A1*)", "*"]
    assert props.bio([], []) == props.brackets([]) == []


# Figures


def judged(task: Roles, gold: list[list[str]], found: list[list[str]]) -> dict[str, float]:
    """The task's scores; its interval holds the headline."""
    examples = [Example(str(i), {"tokens": tags}, tags) for i, tags in enumerate(gold)]
    predictions = [Prediction(tags) for tags in found]
    scores = task.score(examples, predictions)
    low, high = task.interval(examples, predictions)
    assert low <= scores["f1"] <= high
    assert next(iter(scores)) == task.headline == "f1"
    assert list(scores) == task.score_names
    return scores


def arguments(line: str) -> set:
    return metrics.arguments(line.split())


def test_arguments():
    """By hand, as srl-eval.pl reads them."""
    assert arguments("B-A0 B-V B-A1 I-A1 O") == {("A0", ((0, 0),)), ("A1", ((2, 3),))}
    assert arguments("B-A1 B-V B-C-A1 I-C-A1") == {("A1", ((0, 0), (2, 3)))}
    assert arguments("B-A1 B-C-A1 O B-C-A1") == {("A1", ((0, 0), (1, 1), (3, 3)))}
    assert arguments("B-A1 B-A1 B-C-A1") == {("A1", ((0, 0),)), ("A1", ((1, 1), (2, 2)))}  # the last one goes on
    assert arguments("B-A0 B-R-A0 B-V B-C-V") == {("A0", ((0, 0),)), ("R-A0", ((1, 1),))}  # C-V is a part of V
    assert arguments("B-V O") == arguments("O O") == arguments("") == set()


def test_continuations_of_nothing():
    """srl-eval.pl turns a C-X without an X before it "into regular X argument", and a later C-X continues that."""
    assert arguments("B-C-A1 B-V") == {("A1", ((0, 0),))}
    assert arguments("B-C-A1 B-V B-A1") == {("A1", ((0, 0),)), ("A1", ((2, 2),))}
    assert arguments("B-C-A1 B-V B-C-A1") == {("A1", ((0, 0), (2, 2)))}
    assert arguments("B-C-A0 B-A1 B-V") == {("A0", ((0, 0),)), ("A1", ((1, 1),))}
    assert arguments("B-C-V B-A1") == {("A1", ((1, 1),))}
    assert metrics.role_counts([["B-A1", "B-V"]], [["B-C-A1", "B-V"]]).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("gold", (3, 3)), ("p1", (2, 4)), ("p2", (2, 4)), ("p3", (2, 3)), ("p4", (2, 4)), ("p5", (1, 3)), ("p6", (2, 3))],
)
def test_fixtures(shared, name, counts):
    """Seven ways to get a discontinuous A0 wrong: (correct, predicted) of three, by srl-eval.pl's rules by hand."""
    folder = shared / "data" / "conll05_fixtures"
    gold, found = (
        [record.values["tags"] for record in props.read(folder / f"primesrl_sense_c_{n}.conll05", 0, 0)]
        for n in ("gold", name)
    )
    assert len(gold) == len(found) == 3
    assert metrics.role_counts(gold, found).sum(0).tolist() == [*counts, 3]


def test_three_f1():
    """By hand: the official one leaves V out and joins C-; seqeval's counts every span, or all but those of V."""
    gold = [["B-A1", "B-V", "B-C-A1", "B-A0"], ["B-A0", "B-V", "O", "O"]]
    found = [["B-A1", "B-V", "O", "B-A0"], ["B-A0", "B-V", "O", "B-A1"]]
    scores = judged(roles(), gold, found)
    # official: 2 of the 3 wanted and of the 4 found, each sentence's A0; seqeval: 5 of 6 and of 6, two of them V
    assert scores == pytest.approx(
        {
            "f1": 100 * 4 / 7,
            "precision": 50.0,
            "recall": 200 / 3,
            "f1_seqeval": 100 * 10 / 12,
            "f1_seqeval_no_v": 100 * 6 / 8,
        }
    )
    verbs = metrics.roles([["B-V", "B-C-V", "O"]], [["B-V", "O", "B-A1"]])
    assert (verbs["f1_seqeval"], verbs["f1_seqeval_no_v"]) == (50.0, 0.0)  # C-V is the rest of a V


def test_role_table(shared):
    """srl-eval.pl's table by hand, V left out and C- joined; on the vectors its sums are the official counts."""
    gold = [["B-A1", "B-V", "B-C-A1", "B-A0"], ["B-A0", "B-V", "O", "O"]]
    found = [["B-A1", "B-V", "O", "B-A0"], ["B-A0", "B-V", "O", "B-A1"]]
    assert metrics.role_report(gold, found) == [
        {"label": "A0", "correct": 2, "excess": 0, "missed": 0, "precision": 100.0, "recall": 100.0, "f1": 100.0},
        {"label": "A1", "correct": 0, "excess": 2, "missed": 1, "precision": 0.0, "recall": 0.0, "f1": 0.0},
    ]
    for number in range(3):
        vector = json.loads((shared / "vectors" / f"srl_conll05_{number}.json").read_text(encoding="utf-8"))
        table = metrics.role_report(role_columns(vector["gold"]), role_columns(vector["pred"]))
        sums = [sum(row[name] for row in table) for name in ("correct", "excess", "missed")]
        assert sums == [vector["official"][name] for name in ("corr", "excess", "missed")]


def test_scores_of_nothing():
    """No argument wanted and none found is 0, as srl-eval.pl prints; V alone scores with seqeval alone."""
    nothing = dict.fromkeys(("f1", "precision", "recall", "f1_seqeval", "f1_seqeval_no_v"), 0.0)
    assert metrics.roles([["O", "O"]], [["O", "O"]]) == nothing
    assert metrics.roles([["B-V", "O"]], [["B-V", "O"]]) == {**nothing, "f1_seqeval": 100.0}
    assert metrics.roles([["B-V", "B-A1"]], [["B-V", "O"]])["f1"] == 0.0
    assert metrics.roles([["B-V", "O"]], [["B-V", "B-A1"]])["f1"] == 0.0


def test_other_counts_are_checked():
    """As many predictions as predicates."""
    with pytest.raises(ValueError, match="zip"):
        metrics.role_counts([["O"]], [])


# Real data


EWT = {"train": (12511, 40393), "dev": (1965, 4960), "test": (2053, 4791)}


@pytest.mark.parametrize("split", EWT)
def test_ewt(shared, split):
    """Sentences and predicates as counted, each with V at its word, and brackets come back as they are."""
    path = shared / "data" / "srl_ewt" / f"ewt.{split}.conll05"
    records = list(props.read(path))
    assert (sum(1 for _ in props.blocks(path)), len(records)) == EWT[split]
    for record in records:
        assert len(record.values["tokens"]) == len(record.values["tags"])
        assert record.values["tags"][record.values["predicate"]] in ("B-V", "I-V", "B-C-V")  # cross *reference*
        assert (
            props.bio(props.brackets(record.values["tags"]), rows(len(record.values["tags"])))
            == (record.values["tags"])
        )


@pytest.mark.parametrize("split", ["dev", "test"])
def test_ewt_layouts(shared, split):
    """The wide file, and words beside props, say the same of every predicate, in the same lines."""
    folder = shared / "data" / "srl_ewt"
    wide, paired = (list(props.read(folder / f"ewt.{split}.{name}")) for name in ("conll05", "props"))
    assert [record.values for record in wide] == [record.values for record in paired]
    assert [r.where.rpartition(":")[2] for r in wide] == [r.where.rpartition(":")[2] for r in paired]
    assert {word for r in wide for word in r.values["tokens"]} >= {"#", "-"}


@pytest.mark.slow
def test_ewt_loads(shared):
    """Every role of the files is one of the task's; an example is a predicate."""
    task = roles("srl_ewt")
    corpus = load(task, Data(source="local", root=str(shared / "data")))
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {s: n for s, (_, n) in EWT.items()}
    used = {kind for examples in corpus.splits.values() for e in examples for kind in task.tally(e)}
    assert used == set(task.types)


# Examples


def record(**changed) -> Record:
    return Record(
        "dev.props:4", {"tokens": ["Anna", "gave", "it"], "predicate": 1, "tags": ["O", "B-V", "O"]} | changed
    )


def test_examples():
    """Words, the predicate's word and place; the mark where it is shown in its place."""
    fields = {"tokens": ["Anna", "gave", "it"], "predicate": "gave", "index": 1}
    assert roles().example(record(), 7) == Example("7", fields, ["O", "B-V", "O"], mark=1)
    appended = roles(predicate="appended")
    assert appended.example(record(), 7) == Example("7", fields, ["O", "B-V", "O"])
    assert (roles().fields, appended.fields) == (["tokens"], ["tokens", "predicate"])
    assert roles().example(record(tags=None), 0).gold is None


def test_example_errors():
    """file:line, what is there, and what would be right."""
    for odd in (None, -1, 3, "1", "gave", 1.0, True):
        with pytest.raises(DataError) as caught:
            roles().example(record(predicate=odd), 0)
        assert str(caught.value) == (f"dev.props:4: 'predicate' is {odd!r}; it must be the index of one of the 3 words")
    with pytest.raises(DataError) as caught:
        roles().example(record(tags=["B-ARG0", "B-V", "O"]), 0)
    assert str(caught.value).startswith("dev.props:4: 'B-ARG0' (token 1) is not a type of conll05; ")
    with pytest.raises(DataError, match=r"^dev.props:4: 'B-AM-GOL' \(token 1\) is not a type of conll05; did you mean"):
        roles().example(record(tags=["B-AM-GOL", "B-V", "O"]), 0)
    assert roles("srl_ewt").example(record(tags=["B-AM-GOL", "B-V", "O"]), 0).gold[0] == "B-AM-GOL"


def test_parse():
    """The predicate stands between asterisks; stars are words otherwise."""
    task = roles()
    assert task.parse("the cat *sat* down") == {"tokens": ["the", "cat", "sat", "down"], "predicate": 2}
    assert task.parse("* *rated* * *") == {"tokens": ["*", "rated", "*", "*"], "predicate": 1}
    for text, count in (("the cat sat", 0), ("*a* *b*", 2), ("", 0), ("** a", 0), ("*a b*", 0)):
        with pytest.raises(DataError) as caught:
            task.parse(text)
        assert str(caught.value) == (f"{count} words between asterisks; conll05 needs one, as in: the cat *sat* down")


# The predicate, shown to the model


@pytest.fixture(scope="module", params=["bert_folder", "roberta_folder"])
def tokenizer(request):
    """The tokenizers of both families, byte-level and not."""
    return AutoTokenizer.from_pretrained(str(request.getfixturevalue(request.param)))


def sentence(seed: int, longest: int = 60) -> Example:
    """Words of one to many sub-tokens with random tags, and a predicate anywhere."""
    rng = random.Random(seed)
    vocabulary = ["Anna", "works", "Nordwind", "unbelievably", "mill", "*", "50\u00b0F", "river", ".", "\u200b"]
    tokens = [rng.choice(vocabulary) for _ in range(rng.randint(1, longest))]
    at = rng.randrange(len(tokens))
    tags = ["B-V" if i == at else rng.choice(["O", "B-A0", "B-A1", "B-R-A0"]) for i in range(len(tokens))]
    return Example(str(seed), {"tokens": tokens, "predicate": tokens[at], "index": at}, tags, mark=at)


def shown(example: Example, task: Roles) -> Example:
    """As the task gives it."""
    values = {"tokens": example.fields["tokens"], "predicate": example.fields["index"], "tags": example.gold}
    return task.example(Record("x:1", values), 0)


def laid_out(task: Roles, tokenizer, examples, most: int, **more) -> Rendered:
    return Rendered(examples, task, Plain(Tokens(tokenizer), task.fields, **more), most)


@pytest.mark.parametrize("slots", [0, 3])
@pytest.mark.parametrize("seed", range(6))
def test_marked(tokenizer, seed, slots):
    """Asterisks stand around the predicate alone, and every label is read at the first sub-token of its own word."""
    task, tokens = roles(), Tokens(tokenizer)
    example = shown(sentence(seed), task)
    (row,) = laid_out(task, tokenizer, [example], 1000, slots=slots).rows(0, NO_DRAW)
    pieces, (star,) = tokens.words(example.fields["tokens"]), tokens.words(["*"])
    at = example.fields["index"]
    body = [i for j, ids in enumerate(pieces) for i in ([*star, *ids, *star] if j == at else ids)]
    frame = tokens.frames[1]
    assert list(row.ids) == [*frame.before, *[tokens.unk_id] * slots, *body, *frame.after]
    assert [row.ids[i] for i in row.read["words"]] == [ids[0] for ids in pieces]
    assert list(row.target) == task.target(example)
    first = row.read["words"][at]
    end = first + len(pieces[at])
    assert list(row.ids[first - len(star) : first]) == list(row.ids[end : end + len(star)]) == star


@pytest.mark.parametrize("slots", [0, 3])
@pytest.mark.parametrize("seed", range(6))
def test_appended(tokenizer, seed, slots):
    """The sentence as it is, and the predicate's word as a second segment."""
    task, tokens = roles(predicate="appended"), Tokens(tokenizer)
    example = shown(sentence(seed), task)
    (row,) = laid_out(task, tokenizer, [example], 1000, slots=slots).rows(0, NO_DRAW)
    pieces, frame = tokens.words(example.fields["tokens"]), tokens.frames[2]
    second = tokens.encode(example.fields["predicate"])
    body = [i for ids in pieces for i in ids]
    assert list(row.ids) == [
        *frame.before, *[tokens.unk_id] * slots, *body, *frame.between, *second, *frame.after
    ]  # fmt: skip
    assert [row.ids[i] for i in row.read["words"]] == [ids[0] for ids in pieces]
    assert list(row.target) == task.target(example)
    assert row.types[-1] == frame.after_type


def oracle(task: Roles, rendered: Rendered, index: int) -> list[RowOutput]:
    """What a head would say that is always right about the words that its row reads."""
    return [
        RowOutput(index, np.eye(len(task.labels))[list(row.target)], row.start) for row in rendered.rows(index, NO_DRAW)
    ]


@pytest.mark.parametrize("predicate", ["marked", "appended", "literal"])
@pytest.mark.parametrize("most", [16, 24, 50])
def test_windows(tokenizer, predicate, most):
    """Each word is read once, in some window, at its own sub-token; every window shows the predicate."""
    task, tokens = roles(predicate=predicate), Tokens(tokenizer)
    examples = [shown(sentence(seed), task) for seed in range(20)]
    examples = [e for e in examples if len(tokens.encode(" ".join(e.fields["tokens"]))) > most]
    rendered = laid_out(task, tokenizer, examples, most)
    (star,) = tokens.words(["*"])
    marks = 0
    for index, example in enumerate(examples):
        rows, pieces = rendered.rows(index, NO_DRAW), tokens.words(example.fields["tokens"])
        assert len(rows) > 1
        read = []
        for row in rows:
            assert len(row.ids) <= most
            if predicate == "marked":
                told, room = [*star, *pieces[example.mark], *star], (most - len(tokens.frames[1])) // 2
                if len(told) > room and not row.start <= example.mark < row.start + len(row.read["words"]):
                    told = [*told[: room - len(star)], *star]
                places = [i for i in range(len(row.ids)) if list(row.ids[i : i + len(told)]) == told]
                if example.mark < row.start:
                    assert places[0] < row.read["words"][0]
                elif example.mark >= row.start + len(row.read["words"]):
                    assert places[-1] > row.read["words"][-1]
                else:
                    assert places or len(told) > most - len(tokens.frames[1])
            for word, place in enumerate(row.read["words"], row.start):
                assert row.ids[place] == pieces[word][0]
                read.append(word)
                if word == example.mark:
                    assert list(row.ids[place - len(star) : place]) == star
                    marks += 1
        assert read == list(range(len(example.gold)))
    assert marks == (len(examples) if predicate == "marked" else 0)
    assert (rendered.lost, rendered.labels) == (0, sum(len(e.gold) for e in examples))
    found = [task.decode(e, oracle(task, rendered, i)) for i, e in enumerate(examples)]
    assert [prediction.value for prediction in found] == [e.gold for e in examples]
    assert task.score(examples, found)["f1"] == 100.0


@pytest.mark.parametrize("predicate", ["marked", "appended", "literal"])
def test_truncation(tokenizer, predicate):
    """overflow=truncate: words that no row reads are O, count against the score, and are told."""
    task = roles(predicate=predicate)
    examples = [shown(sentence(seed), task) for seed in range(20)]
    rendered = laid_out(task, tokenizer, examples, 24, overflow="truncate")
    kept = [len(row.read["words"]) for i in range(20) for row in rendered.rows(i, NO_DRAW)]
    assert len(kept) == 20
    assert rendered.lost == sum(len(e.gold) for e in examples) - sum(kept) > 100
    short = sum(count < len(e.gold) for e, count in zip(examples, kept, strict=True))
    assert rendered.cut >= short > 10  # a long word, or a long predicate beside the sentence, is cut, too
    assert laid_out(task, tokenizer, examples, 1000, overflow="truncate").cut == 0
    found = [task.decode(e, oracle(task, rendered, i)).value for i, e in enumerate(examples)]
    for example, tags, count in zip(examples, found, kept, strict=True):
        assert tags == example.gold[:count] + ["O"] * (len(example.gold) - count)
    scores = task.score(examples, [Prediction(tags) for tags in found])
    wanted, right = (sum(sum(t not in ("O", "B-V") for t in tags) for tags in side) for side in (
        [e.gold for e in examples], found))  # fmt: skip
    assert scores["recall"] == pytest.approx(100 * right / wanted)
    assert scores["precision"] == 100.0


@pytest.mark.parametrize("seed", range(10))
def test_no_mark_changes_no_window(tokenizer, seed):
    """Sentences without a marked word are read in the windows that they had: with all of the row's room."""
    words = sentence(seed, 80).fields["tokens"]
    tokens = Tokens(tokenizer)
    plain = Plain(tokens, ["tokens"])
    rows = plain.rows(plain.parts(0, Example("0", {"tokens": words}), None), NO_DRAW, 24)
    assert all(len(row.ids) <= 24 for row in rows)
    assert [row.start for row in rows] == [sum(len(r.read["words"]) for r in rows[:i]) for i in range(len(rows))]
    assert sum(len(row.read["words"]) for row in rows) == len(words)


def test_long_predicates(tokenizer):
    """A row stays within its length whatever the predicate is; it reads the words all the same."""
    for predicate in ("marked", "appended", "literal"):
        task = roles(predicate=predicate)
        word = "un" + "believ" * 15 + "able"
        given = record(tokens=["It", "is", word, "today", "."], predicate=2, tags=["O", "O", "B-V", "O", "O"])
        rendered = laid_out(task, tokenizer, [task.example(given, 0)], 20)
        assert all(len(row.ids) <= 20 for row in rendered.rows(0, NO_DRAW))
        assert rendered.lost == 0


@pytest.mark.parametrize("family", ["bert_folder", "roberta_folder", "deberta_folder", "deberta_v2_folder"])
def test_literal_is_the_published_call(family, request):
    """The tokenizer's own ids and token types of the words, the word [SEP] and the predicate, in one call."""
    folder = str(request.getfixturevalue(family))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    theirs = AutoTokenizer.from_pretrained(folder)
    if family == "roberta_folder":  # add_prefix_space=True, which tokenizer.json overrules
        theirs.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    task = roles(predicate="literal")
    for seed in range(6):
        words = [
            word for word in sentence(seed).fields["tokens"] if word != "\u200b"
        ]  # of which the call makes nothing
        tags = ["B-V", *["O"] * (len(words) - 1)]
        example = task.example(record(tokens=words, predicate=0, tags=tags), 0)
        (row,) = laid_out(task, tokenizer, [example], 1000).rows(0, NO_DRAW)
        called = theirs([*words, "[SEP]", words[0]], is_split_into_words=True, return_token_type_ids=True)
        assert list(row.ids) == called["input_ids"]
        assert list(row.types) == called["token_type_ids"] == [0] * len(row.ids)
        first = [called.word_ids().index(i) for i in range(len(words))]
        assert (list(row.read["words"]), list(row.target)) == (first, task.target(example))
        separators = called["input_ids"].count(tokenizer.sep_token_id)
        assert separators == (2 if tokenizer.sep_token == "[SEP]" else 1)


# The release of CoNLL-2005: a folder a split, of a file a section


SECTIONS = {
    "train": ("train", ("train.02", "train.03", "train.21")),
    "dev": ("devel", ("devel.24",)),
    "test.wsj": ("test.wsj", ("test.wsj",)),
    "test.brown": ("test.brown", ("test.brown",)),
}


@pytest.fixture
def release(tmp_path) -> Path:
    """The demo's CoNLL-2005 as a folder of files, and the release's tree with the same sentences; returns that."""
    demo.write("conll05", tmp_path / "flat", sizes={"train": 40, "dev": 9, "test": 7})
    for split, (folder, sections) in SECTIONS.items():
        for kind in ("words", "props"):
            text = (tmp_path / "flat" / f"{split}.{kind}").read_text(encoding="utf-8")
            sentences = text.rstrip("\n").split("\n\n")
            each = -(-len(sentences) // len(sections))
            (tmp_path / "release" / folder / kind).mkdir(parents=True)
            for number, section in enumerate(sections):
                part = "\n\n".join(sentences[number * each : (number + 1) * each]) + "\n\n"
                path = tmp_path / "release" / folder / kind / f"{section}.{kind}.gz"
                path.write_bytes(gzip.compress(part.encode()))
    return tmp_path / "release"


def from_folder(root: Path):
    """The shipped task's corpus below a folder."""
    return load(roles(), Data(source="local", root=str(root)))


def test_the_release_of_conll05(release):
    """Sections in their order, each a packed file beside its words, give the examples of one file; all are named."""
    found = from_folder(release)
    assert found.splits == from_folder(release.parent / "flat").splits
    assert {split: len(examples) for split, examples in found.splits.items()} == {
        "train": 40,
        "dev": 9,
        "test": 7,
        "test_brown": 7,
    }
    told = found.origin["files"]["train"]
    assert (told["path"], told["files"]) == (str(release / "train/props"), 3)
    names = [f"train.{number}.words.gz" for number in ("02", "03", "21")]
    assert [*told["beside"]] == [str(release / "train/words" / name) for name in names]
    assert found.origin["parts"]["train"] == from_folder(release.parent / "flat").origin["parts"]["train"]
    where = [record.where.rpartition(":")[0] for record in props.read(release / "train/props")]
    assert [*dict.fromkeys(where)] == [str(release / f"train/props/train.{n}.props.gz") for n in ("02", "03", "21")]


def test_words_of_the_release_may_be_unpacked(release):
    """They are made of the treebank, by programs that do not pack them."""
    before = from_folder(release).splits
    for path in [*release.glob("*/words/*.gz")]:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert from_folder(release).splits == before


def test_a_broken_section_is_named(release):
    """The file of the section with the line in it; a section without words, one that is there twice, and none."""
    path = release / "train/props/train.03.props.gz"
    packed = path.read_bytes()
    lines = gzip.decompress(packed).decode().split("\n")
    line = next(i for i, text in enumerate(lines) if "(V*)" in text)
    lines[line] = lines[line].replace("(V*)", "(V*", 1)
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(DataError, match=rf"^{path}:\d+: '\(V' is not closed|^{path}:\d+: .* opens a span inside"):
        from_folder(release)
    path.write_bytes(packed)
    words = release / "train/words/train.21.words.gz"
    moved = words.rename(release / "elsewhere")
    props_file = release / "train/props/train.21.props.gz"
    with pytest.raises(DataError, match=f"^{props_file}: no train.21.words.gz beside it"):
        from_folder(release)
    moved.rename(words)
    (release / "train/props/train.03.props").write_bytes(gzip.decompress(packed))
    with pytest.raises(DataError, match=rf"^{path}: is there beside train\.03\.props; keep only one of the two"):
        from_folder(release)
    for file in [*release.glob("train/props/*")]:
        file.unlink()
    with pytest.raises(DataError, match=f"^{release / 'train/props'}: no file in it whose name ends in .props"):
        from_folder(release)


SETTINGS = ("method=ptv2", "backbone=roberta_large", "data=local", "data.root=.", "tracker=none")


def test_compat(settings):
    """The published code appends the predicate, selects by seqeval's F1 and reports test; each can be left out."""
    ours = settings("task=conll05", *SETTINGS)
    assert (ours.task["predicate"], ours.metric) == ("marked", "f1")
    theirs = settings("task=conll05", "compat=ptv2_official", *SETTINGS)
    assert (theirs.task["predicate"], theirs.metric, theirs.report_on) == ("literal", "f1_seqeval", "test")
    marked = settings("task=conll05", "compat=ptv2_official", "compat.predicate=null", *SETTINGS)
    assert (marked.task["predicate"], marked.metric) == ("marked", "f1_seqeval")
    alone = settings("task=conll05", "compat.predicate=published", *SETTINGS)
    assert (alone.task["predicate"], alone.metric) == ("literal", "f1")
    other = settings("task=srl_ewt", "compat=ptv2_official", *SETTINGS)  # nobody published on it
    assert other.task["predicate"] == "marked"


@pytest.mark.parametrize("predicate", ["marked", "appended", "literal"])
def test_predicates_are_told_apart(settings, wire, bert_folder, predicate):
    """Two predicates of one sentence want other tags of the same words: learned only where the model is shown which."""
    task = roles(predicate=predicate)
    words = ["Anna", "works", "for", "Nordwind", "in", "Oslo"]
    tagged = [(1, "B-A0 B-V B-A1 I-A1 O O"), (4, "O O O B-A1 B-V B-A2")]
    examples = [
        task.example(record(tokens=words, predicate=at, tags=tags.split()), i) for i, (at, tags) in enumerate(tagged)
    ]
    wired = wire(
        settings(
            "method=finetune",
            "task=conll05",
            f"task.predicate={predicate}",
            "backbone=local",
            f"backbone.path={bert_folder}",
            "data=local",
            "data.root=.",
            "data.max_length=40",
            "+backbone.dropout=0.0",
            "method.head.dropout=0",
            "optim.lr=0.001",
            "optim.schedule=constant",
            "batch_size=2",
            "epochs=300",
            "tracker=none",
        ),
        data=examples,
    )
    wired.fit(lambda run: {"selected": 0.0})
    assert wired.losses()[-1] < 0.1 * wired.losses()[0]
    assert wired.evaluate(wired.runs[0])["selected"] == 100.0


# The commands


DEMO = (
    "task=conll05",
    "data=demo",
    "data.demo.train=24",
    "data.demo.dev=8",
    "data.demo.test=8",
    "backbone=tiny_encoder",
    "tracker=none",
    "max_steps=3",
    "batch_size=8",
    "quiet=true",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train once a method on the demo, in a folder and with a cache of its own."""
    base = tmp_path_factory.mktemp("srl")
    done: dict[tuple[str, ...], Path] = {}

    def train(*words: str) -> Path:
        if words not in done:
            folder = base / str(len(done))
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(base)
                patch.setenv("PTUNE_CACHE", str(base / "cache"))
                assert call("train", *DEMO, *words, f"hydra.run.dir={folder}") == 0
            done[words] = folder
        return done[words]

    train.cache = base / "cache"
    return train


METHODS = {
    "ptv2": ("method=ptv2", "prompt_length.value=3"),
    "linear_probe": ("method=linear_probe",),
    "finetune": ("method=finetune",),
    "majority": ("method=majority",),
    "appended": ("method=ptv2", "prompt_length.value=3", "task.predicate=appended", "metric=f1_seqeval"),
}


@pytest.mark.parametrize("name", METHODS)
def test_train(run, name):
    """A run ends with all three F1 of the best step, and a prediction a predicate."""
    folder = run(*METHODS[name])
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert (result["metric"], result["synthetic"]) == ("f1_seqeval" if name == "appended" else "f1", True)
    assert list(result["best"]["report"]) == ["f1", "precision", "recall", "f1_seqeval", "f1_seqeval_no_v"]
    assert all(0 <= value <= 100 for value in result["best"]["report"].values())
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 8
    assert all(len(row["tokens"]) == len(row["gold"]) == len(row["prediction"]) for row in rows)
    assert all(row["tokens"][row["index"]] == row["predicate"] for row in rows)
    scores = metrics.roles([row["gold"] for row in rows], [row["prediction"] for row in rows])
    assert scores == pytest.approx(result["best"]["report"])


def test_eval(run, ptune, monkeypatch):
    """The same figures again, by name; and those of the second test set."""
    monkeypatch.setenv("PTUNE_CACHE", str(run.cache))
    folder = run(*METHODS["ptv2"])
    found = ptune("eval", f"run={folder}")
    assert found.code == 0
    printed = [line.split()[0] for line in (found.out + "\n" + found.err).splitlines() if line.strip()]
    assert [name for name in printed if name in roles().score_names] == roles().score_names
    table = json.loads((folder / "eval_test.json").read_text(encoding="utf-8"))
    assert table["scores"] == json.loads((folder / "result.json").read_text(encoding="utf-8"))["best"]["report"]
    assert ptune("eval", f"run={folder}", "split=test_brown").code == 0
    brown = json.loads((folder / "eval_test_brown.json").read_text(encoding="utf-8"))
    assert (brown["split"], brown["examples"]) == ("test_brown", 8)
    assert brown["data"]["files"]["test_brown"]["path"].endswith("test.brown.props")
    [(words, checksum)] = brown["data"]["files"]["test_brown"]["beside"].items()
    assert words.endswith("test.brown.words")
    assert checksum == hashlib.sha256(Path(words).read_bytes()).hexdigest()
    assert list(brown["scores"]) == roles().score_names


def test_report_on_brown(run):
    """The second test set as the reported one: the result says so; its figures are those that stand beside WSJ's."""
    beside = json.loads((run(*METHODS["ptv2"]) / "result.json").read_text(encoding="utf-8"))
    folder = run(*METHODS["ptv2"], "report_on=test_brown")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert (result["report_on"], result["selected_on_reported"]) == ("test_brown", False)
    assert result["best"]["report"] == beside["best"]["beside"]["test_brown"]
    assert result["score"] == result["best"]["report"]["f1"]
    assert set(result["windows"]) == {"train", "dev", "test_brown"}
    table = json.loads((folder / result["best"]["breakdowns"]["test_brown"]).read_text(encoding="utf-8"))
    assert {"label", "correct", "excess", "missed", "precision", "recall", "f1"} == set(table["labels"][0])
    assert "V" not in {row["label"] for row in table["labels"]}
    for row in (json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()):
        assert row["predicate"] == row["tokens"][row["index"]]


@pytest.mark.parametrize("name", ["ptv2", "appended"])
def test_predict(run, ptune, tmp_path, name):
    """Text with its asterisks, or words with the predicate's index, get a tag a word, however the model is shown it."""
    lines = ["Anna *gave* it", '{"tokens": ["Anna", "gave", "it"], "predicate": 1, "note": 5}']
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = ptune("predict", f"run={run(*METHODS[name])}", "input=in.txt")
    assert (found.code, found.err) == (0, "")
    one, two = (json.loads(line) for line in found.out.splitlines())
    assert two.pop("note") == 5
    assert one == two
    assert (one["tokens"], one["predicate"], len(one["prediction"])) == (["Anna", "gave", "it"], 1, 3)
    assert set(one["prediction"]) <= set(roles().labels)


def test_predict_refuses(run, ptune, tmp_path):
    """One line with the place in the input."""
    folder = run(*METHODS["ptv2"])
    for line, said in (
        ("Anna gave it", "0 words between asterisks; conll05 needs one, as in: the cat *sat* down"),
        ('{"tokens": ["Anna"]}', "'predicate' is None; it must be the index of one of the 1 words"),
        ('{"tokens": ["Anna"], "predicate": 1}', "'predicate' is 1; it must be the index of one of the 1 words"),
        ('{"predicate": 0}', "no tokens; conll05 needs a list of words in 'tokens'"),
    ):
        (tmp_path / "in.txt").write_text(line + "\n", encoding="utf-8")
        found = ptune("predict", f"run={folder}", "input=in.txt")
        assert (found.code, found.out, found.err) == (1, "", f"in.txt:1: {said}")


@pytest.mark.parametrize("name", ["not closed", "one inside another", "a column too few", "a line too many", "tags"])
def test_broken_files_at_the_command_line(ptune, write, tmp_path, name):
    """The reader's one line, and nothing else."""
    content, expected = BROKEN[name]
    path = write(**{"train.props": content, "train.words": "a\nb\n\nc\nd\n"})
    found = ptune(
        "train", "task=conll05", "method=majority", "data=local", f"data.root={tmp_path}", "backbone=tiny_encoder",
        "tracker=none",
    )  # fmt: skip
    assert found.code == 1
    assert found.err == f"{path}{expected.format(path=path, words=path.with_suffix('.words'))}"
    assert "Traceback" not in found.out


def test_missing_files_at_the_command_line(ptune, write, tmp_path):
    """No words, or no files at all: the names that would be read."""
    common = ("task=conll05", "method=majority", "data=local", f"data.root={tmp_path}", "backbone=tiny_encoder",
              "tracker=none")  # fmt: skip
    found = ptune("train", *common)
    assert (found.code, found.out) == (1, "")
    assert "train.props or train.props.gz or train-set.props.gz" in found.err
    assert len(found.err.splitlines()) == 1
    path = write(**{"train.props": one("(V*)", "*")})
    found = ptune("train", *common)
    assert found.err == f"{path}: no train.words beside it; props come with the words that they annotate"
