"""CycleGAN's keys (arXiv 1703.10593)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import Config, Count, MultiplesOf4, Network, Training, Weight, Whole


class CycleGANTraining(Training):
    """CycleGAN's losses (arXiv 1703.10593, eq. 3 and section 5.2); the defaults are the published ones, for
    horse2zebra."""

    max_iters: Count = 266_800
    """Train until this iteration; published are 200 times through the larger domain, for 1,334 zebras in
    batches of 1 this many."""
    batch_size: Count = 1
    """Images of each domain per iteration, over all processes together."""
    lr_schedule: Literal["milestones", "cosine", "linear"] = "linear"
    """linear: constant, then to zero over the second half, as published; milestones: times scheduler_gamma at
    each; cosine: to zero at max_iters."""
    gan_mode: Literal["vanilla", "lsgan"] = "lsgan"
    """lsgan: squared errors, as published; vanilla: cross-entropy."""
    lambda_A: Weight = 10.0
    """Of the mean absolute error between images of the first domain and what comes back from there and
    back; the adversarial losses have 1."""
    lambda_B: Weight = 10.0
    """The same of the second domain."""
    lambda_identity: Weight = 0.5
    """Of the mean absolute error between an image and what the generator into its own domain makes of it,
    times that domain's lambda. 0 leaves this pass out."""
    pool_size: Annotated[Whole, Field(ge=0, le=1000)] = 50
    """Images of each domain made earlier that discriminators learn from too, of all processes together; they
    stand in the checkpoints. 0: from new ones alone."""


class CycleGANNetwork(Network):
    """Shapes of CycleGAN's networks; the defaults are those of the authors' PyTorch code, whose files
    load."""

    base_width: Count = 64
    """Channels of the generators' first convolution; each of the two halvings doubles them."""
    residual_blocks: Count | None = None
    """Of a generator. Null: as published, 9 from 256 pixels up, 6 below."""
    dis_width: Count = 64
    """Channels of the discriminators' first convolution."""
    dis_layers: Annotated[Whole, Field(ge=1, le=3)] | None = None
    """Halvings in the discriminators: 1, 2 or 3 judge patches of 16, 34 or 70 pixels. Null: the largest patch
    that an image holds; from 70 pixels up 3, as published."""


class CycleGANConfig(Config):
    solver: ClassVar[str] = "solvers.cyclegan:CycleGANSolver"
    model: Literal["CycleGAN"]
    training: CycleGANTraining = Field(default_factory=CycleGANTraining)
    network: CycleGANNetwork = Field(default_factory=CycleGANNetwork)
    resolution: MultiplesOf4 = 256
    """Of the images, in pixels, in multiples of 4: a number for squares, or [height, width]."""
