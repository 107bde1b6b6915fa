"""MNLI: does a claim follow from a text, contradict it, or is it left open? In genres that training has, or has not."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from ptune.demo import pairs, rows
from ptune.demo.recipe import Recipe

SIZES = rows.SIZES
LABELS = ("entailment", "neutral", "contradiction")
GENRES = {"matched": ("news", "letter"), "mismatched": ("talk", "guide")}
TEXTS = (
    *("index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse"),
    *("sentence2_parse", "sentence1", "sentence2"),
)
VOTES = ("label1", "label2", "label3", "label4", "label5")


def write(recipe: Recipe, folder: Path) -> None:
    """Write `MNLI/train.tsv` and `MNLI/{dev,test}_{matched,mismatched}.tsv`, test without labels, without parses."""
    for split in recipe.sizes:
        columns = TEXTS if split == "test" else (*TEXTS, *(VOTES[:1] if split == "train" else VOTES), "gold_label")
        for kind, genres in GENRES.items():
            if split != "train" or kind == "matched":
                name = split if split == "train" else f"{split}_{kind}"
                random = recipe.random(split if kind == "matched" else name)
                rows.table(folder / "MNLI" / f"{name}.tsv", columns, examples(recipe, split, random, genres))


def examples(recipe: Recipe, split: str, random: Random, genres: tuple[str, ...]) -> Iterator[rows.Row]:
    """Premises of some genres with their hypotheses, a third of each label."""
    noise = recipe.random(f"{split} {genres[0]} noise")
    for number in range(recipe.sizes[split]):
        label, genre = random.choice(LABELS), random.choice(genres)
        n_distractors = random.randint(0, (recipe.difficulty.distractors + 1) // 2)
        premise, hypothesis = pairs.inference(recipe, split, random, noise, label, genre, n_distractors)
        about = {"promptID": str(number), "pairID": f"{number}{label[0]}", "genre": genre}
        yield {
            **about,
            "sentence1": premise,
            "sentence2": hypothesis,
            "gold_label": label,
            **dict.fromkeys(VOTES, label),
        }
