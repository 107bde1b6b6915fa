"""Write, read, equal: whatever the texts, for the formats whose round trips are not beside their other tests."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ptune.readers import delimited, gold_conll, indexed, jsonl, multirc, props, record, squad

steadily = settings(deadline=None, derandomize=True, max_examples=60)
ENDS = st.sampled_from(["\n", "\r\n"])
BOM = st.sampled_from(["", "\ufeff"])
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.text(ANY, max_size=12)
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t\ufeff"), max_size=12)
WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t \ufeff"), min_size=1, max_size=6
).filter(lambda word: word != "|||")
ROLES = st.sampled_from(["A0", "A1", "AM-TMP", "R-A0", "C-A1"])


def read(reader: Any, text: str, name: str = "some.txt", beside: tuple[str, str] | None = None, **options: Any) -> list:
    """What a reader makes of a file with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode())
        if beside:
            (Path(folder) / beside[0]).write_bytes(beside[1].encode())
        return [found.values for found in reader.read(path, **options)]


@st.composite
def tagged(draw, words=WORDS) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A sentence, and for some of its words as predicates the BIO tags of all words, V at the predicate."""
    tokens = draw(st.lists(words, min_size=1, max_size=6))
    frames = []
    for predicate in sorted(draw(st.sets(st.integers(0, len(tokens) - 1), max_size=2))):
        tags: list[str] = []
        for index in range(len(tokens)):
            before = tags[-1] if tags else "O"
            if index == predicate:
                tags.append("B-V")
            elif before not in ("O", "B-V") and draw(st.booleans()):
                tags.append(f"I-{before[2:]}")
            else:
                tags.append(draw(st.one_of(st.just("O"), ROLES.map("B-{}".format))))
        frames.append((predicate, tags))
    return tokens, frames


SENTENCES = st.lists(tagged(), min_size=1, max_size=4)


def said(sentences: list) -> list[dict[str, Any]]:
    """The records of sentences, one a predicate."""
    return [
        {"tokens": tokens, "predicate": predicate, "tags": tags}
        for tokens, frames in sentences
        for predicate, tags in frames
    ]


def bracketed(tokens: list[str], frames: list) -> list[list[str]]:
    """A row a word: the predicate's lemma or a dash, and its brackets for each predicate."""
    own = {predicate for predicate, _ in frames}
    columns = [props.brackets(tags) for _, tags in frames]
    return [["be" if i in own else "-", *(column[i] for column in columns)] for i in range(len(tokens))]


# JSON

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@steadily
@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=5), ENDS, BOM, st.booleans())
def test_jsonl(rows, end, bom, ascii_only):
    """Objects of any kind, escaped or not."""
    text = bom + "".join(json.dumps(row, ensure_ascii=ascii_only) + end for row in rows)
    assert read(jsonl, text) == rows


