"""PET and iPET: soft labels, distillation and growing training sets by hand; stage by stage, cut off or not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ptune import build, loop
from ptune.batch import Draw, Example, SoftLabel
from ptune.commands import train
from ptune.data import corpora
from ptune.data.rendered import Rendered
from ptune.data.stored import runs
from ptune.errors import ConfigError, PtuneError
from ptune.heads import divergence
from ptune.leaves import leaf
from ptune.procedures.ipet import Ipet
from ptune.procedures.pet import Scored, decode_logits, merge_logits, table, with_soft_labels
from ptune.progress import Progress
from ptune.runs.folder import RunFolder
from ptune.runs.restore import restore
from ptune.runs.stages import with_changes
from ptune.session import Session
from ptune.where import Where

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    *("data=demo", "data.layout=fewglue", "data.demo.train=12", "data.demo.test=10", "data.max_length=64"),
    *("backbone=tiny_encoder", "tracker=none", "quiet=true", "batch_size=8", "optim.lr=1e-3"),
    *("method.procedure.pattern_steps=2", "method.procedure.steps=3", "method.procedure.reps=1"),
]
PET = ["task=rte", "method=pet", *TINY, "method.procedure.patterns=[pet1,pet4]", "method.procedure.unlabeled=20"]
LABELS = ["entailment", "not_entailment"]


class Stopped(BaseException):
    """What ends a run here as a power cut would."""


@pytest.fixture(scope="module")
def go(settings) -> Callable[..., dict]:
    """go(folder, ...): train, or go on."""

    def start(folder: Path, *overrides: str) -> dict:
        stored = (folder / "config.yaml").is_file()
        s = train.stored_settings(folder, Where(folder)) if stored else settings(*overrides)
        return train.run(s, RunFolder(folder), Where(folder), Progress(True))

    return start


@pytest.fixture(scope="module")
def whole(go, tmp_path_factory) -> Path:
    """A small PET run."""
    folder = tmp_path_factory.mktemp("pet")
    go(folder, *PET)
    return folder


@pytest.fixture
def taught(monkeypatch) -> list[list[Example]]:
    """What the run itself, the classifier, is trained on."""
    seen: list[list[Example]] = []
    ours = Session.train

    def watched(self: Session, examples: Any = None, **changes: Any) -> dict[str, Any]:
        if self.stage is None:
            seen.append(examples)
        return ours(self, examples, **changes)

    monkeypatch.setattr(Session, "train", watched)
    return seen


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figures(folder: Path) -> dict:
    """A result without what the clock says."""
    return {k: v for k, v in read(folder / "result.json").items() if k not in ("seconds", "examples_per_second")}


def by_hand(folder: Path, stages: Sequence[tuple[str, float]], temperature: float) -> torch.Tensor:
    """Soft labels: the mean of what the stages say, by their weights, as probabilities at the temperature."""
    total = sum(weight for _, weight in stages)
    mean = torch.zeros(0)
    for name, weight in stages:
        said = [list(row["scores"].values()) for row in lines(folder / "stages" / name / "unlabeled.jsonl")]
        mean = torch.tensor(said, dtype=torch.float64) * weight / total + (mean if len(mean) else 0)
    return (mean / temperature).softmax(1)


# Soft labels and distillation


def test_the_mean_is_of_logits_by_weight() -> None:
    one, other = np.array([[2.0, 0.0]]), np.array([[-1.0, 3.0]])
    assert merge_logits([one, other], [1.0, 1.0])[0] == pytest.approx(np.array([0.5, 1.5]))
    assert merge_logits([one, other], [0.75, 0.25])[0] == pytest.approx(np.array([1.25, 0.75]))
    (soft,) = with_soft_labels([Example("a", {}, "x")], np.array([[1.0, -1.0]]), 2.0)
    assert soft.gold is None
    assert soft.soft is not None
    assert soft.soft.probabilities == pytest.approx([np.e / (np.e + 1), 1 / (np.e + 1)])  # softmax of (0.5, -0.5)
    assert soft.soft.temperature == 2.0


def test_distillation_is_kl_at_a_temperature_times_its_square() -> None:
    student, teacher = torch.tensor([[3.0, -1.0, 0.5]]), torch.tensor([[0.2, 1.0, -2.0]])
    p, q = (teacher / 2).softmax(1)[0], (student / 2).softmax(1)[0]
    wanted = sum(float(a * (a.log() - b.log())) for a, b in zip(p, q, strict=True)) * 4
    assert float(divergence(student, p[None], 2.0)) == pytest.approx(wanted, abs=1e-6)
    assert float(divergence(teacher, p[None], 2.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(divergence(student, p[None], 1.0)) != pytest.approx(wanted, rel=0.1)


def test_soft_labels_reach_the_loss(wire, settings, bert_folder, examples) -> None:
    shares = [0.9, 0.5, 0.2, 0.7, 0.6, 0.1, 0.8, 0.3]
    soft = [
        replace(e, gold=None, soft=SoftLabel([p, 1 - p], 2.0)) for e, p in zip(examples["rte"], shares, strict=True)
    ]
    s = settings(
        *("task=rte", "method=finetune", "backbone=local", f"backbone.path={bert_folder}", "data.max_length=64"),
        *("batch_size=4", "max_steps=1"),
    )
    wired = wire(s, data=soft)
    assert wired.runs[0].sources["train"].normalizer == 4  # labels a step: a soft one is one
    wired.model.eval()
    batch = wired.rendered[0].batch([3, 0, 5], Draw(0, 0), "train")
    with torch.no_grad(), wired.model.hidden([(0, batch)]) as ((head, hidden, moved),):
        total, labels = head.loss(hidden, moved)
        logits = head.logits(hidden, moved)
    wanted = torch.tensor([[shares[i], 1 - shares[i]] for i in (3, 0, 5)])
    each = (wanted * (wanted.log() - (logits / 2).log_softmax(1))).sum(1) * 4
    assert labels == 3
    assert float(total) == pytest.approx(float(each.sum()), rel=1e-5)


def test_soft_labels_of_candidates(wire, settings, bert_folder, examples) -> None:
    """As many as an example has; those of its rows are weighed against one another."""
    line = ("task=copa", "method=finetune", "backbone=local", f"backbone.path={bert_folder}", "data.max_length=64")
    soft = [replace(e, gold=None, soft=SoftLabel([0.1 * i, 1 - 0.1 * i], 2.0)) for i, e in enumerate(examples["copa"])]
    wired = wire(settings(*line, "batch_size=4", "max_steps=1"), data=soft)
    assert wired.runs[0].sources["train"].normalizer == 4
    wired.model.eval()
    batch = wired.rendered[0].batch([6, 0, 2], Draw(0, 0), "train")
    with torch.no_grad(), wired.model.hidden([(0, batch)]) as ((head, hidden, moved),):
        total, labels = head.loss(hidden, moved)
        logits = head.logits(hidden, moved).reshape(3, 2)
    wanted = 0.0
    for scores, share in zip(logits, (0.6, 0.0, 0.2), strict=True):
        student = (scores / 2).log_softmax(0)
        for p, log_q in zip((share, 1 - share), student, strict=True):
            wanted += 4 * p * (np.log(p) - float(log_q)) if p else 0.0
    assert labels == batch.labels == 3
    assert float(total) == pytest.approx(wanted, rel=1e-4)


def test_scores_become_answers(examples) -> None:
    copa = leaf(yaml.safe_load((ROOT / "conf/task/copa.yaml").read_text(encoding="utf-8")))
    scores = [np.log([0.3, 0.7]), np.log([0.9, 0.1])]
    assert [p.value for p in decode_logits(copa, examples["copa"][:2], scores)] == [1, 0]
    rte = leaf(yaml.safe_load((ROOT / "conf/task/rte.yaml").read_text(encoding="utf-8")))
    assert [p.value for p in decode_logits(rte, examples["rte"][:2], scores)] == [LABELS[1], LABELS[0]]
    written = [{"prediction": LABELS[1]}, {"prediction": LABELS[0], "scores": {LABELS[0]: -0.1, LABELS[1]: -2.4}}]
    assert [of_one.tolist() for of_one in table(written, rte)] == [[0.0, 1.0], [-0.1, -2.4]]


# PET


def test_every_score_on_the_way_is_reported(whole) -> None:
    result = read(whole / "result.json")
    assert [stage["name"] for stage in result["stages"]] == ["pet1-untrained", "pet4-untrained", "pet1-1", "pet4-1"]
    scores = {stage["name"]: stage["score"] for stage in result["stages"]}
    pet = result["pet"]
    assert pet["unlabeled"] == {"from": "RTE/unlabeled.jsonl", "examples": 20}
    assert {name: of["scores"] for name, of in pet["patterns"].items()} == {
        "pet1": [scores["pet1-1"]],
        "pet4": [scores["pet4-1"]],
    }
    assert pet["mean"] == (scores["pet1-1"] + scores["pet4-1"]) / 2
    assert pet["oracle"]["score"] == max(scores["pet1-1"], scores["pet4-1"])
    assert pet["classifier"] == {"mean": result["score"], "scores": [result["score"]]}
    train_rows = {name: lines(whole / "stages" / f"{name}-untrained" / "train.jsonl") for name in ("pet1", "pet4")}
    gold = [e.gold for e in splits(whole)["train"]]
    for name, rows in train_rows.items():
        right = [max(r["scores"], key=r["scores"].get) == g for r, g in zip(rows, gold, strict=True)]
        assert pet["weights"][name] == pytest.approx(sum(right) / len(right))
    said = [lines(whole / "stages" / f"{name}-1" / "predictions.jsonl") for name in ("pet1", "pet4")]
    weights = [pet["weights"][name] for name in ("pet1", "pet4")]
    right = 0
    for rows in zip(*said, strict=True):
        mean = {label: sum(w * row["scores"][label] for w, row in zip(weights, rows, strict=True)) for label in LABELS}
        right += max(mean, key=mean.__getitem__) == rows[0]["gold"]
    assert pet["ensemble"]["score"] == pytest.approx(100 * right / len(said[0]))
    config = RunFolder(whole / "stages/pet4-1").read_config()
    assert (config["max_steps"], config["method"]["template"]["name"]) == (2, "pet4")
    assert config["optim"]["weight_decay"] == 0.01
    assert result["steps"] == 3


def splits(folder: Path) -> dict[str, Sequence[Example]]:
    """The splits of a run's corpus."""
    s = train.stored_settings(folder, Where(folder))
    task = leaf(s.task)
    return corpora.load(task, s.data).splits


