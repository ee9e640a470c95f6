"""A model of averaged weights: the exponential moving average of those that training steps through, which
makes better images than any of them (arXiv 1806.04498; StyleGAN and BigGAN show theirs)."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def averaged(model: Model) -> Model:
    """A copy that learns nothing, with the weights as they are."""
    return deepcopy(model).requires_grad_(False)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, iteration: int) -> None:
    """Take the weights after an iteration into the average, with the share 1 - min(decay, (1 + n) / (10 + n))
    at iteration n, as TensorFlow's: so the first weights are soon forgotten. Buffers become the model's."""
    share = 1 - min(decay, (1 + iteration) / (10 + iteration))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)
    for mine, its in zip(average.buffers(), model.buffers()):
        mine.copy_(its)
