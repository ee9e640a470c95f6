"""pix2pix's keys (arXiv 1611.07004)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import Config, Count, MultiplesOf16, Network, Training, Weight, Whole


class Pix2PixTraining(Training):
    """pix2pix's losses (arXiv 1611.07004, eq. 4); the defaults are the published ones, for facades."""

    max_iters: Count = 80_000
    """Train until this iteration; published are 200 times through the set, for 400 facades in batches of 1
    this many."""
    batch_size: Count = 1
    """Pairs per iteration, over all processes together."""
    lr_schedule: Literal["milestones", "cosine", "linear"] = "linear"
    """linear: constant, then to zero over the second half, as published; milestones: times scheduler_gamma at
    each; cosine: to zero at max_iters."""
    gan_mode: Literal["vanilla", "lsgan"] = "vanilla"
    """vanilla: cross-entropy, as published; lsgan: squared errors."""
    lambda_L1: Weight = 100.0
    """Of the mean absolute error between made and true images; the generator's adversarial loss has 1."""


class Pix2PixNetwork(Network):
    """Shapes of pix2pix's networks; the defaults are those of the authors' PyTorch code, whose files load."""

    base_width: Count = 64
    """Channels after the generator's first halving; they double up to 8 times this."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """In the generator's first doublings but one; its only noise."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation in both networks."""
    test_mode: Literal["paper", "eval"] = "paper"
    """Of the generator in samples and tests. paper: dropout stays, the same for every image, and BatchNorm
    takes each image's own statistics, as in the paper's tests one by one; eval: no dropout, running
    statistics."""
    dis_width: Count = 64
    """Channels of the discriminator's first convolution."""
    dis_layers: Annotated[Whole, Field(ge=1, le=3)] | None = None
    """Halvings in the discriminator: 1, 2 or 3 judge patches of 16, 34 or 70 pixels. Null: the largest patch
    that an image holds; from 70 pixels up 3, as published."""


class Pix2PixConfig(Config):
    solver: ClassVar[str] = "solvers.pix2pix:Pix2PixSolver"
    model: Literal["pix2pix"]
    training: Pix2PixTraining = Field(default_factory=Pix2PixTraining)
    network: Pix2PixNetwork = Field(default_factory=Pix2PixNetwork)
    resolution: MultiplesOf16 = 256
    """Of the images, in pixels, in multiples of 16: a number for squares, or [height, width]."""
