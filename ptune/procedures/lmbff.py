"""LM-BFF's searches for a template and for label words, then a training with the best (Gao et al. 2021).

arXiv 2012.15723, section 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptune.leaves import with_defaults
from ptune.procedures import Procedure, Stage, Work

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import Session
    from ptune.tasks import Task

PATTERN = "ptune.templates.pattern.Pattern"  # what is searched for is ranked without demonstrations
FOUND = "found"  # what the pattern and the verbalizer that are found are called


class LmBff(Procedure):
    """templates, words: what is looked for; templates first, with the written words, then words for the best template.

    k_likely: words a label, the likeliest for its training examples; k_neighbors: of those the nearest to the label's
    own word, null for all; n_pairs: combinations of them that are trained with and ranked on what selects.
    combinations: the most that are tried on the untrained model; fewer words a label are taken where there are more.

    writer: the folder of a T5 that writes templates; beam: how many; length: tokens of one; n_templates: how many of
    them are trained with, null for all. ensemble: so many of the best of these are each trained with as the method is,
    and the mean of what they say answers, null for the best one alone. keep_weights: of trainings other than the last.
    """

    def __init__(
        self,
        words: bool = True,
        templates: bool = False,
        k_likely: int = 100,
        n_pairs: int = 100,
        k_neighbors: int | None = None,
        combinations: int = 10_000_000,
        writer: str = "pkg://ptune.assets/tiny_encoder_decoder",
        beam: int = 100,
        length: int = 20,
        n_templates: int | None = None,
        ensemble: int | None = None,
        keep_weights: bool = False,
    ) -> None:
        self.words, self.templates, self.keep_weights = words, templates, keep_weights
        self.limits = k_likely, k_neighbors, n_pairs, combinations
        self.writer, self.beam, self.length, self.n_templates = writer, beam, length, n_templates
        self.ensemble = ensemble

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        prefix, settings = "method.procedure", with_defaults(cls, given.method["procedure"])
        counts = ("k_likely", "n_pairs", "k_neighbors", "combinations", "beam", "length", "n_templates", "ensemble")
        for key in counts:
            if settings[key] is not None and settings[key] < 1:
                yield f"{prefix}.{key}", f"{settings[key]} is too small; at least 1"
        if settings["ensemble"] and not settings["templates"]:
            yield (
                f"{prefix}.ensemble",
                f"is only used with templates=true; set {prefix}.templates=true or remove ensemble",
            )

    @classmethod
    def work(cls, given: Train, steps: float, examples: float) -> Work:
        """See Procedure: a training for each candidate, for what is written, and for what counts."""
        settings = with_defaults(cls, given.method["procedure"])
        n_templates = min(settings["beam"], settings["n_templates"] or settings["beam"])
        templates = (1 + n_templates) * settings["templates"]
        words = (1 + settings["n_pairs"]) * settings["words"]
        return Work(steps * (templates + words + (settings["ensemble"] or 1)))

    def stages(self, session: Session) -> Iterator[Stage]:
        """Each search, with a training for every candidate and for what is written, and the training that counts."""
        self.results: dict[str, Any] = {}
        if self.templates:
            yield Stage("templates", lambda: self.find_template(session))
        if self.words:
            yield Stage("label words", lambda: self.find_words(session))
        if self.ensemble:
            yield Stage("ensemble", lambda: {**self.vote(session), **self.results})
        else:
            yield Stage("train", lambda: {**session.train(), **self.results})

    def find_template(self, session: Session) -> dict[str, Any]:
        """The pattern by which training goes best, of those that the writer has written."""
        from ptune.procedures.writer import search

        def written() -> dict[str, Any]:
            return search(session, self.rendering(session), self.writer, self.beam, self.length)

        stored = self.search_once(session, "templates.json", written)
        self.verbalizer = stored["verbalizer"]
        alone = {"method": {"template": {"_target_": PATTERN, "name": FOUND}}}
        candidates = [{"text": text} for text in stored["texts"][: self.n_templates]]
        ranked = self.train_candidates(
            session,
            "template",
            candidates,
            stored["written"],
            lambda each: {**self.with_pattern(each["text"]), **alone},
        )
        self.tell(session, "template", ranked, lambda each: each["text"])
        session.change_settings(**self.with_pattern(ranked["found"]["text"]))
        self.results["template"] = ranked
        return ranked

    def with_pattern(self, text: str) -> dict[str, Any]:
        """Changes of settings under which this is the pattern, with the label words that it was written for."""
        pattern = {"text": text, **({"verbalizer": self.verbalizer} if self.verbalizer else {})}
        return {"task": {"patterns": {FOUND: pattern}}, "method": {"template": {"name": FOUND}}}

    def vote(self, session: Session) -> dict[str, Any]:
        """Train as the method does with each of the templates that rank best; the mean of their logits answers."""
        from ptune.procedures.pet import decode_logits, merge_logits, scores_of
        from ptune.runs.accounting import joint_account

        best = sorted(self.results["template"]["ranked"], key=lambda each: -float(each["selected"]))
        best = best[: self.ensemble]
        session.expected = len(session.stages) + len(best)
        splits = session.settings.select_on, session.report_on
        answers: dict[str, list[Any]] = {split: [] for split in splits}
        results = []
        for number, each in enumerate(best):
            child = session.child(f"ensemble_{number:03d}", **self.with_pattern(each["text"]))
            results.append(child.complete())
            for split in answers:
                answers[split].append(scores_of(child, f"{split}.jsonl", session.corpus.splits[split]))
            if not self.keep_weights:
                child.drop_weights()
        select, report = (
            decode_logits(session.task, session.corpus.splits[split], merge_logits(answers[split], [1.0] * len(best)))
            for split in splits
        )
        scores = [result["score"] for result in results]
        summary = {"templates": [each["text"] for each in best], "scores": scores, "mean": sum(scores) / len(scores)}
        figures: dict[str, Any] = session.report_predictions(
            select, report, joint_account([r["parameters"] for r in results])
        )
        chosen = f"what is found, by the highest {session.settings.metric} on {session.settings.select_on}"
        return {**figures, "ensemble": summary, "selection": chosen}

    def find_words(self, session: Session) -> dict[str, Any]:
        """The label words by which training goes best, of those by which the untrained model does."""
        from ptune.procedures.likely_words import search

        stored = self.search_once(
            session, "label_words.json", lambda: search(session, self.rendering(session), *self.limits)
        )

        def changes(each: Mapping[str, Any]) -> dict[str, Any]:
            changes = with_words(each["words"])
            changes["method"]["template"] = self.rendering(session)
            return changes

        ranked = self.train_candidates(session, "words", stored["combinations"], stored["written"], changes)
        self.tell(session, "label words", ranked, lambda each: ", ".join(f"{k}: {v}" for k, v in each["words"].items()))
        session.change_settings(**with_words(ranked["found"]["words"]))
        self.results["label_words"] = ranked
        return ranked

    def rendering(self, session: Session) -> dict[str, Any]:
        """The pattern that the method demonstrates, alone."""
        return {"_target_": PATTERN, "name": session.settings.method["template"].get("name")}

    def search_once(self, session: Session, name: str, search: Any) -> dict[str, Any]:
        """What a search found, which is done once and stands in the run folder."""
        if not session.folder.file(name).is_file():
            session.folder.write_json(name, search())
        return dict(session.folder.read_json(name))

    def train_candidates(
        self,
        session: Session,
        kind: str,
        candidates: Sequence[Mapping[str, Any]],
        written: Mapping[str, Any],
        changes: Any,
    ) -> dict[str, Any]:
        """Train with each candidate, and with what is written beside them; the best, of equals the first."""
        session.expected = len(session.stages) + len(candidates) + 1
        scored = [
            {**each, "selected": self.selecting_score(session, f"{kind}_{name}", changes(each))}
            for name, each in [("written", written), *((f"{i:03d}", each) for i, each in enumerate(candidates))]
        ]
        return {
            "found": max(scored[1:], key=lambda each: float(each["selected"])),
            "written": scored[0],
            "ranked": scored[1:],
        }

    def selecting_score(self, session: Session, name: str, changes: Mapping[str, Any]) -> float:
        """The score that selects, of a training with some changes."""
        child = session.child(name, **changes)
        score = float(child.complete()["selected"])
        if not self.keep_weights:
            child.drop_weights()
        return score

    def tell(self, session: Session, what: str, ranked: Mapping[str, Any], said: Any) -> None:
        """What was found beside what is written."""
        for which in ("found", "written"):
            candidate = ranked[which]
            scores = [f"{key} {candidate[key]:.2f}" for key in ("untrained", "selected") if key in candidate]
            session.progress.say(f"{what} {which}: {said(candidate)}  ({', '.join(scores)})")


def with_words(words: Mapping[str, str]) -> dict[str, Any]:
    """Changes of settings under which these words stand for the labels."""
    verbalizer = {label: [word] for label, word in words.items()}
    return {"task": {"verbalizers": {FOUND: verbalizer}}, "method": {"head": {"name": FOUND}}}
