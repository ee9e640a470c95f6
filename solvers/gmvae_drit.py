"""What a mixture for a prior changes in the training of DRIT++ for many domains: GMVAE-DRIT's bound in place
of the attribute's KL, the Gumbel-softmax's temperature, and who learns at which rate."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from configs.keys.gmvae_drit import GMVAEDRITTraining
from dataloader.dataset import Batch
from models.gmvae import MixturePosterior, categorical_loss, gaussian_loss, reconstruction_loss
from models.gmvae_drit import GMVAEDRIT
from solvers.drit import Made
from solvers.mdmm import MDMMSolver
from solvers.mixture import place_components
from solvers.run.distributed import gather
from solvers.visualization.grids import save_png
from solvers.visualization.plots import loss_curves


class GMVAEDRITSolver(MDMMSolver):
    """MDMM's losses, and of both sides' images the GMVAE's bound, as `w_gauss`, `w_categ` and `w_rec` weigh
    its terms. They are nats per image; with `bound_scale` "pixel" they are divided by the number of an
    image's values, for DRIT's own terms are means over pixels. The authors' code has the first term alone, at
    weight 1 per image: w_categ 0, w_rec 0, bound_scale "image".

    The mixture is a network of its own, `prior`, which learns from the bound alone.
    """

    model: GMVAEDRIT
    model_class = GMVAEDRIT
    placed = False  # whether this iteration is after mixture_start
    following = False  # whether the moments of codes are kept
    parts = ("enc_c", "enc_a", "gen", "prior")

    def build(self) -> None:
        super().build()
        if self.training.mixture_start:
            self.model.become_one_gaussian()

    def model_options(self) -> dict[str, Any]:
        net = self.config.network
        return {
            **super().model_options(),
            "attribute_dim": net.gaussian_size,
            "num_classes": net.num_classes,
            "use_adain": net.use_adain,
            "double_layer": net.double_layer_ReLUINSConvTranspose,
            "hard": self.training.hard_gumbel,
            "follow_codes": self.training.prior_moments > 0,
        }

    def rate_scale(self, name: str) -> float:
        """The two-time-scale rule: double_gen_enc doubles all but the discriminators, half_discr halves
        these."""
        scale, rule = super().rate_scale(name), self.training.two_time_scale_update_rule
        if name == "prior":
            scale *= self.training.prior_lr_scale
        if name in self.parts:
            return 2 * scale if rule == "double_gen_enc" else scale
        return scale / 2 if rule == "half_discr" else scale

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        start = self.training.mixture_start
        self.model.temperature = gumbel_temperature(self.training, iteration, len(self.train_set))
        self.model.hold_mixture(iteration <= start)
        self.placed = bool(start) and iteration > start
        self.following = self.training.prior_moments > 0 and iteration > start
        if start and iteration == start + 1 and self.begins:
            place_components(self.model, self.train_set, self.config.seed, self.device)
        return super().train_step(batch, iteration)

    def attribute_terms(self, images: Sequence[Tensor], made: Made) -> dict[str, Tensor]:
        """The bound's terms, averaged over the images of both sides."""
        prior = self.model.prior()
        terms = {
            "gauss": [gaussian_loss(posterior, prior) for posterior in made.posteriors],
            "categ": [categorical_loss(posterior.logits) for posterior in made.posteriors],
            "rec": [
                reconstruction_loss(own, image, self.training.rec_type)
                for own, image in zip(made.reconstructed, images)
            ],
        }
        return {name: self.both(values) for name, values in terms.items()}

    def teach_generator(self, images: Sequence[Tensor], domains: Any, made: Made) -> dict[str, Tensor]:
        """As ever; with the temperature and the share of images that each component has, for the curves."""
        losses = super().teach_generator(images, domains, made)
        if self.following:
            self.follow_codes(made.posteriors, domains)
        shares = torch.cat([posterior.probabilities.detach() for posterior in made.posteriors]).mean(dim=0)
        losses["temperature"] = torch.full_like(losses["total"], self.model.temperature)
        return losses | {f"component_{number}": share for number, share in enumerate(shares)}

    def draws(self, count: int) -> list[Tensor]:
        """From p(z|y), also where test mode's random styles come from moments of codes."""
        return [self.model.prior.sample(count) for _ in range(1 if self.training.no_ms else 2)]

    def follow_codes(self, posteriors: Sequence[MixturePosterior], domains: Sequence[Tensor]) -> None:
        """Bring the moments of codes up to date by this iteration's images, of all processes."""
        prior = self.model.prior
        seen = [prior.offsets(posterior, side) for posterior, side in zip(posteriors, domains)]
        prior.follow(gather(sum(seen)[None]).sum(dim=0), self.training.prior_moments)

    def save_samples(self, fixed: Batch, iteration: int) -> None:
        if self.training.plot_losses and self.run is not None:
            picture = loss_curves(self.run.read_metrics())
            if picture is not None:
                save_png(picture, self.run.sample_folder(iteration) / "losses.png")
        super().save_samples(fixed, iteration)

    def weights(self) -> dict[str, float]:
        t = self.training
        values = 3 * math.prod(self.config.size) if t.bound_scale == "pixel" else 1
        gauss = t.w_gauss_mixture if self.placed and t.w_gauss_mixture is not None else t.w_gauss
        bound = {"gauss": gauss / values, "categ": t.w_categ / values, "rec": t.w_rec / values}
        return {**super().weights(), **bound}


def gumbel_temperature(training: GMVAEDRITTraining, iteration: int, images: int) -> float:
    """The Gumbel-softmax's temperature, which falls once per epoch: max(init_temp * exp(-rate * e), min_temp)
    after e epochs of `images` images, of each domain of which an iteration takes a batch."""
    if not training.decay_temp:
        return training.init_temp
    epoch = (iteration - 1) * training.batch_size // images
    return max(training.init_temp * math.exp(-training.decay_temp_rate * epoch), training.min_temp)