@st.composite
def articles(draw) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A document of SQuAD, and the records that it holds."""
    data, records = [], []
    for title in draw(st.lists(TEXTS, max_size=2)):
        paragraphs = []
        for context in draw(st.lists(st.text(ANY, min_size=1, max_size=30), max_size=2)):
            qas = []
            for question in draw(st.lists(TEXTS, max_size=2)):
                start = draw(st.integers(0, len(context) - 1))
                spans = draw(st.lists(st.just((context[start : start + 3], start)), max_size=2))
                name = f"q{len(records)}"
                answers = [{"text": text, "answer_start": at} for text, at in spans]
                qas.append({"id": name, "question": question, "answers": answers})
                by_key = {"text": [text for text, _ in spans], "answer_start": [at for _, at in spans]}
                records.append(
                    {"id": name, "title": title, "context": context, "question": question, "answers": by_key}
                )
            paragraphs.append({"context": context, "qas": qas})
        data.append({"title": title, "paragraphs": paragraphs})
    return {"version": "v2.0", "data": data}, records


@steadily
@given(articles(), BOM, st.sampled_from([None, 1]), st.booleans())
def test_squad(both, bom, indent, ascii_only):
    """Articles without paragraphs and paragraphs without questions have no records."""
    document, records = both
    text = bom + json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    assert read(squad, text, "train.json") == records


@steadily
@given(
    st.lists(
        st.tuples(
            TEXTS, st.lists(st.tuples(TEXTS, st.lists(st.tuples(TEXTS, st.integers(0, 1)), max_size=3)), max_size=3)
        ),
        max_size=3,
    ),
    ENDS,
)
def test_multirc(passages, end):
    """A record an answer."""
    lines, records = [], []
    for p, (paragraph, questions) in enumerate(passages):
        nodes = []
        for q, (question, answers) in enumerate(questions):
            told = [{"idx": a, "text": text, "label": label} for a, (text, label) in enumerate(answers)]
            nodes.append({"idx": q, "question": question, "answers": told})
            records += [
                {"paragraph": paragraph, "question": question, "answer": text, "label": label,
                 "idx": {"paragraph": p, "question": q, "answer": a}}
                for a, (text, label) in enumerate(answers)
            ]  # fmt: skip
        lines.append(json.dumps({"idx": p, "passage": {"text": paragraph, "questions": nodes}}) + end)
    assert read(multirc, "".join(lines)) == records


@steadily
@given(st.lists(st.tuples(st.text(ANY, min_size=2, max_size=20), TEXTS, st.data()), max_size=3), st.booleans())
def test_record(passages, lines):
    """Mentions end at their last character in the file, and one after it in the record; both forms say the same."""
    nodes, records = [], []
    for number, (text, query, draw) in enumerate(passages):
        first = draw.draw(st.integers(0, len(text) - 1))
        last = draw.draw(st.integers(first, len(text) - 1))
        mention = {"start": first, "end": last}
        answer = {**mention, "text": text[first : last + 1]}
        key = "idx" if lines else "id"
        query_node = {key: number, "query": query, "answers": [answer]}
        nodes.append({key: number, "passage": {"text": text, "entities": [mention]}, "qas": [query_node]})
        spans = {"text": [answer["text"]], "start": [first], "end": [last + 1]}
        records.append({"passage": text, "query": query, "entity_spans": spans,
                        "idx": {"passage": number, "query": number}, "answers": [answer["text"]]})  # fmt: skip
    if lines:
        assert read(record, "".join(json.dumps(node) + "\n" for node in nodes), "train.jsonl") == records
    else:
        assert read(record, json.dumps({"data": nodes}), "train.json") == records


# Tables

ROWS = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[TEXTS] * width), max_size=5))


@steadily
@given(st.lists(st.tuples(LINES, LINES), max_size=5), ENDS, BOM)
def test_tsv(rows, end, bom):
    """Between tabs stands any text of one line, quotation marks too."""
    text = bom + "".join("\t".join(row) + end for row in [("one", "two"), *rows])
    assert read(delimited, text) == [{"one": one, "two": two} for one, two in rows]


@steadily
@given(ROWS.filter(lambda rows: all(rows)), st.sampled_from([",", ";", "\t"]), BOM)
def test_csv(rows, delimiter, bom):
    """Between quotation marks stands any text, line ends of one newline among it."""
    rows = [tuple(cell.replace("\r", " ") for cell in row) for row in rows]
    names = ["a", "b", "c"][: len(rows[0]) if rows else 1]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    found = read(delimited, bom + out.getvalue(), names=names, quoted=True, delimiter=delimiter)
    assert found == [dict(zip(names, row, strict=True)) for row in rows]


# Semantic roles


@steadily
@given(SENTENCES, st.sampled_from(["\t", "  "]), ENDS, BOM)
def test_props(sentences, gap, end, bom):
    """Props beside their words, and one wide file."""
    blocks = [bracketed(tokens, frames) for tokens, frames in sentences]
    brackets = bom + (end * 2).join(end.join(gap.join(row) for row in rows) for rows in blocks)
    words = bom + (end * 2).join(end.join(tokens) for tokens, _ in sentences)
    assert read(props, brackets, "dev.props", ("dev.words", words)) == said(sentences)
    wide = bom + (end * 2).join(
        end.join(gap.join([token, "X", *row]) for token, row in zip(tokens, rows, strict=True))
        for (tokens, _), rows in zip(sentences, blocks, strict=True)
    )
    assert read(props, wide, word=0, predicate=2) == said(sentences)


@steadily
@given(SENTENCES, st.sampled_from(["\t", " "]), ENDS, BOM)
def test_gold_conll_roles(sentences, gap, end, bom):
    """A document a sentence; names have theirs in tests/test_columns.py."""
    lines = []
    for number, (tokens, frames) in enumerate(sentences):
        lines.append(f"#begin document (nw/x/{number}); part 000")
        for i, (token, (lemma, *cells)) in enumerate(zip(tokens, bracketed(tokens, frames), strict=True)):
            frame = "-" if lemma == "-" else "01"
            lines.append(
                gap.join([f"nw/x/{number}", "0", str(i), token, "X", "*", lemma, frame, "-", "-", "*", *cells, "-"])
            )
        lines += ["", "#end document"]
    assert read(gold_conll, bom + end.join(lines), "x.gold_conll", annotation="roles") == said(sentences)


@steadily
@given(SENTENCES, st.sampled_from(["\t", " "]), ENDS, BOM)
def test_indexed(sentences, gap, end, bom):
    """A predicate a line."""
    lines = [
        gap.join([str(predicate), *tokens, "|||", *tags]) for tokens, frames in sentences for predicate, tags in frames
    ]
    assert read(indexed, bom + end.join(lines)) == said(sentences)
