"""The search for label words: against brute force, with words planted, and as the procedure around a training."""

from __future__ import annotations

import json
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from transformers import AutoTokenizer

from ptune.batch import Draw, Example
from ptune.data import corpora
from ptune.errors import ConfigError
from ptune.leaves import leaf
from ptune.procedures import likely_words
from ptune.progress import Progress
from ptune.tokens import Tokens

FEW = ("data=demo", "data.demo.train=24", "data.demo.dev=12", "data.demo.test=8", "tracker=none", "quiet=true")


def brute(
    logits: np.ndarray, columns: list[np.ndarray], gold: np.ndarray, score
) -> list[tuple[tuple[int, ...], float]]:
    """Every combination, the best first; of equals the one with the lower sum of ranks, then the first."""
    found = []
    for places in product(*(range(len(each)) for each in columns)):
        words = tuple(int(each[i]) for each, i in zip(columns, places, strict=True))
        if len(set(words)) == len(words):
            found.append((words, score(logits[:, words], gold), sum(places)))
    found.sort(key=lambda each: (-round(each[1], 9), each[2]))
    return [(words, value) for words, value, _ in found]


def accuracy(logits: np.ndarray, gold: np.ndarray) -> float:
    return 100 * float((logits.argmax(1) == gold).mean())


def pearson(logits: np.ndarray, gold: np.ndarray) -> float:
    share = np.exp(logits)[:, 1] / np.exp(logits).sum(1)
    return 100 * float(np.corrcoef(share, gold)[0, 1])


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_combinations_are_those_of_brute_force(classes) -> None:
    random = np.random.default_rng(classes)
    logits = random.integers(0, 4, (15, 9)).astype(float)  # with ties
    gold = random.integers(0, classes, 15)
    columns = [random.permutation(9)[:4] for _ in range(classes)]
    found = likely_words.combinations(logits, columns, gold, 12, Progress(True))
    expected = brute(logits, columns, gold, accuracy)[:12]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])
    for words, score in found:
        assert score == pytest.approx(accuracy(logits[:, words], gold))
        assert len(set(words)) == classes


def test_numbers_are_scored_by_correlation() -> None:
    random = np.random.default_rng(5)
    logits, gold = random.normal(size=(20, 7)), random.random(20)
    columns = [np.array([0, 2, 4]), np.array([1, 2, 6])]
    found = likely_words.combinations(logits, columns, gold, 5, Progress(True))
    expected = brute(logits, columns, gold, pearson)[:5]
    assert [words for words, _ in found] == [words for words, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])


def test_the_likeliest_words_of_a_label_are_by_the_mean_over_its_examples() -> None:
    logits = np.array([[5.0, 1, 0, 3], [5, 1, 0, 3], [0, 9, 0, 1], [0, 1, 4, 1]])
    found = likely_words.likely(logits, np.array([0, 0, 1, 1]), 2, 2)
    assert [each.tolist() for each in found] == [[0, 3], [1, 2]]


def test_the_neighbors_of_a_word_are_by_the_cosine() -> None:
    vectors = np.array([[9.0, 1], [1, 9], [1, 1], [0.1, 0], [-5, 0]])
    assert likely_words.nearest(np.array([0, 1, 2, 4, 3]), vectors, np.array([2.0, 0]), 3).tolist() == [3, 0, 2]


def test_a_budget_of_combinations_is_kept() -> None:
    assert likely_words.within(100, 2, 10_000) == 100
    assert likely_words.within(100, 3, 10_000) == 21
    assert likely_words.within(100, 6, 1) == 1


def test_words_begin_where_the_tokenizer_says(bert_folder, roberta_folder, monkeypatch) -> None:
    monkeypatch.setattr(likely_words, "SMALLEST", 10)
    bert, roberta = (Tokens(AutoTokenizer.from_pretrained(str(f))) for f in (bert_folder, roberta_folder))
    for tokens in (bert, roberta):
        found = likely_words.vocabulary(tokens, lead=True)
        assert {"river", "house"} <= {word.lower() for word in found}
        assert not {".", "?", "[MASK]", "<mask>"} & set(found)
        assert all(tokens.encode(word, lead=True) == [index] for word, index in found.items())
    assert not any(token.startswith("##") for token in likely_words.vocabulary(bert, lead=True))
    named = {roberta.tokenizer.convert_ids_to_tokens(i) for i in likely_words.vocabulary(roberta, lead=True).values()}
    assert all(token.startswith("\u0120") for token in named)


@pytest.fixture
def planted(monkeypatch) -> dict[str, str]:
    """The model says "bad" and "good" where they are right, "and" of everything, and else noise."""
    words = {"negative": "bad", "positive": "good"}

    def logits(model, rendered, ids):
        found = np.random.default_rng(1).normal(size=(len(rendered), len(ids)))
        template = rendered.template
        for n, example in enumerate(rendered.examples):
            for label, word in words.items():
                (index,) = template.tokens.encode(word, lead=True)
                found[n, ids.index(index)] = 6.0 if example.gold == label else 5.0
            found[n, ids.index(template.tokens.encode("and", lead=True)[0])] = 9.0
        return found

    monkeypatch.setattr(likely_words, "mask_logits", logits)
    return words


