"""What a finished run can be asked: its own split as it is now, or another task that its template and head answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ptune.checks import lookup
from ptune.config import Data
from ptune.data.source import make_task
from ptune.data.splits import SYNTHETIC
from ptune.errors import ConfigError

if TYPE_CHECKING:
    from ptune.data.corpora import Corpus
    from ptune.progress import Progress
    from ptune.runs.restore import Restored
    from ptune.tasks import Task


def labeled_split(task: Task, corpus: Corpus, split: str) -> str:
    """The split. Raises ConfigError where the corpus has none of this name, or no labels for it."""
    if not corpus.labeled(split):
        labeled = [name for name in corpus.splits if corpus.labeled(name)]
        what = "labels for" if split in corpus.splits else "split"
        raise ConfigError([f"split: {task.name} has no {what} '{split}'; one of: {', '.join(labeled)}"])
    return split


def announce(corpus: Corpus, progress: Progress) -> None:
    """Tell what is to be known of a corpus before a score on it is read."""
    if corpus.synthetic:
        progress.say(SYNTHETIC, style="bold yellow")
    for line in corpus.warnings:
        progress.warn(line)


def split_changed(run: Restored, split: str, checksum: str, progress: Progress) -> bool:
    """Whether a split of the run's own task has other examples than when the run was made, which is said aloud."""
    told = lookup(run.folder.read_json("result.json"), f"checksums.{split}")
    if not told or told == checksum:
        return False
    progress.warn(
        f"{split}: its examples differ from those that {run.folder.path} was scored on (sha256 {checksum[:12]} now, "
        f"{str(told)[:12]} in its result.json); the two scores are not comparable"
    )
    return True


def without_limits(data: Data, task: Task) -> Data:
    """The run's data settings for another corpus, of which all is taken, in the run's layout where it has that."""
    demo = replace(data.demo, train=None, dev=None, test=None)
    sizes = dict.fromkeys(("max_train", "max_dev", "max_test", "per_class", "draw"))
    layout = data.layout if data.layout in {task.source.get("layout"), *task.source.get("layouts", ())} else None
    return replace(data, demo=demo, layout=layout, **sizes)  # type: ignore[arg-type]


def another(config: dict[str, Any], run: Restored) -> Task:
    """The task to evaluate on; raises ConfigError unless the run's template and head can answer it."""
    task = make_task(config, run.settings.packages)
    for what in ("readout", "labels", "fields", "segments", "marks"):
        ours, theirs = getattr(run.task, what), getattr(task, what)
        if ours != theirs:
            raise ConfigError(
                [
                    f"task: the {what} of {task.name} ({theirs}) and of the run's task {run.task.name} ({ours}) "
                    "differ; name a task that asks the same question, or train a run on this one"
                ]
            )
    decided = run.task.decide({})  # by the corpus that was trained on
    return make_task({**config, **decided}, run.settings.packages) if decided else task
