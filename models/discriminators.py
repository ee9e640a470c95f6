"""Discriminators of DRIT: of images, at several scales (UNIT's too) or with a head that names the domain, and
of contents; and pix2pix's of patches.

All return logits. Sizes follow the resolution: at the published one, 216 x 216 of DRIT and 256 x 256 of
pix2pix, names and shapes equal those of the authors' code (HsinYingLee/DRIT and MDMM,
pytorch-CycleGAN-and-pix2pix); where an image is too small for all stages, there are fewer. Where an image is
no square, its shorter side decides, and the maps of logits are longer along the other.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import ConvBlock, both_sides, convolution, init_pix2pix, normalisation


class MultiScale(nn.Module):
    """One discriminator for each of `scales` sizes of an image, each half the size before: [B, 3, H, W] -> a
    map of logits [B, 1, h, w] per scale.

    Up to four halvings each, `width` channels after the first, twice as many after each more; LeakyReLU of
    `slope`, which DRIT leaves at PyTorch's and UNIT sets to 0.2.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int],
        scales: int = 3,
        width: int = 64,
        norm: bool = False,
        **options: Any,
    ):
        super().__init__()
        sides = [min(both_sides(resolution))]
        while len(sides) < scales:
            sides.append((sides[-1] + 1) // 2)
        self.Diss = nn.ModuleList(self.one_scale(side, width, norm, **options) for side in sides)

    @staticmethod
    def one_scale(
        side: int, width: int, norm: bool, spectral: bool = False, slope: float = 0.01
    ) -> nn.Sequential:
        widths = [3]
        while len(widths) <= 4 and (side >= 4 or len(widths) == 1):
            widths.append(width * 2 ** (len(widths) - 1))
            side = (side - 2) // 2 + 1
        kind = {"activation": partial(nn.LeakyReLU, slope), "norm": norm, "spectral": spectral}
        blocks = [ConvBlock(a, b, 4, stride=2, padding=1, **kind) for a, b in pairwise(widths)]
        return nn.Sequential(*blocks, convolution(widths[-1], 1, 1, spectral=spectral))

    def forward(self, image: Tensor) -> list[Tensor]:
        logits = []
        for number, discriminator in enumerate(self.Diss):
            if number:
                image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
            logits.append(discriminator(image).float())
        return logits


class SingleScale(nn.Module):
    """The discriminator for `dis_scale` 1: up to six halvings, the last without norm. [B, 3, H, W] -> one map
    of logits in a list."""

    def __init__(
        self,
        resolution: int | tuple[int, int],
        width: int = 64,
        norm: bool = False,
        spectral: bool = False,
    ):
        super().__init__()
        blocks, channels = halvings(min(both_sides(resolution)), width, norm, spectral, double_last=True)
        self.model = nn.Sequential(*blocks, convolution(channels, 1, 1, spectral=spectral))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.model(image).float()]


class Classifying(nn.Module):
    """For many domains (MDMM): [B, 3, H, W] -> logits [B, 1, h, w] that it is real, and [B, domains] of which
    domain it is.

    With `border` zeros that no image can change surround the map of `real`, as in the authors' code.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: int,
        width: int = 64,
        norm: bool = False,
        spectral: bool = False,
        border: bool = True,
    ):
        super().__init__()
        size = both_sides(resolution)
        blocks, channels = halvings(min(size), width, norm, spectral, double_last=False)
        self.model = nn.Sequential(*blocks)
        self.border = border
        self.conv1 = convolution(channels, 1, 1, bias=False)
        kernel = tuple(max(1, side >> len(blocks)) for side in size)
        self.conv2 = convolution(channels, domains, kernel, bias=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.model(image)
        real = F.pad(self.conv1(features).float(), (int(self.border),) * 4)
        return [real, self.conv2(features).float().mean(dim=(2, 3))]


def halvings(
    side: int, width: int, norm: bool, spectral: bool, double_last: bool
) -> tuple[list[ConvBlock], int]:
    """Up to six blocks that halve an image of this shorter side, and their last width."""
    widths = [3]
    while len(widths) <= 6 and side >= 4:
        widths.append(width * 2 ** (len(widths) - 1))
        side = (side + 1) // 2
    if not double_last and len(widths) == 7:
        widths[-1] = widths[-2]
    last = len(widths) - 2
    blocks = [
        ConvBlock(a, b, 3, stride=2, padding=1, norm=norm and number < last, spectral=spectral)
        for number, (a, b) in enumerate(pairwise(widths))
    ]
    return blocks, widths[-1]


class ContentDiscriminator(nn.Module):
    """Which domain a content map of `size` is of: [B, C, H, W] -> logits [B, outputs, h, w], h = w = 1 of
    squares up to a resolution of 224. With `norm` its first three blocks have InstanceNorm, which a misspelt
    word switched off in the authors' code."""

    def __init__(self, size: int | tuple[int, int], channels: int, outputs: int = 1, norm: bool = True):
        super().__init__()
        blocks, side = [], min(both_sides(size))
        for _ in range(3):
            kernel, stride = (7, 2) if side >= 9 else (3, 2) if side >= 4 else (3, 1)
            blocks.append(ConvBlock(channels, channels, kernel, stride, padding=1, norm=norm))
            side = (side + 2 - kernel) // stride + 1
        blocks.append(ConvBlock(channels, channels, min(4, side)))
        self.model = nn.Sequential(*blocks, convolution(channels, outputs, 1))

    def forward(self, content: Tensor) -> Tensor:
        return self.model(content).float()


class Patches(nn.Module):
    """Whether each patch of an image is real (PatchGAN, arXiv 1611.07004): [B, in, H, W] -> a map of logits
    [B, 1, h, w]. `in_channels` is 6 for x and y together.

    `layers` halvings: 1, 2 or 3, by default the most whose patches, of 16, 34 and 70 pixels, are no larger
    than the image.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int],
        in_channels: int = 3,
        width: int = 64,
        norm: str = "batch",
        layers: int | None = None,
    ):
        super().__init__()
        if layers is None:
            layers = 1 + sum(min(both_sides(resolution)) >= patch for patch in (34, 70))
        stages: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for number in range(1, layers + 1):
            before, after = (width * 2 ** min(n, 3) for n in (number - 1, number))
            stride = 2 if number < layers else 1
            stages.append(nn.Conv2d(before, after, 4, stride, padding=1, bias=norm != "batch"))
            stages += [normalisation(norm, after), nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*stages, nn.Conv2d(after, 1, 4, padding=1))
        init_pix2pix(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image).float()
