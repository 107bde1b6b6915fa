"""TAB completion: Hydra's own, one word further right, with the commands and their flags in front of it."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress

from ptune.cli import CONFIGS, POSITIONAL, LineError, arrange, commands, fail, file_name, split

# Hydra's function is one for bash; this is what lets zsh run it.
ZSH = "autoload -Uz compinit bashcompinit && compinit -u && bashcompinit"


def complete(words: list[str]) -> None:
    """Answer `ptune -sc install=SHELL`, `uninstall=SHELL` and the `query=SHELL` of the installed function."""
    action, _, shell = words[0].partition("=") if words else ("", "", "")
    if action not in ("install", "uninstall", "query") or shell not in ("bash", "zsh", "fish"):
        fail(2, "ptune: -sc takes install=SHELL or uninstall=SHELL, with bash, zsh or fish")
    if action == "query":
        # A line that makes no sense has no completion; a message would land in the middle of it.
        with suppress(Exception, SystemExit), redirect_stderr(io.StringIO()):
            completions = candidates(os.environ.get("COMP_LINE", ""))
            print(("\n" if shell == "fish" else " ").join(completions))
        return
    if shell == "zsh" and action == "install":
        print(ZSH)
    ask_hydra("train", [f"{action}={shell}"])


def candidates(line: str) -> list[str]:
    """What may stand at the end of a command line."""
    head, _, last_word = line.rpartition(" ")
    try:
        earlier_words = shlex.split(head)[1:]
    except ValueError:
        earlier_words = head.split()[1:]
    if not earlier_words:
        completions = [*dict.fromkeys(name.split()[0] for name in commands()), "--help", "--version"]
    elif len(earlier_words) == 1 and (
        second_words := [n.split()[1] for n in commands() if n.startswith(f"{earlier_words[0]} ")]
    ):
        completions = second_words
    elif (command := split(earlier_words)[0]) in commands():
        completions = after(command, split(earlier_words)[1], last_word)
    else:
        completions = []
    return [word for word in completions if word.startswith(last_word) and (last_word or not word.startswith("-"))]


def after(command: str, before: list[str], last: str) -> list[str]:
    """What may follow a command: flags and their values, groups, options, keys."""
    from hydra._internal.utils import get_args_parser

    from ptune.explain import groups

    parser = get_args_parser()
    flags = {name: action for action in parser._actions for name in action.option_strings}
    flag = flags.get(before[-1]) if before else None
    if last.startswith("-"):
        return [*flags]
    if flag and flag.choices:
        return [str(choice) for choice in flag.choices]
    if flag and flag.nargs is None:
        return []  # a path: the shell's own completion
    if POSITIONAL.get(command) == "group" and "=" not in last:
        return groups()
    try:
        arranged_words = arrange(command, before, parser)
    except LineError:
        return []
    overrides = [word for word in arranged_words if not word.startswith("-") and " " not in word]
    folder_flags = [word for word in arranged_words if word.startswith("--config-")]
    os.environ["COMP_LINE"] = " ".join(["ptune", *overrides, last])
    output = io.StringIO()
    with redirect_stdout(output):
        ask_hydra(command, [*folder_flags, "query=bash"])
    return relevant_candidates(command, output.getvalue().split(), last)


def relevant_candidates(command: str, found: list[str], last: str) -> list[str]:
    """Hydra's candidates without the groups that a command does not compose and, unless begun, its own."""
    from ptune.explain import groups, keys

    group_names, relevant_keys = groups(), {*keys(file_name(command))}
    top_groups = {group.partition("/")[0] for group in group_names}
    if relevant_keys & top_groups:
        relevant_keys |= {re.split("[./=]", word)[0] for word in found} - top_groups - {"hydra"}
    if last.startswith("h"):
        relevant_keys.add("hydra")
    relevant_words = [word for word in found if re.split("[./=]", word.lstrip("+~"))[0] in relevant_keys]
    group_words = [word for word in relevant_words if word in group_names]
    other_words = [word for word in relevant_words if word not in group_words]
    return other_words + [f"{word}{suffix}" for word in group_words for suffix in "=/"]


def ask_hydra(command: str, words: list[str]) -> None:
    """Let Hydra's plugin for the shell print."""
    import hydra

    from ptune.config import register

    register()
    sys.argv = [sys.argv[0], "-sc", *sorted(words, key=lambda word: not word.startswith("-"))]
    hydra.main(config_path=f"pkg://{CONFIGS}", config_name=file_name(command), version_base="1.3")(str)()
