"""`ptune train`: the wiring of one run, from settings to a finished run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ptune import build, ranks
from ptune.config import Train
from ptune.errors import FULL, ConfigError, DiskError, Interrupted, PrunedError
from ptune.leaves import check_leaf, leaf, target
from ptune.progress import Progress, interval_text
from ptune.runs import forms, halt
from ptune.runs.folder import RunFolder
from ptune.runs.stages import differences
from ptune.session import Session
from ptune.where import Where, current_job
from ptune.words import hydra_value

log = logging.getLogger(__name__)
DECIDED = ("report_on", "accumulate")  # settings that are decided in a run, where nothing is said
SHOWN = 4  # settings that differ, of a message


def main(cfg: DictConfig) -> float | None:
    """Train as configured; returns the selecting score, for sweepers. None of a run that an observer has ended."""
    with ranks.process_group():
        return train_on_rank(cfg)


def train_on_rank(cfg: DictConfig) -> float | None:
    """As `main`, on one rank of the run."""
    where = ranks.on_first_rank(current_job)
    if cfg.get("resume"):
        settings = stored_settings(Path(str(cfg.resume)), where, list(cfg.packages))
        settings.quiet = bool(cfg.get("quiet"))
        if pruned := RunFolder(where.folder).pruned:
            settings.observer = {}  # which has ended it, and would again
    else:
        pruned = False
        look(build.settings_of(cfg, Train))
        settings = build.settings(cfg)
        check_folder(settings, RunFolder(where.folder))
    with Progress(settings.quiet) as progress:
        try:
            result = run(settings, RunFolder(where.folder), where, progress, pruned)
        except PrunedError as end:
            progress.say(f"{end}; to resume: ptune train {RunFolder(where.folder).resuming}")
            return None
    return float(result["selected"])


def look(settings: Train) -> None:
    """See whether task and backbone can be had, before torch is imported, which takes seconds.

    Raises UnavailableError or DataError; what is wrong with the settings themselves is told afterwards.
    """
    from ptune.data.source import task_problems

    procedure = settings.method.get("procedure")
    if not isinstance(procedure, Mapping) or [
        *task_problems(settings.task, settings.packages),
        *check_leaf("", procedure, settings.packages),
    ]:
        return
    look_for_data(settings)
    look_for_weights(settings)


def look_for_data(settings: Train) -> None:
    """See whether the task's data can be had, see `look`."""
    from ptune.data import corpora

    corpora.look(leaf(settings.task, settings.packages), settings.data)


def look_for_weights(settings: Train) -> None:
    """See whether the backbone's checkpoint can be had, where the method has one, see `look`."""
    from ptune import hub

    procedure = settings.method["procedure"]
    backbone = {"revision": None, "weights": "safetensors", **settings.backbone}
    name, repo = backbone.get("name"), backbone.get("checkpoint")
    if not repo or backbone.get("path") or not target(procedure["_target_"], settings.packages).backbone:
        return
    if not hub.checkpoint(str(repo), backbone["revision"], str(backbone["weights"])).within_reach():
        raise hub.no_checkpoint(str(name), str(repo))


def stored_settings(path: Path, where: Where, packages: Sequence[str] = ()) -> Train:
    """The settings stored in a run folder.

    Raises ConfigError when the command line names others, or another folder, and for a stage, which only the run that
    it belongs to can give what it trains on.
    """
    free = ("resume", "quiet", "packages")
    others = [o for o in where.overrides if o.partition("=")[0].lstrip("+~") not in free]
    if others:
        raise ConfigError([f"resume: a run resumes with its own settings; leave out {' '.join(others)}"])
    if where.folder.resolve() != path.resolve():
        raise ConfigError([f"resume: a run resumes in its own folder, {path}; leave out hydra.run.dir"])
    if (run_folder := whole_of(path.resolve())) != path.resolve():
        on = RunFolder(run_folder).resuming
        raise ConfigError([f"resume: {path} is a stage of a run; resume the whole run: ptune train {on}"])
    return build.settings_from_file(RunFolder(path).read_config(), packages)


