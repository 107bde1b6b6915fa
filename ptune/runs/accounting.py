"""What a run is told to have read, learned and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptune.model import Model


def reading(rendered: Mapping[str, Any]) -> dict[str, dict[str, float] | None]:
    """`Rendered.reading` of every split, by figure; None for each of a run without a model, which reads nothing."""
    told = {split: r.reading() for split, r in rendered.items()}
    names = ("cut", "cut_percent", "windows", "samples", "lost_labels")
    return {name: {split: figures[name] for split, figures in told.items()} or None for name in names}


COUNTED = (
    "trained",
    "prompt",
    "head",
    "backbone",
    "stored",
    "stored_prompt",
    "stored_head",
    "stored_backbone",
    "percent",
    "bytes",
    "backbone_total",
)


def joint_account(parameters: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What several models of one backbone learned and stored, in sum, and their number."""
    total = max(each["backbone_total"] for each in parameters)
    summed = {name: sum(each[name] for each in parameters) for name in COUNTED}
    return {**summed, "percent": 100 * summed["trained"] / total, "backbone_total": total, "models": len(parameters)}


def accounting(model: Model, member: int, tensors: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Parameters that learn (by part), what is stored after folding, the share of the backbone's, and bytes on disk."""
    trained = model.trained(member)
    parts = {
        g: sum(p.numel() for n, p in trained.items() if n.startswith(g + ".")) for g in ("prompt", "head", "backbone")
    }
    if model.member(member).prompt.discrete:
        parts["prompt"] = model.member(member).prompt.length
    total = model.backbone.size
    learned = sum(parts.values())
    kept = {f"stored_{g}": sum(t.numel() for n, t in tensors.items() if n.startswith(g + ".")) for g in parts}
    return {
        "trained": learned,
        **parts,
        "stored": sum(kept.values()),
        **kept,
        "percent": 100 * learned / total,
        "bytes": size,
        "backbone_total": total,
    }