@pytest.mark.slow
def test_planted_words_are_found_and_stand_in_the_run(ptune, tmp_path, planted, monkeypatch) -> None:
    folder, loads, load = tmp_path / "run", list[str](), corpora.load
    monkeypatch.setattr(
        corpora, "load", lambda task, *rest, **more: loads.append(task.name) or load(task, *rest, **more)
    )
    line = ["train", "method=lmbff_auto", "task=sst2", "backbone=tiny_encoder", "max_steps=2", *FEW]
    more = ["method.procedure.n_pairs=2", "method.template.samples=2", "method.procedure.k_likely=12"]
    done = ptune(*line, *more, f"hydra.run.dir={folder}")
    assert done.code == 0, done.err
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert loads == ["sst2"], "other words are no other examples"
    first = result["label_words"]["ranked"][0]
    assert (first["words"], first["untrained"]) == (planted, 100.0)
    assert result["label_words"]["written"]["words"] == {"negative": "terrible", "positive": "great"}
    assert [stage["name"] for stage in result["stages"]] == ["words_written", "words_000", "words_001"]
    selected = [each["selected"] for each in result["label_words"]["ranked"]]
    assert result["label_words"]["found"]["selected"] == max(selected)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    chosen = {label: [word] for label, word in result["label_words"]["found"]["words"].items()}
    assert config["task"]["verbalizers"]["found"] == chosen
    child = yaml.safe_load((folder / "stages" / "words_000" / "config.yaml").read_text(encoding="utf-8"))
    assert child["task"]["verbalizers"]["found"] == {label: [word] for label, word in planted.items()}
    assert child["method"]["template"]["_target_"].endswith("Pattern"), "ranked without demonstrations"
    assert not list(folder.glob("stages/*/tuned.safetensors"))
    assert ptune("eval", f"run={folder}", "split=dev", "quiet=true").code == 0
    again = json.loads((folder / "eval_dev.json").read_text(encoding="utf-8"))
    assert again["scores"] == result["best"]["report"]
    (folder / "result.json").unlink()  # as if it had been cut off after its settings were settled
    assert ptune("train", f"resume={folder}", "quiet=true").code == 0
    resumed = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert resumed["stages"] == result["stages"]
    assert resumed["best"] == result["best"]


def test_words_of_one_token_are_looked_for_at_one_mask(settings, monkeypatch) -> None:
    s = settings(
        *("method=pattern_finetune", "task=rte", "backbone=tiny_encoder", "device=cpu", "data.max_length=64"),
        *("+task.verbalizers.long={entailment: [extraordinarily], not_entailment: [no]}", "method.head.name=long"),
    )
    task = leaf(s.task)
    fields = {"premise": "It rained.", "hypothesis": "It was wet."}
    train = [Example(label, fields, label) for label in task.labels]
    session = SimpleNamespace(
        settings=s,
        task=task,
        corpus=SimpleNamespace(splits={"train": train}),
        cache=None,
        progress=Progress(True),
    )
    widths = []

    def seen(model, rendered, ids):
        assert model.member(0).head.masks > 1
        widths.append(rendered.batch(range(2), Draw(0, 0), "search").read["mask"].shape[1])
        return np.zeros((2, len(ids)))

    monkeypatch.setattr(likely_words, "mask_logits", seen)
    likely_words.search(session, s.method["template"], 2, None, 1, 100)
    assert widths == [1]


def test_labels_without_words_of_their_own_are_said(settings, monkeypatch) -> None:
    """An untrained model may find the same words likely for every label."""
    s = settings("method=pattern_finetune", "task=rte", "backbone=tiny_encoder", "device=cpu", "data.max_length=64")
    task = leaf(s.task)
    train = [Example(label, {"premise": "It rained.", "hypothesis": "It was wet."}, label) for label in task.labels]
    corpus = SimpleNamespace(splits={"train": train})
    session = SimpleNamespace(settings=s, task=task, corpus=corpus, cache=None, progress=Progress(True))
    monkeypatch.setattr(likely_words, "mask_logits", lambda model, rendered, ids: np.zeros((2, len(ids))))
    with pytest.raises(ConfigError, match="the likeliest 1 words of each label give fewer than 2"):
        likely_words.search(session, s.method["template"], 1, None, 1, 100)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method.procedure.n_pairs=0"], "method.procedure.n_pairs: 0 is too small; at least 1"),
        (
            ["method/head=linear"],
            "method/head: label words are only searched for a verbalizer; use verbalizer",
        ),
    ],
)
def test_what_cannot_be_is_said(ptune, words, message) -> None:
    done = ptune("train", "method=lmbff_auto", "task=sst2", "backbone=tiny_encoder", "max_steps=2", *FEW, *words)
    assert done.code == 2
    assert message in done.err
