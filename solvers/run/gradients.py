"""Gradients averaged over processes: while the backward pass goes on, in buckets, as DistributedDataParallel
does; or afterwards, in one reduction."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET = 1 << 20  # values that are reduced at a time


class Buckets:
    """Gradients that are there are taken in turn, gathered to buckets, and reduced in the background; all
    processes give theirs in the same order."""

    def __init__(self) -> None:
        self.full: list[tuple[list[Tensor], Tensor, dist.Work]] = []
        self.taken: set[nn.Parameter] = set()
        self.gradients: list[Tensor] = []
        self.size = 0

    def take(self, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        self.taken.add(parameter)
        self.gradients.append(parameter.grad)
        self.size += parameter.grad.numel()
        if self.size >= BUCKET:
            self.reduce()

    def reduce(self) -> None:
        """Send the bucket, full or not."""
        if self.gradients:
            flat = torch.cat([gradient.reshape(-1) for gradient in self.gradients])
            self.full.append((self.gradients, flat, dist.all_reduce(flat, async_op=True)))
            self.gradients, self.size = [], 0

    def finish(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take what gradients of these were not taken, wait, and write the means into all gradients."""
        for parameter in parameters:
            if parameter.grad is not None and parameter not in self.taken:
                self.take(parameter)
        self.reduce()
        for gradients, flat, work in self.full:
            work.wait()
            flat /= dist.get_world_size()
            for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
                gradient.copy_(mean.view_as(gradient))
        self.full.clear()


@contextmanager
def averaged(optimizers: Iterable[torch.optim.Optimizer]) -> Iterator[None]:
    """Inside, the parameters of these optimisers get their gradients, or none, by a backward pass or one by
    one; afterwards these are means over the processes. One process needs nothing."""
    if not dist.is_initialized():
        yield
        return
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    learning = [p for group in groups for p in group["params"] if p.requires_grad]
    buckets = Buckets()
    hooks = [p.register_post_accumulate_grad_hook(buckets.take) for p in learning]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    buckets.finish(learning)


def average(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients that there are by their means over the processes."""
    if dist.is_initialized():
        Buckets().finish(parameters)
