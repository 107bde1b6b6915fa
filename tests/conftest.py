"""Checkpoints of a few kilobytes with random weights, hand-made examples, and a run's wiring in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import hydra
import pytest
from command_line import Result, call
from memory import Memory
from omegaconf import DictConfig

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the programs that tests start

ROOT = Path(__file__).parents[1]
SENTENCES = [
    "The old mill stands by the river.",
    "A dog sleeps in front of the house.",
    "Anna Berg works for Nordwind in Oslo.",
    "Does the premise entail the hypothesis? Yes. No. Maybe.",
    "The river is not far from the old house, is it?",
    "true or false: nobody lives in the mill",
    "Question: does Anna live in Oslo? Answer: Yes No Maybe true false neither",
    'The words "a", "b" and "c" stand alone.',
]
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
}
LAYERS, HEADS, HIDDEN, POSITIONS = 4, 4, 32, 192


TOGETHER = ("commands", "hub", "multitask", "pet", "run", "texts", "together", "track", "voting", "wheel")
DEMO = {"root", "large"}  # the fixtures that write the whole demo world
# Of the cases of each test in these files every n-th is in every run of the tests, and the others are slow. Of tests
# with several left, and of those in other files, it is half as many.
FEWER = {
    **{"backbones": 8, "combinations": 12, "compat": 6, "demonstrations": 3, "encoder_decoder": 3, "errors": 3},
    **{"every_task": 6, "export": 3, "masks": 2, "peft_adapter": 3, "search": 2, "texts": 2},
    **{"demo_answers": 2, "demo_difficulty": 4, "demo_files": 8, "demo_shortcuts": 6, "demo_text": 4},
    **{"classic": 3, "fewglue": 2, "fused": 3, "generation": 2, "glue": 3, "hub": 3, "imports": 2, "launchers": 2},
    **{"loop": 4, "lower": 3, "multitask": 2, "pet": 4, "ptuning": 3, "quantized": 3, "run": 2, "squad": 2, "srl": 3},
    **{"superglue": 4, "voting": 3},
    **{"test_a_train_command_binds": 4, "test_before_a_file_or_a_run_is_opened": 4, "test_completion_in_bash": 4},
    **{"test_conll04_columns": 3, "test_every_kind_of_task_with_patterns_takes_the_variant": 3},
    **{"test_every_table_composes": 6, "test_fewglue_of_the_demo": 4, "test_first_losses": 4, "test_kill_9": 2},
    **{"test_mistakes_are_told_once": 3, "test_noise_damages_no_annotation": 3, "test_on_real_files": 8},
    **{"test_rows_are_the_same": 4, "test_synthetic_data_are_comparable_with_nothing": 3, "test_the_same_examples": 3},
    **{"test_two_ranks_are_one": 2},
}


@pytest.hookimpl(tryfirst=True)  # before slow ones are left out
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Tests that are slow may take as long as they like; what takes long to set up is set up in one process alone."""
    cases: dict[tuple[Path, str], list[pytest.Item]] = {}
    for item in items:
        if hasattr(item, "callspec") and not item.get_closest_marker("slow"):
            cases.setdefault((item.path, item.originalname), []).append(item)
        if (name := item.path.stem.removeprefix("test_")) in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(name))
        elif DEMO & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.xdist_group("demo"))
    for (path, test), each in cases.items():
        of = FEWER.get(test) or FEWER.get(path.stem.removeprefix("test_"), 1)
        if len(each) >= 2 * of:
            of *= 2
        first = crc32(test.encode()) % min(of, len(each))  # not the same of all tests
        for item in {*each} - {*each[first::of]}:
            item.add_marker(pytest.mark.slow)
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests that import torch run on one thread: the bits are the same everywhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real checkpoints and data that is not part of the repository."""
    folder = Path(os.environ.get("PTUNE_TEST_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set PTUNE_TEST_SHARED to the one with models/ and data/")
    return folder


@pytest.fixture
def ptune(capsys, monkeypatch, tmp_path) -> Callable[..., Result]:
    """ptune("ls", "runs"): run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        code = call(*words)
        out, err = capsys.readouterr()
        return Result(code, out.strip(), err.strip())

    return run


