"""Causal models go on with a text: the same as transformers does, under any injection, and blind to company."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_backbones import CAUSAL, deep, front, loaded, make_rows, of_families, pad_id, random_kv

from ptune.backbones.search import Search, search
from ptune.batch import EVERY, collate
from ptune.injection import Injection, join

END = 3
OUTPUTS = ((9, 8, 7, END), (6, END), (11, 5, 12))


@pytest.fixture(params=CAUSAL)
def folder(request):
    """Each family's tiny checkpoint in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture
def backbone(folder):
    """A loaded causal backbone with its language-model head, not dropping anything."""
    return loaded(folder, lm=True)


def rows_with_outputs(backbone):
    return [replace(row, output=output) for row, output in zip(make_rows(backbone), OUTPUTS, strict=True)]


def injections(backbone):
    """None, deep, in front, and one of each kind for the three rows."""
    mixed = join([deep(backbone, 3, seed=1), front(backbone, 2, seed=2), Injection()], [1, 1, 1])
    return [Injection(), deep(backbone, 4), front(backbone, 3), mixed]


def run(backbone, rows, injection, side="right"):
    batch = collate(rows, pad_id(backbone), side=side)
    with torch.no_grad(), backbone.injected(injection):
        return backbone(batch, injection)


def said(backbone, rows, injection, side="right", **how):
    batch = collate(rows, pad_id(backbone), side=side)
    with torch.no_grad(), backbone.injected(injection):
        return backbone(batch, injection).generate(end=END, **how)


@pytest.mark.parametrize("side", ["right", "left"])
def test_states_of_outputs_are_those_of_one_text(backbone, side):
    """The state of the source's last token predicts the first one; padding between the two changes nothing."""
    rows = rows_with_outputs(backbone)
    for injection in injections(backbone):
        found = run(backbone, rows, injection, side)
        assert found.output.shape[:2] == (3, 4)
        for i, row in enumerate(rows):
            ids = [*row.ids, *row.output[:-1]]
            text = replace(row, ids=ids, types=[0] * len(ids), output=())
            whole = run(backbone, [text], injection.of(torch.tensor([i]))).states[0]
            expected = whole[len(row.ids) - 1 :]
            torch.testing.assert_close(found.output[i, : len(row.output)], expected, atol=1e-5, rtol=1e-4)


def test_source_states_do_not_see_the_output(backbone):
    rows = rows_with_outputs(backbone)
    without = run(backbone, make_rows(backbone), Injection())
    torch.testing.assert_close(run(backbone, rows, Injection()).states, without.states, atol=1e-5, rtol=1e-4)
    assert without.output is None


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("penalty", [1.0, 0.6])
def test_search_is_that_of_transformers(backbone, beams, penalty):
    batch = collate(make_rows(backbone), pad_id(backbone), side="left")
    options = {"max_new_tokens": 6, "min_new_tokens": 2, "num_beams": beams, "do_sample": False, "eos_token_id": END}
    beam = {"length_penalty": penalty} if beams > 1 else {}
    options |= {"pad_token_id": 0, "bad_words_ids": [[7], [8]], "use_cache": True, **beam}
    with torch.no_grad():
        theirs = backbone.model.generate(batch.ids, attention_mask=batch.mask.long(), **options)
    expected = []
    for row in theirs[:, batch.ids.shape[1] :].tolist():
        expected.append(row[: row.index(END)] if END in row else row)
    how = {"limit": 6, "least": 2, "beams": beams, "penalty": penalty, "banned": (7, 8)}
    found = said(backbone, make_rows(backbone), Injection(), **how)
    if beams > 1:  # theirs pads what is shorter
        expected = [row[: len(mine)] for row, mine in zip(expected, found, strict=True)]
    assert found == expected


def test_prefixes_are_injected_at_each_step(backbone):
    """Greedy with kept keys and values says what passes over the whole text say, and no prefix says something else."""
    row = make_rows(backbone)[0]
    for injection in injections(backbone)[1:3]:
        ids = list(row.ids)
        for _ in range(5):
            states = run(backbone, [replace(row, ids=ids, types=[0] * len(ids))], injection).states
            ids.append(int(backbone.lm_logits(states[:, -1], EVERY).argmax()))
        expected = ids[len(row.ids) :]
        expected = expected[: expected.index(END)] if END in expected else expected
        assert said(backbone, [row], injection, limit=5) == [expected]


