"""Files as leaderboards and official scorers take them: SuperGLUE's JSON lines, GLUE's tables, SQuAD's json.

A task's yaml says which: source.submission {format, files: {split: name}, labels: {ours: theirs}}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptune.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from ptune.batch import Example
    from ptune.config import Predict
    from ptune.data.corpora import Corpus
    from ptune.progress import Progress
    from ptune.runs.restore import Restored
    from ptune.tasks import Prediction, Task

Files = dict[str, str]


def submit(s: Predict, run: Restored, progress: Progress) -> None:
    """Predict every row of the splits that are handed in, and write the files into `output`, else RUN/submission."""
    from ptune.data.cache import Cache
    from ptune.data.corpora import cache_folder, load
    from ptune.data.rendered import Rendered
    from ptune.data.splits import SYNTHETIC
    from ptune.evaluate import Request, predict
    from ptune.runs.asked import another, without_limits

    task = run.task if s.task is None else another(s.task, run)
    form = task.source.get("submission")
    if form is None:
        raise ConfigError([f"submission: {task.name} has no leaderboard whose format is known; leave it out"])
    ours = run.settings.data if s.task is None else without_limits(run.settings.data, task)
    cache = Cache(cache_folder, progress, (s.data or ours).cache)
    layout = (s.data or ours).layout
    if layout in task.source.get("layouts", {}):
        raise ConfigError(
            [
                f"submission: the test examples of layout {layout} are not the leaderboard's; set data=local "
                f"data.root=DIR, the folder with {task.name}'s own files"
            ]
        )
    corpus = load(task, replace(s.data or ours, max_dev=None, max_test=None), cache)  # a part would not be taken
    folder = run.folder.file("submission") if s.output == "-" else Path(s.output)
    if corpus.synthetic:
        progress.say(SYNTHETIC, style="bold yellow")
    check(task, corpus, form["files"], progress)
    template, most = run.model.member(0).template, run.settings.data.tokens
    for split, name in form["files"].items():
        examples = corpus.splits[split]
        rendered = Rendered(examples, task, template, most, cache, split)
        predictions = predict(run.model, Request(0, task, examples, rendered), s.batch_size)
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in FORMATS[form["format"]](task, name, examples, predictions).items():
            (folder / file).write_text(text, encoding="utf-8")
            progress.say(f"{split}: {len(examples):,} predictions in {folder / file}")


def check(task: Task, corpus: Corpus, files: Mapping[str, str], progress: Progress) -> None:
    """Raises UnavailableError where a split is not there; warns of one that is not as long as the original."""
    if missing := [split for split in files if not corpus.splits.get(split)]:
        raise UnavailableError(
            f"submission: no {' and no '.join(missing)} of {task.name} in {corpus.origin.get('root', 'its source')}; "
            f"the submission needs a prediction for each of its rows"
        )
    published = task.source.get("statistics", {}).get("examples", {})
    for split in files:
        size, expected = len(corpus.splits[split]), published.get(split)
        if not corpus.synthetic and expected not in (None, size):
            progress.warn(
                f"{split} has {size:,} examples here, and {expected:,} in the original: the leaderboard would reject it"
            )


def superglue(task: Task, name: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Files:
    """An object a line, {"idx", "label"}: a label's name, COPA's number, or ReCoRD's text by the query's number."""
    names = labels(task)
    rows = [
        {"idx": number(example.id), "label": names.get(prediction.value, prediction.value)}
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    return {name: json_lines(rows)}


def multirc(task: Task, name: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Files:
    """A passage a line, {"idx", "passage": {"questions": [{"idx", "answers": [{"idx", "label"}]}]}}; labels 0 and 1."""
    passages: dict[int, dict[int, list[dict[str, int]]]] = {}
    for example, prediction in zip(examples, predictions, strict=True):
        passage, question, answer = (int(part) for part in example.id.split("-"))
        answers = passages.setdefault(passage, {}).setdefault(question, [])
        answers.append({"idx": answer, "label": task.labels.index(prediction.value)})
    rows = [
        {"idx": passage, "passage": {"questions": [{"idx": q, "answers": a} for q, a in questions.items()]}}
        for passage, questions in passages.items()
    ]
    return {name: json_lines(rows)}


def glue(task: Task, name: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Files:
    """A table of index, from 0, and prediction: a label as the corpus writes it, or a number within its scale."""
    names = labels(task)
    lines = ["index\tprediction"]
    for index, prediction in enumerate(predictions):
        value = prediction.value
        if isinstance(value, float):
            low, high = (float(end) for end in task.labels)
            value = f"{min(max(value, low), high):.3f}"
        lines.append(f"{index}\t{names.get(value, value)}")
    return {name: "\n".join(lines) + "\n"}


def squad(task: Task, name: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Files:
    """{id: text} as evaluate-v1.1.py and -v2.0.py read it; for 2.0 also na_prob.json, {id: probability of no answer}.

    The probability is the logistic function of the odds of no answer, so that 0.5 is a null_threshold of 0.
    """
    from scipy.special import expit

    pairs = list(zip(examples, predictions, strict=True))
    files = {name: json.dumps({e.id: p.value for e, p in pairs}, ensure_ascii=False) + "\n"}
    odds = {e.id: p.scores["null_odds"] for e, p in pairs if p.scores and "null_odds" in p.scores}
    if odds:
        nothing = {e.id: float(expit(odds[e.id])) if e.id in odds else 1.0 for e, _ in pairs}
        files["na_prob.json"] = json.dumps(nothing) + "\n"
    return files


FORMATS: Mapping[str, Callable[[Any, str, Sequence[Any], Sequence[Any]], Files]] = {
    "superglue": superglue,
    "multirc": multirc,
    "glue": glue,
    "squad": squad,
}


def labels(task: Task) -> dict[Any, str]:
    """Our labels -> those that the files have."""
    values = task.source.get("values", {}).get("label", {})
    return {ours: theirs for theirs, ours in values.items()} | task.source["submission"].get("labels", {})


def number(name: str) -> int | str:
    """An example's number, as the original has it."""
    return int(name) if name.isdecimal() else name


def json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """One object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
