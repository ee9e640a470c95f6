"""IIAE's keys (arXiv 2012.04251)."""

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from configs.keys.common import (
    Config,
    Count,
    Flag,
    Iterations,
    Network,
    Resolution,
    Training,
    Weight,
    Whole,
    size_of,
)


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
    inter_kl: Literal["exact", "reference"] = "reference"
    """reference: as the PyTorch reference writes it, which does not divide the squared distance of the means
    by r's variance; exact: that KL, as the paper."""
    inter_exact_iters: Annotated[list[Iterations], Field(min_length=2, max_length=2)] | None = None
    """With inter_kl reference: [A, B] turns it into the exact KL between iterations A and B, by dividing by
    r's variance to a power that rises from 0 to 1. Null: it stays."""
    inter_kld_weight_end: Annotated[float, Field(gt=0)] | None = None
    """inter_kld_weight grows (or falls) to this at max_iters, by the same factor each iteration, from B of
    inter_exact_iters on, without that from the start on. Null: it stays."""
    kld_scale: Literal["dataset", "none"] = "dataset"
    """dataset: every KL times batch_size / half the number of training images, as the PyTorch reference: of
    Cars 12 for each car and elevation, of two folders their mean size; none: as the paper."""
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


MAP_DEFAULTS = {"shared_trunk": False, "posterior_init": "normal"}


class IIAENetwork(Network):
    """Widths and latent sizes; the defaults are the reference's, and with shared_code map the authors'."""

    shared_code: Literal["vector", "map"] = "vector"
    """What both domains share: vector, as the PyTorch reference; map, as the authors' own code, a map of
    8 x 8 places at 256 x 256, with the style at every place of it before the decoder. A map has no linear
    layer to lose the places in, and is what the paper's numbers for facades and maps were made with."""
    base_width: Count = 32
    """Channels of the first convolution; they double up to 8 times this."""
    stages: Annotated[Whole, Field(ge=1, le=9)] | None = None
    """Halvings in each encoder; null: 4, at 32 x 32 3. With a map one more leads to it; null: as many as
    leave it 8 high or wide, by the shorter side: 4 at 256 x 256, 2 at 64 x 64."""
    exclusive_dim: Count = 8
    """Length of a style, which one domain has for itself."""
    shared_dim: Count = 128
    """Length of a content, which both domains share; of a map, its channels."""
    shared_trunk: Flag = True
    """One feature extractor for both domains; false: one each, which with a map is the only way and the
    default."""
    tied_trunk: Flag = False
    """With shared_trunk false: a domain's feature extractor is its exclusive encoder's trunk."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """In the first two stages of the decoders."""
    weight_init: Literal["reference", "kaiming"] = "reference"
    """Initial weights of all other layers: reference, PyTorch's own, which the reference leaves there;
    kaiming: Kaiming's, 2.4 times as large, from which short runs learn faster. Not used with a map."""
    posterior_init: Literal["kaiming", "small", "normal"] = "kaiming"
    """Initial weights of the layers that give means and logvars: kaiming, as the reference; small: they start
    near N(0, I), from which short runs learn faster. With a map normal, of standard deviation 0.02 as the
    authors', is the only way and the default."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_a_map(cls, given: Any) -> Any:
        mapped = isinstance(given, dict) and given.get("shared_code") == "map"
        return {**MAP_DEFAULTS, **given} if mapped else given

    @model_validator(mode="after")
    def _keys_fit_the_code(self) -> Self:
        if self.shared_code == "map" and self.shared_trunk:
            raise ValueError("shared_trunk false with shared_code map, whose domains share no trunk")
        if (self.shared_code == "map") != (self.posterior_init == "normal"):
            allowed = "normal" if self.shared_code == "map" else "kaiming or small"
            raise ValueError(f"posterior_init {allowed} with shared_code {self.shared_code}")
        return self


DIFFERENCES = {  # from the paper, by section, key and value
    (
        "training",
        "inter_kl",
        "reference",
    ): "the inter KL does not divide the distance of means by r's variance",
    ("training", "kld_scale", "dataset"): "every KL is multiplied by batch_size / half the training images",
    ("network", "shared_code", "vector"): "the shared code is a vector, not a map",
    ("network", "weight_init", "reference"): "weights start as PyTorch's own, but for posteriors' Kaiming",
    ("network", "shared_trunk", True): "one feature extractor serves both domains",
}


class IIAEConfig(Config):
    solver: ClassVar[str] = "solvers.iiae:IIAESolver"
    model: Literal["IIAE"]
    training: IIAETraining = Field(default_factory=IIAETraining)
    network: IIAENetwork = Field(default_factory=IIAENetwork)
    resolution: Resolution = 256
    """Of the images, in pixels, a power of two: a number for squares, or [height, width]."""

    def differences(self) -> list[str]:
        found = DIFFERENCES.items()
        mapped = self.network.shared_code == "map"
        return [
            f"{section}.{key} {json.dumps(value)}: {what}"
            for (section, key, value), what in found
            if getattr(getattr(self, section), key) == value and not (mapped and key == "weight_init")
        ]

    @field_validator("resolution")
    @classmethod
    def _powers_of_two(cls, value: int | list[int]) -> int | list[int]:
        if any(side & (side - 1) for side in size_of(value)):
            raise ValueError("a power of two from 32 up (32, 64, 128, 256, 512), or [height, width] of such")
        return value
