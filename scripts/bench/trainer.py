"""Hugging Face's side of a comparison: its Trainer with defaults, around PEFT's prefix tuning or the whole model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from halves import halve_squad

FOLDERS = {
    "wnut17": "data/wnut17", "conll04": "data/conll04", "rte": "data/superglue", "cb": "data/superglue",
    "squad": "data/squad/dev-v1.1.json",
}  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
BACKBONE = "models/minilm-l6"
METRIC = {"wnut17": "f1", "conll04": "f1", "rte": "accuracy", "cb": "accuracy", "squad": "f1"}


@dataclass(frozen=True)
class Recipe:
    """What is trained and how. peft: prefix tuning, else the whole model; grouped: batches of one length; by_length:
    dev is sorted, for less padding."""

    peft: bool
    rate: float
    seed: int
    epochs: int
    prompt_length: int = 16
    batch_size: int = 16
    eval_batch_size: int = 64
    max_length: int = 256
    precision: str = "float32"
    grouped: bool = False
    by_length: bool = True
    device: str = "cpu"


def trainer(recipe: Recipe, task: Any, corpus: Any, checkpoint: Path, folder: str, evaluated: bool = True) -> Any:
    """A Trainer that is ready to go; `evaluated`: it scores dev each epoch."""
    from transformers import (
        AutoTokenizer,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint))
    tagging, spans = task.readout == "token", task.readout == "span"
    if spans:
        laid_out = {
            split: [
                window
                for i, example in enumerate(corpus.splits[split])
                for window in windows(i, example, task, tokenizer, recipe.max_length)
            ]
            for split in ("train", "dev")
        }
        if recipe.by_length:
            laid_out["dev"].sort(key=lambda window: len(window.row["input_ids"]))
        splits = {split: [window.row for window in found] for split, found in laid_out.items()}
    else:
        splits = {
            split: [encode(example, task, tokenizer, recipe.max_length) for example in corpus.splits[split]]
            for split in ("train", "dev")
        }
        if recipe.by_length:
            splits["dev"].sort(key=lambda row: len(row["input_ids"]))

    def scored(found: Any) -> dict[str, float]:
        if spans:
            return {"score": score_answers(task, corpus.splits["dev"], laid_out["dev"], *found.predictions)}
        return {"score": score(task, found.predictions, found.label_ids)}

    arguments = TrainingArguments(
        folder,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        seed=recipe.seed,
        eval_strategy="epoch" if evaluated else "no",
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.eval_batch_size,
        bf16=recipe.precision == "bfloat16",
        use_cpu=recipe.device == "cpu",
        save_strategy="no",
        logging_strategy="epoch",
        train_sampling_strategy="group_by_length" if recipe.grouped else "random",
        report_to="none",
        disable_tqdm=True,
        label_names=["start_positions", "end_positions"] if spans else None,
    )
    collator = DataCollatorForTokenClassification if tagging else DataCollatorWithPadding
    return Trainer(
        model(recipe, task, checkpoint),
        arguments,
        data_collator=collator(tokenizer),
        train_dataset=splits["train"],
        eval_dataset=splits["dev"],
        compute_metrics=scored,
    )


def model(recipe: Recipe, task: Any, checkpoint: Path) -> Any:
    """The checkpoint with a fresh classifier, under PEFT's prefix tuning where the recipe says so."""
    import torch
    from peft import PrefixTuningConfig, get_peft_model
    from transformers import (
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )

    kind, task_type = {
        "token": (AutoModelForTokenClassification, "TOKEN_CLS"),
        "span": (AutoModelForQuestionAnswering, "QUESTION_ANS"),
        "sequence": (AutoModelForSequenceClassification, "SEQ_CLS"),
    }[task.readout]
    labels = {} if task.readout == "span" else {"num_labels": len(task.labels)}
    made = kind.from_pretrained(str(checkpoint), dtype=torch.float32, **labels)
    if not recipe.peft:
        return made
    return get_peft_model(made, PrefixTuningConfig(task_type=task_type, num_virtual_tokens=recipe.prompt_length))


