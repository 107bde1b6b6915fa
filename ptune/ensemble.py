"""Several runs as one: their prompts answer every example in shared passes, and the majority is what is predicted.

As the prompt ensembles of Soft Prompt Tuning (Lester et al. 2021, arXiv 2104.08691, section 6).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ptune.config import Data, Eval
from ptune.data.stored import Stored, plain
from ptune.errors import ConfigError, PtuneError
from ptune.progress import Progress, interval_text

if TYPE_CHECKING:
    from ptune.data.corpora import Corpus
    from ptune.runs.restore import Restored
    from ptune.tasks import Prediction


def ensemble(s: Eval, paths: Sequence[str], progress: Progress) -> None:
    """Print the scores of the runs' vote beside each run's own, and keep them in the first one's folder as
    ensemble_SPLIT.json. Raises ConfigError, and PtuneError for runs that cannot vote.
    """
    from ptune.data.cache import Cache
    from ptune.data.corpora import cache_folder
    from ptune.data.rendered import Rendered
    from ptune.data.splits import read_corpus
    from ptune.data.stored import account
    from ptune.evaluate import Evaluation, Request, predict_together, prediction_rows
    from ptune.runs.asked import announce, labeled_split, split_changed
    from ptune.runs.restore import restore_together

    if s.task is not None or s.data is not None:
        raise ConfigError(["task: runs vote on their own task; leave out task and data"])
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise ConfigError(["run: a run is named twice; each run has one vote"])
    runs = restore_together(paths, s.device, packages=s.packages)
    first = runs[0]
    for path, run in zip(paths, runs, strict=True):
        if (run.settings.task, common_data(run.settings.data)) != (
            first.settings.task,
            common_data(first.settings.data),
        ):
            raise PtuneError(
                f"{path}: its task or data differ from those of {paths[0]}; runs that vote must share both"
            )
    cache = Cache(cache_folder, progress, first.settings.data.cache)
    corpus, reported = read_corpus(first.settings, first.task, cache)
    split = labeled_split(first.task, corpus, s.split or reported)
    if problem := unlike(runs, corpus, split):
        others = [name for name in corpus.splits if name != "train" and corpus.labeled(name)]
        fair = [name for name in others if not unlike(runs, corpus, name)]
        cure = f"one of: {', '.join(fair)}" if fair else "runs with the same held_out_seed hold out the same examples"
        raise ConfigError([f"split: {problem}; {cure}"])
    announce(corpus, progress)
    examples = corpus.splits[split]
    checksum = account(examples)["sha256"]
    other = split_changed(first, split, checksum, progress)
    asked = []
    for run in runs:
        most = run.settings.data.tokens
        template = run.model.member(run.member).template
        asked.append(
            Request(run.member, run.task, examples, Rendered(examples, run.task, template, most, cache, split))
        )
    said = predict_together(first.model, asked, s.batch_size)
    metric = str(first.settings.metric)
    scores = [run.task.score(examples, predictions) for run, predictions in zip(runs, said, strict=True)]
    voted = [vote(each) for each in zip(*said, strict=True)]
    found = Evaluation(split, first.task.score(examples, voted), voted, examples, 0.0)
    interval = found.interval(first.task, metric)
    each = [one[metric] for one in scores]
    first.folder.write_json(
        f"ensemble_{split}.json",
        {
            "split": split,
            "examples": len(examples),
            "sha256": checksum,
            **({"changed": True} if other else {}),
            "metric": metric,
            "scores": found.scores,
            "interval": interval,
            "mean": fmean(each),
            "best": max(each),
            "runs": [{"run": path, "scores": one} for path, one in zip(paths, scores, strict=True)],
            "synthetic": corpus.synthetic,
            "data": corpus.origin,
        },
    )
    first.folder.write_jsonl(f"predictions_ensemble_{split}.jsonl", prediction_rows(found))
    title = f"{len(runs)} runs on {first.task.name}{' (synthetic)' if corpus.synthetic else ''}"
    table = rows(runs, each, found.scores[metric], interval)
    progress.table(["run", f"{split} {metric}", "95% interval"], table, title)


def rows(runs: Sequence[Restored], each: Sequence[float], voted: float, interval: Any) -> list[list[str]]:
    """Each run's score, their mean, the best, and that of the vote."""
    own = [[str(run.folder.path), f"{score:.2f}", ""] for run, score in zip(runs, each, strict=True)]
    summary = [["mean", f"{fmean(each):.2f}", ""], ["best", f"{max(each):.2f}", ""]]
    return [*own, *summary, [f"vote of {len(runs)}", f"{voted:.2f}", interval_text(interval) if interval else ""]]


