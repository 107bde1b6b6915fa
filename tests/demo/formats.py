"""How the files of every corpus are read: their splits, rows, texts and labels; and what a corpus lacks, with why."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rendering

from ptune import demo
from ptune.demo import recipe
from ptune.demo.grammar import prose
from ptune.readers import gold_conll, roles
from ptune.readers.columns import Cells
from ptune.readers.columns import blocks as sentences_of

SUPERGLUE = ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")
FOLDERS = {"boolq": "BoolQ", "multirc": "MultiRC", "record": "ReCoRD", "wic": "WiC"}
FEWGLUE = {"train.jsonl": "train", "dev32.jsonl": "dev", "val.jsonl": "test", "unlabeled.jsonl": "unlabeled"}
JSON_LINES = (*SUPERGLUE, "fewglue", "superglue_axb", "superglue_axg")
TEST_ONLY = [task for task in demo.tasks() if set(rendering.sizes_of(task)) == {"test"}]
TRUTH, VERDICT = {True, False}, {"entailment", "not_entailment"}
LABELS: Mapping[str, set[Any]] = {
    "boolq": TRUTH,
    "cb": {"entailment", "contradiction", "neutral"},
    "copa": {0, 1},
    "rte": VERDICT,
    "wic": TRUTH,
    "wsc": TRUTH,
    "ax-b": VERDICT,
    "ax-g": VERDICT,
}  # by folder; MultiRC and ReCoRD label answers, not rows

# What some corpora have not, and why.

NO_TRAINING = dict.fromkeys(TEST_ONLY, "a diagnostic is a test alone, for models that know RTE")
WHOLE_CAUSES = {"copa": "it keeps whole causes from training, not templates"}
NO_TEMPLATES = {
    **NO_TRAINING,
    **dict.fromkeys(
        ("rte", "cb", "fewglue", "glue_rte", "mnli", "snli", "stsb"),
        "claims inside its templates make each of them another",
    ),
    **dict.fromkeys(("e2e", "webnlg"), "joined statements are ever other ones, though each is a template's"),
}  # which hardly occur twice, so that new ones in dev say nothing
MEANT_TO_BE_TOLD = {"lama": "its sentences state single facts, which the pretraining text is there to tell"}
COINCIDENCES = {
    "webnlg_challenge_2017": (0.02, "some state two facts of a thing and nothing else, as the text does now and then"),
}  # by folder: the share of the rows that the pretraining text may have
SHORT = dict.fromkeys(("mpqa", "trec"), "its rows are phrases, or questions, of a few words")
CLEAN_REFERENCES = dict.fromkeys(("e2e", "webnlg"), "what texts of a model are compared with is not damaged")
REPEATS = dict.fromkeys(
    ("conll03", "wnut17", "wikiann_en", "conll04", "ontonotes"),
    "the original repeats names of training: a tenth of the sentences of dev and test are of the whole world",
)
SOME_ROLES: Mapping[str, set[str]] = {
    "conll05": {"V", "A0", "A1", "A2", "AM-TMP", "AM-LOC", "AM-NEG", "R-A0"},
    "conll12": {"V", "ARG0", "ARG1", "ARG2", "ARGM-TMP", "ARGM-LOC", "ARGM-NEG", "R-ARG0"},
    "srl_ewt": {"V", "A0", "A1", "A2", "AM-TMP", "AM-LOC", "AM-NEG", "R-A0"},
}  # that its sentences have; the others of PropBank are rare in the originals too
FROM_EVERYWHERE = 0.2  # at most of the rows of dev and test of a corpus that repeats names


def noisy(task: str, split: str | None) -> bool:
    """Whether noise is to change the files of a split, or the files of none."""
    return split is not None and (split == "train" or task not in CLEAN_REFERENCES)


def documents(task: str) -> bool:
    """Whether a split is a folder of documents, as many as their lengths happen to make."""
    return task in ("ontonotes", "conll12")


# Files


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their place."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files(folder)}


def files(folder: Path) -> list[Path]:
    """The files below a folder, in the order of their places; a folder may have a dot in its name, too."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def split_of(task: str, name: str) -> str | None:
    """The split of a file by its place; None of a file that is about the corpus as a whole."""
    parts = name.split("/")
    if name == "conll04_types.json" or name == "relations.jsonl" or parts[0] == "single_relations":
        return None
    if task in TEST_ONLY or parts[0] == "TREx":
        return "test"
    if task == "fewglue":
        return FEWGLUE[parts[-1]]
    match = re.search("train|dev|val|test", parts[1] if documents(task) else parts[-1])
    assert match, (task, name)
    return "dev" if match[0] == "val" else match[0]


