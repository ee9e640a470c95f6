"""Building blocks that several models share: convolution stages, Gaussian codes and their initialisation."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn

LOGVAR_MAX = (
    9.21  # log 10,000: above it exp(logvar) says nothing new and a bad start can overflow (IIAE's own code)
)


class Gaussian(NamedTuple):
    """A diagonal Gaussian: `mean` and `logvar`, both float32 [B, D]."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_features(cls, features: Tensor) -> "Gaussian":
        """Split [B, 2D] into mean and logvar, in float32 whatever the networks ran in, logvar clamped from
        above."""
        mean, logvar = features.float().chunk(2, dim=1)
        return cls(mean, logvar.clamp(max=LOGVAR_MAX))

    def sample(self) -> Tensor:
        """A reparameterised draw [B, D] from the global generator."""
        return self.mean + torch.exp(0.5 * self.logvar) * torch.randn_like(self.mean)


def down(in_channels: int, out_channels: int) -> nn.Sequential:
    """[B, in, H, W] -> [B, out, H/2, W/2]: 4x4 convolution of stride 2, BatchNorm, LeakyReLU(0.02)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.02),
    )


def up(in_channels: int, out_channels: int, dropout: float = 0.0) -> nn.Sequential:
    """[B, in, H, W] -> [B, out, 2H, 2W]: 4x4 transposed convolution, BatchNorm, dropout where asked for,
    ReLU."""
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
    ]
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.ReLU())


def init_kaiming(module: nn.Module, skip: Collection[nn.Module] = ()) -> None:
    """Kaiming-normal weights and zero biases for every convolution and linear layer in `module` but
    `skip`."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and layer not in skip:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
