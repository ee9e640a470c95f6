"""StarGAN's keys (arXiv 1711.09020)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import Config, Count, MultiplesOf4, Network, Training, Weight, Whole


class StarGANTraining(Training):
    """StarGAN's losses (arXiv 1711.09020, eq. 5 to 8) and who learns when; the defaults are the published
    ones."""

    max_iters: Count = 200_000
    """Train until this iteration; each is one step of the discriminator."""
    batch_size: Count = 16
    """Images per iteration (where a set has several domains, of each), over all processes together."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    lr_schedule: Literal["milestones", "cosine", "linear"] = "linear"
    """linear: constant, then to zero over the second half, as published; milestones: times scheduler_gamma at
    each; cosine: to zero at max_iters."""
    n_critic: Count = 5
    """The generator learns in every n_critic-th iteration."""
    dis_lr_scale: Annotated[float, Field(gt=0)] = 1.0
    """The discriminator's learning rate, times lr."""
    lambda_cls: Weight = 1.0
    """Of the attributes' classification, in both networks' losses."""
    lambda_rec: Weight = 10.0
    """Of the L1 error of an image that is given other attributes and then its own again."""
    lambda_id: Weight = 0.0
    """Ours. Of the L1 error of images that are asked for what they have: above 0, every fourth of a batch is.
    Shapes are then learned where they can be seen, before and while attributes change. 0, as published: other
    attributes for all."""
    lambda_gp: Weight = 10.0
    """Of the gradient penalty (WGAN-GP)."""


class StarGANNetwork(Network):
    """Shapes of StarGAN's networks; the defaults are those of the authors' code, whose files load."""

    base_width: Count = 64
    """Channels of the generator's first convolution; its residual blocks have 4 times as many."""
    residual_blocks: Count = 6
    """Of the generator."""
    halvings: Annotated[Whole, Field(ge=0, le=2)] = 2
    """In the generator, before its residual blocks."""
    norm: Literal["instance", "batch"] = "instance"
    """In the generator. instance, as published, takes away what the wanted attributes, which are the same all
    over an image, add to a channel, but for what zeros beyond its border leave."""
    dis_width: Count = 64
    """Channels of the discriminator's first convolution; each more has twice as many."""
    dis_layers: Annotated[Whole, Field(ge=1, le=10)] | None = None
    """Halvings in the discriminator. Null: as many as leave a map of 2 x 2 or more, at most 6; at 128 x 128
    these are 6, as published."""


class StarGANConfig(Config):
    solver: ClassVar[str] = "solvers.stargan:StarGANSolver"
    model: Literal["StarGAN"]
    training: StarGANTraining = Field(default_factory=StarGANTraining)
    network: StarGANNetwork = Field(default_factory=StarGANNetwork)
    resolution: MultiplesOf4 = 128
    """Of the images, in pixels, in multiples of 4: a number for squares, or [height, width]."""
