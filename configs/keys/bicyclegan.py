"""BicycleGAN's keys (arXiv 1711.11586)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import Config, Count, Flag, MultiplesOf16, Network, Training, Weight


class BicycleGANTraining(Training):
    """BicycleGAN's weights; the defaults are the published ones."""

    batch_size: Count = 2
    """Pairs per iteration, over all processes together. All go through both cycles; the published batch of 2
    is one for each."""
    lr_schedule: Literal["milestones", "cosine", "linear"] = "linear"
    """linear: constant, then to zero over the second half, as published; milestones: times scheduler_gamma at
    each; cosine: to zero at max_iters."""
    adv_weight: Weight = 1.0
    """Of the generator's and encoder's losses against the discriminators."""
    l1_weight: Weight = 10.0
    """Of the mean absolute error of y made from x and from y's own z."""
    kl_weight: Weight = 0.01
    """Of KL[q(z|y) || N(0, I)] per image, a sum over z."""
    latent_weight: Weight = 0.5
    """Of the mean absolute error of a random z that is seen again in the image made with it, which teaches
    the generator, not the encoder."""


class BicycleGANNetwork(Network):
    """Shapes of BicycleGAN's networks; the defaults are the published ones."""

    latent_dim: Count = 8
    """Length of z, the style."""
    base_width: Count = 64
    """Channels of the U-Net's first convolution."""
    enc_width: Count = 64
    """Channels of the encoder's first convolution."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """In the U-Net, where pix2pix has it, as the authors' scripts have; none at test."""
    conditional_D: Flag = False
    """Discriminators see x beside y, as in the paper's equations; 0: y alone, as by default in the authors'
    code."""
    dis_width: Count = 64
    """Channels of the discriminators' first convolution; at the second scale half as many."""


class BicycleGANConfig(Config):
    solver: ClassVar[str] = "solvers.bicyclegan:BicycleGANSolver"
    model: Literal["BicycleGAN"]
    training: BicycleGANTraining = Field(default_factory=BicycleGANTraining)
    network: BicycleGANNetwork = Field(default_factory=BicycleGANNetwork)
    resolution: MultiplesOf16 = 256
    """Of the images, in pixels, in multiples of 16: a number for squares, or [height, width]."""
