"""Activation checkpointing (arXiv 1604.06174): what the stages of networks computed inside themselves is
forgotten after the forward pass and computed again in the backward pass, bit for bit as before."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from models.blocks import (
    AdaptiveResidualBlock,
    AttributeResidualBlock,
    ConvBlock,
    MeanPoolBlock,
    ResidualBlock,
    UpBlock,
)
from models.cyclegan import ConvolvedResidual
from models.stargan import Residual

STAGES = (
    AdaptiveResidualBlock,
    AttributeResidualBlock,
    ConvBlock,
    ConvolvedResidual,
    MeanPoolBlock,
    Residual,
    ResidualBlock,
    UpBlock,
)


def recompute_stages(networks: Sequence[nn.Module]) -> int:
    """Let every stage keep its input alone; how many there are. One with buffers, such as BatchNorm's, which
    a second pass would change again, stays as it is."""
    stages = {
        stage
        for network in networks
        for stage in network.modules()
        if isinstance(stage, STAGES) and not any(True for _ in stage.buffers())
    }
    for stage in stages:
        stage.forward = partial(forgetful, stage.forward, tuple(stage.parameters()))
    return len(stages)


def forgetful(forward: Callable[..., Any], parameters: Sequence[nn.Parameter], *inputs: Any) -> Any:
    """What `forward` gives. When it is computed again, those parameters learn that did the first time."""
    if not torch.is_grad_enabled():
        return forward(*inputs)
    contexts = partial(two_contexts, parameters, [parameter.requires_grad for parameter in parameters])
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


def two_contexts(parameters: Sequence[nn.Parameter], learn: Sequence[bool]) -> tuple[Any, Any]:
    """Of the first pass and of the second."""
    return nullcontext(), learning(parameters, learn)


@contextmanager
def learning(parameters: Sequence[nn.Parameter], learn: Sequence[bool]) -> Iterator[None]:
    """Make these parameters learn, or not, as `learn` says of each, until this ends."""
    before = [parameter.requires_grad for parameter in parameters]
    set_learning(parameters, learn)
    try:
        yield
    finally:
        set_learning(parameters, before)


def set_learning(parameters: Sequence[nn.Parameter], learn: Sequence[bool]) -> None:
    for parameter, flag in zip(parameters, learn):
        parameter.requires_grad_(flag)
