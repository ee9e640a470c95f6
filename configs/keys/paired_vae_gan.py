"""The paired VAE-GAN hybrid's keys ("Image-to-image translation using a VAE-GAN hybrid model", 2024)."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.keys.common import Config, Count, Network, Training, Weight


class PairedVAEGANTraining(Training):
    """The weights of the report, which gives none: it adds all terms up."""

    batch_size: Count = 40
    """Pairs per iteration, over all processes together."""
    adv_weight: Weight = 1.0
    """Of the generator's loss against the discriminator."""
    rec_weight: Weight = 1.0
    """Of the mean squared error of y, a mean over pixels in [-1, 1]."""
    kl_weight: Weight = 1.0
    """Of KL[q(z|x) || N(0, I)] per image, a sum over z. With 1, as in the report, it outweighs rec_weight 1
    by far, and z may come to say nothing of x."""


class PairedVAEGANNetwork(Network):
    """Shapes of the hybrid's networks; the defaults are the report's."""

    variant: Literal["report", "skip"] = "report"
    """report: all that y knows of x goes through z; skip: pix2pix's U-Net, whose bottleneck alone goes
    through z."""
    latent_dim: Count = 50
    """Length of z, and of a style, which is what of z the input leaves open."""
    base_width: Annotated[Count, Field(multiple_of=4)] = 32
    """Channels of the encoder's first convolution and of the generator's first map; the U-Net's first
    convolution has twice as many."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Of whole channels, in encoder and discriminator; the U-Net has pix2pix's."""
    dis_width: Count = 64
    """Channels of the discriminator's first convolution."""


class PairedVAEGANConfig(Config):
    solver: ClassVar[str] = "solvers.paired_vae_gan:PairedVAEGANSolver"
    model: Literal["PairedVAEGAN"]
    training: PairedVAEGANTraining = Field(default_factory=PairedVAEGANTraining)
    network: PairedVAEGANNetwork = Field(default_factory=PairedVAEGANNetwork)

    @model_validator(mode="after")
    def _u_nets_halve_four_times(self) -> Self:
        if self.network.variant == "skip" and any(side % 16 for side in self.size):
            raise ValueError("a resolution in multiples of 16 where network.variant is skip")
        return self
