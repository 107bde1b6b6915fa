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
        available = [name for name in corpus.splits if corpus.labeled(name)]
        missing = "labels for" if split in corpus.splits else "split"
        raise ConfigError([f"split: {task.name} has no {missing} '{split}'; one of: {', '.join(available)}"])
    return split


def announce(corpus: Corpus, progress: Progress) -> None:
    """Tell what is to be known of a corpus before a score on it is read."""
    if corpus.synthetic:
        progress.say(SYNTHETIC, style="bold yellow")
    for warning in corpus.warnings:
        progress.warn(warning)


def split_changed(run: Restored, split: str, checksum: str, progress: Progress) -> bool:
    """Whether a split of the run's own task has other examples than when the run was made, which is said aloud."""
    recorded = lookup(run.folder.read_json("result.json"), f"checksums.{split}")
    if not recorded or recorded == checksum:
        return False
    progress.warn(
        f"{split}: its examples differ from those that {run.folder.path} was scored on (sha256 {checksum[:12]} now, "
        f"{str(recorded)[:12]} in its result.json); the two scores are not comparable"
    )
    return True


def without_limits(data: Data, task: Task) -> Data:
    """The run's data settings for another corpus, of which all is taken, in the run's layout where it has that."""
    demo = replace(data.demo, train=None, dev=None, test=None)
    limits = dict.fromkeys(("max_train", "max_dev", "max_test", "per_class", "draw"))
    layout = data.layout if data.layout in {task.source.get("layout"), *task.source.get("layouts", ())} else None
    return replace(data, demo=demo, layout=layout, **limits)  # type: ignore[arg-type]


def another(config: dict[str, Any], run: Restored) -> Task:
    """The task to evaluate on; raises ConfigError unless the run's template and head can answer it."""
    task = make_task(config, run.settings.packages)
    for part in ("readout", "labels", "fields", "segments", "marks"):
        expected, value = getattr(run.task, part), getattr(task, part)
        if expected != value:
            raise ConfigError(
                [
                    f"task: the {part} of {task.name} ({value}) and of the run's task {run.task.name} ({expected}) "
                    "differ; name a task that asks the same question, or train a run on this one"
                ]
            )
    decisions = run.task.decide({})  # by the corpus that was trained on
    return make_task({**config, **decisions}, run.settings.packages) if decisions else task
