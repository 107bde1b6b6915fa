"""What a run is told to have read, learned and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptune.model import Model


def reading(rendered: Mapping[str, Any]) -> dict[str, dict[str, float] | None]:
    """`Rendered.reading` of every split, by figure; None for each of a run without a model, which reads nothing."""
    readings = {split: r.reading() for split, r in rendered.items()}
    names = ("cut", "cut_percent", "windows", "samples", "lost_labels")
    return {name: {split: figures[name] for split, figures in readings.items()} or None for name in names}


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
    total = max(account["backbone_total"] for account in parameters)
    sums = {name: sum(account[name] for account in parameters) for name in COUNTED}
    return {**sums, "percent": 100 * sums["trained"] / total, "backbone_total": total, "models": len(parameters)}


def accounting(model: Model, member: int, tensors: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Parameters that learn (by part), what is stored after folding, the share of the backbone's, and bytes on disk."""
    trainable = model.trained(member)
    counts = {
        g: sum(p.numel() for n, p in trainable.items() if n.startswith(g + ".")) for g in ("prompt", "head", "backbone")
    }
    if model.member(member).prompt.discrete:
        counts["prompt"] = model.member(member).prompt.length
    total = model.backbone.size
    trained_count = sum(counts.values())
    stored_counts = {f"stored_{g}": sum(t.numel() for n, t in tensors.items() if n.startswith(g + ".")) for g in counts}
    return {
        "trained": trained_count,
        **counts,
        "stored": sum(stored_counts.values()),
        **stored_counts,
        "percent": 100 * trained_count / total,
        "bytes": size,
        "backbone_total": total,
    }
