"""StarGAN (arXiv 1711.09020): one generator that is told which attributes an image shall have, and one
discriminator that says whether an image is real and which it has. Where a set has domains in their place,
the domain is the attribute.

At 128 x 128 with the default widths, names and shapes of both networks equal the authors' code
(yunjey/stargan), whose InstanceNorm kept running statistics and never used them: its tests leave it in
training mode, so that every image is normalised by its own, as here.
"""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attributes import KnownAttributes
from models.blocks import append, both_sides
from models.translator import Translator

Groups = Sequence[Sequence[int]]  # numbers of attributes of which an image has exactly one


class StarGAN(KnownAttributes):
    """The content is the image itself, the style its attributes, as the discriminator `D` reads them: of each
    group of `exclusive` ones the likeliest, of the others those that are likelier than not. `known`
    as KnownAttributes has it; the shape as `networks` takes it. Raises ValueError as they do."""

    content_is_image = True

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: Sequence[str],
        attributes: Sequence[str],
        known: Tensor,
        exclusive: Groups = (),
        **shape: int | None,
    ):
        super().__init__(domains, attributes, known)
        self.exclusive = exclusive
        self.G, self.D = networks(resolution, len(attributes), **shape)

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return image

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        return likeliest(self.D(image)[1], self.exclusive)

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        """`style` [B, attributes] is what the image shall have, from 0 to 1."""
        return self.G(content, style)


class DomainStarGAN(Translator):
    """Between any of two or more domains, each to itself too. The content is the image itself, and there is
    no style. The shape as `networks` takes it. Raises ValueError as they do."""

    has_style = has_style_prior = False
    content_is_image = True
    fully_convolutional = True
    missing: ClassVar[dict[str, str]] = {
        "has_style": "styles: StarGAN makes one translation of each image to a domain"
    }

    def __init__(self, resolution: int | tuple[int, int], domains: Sequence[str], **shape: int | None):
        super().__init__()
        self.domains = tuple(domains)
        self.G, self.D = networks(resolution, len(self.domains), **shape)

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        return tuple(product(range(len(self.domains)), repeat=2))

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return image

    def decode(self, content: Tensor, style: Tensor | None, domain: int) -> Tensor:
        wanted = torch.zeros(len(content), len(self.domains), device=content.device)
        wanted[:, domain] = 1
        return self.G(content, wanted)


class Generator(nn.Module):
    """[B, 3, H, W] and the wanted attributes [B, attributes], as constant maps beside the colours -> the
    image that has them, [B, 3, H, W] in [-1, 1]. H and W are multiples of 2 ** `halvings`."""

    def __init__(
        self,
        attributes: int,
        width: int = 64,
        residual_blocks: int = 6,
        halvings: int = 2,
        norm: str = "instance",
    ):
        super().__init__()
        layers = normed(nn.Conv2d(3 + attributes, width, 7, padding=3, bias=False), norm)
        widths = [width * 2**number for number in range(halvings + 1)]
        for a, b in pairwise(widths):
            layers += normed(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), norm)
        layers += [Residual(widths[-1], norm) for _ in range(residual_blocks)]
        for a, b in pairwise(reversed(widths)):
            layers += normed(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False), norm)
        self.main = nn.Sequential(*layers, nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh())

    def forward(self, image: Tensor, wanted: Tensor) -> Tensor:
        return self.main(append(image, wanted.to(image.dtype))).float()


class Residual(nn.Module):
    """[B, C, H, W] -> the same: two 3x3 convolutions, between zeros, and what came in."""

    def __init__(self, channels: int, norm: str = "instance"):
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.main = nn.Sequential(*normed(first, norm), *normed(second, norm)[:2])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Discriminator(nn.Module):
    """[B, 3, H, W] -> how real each part of it is [B, 1, h, w], and logits of its attributes [B, attributes].

    `layers` halvings, `width` channels after the first, twice as many after each more; None: as many as leave
    a map of 2 x 2 or more, at most 6. The head of attributes is as large as that map. Raises ValueError where
    nothing is left.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int],
        attributes: int,
        width: int = 64,
        layers: int | None = None,
    ):
        super().__init__()
        height, wide = both_sides(resolution)
        if layers is None:
            layers = min(6, min(height, wide).bit_length() - 2)
        left = height >> layers, wide >> layers
        if not min(left):
            raise ValueError(f"an image of {height} x {wide} cannot be halved {layers} times (dis_layers)")
        widths = [3, *(width * 2**number for number in range(layers))]
        stages = ((nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(0.01)) for a, b in pairwise(widths))
        self.main = nn.Sequential(*(layer for stage in stages for layer in stage))
        self.conv1 = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(widths[-1], attributes, left, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.main(image)
        return self.conv1(features).float(), self.conv2(features).flatten(1).float()


def networks(
    resolution: int | tuple[int, int],
    attributes: int,
    base_width: int = 64,
    residual_blocks: int = 6,
    halvings: int = 2,
    norm: str = "instance",
    dis_width: int = 64,
    dis_layers: int | None = None,
) -> tuple[Generator, Discriminator]:
    """G and D for images of this size and so many attributes. Raises ValueError as Discriminator does."""
    judge = Discriminator(resolution, attributes, dis_width, dis_layers)
    return Generator(attributes, base_width, residual_blocks, halvings, norm), judge


def normed(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: str) -> list[nn.Module]:
    """It, InstanceNorm with weights or BatchNorm, and ReLU."""
    channels = convolution.out_channels
    made = nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels, affine=True)
    return [convolution, made, nn.ReLU(inplace=True)]


def likeliest(logits: Tensor, exclusive: Groups) -> Tensor:
    """The attributes that these logits say, [B, attributes] of 0 and 1; of each group exactly one."""
    present = (logits > 0).float()
    for group in map(list, exclusive):
        present[:, group] = F.one_hot(logits[:, group].argmax(dim=1), len(group)).float()
    return present
