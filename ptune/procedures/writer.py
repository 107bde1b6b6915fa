"""Patterns that T5 writes around the label words of training examples (Gao et al. 2021, arXiv 2012.15723, section 5.2).

It was pretrained to fill spans: it is asked for what stands on either side of the label word, beside the text. One beam
search is for all examples together, over the mean of their logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ptune import build
from ptune.backbones import checkpoint_folder
from ptune.batch import Example
from ptune.errors import ConfigError, PtuneError
from ptune.leaves import leaf
from ptune.procedures.likely_words import MARKERS, golden
from ptune.progress import Progress
from ptune.session import Session
from ptune.templates.pattern import apply_form, default_pattern, usable

ROWS = 256  # of the decoder that are computed at once
LONGEST = 256  # tokens of a text that the encoder reads, those next to the gaps


def search(session: Session, rendering: dict[str, Any], folder: str, beam: int, length: int) -> dict[str, Any]:
    """The patterns that the T5 in a folder writes, the best first, beside the written one and its verbalizer.

    rendering: the leaf of that one. Raises ConfigError for a task that has no one or two texts, or a folder with no T5.
    """
    task, s = session.task, session.settings
    kinds = layouts(task.fields)
    shape = leaf(s.backbone, s.packages).shape
    fit = usable(task.patterns, task.fields, shape.causal, shape.decoder_layers > 0)
    name = rendering["name"] or default_pattern(fit, 0, s.method.get("patterns"))
    verbalizer = s.method["head"].get("name") or task.patterns[name].get("verbalizer") or next(iter(task.verbalizers))
    words = [task.verbalizers[verbalizer][label][0] for label in task.labels]
    _, owners = golden(task, session.corpus.splits["train"])
    labeled = [(e, words[owner]) for e, owner in zip(session.corpus.splits["train"], owners.tolist(), strict=True)]
    writer = Writer(folder, build.device(s.device))
    texts = [*patterns(writer, kinds, labeled, beam, length, session.progress, shape.causal)]
    if not texts:
        raise PtuneError(f"{folder} wrote no template of at most {length} tokens; raise method.procedure.length")
    return {"written": {"text": task.patterns[name]["text"]}, "verbalizer": verbalizer, "texts": texts}


class Gap(NamedTuple):
    """What is to be filled in around the word of an example: before it, and after it."""

    before: str
    word: str
    after: str


class Layout(NamedTuple):
    """Where a pattern has the fields: `text` with {} for both fillings; `gap`: an example's texts around them."""

    text: str
    gap: Callable[[Example], tuple[str, str]]


def layouts(fields: Sequence[str]) -> list[Layout]:
    """After and before a text, or between two, the first without its final punctuation, the second in lower case.

    Before a text the T5 goes on from a full stop, as in LM-BFF's code, which is no part of the pattern. Raises
    ConfigError for other numbers of fields.
    """
    if len(fields) == 1:
        (one,) = fields
        return [
            Layout(f"{{{{{one}}}}}{{}} {{{{mask}}}}{{}}", lambda example: (example.fields[one], "")),
            Layout(f"{{}} {{{{mask}}}}{{}} {{{{{one}}}}}", lambda example: (".", example.fields[one])),
        ]
    if len(fields) == 2:
        one, two = fields
        return [
            Layout(
                f"{{{{{one}:bare}}}}{{}} {{{{mask}}}}{{}} {{{{{two}:lower}}}}",
                lambda example: (apply_form(example.fields[one], "bare"), apply_form(example.fields[two], "lower")),
            )
        ]
    raise ConfigError(
        [f"method.procedure.templates: needs a text or a pair of texts, but the task has {len(fields)} fields"]
    )


