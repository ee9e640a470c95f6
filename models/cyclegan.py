"""CycleGAN (arXiv 1703.10593): one generator each way between two domains whose images are no pairs; and the
store of images made earlier that its discriminators learn from."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.blocks import both_sides, init_pix2pix
from models.padding import ReflectionPad2d
from models.translator import Translator

WAYS = {"net_G_A": (0, 1), "net_G_B": (1, 0)}  # by the authors' names: A is the first domain, B the second


class ConvolvedResidual(nn.Module):
    """x + two 3x3 convolutions with InstanceNorm, ReLU between them: [B, C, H, W] -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        half = (ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels))
        again = (ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels))
        self.conv_block = nn.Sequential(*half, nn.ReLU(inplace=True), *again)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResNetGenerator(nn.Module):
    """[B, 3, H, W] -> [B, 3, H, W] in [-1, 1]: two halvings, residual blocks and two doublings (paper,
    appendix, "Generator architectures"). Sides are multiples of 4.

    Names and shapes equal those of the authors' PyTorch code (pytorch-CycleGAN-and-pix2pix, resnet_6blocks
    and resnet_9blocks without dropout), so that its files load.
    """

    def __init__(self, width: int = 64, blocks: int = 9):
        super().__init__()
        stages: list[nn.Module] = [ReflectionPad2d(3), nn.Conv2d(3, width, 7), *finish(width)]
        for channels in (width, 2 * width):
            stages.append(nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1))
            stages += finish(2 * channels)
        stages += (ConvolvedResidual(4 * width) for _ in range(blocks))
        for channels in (4 * width, 2 * width):
            double = {"stride": 2, "padding": 1, "output_padding": 1}
            stages.append(nn.ConvTranspose2d(channels, channels // 2, 3, **double))
            stages += finish(channels // 2)
        self.model = nn.Sequential(*stages, ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        init_pix2pix(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


def finish(channels: int) -> tuple[nn.Module, nn.Module]:
    """What follows each of a generator's outer convolutions but the last."""
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


class CycleGAN(Translator):
    """Between two domains, A and B. The content is the image itself, and there is no style: of each image
    there is one translation. None goes from a domain to itself.

    `residual_blocks` None: as published, 9 where the shorter side has 256 pixels or more, else 6. `ways` are
    the directions whose generators are there: both, but for weights of one alone.
    """

    has_style = has_style_prior = False
    content_is_image = True
    fully_convolutional = True
    missing: ClassVar[dict[str, str]] = {"has_style": "styles: CycleGAN makes one translation of each image"}

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: tuple[str, ...] = ("A", "B"),
        base_width: int = 64,
        residual_blocks: int | None = None,
    ):
        super().__init__()
        self.domains, self.ways = domains, tuple(WAYS.values())
        blocks = residual_blocks or (9 if min(both_sides(resolution)) >= 256 else 6)
        self.net_G_A, self.net_G_B = (ResNetGenerator(base_width, blocks) for _ in WAYS)

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        return self.ways

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return image

    def decode(self, content: Tensor, style: Tensor | None, domain: int) -> Tensor:
        """The image of `domain` that an image of the other one becomes. Raises ValueError for a domain whose
        generator is not there."""
        if domain not in {target for _, target in self.ways}:
            raise ValueError(f"there is no generator that makes images of {self.domains[domain]}")
        return (self.net_G_B, self.net_G_A)[domain](content)


class ImagePool(nn.Module):
    """The last images that a generator made, more or less (arXiv 1612.07828, section 2.3): at most `size`,
    float32 [size, 3, H, W], of which the first `count` are there."""

    images: Tensor
    count: Tensor

    def __init__(self, size: int, resolution: int | tuple[int, int]):
        super().__init__()
        self.register_buffer("images", torch.zeros(size, 3, *both_sides(resolution)))
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def swap(self, images: Tensor, coins: Tensor, places: Tensor) -> Tensor:
        """Images to learn from in place of new ones, [N, 3, H, W] each. One after the other, a new image is
        kept and given back while there is room; then where its coin (bool [N]) says so, the one at its place
        (int64 [N], below `size`) is given back and it is kept there; else it is given back and not kept.
        Nothing of it comes to the host."""
        given = []
        for image, coin, place in zip(images.float().split(1), coins.split(1), places.split(1)):
            full = self.count >= len(self.images)
            place = torch.where(full, place, self.count)
            old, swapped = self.images.index_select(0, place), full & coin
            given.append(torch.where(swapped[:, None, None, None], old, image))
            kept = torch.where((full & ~coin)[:, None, None, None], old, image)
            self.images.index_copy_(0, place, kept)
            self.count += ~full
        return torch.cat(given)
