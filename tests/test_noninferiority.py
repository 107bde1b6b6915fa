"""The comparison with Hugging Face's own tools on SQuAD: the windows it cuts, and both sides from end to end."""

from __future__ import annotations

from typing import Any

import pytest
from programs import program


@pytest.fixture(scope="module")
def bench(shared) -> Any:
    """The program scripts/bench/noninferiority, imported: its name has no .py; it takes a few questions."""
    pytest.importorskip("peft", reason="needs PEFT: pip install 'ptune[peft]'")
    module = program("scripts/bench/noninferiority")  # beside it is the module `trainer`
    import trainer

    for needed in (module.BACKBONE, trainer.FOLDERS["squad"]):
        if not (shared / needed).exists():
            pytest.skip(f"no {shared / needed}")
    module.MOST = {"squad": {"max_train": 32, "max_dev": 24}}
    return module


def test_windows_hold_the_answers(bench, shared):
    """Every context is read to its end; a row that points at words points at the answer."""
    import trainer
    from transformers import AutoTokenizer

    task, corpus = bench.read("squad", shared, **bench.MOST["squad"])
    tokenizer = AutoTokenizer.from_pretrained(str(shared / bench.BACKBONE))
    pointed = several = 0
    for index, example in enumerate(corpus.splits["train"]):
        context, answer = example.fields["context"], task.target(example)
        found = list(trainer.windows(index, example, task, tokenizer, 160))
        several += len(found) > 1
        assert found[-1].offsets[-1][1] == len(context.rstrip())
        for window in found:
            assert len(window.row["input_ids"]) <= 160
            assert window.example == index
            first, last = (window.row[key] - window.first for key in ("start_positions", "end_positions"))
            if window.row["start_positions"]:
                assert window.offsets[first][0] <= answer.first < window.offsets[first][1]
                assert window.offsets[last][0] <= answer.last < window.offsets[last][1]
        pointed += any(window.row["start_positions"] for window in found)
    assert pointed == len(corpus.splits["train"]) == 32
    assert several


def test_logits_become_answers(bench, shared):
    """Logits that point at the answers score 100."""
    import numpy as np
    import trainer
    from transformers import AutoTokenizer

    task, corpus = bench.read("squad", shared, **bench.MOST["squad"])
    examples = corpus.splits["dev"]
    tokenizer = AutoTokenizer.from_pretrained(str(shared / bench.BACKBONE))
    found = [w for i, example in enumerate(examples) for w in trainer.windows(i, example, task, tokenizer, 256)]
    starts, ends = (np.full((len(found), 256), -9.0) for _ in range(2))
    for row, window in enumerate(found):
        starts[row, window.row["start_positions"]] = ends[row, window.row["end_positions"]] = 9.0
    assert trainer.score_answers(task, examples, found, starts, ends) == 100.0
    assert trainer.score_answers(task, examples, found, ends * 0, ends * 0) < 50.0


# PEFT 0.21 asks transformers 5.23 by a name that is to go.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.slow
@pytest.mark.parametrize("side", ["ptv2", "peft"])
def test_a_cell_of_squad(bench, shared, tmp_path, side):
    """Two steps and an evaluation, on either side."""
    cell, settings = bench.Cell("squad", side, 0.03, 1), bench.Settings(1, precision="float32")
    bench.run_cell(cell, settings, shared, tmp_path)
    found = bench.json.loads((tmp_path / f"{cell.name}.json").read_text())
    assert (found["metric"], found["dev"], len(found["scores"])) == ("f1", 24, 1)
    assert 0.0 <= found["best"] <= 100.0
    assert len(found["losses"]) == 1
    assert 3.0 < found["losses"][0] < 14.0  # about 2 ln(tokens), or their mean, before anything is learned
