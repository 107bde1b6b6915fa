"""`ptune COMMAND`: each yaml at the top of conf/ is a command that Hydra composes and ptune.COMMAND runs."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from importlib import import_module, resources
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptune import __version__, ranks
from ptune.words import quote

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from omegaconf import DictConfig

CONFIGS = "ptune.conf"
# What a bare word stands for: `ptune ls method` is `ptune ls group=method`.
POSITIONAL = {"ls": "group", "eval": "run", "predict": "run", "export": "run", "report": "runs"}
# What is told of several bare words; {all} are the words, parted by commas.
SEVERAL = {
    "ls": "groups given; ptune ls shows one, or all of them",
    "eval": "runs given; run={all} lets them vote",
    "predict": 'runs given; run={all} loads them together, and each JSON line\'s "run" says which one answers it',
    "export": "runs given; an export is of one run",
    "report": "folders given; a report covers one folder, and finds runs at any depth below it",
}
LISTED = re.compile(r"([a-z_/]+): \w+(, |$)")  # a group and its options
UNUSABLE = (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)  # a path that a setting names

EXAMPLES = """\
Examples:
  ptune ls method                                    # compare the methods
  ptune train method=ptv2 task=rte data=demo backbone=tiny_encoder
  ptune train -m method=ptv2,finetune seed=1,2,3     # six runs
  ptune eval outputs/rte/ptv2/RUN split=dev          # score a finished run again
  ptune report                                       # all finished runs in one table

Learn more: ptune ls, ptune COMMAND --help, ptune COMMAND --cfg job, README.md.
Shell completion for bash or zsh: eval "$(ptune -sc install=bash)", or install=zsh.
"""


def main(argv: list[str] | None = None) -> None:
    """Run one command line; ends with the exit code 0, 1 (what was asked for failed, or some jobs of a sweep did), 2
    (wrong settings, or a mistake in the line), 75 (told to end, and can go on; a single run by its first Ctrl-C, too)
    or 130 (Ctrl-C).
    """
    # Threads that spin while they wait lose most of a busy machine: 15 examples/s were measured against 265.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # large pages: single runs took 1 to 20% less time
    logging.raiseExceptions = False  # a log that cannot be written ends no run
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    arguments = sys.argv[1:] if argv is None else argv
    try:
        with resumable(arguments):
            run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `ptune ls | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:  # before the command has begun
        fail(130, "ptune: interrupted")


@contextmanager
def resumable(arguments: Sequence[str]) -> Iterator[None]:
    """Inside, a scheduler that asks a command to end which can be told again is answered 75, whatever it is at.

    The process ends at once: what is raised in the middle of others' code comes out as other errors, or not at all.
    Where a run has begun it listens itself, see ptune.runs.halt.
    """
    if not {*arguments[:1]} & {"train", "reproduce"} or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        if ranks.tells():
            message = (
                f"ptune {arguments[0]}: ended by {signal.Signals(number).name}; run the same command again to resume\n"
            )
            os.write(2, message.encode())
        os._exit(75)

    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    handlers = {
        number: signal.signal(number, end) for number in signals if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run(arguments: list[str]) -> None:
    """Do what the first word says."""
    command, rest = split(arguments) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(overview())
    elif command == "--version":
        print(f"ptune {__version__}")
    elif command in ("-sc", "--shell-completion"):
        from ptune.complete import complete

        complete(rest)
    elif command in commands():
        dispatch(command, rest)
    else:
        fail(2, f"ptune: {unknown_command(command)}")


def commands() -> dict[str, str]:
    """Every command with what it does: the yamls at the top of conf/ and their first line.

    An underscore in a file's name is a space in the command's: data_info.yaml is `ptune data info`.
    """
    files = [file for file in resources.files(CONFIGS).iterdir() if file.name.endswith(".yaml")]
    return {
        file.name.removesuffix(".yaml").replace("_", " "): first_comment(file.read_text("utf-8"))
        for file in sorted(files, key=lambda file: file.name)
    }


def split(arguments: list[str]) -> tuple[str, list[str]]:
    """(the command, of one word or two, and the words after it)."""
    two_words = " ".join(arguments[:2])
    return (two_words, arguments[2:]) if two_words in commands() else (arguments[0], arguments[1:])


def file_name(command: str) -> str:
    """What a command's yaml, its schema and its module are called."""
    return command.replace(" ", "_")


def first_comment(text: str) -> str:
    """The line that says what a yaml is: its first comment that is not Hydra's `# @package`."""
    for line in text.splitlines():
        comment = line.removeprefix("#").strip()
        if line.startswith("#") and comment and not comment.startswith("@"):
            return comment
        if line and not line.startswith("#"):
            break
    return ""


