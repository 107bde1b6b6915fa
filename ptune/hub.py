"""The way to the Hugging Face Hub: what is cached is used; what is missing is fetched, or refused within seconds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
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


class Files(NamedTuple):
    """Files of a repository at a revision.

    patterns: which of them; whole: whether a folder has all that is needed, asked where the cache does not know what
    the repository has; kind: model, or dataset.
    """

    repo: str
    revision: str
    patterns: Sequence[str]
    whole: Callable[[Path], bool]
    kind: str = "model"

    def find_cached(self) -> Path | None:
        """Their folder in the cache; None where one of them is not there."""
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = self._downloaded(local_files_only=True)
        except LocalEntryNotFoundError:
            return None
        return folder if self._listed() or self.whole(folder) else None  # by a list nothing is missing

    def within_reach(self) -> bool:
        """Whether `fetch` would find them in the cache or a Hub to ask; fetches nothing."""
        return self.find_cached() is not None or reachable()

    def fetch(self) -> Path | None:
        """Their folder: from the cache, else fetched; None when neither can be.

        Raises UnavailableError where the Hub answers with something else.
        """
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        if (folder := self.find_cached()) is not None:
            return folder
        if not reachable():
            return None
        try:
            return self._downloaded()
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UnavailableError(
                f"{self.repo} at {self.revision}: the Hub answered with an error: {reason}"
            ) from None

    def _downloaded(self, local_files_only: bool = False) -> Path:
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(
                self.repo,
                repo_type=self.kind,
                revision=self.revision,
                allow_patterns=list(self.patterns),
                local_files_only=local_files_only,
            )
        )

    def _listed(self) -> bool:
        """Whether the cache knows what the repository has: what `snapshot_download` fetches leaves a list of it."""
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        try:
            return bool(get_cached_repo_tree(self.repo, revision=self.revision, repo_type=self.kind))
        except CachedRepoTreeNotFoundError:
            return False


def checkpoint(repo: str, revision: str | None, weights: str) -> Files:
    """A model's, with weights of this kind: config, tokenizer and weights at least."""
    patterns = [*CHECKPOINT, "*.bin"] if weights == "bin" else [*CHECKPOINT]
    required_files = (("config.json",), ("tokenizer.json", "vocab*", "*.model"), (f"*.{weights}",))

    def has_all_files(folder: Path) -> bool:
        return all(any(next(folder.glob(name), None) for name in names) for names in required_files)

    return Files(repo, revision or "main", patterns, has_all_files)


def no_checkpoint(name: str, repo: str) -> UnavailableError:
    """That a backbone's checkpoint is neither cached nor to be fetched."""
    return ways_on(f"backbone {name} ({repo})", "backbone.path=DIR, a folder with its files")


def ways_on(what: str, local: str) -> UnavailableError:
    """The one message for something that is neither cached nor reachable, with three options."""
    return UnavailableError(
        f"{what} is not on this machine and the Hub cannot be reached.",
        [
            "hub:   run the same command where the Hub can be reached (or set HF_ENDPOINT to a mirror); "
            "what it fetches is cached",
            f"local: {local}",
            "demo:  add data=demo backbone=tiny_encoder to train on synthetic data with the shipped model",
        ],
    )
