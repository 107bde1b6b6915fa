"""An export on the Hugging Face Hub: told by default, uploaded where that is confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptune import secrets
from ptune.config import Export
from ptune.errors import PtuneError, UnavailableError
from ptune.hub import reachable
from ptune.progress import Progress

TEXTS = (".md", ".json", ".jsonl", ".yaml")


def upload(folder: Path, s: Export, progress: Progress) -> None:
    """Tell the files, their sizes and the card, and with `confirm` upload them in one commit.

    The token is that of `hf auth login`, or HF_TOKEN; it is neither kept nor shown. Raises PtuneError where a file has
    something like a key in it, and where the Hub refuses, UnavailableError where it cannot be reached, or no more.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in (path for path in files if path.suffix in TEXTS):
        if secret := secrets.find_secret(path.read_bytes().decode("utf-8", "ignore")):
            raise PtuneError(f"to=hub: {path.name} contains what looks like a secret ({secret}); nothing was uploaded")
    rows = [[str(path.relative_to(folder)), f"{path.stat().st_size:,}"] for path in files]
    progress.table(["file", "bytes"], rows)
    visibility = "private" if s.private else "public"
    if not s.confirm:
        progress.say((folder / "README.md").read_text(encoding="utf-8"))
        progress.say(
            f"nothing was uploaded; confirm=true commits these {len(files)} files to {s.repo} on "
            f"{endpoint()} ({visibility} if it is new)"
        )
        return
    if not reachable():
        raise UnavailableError(f"to=hub: {endpoint()} cannot be reached (or HF_HUB_OFFLINE is set)")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    broken: Any = HfHubHTTPError.__bases__  # the errors of the library for HTTP that it uses, and OSError
    api: Any = HfApi(library_name="ptune")
    try:
        api.create_repo(s.repo, private=s.private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=s.repo, folder_path=str(folder), commit_message=f"Export by ptune, {s.content}"
        )
    except LocalTokenNotFoundError:
        raise PtuneError(
            "to=hub: no token on this machine; run hf auth login or set HF_TOKEN in the environment"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        cure = "; run hf auth login or set HF_TOKEN in the environment, with write access" * (status in (401, 403))
        raise PtuneError(f"to=hub: {endpoint()} refuses {s.repo} ({status}){cure}") from None
    except broken as error:
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnavailableError(
            f"to=hub: {endpoint()} broke off ({message}); run the same command again to retry"
        ) from None
    progress.say(f"uploaded to {commit.repo_url} ({visibility} if it was new), commit {commit.oid}")


def endpoint() -> str:
    """The Hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
