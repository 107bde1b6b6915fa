"""Templates against the tokenizers they imitate: frames, truncation, windows; and PET's patterns, word for word."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import yaml
from tokenizers import Tokenizer, models, normalizers
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ptune.batch import IGNORED, NOWHERE, Draw, Example, Windows
from ptune.leaves import leaf
from ptune.templates import Part, lost_labels, shorten
from ptune.templates.pattern import Pattern, parse
from ptune.templates.plain import Plain
from ptune.tokens import Tokens

ROOT = Path(__file__).parents[1]
NO_DRAW = Draw(0, 0)
TEXTS = [
    "The old mill stands by the river.",
    "A dog sleeps in front of the house",
    "Oslo",
    "Is it far? Yes!",
    "Anna  Berg works for Nordwind , in Oslo.",
    '"a", "b" and "c"',
    "caf\u00e9 \u4e2d\u6587 na\u00efve",
    "",
]
WORDS = "Anna Berg works for Nordwind in Oslo , not far from the old mill by the river .".split()  # noqa: SIM905
PAIR = ["premise", "hypothesis"]


@pytest.fixture(scope="module", params=["bert_folder", "roberta_folder"])
def tokenizer(request):
    """The tokenizers of both families, byte-level and not."""
    return AutoTokenizer.from_pretrained(str(request.getfixturevalue(request.param)))


@pytest.fixture(scope="module")
def bert(bert_folder):
    """BERT's tokenizer alone."""
    return AutoTokenizer.from_pretrained(str(bert_folder))


def only(template, fields: dict, max_len: int = 128, target=None):
    """The one row of an example."""
    rows = template.rows(template.parts(0, Example("0", fields), target), NO_DRAW, max_len)
    assert len(rows) == 1
    return rows[0]


# plain, against the tokenizer's own encoding


@pytest.mark.parametrize("text", TEXTS)
def test_plain_text(tokenizer, text):
    """One text."""
    row = only(Plain(Tokens(tokenizer), ["text"]), {"text": text})
    expected = tokenizer(text, return_token_type_ids=True)
    assert list(row.ids) == expected["input_ids"]
    assert list(row.types) == expected["token_type_ids"]
    assert row.read == {"cls": [0]}
    assert not row.cut


@pytest.mark.parametrize("a", TEXTS)
@pytest.mark.parametrize("b", TEXTS[:-1])  # the tokenizer takes an empty second text for none
def test_plain_pair(tokenizer, a, b):
    """Two texts: separators and token types are the family's."""
    row = only(Plain(Tokens(tokenizer), PAIR), {"premise": a, "hypothesis": b})
    expected = tokenizer(a, b, return_token_type_ids=True)
    assert list(row.ids) == expected["input_ids"]
    assert list(row.types) == expected["token_type_ids"]


def test_frames(tokenizer):
    """BERT's second segment has type 1; RoBERTa puts two separators between and knows one type."""
    frame = Tokens(tokenizer).frames[2]
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in ("[CLS]", "[SEP]", "<s>", "</s>")}
    if tokenizer.cls_token == "[CLS]":
        assert (frame.before, frame.between, frame.after) == (
            (ids["[CLS]"],),
            (ids["[SEP]"],),
            (ids["[SEP]"],),
        )
        assert (frame.types, frame.between_types, frame.after_type, len(frame)) == ((0, 1), (0,), 1, 3)
    else:
        assert (frame.before, frame.between, frame.after) == (
            (ids["<s>"],),
            (ids["</s>"],) * 2,
            (ids["</s>"],),
        )
        assert (frame.types, frame.between_types, frame.after_type, len(frame)) == ((0, 0), (0, 0), 0, 4)


