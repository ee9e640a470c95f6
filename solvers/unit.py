"""UNIT's losses and training step (arXiv 1703.00848, eq. 3 to 9), as in its authors' second code."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.dataset import Batch
from models.blocks import init_pix2pix
from models.discriminators import MultiScale
from models.unit import UNIT
from solvers.losses import frozen, least_squares
from solvers.solver import Solver

GENERATORS = ("enc", "dec")
DISCRIMINATORS = ("dis_a", "dis_b")


class Made(NamedTuple):
    """What the generators compute in one iteration. Images [B, 3, H, W] are of their place's domain, means
    [B, C, H/4, W/4] were seen in images of it."""

    means: Sequence[Tensor]
    reconstructed: Sequence[Tensor]
    translated: Sequence[Tensor]  # of the other domain's images
    translated_means: Sequence[Tensor]  # of the latents of `translated`
    cycled: Sequence[Tensor]  # `translated` of the other domain, back again


class UNITSolver(Solver):
    """One step of both discriminators, then, with these frozen, one of encoders and decoders.

    The authors' code translates once for each of the two steps, with noise of its own; here the same
    translations, first detached, serve both.
    """

    model: UNIT
    only_for_training = DISCRIMINATORS

    def build(self) -> None:
        net, size = self.config.network, self.config.size
        shape = net.model_dump(exclude={"dis_width", "dis_scale"})
        self.model = UNIT(size, self.test_set.domains, **shape)
        for name in GENERATORS:
            self.networks[name] = self.place(getattr(self.model, name))
        for name in DISCRIMINATORS:
            judge = MultiScale(size, net.dis_scale, net.dis_width, slope=0.2)
            init_pix2pix(judge)
            self.networks[name] = self.place(judge)
        for name, network in self.networks.items():
            self.optimizers[name] = self.adam(network.parameters())

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        with self.autocast():
            made = cycle(self.model, batch.images)
        dis = self.discriminator_loss(batch.images, made.translated)
        self.update(self.training.adv_weight * dis, *DISCRIMINATORS)
        terms = self.generator_terms(batch.images, made)
        total = sum(weight * terms[name] for name, weight in self.weights().items())
        self.update(total, *GENERATORS)
        losses = {"total": total, "dis": dis, **terms}
        return {name: loss.detach() for name, loss in losses.items()}

    def weights(self) -> dict[str, float]:
        """The weight of each of the generators' terms."""
        t = self.training
        return {
            "adv": t.adv_weight,
            "rec": t.rec_weight,
            "kl": t.kl_weight,
            "cycle": t.cycle_weight,
            "cycle_kl": t.cycle_kl_weight,
        }

    def discriminator_loss(self, images: Sequence[Tensor], translated: Sequence[Tensor]) -> Tensor:
        """Of both, each on its domain's real and made images in one pass."""
        losses = []
        for name, real, fake in zip(DISCRIMINATORS, images, translated):
            logits = self.judge(name, torch.cat((real, fake.detach())))
            on_real, on_fake = zip(*(x.split(len(real)) for x in logits))
            losses.append(least_squares(on_real, 1.0) + least_squares(on_fake, 0.0))
        return torch.stack(losses).sum()

    def generator_terms(self, images: Sequence[Tensor], made: Made) -> dict[str, Tensor]:
        """The unweighted terms that encoders and decoders minimise, each added over the domains."""
        with frozen(*(self.networks[name] for name in DISCRIMINATORS)):
            judged = [self.judge(name, x) for name, x in zip(DISCRIMINATORS, made.translated)]
        return {
            "adv": sum(least_squares(logits, 1.0) for logits in judged),
            "rec": sum(F.l1_loss(x, y) for x, y in zip(made.reconstructed, images)),
            "kl": sum(unit_kl(mean) for mean in made.means),
            "cycle": sum(F.l1_loss(x, y) for x, y in zip(made.cycled, images)),
            "cycle_kl": sum(unit_kl(mean) for mean in made.translated_means),
        }

    def judge(self, name: str, images: Tensor) -> list[Tensor]:
        with self.autocast():
            return self.networks[name](images)


def unit_kl(mean: Tensor) -> Tensor:
    """Twice KL[N(mean, I) || N(0, I)] per number of a latent: the mean square, as in the authors' code."""
    return mean.float().square().mean()


def cycle(model: UNIT, images: Sequence[Tensor]) -> Made:
    """Encode both images, show each latent in both domains, and take the translations back."""
    means = [model.mean(x, domain) for domain, x in enumerate(images)]
    latents = [model.noise(mean) for mean in means]
    made = []
    for domain, count in enumerate(map(len, images)):
        both = torch.cat((latents[domain], latents[1 - domain]))
        made.append(model.decode(both, None, domain).split(count))
    reconstructed, translated = zip(*made)
    seen = [model.mean(x, domain) for domain, x in enumerate(translated)]
    cycled = [model.decode(model.noise(seen[1 - domain]), None, domain) for domain in range(2)]
    return Made(means, reconstructed, translated, seen, cycled)
