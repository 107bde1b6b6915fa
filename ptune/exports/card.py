"""The model card of an export: results, configuration, provenance and limits, with the Hub's front matter."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ptune.build import as_config
from ptune.data.splits import SYNTHETIC
from ptune.errors import PtuneError
from ptune.progress import interval_text
from ptune.runs.folder import RunFolder

if TYPE_CHECKING:
    from ptune.config import Train
    from ptune.runs.restore import Restored

TASKS = {  # readout -> the Hub's name of such tasks
    "sequence": "text-classification",
    "scalar": "text-classification",
    "token": "token-classification",
    "span": "question-answering",
    "choice": "multiple-choice",
    "word": "fill-mask",
    "text": "text-generation",
}
LIMITS = """\
Made for research on prompt tuning. It answers for texts like those of its corpus, in its labels, and was not tested for
anything else: not for other languages or domains, not for bias, not for texts made to deceive it. The backbone and the
corpus have terms of their own."""


def card(run: Restored, use: str, library: str, files: Sequence[str] = (), license: str | None = None) -> str:
    """The text of README.md. use: how it is loaded; library: that does it; files: of the export, told with the rest."""
    from huggingface_hub import ModelCard

    front = metadata(run, library, license)
    return str(ModelCard(f"---\n{front.to_yaml()}\n---\n\n{body(run, use, files, license)}"))


def metadata(run: Restored, library: str, license: str | None) -> Any:
    """The front matter."""
    from huggingface_hub import EvalResult, ModelCardData

    s, task, result = run.settings, run.task, run.folder.read_json("result.json")
    hub = {} if result["synthetic"] else task.source.get("hub", {})
    invented = f"synthetic-{task.name}"
    kind = TASKS.get(task.readout, "other")
    evaluations = [
        EvalResult(
            task_type=kind,
            dataset_type=hub.get("path", invented if result["synthetic"] else task.name),
            dataset_name=f"{task.name} (SYNTHETIC, invented by ptune)" if result["synthetic"] else task.name,
            dataset_config=hub.get("config"),
            dataset_split=result["report_on"],
            dataset_revision=hub.get("revision") if s.data.source == "hub" else None,
            metric_type=name,
            metric_name=name + (" (selects)" if name == result["metric"] else ""),
            metric_value=round(value, 4),
        )
        for name, value in result["best"]["report"].items()
        if value is not None
    ]
    tags = ["ptune", result["method"], f"seed-{result['seed']}", *(["synthetic"] if result["synthetic"] else [])]
    return ModelCardData(
        model_name=title(result),
        library_name=library,
        pipeline_tag=kind,
        base_model=s.backbone.get("checkpoint"),
        datasets=[hub["path"]] if hub else None,
        language=task.source.get("language") or ("en" if is_shipped_task(task.name) else None),
        license=license or ("apache-2.0" if is_shipped_run(run) else "other"),
        tags=tags,
        eval_results=evaluations,
    )


def title(result: Mapping[str, Any]) -> str:
    """What the run is, in a line."""
    length = f" ({result['prompt_length']} virtual tokens)" if result["prompt_length"] else ""
    return f"{result['method']}{length} on {result['task']} with {result['backbone']}"


def is_shipped_task(name: str) -> bool:
    """Whether a task is one of ptune's, which are English."""
    return resources.files("ptune.conf").joinpath("task", f"{name}.yaml").is_file()


def is_shipped_run(run: Restored) -> bool:
    """Whether corpus and backbone are ptune's own."""
    return run.settings.data.source == "demo" and str(run.settings.backbone.get("path")).startswith("pkg://ptune")


def body(run: Restored, use: str, files: Sequence[str], license: str | None) -> str:
    """All below the front matter."""
    result = run.folder.read_json("result.json")
    config = yaml.safe_dump(portable(run.settings), sort_keys=False)
    warning = f"> **{SYNTHETIC}. Its results are no evidence of anything but that ptune works.**\n\n"
    parts = {
        "Results": results(run, result),
        "Use": use,
        "Labels": f"In the order of the classifier's outputs: {', '.join(f'`{each}`' for each in run.task.labels)}."
        if run.task.labels
        else "",
        "Training": training(run, result),
        "Data": data(run, result),
        "Limits": LIMITS if license or is_shipped_run(run) else f"{LIMITS} No license was stated for these weights.",
        "Files": "\n".join(f"- `{name}`" for name in files),
        "Configuration": f"<details><summary>all of it</summary>\n\n```yaml\n{config}```\n\n</details>",
    }
    sections = "\n\n".join(f"## {name}\n\n{text}" for name, text in parts.items() if text)
    return f"# {title(result)}\n\n{warning if result['synthetic'] else ''}{sections}\n"


