"""BicycleGAN's losses and training step (arXiv 1711.11586, eq. 9)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.dataset import Batch
from models.bicyclegan import BicycleGAN, TwoPatches
from solvers.losses import frozen, kl_to_standard, least_squares
from solvers.solver import Solver


class BicycleGANSolver(Solver):
    """Two cycles share generator and encoder: y -> z -> y (cVAE-GAN, judged by D_VAE) and z -> y -> z
    (cLR-GAN, judged by D_LR).

    The authors' code splits a batch, which is even, into images for the first cycle and real ones for the
    second discriminator. Here every image of a batch of any size goes through both cycles and is a real one
    for both discriminators. Losses are averaged over the batch, so weights mean the same at any size.

    One forward pass a step: its images, detached, teach the discriminators, which are then frozen while the
    same images teach generator and encoder.
    """

    model: BicycleGAN
    judges = ("D_VAE", "D_LR")

    def build(self) -> None:
        domains, net = self.test_set.domains, self.config.network
        if not self.test_set.paired or len(domains) != 2:
            raise ValueError("BicycleGAN takes pairs of two domains, which this data set does not have")
        shape = net.model_dump(exclude={"dis_width", "conditional_D"})
        self.model = BicycleGAN(self.config.size, domains, **shape)
        self.networks = {"G": self.place(self.model.net_G), "E": self.place(self.model.net_E)}
        for name in self.judges:
            judge = TwoPatches(self.config.size, 6 if net.conditional_D else 3, net.dis_width)
            self.networks[name] = self.place(judge)
        for name, network in self.networks.items():
            self.optimizers[name] = self.adam(network.parameters())

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        x, y = batch.images
        drawn = torch.randn(len(x), self.model.latent_dim, device=x.device)
        with self.autocast():
            posterior = self.model.net_E(y)
            z = torch.cat((posterior.sample(), drawn))
            made = self.model.generate(torch.cat((x, x)), z)  # [2B, 3, H, W]
            with frozen(self.model.net_E):
                seen = self.model.net_E(made[len(x) :]).mean
        images = dict(zip(self.judges, made.chunk(2)))
        dis = sum(self.judged(name, x, y, made.detach()) for name, made in images.items())
        self.update(dis, *self.judges)
        with frozen(*(self.networks[name] for name in self.judges)):
            adv = {name: least_squares(self.judge(name, x, images[name]), 1.0) for name in self.judges}
        terms = {
            "adv_vae": adv["D_VAE"],
            "adv_lr": adv["D_LR"],
            "l1": F.l1_loss(images["D_VAE"], y),
            "kl": kl_to_standard(posterior),
            "latent": F.l1_loss(seen, drawn),
        }
        weights = self.weights()
        total = sum(weights[name] * term for name, term in terms.items())
        self.update(total, "G", "E")
        losses = {"total": total, "dis": dis, **terms}
        return {name: loss.detach() for name, loss in losses.items()}

    def weights(self) -> dict[str, float]:
        t = self.training
        adv = {"adv_vae": t.adv_weight, "adv_lr": t.adv_weight}
        return {**adv, "l1": t.l1_weight, "kl": t.kl_weight, "latent": t.latent_weight}

    def judge(self, name: str, x: Tensor, y: Tensor) -> list[Tensor]:
        """A discriminator's logits on y, with conditional_D on x and y together."""
        with self.autocast():
            return self.networks[name](torch.cat((x, y), dim=1) if self.config.network.conditional_D else y)

    def judged(self, name: str, x: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """A discriminator's loss."""
        logits = [self.judge(name, x, y) for y in (real, fake)]
        return least_squares(logits[0], 1.0) + least_squares(logits[1], 0.0)
