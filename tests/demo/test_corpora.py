"""The demo's relations, OntoNotes, table-to-text, LAMA, FewGLUE and diagnostics have the forms of their originals."""

import csv
import json
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import formats
import pytest
import yaml

from ptune import conf, demo
from ptune.demo import (
    conll04,
    conll12,
    e2e,
    fewglue,
    lama,
    ontonotes,
    recipe,
    relations,
    srl_ewt,
    tables,
    webnlg,
    world,
)
from ptune.demo import superglue_axb as axb
from ptune.demo import superglue_axg as axg

ROLES = "V ARG0 ARG1 ARG2 ARG4 ARGM-TMP ARGM-LOC ARGM-MOD ARGM-NEG ARGM-DIS ARGM-CAU R-ARG0"
NAMES = (
    "PERSON NORP FAC ORG GPE LOC PRODUCT DATE TIME PERCENT MONEY QUANTITY ORDINAL CARDINAL EVENT WORK_OF_ART LAW "
    "LANGUAGE"
)

Json = dict[str, Any]
Rows = list[list[str]]


def objects(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_recipe_makes_each_part_once() -> None:
    made = recipe.Recipe("conll04", world.build(0), {"train": 1})
    assert made.part("train") is made.part("train")
    assert made.part("test") is not made.part("train")


# CoNLL-04


def columns04(path: Path) -> list[Rows]:
    """The documents of a column file, their numbers in order."""
    made: list[Rows] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#doc "):
            assert re.fullmatch(r"#doc \d+", line)
            made.append([])
        else:
            made[-1].append(line.split("\t"))
            assert len(made[-1][-1]) == 5
    return made


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_conll04_says_the_same_in_both_forms(root: Path, split: str) -> None:
    folder = root / "conll04"
    rows = json.loads((folder / f"conll04_{split}.json").read_text(encoding="utf-8"))
    documents = columns04(folder / f"{split}.txt")
    assert len(rows) == len(documents) == conll04.SIZES[split]
    found: Counter[str] = Counter()
    kinds: set[str] = set()
    for row, document in zip(rows, documents, strict=True):
        assert set(row) == {"tokens", "tags", "relations", "orig_id"}
        assert [cells[0] for cells in document] == [str(i) for i in range(len(document))]
        assert [cells[1] for cells in document] == row["tokens"]
        spans = bilou(row["tags"])
        assert bio([cells[2] for cells in document]) == spans
        kinds |= {kind for _, _, kind in spans}
        in_json = {(spans[r["head"]][1], spans[r["tail"]][1], r["type"]) for r in row["relations"]}
        in_columns = set()
        for cells in document:
            names, tails = literal_eval(cells[3]), literal_eval(cells[4])
            if names == ["N"]:
                assert tails == [int(cells[0])]
            else:
                in_columns |= {(int(cells[0]), tail, name) for name, tail in zip(names, tails, strict=True)}
        assert in_json == in_columns
        assert row["relations"]
        found.update(r["type"] for r in row["relations"])
    assert kinds == {"Peop", "Loc", "Org", "Other"}
    assert set(found) == {"Live_In", "Located_In", "OrgBased_In", "Work_For", "Kill"}
    assert min(found.values()) > 0.1 * len(rows)


def bilou(tags: list[str]) -> list[tuple[int, int, str]]:
    """(first, last, type) of the entities; every B is closed by an L of its type."""
    spans: list[tuple[int, int, str]] = []
    opened: tuple[int, str] | None = None
    for index, tag in enumerate(tags):
        letter, _, kind = tag.partition("-")
        assert (letter in "IL") == (opened is not None), tags
        if opened:
            assert kind == opened[1]
        if letter in "UB":
            opened = (index, kind)
        if letter in "UL" and opened:
            spans.append((opened[0], index, kind))
            opened = None
    assert opened is None
    return spans


def bio(tags: list[str]) -> list[tuple[int, int, str]]:
    spans: list[tuple[int, int, str]] = []
    for index, tag in enumerate(tags):
        if tag[0] == "B":
            spans.append((index, index, tag[2:]))
        elif tag[0] == "I":
            first, last, kind = spans.pop()
            assert (last, kind) == (index - 1, tag[2:])
            spans.append((first, index, kind))
    return spans


def test_conll04_relations_join_the_types_they_must(root: Path) -> None:
    ends = {
        "Live_In": ("Peop", "Loc"),
        "Work_For": ("Peop", "Org"),
        "OrgBased_In": ("Org", "Loc"),
        "Located_In": ("Loc", "Loc"),
        "Kill": ("Peop", "Peop"),
    }
    for row in json.loads((root / "conll04/conll04_train.json").read_text(encoding="utf-8")):
        spans = bilou(row["tags"])
        for relation in row["relations"]:
            assert (spans[relation["head"]][2], spans[relation["tail"]][2]) == ends[relation["type"]]


def test_conll04_types_are_those_of_the_release(root: Path, shared: Path) -> None:
    ours, theirs = (
        json.loads((folder / "conll04_types.json").read_text(encoding="utf-8"))
        for folder in (root / "conll04", shared / "data/conll04")
    )
    assert ours == theirs
    (row, *_), (original, *_) = (
        json.loads((folder / "conll04_dev.json").read_text(encoding="utf-8"))
        for folder in (root / "conll04", shared / "data/conll04")
    )
    assert set(row) == set(original)


# OntoNotes and CoNLL-2012


def gold(folder: Path, split: str) -> Iterator[Rows]:
    """The sentences of a split, of files that are whole and in their place."""
    files = sorted((folder / "data" / split / "data/english/annotations").glob("*/*/*/*.v4_gold_conll"))
    assert files
    for path in files:
        genre, source, number, name = path.parts[-4:]
        document = f"{genre}/{source}/{number}/{name.removesuffix('.v4_gold_conll')}"
        first, *lines, last = path.read_text(encoding="utf-8").splitlines()
        assert (first, last) == (f"#begin document ({document}); part 000", "#end document")
        assert lines[-1] == ""
        rows: Rows = []
        for line in lines:
            if line:
                rows.append(line.split())
                assert rows[-1][:3] == [document, "0", str(len(rows) - 1)]
            else:
                yield rows
                rows = []


def bracketed(cells: list[str]) -> list[tuple[int, int, str]]:
    """Spans of one column; raises where brackets do not match."""
    spans: list[tuple[int, int, str]] = []
    opened: tuple[int, str] | None = None
    for index, cell in enumerate(cells):
        match = re.fullmatch(r"(?:\(([A-Z0-9_-]+))?(\*)?(\))?", cell)
        assert match, cell
        if match[1]:
            assert opened is None
            opened = (index, match[1])
        if match[3]:
            assert opened
            spans.append((opened[0], index, opened[1]))
            opened = None
    assert opened is None
    return spans


@pytest.mark.parametrize("task", ["ontonotes", "conll12"])
@pytest.mark.parametrize(("split", "folder"), ontonotes.FOLDERS.items())
def test_gold_conll(root: Path, task: str, split: str, folder: str) -> None:
    kinds: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    sentences = predicates = 0
    for rows in gold(root / task, folder):
        sentences += 1
        assert len({len(row) for row in rows}) == 1
        parse = "".join(row[5] for row in rows)
        assert re.fullmatch(r"\(TOP\(S\*+\)\)", parse)
        marked = [index for index, row in enumerate(rows) if row[7] != "-"]
        assert len(rows[0]) == 12 + len(marked)
        for column, predicate in enumerate(marked, 11):
            spans = bracketed([row[column] for row in rows])
            assert [span for span in spans if span[2] == "V"] == [(predicate, predicate, "V")]
            roles.update(kind for _, _, kind in spans)
            assert rows[predicate][6].islower()
        predicates += len(marked)
        kinds.update(kind for _, _, kind in bracketed([row[10] for row in rows]))
        assert all(row[8] == row[9] == row[-1] == "-" for row in rows)
    if task == "ontonotes":
        assert sentences == ontonotes.SIZES[split]
        assert set(kinds) == set(NAMES.split())
    else:
        assert predicates == conll12.SIZES[split]
        assert set(ROLES.split()) <= set(roles)
    assert not [role for role in roles if not re.fullmatch(r"V|([RC]-)?ARG(\d|M-[A-Z]{3})", role)]


@pytest.mark.parametrize("split", srl_ewt.SIZES)
def test_wide_columns(root: Path, split: str) -> None:
    """As many columns as predicates after the six, each with its V at its word; the roles have the treebank's names."""
    kinds: Counter[str] = Counter()
    predicates = without = 0
    for rows in formats.columns(root / "srl_ewt" / f"ewt.{split}.conll05"):
        assert re.fullmatch(r"\(TOP\*+\)", "".join(row[2] for row in rows))
        assert {row[3] for row in rows} == {"*"}
        marked = [index for index, row in enumerate(rows) if row[5] != "-"]
        assert [row[4] for row in rows] == ["01" if index in marked else "-" for index in range(len(rows))]
        assert {len(row) for row in rows} == {6 + len(marked)}
        for column, predicate in enumerate(marked, 6):
            spans = bracketed([row[column] for row in rows])
            assert [span for span in spans if span[2] == "V"] == [(predicate, predicate, "V")]
            kinds.update(kind for _, _, kind in spans)
        predicates += len(marked)
        without += not marked
    assert predicates == srl_ewt.SIZES[split]
    assert without > 0
    known = yaml.safe_load((Path(next(iter(conf.__path__))) / "task/srl_ewt.yaml").read_text(encoding="utf-8"))["types"]
    assert {*ROLES.replace("ARGM", "AM").replace("ARG", "A").split()} <= set(kinds) <= set(known)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shares rose by 1950 percent in 1950 .", ["1950 percent PERCENT", "1950 DATE"]),
        ("the letter may be sent in May 1990 .", ["May 1990 DATE"]),
        ("two boats of more than 40 tons cost 20 million crowns .",
         ["two CARDINAL", "more than 40 tons QUANTITY", "20 million crowns MONEY"]),
        ("yesterday the second train left at ten o'clock , not at noon .",
         ["yesterday DATE", "second ORDINAL", "ten o'clock TIME", "noon TIME"]),
        ("1900 people waited for 12 hours .", ["1900 CARDINAL", "12 hours TIME"]),
    ],
)  # fmt: skip
def test_values_are_named_by_how_they_are_said(text: str, found: list[str]) -> None:
    from ptune.demo.grammar import plain

    words = plain(text)
    spans = bio(ontonotes.name_tags(words))
    assert [f"{' '.join(w.text for w in words[a : b + 1])} {kind}" for a, b, kind in spans] == found


