"""DRIT's and DRIT++'s keys (arXiv 1808.00948, 1905.01270)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import (
    Config,
    Count,
    Flag,
    MultiplesOf4,
    Network,
    Training,
    Weight,
    Whole,
)


class DRITTraining(Training):
    """DRIT's and DRIT++'s losses (arXiv 1808.00948, 1905.01270), their weights and who learns when; the
    defaults are the published ones."""

    max_iters: Count = 500_000
    """Train until this iteration; those of the content discriminator alone count too."""
    batch_size: Count = 1
    """Images of each domain per iteration, over all processes together. All are encoded and all get random
    attributes; the published batch of 2 is one of each."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Weight = 1e-4
    lr_schedule: Literal["milestones", "cosine", "linear"] = "linear"
    """linear: constant, then to zero over the second half, as published; milestones: times scheduler_gamma at
    each; cosine: to zero at max_iters."""
    isDcontent: Flag = True
    """A content discriminator that tells domains apart by contents, and the encoder's loss against it."""
    d_iter: Count = 3
    """With isDcontent, the content discriminator learns alone in d_iter - 1 of every d_iter iterations."""
    dcontent_lr_scale: Annotated[float, Field(gt=0)] = 0.4
    """The content discriminator's learning rate, times lr."""
    dcontent_clip: Annotated[float, Field(gt=0)] = 5.0
    """The content discriminator's gradient is shortened to this norm."""
    content_adv_weight: Weight = 1.0
    """Of the content encoder's loss against the content discriminator."""
    adv_weight: Weight = 1.0
    """Of the generator's losses against the image discriminators."""
    cross_cycle_weight: Weight = 10.0
    """Of the L1 error after content was swapped, translated and swapped back."""
    self_rec_weight: Weight = 10.0
    """Of the L1 error of each image from its own content and attribute."""
    attribute_kl_weight: Weight = 0.01
    """Of KL[q(z|x) || N(0, I)] per image (concat 1), or of the attribute's mean square (concat 0)."""
    content_l2_weight: Weight = 0.01
    """Of the content's mean square."""
    latent_weight: Weight = 10.0
    """Of |E_a(G(c, z)) - z|, which teaches generator and content encoder, not the attribute encoder."""
    no_ms: Flag = False
    """1: no mode seeking, as DRIT before DRIT++."""
    ms_adversarial: Literal["both", "first"] = "both"
    """With mode seeking, of which of the two random images the loss against the discriminators is: of both,
    added, as published; or of the first alone, which is half of that."""
    new_discriminators: Flag = False
    """1: a discriminator that cannot be carried over from the authors' checkpoint begins anew."""
    ms_weight: Weight = 1.0
    """Of mode seeking, |z1 - z2| / |G(c, z1) - G(c, z2)|."""


class DRITNetwork(Network):
    """Shapes of DRIT's networks; the defaults are the published ones."""

    concat: Flag = True
    """1: the attribute is appended to the generator's features (shapes stay); 0: it transforms them (shapes
    change), and the attribute is a point instead of a Gaussian."""
    base_width: Count = 64
    """Channels of the encoders' first convolution; contents have 4 times as many."""
    attribute_dim: Count = 8
    """Length of the attribute, the style."""
    residual_blocks: Count = 3
    """Of each domain's own, in the content encoder and in the generator."""
    content_noise: Weight = 1.0
    """Standard deviation of the noise on contents in training."""
    init_std: Annotated[float, Field(gt=0)] = 0.02
    """Of the convolutions' weights at the start, in encoders and generator. 0.02 suits the published widths;
    through narrow layers it lets little of the image come, and the attribute is slow to say anything."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """How the generator doubles sizes. transposed: by 3x3 transposed convolutions of stride 2, as published,
    which tend to leave a checkerboard; resize: every place four times, then a 3x3 convolution. The authors'
    checkpoints load with transposed alone."""
    dis_width: Count = 64
    """Channels of the image discriminators' first convolution."""
    dis_scale: Annotated[Whole, Field(ge=1, le=5)] = 3
    """Sizes of an image that discriminators see, each half the one before; 1: one of six stages instead."""
    dis_norm: Literal["None", "Instance"] = "None"
    """Normalisation in the image discriminators."""
    dcontent_norm: Literal["None", "Instance"] = "Instance"
    """Normalisation in the content discriminator. The authors' code asks for Instance and, by a misspelt
    word, has None, here and in dis_norm: what they trained takes None."""
    dis_spectral_norm: Flag = False
    """Spectral normalisation of the image discriminators."""


class DRITConfig(Config):
    solver: ClassVar[str] = "solvers.drit:DRITSolver"
    model: Literal["DRIT"]
    training: DRITTraining = Field(default_factory=DRITTraining)
    network: DRITNetwork = Field(default_factory=DRITNetwork)
    resolution: MultiplesOf4 = 216
    """Of the images, in pixels, in multiples of 4: a number for squares, or [height, width]."""

    def differences(self) -> list[str]:
        words = 'network.upsampling "resize": the authors\' generators have transposed convolutions'
        return [words] if self.network.upsampling == "resize" else []
