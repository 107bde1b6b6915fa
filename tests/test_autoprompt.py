"""AutoPrompt: the step by hand on a model that one can see through, label words that were planted, and whole runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ptune import build, training, training_run
from ptune.batch import IGNORED, Batch, Draw, Example, Hidden, Row, RowOutput, collate
from ptune.commands import train
from ptune.errors import ConfigError
from ptune.heads.verbalizer import Verbalizer
from ptune.injection import Shape, Vocabulary
from ptune.leaves import leaf
from ptune.procedures.autoprompt import takeable
from ptune.procedures.projected_words import projection, words_of
from ptune.progress import Progress
from ptune.prompts.hotflip import Budget, HotFlip
from ptune.prompts.trigger import Trigger
from ptune.runs.folder import RunFolder
from ptune.seeds import mix
from ptune.tokens import Tokens
from ptune.where import Where

SHAPE = Shape(layers=1, heads=1, head_dim=4, hidden=4, embed=4, positions=8, vocab=12, lm_head=True, pooler=False)
MASK = 1
PLANTED = 7


# The prompt


def trigger(tokens: int = 3, seed: int = 0) -> Trigger:
    embedding = torch.randn(12, 4, generator=torch.Generator().manual_seed(seed))
    vocabulary = Vocabulary(embedding, encode=lambda text: [], states=lambda text: {}, mask=MASK)
    return Trigger(SHAPE, vocabulary, tokens)


@pytest.mark.parametrize("task", ["rte", "glue_rte", "mnli", "snli", "cb"])
def test_pairs_have_the_published_template_without_words_of_ours(settings, task) -> None:
    """<s> {A} [P] [T] [T] [T] [T] {B} </s>, of AutoPrompt's code for NLI."""
    s = settings("method=autoprompt", f"task={task}", "backbone=tiny_encoder", "method.prompt.tokens=4")
    of_run = leaf(s.task)
    backbone = leaf(s.backbone)
    template, _ = build.surroundings(s, of_run, backbone, backbone.tokens())
    assert template.name == "autoprompt"
    kinds = [part.kind for part in template.parts(0, Example("0", dict.fromkeys(of_run.fields, "A mill.")), None).parts]
    assert kinds == ["text", "mask", "slot", "text"]
    assert (template.shares, template.segments) == ([4], 1)


def test_a_trigger_begins_as_masks_and_is_tokens_at_all_times() -> None:
    prompt = trigger()
    assert prompt.ids == [MASK] * 3
    prompt.put([5], 1)
    assert prompt.ids == [MASK, 5, MASK]
    assert torch.equal(prompt(torch.tensor([0])).slots[0], prompt.embedding[[MASK, 5, MASK]])
    other = trigger()
    other.load(prompt.fold())
    assert other.ids == prompt.ids
    with torch.no_grad():  # as a checkpoint does
        other.table.copy_(prompt.embedding[[2, 3, 4]])
    assert other.ids == [2, 3, 4]


# The step