def test_the_classifier_learns_soft_labels_of_the_unlabeled_examples_alone(go, taught, tmp_path) -> None:
    result = go(tmp_path, *PET)
    (examples,) = taught
    unlabeled = [e.id for e in splits(tmp_path)["unlabeled"]]
    drawn = [unlabeled.index(e.id) for e in examples]
    assert drawn == sorted({*drawn})
    assert len(drawn) == 20
    assert drawn != [*range(20)]  # of a file that may be in any order
    assert {e.gold for e in examples} == {None}
    weights = result["pet"]["weights"]
    wanted = by_hand(tmp_path, [("pet1-1", weights["pet1"]), ("pet4-1", weights["pet4"])], 2.0)
    assert torch.tensor([e.soft.probabilities for e in examples], dtype=torch.float64).sub(wanted).abs().max() < 1e-9
    assert {e.soft.temperature for e in examples} == {2.0}


COPA = ["task=copa", "method=pet", *TINY, "method.procedure.patterns=[pet1]"]


@pytest.mark.slow
def test_each_example_of_copa_is_there_with_its_choices_swapped(go, taught, tmp_path) -> None:
    """To train on, to weigh by and unlabeled, as PET's CopaProcessor has them; in no split that is scored."""
    result = go(tmp_path, *COPA)
    known = splits(tmp_path)
    (unlabeled,) = taught
    assert [e.id for e in unlabeled] == [f"{e.id}{m}" for m in ("", "m") for e in known["unlabeled"]]
    assert learned(tmp_path / "stages/pet1-1") == runs([f"{e.id}{m}" for m in ("", "m") for e in known["train"]])
    half = len(unlabeled) // 2
    for example, other in zip(unlabeled[:half], unlabeled[half:], strict=True):
        assert example.fields == {
            **other.fields,
            "choice1": other.fields["choice2"],
            "choice2": other.fields["choice1"],
        }
    rows = lines(tmp_path / "stages/pet1-untrained/train.jsonl")
    gold = [e.gold for e in known["train"]]
    right = [
        np.argmax([*r["scores"].values()]) == g for r, g in zip(rows, [*gold, *(1 - g for g in gold)], strict=True)
    ]
    assert result["pet"]["weights"]["pet1"] == pytest.approx(float(np.mean(right)) or 1.0)
    assert len(lines(tmp_path / "predictions.jsonl")) == len(known[result["report_on"]])


