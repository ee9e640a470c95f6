"""The keys of DRIT++ for many domains, the authors' MDMM (arXiv 1905.01270)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.keys.common import Count, Flag, Weight, Whole
from configs.keys.drit import DRITConfig, DRITNetwork, DRITTraining


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
    dis_border: Flag = True
    """1: zeros that no image can change surround the discriminators' map of logits, as in the authors' code:
    at 216 x 216 it is 6 x 6 with them and 4 x 4 without, and the loss's gradient 4/9 of that without."""
    dis_scale: Literal[1] = 1
    """MDMM's discriminators see one size."""


class MDMMConfig(DRITConfig):
    solver: ClassVar[str] = "solvers.mdmm:MDMMSolver"
    model: Literal["MDMM"]
    training: MDMMTraining = Field(default_factory=MDMMTraining)
    network: MDMMNetwork = Field(default_factory=MDMMNetwork)