def test_truncation_is_longest_first(tokenizer):
    """Pairs of every relation of lengths are cut as the tokenizer itself cuts them, down to a few tokens."""
    rng = random.Random(3)
    template = Plain(Tokens(tokenizer), PAIR)
    cut = 0
    for _ in range(300):
        fields = {name: " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 20))) for name in PAIR}
        most = rng.randint(7, 50)
        row = only(template, fields, most)
        expected = tokenizer(*fields.values(), truncation="longest_first", max_length=most, return_token_type_ids=True)
        assert list(row.ids) == expected["input_ids"], (fields, most)
        assert list(row.types) == expected["token_type_ids"]
        whole = tokenizer(*fields.values())["input_ids"]
        assert row.cut == (len(whole) > most)
        cut += row.cut
    assert 50 < cut < 290


def test_single_text_truncation(tokenizer):
    """One text is cut at its end."""
    text = " ".join(WORDS * 3)
    row = only(Plain(Tokens(tokenizer), ["text"]), {"text": text}, 11)
    assert list(row.ids) == tokenizer(text, truncation=True, max_length=11)["input_ids"]
    assert row.cut


def test_shorten():
    """The longest text loses first; of two cut alike the shorter one; other kinds lose nothing."""

    def lengths(*parts: tuple[str, int], budget: int) -> list[int]:
        return [len(part.ids) for part in shorten([Part(kind, [0] * n) for kind, n in parts], budget)]

    assert lengths(("text", 9), ("literal", 50), ("text", 4), budget=8) == [4, 50, 4]
    assert lengths(("text", 9), ("text", 4), budget=7) == [4, 3]
    assert lengths(("text", 4), ("text", 9), budget=7) == [3, 4]
    assert lengths(("text", 9), ("text", 9), budget=7) == [3, 4]
    assert lengths(("text", 9), ("text", 9), ("text", 2), budget=9) == [3, 4, 2]
    assert lengths(("text", 3), ("text", 2), budget=5) == [3, 2]
    assert lengths(("text", 3), ("text", 2), budget=1) == [1, 0]


def test_plain_slots_and_mask(tokenizer):
    """Slots stand right after the first special token, the mask at the end of the last text; both outlive cutting."""
    tokens = Tokens(tokenizer)
    template = Plain(tokens, PAIR, slots=3, mask=True)
    fields = {"premise": " ".join(WORDS), "hypothesis": "Oslo is far ."}
    for most in (128, 20, 8):
        row = only(template, fields, most)
        assert list(row.slots) == [1, 2, 3]
        assert [row.ids[i] for i in row.slots] == [tokens.unk_id] * 3
        assert [row.ids[i] for i in row.read["mask"]] == [tokens.mask_id]
        assert row.read["mask"] == [len(row.ids) - len(tokens.frames[2].after) - 1]
        assert len(row.ids) - 3 <= most


# words


def read_words(rows) -> dict[int, tuple[int, int]]:
    """Word -> (row, position of its first sub-token); a word that two rows read is a mistake."""
    found: dict[int, tuple[int, int]] = {}
    for number, row in enumerate(rows):
        for offset, position in enumerate(row.read["words"]):
            assert row.start + offset not in found
            found[row.start + offset] = number, position
    return found


def test_words_first_sub_tokens(bert):
    """The positions that are read are the tokenizer's first of each word."""
    sentence = [*WORDS, "unbelievably", "sub-tokens"]
    row = only(Plain(Tokens(bert), ["tokens"]), {"tokens": sentence}, target=list(range(len(sentence))))
    expected = bert(sentence, is_split_into_words=True)
    assert list(row.ids) == expected["input_ids"]
    ids = expected.word_ids()
    assert row.read["words"] == [ids.index(word) for word in range(len(sentence))]
    assert list(row.target) == list(range(len(sentence)))
    assert row.labels == len(sentence)


def test_words_byte_level(roberta_folder):
    """Every word is tokenized as after a space, as `add_prefix_space` does it."""
    spaced = AutoTokenizer.from_pretrained(str(roberta_folder))
    tokens = Tokens(AutoTokenizer.from_pretrained(str(roberta_folder)))
    row = only(Plain(tokens, ["tokens"]), {"tokens": WORDS})
    expected = spaced("".join(" " + word for word in WORDS))
    assert list(row.ids) == expected["input_ids"]
    starts = [i for i, token in enumerate(spaced.convert_ids_to_tokens(row.ids)) if token.startswith("\u0120")]
    assert row.read["words"] == starts


def test_words_without_pieces(bert):
    """A word of characters that the tokenizer drops becomes [UNK] and keeps its label."""
    for odd in ("\u200b", "\u00ad", "", "\u2028", "\ufe0f"):
        row = only(Plain(Tokens(bert), ["tokens"]), {"tokens": ["Anna", odd, "works"]}, target=[1, 0, 2])
        assert [row.ids[i] for i in row.read["words"]][1] == bert.unk_token_id
        assert len(row.read["words"]) == row.labels == 3


@pytest.mark.parametrize("seed", range(40))
def test_windows(tokenizer, seed):
    """Every word is read exactly once, where it starts, and no row is too long; the labels follow the words."""
    rng = random.Random(seed)
    sentence = [rng.choice([*WORDS, "unbelievably-long", "\u4e2d\u6587"]) for _ in range(rng.randint(1, 90))]
    target = [rng.choice([0, 1, 2, IGNORED]) for _ in sentence]
    most = rng.randint(12, 40)
    tokens = Tokens(tokenizer)
    template = Plain(tokens, ["tokens"])
    rows = template.rows(template.parts(7, Example("x", {"tokens": sentence}), target), NO_DRAW, most)
    assert all(len(row.ids) <= most and row.example == 7 and len(row.ids) == len(row.types) for row in rows)
    found = read_words(rows)
    assert sorted(found) == list(range(len(sentence)))
    firsts = [pieces[0] for pieces in tokens.words(sentence)]
    assert [rows[found[word][0]].ids[found[word][1]] for word in sorted(found)] == firsts
    assert [label for row in rows for label in row.target] == target
    assert sum(row.labels for row in rows) == sum(label != IGNORED for label in target)
    assert lost_labels(rows, target) == 0


def test_windows_have_context(bert):
    """Windows but the first begin with words that are not read, about a quarter of the row."""
    template = Plain(Tokens(bert), ["tokens"])
    rows = template.rows(template.parts(0, Example("x", {"tokens": ["the"] * 40}), None), NO_DRAW, 22)
    assert [len(row.read["words"]) for row in rows] == [20, 15, 5]
    assert [row.read["words"][0] for row in rows] == [1, 6, 6]
    assert [row.start for row in rows] == [0, 20, 35]


def test_window_of_one_giant_word(tokenizer):
    """A word longer than a row is cut inside, and its neighbors are read all the same."""
    tokens = Tokens(tokenizer)
    sentence = ["Anna", "x-" * 60, "works", "x-" * 60]
    template = Plain(tokens, ["tokens"])
    rows = template.rows(template.parts(0, Example("x", {"tokens": sentence}), [1, 2, 3, 4]), NO_DRAW, 16)
    assert all(len(row.ids) <= 16 for row in rows)
    found = read_words(rows)
    assert sorted(found) == [0, 1, 2, 3]
    assert [row.cut for row in rows] == [any(word in (1, 3) for word in read_words([row])) for row in rows]
    firsts = [pieces[0] for pieces in tokens.words(sentence)]
    assert [rows[found[word][0]].ids[found[word][1]] for word in sorted(found)] == firsts


def test_overflow_truncate(tokenizer):
    """One row with the words that fit; the labels of the others are counted as lost."""
    tokens = Tokens(tokenizer)
    template = Plain(tokens, ["tokens"], overflow="truncate")
    target = [0] * len(WORDS)
    target[-1] = IGNORED
    row = only(template, {"tokens": WORDS}, 12, target)
    pieces = [len(ids) for ids in tokens.words(WORDS)]
    fit = max(n for n in range(len(WORDS)) if sum(pieces[:n]) <= 12 - len(tokens.frames[1]))
    assert len(row.read["words"]) == row.labels == fit
    assert row.cut
    assert not only(template, {"tokens": WORDS}, 12 + sum(pieces), target).cut
    assert lost_labels([row], target) == len(WORDS) - 1 - fit
    assert lost_labels([row], None) == lost_labels([row], 1) == 0


# patterns


def task(name: str) -> dict:
    return yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8"))


FIELDS = {"premise": "The dog sleeps in the old house.", "hypothesis": "The dog sleeps."}
QUOTED = '[CLS] " the dog sleeps " ? [SEP] [MASK]'
RENDERED = {
    "pet0": f'{QUOTED}, " the dog sleeps in the old house. " [SEP]',
    "pet1": "[CLS] the dog sleeps? [SEP] [MASK], the dog sleeps in the old house. [SEP]",
    "pet2": f'{QUOTED}. " the dog sleeps in the old house. " [SEP]',
    "pet3": "[CLS] the dog sleeps? [SEP] [MASK]. the dog sleeps in the old house. [SEP]",
}
RTE = {
    "pet4": "[CLS] the dog sleeps in the old house. question: the dog sleeps. true or false? answer: [MASK] [SEP]",
    "ptuning": "[CLS] the dog sleeps in the old house. question: the dog sleeps? answer: [MASK]. [SEP]",
}
CB = {
    "pet4": "[CLS] the dog sleeps in the old house. question: "
    "the dog sleeps. true, false or neither? answer: [MASK] [SEP]",
    "ptuning": "[CLS] the dog sleeps in the old house. [SEP] the dog sleeps.? answer: [MASK] [SEP]",
}


def decoded(tokenizer, ids) -> str:
    """Ids as text, with one form of spacing for the punctuation that decoders space differently."""
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    for mark in ".,?:":
        text = text.replace(f" {mark}", mark)
    return text


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        (name, pattern, text)
        for name, own in (("rte", RTE), ("cb", CB))
        for pattern, text in {**RENDERED, **own}.items()
    ],
)
def test_patterns(bert, name, pattern, expected):
    """The shipped patterns of RTE and CB, as the papers have them."""
    expected = expected.replace(' " ?', ' "?')
    template = Pattern(Tokens(bert), PAIR, task(name)["patterns"], pattern, mask=True)
    row = only(template, FIELDS)
    assert decoded(bert, row.ids) == expected
    assert [row.ids[i] for i in row.read["mask"]] == [bert.mask_token_id]
    separators = [i for i, token in enumerate(row.ids) if token == bert.sep_token_id]
    if len(separators) == 2:
        assert list(row.types) == [0] * (separators[0] + 1) + [1] * (len(row.ids) - separators[0] - 1)
    else:
        assert set(row.types) == {0}