@pytest.mark.slow
def test_copa_without_its_mirrored_examples(go, taught, tmp_path) -> None:
    go(tmp_path, *COPA, "method.procedure.mirror=false")
    assert [e.id for e in taught[0]] == [e.id for e in splits(tmp_path)["unlabeled"]]
    assert learned(tmp_path / "stages/pet1-1") == runs([e.id for e in splits(tmp_path)["train"]])


def learned(folder: Path) -> list[Any]:
    """The ids that a stage was trained on, as a run folder has them."""
    (told,) = (row for row in lines(folder / "splits.jsonl") if row["split"] == "train")
    return told["ids"]


def within(id: str, ids: Sequence[Any]) -> bool:
    """Whether an id is among those of a run folder, where a pair stands for numbers in a row."""
    return any(each == id or (isinstance(each, list) and each[0] <= int(id) <= each[1]) for each in ids)


def test_uniform_weights_need_no_untrained_pattern(go, taught, tmp_path) -> None:
    result = go(tmp_path, *PET, "method.procedure.weights=uniform", "method.procedure.sc_reps=2")
    assert [stage["name"] for stage in result["stages"]] == ["pet1-1", "pet4-1", "classifier-2"]
    assert len(result["pet"]["classifier"]["scores"]) == 2
    wanted = by_hand(tmp_path, [("pet1-1", 1.0), ("pet4-1", 1.0)], 2.0)
    given = torch.tensor([e.soft.probabilities for e in taught[0]], dtype=torch.float64)
    assert given.sub(wanted).abs().max() < 1e-9


