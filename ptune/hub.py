"""The way to the Hugging Face Hub: what is cached is used; what is missing is fetched, or refused within seconds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ptune.errors import UnavailableError

PROBE_SECONDS = 2.0
CHECKPOINT = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "sentencepiece*",
)


def reachable() -> bool:
    """Whether the Hub answers on its port; asks nothing when HF_HUB_OFFLINE is set."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return False
    url = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection((url.hostname or "", url.port or 443), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def loadable(folder: Path, patterns: Sequence[str]) -> bool:
    """Whether a folder holds what a model's does at least: config, tokenizer and weights of the kind that is wanted."""
    weights = "*.bin" if "*.bin" in patterns else "*.safetensors"
    parts = (("config.json",), ("tokenizer.json", "vocab*", "*.model"), (weights,))
    return all(any(next(folder.glob(name), None) for name in names) for names in parts)


def listed(repo: str, revision: str, kind: str) -> bool:
    """Whether the cache knows which files a repository has: fetching one with `snapshot_download` leaves their list."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return bool(get_cached_repo_tree(repo, revision=revision, repo_type=kind))
    except CachedRepoTreeNotFoundError:
        return False


def cached(
    repo: str,
    revision: str,
    patterns: Sequence[str],
    kind: str = "model",
    whole: Callable[[Path], bool] | None = None,
) -> Path | None:
    """The folder of a repository's files at `revision` in the cache; None where one of them is not there.

    whole: says it of a folder without a list of what the repository has; None: as of a model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(**wanted(repo, revision, patterns, kind), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    if listed(repo, revision, kind):  # by which nothing is missing
        return folder
    return folder if (whole(folder) if whole else loadable(folder, patterns)) else None


def wanted(repo: str, revision: str, patterns: Sequence[str], kind: str) -> dict[str, Any]:
    """What the Hub's client calls these."""
    return {"repo_id": repo, "revision": revision, "repo_type": kind, "allow_patterns": list(patterns)}


def within_reach(
    repo: str,
    revision: str,
    patterns: Sequence[str],
    kind: str = "model",
    whole: Callable[[Path], bool] | None = None,
) -> bool:
    """Whether `snapshot` would find the files in the cache or a Hub to ask; fetches nothing."""
    return cached(repo, revision, patterns, kind, whole) is not None or reachable()


def snapshot(
    repo: str,
    revision: str,
    patterns: Sequence[str],
    kind: str = "model",
    whole: Callable[[Path], bool] | None = None,
) -> Path | None:
    """The folder of a repository's files at `revision`: from the cache, else fetched; None when neither can be.

    whole: see `cached`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if (folder := cached(repo, revision, patterns, kind, whole)) is not None:
        return folder
    if not reachable():
        return None
    try:
        return Path(snapshot_download(**wanted(repo, revision, patterns, kind)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise UnavailableError(f"{repo} at {revision}: the Hub answers, but not with this: {first}") from None


def files_of(weights: str) -> list[str]:
    """The patterns of a checkpoint's files, with weights of this kind."""
    return [*CHECKPOINT, "*.bin"] if weights == "bin" else [*CHECKPOINT]


def no_checkpoint(name: str, repo: str) -> UnavailableError:
    """That a backbone's checkpoint is neither cached nor to be fetched."""
    return ways_on(f"backbone {name} ({repo})", "backbone.path=DIR, a folder with its files")


def ways_on(what: str, local: str) -> UnavailableError:
    """The one message for something that is neither cached nor reachable: the three ways on."""
    return UnavailableError(
        f"{what} is not on this machine and the Hub cannot be reached. Three ways on:\n"
        "  hub:   run the same command where the Hub can be reached (or set HF_ENDPOINT to a mirror); "
        "what it fetches is cached\n"
        f"  local: {local}\n"
        "  demo:  add data=demo backbone=tiny_encoder to train on synthetic data with the shipped model"
    )
