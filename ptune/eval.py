"""`ptune eval`: score a finished run on one of its task's splits."""

from __future__ import annotations

from omegaconf import DictConfig

from ptune.config import Eval
from ptune.progress import Progress


def main(cfg: DictConfig) -> None:
    """Print the scores, and keep them in the run folder as eval_SPLIT.json."""
    from ptune.build import settings_of

    s = settings_of(cfg, Eval)
    from ptune.data import Rendered
    from ptune.errors import ConfigError
    from ptune.evaluate import constant, evaluate
    from ptune.restore import restore
    from ptune.session import SYNTHETIC, read_corpus

    with Progress(s.quiet) as progress:
        run = restore(s.run, s.device)
        corpus, reported = read_corpus(run.settings, run.task)
        split = s.split or reported
        if not corpus.labeled(split):
            labeled = [name for name in corpus.splits if corpus.labeled(name)]
            raise ConfigError([f"split: {run.task.name} has no labels for '{split}'; one of: {', '.join(labeled)}"])
        if corpus.synthetic:
            progress.say(SYNTHETIC, style="bold yellow")
        examples = corpus.splits[split]
        assert run.settings.data.max_length is not None
        rendered = Rendered(examples, run.task, run.model.member(0).template, run.settings.data.max_length)
        found = evaluate(run.model, 0, run.task, split, examples, rendered, s.batch_size)
        majority = constant(run.task, corpus.splits["train"], split, examples)
        low, high = found.interval(run.task)
        run.folder.write_json(
            f"eval_{split}.json",
            {
                "split": split,
                "examples": len(examples),
                "scores": found.scores,
                "interval": [low, high],
                "majority": majority.scores,
                "seconds": found.seconds,
                "synthetic": corpus.synthetic,
                "data": corpus.origin,
            },
        )
        progress.table(
            ["metric", split, "95% interval", "majority"],
            [
                [
                    name,
                    f"{value:.2f}",
                    f"[{low:.1f}, {high:.1f}]" if name == run.task.headline else "",
                    f"{majority.scores[name]:.2f}",
                ]
                for name, value in found.scores.items()
            ],
        )