# Tables


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_e2e_texts_say_their_attributes(root: Path, split: str) -> None:
    path = root / "e2e" / e2e.FILES[split]
    assert path.read_text(encoding="utf-8").startswith("mr,ref\n")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == e2e.SIZES[split]
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(row["mr"], []).append(row["ref"])
        pairs = re.findall(r"(?:^|, )([a-z ]+)\[([^]]+)]", row["mr"])
        assert ", ".join(f"{key}[{value}]" for key, value in pairs) == row["mr"]
        assert [key for key, _ in pairs][:2] == ["name", "type"]
        assert all(value.lower() in row["ref"].lower() for _, value in pairs)
    assert all(len(set(refs)) == len(refs) for refs in texts.values())
    assert sum(len(refs) for refs in texts.values()) > 2.5 * len(texts)


def test_e2e_refuses_more_than_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5000 different rows of dev"):
        demo.write("e2e", tmp_path, sizes={"train": 4, "dev": 5000}, length=1)


def test_every_relation_can_be_said_of_nothing_else() -> None:
    assert all(len(tables.statements(relation)) > 2 for relation in relations.RELATIONS)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_webnlg_entries(root: Path, split: str) -> None:
    path = root / "webnlg/webnlg_challenge_2017" / f"{split}.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    assert [list(entry) for entry in entries] == [[str(i)] for i in range(1, webnlg.SIZES[split] + 1)]
    categories = set()
    for number, numbered in enumerate(entries, 1):
        entry = numbered[str(number)]
        assert set(entry) == {
            "category", "lexicalisations", "modifiedtripleset", "originaltriplesets", "shape", "shape_type", "size",
            "xml_id",
        }  # fmt: skip
        triples = entry["modifiedtripleset"]
        assert entry["originaltriplesets"] == {"originaltripleset": [triples]}
        assert entry["size"] == str(len(triples))
        assert entry["shape"].count("X") == len(triples) + 1
        assert entry["shape"].count("(") == entry["shape"].count(")")
        assert all(set(triple) == {"subject", "property", "object"} for triple in triples)
        assert all(re.fullmatch(r"[a-z]+[A-Za-z]*", triple["property"]) for triple in triples)
        objects = {triple["object"].replace("_", " ") for triple in triples}
        for text in entry["lexicalisations"]:
            assert set(text) == {"comment", "lang", "lex", "xml_id"}
            assert all(name.lower() in text["lex"].lower() for name in objects)
        assert entry["lexicalisations"]
        categories.add(entry["category"])
    unseen = {kind.capitalize() for kind in webnlg.UNSEEN}
    assert categories & unseen == (unseen if split == "test" else set())


