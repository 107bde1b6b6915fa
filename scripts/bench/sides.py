"""One side of a speed comparison, in a process of its own that works when it is told to: see speed.py.

    python scripts/bench/sides.py '{"kind": "train", "side": "peft", ...}'

It says `{"ready": true}`, and for each line on its standard input takes one round of the same work and says how
long that took. A round of training is one pass over the examples, a round of evaluation one over dev.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts/bench")]
from trainer import BACKBONE, Recipe, data_folder, read, trainer  # noqa: E402

MANY = 10_000  # rounds, more than anybody asks for
RATE = 0.03
WIRE = os.dup(1)  # to whoever started this process


@dataclass(frozen=True)
class Side:
    """What a side does. side: peft, trainer or ptune; runs: how many train side by side; words: overrides of ptune's.

    eager: what to leave to torch, "attention" or "dropout", and "padding" to compute on padding; compiled: whether
    torch.compile takes each layer.
    """

    side: str
    kind: str = "train"
    task: str = "wnut17"
    shared: str = ""
    examples: int | None = None
    batch_size: int = 16
    prompt_length: int = 16
    max_length: int = 256
    precision: str = "float32"
    grouped: bool = False
    runs: int = 1
    words: Sequence[str] = ()
    eager: Sequence[str] = ()
    compiled: bool = False
    device: str = "cpu"
    backbone: str = ""

    @property
    def checkpoint(self) -> Path:
        """The folder of the backbone."""
        return Path(self.backbone or Path(self.shared) / BACKBONE)


@dataclass
class Gate:
    """Where a side waits between rounds; `examples` a round, over all its runs; flop: of an example, where counted."""

    examples: int
    device: str
    runs: int = 1
    flop: float = 0.0
    arrived: int = 0
    started: float = 0.0

    def begin(self) -> None:
        """Wait for a word, then start the clock."""
        if not sys.stdin.readline():
            os._exit(0)
        self.started = time.perf_counter()

    def end(self) -> None:
        """Say how long the round took."""
        finish(self.device)
        seconds = time.perf_counter() - self.started
        self.say(seconds=seconds, examples=self.examples, peak=peak(self.device), flop=self.flop)

    def ready(self) -> None:
        """Say that work can begin, and the bytes held before it."""
        self.say(ready=True, held=forget_peak(self.device))

    def say(self, **what: Any) -> None:
        """One line to whoever asked."""
        os.write(WIRE, (json.dumps(what) + "\n").encode())

    def arrive(self) -> None:
        """A run is at the end of its round; the round ends with the last of them."""
        self.arrived += 1
        if self.arrived % self.runs == 0:
            self.end()
            self.begin()


def finish(device: str) -> None:
    """Wait for what a GPU has still to do."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def peak(device: str) -> int:
    """Bytes held at most since `forget_peak`, or as long as the process lives: by a GPU's tensors, or by itself."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def forget_peak(device: str) -> int:
    """Start to measure the peak anew; returns the bytes held now, everything that training needs being imported."""
    import torch

    layer = torch.nn.Linear(64, 64).to(device, torch.bfloat16)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(64, 64, device=device, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    finish(device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    return peak(device)


# Hugging Face's


def run_trainer(s: Side) -> None:
    """Training or evaluation with the Trainer, a round an epoch."""
    from transformers import TrainerCallback

    most = {} if s.examples is None else {"max_train": s.examples}
    task, corpus = read(s.task, Path(s.shared), **most)
    recipe = Recipe(
        peft=s.side == "peft", rate=RATE, seed=1, epochs=MANY, prompt_length=s.prompt_length, batch_size=s.batch_size,
        max_length=s.max_length, precision=s.precision, grouped=s.grouped, by_length=s.grouped,
        device=s.device,
    )  # fmt: skip
    split = "dev" if s.kind == "eval" else "train"
    gate = Gate(len(corpus.splits[split]), s.device)
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(recipe, task, corpus, s.checkpoint, folder, evaluated=False)
        if s.kind == "eval":
            repeat(gate, made.evaluate)

        class Rounds(TrainerCallback):
            def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
                gate.begin()

            def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
                gate.end()

        made.add_callback(Rounds())
        gate.ready()
        made.train()


def repeat(gate: Gate, work: Callable[[], Any]) -> None:
    """Rounds of the same work."""
    gate.ready()
    while True:
        gate.begin()
        work()
        gate.end()


# ptune's


def run_ptune(s: Side) -> None:
    """Training or evaluation as `ptune train` does it; `runs` of them fused."""
    import hydra
    import torch

    from ptune import build, config, training
    from ptune.evaluate import Request, evaluate
    from ptune.progress import Progress
    from ptune.runs.folder import RunFolder
    from ptune.session import Session

    leave_out(s.eager)
    with tempfile.TemporaryDirectory() as base, Progress(quiet=True) as progress:
        config.register()
        corpora: dict[str, Any] = {}
        sessions = []
        root = data_folder(s.task, Path(s.shared), Path(base))
        for seed in range(1, s.runs + 1):
            words = [
                "method=ptv2", f"task={s.task}", "data=local", f"data.root={root}", "backbone=local",
                f"backbone.path={s.checkpoint}", f"prompt_length.value={s.prompt_length}",
                f"batch_size={s.batch_size}", f"data.max_length={s.max_length}", f"optim.lr={RATE}",
                f"epochs={MANY}", f"eval_every={10**9}", "tracker=none", f"seed={seed}", f"precision={s.precision}",
                f"device={s.device}", *([] if s.examples is None else [f"data.max_train={s.examples}"]), *s.words,
            ]  # fmt: skip
            with hydra.initialize_config_module("ptune.conf", version_base="1.3"):
                settings = build.settings(hydra.compose("train", overrides=words))
            folder = RunFolder(Path(base) / str(seed))
            sessions.append(Session(settings, folder, words, progress, corpora, s.runs))
        first = sessions[0]
        if s.kind == "eval":
            dev = first.corpus.splits["dev"]
            model = build.assemble([first.settings], first.task)
            training.prepare_run(first, model, 0, {})
            rendered, batch = first.rendered["dev"], first.settings.eval_batch_size
            asked = Request(0, first.task, dev, rendered)
            repeat(Gate(len(dev), s.device), lambda: evaluate(model, asked, "dev", batch))
        gate = Gate(s.runs * len(first.corpus.splits["train"]), s.device, s.runs)
        begun = training.prepare_run

        def counted(session: Any, model: Any, *about: Any) -> Any:
            made = begun(session, model, *about)
            for layer in model.backbone.layers() if s.compiled else ():
                layer.forward = torch.compile(layer.forward, dynamic=True)
            gate.flop = flop(model, session.rendered["train"])
            return made

        training.prepare_run = counted
        steps = -(-len(first.corpus.splits["train"]) // s.batch_size)
        ready: list[Any] = []

        class Gated(training.Recorder):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                ready.append(self)
                if len(ready) == s.runs:
                    gate.ready()
                    gate.begin()

            def record(self, event: Any) -> None:
                super().record(event)
                if event["event"] == "step" and event["step"] % steps == 0:
                    gate.arrive()

        training.Recorder = Gated  # type: ignore[misc]
        training.train(sessions)


def flop(model: Any, rendered: Any) -> float:
    """Of a step, for an example: 4 a weight of the layers and token, two to go forward and two to go back."""
    weights = sum(p.numel() for layer in model.backbone.layers() for p in layer.parameters() if p.dim() == 2)
    return 4.0 * weights * sum(rendered.lengths) / len(rendered)


def leave_out(what: Sequence[str]) -> None:
    """Do without some of what makes ptune fast, to measure what it brings."""
    from ptune import dropout
    from ptune.backbones import attention, packing, varlen

    if "attention" in what:
        attention.plain = lambda *_: False  # type: ignore[assignment]
        varlen.fits = lambda *_: False  # type: ignore[assignment]
    if "padding" in what:
        packing.PADDING = packing.PADDING_OF_VARLEN = 1.0
    if "dropout" in what:
        dropout.LANES = {}


def main() -> None:
    given = Side(**json.loads(sys.argv[1]))
    os.dup2(2, 1)  # what libraries print is no message
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    (run_ptune if given.side == "ptune" else run_trainer)(given)


if __name__ == "__main__":
    main()