def test_pattern_spacing_byte_level(roberta_folder):
    """Byte-level vocabularies see spaces: words inside keep theirs, and the mask takes its own away from the label."""
    tokenizer = AutoTokenizer.from_pretrained(str(roberta_folder))
    template = Pattern(Tokens(tokenizer), PAIR, task("rte")["patterns"], "pet4", mask=True)
    row = only(template, FIELDS)
    assert tokenizer.decode(row.ids, clean_up_tokenization_spaces=False) == (
        "<s>The dog sleeps in the old house. question: The dog sleeps. True or False? answer:<mask></s>"
    )
    assert template.mask_lead


def test_words_at_a_mask_begin_as_after_a_space(roberta_folder):
    """Wherever it stands, as in PET's and LM-BFF's code; of a causal model only where one stands before them."""
    tokenizer = AutoTokenizer.from_pretrained(str(roberta_folder))
    masked, causal = Tokens(tokenizer), Tokens(tokenizer, causal=True)
    patterns = {"first": {"text": "{mask}: {premise}"}, "last": {"text": "{premise}{mask}"}}
    assert [Pattern(masked, PAIR, patterns, name, mask=True).mask_lead for name in patterns] == [True, True]
    assert not Pattern(causal, PAIR, patterns, "last", mask=True).mask_lead


