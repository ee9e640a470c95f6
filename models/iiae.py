"""IIAE: the Interaction Information AutoEncoder (Hwang, Kim, Hong, Kim, NeurIPS 2020, arXiv 2012.04251).

Paired images x and y. z^x and z^y hold what is exclusive to each domain, z^s what they share. Training sees
the joint posterior q(z^s|x,y); test time sees r^x(z^s|x) or r^y(z^s|y), which are pulled toward it.

Two architectures: z^s is a vector, as in the public PyTorch reference, or a map, as in the authors' own
TensorFlow code, with which the paper's numbers for facades and maps were made. With the vector, at 256 x 256
with the default widths, modules, names and shapes equal the reference (84,271,238 parameters), so that its
checkpoints load.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import Gaussian, append, both_sides, down, init_as_tensorflow, init_kaiming, up
from models.translator import Translator


class IIAEOutput(NamedTuple):
    """What one training pass computes; each posterior is a Gaussian, each image [B, 3, H, W]."""

    x_reconstruction: Tensor  # p(x | z^x, z^s)
    y_reconstruction: Tensor  # p(y | z^y, z^s)
    zx: Gaussian  # q(z^x | x)
    zy: Gaussian  # q(z^y | y)
    zs: Gaussian  # q(z^s | x, y)
    zs_from_x: Gaussian  # r^x(z^s | x)
    zs_from_y: Gaussian  # r^y(z^s | y)


class IIAE(Translator):
    """The networks of IIAE. Domain 0 is x, domain 1 is y; content is z^s, [B, shared_dim] or with
    `shared_code` "map" [B, shared_dim, H/2^(stages+1), W/2^(stages+1)]; style is z^x or z^y
    [B, exclusive_dim].

    `resolution` is a power of two from 32 up, or (height, width) of such. `stages` halvings lead to the
    encoders' last feature map, one more to the decoder's first; None takes `default_stages` of the shorter
    side. With `shared_trunk` one feature extractor serves both domains, as in the reference; without, each
    has its own. With `tied_trunk` that own one is the domain's exclusive encoder's, so that an image goes
    through one trunk instead of two. `weight_init` "reference" leaves all layers but those that give means
    and logvars PyTorch's own weights, "kaiming" gives them Kaiming's. With `posterior_init` "small" instead
    of the reference's "kaiming", the layers that give means and logvars keep PyTorch's own smaller weights,
    so that the posteriors start near N(0, I).

    With `shared_code` "map" no two encoders share a weight (but for `tied_trunk`), and all weights start as
    in the authors' code, `posterior_init` "normal". At 256 x 256 the code is 8 x 8 x 128, 8,192 numbers; None
    for `stages` leaves it 8 high or wide at every size.
    """

    domains = ("x", "y")

    def __init__(
        self,
        resolution: int | tuple[int, int] = 256,
        base_width: int = 32,
        stages: int | None = None,
        exclusive_dim: int = 8,
        shared_dim: int = 128,
        shared_trunk: bool = True,
        tied_trunk: bool = False,
        dropout: float = 0.5,
        weight_init: str = "reference",
        posterior_init: str = "kaiming",
        shared_code: str = "vector",
    ):
        super().__init__()
        size = both_sides(resolution)
        check_size(size)
        mapped = shared_code == "map"
        if stages is None:
            stages = map_stages(min(size)) if mapped else default_stages(min(size))
        check_stages(min(size), stages)
        if mapped and shared_trunk:
            raise ValueError("a shared code that is a map has a trunk per domain; set shared_trunk to false")
        if mapped != (posterior_init == "normal"):
            raise ValueError('posterior_init "normal" goes with shared_code "map", and only with it')
        self.exclusive_dim = exclusive_dim
        widths = {"base_width": base_width, "stages": stages}
        trunk = {**widths, "slope": 0.2 if mapped else 0.02}
        self.zx_encoder = ExclusiveEncoder(size, exclusive_dim, **trunk)
        self.zy_encoder = ExclusiveEncoder(size, exclusive_dim, **trunk)
        if tied_trunk and shared_trunk:
            raise ValueError("tied_trunk ties each domain's own trunk; set shared_trunk to false")
        self.FE = None if tied_trunk else Trunk(**trunk)
        self.FE_y = None if tied_trunk or shared_trunk else Trunk(**trunk)
        encoder, decoder = (MapEncoder, MapDecoder) if mapped else (SharedEncoder, Decoder)
        self.zs_encoder = encoder(size, shared_dim, images=2, **widths)
        self.zx_s_encoder = encoder(size, shared_dim, images=1, **widths)
        self.zy_s_encoder = encoder(size, shared_dim, images=1, **widths)
        self.x_decoder = decoder(size, exclusive_dim + shared_dim, dropout=dropout, **widths)
        self.y_decoder = decoder(size, exclusive_dim + shared_dim, dropout=dropout, **widths)
        if mapped:
            init_as_tensorflow(self)
            return
        heads = posterior_heads(self)
        if weight_init == "kaiming":
            init_kaiming(self, skip=() if posterior_init == "kaiming" else heads)
        elif posterior_init == "kaiming":
            for head in heads:
                init_kaiming(head)

    def forward(self, x: Tensor, y: Tensor) -> IIAEOutput:
        """One training pass over pairs: x, y [B, 3, H, W]. Samples come from the global generator."""
        x_features, y_features = self.features(x, 0), self.features(y, 1)
        tied = self.FE is None
        zx = self.zx_encoder.posterior(x_features) if tied else self.zx_encoder(x)
        zy = self.zy_encoder.posterior(y_features) if tied else self.zy_encoder(y)
        zs = self.zs_encoder(torch.cat((x_features, y_features), dim=1))
        zs_from_x, zs_from_y = self.zx_s_encoder(x_features), self.zy_s_encoder(y_features)
        shared = zs.sample()
        return IIAEOutput(
            self.x_decoder(zx.sample(), shared),
            self.y_decoder(zy.sample(), shared),
            zx,
            zy,
            zs,
            zs_from_x,
            zs_from_y,
        )

    def features(self, image: Tensor, domain: int) -> Tensor:
        """Shared-code features of one domain: [B, 3, H, W] -> [B, C, H/2^stages, W/2^stages]."""
        if self.FE is None:
            return (self.zy_encoder if domain else self.zx_encoder).downsample(image)
        return self.FE_y(image) if domain == 1 and self.FE_y is not None else self.FE(image)

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        """The mean of r^x(z^s|x) or r^y(z^s|y): [B, shared_dim] or a map [B, shared_dim, h, w]."""
        encoder = self.zy_s_encoder if domain else self.zx_s_encoder
        return encoder(self.features(image, domain)).mean

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        """The mean of q(z^x|x) or q(z^y|y): [B, exclusive_dim]."""
        return (self.zy_encoder if domain else self.zx_encoder)(image).mean

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws from the prior N(0, I): [count, exclusive_dim]."""
        draw = torch.randn(count, self.exclusive_dim, generator=generator)
        return draw.to(next(self.parameters()).device)

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        return (self.y_decoder if domain else self.x_decoder)(style, content)