def test_patterns_of_wsc_weigh_what_they_get_right_of_the_right_ones(go, tmp_path) -> None:
    """PET's WscProcessor has no others to train on, and weighs on what it trains on."""
    less = [line for line in TINY if "layout" not in line]
    result = go(
        *(tmp_path, "task=wsc", "method=pet", *less, "method.procedure.distill=false", "data.demo.dev=8"),
        "method.procedure.patterns=[pet0]",
    )
    right = {e.id for e in splits(tmp_path)["train"] if e.gold == "true"}
    rows = lines(tmp_path / "stages/pet0-untrained/train.jsonl")
    assert {row["id"] for row in rows} == right
    assert 0 < len(right) < 12
    share = float(np.mean([row["prediction"] == "true" for row in rows]))
    assert result["pet"]["weights"]["pet0"] == pytest.approx(share or 1.0)


@pytest.mark.parametrize("after", ["pet4-untrained", "pet1-1", "pet4-1"])
def test_cut_between_stages_it_ends_as_if_it_had_not_been(go, whole, tmp_path, monkeypatch, after) -> None:
    """Before the stage has said what it is asked for, too."""
    ours = Session.answer

    def cut(self: Session, examples: Sequence[Example]) -> Any:
        if self.stage is not None and self.stage.name == after:
            raise Stopped
        return ours(self, examples)

    monkeypatch.setattr(Session, "answer", cut)
    with pytest.raises(Stopped):
        go(tmp_path, *PET)
    monkeypatch.setattr(Session, "answer", ours)
    done = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/result.json")}
    assert after in done
    go(tmp_path)
    assert figures(tmp_path) == figures(whole)
    assert {name: (tmp_path / "stages" / name / "result.json").stat().st_mtime_ns for name in done} == done


def test_weights_of_stages_are_dropped_or_kept(go, whole, tmp_path) -> None:
    assert not list((whole / "stages").rglob("*.safetensors"))
    assert (whole / "tuned.safetensors").is_file()
    go(tmp_path, *PET, "method.procedure.keep_weights=true", "max_steps=1")
    assert len(list((tmp_path / "stages").glob("*/tuned.safetensors"))) == 4
    assert read(tmp_path / "stages/pet1-1/result.json")["steps"] == 1  # max_steps shortens all of them


def test_the_ensemble_may_answer_itself(go, settings, tmp_path) -> None:
    """Without distillation nothing has to be unlabeled; the answers are those of the ensemble, on both splits."""
    small = [line for line in PET if "unlabeled" not in line and "layout" not in line and "weights" not in line]
    small += [
        "task=agnews",
        "data.demo.dev=10",
        "method.procedure.distill=false",
        "method.procedure.patterns=[pet0,pet3]",
    ]
    result = go(tmp_path, *small)
    assert "unlabeled" not in result["pet"]
    assert (result["select_on"], result["report_on"]) == ("dev", "test")
    assert result["score"] == result["pet"]["ensemble"]["score"]
    ours = [read(tmp_path / "stages" / f"{name}-1" / "result.json")["parameters"] for name in ("pet0", "pet3")]
    told = result["parameters"]
    assert told["models"] == 2
    for key in ("trained", "backbone", "stored", "bytes"):
        assert told[key] == sum(each[key] for each in ours) > 0
    assert told["percent"] == pytest.approx(sum(each["percent"] for each in ours))
    weights = result["pet"]["weights"]
    for split, metric in (("dev", result["selected"]), ("test", result["score"])):
        name = "dev.jsonl" if split == "dev" else "predictions.jsonl"
        said = [lines(tmp_path / "stages" / f"{pattern}-1" / name) for pattern in weights]
        right = 0
        for example, *rows in zip(splits(tmp_path)[split], *said, strict=True):
            labels = list(rows[0]["scores"])
            mean = {x: sum(w * r["scores"][x] for w, r in zip(weights.values(), rows, strict=True)) for x in labels}
            right += max(mean, key=mean.__getitem__) == example.gold
        assert metric == pytest.approx(100 * right / len(said[0]))
    with pytest.raises(PtuneError, match="or only the runs in its stages have any"):
        restore(str(tmp_path), "cpu")


