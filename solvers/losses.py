"""Losses that several models use, as functions of tensors; and the freezing of networks that only judge."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Gaussian


def kl_to_standard(q: Gaussian) -> Tensor:
    """KL[q || N(0, I)] in nats, summed over all numbers of a code, averaged over the batch."""
    return 0.5 * (q.mean.square() + q.logvar.exp() - 1 - q.logvar).flatten(1).sum(dim=1).mean()


def kl_between(q: Gaussian, p: Gaussian, tempering: float = 1.0) -> Tensor:
    """KL[q || p] of diagonal Gaussians in nats, summed over all numbers of a code, averaged over the batch.
    The squared distance of the means is divided by p's variance to the power `tempering`: with 1 it is the
    KL, with 0 what the PyTorch reference writes, which draws the means together as strongly however sharp p
    is."""
    distance = (q.mean - p.mean).square() * torch.exp(-tempering * p.logvar)
    twice = p.logvar - q.logvar + torch.exp(q.logvar - p.logvar) + distance - 1
    return 0.5 * twice.flatten(1).sum(dim=1).mean()


def adversarial(logits: Sequence[Tensor], target: float) -> Tensor:
    """Binary cross-entropy of logits with one target, averaged over images and places, added over scales."""
    return sum(F.binary_cross_entropy_with_logits(x, torch.full_like(x, target)) for x in logits)


def least_squares(logits: Sequence[Tensor], target: float) -> Tensor:
    """LSGAN's loss (arXiv 1611.04076, eq. 9): the squared distance of a discriminator's outputs to one
    target, averaged over images and places, added over scales."""
    return sum((x - target).square().mean() for x in logits)


GAN_LOSSES = {"vanilla": adversarial, "lsgan": least_squares}  # by what configs call them


def gradient_penalty(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP's penalty (arXiv 1704.00028, eq. 3): the mean of (|gradient of D at x| - 1)^2 over images x
    between real and fake ones [B, 3, H, W], each at a random place on its line. `judge` gives outputs
    [B, ...], of which those of an image are added up."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device).to(real.dtype)
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def mode_seeking(draws: Sequence[Tensor], images: Sequence[Tensor], eps: float = 1e-5) -> Tensor:
    """Mode seeking (DRIT++, eq. 10; arXiv 1903.05628): 1 / (|G(c, z1) - G(c, z2)| / |z1 - z2| + eps), each a
    mean over the batch, which the generator lowers by making different images of different attributes."""
    apart = (images[0] - images[1]).abs().mean() / (draws[0] - draws[1]).abs().mean()
    return 1 / (apart + eps)


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """What is computed here passes gradients through these networks and gives them none."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
