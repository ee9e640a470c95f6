"""UNIT (Liu et al., NeurIPS 2017, arXiv 1703.00848): a variational autoencoder for each of two unpaired
domains, whose latents mean the same because the layers around them are shared.

Layers are those of the authors' second code (VAEGen of NVlabs/MUNIT), which shares none; in eval mode every
InstanceNorm takes an image's own statistics, where that code takes running ones.
"""

from typing import ClassVar

from torch import Tensor, nn

from models.blocks import ConvBlock, GaussianNoise, MapLayerNorm, ResidualBlock, both_sides, init_kaiming
from models.padding import ReflectionPad2d
from models.translator import Translator


class UNIT(Translator):
    """The content is the latent, a map [B, 4 base_width, H/4, W/4] that both domains share; there is no
    style. Its posterior is N(mean, I), of which training draws and eval mode takes the mean.

    Of `residual_blocks` in each encoder and decoder, the `shared_blocks` next to the latent are the same for
    both domains (section 3, the weight-sharing constraint). ValueError for other than two domains, sides that
    are not multiples of 4 from 32 up, or more shared blocks than there are.
    """

    has_style = has_style_prior = False
    fully_convolutional = True
    missing: ClassVar[dict[str, str]] = {"has_style": "styles: UNIT makes one translation of each image"}

    def __init__(
        self,
        resolution: int | tuple[int, int] = 256,
        domains: tuple[str, ...] = ("x", "y"),
        base_width: int = 64,
        residual_blocks: int = 4,
        shared_blocks: int = 1,
    ):
        super().__init__()
        if len(domains) != 2:
            raise ValueError(f"UNIT takes two domains and the data has {len(domains)}")
        if any(side < 32 or side % 4 for side in both_sides(resolution)):
            raise ValueError("UNIT needs sides that are each a multiple of 4 from 32 up")
        if shared_blocks > residual_blocks:
            raise ValueError(
                f"UNIT cannot share {shared_blocks} blocks (shared_blocks) where there are {residual_blocks} "
                "(residual_blocks)"
            )
        self.domains = tuple(domains)
        self.enc = Encoder(base_width, residual_blocks - shared_blocks, shared_blocks)
        self.dec = Decoder(base_width, residual_blocks - shared_blocks, shared_blocks)
        self.noise = GaussianNoise()
        init_as_authors(self)

    def mean(self, image: Tensor, domain: int) -> Tensor:
        """The posterior's mean: [B, 3, H, W] -> [B, 4 base_width, H/4, W/4]."""
        return self.enc(image, domain)

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        """The mean in eval mode, a draw from the posterior in training mode."""
        return self.noise(self.mean(image, domain))

    def decode(self, content: Tensor, style: Tensor | None, domain: int) -> Tensor:
        return self.dec(content, domain).float()


class Encoder(nn.Module):
    """Layers of each domain's own, then residual blocks that both share: [B, 3, H, W] ->
    [B, 4 width, H/4, W/4]."""

    def __init__(self, width: int, own_blocks: int, shared_blocks: int):
        super().__init__()
        self.own = nn.ModuleList(nn.Sequential(*encoder_layers(width, own_blocks)) for _ in range(2))
        self.shared = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(shared_blocks)))

    def forward(self, image: Tensor, domain: int) -> Tensor:
        return self.shared(self.own[domain](image))


def encoder_layers(width: int, residual_blocks: int) -> list[nn.Module]:
    """[B, 3, H, W] -> [B, 4 width, H/4, W/4]."""
    kinds = {"activation": nn.ReLU, "norm": True}
    return [
        ConvBlock(3, width, 7, padding=3, **kinds),
        ConvBlock(width, 2 * width, 4, stride=2, padding=1, **kinds),
        ConvBlock(2 * width, 4 * width, 4, stride=2, padding=1, **kinds),
        *(ResidualBlock(4 * width) for _ in range(residual_blocks)),
    ]


class Decoder(nn.Module):
    """Residual blocks that both domains share, then layers of each one's own: [B, 4 width, H/4, W/4] ->
    [B, 3, H, W] in [-1, 1]."""

    def __init__(self, width: int, own_blocks: int, shared_blocks: int):
        super().__init__()
        self.shared = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(shared_blocks)))
        self.own = nn.ModuleList(nn.Sequential(*decoder_layers(width, own_blocks)) for _ in range(2))

    def forward(self, latent: Tensor, domain: int) -> Tensor:
        return self.own[domain](self.shared(latent))


def decoder_layers(width: int, residual_blocks: int) -> list[nn.Module]:
    """[B, 4 width, H/4, W/4] -> [B, 3, H, W] in [-1, 1]."""
    return [
        *(ResidualBlock(4 * width) for _ in range(residual_blocks)),
        *upsampling(4 * width),
        *upsampling(2 * width),
        ReflectionPad2d(3),
        nn.Conv2d(width, 3, 7),
        nn.Tanh(),
    ]


def upsampling(channels: int) -> list[nn.Module]:
    """[B, C, H, W] -> [B, C/2, 2H, 2W]: each pixel four times, 5x5 convolution, LayerNorm, ReLU."""
    half = channels // 2
    return [
        nn.Upsample(scale_factor=2),
        ReflectionPad2d(2),
        nn.Conv2d(channels, half, 5),
        MapLayerNorm(half),
        nn.ReLU(inplace=True),
    ]


def init_as_authors(module: nn.Module) -> None:
    """Kaiming's weights and zero biases of convolutions; scales of LayerNorm uniform in [0, 1]."""
    init_kaiming(module)
    for layer in module.modules():
        if isinstance(layer, MapLayerNorm):
            nn.init.uniform_(layer.weight)
