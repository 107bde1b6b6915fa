"""SQuAD 2.0: as SQuAD 1.1, with questions that look answerable and are not.

They ask for a fact that the passage leaves out of the thing it is about; where it can, it tells the like of another.
"""

from pathlib import Path

from ptune.demo.recipe import Recipe
from ptune.demo.squad import write_split

SIZES = {"train": 1600, "dev": 400}
FILES = {"train": "train-v2.0.json", "dev": "dev-v2.0.json"}
IMPOSSIBLE = {"train": 0.4, "dev": 0.62}


def write(recipe: Recipe, folder: Path) -> None:
    """Write `train-v2.0.json` and `dev-v2.0.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        write_split(recipe, split, folder / name, "v2.0", IMPOSSIBLE[split])
