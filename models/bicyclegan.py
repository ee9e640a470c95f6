"""BicycleGAN (Zhu, Zhang, Pathak, Darrell, Efros, Shechtman, Wang, NIPS 2017, arXiv 1711.11586): pix2pix's
U-Net with a code z of what y has and x does not say, and an encoder that finds z in y.

Encoder and discriminators follow the authors' code (junyanz/BicycleGAN, resnet_256 and basic_256_multi), at
256 x 256 layer for layer; their first weights are pix2pix's, normal of standard deviation 0.02, where the
authors' are Xavier's times 0.02.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Gaussian, both_sides, init_pix2pix
from models.discriminators import Patches
from models.translator import Translator
from models.unet import UNet


class BicycleGAN(Translator):
    """Translates x, domain 0, to y, domain 1. The content is the image x itself, a style is z
    [B, latent_dim]: the mean of q(z|y), or drawn from N(0, I). So only x has contents and only y styles.

    `net_G` gets z at every stage, `net_E` is q(z|y). Sides are multiples of 16; raises ValueError otherwise.
    """

    content_is_image = True

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: tuple[str, ...] = ("x", "y"),
        latent_dim: int = 8,
        base_width: int = 64,
        enc_width: int = 64,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.domains, self.latent_dim = domains, latent_dim
        options = {"latent_dim": latent_dim, "norm": "instance", "dropout": dropout}
        self.net_G = UNet(resolution, base_width, **options)
        self.net_E = ResNetEncoder(min(both_sides(resolution)), latent_dim, enc_width)

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        return ((0, 1),)

    def generate(self, x: Tensor, z: Tensor) -> Tensor:
        """[B, 3, H, W] and [B, latent_dim] -> y, [B, 3, H, W] in [-1, 1]."""
        return self.net_G(x, z).float()

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return image

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        """The mean of q(z|y): [B, latent_dim]."""
        return self.net_E(image).mean

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the prior N(0, I): [count, latent_dim]."""
        draw = torch.randn(count, self.latent_dim, generator=generator)
        return draw.to(next(self.parameters()).device)

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        return self.generate(content, style)


class ResNetEncoder(nn.Module):
    """q(z|y): [B, 3, H, W] -> Gaussian [B, latent_dim].

    A convolution that halves, residual blocks that halve, as many as leave at least 8 of the shorter `side`
    (four at 256, one at 32), and the mean over places. Channels grow by `width` with each block, up to 4
    times it.
    """

    def __init__(self, side: int, latent_dim: int, width: int):
        super().__init__()
        widths = [width * min(number, 4) for number in range(1, max(2, side.bit_length() - 4) + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1)]
        layers += [HalvingBlock(before, after) for before, after in pairwise(widths)]
        self.conv = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc, self.fcVar = (nn.Sequential(nn.Linear(widths[-1], latent_dim)) for _ in range(2))
        init_pix2pix(self)

    def forward(self, image: Tensor) -> Gaussian:
        features = self.conv(image)
        return Gaussian.from_features(torch.cat((self.fc(features), self.fcVar(features)), dim=1))


class HalvingBlock(nn.Module):
    """[B, in, H, W] -> [B, out, H/2, W/2]: a residual block of two 3x3 convolutions, InstanceNorm and
    LeakyReLU(0.2) before each, that halves by mean pooling."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.InstanceNorm2d(in_channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(in_channels, in_channels, 3, padding=1),
            nn.InstanceNorm2d(in_channels),
            nn.LeakyReLU(0.2),
            nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.AvgPool2d(2)),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shortcut(x)


class TwoPatches(nn.Module):
    """pix2pix's discriminator of patches at two sizes of an image, the second half the first and with half
    the channels: at 256, patches of 70 and 140 pixels. [B, in, H, W] -> two maps of logits [B, 1, h, w]."""

    def __init__(self, resolution: int | tuple[int, int], in_channels: int = 3, width: int = 64):
        super().__init__()
        sizes = (both_sides(resolution), tuple((side + 1) // 2 for side in both_sides(resolution)))
        widths = (width, max(1, width // 2))
        self.scales = nn.ModuleList(
            Patches(size, in_channels, channels, norm="instance") for size, channels in zip(sizes, widths)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        smaller = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return [scale(seen) for scale, seen in zip(self.scales, (image, smaller))]
