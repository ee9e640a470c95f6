"""DRIT and DRIT++ for two unpaired domains (Lee et al., ECCV 2018, arXiv 1808.00948; IJCV 2020, arXiv
1905.01270): a content encoder whose last block both domains share, an attribute encoder and a generator.

At 216 x 216 with the default widths, modules, names and shapes equal the authors' code (HsinYingLee/DRIT), so
that its checkpoints load. The model for many domains is in models/mdmm.py.
"""

import torch
from torch import Tensor, nn

from models.blocks import (
    AdaptiveResidualBlock,
    AttributeResidualBlock,
    ConvBlock,
    Gaussian,
    GaussianNoise,
    MeanPoolBlock,
    Point,
    ResidualBlock,
    Styled,
    UpBlock,
    append,
    both_sides,
    init_gaussian,
)
from models.padding import ReflectionPad2d
from models.translator import Translator

LETTERS = "AB"  # the authors' names of the two domains


class AttributeTranslator(Translator):
    """What DRIT's models have in common: an attribute `prior` N(0, I), a `posterior`, and networks `enc_c`,
    `enc_a` and `gen`.

    Content is a map [B, 4 base_width, H/4, W/4]; style is the attribute [B, attribute_dim]. In training mode
    contents carry Gaussian noise. A model with another attribute encoder or prior overrides `posterior` and
    `sample_style`. A `domain` may be anything that the networks understand; the four verbs give an index.
    InstanceNorm and LayerNorm see all places, so that a picture in windows is not quite the picture at once.
    """

    fully_convolutional = True
    enc_c: nn.Module
    enc_a: nn.Module
    gen: nn.Module

    def __init__(self, resolution: int | tuple[int, int], domains: tuple[str, ...], attribute_dim: int):
        super().__init__()
        check_resolution(resolution)
        self.domains, self.attribute_dim = tuple(domains), attribute_dim

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        """[B, 3, H, W] -> [B, 4 base_width, H/4, W/4], with the training noise in training mode."""
        return self.enc_c(image, domain)

    def posterior(self, image: Tensor, domain: int) -> Gaussian | Point:
        """The attribute as the encoder knows it, with `mean` [B, attribute_dim] and `sample()`."""
        return self.enc_a(image, domain)

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        """The mean of the attribute's posterior: [B, attribute_dim]."""
        return self.posterior(image, domain).mean

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the prior N(0, I): [count, attribute_dim]."""
        draw = torch.randn(count, self.attribute_dim, generator=generator)
        return draw.to(next(self.parameters()).device)

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        return self.gen(content, style, domain).float()


class DRIT(AttributeTranslator):
    """The networks of DRIT. `concat` puts the attribute beside the features at every stage of the generator
    (where shapes stay); without, it transforms the features in residual blocks (where shapes change), and the
    attribute is a point instead of a Gaussian. `upsampling` of the generator: "transposed" convolutions, or
    "resize" and convolve.

    `resolution` is a multiple of 4 from 32 up, or (height, width) of such. ValueError where it is not, or
    where domains are not two.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int] = 216,
        domains: tuple[str, ...] = ("x", "y"),
        concat: bool = True,
        base_width: int = 64,
        attribute_dim: int = 8,
        residual_blocks: int = 3,
        content_noise: float = 1.0,
        init_std: float = 0.02,
        upsampling: str = "transposed",
    ):
        super().__init__(resolution, domains, attribute_dim)
        if len(domains) != 2:
            raise ValueError(f"DRIT takes two domains and the data has {len(domains)}; MDMM takes any number")
        self.enc_c = ContentEncoder(base_width, residual_blocks, content_noise)
        encoder, generator = (
            (GaussianAttributeEncoder, ConcatGenerator) if concat else (AttributeEncoder, MixingGenerator)
        )
        self.enc_a = encoder(base_width, attribute_dim)
        self.gen = generator(base_width, attribute_dim, residual_blocks, upsampling == "resize")
        init_gaussian(self, init_std)


