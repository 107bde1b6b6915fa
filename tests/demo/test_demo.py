"""The demo writes the same bytes for the same seed, in formats that parse, and memory does not solve it."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ptune import demo

ENCODER = Path(demo.__file__).parent.parent / "assets" / "tiny_encoder"
CONLL03 = ("train.txt", "valid.txt", "test.txt")
WNUT17 = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
NLI = {
    "rte": ({"entailment", "not_entailment"}, (1000, 300, 300)),
    "cb": ({"entailment", "contradiction", "neutral"}, (250, 56, 250)),
}
NLI_TEXTS = ("premise", "hypothesis")
TASKS = ("cb", "conll03", "rte", "wnut17")

Sentence = list[list[str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every task written at its default sizes."""
    folder = tmp_path_factory.mktemp("demo")
    for task in demo.tasks():
        demo.write(task, folder / task)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sentences(path: Path, separator: str, columns: int) -> list[Sentence]:
    """The sentences of a column file; every line that is not empty must have all columns."""
    made: list[Sentence] = [[]]
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = line.split(separator)
        if not line:
            made.append([])
        elif cells[0] != "-DOCSTART-":
            assert len(cells) == columns, line
            assert all(cells), line
            made[-1].append(cells)
        else:
            assert line == "-DOCSTART- -X- -X- O"
    return [sentence for sentence in made if sentence]


def entities(sentence: Sentence) -> list[tuple[str, str]]:
    """The (text, type) of the entities of a sentence, from IOB1 or IOB2."""
    found: list[tuple[list[str], str]] = []
    before = "O"
    for cells in sentence:
        tag = cells[-1]
        if tag != "O":
            if tag.startswith("B-") or before[2:] != tag[2:]:
                found.append(([], tag[2:]))
            found[-1][0].append(cells[0].lower())
        before = tag
    return [(" ".join(words), kind) for words, kind in found]


def examples(path: Path) -> list[dict[str, str | int]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_tasks_and_unknown_names(tmp_path: Path) -> None:
    assert set(TASKS) <= set(demo.tasks())
    assert "world" not in demo.tasks()
    with pytest.raises(ValueError, match=r"'rta'.*cb, conll03, .*rte.*wnut17"):
        demo.write("rta", tmp_path)
    with pytest.raises(ValueError, match=r"'valid'.*train, dev, test"):
        demo.write("rte", tmp_path, sizes={"valid": 3})


@pytest.mark.parametrize("task", TASKS)
def test_seed_decides_every_byte(task: str, tmp_path: Path, root: Path) -> None:
    demo.write(task, tmp_path / "again", seed=0)
    assert contents(tmp_path / "again") == contents(root / task)
    demo.write(task, tmp_path / "other", seed=1)
    assert not set(contents(tmp_path / "other").values()) & set(contents(root / task).values())


def test_other_processes_write_the_same_without_torch(tmp_path: Path, root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ptune import demo\n"
        "for task in demo.tasks(): demo.write(task, Path(sys.argv[1]) / task)\n"
        "print(*demo.text(3, 200), sep='\\n')\n"
        "assert not {'torch', 'transformers', 'numpy', 'tokenizers'} & set(sys.modules)\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / salt)],
            check=True,
            text=True,
            capture_output=True,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for salt in ("1", "2")
    ]
    assert outputs[0].stdout == outputs[1].stdout
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(root)


def test_only_the_standard_library_is_imported() -> None:
    allowed = set(sys.stdlib_module_names) | {"ptune"}
    for path in Path(demo.__file__).parent.glob("*.py"):
        for name in re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), flags=re.MULTILINE):
            assert name in allowed, (path.name, name)


def test_sizes(tmp_path: Path, root: Path) -> None:
    for name, count in zip(CONLL03, (1000, 300, 300), strict=True):
        assert len(sentences(root / "conll03" / name, " ", 4)) == count
    for name, count in zip(WNUT17, (1000, 300, 300), strict=True):
        assert len(sentences(root / "wnut17" / name, "\t", 2)) == count
    demo.write("wnut17", tmp_path, sizes={"train": 7})
    assert len(sentences(tmp_path / WNUT17[0], "\t", 2)) == 7


