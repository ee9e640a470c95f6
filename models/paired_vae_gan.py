"""The VAE-GAN hybrid for pairs (a report's; "Image-to-image translation using a VAE-GAN hybrid model", 2024):
an image x becomes a Gaussian of a short code z, a draw of which becomes y.

Variant "report" is the report's networks as it means them. Not rebuilt of its code: only the first 240
features reached the latent; BatchNorm and LeakyReLU came last, so that images had no bounds; logvar was the
logarithm of sigma to the sampling and of its square to the KL; the discriminator's third BatchNorm was made
and not used, and dropout put out its logits. All that y knows of x goes through z.

Variant "skip" is pix2pix's U-Net whose bottleneck is that z: what z has no room for goes by the skip
connections.
"""

from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import Gaussian, both_sides
from models.translator import Translator
from models.unet import UNet

# Of each convolution in each block of the encoder: how many times the base width its channels are; its
# kernel.
BLOCKS = (((1, 5), (2, 4)), ((4, 4), (8, 4)), ((16, 4), (16, 1)))


class Code(NamedTuple):
    """What an image x becomes: q(z|x), z [B, latent_dim], and the maps that go by skip connections, of which
    variant "report" has none."""

    z: Gaussian
    skips: list[Tensor]


class PairedVAEGAN(Translator):
    """Translates x, domain 0, to y, domain 1. Only x is encoded, so there are contents of x alone.

    z is drawn from q(z|x): z = mean + sigma * style. So a style [B, latent_dim] is N(0, I) by definition,
    says what of z the image leaves open, and is none that an image of y could be asked for; zero is the
    likeliest. The content is everything else that y is made of: in variant "report" mean and logvar of
    q(z|x), [B, 2 * latent_dim]; in variant "skip" the image x itself.

    `base_width` is that of the encoder's first convolution, half of that of the U-Net's.
    """

    has_style = False
    missing: ClassVar[dict[str, str]] = {
        "has_style": "styles of images: the hybrid encodes x alone, and draws what x leaves open"
    }

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: tuple[str, ...] = ("x", "y"),
        variant: str = "report",
        latent_dim: int = 50,
        base_width: int = 32,
        dropout: float = 0.4,
    ):
        super().__init__()
        self.domains, self.latent_dim = domains, latent_dim
        self.content_is_image = variant == "skip"
        if variant == "skip":
            self.net = LatentUNet(resolution, latent_dim, 2 * base_width)
        else:
            self.net = LatentOnly(resolution, latent_dim, base_width, dropout)

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        return ((0, 1),)

    def forward(self, x: Tensor) -> tuple[Tensor, Gaussian]:
        """One training pass: y made from a draw of z, [B, 3, H, W], and q(z|x)."""
        code = self.net.encode(x)
        return self.net.decode(code.z.sample(), code.skips), code.z

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return image if self.content_is_image else torch.cat(self.net.encode(image).z, dim=1)

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from N(0, I): [count, latent_dim]."""
        draw = torch.randn(count, self.latent_dim, generator=generator)
        return draw.to(next(self.parameters()).device)

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        if self.content_is_image:
            z, skips = self.net.encode(content)
        else:
            z, skips = Gaussian(*content.chunk(2, dim=1)), []
        return self.net.decode(z.mean + torch.exp(0.5 * z.logvar) * style, skips)


class LatentOnly(nn.Module):
    """The report's encoder and generator."""

    def __init__(self, resolution: int | tuple[int, int], latent_dim: int, base_width: int, dropout: float):
        super().__init__()
        size = both_sides(resolution)
        self.encoder = Encoder(size, latent_dim, base_width, dropout)
        self.generator = Generator(size, latent_dim, base_width)

    def encode(self, image: Tensor) -> Code:
        return Code(self.encoder(image), [])

    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        return self.generator(z)


