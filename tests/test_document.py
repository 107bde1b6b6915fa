"""JSON documents read an element at a time: what json.loads makes of them, or its refusal, at any size of a piece."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptune.errors import DataError, UnreadableError
from ptune.readers import document
from ptune.readers.document import Scanner, elements

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
PIECES = st.sampled_from([1, 2, 3, 7, 2**20])


def scanned(text: str, key: str | None, piece: int) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "PIECE", piece)
        return [*Scanner(io.StringIO(text)).elements(key, "some.json")]


@given(
    st.lists(VALUES, max_size=4), st.dictionaries(st.sampled_from("abc"), VALUES), PIECES, st.sampled_from([None, 1])
)
def test_elements(array, others, piece, indent):
    """In their order, wherever the array stands among the keys of its object."""
    for names in ([*others, "data"], ["data", *others]):
        text = json.dumps({name: {**others, "data": array}[name] for name in names}, indent=indent, ensure_ascii=False)
        assert scanned(text, "data", piece) == array
    assert scanned(json.dumps(array, indent=indent), None, piece) == array


@given(st.lists(VALUES, max_size=4), PIECES, st.data())
def test_broken_documents_are_refused(array, piece, data):
    """A character more or less is what json says it is: an error, or another document."""
    text = json.dumps({"x": [], "data": array})
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(["", *'[]{},:" 1']))
    text = text[:at] + other + text[at + 1 :]
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises((ValueError, DataError)):
            scanned(text, "data", piece)
        return
    if isinstance(expected, dict) and isinstance(expected.get("data"), list):
        assert scanned(text, "data", piece) == expected["data"]
    else:
        with pytest.raises(DataError, match=r"some\.json"):
            scanned(text, "data", piece)


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_files(name, tmp_path):
    """With a byte order mark, packed or not."""
    path = tmp_path / name
    content = "\ufeff".encode() + json.dumps({"data": ["é", {"a": 1}]}, ensure_ascii=False).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [*elements(path, "data")] == ["é", {"a": 1}]


def test_a_broken_file_is_explained_where_it_breaks(tmp_path):
    """After the elements before it; the line is the file's."""
    path = tmp_path / "a.json"
    path.write_text('{"data": [\n1,\n2,\n3 4]}')
    found = elements(path, "data")
    assert [next(found), next(found), next(found)] == [1, 2, 3]
    with pytest.raises(UnreadableError, match=r"a\.json:4: not JSON \(Expecting ',' delimiter, character 20 of 22\)"):
        next(found)


def test_memory_is_that_of_an_element(tmp_path):
    """And not that of the document, eight times as long."""

    def peak(count: int) -> int:
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"data": [{"text": "word " * 2000, "n": [i] * 100} for i in range(count)]}))
        tracemalloc.start()
        assert sum(1 for _ in elements(Path(path), "data")) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(4000) < 1.5 * peak(500)