def test_conll03_tags_are_iob1(root: Path) -> None:
    seen: Counter[str] = Counter()
    for name in CONLL03:
        for sentence in sentences(root / "conll03" / name, " ", 4):
            for column in (2, 3):
                before = "O"
                for cells in sentence:
                    tag = cells[column]
                    assert re.fullmatch(r"O|[IB]-[A-Z]+", tag), tag
                    assert tag[0] != "B" or before[2:] == tag[2:], "B- only where two of a type touch"
                    before = tag
            seen.update(cells[3] for cells in sentence)
    assert {tag[2:] for tag in seen} == {"", "PER", "ORG", "LOC", "MISC"}
    assert any(tag.startswith("B-") for tag in seen)


def test_wnut17_tags_are_iob2(root: Path) -> None:
    kinds: set[str] = set()
    for name in WNUT17:
        for sentence in sentences(root / "wnut17" / name, "\t", 2):
            before = "O"
            for _, tag in sentence:
                assert re.fullmatch(r"O|[IB]-[a-z-]+", tag), tag
                assert tag[0] != "I" or before[2:] == tag[2:], "I- only inside an entity"
                kinds.add(tag[2:])
                before = tag
    assert kinds == {"", "person", "location", "corporation", "product", "creative-work", "group"}


@pytest.mark.parametrize(
    ("task", "files", "separator", "columns"), [("conll03", CONLL03, " ", 4), ("wnut17", WNUT17, "\t", 2)]
)
def test_memory_does_not_solve_tagging(
    task: str, files: tuple[str, ...], separator: str, columns: int, root: Path
) -> None:
    train, dev, test = (
        [entity for sentence in sentences(root / task / name, separator, columns) for entity in entities(sentence)]
        for name in files
    )
    known = {text for text, _ in train}
    for split in (dev, test):
        assert sum(text not in known for text, _ in split) > 0.8 * len(split)
    kinds: dict[str, set[str]] = {}
    for text, kind in train:
        kinds.setdefault(text, set()).add(kind)
    assert sum(len(types) > 1 for types in kinds.values()) >= 5, "some names are of two types"


@pytest.mark.parametrize("task", sorted(NLI))
def test_classification_rows(task: str, root: Path) -> None:
    labels, sizes = NLI[task]
    for name, size in zip(("train", "val", "test"), sizes, strict=True):
        rows = examples(root / task / task.upper() / f"{name}.jsonl")
        assert [row["idx"] for row in rows] == list(range(size))
        wanted = {"premise", "hypothesis", "idx"} | ({"label"} if name != "test" else set())
        assert all(set(row) == wanted for row in rows)
        if name != "test":
            counts = Counter(row["label"] for row in rows)
            assert set(counts) == labels
            assert max(counts.values()) < 0.58 * size


def test_word_overlap_alone_is_weak(root: Path) -> None:
    rows = examples(root / "rte/RTE/val.jsonl")
    shares = []
    for row in rows:
        premise, hypothesis = (set(re.findall(r"\w+", str(row[name]).lower())) for name in NLI_TEXTS)
        shares.append((len(hypothesis & premise) / len(hypothesis), row["label"] == "entailment"))
    best = max(sum((share >= least) == entailed for share, entailed in shares) for least, _ in shares)
    assert best < 0.68 * len(rows)


def test_text_is_prose_and_no_task_row(root: Path) -> None:
    passages = list(demo.text(0, 3000))
    assert passages == list(demo.text(0, 3000))
    assert passages != list(demo.text(1, 3000))
    assert not any("{" in passage or "CLAIM" in passage for passage in passages)
    premises = {row["premise"] for task in NLI for row in examples(root / task / task.upper() / "train.jsonl")}
    assert not premises & set(passages)
    answers = [passage for passage in passages if re.search(r"\b(Yes|No|Maybe)\b", passage)]
    assert answers
    assert all(re.search(r"Will you come|Please give me|Is there any", passage) for passage in answers)


def test_tiny_encoder_is_the_one_of_its_card() -> None:
    assert {path.name for path in ENCODER.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in ENCODER.iterdir()) <= 4 * 2**20
    card = (ENCODER / "README.md").read_text()
    assert hashlib.sha256((ENCODER / "model.safetensors").read_bytes()).hexdigest() in card
    for words in ("not evidence about", "scripts/pretrain_tiny", "Held-out loss"):
        assert words in card


def test_tiny_encoder_vocabulary() -> None:
    vocabulary = json.loads((ENCODER / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) <= 2500
    wanted = "[CLS] [SEP] [MASK] [PAD] [UNK] yes no maybe true false right wrong bridge poet bought because"
    assert set(wanted.split()) <= set(vocabulary)
