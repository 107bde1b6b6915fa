"""LM-BFF's search for label words, then a training with the best (Gao et al. 2021, arXiv 2012.15723, section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ptune.errors import ConfigError
from ptune.procedures import Procedure, Stage

PATTERN = "ptune.templates.pattern.Pattern"  # words are looked for, and ranked, without demonstrations
FOUND = "found"  # what the verbalizer of found words is called
FILE = "label_words.json"


class LmBff(Procedure):
    """k_likely: words a label, the likeliest for its training examples; k_neighbors: of those the nearest to the
    label's own word, null for all; n_pairs: combinations of them that are trained with and ranked on what selects.

    combinations: the most that are tried on the untrained model; fewer words a label are taken where there are more.
    keep_weights: of the trainings that rank.
    """

    def __init__(
        self,
        k_likely: int = 100,
        n_pairs: int = 100,
        k_neighbors: int | None = None,
        combinations: int = 10_000_000,
        keep_weights: bool = False,
    ) -> None:
        """Raises ConfigError for numbers that are too small."""
        self.limits = k_likely, k_neighbors, n_pairs, combinations
        self.keep_weights = keep_weights
        given = {"k_likely": k_likely, "n_pairs": n_pairs, "k_neighbors": k_neighbors, "combinations": combinations}
        if wrong := [
            f"method.procedure.{k}: {v} is too small; at least 1" for k, v in given.items() if v is not None and v < 1
        ]:
            raise ConfigError(wrong)

    def stages(self, session: Any) -> Iterator[Stage]:
        """The search, a training with each combination and with the written words, and the training that counts."""
        yield Stage("label words", lambda: self.search(session))
        yield Stage("rank", lambda: self.rank(session))
        yield Stage("train", lambda: self.train(session))

    def search(self, session: Any) -> dict[str, Any]:
        """Combinations of words by their score on the untrained model, kept in the run folder."""
        from ptune.labels import search

        if not session.folder.file(FILE).is_file():
            found = search(session, self.template(session), *self.limits)
            session.folder.write_json(FILE, found)
        return dict(session.folder.read_json(FILE))

    def template(self, session: Any) -> dict[str, Any]:
        """The pattern that the method demonstrates, alone."""
        return {"_target_": PATTERN, "name": session.settings.method["template"].get("name")}

    def rank(self, session: Any) -> dict[str, Any]:
        """Train with each combination, and with the written words beside them; the best of the found ones."""
        found = session.folder.read_json(FILE)
        session.expected = len(found["combinations"]) + 1
        written = self.ranked(session, "written", found["written"]["words"])
        ranked = [
            {**each, "selected": self.ranked(session, f"words{number:03d}", each["words"])}
            for number, each in enumerate(found["combinations"])
        ]
        best = max(ranked, key=lambda each: float(each["selected"]))  # of equals the better one untrained
        self.words: dict[str, Any] = {
            "found": best,
            "written": {**found["written"], "selected": written},
            "ranked": ranked,
        }
        return self.words

    def ranked(self, session: Any, name: str, words: Mapping[str, str]) -> float:
        """The score that selects, after a training with these words."""
        changes = with_words(words)
        changes["method"]["template"] = self.template(session)
        child = session.child(name, **changes)
        score = float(child.complete()["selected"])
        if not self.keep_weights:
            child.drop_weights()
        return score

    def train(self, session: Any) -> dict[str, Any]:
        """Train as the method says, with the found words; they stand in the result beside the written ones."""
        words = self.words
        for which in ("found", "written"):
            said = ", ".join(f"{label}: {word}" for label, word in words[which]["words"].items())
            scores = f"untrained {words[which]['untrained']:.2f}, trained {words[which]['selected']:.2f}"
            session.progress.say(f"label words {which}: {said}  ({scores})")
        session.settle(**with_words(words["found"]["words"]))
        return {**session.train(), "label_words": words}


def with_words(words: Mapping[str, str]) -> dict[str, Any]:
    """Changes of settings under which these words stand for the labels."""
    verbalizer = {label: [word] for label, word in words.items()}
    return {"task": {"verbalizers": {FOUND: verbalizer}}, "method": {"head": {"name": FOUND}}}
