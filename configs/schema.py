"""What a config may hold: every key with its type, default and meaning. What all models share stands in
configs/sections.py. `configs/schema.json` is made from both:

    python -m configs.schema > configs/schema.json
"""

import json
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, TypeAdapter, field_validator, model_validator

from configs.sections import (
    Adaptation,
    Config,
    Count,
    Flag,
    Iterations,
    Network,
    Section,
    Test,
    Training,
    Weight,
    Whole,
)

__all__ = ["DATASETS", "MODELS", "Adaptation", "Config", "Section", "Test", "Training", "json_schema"]


class IIAETraining(Training):
    """IIAE's loss (arXiv 2012.04251, eq. 7): the weights of its terms and the annealing of its KLs."""

    batch_size: Annotated[Whole, Field(ge=2)] = 16
    """Pairs per iteration, over all processes together; at least 2, for BatchNorm."""
    rec_weight: Weight = 1020.0
    """Of the mean absolute error of both reconstructions."""
    X_kld_weight: Weight = 1.02
    """Of KL[q(z^x|x) || N(0,I)] and its y twin, annealed."""
    S_kld_weight: Weight = 0.02
    """Of KL[q(z^s|x,y) || N(0,I)], annealed."""
    inter_kld_weight: Weight = 1.0
    """Of KL[q(z^s|x,y) || r(z^s|x)] and of its y twin."""
    inter_kl: Literal["exact", "reference"] = "exact"
    """exact: that KL; reference: as the PyTorch reference writes it, which does not divide the squared
    distance of the means by r's variance."""
    inter_exact_iters: Annotated[list[Iterations], Field(min_length=2, max_length=2)] | None = None
    """With inter_kl reference: [A, B] turns it into the exact KL between iterations A and B, by dividing by
    r's variance to a power that rises from 0 to 1. Null: it stays."""
    inter_kld_weight_end: Annotated[float, Field(gt=0)] | None = None
    """inter_kld_weight grows (or falls) to this at max_iters, by the same factor each iteration, from B of
    inter_exact_iters on, without that from the start on. Null: it stays."""
    kld_scale: Literal["dataset", "none"] = "dataset"
    """dataset: every KL times batch_size / number of training pairs, as the PyTorch reference; none: as the
    paper."""
    anneal_iters: Annotated[float, Field(gt=0)] = 25_000.0
    """T in the annealing 1 - exp(-iteration / T) of the KLs to the prior."""
    inter_anneal_iters: Weight = 0.0
    """T of the same annealing for inter_kld_weight, which neither the paper nor the reference anneals; 0:
    none."""

    @model_validator(mode="after")
    def _inter_keys_agree(self) -> Self:
        exact = self.inter_exact_iters
        if exact is not None and self.inter_kl == "exact":
            raise ValueError("inter_kl reference with inter_exact_iters; exact is exact from the start")
        if exact is not None and exact[0] > exact[1]:
            raise ValueError(f"in inter_exact_iters two iterations, the earlier first, not {exact}")
        if self.inter_kld_weight_end is not None and not self.inter_kld_weight:
            raise ValueError("inter_kld_weight above 0 where inter_kld_weight_end is given")
        return self


class IIAENetwork(Network):
    """Widths and latent sizes; the defaults are the reference's."""

    base_width: Count = 32
    """Channels of the first convolution; they double up to 8 times this."""
    stages: Annotated[Whole, Field(ge=1, le=9)] | None = None
    """Halvings in each encoder; null: 4, at 32 x 32 3."""
    exclusive_dim: Count = 8
    shared_dim: Count = 128
    shared_trunk: Flag = True
    """One feature extractor for both domains; false: one each."""
    tied_trunk: Flag = False
    """With shared_trunk false: a domain's feature extractor is its exclusive encoder's trunk."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """In the first two stages of the decoders."""
    posterior_init: Literal["kaiming", "small"] = "kaiming"
    """Initial weights of the layers that give means and logvars: kaiming, as the reference; small: they start
    near N(0, I), from which short runs learn faster."""


class IIAEConfig(Config):
    model: Literal["IIAE"]
    training: IIAETraining = Field(default_factory=IIAETraining)
    test: Test = Field(default_factory=Test)
    network: IIAENetwork = Field(default_factory=IIAENetwork)

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("a power of two from 32 up (32, 64, 128, 256, 512)")
        return value


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
    residual_blocks: Count = 3
    """Of each domain's own, in the content encoder and in the generator."""
    content_noise: Weight = 1.0
    """Standard deviation of the noise on contents in training."""
    init_std: Annotated[float, Field(gt=0)] = 0.02
    """Of the convolutions' weights at the start, in encoders and generator. 0.02 suits the published widths;
    through narrow layers it lets little of the image come, and the attribute is slow to say anything."""
    dis_width: Count = 64
    """Channels of the image discriminators' first convolution."""
    dis_scale: Annotated[Whole, Field(ge=1, le=5)] = 3
    """Sizes of an image that discriminators see, each half the one before; 1: one of six stages instead."""
    dis_norm: Literal["None", "Instance"] = "None"
    """Normalisation in the image discriminators."""
    dis_spectral_norm: Flag = False
    """Spectral normalisation of the image discriminators."""


