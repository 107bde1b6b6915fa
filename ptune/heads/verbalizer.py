"""The language-model head at the masks, read over what may stand there: the labels' words, or an example's own texts.

PET (Schick and Schuetze 2021, arXiv 2001.07676 and 2009.07118).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ptune.batch import IGNORED, Batch, Hidden, RowOutput
from ptune.errors import nearest
from ptune.heads import Head, scalar_outputs, scale_of, text_logits, text_loss
from ptune.heads.masks import (
    Decoding,
    decode_choices,
    everywhere,
    hinge,
    most_likely_tokens,
    one_by_one,
    score_in_parallel,
)
from ptune.injection import Shape
from ptune.tokens import Tokens

if TYPE_CHECKING:
    from ptune.tasks import Task


class Verbalizer(Head):
    """A label's score comes of the logits of its words. Where each is one token of the backbone's vocabulary, of these
    alone; a word of several has a run of masks, and words are then log-probabilities among all tokens (see
    ptune.heads.masks), learned with a hinge loss: every wrong label has to be less likely than the right one by 1.

    aggregate: mean of the words' scores (PET), or logsumexp, the mass that they have together. calibrate: scores are
    shifted until texts without content get every label alike, for methods that train nothing (see ptune.calibration).
    among: what a label's score is weighed against in the loss: those of the other labels, or the mass of the whole
    vocabulary, so that the words are to be likely themselves (AutoPrompt, arXiv 2010.15980).
    A number (readout "scalar") lies between the labels as their scores share out the mass (LM-BFF, arXiv 2012.15723).
    decoding: how the masks of a run are filled in where nothing is learned. Causal models have no masks, and T5 has one
    for a text of any length: the tokens follow the row, or are written by the decoder, and the score of a text is the
    chain rule's, left to right.

    Where masks stand for an example's own texts (`masked`): of choices the log-probabilities are the scores, and their
    means over each one's tokens are learned with the hinge loss; a text is learned by the cross-entropy of its tokens,
    and written by the model itself to be compared (PET's COPA and ReCoRD, and its WSC; arXiv 2009.07118, section 4.1);
    without runs of masks it is generated, of at most `longest` tokens.

    verbalizers: the task's sets; name: which of them, null for `default_pattern` (the pattern's own) or the first.
    """

    reads = "mask"
    lm = True
    learns = False
    instead = MappingProxyType({"word": "ptune.heads.word.Word"})  # where every word stands for itself
    ids: Tensor
    owner: Tensor  # [W, C], which word stands for which label
    words: Tensor  # [W, M], the words' tokens, padded with IGNORED
    shift: Tensor

    @classmethod
    def problems(cls, given: Mapping[str, Any], shape: Shape, task: Task) -> Iterator[tuple[str, str]]:
        """See Head."""
        if task.masked != "label":
            if shape.decoder_layers and not shape.sentinels:
                yield (
                    "",
                    f"this encoder-decoder cannot score the texts at the masks of {task.name}; use linear and "
                    "method/template=plain",
                )
            if task.masked == "choice" and not task.grouped:
                yield "", f"the choices of {task.name} are compared with one another here; use task.loss=softmax"
            for key in ("name", "calibrate"):
                if given.get(key):
                    yield key, f"the texts at the masks of {task.name} are each example's own; leave it out"
        elif task.readout not in ("sequence", "scalar"):
            readout_names = {
                "token": "one label per word",
                "choice": "one of several candidates",
                "text": "a text to be written",
            }
            yield (
                "",
                f"a verbalizer answers for a whole text, but {task.name} asks for "
                f"{readout_names.get(task.readout, 'a part of one')}; use linear",
            )
        elif not task.verbalizers:
            yield "name", f"task {task.name} has no verbalizers; add a set to its yaml"
        elif given.get("name") is not None and given["name"] not in task.verbalizers:
            yield (
                "name",
                f"task {task.name} has no verbalizer '{given['name']}'; {nearest(given['name'], task.verbalizers)}",
            )

    def __init__(
        self,
        shape: Shape,
        labels: Sequence[str],
        readout: str,
        verbalizers: Mapping[str, Mapping[str, Sequence[str]]],
        encode: Callable[[str], Sequence[int]],
        decode: Callable[[Sequence[int]], str] | None = None,
        masked: str = "label",
        preferred: str | None = None,
        name: str | None = None,
        aggregate: Literal["mean", "logsumexp"] = "mean",
        calibrate: bool = False,
        among: Literal["labels", "vocabulary"] = "labels",
        decoding: Decoding = "confident",
        tokens: Tokens | None = None,
        longest: int = 16,
    ) -> None:
        super().__init__()
        self.masked, self.aggregate, self.decoding = masked, aggregate, decoding
        self.vocab, self.decode, self.sentinels = shape.vocab, decode, shape.sentinels
        self.chained = shape.causal or shape.sentinels
        self.search: dict[str, int] | None = None
        if masked == "text" and tokens is not None and tokens.around is not None:
            before, after = tokens.around
            self.search = {"end": after[0] if after else -1, "limit": len(before) + longest}
        self.masks = 1  # of the longest word
        self.every: Tensor | None = None
        self.register_buffer("shift", torch.zeros(len(labels)), persistent=calibrate)
        self.scalar = readout == "scalar"
        if masked != "label":
            return
        if self.scalar:
            self.ends = scale_of(labels)
        self.name = name or preferred or next(iter(verbalizers))
        self.label_words = verbalizers[self.name]
        self.every = torch.arange(shape.vocab) if among == "vocabulary" else None
        pieces, owner = [], []
        for index, label in enumerate(labels):
            for word in self.label_words[label]:
                pieces.append(torch.tensor(encode(word)))
                if not len(pieces[-1]):
                    raise ValueError(f"'{word}' ({label}) is not a token of this backbone; choose another word")
                owner.append([i == index for i in range(len(labels))])
        self.masks = max(len(ids) for ids in pieces)
        lacks_mask_runs = shape.decoder_layers > 0 and not shape.sentinels
        if self.masks > 1 and (lacks_mask_runs or self.every is not None):
            word = max((text for texts in self.label_words.values() for text in texts), key=lambda w: len(encode(w)))
            raise ValueError(f"'{word}' is {self.masks} tokens of this backbone; choose a word that is one token")
        self.register_buffer("words", pad_sequence(pieces, True, IGNORED), persistent=False)
        self.register_buffer("ids", self.words[:, 0].clone(), persistent=False)
        self.register_buffer("owner", torch.tensor(owner), persistent=False)

    def logits(self, hidden: Hidden, batch: Batch) -> Tensor:
        """[B, C], of choices padded with -inf; of all tokens at the masks [B, M, V], or as it is written [T, V]."""
        if self.search is not None:
            return text_logits(hidden, batch)
        if self.masked == "text":
            return everywhere(hidden, batch.read["mask"], self.vocab)
        if self.masked == "label" and self.masks == 1:
            states = hidden.at(batch.read["mask"])[:, 0]
            return self._of_labels(hidden.words(states, self.ids).float())
        texts = self._texts(batch)
        if self.chained:
            scores = one_by_one(hidden, batch, texts, self.vocab, self.sentinels).sum(2)
            scores = scores.masked_fill((texts == IGNORED).all(2), -torch.inf)
        else:
            scores = decode_choices(hidden, batch, texts, self.vocab, self.decoding)
        return scores if self.masked == "choice" else self._of_labels(scores)

    def _of_labels(self, words: Tensor) -> Tensor:
        """The labels' scores [B, C] from their words' [B, W]."""
        if self.aggregate == "logsumexp":
            return words[..., None].masked_fill(~self.owner, -torch.inf).logsumexp(1) + self.shift
        return words @ (self.owner / self.owner.sum(0)) + self.shift

    def _texts(self, batch: Batch) -> Tensor:
        """What competes for the masks, [B, C, M]: each row's choices, or the words of all labels."""
        if self.masked == "label":
            return self.words.expand(len(batch), -1, -1)
        assert batch.choices is not None
        return batch.choices

    def loss(self, hidden: Hidden, batch: Batch) -> tuple[Tensor, int]:
        """See Head; where texts have several tokens a hinge loss, of what one pass says of them."""
        if self.search is not None:
            return text_loss(hidden, batch)
        is_single_token = self.masked == "label" and self.masks == 1
        if is_single_token or self.masked == "text" or batch.soft is not None or batch.target.is_floating_point():
            if self.every is None or not is_single_token or batch.soft is not None or batch.target.is_floating_point():
                return super().loss(hidden, batch)
            return self._among(hidden, batch, self.every)
        texts = self._texts(batch)
        if self.chained:
            token_scores = one_by_one(hidden, batch, texts, self.vocab, self.sentinels)
        else:
            token_scores = score_in_parallel(hidden, batch, texts, self.vocab)
        if self.masked == "choice":
            scores, target = token_scores.sum(2) / (texts != IGNORED).sum(2).clamp(min=1), batch.target
        else:
            scores = self._of_labels(token_scores.sum(2))
            target = (batch.target[:, None] == torch.arange(scores.shape[1], device=scores.device)).long()
        return (hinge(scores, target) * batch.weight).sum(), batch.labels

    def _among(self, hidden: Hidden, batch: Batch, every: Tensor) -> tuple[Tensor, int]:
        """The loss of labels that are weighed against the whole vocabulary."""
        states = hidden.at(batch.read["mask"])[:, 0]
        mass = hidden.words(states, every.to(states.device)).float().logsumexp(1, keepdim=True)
        losses = (mass - self.logits(hidden, batch)).gather(1, batch.target.clamp(min=0)[:, None])[:, 0]
        return (losses * batch.weight)[batch.target != IGNORED].sum(), batch.labels

    def outputs(self, hidden: Hidden, batch: Batch) -> list[RowOutput]:
        """See Head; of a number, the number; of choices their log-probabilities; the text that the model writes."""
        if self.masked == "text":
            assert self.decode is not None
            if self.search is None:
                ids = most_likely_tokens(hidden, batch, self.vocab, self.decoding)
            else:
                assert hidden.generate is not None
                ids = hidden.generate(**self.search)
            answers = [self.decode(row_ids) for row_ids in ids]
            rows = zip(batch.example.tolist(), answers, strict=True)
            return [RowOutput(example, np.zeros(0), text=text) for example, text in rows]
        if self.masked == "choice":
            scores, texts = self.logits(hidden, batch).cpu().numpy(), self._texts(batch)
            counts = (texts != IGNORED).any(2).sum(1).tolist()
            choice_rows = zip(batch.example.tolist(), scores, counts, strict=True)
            return [RowOutput(example, row_scores[:count]) for example, row_scores, count in choice_rows]
        if self.scalar:
            return scalar_outputs(self.logits(hidden, batch).float(), batch, self.ends)
        return super().outputs(hidden, batch)
