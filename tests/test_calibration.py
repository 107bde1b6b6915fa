"""Label words: how several make a score, and contextual calibration of a model that is not trained."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from ptune import build, calibration
from ptune.batch import Draw, Example, Hidden, Row, collate
from ptune.data.rendered import Rendered
from ptune.heads.verbalizer import Verbalizer
from ptune.injection import Shape
from ptune.leaves import leaf

SHAPE = Shape(layers=1, heads=1, head_dim=4, hidden=4, embed=4, positions=16, vocab=9, lm_head=True, pooler=False)
WORDS = {"set": {"bad": ["poor"], "good": ["fine", "great"]}}
IDS = {"poor": [0], "fine": [1], "great": [2]}


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("mean", [1.0, 2.5]), ("logsumexp", [1.0, math.log(math.exp(2.0) + math.exp(3.0))])],
)
def test_a_label_of_two_words(aggregate, expected):
    head = Verbalizer(SHAPE, ["bad", "good"], "sequence", WORDS, IDS.get, aggregate=aggregate)
    hidden = Hidden(torch.zeros(1, 2, 4), lambda _, ids: torch.tensor([[1.0, 2.0, 3.0]])[:, ids])
    batch = collate([Row(0, [1, 2], [0, 0], {"cls": [0], "mask": [1]}, target=0)], 0)
    torch.testing.assert_close(head.logits(hidden, batch), torch.tensor([expected]))


def test_a_text_without_content_gets_every_label_alike(settings, monkeypatch):
    """Exactly, if there is one such text; the shift is what its log-probabilities lack."""
    monkeypatch.setattr(calibration, "CONTENT_FREE", ("N/A",))
    s = settings("method=zero_shot", "task=agnews", "backbone=tiny_encoder", "method.head.calibrate=true")
    task = leaf(s.task)
    model = build.assemble([s], task)
    nothing = Rendered([Example("0", dict.fromkeys(task.fields, "N/A"))], task, model.member(0).template, 64)
    batch = nothing.batch([0], Draw(0, 0), "eval")
    model.eval()
    before = model.outputs(0, batch)[0].scores
    calibration.calibrate(model, 0, task, 64)
    assert before.max() - before.min() > 0.5
    assert model.member(0).head.shift.tolist() == pytest.approx((-before).tolist(), abs=1e-5)
    assert model.outputs(0, batch)[0].scores.tolist() == pytest.approx([math.log(0.25)] * 4, abs=1e-5)


def test_a_label_that_is_next_to_impossible_is_shifted_as_well(settings, monkeypatch):
    words = "+task.verbalizers.long={entailment: [extraordinarily unbelievable circumstances], not_entailment: [no]}"
    s = settings(
        *("method=zero_shot", "task=rte", "backbone=tiny_encoder", "method.head.calibrate=true"),
        *(words, "method.head.name=long"),
    )
    task = leaf(s.task)
    model = build.assemble([s], task)
    calibration.calibrate(model, 0, task, 64)
    shift = model.member(0).head.shift
    assert shift[0] > 104  # beyond what a float32 of a probability can say
    assert shift.isfinite().all()


def test_a_calibrated_run_is_evaluated_as_it_was(ptune, tmp_path):
    folder = tmp_path / "run"
    words = ["data=demo", "data.demo.train=8", "data.demo.dev=20", "data.demo.test=8", "backbone=tiny_encoder"]
    done = ptune(
        *("train", "method=zero_shot", "task=sst2", "method.head.calibrate=true", "tracker=none", "quiet=true"),
        *(*words, f"hydra.run.dir={folder}"),
    )
    assert done.code == 0, done.err
    shift = load_file(folder / "tuned.safetensors")["head.shift"]
    assert shift.min() > 0
    assert ptune("eval", f"run={folder}", "split=dev", "quiet=true").code == 0
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    found = json.loads((folder / "eval_dev.json").read_text(encoding="utf-8"))
    assert found["scores"] == result["best"]["select"]


def test_a_model_that_is_trained_is_not_calibrated(ptune):
    done = ptune(
        *("train", "method=pattern_finetune", "task=sst2", "method.head.calibrate=true", "data=demo"),
        *("backbone=tiny_encoder", "tracker=none"),
    )
    assert done.code != 0
    assert "method.head.calibrate: only for methods that train nothing, such as zero_shot; leave it out" in done.err
