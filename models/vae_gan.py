"""VAE/GAN (arXiv 1512.09300): a variational autoencoder whose decoder is a GAN's generator, and whose
reconstructions are compared by features of the discriminator; and arithmetic with attributes in its latent.

Of 64 x 64 images the networks are the paper's table; with `hidden` 1024 and `slope` 0.2, those of 256 x 128
that were used for DeepFashion. All sizes have three halvings.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.attributes import KnownAttributes
from models.blocks import Gaussian, both_sides


class VAEGAN(KnownAttributes):
    """A content is the mean of q(z|x), [B, latent_dim]; a style says which of `attributes` an image has, [B,
    attributes] of 0 and 1, as far as its content tells. Decoded with another style, the content is moved
    first along the vectors of the attributes that differ.

    The vector of an attribute is the mean latent of training images that have it, `with_mean`, less that of
    those that have it not, `without_mean`, both [attributes, latent_dim]; `learn_attributes` sets them, and
    until then they are zero. Of each of `exclusive`, tuples of attributes' numbers, an image has exactly one.
    `arithmetic` "yes_minus_no" adds there the vector of the one that is wanted; "target_minus_given" also
    subtracts that of the one that the image has. Of other attributes both add the vector of what is to come
    and subtract that of what is to go.
    """

    has_label_means = True
    has_noisy_reconstruction = True
    has_image_prior = True
    with_mean: Tensor
    without_mean: Tensor

    def __init__(
        self,
        resolution: int | tuple[int, int],
        domains: Sequence[str],
        attributes: Sequence[str],
        known: Tensor,
        exclusive: Sequence[Sequence[int]] = (),
        base_width: int = 64,
        hidden: int = 2048,
        slope: float = 0.0,
        latent_dim: int = 128,
        arithmetic: str = "yes_minus_no",
    ):
        super().__init__(domains, attributes, known)
        self.latent_dim, self.exclusive, self.arithmetic = latent_dim, exclusive, arithmetic
        self.encoder = Encoder(resolution, base_width, hidden, slope, latent_dim)
        self.decoder = Decoder(resolution, base_width, slope, latent_dim)
        for name in ("with_mean", "without_mean"):
            self.register_buffer(name, torch.zeros(len(self.attributes), latent_dim))

    def encode_content(self, image: Tensor, domain: int) -> Tensor:
        return self.encoder(image).mean

    def encode_style(self, image: Tensor, domain: int) -> Tensor:
        return self.read(self.encode_content(image, domain))

    def decode(self, content: Tensor, style: Tensor, domain: int) -> Tensor:
        return self.decoder(self.moved(content, self.read(content), style))

    def edit(self, image: Tensor, domain: int, have: Tensor, want: Tensor) -> Tensor:
        return self.decoder(self.moved(self.encode_content(image, domain), have, want))

    def reconstruct(self, image: Tensor, domain: int) -> Tensor:
        return self.decoder(self.encode_content(image, domain))

    def label_means(self, domain: int) -> Tensor:
        return self.decoder(self.with_mean)

    def noisy_reconstruction(
        self, image: Tensor, domain: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """The noise is that of training: the latent is a draw of q(z|x)."""
        q = self.encoder(image)
        return self.decoder(q.mean + torch.exp(0.5 * q.logvar) * self.normal(len(image), generator))

    def sample_image(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        return self.decoder(self.normal(count, generator))

    def normal(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Draws from N(0, I): [count, latent_dim]."""
        return torch.randn(count, self.latent_dim, generator=generator).to(self.with_mean.device)

    def read(self, latent: Tensor) -> Tensor:
        """Which attributes images of these latents [B, latent_dim] have: float [B, attributes]. One is there
        where the mean of images with it is nearer than that of images without it; of attributes that
        exclude each other, that one whose mean is nearest."""
        near = torch.cdist(latent, self.with_mean)
        has = (near < torch.cdist(latent, self.without_mean)).float()
        for group in map(list, self.exclusive):
            nearest = near[:, group].argmin(dim=1)
            has[:, group] = nn.functional.one_hot(nearest, len(group)).to(has.dtype)
        return has

    def moved(self, latent: Tensor, have: Tensor, want: Tensor) -> Tensor:
        """Latents [B, latent_dim] of images that have the attributes `have`, with those of `want` in their
        place."""
        change = want.float() - have.float()
        if self.arithmetic == "yes_minus_no":
            for group in map(list, self.exclusive):
                change[:, group] = change[:, group].clamp(min=0)
        return latent + change @ (self.with_mean - self.without_mean)

    @torch.no_grad()
    def learn_attributes(self, latents: Tensor, attributes: Tensor) -> None:
        """Set the means by latents [N, latent_dim] of images that have `attributes` [N, attributes]. What all
        of them have, or none, gets the vector zero."""
        latents, has = latents.double(), attributes.double()
        for mean, chosen in ((self.with_mean, has), (self.without_mean, 1 - has)):
            count = chosen.sum(dim=0)[:, None]
            sums = chosen.T @ latents
            mean.copy_(torch.where(count > 0, sums / count.clamp(min=1), latents.mean(dim=0)))