# LAMA


def test_lama_relations(root: Path) -> None:
    rows = objects(root / "lama/relations.jsonl")
    assert [row["relation"] for row in rows] == list(lama.PREDICATES.values())
    for row in rows:
        assert set(row) == {"relation", "template", "label", "description", "type"}
        assert row["template"].count("[X]") == row["template"].count("[Y]") == 1
        assert "{" not in row["template"]
        assert objects(root / "lama/single_relations" / f"{row['relation']}.jsonl") == [row]


@pytest.mark.parametrize("name", lama.PREDICATES.values())
def test_lama_facts(root: Path, name: str) -> None:
    folder = root / "lama/fact-retrieval/original" / name
    splits = {split: objects(folder / f"{split}.jsonl") for split in lama.SIZES}
    assert objects(root / "lama/TREx" / f"{name}.jsonl") == splits["test"]
    for split, rows in splits.items():
        assert 0 < len(rows) <= lama.SIZES[split]
        for row in rows:
            assert row["predicate_id"] == name
            assert str(UUID(row["uuid"])) == row["uuid"]
            assert row["obj_label"].split() == [row["obj_label"]]
            (evidence,) = row["evidences"]
            assert "[MASK]" in evidence["masked_sentence"]
            assert evidence["obj_surface"] == row["obj_label"]
    subjects = [row["sub_label"] for rows in splits.values() for row in rows]
    assert len(set(subjects)) == len(subjects)
    uuids = [row["uuid"] for rows in splits.values() for row in rows]
    assert len(set(uuids)) == len(uuids)


