"""Several processes, started by torchrun: who we are, averaged gradients, and a barrier. One process needs
none of it."""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn


def start(device: torch.device) -> None:
    """Join the group that torchrun announced in the environment, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


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


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set in any process."""
    if not dist.is_initialized():
        return flag
    total = torch.tensor(float(flag), device=device)
    dist.all_reduce(total, op=dist.ReduceOp.MAX)
    return bool(total)
