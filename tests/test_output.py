"""Texts to be generated: what rows and batches hold of them."""

from __future__ import annotations

import pytest
import torch

from ptune.batch import IGNORED, Hidden, Row, collate, concatenate

ROW = Row(0, [5, 6], [0, 0], {"cls": [0]}, output=(7, 8, 9))
SHORT = Row(1, [5], [0], {"cls": [0]}, output=(9,))
CLASS = Row(2, [5, 6, 7], [0, 0, 0], {"cls": [0]}, target=1)


def test_output_tokens_are_the_labels_of_a_row_and_of_a_batch():
    batch = collate([ROW, SHORT], 0, side="left")
    assert (ROW.labels, SHORT.labels, CLASS.labels) == (3, 1, 1)
    assert batch.output.tolist() == [[7, 8, 9], [9, IGNORED, IGNORED]]
    assert batch.ids.shape == (2, 2)  # of the source alone
    assert batch.labels == 4


def test_a_batch_without_outputs_has_width_0():
    batch = collate([CLASS], 0)
    assert batch.output.shape == (1, 0)
    assert batch.labels == 1


def test_outputs_are_joined_over_batches():
    joint = concatenate([collate([SHORT], 0), collate([CLASS], 0), collate([ROW], 0)], 0)
    assert joint.output.tolist() == [[9, IGNORED, IGNORED], [IGNORED] * 3, [7, 8, 9]]
    assert joint.to(torch.device("cpu")).output.tolist() == joint.output.tolist()


def test_hidden_is_split_by_rows_and_generates_once_for_all():
    calls: list[int] = []

    def generate(limit: int) -> list[list[int]]:
        calls.append(limit)
        return [[row] * limit for row in range(3)]

    states, output = torch.randn(3, 2, 4), torch.randn(3, 5, 4)
    one, two = Hidden(states, lambda *_: states, output, generate).split([1, 2], [0, 3])
    assert one.generate is not None
    assert two.generate is not None
    assert (one.generate(limit=2), two.generate(limit=2)) == ([[0, 0]], [[1, 1], [2, 2]])
    assert calls == [2]
    torch.testing.assert_close(two.states, states[1:])
    assert one.output is None
    torch.testing.assert_close(two.output, output[1:, :3])


@pytest.mark.parametrize("counts", [[3], [1, 2]])
def test_hidden_without_outputs_stays_without(counts: list[int]):
    states = torch.randn(3, 2, 4)
    for piece in Hidden(states, lambda *_: states).split(counts, [0] * len(counts)):
        assert piece.output is None
        assert piece.generate is None