# Checkpoints


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory) -> Path:
    """A BERT with its MLM head and without a pooler."""
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("bert")
    vocab = write_bert_tokenizer(folder)
    write_checkpoint(BertForMaskedLM(BertConfig(**sizes(vocab), max_position_embeddings=POSITIONS)), folder)
    return folder


@pytest.fixture(scope="session")
def pooled_bert_folder(tmp_path_factory) -> Path:
    """A BERT with a pooler and without its MLM head."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("pooled_bert")
    vocab = write_bert_tokenizer(folder)
    write_checkpoint(BertModel(BertConfig(**sizes(vocab), max_position_embeddings=POSITIONS)), folder)
    return folder


@pytest.fixture(scope="session")
def roberta_folder(tmp_path_factory) -> Path:
    """A RoBERTa with its MLM head; its positions start at 2."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    folder = tmp_path_factory.mktemp("roberta")
    vocab = write_roberta_tokenizer(folder)
    config = RobertaConfig(
        **sizes(vocab),
        max_position_embeddings=POSITIONS + 2,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    write_checkpoint(RobertaForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def xlm_roberta_folder(tmp_path_factory) -> Path:
    """An XLM-R with its MLM head."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    folder = tmp_path_factory.mktemp("xlm_roberta")
    vocab = write_roberta_tokenizer(folder)
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = XLMRobertaConfig(**sizes(vocab), max_position_embeddings=POSITIONS + 2, type_vocab_size=1, **special)
    write_checkpoint(XLMRobertaForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def electra_folder(tmp_path_factory) -> Path:
    """An ELECTRA generator: embeddings of half the width, and the only kind with an MLM head."""
    from transformers import ElectraConfig, ElectraForMaskedLM

    folder = tmp_path_factory.mktemp("electra")
    vocab = write_bert_tokenizer(folder)
    config = ElectraConfig(**sizes(vocab), embedding_size=HIDDEN // 2, max_position_embeddings=POSITIONS)
    write_checkpoint(ElectraForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def electra_discriminator_folder(tmp_path_factory) -> Path:
    """An ELECTRA discriminator, which has no MLM head."""
    from transformers import ElectraConfig, ElectraForPreTraining

    folder = tmp_path_factory.mktemp("electra_discriminator")
    vocab = write_bert_tokenizer(folder)
    config = ElectraConfig(**sizes(vocab), embedding_size=HIDDEN, max_position_embeddings=POSITIONS)
    write_checkpoint(ElectraForPreTraining(config), folder)
    return folder


@pytest.fixture(scope="session")
def distilbert_folder(tmp_path_factory) -> Path:
    """A DistilBERT with its MLM head."""
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    folder = tmp_path_factory.mktemp("distilbert")
    config = DistilBertConfig(
        vocab_size=write_bert_tokenizer(folder),
        dim=HIDDEN,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=2 * HIDDEN,
        max_position_embeddings=POSITIONS,
    )
    write_checkpoint(DistilBertForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def albert_folder(tmp_path_factory) -> Path:
    """An ALBERT with its MLM head: four applications of one layer, embeddings of half the width."""
    from transformers import AlbertConfig, AlbertForMaskedLM

    folder = tmp_path_factory.mktemp("albert")
    vocab = write_bert_tokenizer(folder)
    config = AlbertConfig(**sizes(vocab), embedding_size=HIDDEN // 2, max_position_embeddings=POSITIONS)
    write_checkpoint(AlbertForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def grouped_albert_folder(tmp_path_factory) -> Path:
    """An ALBERT of two groups of two layers each, all of them different: four applications of attention."""
    from transformers import AlbertConfig, AlbertForMaskedLM

    folder = tmp_path_factory.mktemp("grouped_albert")
    given = sizes(write_bert_tokenizer(folder)) | {"num_hidden_layers": 2, "num_hidden_groups": 2, "inner_group_num": 2}
    config = AlbertConfig(**given, embedding_size=HIDDEN, max_position_embeddings=POSITIONS)
    write_checkpoint(AlbertForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def deberta_folder(tmp_path_factory) -> Path:
    """A DeBERTa with the published MLM head."""
    from transformers import DebertaConfig, DebertaForMaskedLM

    folder = tmp_path_factory.mktemp("deberta")
    vocab = write_bert_tokenizer(folder)
    config = DebertaConfig(**sizes(vocab), **relative(), legacy=False)
    write_checkpoint(DebertaForMaskedLM(config), folder)
    without(folder, "legacy")
    return folder


@pytest.fixture(scope="session")
def deberta_v2_folder(tmp_path_factory) -> Path:
    """A DeBERTa v2 with transformers' own MLM head, projections for positions, and a convolution."""
    from transformers import DebertaV2Config, DebertaV2ForMaskedLM

    folder = tmp_path_factory.mktemp("deberta_v2")
    vocab = write_bert_tokenizer(folder)
    config = DebertaV2Config(**sizes(vocab), **relative(), conv_kernel_size=3, conv_act="gelu", share_att_key=False)
    write_checkpoint(DebertaV2ForMaskedLM(config), folder)
    without(folder, "legacy")
    return folder


@pytest.fixture(scope="session")
def deberta_v3_folder(tmp_path_factory) -> Path:
    """A DeBERTa v3: keys shared with positions, distances in a few buckets, the published MLM head."""
    from transformers import DebertaV2Config, DebertaV2ForMaskedLM

    folder = tmp_path_factory.mktemp("deberta_v3")
    vocab = write_bert_tokenizer(folder)
    shared = {"share_att_key": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm"}
    config = DebertaV2Config(**sizes(vocab), **relative(), **shared, legacy=False)
    write_checkpoint(DebertaV2ForMaskedLM(config), folder)
    without(folder, "legacy")
    return folder


@pytest.fixture(scope="session")
def modernbert_folder(tmp_path_factory) -> Path:
    """A ModernBERT with its MLM head, tied as published: layers 2 and 3 of four see two tokens to either side."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    folder = tmp_path_factory.mktemp("modernbert")
    vocab = write_bert_tokenizer(folder)
    special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    config = ModernBertConfig(**sizes(vocab), max_position_embeddings=POSITIONS, local_attention=4, **special)
    write_checkpoint(ModernBertForMaskedLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory) -> Path:
    """A GPT-2; its head is tied."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    shape = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS}
    config = GPT2Config(vocab_size=write_gpt2_tokenizer(folder), bos_token_id=0, eos_token_id=0, **shape)
    write_checkpoint(GPT2LMHeadModel(config), folder)
    return folder


@pytest.fixture(scope="session")
def opt_folder(tmp_path_factory) -> Path:
    """An OPT, whose texts begin with </s>."""
    from transformers import OPTConfig, OPTForCausalLM

    folder = tmp_path_factory.mktemp("opt")
    given = sizes(write_gpt2_tokenizer(folder, before=True))
    given["ffn_dim"] = given.pop("intermediate_size")
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
    config = OPTConfig(**given, **special, max_position_embeddings=POSITIONS, word_embed_proj_dim=HIDDEN)
    config.attention_dropout = 0.1
    write_checkpoint(OPTForCausalLM(config), folder)
    return folder


@pytest.fixture(scope="session")
def gpt_neox_folder(tmp_path_factory) -> Path:
    """A Pythia, of an output layer of its own; a quarter of each head is rotated."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    folder = tmp_path_factory.mktemp("gpt_neox")
    vocab = write_gpt2_tokenizer(folder)
    special = {"bos_token_id": 0, "eos_token_id": 0}
    write_checkpoint(
        GPTNeoXForCausalLM(GPTNeoXConfig(**sizes(vocab), max_position_embeddings=POSITIONS, **special)), folder
    )
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory) -> Path:
    """A Llama, whose texts begin with a token of their own; two query heads share a key head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    vocab = write_gpt2_tokenizer(folder, before=True)
    special = {"bos_token_id": 0, "eos_token_id": 0, "num_key_value_heads": HEADS // 2}
    write_checkpoint(
        LlamaForCausalLM(LlamaConfig(**sizes(vocab), max_position_embeddings=POSITIONS, **special)), folder
    )
    return folder


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory) -> Path:
    """A Qwen3, tied, of heads wider than their share of the states."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("qwen3")
    vocab = write_gpt2_tokenizer(folder)
    shape = {"num_key_value_heads": HEADS // 2, "head_dim": 16, "max_position_embeddings": POSITIONS}
    special = {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": True}
    write_checkpoint(Qwen3ForCausalLM(Qwen3Config(**sizes(vocab), **shape, **special)), folder)
    return folder


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory) -> Path:
    """A T5: its head is tied, its decoder has a layer less."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    write_checkpoint(T5ForConditionalGeneration(T5Config(**text_to_text(write_t5_tokenizer(folder)))), folder)
    return folder


@pytest.fixture(scope="session")
def t5_v1_1_folder(tmp_path_factory) -> Path:
    """A T5 1.1, as it is published: gated, of an output layer of its own, which its config says by not being tied."""
    from torch import nn
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5_v1_1")
    given = text_to_text(write_t5_tokenizer(folder)) | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    model = T5ForConditionalGeneration(T5Config(**given))
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    write_checkpoint(model, folder)
    without(folder, "scale_decoder_outputs")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tie_word_embeddings": False}))
    return folder


def text_to_text(vocab: int) -> dict[str, Any]:
    """What the tiny T5s have in common."""
    return {
        "vocab_size": vocab,
        "d_model": HIDDEN,
        "d_kv": HIDDEN // HEADS,
        "d_ff": 2 * HIDDEN,
        "num_layers": LAYERS,
        "num_decoder_layers": LAYERS - 1,
        "num_heads": HEADS,
        "n_positions": POSITIONS,
        "decoder_start_token_id": 0,
    }


@pytest.fixture(scope="session")
def bart_folder(tmp_path_factory) -> Path:
    """A BART, whose decoder has a layer less."""
    from transformers import BartConfig, BartForConditionalGeneration

    folder = tmp_path_factory.mktemp("bart")
    heads = {f"{stack}_attention_heads": HEADS for stack in ("encoder", "decoder")}
    wide = {f"{stack}_ffn_dim": 2 * HIDDEN for stack in ("encoder", "decoder")}
    depth = {"encoder_layers": LAYERS, "decoder_layers": LAYERS - 1, "max_position_embeddings": POSITIONS}
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    vocab = write_roberta_tokenizer(folder)
    config = BartConfig(vocab_size=vocab, d_model=HIDDEN, **heads, **wide, **depth, **special)
    write_checkpoint(BartForConditionalGeneration(config), folder)
    return folder


def relative() -> dict[str, Any]:
    """The relative positions of the published DeBERTa checkpoints."""
    return {
        "relative_attention": True,
        "pos_att_type": "c2p|p2c",
        "position_biased_input": False,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 0,
    }


def without(folder: Path, key: str) -> None:
    """Take a key out of config.json, as published ones lack it."""
    path = folder / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))


def sizes(vocab: int) -> dict[str, int]:
    """What the tiny models of both families have in common."""
    return {
        "vocab_size": vocab,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * HIDDEN,
    }


def write_checkpoint(model: Any, folder: Path) -> None:
    """Save with weights large enough that every part of the model matters to its output."""
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if name.lower().endswith("norm.weight") else 0.0
            std = 0.25 if parameter.dim() > 1 else 0.1
            std = std / (HIDDEN // HEADS) ** 0.5 if name.endswith(".q.weight") else std  # T5 does not scale its scores
            parameter.copy_(centre + std * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)


def write_bert_tokenizer(folder: Path) -> int:
    """A WordPiece vocabulary with its frame of [CLS] and [SEP]; returns its size."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = SPECIAL["bert"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=160, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    pad, unk, cls, sep, mask = special
    return save_tokenizer(
        tokenizer, folder, pad_token=pad, unk_token=unk, cls_token=cls, sep_token=sep, mask_token=mask
    )


def write_roberta_tokenizer(folder: Path) -> int:
    """A byte-level BPE vocabulary with RoBERTa's frame of <s> and </s>; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = SPECIAL["roberta"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    bos, pad, eos, unk, mask = special
    ids = {token: tokenizer.token_to_id(token) for token in special}
    tokenizer.post_processor = processors.RobertaProcessing((eos, ids[eos]), (bos, ids[bos]), add_prefix_space=False)
    return save_tokenizer(
        tokenizer,
        folder,
        pad_token=pad,
        unk_token=unk,
        cls_token=bos,
        sep_token=eos,
        mask_token=mask,
        bos_token=bos,
        eos_token=eos,
    )


def write_gpt2_tokenizer(folder: Path, before: bool = False) -> int:
    """A byte-level BPE vocabulary without a frame, or with one token `before` each text; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    end, pad = special = ["<|endoftext|>", "<pad>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if before:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{end} $A", pair=f"{end} $A {end} $B", special_tokens=[(end, 0)]
        )
        return save_tokenizer(tokenizer, folder, bos_token=end, eos_token=end, pad_token=pad)
    return save_tokenizer(tokenizer, folder, bos_token=end, eos_token=end, unk_token=end)


def write_t5_tokenizer(folder: Path) -> int:
    """A byte-level BPE vocabulary in T5's frame, with three sentinels; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = pad, end, unknown = ["<pad>", "</s>", "<unk>"]
    sentinels = [f"<extra_id_{i}>" for i in range(3)]
    tokenizer = Tokenizer(models.BPE(unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.add_special_tokens(sentinels[::-1])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, 1)]
    )
    return save_tokenizer(
        tokenizer, folder, pad_token=pad, eos_token=end, unk_token=unknown, additional_special_tokens=sentinels
    )


def save_tokenizer(tokenizer: Any, folder: Path, **special: Any) -> int:
    """Write it as transformers does; returns the size of the vocabulary."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(str(folder))
    return int(tokenizer.get_vocab_size())


# Settings and examples


@pytest.fixture(scope="session")
def settings() -> Callable[..., Any]:
    """settings("method=ptv2", ...): what `ptune train` would run with; raises ConfigError as it would."""
    from ptune import build, config

    config.register()

    known: dict[tuple[str, ...], DictConfig] = {}

    def compose(*overrides: str) -> Any:
        with hydra.initialize_config_module("ptune.conf", version_base="1.3"):
            if overrides not in known:
                known[overrides] = hydra.compose("train", overrides=[*overrides])
            return build.settings(deepcopy(known[overrides]))

    return compose


@pytest.fixture(scope="session")
def examples() -> dict[str, list[Any]]:
    """Eight hand-made examples each of pairs (with labels, and numbers), tags, choices and answers, of many lengths."""
    from ptune.batch import Example

    pairs = [
        ("The old mill stands by the river.", "The mill is old.", 0),
        ("A dog sleeps.", "Nobody lives in the house.", 1),
        ("Anna Berg works for Nordwind in Oslo.", "Anna Berg works.", 0),
        ("The river is not far from the old house, is it?", "The river is far.", 1),
        (
            "Nobody lives in the mill by the river, and the dog sleeps in front of it.",
            "The mill stands alone.",
            0,
        ),
        ("Oslo is far.", "Anna lives in Oslo.", 1),
        ("The dog sleeps in front of the old house.", "A dog sleeps.", 0),
        ("Words stand alone.", "The words are true.", 1),
    ]
    labels = ["entailment", "not_entailment"]
    sentences = [
        "Anna/B-PER Berg/I-PER works/O for/O Nordwind/B-ORG in/O Oslo/B-LOC ./O",
        "Nobody/O lives/O in/O the/O mill/O",
        "Oslo/B-LOC",
        "The/O dog/O sleeps/O in/O front/O of/O the/O old/O house/O by/O the/O river/O ./O",
        "Nordwind/B-ORG works/O for/O Anna/B-PER",
        "Berg/B-PER lives/O far/O from/O Oslo/B-LOC ,/O not/O from/O Nordwind/B-ORG",
        "Yes/O",
        "The/O Oslo/B-MISC words/O stand/O alone/O",
    ]
    mill, oslo = (
        "The old mill stands by the river, not far from the old house. A dog sleeps in front of the house, and "
        "nobody lives in the mill. Does the dog live in the house? Yes, in front of it.",
        "Anna Berg works for Nordwind in Oslo.",
    )
    questions = [
        (mill, "What stands by the river?", "The old mill", "old mill"),
        (mill, "Who lives in the mill?", "nobody"),
        (oslo, "Who works for Nordwind?", "Anna Berg"),
        (oslo, "Where does Anna Berg work, and for the old house or for Nordwind?", "Oslo", "in Oslo"),
        (mill, "Does it?", "Yes"),
        (mill, "Where does the dog sleep?", "in front of the house", "house"),
        (oslo, "For what does Anna work?", "Nordwind"),
        (mill, "Is the river far from the house?", "not far"),
    ]
    answered = [
        (question, context, {"text": answers, "answer_start": [context.index(answer) for answer in answers]})
        for context, question, *answers in questions
    ]
    squad = [
        Example(f"qa-{i}", {"question": question, "context": context}, gold)
        for i, (question, context, gold) in enumerate(answered)
    ]
    nothing = {"text": [], "answer_start": []}
    split = [[pair.rsplit("/", 1) for pair in sentence.split()] for sentence in sentences]
    return {
        "rte": [
            Example(f"rte-{i}", {"premise": p, "hypothesis": h}, labels[label]) for i, (p, h, label) in enumerate(pairs)
        ],
        "stsb": [
            Example(f"stsb-{i}", {"sentence1": p, "sentence2": h}, 4.5 - 3.8 * label)
            for i, (p, h, label) in enumerate(pairs)
        ],
        "conll03": [Example(f"ner-{i}", {"tokens": [w for w, _ in s]}, [t for _, t in s]) for i, s in enumerate(split)],
        "copa": [
            Example(
                f"copa-{i}",
                {"premise": p, "question": ("cause", "effect")[i % 2], "choice1": h, "choice2": pairs[i - 1][1]},
                label,
            )
            for i, (p, h, label) in enumerate(pairs)
        ],
        "squad": squad,
        "squad_v2": [replace(e, gold=nothing) if i % 3 == 1 else e for i, e in enumerate(squad)],
    }


# One or more runs, in memory


@dataclass
class Wired:
    """A model with its runs, ready to fit, as `train.Session` puts them together."""

    task: Any
    model: Any
    runs: list[Any]
    rendered: list[Any]
    evaluations: list[tuple[int, int]] = field(default_factory=list)

    def fit(self, evaluate: Callable[[Any], Mapping[str, Any]] | None = None) -> list[Any]:
        """Train all runs to their end."""
        from ptune import loop

        return loop.fit(self.runs, self.model, evaluate or self.evaluate)

    def evaluate(self, run: Any) -> dict[str, Any]:
        """A real evaluation on the training examples."""
        from ptune.evaluate import Request, evaluate

        self.evaluations.append((run.member, run.step))
        rendered = self.rendered[run.member]
        found = evaluate(self.model, Request(run.member, self.task, rendered.examples, rendered), "dev", 4)
        return {"selected": found.scores[self.task.headline]}

    def losses(self, member: int = 0) -> list[float]:
        """The loss of every step."""
        return self.runs[member].recorder.values("loss")


@pytest.fixture
def wire(examples) -> Callable[..., Wired]:
    """wire(settings, ...): one model for all of them, a run each, on the hand-made examples of their task."""
    from ptune import build, training
    from ptune.data.rendered import ParallelStream, Rendered

    def connect(*several: Any, data: Sequence[Any] | None = None, recorder: Any = None) -> Wired:
        task = build.leaf(several[0].task)
        model = build.assemble(several, task)
        chosen = examples[task.name] if data is None else data
        runs, rendered = [], []
        for member, s in enumerate(several):
            laid_out = Rendered(chosen, task, model.members[member].template, s.data.tokens)
            laid_out.examples = chosen
            stream = training.stream(s, laid_out)
            sources = {stream.source: training.source(s, stream, member)}
            about = ParallelStream([stream]), stream.steps_per_epoch, sources, model.trained(member)
            runs.append(training.loop_run(s, *about, recorder or Memory(), member))
            rendered.append(laid_out)
        return Wired(task, model, runs, rendered)

    return connect
