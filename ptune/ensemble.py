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
    first_run = runs[0]
    for path, run in zip(paths, runs, strict=True):
        if (run.settings.task, common_data(run.settings.data)) != (
            first_run.settings.task,
            common_data(first_run.settings.data),
        ):
            raise PtuneError(
                f"{path}: its task or data differ from those of {paths[0]}; runs that vote must share both"
            )
    cache = Cache(cache_folder, progress, first_run.settings.data.cache)
    corpus, report_split = read_corpus(first_run.settings, first_run.task, cache)
    split = labeled_split(first_run.task, corpus, s.split or report_split)
    if problem := unlike(runs, corpus, split):
        labeled_splits = [name for name in corpus.splits if name != "train" and corpus.labeled(name)]
        fair_splits = [name for name in labeled_splits if not unlike(runs, corpus, name)]
        advice = (
            f"one of: {', '.join(fair_splits)}"
            if fair_splits
            else "runs with the same held_out_seed hold out the same examples"
        )
        raise ConfigError([f"split: {problem}; {advice}"])
    announce(corpus, progress)
    examples = corpus.splits[split]
    checksum = account(examples)["sha256"]
    has_changed = split_changed(first_run, split, checksum, progress)
    requests = []
    for run in runs:
        max_tokens = run.settings.data.tokens
        template = run.model.member(run.member).template
        requests.append(
            Request(run.member, run.task, examples, Rendered(examples, run.task, template, max_tokens, cache, split))
        )
    run_predictions = predict_together(first_run.model, requests, s.batch_size)
    metric = str(first_run.settings.metric)
    scores = [run.task.score(examples, predictions) for run, predictions in zip(runs, run_predictions, strict=True)]
    votes = [vote(answers) for answers in zip(*run_predictions, strict=True)]
    evaluation = Evaluation(split, first_run.task.score(examples, votes), votes, examples, 0.0)
    interval = evaluation.interval(first_run.task, metric)
    metric_scores = [run_scores[metric] for run_scores in scores]
    first_run.folder.write_json(
        f"ensemble_{split}.json",
        {
            "split": split,
            "examples": len(examples),
            "sha256": checksum,
            **({"changed": True} if has_changed else {}),
            "metric": metric,
            "scores": evaluation.scores,
            "interval": interval,
            "mean": fmean(metric_scores),
            "best": max(metric_scores),
            "runs": [{"run": path, "scores": run_scores} for path, run_scores in zip(paths, scores, strict=True)],
            "synthetic": corpus.synthetic,
            "data": corpus.origin,
        },
    )
    first_run.folder.write_jsonl(f"predictions_ensemble_{split}.jsonl", prediction_rows(evaluation))
    title = f"{len(runs)} runs on {first_run.task.name}{' (synthetic)' if corpus.synthetic else ''}"
    table = rows(runs, metric_scores, evaluation.scores[metric], interval)
    progress.table(["run", f"{split} {metric}", "95% interval"], table, title)


def rows(runs: Sequence[Restored], each: Sequence[float], voted: float, interval: Any) -> list[list[str]]:
    """Each run's score, their mean, the best, and that of the vote."""
    run_rows = [[str(run.folder.path), f"{score:.2f}", ""] for run, score in zip(runs, each, strict=True)]
    summary_rows = [["mean", f"{fmean(each):.2f}", ""], ["best", f"{max(each):.2f}", ""]]
    return [
        *run_rows,
        *summary_rows,
        [f"vote of {len(runs)}", f"{voted:.2f}", interval_text(interval) if interval else ""],
    ]


def common_data(data: Data) -> Data:
    """What runs that vote have alike of their data: the length of a text is a run's own, as that of its prompt is."""
    return replace(data, max_length=None, bucket=True, cache=True)


def unlike(runs: Sequence[Restored], corpus: Corpus, split: str) -> str:
    """Which of the runs was trained or selected on examples of a split of the first one's corpus that another one was
    not, since their vote would say nothing of new ones; else nothing.
    """
    examples = corpus.splits[split]
    split_ids = {*(examples.texts("id") if isinstance(examples, Stored) else (example.id for example in examples))}
    seen_ids = [ids_seen(run, corpus, split, split_ids) for run in runs]
    for run, own_ids in zip(runs, seen_ids, strict=True):
        for other_run, other_ids in zip(runs, seen_ids, strict=True):
            for use, ids in own_ids.items():
                if count := len(ids - other_ids[use]):
                    return (
                        f"{run.folder.path} was {use} on {count} of the {len(split_ids)} examples of '{split}', but "
                        f"{other_run.folder.path} was not"
                    )
    return ""


def ids_seen(run: Restored, corpus: Corpus, split: str, scored: set[str]) -> dict[str, set[str]]:
    """Which of the ids of a split are those of examples that the run was trained on, and selected on.

    Raises PtuneError where its folder does not tell.
    """
    path = run.folder.file("splits.jsonl")
    if not path.is_file():
        raise PtuneError(f"{path}: missing; it lists what the run was trained on, and without it the run cannot vote")
    ids_by_split = {str(row.get("split")): row.get("ids") for row in run.folder.read_jsonl("splits.jsonl")}
    seen_ids = {}
    for use, used_split in (("trained", "train"), ("selected", run.settings.select_on)):
        try:
            seen_ids[use] = (
                among(ids_by_split.get(used_split) or (), scored)
                if home(used_split, corpus) == home(split, corpus)
                else set()
            )
        except (TypeError, ValueError):
            raise PtuneError(f"{path}: damaged (ids must be texts or pairs of numbers)") from None
    return seen_ids


def home(split: str, corpus: Corpus) -> Any:
    """What the ids of a split count in: its file, which may be another one's too; of what is held out the other's."""
    origin_split = corpus.origin.get("held_out", {}).get("from", "train") if split == "held_out" else split
    return corpus.origin["files"].get(origin_split, origin_split)


def among(ids: Sequence[Any], wanted: set[str]) -> set[str]:
    """Which of the ids that are wanted an account has, where a pair stands for numbers in a row."""
    matches = {text for text in ids if isinstance(text, str)} & wanted
    for low, high in (pair for pair in ids if not isinstance(pair, str)):
        if high - low < len(wanted):
            matches |= {str(number) for number in range(low, high + 1)} & wanted
        else:
            matches |= {text for text in wanted if plain(text) and low <= int(text) <= high}
    return matches


def vote(predictions: Sequence[Prediction]) -> Prediction:
    """What most of them say, of equals what the first of them says; of numbers the mean. Scores are means."""
    if all(isinstance(prediction.value, float) for prediction in predictions):
        return predictions[0]._replace(value=fmean(prediction.value for prediction in predictions), scores=None)
    first_scores, *other_scores = (prediction.scores or {} for prediction in predictions)
    same_names = bool(first_scores) and all(
        scores.keys() == first_scores.keys() for scores in other_scores
    )  # not of the words that each likes best
    mean_scores = (
        {name: fmean(scores[name] for scores in (first_scores, *other_scores)) for name in first_scores}
        if same_names
        else None
    )
    values = [json.dumps(prediction.value, sort_keys=True) for prediction in predictions]
    counts = Counter(values)
    return predictions[max(range(len(values)), key=lambda i: (counts[values[i]], -i))]._replace(scores=mean_scores)