class Clear:
    """A model whose loss is the squared distance of the trigger's mean to a vector; right where it is below a bound."""

    threads = training = False

    def __init__(self, prompt: Trigger, wanted: Tensor, bound: float = 0.0) -> None:
        self.prompt, self.wanted, self.bound = prompt, wanted, bound
        self.seen: list[list[int]] = []

    def member(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(prompt=self.prompt)

    def loss(self) -> Tensor:
        return ((self.prompt.table.mean(0) - self.wanted) ** 2).sum()

    @contextmanager
    def losses(self, work: Sequence[tuple[int, Batch]]) -> Iterator[list[tuple[Tensor, int]]]:
        self.seen.append(work[0][1].example.tolist())
        yield [(self.loss() * len(batch), len(batch)) for _, batch in work]

    def without_gradients(self) -> AbstractContextManager[None]:
        return torch.inference_mode()

    def finish_passes(self) -> None:
        """No rank is waited for."""

    def outputs(self, member: int, batch: Batch) -> list[RowOutput]:
        self.seen.append(batch.example.tolist())
        right = float(self.loss().detach()) < self.bound
        return [RowOutput(0, np.array([1.0 - right, float(right)])) for _ in range(len(batch))]

    def eval(self) -> None:
        """Nothing drops."""

    def train(self, mode: bool = True) -> None:
        """Nothing drops."""


def batch(*examples: int) -> Batch:
    return collate([Row(example, [0], [0], {}, target=1) for example in examples], 0)


def stepper(model: Clear, candidates: int = 3, measure: Any = "loss", allowed: Tensor | None = None) -> HotFlip:
    every = torch.ones(12, dtype=torch.bool) if allowed is None else allowed
    fresh = lambda step: [batch(10 + step, 20 + step), batch(30 + step)]  # noqa: E731
    return HotFlip(model, 0, fresh, every, candidates, measure, seed=4)  # type: ignore[arg-type]


def planted(tokens: int = 2) -> tuple[Clear, Trigger, int]:
    """A model that wants PLANTED at the position which step 0 draws, and masks elsewhere."""
    prompt = trigger(tokens)
    place = mix(4, "position", 0) % tokens
    ids = [MASK] * tokens
    ids[place] = PLANTED
    return Clear(prompt, prompt.embedding[ids].mean(0)), prompt, place


def test_a_planted_token_is_found() -> None:
    """The candidates are the tokens whose embeddings go furthest against the gradient, by hand."""
    model, prompt, place = planted()
    model.loss().backward()
    gradient = prompt.table.grad[place].clone()
    gain = {i: float(-(prompt.embedding[i] @ gradient)) for i in range(12) if i != MASK}
    by_hand = sorted(gain, key=lambda i: -gain[i])[:5]
    assert PLANTED in by_hand
    step = stepper(model, candidates=5)
    assert step.rank_candidates(gradient, MASK) == by_hand
    assert step.step(lambda: torch.zeros(()), 0) == 0.0
    assert prompt.ids[place] == PLANTED
    assert [token for i, token in enumerate(prompt.ids) if i != place] == [MASK]
    assert float(model.loss().detach()) < 1e-10
    assert prompt.table.grad is None
    # the present trigger and five candidates, each on all of the fresh batches and on no others
    assert model.seen == [[10, 20], [30]] * 6


def test_a_worse_token_is_not_taken() -> None:
    model, prompt, place = planted()
    prompt.put([PLANTED], place)
    before = prompt.ids
    for step in range(3):
        prompt.table.grad = torch.randn(2, 4, generator=torch.Generator().manual_seed(step))
        stepper(model, candidates=11).step(lambda: torch.zeros(()), step)
    assert prompt.ids == before


@pytest.mark.parametrize("bound", [1e-9, 1e9])
def test_candidates_are_compared_by_accuracy(bound) -> None:
    """Right answers count and not by how much: where every token does as well, the present one stays."""
    model, prompt, place = planted()
    model.bound = bound
    model.loss().backward()
    stepper(model, 11, "accuracy").step(lambda: torch.zeros(()), 0)
    assert prompt.ids[place] == (PLANTED if bound < 1 else MASK)


def test_tokens_that_are_not_allowed_are_never_tried() -> None:
    model, prompt, place = planted()
    allowed = torch.ones(12, dtype=torch.bool)
    allowed[PLANTED] = False
    model.loss().backward()
    step = stepper(model, 12, allowed=allowed)
    assert sorted(step.rank_candidates(prompt.table.grad[place], MASK)) == [
        i for i in range(12) if i not in (MASK, PLANTED)
    ]
    step.step(lambda: torch.zeros(()), 0)
    assert PLANTED not in prompt.ids


def test_positions_are_drawn_from_seed_and_step() -> None:
    model, prompt, _ = planted(tokens=3)
    places = set()
    for step in range(12):
        prompt.put([MASK] * 3)
        prompt.table.grad = model.loss().new_zeros(3, 4)
        prompt.table.grad[:] = torch.tensor([1.0, -1.0, 0.5, 0.0])
        model.wanted = prompt.embedding[[PLANTED] * 3].mean(0)
        stepper(model, 11).step(lambda: torch.zeros(()), step)
        changed = [i for i, token in enumerate(prompt.ids) if token != MASK]
        assert changed in ([], [mix(4, "position", step) % 3])
        places.update(changed)
    assert places == {0, 1, 2}


def test_special_capitalized_and_label_tokens_are_no_candidates(settings, tmp_path, bert_folder) -> None:
    from transformers import AutoTokenizer

    tokens = Tokens(AutoTokenizer.from_pretrained(str(bert_folder)))
    vocabulary = tokens.tokenizer.get_vocab()
    (label,) = tokens.encode("river")
    allowed = takeable(tokens, len(vocabulary) + 2, [label])
    names = {word for word, index in vocabulary.items() if allowed[index]}
    assert {"house", "mill", ","} <= names
    assert not names & {"[PAD]", "[MASK]", "[CLS]", "[SEP]", "[UNK]", "river", "Oslo", "Yes", "The"}
    assert not any(name[:1].isupper() for name in names)
    assert not allowed[-2:].any()  # rows that stand for no token


def test_a_budget_ends_at_an_evaluation() -> None:
    clock = [0.0]
    budget = Budget(seconds=10.0, passed=lambda: clock[0])
    budget.note(1.0, 1)
    assert not budget.stop
    clock[0] = 11.0
    assert not budget.stop
    budget.note(0.5, 2)
    assert (budget.stop, budget.best_step) == (True, 1)


# The score of a label


def test_the_loss_is_the_mass_of_a_labels_words_among_all_words() -> None:
    words = {"no": ["a", "b"], "yes": ["c"]}
    head = Verbalizer(
        SHAPE, ["no", "yes"], "sequence", {"w": words}, lambda word: [3 + ord(word) - ord("a")],
        aggregate="logsumexp", among="vocabulary",
    )  # fmt: skip
    logits = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
    hidden = Hidden(torch.zeros(2, 1, 4), lambda states, ids: logits[:, ids])
    rows = [Row(i, [0], [0], {"mask": [0]}, target=target) for i, target in enumerate((0, 1))]
    total, count = head.loss(hidden, collate(rows, 0))
    share = logits.softmax(1)
    assert count == 2
    assert float(total) == pytest.approx(float(-(share[0, 3] + share[0, 4]).log() - share[1, 5].log()), abs=1e-5)
    unknown = collate([rows[0], Row(1, [0], [0], {"mask": [0]}, target=IGNORED)], 0)
    assert float(head.loss(hidden, unknown)[0]) == pytest.approx(float(-(share[0, 3] + share[0, 4]).log()), abs=1e-5)


# Label words


def test_planted_label_words_are_found(bert_folder) -> None:
    """States that lean to the vector of one of two words; each class gets its own, and no piece of a word."""
    from transformers import AutoTokenizer

    tokens = Tokens(AutoTokenizer.from_pretrained(str(bert_folder)))
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(tokens.tokenizer), 16, generator=generator)
    planted = [tokens.encode(word, lead=True)[0] for word in ("house", "mill")]
    vectors[planted] *= 3
    pieces = [i for word, i in tokens.tokenizer.get_vocab().items() if word.startswith("##")]
    vectors[pieces[0]] = 5 * vectors[planted[0]]  # better, but no word
    vectors[tokens.tokenizer.pad_token_id] = 5 * vectors[planted[1]]
    targets = torch.arange(64) % 2
    states = vectors[planted][targets] + torch.randn(64, 16, generator=generator)
    weight = projection(states, targets, labels=2, epochs=30, batch=8, lr=1e-2, seed=3)
    found = words_of(weight, vectors, tokens, lead=True, count=2)
    assert [words[0] for words in found] == ["house", "mill"]
    assert not set(found[0]) & set(found[1])
    assert [len(words) for words in found] == [2, 2]
    assert torch.equal(weight, projection(states, targets, 2, 30, 8, 1e-2, 3))
    assert not torch.equal(weight, projection(states, targets, 2, 30, 8, 1e-2, 4))