def test_a_pet_run_answers_like_any_other(whole, ptune) -> None:
    found = ptune("eval", f"run={whole}", "quiet=true")
    assert found.code == 0
    assert read(whole / "eval_dev.json")["scores"] == read(whole / "result.json")["best"]["report"]


def test_settings_that_cannot_be(settings) -> None:
    for overrides, said in {
        (
            "task=conll03",
            "method=pet",
        ): "method/procedure: labels texts or candidates that compete for one label, but conll03 asks",
        ("task=rte", "method=pet", "method.procedure.patterns=[pet9]"): "no pattern 'pet9'",
        ("task=rte", "method=pet", "backbone=tiny_causal"): "pet0: a causal model reads nothing after",
        ("task=rte", "method=pet", "method.procedure.reps=0"): r"method\.procedure\.reps: 0 is too small",
        (
            *("task=rte", "method=pet", "method.procedure.patterns=[pet4]", "backbone=tiny_causal"),
            "method.procedure.alpha=0.9",
        ): r"auxiliary\.template: masked needs a model that fills a mask with a token; a causal model has no masks",
        (
            *("task=rte", "method=pet", "method.procedure.patterns=[pet1]", "backbone=tiny_encoder_decoder"),
            "method.procedure.alpha=0.9",
        ): r"auxiliary\.template: masked needs a model that fills a mask with a token; this one's masks stand "
        r"for any number",
        ("task=copa", "method=pet", "method.procedure.alpha=0.9"): "alpha: .* those of copa ask for each example",
        ("task=rte", "method=ipet", "method.procedure.patterns=[pet0]", "method.procedure.reps=1"): "has no others",
        ("task=rte", "method=ipet", "method.procedure.scale=1.0"): "training sets grow by it",
    }.items():
        with pytest.raises(ConfigError, match=said):
            settings("backbone=tiny_encoder", *overrides)


# Unlabeled examples


def unlabeled(s: Any) -> tuple[list[Example], str, dict[str, Sequence[Example]]]:
    """Those of some settings, where they are from, and the corpus."""
    task = leaf(s.task)
    corpus = corpora.load(task, s.data)
    return *corpora.without_labels(task, s.data, corpus), corpus.splits


def test_unlabeled_examples_are_the_file_or_the_rest_of_train(settings) -> None:
    found, which, corpus = unlabeled(settings("task=rte", "data=demo", "data.layout=fewglue", "backbone=tiny_encoder"))
    assert (len(found), which) == (200, "RTE/unlabeled.jsonl")
    small = ["task=rte", "data=demo", "data.demo.train=40", "backbone=tiny_encoder"]
    found, which, corpus = unlabeled(settings(*small, "data.max_train=8", "data.draw=3"))
    texts = [corpora.content_of(e) for e in corpus["train"]]
    assert (len(corpus["train"]), which) == (8, "the rest of train")
    assert 0 < len(found) <= 32
    assert not {corpora.content_of(e) for e in found} & {*texts}
    assert {e.gold for e in found} == {None}


def test_without_any_a_test_split_that_has_no_labels_is_taken(settings) -> None:
    small = ["data=demo", "data.demo.train=8", "data.demo.dev=8", "data.demo.test=8", "backbone=tiny_encoder"]
    found, which, _ = unlabeled(settings("task=rte", *small))
    assert (len(found), which) == (8, "test, which has no labels")
    with pytest.raises(ConfigError, match="agnews has no unlabeled examples here"):
        unlabeled(
            settings("task=agnews", "data=demo", "data.demo.train=8", "data.demo.test=8", "backbone=tiny_encoder")
        )


def test_without_labels_the_whole_of_train_is_unlabeled_but_what_selects(go, tmp_path) -> None:
    """Zero-shot iPET on a corpus without a file of unlabeled examples."""
    less = [line for line in TINY if "layout" not in line]
    generations = ["method.procedure.zero_shot=true", "method.procedure.generations=2"]
    result = go(
        *(tmp_path, "task=agnews", "method=ipet", *less, "data.demo.train=60", "protocol=held_out", *generations),
        "method.procedure.patterns=[pet0,pet1]",
    )
    known = splits(tmp_path)["train"]
    unlabeled = [row["id"] for row in lines(tmp_path / "stages/generation1-pet0/unlabeled.jsonl")]
    assert len(known) == 60
    assert result["pet"]["unlabeled"] == {"from": "train", "examples": len(unlabeled)}
    kept = learned(tmp_path / "stages/generation1-pet0")
    held_out = {e.id for e in known} - {e.id for e in known if within(e.id, kept)}
    assert (len(held_out), 0 < len(unlabeled) <= 54) == (6, True)
    assert not {*unlabeled} & held_out


