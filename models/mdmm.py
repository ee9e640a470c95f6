"""DRIT++ for any number of domains (arXiv 1905.01270, the authors' MDMM): one content encoder, one attribute
encoder and one generator, the last two told the domain as a one-hot vector.

At 216 x 216 with the default widths, modules, names and shapes equal the authors' code (HsinYingLee/MDMM).
`domain` is an index or a tensor of indices [B], one per image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import (
    AttributeResidualBlock,
    Gaussian,
    GaussianNoise,
    Point,
    ResidualBlock,
    Styled,
    append,
    init_gaussian,
)
from models.drit import (
    AttributeTranslator,
    attribute_features,
    concat_stages,
    content_layers,
    gaussian_attribute,
    gaussian_attribute_layers,
    point_attribute_layers,
    upsampling,
)


class MDMM(AttributeTranslator):
    """The networks of MDMM; arguments as DRIT's. For another attribute encoder or generator in their place,
    override `make_attribute_encoder` or `make_generator`."""

    def __init__(
        self,
        resolution: int | tuple[int, int] = 216,
        domains: tuple[str, ...] = ("A", "B", "C"),
        concat: bool = True,
        base_width: int = 64,
        attribute_dim: int = 8,
        residual_blocks: int = 3,
        content_noise: float = 1.0,
        init_std: float = 0.02,
        upsampling: str = "transposed",
    ):
        super().__init__(resolution, domains, attribute_dim)
        self.resize = upsampling == "resize"
        self.enc_c = ContentEncoder(base_width, residual_blocks, content_noise)
        self.enc_a = self.make_attribute_encoder(concat, base_width)
        self.gen = self.make_generator(concat, base_width, residual_blocks)
        init_gaussian(self, init_std)

    def make_attribute_encoder(self, concat: bool, width: int) -> nn.Module:
        """A network (image [B, 3, H, W], one-hot [B, domains]) -> a posterior with `mean` and `sample()`."""
        encoder = GaussianAttributeEncoder if concat else AttributeEncoder
        return encoder(width, self.attribute_dim, len(self.domains))

    def make_generator(self, concat: bool, width: int, residual_blocks: int) -> nn.Module:
        """A network (content, attribute, one-hot [B, domains]) -> image."""
        generator = ConcatGenerator if concat else MixingGenerator
        return generator(width, self.attribute_dim, len(self.domains), residual_blocks, resize=self.resize)

    def one_hot(self, domain: int | Tensor, like: Tensor) -> Tensor:
        """[B, domains], float32, on the device of `like` [B, ...]."""
        index = torch.as_tensor(domain, device=like.device).expand(like.shape[0])
        return F.one_hot(index, len(self.domains)).float()

    def encode_content(self, image: Tensor, domain: int | Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 4 base_width, H/4, W/4], the same whatever the domain."""
        return self.enc_c(image)

    def posterior(self, image: Tensor, domain: int | Tensor) -> Gaussian | Point:
        return self.enc_a(image, self.one_hot(domain, image))

    def decode(self, content: Tensor, style: Tensor, domain: int | Tensor) -> Tensor:
        return self.gen(content, style, self.one_hot(domain, content)).float()


class ContentEncoder(nn.Module):
    """As DRIT's, with one set of layers for all domains."""

    def __init__(self, width: int, residual_blocks: int, noise: float):
        super().__init__()
        layers = content_layers(width, residual_blocks)
        self.conv = nn.Sequential(*layers, ResidualBlock(4 * width), GaussianNoise(noise))

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


class GaussianAttributeEncoder(nn.Module):
    """q(z|x, domain) for `concat` 1; the domain is given as constant maps beside the colours."""

    def __init__(self, width: int, attribute_dim: int, domains: int):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(4 * width, attribute_dim))
        self.fcVar = nn.Sequential(nn.Linear(4 * width, attribute_dim))
        self.conv = gaussian_attribute_layers(3 + domains, width)

    def forward(self, image: Tensor, one_hot: Tensor) -> Gaussian:
        return gaussian_attribute(append(image, one_hot), self.conv, self.fc, self.fcVar)


class AttributeEncoder(nn.Module):
    """The attribute for `concat` 0, a point."""

    def __init__(self, width: int, attribute_dim: int, domains: int):
        super().__init__()
        self.model = point_attribute_layers(3 + domains, width, attribute_dim)

    def forward(self, image: Tensor, one_hot: Tensor) -> Point:
        return Point(self.model(append(image, one_hot)).flatten(1).float())


class ConcatGenerator(nn.Module):
    """The generator for `concat` 1; the first stage gets the domain too. `adain`: its residual blocks are
    normalised by the attribute. `double`, `resize`: as of UpBlock."""

    def __init__(
        self,
        width: int,
        attribute_dim: int,
        domains: int,
        residual_blocks: int,
        adain: bool = False,
        double: bool = False,
        resize: bool = False,
    ):
        super().__init__()
        self.dec_share = nn.Sequential(ResidualBlock(4 * width))
        channels = 4 * width + domains + attribute_dim
        stages = concat_stages(channels, attribute_dim, residual_blocks, adain, double, resize)
        self.dec1, self.dec2, self.dec3, self.dec4 = stages

    def forward(self, content: Tensor, attribute: Tensor, one_hot: Tensor) -> Tensor:
        features = append(self.dec_share(content), one_hot)
        for stage in (self.dec1, self.dec2, self.dec3, self.dec4):
            style = (attribute,) if isinstance(stage, Styled) else ()
            features = stage(append(features, attribute), *style)
        return features


class MixingGenerator(nn.Module):
    """The generator for `concat` 0; attribute and domain become features together. Options as above."""

    def __init__(
        self,
        width: int,
        attribute_dim: int,
        domains: int,
        residual_blocks: int,
        adain: bool = False,
        double: bool = False,
        resize: bool = False,
    ):
        super().__init__()
        self.blocks = residual_blocks + 1
        for number in range(1, self.blocks + 1):
            self.add_module(f"dec{number}", AttributeResidualBlock(4 * width, 4 * width, adain))
        self.add_module(f"decA{self.blocks + 1}", upsampling(4 * width, double, resize))
        self.mlp = attribute_features(domains + attribute_dim, 4 * width, self.blocks)

    def forward(self, content: Tensor, attribute: Tensor, one_hot: Tensor) -> Tensor:
        features = content
        parts = self.mlp(torch.cat((one_hot, attribute), dim=1)).chunk(self.blocks, dim=1)
        for number, part in enumerate(parts, 1):
            features = getattr(self, f"dec{number}")(features, part)
        return getattr(self, f"decA{self.blocks + 1}")(features)
