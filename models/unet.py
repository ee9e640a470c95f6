"""The U-Net of pix2pix (arXiv 1611.07004): halvings down to a bottleneck, and as many doublings back, each of
which sees what its halving saw.

At 256 x 256 names and shapes equal those of the authors' PyTorch code (pytorch-CycleGAN-and-pix2pix,
unet_256), so that its files load. With `latent_dim` it takes a vector beside the image, as BicycleGAN's does
(1711.11586).
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import append, both_sides, init_pix2pix, normalisation


def count_halvings(resolution: int | tuple[int, int]) -> int:
    """As many as divide both sides, up to eight: at 256 x 256 down to 1 x 1, at 32 x 64 to 1 x 2. Raises
    ValueError for sides that cannot be halved four times."""
    sides = both_sides(resolution)
    count = max(n for n in range(9) if all(side % 2**n == 0 for side in sides))
    if count < 4:
        raise ValueError("a U-Net takes sides that are multiples of 16")
    return count


class OwnNorm(nn.BatchNorm2d):
    """BatchNorm that in eval mode, with `own`, takes each image's own statistics, as a test in batches of one
    image does, instead of the running ones."""

    def __init__(self, channels: int, own: bool = False):
        super().__init__(channels)
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not self.own:
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class SteadyDropout(nn.Dropout):
    """Dropout that in eval mode, with a `seed`, drops too: the same for every image, so that an image's
    picture depends neither on its batch nor on when it is made."""

    def __init__(self, p: float, seed: int | None = None):
        super().__init__(p)
        self.seed = seed
        self.register_buffer("kept", None, persistent=False)  # drawn once, so that it can be exported

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.seed is None:
            return super().forward(x)
        if self.kept is None or self.kept.shape != x.shape[1:]:
            draw = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(self.seed))
            self.kept = ((draw >= self.p) / (1 - self.p)).to(x.device)
        return x * self.kept.to(x)


class Stage(nn.Module):
    """A halving, the stages inside it and the doubling that undoes it, in one row as the authors have
    them."""

    def __init__(self, down: list[nn.Module], inside: "Stage | None", up: list[nn.Module]):
        super().__init__()
        self.model = nn.Sequential(*down, *([] if inside is None else [inside]), *up)
        self.first, self.last = len(down), len(down) + (inside is not None)

    @property
    def inside(self) -> "Stage | None":
        return self.model[self.first] if self.last > self.first else None

    def down(self, x: Tensor) -> Tensor:
        for layer in list(self.model)[: self.first]:
            x = layer(x)
        return x

    def up(self, x: Tensor) -> Tensor:
        for layer in list(self.model)[self.last :]:
            x = layer(x)
        return x


class UNet(nn.Module):
    """[B, in, H, W] -> [B, out, H, W] in [-1, 1].

    The channels double from `width` at each halving up to eight times as many. Dropout stands where the
    authors' code has it: after the doublings between maps of the most channels, which are three at 256; where
    there are none (fewer than six halvings), after the second doubling.

    With `latent_dim`, a vector z [B, latent_dim] is appended to every place of what each halving sees
    (`where` "all") or of the image alone ("input"). With `noisy_test`, eval mode keeps the dropout and takes
    each image's own statistics in BatchNorm, as the paper does. Raises ValueError as `count_halvings` does.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int],
        width: int = 64,
        in_channels: int = 3,
        out_channels: int = 3,
        latent_dim: int = 0,
        where: Literal["all", "input"] = "all",
        norm: Literal["batch", "instance"] = "batch",
        dropout: float = 0.5,
        noisy_test: bool = False,
    ):
        super().__init__()
        halvings = count_halvings(resolution)
        self.latent_dim, self.where, self.bottleneck_channels = latent_dim, where, width * 8
        widths = [width * 2 ** min(number, 3) for number in range(halvings)]
        dropped = range(halvings - 1 - max(1, halvings - 5), halvings - 1) if dropout else ()
        bias = norm != "batch"
        stage = None

        def normed(channels: int) -> nn.Module:
            return OwnNorm(channels, noisy_test) if norm == "batch" else normalisation(norm, channels)

        for number in reversed(range(halvings)):
            outer, inner = (widths[number - 1] if number else in_channels), widths[number]
            seen = outer + (latent_dim if where == "all" or number == 0 else 0)
            made = 2 * inner if stage else inner
            down: list[nn.Module] = [nn.Conv2d(seen, inner, 4, stride=2, padding=1, bias=bias)]
            up: list[nn.Module] = [nn.ReLU(inplace=stage is not None)]
            if number:
                down.insert(0, nn.LeakyReLU(0.2))
                up.append(nn.ConvTranspose2d(made, outer, 4, stride=2, padding=1, bias=bias))
                up.append(normed(outer))
                if stage:
                    down.append(normed(inner))
            else:
                up += [nn.ConvTranspose2d(made, out_channels, 4, stride=2, padding=1), nn.Tanh()]
            if number in dropped:
                up.append(SteadyDropout(dropout, number if noisy_test else None))
            stage = Stage(down, stage, up)
        self.model = stage
        init_pix2pix(self)

    def stages(self) -> Iterator[Stage]:
        """From the outermost to the innermost."""
        stage = self.model
        while stage is not None:
            yield stage
            stage = stage.inside

    def encode(self, image: Tensor, z: Tensor | None = None) -> list[Tensor]:
        """What each halving makes, the largest first: maps [B, C, H/2, W/2], ... The last is the
        bottleneck, [B, bottleneck_channels, H/2^n, W/2^n], before any activation."""
        features, x = [], image
        for number, stage in enumerate(self.stages()):
            if self.latent_dim and (self.where == "all" or number == 0):
                x = append(x, z)
            x = stage.down(x)
            features.append(x)
        return features

    def decode(self, features: list[Tensor], bottleneck: Tensor | None = None) -> Tensor:
        """The image made of what `encode` gave, with another bottleneck in place of its own if one is
        given."""
        x = features[-1] if bottleneck is None else bottleneck
        *outer, innermost = self.stages()
        x = innermost.up(x)
        for stage, skip in zip(reversed(outer), reversed(features[:-1]), strict=True):
            x = stage.up(torch.cat((skip, x), dim=1))
        return x

    def forward(self, image: Tensor, z: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(image, z))