# SuperGLUE


def few(root: Path, task: str, split: str) -> list[Json]:
    return objects(root / "fewglue/FewGLUE" / task / fewglue.FILES[split])


@pytest.mark.parametrize("task", fewglue.TASKS)
def test_fewglue_has_32_examples_and_hardly_one_twice(root: Path, task: str) -> None:
    assert len(few(root, task, "train")) == len(few(root, task, "dev")) == 32
    for split, size in fewglue.SIZES.items():
        assert len({json.dumps({**row, "idx": 0}) for row in few(root, task, split)}) > 0.8 * size


@pytest.mark.parametrize("task", fewglue.TASKS)
def test_fewglue_has_the_keys_of_the_release(root: Path, shared: Path, task: str) -> None:
    original = objects(shared / "data/fewglue" / task / "train.jsonl")[0]
    assert set(few(root, task, "train")[0]) == set(original)


def test_fewglue_has_one_question_a_passage_and_true_wsc(root: Path) -> None:
    for split in fewglue.SIZES:
        for row in few(root, "MultiRC", split):
            (question,) = row["passage"]["questions"]
            assert all(("label" in answer) == (split != "unlabeled") for answer in question["answers"])
        for row in few(root, "ReCoRD", split):
            (query,) = row["qas"]
            assert ("answers" in query) == (split != "unlabeled")
    assert all(row["label"] for split in ("train", "dev") for row in few(root, "WSC", split))
    assert {row["label"] for row in few(root, "WSC", "test")} == {True, False}
    assert {row["label"] for row in few(root, "CB", "train")} == {"entailment", "contradiction", "neutral"}


def test_axb_rows_come_in_both_directions(root: Path) -> None:
    rows = objects(root / "superglue_axb/AX-b/AX-b.jsonl")
    assert [row["idx"] for row in rows] == list(range(axb.SIZES["test"]))
    labels: Counter[str] = Counter()
    names = set()
    for there, back in zip(rows[::2], rows[1::2], strict=True):
        assert (there["sentence1"], there["sentence2"]) == (back["sentence2"], back["sentence1"])
        for row in (there, back):
            (group,) = set(row) - {"sentence1", "sentence2", "label", "idx"}
            names.add((group, row[group]))
            labels[row["label"]] += 1
            assert "{" not in row["sentence1"] + row["sentence2"]
    assert names == set(axb.PHENOMENA)
    assert set(labels) == {"entailment", "not_entailment"}
    assert max(labels.values()) < 0.65 * len(rows)


