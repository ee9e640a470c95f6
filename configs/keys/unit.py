"""UNIT's keys (arXiv 1703.00848)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import Config, Count, Iterations, MultiplesOf4, Network, Training, Weight, Whole


class UNITTraining(Training):
    """UNIT's losses (arXiv 1703.00848, eq. 3 to 9); the defaults are those of its authors' second code
    (NVlabs/MUNIT), whose perceptual loss by VGG has the weight 0 there and is left out here."""

    max_iters: Count = 1_000_000
    """Train until this iteration."""
    batch_size: Count = 1
    """Images of each domain per iteration, over all processes together."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of Adam."""
    weight_decay: Weight = 1e-4
    """Adam's: this times each weight is added to its gradient."""
    milestones: list[Iterations] = Field([100_000 * n for n in range(1, 10)], max_length=100)
    """Iterations at which the learning rate is multiplied by scheduler_gamma."""
    adv_weight: Weight = 1.0
    """Of the least-squares losses of the discriminators and of the generator against them."""
    rec_weight: Weight = 10.0
    """Of the L1 error of each image from its own latent."""
    kl_weight: Weight = 0.01
    """Of the latent's KL to N(0, I), as the mean square of its mean."""
    cycle_weight: Weight = 10.0
    """Of the L1 error of each image after its translation was translated back."""
    cycle_kl_weight: Weight = 0.01
    """Of the same KL of the latents of translations."""


class UNITNetwork(Network):
    """Shapes of UNIT's networks; the defaults are those of its authors' second code, but for what the domains
    share."""

    base_width: Count = 64
    """Channels of the encoders' first convolution; latents have 4 times as many."""
    residual_blocks: Annotated[Whole, Field(ge=1)] = 4
    """In each encoder and in each decoder."""
    shared_blocks: Annotated[Whole, Field(ge=0)] = 1
    """How many residual blocks, the encoders' last and the decoders' first, are the same for both domains, as
    the paper has it; 0: none, as its authors' second code."""
    dis_width: Count = 64
    """Channels of the discriminators' first convolution."""
    dis_scale: Annotated[Whole, Field(ge=1, le=5)] = 3
    """Sizes of an image that discriminators see, each half the one before."""


class UNITConfig(Config):
    solver: ClassVar[str] = "solvers.unit:UNITSolver"
    model: Literal["UNIT"]
    training: UNITTraining = Field(default_factory=UNITTraining)
    network: UNITNetwork = Field(default_factory=UNITNetwork)
    resolution: MultiplesOf4 = 256
    """Of the images, in pixels, in multiples of 4: a number for squares, or [height, width]."""