def test_every_shipped_pattern_parses():
    """Each names its task's fields; where masks are read it has one, and words for the labels if there are any."""
    for path in sorted((ROOT / "conf/task").glob("*.yaml")):
        node = task(path.stem)
        for name, pattern in node.get("patterns", {}).items():
            made = leaf(node)
            own = made.masked != "label" or made.readout == "word"
            pieces = parse(pattern["text"], [*made.fields, *made.beside])
            named = {piece.text for piece in pieces if piece.kind == "field"}
            assert (named and own) or named == set(made.fields), (path.stem, name)
            assert sum(piece.kind == "mask" for piece in pieces) == (own or "verbalizers" in node), (path.stem, name)
            if "verbalizers" in node:
                assert set(node["verbalizers"][pattern["verbalizer"]]) == set(made.labels)


PAIRS = {"premise": "A man sleeps.", "hypothesis": "He rests."}
NEWS = {"title": "Cup final", "description": "They won."}
ASKED = {"paragraph": "Anna met Bo.", "question": "Who met Bo?", "answer": "Anna"}
TOLD = {"question": "is it wet", "passage": "It rains"}
SENSES = {"sentence1": "A bank lends.", "sentence2": "A bank is high.", "word": "bank"}
FALL = {"premise": "The man fell.", "choice1": "He slipped.", "choice2": "He ran."}
PRONOUN = {"marked": "Bo left when *he* won.", "text": "Bo left when he won.", "pronoun": "he", "candidate": "Bo"}
GAP = {"passage": "Bo met Anna.", "query": "The house of @placeholder's friend.", "entities": ["Anna", "Bo"]}
PUBLISHED = {  # of pet/pvp.py, a part with a space to the next; _ is the mask, | parts two segments
    "boolq": (
        TOLD,
        *["It rains. Question: is it wet? Answer: _."] * 2,
        *["It rains. Based on the previous passage, is it wet? _."] * 2,
        *["Based on the following passage, is it wet? _. It rains"] * 2,
    ),
    "multirc": (
        ASKED,
        "Anna met Bo.. Question: Who met Bo?? Is it Anna? _.",
        'Anna met Bo.. Question: Who met Bo?? Is the correct answer "Anna"? _.',
        'Anna met Bo.. Based on the previous passage, Who met Bo?? Is "Anna" a correct answer? _.',
        "Anna met Bo. Who met Bo? - [_] Anna",
    ),
    "wic": (
        SENSES,
        '"A bank lends." / "A bank is high." Similar sense of "bank"? _.',
        "A bank lends. A bank is high. Does bank have the same meaning in both sentences? _",
        'bank . Sense (1) (a) "A bank lends." (_) "A bank is high."',
    ),
    "agnews": (
        NEWS,
        "_: Cup final They won.",
        "_ News: Cup final They won.",
        "Cup final (_) They won.",
        "Cup final They won. (_)",
        "[ Category: _ ] Cup final They won.",
        "_ - Cup final They won.",
    ),
    "mnli": (PAIRS, *['"A man sleeps" ?|_, "He rests."', "A man sleeps?|_, He rests."] * 2),
    "rte": (
        PAIRS,
        '"He rests" ?|_, "A man sleeps."',
        "He rests?|_, A man sleeps.",
        '"He rests" ?|_. "A man sleeps."',
        "He rests?|_. A man sleeps.",
        "A man sleeps. question: He rests. True or False? answer: _",
    ),
    "copa cause": (
        {**FALL, "question": "cause"},
        '"he slipped" or "he ran"? The man fell because _.',
        "he slipped or he ran? The man fell because _.",
    ),
    "copa effect": (
        {**FALL, "question": "effect"},
        '"he slipped" or "he ran"? The man fell, so _.',
        "he slipped or he ran? The man fell, so _.",
    ),
    "wsc": (
        PRONOUN,
        "Bo left when *he* won. The pronoun '*he*' refers to _.",
        "Bo left when *he* won. In the previous sentence, the pronoun '*he*' refers to _.",
        "Bo left when *he* won. Question: In the passage above, what does the pronoun '*he*' refer to? Answer: _.",
    ),
    "record": (GAP, "Bo met Anna. The house of _'s friend."),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_patterns(roberta_folder, name):
    """PET's patterns, by their numbers; all masks of a run are one here."""
    tokenizer = AutoTokenizer.from_pretrained(str(roberta_folder))
    node, (fields, *expected) = task(name.partition(" ")[0]), PUBLISHED[name]
    made = leaf(node)
    shown = made.options(Example("0", fields))[0] if made.masked != "label" else Example("0", fields)
    known = [*made.fields, *made.beside]
    assert [each for each in node["patterns"] if each.startswith("pet")] == [f"pet{i}" for i in range(len(expected))]
    for number, text in enumerate(expected):
        patterns = node["patterns"]
        template = Pattern(Tokens(tokenizer), known, patterns, f"pet{number}", mask=True, masked=made.masked)
        (row,) = template.rows(template.parts(0, shown, None), NO_DRAW, 128)
        said = tokenizer.decode(row.ids, clean_up_tokenization_spaces=False)
        said = re.sub("(<mask>)+", "_", said).replace("</s></s>", "|").replace("<s>", "").replace("</s>", "")
        assert said == text.replace(" _", "_")  # the mask's own token has the space


def test_pattern_forms(bert):
    """bare drops final punctuation, lower the first capital alone."""
    patterns = {"p": {"text": "{premise:bare}: {hypothesis:lower} {mask}"}}
    row = only(Pattern(Tokens(bert), PAIR, patterns, mask=True), {"premise": "In Oslo?!. ", "hypothesis": "The DOG."})
    assert decoded(bert, row.ids) == "[CLS] in oslo: the dog. [MASK] [SEP]"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "{premis} {mask}",
            "'{premis}' is neither a field nor a mark; known: {premise}, {hypothesis}, {mask}, {prompt}, {sep}",
        ),
        (
            "{premise:upper}",
            "'{premise:upper}' is neither a field nor a mark; known: {premise}, {hypothesis}, {mask}, {prompt}, {sep}",
        ),
        ("{premise}{sep}{hypothesis}{sep}{mask}", "a pattern has at most two segments, so at most one {sep}"),
    ],
)
def test_pattern_errors(pattern, message):
    """Wrong patterns are refused by name."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the text is compared below
        parse(pattern, PAIR)
    assert str(caught.value) == message


@pytest.mark.parametrize("most", [14, 16, 20, 25])
def test_pattern_keeps_what_is_not_text(tokenizer, most):
    """Literal words, mask and slots are never cut; the texts give way."""
    patterns = {"p": {"text": "{premise} Question: {hypothesis:bare}? {prompt} Answer: {mask}."}}
    tokens = Tokens(tokenizer)
    template = Pattern(tokens, PAIR, patterns, slots=4, mask=True)
    fields = {"premise": " ".join(WORDS * 2), "hypothesis": " ".join(WORDS)}
    parts = template.parts(0, Example("0", fields), 0)
    fixed = [list(part.ids) for part in parts.parts if part.kind in ("literal", "mask")]
    least = sum(len(ids) for ids in fixed) + len(tokens.frames[1])
    row = template.rows(parts, NO_DRAW, least + most)[0]
    assert len(row.ids) == least + most + 4  # slots stand beside the limit, as positions are theirs by the prompt
    rest = list(row.ids)
    for ids in fixed:
        at = next(i for i in range(len(rest)) if rest[i : i + len(ids)] == ids)
        rest = rest[at + len(ids) :]
    assert len(row.slots) == 4
    assert row.cut
    assert [row.ids[i] for i in row.read["mask"]] == [tokens.mask_id]


@pytest.mark.parametrize(
    ("text", "slots", "shares"),
    [
        ("{prompt} {premise} {prompt} {mask}", 5, [3, 2]),
        ("{prompt} {premise} {prompt} {mask} {prompt}", 4, [2, 1, 1]),
        ("{prompt} {premise} {prompt} {mask}", 1, [1, 0]),
        ("{premise} {mask}", 3, [3]),  # no place named: in front
        ("{prompt} {premise} {mask}", 0, [0]),
    ],
)
def test_slots(bert, text, slots, shares):
    """Slots are shared out over the {prompt} marks, the first ones getting more; all are listed in order."""
    template = Pattern(Tokens(bert), PAIR, {"p": {"text": text}}, slots=slots, mask=True)
    row = only(template, {"premise": "a b c", "hypothesis": "d"})
    runs: list[list[int]] = []
    for slot in row.slots:
        if runs and runs[-1][-1] == slot - 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    assert [len(run) for run in runs] == [share for share in shares if share]
    assert len(row.slots) == slots
    if slots:
        assert row.slots[0] == 1


def test_slots_choose_the_pattern():
    """With pseudo tokens the first pattern that has a place for them is taken, without them the first."""
    patterns = task("rte")["patterns"]

    class Any:
        unk_id, mask_id, causal, decodes = 1, 2, False, False

    assert Pattern(Any(), PAIR, patterns, slots=3).name == "ptuning"
    assert Pattern(Any(), PAIR, patterns).name == "pet0"
    assert Pattern(Any(), PAIR, patterns, name="pet2", slots=3).name == "pet2"


# Models that predict the next token


@pytest.fixture(scope="module", params=["gpt2_folder", "llama_folder"])
def causal(request):
    """Of no frame, and with a token before each text."""
    return Tokens(AutoTokenizer.from_pretrained(str(request.getfixturevalue(request.param))), causal=True)


@pytest.mark.parametrize(
    ("given", "start", "unknown"),
    [
        ({"bos_token": "a", "unk_token": "b", "pad_token": "c", "eos_token": "d"}, "a", "b"),
        ({"unk_token": "b", "pad_token": "c", "eos_token": "d"}, "b", "b"),
        ({"pad_token": "c", "eos_token": "d"}, "c", "c"),  # as Qwen3's
        ({"eos_token": "d"}, "d", "d"),
        ({}, "first", "first"),
    ],
    ids=lambda given: ",".join(given) if isinstance(given, dict) else given,
)
def test_what_stands_for_a_start_and_an_unknown_word(given, start, unknown):
    """Where a tokenizer has none of its own: padding, else the end, and the first word of all last."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["first", "b", "c", "d", "a"])}, "first"))
    words.pre_tokenizer = WhitespaceSplit()
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_object=words, **given), causal=True)
    ids = tokens.tokenizer.get_vocab()
    assert (tokens.start_id, tokens.unk_id) == (ids[start], ids[unknown])


