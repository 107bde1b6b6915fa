"""Speed comparisons: sides that take turns at the same work, so that a busy machine is as busy for each.

Every side is a process that waits (sides.py). They are told to go one after the other, round after round; a
comparison is the ratio of two sides within a round, and what is reported is its median with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts/bench")]
from cells import ENVIRONMENT  # noqa: E402
from trainer import BACKBONE  # noqa: E402

SHARED = Path(os.environ.get("PTUNE_TEST_SHARED", ROOT.parent / "shared"))
RESULTS = ROOT / "scripts/bench/results/speed"

# How people run PEFT, how it can be helped along, and the Trainer's full fine-tuning, each with the Trainer's defaults.
PEFT = {"side": "peft"}
HELPED = {"side": "peft", "precision": "bfloat16", "grouped": True}
TRAINER = {"side": "trainer"}
PTUNE = {"side": "ptune", "precision": "bfloat16"}
SURE = ("+backbone.dropout=0.0", "+backbone.attention_dropout=0.0", "method.head.dropout=0.0")

Rounds = list[dict[str, Any]]


class Turn:
    """A side's process."""

    def __init__(self, spec: Mapping[str, Any], threads: int) -> None:
        environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, str(ROOT / "scripts/bench/sides.py"), json.dumps(spec)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.held = self.listen()["held"]

    def listen(self) -> dict[str, Any]:
        """The next line. Raises RuntimeError with what the process said last where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate()
            raise RuntimeError(f"a side has ended: {said[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def go(self) -> dict[str, Any]:
        """Take a round; its seconds, examples and peak memory so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.listen()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


class Told(NamedTuple):
    """A figure: the median of its rounds with the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def told(values: Sequence[float]) -> Told:
    """The median of some values with their quartiles."""
    if len(values) < 2:
        return Told(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Told(middle, low, high)


def rounds(specs: Mapping[str, Mapping[str, Any]], count: int, threads: int) -> dict[str, Rounds]:
    """`count` rounds of every side, in turns, after one that does not count; of each its measurements."""
    found: dict[str, Rounds] = {name: [] for name in specs}
    turns: dict[str, Turn] = {}
    try:
        for name, spec in specs.items():
            turns[name] = Turn(spec, threads)
            turns[name].go()
        for number in range(count):
            for name, turn in turns.items():
                measured = turn.go()
                found[name].append({**measured, "held": turn.held, "rate": measured["examples"] / measured["seconds"]})
            line = "  ".join(f"{name} {each[-1]['rate']:.0f}" for name, each in found.items())
            print(f"round {number + 1} of {count}, examples/s: {line}", file=sys.stderr, flush=True)
    finally:
        for turn in turns.values():
            turn.close()
    return found


def ratios(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str = "rate") -> Told:
    """How many times theirs ours is, round by round."""
    return told([a[key] / b[key] for a, b in zip(ours, theirs, strict=True)])


def machine(threads: int, device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    import platform

    import torch
    import transformers

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    return {
        "cpu": model, "cores": os.cpu_count(), "threads": threads, "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "transformers": transformers.__version__, "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def called(name: str, options: argparse.Namespace) -> str:
    """What a bench's figures are called: those of another device or backbone are others."""
    return name + ("_cuda" if options.device.startswith("cuda") else "") + ("_large" if options.large else "")


def keep(name: str, measured: Mapping[str, Any]) -> None:
    """Write the figures of a bench."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(measured, indent=1) + "\n")


def add(measured: dict[str, Any], options: argparse.Namespace, task: str, found: Any) -> dict[str, Any]:
    """The figures of a bench with those of one more task, and what they were measured on."""
    tasks = {**measured.get("tasks", {}), task: found}
    return {"machine": machine(options.threads, options.device), "tasks": tasks}


def kept(name: str) -> dict[str, Any]:
    """The figures of a bench that has run; none where it has not."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def parser(doc: str | None, rounds: int = 7, elsewhere: bool = True) -> argparse.ArgumentParser:
    """What every bench takes; elsewhere: it can measure on a GPU, and on a large model."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"that count, of each side; default {rounds}")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side; default: the machine's cores")
    if elsewhere:
        made.add_argument("--device", default="cpu", help="cpu or cuda, of both sides; default cpu")
        made.add_argument(
            "--large",
            action="store_true",
            help="a random encoder of RoBERTa-large's shape, which serves for speed, instead of MiniLM",
        )
    made.add_argument(
        "--shared",
        type=Path,
        default=SHARED,
        help="folder with data/ and models/; default PTUNE_TEST_SHARED, else ../shared",
    )
    made.add_argument("--table", action="store_true", help="print the table of what was measured, and stop")
    return made  # fmt: skip


@contextmanager
def common(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What all sides have in common."""
    shared = options.shared.resolve()
    found = {"shared": str(shared), "device": options.device}
    if not options.large:
        yield found
        return
    with tempfile.TemporaryDirectory() as folder:
        random_encoder(Path(folder), shared / BACKBONE)
        yield {**found, "backbone": folder}


def random_encoder(folder: Path, tokenizer: Path, layers: int = 24, hidden: int = 1024) -> None:
    """A BERT with random weights, 64 a head, with the tokenizer of another checkpoint."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokens = AutoTokenizer.from_pretrained(str(tokenizer))
    config = BertConfig(vocab_size=len(tokens), hidden_size=hidden, num_hidden_layers=layers,
                        num_attention_heads=hidden // 64, intermediate_size=4 * hidden)  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokens.save_pretrained(folder)


def comparison(
    found: Mapping[str, Rounds], against: Mapping[str, Sequence[str]], unit: str = "examples/s", key: str = "rate"
) -> list[str]:
    """A Markdown table: each side's figure, and its ratio to the sides it is `against`."""
    columns = list(dict.fromkeys(other for others in against.values() for other in others))
    lines = [f"| side | {unit} | {' | '.join(f'x {column}' for column in columns)} |".replace("|  |", "|")]
    lines.append("|---|---:|" + "---:|" * len(columns))
    for name, each in found.items():
        ratio = [str(ratios(each, found[c], key)) if c in against.get(name, ()) else "" for c in columns]
        lines.append(f"| {name} | {told([one[key] for one in each])} | {' | '.join(ratio)} |")
    return lines
