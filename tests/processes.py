"""Several processes of a test's own, joined as torchrun joins them; forked, so that they start at once."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from solvers.run import distributed


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(world: int, work: Callable[[int], Any], folder: Path) -> list[multiprocessing.Process]:
    """Processes of which each does `work(rank)` and leaves what that gives in `folder / rank`, or an error's
    trace in `folder / rank.txt`."""
    port = free_port()

    def run(rank: int) -> None:
        given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in given.items()}}
        torch.set_num_threads(1)
        try:
            distributed.start(torch.device("cpu"))
            torch.save(work(rank), folder / str(rank))
            distributed.barrier()
        except Exception:  # noqa: BLE001
            (folder / f"{rank}.txt").write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)

    folder.mkdir()
    processes = [
        multiprocessing.get_context("fork").Process(target=run, args=(rank,)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    return processes


def in_processes(world: int, work: Callable[[int], Any], folder: Path) -> list[Any]:
    """What `work(rank)` gives in each of `world` processes."""
    for process in started(world, work, folder):
        process.join(300)
        if process.is_alive():
            process.kill()
    faults = [path.read_text() for path in sorted(folder.glob("*.txt"))]
    assert not faults, "\n".join(faults)
    return [torch.load(folder / str(rank), weights_only=False) for rank in range(world)]
