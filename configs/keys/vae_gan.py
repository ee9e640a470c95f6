"""VAE/GAN's keys (arXiv 1512.09300)."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.keys.common import Config, Count, MultiplesOf8, Network, Training, Weight, Whole


class VAEGANTraining(Training):
    """VAE/GAN's losses (arXiv 1512.09300, algorithm 1); the defaults are those of its authors."""

    batch_size: Annotated[Whole, Field(ge=2)] = 64
    """Images per iteration, over all processes together; BatchNorm needs two in each."""
    lr: Annotated[float, Field(gt=0)] = 3e-4
    """Learning rate."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """rmsprop: as published, without momentum, which leaves beta1 unused."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the squared gradients' running mean, of either optimizer."""
    gamma: Weight = 1e-5
    """Of the features' error in the decoder's loss, against 1 of the adversarial loss. The error is half a
    sum over all features of an image: of smaller networks or images it is smaller, and this may be larger."""
    kl_weight: Weight = 1.0
    """Of KL[q(z|x) || N(0, I)] in the encoder's loss, against 1 of the features' error."""
    decoder_loss: Literal["minimax", "non_saturating"] = "minimax"
    """minimax: the decoder raises the discriminator's loss, as published; non_saturating: it lowers that of
    its images counted as real, which goes on teaching where the discriminator is sure that they are not."""
    margin: Weight | None = None
    """Of the authors' code, 0.35 there: the discriminator holds still while its loss on real or made images
    is more than this below equilibrium, the decoder while one is more than this above it. Null: never."""
    equilibrium: Weight = 0.68
    """The loss around which margin holds still, a cross-entropy in nats."""
    attribute_images: Annotated[Whole, Field(ge=2)] = 4_000
    """Training images, evenly spread, whose latents are averaged for the attribute vectors, at most; anew
    for each grid, validation and checkpoint."""

    @model_validator(mode="after")
    def _who_learns_is_seen_in_a_whole_batch(self) -> Self:
        if self.margin is not None and self.accumulate > 1:
            raise ValueError("accumulate 1 with a margin, which looks at the losses of a whole batch")
        return self


class VAEGANNetwork(Network):
    """Shapes of VAE/GAN's networks; the defaults are the published ones, for CelebA."""

    base_width: Annotated[Count, Field(multiple_of=2)] = 64
    """Channels of the encoder's first convolution; all others follow."""
    hidden: Count = 2048
    """Features between the encoder's last map and the latent."""
    slope: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the activations below zero: 0 for ReLU."""
    latent_dim: Count = 128
    """Length of the latent."""
    arithmetic: Literal["yes_minus_no", "target_minus_given"] = "yes_minus_no"
    """Where an image gets one of several attributes that exclude each other: add that one's vector, as
    published, or subtract that of the one it has, too. Of all others the two rules are one."""


class VAEGANConfig(Config):
    solver: ClassVar[str] = "solvers.vae_gan:VAEGANSolver"
    model: Literal["VAEGAN"]
    training: VAEGANTraining = Field(default_factory=VAEGANTraining)
    network: VAEGANNetwork = Field(default_factory=VAEGANNetwork)
    resolution: MultiplesOf8 = 64
    """Of the images, in pixels, in multiples of 8: a number for squares, or [height, width]."""
