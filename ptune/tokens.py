"""A backbone's tokenizer as templates see it: pieces of text to ids, and the frame of special tokens around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frame:
    """Special tokens around one or two segments: before, between (empty for one) and after, with token types."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, ...]  # of segment 0 and segment 1
    between_types: tuple[int, ...]
    after_type: int

    def parting(self, segment: int) -> Sequence[int]:
        """The types of the tokens after a segment, the last one of two where there are more."""
        return self.between_types if segment == 0 else [self.after_type] * len(self.between)

    def of(self, segment: int) -> int:
        """The type of a segment, the last one of two where there are more."""
        return self.types[min(segment, len(self.types) - 1)]

    def __len__(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


SENTINEL, NEXT = "<extra_id_0>", "<extra_id_1>"  # T5's first two


class Tokens:
    """Wraps a fast Hugging Face tokenizer; every piece of text is tokenized on its own, so nothing straddles."""

    def __init__(self, tokenizer: Any, causal: bool = False, decodes: bool = False) -> None:
        """causal: of a model that predicts the next token: a mask only says where it stands, and a line break parts two
        segments that the tokenizer does not part itself.

        decodes: of an encoder-decoder: each segment ends with the end token, whatever the tokenizer does, and the first
        sentinel is the mask of a vocabulary that has no other.
        """
        self.tokenizer, self.causal, self.decodes = tokenizer, causal, decodes
        plain_pieces, spaced_pieces = (tokenizer.tokenize(text) for text in ("a", " a"))
        # Llama 1 and 2 put a space before every text, beside one that is there.
        self.space = "" if plain_pieces[0].startswith("\u2581") and len(spaced_pieces) > len(plain_pieces) else " "
        self.pad_id: int = tokenizer.pad_token_id or 0
        fallback_id = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
        self.unk_id: int = fallback_id if tokenizer.unk_token_id is None else tokenizer.unk_token_id
        self.start_id: int = self.unk_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self.end_id: int | None = tokenizer.eos_token_id
        self.mask_id: int | None = self.pad_id if causal else tokenizer.mask_token_id
        self.sentinel = decodes and self.mask_id is None  # whether one mask stands for any number of tokens
        if self.sentinel:
            self.mask_id = tokenizer.get_vocab().get(SENTINEL)
        self.frames = {1: self._frame(1), 2: self._frame(2)}

    @property
    def opening(self) -> tuple[int, ...]:
        """What a decoder's texts begin with behind its start token."""
        return self.frames[1].before if self.decodes else ()

    @property
    def around(self) -> tuple[list[int], list[int]] | None:
        """What a model writes before and after a text that stands for a mask; None for one that fills runs of masks.

        A causal model goes on from the row and ends; T5 names the sentinel, and the next one when the text is over.
        """
        if self.sentinel:
            assert self.mask_id is not None
            return [self.mask_id], [self.tokenizer.get_vocab()[NEXT]]
        return ([], [] if self.end_id is None else [self.end_id]) if self.causal else None

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text: special tokens, and BERT's untrained [unusedN]."""
        unused_ids = [i for token, i in self.tokenizer.get_vocab().items() if token.startswith("[unused")]
        return frozenset([*self.tokenizer.all_special_ids, *unused_ids])

    def encode(self, text: str, lead: bool = False) -> list[int]:
        """Ids of `text` without special tokens; `lead` puts a space in front, which byte-level vocabularies see."""
        full_text = self.space + text if lead else text
        return list(self.tokenizer(full_text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without special tokens and white space at its ends."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text.strip()

    def located(self, text: str, lead: bool = False) -> tuple[list[int], np.ndarray]:
        """As `encode`, with the characters of `text` that each token stands for: [n, 2], begin and end.

        White space that byte-level vocabularies keep at a token's ends is not part of it; a token of nothing else
        ends where it begins.
        """
        full_text = self.space + text if lead else text
        encoding = self.tokenizer(full_text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = np.array(encoding["offset_mapping"], dtype=np.int32).reshape(-1, 2)
        if lead:
            offsets = np.maximum(offsets - len(self.space), 0)
        for i, (begin, end) in enumerate(offsets.tolist()):
            piece = text[begin:end]
            if piece != piece.strip():
                begin += len(piece) - len(piece.lstrip())
                offsets[i] = begin, begin + len(piece.strip())
        return list(encoding["input_ids"]), offsets

    def words(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of each word, every one as it stands after a space; a word without any piece is one unknown token."""
        spaced_words = [self.space + word for word in words]
        word_ids = self.tokenizer(spaced_words, add_special_tokens=False, verbose=False)["input_ids"]
        return [list(ids) or [self.unk_id] for ids in word_ids]

    def single(self, word: str, lead: bool = True) -> int | None:
        """The id of a word that is one token, None where it is several or unknown."""
        ids = self.encode(word, lead)
        return ids[0] if len(ids) == 1 and ids[0] not in self.tokenizer.all_special_ids else None

    def vocabulary(self, lead: bool = True) -> dict[str, int]:
        """Every word with a letter or a digit that is one token by itself, with its id: no parts of words, no marks."""
        special_ids = self.special_ids
        ids = [i for i in range(len(self.tokenizer)) if i not in special_ids]
        texts = self.tokenizer.batch_decode([[i] for i in ids], clean_up_tokenization_spaces=False)
        words = [text.strip() for text in texts]
        spaced_words = [self.space + word if lead else word for word in words]
        encoded_ids = self.tokenizer(spaced_words, add_special_tokens=False, verbose=False)["input_ids"]
        return {
            word: i
            for i, word, word_ids in zip(ids, words, encoded_ids, strict=True)
            if list(word_ids) == [i] and any(letter.isalnum() for letter in word)
        }

    def word_ids(self, word: str) -> list[int]:
        """As `words` of one word; of the name of a special token that token."""
        is_special = word in self.tokenizer.all_special_tokens
        return [int(self.tokenizer.convert_tokens_to_ids(word))] if is_special else self.words([word])[0]

    def _frame(self, segments: int) -> Frame:
        """Read off how the tokenizer frames its input, instead of keeping a table of families."""
        a, b = self.encode("a"), self.encode("b")
        ids = list(self.tokenizer(*["a", "b"][:segments], add_special_tokens=True)["input_ids"])
        types = list(self.tokenizer(*["a", "b"][:segments], return_token_type_ids=True)["token_type_ids"])
        first = next(i for i in range(len(ids)) if ids[i : i + len(a)] == a)
        end = first + len(a)
        end_ids = [self.end_id] if self.decodes and self.end_id is not None else []
        if segments == 1:
            return Frame(tuple(ids[:first]), (), tuple(ids[end:] or end_ids), (types[first],), (), types[-1])
        second = next(i for i in range(end, len(ids)) if ids[i : i + len(b)] == b)
        separator = [] if second > end else self.encode("\n") if self.causal else end_ids
        return Frame(
            before=tuple(ids[:first]),
            between=tuple(separator or ids[end:second]),
            after=tuple(ids[second + len(b) :] or end_ids),
            types=(types[first], types[second]),
            between_types=tuple([types[first]] * len(separator) or types[end:second]),
            after_type=types[-1],
        )