def by_split(task: str, folder: Path) -> dict[str | None, list[bytes]]:
    """The files of each split in the order of their names."""
    found: dict[str | None, list[bytes]] = {}
    for name, told in contents(folder).items():
        found.setdefault(split_of(task, name), []).append(told)
    return found


def provinces(task: str, split: str) -> list[str]:
    """The provinces that a split may tell of; FewGLUE's are the splits of SuperGLUE that it is drawn from."""
    source = {"test": "dev"}.get(split, "train") if task == "fewglue" else split
    return list(recipe.PROVINCE[source])


# Rows


def columns(path: Path) -> list[list[list[str]]]:
    """The sentences of a file of columns, each the cells of its words; of CoNLL-04 the documents."""
    found = gold_conll.sentences(path) if path.suffix == ".v4_gold_conll" else sentences_of(path, opens="#doc ")
    cells = Cells()
    return [[row.cells for row in cells.rows(block)] for block in found]


def tokens(path: Path) -> Iterator[list[str]]:
    """The words of each sentence of a file of columns."""
    for rows in columns(path):
        at = gold_conll.WORD if path.suffix == ".v4_gold_conll" else 1 if rows[0][0] == "0" and len(rows[0]) == 5 else 0
        yield [cells[at].removeprefix("en:") for cells in rows]  # as WikiANN writes them


def counts(task: str, folder: Path) -> dict[str, int]:
    """What the sizes of a corpus count, by split; of LAMA what its largest relation has."""
    found: dict[str, set[int]] = {}
    of_documents: dict[str, int] = {}
    for name in contents(folder):
        split = split_of(task, name)
        if split and documents(task):
            of_documents[split] = of_documents.get(split, 0) + _count(task, folder / name)
        elif split and not name.startswith("TREx") and not name.endswith(".words"):
            found.setdefault(split, set()).add(_count(task, folder / name))
    assert task == "lama" or all(len(some) == 1 for some in found.values()), "all files of a split have as many"
    return of_documents or {split: max(some) for split, some in found.items()}


HEADED = ("mr", "sentence", "index", "id", "Quality")  # first columns of the tables that name theirs


def _count(task: str, path: Path) -> int:
    if task in ("conll05", "conll12", "srl_ewt"):
        return len(list(roles.read(path)))
    if path.suffix == ".json":
        made = json.loads(path.read_text(encoding="utf-8"))
        if "data" in made:
            return len(list(rendering.questions(path)))
        return len(made if isinstance(made, list) else made["entries"])
    if path.suffix == ".jsonl":
        rows = rendering.rows(path)
        if task == "multirc":
            return sum(len(row["passage"]["questions"]) for row in rows)
        return sum(len(row["qas"]) for row in rows) if task == "record" else len(rows)
    if path.suffix in (".csv", ".tsv"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return len(lines) - (re.split("[,\t]", lines[0])[0] in HEADED)
    return sum(rows[0][0] != "-DOCSTART-" for rows in columns(path))


def blocks(path: Path) -> list[str]:
    """Everything that a file says, row by row."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        made = json.loads(text)
        rows = made if isinstance(made, list) else made.get("entries") or made["data"]
        return [" ".join(row["tokens"]) if "tokens" in row else json.dumps(row).replace("_", " ") for row in rows]
    if path.suffix in (".jsonl", ".csv", ".tsv"):
        return text.splitlines()
    return [" ".join(words) for words in tokens(path)]


TEXTS = ("premise", "hypothesis", "question", "sentence1", "sentence2", "choice1", "choice2", "text")


def texts(path: Path) -> Iterator[list[str]]:
    """The texts of each row of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        for row in rendering.rows(path):
            fields = [row[name] for name in TEXTS if name in row]
            if "passage" in row:
                fields.append(row["passage"]["text"] if isinstance(row["passage"], dict) else row["passage"])
            fields += [one["masked_sentence"].replace("[MASK]", row["obj_label"]) for one in row.get("evidences", ())]
            yield [field for field in fields if " " in field]
    elif path.suffix == ".json":
        made = json.loads(text)
        if isinstance(made, list):
            yield from ([prose(row["tokens"])] for row in made)
        elif "entries" in made:
            entries = [entry for numbered in made["entries"] for entry in numbered.values()]
            yield from ([one["lex"]] for entry in entries for one in entry["lexicalisations"])
        elif "data" in made:
            yield from ([context, question["question"]] for context, question in rendering.questions(path))
    elif path.suffix == ".csv":
        yield from (row[1:] for row in csv.reader(text.splitlines()))
    elif path.suffix == ".tsv":
        yield from ([cell for cell in line.split("\t") if " " in cell] for line in text.splitlines())
    elif path.suffix != ".props":
        yield from ([prose(words)] for words in tokens(path))