class Writer:
    """An encoder-decoder that fills spans, of a folder with a T5 checkpoint."""

    def __init__(self, folder: str, device: torch.device) -> None:
        """Raises ConfigError where there is no checkpoint, or one without sentinels."""
        import transformers
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            path = str(checkpoint_folder(folder))
        except PtuneError as error:
            raise ConfigError([f"method.procedure.writer: {str(error).removeprefix('backbone.path: ')}"]) from None
        tokenizer: Any = transformers.AutoTokenizer
        self.tokenizer = tokenizer.from_pretrained(path)
        self.gaps = [self.tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(3)]
        if None in self.gaps or self.tokenizer.unk_token_id in self.gaps:
            raise ConfigError(
                [f"method.procedure.writer: {folder} has no <extra_id_0>, so it cannot fill spans; use a T5"]
            )
        model: Any = transformers.AutoModelForSeq2SeqLM
        self.model = model.from_pretrained(path, dtype=torch.float32).eval().to(device)
        self.texts = [self.tokenizer.decode([i]).strip() for i in range(self.model.config.vocab_size)]
        banned = [i for i, text in enumerate(self.texts) if not text or (len(text) > 3 and not text.strip("."))]
        self.banned = torch.tensor(sorted({*banned, *self.tokenizer.all_special_ids}), device=device)
        self.dots = [i for i, text in enumerate(self.texts) if text == "."]

    def fill(self, examples: Sequence[Gap], beam: int, length: int, progress: Progress) -> list[tuple[str, str, float]]:
        """The best fillings of both gaps, of `length` tokens together, for all examples, and their log-probabilities.

        A lone space, a row of more than three dots, and a full stop after another are never written.
        """
        with torch.inference_mode():
            states, mask = self._encoded(examples)
            live, done = [([self.gaps[0]], 0.0)], []
            for _ in progress.follow("templates: tokens", range(length), length):
                logits = self._next([ids for ids, _ in live], states, mask)
                scores = logits.log_softmax(-1) + torch.tensor([[score] for _, score in live], device=logits.device)
                for (ids, _), row in zip(live, scores, strict=True):
                    second = self.gaps[1] in ids
                    onward = float(row[self.gaps[2 if second else 1]])
                    row[self.banned] = -torch.inf
                    if ids[-1] in self.dots:
                        row[self.dots] = -torch.inf
                    if second:
                        done.append((ids, onward))
                    else:
                        row[self.gaps[1]] = onward
                best, places = scores.flatten().topk(min(beam, scores.numel()))
                live = [
                    ([*live[place // scores.shape[1]][0], place % scores.shape[1]], score)
                    for place, score in zip(places.tolist(), best.tolist(), strict=True)
                    if np.isfinite(score)
                ]
        done.sort(key=lambda each: -each[1])
        return [(*self._said(ids), score) for ids, score in done[:beam]]

    def _encoded(self, examples: Sequence[Gap]) -> tuple[Tensor, Tensor]:
        """States [N, S, H] of the examples with their gaps, and which of them are text [N, S]."""
        one, two, end = self.gaps[0], self.gaps[1], self.tokenizer.eos_token_id
        rows = []
        for before, word, after in examples:
            first, last = self._ids(before)[-LONGEST:], self._ids(f" {after}" if after else "")[:LONGEST]
            rows.append([*first, one, *self._ids(f" {word}"), two, *last, end])
        width = max(map(len, rows))
        ids = torch.tensor([row + [self.tokenizer.pad_token_id] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        return self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state, mask

    def _ids(self, text: str) -> list[int]:
        """Those of a text; a lone sign is itself, without the space that some vocabularies put before a text."""
        token = self.tokenizer.convert_tokens_to_ids(text) if len(text) == 1 else None
        if token not in (None, self.tokenizer.unk_token_id):
            return [token]
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _next(self, begun: Sequence[list[int]], states: Tensor, mask: Tensor) -> Tensor:
        """The mean over the examples of the logits [b, V] of what comes next."""
        start = self.model.config.decoder_start_token_id
        ids = torch.tensor([[start, *each] for each in begun], device=states.device)
        count, beams = len(states), []
        for few in ids.split(max(1, ROWS // count)):
            logits = self.model(
                encoder_outputs=(states.repeat(len(few), 1, 1),),
                attention_mask=mask.repeat(len(few), 1),
                decoder_input_ids=few.repeat_interleave(count, 0),
            ).logits[:, -1]
            beams.append(logits.float().view(len(few), count, -1).mean(1))
        return torch.cat(beams)

    def _said(self, ids: Sequence[int]) -> tuple[str, str]:
        """Both fillings as text, with a space before them where their first token has one."""
        middle = list(ids).index(self.gaps[1])
        return self._text(ids[1:middle]), self._text(ids[middle + 1 :])

    def _text(self, ids: Sequence[int]) -> str:
        if not ids:
            return ""
        spaced = self.tokenizer.convert_ids_to_tokens([ids[0]])[0].startswith(MARKERS)
        return (" " if spaced else "") + self.tokenizer.decode(ids).strip()


def patterns(
    writer: Writer,
    found: Sequence[Layout],
    examples: Sequence[tuple[Example, str]],
    beam: int,
    length: int,
    progress: Progress,
    causal: bool = False,
) -> Iterator[str]:
    """The patterns that are written around the examples' words, each once, the likeliest of any layout first.

    Each layout is searched with the whole beam, and as many of its best are kept as there is room for, of `beam` in
    all. causal: of a model that reads nothing after the mask, for which no pattern begins with it.
    """
    templates = []
    for layout in found:
        gaps = [Gap(before, word, after) for example, word in examples for before, after in [layout.gap(example)]]
        filled = writer.fill(gaps, beam, length, progress)[: max(1, beam // len(found))]
        templates.append(
            [(score, layout.text.format(*(escape_braces(text) for text in texts)).strip()) for *texts, score in filled]
        )
    texts_seen: set[str] = set()
    for _, text in sorted((pair for pairs in templates for pair in pairs), key=lambda pair: -pair[0]):
        if text not in texts_seen and not (causal and text.startswith("{mask}")):
            texts_seen.add(text)
            yield text


def escape_braces(text: str) -> str:
    """Text as a pattern has it, in which braces stand doubled."""
    return text.replace("{", "{{").replace("}", "}}")