def common_data(data: Data) -> Data:
    """What runs that vote have alike of their data: the length of a text is a run's own, as that of its prompt is."""
    return replace(data, max_length=None, bucket=True, cache=True)


def unlike(runs: Sequence[Restored], corpus: Corpus, split: str) -> str:
    """Which of the runs was trained or selected on examples of a split of the first one's corpus that another one was
    not, since their vote would say nothing of new ones; else nothing.
    """
    examples = corpus.splits[split]
    scored = {*(examples.texts("id") if isinstance(examples, Stored) else (example.id for example in examples))}
    known = [ids_seen(run, corpus, split, scored) for run in runs]
    for run, own in zip(runs, known, strict=True):
        for other, theirs in zip(runs, known, strict=True):
            for what, ids in own.items():
                if more := len(ids - theirs[what]):
                    return (
                        f"{run.folder.path} was {what} on {more} of the {len(scored)} examples of '{split}', but "
                        f"{other.folder.path} was not"
                    )
    return ""


def ids_seen(run: Restored, corpus: Corpus, split: str, scored: set[str]) -> dict[str, set[str]]:
    """Which of the ids of a split are those of examples that the run was trained on, and selected on.

    Raises PtuneError where its folder does not tell.
    """
    path = run.folder.file("splits.jsonl")
    if not path.is_file():
        raise PtuneError(f"{path}: missing; it lists what the run was trained on, and without it the run cannot vote")
    told = {str(row.get("split")): row.get("ids") for row in run.folder.read_jsonl("splits.jsonl")}
    found = {}
    for what, own in (("trained", "train"), ("selected", run.settings.select_on)):
        try:
            found[what] = among(told.get(own) or (), scored) if home(own, corpus) == home(split, corpus) else set()
        except (TypeError, ValueError):
            raise PtuneError(f"{path}: damaged (ids must be texts or pairs of numbers)") from None
    return found


def home(split: str, corpus: Corpus) -> Any:
    """What the ids of a split count in: its file, which may be another one's too; of what is held out the other's."""
    of = corpus.origin.get("held_out", {}).get("from", "train") if split == "held_out" else split
    return corpus.origin["files"].get(of, of)


def among(ids: Sequence[Any], wanted: set[str]) -> set[str]:
    """Which of the ids that are wanted an account has, where a pair stands for numbers in a row."""
    found = {each for each in ids if isinstance(each, str)} & wanted
    for low, high in (each for each in ids if not isinstance(each, str)):
        if high - low < len(wanted):
            found |= {str(number) for number in range(low, high + 1)} & wanted
        else:
            found |= {each for each in wanted if plain(each) and low <= int(each) <= high}
    return found


def vote(predictions: Sequence[Prediction]) -> Prediction:
    """What most of them say, of equals what the first of them says; of numbers the mean. Scores are means."""
    if all(isinstance(prediction.value, float) for prediction in predictions):
        return predictions[0]._replace(value=fmean(prediction.value for prediction in predictions), scores=None)
    first, *others = (prediction.scores or {} for prediction in predictions)
    alike = bool(first) and all(each.keys() == first.keys() for each in others)  # not of the words that each likes best
    mean = {name: fmean(each[name] for each in (first, *others)) for name in first} if alike else None
    values = [json.dumps(prediction.value, sort_keys=True) for prediction in predictions]
    counts = Counter(values)
    return predictions[max(range(len(values)), key=lambda i: (counts[values[i]], -i))]._replace(scores=mean)