class Trunk(nn.Module):
    """`stages` halvings: [B, 3, H, W] -> [B, C, H/2^stages, W/2^stages], widths doubling from `base_width`
    to at most 8 times it."""

    def __init__(self, base_width: int, stages: int, slope: float):
        super().__init__()
        widths = [3, *(base_width * 2 ** min(i, 3) for i in range(stages))]
        self.downsample = nn.Sequential(*(down(a, b, slope) for a, b in pairwise(widths)))
        self.out_channels = widths[-1]

    def forward(self, image: Tensor) -> Tensor:
        return self.downsample(image)


class ExclusiveEncoder(Trunk):
    """q(z^x|x) or q(z^y|y): a trunk of its own and one linear layer."""

    def __init__(self, size: tuple[int, int], latent_dim: int, base_width: int, stages: int, slope: float):
        super().__init__(base_width, stages, slope)
        features = self.out_channels * places(size, stages)
        self.fc_mu_var = nn.Sequential(nn.Linear(features, 2 * latent_dim))

    def forward(self, image: Tensor) -> Gaussian:
        return self.posterior(self.downsample(image))

    def posterior(self, features: Tensor) -> Gaussian:
        """From the trunk's features [B, C, H, W]."""
        return Gaussian.from_features(self.fc_mu_var(features.flatten(1)))


class SharedEncoder(nn.Module):
    """q(z^s|x,y) from the two feature maps on top of each other (`images` 2), or r(z^s|.) from one
    (`images` 1)."""

    def __init__(self, size: tuple[int, int], latent_dim: int, images: int, base_width: int, stages: int):
        super().__init__()
        channels = trunk_channels(base_width, stages)
        self.downsample = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(images * channels, channels, 5, padding=2),
                nn.BatchNorm2d(channels),
                nn.LeakyReLU(0.02),
            )
        )
        self.fc_mu_var = nn.Sequential(
            nn.Linear(channels * places(size, stages), 2 * latent_dim),
            nn.Linear(2 * latent_dim, 2 * latent_dim),
        )

    def forward(self, features: Tensor) -> Gaussian:
        return Gaussian.from_features(self.fc_mu_var(self.downsample(features).flatten(1)))


