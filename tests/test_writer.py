"""Templates written by a T5: one beam over the mean of all examples, what it never writes, and the run around it."""

from __future__ import annotations

import json
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from ptune.batch import Example
from ptune.errors import ConfigError
from ptune.procedures.writer import LONGEST, Gap, Writer, layouts, patterns, search
from ptune.progress import Progress
from ptune.runs.folder import RunFolder
from ptune.session import Session
from ptune.templates.pattern import parse

FEW = ("data=demo", "data.demo.train=16", "data.demo.dev=12", "data.demo.test=8", "tracker=none", "quiet=true")
GAPS = [Gap("The old mill.", "Yes", ""), Gap("Anna Berg works for Nordwind in Oslo.", "No", "A dog sleeps.")]


@pytest.fixture(scope="module")
def t5_folder(roberta_folder, tmp_path_factory) -> Path:
    """A T5 with sentinels and random weights."""
    folder = tmp_path_factory.mktemp("filling_t5")
    tokenizer = AutoTokenizer.from_pretrained(str(roberta_folder))
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<extra_id_{i}>" for i in range(3)]})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture
def writer(t5_folder) -> Writer:
    """On the CPU."""
    return Writer(str(t5_folder), torch.device("cpu"))


def test_the_logits_are_the_mean_over_the_examples(writer) -> None:
    """Each by itself, without padding."""
    begun = [[writer.gaps[0], 9], [writer.gaps[0], 12]]
    with torch.inference_mode():
        together = writer._next(begun, *writer._encoded(GAPS))
        alone = [writer._next(begun, *writer._encoded([gap])) for gap in GAPS]
    torch.testing.assert_close(together, torch.stack(alone).mean(0), atol=1e-5, rtol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_the_beam_finds_what_trying_everything_finds(writer) -> None:
    """Over two words and a full stop, up to five tokens."""
    allowed = [*(writer._ids(f" {word}")[0] for word in ("river", "house")), writer.dots[0]]
    writer.banned = torch.tensor([i for i in range(len(writer.texts)) if i not in allowed])
    found = writer.fill(GAPS, beam=1000, length=5, progress=Progress(True))
    states, mask = writer._encoded(GAPS)
    expected = {}
    first, middle, last = writer.gaps
    with torch.inference_mode():
        for count in range(4):
            for words in product(allowed, repeat=count):
                for cut in range(count + 1):
                    ids = [first, *words[:cut], middle, *words[cut:], last]
                    if any(a in writer.dots and b in writer.dots for a, b in pairwise(ids)):
                        continue
                    logits = [writer._next([ids[:n]], states, mask)[0].log_softmax(-1) for n in range(1, len(ids))]
                    score = sum(float(row[i]) for row, i in zip(logits, ids[1:], strict=True))
                    expected[writer._said(ids[:-1])] = score
    assert {(a, b) for a, b, _ in found} == set(expected)
    assert [score for *_, score in found] == sorted((score for *_, score in found), reverse=True)
    for a, b, score in found:
        assert score == pytest.approx(expected[a, b], abs=1e-3)
    best = writer.fill(GAPS, beam=3, length=5, progress=Progress(True))
    assert len(best) == 3


def test_what_is_never_written(writer) -> None:
    dots = [i for i, text in enumerate(writer.texts) if len(text) > 3 and set(text) == {"."}]
    spaces = [i for i, text in enumerate(writer.texts) if not text]
    assert {*dots, *spaces, *writer.tokenizer.all_special_ids} == set(writer.banned.tolist())
    for a, b, _ in writer.fill(GAPS, beam=30, length=6, progress=Progress(True)):
        assert ".." not in a.replace(" ", "")
        assert ".." not in b.replace(" ", "")
        assert "extra_id" not in a + b


@pytest.mark.parametrize(
    ("fields", "fillings", "expected"),
    [
        (["text"], (" It was", "."), ["{text} It was {mask}.", "It was {mask}. {text}"]),
        (["one", "two"], ("?", ","), ["{one:bare}? {mask}, {two:lower}"]),
        (["text"], ("", " {so}"), ["{text} {mask} {{so}}", "{mask} {{so}} {text}"]),
    ],
)
def test_the_layouts(fields, fillings, expected) -> None:
    class Told:
        """Writes the same everywhere."""

        def __init__(self) -> None:
            self.asked: list = []

        def fill(self, examples, beam, length, progress):
            self.asked.append((list(examples), beam))
            return [(*fillings, -1.0), (*fillings, -2.0)]

    told = Told()
    example = Example("0", dict.fromkeys(fields, "The End."))
    found = [*patterns(told, layouts(fields), [(example, "great")], 100, 20, Progress(True))]
    assert found == expected
    assert all(parse(text, fields) for text in found)
    if len(fields) == 1:
        assert told.asked == [([Gap("The End.", "great", "")], 100), ([Gap(".", "great", "The End.")], 100)]
    else:
        assert told.asked == [([Gap("The End", "great", "the End.")], 100)]


@pytest.mark.parametrize(
    ("causal", "expected"), [(False, ["{text} {mask}", "{mask} {text}"]), (True, ["{text} {mask}"])]
)
def test_a_pattern_may_begin_with_the_mask_where_words_behind_it_are_read(causal, expected) -> None:
    class Silent:
        """Writes nothing."""

        def fill(self, examples, beam, length, progress):
            return [("", "", -1.0)]

    labeled = [(Example("0", {"text": "The End."}), "great")]
    assert [*patterns(Silent(), layouts(["text"]), labeled, 2, 20, Progress(True), causal)] == expected


def test_each_layout_is_searched_with_the_whole_beam_and_its_best_half_kept() -> None:
    """As generate_template.py of LM-BFF does, whichever layout is likelier."""

    class Sure:
        """Is surer of what stands behind a text."""

        def fill(self, examples, beam, length, progress):
            return [("", f" {i}", (-100.0 if examples[0].after else 0.0) - i) for i in range(beam)]

    labeled = [(Example("0", {"text": "The End."}), "great")]
    found = [*patterns(Sure(), layouts(["text"]), labeled, 6, 20, Progress(True))]
    assert found == [*(f"{{text}} {{mask}} {i}" for i in range(3)), *(f"{{mask}} {i} {{text}}" for i in range(3))]


def test_a_long_text_keeps_what_is_next_to_its_gap(writer) -> None:
    """As in LM-BFF's code, which cuts the beginning of what stands before a gap, and the end of what stands behind."""
    words = [f" {word}" for word in ("river", "house", "mill", "dog")]
    long = "".join(words[i % 4] for i in range(400)).strip()
    before, after = writer._ids(long), writer._ids(f" {long}")
    asked: list = []
    writer.model.get_encoder = lambda: (
        lambda input_ids, **_: asked.append(input_ids) or SimpleNamespace(last_hidden_state=input_ids)
    )
    writer._encoded([Gap(long, "Yes", long)])
    (ids,) = asked[0].tolist()
    first, second = (ids.index(gap) for gap in writer.gaps[:2])
    assert ids[:first] == before[-LONGEST:]
    assert ids[second + 1 : -1] == after[:LONGEST]
    assert LONGEST == 256 < len(before)


def test_a_full_stop_before_a_gap_is_one_token(writer) -> None:
    """Of a vocabulary that has a token for the space before a text, as T5's has."""

    class Spaced:
        unk_token_id = 2

        def convert_tokens_to_ids(self, token: str) -> int:
            return {".": 5}.get(token, 2)

        def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
            return {"input_ids": [3, *(5 if sign == "." else 9 for sign in text)]}

    writer.tokenizer = Spaced()
    assert [writer._ids(text) for text in (".", "x", "..")] == [[5], [3, 9], [3, 5, 5]]


def test_the_written_pattern_is_the_methods_own(settings, tmp_path, monkeypatch) -> None:
    """LM-BFF's, where another's stands first in the task's yaml."""
    s = settings("method=lmbff_auto", "task=rte", "backbone=tiny_encoder", *FEW)
    session = Session(s, RunFolder(tmp_path), [], Progress(True))
    monkeypatch.setattr("ptune.procedures.writer.patterns", lambda *_: ["{premise} {mask} {hypothesis}"])
    monkeypatch.setattr("ptune.procedures.writer.Writer", lambda *_: None)
    kept = search(session, {"name": None}, "folder", 2, 20)
    assert next(iter(s.task["patterns"])).startswith("pet")
    assert kept["written"] == {"text": s.task["patterns"]["lmbff"]["text"]}
    assert kept["verbalizer"] == "yes_no"


def test_other_numbers_of_fields(roberta_folder) -> None:
    with pytest.raises(ConfigError, match=r"method.procedure.templates: .* the task has 3 fields"):
        layouts(["a", "b", "c"])
    with pytest.raises(ConfigError, match=r"method.procedure.writer: .* so it cannot fill spans; use a T5"):
        Writer(str(roberta_folder), torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"method.procedure.writer: /nowhere has no config.json"):
        Writer("/nowhere", torch.device("cpu"))


def test_the_best_template_stands_in_the_run(ptune, tmp_path, t5_folder) -> None:
    folder = tmp_path / "run"
    line = ["train", "method=lmbff_auto", "task=sst2", "backbone=tiny_encoder", "max_steps=2", *FEW]
    more = ["words=false", "templates=true", "n_templates=1", "beam=1200", "length=3", f"writer={t5_folder}"]
    done = ptune(
        *line,
        *(f"method.procedure.{each}" for each in more),
        *("method.template.samples=2", f"hydra.run.dir={folder}"),
    )
    assert done.code == 0, done.err
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    written = json.loads((folder / "templates.json").read_text(encoding="utf-8"))
    assert [each["text"] for each in result["template"]["ranked"]] == written["texts"][:1]
    assert result["template"]["written"]["text"] == "{sentence} It was {mask}."
    names = [stage["name"] for stage in result["stages"]]
    assert names == ["template_written", "template_000"]
    best = result["template"]["found"]
    assert best["selected"] == max(each["selected"] for each in result["template"]["ranked"])
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["task"]["patterns"]["found"]["text"] == best["text"]
    assert config["method"]["template"]["name"] == "found"
    assert config["method"]["template"]["_target_"].endswith("Demonstrations")
    assert ptune("eval", f"run={folder}", "split=dev", "quiet=true").code == 0
    again = json.loads((folder / "eval_dev.json").read_text(encoding="utf-8"))
    assert again["scores"] == result["best"]["report"]


@pytest.mark.slow
def test_the_best_templates_answer_together(ptune, tmp_path) -> None:
    folder = tmp_path / "run"
    line = ["train", "method=lmbff_auto", "task=sst2", "backbone=tiny_encoder", "max_steps=2", *FEW]
    more = ["words=false", "templates=true", "n_templates=3", "ensemble=2", "beam=30", "length=4"]
    done = ptune(
        *line, *(f"method.procedure.{each}" for each in more), "method.template.samples=2", f"hydra.run.dir={folder}"
    )
    assert done.code == 0, done.err
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    ranked = sorted(result["template"]["ranked"], key=lambda each: -each["selected"])
    assert result["ensemble"]["templates"] == [each["text"] for each in ranked[:2]]
    stages = [folder / "stages" / f"ensemble_00{number}" for number in range(2)]
    config = yaml.safe_load((stages[1] / "config.yaml").read_text(encoding="utf-8"))
    assert config["task"]["patterns"]["found"]["text"] == ranked[1]["text"]
    assert config["method"]["template"]["_target_"].endswith("Demonstrations")
    each = [
        [json.loads(line)["scores"] for line in (stage / f"{result['report_on']}.jsonl").read_text().splitlines()]
        for stage in stages
    ]
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    for row, *said in zip(rows, *each, strict=True):
        mean = {label: sum(scores[label] for scores in said) for label in said[0]}
        assert row["prediction"] == max(mean, key=mean.__getitem__)
    assert result["parameters"]["models"] == 2
    assert result["samples"] is None
    refused = ptune(*line, "method.procedure.ensemble=2", f"hydra.run.dir={tmp_path}/other")
    assert refused.code == 2
    assert "method.procedure.ensemble: is only used with templates=true" in refused.err
