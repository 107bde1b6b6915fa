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
            found = candidates(os.environ.get("COMP_LINE", ""))
            print(("\n" if shell == "fish" else " ").join(found))
        return
    if shell == "zsh" and action == "install":
        print(ZSH)
    ask_hydra("train", [f"{action}={shell}"])


def candidates(line: str) -> list[str]:
    """What may stand at the end of a command line."""
    head, _, last = line.rpartition(" ")
    try:
        before = shlex.split(head)[1:]
    except ValueError:
        before = head.split()[1:]
    if not before:
        found = [*dict.fromkeys(name.split()[0] for name in commands()), "--help", "--version"]
    elif len(before) == 1 and (seconds := [n.split()[1] for n in commands() if n.startswith(f"{before[0]} ")]):
        found = seconds
    elif (command := split(before)[0]) in commands():
        found = after(command, split(before)[1], last)
    else:
        found = []
    return [word for word in found if word.startswith(last) and (last or not word.startswith("-"))]


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
        arranged = arrange(command, before, parser)
    except LineError:
        return []
    overrides = [word for word in arranged if not word.startswith("-") and " " not in word]
    folders = [word for word in arranged if word.startswith("--config-")]
    os.environ["COMP_LINE"] = " ".join(["ptune", *overrides, last])
    answer = io.StringIO()
    with redirect_stdout(answer):
        ask_hydra(command, [*folders, "query=bash"])
    return relevant_candidates(command, answer.getvalue().split(), last)


def relevant_candidates(command: str, found: list[str], last: str) -> list[str]:
    """Hydra's candidates without the groups that a command does not compose and, unless begun, its own."""
    from ptune.explain import groups, keys

    known, taken = groups(), {*keys(file_name(command))}
    shipped = {group.partition("/")[0] for group in known}
    if taken & shipped:
        taken |= {re.split("[./=]", word)[0] for word in found} - shipped - {"hydra"}
    if last.startswith("h"):
        taken.add("hydra")
    kept = [word for word in found if re.split("[./=]", word.lstrip("+~"))[0] in taken]
    nesting = [word for word in kept if word in known]
    plain = [word for word in kept if word not in nesting]
    return plain + [f"{word}{end}" for word in nesting for end in "=/"]


def ask_hydra(command: str, words: list[str]) -> None:
    """Let Hydra's plugin for the shell print."""
    import hydra

    from ptune.config import register

    register()
    sys.argv = [sys.argv[0], "-sc", *sorted(words, key=lambda word: not word.startswith("-"))]
    hydra.main(config_path=f"pkg://{CONFIGS}", config_name=file_name(command), version_base="1.3")(str)()