@pytest.mark.parametrize("text", TEXTS)
def test_a_causal_row_is_read_at_its_end(causal, text):
    """The tokenizer's own ids; of nothing one token is read."""
    row = only(Plain(causal, ["text"]), {"text": text})
    assert list(row.ids) == (causal.tokenizer(text)["input_ids"] or [causal.start_id])
    assert row.read["cls"] == row.read["mask"] == [len(row.ids) - 1]


@pytest.mark.parametrize("most", [12, 112])
def test_a_causal_context_ends_with_a_token_that_says_no_answer(causal, most):
    """Which is none of the context's, in every window."""
    windows = Windows("context", stride=2, limit=8, longest=5)
    template = Plain(causal, ["question", "context"], windows=windows)
    fields = {"question": "Who?", "context": "The old mill stands by the river."}
    rows = template.rows(template.parts(0, Example("0", fields), NOWHERE), NO_DRAW, most)
    assert (len(rows) > 1) == (most == 12)
    for row in rows:
        assert row.read["cls"] == [len(row.ids) - 1]
        assert row.read["cls"][0] not in row.read["context"]
        assert row.ids[-1] == causal.encode("\n")[-1]
        assert len(row.ids) <= most


def test_words_of_a_vocabulary_that_puts_a_space_before_every_text(llama_folder):
    """As Llama 2's, beside one that is there: a word is its own pieces, without a space alone in front."""
    tokenizer = AutoTokenizer.from_pretrained(str(llama_folder))
    pieces = Tokenizer(models.BPE({"\u2581": 0, "a": 1, "b": 2, "\u2581a": 3}, [("\u2581", "a")]))
    pieces.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    assert Tokens(tokenizer, causal=True).space == " "
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_object=pieces), causal=True)
    assert tokens.tokenizer.tokenize(" a") == ["\u2581", "\u2581a"]
    assert tokens.words(["a", "ab"]) == [[3], [3, 2]]
    assert tokens.encode("a", lead=True) == [3]
    ids, offsets = tokens.located("ab", lead=True)
    assert ids == [3, 2]
    assert offsets.tolist() == [[0, 1], [1, 2]]