class ContentEncoder(nn.Module):
    """Layers of each domain's own, then one residual block and the noise that both share."""

    def __init__(self, width: int, residual_blocks: int, noise: float):
        super().__init__()
        self.conv_share = nn.Sequential(ResidualBlock(4 * width), GaussianNoise(noise))
        self.convA, self.convB = (nn.Sequential(*content_layers(width, residual_blocks)) for _ in LETTERS)

    def forward(self, image: Tensor, domain: int) -> Tensor:
        return self.conv_share((self.convB if domain else self.convA)(image))


def content_layers(width: int, residual_blocks: int) -> list[nn.Module]:
    """[B, 3, H, W] -> [B, 4 width, H/4, W/4]."""
    return [
        ConvBlock(3, width, 7, padding=3),
        ConvBlock(width, 2 * width, 3, stride=2, padding=1, activation=nn.ReLU, norm=True),
        ConvBlock(2 * width, 4 * width, 3, stride=2, padding=1, activation=nn.ReLU, norm=True),
        *(ResidualBlock(4 * width) for _ in range(residual_blocks)),
    ]


class GaussianAttributeEncoder(nn.Module):
    """q(z|x) for `concat` 1: residual blocks with mean pooling, then a mean and a logvar."""

    def __init__(self, width: int, attribute_dim: int):
        super().__init__()
        for letter in LETTERS:
            self.add_module(f"fc_{letter}", nn.Sequential(nn.Linear(4 * width, attribute_dim)))
            self.add_module(f"fcVar_{letter}", nn.Sequential(nn.Linear(4 * width, attribute_dim)))
            self.add_module(f"conv_{letter}", gaussian_attribute_layers(3, width))

    def forward(self, image: Tensor, domain: int) -> Gaussian:
        parts = (getattr(self, f"{name}_{LETTERS[domain]}") for name in ("conv", "fc", "fcVar"))
        return gaussian_attribute(image, *parts)


def gaussian_attribute_layers(in_channels: int, width: int) -> nn.Sequential:
    """[B, in, H, W] -> [B, 4 width, 1, 1]."""
    return nn.Sequential(
        ReflectionPad2d(1),
        nn.Conv2d(in_channels, width, 4, stride=2),
        *(MeanPoolBlock(n * width, (n + 1) * width) for n in (1, 2, 3)),
        nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(1),
    )


def gaussian_attribute(image: Tensor, layers: nn.Module, mean: nn.Module, logvar: nn.Module) -> Gaussian:
    features = layers(image).flatten(1)
    return Gaussian.from_features(torch.cat((mean(features), logvar(features)), dim=1))


class AttributeEncoder(nn.Module):
    """The attribute for `concat` 0: plain convolutions, mean pooling, a point."""

    def __init__(self, width: int, attribute_dim: int):
        super().__init__()
        self.model_a, self.model_b = (point_attribute_layers(3, width, attribute_dim) for _ in LETTERS)

    def forward(self, image: Tensor, domain: int) -> Point:
        return Point((self.model_b if domain else self.model_a)(image).flatten(1).float())


def point_attribute_layers(in_channels: int, width: int, attribute_dim: int) -> nn.Sequential:
    """[B, in, H, W] -> [B, attribute_dim, 1, 1]."""
    layers: list[nn.Module] = [ReflectionPad2d(3), nn.Conv2d(in_channels, width, 7), nn.ReLU(inplace=True)]
    for narrow, wide in ((1, 2), (2, 4), (4, 4), (4, 4)):
        convolution = nn.Conv2d(narrow * width, wide * width, 4, stride=2)
        layers += [ReflectionPad2d(1), convolution, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4 * width, attribute_dim, 1))