# Whole runs

SMALL = (
    *("method=autoprompt", "task=sst2", "data=demo", "data.demo.train=48", "data.demo.dev=16", "data.demo.test=8"),
    *("backbone=tiny_encoder", "tracker=none", "quiet=true", "batch_size=8", "data.max_length=32"),
    *("method.procedure.iterations=5", "method.procedure.candidates=6", "method.procedure.accumulate=3"),
)


@pytest.fixture
def go(settings) -> Callable[..., dict[str, Any]]:
    """go(folder, ...): search on the demo, or go on."""

    def start(folder: Path, *more: str) -> dict[str, Any]:
        stored = (folder / "config.yaml").is_file()
        s = train.stored_settings(folder, Where(folder)) if stored else settings(*SMALL, *more)
        return train.run(s, RunFolder(folder), Where(folder), Progress(True))

    return start


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what the clock says."""
    return {k: v for k, v in result.items() if k not in ("seconds", "examples_per_second")}


@pytest.mark.slow
def test_a_search_goes_on_exactly_and_is_stored_as_words(go, ptune, tmp_path, monkeypatch) -> None:
    whole = go(tmp_path / "whole")
    events = [event for _, event in RunFolder(tmp_path / "whole").metrics()]
    assert [e["examples"] for e in events if e["event"] == "step"] == [24] * 5  # three batches of the gradient
    evaluated = [e["selected"] for e in events if e["event"] == "eval"]
    assert len(evaluated) == 5
    assert whole["selected"] == max(evaluated)
    assert whole["found"]["words"] == {"negative": ["terrible"], "positive": ["great"]}
    assert (whole["prompt_length"], whole["parameters"]["trained"], whole["parameters"]["stored"]) == (3, 3, 3)
    save = training_run.Run.save

    def cut(run: Any) -> None:
        save(run)
        if run.step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_run.Run, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut")
    monkeypatch.setattr(training_run.Run, "save", save)
    assert figures(go(tmp_path / "cut")) == figures(whole)
    moved = Path(shutil.move(tmp_path / "cut", tmp_path / "moved"))
    assert ptune("eval", str(moved)).code == 0
    again = json.loads((moved / "eval_dev.json").read_text(encoding="utf-8"))
    assert again["scores"] == whole["best"]["report"]
    (tmp_path / "in.txt").write_text("a fine film\n", encoding="utf-8")
    said = json.loads(ptune("predict", f"run={moved}", f"input={tmp_path / 'in.txt'}").out)
    assert said["prediction"] in ("negative", "positive")


def test_a_search_that_goes_on_has_the_rest_of_its_budget(go, tmp_path, monkeypatch) -> None:
    save = training_run.Run.save

    def cut(run: Any) -> None:
        run.taken = 3600.0  # as if it had taken an hour until here
        save(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run.Run, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", "method.procedure.seconds=3600")
    monkeypatch.setattr(training_run.Run, "save", save)
    assert go(tmp_path / "cut")["steps"] == 2  # the first sitting's, and one up to the next evaluation


def test_a_search_that_is_over_is_not_gone_on_with(go, tmp_path, monkeypatch) -> None:
    """Cut off behind its last evaluation, where its figures are put together."""
    monkeypatch.setattr(training_run.Run, "seconds", 5.0)
    concluded = training.final_figures

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    for put in (cut, cut):
        monkeypatch.setattr(training, "final_figures", put)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "cut", "method.procedure.seconds=3")
    monkeypatch.setattr(training, "final_figures", concluded)
    assert go(tmp_path / "cut")["steps"] == 1


def test_labels_are_searched_first_and_once(go, ptune, tmp_path, monkeypatch) -> None:
    more = ("method.procedure.labels=search", "method.procedure.words=2", "optim.lr=0.003", "max_steps=2")
    result = go(tmp_path / "run", *more)
    words = result["found"]["words"]
    assert list(words) == ["negative", "positive"]
    assert all(len(of_label) == 2 for of_label in words.values())
    assert result["steps"] == 2
    config = RunFolder(tmp_path / "run").read_config()
    assert config["task"]["verbalizers"]["searched"] == words
    assert config["method"]["head"]["name"] == "searched"
    (tmp_path / "run/result.json").unlink()
    monkeypatch.setattr("ptune.procedures.projected_words.projection", None)  # not again
    assert figures(go(tmp_path / "run")) == figures(result)
    assert ptune("eval", str(tmp_path / "run")).code == 0
    again = json.loads((tmp_path / "run/eval_dev.json").read_text(encoding="utf-8"))
    assert again["scores"] == result["best"]["report"]


def test_the_gradient_is_that_of_the_loss(settings, wire, bert_folder) -> None:
    """By finite differences, at a coordinate of each token."""
    s = settings(
        *("method=autoprompt", "task=rte", "backbone=local", f"backbone.path={bert_folder}", "data.max_length=60"),
        *("tracker=none", "method.template.name=ptuning"),
    )
    wired = wire(s)
    batch = wired.rendered[0].batch(range(8), Draw(0, 0), "train")
    table = wired.model.member(0).prompt.table
    wired.model.eval()

    def loss() -> Tensor:
        with wired.model.losses([(0, batch)]) as ((total, _),):
            return total

    with wired.model.losses([(0, batch)]) as ((total, _),):
        total.backward()
    largest = table.grad.abs().argmax(1)
    for row, column in enumerate(largest.tolist()):
        ends = []
        for move in (0.01, -0.02, 0.01):
            with torch.no_grad():
                table[row, column] += move
                ends.append(float(loss()))
        slope = (ends[0] - ends[1]) / 0.02
        assert slope == pytest.approx(float(table.grad[row, column]), rel=0.05, abs=1e-3)


def test_the_published_setting(settings) -> None:
    s = settings("experiment=autoprompt_sst2")
    procedure = build.leaf(s.method["procedure"])
    assert (procedure.iterations, procedure.candidates, procedure.accumulate) == (180, 100, 30)
    assert (s.batch_size, s.eval_batch_size, s.prompt_length.value) == (24, 48, 3)
    assert s.task["patterns"]["autoprompt"]["text"] == "{sentence} {prompt} {mask} ."
    assert (s.method["head"]["aggregate"], s.method["head"]["among"]) == ("logsumexp", "vocabulary")
    words = s.task["verbalizers"][s.method["head"]["name"]]
    assert [len(of_label) for of_label in words.values()] == [5, 5]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["method/prompt=soft"],
            "method/prompt: autoprompt searches words of the vocabulary; use method/prompt=trigger",
        ),
        (
            ["method/head=linear", "~method.head.aggregate", "~method.head.among"],
            "method/head: autoprompt reads label words at the mask; use method/head=verbalizer",
        ),
        (["method.tune=all"], "method.tune: 'all', but autoprompt leaves the backbone as it is; use 'none'"),
        (
            ["method/procedure=single"],
            "method/prompt: words of the vocabulary are searched, not trained; use method=autoprompt",
        ),
        (["method.procedure.iterations=0"], "method.procedure.iterations: 0 is too small; at least 1"),
        (["method.prompt.tokens=0"], "method.prompt.tokens: 0 is too small; at least 1"),
        (["task=stsb"], "method: autoprompt compares labels of whole texts, but stsb asks for a number"),
        (
            ["task=wsc"],
            "method: autoprompt compares labels by their words, but the masks of wsc stand for each "
            "example's own texts",
        ),
        (
            ["backbone=tiny_causal"],
            "method/prompt: triggers are searched for a masked language model, but this one is causal",
        ),
    ],
)
def test_one_line_each(settings, more, said) -> None:
    given = ["method=autoprompt", "task=sst2", "data=demo", "backbone=tiny_encoder"]
    keys = {word.partition("=")[0] for word in more}
    with pytest.raises(ConfigError) as caught:
        settings(*(word for word in given if word.partition("=")[0] not in keys), *more)
    assert said in caught.value.problems


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            "autoprompt",
            "method: autoprompt compares labels of whole texts, but lama asks for any word of the vocabulary",
        ),
        (
            "pet",
            "method/procedure: labels texts or candidates that compete for one label, but lama asks for something else",
        ),
    ],
)
def test_a_method_that_is_not_for_lama_says_so_in_one_line(settings, method, said) -> None:
    """Not which of its settings the head of that task has not; an unknown one alone is told as ever."""
    given = ["task=lama", "data=demo", "backbone=tiny_encoder"]
    with pytest.raises(ConfigError) as caught:
        settings(f"method={method}", *given)
    assert caught.value.problems == [said]
    with pytest.raises(ConfigError, match=r"method.head.calibrate: not a setting of ptune.heads.word.Word"):
        settings("method=zero_shot", *given, "method.head.calibrate=true")