@pytest.mark.parametrize("beams", [1, 3])
def test_rows_of_a_batch_say_what_each_says_alone(backbone, beams):
    rows = make_rows(backbone)
    for injection in injections(backbone):
        together = said(backbone, rows, injection, side="left", limit=6, beams=beams)
        assert together == said(backbone, rows, injection, limit=6, beams=beams)
        for i, row in enumerate(rows):
            assert said(backbone, [row], injection.of(torch.tensor([i])), limit=6, beams=beams) == [together[i]]


@of_families("gpt2")
def test_a_prefix_changes_what_is_said(backbone):
    rows = make_rows(backbone)
    plain, prefixed = (said(backbone, rows, i, limit=8) for i in (Injection(), deep(backbone, 6)))
    assert plain != prefixed


@of_families("gpt2")
def test_the_injection_stands_after_generation(backbone):
    """A loss that is computed after it still sees the prefix."""
    rows, injection = rows_with_outputs(backbone), deep(backbone, 4)
    batch = collate(rows, pad_id(backbone))
    with torch.no_grad(), backbone.injected(injection):
        before = backbone(batch, injection)
        before.generate(end=END, limit=3, beams=2)
        torch.testing.assert_close(backbone(batch, injection).output, before.output)


@of_families("gpt2")
def test_what_is_kept_of_lower_layers_is_no_hindrance(backbone):
    rows, injection = rows_with_outputs(backbone), Injection(kv={"encoder": random_kv(backbone, 4, [2, 3])}, offset=4)
    states, words = run(backbone, rows, injection), said(backbone, rows, injection, limit=4, beams=2)
    backbone.keep_lower(2)
    for _ in range(2):  # computed, then kept
        for row, found, expected in zip(rows, run(backbone, rows, injection).output, states.output, strict=True):
            torch.testing.assert_close(found[: len(row.output)], expected[: len(row.output)])
        assert said(backbone, rows, injection, limit=4, beams=2) == words


def table(*rows):
    """A model of three words and an end (3) whose logits depend on the last word alone."""
    logs = torch.tensor(rows).log()

    def advance(tokens, origin):
        return logs[tokens]

    return advance


def test_a_beam_finds_what_greed_misses():
    advance = table([0.1, 0.1, 0.4, 0.4], [0.02, 0.02, 0.01, 0.95], [0.3, 0.3, 0.3, 0.1], [0.25] * 4)
    first = torch.tensor([[0.5, 0.45, 0.04, 0.01]]).log()
    assert search(first, advance, Search(END, limit=2)) == [[0, 2]]
    assert search(first, advance, Search(END, limit=2, beams=2)) == [[1]]


def test_what_all_texts_begin_with_counts_to_their_length():
    """As in transformers: 0.4 over 4 tokens is more a token than 0.6 over 2; over 13 and 11 it is less."""
    no = 1e-9
    advance = table([no, no, no, 1.0], [no, no, 1.0, no], [1.0, no, no, no], [0.25] * 4)
    first = torch.tensor([[0.6, 0.4, no, no]]).log()
    for before, expected in ((0, [1, 2, 0]), (9, [0])):
        assert search(first, advance, Search(END, limit=5, beams=2, before=before)) == [expected]


def test_least_and_banned_words():
    advance = table(*[[0.1, 0.2, 0.3, 0.4]] * 4)
    first = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    for beams in (1, 2):
        assert search(first, advance, Search(END, 5, beams)) == [[]]
        assert search(first, advance, Search(END, 5, beams, least=3)) == [[2, 2, 2]]
        assert search(first, advance, Search(END, 5, beams, least=3, banned=(2,))) == [[1, 1, 1]]


def test_a_text_without_an_end_is_as_long_as_the_limit():
    advance = table(*[[0.6, 0.2, 0.2, 0.0]] * 4)
    first = torch.tensor([[0.6, 0.2, 0.2, 0.0]]).log()
    for beams in (1, 3):
        assert search(first, advance, Search(END, 4, beams)) == [[0, 0, 0, 0]]