class MDMMTraining(DRITTraining):
    """DRIT++ for many domains, the authors' MDMM: DRIT's losses and those of the domain's classification."""

    batch_size: Count = 1
    """Pairs of images per iteration, over all processes together, each of two different domains drawn at
    random; the published batch of 2 is one pair."""
    isDcontent: Flag = False
    """A content discriminator that names the domain by the content, and the encoder's loss against it."""
    no_ms: Flag = True
    """1: no mode seeking, as MDMM."""
    lambda_cls: Weight = 1.0
    """Of the discriminators' classification of real images."""
    lambda_cls_G: Weight = 5.0
    """Of the generator's, of the images that it makes."""


class MDMMNetwork(DRITNetwork):
    """Shapes of MDMM's networks; the defaults are the published ones."""

    num_domains: Annotated[Whole, Field(ge=2)] | None = None
    """Of the data; null: as many as it has."""
    dis_scale: Literal[1] = 1
    """MDMM's discriminators see one size."""


class DRITConfig(Config):
    model: Literal["DRIT"]
    training: DRITTraining = Field(default_factory=DRITTraining)
    test: Test = Field(default_factory=Test)
    network: DRITNetwork = Field(default_factory=DRITNetwork)
    resolution: Annotated[Whole, Field(ge=32, le=1024, multiple_of=4)] = 216
    """Height and width of the images, in pixels, a multiple of 4."""


class MDMMConfig(DRITConfig):
    model: Literal["MDMM"]
    training: MDMMTraining = Field(default_factory=MDMMTraining)
    network: MDMMNetwork = Field(default_factory=MDMMNetwork)


class GMVAEDRITTraining(MDMMTraining):
    """GMVAE-DRIT: MDMM's losses and the bound of the Gaussian mixture VAE; names and defaults are
    published."""

    attribute_kl_weight: Literal[0] = 0
    """No single Gaussian is the prior here: w_gauss and w_categ."""
    w_gauss: Weight = 1.0
    """Of E_q[log q(z|x,y) - log p(z|y)], in nats."""
    w_categ: Weight = 1.0
    """Of KL[q(y|x) || Cat(1/K)], in nats."""
    w_rec: Weight = 1.0
    """Of the reconstruction, summed over an image."""
    rec_type: Literal["bce", "mse"] = "bce"
    """Of w_rec, on images in [0, 1]: binary cross-entropy or squared error."""
    bound_scale: Literal["pixel", "image"] = "pixel"
    """The three terms above per value of an image (divided by 3 * resolution^2), as DRIT's own terms are; or
    per image: large beside these."""
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
    """The learning rate of the mixture's means and variances, times `lr`. Adam moves a parameter by about its
    rate; where codes drift faster, components lag behind their images and lose them to one another."""
    mixture_start: Annotated[Whole, Field(ge=0)] = 0
    """Iterations with one Gaussian N(0, I) for a prior, after which the mixture's components are put where
    the encoded training images lie (as VaDE does, arXiv 1611.05148); 0: a mixture of random means from the
    start, as published, in which one component often takes all images."""
    w_gauss_mixture: Weight | None = None
    """w_gauss from mixture_start on; null: as before. Once the components lie at the codes, codes are drawn
    back to no other place, so it takes more to keep them there, where random styles are drawn."""


class GMVAEDRITNetwork(MDMMNetwork):
    """Shapes of GMVAE-DRIT's networks; names and defaults are published."""

    attribute_dim: None = None
    """The attribute is as long as gaussian_size."""
    num_classes: Count = 2
    """Components of the mixture."""
    gaussian_size: Count = 108
    """Length of the attribute z."""
    x_dim: Count | None = None
    """Values of an image. Null: 3 * resolution^2, and nothing else fits."""
    use_adain: Flag = False
    """AdaIN by the attribute in the generator's residual blocks."""
    double_layer_ReLUINSConvTranspose: Flag = False
    """Two convolutions in each of the generator's upsamplings."""


class GMVAEDRITConfig(MDMMConfig):
    model: Literal["GMVAE-DRIT"]
    training: GMVAEDRITTraining = Field(default_factory=GMVAEDRITTraining)
    network: GMVAEDRITNetwork = Field(default_factory=GMVAEDRITNetwork)
    use_cpu: Flag = False
    """1: the CPU, whatever else there is; the same as device cpu."""

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        given, values = self.network.x_dim, 3 * self.resolution**2
        if given not in (None, values):
            raise ValueError(f"network.x_dim {values} (3 * {self.resolution}^2) or none at all, not {given}")
        if self.use_cpu and self.device.startswith("cuda"):
            raise ValueError(f"use_cpu 1 only with device auto or cpu, not {self.device}")
        if self.use_cpu:
            self.device = "cpu"
        return self


MODELS: dict[str, type[Config]] = {
    "IIAE": IIAEConfig,
    "DRIT": DRITConfig,
    "MDMM": MDMMConfig,
    "GMVAE-DRIT": GMVAEDRITConfig,
}
DATASETS: tuple[str, ...] = get_args(Config.model_fields["dataset"].annotation)


def json_schema() -> dict[str, Any]:
    """The JSON Schema that editors complete and check configs by."""
    first, *others = MODELS.values()
    kinds: Any = first
    for kind in others:
        kinds |= kind
    schema = TypeAdapter(kinds).json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
