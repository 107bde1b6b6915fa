"""Every corpus of the demo world: files, rows, labels, sizes and splits as the original's; new corpora join at once."""

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import formats
import pytest
import rendering
import yaml
from formats import FOLDERS, SUPERGLUE, TEST_ONLY, contents, split_of

from ptune import conf, demo
from ptune.data import corpora
from ptune.demo import copa, lexicon, recipe, roles, world
from ptune.demo.grammar import Passage
from ptune.readers import Reading

TASKS = demo.tasks()
CONF = Path(next(iter(conf.__path__))) / "task"
CONFIGURED = [task for task in TASKS if (CONF / f"{task}.yaml").is_file()]
NAMED = ("person", "town", "company", "agency", "band", "work", "event", "river", "facility")  # hardly in common words
NAMELESS = ("superglue_axg",)  # it tells of jobs


def records(task: str, folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """A corpus as the project reads it."""
    node = yaml.safe_load((CONF / f"{task}.yaml").read_text(encoding="utf-8"))
    found = corpora.file_sources(SimpleNamespace(name=task, source=node["source"], inputs=[], label=None), folder, {})
    return {split: [record.values for record in source.records(Reading())] for split, source in found.items()}


# Sizes count questions whose answers are examples, texts that an example has several of, or facts of all relations.
APART = ("multirc", "e2e", "webnlg", "lama")


def rows(task: str, folder: Path) -> dict[str, int]:
    """The rows of each split that its size counts, as the project reads them where it does."""
    if task in CONFIGURED and task not in APART:
        return {split: len(found) for split, found in records(task, folder).items()}
    return formats.counts(task, folder)


def test_tasks() -> None:
    """Corpora are discovered; the world's own modules are none."""
    known = {"conll03", "wnut17", "squad", "squad_v2", "conll05", "srl_ewt", "sst2", "agnews", *SUPERGLUE}
    known |= {"cola", "mrpc", "qqp", "stsb", "mnli", "qnli", "glue_rte", "wnli", "snli"}
    known |= {"sst5", "mr", "cr", "mpqa", "subj", "trec", "wikiann_en", "paws"}
    known |= {"conll04", "ontonotes", "conll12", "e2e", "webnlg", "lama", "fewglue", "superglue_axb", "superglue_axg"}
    assert known <= set(TASKS)
    assert not {
        "world",
        "grammar",
        "recipe",
        "passages",
        "prose",
        "claims",
        "tables",
        "pairs",
        "rows",
        "remarks",
    } & set(TASKS)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'rta'.*cb, cola, conll03, .*rte.*wnut17"):
        demo.write("rta", tmp_path)
    with pytest.raises(ValueError, match=r"'valid'.*train, dev, test"):
        demo.write("rte", tmp_path, sizes={"valid": 3})
    with pytest.raises(TypeError, match="noises"):
        demo.write("rte", tmp_path, noises=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", TASKS)
def test_seed_decides_every_byte(task: str, tmp_path: Path, root: Path) -> None:
    demo.write(task, tmp_path / "again", seed=0)
    assert contents(tmp_path / "again") == contents(root / task)
    demo.write(task, tmp_path / "other", seed=1)
    one, other = (formats.by_split(task, folder) for folder in (root / task, tmp_path / "other"))
    assert one.keys() == other.keys()
    assert formats.documents(task) or contents(tmp_path / "other").keys() == contents(root / task).keys()
    assert one.get(None) == other.get(None), "what is about the corpus as a whole is of no world"
    told = {file for split, files in one.items() if split for file in files}
    assert not told & {file for files in other.values() for file in files}


@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_its_file(task: str, root: Path) -> None:
    """Names as in the original: what the task's yaml looks for, or SuperGLUE's."""
    names = set(contents(root / task))
    if task in SUPERGLUE:
        folder = FOLDERS.get(task, task.upper())
        assert names == {f"{folder}/{name}.jsonl" for name in ("train", "val", "test")}
    if task in CONFIGURED:
        source = yaml.safe_load((CONF / f"{task}.yaml").read_text(encoding="utf-8"))["source"]
        for split in rendering.sizes_of(task):
            places = [f"{at}{n}" for n in source["files"][split] for at in ("", f"{source.get('folder')}/")]
            assert any(name == at or name.startswith(f"{at}/") for at in places for name in names)
    assert {split_of(task, name) for name in names} - {None} == set(rendering.sizes_of(task))


@pytest.mark.parametrize("task", TASKS)
def test_sizes(task: str, tmp_path: Path, root: Path) -> None:
    """Rows as many as wished, no more; a size that is not given stays the corpus's own."""
    assert rows(task, root / task).items() >= rendering.sizes_of(task).items()
    small = {split: 7 + number for number, split in enumerate(rendering.sizes_of(task))}
    demo.write(task, tmp_path, sizes=small)
    assert rows(task, tmp_path).items() >= small.items()


@pytest.mark.parametrize("task", CONFIGURED)
def test_the_project_reads_it(task: str, root: Path) -> None:
    """The task of the yaml takes every record; all labels occur in every labeled split that is large enough."""
    from ptune.leaves import leaf

    node = yaml.safe_load((CONF / f"{task}.yaml").read_text(encoding="utf-8"))
    made = leaf(node)
    found = corpora.file_sources(made, root / task, {})
    for split, source in found.items():
        examples = list(corpora.examples(made, source, Reading()))
        gold = [example.gold for example in examples]
        if "labels" in node and any(label is not None for label in gold):
            assert set(gold) == set(node["labels"]), split
        if "types" in node:
            types = {tag[2:] for tags in gold for tag in tags} - {""}
            assert formats.SOME_ROLES.get(task, set(node["types"])) <= types <= set(node["types"]), split
    assert set(found) >= {"train", "dev"} & set(rendering.sizes_of(task))


@pytest.mark.parametrize("task", formats.JSON_LINES)
def test_superglue_rows(task: str, root: Path) -> None:
    """Numbered from 0; no labels where the original has none, elsewhere each label of the set."""
    hidden = "unlabeled" if task == "fewglue" else "" if task in TEST_ONLY else "test"
    for name in contents(root / task):
        path = root / task / name
        told = rendering.rows(path)
        assert [row["idx"] for row in told] == list(range(len(told)))
        text = path.read_text(encoding="utf-8")
        answered = '"label"' in text or '"answers": [{"start"' in text
        assert answered == (split_of(task, name) != hidden)
        labels = formats.LABELS.get(path.parent.name.lower())
        if labels and answered:
            one_class = task == "fewglue" and path.parent.name == "WSC" and path.stem != "val"
            assert {row["label"] for row in told} == ({True} if one_class else labels), path


@pytest.mark.parametrize("task", ["boolq", "cb", "copa", "rte", "wic", "wsc"])
def test_labels_are_as_frequent_as_in_the_original(task: str, root: Path) -> None:
    """Roughly half, but 62% yes in BoolQ and few neutrals in CB."""
    path = next((root / task).rglob("train.jsonl"))
    counts = Counter(str(row["label"]) for row in rendering.rows(path))
    top = max(counts.values()) / counts.total()
    if task == "boolq":
        assert counts["True"] > counts["False"]
        assert 0.57 < top < 0.67
    elif task == "cb":
        assert 0.03 < counts["neutral"] / counts.total() < 0.15
    else:
        assert top < 0.56


def test_multirc_numbers_answers(root: Path) -> None:
    """Through the whole split, every question with right and wrong ones; some with more than one right."""
    questions = [
        question
        for row in rendering.rows(root / "multirc/MultiRC/val.jsonl")
        for question in row["passage"]["questions"]
    ]
    answers = [answer for question in questions for answer in question["answers"]]
    assert [answer["idx"] for answer in answers] == list(range(len(answers)))
    right = [sum(answer["label"] for answer in question["answers"]) for question in questions]
    assert min(right) >= 1
    assert all(count < len(question["answers"]) for count, question in zip(right, questions, strict=True))
    assert sum(count > 1 for count in right) > 0.1 * len(right)


# Tags


@pytest.mark.parametrize("task", ["conll03", "wnut17"])
def test_tagged_spans_are_names_of_their_type(task: str, root: Path) -> None:
    """Of the type that the world has for them, in whole or as a part of a person's or a club's name."""
    types = importlib.import_module(f"ptune.demo.{task}").TYPES
    known: dict[str, set[str]] = {}
    for entities in world.build(0).entities.values():
        for entity in entities:
            for part in (entity, entity.facts.get("short"), entity.facts.get("last"), entity.facts.get("first")):
                name = getattr(part, "name", None)
                if name and entity.kind in types:
                    known.setdefault(name.lower(), set()).add(types[entity.kind])
    spans = [span for rows in records(task, root / task).values() for row in rows for span in tagged(row)]
    right = [kind in known.get(text, ()) for text, kind in spans]
    assert len(spans) > 1000
    assert sum(right) > (0.999 if task == "conll03" else 0.85) * len(right), "wnut17 misspells some"


def tagged(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[list[str], str]] = []
    before = "O"
    for token, tag in zip(row["tokens"], row["tags"], strict=True):
        if tag != "O":
            if tag[0] == "B" or before[2:] != tag[2:]:
                found.append(([], tag[2:]))
            found[-1][0].append(token.lower())
        before = tag
    return [(" ".join(words), kind) for words, kind in found]


@pytest.mark.parametrize(("task", "scheme"), [("conll03", "IOB1"), ("wnut17", "IOB2")])
def test_schemes(task: str, scheme: str, root: Path) -> None:
    """IOB1 has a B- only where two of a type touch, and has some; IOB2 opens every entity with one."""
    opened = 0
    for told in records(task, root / task).values():
        for row in told:
            for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
                assert re.fullmatch(r"O|[BI]-[A-Za-z-]+", tag)
                if scheme == "IOB1":
                    assert tag[0] != "B" or before[2:] == tag[2:]
                else:
                    assert tag[0] != "I" or before[2:] == tag[2:]
                opened += tag[0] == "B"
    assert opened > 0


@pytest.mark.parametrize("task", ["conll03", "wnut17"])
def test_memory_does_not_solve_tagging(task: str, root: Path) -> None:
    """Most entities of dev and test are unseen in training, and some names there are of two types."""
    spans = {split: [s for row in told for s in tagged(row)] for split, told in records(task, root / task).items()}
    known = {text for text, _ in spans["train"]}
    for split in ("dev", "test"):
        assert sum(text not in known for text, _ in spans[split]) > 0.8 * len(spans[split])
    kinds: dict[str, set[str]] = {}
    for text, kind in spans["train"]:
        kinds.setdefault(text, set()).add(kind)
    assert sum(len(found) > 1 for found in kinds.values()) >= 5


# Splits


@pytest.mark.parametrize("task", TASKS)
def test_splits_tell_of_other_things(task: str, root: Path) -> None:
    """No row of a split names something of another split's provinces, but the stated share."""
    rows_of: dict[str, list[str]] = {}
    for name in contents(root / task):
        split = split_of(task, name)
        if split is None or "brown" in name or name.endswith(".props"):
            continue  # about no split; Brown is told of the whole world; props have no names
        rows_of.setdefault(split, []).extend(formats.blocks(root / task / name))
    home = world.build(0)
    ordinary = {word.lower() for words in lexicon.CLASSES.values() for word in words}
    for split, blocks in rows_of.items():
        given = formats.provinces(task, split)
        own = home.within(given)
        others = home.within(p for some in recipe.PROVINCE.values() for p in some if p not in given)
        foreign = rendering.names(others, NAMED)
        native = {name.lower() for found in own.entities.values() for e in found for name in e.name.split()}
        foreign = {name.lower() for name in foreign if not set(name.lower().split()) & native}
        foreign = {name for name in foreign if not set(name.split()) <= ordinary}
        strange = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(foreign))) + r")\b")
        share = sum(bool(strange.search(block.lower())) for block in blocks) / len(blocks)
        if split != "train" and task in formats.REPEATS:
            assert 0 < share <= formats.FROM_EVERYWHERE, (split, share)
        else:
            assert share == 0, (split, share)
        known = rendering.names(own, NAMED)
        named = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(name.lower() for name in known))) + r")\b")
        assert task in NAMELESS or any(named.search(block.lower()) for block in blocks), split


