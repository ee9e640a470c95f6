"""Several processes, started by torchrun: who we are, and what passes between them. One process needs none
of it."""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from solvers.run import lost
from solvers.run.folder import RunError

ANNOUNCED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # all of them by torchrun
PATIENCE = timedelta(hours=2)  # of those who wait while the first process validates or draws grids


def start(device: torch.device) -> None:
    """Join the group that torchrun announced in the environment, if it did. Raises RunError."""
    if world() == 1 or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
        lost.start(os.environ["MASTER_ADDR"], announced("MASTER_PORT", 0), rank(), world())
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"cannot join the {world()} processes that {ANNOUNCED} announce: {reason}") from None


def stop() -> None:
    if dist.is_initialized():
        lost.stop()
        dist.destroy_process_group()


def announced(name: str, otherwise: int) -> int:
    """A whole number of the environment, where all that torchrun sets is there: clusters set some of it for
    programs that it did not start."""
    if not all(os.environ.get(each) for each in ANNOUNCED):
        return otherwise
    value = os.environ.get(name, str(otherwise))
    if not (value.isascii() and value.isdigit()):
        raise RunError(f"the environment's {name} is {value[:40]!r}; start with torchrun, or unset it")
    return int(value)


def rank() -> int:
    return announced("RANK", 0)


def local_rank() -> int:
    return announced("LOCAL_RANK", 0)


def local_world() -> int:
    """How many of the processes run on this machine, at least 1."""
    return max(1, announced("LOCAL_WORLD_SIZE", 1))


def world() -> int:
    """How many processes there are, at least 1."""
    return max(1, announced("WORLD_SIZE", 1))


def lonely() -> str | None:
    """A warning where a cluster announces several processes and nothing joins them."""
    others = os.environ.get("WORLD_SIZE", "1")
    if world() > 1 or others == "1":
        return None
    missing = ", ".join(name for name in ANNOUNCED if not os.environ.get(name))
    return f"Warning: WORLD_SIZE is {others[:40]}, and there is no {missing}; this is one process by itself"


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def gather(share: torch.Tensor) -> torch.Tensor:
    """The shares [n, ...] of all processes as one batch [n * world, ...], of which process r has items r,
    r + world and so on, as TrainLoader deals them. No gradient goes through it."""
    if not dist.is_initialized():
        return share
    parts = [torch.empty_like(share, memory_format=torch.contiguous_format) for _ in range(world())]
    dist.all_gather(parts, share.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def largest(number: int, device: torch.device) -> int:
    """The largest of all processes' numbers."""
    if not dist.is_initialized():
        return number
    most = torch.tensor(number, device=device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return int(most)


def from_first(value: Any) -> Any:
    """The first process's value, in all; anything that can be pickled."""
    if not dist.is_initialized():
        return value
    given = [value]
    dist.broadcast_object_list(given)
    return given[0]


def to_first(pieces: Iterable[Any]) -> Iterator[Any]:
    """In the first process, the other processes' pieces, those of one after those of another, each piece when
    it is asked for; in the others nothing, after theirs are sent. Anything that can be pickled."""
    if not dist.is_initialized():
        return
    if rank():
        for piece in pieces:
            dist.send_object_list([[piece]], dst=0)
        dist.send_object_list([[]], dst=0)
        return
    for other in range(1, world()):
        while True:
            given = [None]
            dist.recv_object_list(given, src=other)
            if not given[0]:
                break
            yield given[0][0]


@torch.no_grad()
def make_same(networks: Iterable[nn.Module]) -> None:
    """Give all processes the first one's weights and buffers."""
    if dist.is_initialized():
        for network in networks:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)