def whole_of(path: Path) -> Path:
    """The folder of the run that a stage belongs to, however many stages lie between; a run's own."""
    of = path.parent.parent
    return whole_of(of) if path.parent.name == "stages" and (of / "config.yaml").is_file() else path


def check_folder(settings: Train, folder: RunFolder) -> None:
    """Raises ConfigError where the run in a folder is another than these settings ask for, naming what differs."""
    if not all(folder.file(name).is_file() for name in ("env.json", "config.yaml")):
        return
    env = folder.read_json("env.json")
    forms.check(forms.Environment, env, folder.file("env.json"))
    if env.get("identity") == build.identity(settings):
        return
    stored, new = folder.read_config(), build.as_config(settings)
    stored_values, new_values = differences(new, stored), differences(stored, new)
    decided = [key for key in DECIDED if new[key] is None]
    keys = [key for key in new_values if key.partition(".")[0] not in build.UNTRACKED and key not in decided]
    differ = [
        f"{key}: {hydra_value(stored_values.get(key))} there, {hydra_value(new_values[key])} here" for key in keys
    ]
    listed = "; ".join(differ[:SHOWN]) + ("; ..." if len(differ) > SHOWN else "")
    raise ConfigError(
        [
            f"hydra.run.dir: {folder.path} holds a run with other settings "
            f"({listed or 'from another version of ptune'}); "
            f"choose another folder, or resume that run: ptune train {folder.resuming}"
        ]
    )


def run(settings: Train, folder: RunFolder, where: Where, progress: Progress, again: bool = False) -> dict[str, Any]:
    """Take a run to its end, or say what it ended with if it already has; returns its result.

    Raises PrunedError where an observer ends it, or has ended it before, unless it is to go on `again`.
    """
    if folder.finished:
        progress.say(f"{folder.path} is finished")
        progress.tell(str(folder.path))
        return folder.read_json("result.json")
    if folder.pruned and not again:
        raise pruned_before(folder)
    with claimed_folders(settings, [folder]):
        session = Session(settings, folder, where.overrides, progress)
        if again:
            folder.file("pruned.json").unlink(missing_ok=True)
        result = session.complete()
    show(result, folder.path, progress)
    log.info("%s on %s: %.2f", result["metric"], result["report_on"], result["score"])
    return result


def train_together(jobs: Sequence[tuple[Train, Path, list[str]]], quiet: bool) -> list[float | Exception]:
    """Take runs that share a backbone (settings, folder, overrides) to their end side by side, in one process.

    Returns each one's selecting score, or what ended it; of one that has ended before, what it ended with.
    """
    from ptune.training import train

    ends: list[float | Exception] = []
    corpora: dict[str, Any] = {}
    folders = [RunFolder(folder) for _, folder, _ in jobs]
    with claimed_folders(jobs[0][0], folders), Progress(quiet) as progress:
        sessions = {
            folder.path: Session(settings, folder, overrides, progress, corpora, len(jobs))
            for folder, (settings, _, overrides) in zip(folders, jobs, strict=True)
            if not (folder.finished or folder.pruned)
        }
        results = dict(zip(sessions, train([*sessions.values()]) if sessions else (), strict=True))
        for folder in folders:
            figures = results.get(folder.path)
            if isinstance(figures, Exception):
                ends.append(figures)
            elif folder.finished:
                ends.append(float(folder.read_json("result.json")["selected"]))
            elif figures is None:
                ends.append(pruned_before(folder))
            else:
                ends.append(float(sessions[folder.path].finish(figures)["selected"]))
    return ends


def pruned_before(folder: RunFolder) -> PrunedError:
    """What is to be said of a run that an observer has ended."""
    return PrunedError(f"already pruned: {folder.read_json('pruned.json')['why']}")


