"""Baselines without a backbone: naive Bayes as scikit-learn has it, and a BiLSTM that THE loop trains from scratch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptune import loop, training_run
from ptune.backbones.bilstm import BiLSTM, word_tokenizer
from ptune.batch import Row, collate
from ptune.commands import train
from ptune.errors import ConfigError, DataError
from ptune.injection import Injection
from ptune.procedures.word_vectors import vectors
from ptune.progress import Progress
from ptune.runs.folder import RunFolder
from ptune.where import Where

SMALL = ("data.demo.train=24", "data.demo.dev=12", "data.demo.test=12", "tracker=none", "quiet=true", "batch_size=8")
SIZES = ("method.encoder.embed=16", "method.encoder.hidden=16", "optim.lr=0.02")
FILE = ["5 3", "The 1 0 0", "mill 0 1 0", "a word 0 0 1", "berg 0.5 0.5 0", "mill 9 9 9"]


@pytest.fixture
def go(settings) -> Callable[..., dict[str, Any]]:
    """go(folder, "method=bilstm", ...): train on the demo, or go on."""

    def start(folder: Path, *more: str) -> dict[str, Any]:
        stored = (folder / "config.yaml").is_file()
        s = train.stored_settings(folder, Where(folder)) if stored else settings("data=demo", *SMALL, *more)
        return train.run(s, RunFolder(folder), Where(folder), Progress(True))

    return start


def losses(folder: Path) -> list[float]:
    return [event["loss"] for _, event in RunFolder(folder).metrics() if event["event"] == "step"]


# Naive Bayes


@pytest.fixture
def reviews(tmp_path) -> Path:
    """SST-2's files with a dozen reviews."""
    rows = [
        *(("a fine film , warm and fine", 1), ("dull and cold", 0), ("not fine at all : dull", 0), ("warm heart", 1)),
        *(("a cold film", 0), ("a warm film", 1), ("fine words , not dull", 1), ("a dull film , not warm", 0)),
    ]
    (tmp_path / "SST-2").mkdir()
    for split, part in (("train", rows), ("dev", rows[::-2])):
        lines = "".join(f"{text}\t{label}\n" for text, label in part)
        (tmp_path / "SST-2" / f"{split}.tsv").write_text(f"sentence\tlabel\n{lines}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("variant", ["multinomial", "complement"])
def test_naive_bayes_is_that_of_scikit_learn(settings, reviews, tmp_path, variant) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import ComplementNB, MultinomialNB

    more = ("method=tfidf_nb", f"method.procedure.variant={variant}", "task=sst2", "data=local", "tracker=none")
    s = settings(*more, f"data.root={reviews}", "method.procedure.smoothing=[5.0,0.5,0.1]")
    result = train.run(s, RunFolder(tmp_path / "run"), Where(tmp_path), Progress(True))
    texts, labels, dev, gold = [], [], [], []
    for name, xs, ys in (("train", texts, labels), ("dev", dev, gold)):
        for line in (reviews / "SST-2" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            text, label = line.split("\t")
            xs.append(text)
            ys.append(int(label))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    terms, kind = vectorizer.fit_transform(texts), MultinomialNB if variant == "multinomial" else ComplementNB
    fitted = {alpha: kind(alpha=alpha).fit(terms, labels) for alpha in (5.0, 0.5, 0.1)}
    right = {a: 100 * np.mean(m.predict(vectorizer.transform(dev)) == gold) for a, m in fitted.items()}
    assert result["smoothing"]["scores"] == {str(alpha): pytest.approx(score) for alpha, score in right.items()}
    chosen = fitted[result["smoothing"]["chosen"]]
    assert right[result["smoothing"]["chosen"]] == max(right.values()) == pytest.approx(result["score"])
    said = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    scores = chosen.predict_log_proba(vectorizer.transform(dev))
    assert [list(row["scores"].values()) for row in said] == [pytest.approx(row, abs=1e-6) for row in scores]
    assert result["parameters"]["trained"] == 2 * terms.shape[1] + 2 + terms.shape[1]
    assert len(list((tmp_path / "run/breakdowns").iterdir())) == 1
    assert (result["selection"], result["selected_on_reported"]) == (
        f"the smoothing with the highest {result['metric']} on dev",
        True,
    )


@pytest.mark.parametrize("task", ["copa", "multirc", "rte", "record", "record task.loss=binary"])
def test_naive_bayes_answers_for_texts_and_candidates(go, tmp_path, task) -> None:
    result = go(tmp_path, "method=tfidf_nb", *f"task={task}".split(), "method.procedure.ngrams=1")
    assert result["parameters"]["trained"] > 100
    assert result["score"] >= 0


def test_naive_bayes_without_a_class_in_training(settings, reviews, tmp_path) -> None:
    """It is never predicted, and scores stay numbers."""
    path = reviews / "SST-2" / "train.tsv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.endswith("\t1\n")), encoding="utf-8")
    s = settings("method=tfidf_nb", "task=sst2", "data=local", f"data.root={reviews}", "tracker=none")
    result = train.run(s, RunFolder(tmp_path / "run"), Where(tmp_path), Progress(True))
    said = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert {row["prediction"] for row in said} == {"negative"}
    assert {row["scores"]["positive"] for row in said} == {-100.0}
    assert result["score"] == 50.0


# Word vectors


def test_vectors_are_read_from_a_file(tmp_path) -> None:
    path = tmp_path / "vectors.txt"
    for lines in (FILE, FILE[1:]):  # with word2vec's first line, and without it as GloVe's
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        found = {word: vector.tolist() for word, vector in vectors(path, lambda word: True)}
        assert found == {"The": [1, 0, 0], "mill": [0, 1, 0], "a word": [0, 0, 1], "berg": [0.5, 0.5, 0]}
    assert [word for word, _ in vectors(path, lambda word: word == "mill")] == ["mill"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dog 1 2", "vectors.txt:7: 2 numbers after the word; 3 are needed"),
        ("dog 1 1e39 2", "vectors.txt:7: a number that is not finite; a line is a word and then 3 numbers"),
        ("dog 1 nan 2", "vectors.txt:7: a number that is not finite; a line is a word and then 3 numbers"),
        ("dog 1 x 2", "vectors.txt:7: could not convert string to float: 'x'; a line is a word and then 3 numbers"),
    ],
)
def test_a_bad_line_of_vectors_is_named(tmp_path, line, said) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join([*FILE, line]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(vectors(path, lambda word: True))
    assert str(caught.value) == f"{tmp_path}/{said}"


def test_a_count_of_thousands_of_digits_is_none(tmp_path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(f"4 {'9' * 5000}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"vectors.txt:1: a number that is not finite"):
        list(vectors(path, lambda word: True))


def test_the_bilstm_starts_from_a_files_vectors(go, tmp_path, monkeypatch) -> None:
    """Words of the training set have their own or their lower-case form's; the file's first words are known, too."""
    path = tmp_path / "vectors.txt"
    path.write_text("zebra 1 2 3\nthe 4 5 6\nThe 7 8 9\nunheard 1 1 1\n", encoding="utf-8")
    seen: list[Any] = []
    fit = loop.fit
    monkeypatch.setattr(
        loop, "fit", lambda runs, model, *about: seen.append(table(model.backbone)) or fit(runs, model, *about)
    )
    more = ("task=conll03", "max_steps=1", f"method.procedure.vectors={path}", "method.procedure.max_words=1")
    go(tmp_path / "run", "method=bilstm", *more, *SIZES)
    ((known, weight),) = seen
    assert weight.shape[1] == 3  # the file's width, whatever method.encoder.embed says
    assert weight[known["zebra"]].tolist() == [1, 2, 3]
    assert weight[known["the"]].tolist() == [4, 5, 6]
    assert weight[known["The"]].tolist() == [7, 8, 9]
    assert "unheard" not in known


def table(backbone: Any) -> tuple[dict[str, int], torch.Tensor]:
    return backbone.known, backbone.model.embedding.weight.detach().clone()


# The BiLSTM


@pytest.fixture
def encoder(tmp_path) -> Callable[..., BiLSTM]:
    """encoder(pairs, ...): one that knows a, b, c and d."""

    def make(pairs: bool = False, **more: Any) -> BiLSTM:
        tokenizer = word_tokenizer(list("abcd"), True, True, pairs)
        (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        backbone = BiLSTM("bilstm", embed=5, hidden=3, path=str(tmp_path), **more)
        backbone.load(lm=False)
        torch.manual_seed(0)
        backbone.tune("all")
        return backbone.eval()

    return make


def states(backbone: BiLSTM, *texts: str) -> torch.Tensor:
    """[B, N, H] of texts, each one or a pair with a bar between."""
    tokenizer, rows = backbone.tokens().tokenizer, []
    for text in texts:
        coded = tokenizer(*text.split("|"), return_token_type_ids=True)
        rows.append(Row(len(rows), coded["input_ids"], coded["token_type_ids"], {"cls": [0]}))
    with torch.no_grad():
        return backbone(collate(rows, 0), Injection()).states


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_a_text_is_the_pool_of_its_states(encoder, pooling) -> None:
    """Whatever stands beside it in the batch."""
    backbone = encoder(pooling=pooling)
    alone = states(backbone, "a b c")[0]
    batch = states(backbone, "a b c", "d c b a d c")
    torch.testing.assert_close(batch[0, :4], alone)
    network = backbone.model
    ids = torch.tensor([[backbone.known[token] for token in ("[CLS]", "a", "b", "c")]])
    with torch.no_grad():
        read = network.layers[0](network.embedding(ids))[0][0]
    torch.testing.assert_close(alone[1:], read[1:])
    torch.testing.assert_close(alone[0], read.amax(0) if pooling == "max" else read.mean(0))


def test_it_reads_in_both_directions_and_in_order(encoder) -> None:
    backbone = encoder()
    one, other = states(backbone, "a b c")[0], states(backbone, "a b d")[0]
    assert not torch.equal(one[1, 3:], other[1, 3:])  # from the right, the first word knows the last
    assert torch.equal(one[1, :3], other[1, :3])
    assert not torch.allclose(states(backbone, "a b c")[0, 0], states(backbone, "c b a")[0, 0])


def test_a_pair_is_joined_from_both_its_texts(encoder) -> None:
    """u, v, |u - v| and u * v through the dense layer."""
    backbone = encoder(pairs=True)
    read = states(backbone, "a b|c d")[0]
    ids = torch.tensor([[backbone.known[token] for token in ("[CLS]", "a", "b", "[SEP]", "c", "d")]])
    network = backbone.model
    with torch.no_grad():
        plain = network.layers[0](network.embedding(ids))[0][0]
        u, v = plain[:3].amax(0), plain[3:].amax(0)
        joined = torch.tanh(network.join(torch.cat([u, v, (u - v).abs(), u * v])))
    torch.testing.assert_close(read[0], joined)
    assert encoder(pairs=False).model.join is None


def test_words_are_unknown_for_once_while_training(encoder) -> None:
    backbone = encoder(word_dropout=0.5, dropout=0.0)
    still = [states(backbone, "a b c d")[0] for _ in range(2)]
    assert torch.equal(*still)
    backbone.train()
    torch.manual_seed(0)
    drawn = [states(backbone, "a b c d")[0] for _ in range(4)]
    assert any(not torch.equal(one, still[0]) for one in drawn)


@pytest.mark.parametrize("task", ["conll03", "sst2", "rte", "copa"])
def test_it_learns_through_the_loop(go, tmp_path, task) -> None:
    """Its loss falls; the same seed gives the same bits and another seed others; the stored run says the same again."""
    sure = ("method.encoder.dropout=0.0", "method.head.dropout=0.0", "optim.schedule=constant")
    more = ("method=bilstm", f"task={task}", "epochs=8", "eval_every=6", *sure, *SIZES)
    result = go(tmp_path / "one", *more)
    found = losses(tmp_path / "one")
    assert len(found) == 24
    assert np.mean(found[-3:]) < 0.85 * np.mean(found[:3])
    parts = result["parameters"]
    assert parts["backbone"] + parts["head"] == parts["trained"] == parts["stored"]
    assert result["backbone"] == "bilstm"
    go(tmp_path / "again", *more)
    assert losses(tmp_path / "again") == found
    weights = [RunFolder(tmp_path / name).read_tensors() for name in ("one", "again")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    go(tmp_path / "other", *more, "seed=2", "max_steps=1")
    assert losses(tmp_path / "other")[0] != found[0]


def test_a_stored_run_answers_from_where_it_is_moved_to(go, ptune, tmp_path) -> None:
    go(tmp_path / "run", "method=bilstm", "task=conll03", "epochs=6", *SIZES)
    expected = RunFolder(tmp_path / "run").read_json("result.json")
    moved = shutil.move(tmp_path / "run", tmp_path / "moved")
    assert ptune("eval", str(moved)).code == 0
    again = json.loads((tmp_path / "moved" / f"eval_{expected['report_on']}.json").read_text(encoding="utf-8"))
    assert again["scores"] == expected["best"]["report"]
    (tmp_path / "in.txt").write_text("Anna lives in Oslo\n", encoding="utf-8")
    said = ptune("predict", f"run={moved}", f"input={tmp_path / 'in.txt'}")
    assert len(json.loads(said.out)["prediction"]) == 4
    refused = ptune("export", f"run={moved}", f"out={tmp_path / 'out'}")
    assert (refused.code, refused.err.count("\n")) == (1, 0)
    assert "PEFT needs a frozen backbone" in refused.err
    assert ptune("export", f"run={moved}", "to=folder", f"out={tmp_path / 'out'}").code == 0
    shutil.rmtree(moved)
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    elsewhere = ptune("predict", f"run={tmp_path / 'elsewhere'}", f"input={tmp_path / 'in.txt'}")
    assert elsewhere.out == said.out


def test_it_goes_on_exactly(go, tmp_path, monkeypatch) -> None:
    more = ("method=bilstm", "task=conll03", "epochs=4", "eval_every=3", *SIZES)
    go(tmp_path / "whole", *more)
    save = training_run.Run.save

    def cut(run: Any) -> None:
        save(run)
        if run.step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_run.Run, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", *more)
    monkeypatch.setattr(training_run.Run, "save", save)
    go(tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    whole, cut_off = (RunFolder(tmp_path / name).read_tensors() for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut_off[name]) for name, tensor in whole.items())


# What makes no sense


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["method=tfidf_nb", "task=conll03"],
            "method: naive Bayes sorts whole texts into classes, but conll03 asks for one label per word",
        ),
        (
            ["method=tfidf_nb", "task=stsb"],
            "method: naive Bayes sorts whole texts into classes, but stsb asks for a number",
        ),
        (
            ["method=tfidf_nb", "method.procedure.smoothing=[0.0]"],
            "method.procedure.smoothing: [0.0] is not a list of numbers above 0",
        ),
        (
            ["method=bilstm", "task=squad"],
            "method: bilstm reads a question and its context separately, so it cannot find the answer in squad; "
            "use a backbone",
        ),
        (
            ["method=bilstm", "method/prompt=deep"],
            "method/prompt: bilstm reads texts as they are; use method/prompt=none",
        ),
        (
            ["method=bilstm", "method.tune=none"],
            "method.tune: 'none', but bilstm learns from scratch; did you mean 'all'?",
        ),
        (
            ["method=bilstm", "method.procedure.vectors=nowhere.txt"],
            "method.procedure.vectors: there is no file nowhere.txt",
        ),
        (
            ["method=ptv2", "method/procedure=classic"],
            "method/procedure: classic trains an encoder of the method's own; use method=bilstm",
        ),
    ],
)
def test_one_line_each(settings, more, said) -> None:
    with pytest.raises(ConfigError) as caught:
        settings("data=demo", *more)
    assert caught.value.problems == [said]