def read(name: str, shared: Path, **most: int) -> tuple[Any, Any]:
    """A task of ptune's and its corpus, of each split so many examples: both sides read the same."""
    import yaml

    from ptune import build
    from ptune.config import Data
    from ptune.data import corpora

    task = build.leaf(yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text()))
    with tempfile.TemporaryDirectory() as base:
        root = str(data_folder(name, shared, Path(base)))
        return task, corpora.load(task, Data(source="local", root=root, **most))


def data_folder(name: str, shared: Path, base: Path) -> Path:
    """Where a task's files are; those of SQuAD, of which there is dev alone, are made in `base`."""
    if name != "squad":
        return shared / FOLDERS[name]
    halve_squad(shared / FOLDERS[name], base)
    return base


def encode(example: Any, task: Any, tokenizer: Any, max_length: int) -> dict[str, Any]:
    """One example through the Hugging Face tokenizer; a word's label stands at its first piece."""
    if task.readout == "sequence":
        texts = [example.fields[name] for name in task.fields]
        return {**tokenizer(*texts, truncation=True, max_length=max_length), "labels": task.target(example)}
    options = {"is_split_into_words": True, "truncation": True, "max_length": max_length}
    encoded = tokenizer(example.fields["tokens"], **options)
    target, words = task.target(example), encoded.word_ids()
    labels = [
        -100 if word is None or word == before else target[word]
        for before, word in zip([None, *words], words, strict=False)
    ]
    return {**encoded, "labels": labels}


class Window(NamedTuple):
    """A row of a question for the Trainer. offsets: [K, 2], the characters of the context's tokens, which stand in the
    row from position `first`."""

    example: int
    row: dict[str, Any]
    first: int
    offsets: list[tuple[int, int]]


def windows(index: int, example: Any, task: Any, tokenizer: Any, max_length: int) -> Iterator[Window]:
    """The windows of a question as the Hugging Face tokenizer cuts them; one without the answer points at [CLS]."""
    encoded = tokenizer(
        *(example.fields[name] for name in task.fields),
        truncation="only_second",
        max_length=max_length,
        stride=task.windows.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    answer = task.target(example)
    for i in range(len(encoded["input_ids"])):
        places = [j for j, part in enumerate(encoded.sequence_ids(i)) if part == 1]
        offsets = [tuple(encoded["offset_mapping"][i][j]) for j in places]
        first = next((j for j, (start, end) in zip(places, offsets, strict=True) if start <= answer.first < end), 0)
        last = next((j for j, (start, end) in zip(places, offsets, strict=True) if start <= answer.last < end), 0)
        row = {key: encoded[key][i] for key in ("input_ids", "token_type_ids", "attention_mask")}
        target = (first, last) if first and last else (0, 0)
        yield Window(index, {**row, "start_positions": target[0], "end_positions": target[1]}, places[0], offsets)


def score_answers(task: Any, examples: Sequence[Any], found: Sequence[Window], starts: Any, ends: Any) -> float:
    """SQuAD's F1 of the best answer to each question over its windows; starts and ends: logits [rows, N]."""
    import numpy as np

    from ptune.batch import RowOutput

    outputs: list[list[Any]] = [[] for _ in examples]
    for window, start, end in zip(found, starts, ends, strict=True):
        read = [0, *range(window.first, window.first + len(window.offsets))]
        scores = np.stack([start[read], end[read]], axis=1)
        outputs[window.example].append(RowOutput(0, scores, offsets=np.array(window.offsets)))
    predictions = [task.decode(example, rows) for example, rows in zip(examples, outputs, strict=True)]
    return float(task.score(examples, predictions)[METRIC[task.name]])


def score(task: Any, logits: Any, labels: Any) -> float:
    """seqeval's F1 in its default mode, or the accuracy, in percent."""
    from seqeval.metrics import f1_score

    predicted = logits.argmax(-1)
    if task.readout == "sequence":
        return 100.0 * float((predicted == labels).mean())
    kept = [row != -100 for row in labels]
    gold = [[task.labels[i] for i in row[mask]] for row, mask in zip(labels, kept, strict=True)]
    found = [[task.labels[i] for i in row[mask]] for row, mask in zip(predicted, kept, strict=True)]
    return 100.0 * float(f1_score(gold, found))
