"""What looks like a key: settings and uploads that hold one are refused, so that it is written nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

KEYS = re.compile(  # as their owners announce them, for such scans
    r"(?<![\w-])(?:hf_[A-Za-z0-9]{30,}|sk-[\w-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|wandb_v1_\w{20,})"
)
NAMES = re.compile(r"(?:^|[._-])(?:api_?key|access_?key|secret|token|passw(?:or)?d|credentials?)$", re.IGNORECASE)
IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
LEAST = 12  # characters of a variable's value that is looked for; a shorter one may stand anywhere


def find_secret(text: str) -> str | None:
    """What is a secret in a text, in words that do not tell it; None where there is nothing."""
    if match := KEYS.search(text):
        return f"{match[0][:4]}..."
    if IN_URL.search(text):
        return "a password in an address"
    for name, value in os.environ.items():
        if NAMES.search(name) and len(value) >= LEAST and value in text:
            return f"the value of {name}"
    return None


def find_secret_in_word(word: str) -> str | None:
    """What is a secret in a word of the command line: a key that is called so tells that its value is."""
    name, _, value = word.partition("=")
    return (
        name.lstrip("+~") if value and NAMES.search(name) and value not in ("null", "''", '""') else find_secret(word)
    )


def problems(values: Mapping[str, object], key: str = "") -> Iterator[str]:
    """One line for each setting that holds a secret."""
    for name, value in values.items():
        path = f"{key}.{name}" if key else str(name)
        if secret := find_secret(str(name)):
            message = f"{key or 'the settings'}: one of the names contains what looks like a secret ({secret})"
            yield f"{message}, which would be saved with the run"
        elif isinstance(value, Mapping):
            yield from problems(value, path)
        elif NAMES.search(str(name)) and any(texts(value)):
            yield (
                f"{path}: the name suggests a secret (API key or token), which would be saved with the run; remove it "
                "and set it in the environment"
            )
        elif secret := next((secret for text in texts(value) if (secret := find_secret(text))), None):
            yield (
                f"{path}: contains what looks like a secret ({secret}), which would be saved with the run; "
                "W&B and the Hub read theirs from the environment"
            )


def texts(value: object) -> Iterable[str]:
    """The texts of a setting, one or several."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [*map(str, value), *texts([*value.values()])]
    return [text for item in value for text in texts(item)] if isinstance(value, list | tuple) else []
