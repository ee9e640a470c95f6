"""BatchNorm over the batches of all processes together, so that several compute what one does.

PyTorch's SyncBatchNorm does the same on GPUs alone; this is one for every device and backend.
"""

from functools import cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


def share_statistics(network: nn.Module) -> None:
    """Make every BatchNorm layer in a network take, while it trains, the statistics of all processes' images.
    Names and shapes of its state stay."""
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and not isinstance(layer, Shared):
            layer.__class__ = shared(type(layer))


@cache
def shared(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    return type(f"Shared{kind.__name__}", (Shared, kind), {})


class Shared(_BatchNorm):
    """What a layer of BatchNorm becomes."""

    @torch.compiler.disable  # a compiled network waits for nobody
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        mean, variance, count = whole_statistics(x.detach())
        if self.track_running_stats:
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (count / (count - 1)), share)
        return Normalise.apply(x, self.weight, self.bias, mean, variance, count, self.eps)


def whole_statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Of [B, C, ...] in every process: mean and (biased) variance [C] of all, and how many values a channel
    has. Shares are equal, so the variance is the mean of theirs and what their means differ by."""
    variance, mean = torch.var_mean(precise(x), across(x), correction=0)
    world = dist.get_world_size()
    own = torch.stack((mean, variance))
    shares = own.new_empty(world, *own.shape)
    dist.all_gather(list(shares.unbind()), own)
    means, variances = shares.unbind(1)  # [world, C]
    apart = means.var(dim=0, correction=0)
    return means.mean(dim=0), variances.mean(dim=0) + apart, world * x.numel() // x.shape[1]


def precise(x: Tensor) -> Tensor:
    """In float32, or what is more."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def across(x: Tensor) -> list[int]:
    """The dimensions that BatchNorm takes statistics over: all but the second."""
    return [0, *range(2, x.ndim)]


class Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with a backward pass that knows that mean and
    variance come from the x of all processes. The gradients of weight and bias are this process's share."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: int,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.count = count
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        shape = (1, -1, *[1] * (x.ndim - 2))
        given, normal = precise(given), (precise(x) - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = given.sum(across(x)), (given * normal).sum(across(x))
        sums = torch.stack((of_bias, of_weight))
        dist.all_reduce(sums)
        by_mean, by_variance = (sums / ctx.count).view(2, *shape)
        of_x = given - by_mean - normal * by_variance
        of_x *= (scale if weight is None else scale * weight).view(shape)
        grads = (of_weight, of_bias) if weight is not None else (None, None)
        return of_x.to(x.dtype), *grads, None, None, None, None
