"""AutoPrompt (Shin et al. 2020, arXiv 2010.15980): label words first, then the trigger, both found by gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ptune.leaves import target, with_defaults
from ptune.procedures import Procedure, Stage, Work

if TYPE_CHECKING:
    from torch import Tensor

    from ptune.config import Train
    from ptune.heads.verbalizer import Verbalizer
    from ptune.injection import Shape
    from ptune.prompts.trigger import Trigger
    from ptune.session import Session
    from ptune.tasks import Task
    from ptune.templates import Template
    from ptune.tokens import Tokens
    from ptune.training_run import Run

FOUND = "searched"  # what the verbalizer of the words that were found is called


class AutoPrompt(Procedure):
    """A step of the loop is an iteration: the gradient over `accumulate` batches, at a random position of the trigger
    the `candidates` that it prefers, tried on as many fresh batches, and the best in its place if it is better.

    measure: what candidates are compared by; seconds: of searching, after which an evaluation is the last.
    Evaluations follow every iteration unless eval_every says less; the best of them is kept.

    labels: task takes the verbalizer's words; search finds `words` for each class, with a projection that is trained
    for `epochs` on the states at the mask beside a trigger of masks.
    """

    searches = True

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        head, prompt = (target(given.method[part]["_target_"], given.packages) for part in ("head", "prompt"))
        if not prompt.discrete:
            yield "method/prompt", "autoprompt searches words of the vocabulary; use method/prompt=trigger"
        if getattr(head, "reads", None) != "mask" or head.learns:
            yield "method/head", "autoprompt reads label words at the mask; use method/head=verbalizer"
        if given.method["tune"] != "none":
            yield "method.tune", f"'{given.method['tune']}', but autoprompt leaves the backbone as it is; use 'none'"
        if task.masked != "label":
            yield (
                "method",
                f"autoprompt compares labels by their words, but the masks of {task.name} stand for each "
                "example's own texts",
            )
        elif task.readout != "sequence":
            needs = {"scalar": "a number", "word": "any word of the vocabulary", "text": "a text to be written"}
            need = needs.get(task.readout, "parts of one")
            yield "method", f"autoprompt compares labels of whole texts, but {task.name} asks for {need}"
        for key in ("iterations", "candidates", "accumulate", "words", "epochs", "seconds"):
            value = given.method["procedure"].get(key)
            if value is not None and value < 1:
                yield f"method.procedure.{key}", f"{value} is too small; at least 1"

    @classmethod
    def work(cls, given: Train, steps: float, examples: float) -> Work:
        """See Procedure: an iteration looks at `accumulate` batches, and at one more with each candidate."""
        settings = with_defaults(cls, given.method["procedure"])
        iterations = min(settings["iterations"], given.max_steps or settings["iterations"])
        return Work(iterations * settings["accumulate"], iterations * settings["candidates"] * given.batch_size)

    def __init__(
        self,
        iterations: int = 180,
        candidates: int = 100,
        accumulate: int = 30,
        measure: Literal["accuracy", "loss"] = "accuracy",
        seconds: float | None = None,
        labels: Literal["task", "search"] = "task",
        words: int = 5,
        epochs: int = 50,
    ) -> None:
        self.iterations, self.candidates, self.accumulate = iterations, candidates, accumulate
        self.measure, self.seconds = measure, seconds
        self.labels, self.words, self.epochs = labels, words, epochs

    def stages(self, session: Session) -> Iterator[Stage]:
        """Label words where they are searched, then the trigger."""
        if self.labels == "search" and FOUND not in session.settings.task["verbalizers"]:
            yield Stage("labels", lambda: self.search_labels(session))
        yield Stage("trigger", lambda: self.search_trigger(session))

    def search_labels(self, session: Session) -> dict[str, Any]:
        """Find the label words, which the run's configuration says from then on."""
        from ptune import build
        from ptune.batch import Draw
        from ptune.data.rendered import Rendered, split_into_batches
        from ptune.procedures.projected_words import mask_states, projection, words_of
        from ptune.seeds import mix

        s, task = session.settings, session.task
        model = build.assemble([s], task)
        template = model.member(0).template
        rendered = Rendered(session.corpus.splits["train"], task, template, s.data.tokens, session.cache, "train")
        order = sorted(range(len(rendered)), key=lambda index: -rendered.lengths[index])
        chosen = split_into_batches(order, rendered.size, s.eval_batch_size, s.batch_tokens)
        batches = (rendered.batch(few, Draw(s.seed, 0), "train") for few in chosen)
        states, targets = mask_states(model, 0, session.progress.follow("label words", batches, len(chosen)))
        seed = mix(s.seed, "label words")
        assert s.optim.lr is not None
        weight = projection(states, targets, len(task.labels), self.epochs, s.batch_size, s.optim.lr, seed)
        vectors, _ = model.backbone.lm_words()
        projected = words_of(weight, vectors.detach(), template.tokens, template.mask_lead, self.words)
        words = dict(zip(task.labels, projected, strict=True))
        for label, of_label in words.items():
            session.progress.say(f"label words of {label}: {', '.join(of_label)}")
        session.change_settings(task={"verbalizers": {FOUND: words}}, method={"head": {"name": FOUND}})
        return {"words": words}

    def search_trigger(self, session: Session) -> dict[str, Any]:
        """Search, and tell what was found as text."""
        s = session.settings
        size = min(len(session.corpus.splits["train"]), s.batch_size * self.accumulate)
        micro = -(-size // s.batch_size) * (s.accumulate or 1)
        session.adapt = lambda run: self.adapt(session, run)
        still = {"dropout": 0.0, "attention_dropout": 0.0}
        figures: dict[str, Any] = session.train(batch_size=size, accumulate=micro, backbone=still)
        template, prompt, head = searched(session)
        trigger = template.tokens.tokenizer.convert_ids_to_tokens(prompt.ids)
        return {**figures, "found": {"trigger": trigger, "words": dict(head.label_words)}}

    def adapt(self, session: Session, run: Run) -> None:
        """Let the loop's run search: its stepper, how long it goes on, and when it is evaluated."""
        from ptune.data.rendered import Stream
        from ptune.prompts.hotflip import Budget, HotFlip
        from ptune.seeds import mix

        s, (template, prompt, head) = session.settings, searched(session)
        candidate_seed = mix(s.seed, "candidates")
        rendered = session.rendered["train"]
        fresh = Stream(rendered, s.batch_size, s.accumulate or 1, candidate_seed, s.data.bucket, s.batch_tokens)
        allowed = takeable(template.tokens, len(prompt.embedding), head.ids.tolist())
        run.stepper = HotFlip(session.model, session.member, fresh, allowed, self.candidates, self.measure, s.seed)
        run.steps = self.iterations if s.max_steps is None else min(self.iterations, s.max_steps)
        run.eval_every = s.eval_every or 1
        run.stopper = Budget(s.patience, seconds=self.seconds, passed=lambda: run.seconds)


def searched(session: Session) -> tuple[Template, Trigger, Verbalizer]:
    """The template, the trigger and the head of the run's model."""
    from ptune.heads.verbalizer import Verbalizer
    from ptune.prompts.trigger import Trigger

    member = session.model.member(session.member)
    assert isinstance(member.prompt, Trigger)
    assert isinstance(member.head, Verbalizer)
    return member.template, member.prompt, member.head


def takeable(tokens: Tokens, size: int, labels: Sequence[int]) -> Tensor:
    """Which of `size` tokens a trigger may have, [V]: no special ones, none with a capital letter in front, and no
    label words, which would answer in the place of the text.
    """
    import torch

    allowed = torch.zeros(size, dtype=torch.bool)
    refused = {*tokens.special_ids, *labels}
    for index in range(min(size, len(tokens.tokenizer))):
        allowed[index] = index not in refused and not tokens.tokenizer.decode([index]).strip()[:1].isupper()
    return allowed
