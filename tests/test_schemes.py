"""Tagging schemes: each says the same spans, is read strictly and written so that it is read again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptune.data.schemes import LETTERS, SchemeError, from_iob2, spans, to_iob2
from ptune.errors import DataError
from ptune.readers import Record
from ptune.tasks.tag import Tag

steadily = settings(deadline=None, derandomize=True)
TYPES = ["PER", "ORG", "LOC", "B-SIDE"]
SPANS = st.lists(st.tuples(st.sampled_from([None, *TYPES]), st.integers(1, 4)), max_size=8)  # None: words of no span


def iob2(parts: list[tuple[str | None, int]]) -> list[str]:
    """The tags of spans side by side."""
    tags: list[str] = []
    for kind, length in parts:
        tags += ["O"] * length if kind is None else [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
    return tags


# In every scheme, by hand

SAME = [
    {"iob2": "B-PER", "iob1": "I-PER", "bioes": "S-PER", "bilou": "U-PER"},
    {"iob2": "B-PER I-PER", "iob1": "I-PER I-PER", "bioes": "B-PER E-PER", "bilou": "B-PER L-PER"},
    {
        "iob2": "O B-ORG I-ORG I-ORG O",
        "iob1": "O I-ORG I-ORG I-ORG O",
        "bioes": "O B-ORG I-ORG E-ORG O",
        "bilou": "O B-ORG I-ORG L-ORG O",
    },
    {
        "iob2": "B-PER B-PER I-PER B-LOC B-LOC O B-LOC",
        "iob1": "I-PER B-PER I-PER I-LOC B-LOC O I-LOC",
        "bioes": "S-PER B-PER E-PER S-LOC S-LOC O S-LOC",
        "bilou": "U-PER B-PER L-PER U-LOC U-LOC O U-LOC",
    },
    {"iob2": "O O", "iob1": "O O", "bioes": "O O", "bilou": "O O"},
    {"iob2": "", "iob1": "", "bioes": "", "bilou": ""},
]


@pytest.mark.parametrize("scheme", LETTERS)
@pytest.mark.parametrize("same", SAME, ids=lambda same: same["iob2"] or "nothing")
def test_schemes_by_hand(same, scheme):
    """To IOB2 and back."""
    assert to_iob2(same[scheme].split(), scheme) == same["iob2"].split()
    assert from_iob2(same["iob2"].split(), scheme) == same[scheme].split()
    assert from_iob2(same["iob1"].split(), scheme) == same[scheme].split()


@steadily
@given(SPANS, st.sampled_from(list(LETTERS)))
def test_round_trip(parts, scheme):
    """Write, read, equal: spans of one type that touch stay two."""
    tags = iob2(parts)
    written = from_iob2(tags, scheme)
    assert to_iob2(written, scheme) == tags
    assert len(written) == len(tags)
    assert {tag[0] for tag in written} <= {"O", *LETTERS[scheme]}


@steadily
@given(st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])), st.sampled_from(list(LETTERS)))
def test_predicted_tags_keep_their_spans(tags, scheme):
    """A model's I- may open a span, as seqeval reads it; what is written is well-formed and has the same spans."""
    from seqeval.metrics.sequence_labeling import get_entities

    expected = [(first, last + 1, kind) for kind, first, last in get_entities(list(tags))]
    assert list(spans(tags)) == expected
    assert list(spans(to_iob2(from_iob2(tags, scheme), scheme))) == expected


@steadily
@given(st.lists(st.sampled_from([f"{letter}-{kind}" for letter in "BIESLU" for kind in ("A", "C")] + ["O"])))
def test_whatever_is_read_is_written_again(tags):
    """Strict reading: what a scheme with an end accepts is exactly what it writes; the rest is named by its word."""
    for scheme in ("bioes", "bilou", "iob2"):
        refused, read = None, []
        try:
            read = to_iob2(tags, scheme)
        except SchemeError as error:
            refused = error
        if refused:
            assert str(refused).startswith(f"'{tags[refused.index]}' (token {refused.index + 1}) ")
        else:
            assert from_iob2(read, scheme) == tags


# What a scheme forbids: the word's line, the tag, and what would cure it

ENDS = "puts at the end of an entity of several words; if the file is IOB2, set task.scheme=iob2"
FORBIDDEN = [
    ("iob2", "O I-PER", 2, "opens an entity, which IOB2 marks with B-; if the file is IOB1, set task.scheme=iob1"),
    ("iob2", "B-PER I-LOC", 2, "opens an entity, which IOB2 marks with B-; if the file is IOB1, set task.scheme=iob1"),
    ("iob2", "S-PER", 1, "is not a tag; use O, B-TYPE or I-TYPE; if the file is BIOES, set task.scheme=bioes"),
    ("iob1", "O U-PER", 2, "is not a tag; use O, B-TYPE or I-TYPE; if the file is BILOU, set task.scheme=bilou"),
    ("bioes", "O I-PER", 2,
     "opens an entity, which BIOES marks with B- or S-; if the file is IOB1, set task.scheme=iob1"),
    ("bilou", "L-PER", 1,
     "opens an entity, which BILOU marks with B- or U-; if the file is IOB1, set task.scheme=iob1"),
    ("bioes", "B-PER O", 2, f"follows no 'E-PER', which BIOES {ENDS}"),
    ("bilou", "B-PER I-PER U-LOC", 3, f"follows no 'L-PER', which BILOU {ENDS}"),
    ("bilou", "B-PER L-LOC", 2, f"follows no 'L-PER', which BILOU {ENDS}"),
    ("bioes", "O B-PER I-PER", 3, f"ends the sentence without 'E-PER', which BIOES {ENDS}"),
    ("bioes", "S-PER L-PER", 2,
     "is not a tag; use O, B-TYPE, I-TYPE, E-TYPE or S-TYPE; if the file is BILOU, set task.scheme=bilou"),
    ("bilou", "PER", 1, "is not a tag; use O, B-TYPE, I-TYPE, L-TYPE or U-TYPE"),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "line", "at", "said"), FORBIDDEN)
def test_forbidden(scheme, line, at, said):
    """In a file with a token a line the place is the token's own line, else the record's."""
    tags = line.split()
    task = Tag("conll03", 1, {}, TYPES, scheme=scheme)
    values = {"tokens": ["x"] * len(tags), "tags": tags}
    for by_line, where in ((True, f"train.txt:{6 + at}"), (False, "train.txt:7")):
        with pytest.raises(DataError) as caught:
            task.example(Record("train.txt:7", values, by_line), 0)
        assert str(caught.value) == f"{where}: '{tags[at - 1]}' (token {at}) {said}"
