"""Reflection padding that gives the same gradients every time, on GPUs too."""

import torch
from torch import Tensor, nn


class ReflectionPad2d(nn.ReflectionPad2d):
    """torch.nn.ReflectionPad2d, [B, C, H, W] -> [B, C, H + 2 * padding, W + 2 * padding]. Its own backward
    pass on CUDA adds up in an order that changes from run to run, by which a resumed run would be another."""

    def forward(self, x: Tensor) -> Tensor:
        return reflected(x, self.padding[0]) if x.is_cuda else super().forward(x)


def reflected(x: Tensor, width: int) -> Tensor:
    """[..., H, W] mirrored at all four borders, which themselves are not repeated, by slices put together."""
    for side in (-1, -2) if width else ():
        before = x.narrow(side, 1, width).flip(side)
        after = x.narrow(side, x.shape[side] - 1 - width, width).flip(side)
        x = torch.cat((before, x, after), dim=side)
    return x