class LatentUNet(nn.Module):
    """A U-Net whose bottleneck is made from z, and z's mean and logvar from the bottleneck, by one linear
    layer each. Raises ValueError where a U-Net has no such size."""

    def __init__(self, resolution: int | tuple[int, int], latent_dim: int, width: int):
        super().__init__()
        self.unet = UNet(resolution, width)
        halvings = len(list(self.unet.stages()))
        self.bottleneck = (
            self.unet.bottleneck_channels,
            *(side >> halvings for side in both_sides(resolution)),
        )
        features = self.bottleneck[0] * self.bottleneck[1] * self.bottleneck[2]
        self.posterior = nn.Linear(features, 2 * latent_dim)
        self.from_z = nn.Linear(latent_dim, features)

    def encode(self, image: Tensor) -> Code:
        features = self.unet.encode(image)
        return Code(Gaussian.from_features(self.posterior(features[-1].flatten(1))), features)

    def decode(self, z: Tensor, skips: list[Tensor]) -> Tensor:
        return self.unet.decode(skips, self.from_z(z).unflatten(1, self.bottleneck)).float()


class Encoder(nn.Module):
    """q(z|x): [B, 3, H, W] -> Gaussian [B, latent_dim], from every feature of the last map.

    Blocks of two convolutions without padding, each with BatchNorm and LeakyReLU(0.1), then dropout of whole
    channels and max-pooling by 2. There are three, two where the shorter side is below 39 and leaves no room
    for the third.
    """

    def __init__(self, size: tuple[int, int], latent_dim: int, base_width: int, dropout: float):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in BLOCKS:
            smaller = pooled(size, block)
            if min(smaller) < 1:
                break
            size = smaller
            for times, kernel in block:
                layers.append(nn.Conv2d(channels, times * base_width, kernel, bias=False))
                channels = times * base_width
                layers += [nn.BatchNorm2d(channels), nn.LeakyReLU(0.1)]
            layers += [nn.Dropout2d(dropout), nn.MaxPool2d(2)]
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(channels * size[0] * size[1], 2 * latent_dim)

    def forward(self, image: Tensor) -> Gaussian:
        return Gaussian.from_features(self.fc(self.blocks(image).flatten(1)))


def pooled(size: tuple[int, int], block: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """What a block leaves of a map of this size."""
    lost = sum(kernel - 1 for _, kernel in block)
    return (size[0] - lost) // 2, (size[1] - lost) // 2


class Generator(nn.Module):
    """p(y|z): [B, latent_dim] -> [B, 3, H, W] in [-1, 1].

    Transposed convolutions 4x4 from 1 x 1: to a first map, then three enlargements, with BatchNorm and
    LeakyReLU(0.1) between and tanh at last. At 256 x 256, the report's size, the first map is 4 x 4 and each
    enlargement is by 4; where the shorter side is smaller, the last ones are by 2 (at 32 all, at 64 two);
    where they do not lead to the size, the first map is larger and the image is cut to the size.
    """

    def __init__(self, size: tuple[int, int], latent_dim: int, base_width: int):
        super().__init__()
        self.size, times = size, enlargements(min(size))
        factor = times[0] * times[1] * times[2]
        start = tuple(-(-side // factor) for side in size)
        widths = [base_width, max(1, base_width // 2), max(1, base_width // 4), 3]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], start, bias=False)]
        for number, stride in enumerate(times):
            before, after = widths[number : number + 2]
            layers += [nn.BatchNorm2d(before), nn.LeakyReLU(0.1)]
            padding = 0 if stride == 4 else 1
            layers.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=number == 2))
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        height, width = self.size
        return self.layers(z[:, :, None, None])[..., :height, :width].float()


def enlargements(side: int) -> tuple[int, int, int]:
    """The generator's, by the shorter side: as many doublings as leave the first map at least 4 high and
    wide, at most six, the first ones two by two."""
    doublings = min(6, (side // 4).bit_length() - 1)
    return tuple(4 if doublings >= 4 + number else 2 for number in range(3))


class PairDiscriminator(nn.Module):
    """Whether y belongs to x: both [B, 3, H, W] -> a map of logits [B, 1, h, w].

    Convolutions 4x4, two of them halvings, with BatchNorm, LeakyReLU(0.2) and dropout of whole channels."""

    def __init__(self, width: int = 64, dropout: float = 0.4):
        super().__init__()
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise((6, width, 2 * width, 4 * width)), (2, 2, 1)):
            layers.append(nn.Conv2d(before, after, 4, stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2), nn.Dropout2d(dropout)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 4, padding=1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat((x, y), dim=1)).float()
