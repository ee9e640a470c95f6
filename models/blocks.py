"""Building blocks that several models share: convolution stages, Gaussian codes and their initialisation."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.padding import ReflectionPad2d

LOGVAR_MAX = (
    9.21  # log 10,000: above it exp(logvar) says nothing new and a bad start can overflow (IIAE's own code)
)


def both_sides(resolution: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a resolution; a number is a square's side."""
    return (resolution, resolution) if isinstance(resolution, int) else resolution


class Gaussian(NamedTuple):
    """A diagonal Gaussian: `mean` and `logvar`, both float32 [B, D] or maps [B, D, H, W]."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_features(cls, features: Tensor) -> "Gaussian":
        """Split [B, 2D, ...] into mean and logvar, in float32 whatever the networks ran in, logvar clamped
        from above."""
        mean, logvar = features.float().chunk(2, dim=1)
        return cls(mean, logvar.clamp(max=LOGVAR_MAX))

    def sample(self) -> Tensor:
        """A reparameterised draw, shaped as the mean, from the global generator."""
        return self.mean + torch.exp(0.5 * self.logvar) * torch.randn_like(self.mean)


def down(in_channels: int, out_channels: int, slope: float = 0.02) -> nn.Sequential:
    """[B, in, H, W] -> [B, out, H/2, W/2]: 4x4 convolution of stride 2, BatchNorm, LeakyReLU(slope)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(slope),
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