@pytest.mark.parametrize(
    ("task", "which", "count"),
    [
        ("rte", "RTE/train.jsonl", 2490 - 32),
        ("cb", "CB/train.jsonl", 250 - 32),
        ("boolq", "BoolQ/test.jsonl", 3245),
        ("wic", "WiC/unlabeled.jsonl", None),
        ("multirc", "MultiRC/unlabeled.jsonl", None),
    ],
)
def test_unlabeled_examples_of_the_real_files(shared, settings, task, which, count) -> None:
    s = settings(
        *(f"task={task}", "data=local", f"data.root={shared / 'data/fewglue'}", "data.layout=fewglue"),
        "backbone=tiny_encoder",
    )
    found, said, corpus = unlabeled(s)
    assert said == which
    assert {e.gold for e in found} == {None}
    assert not {corpora.content_of(e) for e in found} & {corpora.content_of(e) for e in corpus["train"]}
    assert count is None or len(found) == count


# iPET


def ipet(**given: Any) -> Ipet:
    """An iPET of one or two patterns."""
    return Ipet(**{"pattern": {}, "patterns": ["pet0", "pet1"], "reps": 2, "weights": "uniform", **given})


def of_numbers(count: int) -> list[Example]:
    """Unlabeled examples."""
    return [Example(f"new-{i}", {"premise": f"p{i}", "hypothesis": f"h{i}"}) for i in range(count)]


def sure(probabilities: Sequence[float]) -> np.ndarray:
    """Log-probabilities [N, 2] of the first label with these probabilities."""
    first = np.array(probabilities)
    return np.log(np.stack([first, 1 - first], 1))


def test_training_sets_grow_by_five_in_the_ratio_of_the_labels() -> None:
    labeled = [Example(str(i), {}, LABELS[i % 4 == 0]) for i in range(32)]  # 24 and 8
    procedure = ipet()
    assert procedure.counts(LABELS, labeled, 2) == [24 * 4, 8 * 4]
    assert procedure.counts(LABELS, labeled, 3) == [24 * 24, 8 * 24]
    assert ipet(zero_shot=True).counts(LABELS, [], 2) == [5, 5]
    assert ipet(zero_shot=True).counts(range(14), [], 2) == [1] * 14  # fewer would be nothing to train on
    assert ipet(zero_shot=True).counts(LABELS, [], 3) == [25, 25]
    assert (ipet(zero_shot=True).n_most_likely, procedure.n_most_likely) == (100, None)


def test_examples_are_drawn_by_the_highest_probability_without_replacement() -> None:
    probabilities = [0.999] * 20 + [0.51] * 60 + [0.02] * 20  # 80 of the first label, 20 of the other
    said = [Scored("pet0", 1, 0.0, [], [], sure(probabilities))]
    drawn: Counter[str] = Counter()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        new = ipet().grow_training_set(LABELS, of_numbers(100), said, {"pet0": 1.0}, [20, 10], 3, rng)
        first = [e.id for e in new if e.gold == LABELS[0]]
        second = [int(e.id[4:]) for e in new if e.gold == LABELS[1]]
        assert (len(first), len({*first}), len({*second})) == (20, 20, 10)
        assert min(second) >= 80
        drawn.update("sure" if int(id[4:]) < 20 else "unsure" for id in first)
    expected = 40 * 20 * 20 * 0.999 / (20 * 0.999 + 60 * 0.51)  # 316, and 200 were all alike
    assert abs(drawn["sure"] - expected) < 50


def test_too_few_examples_stand_for_several_and_the_likeliest_may_be_forced() -> None:
    said = [Scored("pet0", 1, 0.0, [], [], sure([0.9, 0.8, 0.7, 0.6]))]
    rng = np.random.default_rng(1)
    new = ipet().grow_training_set(LABELS, of_numbers(4), said, {"pet0": 1.0}, [10, 3], 2, rng)
    assert [e.gold for e in new] == [LABELS[0]] * 10  # none is given the other label
    assert {*Counter(e.id for e in new).values()} <= {2, 3}
    new = ipet(n_most_likely=2).grow_training_set(LABELS, of_numbers(4), said, {"pet0": 1.0}, [2, 2], 2, rng)
    assert {e.id for e in new if e.gold == LABELS[0]} == {"new-0", "new-1"}
    assert {e.id for e in new if e.gold == LABELS[1]} == {"new-2", "new-3"}
    new = ipet(n_most_likely=2).grow_training_set(LABELS, of_numbers(4), said, {"pet0": 1.0}, [2, 2], 3, rng)
    assert {e.gold for e in new} == {LABELS[0]}  # after the first generation alone