def results(run: Restored, result: Mapping[str, Any]) -> str:
    """The scores with interval and number of examples, how they were selected, and all that speaks against them."""
    metric, split = result["metric"], result["report_on"]
    count = examples(run.folder, split)
    n = "" if count is None else f"{count:,}"
    rows = [
        [
            f"**{name}**" if name == metric else name,
            f"{value:.2f}",
            interval_text(result.get("interval")) if name == metric else "",
            n,
            f"{result['majority']:.2f}" if name == metric else "",
        ]
        for name, value in result["best"]["report"].items()
        if value is not None
    ]
    rows += [
        [f"{metric} ({name})", f"{scores[metric]:.2f}", interval_text(result["best"]["beside_intervals"][name]), "", ""]
        for name, scores in result["best"].get("beside", {}).items()
    ]
    table = [["metric", split, "95% interval", "n", "majority class"], ["---", *["---:"] * 4], *rows]
    lines = ["\n".join(f"| {' | '.join(row)} |" for row in table), ""]
    if result["steps"]:
        evaluation = f"step {result['best']['step']} of {result['steps']}"
        selected = result.get("selected", result["score"])
        lines.append(
            f"One run, seed {result['seed']}, no mean over several. The best evaluation by {metric} on "
            f"{result['select_on']} ({selected:.2f}, {evaluation}) is reported; the last one has "
            f"{result['last']['report'][metric]:.2f} on {split}."
        )
    caveats = [
        *(["the data are synthetic"] if result["synthetic"] else []),
        *([f"selected on {split}, which is reported: optimistic"] if result["selected_on_reported"] else []),
        *([held_out(run.settings)] if run.settings.protocol != "standard" else []),
        *([str(result["caveat"])] if result.get("caveat") else []),
        *([str(result["data"]["warning"])] if "warning" in result.get("data", {}) else []),
    ]
    return "\n".join([*lines, *(["", *(f"- Caveat: {text}." for text in caveats)] if caveats else [])])


def held_out(s: Train) -> str:
    """What the protocol took away from the usual splits."""
    if s.protocol == "few_shot":
        return "trained on a few examples and selected on as many others (protocol=few_shot)"
    if s.held_out_from == "dev":
        return "selected on one half of dev, and what is called dev is the other half (held_out_from=dev)"
    return f"selected on {s.held_out_share:.0%} of train, which it was not trained on (protocol=held_out)"


def examples(folder: RunFolder, split: str) -> int | None:
    """How many examples a split has, as the run has written it down."""
    try:
        rows = folder.read_jsonl("splits.jsonl")
    except PtuneError:
        return None
    return next((int(row["examples"]) for row in rows if row["split"] == split), None)


def training(run: Restored, result: Mapping[str, Any]) -> str:
    """Command, code, packages and cost."""
    env, parameters = run.folder.read_json("env.json"), result["parameters"]
    packages = ", ".join(f"{name} {version}" for name, version in env["packages"].items())
    backbone = run.settings.backbone
    checkpoint = backbone.get("checkpoint") or last_path_part(str(backbone.get("path")))
    revision = f", revision `{backbone['revision']}`" if backbone.get("revision") else ""
    lines = [
        f"```sh\nptune train {shlex.join(without_folders(word) for word in env['overrides'])}\n```\n",
        f"- Backbone: `{checkpoint}`{revision}",
        f"- Learned: {parameters['trained']:,} parameters, {parameters['percent']:.3f}% of the backbone's; stored: "
        f"{parameters['stored']:,} ({parameters['bytes']:,} bytes)",
        f"- Training: {result['steps']} steps of {run.settings.batch_size}, {result['seconds']['training']:.0f} s"
        f"{', ' + env['gpu'] if env.get('gpu') else ''}",
        f"- Seed: {result['seed']}; identity of the configuration: `{result['identity']}`",
        f"- Code: ptune {env['ptune']}, commit `{env.get('code') or 'of a release'}`; Python {env['python']}, "
        f"{env['platform']}; {packages}",
    ]
    return "\n".join(lines)


def data(run: Restored, result: Mapping[str, Any]) -> str:
    """Where the corpus is from, its terms, and the checksums of its files and examples."""
    origin = result.get("data", {})
    source = {"hub": f"`{origin.get('root')}` at `{origin.get('revision')}`", "local": "its original files"}
    lines = [f"- Source: {source.get(origin.get('source'), 'invented by ptune, seed ' + str(run.settings.data.seed))}"]
    if (terms := run.task.source.get("license")) and not result["synthetic"]:
        lines.append(f"- License of the corpus: {terms}")
    for split, file in origin.get("files", {}).items():
        for each in [file] if isinstance(file, Mapping) else file:
            if "sha256" in each:
                digests = {each.get("path"): each["sha256"], **each.get("beside", {})}
                lines += [f"- {split}: `{Path(str(path)).name}`, sha256 `{digest}`" for path, digest in digests.items()]
    lines += [f"- {split}, its examples: sha256 `{digest}`" for split, digest in result.get("checksums", {}).items()]
    return "\n".join(lines)


def without_folders(word: str) -> str:
    """A setting without the folders of the machine that it was given on: of an absolute path its last part."""
    key, equals, value = word.partition("=")
    return f"{key}={last_path_part(value)}" if equals else last_path_part(word)


def last_path_part(value: str) -> str:
    """The last part of an absolute path, any other text as it is."""
    path = Path(value).expanduser() if value.startswith("~/") else Path(value)
    return path.name if path.is_absolute() and len(path.parts) > 2 else value


def portable(settings: Train) -> dict[str, Any]:
    """The configuration without what is only true on this machine: data is in the current folder, nothing is tracked.

    The backbone's own path stays, which is needed.
    """
    config: dict[str, Any] = json.loads(json.dumps(as_config(settings)))
    backbone = config.pop("backbone")
    config = without_paths(config)
    config["data"]["root"] = config["resume"] = None
    config["device"] = "auto"
    config["tracker"] = {**config["tracker"], "name": "none", "entity": None, "group": None}
    return {"method": config.pop("method"), "backbone": backbone, **config}


def without_paths(value: Any) -> Any:
    """Data with the last parts of absolute paths in their place."""
    if isinstance(value, Mapping):
        return {key: without_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_paths(each) for each in value]
    return last_path_part(value) if isinstance(value, str) else value