@contextmanager
def claimed_folders(settings: Train, folders: Sequence[RunFolder]) -> Iterator[None]:
    """Inside, runs in these folders go on: nobody else's do, and this process may be asked to end.

    Raises Interrupted, saying how the runs go on, DiskError, or PtuneError where a folder is another process's.
    """
    try:
        with ExitStack() as inside:
            for folder in folders if ranks.first() else ():
                inside.enter_context(folder.locked())
            inside.enter_context(halt.listening(settings.time_limit))
            yield
    except Interrupted as asked:
        listed = f" 'packages=[{','.join(settings.packages)}]'" if settings.packages else ""
        commands = [f"{folder.resuming}{listed}" for folder in folders if folder.file("config.yaml").is_file()]
        on = "; ".join(f"ptune train {words}" for words in commands[:3]) + ("; ..." if len(commands) > 3 else "")
        raise Interrupted(f"ended by {asked}; {f'to resume: {on}' if commands else 'no run had begun'}") from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        checkpoints = [path for folder in folders for path in folder.checkpoints()[-1:]]
        last = f"the last checkpoint is {checkpoints[-1]}" if checkpoints else "there was no checkpoint yet"
        about = f"{error.filename}: " if error.filename else ""
        commands = [folder.resuming for folder in folders[:1] if folder.file("config.yaml").is_file()]
        on = f"resume: ptune train {commands[0]}" if commands else "run the same command again"
        raise DiskError(f"{about}{error.strerror}; {last}; free some space, then {on}") from error


def show(result: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """The compact result that ends a run; the last line is its folder alone, for `RUN=$(... | tail -n 1)`."""
    metric, split = result["metric"], result["report_on"]
    marked = " (also selected on: optimistic)" if result["selected_on_reported"] else ""
    parameters = result["parameters"]
    tuned = {"none": "backbone frozen", "all": "backbone tuned", "bias": "backbone's biases tuned"}.get(
        result["tune"], f"{result['tune']} in the backbone"
    )
    tuned = tuned if parameters["backbone_total"] else "no backbone"
    share = f"{parameters['percent']:.3f}% of the backbone's size"
    rows = [
        [f"{split} {metric}", score_with_interval(result["score"], result["interval"]) + marked],
        ["last epoch", f"{result['last']['report'][metric]:.2f}"],
        ["majority class", f"{result['majority']:.2f}"],
        [
            "best epoch",
            f"{result['best']['epoch']:.1f} of {result['epochs']:.1f}, "
            f"by {result['select_on']} {result['selected']:.2f}",
        ],
        [
            "trained",
            f"{parameters['trained']:,} parameters ({share}): prompt {parameters['prompt']:,}, "
            f"head {parameters['head']:,}; {tuned}",
        ],
        ["stored", f"{parameters['stored']:,} parameters, {parameters['bytes']:,} bytes"],
        ["training", f"{result['seconds']['training']:.1f} s"],
    ]
    for name, scores in reversed(result["best"].get("beside", {}).items()):
        rows.insert(
            1, [name, f"{metric} {score_with_interval(scores[metric], result['best']['beside_intervals'][name])}"]
        )
    for name, part in result.get("tasks", {}).items():
        figures = f"{part['metric']} {part['joint']:.2f} with the others, then {part['continued']:.2f} alone"
        rows.append([name, f"{figures}; {part['joint_steps']} + {part['continued_steps']} steps"])
    others = {k: v for k, v in result["best"]["report"].items() if k != metric}
    if others:
        rows.insert(1, ["also", "  ".join(f"{k} {v:.2f}" for k, v in others.items())])
    if "caveat" in result:
        rows.insert(1, ["note", result["caveat"]])
    for name, value in result.get("found", {}).items():
        rows.insert(1, [name, search_outcome(value)])
    title = f"{result['method']} on {result['task']}"
    title += f" with {result['backbone']}" if parameters["backbone_total"] else ""
    title += " (synthetic)" if result["synthetic"] else ""
    progress.tell(title, style="bold")
    for name, value in rows:
        progress.tell(f"  {name:<16}{value}")
    progress.tell(str(folder))


def search_outcome(found: Any) -> str:
    """What a search has found, in a line: words, or those of each label."""
    if isinstance(found, Mapping):
        return "; ".join(f"{name}: {search_outcome(value)}" for name, value in found.items())
    return found if isinstance(found, str) else " ".join(found)


def score_with_interval(score: float, interval: Sequence[float] | None) -> str:
    """A score with its interval, where it has one."""
    return f"{score:.2f}  {interval_text(interval)}".rstrip()