def test_a_share_of_the_others_labels_never_the_model_itself(settings, tmp_path, monkeypatch) -> None:
    """One model out of four is sure of the first label, and outvotes all others together."""
    s = settings(*PET)
    session = Session(s, RunFolder(tmp_path), [], Progress(True))
    few, trained = of_numbers(50), {}
    reported = np.zeros((len(session.corpus.splits["dev"]), 2))

    def fake(self: Any, session: Any, name: str, pattern: str, rep: int, unlabeled: Any, examples: Any = None) -> Any:
        trained[name] = examples
        logit = 1000.0 if (pattern, rep) == ("pet0", 1) else -1.0
        return Scored(pattern, rep, 50.0, reported, reported, np.tile([logit, 0.0], (len(unlabeled), 1)))

    monkeypatch.setattr(Ipet, "train", fake)
    procedure = ipet(others=1.0, generations=2)
    found, told = procedure.teach(session, ["pet0", "pet1"], {"pet0": 1.0, "pet1": 1.0}, few)
    labeled = session.corpus.splits["train"]
    assert trained["generation1-pet0-1"] is None  # on the training examples
    for name in ("pet0-1", "pet0-2", "pet1-1", "pet1-2"):
        given = trained[f"generation2-{name}"]
        assert given[: len(labeled)] == list(labeled)
        new = given[len(labeled) :]
        assert {e.gold for e in new} == {LABELS[name == "pet0-1"]}
        assert {e.id for e in new} <= {e.id for e in few}
    assert [(each["train"] > 12) for each in told["generations"]] == [False, True]
    assert len(found) == 4


def test_ipet_distills_the_last_generation(go, taught, tmp_path) -> None:
    result = go(tmp_path, *PET, "method=ipet", "method.procedure.weights=uniform", "method.procedure.generations=2")
    names = ["generation1-pet1-1", "generation1-pet4-1", "generation2-pet1-1", "generation2-pet4-1"]
    assert [stage["name"] for stage in result["stages"]] == names
    sizes = [stage.get("train", {}).get("examples") for stage in result["stages"]]
    assert sizes[:2] == [None, None]
    assert all(12 < size <= 60 for size in sizes[2:])
    assert [each["mean"] for each in result["pet"]["generations"]] == [
        np.mean([stage["score"] for stage in result["stages"][at : at + 2]]) for at in (0, 2)
    ]
    given = torch.tensor([e.soft.probabilities for e in taught[0]], dtype=torch.float64)
    assert given.sub(by_hand(tmp_path, [(name, 1.0) for name in names[2:]], 2.0)).abs().max() < 1e-9
    assert given.sub(by_hand(tmp_path, [(name, 1.0) for name in names[:2]], 2.0)).abs().max() > 1e-6


def test_a_share_of_models_that_weigh_nothing_labels_all_the_same() -> None:
    """Each alone is of a pattern that had no example right before training."""
    said = [Scored("pet0", 1, 0.0, [], [], sure([0.9] * 6 + [0.1] * 6))]
    new = ipet().grow_training_set(LABELS, of_numbers(12), said, {"pet0": 0.0}, [3, 3], 3, np.random.default_rng(0))
    assert Counter(example.gold for example in new) == dict.fromkeys(LABELS, 3)
    np.testing.assert_allclose(merge_logits([[np.array([1.0, 3.0])], [np.array([3.0, 5.0])]], [0.0, 0.0]), [[2.0, 4.0]])


@pytest.mark.slow
def test_ipet_of_a_choice_draws_by_the_place_of_the_right_one(go, settings, tmp_path) -> None:
    """COPA's candidates are two in every example, ReCoRD's each query's own."""
    given = [line for line in PET if not line.startswith(("task=", "method=", "method.procedure.patterns"))]
    more = ["method=ipet", "method.procedure.weights=uniform", "method.procedure.generations=2"]
    result = go(tmp_path, "task=copa", *more, *given)
    sizes = [stage["train"]["examples"] for stage in result["stages"] if stage["name"].startswith("generation2")]
    assert len(sizes) == 2
    assert all(24 < size <= 120 for size in sizes)  # of 12, each there with its choices swapped
    with pytest.raises(ConfigError) as caught:
        settings("task=record", "method=ipet", "data=demo", "backbone=tiny_encoder")
    assert caught.value.problems == [
        "method/procedure: draws examples by shared answers, but in record each example has its own candidates; "
        "use method=pet, as the paper does"
    ]


def test_ipet_begins_without_a_label(go, tmp_path) -> None:
    result = go(tmp_path, *PET, "method=ipet", "method.procedure.zero_shot=true", "method.procedure.generations=2")
    methods = [stage["method"] for stage in result["stages"]]
    assert methods == ["zero_shot", "zero_shot", "pattern_finetune", "pattern_finetune"]
    assert [each["train"] for each in result["pet"]["generations"]] == [0, 10]
    assert result["pet"]["weights"] == {"pet1": 1.0, "pet4": 1.0}
    for stage in result["stages"][2:]:
        assert stage["train"]["examples"] == 10