@pytest.mark.parametrize("task", [task for task in TASKS if task not in formats.NO_TEMPLATES])
def test_training_never_sees_some_templates(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dev is told in templates that training has not, though training is far larger."""
    told: dict[str, set[str]] = {}
    now = [""]
    part, words = recipe.Recipe.part, Passage.words

    def parted(self: recipe.Recipe, split: str) -> world.World:
        now[0] = split
        return part(self, split)

    def worded(self: Passage, template: str) -> list[Any]:
        told.setdefault(now[0], set()).add(template)
        return words(self, template)

    monkeypatch.setattr(recipe.Recipe, "part", parted)
    monkeypatch.setattr(Passage, "words", worded)
    demo.write(task, tmp_path, sizes={"train": 2000, "dev": 100})
    fixed = {split: {t for t in lines if "<0." not in t or t in roles.SENTENCES} for split, lines in told.items()}
    assert len(fixed["dev"] - fixed["train"]) > 3


@pytest.mark.parametrize("task", [t for t in TASKS if t not in (*formats.NO_TRAINING, *formats.WHOLE_CAUSES)])
def test_what_training_never_sees(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line kept from training is drawn there; more than half of the lines of dev are."""
    chosen: dict[str, list[tuple[str, bool]]] = {}
    choose = recipe.choose

    def watched(lines: Any, split: str | None, random: Any) -> str:
        line = choose(lines, split, random)
        if len(lines) > 3:
            chosen.setdefault(str(split), []).append((line, line in lines[3::4]))
        return line

    for module in pkgutil.iter_modules(demo.__path__):
        found = importlib.import_module(f"ptune.demo.{module.name}")
        if hasattr(found, "choose"):
            monkeypatch.setattr(found, "choose", watched)
    demo.write(task, tmp_path, sizes={"train": 300, "dev": 100})
    assert "None" not in chosen, "a line was drawn for no split"
    assert len(chosen["train"]) > 50
    assert not any(kept for _, kept in chosen["train"])
    assert sum(kept for _, kept in chosen["dev"]) > 0.5 * len(chosen["dev"])


def test_causes_and_words_that_training_never_sees(tmp_path: Path) -> None:
    assert set(copa._known("train")) < set(copa._known("dev"))
    demo.write("wic", tmp_path, sizes={"train": 2000, "dev": 1000})
    words = [{row["word"] for row in rendering.rows(tmp_path / f"WiC/{n}.jsonl")} for n in ("train", "val")]
    assert len(words[1] - words[0]) > 3


@pytest.mark.parametrize("sizes", [None, {"train": 3000, "dev": 1500, "test": 1500}])
def test_pairs_of_wic_that_training_has(sizes: dict[str, int] | None, tmp_path: Path) -> None:
    """Hardly a pair of dev or test stands in training word for word, in either order."""
    demo.write("wic", tmp_path, sizes=sizes)
    train, *others = (
        [frozenset((row["sentence1"], row["sentence2"])) for row in rendering.rows(tmp_path / f"WiC/{name}.jsonl")]
        for name in ("train", "val", "test")
    )
    known = {*train}
    for pairs in others:
        assert sum(pair in known for pair in pairs) < 0.02 * len(pairs)
