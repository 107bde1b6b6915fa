"""An encoder of the method's own, from scratch: its words are listed first, then it is trained as any model is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptune.procedures import Procedure, Stage

if TYPE_CHECKING:
    from ptune.batch import Example
    from ptune.config import Train
    from ptune.injection import Shape
    from ptune.session import Session
    from ptune.tasks import Task


READOUTS = ("sequence", "token", "choice", "scalar")


class Classic(Procedure):
    """vectors: a text file of word vectors, null for none; max_words: the first of its words that are known beside
    those of the training set; min_count: how often one of these has to occur; lowercase: null for where whole texts
    are read, as capitals tell names.

    The words, and the file's vectors of them, are in the run folder: see ptune.backbones.bilstm.
    """

    backbone = False

    @classmethod
    def problems(cls, given: Train, shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Procedure."""
        name, settings = given.method["name"], given.method["procedure"]
        if not given.method.get("encoder"):
            yield "method/procedure", "classic trains an encoder of the method's own; use method=bilstm"
            return
        if task.readout == "span":
            yield (
                "method",
                f"{name} reads a question and its context separately, so it cannot find the answer in "
                f"{task.name}; use a backbone",
            )
        elif task.readout not in READOUTS:
            yield "method", f"{name} labels texts and words, but {task.name} asks for something else; use a backbone"
        for part, only in (("template", "plain.Plain"), ("prompt", "none.NoPrompt")):
            if not str(given.method[part]["_target_"]).endswith(only):
                yield f"method/{part}", f"{name} reads texts as they are; use method/{part}={only.partition('.')[0]}"
        if given.method["tune"] != "all":
            yield "method.tune", f"'{given.method['tune']}', but {name} learns from scratch; did you mean 'all'?"
        if given.gradient_checkpointing:
            yield "gradient_checkpointing", f"not supported for {name}; leave it out"
        if settings.get("vectors") and not Path(settings["vectors"]).is_file():
            yield "method.procedure.vectors", f"there is no file {settings['vectors']}"
        for key in ("max_words", "min_count"):
            if settings.get(key, 1) < (least := int(key == "min_count")):
                yield f"method.procedure.{key}", f"{settings[key]} is too small; at least {least}"

    def __init__(
        self,
        vectors: str | None = None,
        max_words: int = 50000,
        min_count: int = 1,
        lowercase: bool | None = None,
    ) -> None:
        self.vectors, self.max_words, self.min_count, self.lowercase = vectors, max_words, min_count, lowercase

    def stages(self, session: Session) -> Iterator[Stage]:
        """List the words, then train."""
        session.settings.backbone["path"] = str(session.folder.path)
        if not session.folder.file("tokenizer.json").is_file():
            yield Stage("words", lambda: self.words(session))
        yield Stage("train", session.train)

    def words(self, session: Session) -> dict[str, Any]:
        """Write the tokenizer, and the vectors of its words that the file has."""
        from ptune.backbones.bilstm import pieces, word_tokenizer
        from ptune.runs.folder import write_atomically

        task, train = session.task, session.corpus.splits["train"]
        reads_texts = task.readout != "token"
        lowercase = reads_texts if self.lowercase is None else self.lowercase
        pairs = reads_texts and len(task.segments or task.fields) > 1
        split = pieces(reads_texts, lowercase)
        counts = Counter(piece for text in shown_texts(task, train) for piece in split(text))
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        vocabulary = [word for word, count in ordered if count >= self.min_count]
        vectors = self.read(set(vocabulary), lowercase, session.progress) if self.vectors else {}
        vocabulary = list(dict.fromkeys([*vocabulary, *vectors]))
        tokenizer = word_tokenizer(vocabulary, reads_texts, lowercase, pairs)
        if vectors:
            write_vectors(session.folder.file("vectors.safetensors"), tokenizer, vocabulary, vectors)
        write_atomically(session.folder.file("tokenizer.json"), tokenizer.to_str(pretty=True).encode())
        with_vectors = sum(word in vectors or word.lower() in vectors for word in vocabulary)
        of_file = f", {with_vectors:,} of them with vectors of {self.vectors}" if self.vectors else ""
        session.progress.say(f"{len(vocabulary):,} words{of_file}")
        return {}

    def read(self, train: set[str], lowercase: bool, progress: Any) -> dict[str, Any]:
        """Vectors by word, of the words of the training set and of the file's first."""
        from ptune.procedures.word_vectors import vectors

        words = train | {word.lower() for word in train}
        of_words: dict[str, Any] = {}
        first = 0

        def wanted(word: str) -> bool:
            nonlocal first
            first += 1
            return first <= self.max_words or word in words

        for word, vector in progress.follow("word vectors", vectors(Path(str(self.vectors)), wanted)):
            of_words.setdefault(word.lower() if lowercase else word, vector)
        return of_words


def write_vectors(path: Path, tokenizer: Any, words: Iterable[str], found: dict[str, Any]) -> None:
    """ids [n] of the words that have a vector, their own or that of their lower-case form, and the vectors [n, E]."""
    import numpy as np
    from safetensors.numpy import save

    from ptune.runs.folder import write_atomically

    rows = [(tokenizer.token_to_id(word), found.get(word, found.get(word.lower()))) for word in words]
    with_vector = [(index, vector) for index, vector in rows if vector is not None]
    tensors = {
        "ids": np.array([index for index, _ in with_vector]),
        "vectors": np.stack([vector for _, vector in with_vector]),
    }
    write_atomically(path, save(tensors))


def shown_texts(task: Task, examples: Iterable[Example]) -> Iterator[str]:
    """Every text that the plain template shows of some examples; of words that are tagged each one."""
    for example in examples:
        for candidate, _ in task.candidates(example):
            for segment in task.segments or task.fields:
                text = segment.format_map(candidate.fields) if "{" in segment else candidate.fields[segment]
                yield from [text] if isinstance(text, str) else text
        yield from example.tail
        if example.mark is not None:
            yield "*"