def overview() -> str:
    """What `ptune --help` prints."""
    lines = "\n".join(f"  {name:<10} {line}" for name, line in commands().items())
    title = f"ptune {__version__}, an experiment runner for prompt tuning."
    usage = "Usage: ptune COMMAND [group=option | key=value]... [Hydra's flags]"
    return f"{title}\n\n{usage}\n\nCommands:\n{lines}\n\n{EXAMPLES}".rstrip()


def unknown_command(word: str) -> str:
    """What is wrong with a first word that is no command."""
    from ptune.errors import nearest

    if word.startswith("-") or "=" in word:
        return f"'{word}' must come after the command: ptune COMMAND {word}"
    if full_names := [name for name in commands() if name.startswith(f"{word} ")]:
        return f"'{word}' needs a second word: {', '.join(full_names)}"
    return f"no command '{word}'; {nearest(word, commands())}"


def fail(code: int, text: str) -> None:
    """End with a text on standard error."""
    if ranks.tells():
        print(text, file=sys.stderr)
    raise SystemExit(code)


class LineError(Exception):
    """A command line that cannot be read; shown as one line."""


def dispatch(command: str, rest: list[str]) -> None:
    """Hand one command to Hydra, and show mistakes without a traceback."""
    import hydra
    import yaml
    from hydra._internal import utils
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from ptune import guard
    from ptune.config import register
    from ptune.errors import Interrupted, PtuneError
    from ptune.explain import explain
    from ptune.secrets import find_secret_in_word

    register()
    if command != "train" and ranks.rank_from_environment().count > 1:
        fail(2, f"ptune {command}: runs in one process; torchrun is only for ptune train")
    if command in ("train", "reproduce"):
        from hydra_plugins.ptune import register as register_launchers
        from hydra_plugins.ptune.sweepers import register as register_sweepers

        register_launchers()
        register_sweepers()
    job = Job(command, rest)
    original_argv = sys.argv
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        if secret := next((secret for word in rest if (secret := find_secret_in_word(word))), None):
            raise LineError(
                f"the command line contains what looks like a secret ({secret}), which would be saved with the run; "
                "pass it through the environment instead"
            )
        sys.argv = [f"ptune {command}", *ranks.aside(arrange(command, rest, utils.get_args_parser()))]
        if "--help" in sys.argv:
            spare_copies()
        # As if HYDRA_FULL_ERROR=1 were set, for this process alone: Hydra passes errors on, and we show them.
        vars(utils)["_is_env_set"] = lambda name: True
        with guard.on(rest), fold_option_lists(command) if "--help" in sys.argv else nullcontext():
            hydra.main(config_path=f"pkg://{CONFIGS}", config_name=file_name(command), version_base="1.3")(job)()
        if job.error:
            raise job.error
        if job.failed:
            fail(job.code, job.summary())
    except LineError as error:
        fail(2, f"ptune {command}: {error}")
    except (PtuneError, HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        is_told = isinstance(error, PtuneError | HydraException)
        if traceback_wanted or (job.started and not job.failed and not is_told):
            raise
        is_job_error = job.started and job.failed  # what ended a job in this process
        fail(
            job.code if job.failed else code_of(error),
            job.summary() if is_job_error else explain(error, file_name(command)),
        )
    except Interrupted as interrupted:
        fail(75, f"ptune {command}: {interrupted}")
    except KeyboardInterrupt:
        fail(130, f"ptune {command}: interrupted")
    except Exception as error:
        if isinstance(error, OSError) and unwritable(error) and not traceback_wanted:
            prefix = f"{error.filename}: " if error.filename else ""
            fail(1, f"ptune {command}: {prefix}{error.strerror}")
        if not job.started and cut_off(error):
            fail(130, f"ptune {command}: interrupted")
        if traceback_wanted or not job.failed:
            raise
        fail(job.code, job.summary())
    finally:
        sys.argv = original_argv


def code_of(error: BaseException) -> int:
    """The exit code of what ended a command: 2 for wrong settings, which are told before anything has run, else 1."""
    from ptune.errors import ConfigError, PtuneError

    return 1 if isinstance(error, PtuneError) and not isinstance(error, ConfigError) else 2


def unwritable(error: BaseException) -> bool:
    """Whether an error says that a disk is full, or that nobody reads what is printed."""
    from ptune.errors import CLOSED, FULL

    return isinstance(error, OSError) and error.errno in (*FULL, *CLOSED)


def cut_off(error: BaseException | None) -> bool:
    """Whether an error came of Ctrl-C, as where a file is to be closed that was not open yet."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or cut_off(error.__context__))


@contextmanager
def fold_option_lists(command: str) -> Iterator[None]:
    """Fold the lines that list a group's options, which Hydra prints as they are, to the width of the terminal, and
    leave out the groups that only other commands take.
    """
    from ptune.explain import takers

    output = io.StringIO()
    try:
        with redirect_stdout(output):
            yield
    finally:
        width = min(shutil.get_terminal_size((100, 24)).columns, 100)
        for line in output.getvalue().splitlines():
            match = LISTED.match(line)
            if match and (group_commands := takers(match[1])) and file_name(command) not in group_commands:
                continue
            is_too_long = match is not None and len(line) > width
            print(textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False) if is_too_long else line)


def spare_copies() -> None:
    """Let Hydra list groups without copying its store of schemas each time, 0.5 s of --help in all."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    vars(store)["__deepcopy__"] = lambda memo: store


class Job:
    """What Hydra calls for each job: imports the command only then, so that help and TAB load nothing."""

    def __init__(self, command: str, words: Sequence[str] = ()) -> None:
        self.command = command
        self.kept = {*folders_there(words)}
        self.__module__ = f"ptune.{file_name(command)}"  # names the job in Hydra's eyes
        self.started = False
        self.error: Exception | None = None
        self.failed: dict[int, str] = {}  # jobs of a sweep that did not come to their end: their kinds of failure
        self.well = False  # whether a job has come to its end, now or before

    def __call__(self, cfg: DictConfig) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.errors import HydraException
        from hydra.types import RunMode

        from ptune.errors import PtuneError
        from ptune.explain import check_complete

        try:
            check_complete(cfg)
            self.started = True
            score = import_module(f"ptune.commands.{file_name(self.command)}").main(cfg)
            self.well = True
            return score
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                self.report(error, HydraConfig.get().job.num, HydraConfig.get().overrides.task)
                raise
            if isinstance(error, UNUSABLE) and error.filename is not None:
                reason = (error.strerror or type(error).__name__).lower()
                readable_error = PtuneError(f"{error.filename}: {reason}; choose another place")
                readable_error.__cause__ = error
                error = readable_error
            if not isinstance(error, PtuneError | HydraException | BrokenPipeError) and not unwritable(error):
                raise
            folder = Path(HydraConfig.get().runtime.output_dir)
            if folder != Path.cwd():
                with suppress(OSError):  # kept where it holds something
                    for path in (folder, *(parent for parent in folder.parents if Path.cwd() in parent.parents)):
                        if path in self.kept:
                            break
                        path.rmdir()
            self.error = error  # raised outside of Hydra, which would put a line of its own before it
            return None

    def report(self, error: Exception, number: int, overrides: Iterable[str]) -> None:
        """Show at once what ended one job of a sweep; Hydra would at the end, and only the first."""
        from hydra.errors import HydraException

        from ptune.errors import PtuneError
        from ptune.explain import explain
        from ptune.sweeps.jobs import kind_of

        self.failed[number] = kind_of(error)
        print(f"job {number} ({' '.join(overrides)}) failed:", file=sys.stderr)
        if isinstance(error, PtuneError | HydraException):
            print(explain(error, file_name(self.command)), file=sys.stderr)
        else:
            traceback.print_exception(error)

    @property
    def code(self) -> int:
        """The exit code of a sweep in which jobs failed."""
        kinds = {*self.failed.values()}
        return 75 if "interrupted" in kinds else 2 if kinds == {"config"} and not self.well else 1

    def summary(self) -> str:
        """The last line of a sweep in which jobs failed, else nothing."""
        if not self.failed:
            return ""
        kinds = Counter(self.failed.values())
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        jobs = ranges(sorted(self.failed))
        fix, retry = "fix the settings", "run the same command again to retry"
        advice = fix if {*kinds} == {"config"} else f"{fix} and {retry} them" if "config" in kinds else f"{retry} them"
        return f"ptune {self.command}: failed jobs: {jobs} ({counts}); {advice}"


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers, those that follow one another as 3-7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def arrange(command: str, words: list[str], parser: ArgumentParser) -> list[str]:
    """The words in the order that Hydra 1.3 can read, flags first; what it cannot is a LineError."""
    import argparse

    parser.exit_on_error = False
    try:
        parsed, unknown_words = parser.parse_known_intermixed_args(detach(words, parser))
    except argparse.ArgumentError as error:
        raise LineError(str(error)) from None
    flags = [action for action in parser._actions if action.option_strings]
    if unknown_words:
        from ptune.errors import nearest

        flag_names = [name for action in flags for name in action.option_strings]
        raise LineError(f"no flag '{unknown_words[0]}'; {nearest(unknown_words[0], flag_names)}")
    check_modes(parsed)
    flag_words = []
    for action in flags:
        value = getattr(parsed, action.dest, None)
        if value is True:
            flag_words.append(action.option_strings[0])
        elif value:
            flag_words.append(f"{action.option_strings[0]}={value}")
    check_single(command, parsed.overrides)
    overrides = [override(command, word) for word in parsed.overrides]
    if command == "train" and not (parsed.help or parsed.cfg or parsed.info or parsed.multirun):
        check_resumed(parsed.overrides)
    if parsed.help:
        overrides.append(f"hydra.help.header={quote(f'ptune {command}: {commands()[command]}')}")
    return flag_words + overrides


def check_single(command: str, words: Sequence[str]) -> None:
    """Refuse bare words beside another value for the same key, as from a shell's glob: Hydra would take the last."""
    key = POSITIONAL.get(command)
    bare_words = [word for word in words if is_bare(word)]
    values = [word.removeprefix(f"{key}=") for word in words if is_bare(word) or word.startswith(f"{key}=")]
    if key is not None and bare_words and len(values) > 1:
        count = "two" if len(values) == 2 else str(len(values))
        first_values = ",".join(values[:3]) + ",..." * (len(values) > 3)
        raise LineError(f"{count} {SEVERAL[command].format(all=first_values)}")


def check_resumed(words: Sequence[str]) -> None:
    """Refuse to resume a run in a folder that there is not, before Hydra makes it."""
    for word in words:
        key, _, value = word.partition("=")
        if key == "resume" and value not in ("", "null") and not {*value} & {*"'\"$\\"} and not Path(value).is_dir():
            from ptune.runs.folder import no_run

            raise no_run(Path(value))


def folders_there(words: Iterable[str]) -> Iterator[Path]:
    """The run folder that words of a command line name, and those above it, where they are there before Hydra."""
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key in ("resume", "hydra.run.dir"):
            path = Path(os.path.abspath(value.strip("'\"")))
            yield from (folder for folder in (path, *path.parents) if folder.exists())


def is_bare(word: str) -> bool:
    """Whether a word is no override, but the value of a command's POSITIONAL key."""
    return "=" not in word and not word.startswith("~")


def check_modes(found: Namespace) -> None:
    """Refuse flags that exclude each other, which Hydra answers with a traceback."""
    modes = [("--cfg", found.cfg), ("-m", found.multirun), ("--run", found.run), ("--info", found.info)]
    mode_flags = [name for name, value in modes if value]
    if len(mode_flags) > 1:
        hint = "; --cfg shows one job, so leave out -m" if {"--cfg", "-m"} <= {*mode_flags} else ""
        raise LineError(f"only one of {' and '.join(mode_flags)} at a time{hint}")
    if found.resolve and not (found.cfg or found.help):
        raise LineError("--resolve needs --cfg job")


def detach(words: list[str], parser: ArgumentParser) -> list[str]:
    """Give a flag whose value is optional its default where an override follows: argparse would take that."""
    optional_flags = {name: a for a in parser._actions if a.nargs == "?" for name in a.option_strings}
    result = []
    for word, next_word in zip_longest(words, words[1:]):
        action = optional_flags.get(word)
        if action and next_word not in (action.choices or ()):
            word = f"{action.option_strings[0]}={action.const}"
        result.append(word)
    return result


def override(command: str, word: str) -> str:
    """A bare word as the override it stands for; other words are overrides already."""
    from ptune.explain import options

    if not is_bare(word):
        key, _, value = word.partition("=")
        check_choice(key, value)
        is_run_list = command in ("predict", "eval") and key == POSITIONAL[command] and value[:1] not in ("'", '"')
        return f"{key}={quote(value)}" if is_run_list else word
    if command not in POSITIONAL:
        suggestions = [f"{group}={name}" for group, name in options() if name == word]
        hint = f"; did you mean {suggestions[0]}?" if suggestions else ""
        raise LineError(f"'{word}' is not of the form key=value{hint}")
    return f"{POSITIONAL[command]}={quote(word)}"


def check_choice(key: str, value: str) -> None:
    """Refuse a group spelled as a node, which Hydra lets through, and a number as option, its traceback."""
    from ptune.errors import ConfigError, nearest
    from ptune.explain import options

    group = key.replace(".", "/")
    names = sorted(name for option_group, name in options() if option_group == group)
    if not names:
        return
    if "." in key and value[:1].isalpha() and value != "null":
        raise ConfigError([f"{key} is a group, whose option is chosen with slashes: {group}={value}"])
    if value.lower() in ("null", "true", "false") or set(value) <= set("0123456789.,-"):
        hint = f"the number is {key}.value={value}" if key == "prompt_length" else nearest(value, names)
        raise ConfigError([f"{key}={value}: '{value}' is not an option; {hint}"])