def test_axg_pairs_differ_in_the_pronoun_alone(root: Path) -> None:
    rows = objects(root / "superglue_axg/AX-g/AX-g.jsonl")
    assert [row["idx"] for row in rows] == list(range(axg.SIZES["test"]))
    labels: Counter[str] = Counter()
    for she, he in zip(rows[::2], rows[1::2], strict=True):
        assert set(she) == set(he) == {"premise", "hypothesis", "label", "pair_id", "idx"}
        assert she["premise"] != he["premise"]
        assert re.sub(r"\bshe\b", "he", she["premise"]) == he["premise"]
        assert all(she[key] == he[key] for key in ("hypothesis", "label", "pair_id"))
        labels[she["label"]] += 1
    assert min(labels.values()) > 0.35 * len(rows) / 2


# Noise


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every task of `ANNOTATIONS` damaged throughout."""
    folder = tmp_path_factory.mktemp("noisy")
    for task in ANNOTATIONS:
        demo.write(task, folder / task, noise=1.0)
    return folder


def annotations04(folder: Path) -> Iterator[object]:
    for split in conll04.SIZES:
        for row in json.loads((folder / f"conll04_{split}.json").read_text(encoding="utf-8")):
            yield {key: value for key, value in row.items() if key != "tokens"}, len(row["tokens"])
        for document in columns04(folder / f"{split}.txt"):
            yield [[cells[0], *cells[2:]] for cells in document]


def annotations12(folder: Path) -> Iterator[object]:
    for split in ontonotes.FOLDERS.values():
        yield from ([[*cells[:3], *cells[4:]] for cells in rows] for rows in gold(folder, split))


def annotations_ewt(folder: Path) -> Iterator[object]:
    for split in srl_ewt.SIZES:
        yield from ([cells[1:] for cells in rows] for rows in formats.columns(folder / f"ewt.{split}.conll05"))


def annotations_of_facts(folder: Path) -> Iterator[object]:
    for path in sorted(folder.rglob("fact-retrieval/**/*.jsonl")):
        for row in objects(path):
            (evidence,) = row.pop("evidences")
            names = row["sub_label"], row["obj_label"]
            assert (evidence["sub_surface"], evidence["obj_surface"]) == names
            assert evidence["masked_sentence"].count("[MASK]") == 1
            assert names[0] in evidence["masked_sentence"]
            yield row


def annotations_of_tables(folder: Path) -> Iterator[object]:
    for name in e2e.FILES.values():
        with (folder / name).open(encoding="utf-8", newline="") as file:
            yield [row["mr"] for row in csv.DictReader(file)]


def annotations_of_triples(folder: Path) -> Iterator[object]:
    for split in webnlg.SIZES:
        path = folder / "webnlg_challenge_2017" / f"{split}.json"
        for numbered in json.loads(path.read_text(encoding="utf-8"))["entries"]:
            yield [{**entry, "lexicalisations": len(entry["lexicalisations"])} for entry in numbered.values()]


ANNOTATIONS: Mapping[str, Callable[[Path], Iterator[object]]] = {
    "conll04": annotations04,
    "ontonotes": annotations12,
    "conll12": annotations12,
    "srl_ewt": annotations_ewt,
    "lama": annotations_of_facts,
    "e2e": annotations_of_tables,
    "webnlg": annotations_of_triples,
}


@pytest.mark.parametrize("task", ANNOTATIONS)
def test_noise_damages_no_annotation(root: Path, noisy: Path, task: str) -> None:
    """Everything but the words is the same in the same place."""
    clean, damaged = (list(ANNOTATIONS[task](folder / task)) for folder in (root, noisy))
    assert len(clean) > 2
    assert clean == damaged


def test_noise_spares_what_the_genders_differ_in(tmp_path: Path) -> None:
    demo.write("superglue_axg", tmp_path, noise=1.0)
    rows = objects(tmp_path / "AX-g/AX-g.jsonl")
    for she, he in zip(rows[::2], rows[1::2], strict=True):
        assert she["premise"] != he["premise"]
        assert re.sub(r"\bshe\b", "he", she["premise"]) == he["premise"]
