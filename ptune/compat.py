"""`compat=ptv2_official`: the published P-Tuning v2 code's behavior, one key a quirk; see `conf/compat`."""

from __future__ import annotations

from typing import Any

from ptune.config import Train

OUTSIDE = ("deberta", "deberta_v2")  # whose pooler, a dense layer and gelu, is a part of the head


def apply(settings: Train) -> None:
    """Put the bundle's keys where they act; a key whose part is absent (no prompt, say) changes nothing."""
    compat, method = settings.compat, settings.method
    prompt, head = method["prompt"], method["head"]
    published = settings.task.get("published") or {}
    if compat.position_offset and "position_offset" in prompt:
        prompt["position_offset"] = compat.position_offset
    if compat.pooler == "published" and "pooler" in head:
        head["pooler"] = published_pooler(settings, bool(compat.freeze_finetune and published.get("freeze_finetune")))
        if family(settings) in OUTSIDE:
            head["activation"] = "gelu"
    if compat.init_std is not None and "layers" in prompt:
        prompt["init_std"] = compat.init_std
    if compat.init_std is not None and "double_embedding" in prompt:  # the published PT baseline's is drawn alike
        prompt["init"], prompt["init_std"] = "normal", compat.init_std
    if compat.dropout is not None and "layers" in prompt:  # the published code sets it with --prefix alone
        tie_dropout(settings, compat.dropout)
    if compat.dropout is not None and published.get("no_head_dropout") and "dropout" in head:
        head["dropout"] = 0.0
    if compat.freeze_finetune and method["name"] == "finetune" and published.get("freeze_finetune"):
        method["tune"] = "none"
    if compat.double_embedding and "double_embedding" in prompt:
        prompt["double_embedding"] = True
    if compat.padding == "published" and "layers" in prompt and family(settings) == "deberta_v2":
        settings.backbone["embed_pads"] = True  # the library's class, as used without a prefix, does not
    if compat.batches == "published":
        settings.loss.normalize, settings.data.bucket = "batch", False
    for key, value in apply_to_task(settings, settings.task).items():
        setattr(settings, key, value)
    if compat.overflow == "published" and "overflow" in published:
        settings.data.overflow = published["overflow"]
    if compat.schedule == "published" and published:
        settings.optim.schedule = published["schedule"]
        settings.optim.gamma = 0.95


def apply_to_task(settings: Train, task: dict[str, Any]) -> dict[str, Any]:
    """Put what was published of a task into its settings: the run's, or those of another that is trained beside it.

    Returns what was published of a run of it: metric, select_on and report_on, as far as the bundle says them.
    """
    compat, published = settings.compat, task.get("published") or {}
    run_settings: dict[str, Any] = {}
    if compat.max_length == "published" and published and settings.data.max_length is None:
        task["max_length"] = published["max_length"]
    if compat.predicate == "published" and "predicate" in published:
        task["predicate"] = published["predicate"]
    if compat.format == "published" and "format" in published:
        task["format"] = published_format(settings, published["format"])
    if compat.candidates == "published" and "rank" in published:
        task.update(loss=published["loss"], rank=published["rank"])
    if compat.selection == "published" and published:
        run_settings.update(select_on=published["select_on"], report_on=published["report_on"])
    if compat.metric == "published" and published:
        run_settings["metric"] = published["metric"]
    return run_settings


def published_pooler(settings: Train, frozen: bool) -> str:
    """Frozen, the checkpoint's own where it has one; trained where it is no part of the backbone.

    Fine-tuning that froze nothing used the library's trained head.
    """
    if family(settings) in OUTSIDE or (settings.method["name"] == "finetune" and not frozen):
        return "trained"
    return "pretrained" if settings.backbone.get("pooler") else "random_frozen"


def published_format(settings: Train, given: Any) -> str:
    """The format of the scripts; where theirs differ, that of the backbone's family."""
    return str(given if isinstance(given, str) else given.get(family(settings), given["other"]))


def family(settings: Train) -> str:
    """The module of the backbone's family."""
    return str(settings.backbone.get("_target_")).split(".")[-2]


def tie_dropout(settings: Train, rate: float) -> None:
    """One rate for the backbone's hidden states, the prompt and the head."""
    parts: list[dict[str, Any]] = [settings.backbone, settings.method["prompt"], settings.method["head"]]
    for part in parts:
        if part is settings.backbone or "dropout" in part:
            part["dropout"] = rate
