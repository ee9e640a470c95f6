"""GMVAE-DRIT's keys (Fagnani, Gorbani 2025).

Published are the names, and the defaults but where a line below says otherwise; x_dim's is 3 * 216 * 216,
and so the resolution here is by default DRIT's 216 x 216. The authors trained on images of 128 x 128 cropped
to 108 x 108, as configs/gmvae_drit_apple2orange.json and those that extend it do. Their code reads w_gauss,
w_categ and w_rec and uses none of them: its Gaussian term has weight 1 for each image, beside DRIT's own.

Meant is the bound of a Gaussian mixture VAE with these three weights, and that is what is here. Ours are
bound_scale, by which the bound's weights are divided by default, prior_lr_scale, prior_moments, mixture_start
and w_gauss_mixture. What a config makes different from the authors' code is in its run's config.json.
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
    """Ours. pixel: the three terms above per value of an image, divided by 3 * height * width, as DRIT's own
    terms are: by 34,992 at 108 x 108, by 139,968 at 216 x 216; image: per image, as in the authors' code,
    where only w_gauss's counts, and large beside DRIT's."""
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
    prior_moments: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Ours. Above 0, random styles of a domain come from Gaussians with the moments of its codes, from each
    as often as its images do. These follow the codes from mixture_start on, by this share of the way an
    iteration (online expectation maximisation), and change nothing in training. 0, as published: from
    p(z|y), off whose means codes are kept by what else weighs on them, and from each y alike."""
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

    def differences(self) -> list[str]:
        """From the authors' code, where no paper says more."""
        t, values = self.training, 3 * self.size[0] * self.size[1]
        cropped = self.size == (108, 108) and self.data.shape[0] in (128, (128, 128))
        weights = t.w_gauss, t.w_categ, t.w_rec
        found = {
            "resolution, data.load_size: the authors crop images of 128 x 128 to 108 x 108": not cropped,
            f'training.bound_scale "pixel": the bound is divided by {values:,}': t.bound_scale == "pixel",
            "training.w_gauss, w_categ, w_rec: in the authors' code the Gaussian term has weight 1 and is all"
            " there is of the bound": weights != (1, 0, 0),
            "training.mixture_start: until then the prior is one Gaussian": t.mixture_start > 0,
            "training.prior_moments: random styles come from moments of codes": t.prior_moments > 0,
        }
        return [*(words for words, true in found.items() if true), *super().differences()]

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
