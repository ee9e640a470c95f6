"""GMVAE-DRIT's keys (Fagnani, Gorbani 2025).

Published are the names, and the defaults but where a line below says otherwise. The authors' code reads
w_gauss, w_categ and w_rec and uses none of them: its Gaussian term has weight 1, beside DRIT's own. It trains
on 128 x 128 images cropped to 108 x 108. What is meant there is the bound of a Gaussian mixture VAE with
these three weights, and that is what is here; ours are bound_scale, prior_lr_scale, mixture_start,
w_gauss_mixture and the resolution of 216 x 216, which is DRIT's.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.keys.common import Count, Flag, Weight, Whole
from configs.keys.mdmm import MDMMConfig, MDMMNetwork, MDMMTraining


class GMVAEDRITTraining(MDMMTraining):
    """GMVAE-DRIT: MDMM's losses and the bound of the Gaussian mixture VAE."""

    attribute_kl_weight: Literal[0] = 0
    """No single Gaussian is the prior here: w_gauss and w_categ."""
    w_gauss: Weight = 1.0
    """Of E_q[log q(z|x,y) - log p(z|y)], in nats; read and not used in the authors' code, where it is 1 per
    image."""
    w_categ: Weight = 1.0
    """Of KL[q(y|x) || Cat(1/K)], in nats; read and not used in the authors' code."""
    w_rec: Weight = 1.0
    """Of the reconstruction, summed over an image; read and not used in the authors' code."""
    rec_type: Literal["bce", "mse"] = "bce"
    """Of w_rec, on images in [0, 1]: binary cross-entropy or squared error."""
    bound_scale: Literal["pixel", "image"] = "pixel"
    """Ours. pixel: the three terms above per value of an image, divided by 3 * height * width, which is
    139,968 at 216 x 216, as DRIT's own terms are; image: per image, as published, large beside these."""
    init_temp: Annotated[float, Field(gt=0)] = 1.0
    """Temperature of the Gumbel-softmax in the first epoch."""
    min_temp: Annotated[float, Field(gt=0)] = 0.5
    """The temperature never falls below it."""
    decay_temp: Flag = True
    """1: the temperature falls each epoch; 0: it stays at init_temp."""
    decay_temp_rate: Weight = 0.013862944
    """The temperature is init_temp * exp(-decay_temp_rate * epoch)."""
    hard_gumbel: Flag = False
    """1: draws of y are one-hot, with the soft draw's gradient."""
    plot_losses: Flag = False
    """1: curves of all losses so far, as losses.png among the samples of each sample_freq."""
    two_time_scale_update_rule: Literal["none", "double_gen_enc", "half_discr"] = "none"
    """Learning rates: of encoders, generator and prior doubled; of all discriminators halved."""
    prior_lr_scale: Weight = 1.0
    """Ours. The learning rate of the mixture's means and variances, times `lr`. Adam moves a parameter by
    about its rate; where codes drift faster, components lag behind their images and lose them to one
    another."""
    mixture_start: Annotated[Whole, Field(ge=0)] = 0
    """Ours. Iterations with one Gaussian N(0, I) for a prior, after which the mixture's components are put
    where the encoded training images lie (as VaDE does, arXiv 1611.05148); 0: a mixture of random means from
    the start, as published, in which one component often takes all images."""
    w_gauss_mixture: Weight | None = None
    """Ours. w_gauss from mixture_start on; null: as before. Once the components lie at the codes, codes are
    drawn back to no other place, so it takes more to keep them there, where random styles are drawn."""


class GMVAEDRITNetwork(MDMMNetwork):
    """Shapes of GMVAE-DRIT's networks."""

    attribute_dim: None = None
    """The attribute is as long as gaussian_size."""
    num_classes: Count = 2
    """Components of the mixture."""
    gaussian_size: Count = 108
    """Length of the attribute z."""
    x_dim: Count | None = None
    """Values of an image. Null: 3 * height * width, and nothing else fits."""
    use_adain: Flag = False
    """AdaIN by the attribute in the generator's residual blocks."""
    double_layer_ReLUINSConvTranspose: Flag = False
    """Two convolutions in each of the generator's upsamplings."""


class GMVAEDRITConfig(MDMMConfig):
    solver: ClassVar[str] = "solvers.gmvae_drit:GMVAEDRITSolver"
    model: Literal["GMVAE-DRIT"]
    training: GMVAEDRITTraining = Field(default_factory=GMVAEDRITTraining)
    network: GMVAEDRITNetwork = Field(default_factory=GMVAEDRITNetwork)
    use_cpu: Flag = False
    """1: the CPU, whatever else there is; the same as device cpu."""

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        height, width = self.size
        given, values = self.network.x_dim, 3 * height * width
        if given not in (None, values):
            raise ValueError(f"network.x_dim {values} (3 * {height} * {width}) or none at all, not {given}")
        if self.use_cpu and self.device.startswith("cuda"):
            raise ValueError(f"use_cpu 1 only with device auto or cpu, not {self.device}")
        if self.use_cpu:
            self.device = "cpu"
        return self