class Decoder(nn.Module):
    """p(x|z^x,z^s): a linear layer to a small map, then `stages` + 1 doublings, dropout in the first two,
    tanh."""

    def __init__(self, size: tuple[int, int], latent_dim: int, base_width: int, stages: int, dropout: float):
        super().__init__()
        width = decoder_widths(base_width, stages)[0]
        self.start = (width, *(side >> (stages + 1) for side in size))
        features = width * places(size, stages + 1)
        self.z_to_dec = nn.Sequential(
            nn.Sequential(nn.Linear(latent_dim, features), nn.BatchNorm1d(features), nn.ReLU())
        )
        self.upsample, self.last_layer = doublings(width, base_width, stages, dropout)

    def forward(self, style: Tensor, content: Tensor) -> Tensor:
        features = self.z_to_dec(torch.cat((style, content), dim=1))
        return self.last_layer(self.upsample(features.unflatten(1, self.start))).float()


class MapEncoder(nn.Module):
    """q(z^s|x,y) or r(z^s|.) where z^s is a map: one more halving of the feature maps on top of each other,
    whose channels are mean and logvar."""

    def __init__(self, size: tuple[int, int], latent_dim: int, images: int, base_width: int, stages: int):
        super().__init__()
        channels = images * trunk_channels(base_width, stages)
        self.conv_mu_var = nn.Conv2d(channels, 2 * latent_dim, 4, stride=2, padding=1)

    def forward(self, features: Tensor) -> Gaussian:
        return Gaussian.from_features(self.conv_mu_var(features))


class MapDecoder(nn.Module):
    """p(x|z^x,z^s) where z^s is a map: z^x at every place of it, then `stages` + 1 doublings, dropout in the
    first two, tanh."""

    def __init__(self, size: tuple[int, int], latent_dim: int, base_width: int, stages: int, dropout: float):
        super().__init__()
        self.upsample, self.last_layer = doublings(latent_dim, base_width, stages, dropout)

    def forward(self, style: Tensor, content: Tensor) -> Tensor:
        return self.last_layer(self.upsample(append(content, style))).float()


def doublings(
    channels: int, base_width: int, stages: int, dropout: float
) -> tuple[nn.Sequential, nn.Sequential]:
    """From a map of so many channels to an image: `stages` doublings and a last one."""
    widths = decoder_widths(base_width, stages)
    upsample = nn.Sequential(
        *(
            up(a, b, dropout if i < 2 else 0.0)
            for i, (a, b) in enumerate(zip([channels, *widths[:-1]], widths))
        )
    )
    return upsample, nn.Sequential(nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1), nn.Tanh())


def decoder_widths(base_width: int, stages: int) -> list[int]:
    """Channels after each doubling but the last: 512, 256, 128, 64 at 256 x 256."""
    return [base_width * 2 ** min(i, 4) for i in range(stages, 0, -1)]


def trunk_channels(base_width: int, stages: int) -> int:
    """Channels of a trunk's last map: 256 at 256 x 256."""
    return base_width * 2 ** min(stages - 1, 3)


def posterior_heads(model: IIAE) -> tuple[nn.Module, ...]:
    """The linear layers that give the mean and logvar of every posterior."""
    parts = (model.zx_encoder, model.zy_encoder, model.zs_encoder, model.zx_s_encoder, model.zy_s_encoder)
    return tuple(layer for part in parts for layer in part.fc_mu_var)


def places(size: tuple[int, int], halvings: int) -> int:
    """How many places the map has that so many halvings leave of an image."""
    return (size[0] >> halvings) * (size[1] >> halvings)


def default_stages(side: int) -> int:
    """Halvings in an encoder, by the shorter side: 4 at 256, as published; 3 at 32; more above 256, so that
    the last map stays 16 high or wide."""
    levels = side.bit_length() - 1
    return max(min(4, levels - 2), levels - 4)


def map_stages(side: int) -> int:
    """Halvings in an encoder before the one that gives the map, by the shorter side: 4 at 256, as the
    authors; at every other size as many as leave a map 8 high or wide."""
    return side.bit_length() - 5


def check_size(size: tuple[int, int]) -> None:
    """Raise ValueError where IIAE has no networks for it."""
    if any(side < 32 or side & (side - 1) for side in size):
        raise ValueError(
            "IIAE needs a resolution whose sides are each a power of two from 32 up (32, 64, 128, 256), "
            f"not {size[0]} x {size[1]}"
        )


def check_stages(side: int, stages: int) -> None:
    """Raise ValueError where the shorter side cannot be halved so often."""
    if not 1 <= stages <= side.bit_length() - 2:
        raise ValueError(
            f"IIAE with a shorter side of {side} takes 1 to {side.bit_length() - 2} stages, not {stages}"
        )