def test_two_causal_segments_are_lines_unless_the_tokenizer_parts_them(causal):
    row = only(Plain(causal, PAIR), {"premise": "The mill stands.", "hypothesis": "It stands."})
    both = causal.tokenizer("The mill stands.", "It stands.")["input_ids"]
    lines = [*causal.encode("The mill stands."), *causal.encode("\n"), *causal.encode("It stands.")]
    assert list(row.ids) == (both if causal.frames[1].before else lines)


@pytest.mark.parametrize("ending", ["", ".", " or not."])
def test_a_causal_pattern_ends_where_its_mask_stands(causal, ending):
    """The token that stands for the mask is predicted from the one before it."""
    text = "{premise} Question: {hypothesis} Answer: {mask}"
    template = Pattern(causal, PAIR, {"only": {"text": text + ending}})
    row = only(template, {"premise": "The mill stands.", "hypothesis": "Does it stand?"})
    ids = [
        *causal.frames[1].before,
        *causal.encode("The mill stands."),
        *causal.encode(" Question:"),
        *causal.encode(" Does it stand?"),
        *causal.encode(" Answer:"),
    ]
    assert list(row.ids) == ids
    assert row.read["mask"] == [len(ids) - 1]


def test_a_causal_pattern_is_one_that_says_all_before_its_mask(causal):
    patterns = {
        "first": {"text": "{mask}: {premise}"},
        "middle": {"text": "{premise}? {mask}, {hypothesis}"},
        "slots": {"text": "{premise} {hypothesis} {mask} {prompt}"},
        "last": {"text": "{premise} {hypothesis} {mask}."},
    }
    assert Pattern(causal, PAIR, patterns).name == "last"
    assert Pattern(causal, PAIR, patterns, slots=2).name == "last"