class Encoder(nn.Module):
    """q(z|x): [B, 3, H, W] -> Gaussian [B, latent_dim]."""

    def __init__(
        self, resolution: int | tuple[int, int], width: int, hidden: int, slope: float, latent_dim: int
    ):
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.maps = nn.Sequential(*(halving(a, b, slope) for a, b in pairwise(widths)))
        self.features = connected(4 * width * area(resolution), hidden, slope)
        self.posterior = nn.Linear(hidden, 2 * latent_dim)
        init_glorot(self)

    def forward(self, image: Tensor) -> Gaussian:
        return Gaussian.from_features(self.posterior(self.features(self.maps(image).flatten(1))))


class Decoder(nn.Module):
    """p(x|z), the GAN's generator: [B, latent_dim] -> [B, 3, H, W] in [-1, 1]."""

    def __init__(self, resolution: int | tuple[int, int], width: int, slope: float, latent_dim: int):
        super().__init__()
        self.start = (4 * width, *eighths(resolution))
        widths = (4 * width, 4 * width, 2 * width, width // 2)
        self.features = connected(latent_dim, 4 * width * area(resolution), slope)
        doublings = [doubling(a, b, slope) for a, b in pairwise(widths)]
        self.maps = nn.Sequential(*doublings, nn.Conv2d(widths[-1], 3, 5, padding=2), nn.Tanh())
        init_glorot(self)

    def forward(self, latent: Tensor) -> Tensor:
        return self.maps(self.features(latent).unflatten(1, self.start)).float()


class Discriminator(nn.Module):
    """[B, 3, H, W] -> logits [B], and the features by which reconstructions are compared, [B, 4 * width,
    H/8, W/8]: what the last convolution, the third that halves, gives before it is normalised, as in the
    authors' code."""

    def __init__(self, resolution: int | tuple[int, int], width: int, slope: float):
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, width // 2, 5, padding=2),
            nn.LeakyReLU(slope),
            halving(width // 2, 2 * width, slope),
            halving(2 * width, 4 * width, slope),
        )
        last = halving(4 * width, 4 * width, slope)
        self.compared, self.last = last[0], last[1:]
        features = connected(4 * width * area(resolution), 8 * width, slope)
        self.judge = nn.Sequential(features, nn.Linear(8 * width, 1))
        init_glorot(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        compared = self.compared(self.maps(image))
        return self.judge(self.last(compared).flatten(1))[:, 0].float(), compared.float()


def eighths(resolution: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width after three halvings. Raises ValueError where they are uneven."""
    height, width = both_sides(resolution)
    if height % 8 or width % 8:
        raise ValueError("sides must be multiples of 8")
    return height // 8, width // 8


def area(resolution: int | tuple[int, int]) -> int:
    """Places of a map after three halvings."""
    height, width = eighths(resolution)
    return height * width


def halving(before: int, after: int, slope: float) -> nn.Sequential:
    """[B, before, H, W] -> [B, after, H/2, W/2]: convolution 5x5, BatchNorm, activation."""
    return nn.Sequential(
        nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(slope),
    )


def doubling(before: int, after: int, slope: float) -> nn.Sequential:
    """[B, before, H, W] -> [B, after, 2H, 2W]: transposed convolution 5x5, BatchNorm, activation."""
    return nn.Sequential(
        nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(slope),
    )


def connected(before: int, after: int, slope: float) -> nn.Sequential:
    """[B, before] -> [B, after]: linear, BatchNorm, activation."""
    return nn.Sequential(nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.LeakyReLU(slope))


def init_glorot(module: nn.Module) -> None:
    """Glorot's uniform weights for every convolution and linear layer in `module`; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
