"""Several ranks of one run: processes that meet over loopback, started as torchrun starts them but for its own time.

They are forked from a server that has imported torch already, which saves seconds of each.
"""

from __future__ import annotations

import os
import socket
import sys
from multiprocessing import get_context
from pathlib import Path

from command_line import Result, call

context = get_context("forkserver")
context.set_forkserver_preload(
    ["datasets", "hydra", "sklearn.metrics", "transformers.models.bert.modeling_bert"]
    + [f"ptune.{name}" for name in ("evaluate", "loop", "rendered", "train")]
)


def start(folder: Path, *words: str, ranks: int = 2, **environ: str) -> list[Result]:
    """Run a command line in a folder on so many ranks; what became of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    out = folder / "said"
    out.mkdir(exist_ok=True)
    processes = []
    for rank in range(ranks):
        told = {name: str(value) for name, value in {**given, "RANK": rank, "LOCAL_RANK": rank}.items()}
        processes.append(context.Process(target=go, args=(folder, words, {**told, **environ}, out / str(rank))))
        processes[-1].start()
    for process in processes:
        process.join(280)
    hung = [process for process in processes if process.is_alive()]
    for process in hung:
        process.kill()
    said = [[(out / f"{rank}.{stream}").read_text() for stream in ("out", "err")] for rank in range(ranks)]
    assert not hung, said
    return [Result(int(p.exitcode or 0), *each) for p, each in zip(processes, said, strict=True)]


def go(folder: Path, words: tuple[str, ...], environ: dict[str, str], said: Path) -> None:
    """Be one rank."""
    import torch

    torch.set_num_threads(1)
    os.environ.update(environ)
    os.chdir(folder)
    for number, stream in ((1, "out"), (2, "err")):
        file = os.open(f"{said}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.exit(call(*words))
