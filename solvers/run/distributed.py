"""Several processes, started by torchrun: who we are, averaged gradients, and a barrier. One process needs
none of it."""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from solvers.run.folder import RunError

ANNOUNCED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # all of them by torchrun


def start(device: torch.device) -> None:
    """Join the group that torchrun announced in the environment, if it did. Raises RunError."""
    if world() == 1 or dist.is_initialized():
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"cannot join the {world()} processes that {ANNOUNCED} announce: {reason}") from None


def stop() -> None:
    if dist.is_initialized():
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


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes, in one reduction of all of them together."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


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