class ConcatGenerator(nn.Module):
    """The generator for `concat` 1: one shared residual block, then each domain's four stages, each of which
    gets the attribute appended to its input."""

    def __init__(self, width: int, attribute_dim: int, residual_blocks: int, resize: bool = False):
        super().__init__()
        self.dec_share = nn.Sequential(ResidualBlock(4 * width))
        for letter in LETTERS:
            channels = 4 * width + attribute_dim
            stages = concat_stages(channels, attribute_dim, residual_blocks, resize=resize)
            for number, stage in enumerate(stages, 1):
                self.add_module(f"dec{letter}{number}", stage)

    def forward(self, content: Tensor, attribute: Tensor, domain: int) -> Tensor:
        features = self.dec_share(content)
        for number in (1, 2, 3, 4):
            features = getattr(self, f"dec{LETTERS[domain]}{number}")(append(features, attribute))
        return features


def concat_stages(
    channels: int,
    attribute_dim: int,
    residual_blocks: int,
    adain: bool = False,
    double: bool = False,
    resize: bool = False,
) -> list[nn.Sequential]:
    """Residual blocks, two upsamplings and a 1x1 convolution with tanh; `channels` enter the first, and
    each later one takes `attribute_dim` more than the one before gives. With `adain` the first is `Styled` by
    the attribute; `double` and `resize` are UpBlock's."""
    middle = channels + attribute_dim
    late = middle // 2 + attribute_dim
    last = late // 2 + attribute_dim
    if adain:
        first = Styled(*(AdaptiveResidualBlock(channels, attribute_dim) for _ in range(residual_blocks)))
    else:
        first = nn.Sequential(*(ResidualBlock(channels) for _ in range(residual_blocks)))
    return [
        first,
        nn.Sequential(UpBlock(middle, middle // 2, double, resize)),
        nn.Sequential(UpBlock(late, late // 2, double, resize)),
        nn.Sequential(nn.ConvTranspose2d(last, 3, 1), nn.Tanh()),
    ]


class MixingGenerator(nn.Module):
    """The generator for `concat` 0: for each domain, residual blocks that mix features of the attribute into
    the map, then two upsamplings."""

    def __init__(self, width: int, attribute_dim: int, residual_blocks: int, resize: bool = False):
        super().__init__()
        self.blocks = residual_blocks + 1
        for letter in LETTERS:
            for number in range(1, self.blocks + 1):
                self.add_module(f"dec{letter}{number}", AttributeResidualBlock(4 * width, 4 * width))
            self.add_module(f"dec{letter}{self.blocks + 1}", upsampling(4 * width, resize=resize))
        for letter in LETTERS:
            self.add_module(f"mlp{letter}", attribute_features(attribute_dim, 4 * width, self.blocks))

    def forward(self, content: Tensor, attribute: Tensor, domain: int) -> Tensor:
        letter = LETTERS[domain]
        parts = getattr(self, f"mlp{letter}")(attribute).chunk(self.blocks, dim=1)
        features = content
        for number, part in enumerate(parts, 1):
            features = getattr(self, f"dec{letter}{number}")(features, part)
        return getattr(self, f"dec{letter}{self.blocks + 1}")(features)


def upsampling(channels: int, double: bool = False, resize: bool = False) -> nn.Sequential:
    """[B, C, H/4, W/4] -> [B, 3, H, W] in [-1, 1]; `double` and `resize` are UpBlock's."""
    half, quarter = channels // 2, channels // 4
    return nn.Sequential(
        UpBlock(channels, half, double, resize),
        UpBlock(half, quarter, double, resize),
        nn.ConvTranspose2d(quarter, 3, 1),
        nn.Tanh(),
    )


def attribute_features(inputs: int, channels: int, blocks: int) -> nn.Sequential:
    """The attribute's features for every block: [B, inputs] -> [B, blocks * channels]."""
    layers: list[nn.Module] = [
        nn.Linear(inputs, channels),
        nn.ReLU(),
        nn.Linear(channels, channels),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.Linear(channels, blocks * channels))


def check_resolution(resolution: int | tuple[int, int]) -> None:
    """Raise ValueError where DRIT has no networks for it."""
    height, width = both_sides(resolution)
    if any(side < 32 or side % 4 for side in (height, width)):
        raise ValueError(
            f"DRIT needs a resolution whose sides are each a multiple of 4 from 32 up, not {height} x {width}"
        )
