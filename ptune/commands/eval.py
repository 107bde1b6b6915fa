"""`ptune eval`: score a finished run on one of its task's splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ptune.checks import too_small, unread_root
from ptune.config import Eval
from ptune.errors import ConfigError
from ptune.progress import Progress, interval_text

if TYPE_CHECKING:
    from ptune.data.cache import Cache
    from ptune.data.corpora import Corpus
    from ptune.runs.restore import Restored
    from ptune.tasks import Task


def main(cfg: DictConfig) -> None:
    """Print the scores, and keep them in the run folder as eval_SPLIT.json, or eval_TASK_SPLIT.json of another task.

    A run that has one tells its W&B run, too. Several runs, parted by commas, vote, see ptune.ensemble.
    """
    from ptune.build import settings_of
    from ptune.data.source import task_problems

    s = settings_of(cfg, Eval)
    of_task = task_problems(s.task, s.packages) if s.task is not None else []
    if problems := [*too_small({"batch_size": s.batch_size}), *unread_root(s.data), *of_task]:
        raise ConfigError(problems)
    from ptune.ensemble import ensemble
    from ptune.runs.restore import folders, restore

    with Progress(s.quiet) as progress:
        if len(paths := folders(s.run)) > 1:
            ensemble(s, paths, progress)
        else:
            evaluate_again(s, restore(s.run, s.device, packages=s.packages), progress)


def evaluate_again(s: Eval, run: Restored, progress: Progress) -> None:
    """Score one run. Raises ConfigError for a split without labels, and for a task that the run cannot answer."""
    from ptune.breakdown import breakdown, tables
    from ptune.data.cache import Cache
    from ptune.data.corpora import cache_folder
    from ptune.data.rendered import Rendered
    from ptune.data.stored import account
    from ptune.evaluate import Request, evaluate, evaluate_majority, prediction_rows
    from ptune.runs.asked import announce, labeled_split, split_changed

    cache = Cache(cache_folder, progress, (s.data or run.settings.data).cache)
    task, corpus, reported = corpus_of(s, run, cache)
    split = labeled_split(task, corpus, s.split or reported)
    announce(corpus, progress)
    examples = corpus.splits[split]
    checksum = account(examples)["sha256"]
    changed = s.task is None and split_changed(run, split, checksum, progress)
    template, most = run.model.member(0).template, run.settings.data.tokens
    rendered = Rendered(examples, task, template, most, cache, split)
    evaluation = evaluate(run.model, Request(0, task, examples, rendered), split, s.batch_size)
    majority = evaluate_majority(task, corpus.splits.get("train", examples), split, examples)
    metric = str(run.settings.metric) if s.task is None else task.headline
    interval, broken_down = evaluation.interval(task, metric), breakdown(task, evaluation, metric)
    name = split if s.task is None else f"{task.name}_{split}"
    run.folder.write_json(f"breakdowns/eval_{name}.json", broken_down)
    if s.task is not None:
        run.folder.write_jsonl(f"predictions_{name}.jsonl", prediction_rows(evaluation))
    run.folder.write_json(
        f"eval_{name}.json",
        {
            **({"task": task.name} if s.task is not None else {}),
            "split": split,
            "examples": len(examples),
            "sha256": checksum,
            **({"changed": True} if changed else {}),
            "scores": evaluation.scores,
            "metric": metric,
            "interval": interval,
            "majority": majority.scores,
            "breakdown": f"breakdowns/eval_{name}.json",
            **rendered.reading(),
            "seconds": evaluation.seconds,
            "synthetic": corpus.synthetic,
            "data": corpus.origin,
        },
    )
    progress.table(
        ["metric", split, "95% interval", "majority"],
        [
            [key, f"{value:.2f}", interval_text(interval) if key == metric else "", f"{majority.scores[key]:.2f}"]
            for key, value in evaluation.scores.items()
        ],
        title=f"{run.settings.method['name']} on {task.name}{' (synthetic)' if corpus.synthetic else ''}",
    )
    track(run, f"eval_{name}", evaluation.scores, tables(broken_down), progress)


def corpus_of(s: Eval, run: Restored, cache: Cache) -> tuple[Task, Corpus, str]:
    """The task to evaluate on, its corpus, and the split that is scored where none is named."""
    from ptune.data.corpora import load
    from ptune.data.splits import read_corpus, suit
    from ptune.runs.asked import another, without_limits

    if s.task is None:
        if s.data is not None:
            raise ConfigError(
                ["data: a run's own task is evaluated on the run's own data; data is only used with task=..."]
            )
        return run.task, *read_corpus(run.settings, run.task, cache)
    task = another(s.task, run)
    corpus = load(task, s.data or without_limits(run.settings.data, task), cache)
    suit(run.settings, task, corpus)
    return task, corpus, "test"


def track(
    run: Restored,
    name: str,
    scores: Mapping[str, float],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    progress: Progress,
) -> None:
    """Tell the run's own W&B run of an evaluation, or say that there is none."""
    from ptune.runs.track import tracker_again

    tracker = tracker_again(run.settings.tracker, run.folder.path, progress.warn)
    if tracker is None:
        progress.say("the run has no W&B run to update; its folder has everything")
        return
    step = int(run.folder.read_json("result.json")["steps"])
    tracker.tables(name, step, tables)
    tracker.log({"event": "eval", "split": name, "step": step, "scores": scores})
    tracker.finish({name: scores}, {})
