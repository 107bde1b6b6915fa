"""The command line as a user meets it: help, listings, completion, and every mistake's text, literally."""

from __future__ import annotations

import dataclasses
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest
from command_line import Result
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ptune import __version__, checks, cli, config
from ptune.errors import ConfigError
from ptune.words import override, quote

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(file.stem.replace("_", " ") for file in ROOT.glob("conf/*.yaml"))


def options(group: str) -> str:
    """The options of a group, as messages list them."""
    return ", ".join(sorted(file.stem for file in ROOT.glob(f"conf/{group}/*.yaml")))


@pytest.fixture
def stub(monkeypatch):
    """Put a function in the place of a command's."""

    def put(command: str, main) -> None:
        module = types.ModuleType(f"ptune.{command}")
        module.main = main
        monkeypatch.setitem(sys.modules, f"ptune.commands.{command}", module)

    return put


@pytest.fixture
def mine(tmp_path):
    """A user's own configurations."""
    folder = tmp_path / "mine"
    for path, text in {
        "method/mine.yaml": """\
            # A wide P-Tuning v2 of mine.
            defaults:
              - ptv2
              - override template: pattern
              - _self_
            tune: bias
            """,
        "experiment/good.yaml": "# @package _global_\n# My experiment.\nseed: 7\n",
        "experiment/bad_key.yaml": "# @package _global_\n# A wrong key.\noptim:\n  lrr: 3\n",
        "experiment/bad_option.yaml": """\
            # @package _global_
            defaults:
              - override /method: pttv2
            """,
        "experiment/broken.yaml": "# Not yaml.\nseed: [1,\n",
        "experiment/nowhere.yaml": "# @package _global_\ntask:\n  folder: ${nowhere.at_all}\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text))
    return folder


def shell(*words: str, cwd: Path | None = None, **environ: str) -> Result:
    """Run the program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ptune", *words],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env={**os.environ, **environ},
        timeout=60,
    )
    return Result(done.returncode, done.stdout.strip(), done.stderr.strip())


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_overview(ptune, words):
    result = ptune(*words)
    assert result.code == 0
    assert result.out.startswith(f"ptune {__version__}, an experiment runner for prompt tuning.\n")
    for command in COMMANDS:
        assert f"\n  {command:<10} " in result.out
    assert "\n  train      Train a method on a task with a backbone, evaluate it, and write" in result.out


def test_version(ptune):
    assert ptune("--version").out == f"ptune {__version__}"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("trian", "ptune: no command 'trian'; did you mean 'train'?"),
        ("-m train", "ptune: '-m' must come after the command: ptune COMMAND -m"),
        ("task=rte", "ptune: 'task=rte' must come after the command: ptune COMMAND task=rte"),
        ("-sc", "ptune: -sc takes install=SHELL or uninstall=SHELL, with bash, zsh or fish"),
        ("train --multrun", "ptune train: no flag '--multrun'; did you mean '--multirun'?"),
        ("train --cfg", "ptune train: argument --cfg/-c: expected one argument"),
        ("train rte", "ptune train: 'rte' is not of the form key=value; did you mean task=rte?"),
        ("train what", "ptune train: 'what' is not of the form key=value"),
        ("train --resolve", "ptune train: --resolve needs --cfg job"),
        (
            "train -m --cfg job seed=1,2",
            "ptune train: only one of --cfg and -m at a time; --cfg shows one job, so leave out -m",
        ),
        (
            "train prompt_length=20",
            "prompt_length=20: '20' is not an option; the number is prompt_length.value=20",
        ),
        ("train data=null", f"data=null: 'null' is not an option; one of: {options('data')}"),
        (
            "train method.prompt=deep",
            "method.prompt is a group, whose option is chosen with slashes: method/prompt=deep",
        ),
        ("eval a b", "ptune eval: two runs given; run=a,b lets them vote"),
        ("eval a b c d", "ptune eval: 4 runs given; run=a,b,c,... lets them vote"),
        (
            "predict run=a b",
            'ptune predict: two runs given; run=a,b loads them together, and each JSON line\'s "run" says which one '
            "answers it",
        ),
        ("export a to=peft b", "ptune export: two runs given; an export is of one run"),
        (
            "report a b",
            "ptune report: two folders given; a report covers one folder, and finds runs at any depth below it",
        ),
        ("ls method task", "ptune ls: two groups given; ptune ls shows one, or all of them"),
    ],
)
def test_mistakes_in_the_line(ptune, words, text):
    result = ptune(*words.split())
    assert (result.code, result.err, result.out) == (2, text, "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "method=ptv3",
            f"method=ptv3: no such option; did you mean 'ptv2'?\noptions of method: {options('method')}",
        ),
        (
            "method/prompt=depe",
            "method/prompt=depe: no such option; did you mean 'deep'?\n"
            f"options of method/prompt: {options('method/prompt')}",
        ),
        ("compat=xyz", f"compat=xyz: no such option; one of: {options('compat')}"),
        ("metod=ptv2", "metod: no such key; did you mean 'method'?"),
        ("prompt=deep", "prompt: no such key; did you mean 'method/prompt'?"),
        ("method/lr=1", "method/lr: no such key; did you mean 'method.lr'?"),
        ("optim.lrr=3", "optim.lrr: no such key; did you mean 'lr'?"),
        ("lr=3", "lr: no such key; did you mean 'optim.lr'?"),
        (
            "method.prompt.lenght=3",
            "method.prompt.lenght: no such key; did you mean 'length'?",
        ),
        (
            "method.prompt.from_run=x",
            "method.prompt.from_run: no such key; one of: length, reparam, mid, layers, init, init_std, init_text, "
            "dropout, position_offset, mlp_init, sites",
        ),
        ("method.head.calibrate=x", "method.head.calibrate: no such key; one of: pooler, dropout, activation"),
        (
            "task.source.new=x",
            "task.source.new: no such key; one of: reader, folder, files, hub, submission, layouts, license, obtain, "
            "statistics (+task.source.new=... adds it)",
        ),
        ("optim.lr=abc", "optim.lr: 'abc' is not a number"),
        ("seed=abc", "seed: 'abc' is not a whole number"),
        ("quiet=abc", "quiet: 'abc' is not true or false"),
        ("seed=null", "seed: null is no value of it; leave it out for its default"),
        ("task=rte,cb", "task=rte,cb: several values make a sweep, which needs -m; a list is written key=[a,b]"),
        ("seed=range(1,3)", "seed=range(1,3): a sweep needs -m"),
        (
            "seed=a)b(",
            "seed=a)b(: cannot be read (mismatched input ')' expecting <EOF>); "
            "quote special characters: \"key='a value'\"",
        ),
        ("-cn nope", "nope: no such file on the configuration search path"),
    ],
)
def test_mistakes_in_settings(ptune, words, text):
    result = ptune("train", *words.split(), "--cfg", "job")
    assert (result.code, result.err, result.out) == (2, text, "")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("eval method=ptv2", "method: no such key of ptune eval; method goes with ptune train"),
        ("reproduce backbone=gpt2", "backbone: no such key of ptune reproduce; backbone goes with ptune train"),
        ("train table=ptv2_table2", "table: no such key of ptune train; table goes with ptune reproduce"),
        ("train method/encoder=bilstm", "method/encoder: not in this configuration; +method/encoder=bilstm adds it"),
        ("train task@x=rte", "task@x: no such key; did you mean 'task'?"),
    ],
)
def test_a_group_that_a_command_does_not_compose(ptune, words, text):
    result = ptune(*words.split(), "--cfg", "job")
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert result.err.startswith(text)


def test_mistakes_in_a_users_yaml(ptune, mine):
    def text(name: str) -> str:
        result = ptune("train", f"experiment={name}", "--config-dir", str(mine), "--cfg", "job")
        assert (result.code, result.out) == (2, "")
        return result.err

    assert text("bad_key") == "experiment/bad_key.yaml: optim.lrr: no such key; did you mean 'lr'?"
    assert text("broken").startswith(f"{mine}/experiment/broken.yaml:3: expected")
    assert text("bad_option").startswith("method=pttv2 (from a yaml): no such option; did you mean 'ptv2'?\n")
    missing = ptune("train", "--config-dir", str(mine / "nope"), "--cfg", "job")
    assert missing.err == f"Additional config directory '{mine / 'nope'}' not found"


def test_settings_are_complete_before_anything_is_imported(ptune, mine, stub):
    stub("train", lambda cfg: pytest.fail("ran"))
    stub("export", lambda cfg: pytest.fail("ran"))
    result = ptune("export")
    assert (result.code, result.err) == (2, "run: must be given: run=DIR")
    result = ptune("train", "backbone=local", "data=demo")
    assert (result.code, result.err) == (2, "backbone.path: must be given: backbone.path=DIR")
    result = ptune("train", "experiment=nowhere", "--config-dir", str(mine), "hydra.run.dir=out")
    place = "task.folder: ${nowhere.at_all}"
    assert (result.code, result.err) == (2, f"{place}: Interpolation key 'nowhere.at_all' not found")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words",
    ["task=cb --cfg job seed=3", "-c job task=cb seed=3", "task=cb seed=3 -cjob", "task=cb --cfg=job seed=3"],
)
def test_overrides_stand_on_both_sides_of_a_flag(ptune, words):
    result = ptune("train", *words.split())
    assert result.code == 0
    cfg = OmegaConf.create(result.out)
    assert (cfg.task.name, cfg.seed) == ("cb", 3)


def test_flag_with_an_optional_value_leaves_overrides_alone(ptune):
    result = ptune("train", "--info", "defaults", "task=cb")
    assert (result.code, "task/cb" in result.out) == (0, True)
    assert ptune("train", "task=cb", "--info", "method=ptv2").code == 0


def test_order_of_overrides_is_kept(ptune):
    assert OmegaConf.create(ptune("train", "seed=1", "-c", "job", "seed=2").out).seed == 2


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("eval outputs/rte/ptv2/20260101-000000-000001", "run", "outputs/rte/ptv2/20260101-000000-000001"),
        ("predict it's", "run", "it's"),
        ("report outputs/*", "runs", "outputs/*"),
        ("ls method/prompt", "group", "method/prompt"),
    ],
)
def test_a_bare_word_is_the_commands_main_key(ptune, words, key, value):
    assert OmegaConf.create(ptune(*words.split(), "--cfg", "job").out)[key] == value


def test_a_users_mistake_is_text_and_a_bug_a_traceback(ptune, stub):
    def mistake(cfg):
        raise ConfigError(["run: nothing there", "split: no such split"])

    def bug(cfg):
        raise KeyError("a bug")

    stub("eval", mistake)
    result = ptune("eval", "here")
    assert (result.code, result.err) == (2, "run: nothing there\nsplit: no such split")
    stub("eval", bug)
    with pytest.raises(KeyError, match="a bug"):
        ptune("eval", "here")


def test_a_place_that_cannot_be_written_is_text(ptune, stub, tmp_path):
    """Whatever setting named it; HYDRA_FULL_ERROR=1 says where in the code."""
    taken = tmp_path / "taken"
    taken.write_text("")

    def write(cfg):
        (taken / "figures").mkdir(parents=True)

    stub("report", write)
    result = ptune("report")
    assert result.code == 1
    assert result.err == f"{taken / 'figures'}: not a directory; choose another place"


def test_a_full_traceback_can_be_asked_for(ptune, stub, monkeypatch):
    def mistake(cfg):
        raise ConfigError(["run: nothing there"])

    stub("eval", mistake)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigError):
        ptune("eval", "here")


def test_keyboard_interrupt_is_one_line(ptune, stub):
    def interrupted(cfg):
        raise KeyboardInterrupt

    stub("eval", interrupted)
    result = ptune("eval", "here")
    assert (result.code, result.err) == (130, "ptune eval: interrupted")


def test_ctrl_c_before_the_command_has_begun_is_one_line(ptune, monkeypatch):
    """While it is looked for; and in the middle of Hydra, where it comes out as another error."""

    def pressed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cli, "dispatch", pressed)
        result = ptune("train", "task=rte")
    assert (result.code, result.err) == (130, "ptune: interrupted")

    def read():
        try:
            file = pressed()
        finally:
            file.close()

    monkeypatch.setattr("hydra.main", lambda **_: lambda job: read)
    result = ptune("train", "task=rte")
    assert (result.code, result.err) == (130, "ptune train: interrupted")


BEGINNING = ["train", "task=rte", "data=demo", "backbone=tiny_encoder", "tracker=none", "hydra.run.dir=run"]


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 75, "ptune train: ended by SIGTERM; run the same command again to resume"),
        (signal.SIGUSR1, 75, "ptune train: ended by SIGUSR1; run the same command again to resume"),
        (signal.SIGUSR2, 75, "ptune train: ended by SIGUSR2; run the same command again to resume"),
        (signal.SIGHUP, 75, "ptune train: ended by SIGHUP; run the same command again to resume"),
        (signal.SIGINT, 130, "ptune( train)?: interrupted"),
    ],
)
def test_a_signal_before_the_run_has_begun(tmp_path, number, code, said):
    """While modules are imported, which takes seconds, as later: the scheduler is told, in one line."""
    with subprocess.Popen(
        [sys.executable, "-m", "ptune", *BEGINNING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # ignored by nohup, or in the background
    ) as process:
        try:
            until = time.monotonic() + 60
            while not caught(process.pid, signal.SIGTERM) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (code, "")
    assert re.fullmatch(f"{said}\n", err)
    assert not (tmp_path / "run" / "config.yaml").exists()


def caught(process: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    mask = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (number - 1) & 1)


SWALLOWED = """
import os, signal, sys, types
from ptune import cli

def main(cfg):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        pass
    print("went on")

sys.modules["ptune.commands.train"] = types.SimpleNamespace(main=main)
cli.main(["train", "task=rte", "hydra.run.dir=."])
"""


def test_nobody_swallows_a_signal(tmp_path):
    """As libraries do whose modules try this and that when they are imported."""
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "ptune train: ended by SIGTERM; run the same command again to resume\n"


def test_signals_are_left_as_they_were(ptune, stub):
    """After the command; in one that cannot go on, all along, and where a signal is ignored."""
    handlers = {}

    def listened(cfg):
        handlers.update({number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)})

    stub("train", listened)
    stub("eval", listened)
    before, ignored = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ptune("train", "task=rte").code == 0
        assert handlers[signal.SIGTERM] != before
        assert handlers[signal.SIGHUP] == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == before
        assert ptune("eval", "here").code == 0
        assert handlers[signal.SIGTERM] == before
    finally:
        signal.signal(signal.SIGHUP, ignored)


TEXTS = [
    "outputs/run-1", "/data/a%b@c+d:e", "../run", "two words", "a,b", "lr=1,seed=2", "it's", "a'", '"q"', "back\\slash",
    "back\\", "\\'", "(a)", "[a]", "{a: b}", "$HOME", "a#b", "a;b", "a&b", "*", "~/run", "-", " a ", "a\nb",
    "Läufe", "運行", "null", "None", "true", "False", "nan", "inf", "12", "1e5", "0x1", "1_000", "1/2", ".5", "",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_texts_as_words_of_a_command_line(text):
    """A shell and Hydra, one after the other, give the text back, as a text."""
    (word,) = shlex.split(override("resume", text))
    found = OverridesParser.create().parse_override(word)
    assert (found.key_or_group, found.value(), type(found.value())) == ("resume", text, str)
    assert OverridesParser.create().parse_override(f"run={quote(text)}").value() == text


def test_plain_texts_are_left_plain():
    assert override("resume", "/data/outputs/rte/ptv2/20260101-000000-000001") == (
        "resume=/data/outputs/rte/ptv2/20260101-000000-000001"
    )
    assert override("resume", "run") == "resume=run"
    assert override("resume", "two words") == shlex.quote("resume='two words'")


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2"]], ids=["run", "sweep"])
def test_where_nothing_may_be_written(ptune, sweep):
    """One line, whoever meets it: here Hydra does."""
    closed = "/sys/kernel/ptune"  # to root as to anyone else
    where = f"hydra.sweep.dir={closed}" if sweep else f"hydra.run.dir={closed}"
    result = ptune("train", "method=majority", "task=rte", "data=demo", where, *sweep)
    assert result.code == 1
    assert re.fullmatch(f"ptune train: {closed}: (Operation not permitted|Permission denied|Read-only .*)", result.err)


def test_the_job_sees_its_line_and_leaves_no_trace(ptune, stub, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ptune", "eval"])
    seen = []
    stub("eval", lambda cfg: seen.append((cfg.run, sys.argv, HydraConfig.get().job.name)))
    assert ptune("eval", "here").code == 0
    assert seen == [("here", ["ptune eval", "run='here'"], "eval")]
    assert sys.argv == ["ptune", "eval"]
    assert list(Path.cwd().iterdir()) == []


def test_wrong_settings_leave_no_folders(ptune):
    """None of the run's, and none of those above it that the run alone has made."""
    line = ("train", "method=majority", "task=rte", "data=demo", "batch_size=0")
    assert ptune(*line).code == 2
    assert list(Path.cwd().iterdir()) == []
    (Path("outputs") / "rte").mkdir(parents=True)
    (Path("outputs") / ".gitignore").touch()
    assert ptune(*line).code == 2
    assert [path.name for path in Path("outputs").iterdir()] == [".gitignore"]


SWEEP = """
import sys, types
from ptune import cli
from ptune.errors import PtuneError

def main(cfg):
    print("job", cfg.seed, flush=True)
    if cfg.seed == 2:
        raise PtuneError("seed: 2 is one too many")
    return float(cfg.seed)

sys.modules["ptune.commands.train"] = types.SimpleNamespace(main=main)
cli.main(sys.argv[1:])
"""


def sweep(tmp_path: Path, *words: str) -> Result:
    command = [sys.executable, "-c", SWEEP, "train", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    return Result(done.returncode, done.stdout.strip(), done.stderr.strip())


def test_a_failing_job_does_not_end_a_sweep(tmp_path):
    """Of the launcher that runs jobs in this process, too."""
    result = sweep(tmp_path, "task=rte", "-m", "seed=1,2,3", "hydra/launcher=basic")
    assert result.out.splitlines() == ["job 1", "job 2", "job 3"]
    assert "job 1 (task=rte seed=2) failed:\nseed: 2 is one too many\n" in result.err
    assert result.err.endswith("ptune train: failed jobs: 1 (1 config); fix the settings")
    assert "Traceback" not in result.err
    assert "HYDRA_FULL_ERROR" not in result.err
    assert result.code == 1


def test_a_sweep_without_jobs_is_a_mistake(tmp_path):
    result = sweep(tmp_path, "-m", "experiment=glob(nothing*)")
    assert result.code == 2
    assert result.err.endswith("no jobs: nothing matches experiment=glob(nothing*)")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_sweep_without_jobs_is_a_mistake_beside_earlier_runs_too(tmp_path):
    """They are not shown as if they were its own, and stay."""
    kept = tmp_path / "out/seed-1/log.txt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    result = sweep(tmp_path, "-m", "experiment=glob(nothing*)", "hydra.sweep.dir=out")
    assert result.code == 2
    assert result.err.endswith("no jobs: nothing matches experiment=glob(nothing*)")
    assert kept.is_file()


def test_trains_help_lists_its_groups_and_settings(ptune):
    result = ptune("train", "--help")
    assert result.code == 0
    assert result.out.startswith("ptune train: Train a method on a task with a backbone, evaluate it, and")
    for group in ("method", "method/prompt", "task"):
        assert f" {group}: {options(group)} " in " ".join(result.out.split())  # folded where it is long
    assert "\nbatch_size: 16 " in result.out
    assert "\n  lr: null " in result.out
    assert "_target_: " not in result.out  # what options hold is of --cfg job
    assert not [line for line in result.out.splitlines() if line.startswith("table")]  # goes with reproduce


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(ptune, command):
    result = ptune(*command.split(), "--help")
    assert result.code == 0
    assert result.out.startswith(f"ptune {command}: {cli.commands()[command]}\n")
    assert f"  ptune {command}" in result.out


def test_help_says_what_every_setting_means(ptune):
    result = ptune("report", "format=csv", "--help")
    assert f"\n{'format: csv':<30}# table | markdown | latex | csv | json | html\n" in result.out
    unsaid = {
        f"{command}.{field.name}"
        for command, schema in config.SCHEMAS.items()
        for field in dataclasses.fields(schema)
        if not field.metadata.get("help")
    }
    assert unsaid == {"train.method", "train.backbone", "train.task", "train.compat", "train.experiment"}  # groups


@pytest.mark.parametrize("key", [key for key in checks.CHOICES if not key.startswith(("method.", "compat."))])
def test_help_names_every_choice(key):
    schema = config.Train
    *parents, name = key.split(".")
    for parent in parents:
        schema = next(field.default_factory for field in dataclasses.fields(schema) if field.name == parent)
    meaning = next(field.metadata["help"] for field in dataclasses.fields(schema) if field.name == name)
    assert all(re.search(rf"\b{choice}\b", meaning) for choice in checks.CHOICES[key])


def test_ls_shows_every_option_with_a_line(ptune):
    lines = ptune("ls").out.splitlines()
    group = ""
    shown = set()
    for line in lines:
        if not line.startswith(" "):
            group = line
            continue
        if group == "local":
            continue  # this machine's own settings
        name, _, text = line.strip().partition(" ")
        assert text.strip(), f"{group}/{name} says nothing"
        shown.add(f"{group}/{name}")
    files = {
        str(path.relative_to(ROOT / "conf").with_suffix(""))
        for path in ROOT.glob("conf/*/**/*.yaml")
        if path.relative_to(ROOT / "conf").parts[0] != "local"
        and path.parent.name not in ("help", "job_logging", "hydra_logging")
    }
    assert shown == files


def test_ls_method_is_a_table_that_follows_inheritance(ptune, mine):
    lines = ptune("ls", "method", "--config-dir", str(mine)).out.splitlines()
    assert lines[0].split() == ["method", "template", "prompt", "head", "tune", "procedure"]
    rows = {line.split()[0]: " ".join(line.split()) for line in lines[1:]}
    assert rows["ptv2"].startswith("ptv2 plain deep linear none single P-Tuning v2 (")
    assert rows["mine"] == "mine pattern deep linear bias single A wide P-Tuning v2 of mine."


def test_ls_task_is_a_table_of_sizes_metrics_and_licenses(ptune, mine):
    (mine / "task").mkdir()
    (mine / "task" / "bare.yaml").write_text("# A task that says little.\n_target_: my.tasks.own.Own\n")
    lines = ptune("ls", "task", "--config-dir", str(mine)).out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["task", "kind", "train", "dev", "test", "metric", "license"]
    rows = {line.split()[0]: " ".join(line.split()) for line in lines[1:-2]}
    assert rows["boolq"] == "boolq classify 9,427 3,270 3,245 accuracy CC BY-SA 3.0"
    assert rows["cb"] == "cb classify 250 56 250 accuracy see the owner's page"
    assert rows["bare"] == "bare own - - - - -"
    assert {*rows} - {"bare"} == {path.stem for path in (ROOT / "conf/task").glob("*.yaml")}


@pytest.mark.parametrize(
    ("to", "code", "said"), [("/dev/full", 1, "ptune ls: No space left on device\n"), ("&-", 0, "")]
)
def test_output_that_nothing_takes(to, code, said):
    """One line of ptune's own where a disk is full; nothing where it was closed, as `>/dev/null` would have it."""
    line = f"{shlex.quote(sys.executable)} -m ptune ls method >{to}"
    found = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (code, said)


def test_a_reader_of_a_table_that_has_read_enough_is_no_failure():
    """The one that ends before there is a table at all."""
    small = "data.demo.train=4 data.demo.dev=4 data.demo.test=4"
    line = f"set -o pipefail; {shlex.quote(sys.executable)} -m ptune data info task=rte {small} | true"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_ls_sees_the_search_path(ptune, mine):
    expected = ["experiment", "bad_key A wrong key.", "good My experiment."]
    for words in [("--config-dir", str(mine)), (f"hydra.searchpath=[file://{mine}]",)]:
        lines = [" ".join(line.split()) for line in ptune("ls", "experiment", *words).out.splitlines()]
        assert {*expected} <= {*lines}


def test_ls_takes_a_nested_group_by_its_last_name_and_corrects_others(ptune):
    assert ptune("ls", "prompt").out.splitlines()[0] == "method/prompt"
    assert ptune("ls", "method.head").out.splitlines()[0] == "method/head"
    result = ptune("ls", "mthod")
    assert (result.code, result.err) == (2, "group=mthod: no such group; did you mean 'method'?")


def on_a_terminal(*words: str, columns: int, **environ: str) -> list[str]:
    """What the program draws on a terminal of a given width."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ptune", *words],
        stdout=child,
        stdin=child,
        stderr=child,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", **environ},
    )
    os.close(child)
    output = b""
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:  # Linux ends a terminal so
            break
        if not chunk:
            break
        output += chunk
    os.close(parent)
    assert process.wait(10) == 0
    return output.decode().splitlines()


def test_ls_on_a_terminal_keeps_to_its_width_and_to_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = on_a_terminal("ls", "method", columns=80, NO_COLOR="1")
    assert max(map(len, plain)) <= 80
    assert not any("\x1b[" in line for line in plain)
    colored = on_a_terminal("ls", columns=60)
    assert any("\x1b[" in line for line in colored)


BASH = """
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
eval "$(ptune -sc install=bash)"
COMP_LINE=$1 COMP_POINT=${#1}
words=($1); COMP_CWORD=$(( ${#words[@]} - 1 ))
if [ "${1: -1}" = " " ]; then COMP_CWORD=${#words[@]}; fi
hydra_bash_completion
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ptune tr", ["train"]),
        ("ptune ", ["check", "data", "eval", "export", "ls", "predict", "report", "reproduce", "train"]),
        ("ptune data ", ["check", "info"]),
        ("ptune data info task=cb data=d", ["data=demo"]),
        ("ptune data check task=wnu", ["task=wnut17"]),
        ("ptune data check data.le", ["data.lenient="]),
        ("ptune train method=p", ["method=pattern_finetune", "method=pet", "method=prefix"]),
        ("ptune train method/pr", ["method/procedure=", "method/prompt="]),
        ("ptune train method.prompt.l", ["method.prompt.layers=", "method.prompt.length="]),
        ("ptune train task=rte -m prompt_length=l", ["prompt_length=long"]),
        ("ptune train --cfg ", ["job", "hydra", "all"]),
        ("ptune train --multi", ["--multirun"]),
        ("ptune ls method/p", ["method/procedure", "method/prompt"]),
        ("ptune eval sp", ["split="]),
        ("ptune eval met", []),
        ("ptune eval task=c", ["task=cb", "task=cola"]),
        ("ptune predict back", []),
        ("ptune reproduce met", []),
        ("ptune train swe", ["sweep="]),
        ("ptune train tab", []),
        ("ptune eval --config-d", ["--config-dir"]),
        ("ptune train --config-dir MINE method=mi", ["method=mine"]),
        ("ptune nope me", []),
        ("ptune train 'unclosed me", []),
    ],
)
def test_completion_in_bash(line, expected, mine):
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-c", BASH, "bash", line.replace("MINE", str(mine))]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30)
    assert done.stderr == ""
    assert done.stdout.split()[: len(expected)] == expected
    assert bool(done.stdout.split()) == bool(expected)


def test_completion_in_zsh(tmp_path):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not on this machine")
    (tmp_path / ".zshrc").write_text("PS1='$ '\n")
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ZDOTDIR": str(tmp_path),
        "TERM": "dumb",
    }
    parent, child = pty.openpty()
    process = subprocess.Popen(["zsh", "-i"], stdin=child, stdout=child, stderr=child, env=environ)
    os.close(child)
    os.set_blocking(parent, False)

    def type_until(keys: str, wanted: str) -> bool:
        os.write(parent, keys.encode())
        seen, end = "", time.monotonic() + 20
        while wanted not in seen and time.monotonic() < end:
            try:
                seen += os.read(parent, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.05)
        return wanted in seen

    try:
        assert type_until('eval "$(ptune -sc install=zsh)"; echo rea""dy\n', "ready")
        assert type_until("ptune tr\t", "ptune train")
        assert type_until("\x15ptune train method=pref\t", "method=prefix")
        assert type_until("\x15ptune train method.prompt.le\t", "method.prompt.length=")
    finally:
        process.kill()
        process.wait()
        os.close(parent)


def test_python_m_ptune_is_the_same_program():
    assert shell("--version").out == f"ptune {__version__}"
    assert shell("nope").code == 2


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m ptune ls | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (done.stdout, done.stderr) == ("backbone\n", "")
