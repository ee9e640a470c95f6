"""GMVAE-DRIT (Fagnani, Gorbani 2025): DRIT++ for many domains whose attribute has a mixture of Gaussians for
its prior, with means and variances learned (models/gmvae.py).

Everything else is models/mdmm.py's. One mixture serves all domains: the generator is told the domain, so that
a style means in each what the generator makes of it there.
"""

import torch
from torch import Tensor, nn

from models.blocks import append
from models.drit import gaussian_attribute_layers
from models.gmvae import MixtureHead, MixturePosterior, MixturePrior
from models.mdmm import MDMM, ConcatGenerator, MixingGenerator


class GMVAEDRIT(MDMM):
    """The networks of GMVAE-DRIT; arguments as MDMM's, `attribute_dim` is gaussian_size.

    `num_classes`: the mixture's components. `use_adain`: the generator's residual blocks are normalised by
    the attribute (AdaIN). `double_layer`: two convolutions in each of its upsamplings. The posterior is a
    mixture whatever `concat` is. `follow_codes`: random styles come from moments of a domain's codes
    (MixturePrior). `temperature` and `hard` are those of the Gumbel-softmax that draws y in training.
    """

    def __init__(
        self,
        resolution: int | tuple[int, int] = 216,
        domains: tuple[str, ...] = ("A", "B"),
        concat: bool = True,
        base_width: int = 64,
        attribute_dim: int = 108,
        residual_blocks: int = 3,
        content_noise: float = 1.0,
        init_std: float = 0.02,
        num_classes: int = 2,
        use_adain: bool = False,
        double_layer: bool = False,
        hard: bool = False,
        upsampling: str = "transposed",
        follow_codes: bool = False,
    ):
        self.components = num_classes
        self.use_adain, self.double_layer = use_adain, double_layer
        super().__init__(
            resolution,
            domains,
            concat,
            base_width,
            attribute_dim,
            residual_blocks,
            content_noise,
            init_std,
            upsampling,
        )
        self.prior = MixturePrior(num_classes, attribute_dim, len(domains) if follow_codes else 0)
        self.temperature, self.hard = 1.0, hard

    def make_attribute_encoder(self, concat: bool, width: int) -> nn.Module:
        return MixtureAttributeEncoder(width, self.attribute_dim, len(self.domains), self.components)

    def make_generator(self, concat: bool, width: int, residual_blocks: int) -> nn.Module:
        generator = ConcatGenerator if concat else MixingGenerator
        options = {"adain": self.use_adain, "double": self.double_layer, "resize": self.resize}
        return generator(width, self.attribute_dim, len(self.domains), residual_blocks, **options)

    def posterior(self, image: Tensor, domain: int | Tensor) -> MixturePosterior:
        """q(y|x) and q(z|x,y), with this moment's temperature."""
        return super().posterior(image, domain)._replace(temperature=self.temperature, hard=self.hard)

    def encode_style(self, image: Tensor, domain: int | Tensor) -> Tensor:
        """The mean of z in the likeliest component: [B, attribute_dim]."""
        return self.posterior(image, domain).likeliest

    def become_one_gaussian(self) -> None:
        """Turn the mixture into N(0, I), from which `hold_mixture` keeps it until components are placed."""
        self.prior.become_one()
        self.enc_a.head.forget_components()

    def hold_mixture(self, still: bool) -> None:
        """Whether components learn to differ from one another."""
        for parameter in (*self.prior.parameters(), *self.enc_a.head.of_components()):
            parameter.requires_grad_(not still)

    def component_probabilities(self, image: Tensor, domain: int | Tensor) -> Tensor:
        """q(y|x): [B, components]."""
        return self.posterior(image, domain).probabilities

    def encode_style_and_components(self, image: Tensor, domain: int | Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.posterior(image, domain)
        return posterior.likeliest, posterior.probabilities

    def sample_style(
        self,
        count: int,
        domain: int,
        generator: torch.Generator | None = None,
        component: int | None = None,
    ) -> Tensor:
        """Draws from the learned mixture, the same for every domain, or from one of its components, or with
        `follow_codes` from where the domain's codes lie: [count, attribute_dim]. They carry no gradient: the
        prior learns from encoded images alone."""
        return self.prior.sample(count, generator, component, domain if self.prior.followed else None)


class MixtureAttributeEncoder(nn.Module):
    """q(y|x, domain) and q(z|x, y, domain): MDMM's convolutions with mean pooling, at any resolution, and the
    mixture's head."""

    def __init__(self, width: int, attribute_dim: int, domains: int, num_classes: int):
        super().__init__()
        self.conv = gaussian_attribute_layers(3 + domains, width)
        self.head = MixtureHead(4 * width, num_classes, attribute_dim)

    def forward(self, image: Tensor, one_hot: Tensor) -> MixturePosterior:
        return self.head(self.features(image, one_hot))

    def features(self, image: Tensor, one_hot: Tensor) -> Tensor:
        """What the head sees: [B, 4 width]."""
        return self.conv(append(image, one_hot)).flatten(1)