# The auxiliary loss


@pytest.fixture
def masked(settings, bert_folder, examples) -> tuple[Any, Any, Any]:
    """The model of a pattern with an auxiliary member, the settings, and the rendered examples of the latter."""
    given = ["task=rte", "backbone=local", f"backbone.path={bert_folder}", "data.max_length=48"]
    s = settings(*given, "method=pattern_finetune", "method.template.name=pet4")
    task = leaf(s.task)
    parts = {
        "template": {"_target_": "ptune.templates.masked.Masked", "name": "pet4", "share": 0.15},
        "head": {"_target_": "ptune.heads.mlm.Mlm"},
    }
    other = with_changes(s, {"method": parts})
    model = build.assemble([s], task, [(other, task)])
    return model, s, Rendered(examples["rte"], task, model.member(1).template, 48)


def test_tokens_are_hidden_as_published(masked) -> None:
    """15% of the ordinary tokens: 80% by the mask, 10% by others; the pattern and its own mask stay in their places."""
    model, s, rendered = masked
    template = model.member(1).template
    plain = Rendered(rendered.examples, leaf(s.task), model.member(0).template, 48)
    told: Counter[str] = Counter()
    for epoch in range(150):
        for index in range(len(rendered)):
            (row,), (whole,) = rendered.rows(index, Draw(1, epoch)), plain.rows(index, Draw(1, epoch))
            assert row.read["mask"] == whole.read["mask"]
            assert row.target == [whole.ids[place] for place in row.read["hidden"]]
            assert not {whole.ids[place] for place in row.read["hidden"]} & set(template.tokens.special_ids)
            changed_places = {i for i, (a, b) in enumerate(zip(row.ids, whole.ids, strict=True)) if a != b}
            assert changed_places <= {*row.read["hidden"]}
            told["tokens"] += sum(token not in template.special for token in whole.ids)
            told["chosen"] += len(row.read["hidden"])
            told["by mask"] += sum(row.ids[place] == template.tokens.mask_id for place in row.read["hidden"])
            told["as it was"] += sum(row.ids[place] == whole.ids[place] for place in row.read["hidden"])
    assert told["chosen"] / told["tokens"] == pytest.approx(0.15, abs=0.01)
    assert told["by mask"] / told["chosen"] == pytest.approx(0.8, abs=0.02)
    assert told["as it was"] / told["chosen"] == pytest.approx(0.1, abs=0.02)
    assert rendered.rows(0, Draw(1, 0)) == rendered.rows(0, Draw(1, 0))
    assert any(rendered.rows(i, Draw(1, 0)) != rendered.rows(i, Draw(1, 1)) for i in range(len(rendered)))


def test_the_auxiliary_loss_is_the_cross_entropy_at_hidden_tokens(masked) -> None:
    model, _, rendered = masked
    model.eval()
    batch = rendered.batch([1, 4, 6], Draw(2, 0), "unlabeled")
    with torch.no_grad(), model.hidden([(1, batch)]) as ((head, hidden, moved),):
        total, labels = head.loss(hidden, moved)
        logits = head.logits(hidden, moved)
    wanted, count = 0.0, 0
    for row, targets in enumerate(batch.target.tolist()):
        for place, target in enumerate(targets):
            if target != -100:
                wanted -= float(logits[row, place].log_softmax(0)[target])
                count += 1
    assert labels == count == batch.labels
    assert float(total) == pytest.approx(wanted, rel=1e-4)


def test_alpha_weighs_the_losses_of_each_step(go, tmp_path, monkeypatch) -> None:
    runs: list[Any] = []
    ours = loop.fit
    monkeypatch.setattr(loop, "fit", lambda several, *rest: (runs.extend(several), ours(several, *rest))[1])
    short = ["method.procedure.patterns=[pet4]", "method.procedure.weights=uniform", "max_steps=1"]
    go(tmp_path, *PET, *short, "method.procedure.alpha=0.75")
    pattern, classifier = runs
    assert {name: source.weight for name, source in pattern.sources.items()} == {"train": 0.75, "unlabeled": 0.25}
    assert {batch.source for batch in pattern.stream(0)} == {"train", "unlabeled"}
    assert {batch.source for batch in classifier.stream(0)} == {"train"}
    with pytest.raises(ConfigError, match=r"1\.5 is not between 0 and 1"):
        go(tmp_path / "other", *PET, "method.procedure.alpha=1.5")