def init_as_tensorflow(module: nn.Module) -> None:
    """As the TensorFlow code of IIAE's authors: weights of convolutions N(0, 0.02), of linear layers Glorot's
    uniform, of BatchNorm N(1, 0.02), and biases zero."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        nn.init.zeros_(layer.bias)


# --- Blocks of DRIT. Sub-modules are numbered as in the authors' code, so that its checkpoints load.


class Point(NamedTuple):
    """A code that is one point where `Gaussian` is a distribution: `mean` [B, D], float32."""

    mean: Tensor

    def sample(self) -> Tensor:
        return self.mean


class ConvBlock(nn.Module):
    """Reflection padding, convolution, InstanceNorm where asked for, activation: [B, in, H, W] ->
    [B, out, H', W'].

    With `spectral`, the weight is divided by its largest singular value (torch.nn.utils.parametrizations).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        activation: Callable[..., nn.Module] = nn.LeakyReLU,
        norm: bool = False,
        spectral: bool = False,
    ):
        super().__init__()
        layers: list[nn.Module] = [ReflectionPad2d(padding)]
        layers.append(convolution(in_channels, out_channels, kernel, stride, spectral))
        if norm:
            layers.append(nn.InstanceNorm2d(out_channels))
        self.model = nn.Sequential(*layers, activation(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions with InstanceNorm, ReLU between them: [B, C, H, W] -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.model = nn.Sequential(
            ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class AdaptiveNorm(nn.Module):
    """Adaptive instance normalisation (AdaIN; arXiv 1703.06868, 1804.04732): InstanceNorm, then a scale and a
    shift per channel that are linear in a style. [B, C, H, W], [B, D] -> [B, C, H, W]."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.of_style = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.of_style(style)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


class Styled(nn.Sequential):
    """Layers in a row, of which those with AdaIN are told the style [B, D] too."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, style) if isinstance(layer, AdaptiveNorm | AdaptiveResidualBlock) else layer(x)
        return x


class AdaptiveResidualBlock(nn.Module):
    """A residual block with AdaIN for InstanceNorm: [B, C, H, W], [B, D] -> [B, C, H, W]."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.model = Styled(
            ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            AdaptiveNorm(channels, style_dim),
            nn.ReLU(inplace=True),
            ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            AdaptiveNorm(channels, style_dim),
        )

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x + self.model(x, style)


class AttributeResidualBlock(nn.Module):
    """A residual block whose two halves each see the attribute's features beside the map's: the attribute can
    change what stands where. With `adain`, it normalises them too. [B, C, H, W], [B, D] -> [B, C, H, W]."""

    def __init__(self, channels: int, attribute_channels: int, adain: bool = False):
        super().__init__()
        self.adain = adain
        if adain:
            self.conv1, self.conv2 = (self.styled(channels, attribute_channels) for _ in range(2))
        else:
            self.conv1, self.conv2 = (self.normed(channels) for _ in range(2))
        self.blk1, self.blk2 = (self.mixing(channels, attribute_channels) for _ in range(2))

    @staticmethod
    def styled(channels: int, attribute_channels: int) -> Styled:
        convolution = nn.Sequential(ReflectionPad2d(1), nn.Conv2d(channels, channels, 3))
        return Styled(convolution, AdaptiveNorm(channels, attribute_channels))

    @staticmethod
    def normed(channels: int) -> nn.Sequential:
        convolution = nn.Sequential(ReflectionPad2d(1), nn.Conv2d(channels, channels, 3))
        return nn.Sequential(convolution, nn.InstanceNorm2d(channels))

    @staticmethod
    def mixing(channels: int, attribute_channels: int) -> nn.Sequential:
        both = channels + attribute_channels
        return nn.Sequential(nn.Conv2d(both, both, 1), nn.ReLU(), nn.Conv2d(both, channels, 1), nn.ReLU())

    def forward(self, x: Tensor, attribute: Tensor) -> Tensor:
        style = (attribute,) if self.adain else ()
        features = self.blk1(append(self.conv1(x, *style), attribute))
        return x + self.blk2(append(self.conv2(features, *style), attribute))


class MeanPoolBlock(nn.Module):
    """[B, in, H, W] -> [B, out, H/2, W/2]: a residual block that halves by mean pooling, LeakyReLU(0.2)
    first."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.LeakyReLU(0.2),
            ReflectionPad2d(1),
            nn.Conv2d(in_channels, in_channels, 3),
            nn.LeakyReLU(0.2),
            nn.Sequential(ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3), nn.AvgPool2d(2)),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shortcut(x)


class MapLayerNorm(nn.Module):
    """LayerNorm over channels and places together, with a scale and a shift per channel: [B, C, H, W] -> the
    same."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, 1, self.weight.flatten(), self.bias.flatten())


class UpBlock(nn.Module):
    """[B, in, H, W] -> [B, out, 2H, 2W]: 3x3 transposed convolution of stride 2, LayerNorm, ReLU; with
    `double` the same once more at the new size, with stride 1. With `resize`, what doubles the size is
    `resized`."""

    def __init__(self, in_channels: int, out_channels: int, double: bool = False, resize: bool = False):
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(1 + double):
            if resize and not number:
                layer = resized(in_channels, out_channels)
            else:
                stride, channels = (1, out_channels) if number else (2, in_channels)
                kernel = {"kernel_size": 3, "stride": stride, "padding": 1, "output_padding": stride - 1}
                layer = nn.ConvTranspose2d(channels, out_channels, **kernel)
            layers += [layer, MapLayerNorm(out_channels), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def resized(in_channels: int, out_channels: int) -> nn.Sequential:
    """[B, in, H, W] -> [B, out, 2H, 2W]: every place four times, then a 3x3 convolution, borders reflected.
    Each place is then a sum over nine weights; of a 3x3 transposed convolution of stride 2, over one, two or
    four in turn, which leaves a checkerboard (Odena, Dumoulin, Olah, Distill 2016)."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2), ReflectionPad2d(1), nn.Conv2d(in_channels, out_channels, 3)
    )


class GaussianNoise(nn.Module):
    """Adds Gaussian noise of standard deviation `scale` in training, nothing in eval mode."""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x) if self.training and self.scale else x


def convolution(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    spectral: bool = False,
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution with weights of standard deviation 0.02, spectrally normalised where asked for."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, bias=bias)
    nn.init.normal_(layer.weight, 0.0, 0.02)
    return spectral_norm(layer) if spectral else layer


def append(features: Tensor, vector: Tensor) -> Tensor:
    """A vector on top of every place of a map: [B, C, H, W], [B, D] -> [B, C + D, H, W]."""
    spread = vector[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat((features, spread), dim=1)


def init_gaussian(module: nn.Module, std: float = 0.02) -> None:
    """Normal weights of standard deviation `std` for every convolution in `module`; biases and linear layers
    keep PyTorch's own."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, std)


def normalisation(kind: str, channels: int) -> nn.Module:
    """ "batch" (with weights) or "instance" (without). A convolution before "batch" needs no bias."""
    kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
    return kinds[kind](channels)


def init_pix2pix(module: nn.Module, std: float = 0.02) -> None:
    """pix2pix's and CycleGAN's first weights: every convolution's normal of standard deviation `std`, every
    BatchNorm's around 1, biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, float(isinstance(layer, nn.BatchNorm2d)), std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
